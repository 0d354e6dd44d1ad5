"""Reading keys, requests and certificates that a user made: bounded, with errors that say what was found instead.

Must never hold: writing, or a guess at what the user meant.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scepflow.errors import StageError

__all__ = ["describe_content", "is_pem", "read_input"]

_LARGEST_BYTES = 1 << 20
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")


def read_input(path: Path, *, what: str, error: type[StageError]) -> bytes:
    """Return a file's bytes, at most 1 MiB.

    Args:
        path: the file.
        what: its part in the run, such as ``key file``, for the message.
        error: the class to raise.

    Raises:
        StageError: of the class given; the file cannot be read, is empty or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as problem:
        hint = "relative paths start at the pipeline file" if isinstance(problem, FileNotFoundError) else None
        raise error(f"cannot read the {what} {path}: {problem.strerror}", hint=hint) from None
    if not data.strip():
        raise error(f"the {what} {path} is empty")
    if len(data) > _LARGEST_BYTES:
        raise error(f"the {what} {path} is larger than {_LARGEST_BYTES} bytes")
    return data


def is_pem(data: bytes) -> bool:
    """Tell whether the bytes hold a PEM block; text around it does not matter."""
    return _BEGIN.search(data) is not None


def describe_content(data: bytes) -> str:
    """Return what the bytes hold, for an error message: PEM labels, or a guess at the encoding."""
    labels = sorted({label.decode("ascii") for label in _BEGIN.findall(data)})
    if labels:
        return f"PEM: {', '.join(labels)}"
    return "binary, perhaps DER" if data[:1] == b"\x30" else "neither PEM nor DER"
