"""pki_messages in both directions: the signed attributes of SCEP around a CMS (RFC 8894 §3).

The client builds requests and reads CertReps, the responder the other way
round, with the same code. Must never hold: state, or an answer to what a
message means for an enrollment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from scepflow.engine import algorithms, asn1, cms, oids
from scepflow.errors import ProtocolError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptography import x509

    from scepflow.engine.algorithms import Digest, Security
    from scepflow.engine.checks import Checks
    from scepflow.engine.identity import SigningIdentity

__all__ = [
    "CertRep",
    "FailInfo",
    "MessageType",
    "PkiRequest",
    "PkiStatus",
    "build_cert_rep",
    "build_request",
    "fail_info_name",
    "parse_cert_rep",
    "parse_request",
]

MAX_TEXT_BYTES = 1024  # longest attribute text that is read at all
_NUMBER = re.compile("0|[1-9][0-9]{0,5}")  # C-049: decimal text, and Q-112: "02" is not 2


class MessageType(IntEnum):
    """RFC 8894 §3.2.1.2 messageType."""

    CERT_REP = 3
    RENEWAL_REQ = 17
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22

    @property
    def title(self) -> str:
        """The RFC's name, such as ``PKCSReq``."""
        return _TITLES[self]


_TITLES = {
    MessageType.CERT_REP: "CertRep",
    MessageType.RENEWAL_REQ: "RenewalReq",
    MessageType.PKCS_REQ: "PKCSReq",
    MessageType.CERT_POLL: "CertPoll",
    MessageType.GET_CERT: "GetCert",
    MessageType.GET_CRL: "GetCRL",
}


class PkiStatus(IntEnum):
    """RFC 8894 §3.2.1.3 pkiStatus."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


class FailInfo(IntEnum):
    """RFC 8894 §3.2.1.4 failInfo and failInfoText."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


_FAIL_INFO_NAMES = (
    "badAlg",
    "badMessageCheck",
    "badRequest",
    "badTime",
    "badCertId",
    # Dogtag's own
    "unsupportedExt",
    "mustArchiveKeys",
    "badIdentity",
    "popRequired",
    "popFailed",
    "noKeyReuse",
    "internalCAError",
    "tryLater",
)


def fail_info_name(fail_info: int | None) -> str:
    """Return the name of a failInfo, such as ``badRequest``; undefined numbers are called unknown (C-054)."""
    if fail_info is None:
        return "no failInfo"
    if 0 <= fail_info < len(_FAIL_INFO_NAMES):
        return _FAIL_INFO_NAMES[fail_info]
    return "unknown failInfo"


def _text(value: str) -> bytes:
    try:
        return asn1.encode(asn1.PrintableString(value))
    except ValueError:
        return asn1.encode(value)


def _common(
    message_type: int, transaction_id: str, sender_nonce: bytes | None, signing_time: datetime
) -> list[bytes]:
    time = asn1.UTCTime if signing_time.year < 2050 else asn1.GeneralizedTime
    attributes = [
        cms.attribute(oids.MESSAGE_TYPE, _text(str(int(message_type)))),
        cms.attribute(oids.TRANSACTION_ID, _text(transaction_id)),
        cms.attribute(oids.SIGNING_TIME, asn1.encode(time(signing_time.replace(microsecond=0)))),
    ]
    if sender_nonce is not None:
        attributes.append(cms.attribute(oids.SENDER_NONCE, asn1.encode(sender_nonce)))
    return attributes


def build_request(
    message_type: MessageType,
    envelope: bytes,
    *,
    transaction_id: str,
    sender_nonce: bytes,
    identity: SigningIdentity,
    digest: Digest,
    signing_time: datetime,
) -> bytes:
    """Return the DER of a request (RFC 8894 §3.3 SCEP pkiMessage Types).

    Args:
        message_type: any but CertRep.
        envelope: the encrypted content, from `cms.build_envelope`.
        transaction_id: printable text, the same in all messages of a transaction.
        sender_nonce: 16 fresh random bytes.
        identity: who signs; its certificate is the only one sent (Q-025).
        digest: digest of content and attributes.
        signing_time: current time, aware UTC.
    """
    return cms.build_signed_data(
        envelope,
        attributes=_common(message_type, transaction_id, sender_nonce, signing_time),
        identity=identity,
        digest=digest,
        certificates=[identity.certificate],
    )


