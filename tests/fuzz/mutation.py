"""Valid messages made invalid, drawn from a random number generator: elements, bytes and text.

Fast, since a million are wanted: where the elements of a valid message stand is
found once, and a change mends only the lengths above it. Must never hold: what a
message means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from scepflow.engine.asn1 import encode, wrap

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

MOST_BYTES = 1 << 18
DEEPEST = 200  # a few times what the engine takes
_HUGE = b"\x7f" + b"\xff" * 3000
PARTS = (
    *(wrap(0x02, number) for number in (_HUGE, b"\x80" + bytes(3000), b"", b"\xff", b"\0\0\1", b"\x7f" + b"\xff" * 7)),
    *(wrap(0x03, bits) for bits in (b"", b"\0\1\2", b"\x09\xff", b"\x07")),
    *(wrap(0x04, octets) for octets in (b"", b"\xff" * 300, b"\x30\x80", bytes(16))),
    *(wrap(0x06, oid) for oid in (b"", b"\x80", b"\xff" * 40 + b"\x7f", b"\x2a")),
    *(wrap(tag, text) for tag in (0x0C, 0x13, 0x14, 0x16) for text in (b"9" * 5000, b"\xff\xfe", b"\x1b[2J", b"0", b"3")),
    *(wrap(0x17, time) for time in (b"000000000000Z", b"260601120000+9999", b"")),
    *(wrap(0x18, time) for time in (b"00000101000000Z", b"99991231235959Z")),
    *(wrap(tag, b"") for tag in (0x01, 0x05, 0x30, 0x31, 0x80, 0xA0, 0xA1, 0xA3)),
    wrap(0x01, b"\1"),
    wrap(0x1E, b"\xd8"),
    wrap(0x1C, b"\xff\xff\xff\xff"),
    wrap(0x30, wrap(0x30, wrap(0x02, _HUGE)) + wrap(0x31, wrap(0x02, _HUGE))),
    b"\x30\x84\xff\xff\xff\xff",
    b"\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x02\x84\x7f\xff\xff\xff",
    b"\x1f\x85\x85\x85\x01\x00",
    b"\x30\x80",
    b"\0\0",
)  # fmt: skip  # a table


class Element(NamedTuple):
    """An element's offsets in its message: of its tag, its contents, behind them, and behind all of it."""

    start: int
    inner: int
    stop: int
    end: int
    parent: int  # its place among the message's elements, or -1


@dataclass(frozen=True, slots=True)
class Specimen:
    """One or more valid values, DER or BER, and where their elements are, those in strings too."""

    data: bytes
    elements: tuple[Element, ...]

    @classmethod
    def of(cls, data: bytes) -> Specimen:
        found: list[Element] = []
        _collect(data, 0, len(data), -1, found)
        return cls(data, tuple(found))

    def bytes_of(self, element: Element) -> bytes:
        return self.data[element.start : element.end]

    def contents(self, element: Element) -> bytes:
        return self.data[element.inner : element.stop]

    def replaced(self, start: int, end: int, parent: int, new: bytes) -> bytes:
        """Return the message with other bytes in a place, and the lengths above it mended."""
        data = self.data
        while parent >= 0:
            above = self.elements[parent]
            contents = data[above.inner : start] + new + data[end : above.stop]
            if data[above.start + 1] == 0x80:
                new = data[above.start : above.inner] + contents + b"\0\0"
            else:
                new = wrap(data[above.start], contents)
            start, end, parent = above.start, above.end, above.parent
        return data[:start] + new + data[end:]

    def with_element(self, element: Element, new: bytes) -> bytes:
        return self.replaced(element.start, element.end, element.parent, new)

    def find(self, der: bytes) -> Element:
        """Return the first element with this encoding."""
        return next(e for e in self.elements if self.bytes_of(e) == der)


def _collect(data: bytes, at: int, end: int, parent: int, found: list[Element]) -> int:
    """Find the elements up to an end, or up to an end-of-contents; return where they stop."""
    while at < end and not (parent >= 0 and data[at : at + 2] == b"\0\0"):
        tag, length, inner = data[at], data[at + 1], at + 2
        if length > 0x80:
            inner += length & 0x7F
            length = int.from_bytes(data[at + 2 : inner], "big")
        place = len(found)
        if data[at + 1] == 0x80:
            found.append(Element(at, inner, end, end, parent))
            stop = _collect(data, inner, end, place, found)
            found[place] = Element(at, inner, stop, stop + 2, parent)
        else:
            stop = inner + length
            if stop > end:
                raise ValueError("not one value after another")
            found.append(Element(at, inner, stop, stop, parent))
            _look_inside(data, tag, found, place)
        at = found[place].end
    return at


