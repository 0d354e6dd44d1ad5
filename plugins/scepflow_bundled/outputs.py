"""Files that switch together: staged beside their targets, then renamed, all or none (S-055).

A staged file is made with O_EXCL and O_NOFOLLOW, mode 0600, and has its final
owner and mode before its first byte (S-054, S-063). What is staged, and what was
at a target before, have names that follow from the target's, so that the next
run finds what a crash has left: it puts the old files back and stages anew.
Must never hold: what is in the files.
"""

from __future__ import annotations

import errno
import grp
import hashlib
import os
import pwd
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.errors import SinkError
from scepflow.stages import OutputSink, Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = [
    "FileSetSink",
    "Output",
    "check_directory",
    "check_owner",
    "check_target",
    "missing_directories",
    "owner_ids",
    "prepare_outputs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file to write.

    Attributes:
        path: the target, absolute.
        content: its whole content.
        mode: permission bits, 0 to 0o777, whatever the umask.
        uid: numeric owner, or -1 for the one who runs.
        gid: numeric group, or -1 for the one who runs.
    """

    path: Path
    content: bytes = field(repr=False)
    mode: int
    uid: int = -1
    gid: int = -1


class FileSetSink(OutputSink, frozen=True, kw_only=True):
    """Base of the sinks that write files: all files of a sink switch together, or none does."""

    def outputs(self, issued: Credential, run: Run) -> Sequence[Output]:
        """Return the files, in the order in which they switch: the key before its certificate.

        Raises:
            SinkError: a file's content cannot be made.
        """
        raise NotImplementedError

    def directories(self, run: Run) -> Mapping[Path, int]:  # noqa: ARG002  # subclasses need it
        """Return directories to make if they are missing, outer first, and their modes."""
        return {}

    def is_in_place(self, run: Run) -> bool:
        """Look for the files whose names are known."""
        return all(run.path(name).exists() for name in self.outputs_at())

    def prepare(self, issued: Credential, run: Run) -> Prepared:
        """Stage every file beside its target."""
        return prepare_outputs(
            self.outputs(issued, run), directories=self.directories(run), note=run.note_staged
        )

    def write(self, issued: Credential, run: Run) -> None:
        """Replace every file, or none."""
        self.prepare(issued, run).commit()


def prepare_outputs(
    outputs: Sequence[Output],
    *,
    directories: Mapping[Path, int] | None = None,
    note: Callable[[Sequence[Path]], None] = lambda _paths: None,
) -> Prepared:
    """Stage files beside their targets.

    Args:
        outputs: one file or more, in the order in which they switch.
        directories: directories to make if they are missing, outer first, and their modes.
        note: is told, before any is made, of the files that a kill may leave beside the targets.

    Raises:
        SinkError: something cannot be staged; nothing is left behind.
    """
    staged = _StagedFiles()
    note([_beside(output.path, what) for output in outputs for what in ("new", "old")])
    try:
        for directory, mode in (directories or {}).items():
            staged.make(directory, mode)
        _recover([output.path for output in outputs])
        for output in outputs:
            staged.add(output)
    except BaseException:
        staged.discard()
        raise
    return Prepared(commit=staged.commit, discard=staged.discard)


class _StagedFiles:
    """The files and directories that one sink has made and not yet put in place."""

    def __init__(self) -> None:
        self._files: list[tuple[Path, Path]] = []
        self._made: dict[Path, tuple[int, int]] = {}
        self._parted = False

    def make(self, directory: Path, mode: int) -> None:
        """Make a directory unless it is there; one that is there keeps its mode."""
        with _explained(directory):
            if directory.is_dir():
                return
            with self._opened(directory.parent) as parent:
                # With its mode at once: one that is there keeps what a crash before the chmod has left it.
                os.mkdir(directory.name, mode, dir_fd=parent)
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                descriptor = os.open(directory.name, flags, dir_fd=parent)
            try:
                status = os.fstat(descriptor)
                if status.st_uid != os.geteuid():
                    raise SinkError(f"{directory}: another user has put a directory of theirs there")
                self._made[directory] = status.st_dev, status.st_ino
                os.fchmod(descriptor, mode)  # whatever the umask
            finally:
                os.close(descriptor)

    @contextmanager
    def _opened(self, directory: Path) -> Iterator[int]:
        """Give a directory; one that we have made is still that one, whatever its parent's owner does meanwhile."""
        flags = getattr(
            os, "O_PATH", os.O_RDONLY
        )  # where there is one, it may be a directory that we cannot list
        descriptor = os.open(directory, flags | os.O_DIRECTORY)
        try:
            status = os.fstat(descriptor)
            if self._made.get(directory, (status.st_dev, status.st_ino)) != (status.st_dev, status.st_ino):
                raise SinkError(
                    f"{directory}: was made and replaced at once",
                    hint="let nobody else write to the directory above it",
                )
            yield descriptor
        finally:
            os.close(descriptor)

    def add(self, output: Output) -> None:
        path = output.path
        if any(_same_place(path, other) for _, other in self._files):
            raise SinkError(f"{path}: two options name this file")
        with _explained(path):
            _refuse_odd_target(path)
            temporary = _beside(path, "new")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with self._opened(path.parent) as parent:
                descriptor = os.open(temporary.name, flags, 0o600, dir_fd=parent)
            self._files.append((temporary, path))
            with os.fdopen(descriptor, "wb") as file:
                _hand_over(descriptor, output)
                file.write(output.content)
                file.flush()
                os.fsync(descriptor)

    def commit(self) -> None:
        aside: list[Path] = []
        last, last_path = self._files[-1]
        self._parted = True
        try:
            for temporary, path in self._files:
                with _explained(path):
                    _refuse_odd_target(path)
                    if path != last_path:  # nothing can fail after the last one
                        aside.append(path)
                        _set_aside(path, _beside(path, "old"))
                    os.replace(temporary, path)  # noqa: PTH105  # beside os.link
        except BaseException as error:  # Ctrl-C and SIGTERM too; a second one leaves the rest to the next run
            self._parted = os.path.lexists(last) and not _put_back(aside, error)
            self.discard()
            raise
        self._parted = False
        for path in aside:
            _remove(_beside(path, "old"))
        for path in {path.parent for _, path in self._files} | {made.parent for made in self._made}:
            _sync(path)
        self._made.clear()

    def discard(self) -> None:
        """Remove what was staged, unless files have switched and not all are back: what is left tells the next run."""
        if self._parted:
            return
        for temporary, _ in self._files:
            _remove(temporary)
        for directory in reversed(self._made):
            with suppress(OSError):
                directory.rmdir()


def _beside(path: Path, what: str) -> Path:
    """Return the place for what belongs to a target, in its folder, however long its name is."""
    return path.with_name(f".scepflow-{hashlib.sha256(path.name.encode()).hexdigest()[:16]}-{what}")


def _recover(paths: Sequence[Path]) -> None:
    """Undo a commit that a crash has cut short, all of it before anything is staged: the files of a sink belong together.

    The last file is renamed last. Where its staged file is still there, the old files go back; else the new
    ones are complete, and to put the old ones back would part them from the last.
    """
    incomplete = os.path.lexists(_beside(paths[-1], "new"))
    for path in paths:
        with _explained(path):
            if incomplete:
                _take_back(path)
            _beside(path, "old").unlink(missing_ok=True)  # a rename between two names of one file leaves both
    for path in paths:  # the mark goes once all are back
        with _explained(path):
            _beside(path, "new").unlink(missing_ok=True)


def _take_back(path: Path) -> None:
    old = _beside(path, "old")
    with suppress(FileNotFoundError):
        owner = old.lstat().st_uid
        if owner == os.geteuid() or (
            path.exists() and owner == path.lstat().st_uid
        ):  # not a stranger's, in /tmp
            old.replace(path)


def _same_place(one: Path, other: Path) -> bool:
    return one.name == other.name and one.parent.resolve() == other.parent.resolve()


def _hand_over(descriptor: int, output: Output) -> None:
    if (output.uid, output.gid) != (-1, -1):
        try:
            os.fchown(descriptor, output.uid, output.gid)
        except OSError as error:
            raise SinkError(
                f"{output.path}: the owner cannot be set: {_reason(error)}",
                hint="only root may give a file away: run as root, or leave out owner and group",
            ) from None
    os.fchmod(descriptor, output.mode)


def _set_aside(path: Path, old: Path) -> None:
    """Keep what is at the path, if anything is, under a second name."""
    try:
        os.link(path, old)
    except FileNotFoundError:
        return
    except OSError:
        # No hard links on this filesystem, or not to a stranger's file: the path is empty for a moment.
        path.rename(old)


def _put_back(aside: Sequence[Path], error: BaseException) -> bool:
    """Undo the renames, the last one first, as far as the disk shows that they have been; tell whether all are undone.

    Args:
        aside: the targets that were to be kept under a second name.
        error: why; it says so if one cannot be undone.
    """
    done = True
    for path in reversed(aside):
        old = _beside(path, "old")
        try:
            if os.path.lexists(old):
                os.replace(old, path)  # noqa: PTH105  # beside os.link
                old.unlink(missing_ok=True)  # a rename between two names of one file leaves both
            elif not os.path.lexists(_beside(path, "new")):
                path.unlink(missing_ok=True)
        except OSError as failure:  # one that fails stops no other
            done = False
            if isinstance(error, SinkError):
                error.message += (
                    f"; {path} could not be put back ({_reason(failure)}): it holds the new content"
                )
                error.message += f", the old one is {old.name}" if os.path.lexists(old) else ""
                error.args = (error.message,)
    return done


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    """Make the renames in a directory durable, on filesystems that can, and if we may list it; a disk that fails is an error."""
    with _explained(directory):
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
                raise


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into a SinkError that names the target, not the staged file."""
    hints = {
        errno.EACCES: f"let uid {os.geteuid()} write to {path.parent}",
        errno.ENOENT: f"make the directory: mkdir -p {path.parent}",
        errno.ENOSPC: "make room on the disk, then run again",
        errno.EDQUOT: "make room on the disk, then run again",
        errno.EROFS: "mount it writable; in a systemd service, add ReadWritePaths=",
    }
    try:
        yield
    except OSError as error:
        raise SinkError(f"{path}: {_reason(error)}", hint=hints.get(error.errno or 0)) from error


def _refuse_odd_target(path: Path) -> None:
    """Refuse what a rename would replace by surprise: a link, a directory, a device (S-063)."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise SinkError(f"{path}: is a symbolic link", hint="name the file it points to, or remove the link")
    if not stat.S_ISREG(mode):
        what = "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"
        raise SinkError(f"{path}: {what}", hint="name another file, or move what is there")


def missing_directories(path: Path) -> list[Path]:
    """Return the directories above a file that do not exist, outer first."""
    return [directory for directory in reversed(path.parents) if not directory.exists()]


def owner_ids(owner: str | int | None, group: str | int | None) -> tuple[int, int]:
    """Return the numeric owner and group, -1 where none is named.

    Raises:
        SinkError: there is no such user or group.
    """
    return _numeric(owner, kind="user"), _numeric(group, kind="group")


def _numeric(name: str | int | None, *, kind: str) -> int:
    if name is None:
        return -1
    if isinstance(name, int) or name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise SinkError(f"there is no {kind} {name!r}", hint=f"make the {kind}, or give its number") from None


def check_owner(uid: int, gid: int) -> None:
    """Raise if the process may not give a file this owner and group.

    Args:
        uid: numeric owner, or -1.
        gid: numeric group, or -1.

    Raises:
        SinkError: it may not.
    """
    me = os.geteuid()
    if me and (uid not in (-1, me) or gid not in (-1, os.getegid(), *os.getgroups())):
        raise SinkError(
            f"uid {me} may not give files to owner {uid}, group {gid}",
            hint="run as root, or leave out owner and group",
        )


def check_directory(directory: Path) -> None:
    """Raise if files cannot be made in a directory.

    Raises:
        SinkError: it is missing, not a directory, or not writable.
    """
    if not directory.is_dir():
        raise SinkError(
            f"{directory}: is not a directory" if directory.exists() else f"{directory}: no such directory",
            hint=f"make the directory: mkdir -p {directory}",
        )
    effective = os.access in os.supports_effective_ids
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=effective):
        raise SinkError(f"{directory}: not writable by uid {os.geteuid()}")


def check_target(path: Path, *, make_directories: bool = False) -> None:
    """Raise if a file cannot be replaced, and change nothing.

    Args:
        path: the target, absolute.
        make_directories: whether missing directories above it will be made.

    Raises:
        SinkError: the target is a link, a directory or a device, or its directory is not writable.
    """
    missing = missing_directories(path) if make_directories else []
    directory = missing[0].parent if missing else path.parent
    check_directory(directory)
    with _explained(path):
        _refuse_odd_target(path)
