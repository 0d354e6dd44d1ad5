"""How the test CA decides and answers.

Must never hold: behaviour; the responder reads these values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

    from scepflow.engine.algorithms import Cipher, Digest
    from scepflow.engine.identity import SigningIdentity
    from scepflow.engine.messages import FailInfo, MessageType, PkiStatus
    from scepflow.testca.behaviour import Behaviour

__all__ = ["CAPABILITIES", "Knobs", "Reply"]

CAPABILITIES = (
    "AES\nDES3\nGetNextCACert\nPOSTPKIOperation\nRenewal\nSCEPStandard\nSHA-1\nSHA-256\nSHA-384\nSHA-512\n"
)
"""What the responder can do, as GetCACaps says it; strongSwan's pki 5.9.8 takes AES as offered only beside SHA-384."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A CertRep before it is encrypted, signed and encoded.

    Attributes:
        pki_status: the outcome.
        transaction_id: the request's.
        recipient_nonce: the request's sender_nonce.
        sender_nonce: 16 fresh random bytes, or None to leave it out.
        signer: who signs.
        recipient: whose key the answer is encrypted to (C-027).
        digest: digest of content and attributes.
        cipher: content cipher.
        certificates: what SUCCESS carries.
        crls_der: CRLs that SUCCESS carries.
        fail_info: the reason with FAILURE.
        fail_info_text: the reason in words, or "".
    """

    pki_status: PkiStatus
    transaction_id: str
    recipient_nonce: bytes
    sender_nonce: bytes | None
    signer: SigningIdentity
    recipient: x509.Certificate
    digest: Digest
    cipher: Cipher
    certificates: tuple[x509.Certificate, ...] = ()
    crls_der: tuple[bytes, ...] = ()
    fail_info: int | None = None
    fail_info_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How a responder behaves; as they stand it approves everyone at once.

    Attributes:
        challenge: what a first enrollment must bring, or None to approve anyone.
        one_time_challenge: whether the challenge is good for one enrollment only.
        pending: answers PENDING before the decision, 0 or more: the first answer and all polls but the last.
        reject: failInfo with which every enrollment is rejected, or None.
        reject_text: failInfoText that goes with it, or "".
        unknown: kinds of message that are rejected with badRequest, as by a server that does not know them.
        capabilities: body of GetCACaps as it is sent, line ends included.
        content_cipher: cipher of replies, or None for the request's.
        digest: digest of replies, or None for the request's.
        days: lifetime of certificates, more than 0.
        rsa_for_ec: whether an RSA key may sign the first request for an EC key, which cannot decrypt the
            reply; any other request must be signed with the key in its CSR (C-131).
        der_only: whether requests in BER are refused, so that a client that starts to send it is noticed (C-132).
        behave: departures from how a careful CA answers, taken in this order (`scepflow.testca.behaviours`).
    """

    challenge: str | None = None
    one_time_challenge: bool = False
    pending: int = 0
    reject: FailInfo | None = None
    reject_text: str = ""
    unknown: frozenset[MessageType] = frozenset()
    capabilities: str = CAPABILITIES
    content_cipher: Cipher | None = None
    digest: Digest | None = None
    days: float = 365
    rsa_for_ec: bool = True
    der_only: bool = False
    behave: tuple[Behaviour, ...] = ()
