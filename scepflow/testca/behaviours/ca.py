"""GetCACert and GetNextCACert: how strange servers encode them, and what attackers send in their place.

Must never hold: which of them a client accepts; or which certificates there are
(`scepflow.testca.behaviours.bundles`).
"""

from __future__ import annotations

from base64 import b64encode, encodebytes
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine import cms
from scepflow.engine.algorithms import Digest
from scepflow.engine.exchange import HttpResponse
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.shapes import Shape, to_ber

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.engine.identity import SigningIdentity
    from scepflow.testca.behaviour import Scene

__all__ = ["BEHAVIOURS"]

_CERTIFICATES = ("GetCACert",)
_NEXT = ("GetNextCACert",)


# -- GetCACert: how it is encoded


def _encoding(name: str, summary: str, encode: Callable[[bytes], bytes]) -> Behaviour:
    def answer(response: HttpResponse, _: Scene) -> HttpResponse:
        return replace(response, body=encode(response.body))

    return Behaviour(name=name, summary=summary, operations=_CERTIFICATES, answer=answer)


def _pem(label: str) -> Callable[[bytes], bytes]:
    return lambda body: b"".join(
        (
            f"-----BEGIN {label}-----\n".encode(),
            encodebytes(body),
            f"-----END {label}-----\n".encode(),
        )
    )


def _listed(
    response: HttpResponse, scene: Scene, *, encode: Callable[[x509.Certificate], bytes]
) -> HttpResponse:
    """Send one certificate after the other."""
    return replace(response, body=b"".join(map(encode, scene.authority.bundle())))


def _as_cms(response: HttpResponse, scene: Scene) -> HttpResponse:
    return replace(response, body=cms.build_certs_only(scene.authority.bundle()))


def _typed(name: str, media_type: str, *, who: str = "") -> Behaviour:
    def answer(response: HttpResponse, _: Scene) -> HttpResponse:
        return replace(response, headers={"content-type": media_type} if media_type else {})

    summary = (
        f"calls its certificates {media_type}{who}" if media_type else "sends its certificates without a type"
    )
    return Behaviour(name=f"ca-type-{name}", summary=summary, operations=_CERTIFICATES, answer=answer)


def _with_identifier(response: HttpResponse, scene: Scene) -> HttpResponse:
    if "message=CA-IDENT" in scene.http.url:
        return response
    return HttpResponse(status=404, headers={"content-type": "text/plain"}, body=b"no such CA\n")


def _missing(_response: HttpResponse, _: Scene) -> HttpResponse:
    return HttpResponse(status=404, headers={"content-type": "text/plain"}, body=b"not found\n")


# -- GetNextCACert


def _next_shape(scene: Scene, signer: SigningIdentity) -> Shape:
    """Return the announcement of the next CA, of which no attribute is SCEP's own (RFC 8894 §4.7.1)."""
    following = scene.authority.next_ca(scene.now).bundle()
    return Shape(
        signer=signer,
        content=cms.build_certs_only(following),
        certificates=(signer.certificate,),
        message_type=None,
        status=None,
        sender_nonce=None,
    )


def _announcing(name: str, summary: str, shape: Callable[[Scene], Shape | bytes]) -> Behaviour:
    def answer(_response: HttpResponse, scene: Scene) -> HttpResponse:
        made = shape(scene)
        body = made if isinstance(made, bytes) else made.der()
        return HttpResponse(
            status=200, headers={"content-type": "application/x-x509-next-ca-cert"}, body=body
        )

    return Behaviour(name=f"next-ca-{name}", summary=summary, operations=_NEXT, answer=answer)


def _forged(scene: Scene) -> Shape:
    """Name the CA as the signer, and sign with another key."""
    return _next_shape(scene, scene.stranger.ca).but(
        named=scene.authority.certificate, certificates=scene.authority.bundle()
    )


def _beside(scene: Scene, content: bytes | None) -> Shape:
    following = scene.authority.next_ca(scene.now).bundle()
    return _next_shape(scene, scene.authority.ca).but(
        content=content, certificates=(*following, *scene.authority.bundle())
    )


