"""Certificates that a client did not ask for, or should not take, and CAs that renew in their own way.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import FailInfo, MessageType, PkiStatus
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.behaviours.statuses import ESCAPES
from scepflow.testca.certificates import LEAF, build_certificate, key_usage
from scepflow.testca.csr import challenge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from typing import Any

    from scepflow.testca.behaviour import Scene
    from scepflow.testca.knobs import Reply

__all__ = ["BEHAVIOURS"]

_DAY = timedelta(days=1)
_MOMENT = timedelta(minutes=1)
_YEAR = timedelta(days=365)
_USAGE = (key_usage(digital_signature=True, key_encipherment=True), True)
_CA = (x509.BasicConstraints(ca=True, path_length=None), True)
_ISSUES = (key_usage(digital_signature=True, key_cert_sign=True), True)
_HUGE = rsa.RSAPublicNumbers(65537, (1 << 16385) - 1)

Extension = tuple[x509.ExtensionType, bool]


@dataclass(frozen=True, kw_only=True)
class _Changes:
    """What a certificate says instead of what was asked for; None is as it was.

    Attributes:
        subject: its subject.
        valid: when it begins and ends, from now.
        extensions: its extensions.
    """

    subject: x509.Name | None = None
    valid: tuple[timedelta, timedelta] | None = None
    extensions: tuple[Extension, ...] | None = None


def _made(
    certificate: x509.Certificate,
    issuer: SigningIdentity,
    now: datetime,
    changes: _Changes,
    *,
    public_key: Any = None,
) -> x509.Certificate:
    """Return another certificate for the same key, or the one given."""
    certified: Any = public_key or certificate.public_key()
    begins, ends = changes.valid or (timedelta(0), _YEAR)
    return build_certificate(
        subject=certificate.subject if changes.subject is None else changes.subject,
        public_key=certified,
        issuer=issuer.certificate,
        issuer_key=issuer.key,
        serial=x509.random_serial_number(),
        valid=(now + begins, now + ends),
        extensions=(LEAF, _USAGE) if changes.extensions is None else changes.extensions,
    )


def _change(reply: Reply, scene: Scene, *, changes: _Changes) -> Reply:
    """Send another certificate than the right one; the CA stands by it."""
    if not reply.certificates:
        return reply
    certificate = _made(reply.certificates[0], scene.authority.ca, scene.now, changes)
    scene.authority.records.add(certificate)
    return replace(reply, certificates=(certificate,))


def _issuing(name: str, summary: str, **changes: Any) -> Behaviour:
    return Behaviour(name=name, summary=summary, reply=partial(_change, changes=_Changes(**changes)))


def _called(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


# -- issued by somebody else, or with something beside it


def _by_stranger(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    yield _made(certificate, scene.stranger.ca, scene.now, _Changes())


def _by_stranger_with_root(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    yield from (*_by_stranger(certificate, scene), scene.stranger.certificate)


def _in_its_name(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    forger = SigningIdentity(scene.authority.certificate, scene.stranger.ca.key)
    yield _made(certificate, forger, scene.now, _Changes())


def _by_client(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    """Yield a certificate that a client of the CA issued, and that client's."""
    key = scene.stranger.ca.key
    client = _made(
        certificate,
        scene.authority.ca,
        scene.now,
        _Changes(subject=_called("a client")),
        public_key=key.public_key(),
    )
    yield from (_made(certificate, SigningIdentity(client, key), scene.now, _Changes()), client)


