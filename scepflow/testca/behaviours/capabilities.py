"""The capabilities that servers list, and how they write them.

Must never hold: what a client makes of them; or HTTP answers without a list (`scepflow.testca.behaviours.http`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from scepflow.engine.exchange import HttpResponse
from scepflow.testca.behaviour import Behaviour

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.testca.behaviour import Scene

__all__ = ["BEHAVIOURS"]

_OPERATIONS = ("GetCACaps",)
_MICROSOFT = ("POSTPKIOperation", "Renewal", "SHA-512", "SHA-256", "SHA-1", "DES3")
_SMALLSTEP = ("Renewal", "SHA-1", "SHA-256", "AES", "DES3", "SCEPStandard", "POSTPKIOperation")
_DOGTAG = ("DES3", "SHA-256", "SHA-512")


def _answer(response: HttpResponse, _: Scene, *, body: bytes, status: int, media_type: str) -> HttpResponse:
    headers = {**response.headers, "content-type": media_type} if media_type else {}
    return HttpResponse(status=status, headers=headers, body=body)


def _saying(
    name: str, summary: str, body: bytes, *, status: int = 200, media_type: str = "text/plain"
) -> Behaviour:
    return Behaviour(
        name=f"caps-{name}",
        summary=summary,
        operations=_OPERATIONS,
        answer=partial(_answer, body=body, status=status, media_type=media_type),
    )


def _rewriting(name: str, summary: str, rewrite: Callable[[bytes], bytes]) -> Behaviour:
    """Return a behaviour that writes the CA's own capabilities otherwise."""

    def answer(response: HttpResponse, _: Scene) -> HttpResponse:
        return replace(response, body=rewrite(response.body))

    return Behaviour(name=f"caps-{name}", summary=summary, operations=_OPERATIONS, answer=answer)


def _lines(*words: str, end: str = "\n") -> bytes:
    return end.join((*words, "")).encode()


BEHAVIOURS = (
    _rewriting("lower-case", "writes its capabilities in lower case", bytes.lower),
    _rewriting(
        "carriage-returns", "ends the lines of its capabilities with CR", lambda b: b.replace(b"\n", b"\r")
    ),
    _rewriting(
        "crlf", "ends the lines of its capabilities with CR LF", lambda body: body.replace(b"\n", b"\r\n")
    ),
    _rewriting("no-last-line-end", "leaves out the last line end of its capabilities", bytes.rstrip),
    _rewriting(
        "blanks",
        "puts blanks and tabs around its capabilities",
        lambda body: b"".join(b"\t " + line + b" \t\n\n" for line in body.split()),
    ),
    _saying(
        "byte-order-mark",
        "begins its capabilities with a byte order mark",
        b"\xef\xbb\xbfSCEPStandard\r\nRenewal\r\n",
    ),
    _rewriting(
        "with-strangers",
        "adds capabilities that nobody knows",
        lambda body: b"Foo\nExample.com-CapName\nUpdate\nSHA2\n" + body + b"\xff\xfe\n",
    ),
    _rewriting("commas", "separates its capabilities by commas", lambda body: b",".join(body.split())),
    _rewriting("nuls", "puts NULs between its capabilities", lambda body: body.replace(b"\n", b"\n\0")),
    _rewriting("many-lines", "adds a thousand lines to its capabilities", lambda body: body + b"x\n" * 1000),
    _saying(
        "prefixes",
        "offers what only begins like a capability",
        _lines("AES256", "AESX", "SHA-2560", "SHA-128", "POSTPKIOperations", "SCEPStandard2"),
    ),
    _saying("standard", "offers SCEPStandard and says no more", b"SCEPStandard"),
    _saying("no-post", "offers all but POST", _lines("AES", "SHA-256", "Renewal")),
    _saying("sha-512", "offers no smaller digest than SHA-512", _lines("AES", "POSTPKIOperation", "SHA-512")),
    _saying("des-and-md5", "offers DES and MD5", _lines("DES", "MD5", "POSTPKIOperation")),
    _saying(
        "microsoft", "offers what NDES offers: neither AES nor SCEPStandard", _lines(*_MICROSOFT, end="\r\n")
    ),
    _saying("smallstep", "offers what step-ca offers, without a line end", "\r\n".join(_SMALLSTEP).encode()),
    _saying("dogtag", "offers what Dogtag offers: no POST, no AES", _lines(*_DOGTAG)),
    _saying("cisco", "offers what a Cisco RA offers", b"GetNextCACert Renewal SHA2", media_type="x/y"),
    _saying("no-renewal", "offers all but Renewal", _lines("AES", "SHA-256", "POSTPKIOperation")),
    _saying("nothing", "answers GetCACaps with an empty body", b""),
    _saying(
        "line-ends",
        "answers GetCACaps with ten line ends, as RSA Keon does",
        b"\n" * 10,
        media_type="text/html",
    ),
    _saying(
        "untyped-200",
        "answers GetCACaps with HTTP 200 and nothing else, as old NDES does",
        b"",
        media_type="",
    ),
)
