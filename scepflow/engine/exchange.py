"""One HTTP request and its response as plain values: what the engine asks a transport to do.

Must never hold: a socket, or a module that opens one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HttpRequest", "HttpResponse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request that a transport must send as it is.

    Attributes:
        method: GET may be repeated after a failure, POST never (a challenge may be spent).
        operation: the SCEP operation, such as ``PKIOperation`` (RFC 8894 §4).
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
