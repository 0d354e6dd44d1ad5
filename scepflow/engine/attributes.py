"""The signed attributes of a message, read and verified (RFC 8894 §3.2.1 Signed Transaction Attributes).

Must never hold: what an attribute means for an enrollment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from scepflow.engine import algorithms, asn1, certificates, cms, oids
from scepflow.errors import ProtocolError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scepflow.engine.algorithms import Security
    from scepflow.engine.checks import Checks
    from scepflow.errors import ScepflowError

__all__ = ["SignedAttributes", "named_by", "only_signer", "verified_by", "verify"]

MAX_TEXT_BYTES = 1024  # S-034: a transactionID or a reason in words needs no more


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

    def has(self, oid: asn1.Oid) -> bool:
        """Tell whether there is an attribute of a type, whatever its values."""
        return oid in self._values

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
    candidates = named_by(signer, trusted)
    checks.require(
        candidates,
        "signer",
        "the reply is not signed by a certificate of the authenticated CA",
        hint="if the CA has renewed its certificates, run again; GetCACert is asked anew",
    )
    if not candidates:
        candidates = named_by(signer, signed.certificates())
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
        verified_by(signer, candidates),
        "signature",
        "the signature is wrong",
    )
    return attributes


def verified_by(signer: cms.Signer, candidates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """Return the certificate that verifies, or None; a namesake with a key of another kind is passed over (S-003)."""
    unfit: list[ScepflowError] = []
    for candidate in candidates:
        try:
            if cms.verify_signature(signer, candidate):
                return candidate
        except (ProtocolError, TrustError) as error:
            unfit.append(error)
    if unfit and len(unfit) == len(candidates):
        raise unfit[0]
    return None


def named_by(signer: cms.Signer, among: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Return the certificates that a SignerInfo's identifier names."""
    return [
        certificate
        for certificate in among
        if certificates.names_certificate(
            certificate,
            issuer_der=signer.issuer_der,
            serial_number=signer.serial_number,
            key_identifier=signer.key_identifier,
        )
    ]
