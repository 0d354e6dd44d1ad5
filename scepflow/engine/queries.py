"""Questions that issue nothing: GetCACaps, GetCACert, GetNextCACert, GetCert, GetCRL.

Must never hold: a certificate or CRL handed on before it is verified, but for
GetCACert, whose answer `trust.authenticate` judges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from scepflow.engine import asn1, attributes, certificates, cms, oids, trust
from scepflow.engine.algorithms import Security
from scepflow.engine.capabilities import NONE, Capabilities, parse_capabilities
from scepflow.engine.channel import MAX_REPLY_BYTES, Message
from scepflow.engine.checks import Checks
from scepflow.engine.exchange import HttpRequest, cms_body, http_error
from scepflow.engine.messages import MessageType, PkiStatus, fail_info_name
from scepflow.engine.urls import operation_url
from scepflow.errors import ProtocolError, RejectedError, TrustError

if TYPE_CHECKING:
    from datetime import datetime

    from scepflow.engine.channel import Channel
    from scepflow.engine.exchange import HttpResponse
    from scepflow.engine.trust import Bundle

__all__ = [
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

MAX_CAPS_BYTES = 64 << 10  # S-031


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
    if response.status != 200 or not response.body:
        raise http_error(response, what="CA certificate")
    return trust.parse_certificates(response.body)


def parse_next_ca(
    response: HttpResponse,
    *,
    bundle: Bundle,
    security: Security = Security.DEFAULT,
    relaxed: frozenset[str] = frozenset(),
) -> tuple[x509.Certificate, ...]:
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
    signed = cms.parse_signed_data(cms_body(response))
    signer = attributes.only_signer(signed)
    trusted = [c for c in bundle.signers if trust.is_ca(c)] or bundle.signers
    signed_attributes = attributes.verify(
        signed, signer, trusted=trusted, security=security, checks=Checks(relaxed)
    )
    if any(signed_attributes.has(oid) for oid in (oids.MESSAGE_TYPE, oids.PKI_STATUS)):
        raise ProtocolError("an answer to another question", section="RFC 8894 §4.7.1")
    following = cms.parse_signed_data(signed.content).certificates() if signed.content else ()
    if not following:
        raise ProtocolError(
            "no next CA certificate in what the reply's signature covers", section="RFC 8894 §4.7.1"
        )
    return following


def _issuer_and_serial(channel: Channel, serial_number: int) -> bytes:
    issuer = asn1.certificate_names(channel.bundle.ca_certificate)[2]
    return asn1.wrap(0x30, issuer + asn1.encode(serial_number))


def certificate_request(
    channel: Channel, serial_number: int, *, transaction_id: str, sender_nonce: bytes, now: datetime
) -> tuple[Message, HttpRequest]:
    """Return the question for a certificate of this CA (RFC 8894 §3.3.4 GetCert and GetCRL)."""
    message = Message(type=MessageType.GET_CERT, transaction_id=transaction_id, sender_nonce=sender_nonce)
    return message, channel.request(message, _issuer_and_serial(channel, serial_number), now=now)


def crl_request(
    channel: Channel, serial_number: int, *, transaction_id: str, sender_nonce: bytes, now: datetime
) -> tuple[Message, HttpRequest]:
    """Return the question for the CRL that covers a certificate (RFC 8894 §3.3.4 GetCert and GetCRL)."""
    message = Message(type=MessageType.GET_CRL, transaction_id=transaction_id, sender_nonce=sender_nonce)
    return message, channel.request(message, _issuer_and_serial(channel, serial_number), now=now)


def parse_certificate(
    channel: Channel, message: Message, response: HttpResponse, *, serial_number: int, now: datetime
) -> x509.Certificate:
    """Return the certificate that was asked for, its chain verified (C-118).

    Raises:
        RejectedError: the CA said no.
        TrustError: another certificate came, or it does not chain to the CA.
        ProtocolError, TransportError: see `Channel.reply`.
    """
    for certificate in _answer(channel, message, response).certificates():
        if (
            asn1.certificate_names(certificate)[1] == serial_number  # the library warns of one below 1
            and certificate.issuer == channel.bundle.ca_certificate.subject
        ):
            channel.bundle.verifier.chain(certificate, max(now, certificate.not_valid_before_utc))
            return certificate
    raise TrustError("the CA sent another certificate than was asked for", check="certificate-key")


def parse_crl(channel: Channel, message: Message, response: HttpResponse) -> x509.CertificateRevocationList:
    """Return the CRL, issued and signed by the CA (C-119).

    Raises:
        RejectedError: the CA said no.
        TrustError: it is not the CA's.
        ProtocolError, TransportError: see `Channel.reply`.
    """
    return _verified_crl(_answer(channel, message, response), channel.bundle)


def _verified_crl(answer: cms.SignedData, bundle: Bundle) -> x509.CertificateRevocationList:
    if not answer.crls_der:
        raise ProtocolError("no CRL in the reply", section="RFC 8894 §3.3.4 GetCert and GetCRL")
    issuers = [
        c for c in bundle.certificates if c.subject == bundle.ca_certificate.subject and trust.is_ca(c)
    ]
    for crl in map(_load_crl, answer.crls_der):
        if any(crl.issuer == issuer.subject and _signed_by(crl, issuer) for issuer in issuers):
            return crl
    raise TrustError("the CRL is not signed by the CA that was asked about", check="chain")


def _load_crl(der: bytes) -> x509.CertificateRevocationList:
    try:
        crl = x509.load_der_x509_crl(der)
        _ = crl.issuer  # read now, as in `certificates.load_certificates`
    except (ValueError, TypeError, x509.InvalidVersion):
        raise ProtocolError("not a CRL", section="RFC 5280 §5.1 CRL Fields") from None
    return crl


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = certificates.public_key(issuer)
    try:
        return crl.is_signature_valid(key)  # type: ignore[arg-type]  # a key of another type raises TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _answer(channel: Channel, message: Message, response: HttpResponse) -> cms.SignedData:
    cert_rep, checks = channel.reply(message, response)
    if cert_rep.pki_status is PkiStatus.SUCCESS:
        return channel.open(cert_rep, checks)
    name = (
        cert_rep.pki_status.name
        if cert_rep.pki_status is PkiStatus.PENDING
        else fail_info_name(cert_rep.fail_info)
    )
    raise RejectedError(
        f"the CA did not answer {message.type.title}: {name}",
        fail_info=cert_rep.fail_info,
        fail_info_text=cert_rep.fail_info_text,
        transaction_id=message.transaction_id,
    )