def _self_signed(_: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    """Yield what signed the request: it is for the right key."""
    if scene.request:
        yield scene.request.certificate


def _with_roots(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    other = SigningIdentity(scene.stranger.certificate, scene.stranger.ca.key)
    below = _made(scene.stranger.certificate, other, scene.now, _Changes(extensions=(_CA, _ISSUES)))
    yield from (scene.stranger.certificate, below, certificate, *scene.authority.bundle())


def _with_huge_key(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    """Yield it with a CA certificate of its issuer's name, whose key takes seconds to verify with."""
    subject = scene.authority.certificate.subject
    changes = _Changes(subject=subject, extensions=(_CA, _ISSUES))
    huge = _made(certificate, scene.authority.ca, scene.now, changes, public_key=_HUGE.public_key())
    yield from (huge, certificate)


def _with_chain(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    yield from (certificate, *scene.authority.bundle())


def _older_ones(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    """Yield it between two others for the same key, which began earlier."""
    for days in (1, 2):
        older = _made(certificate, scene.authority.ca, scene.now, _Changes(valid=(-days * _DAY, _YEAR)))
        scene.authority.records.add(older)
        yield older
        if days == 1:
            yield certificate


def _with_newer_of_stranger(certificate: x509.Certificate, scene: Scene) -> Iterable[x509.Certificate]:
    yield from (
        _made(certificate, scene.stranger.ca, scene.now, _Changes(valid=(_MOMENT, _YEAR))),
        certificate,
    )


def _sending(
    name: str, summary: str, certificates: Callable[[x509.Certificate, Scene], Iterable[x509.Certificate]]
) -> Behaviour:
    def reply(reply: Reply, scene: Scene) -> Reply:
        sent = (other for certificate in reply.certificates for other in certificates(certificate, scene))
        return replace(reply, certificates=tuple(sent))

    return Behaviour(name=name, summary=summary, reply=reply)


# -- names


def _as_other_strings(reply: Reply, scene: Scene) -> Reply:
    """Write the subject's PrintableStrings as UTF8Strings, or the other way round."""
    if not reply.certificates:
        return reply
    subject = reply.certificates[0].subject
    kinds = {_ASN1Type.UTF8String: _ASN1Type.PrintableString}
    rewritten = x509.Name(
        x509.NameAttribute(a.oid, str(a.value), _type=kinds.get(a._type, _ASN1Type.UTF8String))  # noqa: SLF001  # the library has no other way
        for a in subject
    )
    return _change(reply, scene, changes=_Changes(subject=rewritten))


# -- renewals


def _is_renewal(scene: Scene) -> bool:
    """Tell whether a certificate signed the request that the CA has issued."""
    request = scene.request
    return request is not None and not scene.authority.objection(request.certificate, now=scene.now)


def _refusal(reply: Reply, fail_info: FailInfo, text: str) -> Reply:
    return replace(
        reply,
        pki_status=PkiStatus.FAILURE,
        fail_info=int(fail_info),
        fail_info_text=text,
        certificates=(),
    )


def _refuse_renewal_req(reply: Reply, scene: Scene, *, fail_info: FailInfo) -> Reply:
    if scene.request is None or scene.request.message_type != MessageType.RENEWAL_REQ:
        return reply
    return _refusal(reply, fail_info, "messageType 17 is not served")


def _refuse_renewals(reply: Reply, scene: Scene) -> Reply:
    return _refusal(reply, FailInfo.BAD_REQUEST, "renewal is not configured") if _is_renewal(scene) else reply


def _want_challenge(reply: Reply, scene: Scene) -> Reply:
    known = scene.authority.records.transaction(reply.transaction_id)
    if known is None or challenge(x509.load_pem_x509_csr(known.csr_pem.encode())):
        return reply
    return _refusal(reply, FailInfo.BAD_REQUEST, "a challenge password is required")


def _succeed_without(reply: Reply, scene: Scene) -> Reply:
    """Say SUCCESS to a first message without a certificate, and send it to a poll."""
    if scene.request is not None and scene.request.message_type == MessageType.CERT_POLL:
        return reply
    return replace(reply, certificates=())


BEHAVIOURS = (
    _sending("wrong-issuer", "sends a certificate that another CA issued", _by_stranger),
    _sending(
        "wrong-issuer-with-root",
        "sends a certificate that another CA issued, and that CA's",
        _by_stranger_with_root,
    ),
    _sending("issued-in-its-name", "sends a certificate that somebody issued in the CA's name", _in_its_name),
    _sending("issued-by-a-client", "sends a certificate that another client issued", _by_client),
    _sending("self-signed-back", "sends the certificate back that signed the request", _self_signed),
    _sending("extra-roots", "sends CA certificates of others with the new certificate", _with_roots),
    _sending("chain-too", "sends its own certificates with the new one", _with_chain),
    _sending("huge-chain-key", "sends a CA certificate with a key of 16385 bits too", _with_huge_key),
    _sending("several-matching", "sends three certificates for the same key", _older_ones),
    _sending(
        "newer-by-a-stranger",
        "sends a newer certificate for the same key too, which another CA issued",
        _with_newer_of_stranger,
    ),
    _issuing("ca-true", "issues a CA certificate", extensions=(_CA, _ISSUES)),
    _issuing(
        "may-issue", "lets the new certificate sign certificates, though no CA", extensions=(LEAF, _ISSUES)
    ),
    _issuing("other-subject", "changes the subject", subject=_called("gw2.example.com")),
    _issuing("no-subject", "leaves the subject empty", subject=x509.Name([])),
    Behaviour(
        name="other-strings", summary="writes the subject in strings of another type", reply=_as_other_strings
    ),
    _issuing("no-extensions", "leaves out the names and usages that were asked for", extensions=(LEAF,)),
    _issuing(
        "more-usages",
        "adds extended key usages that nobody asked for",
        extensions=(LEAF, _USAGE, (x509.ExtendedKeyUsage([Eku.CLIENT_AUTH, Eku.OCSP_SIGNING]), False)),
    ),
    _issuing(
        "more-names",
        "adds a name that nobody asked for",
        extensions=(
            LEAF,
            _USAGE,
            (
                x509.SubjectAlternativeName([x509.DNSName("gw1.example.com"), x509.DNSName("*.example.net")]),
                False,
            ),
        ),
    ),
    _issuing(
        "path-for-a-name", "names the subject like a path", subject=_called("../../../etc/cron.d/scepflow")
    ),
    _issuing(
        "pem-for-a-name",
        "names the subject like PEM",
        subject=_called("x\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
    ),
    _issuing(
        "escapes-for-a-name",
        "names the subject in control sequences",
        subject=_called(ESCAPES.replace("\0", "")),
    ),
    _issuing("one-hour", "issues for an hour", valid=(timedelta(0), timedelta(hours=1))),
    _issuing("already-expired", "issues a certificate that has expired", valid=(-2 * _DAY, -_DAY)),
    _issuing("not-yet-valid", "issues a certificate that begins tomorrow", valid=(_DAY, _YEAR)),
    _issuing("begins-soon", "issues a certificate that begins in half an hour", valid=(30 * _MOMENT, _YEAR)),
    _issuing("begins-long-ago", "issues a certificate that began a year ago", valid=(-_YEAR, _YEAR)),
    _issuing("no-longer", "issues a certificate that ends in half a year", valid=(timedelta(0), _YEAR / 2)),
    _issuing("far-shorter", "issues a certificate that ends in a week", valid=(timedelta(0), 7 * _DAY)),
    Behaviour(
        name="success-without-certificate",
        summary="says SUCCESS at once and sends the certificate to a poll, as Dogtag does",
        reply=_succeed_without,
    ),
    Behaviour(
        name="refuses-renewal-req",
        summary="refuses RenewalReq with badRequest",
        reply=partial(_refuse_renewal_req, fail_info=FailInfo.BAD_REQUEST),
    ),
    Behaviour(
        name="renewal-req-without-request",
        summary="refuses RenewalReq with badCertId, as OpenXPKI does",
        reply=partial(_refuse_renewal_req, fail_info=FailInfo.BAD_CERT_ID),
    ),
    Behaviour(
        name="refuses-renewals",
        summary="refuses whatever an issued certificate has signed, as NDES does without a template for it",
        reply=_refuse_renewals,
    ),
    Behaviour(
        name="wants-challenge",
        summary="wants the challenge in renewals too, as step-ca does",
        reply=_want_challenge,
    ),
)
