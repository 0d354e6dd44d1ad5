"""Files that a command writes, with the owner and permissions of the file before, or those that its user's umask leaves.

Must never hold: a decision about what is in them.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["check_output", "umask", "write_beside", "write_output"]

_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
"""Why a file that can be written cannot be replaced: its folder is another user's, or it is mounted by itself."""


def umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_output(name: str, content: bytes) -> None:
    """Replace a file whole or not at all; what can only be written to, such as a device, is written to.

    Owner and permissions of the file before are kept where that is possible, further links to it are not.

    Raises:
        OSError: it cannot be written; what was there before still is, unless it was written to.
    """
    descriptor = _descriptor(name)
    if descriptor is not None:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        return
    if _is_no_file(name):
        _write_in_place(Path(name), content)
        return
    path = _target(name)
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
    descriptor = _descriptor(name)
    if descriptor is not None:
        os.write(descriptor, b"")
        return
    path = Path(name) if _is_no_file(name) else _target(name)
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


def _descriptor(name: str) -> int | None:
    """Return the number of what is open already, such as 1 for /dev/stdout.

    The lines that a command has printed may be in the same file, and a pipe has no name that could be resolved.
    """
    match = re.fullmatch(r"/(?:dev|proc/self)/fd/([0-9]{1,9})", name)
    return int(match[1]) if match else {"/dev/stdout": 1, "/dev/stderr": 2}.get(name)


def _is_no_file(name: str) -> bool:
    """Tell whether something is there that can only be written to: a FIFO, a device, a pipe by a link to its number.

    The name is not resolved first: that of a pipe in /proc leads nowhere, though the pipe can be opened by it.
    """
    path = Path(name)
    return bool(name) and path.exists() and not path.is_file()


def _target(name: str) -> Path:
    """Return the file itself, not a link to it."""
    if not name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return Path(os.path.realpath(name))


def _write_in_place(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)


def _replace(path: Path, content: bytes) -> None:
    temporary = write_beside(path, content, mode=0o666, like_former=True)
    try:
        temporary.replace(path)
    except OSError:
        _remove(temporary)
        raise


def write_beside(path: Path, content: bytes, *, mode: int, like_former: bool = False) -> Path:
    """Write a new file into another one's folder, to take its place; return its path.

    Args:
        path: the other file.
        content: what to write; it is on disk when this returns.
        mode: the permissions, of which the umask is taken away; nobody else can read it before it has them.
        like_former: whether the other file, if it is there, gives it owner and permissions instead.

    Raises:
        OSError: it cannot be written, and is not left behind.
    """
    descriptor, name = tempfile.mkstemp(prefix=".scepflow-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if not (like_former and _take_after(path, descriptor)):
                os.fchmod(descriptor, mode & ~umask())
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        _remove(Path(name))
        raise
    return Path(name)


def _take_after(path: Path, descriptor: int) -> bool:
    """Give a new file owner and permissions of the one before, as far as its user may; tell whether there is one."""
    try:
        former = path.stat()
    except OSError:
        return False
    for owner, group in ((former.st_uid, -1), (-1, former.st_gid)):
        with suppress(OSError):
            os.fchown(descriptor, owner, group)
    os.fchmod(descriptor, stat.S_IMODE(former.st_mode) & 0o777)  # which a change of owner may have narrowed
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
