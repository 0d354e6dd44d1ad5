"""What a request asks for beyond its name: subjectAltName, key usages and any other extension (RFC 5280 §4.2).

Must never hold: an import of cryptography at the top; checking a pipeline's
options needs none of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from scepflow.errors import OptionError
from scepflow.options import NameTemplate, Template
from scepflow_bundled.csr_names import build_name, is_oid, parse_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cryptography import x509

__all__ = [
    "EXTENDED_KEY_USAGES",
    "KeyUsageName",
    "San",
    "SanTemplate",
    "der_value",
    "extended_key_usage",
    "extended_key_usage_oid",
    "key_usage",
    "parse_der",
    "parse_san",
    "subject_alternative_name",
    "template_name",
]

_UPN = "1.3.6.1.4.1.311.20.2.3"
_UTF8_STRING, _BMP_STRING = 0x0C, 0x1E

_KINDS = "dns, ip, email, uri, upn, rid, dirname, other"
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")

KeyUsageName = Literal[
    "digitalSignature",
    "contentCommitment",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
]

EXTENDED_KEY_USAGES = {
    "serverAuth": "1.3.6.1.5.5.7.3.1",
    "clientAuth": "1.3.6.1.5.5.7.3.2",
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "OCSPSigning": "1.3.6.1.5.5.7.3.9",
    "ipsecIKE": "1.3.6.1.5.5.7.3.17",
    "smartcardLogon": "1.3.6.1.4.1.311.20.2.2",
    "anyExtendedKeyUsage": "2.5.29.37.0",
}


class SanTemplate(Template):
    """One subjectAltName, ``KIND:VALUE``; a value filled into a ``dirname:`` cannot add an RDN."""

    __slots__ = ()

    @classmethod
    def fill(cls, text: str, values: Mapping[str, str]) -> Template:
        """Return the text with every field replaced, escaped as its kind needs."""
        kind, colon, value = text.partition(":")
        kind = Template.fill(kind, values)
        escaping = NameTemplate if _split(kind + colon)[0] == "dirname" else Template
        return cls(kind + colon + escaping.fill(value, values))


class San(NamedTuple):
    """One checked name: its kind, its value as it goes into the certificate, and an otherName's OID."""

    kind: str
    value: str
    oid: str = ""


def parse_san(text: str) -> San:
    """Parse ``KIND:VALUE``, such as ``dns:gw1.example.com``.

    Raises:
        OptionError: an unknown kind, or a value that cannot be such a name.
    """
    kind, value = _split(text)
    if kind not in _PARSERS:
        raise _refused(f"no kind of name in {text!r}", f'write "dns:gw1.example.com"; kinds: {_KINDS}')
    if not value:
        raise _refused(f"no value after {kind}:", None)
    return _PARSERS[kind](value)


def _split(text: str) -> tuple[str, str]:
    """Return kind and value; no kind where there is no colon."""
    kind, colon, value = text.partition(":")
    return (kind.strip().casefold() if colon else ""), value.strip()


def _refused(message: str, hint: str | None) -> OptionError:
    return OptionError(message, where="san", hint=hint)


def _domain(name: str) -> str:
    """Return a domain name in A-labels (RFC 5890), every label checked (RFC 1034 §3.5)."""
    labels = [label if label.isascii() else _a_label(label, name) for label in name.split(".")]
    ascii_name = ".".join(labels)
    if len(ascii_name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused(
            f"{name!r} is not a domain name",
            "labels of letters, digits and hyphens with dots between, none at the end",
        )
    return ascii_name


def _a_label(label: str, name: str) -> str:
    """Encode with the standard library's IDNA 2003, and only where the result reads back as it was written."""
    try:
        encoded = label.encode("idna")
        if encoded.decode("idna") == label.lower():
            return encoded.decode("ascii")
    except UnicodeError:
        pass
    raise _refused(f"{label!r} in {name!r} has no certain ASCII form", 'write the A-label, "xn--…"')


def _dns(value: str) -> San:
    wildcard = "*." if value.startswith("*.") else ""
    return San("dns", wildcard + _domain(value.removeprefix("*.")))


def _ip(value: str) -> San:
    import ipaddress

    try:
        return San("ip", str(ipaddress.ip_address(value)))
    except ValueError:
        raise _refused(
            f"{value!r} is not an IP address", "one address, IPv4 or IPv6, without a prefix"
        ) from None


def _email(value: str) -> San:
    local, at, domain = value.rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local):
        raise _refused(f"{value!r} is not an e-mail address", "ASCII before the @ (RFC 5280 §4.2.1.6)")
    return San("email", f"{local}@{_domain(domain)}")


def _uri(value: str) -> San:
    if not _URI.fullmatch(value):
        raise _refused(f"{value!r} is not an absolute URI", "a scheme and ASCII; percent-encode the rest")
    return San("uri", value)


