"""CMS as SCEP uses it: SignedData with signed attributes, and certs-only (RFC 5652).

Both directions: what `build_` makes is strict DER; what `parse_` takes is what
servers send. Must never hold: SCEP's attributes or any trust decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine import algorithms, asn1, certificates, oids
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scepflow.engine.algorithms import Digest
    from scepflow.engine.asn1 import Oid
    from scepflow.engine.identity import SigningIdentity

__all__ = [
    "SignedData",
    "Signer",
    "attribute",
    "build_certs_only",
    "build_signed_data",
    "content_info",
    "parse_signed_data",
    "verify_signature",
    "wrap_content",
]

MAX_CERTIFICATES = 64  # S-030: no bundle in the field has more than ten
MAX_ATTRIBUTES = 64  # S-030: SCEP has nine, and some signers add their own
_HIGH_TAG = 0x1F
_INDEFINITE = 0x80
_PARTS = 6  # of a SignedData
_SETS = (0x31, 0xA0, 0xA1)  # its digests and signers, certificates, CRLs


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
        return certificates.load_certificates(self.certificates_der)


def parse_signed_data(data: bytes) -> SignedData:
    """Read a ContentInfo with a SignedData, from DER or BER.

    Args:
        data: the encoding, of any length.

    Raises:
        ProtocolError: it is not that, or has more parts than any honest message.
    """
    content = content_info(data, oids.SIGNED_DATA, "SignedData")
    _refuse_crowds(bytes(content.data))
    signed = asn1.parse(content, asn1.SignedData, "SignedData")
    certificates = signed.certificates or []
    crls = signed.crls or []
    if len(certificates) > MAX_CERTIFICATES or len(crls) > MAX_CERTIFICATES:  # in BER, counted only here
        raise _crowded()
    return SignedData(
        content_type=signed.encapsulated.content_type,
        content=signed.encapsulated.content,
        certificates_der=tuple(map(asn1.encode, certificates)),
        crls_der=tuple(map(asn1.encode, crls)),
        signers=tuple(_signer(value) for value in asn1.members(signed.signer_infos, "signerInfos")[:2]),
    )


def _crowded() -> ProtocolError:
    return ProtocolError(f"more than {MAX_CERTIFICATES} certificates, CRLs or signers in one message")


def _refuse_crowds(data: bytes) -> None:
    """Count what is in the sets of a SignedData before lists are made of it (S-030)."""
    for tag, start, stop in islice(_elements(data, 0, len(data)), _PARTS):
        if tag in _SETS and any(islice(_elements(data, start, stop), MAX_CERTIFICATES, None)):
            raise _crowded()


def _elements(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Walk from element to element; what is not DER ends the walk, and decoding judges it."""
    while at + 2 <= end:
        if data[at] & _HIGH_TAG == _HIGH_TAG:  # it would lead the walk astray
            raise ProtocolError(f"tag 0x{data[at]:02x} is not used here", section="RFC 5652 §5.1")
        length, start = data[at + 1], at + 2
        if length >= 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[at + 2 : start], "big")
        if data[at + 1] == _INDEFINITE or start + length > end:
            return
        yield data[at], start, start + length
        at = start + length


def content_info(data: bytes, content_type: Oid, what: str) -> asn1.TLV:
    """Return the content of a ContentInfo of that type, from DER or BER; raises ProtocolError."""
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


def verify_signature(signer: Signer, certificate: x509.Certificate) -> bool:
    """Tell whether the signed attributes were signed with the certificate's key.

    The order that came is tried first, then the DER order that the RFC demands
    (Q-107); each attribute keeps the bytes that came (S-014).

    Raises:
        ProtocolError: an algorithm that we do not know.
    """
    key = certificates.public_key(certificate)

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
    return asn1.sequence(asn1.encode(oid), asn1.wrap(0x31, value_der))


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
    attributes_der = b"".join(signed_attributes)
    algorithm, signature = algorithms.sign(identity.key, asn1.wrap(0x31, attributes_der), digest)
    digest_algorithm = digest.identifier()
    signer = asn1.sequence(
        asn1.encode(1),  # version
        asn1.issuer_and_serial_number(identity.certificate),
        digest_algorithm,
        asn1.wrap(0xA0, attributes_der),
        algorithm,
        asn1.encode(signature),
    )
    return _signed_data(
        content,
        certificates=[certificate.public_bytes(Encoding.DER) for certificate in certificates],
        digests=[digest_algorithm],
        signers=[signer],
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
    signed = asn1.sequence(
        asn1.encode(1),  # version
        asn1.set_of(digests),
        asn1.sequence(asn1.encode(oids.DATA))
        if content is None
        else wrap_content(oids.DATA, asn1.encode(content)),
        asn1.wrap(0xA0, b"".join(sorted(certificates))) if certificates else b"",
        asn1.wrap(0xA1, b"".join(sorted(crls))) if crls else b"",
        asn1.set_of(signers),
    )
    return wrap_content(oids.SIGNED_DATA, signed)


def wrap_content(content_type: Oid, der: bytes) -> bytes:
    """Return the DER of a ContentInfo."""
    return asn1.sequence(asn1.encode(content_type), asn1.wrap(0xA0, der))
