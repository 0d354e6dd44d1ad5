"""Files that a command writes, with the permissions that its user's umask leaves.

Must never hold: a private key.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["umask", "write_output"]


def umask() -> int:
    """Return the process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_output(name: str, content: bytes) -> None:
    """Replace a file whole or not at all; what is no regular file, such as a device, is written to.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    path = Path(os.path.realpath(name))
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            device.write(content)
        return
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
