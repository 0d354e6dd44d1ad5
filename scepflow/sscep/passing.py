"""Inputs that can be read only once, such as ``<(command)`` or ``/dev/stdin``: a copy of each for as long as a command runs.

Must never hold: a copy that another user can read, or that is there after the command.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from scepflow.sscep.settings import QUESTIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scepflow.sscep.settings import Settings

__all__ = ["with_copies"]

_LARGEST_BYTES = (1 << 20) + 1
"""One more than any input may have, so that who reads the copy finds it too large as well."""

_NEEDED = ("ca_file", "encryption_file", "key", "old_key", "old_certificate")
_READ = {
    Operation.GETNEXTCA: ("chain_root",),
    Operation.ENROLL: (*_NEEDED, "request"),
    **dict.fromkeys(QUESTIONS, (*_NEEDED, "local_certificate")),
}
"""Operation → the settings that name files which it reads."""


@contextmanager
def with_copies(settings: Settings) -> Iterator[tuple[Settings, Mapping[str, str]]]:
    """Give settings that name copies of what is no regular file, and the names as they were given.

    Args:
        settings: the command.

    Returns:
        The settings, and the name of each copy with the one that it stands for.
    """
    with ExitStack() as stack:
        copies: dict[str, str] = {}
        changed: dict[str, Any] = {}
        for option in _READ.get(settings.operation, ()):
            name = getattr(settings, option)
            if name is not None and name not in copies and _is_passing(name):
                with suppress(OSError):  # told by who needs it
                    copies[name] = stack.enter_context(_copy(name))
            if name in copies:
                changed[option] = copies[name]
        yield replace(settings, **changed), {copy: name for name, copy in copies.items()}


def _is_passing(name: str) -> bool:
    """Tell whether a name is that of a pipe, a terminal or a socket; a device such as /dev/null is one as well."""
    path = Path(name)
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


@contextmanager
def _copy(name: str) -> Iterator[str]:
    """Give the name of a copy that only this user can read: in memory where the system has that."""
    with Path(name).open("rb") as file:
        content = file.read(_LARGEST_BYTES)
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("scepflow"), "wb") as copy:
            os.fchmod(copy.fileno(), 0o600)
            copy.write(content)
            copy.flush()
            yield f"/proc/self/fd/{copy.fileno()}"
        return
    with TemporaryDirectory(prefix="scepflow-") as folder:
        path = Path(folder) / "input"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as copy:
            copy.write(content)
        yield str(path)
