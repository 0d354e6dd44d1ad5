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

from scepflow.engine import asn1, cms, envelopes, oids
from scepflow.engine.attributes import SignedAttributes, named_by, only_signer, verify
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

_NUMBER = re.compile("0|[1-9][0-9]{0,5}")  # C-049: decimal text, and Q-112: "02" is not 2

_WINDOWS_ERROR = re.compile("-?[0-9]{1,10}")


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
        "the reply does not say which transaction it answers"
        if replied is None
        else f"the reply is for transaction {_shown(replied)}, not {transaction_id}",
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
        return sanitise(attributes.text(oids.FAIL_INFO_TEXT) or _windows_error(attributes))
    except ProtocolError:
        return ""  # C-055: it decides nothing


def _windows_error(attributes: SignedAttributes) -> str:
    """Return what NDES sends in the place of words (Q-003), as its event log has it; or ""."""
    number = attributes.text(oids.MICROSOFT_ERROR) or ""
    return f"Windows error 0x{int(number) & 0xFFFFFFFF:08x}" if _WINDOWS_ERROR.fullmatch(number) else ""


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
    envelope: envelopes.Envelope
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
    candidates = named_by(signer, certificates)
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
        envelope=envelopes.parse_envelope(signed.content or b""),
        verified=verified,
    )
