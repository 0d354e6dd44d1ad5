"""The ASN.1 shapes of CMS and SCEP, declared; the only module that knows ``cryptography.hazmat.asn1``.

Must never hold: meaning. Shapes are read from DER; BER is normalised first
(`scepflow.engine.ber`) and only when DER reading fails.

Three shapes are wider than their specification, because `hazmat.asn1` has no
ANY OPTIONAL and demands sorted SET OFs, which real servers do not send
(Q-107): an AlgorithmIdentifier is a SEQUENCE OF ANY, a SET OF stands as one
`TLV` that `members` takes apart, and IMPLICIT SET OFs are lists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from scepflow.engine import ber
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

Oid = ObjectIdentifier
TLV = asn1.TLV
UTCTime = asn1.UTCTime
GeneralizedTime = asn1.GeneralizedTime
PrintableString = asn1.PrintableString
encode = asn1.encode_der

_T = TypeVar("_T")
_Algorithm = list[TLV]

NULL_DER = b"\x05\x00"


@asn1.sequence
class ContentInfo:
    """RFC 5652 §3 General Syntax."""

    content_type: Oid
    content: Annotated[TLV, asn1.Explicit(0)]


@asn1.sequence
class EncapsulatedContentInfo:
    """RFC 5652 §5.2 EncapsulatedContentInfo Type."""

    content_type: Oid
    content: Annotated[bytes | None, asn1.Explicit(0)]


@asn1.sequence
class SignedData:
    """RFC 5652 §5.1 SignedData Type; the SETs of digests and signers are taken apart by `members`."""

    version: int
    digest_algorithms: TLV
    encapsulated: EncapsulatedContentInfo
    certificates: Annotated[list[TLV] | None, asn1.Implicit(0)]
    crls: Annotated[list[TLV] | None, asn1.Implicit(1)]
    signer_infos: TLV


@asn1.sequence
class IssuerAndSerialNumber:
    """RFC 5652 §10.2.4 IssuerAndSerialNumber."""

    issuer: TLV
    serial_number: int


@asn1.sequence
class SignerInfo:
    """RFC 5652 §5.3 SignerInfo Type."""

    version: int
    sid: IssuerAndSerialNumber | Annotated[bytes, asn1.Implicit(0)]
    digest_algorithm: _Algorithm
    signed_attributes: Annotated[list[TLV] | None, asn1.Implicit(0)]
    signature_algorithm: _Algorithm
    signature: bytes
    unsigned_attributes: Annotated[list[TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class Attribute:
    """RFC 5652 §5.3 SignerInfo Type; ``values`` is the SET OF."""

    type: Oid
    values: TLV


@asn1.sequence
class EncryptedContentInfo:
    """RFC 5652 §6.1 EnvelopedData Type; the content is ``80`` or, from some servers, ``A0`` (Q-042)."""

    content_type: Oid
    algorithm: _Algorithm
    encrypted_content: TLV


@asn1.sequence
class EnvelopedData:
    """RFC 5652 §6.1 EnvelopedData Type."""

    version: int
    originator_info: Annotated[list[TLV] | None, asn1.Implicit(0)]
    recipient_infos: TLV
    encrypted: EncryptedContentInfo
    unprotected_attributes: Annotated[list[TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class KeyTransRecipientInfo:
    """RFC 5652 §6.2.1 KeyTransRecipientInfo Type."""

    version: int
    rid: IssuerAndSerialNumber | Annotated[bytes, asn1.Implicit(0)]
    algorithm: _Algorithm
    encrypted_key: bytes


@asn1.sequence
class PasswordRecipientInfo:
    """RFC 5652 §6.2.4 PasswordRecipientInfo Type, as its SEQUENCE (the [3] is put on and off outside)."""

    version: int
    key_derivation: Annotated[list[TLV] | None, asn1.Implicit(0)]
    key_encryption: _Algorithm
    encrypted_key: bytes


@asn1.sequence
class Pbkdf2Params:
    """RFC 8018 A.2 PBKDF2, with the salt given."""

    salt: bytes
    iterations: int
    key_length: int | None
    prf: list[TLV] | None


@asn1.sequence
class OaepParams:
    """RFC 8017 A.2.1 RSAES-OAEP."""

    hash: Annotated[list[TLV] | None, asn1.Explicit(0)]
    mask: Annotated[list[TLV] | None, asn1.Explicit(1)]
    label: Annotated[list[TLV] | None, asn1.Explicit(2)]


@asn1.sequence
class PssParams:
    """RFC 8017 A.2.3 RSASSA-PSS."""

    hash: Annotated[list[TLV] | None, asn1.Explicit(0)]
    mask: Annotated[list[TLV] | None, asn1.Explicit(1)]
    salt_length: Annotated[int | None, asn1.Explicit(2)]
    trailer: Annotated[int | None, asn1.Explicit(3)]


@asn1.sequence
class IssuerAndSubject:
    """RFC 8894 §3.3.3 CertPoll (GetCertInitial)."""

    issuer: TLV
    subject: TLV


@asn1.sequence
class TbsCertificate:
    """RFC 5280 §4.1 Basic Certificate Fields."""

    version: Annotated[int | None, asn1.Explicit(0)]
    serial_number: int
    signature: _Algorithm
    issuer: TLV
    validity: TLV
    subject: TLV
    public_key: TLV
    issuer_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(1)]
    subject_unique_id: Annotated[asn1.BitString | None, asn1.Implicit(2)]
    extensions: Annotated[list[TLV] | None, asn1.Explicit(3)]


@asn1.sequence
class CertificationRequestInfo:
    """RFC 2986 §4.1 CertificationRequestInfo."""

    version: int
    subject: TLV
    public_key: TLV
    attributes: Annotated[list[TLV] | None, asn1.Implicit(0)]


@asn1.sequence
class _Wrapped:
    inner: list[TLV]


def decode(shape: type[_T], data: bytes, what: str) -> _T:
    """Read one value from DER, or from BER where DER reading fails.

    Args:
        shape: a class of this module, or a type that `hazmat.asn1` knows.
        data: the encoding, of any length.
        what: the name of the thing for the error, such as ``SignedData``.

    Raises:
        ProtocolError: the bytes are neither.
    """
    try:
        return asn1.decode_der(shape, data)
    except (ValueError, OverflowError):
        return _from_ber(shape, data, what)


def _from_ber(shape: type[_T], data: bytes, what: str) -> _T:
    try:
        return asn1.decode_der(shape, ber.normalise(data))
    except (ValueError, OverflowError):
        raise ProtocolError(f"not a {what}", section="RFC 5652") from None


def parse(value: TLV, shape: type[_T], what: str) -> _T:
    """Read one value that was kept as a `TLV`; its inside may still be BER.

    Raises:
        ProtocolError: it is not of that shape.
    """
    try:
        return value.parse(shape)  # type: ignore[no-any-return]  # the stub of Tlv.parse has no type
    except (ValueError, OverflowError):
        return _from_ber(shape, encode(value), what)


def tlv(der: bytes) -> TLV:
    """Return one DER value that we made ourselves, to be put into a shape."""
    return asn1.decode_der(TLV, der)


def members(value: TLV, what: str, *, tag: bytes = b"\x31") -> list[TLV]:
    """Return the elements of a SET OF, or of what else the tag says, in the order they came.

    Raises:
        ProtocolError: the value has another tag, or its elements cannot be told apart.
    """
    if value.tag_bytes != tag:
        raise ProtocolError(f"{what}: unexpected tag {value.tag_bytes.hex()}", section="RFC 5652")
    return decode(_Wrapped, wrap(0x30, wrap(0x30, bytes(value.data))), what).inner


def wrap(tag: int, contents: bytes) -> bytes:
    """Return the contents behind a one-byte tag and a DER length."""
    size = len(contents)
    if size < 0x80:
        return bytes((tag, size)) + contents
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + contents


def sequence(*members_der: bytes) -> bytes:
    """Return a SEQUENCE of values that are DER already."""
    return wrap(0x30, b"".join(members_der))


def set_of(values: Iterable[bytes]) -> bytes:
    """Return a SET OF in DER: elements sorted by their encodings (X.690 §11.6)."""
    return wrap(0x31, b"".join(sorted(values)))


def algorithm(oid: Oid, parameters_der: bytes | None = NULL_DER) -> list[TLV]:
    """Return an AlgorithmIdentifier for a shape; ``None`` leaves its parameters absent."""
    parts = [tlv(encode(oid))]
    if parameters_der is not None:
        parts.append(tlv(parameters_der))
    return parts


def algorithm_der(oid: Oid, parameters_der: bytes | None = NULL_DER) -> bytes:
    """Return the DER of an AlgorithmIdentifier; ``None`` leaves its parameters absent."""
    return sequence(encode(oid), parameters_der or b"")


def algorithm_parts(identifier: list[TLV]) -> tuple[Oid, TLV | None]:
    """Return an AlgorithmIdentifier's OID and parameters; raises ProtocolError."""
    if not 1 <= len(identifier) <= 2:
        raise ProtocolError("not an AlgorithmIdentifier", section="RFC 5280 §4.1.1.2")
    oid = parse(identifier[0], Oid, "AlgorithmIdentifier")
    return oid, identifier[1] if len(identifier) == 2 else None


def certificate_names(certificate: x509.Certificate) -> tuple[bytes, int, bytes]:
    """Return issuer, serial number and subject of a certificate, the Names in their own DER (C-111)."""
    tbs = decode(TbsCertificate, certificate.tbs_certificate_bytes, "certificate")
    return encode(tbs.issuer), tbs.serial_number, encode(tbs.subject)


def issuer_and_serial_number(certificate: x509.Certificate) -> bytes:
    """Return the DER of the IssuerAndSerialNumber that names a certificate (RFC 5652 §10.2.4)."""
    issuer, serial_number, _ = certificate_names(certificate)
    return sequence(issuer, encode(serial_number))


def csr_subject(csr: x509.CertificateSigningRequest) -> bytes:
    """Return the subject of a certification request in its own DER (C-111)."""
    info = decode(CertificationRequestInfo, csr.tbs_certrequest_bytes, "certification request")
    return encode(info.subject)
