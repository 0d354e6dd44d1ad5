"""Questions that issue nothing: GetCACaps, GetCACert, GetNextCACert, GetCert, GetCRL.

Must never hold: a certificate or CRL handed on before it is verified, but for
GetCACert, whose answer `trust.authenticate` judges.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from scepflow.engine import asn1, attributes, certificates, cms, oids, trust
from scepflow.engine.algorithms import Security
from scepflow.engine.capabilities import MAX_BYTES as MAX_CAPS_BYTES
from scepflow.engine.capabilities import NONE, Capabilities, parse_capabilities
from scepflow.engine.certificates import UNREADABLE, is_ca, key_usage
from scepflow.engine.channel import MAX_REPLY_BYTES, Message
from scepflow.engine.checks import Checks
from scepflow.engine.exchange import HttpRequest, check_size, cms_body, http_error, is_page
from scepflow.engine.messages import MessageType, PkiStatus, fail_info_name
from scepflow.engine.urls import operation_url
from scepflow.errors import PendingError, ProtocolError, RejectedError, TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from scepflow.engine.channel import Channel
    from scepflow.engine.checks import Finding
    from scepflow.engine.exchange import HttpResponse
    from scepflow.engine.trust import Bundle

__all__ = [
    "Answer",
    "NextCa",
    "ca_caps_request",
    "ca_cert_request",
    "certificate_request",
    "crl_request",
    "next_ca_request",
    "parse_ca_caps",
    "parse_ca_cert",
    "parse_certificate",
    "parse_crl",
    "parse_next_ca",
]

_CLOCK_SKEW = timedelta(minutes=1)  # a CRL is often made when it is asked for

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Answer(Generic[_Value]):
    """What was asked for, verified, and what should be said about the reply it came in."""

    value: _Value
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCa:
    """What GetNextCACert gave.

    Attributes:
        certificates: the CA's next certificates.
        signer: the authenticated certificate that signed them; None when a check failed that is turned off: then
            they are shown, and must not be kept.
        doubts: without a signer, what failed, for humans.
    """

    certificates: tuple[x509.Certificate, ...]
    signer: x509.Certificate | None
    doubts: tuple[str, ...] = ()


def ca_caps_request(url: str, identifier: str | None = None) -> HttpRequest:
    """Return the question for the CA's capabilities (RFC 8894 §3.5.1 GetCACaps)."""
    return _get(url, "GetCACaps", identifier, MAX_CAPS_BYTES)


def ca_cert_request(url: str, identifier: str | None = None) -> HttpRequest:
    """Return the question for the CA's certificates (RFC 8894 §4.2 Get CA Certificate)."""
    return _get(url, "GetCACert", identifier, MAX_REPLY_BYTES)


def next_ca_request(url: str, identifier: str | None = None) -> HttpRequest:
    """Return the question for the CA's next certificates (RFC 8894 §4.7 Get Next Certificate Authority Certificate)."""
    return _get(url, "GetNextCACert", identifier, MAX_REPLY_BYTES)


def _get(url: str, operation: str, identifier: str | None, limit: int) -> HttpRequest:
    return HttpRequest(
        method="GET",
        operation=operation,
        url=operation_url(url, operation, message=identifier),
        max_response_bytes=limit,
    )


def parse_ca_caps(response: HttpResponse) -> Capabilities:
    """Return the capabilities; an HTTP error or a web page means none (C-076, C-077)."""
    return parse_capabilities(response.body) if response.status == 200 else NONE


def parse_ca_cert(response: HttpResponse) -> tuple[x509.Certificate, ...]:
    """Return the certificates that the CA sent. Nothing about them is verified yet.

    Raises:
        TransportError: an HTTP error.
        ProtocolError: no certificate in it.
    """
    if response.status != 200 or not response.body or is_page(response.body):
        raise http_error(response, what="CA certificate")
    check_size(response, MAX_REPLY_BYTES)
    return trust.parse_certificates(response.body)


