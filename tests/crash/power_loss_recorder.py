"""What a run does to a disk, step by step, told by the process that does it, which was forked for that run.

At each of its `points` and around each fsync it looks at the folder, and tells what is
not as it was at the last look: between two looks no more than one thing happens to a
name. Of SQLite's files it tells the database as each commit has left it. Must never
hold: what a power loss would leave of all that.
"""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import points

if TYPE_CHECKING:
    from collections.abc import Callable

    Tell = Callable[[str, object], None]

ROOT = 1
"""The number of the folder at the top."""


class File(msgspec.Struct, frozen=True, tag=True):
    mode: int
    content: bytes = b""


class Folder(msgspec.Struct, frozen=True, tag=True):
    mode: int
    names: dict[str, int]


class Step(msgspec.Struct, kw_only=True):
    """What has happened since the step before.

    Attributes:
        what: the point that was reached, in words.
        changed: files and folders that are new or not as they were, by a number that each keeps for life.
        synced: the number of the one that has just been made durable.
        outside: files that are not on the disk, if they are not as they were, by their paths.
        sent: how many messages have been announced so far.
    """

    what: str
    changed: dict[int, File | Folder]
    synced: int | None
    outside: dict[str, bytes] | None
    sent: int


class Recorder:
    """Tells the steps of one run.

    Args:
        root: the folder that stands for the disk.
        database: SQLite's file in it.
        outside: files and folders of files that no power loss reaches, such as what the CA remembers.
        tell: is given each step.
    """

    def __init__(self, root: str, *, database: str, outside: list[str], tell: Tell) -> None:
        self._root = root
        self._database = Path(database)
        self._outside_paths = [Path(name) for name in outside]
        self._outside: dict[str, bytes] = {}
        self._tell = tell
        self._sent = 0
        self._committed = self._database.read_bytes() if self._database.exists() else b""
        self._count = itertools.count(ROOT)
        self._numbers: dict[int, int] = {}
        self._nodes: dict[int, File | Folder] = {}
        journal = self._database.with_name(f"{self._database.name}-journal")
        self._hidden = {journal, *self._outside_paths}

    def watch(self) -> None:
        """Begin; cannot be undone."""
        self._step("the beginning")
        points.watch(self._root, self._reach)
        fsync = os.fsync

        def watched_fsync(descriptor: int) -> None:
            self._step("before fsync")
            fsync(descriptor)
            self._step("after fsync", synced=self._numbers.get(os.fstat(descriptor).st_ino))

        os.fsync = watched_fsync

    def tell(self, name: str, value: object) -> None:
        """Pass on what is told of the run."""
        self._sent += name == "sent"
        self._tell(name, value)

    def _reach(self, what: str, _full: Exception | None) -> None:
        durable = what == points.COMMITTED
        if durable or what == points.COMMITTED_AT_RISK:
            # Not sooner: to close the file would take SQLite's locks away.
            self._committed = self._database.read_bytes()
        self._step(what, synced=self._numbers[self._database.stat().st_ino] if durable else None)

    def _step(self, what: str, *, synced: int | None = None) -> None:
        numbers: dict[int, int] = {}
        nodes: dict[int, File | Folder] = {}
        self._look(Path(self._root), numbers, nodes)
        changed = {number: node for number, node in nodes.items() if self._nodes.get(number) != node}
        self._numbers, self._nodes = numbers, nodes
        outside = self._look_outside()
        changed_outside = outside if outside != self._outside else None
        self._outside = outside
        step = Step(what=what, changed=changed, synced=synced, outside=changed_outside, sent=self._sent)
        self._tell("steps", step)

    def _look(self, path: Path, numbers: dict[int, int], nodes: dict[int, File | Folder]) -> int:
        """Note what is there; an inode that was not there at the last look is a new file, though its number may be an old one."""
        status = path.lstat()
        inode, mode = status.st_ino, stat.S_IMODE(status.st_mode)
        number = numbers.get(inode) or self._numbers.get(inode) or next(self._count)
        numbers[inode] = number
        if stat.S_ISDIR(status.st_mode):
            below = sorted(set(path.iterdir()) - self._hidden)
            nodes[number] = Folder(mode, {other.name: self._look(other, numbers, nodes) for other in below})
        else:
            nodes[number] = File(mode, self._committed if path == self._database else path.read_bytes())
        return number

    def _look_outside(self) -> dict[str, bytes]:
        files = [file for path in self._outside_paths for file in (path, *path.glob("[!.]*"))]
        return {str(file): file.read_bytes() for file in files if file.is_file()}
