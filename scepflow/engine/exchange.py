"""One HTTP request and its response as plain values: what the engine asks a transport to do.

Must never hold: a socket, or a module that opens one.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from scepflow.errors import ProtocolError, TransportError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepflow.errors import ScepflowError

__all__ = ["HttpRequest", "HttpResponse", "check_size", "cms_body", "http_error", "is_page"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request that a transport must send as it is.

    Attributes:
        method: how it is sent. A GET may be repeated after a failure, save a PKIOperation.
        operation: the SCEP operation (RFC 8894 §4). A ``PKIOperation`` is sent once, by POST or
            GET: the CA may have issued a certificate, or spent the challenge, before its answer was lost.
        url: absolute URL with its query, ASCII, percent-encoded.
        headers: header fields to send; the transport adds Host and Content-Length.
        body: raw bytes, empty for GET.
        max_response_bytes: the transport gives up on a longer response body (S-031).
    """

    method: Literal["GET", "POST"]
    operation: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    max_response_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """What came back.

    Attributes:
        status: 100 to 599.
        headers: header fields, names in lower case.
        body: raw bytes as sent, never decompressed.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, or "" (a hint only, Q-100)."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


# What a status means where no reply came with it (interop facts ).
_STATUS_HINTS = {
    401: "the server wants a login; EJBCA also says so to a wrong challenge",
    403: "is the path of the SCEP service right?",
    404: "is the path of the SCEP service right, and the CA identifier?",
    405: "is the path of the SCEP service right?",
    407: "the proxy wants a login",
    413: "the request is too large for the server",
    414: 'the request is too long for a URL; set method = "POST" in [ca]',
    429: "the server is busy; try again later",
    501: "the server does not do this operation; is the path of the SCEP service right?",
    503: "the server is busy; try again later",
    511: "the network wants a login first",
}
_WRONG_ADDRESS = "is this the address of the SCEP service?"
_NOT_THE_SERVICE = f"{_WRONG_ADDRESS} A network that wants a login first answers with a web page, too"
_CHALLENGES_PAGE = (
    "this is the page where NDES gives out challenges; its SCEP service is /certsrv/mscep/mscep.dll"
)


def check_size(response: HttpResponse, most_bytes: int) -> None:
    """Refuse a body that a transport should not have read to its end (S-031); raises ProtocolError."""
    if len(response.body) > most_bytes:
        raise ProtocolError(
            f"the server sent {len(response.body)} bytes, more than the {most_bytes} allowed for such an answer"
        )


def cms_body(response: HttpResponse) -> bytes:
    """Return the CMS in a response, whatever its status and content type (Q-051, Q-086, Q-102).

    Raises:
        TransportError: an HTTP error and no CMS.
        ProtocolError: success and no CMS (Q-070, Q-071).
    """
    body = response.body.lstrip(b" \t\r\n")
    if body.startswith(b"\x30"):
        return body
    if body.startswith(b"MII"):
        try:
            return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
        except binascii.Error:
            pass
    raise http_error(response, what="reply")


def http_error(response: HttpResponse, *, what: str) -> ScepflowError:
    """Return the error for a response that does not hold what was asked for.

    Args:
        response: the response.
        what: what was expected, such as ``reply``.
    """
    said = _shown_body(response)
    if response.status == 200:
        return ProtocolError(
            f"the server answered with {said}, not with a {what}",
            section="RFC 8894 §4.3 PKCSReq/RenewalReq",
            hint=_page_hint(response) or _WRONG_ADDRESS,
        )
    hint = _STATUS_HINTS.get(response.status)
    if response.status >= 500 and hint is None:
        hint = "the server's own log says why; the certificate may have been issued all the same"
    return TransportError(
        f"the server answered HTTP {response.status} with {said}",
        status=response.status,
        retryable=response.status in (429, 502, 503, 504),
        hint=hint,
    )


def is_page(body: bytes) -> bool:
    """Tell whether a body is a web page, in UTF-16 too (Q-013, Q-070)."""
    return _visible(body).startswith(b"<")


def _visible(body: bytes) -> bytes:
    """Return the start of a body without byte order mark and NULs: what UTF-16 adds to a page in Latin letters."""
    return body[:4096].removeprefix(b"\xff\xfe").removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"").lstrip()


def _page_hint(response: HttpResponse) -> str | None:
    if not is_page(response.body):
        return None
    return _CHALLENGES_PAGE if _shows_challenge(response.body) else _NOT_THE_SERVICE


def _shows_challenge(body: bytes) -> bool:
    return b"enrollment challenge password" in _visible(body).lower()


def _shown_body(response: HttpResponse) -> str:
    """Return what a body says, fit to be shown in an error."""
    if not response.body:
        return "an empty body"
    if _shows_challenge(response.body):  # it is good for an enrollment, and must not get into a log
        return "a web page that shows a challenge"
    page = is_page(response.body)
    text = _visible(response.body) if page else response.body[:4096]
    if b"\0" in text:
        return f"{len(response.body)} bytes of binary data"
    words = " ".join(re.sub(rb"<[^>]*>", b" ", text).decode("utf-8", "backslashreplace").split())
    return f'{"a web page" if page else "the text"}: "{sanitise(words)}"'
