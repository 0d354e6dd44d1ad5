"""Making text from a server safe to show: the one sanitiser for logs, errors, tables and JSON.

Must never hold: anything that decides; text is for humans.
"""

from __future__ import annotations

import unicodedata

__all__ = ["sanitise"]

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def sanitise(text: str | bytes, *, limit: int = 200) -> str:
    r"""Return one line of visible text, whatever a server sent.

    Control characters, line separators and bidirectional controls are escaped,
    invalid UTF-8 becomes ``\xNN``, and what is too long is cut with an ellipsis
    (S-060, S-064).

    Args:
        text: the text, or its bytes in UTF-8, of any length.
        limit: most characters to return, 1 or more.
    """
    if isinstance(text, bytes):
        text = text[: (limit + 1) * 4].decode("utf-8", "backslashreplace")
    if len(text) <= limit and text.isprintable():
        return str(text)  # and no subclass of it
    cut = text[: limit + 1]
    safe = "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _UNSAFE else c for c in cut
    )
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