def _outdated(scene: Scene) -> bytes:
    """Announce a next CA whose time is over."""
    from scepflow.testca.behaviours.bundles import certified

    next_ca = scene.authority.next_ca(scene.now).ca
    old = certified(next_ca, scene.now, ended=True)
    return cms.build_signed_data(
        cms.build_certs_only([old.certificate]),
        attributes=[],
        identity=scene.authority.ca,
        digest=Digest.SHA256,
        certificates=scene.authority.bundle(),
    )


def _unsigned(scene: Scene) -> bytes:
    return cms.build_certs_only(scene.authority.next_ca(scene.now).bundle())


def _failure(scene: Scene) -> Shape:
    return _beside(scene, None).but(message_type="3", status="2", fail_info="2")


BEHAVIOURS = (
    Behaviour(
        name="ca-as-cms",
        summary="sends its certificates as PKCS#7 even if there is one, as OpenXPKI does",
        operations=_CERTIFICATES,
        answer=_as_cms,
    ),
    _encoding("ca-in-ber", "writes its certificates in indefinite lengths", to_ber),
    Behaviour(
        name="ca-in-pem",
        summary="sends its certificates in PEM",
        operations=_CERTIFICATES,
        answer=partial(_listed, encode=lambda certificate: certificate.public_bytes(Encoding.PEM)),
    ),
    _encoding("ca-in-pem-pkcs7", "sends what it sends as PEM with the label PKCS7", _pem("PKCS7")),
    _encoding("ca-in-base64", "sends its certificates in base64, in one line", b64encode),
    _encoding("ca-in-base64-lines", "sends its certificates in base64, in lines", encodebytes),
    Behaviour(
        name="ca-concatenated",
        summary="sends one certificate in DER after the other",
        operations=_CERTIFICATES,
        answer=partial(_listed, encode=lambda certificate: certificate.public_bytes(Encoding.DER)),
    ),
    _encoding("ca-line-end-after", "ends its certificates with a line end", lambda body: body + b"\r\n"),
    _encoding("ca-nuls-after", "puts NULs after its certificates", lambda body: body + bytes(7)),
    _encoding("ca-data-after", "puts more data after its certificates", lambda body: body + b"0\0"),
    _encoding("ca-cut-off", "sends only half of its certificates", lambda body: body[: len(body) // 2]),
    _encoding(
        "ca-page", "answers GetCACert with a web page", lambda _: b"<html><title>CA\x1b[2J</title></html>"
    ),
    _encoding("ca-nothing", "answers GetCACert with an empty body", lambda _: b""),
    _encoding(
        "ca-empty", "answers GetCACert with no certificates in PKCS#7", lambda _: cms.build_certs_only([])
    ),
    Behaviour(
        name="needs-identifier",
        summary="answers GetCACaps and GetCACert only with the identifier CA-IDENT",
        operations=("GetCACaps", "GetCACert"),
        answer=_with_identifier,
    ),
    _typed("none", ""),
    _typed("parameters", "Application/X-X509-CA-RA-Cert; charset=utf-8"),
    _typed("octets", "application/octet-stream"),
    _typed("pkcs7", "application/x-pkcs7-certificates"),
    _typed("chain", "application/x-x509-ca-ra-cert-chain", who=", as EJBCA does"),
    _announcing("unsigned", "announces its next CA without a signature", _unsigned),
    _announcing(
        "by-a-stranger",
        "announces its next CA signed by a stranger",
        lambda scene: _next_shape(scene, scene.stranger.ca),
    ),
    _announcing("forged", "announces its next CA signed with a stranger's key in its own name", _forged),
    _announcing(
        "single-layer",
        "announces its next CA beside what it signs, as servers made with jscep do",
        lambda scene: _beside(scene, None),
    ),
    _announcing("failure", "answers GetNextCACert with a FAILURE that carries a next CA", _failure),
    _announcing("expired", "announces a next CA that has expired", _outdated),
    _announcing("nothing", "answers GetNextCACert with an empty body", lambda _: b""),
    Behaviour(
        name="next-ca-missing", summary="has no next CA, and says so", operations=_NEXT, answer=_missing
    ),
)