def build_cert_rep(
    pki_status: PkiStatus,
    envelope: bytes | None,
    *,
    transaction_id: str,
    recipient_nonce: bytes,
    sender_nonce: bytes | None,
    identity: SigningIdentity,
    digest: Digest,
    signing_time: datetime,
    certificates: Iterable[x509.Certificate] = (),
    fail_info: int | None = None,
    fail_info_text: str = "",
) -> bytes:
    """Return the DER of a CertRep (RFC 8894 §3.3.2 CertRep).

    Args:
        pki_status: the outcome.
        envelope: the encrypted answer with SUCCESS, else None.
        transaction_id: the request's.
        recipient_nonce: the request's sender_nonce.
        sender_nonce: 16 fresh random bytes, or None.
        identity: the CA or RA that signs.
        digest: digest of content and attributes.
        signing_time: current time, aware UTC.
        certificates: certificates to carry.
        fail_info: the reason with FAILURE.
        fail_info_text: the reason in words, or "".
    """
    attributes = [
        *_common(MessageType.CERT_REP, transaction_id, sender_nonce, signing_time),
        cms.attribute(oids.PKI_STATUS, _text(str(int(pki_status)))),
        cms.attribute(oids.RECIPIENT_NONCE, asn1.encode(recipient_nonce)),
    ]
    if fail_info is not None:
        attributes.append(cms.attribute(oids.FAIL_INFO, _text(str(int(fail_info)))))
    if fail_info_text:
        attributes.append(cms.attribute(oids.FAIL_INFO_TEXT, asn1.encode(fail_info_text)))
    return cms.build_signed_data(
        envelope, attributes=attributes, identity=identity, digest=digest, certificates=certificates
    )


class SignedAttributes:
    """The signed attributes of one signer by their types.

    Args:
        signer: the signer.

    Raises:
        ProtocolError: there are none, or a type comes twice (S-012).
    """

    def __init__(self, signer: cms.Signer) -> None:
        self._values: dict[asn1.Oid, asn1.TLV] = {}
        for der in signer.attributes:
            attribute = asn1.decode(asn1.Attribute, der, "signed attribute")
            if attribute.type in self._values:
                raise ProtocolError(
                    f"signed attribute {attribute.type.dotted_string} comes twice", section="RFC 5652 §5.3"
                )
            self._values[attribute.type] = attribute.values
        if not self._values:
            raise ProtocolError(
                "no signed attributes", section="RFC 8894 §3.2.1 Signed Transaction Attributes"
            )

    def value(self, oid: asn1.Oid) -> asn1.TLV | None:
        """Return the one value of an attribute, or None without it; raises ProtocolError for several."""
        values = self._values.get(oid)
        if values is None:
            return None
        found = asn1.members(values, "attribute values")
        if len(found) != 1:
            raise ProtocolError(
                f"signed attribute {oid.dotted_string} has {len(found)} values", section="RFC 8894 §3.2.1"
            )
        return found[0]

    def text(self, oid: asn1.Oid) -> str | None:
        """Return an attribute's text whatever string type it has (C-050, Q-029), or None without it."""
        value = self.value(oid)
        if value is None:
            return None
        if value.tag_bytes not in (b"\x13", b"\x0c", b"\x16", b"\x14") or len(value.data) > MAX_TEXT_BYTES:
            raise ProtocolError(
                f"signed attribute {oid.dotted_string} is not a short text", section="RFC 8894 §3.2.1"
            )
        return bytes(value.data).decode("utf-8", "backslashreplace")

    def octets(self, oid: asn1.Oid) -> bytes | None:
        """Return an attribute's OCTET STRING, or None without it."""
        value = self.value(oid)
        return None if value is None else asn1.parse(value, bytes, "OCTET STRING attribute")

    def oid(self, oid: asn1.Oid) -> asn1.Oid | None:
        """Return an attribute's OBJECT IDENTIFIER, or None without it."""
        value = self.value(oid)
        return None if value is None else asn1.parse(value, asn1.Oid, "OBJECT IDENTIFIER attribute")