def parse_next_ca(
    response: HttpResponse,
    *,
    bundle: Bundle,
    security: Security = Security.DEFAULT,
    relaxed: frozenset[str] = frozenset(),
) -> Answer[NextCa]:
    """Return the CA's next certificates, signed by the current CA (C-120, S-084).

    An RA may sign them only if it is pinned: they become trust anchors, and an RA
    certificate is what a client of the same CA could pass off as one (S-082).
    Only what the signature covers counts. Certificates beside it do not, though some
    servers put the next CA there and nowhere else (Q-084); nor does an answer to
    something else, which the CA signed as well.

    Raises:
        TransportError: an HTTP error.
        TrustError: the signature is not the current CA's.
        ProtocolError: not the answer to GetNextCACert.
    """
    if response.status != 200:
        raise http_error(response, what="next CA certificate")
    check_size(response, MAX_REPLY_BYTES)
    signed = cms.parse_signed_data(cms_body(response))
    signer = attributes.only_signer(signed)
    trusted = [c for c in bundle.signers if is_ca(c)] or bundle.signers
    checks = Checks(relaxed)
    signed_attributes = attributes.verify(signed, signer, trusted=trusted, security=security, checks=checks)
    if any(signed_attributes.has(oid) for oid in (oids.MESSAGE_TYPE, oids.PKI_STATUS)):
        raise ProtocolError("an answer to another question", section="RFC 8894 §4.7.1")
    following = cms.parse_signed_data(signed.content).certificates() if signed.content else ()
    if not following:
        raise ProtocolError(
            "no next CA certificate in what the reply's signature covers", section="RFC 8894 §4.7.1"
        )
    # A right signature over a wrong digest, say, is not the signer's word.
    signed_by = (
        attributes.verified_by(signer, attributes.named_by(signer, trusted)) if checks.unbroken else None
    )
    doubts = () if signed_by else tuple(finding.text for finding in checks.findings)
    return Answer(NextCa(certificates=following, signer=signed_by, doubts=doubts), tuple(checks.findings))


def certificate_request(
    channel: Channel,
    serial_number: int,
    *,
    issuer_der: bytes | None = None,
    transaction_id: str,
    sender_nonce: bytes,
    now: datetime,
) -> tuple[Message, HttpRequest]:
    """Return the question for a certificate (RFC 8894 §3.3.4 GetCert and GetCRL).

    Args:
        channel: the way to the CA.
        serial_number: the certificate's.
        issuer_der: DER of its issuer's Name; this CA's when None.
        transaction_id: new for each question, printable text.
        sender_nonce: 16 fresh random bytes.
        now: current time, aware UTC.
    """
    message = Message(type=MessageType.GET_CERT, transaction_id=transaction_id, sender_nonce=sender_nonce)
    return message, channel.request(message, _content(channel, serial_number, issuer_der), now=now)


def crl_request(
    channel: Channel,
    serial_number: int,
    *,
    issuer_der: bytes | None = None,
    transaction_id: str,
    sender_nonce: bytes,
    now: datetime,
) -> tuple[Message, HttpRequest]:
    """Return the question for the CRL that covers a certificate; arguments are those of `certificate_request`."""
    message = Message(type=MessageType.GET_CRL, transaction_id=transaction_id, sender_nonce=sender_nonce)
    return message, channel.request(message, _content(channel, serial_number, issuer_der), now=now)


def _content(channel: Channel, serial_number: int, issuer_der: bytes | None) -> bytes:
    """Return the IssuerAndSerialNumber (C-117)."""
    issuer = issuer_der or asn1.certificate_names(channel.bundle.ca_certificate)[2]
    return asn1.wrap(0x30, issuer + asn1.encode(serial_number))


def parse_certificate(
    channel: Channel,
    message: Message,
    response: HttpResponse,
    *,
    serial_number: int,
    issuer_der: bytes | None = None,
    now: datetime,
) -> Answer[x509.Certificate]:
    """Return the certificate that was asked for, its chain verified (C-118).

    Raises:
        RejectedError, PendingError: the CA said no, or has not decided.
        TrustError: another certificate came, or it does not chain to the CA.
        ProtocolError, TransportError: see `Channel.reply`.
    """
    answer, checks = _answer(channel, message, response)
    for certificate in answer.certificates():
        issuer, serial, _ = asn1.certificate_names(certificate)  # the library warns of a serial below 1
        if serial == serial_number and _named(certificate.issuer, issuer, channel, issuer_der):
            _check_chain(channel.bundle, certificate, now, checks)
            return Answer(certificate, tuple(checks.findings))
    raise TrustError("the CA sent another certificate than was asked for", check="certificate-key")


def _named(name: x509.Name, name_der: bytes, channel: Channel, issuer_der: bytes | None) -> bool:
    """Tell whether a Name is that of the issuer that was asked about."""
    return name == channel.bundle.ca_certificate.subject if issuer_der is None else name_der == issuer_der


def _check_chain(bundle: Bundle, certificate: x509.Certificate, now: datetime, checks: Checks) -> None:
    try:
        bundle.verifier.chain(certificate, max(now, certificate.not_valid_before_utc))
    except TrustError as error:
        checks.require(False, "chain", f"the certificate does not chain to the CA: {error.message}")


