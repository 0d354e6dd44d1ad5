"""The forms a file may have: DER, BER, PEM, base64, a logged GET address, or capabilities as text.

Must never hold: what the bytes mean.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from scepflow.engine.capabilities import Capabilities, parse_capabilities
from scepflow.errors import ProtocolError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Part", "capabilities_in", "parts_of"]

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s([^-]*)-----END \1-----")
_LOGGED_MESSAGE = re.compile(rb"[?&]message=([^&\s\"']+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One value in a file.

    Attributes:
        form: how it was written: PEM or base64, or "" for binary.
        label: the label of PEM, else "".
        data: its bytes, DER or BER; empty for a private key, which nobody needs to see.
    """

    form: str
    label: str
    data: bytes

    @property
    def private(self) -> bool:
        """Whether it is a private key."""
        return "PRIVATE KEY" in self.label


def capabilities_in(data: bytes) -> Capabilities | None:
    """Return the capabilities that a text lists, or None where no line of it is a known one."""
    found = parse_capabilities(data)
    return found if found.names else None


def parts_of(data: bytes) -> Sequence[Part]:
    """Return the values in a file, one or more.

    Raises:
        ProtocolError: it has none of the forms.
    """
    stripped = data.lstrip(b" \t\r\n")
    if not stripped:
        raise ProtocolError("the file is empty")
    if stripped.startswith(b"\x30"):
        return [Part("", "", stripped)]
    blocks = _PEM.findall(stripped)
    if blocks:
        return [_block(label.decode("ascii"), text) for label, text in blocks]
    return [Part("base64", "", _base64(_message_of(stripped)))]


def _block(label: str, text: bytes) -> Part:
    if "PRIVATE KEY" in label:
        return Part("PEM", label, b"")
    return Part("PEM", label, _base64(text))


def _message_of(text: bytes) -> bytes:
    """Return the message in the address of a GET, as a web server logs it; other text as it is."""
    logged = _LOGGED_MESSAGE.search(text)
    return unquote_to_bytes(logged[1] if logged else text)


def _base64(text: bytes) -> bytes:
    plain = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return binascii.a2b_base64(plain, strict_mode=True)
    except binascii.Error:
        page = text.startswith(b"<")
        raise ProtocolError(
            f'{"a web page" if page else "neither DER, PEM, base64 nor capabilities"}: "{sanitise(text, limit=60)}"',
            hint="is it the answer of the SCEP service, or of another page?" if page else None,
        ) from None
