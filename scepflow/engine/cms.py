"""CMS as SCEP uses it: SignedData with signed attributes, EnvelopedData, and certs-only (RFC 5652).

Both directions: what `build_` makes is strict DER; what `parse_` takes is what
servers send. Must never hold: SCEP's attributes or any trust decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine import algorithms, asn1, ber, oids, password
from scepflow.errors import ProtocolError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from scepflow.engine.algorithms import Cipher, Digest
    from scepflow.engine.asn1 import Oid
    from scepflow.engine.identity import SigningIdentity

__all__ = [
    "Envelope",
    "SignedData",
    "Signer",
    "attribute",
    "build_certs_only",
    "build_envelope",
    "build_signed_data",
    "find_extension",
    "load_certificates",
    "names_certificate",
    "not_opened",
    "open_envelope",
    "parse_envelope",
    "parse_signed_data",
    "public_key",
    "verify_signature",
]

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

MAX_CERTIFICATES = 64  # S-030: no bundle in the field has more than ten
MAX_ATTRIBUTES = 64
MAX_RECIPIENTS = 16  # S-052


@dataclass(frozen=True, slots=True)
class Signer:
    """One SignerInfo, not yet verified.

    Attributes:
        issuer_der: issuer Name of the signer's certificate, or None with a key identifier.
        serial_number: its serial number, or None with a key identifier.
        key_identifier: subject key identifier, or None with issuer and serial number.
        attributes: the signed attributes' DER in the order they came; empty when there are none.
    """

    issuer_der: bytes | None
    serial_number: int | None
    key_identifier: bytes | None
    digest: Digest
    signature_algorithm: list[asn1.TLV]
    signature: bytes
    attributes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignedData:
    """A SignedData, not yet verified.

    Attributes:
        content_type: the encapsulated content's type.
        content: its octets, or None when absent.
        certificates_der: the certificates in the order they came.
        crls_der: the CRLs in the order they came.
        signers: the SignerInfos.
    """

    content_type: Oid
    content: bytes | None
    certificates_der: tuple[bytes, ...]
    crls_der: tuple[bytes, ...]
    signers: tuple[Signer, ...]

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the certificates; raises ProtocolError for one that is none."""
        return load_certificates(self.certificates_der)


def load_certificates(ders: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Return certificates from their DER; raises ProtocolError for one that is none."""
    return tuple(map(_load_certificate, ders))


def _load_certificate(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.subject, certificate.issuer  # read now: a later reader does not expect them to fail
    except (ValueError, TypeError, x509.InvalidVersion):
        raise ProtocolError("not a certificate", section="RFC 5280 §4.1 Basic Certificate Fields") from None
    return certificate


def public_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes | None:
    """Return a certificate's key, or None for one that cannot be read: its kind is unknown, or it is damaged."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def parse_signed_data(data: bytes) -> SignedData:
    """Read a ContentInfo with a SignedData, from DER or BER.

    Args:
        data: the encoding, of any length.

    Raises:
        ProtocolError: it is not that, or has more parts than any honest message.
    """
    signed = asn1.parse(_content_info(data, oids.SIGNED_DATA, "SignedData"), asn1.SignedData, "SignedData")
    certificates = signed.certificates or []
    crls = signed.crls or []
    if len(certificates) > MAX_CERTIFICATES or len(crls) > MAX_CERTIFICATES:
        raise ProtocolError(f"more than {MAX_CERTIFICATES} certificates or CRLs in one message")
    return SignedData(
        content_type=signed.encapsulated.content_type,
        content=signed.encapsulated.content,
        certificates_der=tuple(map(asn1.encode, certificates)),
        crls_der=tuple(map(asn1.encode, crls)),
        signers=tuple(_signer(value) for value in asn1.members(signed.signer_infos, "signerInfos")[:2]),
    )


def _content_info(data: bytes, content_type: Oid, what: str) -> asn1.TLV:
    info = asn1.decode(asn1.ContentInfo, data, f"CMS {what}")
    if info.content_type != content_type:
        raise ProtocolError(
            f"{info.content_type.dotted_string} where a CMS {what} must be", section="RFC 5652 §3"
        )
    return info.content


def _signer(value: asn1.TLV) -> Signer:
    info = asn1.parse(value, asn1.SignerInfo, "SignerInfo")
    by_name = info.sid if isinstance(info.sid, asn1.IssuerAndSerialNumber) else None
    attributes = info.signed_attributes or []
    if len(attributes) > MAX_ATTRIBUTES:
        raise ProtocolError(f"more than {MAX_ATTRIBUTES} signed attributes")
    return Signer(
        issuer_der=asn1.encode(by_name.issuer) if by_name else None,
        serial_number=by_name.serial_number if by_name else None,
        key_identifier=info.sid if isinstance(info.sid, bytes) else None,
        digest=algorithms.digest_of(info.digest_algorithm),
        signature_algorithm=info.signature_algorithm,
        signature=info.signature,
        attributes=tuple(map(asn1.encode, attributes)),
    )


def names_certificate(
    certificate: x509.Certificate,
    *,
    issuer_der: bytes | None,
    serial_number: int | None,
    key_identifier: bytes | None,
) -> bool:
    """Tell whether an identifier of RFC 5652 names this certificate.

    A key identifier is compared with the certificate's extension, or with the
    SHA-1 of its key where there is none (Q-097).
    """
    if key_identifier is not None:
        return _key_identifier(certificate) == key_identifier
    return (issuer_der, serial_number) == asn1.certificate_names(certificate)[:2]


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    extension = find_extension(certificate, x509.SubjectKeyIdentifier)
    if extension is not None:
        return extension.digest
    key = public_key(certificate)
    return x509.SubjectKeyIdentifier.from_public_key(key).digest if key else None


def find_extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return an extension, or None when the certificate has none of its kind or its extensions cannot be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        ValueError,
    ):
        return None


