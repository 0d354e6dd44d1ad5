"""The signed attributes of a message, read leniently, and what is odd about them (RFC 8894 §3.2.1).

Must never hold: a refusal; `scepflow.engine.attributes` refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scepflow.descriptions import oid_name, timestamp, value_text
from scepflow.engine import asn1, oids
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from scepflow.decoding.reading import Reading
    from scepflow.engine.asn1 import TLV, Oid

__all__ = ["Attributes"]

_NONCE_BYTES = 16
_PRINTABLE, _UTF8, _OCTETS = b"\x13", b"\x0c", b"\x04"
_EXPECTED_TAGS = {
    oids.MESSAGE_TYPE: _PRINTABLE,
    oids.PKI_STATUS: _PRINTABLE,
    oids.FAIL_INFO: _PRINTABLE,
    oids.TRANSACTION_ID: _PRINTABLE,
    oids.FAIL_INFO_TEXT: _UTF8,
    oids.SENDER_NONCE: _OCTETS,
    oids.RECIPIENT_NONCE: _OCTETS,
}
_TAG_NAMES = {
    b"\x02": "INTEGER",
    b"\x04": "OCTET STRING",
    b"\x0c": "UTF8String",
    b"\x13": "PrintableString",
    b"\x14": "T61String",
    b"\x16": "IA5String",
}
_SCEP = frozenset(
    {oids.TRANSACTION_ID, oids.MESSAGE_TYPE, oids.PKI_STATUS, oids.FAIL_INFO, oids.SENDER_NONCE}
)


class Attributes:
    """The signed attributes of one signer.

    Args:
        info: the signer.
        reading: where notes go.
    """

    def __init__(self, info: asn1.SignerInfo, reading: Reading) -> None:
        self._reading = reading
        self._values: dict[Oid, list[TLV]] = {}
        self.ders = [asn1.encode(value) for value in info.signed_attributes or []]
        for der in self.ders:
            self._add(der)
        for oid in self._values.keys() & _EXPECTED_TAGS.keys():
            self._check_tag(oid, _EXPECTED_TAGS[oid])
        for oid, name in ((oids.SENDER_NONCE, "senderNonce"), (oids.RECIPIENT_NONCE, "recipientNonce")):
            nonce = self.octets(oid)
            if nonce is not None and len(nonce) != _NONCE_BYTES:
                reading.note(
                    "nonce-length",
                    f"{name} has {len(nonce)} bytes, not {_NONCE_BYTES} (old Apple clients send 8)",
                )

    def _add(self, der: bytes) -> None:
        try:
            attribute = asn1.decode(asn1.Attribute, der, "signed attribute")
            values = asn1.members(attribute.values, "attribute values")
        except ProtocolError as error:
            self._reading.note("attribute", f"a signed attribute cannot be read: {error.message}")
            return
        name = oid_name(attribute.type)
        if attribute.type in self._values:
            self._reading.note(
                "duplicate-attribute", f"{name} comes twice; clients refuse that, and the first is shown"
            )
            return
        if len(values) != 1:
            self._reading.note(
                "attribute-values", f"{name} has {len(values)} values; clients refuse all but one"
            )
        self._values[attribute.type] = values

    def _check_tag(self, oid: Oid, expected: bytes) -> None:
        for value in self._values[oid]:
            tag = value.tag_bytes
            if tag != expected:
                found = _TAG_NAMES.get(tag, f"of tag {tag.hex()}")
                self._reading.note(
                    "attribute-type", f"{oid_name(oid)} is {found}, where RFC 8894 has {_TAG_NAMES[expected]}"
                )

    @property
    def scep(self) -> bool:
        """Whether any of SCEP's own is there."""
        return not _SCEP.isdisjoint(self._values)

    def __contains__(self, oid: Oid) -> bool:
        return oid in self._values

    def _value(self, oid: Oid) -> TLV | None:
        return next(iter(self._values.get(oid, [])), None)

    def text(self, oid: Oid) -> str | None:
        """Return an attribute's value as text, sanitised."""
        value = self._value(oid)
        return None if value is None else value_text(value)

    def octets(self, oid: Oid) -> bytes | None:
        """Return the bytes of an attribute's value, whatever its type."""
        value = self._value(oid)
        return None if value is None else bytes(value.data)

    def oid(self, oid: Oid) -> Oid | None:
        """Return an attribute's value that is an OBJECT IDENTIFIER."""
        value = self._value(oid)
        try:
            return None if value is None else asn1.parse(value, asn1.Oid, "OBJECT IDENTIFIER")
        except ProtocolError:
            return None

    def signing_time(self) -> str | None:
        """Return signingTime; one that is not in UTC or has a wrong form is noted and given as it stands (Q-036, Q-108)."""
        value = self._value(oids.SIGNING_TIME)
        if value is None:
            return None
        try:
            if value.tag_bytes == b"\x17":
                return timestamp(asn1.parse(value, asn1.UTCTime, "UTCTime").as_datetime())
            return timestamp(asn1.parse(value, asn1.GeneralizedTime, "GeneralizedTime").as_datetime())
        except ProtocolError:
            self._reading.note("signing-time", "signingTime has a form that DER does not allow")
            return value_text(value)

    def listed(self) -> list[dict[str, Any]]:
        """Return all of them in the order they came."""
        return [
            {"name": oid_name(oid), "value": ", ".join(map(value_text, values)), "oid": oid.dotted_string}
            for oid, values in self._values.items()
        ]
