"""HTTP answers as strange servers, proxies and attackers give them: statuses, bodies, header fields, demands.

Must never hold: which of them a client accepts; a redirect (`scepflow.testca.behaviours.redirects`); or
how an answer's bytes are framed and timed (`scepflow.testca.behaviours.wire`).
"""

from __future__ import annotations

import gzip
from base64 import b64encode, encodebytes
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import parse_request
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.behaviours.statuses import ESCAPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.testca.behaviour import Scene

__all__ = ["BEHAVIOURS"]

_ENROLLING = ("PKIOperation",)
_CAPABILITIES = ("GetCACaps",)
_CERTIFICATES = ("GetCACert",)
_QUESTIONS = ("GetCACaps", "GetCACert", "GetNextCACert")
_LONGEST_QUERY = 2048  # IIS, unless it is told otherwise
_MESSAGE_TYPE = "application/x-pki-message"

_PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1><p>{text}</p></body></html>\n"
_CHALLENGES = """\
Network Device Enrollment Service allows you to obtain certificates for routers or other network devices using \
the Simple Certificate Enrollment Protocol (SCEP). To complete certificate enrollment for your network device \
you will need the following information: The thumbprint (hash value) for the CA certificate is: \
0123456789ABCDEF0123456789ABCDEF The enrollment challenge password is: 8D0F6F2B54C8C0E1"""


def _page(status: int, title: str, text: str = "", encoding: str = "utf-8") -> HttpResponse:
    body = _PAGE.format(title=title, text=text).encode(encoding)
    return HttpResponse(status=status, headers={"content-type": f"text/html; charset={encoding}"}, body=body)


def _instead(response: HttpResponse) -> Callable[[HttpResponse, Scene], HttpResponse]:
    return lambda _response, _scene: response


def _with_status(response: HttpResponse, _: Scene, *, status: int) -> HttpResponse:
    return replace(response, status=status)


