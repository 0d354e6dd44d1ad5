"""What ``-v`` and ``-d`` say of each message that leaves and each answer that comes.

The answer is not verified yet: its bytes are shown in base64 or counted, never read as text.
Must never hold: what is inside an envelope.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from scepflow.errors import ScepflowError
from scepflow.sscep.lines import pem_lines
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.sscep.output import Screen

__all__ = ["REPLY_TYPES", "message_of", "nonce_lines", "tell_received", "tell_sent"]

REPLY_TYPES = {
    "PKIOperation": ("application/x-pki-message",),
    "GetCACert": (
        "application/x-x509-ca-cert",
        "application/x-x509-ca-ra-cert",
        "application/x-x509-ra-ca-certs",  # Entrust
    ),
    "GetNextCACert": ("application/x-x509-next-ca-cert",),
}
"""Operation → the Content-Types that sscep takes."""


def message_of(request: HttpRequest) -> bytes:
    """Return the pki_message in DER, from a POST's body or a GET's address."""
    if request.body:
        return request.body
    from urllib.parse import parse_qs, urlsplit

    return b64decode(parse_qs(urlsplit(request.url).query)["message"][0])


def tell_sent(screen: Screen, request: HttpRequest) -> None:
    """Print a request that is about to leave, and the message in it."""
    if not screen.tells_more:
        return
    if request.operation == "PKIOperation":
        from scepflow.engine.cms import parse_signed_data

        message = message_of(request)
        envelope = parse_signed_data(message).content or b""
        screen.verbose("successfully encrypted payload")
        screen.verbose(f"envelope size: {len(envelope)} bytes")
        _dump(screen, envelope)
        screen.verbose("creating outer PKCS#7")
        screen.verbose("PKCS#7 data written successfully")
        _dump(screen, message)
        if request.body:
            screen.verbose(f"payload size: {len(message)} bytes")
        else:
            screen.verbose("applying base64 encoding")
            screen.verbose(f"base64 encoded payload size: {len(b64encode(message))} bytes")
    if screen.is_debug:
        _tell_http(screen, request)


def _tell_http(screen: Screen, request: HttpRequest) -> None:
    """Print a request as it leaves, but for a POST's body: sscep printed that up to its first NUL."""
    from urllib.parse import urlsplit

    parts = urlsplit(request.url)
    screen.say("scep request:")
    screen.raw(f"{request.method} {parts.path}?{parts.query} HTTP/1.1")
    screen.raw(f"Host: {parts.netloc}")
    for name, value in request.headers.items():
        screen.raw(f"{name}: {value}")
    screen.raw(f"Content-Length: {len(request.body)}\n" if request.body else "")


def tell_received(screen: Screen, request: HttpRequest, response: HttpResponse) -> None:
    """Print an answer as far as it can be told before it is verified."""
    kind = response.headers.get("content-type") or "missing"
    screen.verbose(f"server response status code: {response.status}, MIME header: {sanitise(kind)}")
    if request.operation == "PKIOperation":
        if response.content_type in REPLY_TYPES["PKIOperation"]:
            screen.answered()
        screen.reply = response
    if screen.tells_more and request.operation in ("PKIOperation", "GetNextCACert"):
        _tell_reply(screen, response, "enveloped" if request.operation == "PKIOperation" else "signed")


def _tell_reply(screen: Screen, response: HttpResponse, what: str) -> None:
    from scepflow.engine.cms import parse_signed_data
    from scepflow.engine.exchange import cms_body

    try:
        body = cms_body(response)
        content = parse_signed_data(body).content or b""
    except ScepflowError:
        return  # which is told where the reply is read
    screen.verbose("reading outer PKCS#7")
    screen.verbose(f"PKCS#7 payload size: {len(body)} bytes")
    _dump(screen, body)
    screen.verbose(f"PKCS#7 contains {len(content)} bytes of {what} data")
    screen.verbose("verifying signature")


def nonce_lines(response: HttpResponse) -> Iterator[str]:
    """Yield the nonces of a reply that passed every check."""
    from scepflow.engine import oids
    from scepflow.engine.attributes import SignedAttributes, only_signer
    from scepflow.engine.cms import parse_signed_data
    from scepflow.engine.exchange import cms_body

    attributes = SignedAttributes(only_signer(parse_signed_data(cms_body(response))))
    for name, oid in (("senderNonce", oids.SENDER_NONCE), ("recipientNonce", oids.RECIPIENT_NONCE)):
        nonce = attributes.octets(oid)
        yield f"{name} in reply: {'none' if nonce is None else nonce.hex().upper()}"


def _dump(screen: Screen, der: bytes) -> None:
    """Print a message with ``-d``, unless the CA has put a secret of ours into it: its base64 hides nothing."""
    if screen.is_debug and screen.masks.is_in(der):
        screen.say("not shown: there is a secret in it")
    elif screen.is_debug:
        screen.say("printing PEM fomatted PKCS#7")
        for line in pem_lines("PKCS7", der):
            screen.raw(line)