def only_signer(signed: cms.SignedData) -> cms.Signer:
    """Return the one SignerInfo; raises ProtocolError for none or several (Q-098, S-012)."""
    if len(signed.signers) != 1:
        count = "no" if not signed.signers else "more than one"
        raise ProtocolError(f"{count} signature", section="RFC 8894 §3.2 SCEP pkiMessage")
    return signed.signers[0]


def verify(
    signed: cms.SignedData,
    signer: cms.Signer,
    *,
    trusted: Sequence[x509.Certificate],
    security: Security,
    checks: Checks,
) -> SignedAttributes:
    """Verify one signature made by one of the trusted certificates, and return what it covers.

    Args:
        signed: the message.
        signer: its only signer.
        trusted: certificates that may sign; those in the message count for nothing (S-001, S-003).
        security: the policy on its digest.
        checks: makes the checks ``signer`` to ``signature``.

    Raises:
        TrustError: one of them failed.
        ProtocolError: the message is not well-formed.
    """
    attributes = SignedAttributes(signer)
    candidates = _named_by(signer, trusted)
    checks.require(
        candidates,
        "signer",
        "the reply is not signed by a certificate of the authenticated CA",
        hint="if the CA has renewed its certificates, run again; GetCACert is asked anew",
    )
    if not candidates:
        candidates = _named_by(signer, signed.certificates())
    algorithms.check_reply(signer.digest, None, security, checks)
    checks.require(
        attributes.oid(oids.CONTENT_TYPE) == signed.content_type,
        "content-type",
        "the signed content type is not the content's (RFC 5652 §11.1)",
    )
    checks.require(
        attributes.octets(oids.MESSAGE_DIGEST) == signer.digest.of(signed.content or b""),
        "message-digest",
        "the content was changed after it was signed (RFC 5652 §11.2)",
    )
    checks.require(
        any(cms.verify_signature(signer, candidate) for candidate in candidates),
        "signature",
        "the signature is wrong",
    )
    return attributes