def verify_signature(signer: Signer, certificate: x509.Certificate) -> bool:
    """Tell whether the signed attributes were signed with the certificate's key.

    The order that came is tried first, then the DER order that the RFC demands
    (Q-107); each attribute keeps the bytes that came (S-014).

    Raises:
        ProtocolError: an algorithm that we do not know.
    """
    key = public_key(certificate)

    def verified(attributes: Sequence[bytes]) -> bool:
        return algorithms.verify(
            key,
            algorithm=signer.signature_algorithm,
            digest=signer.digest,
            signature=signer.signature,
            data=asn1.wrap(0x31, b"".join(attributes)),
        )

    in_order = tuple(sorted(signer.attributes))
    return verified(signer.attributes) or (in_order != signer.attributes and verified(in_order))


def attribute(oid: Oid, value_der: bytes) -> bytes:
    """Return the DER of an Attribute with one value."""
    return asn1.wrap(0x30, asn1.encode(oid) + asn1.wrap(0x31, value_der))


def build_signed_data(
    content: bytes | None,
    *,
    attributes: Iterable[bytes],
    identity: SigningIdentity,
    digest: Digest,
    certificates: Iterable[x509.Certificate],
) -> bytes:
    """Return the DER of a ContentInfo with a SignedData, signed once (RFC 5652 §5 Signed-data Content Type).

    Args:
        content: octets to encapsulate as id-data, or None to leave them out.
        attributes: DER of signed attributes; contentType and messageDigest are added.
        identity: who signs.
        digest: digest of content and attributes.
        certificates: certificates to carry.
    """
    hashed = digest.of(content or b"")
    signed_attributes = sorted(
        [
            *attributes,
            attribute(oids.CONTENT_TYPE, asn1.encode(oids.DATA)),
            attribute(oids.MESSAGE_DIGEST, asn1.encode(hashed)),
        ]
    )
    algorithm, signature = algorithms.sign(identity.key, asn1.wrap(0x31, b"".join(signed_attributes)), digest)
    issuer, serial_number, _ = asn1.certificate_names(identity.certificate)
    digest_algorithm = digest.identifier()
    signer = asn1.SignerInfo(
        version=1,
        sid=asn1.IssuerAndSerialNumber(issuer=asn1.tlv(issuer), serial_number=serial_number),
        digest_algorithm=digest_algorithm,
        signed_attributes=[asn1.tlv(der) for der in signed_attributes],
        signature_algorithm=algorithm,
        signature=signature,
        unsigned_attributes=None,
    )
    return _signed_data(
        content,
        certificates=[certificate.public_bytes(Encoding.DER) for certificate in certificates],
        digests=[asn1.wrap(0x30, b"".join(map(asn1.encode, digest_algorithm)))],
        signers=[asn1.encode(signer)],
    )