def parse_crl(
    channel: Channel,
    message: Message,
    response: HttpResponse,
    *,
    issuer_der: bytes | None = None,
    now: datetime,
) -> Answer[x509.CertificateRevocationList]:
    """Return the CRL, issued and signed by the CA (C-119). One that is not current is a finding.

    Raises:
        RejectedError, PendingError: the CA said no, or has not decided.
        TrustError: it is not the CA's.
        ProtocolError: it is not a complete CRL for clients' certificates, or not one that can be understood.
        ProtocolError, TransportError: see `Channel.reply`.
    """
    answer, checks = _answer(channel, message, response)
    crls = [_load_crl(der) for der in answer.crls_der]
    if not crls:
        raise ProtocolError("no CRL in the reply", section="RFC 8894 §3.3.4 GetCert and GetCRL")
    issuers = [
        c
        for c in channel.bundle.certificates
        if is_ca(c)
        and _may_sign_crls(c)
        and _named(c.subject, asn1.certificate_names(c)[2], channel, issuer_der)
    ]
    signed = [crl for crl in crls if any(_signed_by(crl, issuer) for issuer in issuers)]
    checks.require(signed, "chain", "the CRL is not signed by the CA that was asked about")
    crl = _complete(signed or crls)
    _note_times(crl, now, checks)
    return Answer(crl, tuple(checks.findings))


def _may_sign_crls(issuer: x509.Certificate) -> bool:
    """Tell whether a CA may sign CRLs (RFC 5280 §6.3.3 CRL Processing, step f)."""
    usage = key_usage(issuer)
    return usage is None or usage.crl_sign


def _complete(crls: Sequence[x509.CertificateRevocationList]) -> x509.CertificateRevocationList:
    """Return the first CRL that stands for itself; a CA may send its deltas too."""
    reasons = [_unfit(crl) for crl in crls]
    if "" in reasons:
        return crls[reasons.index("")]
    raise ProtocolError(reasons[0], section="RFC 5280 §5.2 CRL Extensions")


def _unfit(crl: x509.CertificateRevocationList) -> str:
    """Return why whoever gets the CRL could be wrong about a client's certificate, or ""."""
    try:
        with certificates.quietly():
            extensions = list(crl.extensions)
    except UNREADABLE:
        return "the extensions of the CRL cannot be read"
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            return "the CA sent a delta CRL, which lists only what has changed"
        if isinstance(value, x509.IssuingDistributionPoint) and (
            value.only_contains_ca_certs or value.only_contains_attribute_certs
        ):
            return "the CA sent a CRL that does not cover clients' certificates"
        if extension.critical and isinstance(value, x509.UnrecognizedExtension):
            return f"the CRL has a critical extension that is not known: {extension.oid.dotted_string}"
    return ""


def _note_times(crl: x509.CertificateRevocationList, now: datetime, checks: Checks) -> None:
    """Note a CRL that is not current: a CA that is late issues no other, and who gets it may refuse it."""
    if crl.next_update_utc is not None and crl.next_update_utc < now:
        checks.note(
            "crl-stale", f"the CRL is out of date: the next was due {crl.next_update_utc:%Y-%m-%d %H:%M} UTC"
        )
    if crl.last_update_utc > now + _CLOCK_SKEW:
        checks.note(
            "crl-not-yet-valid",
            f"the CRL is of the future, {crl.last_update_utc:%Y-%m-%d %H:%M} UTC; is this machine's clock right?",
        )


def _load_crl(der: bytes) -> x509.CertificateRevocationList:
    try:
        with certificates.quietly():
            crl = x509.load_der_x509_crl(der)
            # Read now, as in `certificates.load_certificates`.
            _ = crl.issuer, crl.last_update_utc, crl.next_update_utc
            with suppress(*UNREADABLE):
                _ = crl.extensions
    except (ValueError, TypeError, x509.InvalidVersion):
        raise ProtocolError("not a CRL", section="RFC 5280 §5.1 CRL Fields") from None
    return crl


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = certificates.public_key(issuer)
    try:
        with certificates.quietly():
            return crl.issuer == issuer.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]  # a key of another type raises TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _answer(channel: Channel, message: Message, response: HttpResponse) -> tuple[cms.SignedData, Checks]:
    cert_rep, checks = channel.reply(message, response)
    if cert_rep.pki_status is PkiStatus.SUCCESS:
        return channel.open(cert_rep, checks), checks
    if cert_rep.pki_status is PkiStatus.PENDING:
        raise PendingError(
            f"the CA has not decided whether to answer {message.type.title}",
            transaction_id=message.transaction_id,
            polls=0,
            waited_s=0,
            hint="its operator must approve the question; ask again later",
        )
    said = f': "{cert_rep.fail_info_text}"' if cert_rep.fail_info_text else ""
    raise RejectedError(
        f"the CA did not answer {message.type.title}: {fail_info_name(cert_rep.fail_info)}{said}",
        fail_info=cert_rep.fail_info,
        fail_info_text=cert_rep.fail_info_text,
        transaction_id=message.transaction_id,
    )
