"""Where each key and each value of a TOML text stands.

Works on text that tomli has accepted, so it looks for boundaries and judges
nothing. Must never hold: a decision about what TOML allows, or I/O.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import tomli

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KeyPath", "Place", "Repetition", "Source", "Span", "dotted", "find_repetition", "locate"]

KeyPath = tuple[str | int, ...]
"""The keys, and indexes into arrays, that lead to a value."""

_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r""" "(?:[^"\\]|\\.)*" | '[^']*' | [^\s."'=\]]+ """, re.VERBOSE)
_SCALAR = re.compile(
    r"""
      \"{3} (?:[^\\]|\\.)*? \"{3} \"{0,2}         # up to two quotes may stand before the closing three
    | \'{3} .*? \'{3} \'{0,2}
    | \"(?:[^\"\\]|\\.)*\" | \'[^\']*\'
    | \d{4}-\d\d-\d\d[ ]\d\d:[^\s,\]}#]+          # a date and a time with a space between
    | [^\s,\]}#]+
    """,
    re.VERBOSE | re.DOTALL,
)


class Span(NamedTuple):
    """Text from offset ``start`` up to ``end``, in characters."""

    start: int
    end: int


class Place(NamedTuple):
    """Where a key and its value stand.

    A table's value is its ``[header]``; a table that only a longer header or a
    dotted key names is where it is named first; an array's element is its own key.
    """

    key: Span
    value: Span


class Repetition(NamedTuple):
    """A key or header that stands in a text twice.

    Attributes:
        path: the key path.
        first: where it stands first.
        second: where it stands again.
        are_tables: whether it is a ``[header]`` there, first and again.
    """

    path: KeyPath
    first: Span
    second: Span
    are_tables: tuple[bool, bool]


