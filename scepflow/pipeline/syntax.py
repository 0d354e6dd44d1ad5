"""What is wrong with a text that is not TOML, in words, with as much of its line as may be shown.

Must never hold: a value in an error, since it may be a secret; only keys and
headers are shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from scepflow.errors import PipelineError
from scepflow.pipeline.locate import dotted, find_repetition
from scepflow.text import sanitise

if TYPE_CHECKING:
    from typing import Self

    import tomli

    from scepflow.pipeline.locate import Repetition

__all__ = ["TomlError"]

# What tomli says → what to do about it.
_HINTS = {
    "Invalid value": 'text needs quotes: key = "text"',
    "Invalid statement": 'write key = "value", or [name] for a table',
    "Expected '=' after a key": 'write key = "value", or [name] for a table',
    "Expected ']": "close the table's name with ]",
    'Expected "\'"': "close the text with the quote that it begins with",
    "Illegal character": "close the text with the quote that it begins with, on the same line",
    "Unterminated string": "close the text with the quotes that it begins with",
    "Unclosed array": "close the list with ]",
    "Unclosed inline table": "close the table with }",
    "Expected newline": "write one key on a line; text that holds quotes needs the other kind around it",
    "Unescaped '\\'": r"write \\ for a backslash, or put the text in single quotes",
    "Cannot": "a name is a value, or one table with one [name] line: it cannot be added to elsewhere",
}
# With these the line does not begin inside a string, where a secret can look like a key.
_OUTSIDE_STRINGS = (
    "Invalid value",
    "Invalid statement",
    "Invalid initial",
    "Expected '='",
    "Expected ']",
    "Expected newline",
    "Illegal character '\\n'",
)
_KEYS = r"[A-Za-z0-9_-]+(?:[ \t]*\.[ \t]*[A-Za-z0-9_-]+)*"
_HEADER_OR_KEY = re.compile(rf"[ \t]*(?:\[\[?[ \t]*(?:{_KEYS})?[ \t]*\]{{0,2}}|{_KEYS}[ \t]*(?:=[ \t]*)?)")


class TomlError(PipelineError):
    """A text is not TOML.

    Attributes:
        excerpt: its line as far as it may be shown, or "".
        caret: the column under which the caret stands, 1 or more.
    """

    excerpt = ""
    caret = 1

    @classmethod
    def of(cls, name: str, error: tomli.TOMLDecodeError) -> Self:
        """Return what tomli found, worded.

        Args:
            name: the file as the user named it.
            error: what tomli raised.
        """
        text, at = error.doc, error.pos
        message = error.msg
        hint = next((words for start, words in _HINTS.items() if message.startswith(start)), None)
        is_repeated = message.startswith(("Cannot", "Duplicate"))
        twice = find_repetition(text) if is_repeated else None
        if twice is not None:
            message, at = _repeated(twice), twice.second.start
            hint = f"it stands in line {_line_of(text, twice.first.start)} already; keep one of them"
        elif is_repeated:
            message = "something of this name is there already"
        start = text.rfind("\n", 0, at) + 1
        found = cls(
            f"not TOML: {message}",
            file=name,
            line=_line_of(text, at),
            column=at - start + 1,
            hint=hint,
        )
        if message.startswith(_OUTSIDE_STRINGS) or is_repeated:
            found._show(text[start:].partition("\n")[0], at - start, whole=is_repeated)
        return found

    def _show(self, line: str, at: int, *, whole: bool) -> None:
        """Show a header or key up to the error, or whole if it is to blame itself."""
        match = _HEADER_OR_KEY.match(line)
        if match is not None:
            shown = match[0] if whole else match[0][:at]
            hides = len(shown) < len(line.rstrip())
            self.excerpt = shown.replace("\t", " ") + "…" * hides
            self.caret = min(at, len(shown)) + 1


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _repeated(twice: Repetition) -> str:
    name = sanitise(dotted(twice.path))
    if all(twice.are_tables):
        return f"the table [{name}] is declared twice"
    if any(twice.are_tables):
        return f'"{name}" is a key and a table'
    return f'the key "{name}" is given twice'