def _look_inside(data: bytes, tag: int, found: list[Element], place: int) -> None:
    _, inner, stop, _, _ = found[place]
    if tag & 0x20:
        _collect(data, inner, stop, place, found)
    elif tag in (0x03, 0x04) and data[inner + (tag == 0x03) :][:1] in (b"\x30", b"\x31"):
        known = len(found)
        try:
            _collect(data, inner + (tag == 0x03), stop, place, found)
        except (ValueError, IndexError):
            del found[known:]


# -- elements: each returns what shall stand in an element's place


def _drop(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    return b""


def _double(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    return specimen.bytes_of(element) * 2


def _crowd(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    whole = specimen.bytes_of(element)
    return whole * min(chance.choice((3, 17, 65, 66, 1000)), max(2, MOST_BYTES // max(len(whole), 1)))


def _empty(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    return bytes((specimen.data[element.start], 0))


def _retag(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    tag = specimen.data[element.start]
    new = chance.choice((tag ^ 0x20, tag ^ 0x80, tag ^ 0x01, chance.randrange(256)))
    return bytes((new,)) + specimen.bytes_of(element)[1:]


def _part(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    return chance.choice(PARTS)


def _insert(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    return specimen.bytes_of(element) + chance.choice(PARTS)


def _fill(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    contents = chance.choice(
        (bytes(1), b"\0\x98\x96\x80", b"\xff" * 4, b"\x80" + bytes(8), b"0", b"2", b"A" * 1100, _HUGE)
    )
    return wrap(specimen.data[element.start], contents)


def _flip(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    contents = bytearray(specimen.contents(element))
    if contents:
        contents[chance.randrange(len(contents))] ^= 1 << chance.randrange(8)
    return wrap(specimen.data[element.start], bytes(contents))


def _shorten(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    contents = specimen.contents(element)
    at = chance.randrange(len(contents) + 1)
    return wrap(specimen.data[element.start], contents[:at] if chance.random() < 0.5 else contents[at:])


def _enlarge(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    contents = specimen.contents(element)
    more = chance.choice((b"\0", b"\xff", b"\0" * 200, b"\x7f" * 5000))
    return wrap(specimen.data[element.start], more + contents if chance.random() < 0.5 else contents + more)


def _wrong_length(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    whole = bytearray(specimen.bytes_of(element))
    at = chance.randrange(1, max(element.inner - element.start, 2))
    whole[at] = (whole[at] + chance.choice((1, -1, 2, 0x7F, 0x80))) % 256
    return bytes(whole)


def _long_length(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    contents = specimen.contents(element)
    octets = chance.choice((1, 2, 3, 4, 5, 8, 126))
    size = len(contents) if len(contents) < 256**octets else 255
    return bytes((specimen.data[element.start], 0x80 | octets)) + size.to_bytes(octets, "big") + contents


def _indefinite(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    tag, contents = specimen.data[element.start], specimen.contents(element)
    if not tag & 0x20:
        at = chance.randrange(len(contents) + 1)
        contents = wrap(0x04, contents[:at]) + wrap(0x04, contents[at:])
    return bytes((tag | 0x20, 0x80)) + contents + chance.choice((b"\0\0", b"\0\0", b"\0\0", b"", b"\0"))


def _nest(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    whole = specimen.bytes_of(element)
    tag = chance.choice((0x30, 0x31, 0x24, 0xA0, 0x04, specimen.data[element.start]))
    for _ in range(chance.choice((1, 1, 2, 20, 40, DEEPEST))):
        if len(whole) > MOST_BYTES:
            break
        whole = wrap(tag, whole)
    return whole


def _nest_open(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    depth = chance.choice((10, 33, 1000, 20_000))
    return bytes((chance.choice((0x30, 0x31, 0x24, 0xA0)), 0x80)) * depth + specimen.bytes_of(element)


def _elsewhere(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    return specimen.bytes_of(chance.choice(specimen.elements))


_REPLACEMENTS: tuple[Callable[[random.Random, Specimen, Element], bytes], ...] = (
    _drop,
    _double,
    _crowd,
    _empty,
    _retag,
    _part,
    _insert,
    _fill,
    _flip,
    _flip,
    _shorten,
    _enlarge,
    _wrong_length,
    _long_length,
    _indefinite,
    _nest,
    _nest_open,
    _elsewhere,
)
_KINDS = len(_REPLACEMENTS) + 2  # and a swap, and a splice


def _change(chance: random.Random, specimen: Specimen, others: Sequence[Specimen]) -> bytes:
    """Return the message with one element changed."""
    element = specimen.elements[int(chance.random() * len(specimen.elements))]
    kind = int(chance.random() * _KINDS)
    if kind < len(_REPLACEMENTS):
        return specimen.with_element(element, _REPLACEMENTS[kind](chance, specimen, element))
    if kind == len(_REPLACEMENTS):
        return _swap(chance, specimen, element)
    other = chance.choice(others)
    return specimen.with_element(element, other.bytes_of(chance.choice(other.elements)))


def _swap(chance: random.Random, specimen: Specimen, element: Element) -> bytes:
    siblings = [e for e in specimen.elements if e.parent == element.parent]
    first, second = sorted((element, chance.choice(siblings)))
    if first == second:
        return specimen.with_element(element, b"")
    between = specimen.data[first.end : second.start]
    return specimen.replaced(
        first.start, second.end, first.parent, specimen.bytes_of(second) + between + specimen.bytes_of(first)
    )


def mutated(chance: random.Random, specimen: Specimen, others: Sequence[Specimen]) -> bytes:
    """Return a message with one to three elements changed, few of them with damaged bytes besides.

    Args:
        chance: the source of all choices.
        specimen: the valid message.
        others: valid messages whose elements may come into this one.
    """
    data = _change(chance, specimen, others)
    more = chance.random()
    for _ in range((more < 0.25) + (more < 0.08)):
        try:
            again = Specimen.of(data)
        except (ValueError, IndexError, RecursionError):
            break
        if not again.elements or len(again.elements) > 5000:
            break
        data = _change(chance, again, others)
    return damaged(chance, data, data) if more > 0.95 else data


# -- bytes

_BYTES = (0x00, 0x01, 0x7F, 0x80, 0x84, 0xA0, 0xFF)


def damaged(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Return data with some bytes changed, taken out, doubled, put in or cut off, or with another's end."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = int(chance.random() * (len(result) + 1))
        size = chance.choice((1, 2, 5, 40))
        match int(chance.random() * 9):
            case 0 | 1:
                result[at : at + 1] = bytes(b ^ 1 << chance.randrange(8) for b in result[at : at + 1])
            case 2:
                result[at : at + 1] = bytes((chance.choice(_BYTES),))
            case 3:
                del result[at : at + size]
            case 4:
                result[at:at] = result[at : at + size]
            case 5:
                result[at:at] = chance.randbytes(size)
            case 6:
                del result[at:]
            case 7:
                result += chance.choice((b"\0", b"\r\n", b" ", bytes(result[:20])))
            case 8:
                result[at:] = other[int(chance.random() * (len(other) + 1)) :]
    return bytes(result)


# -- text

_TOKENS = (
    *"[]{}=.,#\\\"'\0\n\t\r \u2028\u202e\ufeff\x1b",
    *('"""', "'''", "[[", "]]", "\r\n", "\\u0000", "\\U0010ffff", "\\", "1979-05-27 07:32:00", "1e999", "nan", "-"),
    *("9" * 5000, "0x" + "f" * 5000, "0." + "1" * 5000, "é", "<html>", "SHA-256", "AES", "${x}", "$x", ".include x"),
)  # fmt: skip  # a table


def mutated_text(chance: random.Random, text: str, others: Sequence[str]) -> str:
    """Return text with lines moved, doubled or dropped, and characters that mean something put in."""
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        at = int(chance.random() * (len(text) + 1))
        match int(chance.random() * 9):
            case 0:
                text = text[:at] + text[at + chance.choice((1, 3, 30)) :]
            case 1 | 2:
                text = text[:at] + chance.choice(_TOKENS) + text[at:]
            case 3:
                text = text[:at] + chance.choice(_TOKENS) * chance.choice((2, 60, 3000)) + text[at:]
            case 4:
                lines = text.split("\n")
                lines.insert(chance.randrange(len(lines)), chance.choice(lines))
                text = "\n".join(lines)
            case 5:
                lines = text.split("\n")
                del lines[chance.randrange(len(lines))]
                text = "\n".join(lines)
            case 6:
                other = chance.choice(others)
                text = text[:at] + other[chance.randrange(len(other) + 1) :]
            case 7:
                text = text[:at]
            case 8:
                text = (
                    text[:at]
                    + chr(chance.choice((chance.randrange(128), chance.randrange(0xD800))))
                    + text[at + 1 :]
                )
        text = text[:MOST_BYTES]
    return text


def attribute(oid: object, *values: bytes) -> bytes:
    """Return the DER of an Attribute."""
    return wrap(0x30, encode(oid) + wrap(0x31, b"".join(values)))
