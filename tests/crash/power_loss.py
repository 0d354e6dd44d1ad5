"""What a power loss leaves of a run's files: of a disk that keeps for certain only what it was told to keep.

A file is kept as it was at its own last fsync, and empty before its first; a name is
made, changed or removed for certain only at the next fsync of its folder, whatever else
was synced before. All that is not yet certain may have reached the disk nevertheless,
and in any order: each file's content, and each change of names by itself (a rename
changes two at once, and is all there or not at all).

SQLite's database is kept as of its last commit, if that was made with synchronous=EXTRA,
which promises just that: its rollback journal, hot in the midst of a commit, leads back
to the commit before, so that database and journal together are worth the one or the
other, and a tree with that journal needs no test here that SQLite's authors have not
made. That the database has a name in its folder is not left to SQLite, though it syncs
that folder, too: names are ours to keep. Must never hold: what a run must do about it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from power_loss_recorder import ROOT, File, Folder, Step

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    Nodes = dict[int, File | Folder]

__all__ = ["Disk", "paths", "put", "settled"]


class Disk:
    """The disk of a recorded run, some steps from its beginning.

    Attributes:
        seen: files and folders as programs see them, by number.
        kept: the same as they are kept for certain.
    """

    def __init__(self, beginning: Step) -> None:
        self.seen: Nodes = dict(beginning.changed)
        self.kept: Nodes = dict(beginning.changed)
        self._held: list[tuple[int, dict[str, int | None]]] = []

    def take(self, step: Step) -> None:
        """Go one step further."""
        held = len(self._held)
        for number, node in step.changed.items():
            self._change(number, node)
        assert len(self._held) <= held + 1, f"the names of two folders have changed before: {step.what}"
        if step.synced is not None:
            self.kept[step.synced] = self.seen[step.synced]
            self._held = [change for change in self._held if change[0] != step.synced]

    def _change(self, number: int, node: File | Folder) -> None:
        nothing = Folder(node.mode, {}) if isinstance(node, Folder) else File(node.mode)
        self.kept.setdefault(number, nothing)
        before = self.seen.get(number, nothing)
        self.seen[number] = node
        if isinstance(node, Folder):
            new, old = node.names, before.names
            changed = {
                name: new.get(name) for name in new.keys() | old.keys() if new.get(name) != old.get(name)
            }
            if changed:
                self._held.append((number, changed))

    def losses(self, chance: random.Random) -> Iterator[tuple[str, Nodes]]:
        """Give what a power loss may leave, and say in words what survived."""
        yield "nothing that was not synced", self.kept
        yield "all names, but files that were not synced are empty or torn", self._with_names(chance)
        yield "by chance some of what was not synced", self._by_chance(chance)

    def _with_names(self, chance: random.Random) -> Nodes:
        nodes = dict(self.seen)
        for number, file in self._at_risk():
            nodes[number] = File(file.mode, chance.choice([b"", _torn(file.content)]))
        return nodes

    def _by_chance(self, chance: random.Random) -> Nodes:
        nodes = dict(self.kept)
        for number, changed in self._held:
            if chance.random() < 0.5:
                names = {name: to for name, to in {**nodes[number].names, **changed}.items() if to}
                nodes[number] = Folder(self.seen[number].mode, names)
        for number, file in self._at_risk():
            contents = [self.kept[number].content, b"", _torn(file.content), file.content]
            nodes[number] = File(file.mode, chance.choice(contents))
        return nodes

    def _at_risk(self) -> list[tuple[int, File]]:
        """Return the files that are not kept as they are."""
        return [
            (number, node)
            for number, node in self.seen.items()
            if isinstance(node, File) and node != self.kept[number]
        ]


def _torn(content: bytes) -> bytes:
    """Return a file of full length of which only the first half was written."""
    half = len(content) // 2
    return content[:half] + bytes(len(content) - half)


def settled(steps: Sequence[Step]) -> Iterator[tuple[Step, dict[str, bytes]]]:
    """Give each step and what is outside then, once the CA has done what it was asked for: that is seen with its reply."""
    outside: list[dict[str, bytes]] = []
    for step in steps:
        outside.append(step.outside if step.outside is not None else outside[-1] if outside else {})
    for at in range(len(steps) - 2, -1, -1):
        if steps[at].what == "receive":
            outside[at] = outside[at + 1]
    return zip(steps, outside, strict=True)


def paths(nodes: Nodes, number: int = ROOT) -> dict[str, int]:
    """Return the numbers of all files and folders, by their paths below one."""
    found: dict[str, int] = {}
    for name, below in nodes[number].names.items():
        found[name] = below
        if isinstance(nodes[below], Folder):
            found |= {f"{name}/{path}": other for path, other in paths(nodes, below).items()}
    return found


def put(nodes: Nodes, path: Path) -> None:
    """Make a tree, where nothing is; names of one file are links to one."""
    made: dict[int, Path] = {}

    def make(number: int, place: Path) -> None:
        node = nodes[number]
        if number in made:
            os.link(made[number], place)
            return
        if isinstance(node, Folder):
            place.mkdir()
            for name, below in node.names.items():
                make(below, place / name)
        else:
            made[number] = place
            place.write_bytes(node.content)
        place.chmod(node.mode)

    make(ROOT, path)
