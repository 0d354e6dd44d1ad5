"""BER in, DER out: what a server may send becomes what the strict decoder reads.

EJBCA and BouncyCastle send indefinite lengths and constructed OCTET STRINGs
(Q-042), micromdm constructed ciphertext (Q-036). Must never hold: the shape of
any message, or a reordering; signed attributes keep the order they came in,
because the signature may cover that order (Q-107).
"""

from __future__ import annotations

from typing import NoReturn

from scepflow.errors import ProtocolError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_ELEMENTS", "join_octets", "normalise"]

MAX_BYTES = 16 << 20  # S-031: the longest answer of all, a CRL's; who asks for less allows less
MAX_DEPTH = 32  # S-030: a CertRep of RFC 8894 needs about 12
MAX_ELEMENTS = 100_000  # S-030: 64 certificates hold some 10 000, a CRL 3 to 7 an entry; a tenth of a second
MAX_LENGTH_OCTETS = 4  # S-030: of a length, 4 GiB; nothing longer comes here

_CONSTRUCTED = 0x20
_UNIVERSAL_END = 0x40
_HIGH_TAG = 0x1F
_OCTET_STRING = 0x04
_CONTAINERS = frozenset({0x30, 0x31})  # SEQUENCE, SET
# OCTET STRING, ObjectDescriptor, UTF8String, the types 18 to 28, BMPString: all are joined from OCTET STRINGs.
_STRINGS = frozenset({0x24, 0x27, 0x2C, *range(0x32, 0x3D), 0x3E})
_END_OF_CONTENTS = b"\0\0"
_PADDING = b"\0 \t\r\n"


def normalise(data: bytes, *, max_bytes: int = MAX_BYTES, max_elements: int = MAX_ELEMENTS) -> bytes:
    """Return the DER of the one BER value in the data.

    Lengths become definite and minimal, constructed strings primitive (X.690
    §10.1 Length forms, §10.2 String encoding forms). Everything else stays as
    it came: the order of sets, the contents of primitive values, and tagged
    values (``[0] { 04 … 04 … }`` may be a string or a wrapper; only who knows
    the shape can tell, see `join_octets`). What is DER already comes back equal.

    After the value only NUL, space, tab, CR and LF may follow (Q-103); they are
    left out of the result.

    Args:
        data: one value in BER, as received.
        max_bytes: longest data accepted, padding included.
        max_elements: most tag-length-value elements accepted, nested ones included.

    Raises:
        ProtocolError: not one BER value, or beyond a limit (S-030): 32 levels,
            4 length octets, tag numbers up to 30, the two limits above.
    """
    if len(data) > max_bytes:
        raise ProtocolError(f"the message has {len(data)} bytes, more than the {max_bytes} allowed")
    reader = _Reader(data, max_elements)
    at, _ = reader.element(0, len(data))
    trailing = data[at:].lstrip(_PADDING)
    if trailing:
        _fail(len(data) - len(trailing), "data after the end of the value")
    return b"".join(reader.pieces)


def join_octets(tag: int, content: bytes | memoryview) -> bytes:
    """Return the octets of an OCTET STRING that carries an implicit tag, such as encryptedContent.

    A primitive one is its content; a constructed one (micromdm, Q-036) holds
    OCTET STRINGs, which are joined.

    Args:
        tag: the identifier octet, such as 0x80 or 0xA0.
        content: the contents octets, DER from `normalise`.

    Raises:
        ProtocolError: constructed, and it holds something else than OCTET STRINGs.
    """
    content = bytes(content)
    if not tag & _CONSTRUCTED:
        return content
    reader = _Reader(content, MAX_ELEMENTS)
    at = 0
    while at < len(content):
        at, _ = reader.element(at, len(content), joining=True)
    return b"".join(reader.pieces)


class _Reader:
    """Walks the elements and collects the DER in pieces; each byte is copied twice at most."""

    def __init__(self, data: bytes, max_elements: int) -> None:
        self.pieces: list[bytes] = []
        self._data = data
        self._left = max_elements

    def element(self, at: int, end: int, *, depth: int = 1, joining: bool = False) -> tuple[int, int]:
        """Read the element at an offset; return where it ends and how many bytes it became."""
        tag, start, stop = self._header(at, end)
        if joining and tag & ~_CONSTRUCTED != _OCTET_STRING:
            _fail(at, f"tag 0x{tag:02x} where a part of a constructed string was expected")
        if tag & _CONSTRUCTED:
            return self._constructed(at, start, stop, end=end, depth=depth, joining=joining)
        if stop is None:
            _fail(at, "indefinite length in a primitive value")
        header = b"" if joining else _der_header(tag, stop - start)
        self.pieces += (header, self._data[start:stop])
        return stop, len(header) + stop - start

    def _constructed(
        self, at: int, start: int, stop: int | None, *, end: int, depth: int, joining: bool
    ) -> tuple[int, int]:
        tag = self._data[at]
        strings = tag in _STRINGS
        if tag < _UNIVERSAL_END and not strings and tag not in _CONTAINERS:
            _fail(at, f"tag 0x{tag:02x}: this type cannot be constructed")
        if depth == MAX_DEPTH:
            _fail(at, f"nested deeper than {MAX_DEPTH} levels")
        slot = len(self.pieces)
        self.pieces.append(b"")  # the header, once the size is known
        limit = end if stop is None else stop
        size, inner = 0, start
        while inner != stop:
            if stop is None and self._data.startswith(_END_OF_CONTENTS, inner, end):
                inner += len(_END_OF_CONTENTS)
                break
            inner, more = self.element(inner, limit, depth=depth + 1, joining=strings)
            size += more
        if not joining:
            self.pieces[slot] = _der_header(tag & ~_CONSTRUCTED if strings else tag, size)
        return inner, size + len(self.pieces[slot])

    def _header(self, at: int, end: int) -> tuple[int, int, int | None]:
        """Read tag and length; return the tag, where the contents start, and where they stop (None: indefinite)."""
        self._left -= 1
        if self._left < 0:
            _fail(at, "too many elements")
        if at + 2 > end:
            _fail(at, "the data ends where a value or an end-of-contents was expected")
        tag, length = self._data[at], self._data[at + 1]
        if tag & _HIGH_TAG == _HIGH_TAG or tag in (0x00, 0x10, 0x11):
            _fail(at, f"tag 0x{tag:02x} is not used here")
        start = at + 2
        if length == 0x80:
            return tag, start, None
        if length > 0x80:
            octets = length & 0x7F
            if octets > MAX_LENGTH_OCTETS:
                _fail(at, f"a length of {octets} octets")
            start += octets
            length = int.from_bytes(self._data[at + 2 : start], "big")
        if start + length > end:
            _fail(at, f"the length {length} runs past what holds it")
        return tag, start, start + length


def _der_header(tag: int, length: int) -> bytes:
    if length < 0x80:
        return bytes((tag, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


def _fail(at: int, what: str) -> NoReturn:
    raise ProtocolError(f"broken BER at byte {at}: {what}", section="X.690 §8.1 General rules for encoding")
