"""Who signed a message, whether the signature is right, and what deviates in how it is put together.

Must never hold: a decision on what a right signature is worth, beyond saying by whom it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.decoding.envelopes import identifier_of
from scepflow.descriptions import name_text, oid_name
from scepflow.engine import asn1, certificates, cms, oids
from scepflow.engine.attributes import named_by
from scepflow.errors import ProtocolError, TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from scepflow.decoding.attributes import Attributes
    from scepflow.decoding.reading import Reading

__all__ = ["read_signature"]

_MIN_RSA_BITS = 2048
_WEAK_DIGESTS = {
    oids.MD5: "signed with MD5, which proves nothing any more",
    oids.SHA1: "signed with SHA-1, which is outdated; RFC 8894 wants SHA-256",
}
_SHA2 = frozenset({oids.SHA224, oids.SHA256, oids.SHA384, oids.SHA512})
_RSA_WITH_NULL = frozenset(
    {
        oids.RSA_ENCRYPTION,
        oids.MD5_WITH_RSA,
        oids.SHA1_WITH_RSA,
        oids.SHA224_WITH_RSA,
        oids.SHA256_WITH_RSA,
        oids.SHA384_WITH_RSA,
        oids.SHA512_WITH_RSA,
    }
)


def read_signature(
    data: bytes, info: asn1.SignerInfo, *, attributes: Attributes, from_ca: bool, reading: Reading
) -> dict[str, Any]:
    """Return who signed and whether it is right, and note what deviates.

    Args:
        data: the message in DER.
        info: its signer.
        attributes: what it signed.
        from_ca: whether the message must be signed by the CA, not by a client.
        reading: its means, and where notes go.
    """
    _remark(info, attributes=attributes, reading=reading)
    document: dict[str, Any] = {
        "signer": identifier_of(info.sid),
        "digest": oid_name(asn1.algorithm_parts(info.digest_algorithm)[0]),
        "algorithm": oid_name(asn1.algorithm_parts(info.signature_algorithm)[0]),
    }
    try:
        signed = cms.parse_signed_data(data)
        carried = signed.certificates()
        document |= _verdict(signed, attributes, carried=carried, from_ca=from_ca, reading=reading)
    except (ProtocolError, TrustError) as error:
        document["verdict"] = f"not verified: {error.message}"
        document["verified"] = False
    if from_ca and reading.means.ca and not document.get("authenticated"):
        document["authenticated"] = False
        reading.fail(
            TrustError(
                f"the signature is not by a certificate of --ca: {document['verdict']}",
                check="signature",
                hint="an RA signs with a certificate of its own: give the CA's answer to GetCACert as --ca",
            )
        )
    return document


def _verdict(
    signed: cms.SignedData,
    attributes: Attributes,
    *,
    carried: Sequence[x509.Certificate],
    from_ca: bool,
    reading: Reading,
) -> dict[str, Any]:
    signer = signed.signers[0]
    trusted = named_by(signer, reading.means.ca) if from_ca else []
    named = [*trusted, *named_by(signer, carried)]
    if not named:
        return {
            "verdict": "not verified: the message does not carry the signer's certificate",
            "verified": False,
        }
    right = [certificate for certificate in named if cms.verify_signature(signer, certificate)]
    digest = attributes.octets(oids.MESSAGE_DIGEST) == signer.digest.of(signed.content or b"")
    certificate = (right or named)[0]
    _remark_on_key(certificate, reading)
    authenticated = certificate in trusted and bool(right) and digest
    origin = "--ca" if certificate in trusted else "the message itself"
    verdict = "right" if right and digest else "WRONG: the content was changed" if right else "WRONG"
    return {
        "verdict": verdict,
        "verified": verdict == "right",
        "certificate": name_text(certificate.subject),
        "certificate_from": origin,
        "self_signed": certificate.issuer == certificate.subject,
        **({"authenticated": authenticated} if from_ca and reading.means.ca else {}),
    }


def _remark_on_key(certificate: x509.Certificate, reading: Reading) -> None:
    key = certificates.public_key(certificate)
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        reading.note("weak-key", f"the signer's RSA key has {key.key_size} bits, fewer than {_MIN_RSA_BITS}")


def _remark(info: asn1.SignerInfo, *, attributes: Attributes, reading: Reading) -> None:
    """Note what deviates in the SignerInfo."""
    digest, digest_parameters = asn1.algorithm_parts(info.digest_algorithm)
    algorithm, parameters = asn1.algorithm_parts(info.signature_algorithm)
    if digest in _WEAK_DIGESTS:
        reading.note("weak-digest", _WEAK_DIGESTS[digest])
    if digest in _SHA2 and digest_parameters is not None:
        reading.note(
            "digest-parameters",
            f"{oid_name(digest)} with parameters, where RFC 5754 §2 wants none; both are understood",
        )
    if algorithm in _RSA_WITH_NULL and parameters is None:
        reading.note(
            "missing-parameters",
            f"{oid_name(algorithm)} without its NULL parameters (as Go's libraries send; RFC 3370 §3.2)",
        )
    if isinstance(info.sid, bytes):
        reading.note(
            "key-identifier", "the signer is named by key identifier, not by issuer and serial number"
        )
    if sorted(attributes.ders) != attributes.ders:
        reading.note(
            "unsorted-attributes",
            "the signed attributes are not in DER's order (as old OpenXPKI sends); some clients then find the signature wrong",
        )
    if not attributes.ders:
        reading.note("no-attributes", "no signed attributes: this is no message of SCEP")
    if info.unsigned_attributes:
        reading.note(
            "unsigned-attributes",
            "there are unsigned attributes, which anybody can change; they are not shown",
        )