def _upn(value: str) -> San:
    return San("upn", value, _UPN)


def _rid(value: str) -> San:
    if not is_oid(value):
        raise _refused(f"{value!r} is not a dotted OID", 'such as "rid:1.3.6.1.4.1.99999.1"')
    return San("rid", value)


def _dirname(value: str) -> San:
    parse_name(value, where="san")
    return San("dirname", value)


def _other(value: str) -> San:
    oid, colon, text = value.partition(":")
    if not colon or not is_oid(oid) or not text:
        raise _refused(f"{value!r} is not OID:TEXT", 'such as "other:1.3.6.1.4.1.99999.1:text"')
    return San("other", text, oid)


_PARSERS: Mapping[str, Callable[[str], San]] = {
    "dns": _dns,
    "ip": _ip,
    "email": _email,
    "uri": _uri,
    "upn": _upn,
    "rid": _rid,
    "dirname": _dirname,
    "other": _other,
}


def subject_alternative_name(names: Sequence[San]) -> x509.SubjectAlternativeName:
    """Return the extension (RFC 5280 §4.2.1.6 Subject Alternative Name)."""
    from cryptography import x509

    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: San) -> x509.GeneralName:
    from cryptography import x509

    simple: dict[str, Callable[[str], x509.GeneralName]]
    simple = {"dns": x509.DNSName, "email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier}
    if name.kind in simple:
        return simple[name.kind](name.value)
    match name.kind:
        case "ip":
            import ipaddress

            return x509.IPAddress(ipaddress.ip_address(name.value))
        case "rid":
            return x509.RegisteredID(x509.ObjectIdentifier(name.value))
        case "dirname":
            return x509.DirectoryName(build_name(parse_name(name.value, where="san")))
        case _:
            return x509.OtherName(
                x509.ObjectIdentifier(name.oid), der_value(_UTF8_STRING, name.value.encode())
            )


def key_usage(names: Sequence[KeyUsageName]) -> x509.KeyUsage:
    """Return the extension (RFC 5280 §4.2.1.3 Key Usage)."""
    from cryptography import x509

    has = frozenset(names)
    return x509.KeyUsage(
        digital_signature="digitalSignature" in has,
        content_commitment=bool(has & {"contentCommitment", "nonRepudiation"}),
        key_encipherment="keyEncipherment" in has,
        data_encipherment="dataEncipherment" in has,
        key_agreement="keyAgreement" in has,
        key_cert_sign="keyCertSign" in has,
        crl_sign="cRLSign" in has,
        encipher_only="encipherOnly" in has,
        decipher_only="decipherOnly" in has,
    )


def extended_key_usage_oid(name: str) -> str:
    """Return the dotted OID of a usage given by name, or by its OID.

    Raises:
        OptionError: neither a known name nor an OID.
    """
    oid = EXTENDED_KEY_USAGES.get(name, name)
    if not is_oid(oid):
        from difflib import get_close_matches

        near = get_close_matches(name, EXTENDED_KEY_USAGES, n=1)
        guess = f'; did you mean "{near[0]}"?' if near else ""
        raise OptionError(
            f"unknown extended key usage {name!r}{guess}",
            where="extended_key_usage",
            hint=f"a dotted OID, or one of {', '.join(EXTENDED_KEY_USAGES)}",
        )
    return oid


def extended_key_usage(names: Sequence[str]) -> x509.ExtendedKeyUsage:
    """Return the extension (RFC 5280 §4.2.1.12 Extended Key Usage)."""
    from cryptography import x509

    return x509.ExtendedKeyUsage([x509.ObjectIdentifier(extended_key_usage_oid(name)) for name in names])


def template_name(name: str) -> bytes:
    """Return the DER of Microsoft's enrollment certificate type, a BMPString.

    Raises:
        OptionError: empty, or a character outside the Basic Multilingual Plane.
    """
    if not name or any(ord(c) > 0xFFFF for c in name):
        raise OptionError(f"{name!r} cannot stand in a BMPString", where="template")
    return der_value(_BMP_STRING, name.encode("utf-16-be"))


def der_value(tag: int, content: bytes) -> bytes:
    """Return one DER value: a low tag number 0 to 30 with its class bits, the length, the content."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def parse_der(text: str, *, where: str) -> bytes:
    """Return the bytes of one DER value that is written in hex; spaces and colons do not count.

    Raises:
        OptionError: not hex, or not exactly one value.
    """
    try:
        der = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        raise OptionError(f"not hex digits: {text[:40]!r}", where=where, hint='such as "0500"') from None
    if len(der) < 2 or der != der_value(der[0], der[_header_bytes(der) :]):
        raise OptionError(f"not one complete DER value: {text[:40]!r}", where=where)
    return der


def _header_bytes(der: bytes) -> int:
    return 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
