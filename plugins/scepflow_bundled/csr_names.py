"""Distinguished names: RFC 4514 text to an X.509 name, in the string types that old servers compare (Q-117).

Must never hold: an import of cryptography at the top; checking a pipeline's
options needs none of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from scepflow.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

__all__ = ["NameAttribute", "build_name", "is_oid", "is_printable_string", "name_attribute", "parse_name"]

_OID = re.compile(r"(?:[01]\.[1-3]?[0-9]|2\.(?:0|[1-9][0-9]{0,8}))(?:\.(?:0|[1-9][0-9]{0,38}))*")
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")

_TYPE = re.compile(r" *(?:[Oo][Ii][Dd]\.)?([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+) *= *")
# Spaces at the end of a value do not count, so a run of them must not stand before its end.
_VALUE = re.compile(r"""((?:\\[\\ #=",+;<>']|\\[0-9A-Fa-f]{2}|[^\\",+;<> ]|[ ]+(?![ ,+]|\Z))*)[ ]*""")
_ESCAPED = re.compile(r"\\([^0-9A-Fa-f])|((?:\\[0-9A-Fa-f]{2})+)")

_SERIAL_NUMBER, _COUNTRY, _DN_QUALIFIER = "2.5.4.5", "2.5.4.6", "2.5.4.46"
_COMMON_NAME, _DOMAIN_COMPONENT = "2.5.4.3", "0.9.2342.19200300.100.1.25"
_EMAIL, _UNSTRUCTURED_NAME = "1.2.840.113549.1.9.1", "1.2.840.113549.1.9.2"
_JURISDICTION_COUNTRY = "1.3.6.1.4.1.311.60.2.1.3"

_OIDS = {
    name: oid
    for oid, names in {
        _COMMON_NAME: "cn commonName",
        "2.5.4.4": "sn surname",
        _SERIAL_NUMBER: "serialNumber",
        _COUNTRY: "c countryName",
        "2.5.4.7": "l localityName",
        "2.5.4.8": "st s stateOrProvinceName",
        "2.5.4.9": "street streetAddress",
        "2.5.4.10": "o organizationName",
        "2.5.4.11": "ou organizationalUnitName",
        "2.5.4.12": "title t",
        "2.5.4.13": "description",
        "2.5.4.15": "businessCategory",
        "2.5.4.17": "postalCode",
        "2.5.4.20": "telephoneNumber",
        "2.5.4.41": "name",
        "2.5.4.42": "gn givenName",
        "2.5.4.43": "initials",
        "2.5.4.44": "generationQualifier",
        _DN_QUALIFIER: "dnQualifier",
        "2.5.4.65": "pseudonym",
        "2.5.4.97": "organizationIdentifier",
        "0.9.2342.19200300.100.1.1": "uid userId",
        _DOMAIN_COMPONENT: "dc domainComponent",
        _EMAIL: "emailAddress email e",
        _UNSTRUCTURED_NAME: "unstructuredName",
        "1.2.840.113549.1.9.8": "unstructuredAddress",
        "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
        "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
        _JURISDICTION_COUNTRY: "jurisdictionC",
    }.items()
    for name in names.casefold().split()
}

# RFC 5280 Appendix A.1 and RFC 2985 §5: these types allow one kind of string only.
_PRINTABLE_ONLY = frozenset({_SERIAL_NUMBER, _COUNTRY, _DN_QUALIFIER, _JURISDICTION_COUNTRY})
_ASCII_ONLY = frozenset({_EMAIL, _DOMAIN_COMPONENT})
# Bounds in bytes of UTF-8: RFC 5280 Appendix A.1, upper bounds; OpenSSL and Go count like this.
_LENGTHS = {_COUNTRY: (2, 2), _JURISDICTION_COUNTRY: (2, 2), _COMMON_NAME: (1, 64), _SERIAL_NUMBER: (1, 64)}


class NameAttribute(NamedTuple):
    """One checked attribute of a name: dotted OID, value, and ``PrintableString``, ``IA5String`` or ``UTF8String``."""

    oid: str
    value: str
    string_type: str


def is_oid(text: str) -> bool:
    """Tell whether the text is a dotted object identifier, small enough for cryptography (arcs of 128 bits, 63 bytes)."""
    if _OID.fullmatch(text) is None:
        return False
    arcs = [int(arc) for arc in text.split(".")]
    return max(arcs) < 1 << 128 and sum(max(1, -(-arc.bit_length() // 7)) for arc in arcs) <= 63


def is_printable_string(text: str) -> bool:
    """Tell whether every character is in PrintableString's alphabet (X.680 §41.4); ``@ _ & * !`` are not."""
    return _PRINTABLE.fullmatch(text) is not None


def name_attribute(oid: str, value: str, *, where: str) -> NameAttribute:
    """Check a value and choose its string type: PrintableString if possible, else UTF8String.

    IA5String where the standards say so: e-mail address, domain component, and
    unstructuredName (RFC 2985 §5.2.1).

    Raises:
        OptionError: the value cannot stand in this attribute.
    """
    low, high = _LENGTHS.get(oid, (1, 1024))
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):
        raise OptionError(f"control character in the value of {oid} in a name", where=where)
    if not low <= len(value.encode()) <= high:
        wanted = f"{low} to {high}" if low != high else str(low)
        raise OptionError(f"the value of {oid} in a name must have {wanted} bytes: {value!r}", where=where)
    if oid in _PRINTABLE_ONLY and not is_printable_string(value):
        raise OptionError(
            f"{value!r} cannot stand in {oid}, a PrintableString",
            where=where,
            hint="letters, digits, space and ' ( ) + , - . / : = ?",
        )
    if oid in _ASCII_ONLY and not value.isascii():
        raise OptionError(f"{value!r} cannot stand in {oid}, which is ASCII", where=where)
    if oid in _ASCII_ONLY or (oid == _UNSTRUCTURED_NAME and value.isascii()):
        return NameAttribute(oid, value, "IA5String")
    return NameAttribute(oid, value, "PrintableString" if is_printable_string(value) else "UTF8String")


def parse_name(text: str, *, where: str) -> tuple[tuple[NameAttribute, ...], ...]:
    """Parse RFC 4514 text into RDNs in DER order, which is the reverse of the text's.

    ``CN=gw1,O=Example`` gives O first. Names of attributes are matched without
    regard to case; spaces around them and around values do not count (RFC 2253 §4).

    Raises:
        OptionError: not a name; says at which character.
    """
    rdns: list[list[NameAttribute]] = [[]]
    position = 0
    while text:
        oid, start = _attribute_type(text, position, where)
        value, position = _attribute_value(text, start, where)
        if any(oid == other.oid for other in rdns[-1]):
            raise OptionError(f"{oid} twice in one part of the name, at character {start}", where=where)
        rdns[-1].append(name_attribute(oid, value, where=where))
        if position == len(text):
            return tuple(tuple(rdn) for rdn in reversed(rdns))
        if text[position] == ",":
            rdns.append([])
        position += 1
    return ()


def _attribute_type(text: str, position: int, where: str) -> tuple[str, int]:
    match = _TYPE.match(text, position)
    if match is None:
        raise OptionError(
            f"no TYPE=value at character {position + 1} of the name {text!r}",
            where=where,
            hint='write it like "CN=gw1.example.com,O=Example" (RFC 4514)',
        )
    name = match.group(1)
    oid = name if is_oid(name) else _OIDS.get(name.casefold())
    if oid is None:
        raise OptionError(
            f"unknown attribute {name!r} in the name {text!r}",
            where=where,
            hint="CN, O, OU, C, ST, L, DC, UID, STREET, serialNumber, emailAddress, unstructuredName …, or a dotted OID",
        )
    return oid, match.end()


def _attribute_value(text: str, position: int, where: str) -> tuple[str, int]:
    """Return the unescaped value from this position, and where it ends: at a comma, a plus or the end."""
    if text.startswith("#", position):
        raise OptionError(
            "a value in #hex form is not supported in a name", where=where, hint=r"write \# for #"
        )
    match = _VALUE.match(text, position)
    assert match is not None, "the pattern matches the empty string"
    position = match.end()
    if position < len(text) and text[position] not in ",+":
        raise OptionError(
            f"{text[position]!r} at character {position + 1} must be escaped in a name",
            where=where,
            hint=rf"write \{text[position]}",
        )
    return _ESCAPED.sub(lambda m: m[1] or _from_hex_pairs(m[2], where), match.group(1)), position


def _from_hex_pairs(pairs: str, where: str) -> str:
    try:
        return bytes.fromhex(pairs.replace("\\", "")).decode()
    except UnicodeDecodeError:
        raise OptionError(f"{pairs} in a name is not UTF-8", where=where) from None


def build_name(rdns: Sequence[Sequence[NameAttribute]]) -> x509.Name:
    """Return the X.509 name of checked RDNs in DER order."""
    from cryptography import x509

    # The one way to choose a string type: without it every value is a UTF8String.
    from cryptography.x509.name import _ASN1Type

    return x509.Name(
        x509.RelativeDistinguishedName(
            x509.NameAttribute(x509.ObjectIdentifier(oid), value, _type=_ASN1Type[string_type])
            for oid, value, string_type in rdn
        )
        for rdn in rdns
    )
