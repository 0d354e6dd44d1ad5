"""EnvelopedData: sealing for one recipient, and opening with our key (RFC 5652 §6 Enveloped-data Content Type).

Must never hold: a way to tell what went wrong behind the lock (S-050).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from scepflow.engine import algorithms, asn1, ber, certificates, cms, oids, password
from scepflow.errors import ProtocolError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.engine.algorithms import Cipher, Digest
    from scepflow.engine.identity import SigningIdentity

__all__ = ["Envelope", "build_envelope", "not_opened", "open_envelope", "parse_envelope"]

MAX_RECIPIENTS = 16  # S-052: a reply has one, and each is looked at


def build_envelope(
    content: bytes,
    *,
    recipient: x509.Certificate,
    cipher: Cipher,
    random_bytes: Callable[[int], bytes],
    challenge_password: str | None = None,
) -> bytes:
    """Return the DER of a ContentInfo with an EnvelopedData for one recipient (RFC 8894 §3.2.2 pkcsPKIEnvelope).

    The same ``random_bytes`` give the same bytes, but for the encryptedKey of an RSA recipient:
    the library draws the padding of PKCS#1 v1.5 itself.

    Args:
        content: what to encrypt.
        recipient: for an RSA key a KeyTransRecipientInfo is made, else a PasswordRecipientInfo.
        cipher: content cipher.
        random_bytes: source of content key, vectors and salt.
        challenge_password: the password for a recipient whose key cannot decrypt.

    Raises:
        TrustError: the recipient's key cannot decrypt and there is no password (C-046), or it is RSA out of bounds.
    """
    key = random_bytes(cipher.key_bytes)
    iv = random_bytes(cipher.block_bytes)
    recipient_key = certificates.public_key(recipient)
    if isinstance(recipient_key, rsa.RSAPublicKey):
        algorithms.check_rsa(recipient_key, "recipient's")
        version, info = 0, _key_transport(recipient, recipient_key, key)
    elif challenge_password:
        version, info = 3, password.build_recipient(key, challenge_password, random_bytes)
    else:
        raise TrustError(
            "the recipient's certificate has a key that cannot decrypt, and there is no challenge to encrypt with",
            check="recipient",
            hint="ask the CA for an RSA encryption certificate, or set a challenge (RFC 8894 §3.1), "
            "in a renewal with challenge_in_renewal = true in [csr]",
        )
    encrypted = asn1.sequence(
        asn1.encode(oids.DATA),
        asn1.algorithm_der(cipher.oid, asn1.encode(iv)),
        asn1.wrap(0x80, algorithms.encrypt(cipher, key, iv, content)),
    )
    enveloped = asn1.sequence(asn1.encode(version), asn1.wrap(0x31, info), encrypted)
    return cms.wrap_content(oids.ENVELOPED_DATA, enveloped)


def _key_transport(recipient: x509.Certificate, recipient_key: rsa.RSAPublicKey, key: bytes) -> bytes:
    return asn1.sequence(
        asn1.encode(0),  # version
        asn1.issuer_and_serial_number(recipient),
        asn1.algorithm_der(oids.RSA_ENCRYPTION),
        asn1.encode(recipient_key.encrypt(key, PKCS1v15())),
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """An EnvelopedData, not yet opened: the cipher can be judged before the key is used."""

    cipher: Cipher
    iv: bytes
    encrypted: bytes
    recipients: tuple[asn1.TLV, ...]


def parse_envelope(data: bytes) -> Envelope:
    """Read a ContentInfo with an EnvelopedData, from DER or BER.

    Raises:
        ProtocolError: it is not that, or its cipher is not one that we read.
    """
    enveloped = asn1.parse(
        cms.content_info(data, oids.ENVELOPED_DATA, "EnvelopedData"), asn1.EnvelopedData, "EnvelopedData"
    )
    cipher, iv = algorithms.cipher_of(enveloped.encrypted.algorithm)
    recipients = asn1.members(enveloped.recipient_infos, "recipientInfos")
    if len(recipients) > MAX_RECIPIENTS:
        raise ProtocolError(f"more than {MAX_RECIPIENTS} recipients")
    content = enveloped.encrypted.encrypted_content
    if content.tag_bytes not in (b"\x80", b"\xa0"):
        raise ProtocolError(
            f"encryptedContent: unexpected tag {content.tag_bytes.hex()}", section="RFC 5652 §6.1"
        )
    encrypted = ber.join_octets(content.tag_bytes[0], content.data)
    return Envelope(cipher=cipher, iv=iv, encrypted=encrypted, recipients=tuple(recipients))


def open_envelope(
    envelope: Envelope,
    identity: SigningIdentity,
    *,
    challenge_password: str | None = None,
    judge: Callable[[Digest, Cipher], None] | None = None,
) -> bytes:
    """Return what is inside, decrypted for the identity.

    Call it only for an envelope whose signature is verified: everything that goes
    wrong with key and content raises the same error (S-050).

    Args:
        envelope: from `parse_envelope`.
        identity: whose certificate it is for.
        challenge_password: opens what is for a password.
        judge: see `password.open_recipient`.

    Raises:
        ProtocolError: no recipient is ours, or the envelope does not open.
    """
    key = _content_key(envelope, identity, challenge_password, judge)
    content = algorithms.decrypt(envelope.cipher, key, envelope.iv, envelope.encrypted) if key else None
    if content is None:
        raise not_opened()
    return content


def not_opened() -> ProtocolError:
    """Return the one error for everything that goes wrong behind the lock (S-050)."""
    return ProtocolError(
        "the envelope does not open with our key",
        section="RFC 8894 §3.2.2 pkcsPKIEnvelope",
        hint='some servers cannot answer AES or SHA-256 rightly: try cipher = "3des-cbc", digest = "sha-1" in [ca]',
    )


def _content_key(
    envelope: Envelope,
    identity: SigningIdentity,
    challenge_password: str | None,
    judge: Callable[[Digest, Cipher], None] | None,
) -> bytes | None:
    for value in envelope.recipients:
        if value.tag_bytes == b"\x30" and isinstance(identity.key, rsa.RSAPrivateKey):
            info = asn1.parse(value, asn1.KeyTransRecipientInfo, "KeyTransRecipientInfo")
            if _is_for(info, identity.certificate):
                padding = algorithms.key_transport_padding(info.algorithm)
                try:
                    return identity.key.decrypt(info.encrypted_key, padding)
                except (ValueError, UnsupportedAlgorithm):
                    return None
        elif value.tag_bytes == b"\xa3" and challenge_password:
            return password.open_recipient(value, challenge_password, judge=judge)
    raise ProtocolError("the envelope is not for our certificate", section="RFC 8894 §3.2.2 pkcsPKIEnvelope")


def _is_for(info: asn1.KeyTransRecipientInfo, certificate: x509.Certificate) -> bool:
    if isinstance(info.rid, bytes):
        return certificates.names_certificate(
            certificate, issuer_der=None, serial_number=None, key_identifier=info.rid
        )
    return certificates.names_certificate(
        certificate,
        issuer_der=asn1.encode(info.rid.issuer),
        serial_number=info.rid.serial_number,
        key_identifier=None,
    )
