"""Making text from a server safe to show: the one sanitiser for logs, errors, tables and JSON.

Must never hold: anything that decides; text is for humans.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sanitise"]

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FILLERS = frozenset(
    map(
        chr,
        (
            0x034F,  # combining grapheme joiner
            *(0x115F, 0x1160, 0x3164, 0xFFA0),  # Hangul fillers
            *(0x17B4, 0x17B5, 0x2800),  # vowels and a pattern that show nothing
            *(
                *range(0x180B, 0x1810),
                *range(0xFE00, 0xFE10),
                *range(0xE0100, 0xE01F0),
            ),  # variation selectors
        ),
    )
)
_MAX_MARKS = 3  # on one character; Vietnamese has two, Hebrew three


def sanitise(text: str | bytes, *, limit: int = 200) -> str:
    r"""Return one line of visible text, whatever a server sent.

    Control characters, line separators, bidirectional controls and fillers that nobody
    sees are escaped, and of combining marks those after the third in a row;
    invalid UTF-8 becomes ``\xNN``, and what is too long is cut with an ellipsis
    (S-060, S-064).

    Args:
        text: the text, or its bytes in UTF-8, of any length.
        limit: most characters to return, 1 or more.
    """
    if isinstance(text, bytes):
        text = text[: (limit + 1) * 4].decode("utf-8", "backslashreplace")
    if len(text) <= limit and text.isascii() and text.isprintable():
        return str(text)  # and no subclass of it
    safe = "".join(_visible(text[: limit + 1]))
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def _visible(text: str) -> Iterator[str]:
    """Yield each character, those that deceive who reads escaped."""
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category in _UNSAFE or character in _FILLERS or marks > _MAX_MARKS:
            yield character.encode("unicode_escape").decode("ascii")
        else:
            yield character
