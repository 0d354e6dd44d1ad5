"""CertReps that say FAILURE or PENDING in odd ways, or what no CertRep can say.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from scepflow.engine import oids
from scepflow.engine.asn1 import encode, wrap
from scepflow.engine.envelopes import open_envelope
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType, PkiStatus, parse_request
from scepflow.errors import ProtocolError
from scepflow.testca.behaviour import Behaviour, reshaping
from scepflow.testca.csr import challenge, load_csr
from scepflow.testca.shapes import attribute

if TYPE_CHECKING:
    from scepflow.testca.behaviour import Scene
    from scepflow.testca.knobs import Reply
    from scepflow.testca.shapes import Shape

__all__ = ["BEHAVIOURS", "ESCAPES"]

ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202egnol on\u2028\nOK: issued\r\x9b31m\x00"
"""What a terminal, a log and a reader must never get as it is (S-060, S-064)."""


def _content_without_success(shape: Shape, _: Scene, *, content: bytes) -> Shape:
    return shape if shape.status == "0" else shape.but(content=content)


def _pend(reply: Reply, _: Scene) -> Reply:
    return replace(reply, pki_status=PkiStatus.PENDING)


def _refuse_renewals(reply: Reply, scene: Scene) -> Reply:
    if scene.request is None or scene.request.message_type != MessageType.RENEWAL_REQ:
        return reply
    return replace(
        reply, pki_status=PkiStatus.FAILURE, fail_info=2, fail_info_text="not a certification request"
    )


def _challenge(scene: Scene) -> str:
    """Return the challenge that a request brought, or "" where there is none that can be read."""
    try:
        request = scene.request or parse_request(scene.http.body)
        content = open_envelope(request.envelope, scene.authority.encryption)
        return challenge(load_csr(content)).decode("utf-8", "backslashreplace")
    except (ProtocolError, ValueError):
        return ""


def _echo(reply: Reply, scene: Scene) -> Reply:
    text = f"the challenge {_challenge(scene)} is not known"
    return replace(reply, pki_status=PkiStatus.FAILURE, fail_info=2, fail_info_text=text)


def _echo_all(_response: HttpResponse, scene: Scene) -> HttpResponse:
    logins = [value for name, value in scene.http.headers.items() if "authorization" in name.lower()]
    body = (
        f"<html><p>wrong challenge: {_challenge(scene)}</p><p>login: {' '.join(logins)}</p></html>".encode()
    )
    return HttpResponse(status=500, headers={"content-type": "text/html"}, body=body)


def _instead(shape: Shape, _: Scene, *, values: tuple[bytes, ...]) -> Shape:
    """Give pkiStatus other values than one text."""
    return shape.but(status=None, extra=(*shape.extra, attribute(oids.PKI_STATUS, *values)))


def _with_status(response: HttpResponse, _: Scene, *, status: int) -> HttpResponse:
    return replace(response, status=status)


def _no_polls(response: HttpResponse, scene: Scene) -> HttpResponse:
    return (
        _error(response, scene, text=b"not implemented")
        if scene.memory.served["PKIOperation"] > 1
        else response
    )


def _error(_response: HttpResponse, _: Scene, *, text: bytes) -> HttpResponse:
    return HttpResponse(status=500, headers={"content-type": "text/plain"}, body=text)


def _answering(name: str, summary: str, status: int) -> Behaviour:
    return Behaviour(
        name=name, summary=summary, operations=("PKIOperation",), answer=partial(_with_status, status=status)
    )


BEHAVIOURS = (
    Behaviour(
        name="empty-content",
        summary="sends empty content with FAILURE and PENDING, as step-ca, EJBCA and Dogtag do",
        message=partial(_content_without_success, content=b""),
    ),
    Behaviour(
        name="one-byte-content",
        summary="sends one byte of content with FAILURE and PENDING, as NDES does",
        message=partial(_content_without_success, content=b"\0"),
    ),
    Behaviour(name="pends", summary="answers PENDING for ever", reply=_pend),
    Behaviour(
        name="no-polls",
        summary="answers every message but the first with HTTP 500, as step-ca does to polls",
        operations=("PKIOperation",),
        answer=_no_polls,
    ),
    Behaviour(
        name="plain-500",
        summary="answers requests with HTTP 500 and a text, as micromdm did to a wrong challenge",
        operations=("PKIOperation",),
        answer=partial(_error, text=b"challenge password mismatch"),
    ),
    Behaviour(
        name="page-500",
        summary="answers requests with HTTP 500 and a web page, as NDES does when it cannot decrypt them",
        operations=("PKIOperation",),
        answer=partial(_error, text=b"<html><title>500</title><h1>Server Error</h1></html>"),
    ),
    Behaviour(
        name="echo-challenge",
        summary="refuses requests and quotes their challenge in failInfoText",
        reply=_echo,
    ),
    Behaviour(
        name="echo-page",
        summary="answers requests with HTTP 500 and a web page that quotes their challenge and login",
        operations=("PKIOperation",),
        answer=_echo_all,
    ),
    Behaviour(
        name="no-renewals",
        summary="refuses RenewalReq, as EJBCA Community does",
        reply=_refuse_renewals,
    ),
    _answering("cms-with-202", "sends its replies with HTTP 202, as OpenXPKI does with PENDING", 202),
    _answering("cms-with-400", "sends its replies with HTTP 400, as OpenXPKI does with FAILURE", 400),
    reshaping("no-status", "sends a failInfo without pkiStatus, as Dogtag does", status=None, fail_info="2"),
    *(
        reshaping(f"status-{name}", f"sends pkiStatus {status!r}", status=status)
        for name, status in (
            ("1", "1"),
            ("4", "4"),
            ("padded", "00"),
            ("blank", " 0"),
            ("empty", ""),
            ("worded", "SUCCESS"),
        )
    ),
    Behaviour(
        name="status-number",
        summary="sends pkiStatus as an INTEGER",
        message=partial(_instead, values=(encode(0),)),
    ),
    Behaviour(
        name="two-values",
        summary="sends two values in one pkiStatus",
        message=partial(_instead, values=(wrap(0x13, b"0"), wrap(0x13, b"2"))),
    ),
    Behaviour(
        name="no-values", summary="sends a pkiStatus with no value", message=partial(_instead, values=())
    ),
    reshaping("fail-info", "sends failInfo 2, whatever pkiStatus says", fail_info="2"),
    reshaping("no-fail-info", "sends no failInfo", fail_info=None),
    *(
        reshaping(f"fail-info-{name}", f"sends failInfo {fail_info!r}", fail_info=fail_info)
        for name, fail_info in (
            ("0", "0"),
            ("7", "7"),
            ("11", "11"),
            ("13", "13"),
            ("padded", "02"),
            ("worded", "no"),
        )
    ),
    reshaping("escapes-in-reason", "sends control sequences in failInfoText", fail_info_text=ESCAPES),
    reshaping("escapes-in-transaction", "sends control sequences in transactionID", transaction_id=ESCAPES),
    reshaping("escapes-in-type", "sends control sequences in messageType", message_type=ESCAPES),
    reshaping("escapes-in-status", "sends control sequences in pkiStatus", status=ESCAPES),
    reshaping(
        "endless-reason", "sends 900 characters in failInfoText", fail_info_text="please call us " * 60
    ),
)