def build_certs_only(certificates: Iterable[x509.Certificate], crls_der: Iterable[bytes] = ()) -> bytes:
    """Return the DER of a certs-only SignedData (RFC 8894 §3.4 Degenerate certificates-only CMS Signed-Data)."""
    return _signed_data(
        None,
        certificates=[certificate.public_bytes(Encoding.DER) for certificate in certificates],
        crls=list(crls_der),
    )


def _signed_data(
    content: bytes | None,
    *,
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    digests: Sequence[bytes] = (),
    signers: Sequence[bytes] = (),
) -> bytes:
    signed = asn1.SignedData(
        version=1,
        digest_algorithms=asn1.tlv(asn1.set_of(digests)),
        encapsulated=asn1.EncapsulatedContentInfo(content_type=oids.DATA, content=content),
        certificates=[asn1.tlv(der) for der in sorted(certificates)] or None,
        crls=[asn1.tlv(der) for der in sorted(crls)] or None,
        signer_infos=asn1.tlv(asn1.set_of(signers)),
    )
    return _wrap_content(oids.SIGNED_DATA, asn1.encode(signed))


def _wrap_content(content_type: Oid, der: bytes) -> bytes:
    return asn1.encode(asn1.ContentInfo(content_type=content_type, content=asn1.tlv(der)))


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
        TrustError: the recipient's key cannot decrypt and there is no password (C-046).
    """
    key = random_bytes(cipher.key_bytes)
    iv = random_bytes(cipher.block_bytes)
    recipient_key = public_key(recipient)
    if isinstance(recipient_key, rsa.RSAPublicKey):
        version, info = 0, _key_transport(recipient, recipient_key, key)
    elif challenge_password:
        version, info = 3, password.build_recipient(key, challenge_password, random_bytes)
    else:
        raise TrustError(
            "the recipient's certificate has a key that cannot decrypt, and there is no challenge to encrypt with",
            check="recipient",
            hint="ask the CA for an RSA encryption certificate, or set a challenge (RFC 8894 §3.1)",
        )
    enveloped = asn1.EnvelopedData(
        version=version,
        originator_info=None,
        recipient_infos=asn1.tlv(asn1.wrap(0x31, info)),
        encrypted=asn1.EncryptedContentInfo(
            content_type=oids.DATA,
            algorithm=asn1.algorithm(cipher.oid, asn1.encode(iv)),
            encrypted_content=asn1.tlv(asn1.wrap(0x80, algorithms.encrypt(cipher, key, iv, content))),
        ),
        unprotected_attributes=None,
    )
    return _wrap_content(oids.ENVELOPED_DATA, asn1.encode(enveloped))


def _key_transport(recipient: x509.Certificate, recipient_key: rsa.RSAPublicKey, key: bytes) -> bytes:
    issuer, serial_number, _ = asn1.certificate_names(recipient)
    info = asn1.KeyTransRecipientInfo(
        version=0,
        rid=asn1.IssuerAndSerialNumber(issuer=asn1.tlv(issuer), serial_number=serial_number),
        algorithm=asn1.algorithm(oids.RSA_ENCRYPTION),
        encrypted_key=recipient_key.encrypt(key, PKCS1v15()),
    )
    return asn1.encode(info)


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
        _content_info(data, oids.ENVELOPED_DATA, "EnvelopedData"), asn1.EnvelopedData, "EnvelopedData"
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
    envelope: Envelope, identity: SigningIdentity, *, challenge_password: str | None = None
) -> bytes:
    """Return what is inside, decrypted for the identity.

    Call it only for an envelope whose signature is verified: everything that goes
    wrong with key and content raises the same error (S-050).

    Raises:
        ProtocolError: no recipient is ours, or the envelope does not open.
    """
    key = _content_key(envelope, identity, challenge_password)
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
    envelope: Envelope, identity: SigningIdentity, challenge_password: str | None
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
            return password.open_recipient(value, challenge_password)
    raise ProtocolError("the envelope is not for our certificate", section="RFC 8894 §3.2.2 pkcsPKIEnvelope")


def _is_for(info: asn1.KeyTransRecipientInfo, certificate: x509.Certificate) -> bool:
    if isinstance(info.rid, bytes):
        return names_certificate(certificate, issuer_der=None, serial_number=None, key_identifier=info.rid)
    return names_certificate(
        certificate,
        issuer_der=asn1.encode(info.rid.issuer),
        serial_number=info.rid.serial_number,
        key_identifier=None,
    )