@dataclass(frozen=True, eq=False)
class Source:
    """A TOML file's text and where everything in it stands.

    Attributes:
        name: the file as the user named it.
        text: its text, line ends as LF; may hold literal secrets, so never shown whole.
        places: key path → place, in the order of the text.
    """

    name: str
    text: str = field(repr=False)
    places: Mapping[KeyPath, Place] = field(repr=False)

    @classmethod
    def of(cls, name: str, text: str) -> Source:
        """Return a source for text that tomli accepts."""
        text = text.replace("\r\n", "\n")
        return cls(name, text, locate(text))

    def position(self, offset: int) -> tuple[int, int]:
        """Return line and column, both from 1, of an offset."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> Span:
        """Return the span of a line, from 1, without its end."""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return Span(start, len(self.text) if end < 0 else end)

    def is_inline(self, path: KeyPath) -> bool:
        """Return whether a table is written ``{ in one piece }``, not with a header or dotted keys."""
        return self.text[self.places[path].value.start] == "{"

    @cached_property
    def ends(self) -> Mapping[int, int]:
        """Where a key, value or header ends that starts at an offset; the longest counts."""
        spans = (span for place in self.places.values() for span in place)
        found: dict[int, int] = {}
        for start, end in spans:
            found[start] = max(end, found.get(start, 0))
        return found

    def leaves(self, line: Span) -> Iterator[tuple[KeyPath, Span]]:
        """Yield the values without parts of their own that stand on a line, wholly or in part."""
        last = bisect_right(self._leaves, line.end, key=lambda leaf: leaf[1].start)
        first = bisect_right(self._leaves, line.start, key=lambda leaf: leaf[1].end)
        yield from self._leaves[first:last]

    @cached_property
    def _leaves(self) -> list[tuple[KeyPath, Span]]:
        tables = {path[:-1] for path in self.places}
        found = ((path, place.value) for path, place in self.places.items() if path not in tables)
        return sorted(
            ((path, value) for path, value in found if self.text[value.start] not in "[{"),
            key=lambda leaf: leaf[1],
        )

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]


def dotted(path: KeyPath) -> str:
    """Return a key path as users write it: ``csr.san[0]``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def locate(text: str) -> dict[KeyPath, Place]:
    """Return where each key path of a TOML document stands.

    Args:
        text: TOML that tomli accepts, line ends as LF.

    Raises:
        RecursionError: values are nested too deeply; tomli refuses less.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.places


def find_repetition(text: str) -> Repetition | None:
    """Return the first key or header that stands in a text twice, which TOML forbids, or None.

    Args:
        text: TOML but for that, line ends as LF.
    """
    scanner = _Scanner(text)
    with suppress(
        AssertionError, IndexError, RecursionError, tomli.TOMLDecodeError
    ):  # behind it, text may be anything
        scanner.document()
    return scanner.repetition


class _Scanner:
    """One pass over the text; every method starts at ``self.at`` and moves it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[KeyPath, Place] = {}
        self.named: dict[KeyPath, tuple[Span, bool]] = {}  # what a header or a key has named
        self.repetition: Repetition | None = None
        self.lengths: dict[KeyPath, int] = {}  # arrays of tables and how many tables they have

    def document(self) -> None:
        table: KeyPath = ()
        while self.skip(_BLANK) < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)

    def name(self, path: KeyPath, span: Span, *, is_table: bool) -> None:
        """Note what a header or a key names, and whether it has been named before."""
        first, was_table = self.named.setdefault(path, (span, is_table))
        if first != span and self.repetition is None:
            self.repetition = Repetition(path, first, span, (was_table, is_table))

    def skip(self, pattern: re.Pattern[str]) -> int:
        """Move behind what matches and return the new offset."""
        match = pattern.match(self.text, self.at)
        assert match is not None, "tomli accepted what we cannot read"
        self.at = match.end()
        return self.at

    def header(self) -> KeyPath:
        start = self.at
        is_array = self.text.startswith("[[", start)
        self.at += 1 + is_array
        keys = list(self.keys())
        self.at += 1 + is_array
        whole = Span(start, self.at)
        path: KeyPath = ()
        for name, span in keys[:-1]:
            path = self.enter((*path, name))
            self.places.setdefault(path, Place(span, whole))
        path = (*path, keys[-1][0])
        if is_array:
            self.places.setdefault(path, Place(keys[-1][1], whole))
            self.lengths[path] = self.lengths.get(path, 0) + 1
            path = self.enter(path)
        self.name(path, keys[-1][1], is_table=True)
        self.places[path] = Place(keys[-1][1], whole)
        return path

    def enter(self, path: KeyPath) -> KeyPath:
        """Return the path itself, or of an array of tables its newest table's."""
        return (*path, self.lengths[path] - 1) if path in self.lengths else path

    def keys(self) -> Iterator[tuple[str, Span]]:
        """Read a dotted key up to what ends it."""
        while True:
            start = self.skip(_SPACE)
            span = Span(start, self.skip(_KEY))
            text = self.text[span.start : span.end]
            yield (tomli.loads(f"key = {text}")["key"] if text[0] in "\"'" else text), span
            if self.text[self.skip(_SPACE)] != ".":
                return
            self.at += 1

    def pair(self, table: KeyPath) -> None:
        path = table
        named = []
        for name, span in self.keys():
            path = (*path, name)
            named.append((path, span))
        self.name(path, named[-1][1], is_table=False)
        self.at += 1  # =
        start = self.skip(_SPACE)
        for parent, span in named[:-1]:
            self.places.setdefault(parent, Place(span, span))
        self.places[path] = Place(
            named[-1][1], Span(start, start)
        )  # before what is inside, in the order of the text
        self.value(path)
        self.places[path] = Place(named[-1][1], Span(start, self.at))

    def value(self, path: KeyPath) -> None:
        opening = self.text[self.at]
        if opening not in "[{":
            self.skip(_SCALAR)
            return
        self.at += 1
        count = 0
        while self.text[self.skip(_BLANK)] not in "]}":
            if opening == "{":
                self.pair(path)
            else:
                self.element((*path, count))
            count += 1
            if self.text[self.skip(_BLANK)] == ",":
                self.at += 1
        self.at += 1

    def element(self, path: KeyPath) -> None:
        start = self.at
        self.places[path] = Place(Span(start, start), Span(start, start))
        self.value(path)
        whole = Span(start, self.at)
        self.places[path] = Place(whole, whole)
