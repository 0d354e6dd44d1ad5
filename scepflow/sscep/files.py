"""Files that a command writes, with the permissions that its user's umask leaves.

Must never hold: a private key.
"""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["check_output", "umask", "write_output"]

_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
"""Why a file that can be written cannot be replaced: its folder is another user's, or it is mounted by itself."""


def umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_output(name: str, content: bytes) -> None:
    """Replace a file whole or not at all; what can only be written to, such as a device, is written to.

    Raises:
        OSError: it cannot be written; what was there before still is, unless it was written to.
    """
    path = _target(name)
    if path.exists() and not path.is_file():
        _write_in_place(path, content)
        return
    try:
        _replace(path, content)
    except OSError as error:
        if error.errno not in _IN_PLACE or not path.exists():
            raise
        _write_in_place(path, content)


def check_output(name: str) -> None:
    """Find out whether a file could be written, and change nothing.

    Raises:
        OSError: it cannot be written.
    """
    path = _target(name)
    try:
        if not path.exists() or path.is_file():
            tempfile.TemporaryFile(dir=path.parent).close()
            return
    except OSError as error:
        if error.errno not in _IN_PLACE or not path.exists():
            raise
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _target(name: str) -> Path:
    """Return the file itself, not a link to it."""
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return Path(os.path.realpath(name))


def _write_in_place(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".scepflow-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o666 & ~umask())
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
