"""Reading certification requests as clients send them (RFC 2986).

Must never hold: a decision about one.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.x509.oid import AttributeOID

from scepflow.engine import asn1
from scepflow.errors import ProtocolError

__all__ = ["challenge", "is_proven", "load_csr"]

_WHAT = "certification request"
_UNREADABLE = (
    ProtocolError,
    UnsupportedAlgorithm,
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What is raised for parts of a request that cannot be read."""


def load_csr(der: bytes) -> x509.CertificateSigningRequest:
    """Return a certification request of which everything needed can be read.

    strongSwan's ``pki`` leaves the SET OF attributes unsorted, which
    `cryptography` refuses: such a request comes back with them sorted, and
    only `is_proven` can tell whether its signature was right.

    Args:
        der: PKCS#10.

    Raises:
        ProtocolError: not a certification request, or a part that cannot be read.
    """
    try:
        try:
            csr = x509.load_der_x509_csr(der)
        except ValueError:
            csr = x509.load_der_x509_csr(_sorted(der))
        _ = csr.subject, csr.extensions, csr.public_key()
    except _UNREADABLE:
        raise ProtocolError(f"not a {_WHAT}", section="RFC 2986 §4 Certification Request Syntax") from None
    return csr


def _sorted(der: bytes) -> bytes:
    """Return the request with its attributes in the order of DER (X.690 §11.6)."""
    info, algorithm, signature = _parts(der)
    *fields, attributes = asn1.members(info, _WHAT, tag=b"\x30")
    in_order = sorted(map(asn1.encode, asn1.members(attributes, "attributes", tag=b"\xa0")))
    resorted = b"".join(map(asn1.encode, fields)) + asn1.wrap(0xA0, b"".join(in_order))
    return asn1.wrap(0x30, asn1.wrap(0x30, resorted) + asn1.encode(algorithm) + asn1.encode(signature))


def _parts(der: bytes) -> list[asn1.TLV]:
    return asn1.members(asn1.decode(asn1.TLV, der, _WHAT), _WHAT, tag=b"\x30")


def is_proven(csr: x509.CertificateSigningRequest, der: bytes) -> bool:
    """Tell whether the request is signed with its own key, over the bytes that came (C-131).

    Args:
        csr: from `load_csr`.
        der: what it was loaded from.
    """
    signed = asn1.encode(_parts(der)[0])
    try:
        key, how, digest = csr.public_key(), csr.signature_algorithm_parameters, csr.signature_hash_algorithm
        if isinstance(key, rsa.RSAPublicKey) and isinstance(how, AsymmetricPadding) and digest:
            key.verify(csr.signature, signed, how, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(csr.signature, signed, how)
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def challenge(csr: x509.CertificateSigningRequest) -> bytes:
    """Return the challenge password's bytes whatever string type it has (RFC 2985 §5.4.1), or b""."""
    try:
        return csr.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
    except (x509.AttributeNotFound, ValueError):
        return b""
