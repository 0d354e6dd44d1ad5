"""Files that a power cut does not lose, and that only their owner reads unless told otherwise; each function returns once it is on disk.

Must never hold: what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import stat
import time
from typing import TYPE_CHECKING, BinaryIO

from scepflow.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "check_owned",
    "explained",
    "make_folders",
    "make_private_file",
    "sync_folder",
    "write_private",
    "write_shared",
    "write_whole",
]

_ABANDONED_S = 3600.0
"""A file that is still not in place after that will never be: its process was killed."""


def make_folders(path: Path) -> None:
    """Make a folder, mode 0700, and those above it, durably; one that is there may be of a run that was killed too early.

    Raises:
        OSError: one cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    there = missing[-1].parent if missing else path
    with contextlib.suppress(PermissionError):  # who may not list the folder above has not made this one
        sync_folder(there.parent)
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process has just made it
            folder.mkdir(mode=0o700)
        sync_folder(folder.parent)


def check_owned(path: Path) -> None:
    """Raise if somebody else may change what is in a folder.

    Raises:
        StateError: it is another user's, root excepted, or others may write to it.
        OSError: it cannot be looked at.
    """
    status, me = path.stat(), os.geteuid()
    if status.st_uid not in (me, 0):
        raise StateError(
            f"{path} belongs to uid {status.st_uid}, and uid {me} works here",
            hint=f"look at what is in it; if it is yours: chown -R {me} {path}",
        )
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise StateError(
            f"others may write to {path}, where keys and trusted certificates are kept",
            hint=f"look at what is in it, then: chmod go-w {path}",
        )


def make_private_file(path: Path) -> None:
    """Make an empty file, mode 0600, and its folder, unless it is there.

    Raises:
        StateError: it cannot be made.
    """
    with explained(path):
        if path.exists():
            return
        make_folders(path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            sync_folder(path.parent)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file whole, mode 0600, and return only when it is on disk; as `write_whole`."""
    write_whole(path, content, mode=0o600)


def write_whole(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file whole, and return only when it is on disk.

    Args:
        path: the file, in a folder that is there.
        content: all of it.
        mode: permission bits, 0 to 0o777, whatever the umask.

    Raises:
        OSError: it cannot be written; an earlier one is as it was.
    """
    _write(path, content, mode=mode, temporary=path.with_name(f".{path.name}.new"))


def write_shared(path: Path, content: bytes, *, mode: int) -> None:
    """Replace a file that other processes may be replacing just now; as `write_whole`, which needs a lock."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > _ABANDONED_S:
                left.unlink()
    _write(path, content, mode=mode, temporary=path.with_name(f".{path.name}.{secrets.token_hex(8)}.new"))


def _write(path: Path, content: bytes, *, mode: int, temporary: Path) -> None:
    try:
        with _private(temporary) as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError into a StateError that names the path."""
    try:
        yield
    except OSError as error:
        raise StateError(
            f"cannot keep {path}: {error.strerror}",
            hint="name a folder that can be written with --state-dir or SCEPFLOW_STATE_DIR",
        ) from None


def _private(path: Path) -> BinaryIO:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def sync_folder(path: Path) -> None:
    """Make what was made, renamed or removed in a folder durable.

    Raises:
        OSError: it cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # a filesystem that cannot; anything else is a disk that fails
            raise
    finally:
        os.close(descriptor)
