"""Files that a power cut does not lose, and that only their owner reads unless told otherwise; each function returns once it is on disk.

Must never hold: what is in them.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO

from scepflow.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["explained", "make_folders", "make_private_file", "sync_folder", "write_private", "write_whole"]


def make_folders(path: Path) -> None:
    """Make a folder, mode 0700, and those above it, durably.

    Raises:
        OSError: one cannot be made.
    """
    if path.is_dir():
        return
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)


def make_private_file(path: Path) -> None:
    """Make an empty file, mode 0600, and its folder, unless it is there.

    Raises:
        StateError: it cannot be made.
    """
    with explained(path):
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
    temporary = path.with_name(f".{path.name}.new")
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
    finally:
        os.close(descriptor)