def _named_by(signer: cms.Signer, certificates: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    return [
        certificate
        for certificate in certificates
        if cms.names_certificate(
            certificate,
            issuer_der=signer.issuer_der,
            serial_number=signer.serial_number,
            key_identifier=signer.key_identifier,
        )
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertRep:
    """A reply that passed the checks on its signature and on what it answers.

    Attributes:
        pki_status: the outcome.
        fail_info: the reason with FAILURE, 0 or more, or None.
        fail_info_text: the reason in words, sanitised, or "".
        envelope: the encrypted answer with SUCCESS, else None.
        digest: the digest it is signed with.
    """

    pki_status: PkiStatus
    fail_info: int | None
    fail_info_text: str
    envelope: bytes | None
    digest: Digest


def parse_cert_rep(
    body: bytes,
    *,
    trusted: Sequence[x509.Certificate],
    transaction_id: str,
    sender_nonce: bytes,
    security: Security,
    checks: Checks,
) -> CertRep:
    """Read and check a reply, in the order of `checks.CHECKS`; nothing is decrypted.

    Args:
        body: the CMS, DER or BER.
        trusted: the certificates that may sign.
        transaction_id: the request's, compared exactly.
        sender_nonce: the request's, compared exactly.
        security: the policy on its digest.
        checks: makes the checks, keeps the findings.

    Raises:
        TrustError: a check failed.
        ProtocolError: the reply is not SCEP.
    """
    signed = cms.parse_signed_data(body)
    signer = only_signer(signed)
    attributes = verify(signed, signer, trusted=trusted, security=security, checks=checks)
    message_type = attributes.text(oids.MESSAGE_TYPE)
    checks.require(
        message_type == "3", "message-type", f"the reply's messageType is {_shown(message_type)}, not 3"
    )
    replied = attributes.text(oids.TRANSACTION_ID)
    checks.require(
        replied == transaction_id,
        "transaction-id",
        f"the reply is for transaction {_shown(replied)}, not {transaction_id}",
    )
    checks.require(
        attributes.octets(oids.RECIPIENT_NONCE) == sender_nonce,
        "recipient-nonce",
        "the reply's recipientNonce is not the nonce that was sent: it answers another message",
    )
    return _outcome(attributes, signed, signer.digest)


def _shown(text: str | None) -> str:
    return "missing" if text is None else f'"{sanitise(text, limit=80)}"'


def _outcome(attributes: SignedAttributes, signed: cms.SignedData, digest: Digest) -> CertRep:
    status_text = attributes.text(oids.PKI_STATUS)
    status = next((status for status in PkiStatus if str(status.value) == status_text), None)
    fail_info = attributes.text(oids.FAIL_INFO)
    if status is None:
        raise ProtocolError(
            f"pkiStatus is {_shown(status_text)}, failInfo is {_shown(fail_info)}",  # Dogtag sends only that
            section="RFC 8894 §3.2.1.3 pkiStatus",
        )
    if status is not PkiStatus.FAILURE and fail_info is not None:
        raise ProtocolError(
            f"pkiStatus {status.name} with a failInfo", section="RFC 8894 §3.2.1.4 failInfo and failInfoText"
        )
    if status is PkiStatus.SUCCESS and not signed.content:
        raise ProtocolError("SUCCESS without an envelope", section="RFC 8894 §3.3.2.1 CertRep SUCCESS")
    return CertRep(
        pki_status=status,
        fail_info=int(fail_info) if fail_info and _NUMBER.fullmatch(fail_info) else None,
        fail_info_text=_words(attributes),
        envelope=signed.content if status is PkiStatus.SUCCESS else None,
        digest=digest,
    )


def _words(attributes: SignedAttributes) -> str:
    try:
        return sanitise(attributes.text(oids.FAIL_INFO_TEXT) or "")
    except ProtocolError:
        return ""  # C-055: it decides nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class PkiRequest:
    """A request as the responder sees it.

    Attributes:
        message_type: the number, whether defined or not.
        transaction_id: as sent.
        sender_nonce: as sent.
        certificate: the signer's certificate, from the message.
        certificates: all certificates in the message (C-134).
        digest: the digest it is signed with.
        envelope: the encrypted content, not yet opened.
        verified: whether the signature is right.
    """

    message_type: int
    transaction_id: str
    sender_nonce: bytes
    certificate: x509.Certificate
    certificates: tuple[x509.Certificate, ...]
    digest: Digest
    envelope: cms.Envelope
    verified: bool


def parse_request(body: bytes) -> PkiRequest:
    """Read a request and verify its signature with the certificate that it carries.

    Raises:
        ProtocolError: it is not a request, or something that it must have is missing.
        TrustError: it is signed with an RSA key out of bounds (S-026).
    """
    signed = cms.parse_signed_data(body)
    signer = only_signer(signed)
    certificates = signed.certificates()
    candidates = _named_by(signer, certificates)
    attributes = SignedAttributes(signer)
    message_type = attributes.text(oids.MESSAGE_TYPE)
    transaction_id = attributes.text(oids.TRANSACTION_ID)
    sender_nonce = attributes.octets(oids.SENDER_NONCE)
    if not (candidates and transaction_id and sender_nonce and _NUMBER.fullmatch(message_type or "")):
        raise ProtocolError(
            "certificate, messageType, transactionID or senderNonce is missing",
            section="RFC 8894 §3.2.1 Signed Transaction Attributes",
        )
    verified = (
        attributes.oid(oids.CONTENT_TYPE) == signed.content_type
        and attributes.octets(oids.MESSAGE_DIGEST) == signer.digest.of(signed.content or b"")
        and cms.verify_signature(signer, candidates[0])
    )
    return PkiRequest(
        message_type=int(message_type or ""),
        transaction_id=transaction_id,
        sender_nonce=sender_nonce,
        certificate=candidates[0],
        certificates=certificates,
        digest=signer.digest,
        envelope=cms.parse_envelope(signed.content or b""),
        verified=verified,
    )
