"""What a run left in its attempt's folder. Must never hold: what is to be kept; the runner decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["kept_in"]


def kept_in(path: Path) -> str:
    """Return such as ``key and certificate``, or "" when there is no such folder.

    Args:
        path: an attempt's folder; a key that its own file keeps is not in it.
    """
    if not path.is_dir():
        return ""
    key = ["key"] if (path / "key.pem").exists() else []
    return " and ".join([*key, "certificate" if (path / "certificate.pem").exists() else "request"])