def _with_fields(response: HttpResponse, _: Scene, **fields: str) -> HttpResponse:
    """Send further header fields; an underscore in a name is a hyphen."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return replace(response, headers={**response.headers, **named})


def _without_type(response: HttpResponse, _: Scene) -> HttpResponse:
    return replace(response, headers={})


def _coded(response: HttpResponse, _: Scene) -> HttpResponse:
    return HttpResponse(
        status=response.status,
        headers={**response.headers, "content-encoding": "gzip"},
        body=gzip.compress(response.body),
    )


def _bomb(response: HttpResponse, _: Scene) -> HttpResponse:
    coded = gzip.compress(gzip.compress(bytes(10 << 20)))
    return HttpResponse(
        status=200, headers={**response.headers, "content-encoding": "gzip, gzip"}, body=coded
    )


def _recoded(response: HttpResponse, _: Scene, *, encode: Callable[[bytes], bytes]) -> HttpResponse:
    return replace(response, body=encode(response.body))


def _busy_once(response: HttpResponse, scene: Scene) -> HttpResponse:
    return _busy("0") if scene.memory.served["GetCACert"] == 1 else response


def _busy(retry_after: str) -> HttpResponse:
    page = _page(503, "Service Unavailable")
    return replace(page, headers={**page.headers, "retry-after": retry_after})


def _unless(
    proper: Callable[[Scene], bool], refusal: HttpResponse
) -> Callable[[HttpResponse, Scene], HttpResponse]:
    return lambda response, scene: response if proper(scene) else refusal


def _is_exact_post(scene: Scene) -> bool:
    """Tell whether a message comes as RFC 8894 §4.1 HTTP POST and GET Message Formats has it."""
    fields = {name.lower(): value for name, value in scene.http.headers.items()}
    expected = (_MESSAGE_TYPE, str(len(scene.http.body)))
    return (
        scene.http.method == "POST" and (fields.get("content-type"), fields.get("content-length")) == expected
    )


def _is_old(scene: Scene) -> bool:
    """Tell whether a message keeps to what Dogtag allows: 3DES, and no SHA-1."""
    request = parse_request(scene.http.body)
    return request.envelope.cipher is Cipher.DES3 and request.digest is not Digest.SHA1


def _has(text: str) -> Callable[[Scene], bool]:
    return lambda scene: text in urlsplit(scene.http.url).query


def _status(status: int, title: str, who: str = "") -> Behaviour:
    """Answer messages with an error and no CertRep."""
    return Behaviour(
        name=f"http-{status}",
        summary=f"answers requests with HTTP {status} and a web page{who}",
        operations=_ENROLLING,
        answer=_instead(_page(status, title)),
    )


def _answering(
    name: str, summary: str, response: HttpResponse, operations: tuple[str, ...] = _ENROLLING
) -> Behaviour:
    return Behaviour(name=name, summary=summary, operations=operations, answer=_instead(response))


def _typed(name: str, operation: str, media_type: str, who: str = "") -> Behaviour:
    return Behaviour(
        name=name,
        summary=f"answers {operation} with Content-Type {media_type}{who}",
        operations=(operation,),
        answer=partial(_with_fields, content_type=media_type),
    )


STATUSES = (
    _status(202, "Accepted", ", as if the request were pending"),
    _status(400, "Bad Request", ", as EJBCA does to what it cannot read"),
    _status(401, "Unauthorized", ", as EJBCA does to a wrong challenge"),
    _status(403, "Forbidden"),
    _status(404, "Not Found"),
    _status(405, "Method Not Allowed"),
    _status(407, "Proxy Authentication Required", ", as a proxy on the way does"),
    _status(413, "Content Too Large"),
    _status(414, "URI Too Long"),
    _status(429, "Too Many Requests"),
    _status(501, "Not Implemented"),
    _status(503, "Service Unavailable"),
    *(
        Behaviour(
            name=f"cms-with-{status}",
            summary=f"sends its replies with HTTP {status}",
            operations=_ENROLLING,
            answer=partial(_with_status, status=status),
        )
        for status in (401, 403, 404, 405, 407, 413, 414, 429, 500, 501, 503)
    ),
    _answering(
        "json-500",
        "answers requests with HTTP 500 and JSON, as front ends built on Spring do",
        HttpResponse(
            status=500,
            headers={"content-type": "application/json"},
            body=b'{"status":500,"error":"Internal Server Error","path":"/scep"}',
        ),
    ),
    _answering("nothing", "answers requests with HTTP 200 and an empty body", HttpResponse(status=200)),
    _answering("page", "answers requests with HTTP 200 and a web page", _page(200, "Something went wrong")),
    _answering(
        "escapes-in-page",
        "answers requests with control sequences in a web page",
        _page(500, f"<b>{ESCAPES}</b>"),
    ),
    Behaviour(
        name="busy-once",
        summary="answers the first GetCACert with HTTP 503 and Retry-After: 0",
        operations=_CERTIFICATES,
        answer=_busy_once,
    ),
    *(
        _answering(
            f"busy-{name}",
            f"answers everything with HTTP 503 and Retry-After: {retry_after}",
            _busy(retry_after),
            (),
        )
        for name, retry_after in (
            ("now", "0"),
            ("endless", "1000000000"),
            ("negative", "-5"),
            ("past", "Wed, 01 Jan 2020 00:00:00 GMT"),
            ("worded", "soon"),
        )
    ),
)

GATEWAYS = (
    _answering(
        "captive-portal",
        "answers everything with the login page of a network",
        _page(200, "Log in to Airport Wi-Fi"),
        (),
    ),
    _answering(
        "captive-511",
        "answers everything with HTTP 511, as a network does that wants a login",
        _page(511, "Network Authentication Required"),
        (),
    ),
    _answering(
        "captive-redirect",
        "redirects everything to the login page of a network",
        HttpResponse(status=302, headers={"location": "http://login.example.net/?next=scep"}),
        (),
    ),
    _answering(
        "challenge-page",
        "answers everything with the page where NDES gives out challenges",
        _page(200, "Network Device Enrollment Service", _CHALLENGES, encoding="utf-16-le"),
        (),
    ),
)

QUESTIONS = (
    _answering(
        "caps-404",
        "answers GetCACaps with HTTP 404, as EJBCA does for a CA it does not have",
        _page(404, "Not Found"),
        _CAPABILITIES,
    ),
    _answering("caps-500", "answers GetCACaps with HTTP 500", _page(500, "Server Error"), _CAPABILITIES),
    _answering("caps-page", "answers GetCACaps with a web page", _page(200, "Welcome"), _CAPABILITIES),
    _answering(
        "caps-flood",
        "answers GetCACaps with a million lines",
        HttpResponse(status=200, body=b"SHA-256\n" * 1_000_000),
        _CAPABILITIES,
    ),
    _answering(
        "caps-noise",
        "answers GetCACaps with control characters",
        HttpResponse(status=200, body=f"POSTPKIOperation\n{ESCAPES}\n".encode()),
        _CAPABILITIES,
    ),
    _typed("caps-as-message", "GetCACaps", _MESSAGE_TYPE),
    _typed("caps-as-page", "GetCACaps", "text/html", ", as some Cisco routers do"),
    Behaviour(
        name="caps-untyped",
        summary="answers GetCACaps without Content-Type, as NDES did",
        operations=_CAPABILITIES,
        answer=_without_type,
    ),
    _answering("ca-404", "answers GetCACert with HTTP 404", _page(404, "Not Found"), _CERTIFICATES),
    _typed("ca-as-ra-ca", "GetCACert", "application/x-x509-ra-ca-certs", ", as Entrust did"),
    _typed("ca-as-certificate", "GetCACert", "application/x-x509-ca-cert"),
    _typed("ca-as-bundle", "GetCACert", "application/x-x509-ca-ra-cert"),
)

REPLIES = (
    _typed("reply-as-text", "PKIOperation", "text/plain", ", as Mikrotik routers do"),
    _typed("reply-as-page", "PKIOperation", "text/html"),
    _typed("reply-with-parameter", "PKIOperation", f"{_MESSAGE_TYPE}; charset=utf-8"),
    Behaviour(
        name="reply-untyped",
        summary="sends its replies without Content-Type",
        operations=_ENROLLING,
        answer=_without_type,
    ),
    Behaviour(
        name="reply-in-base64",
        summary="sends its replies in base64",
        operations=_ENROLLING,
        answer=partial(_recoded, encode=b64encode),
    ),
    Behaviour(
        name="reply-in-base64-lines",
        summary="sends its replies in lines of base64",
        operations=_ENROLLING,
        answer=partial(_recoded, encode=encodebytes),
    ),
    Behaviour(
        name="file-name",
        summary="sends its replies with a path in Content-Disposition",
        operations=_ENROLLING,
        answer=partial(_with_fields, content_disposition='attachment; filename="../../gw1.pem"'),
    ),
    Behaviour(
        name="other-version",
        summary="sends its replies with fields that proxies add",
        operations=_ENROLLING,
        answer=partial(_with_fields, via="1.0 old-proxy", age="10", warning='214 - "transformed"'),
    ),
    Behaviour(name="gzip", summary="compresses all it sends, whatever Accept-Encoding says", answer=_coded),
    Behaviour(
        name="gzip-bomb",
        summary="sends replies that would be 10 MiB of zeros, compressed twice",
        operations=_ENROLLING,
        answer=_bomb,
    ),
)

STRICT = (
    Behaviour(
        name="strict-post",
        summary="refuses requests but by POST, as application/x-pki-message and with their length",
        operations=_ENROLLING,
        answer=_unless(_is_exact_post, _page(415, "Unsupported Media Type")),
    ),
    Behaviour(
        name="strict-host",
        summary="refuses what does not name the host",
        answer=_unless(lambda scene: "host" in scene.http.headers, _page(400, "No such host")),
    ),
    Behaviour(
        name="strict-path",
        summary="knows /scep and no other path, not even /scep/",
        answer=_unless(lambda scene: urlsplit(scene.http.url).path == "/scep", _page(404, "Not Found")),
    ),
    Behaviour(
        name="strict-profile",
        summary="refuses what does not keep profile=a of its address, as DigiCert does",
        answer=_unless(_has("profile=a&"), _page(404, "Not Found")),
    ),
    Behaviour(
        name="strict-message",
        summary="refuses GetCACaps and GetCACert with a message, as micromdm did",
        operations=_QUESTIONS,
        answer=_unless(lambda scene: not _has("message=")(scene), _page(400, "Bad Request")),
    ),
    Behaviour(
        name="strict-label",
        summary="refuses GetCACaps and GetCACert without message=main, as nourse-23 does",
        operations=_QUESTIONS,
        answer=_unless(_has("message=main"), _page(404, "Not Found")),
    ),
    Behaviour(
        name="strict-query",
        summary="refuses a query with a bare +, which a form would read as a blank",
        answer=_unless(lambda scene: not _has("+")(scene), _page(400, "Bad Request")),
    ),
    Behaviour(
        name="short-query",
        summary="refuses a query of more than 2048 characters with HTTP 414",
        answer=_unless(
            lambda scene: len(urlsplit(scene.http.url).query) <= _LONGEST_QUERY, _page(414, "URI Too Long")
        ),
    ),
    Behaviour(
        name="short-query-404",
        summary="refuses a query of more than 2048 characters with HTTP 404, as IIS does",
        answer=_unless(
            lambda scene: len(urlsplit(scene.http.url).query) <= _LONGEST_QUERY, _page(404, "Not Found")
        ),
    ),
    Behaviour(
        name="get-only",
        summary="refuses POST, as Dogtag did",
        operations=_ENROLLING,
        answer=_unless(lambda scene: scene.http.method == "GET", _page(405, "Method Not Allowed")),
    ),
    Behaviour(
        name="old-algorithms-only",
        summary="answers HTTP 500 to all but 3DES, and to SHA-1, as Dogtag does",
        operations=_ENROLLING,
        answer=_unless(_is_old, _page(500, "Server Error")),
    ),
)

BEHAVIOURS = (*STATUSES, *GATEWAYS, *QUESTIONS, *REPLIES, *STRICT)
