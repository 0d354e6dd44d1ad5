"""A CertRep and its envelope built by hand, with a knob for everything that servers do and attackers would.

What the client's own code builds is right; here nothing has to be. For tests and demos only.
Must never hold: an opinion on which shape is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine import algorithms, asn1, cms, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.asn1 import NULL_DER, Oid, certificate_names, encode, wrap
from scepflow.engine.attributes import SignedAttributes, only_signer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cryptography import x509

    from scepflow.engine.identity import SigningIdentity

__all__ = [
    "Shape",
    "algorithm",
    "attribute",
    "content_info",
    "elements",
    "envelope",
    "issuer_and_serial",
    "key_transport_info",
    "seq",
    "shape_of",
    "signed_data",
    "to_ber",
]

_KNOWN = frozenset(
    {
        oids.MESSAGE_TYPE,
        oids.PKI_STATUS,
        oids.TRANSACTION_ID,
        oids.FAIL_INFO,
        oids.FAIL_INFO_TEXT,
        oids.RECIPIENT_NONCE,
        oids.SENDER_NONCE,
        oids.MESSAGE_DIGEST,
        oids.CONTENT_TYPE,
    }
)


def seq(*parts: bytes) -> bytes:
    """Return the DER of a SEQUENCE of parts that are encoded already."""
    return wrap(0x30, b"".join(parts))


def algorithm(oid: Oid, parameters: bytes = NULL_DER) -> bytes:
    """Return the DER of an AlgorithmIdentifier; no parameters is ``b""``."""
    return seq(encode(oid), parameters)


def attribute(oid: Oid, *values: bytes) -> bytes:
    """Return the DER of an Attribute with any number of values, in the order given."""
    return seq(encode(oid), wrap(0x31, b"".join(values)))


def content_info(content_type: Oid, content: bytes) -> bytes:
    """Return the DER of a ContentInfo around content that is encoded already."""
    return seq(encode(content_type), wrap(0xA0, content))


def issuer_and_serial(certificate: x509.Certificate) -> bytes:
    """Return the DER of a certificate's IssuerAndSerialNumber."""
    issuer, serial_number, _ = certificate_names(certificate)
    return seq(issuer, encode(serial_number))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A CertRep in the making; an attribute whose knob is None is left out.

    Attributes:
        signer: whose key signs, and whose certificate the sid names.
        content: the eContent's octets, or None to leave it out.
        named: another certificate for the sid to name.
        key_identifier: what the sid names instead, as a subjectKeyIdentifier.
        certificates: what the message carries.
        message_type: text of messageType.
        status: text of pkiStatus.
        transaction_id: text of transactionID.
        recipient_nonce: octets of recipientNonce.
        sender_nonce: octets of senderNonce.
        fail_info: text of failInfo.
        fail_info_text: text of failInfoText.
        text_tag: tag of all these texts; 0x13 is PrintableString.
        content_type: the eContentType.
        signed_content_type: the contentType attribute, or None to leave it out.
        hashed: what messageDigest is of, or None for the content.
        extra: DER of more signed attributes.
        arrange: puts the attributes in the order in which they are sent.
        arrange_signed: puts them in the order that is signed, or None for the one that is sent.
        digest: the SignerInfo's digest.
        digest_parameters: parameters in its AlgorithmIdentifier.
        signature_algorithm: DER of the AlgorithmIdentifier of the signature, or None for the key's.
        sign: signs the attributes instead of the signer's key.
        signatures: how often the SignerInfo stands there.
        more_signer_infos: DER of further SignerInfos.
        unsigned: DER of the SignerInfo's unsignedAttrs.
        crls_der: CRLs that the message carries.
        wrapped: DER that stands in [0] where the eContent's OCTET STRING should, or None.
        version: of the SignedData.
        signer_version: of the SignerInfo.
    """

    signer: SigningIdentity
    content: bytes | None
    named: x509.Certificate | None = None
    key_identifier: bytes | None = None
    certificates: tuple[x509.Certificate, ...] = ()
    message_type: str | None = "3"
    status: str | None = "0"
    transaction_id: str | None = None
    recipient_nonce: bytes | None = None
    sender_nonce: bytes | None = b"S" * 16
    fail_info: str | None = None
    fail_info_text: str | None = None
    text_tag: int = 0x13
    content_type: Any = oids.DATA
    signed_content_type: Any = oids.DATA
    hashed: bytes | None = None
    extra: tuple[bytes, ...] = ()
    arrange: Callable[[list[bytes]], list[bytes]] = sorted
    arrange_signed: Callable[[list[bytes]], list[bytes]] | None = None
    digest: Digest = Digest.SHA256
    digest_parameters: bytes = NULL_DER
    signature_algorithm: bytes | None = None
    sign: Callable[[bytes], bytes] | None = None
    signatures: int = 1
    more_signer_infos: tuple[bytes, ...] = ()
    unsigned: bytes = b""
    crls_der: tuple[bytes, ...] = ()
    wrapped: bytes | None = None
    version: int = 1
    signer_version: int = 1

    def attributes(self) -> list[bytes]:
        """Return the DER of the signed attributes, in no order."""
        hashed = self.digest.of((self.content or b"") if self.hashed is None else self.hashed)
        texts = {
            oids.MESSAGE_TYPE: self.message_type,
            oids.PKI_STATUS: self.status,
            oids.TRANSACTION_ID: self.transaction_id,
            oids.FAIL_INFO: self.fail_info,
            oids.FAIL_INFO_TEXT: self.fail_info_text,
        }
        octets = {
            oids.RECIPIENT_NONCE: self.recipient_nonce,
            oids.SENDER_NONCE: self.sender_nonce,
            oids.MESSAGE_DIGEST: hashed,
        }
        return [
            *(attribute(o, wrap(self.text_tag, t.encode())) for o, t in texts.items() if t is not None),
            *(attribute(oid, encode(value)) for oid, value in octets.items() if value is not None),
            *([attribute(oids.CONTENT_TYPE, encode(o))] if (o := self.signed_content_type) else []),
            *self.extra,
        ]

    def _signature(self, data: bytes) -> bytes:
        if self.sign:
            return self.sign(data)
        if isinstance(self.signer.key, ec.EllipticCurvePrivateKey):
            return self.signer.key.sign(data, ec.ECDSA(self.digest.hash()))
        return self.signer.key.sign(data, padding.PKCS1v15(), self.digest.hash())

    def signer_info(self) -> bytes:
        """Return the DER of the SignerInfo, signed."""
        attributes = self.arrange(self.attributes())
        signed = (self.arrange_signed or self.arrange)(self.attributes())
        rsa_encryption = algorithm(oids.RSA_ENCRYPTION)
        by_default = rsa_encryption if not isinstance(self.signer.key, ec.EllipticCurvePrivateKey) else None
        return seq(
            encode(self.signer_version),
            wrap(0x80, self.key_identifier)
            if self.key_identifier is not None
            else issuer_and_serial(self.named or self.signer.certificate),
            algorithm(self.digest.oid, self.digest_parameters),
            wrap(0xA0, b"".join(attributes)) if attributes else b"",
            self.signature_algorithm or by_default or algorithm(oids.ECDSA_WITH_SHA256, b""),
            encode(self._signature(wrap(0x31, b"".join(signed)))),
            self.unsigned,
        )

    def der(self) -> bytes:
        """Return the DER of the message."""
        certificates = [certificate.public_bytes(Encoding.DER) for certificate in self.certificates]
        octets = self.wrapped if self.content is None or self.wrapped is not None else encode(self.content)
        return signed_data(
            b"" if octets is None else wrap(0xA0, octets),
            content_type=self.content_type,
            certificates=wrap(0xA0, b"".join(certificates)) if certificates else b"",
            crls=wrap(0xA1, b"".join(self.crls_der)) if self.crls_der else b"",
            signer_infos=[*[self.signer_info()] * self.signatures, *self.more_signer_infos],
            version=self.version,
        )

    def but(self, **knobs: Any) -> Shape:
        """Return the same with some knobs set."""
        return replace(self, **knobs)


def shape_of(body: bytes, signer: SigningIdentity) -> Shape:
    """Return a rightly built CertRep as one that can be changed in every part.

    Args:
        body: DER of the CertRep.
        signer: who signed it, and will sign it again.
    """
    signed = cms.parse_signed_data(body)
    only = only_signer(signed)
    attributes = SignedAttributes(only)
    extra = [attributes_der for attributes_der in only.attributes if _oid_of(attributes_der) not in _KNOWN]
    return Shape(
        signer=signer,
        content=signed.content,
        certificates=signed.certificates(),
        status=attributes.text(oids.PKI_STATUS),
        transaction_id=attributes.text(oids.TRANSACTION_ID),
        recipient_nonce=attributes.octets(oids.RECIPIENT_NONCE),
        sender_nonce=attributes.octets(oids.SENDER_NONCE),
        fail_info=attributes.text(oids.FAIL_INFO),
        fail_info_text=attributes.text(oids.FAIL_INFO_TEXT),
        extra=tuple(extra),
        digest=only.digest,
    )


def _oid_of(attribute_der: bytes) -> Oid:
    _, parts = next(elements(attribute_der))
    return asn1.decode(Oid, wrap(*next(elements(parts))), "an attribute's type")


def signed_data(
    content: bytes = b"",
    *,
    content_type: Oid = oids.DATA,
    certificates: bytes = b"",
    crls: bytes = b"",
    signer_infos: Sequence[bytes] = (),
    version: int = 1,
) -> bytes:
    """Return a ContentInfo with a SignedData of the parts as they are."""
    return content_info(
        oids.SIGNED_DATA,
        seq(
            encode(version),
            wrap(0x31, algorithm(oids.SHA256) if signer_infos else b""),
            seq(encode(content_type), content),
            certificates,
            crls,
            wrap(0x31, b"".join(signer_infos)),
        ),
    )


def envelope(
    content: bytes,
    *,
    recipient: x509.Certificate | None = None,
    rid: bytes | None = None,
    key_transport: bytes | None = None,
    pad: padding.AsymmetricPadding | None = None,
    cipher: Cipher = Cipher.AES128,
    key: bytes | None = None,
    iv: bytes | None = None,
    cipher_identifier: bytes | None = None,
    encrypted_content: bytes | None = None,
    recipient_infos: Iterable[bytes] | None = None,
    version: int = 0,
) -> bytes:
    """Return a ContentInfo with an EnvelopedData of the parts as they are, made by default.

    Args:
        content: what to encrypt.
        recipient: for whose RSA key.
        rid: DER of how the recipient is named, or None for issuer and serial number.
        key_transport: DER of the key transport's AlgorithmIdentifier, or None for rsaEncryption.
        pad: padding of the key transport, or None for PKCS#1 v1.5.
        cipher: content cipher.
        key: what stands for the content key in the recipient's part, or None for the right one.
        iv: the vector, or None.
        cipher_identifier: DER of the cipher's AlgorithmIdentifier, or None for the right one.
        encrypted_content: DER of encryptedContent, or None for the right one.
        recipient_infos: DER of the RecipientInfos, or None for one.
        version: of the EnvelopedData.
    """
    key = b"K" * cipher.key_bytes if key is None else key
    iv = b"I" * cipher.block_bytes if iv is None else iv
    if recipient_infos is None:
        if recipient is None:
            raise ValueError("an envelope needs a recipient, or its recipient_infos")
        recipient_infos = [key_transport_info(recipient, key, rid=rid, identifier=key_transport, pad=pad)]
    if encrypted_content is None:
        encrypted_content = wrap(0x80, algorithms.encrypt(cipher, b"K" * cipher.key_bytes, iv, content))
    identifier = cipher_identifier or algorithm(cipher.oid, encode(iv))
    return content_info(
        oids.ENVELOPED_DATA,
        seq(
            encode(version),
            wrap(0x31, b"".join(recipient_infos)),
            seq(encode(oids.DATA), identifier, encrypted_content),
        ),
    )


def key_transport_info(
    recipient: x509.Certificate,
    key: bytes,
    *,
    rid: bytes | None = None,
    identifier: bytes | None = None,
    pad: padding.AsymmetricPadding | None = None,
) -> bytes:
    """Return the DER of a KeyTransRecipientInfo; see `envelope`."""
    public_key = recipient.public_key()
    if not isinstance(public_key, rsa.RSAPublicKey):
        raise TypeError("key transport needs an RSA key")
    return seq(
        encode(0),
        rid or issuer_and_serial(recipient),
        identifier or algorithm(oids.RSA_ENCRYPTION),
        encode(public_key.encrypt(key, pad or padding.PKCS1v15())),
    )


def to_ber(der: bytes) -> bytes:
    """Return a DER value as BouncyCastle would write it: indefinite lengths, octet strings in pieces (Q-042)."""
    return b"".join(map(_ber_element, elements(der)))


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take DER apart into tag and contents, one level deep."""
    while data:
        size, header = data[1], 2
        if size >= 0x80:
            header += size & 0x7F
            size = int.from_bytes(data[2:header], "big")
        yield data[0], data[header : header + size]
        data = data[header + size :]


def _ber_element(element: tuple[int, bytes]) -> bytes:
    tag, content = element
    if tag & 0x20:
        return bytes((tag, 0x80)) + to_ber(content) + b"\0\0"
    if tag in (0x04, 0x80) and len(content) > 1:
        pieces = wrap(0x04, content[:1]) + wrap(0x04, content[1:])
        return bytes((tag | 0x20, 0x80)) + pieces + b"\0\0"
    return wrap(tag, content)
