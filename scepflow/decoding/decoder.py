"""A file to a document: which kind of thing it is, and what stands in it.

Must never hold: how a signed message is put together; that is `scepflow.decoding.messages`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from cryptography import x509

from scepflow.decoding.envelopes import read_envelope
from scepflow.decoding.forms import capabilities_in, parts_of
from scepflow.decoding.messages import read_signed
from scepflow.decoding.reading import Decoded, Means, Reading
from scepflow.descriptions import (
    UNREADABLE,
    describe_certificate,
    describe_crl,
    describe_request,
    name_text,
    serial_text,
)
from scepflow.engine import algorithms, asn1, cms, oids
from scepflow.engine.certificates import load_certificates
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.decoding.forms import Part
    from scepflow.engine.capabilities import Capabilities

__all__ = ["decode"]

_MAX_NESTED = 8  # messages within messages: SCEP has three, and each costs Python some of its stack


def decode(data: bytes, means: Means | None = None) -> Decoded:
    """Read whatever SCEP sends or uses: a message, an answer, a request, a certificate, a CRL.

    Args:
        data: the file, in DER, BER, PEM or base64; the address of a logged GET; or capabilities as text.
        means: keys and certificates to see more with.

    Raises:
        ProtocolError: it is none of these.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the library finds fault with names that are none of the user's doing
        return _decode(data, Reading(means or Means()))


def _decode(data: bytes, reading: Reading) -> Decoded:
    capabilities = capabilities_in(data)
    if capabilities:
        document = _capabilities(capabilities, reading)
    else:
        documents = [_part(part, reading) for part in parts_of(data)]
        document = documents[0]
        if len(documents) > 1:
            document = {"kind": "several", "title": f"{len(documents)} values", "values": documents}
    for code, what in (("key-unused", reading.means.key), ("challenge-unused", reading.means.challenge)):
        if what and not reading.enveloped:
            reading.note(code, f"the {code.partition('-')[0]} was not needed: nothing here is encrypted")
    document["notes"] = [{"code": note.code, "text": note.text} for note in reading.notes]
    return Decoded(document=document, error=reading.error)


def _capabilities(capabilities: Capabilities, reading: Reading) -> dict[str, Any]:
    choice = algorithms.choose(capabilities)
    for finding in choice.findings:
        reading.note(finding.code, finding.text)
    if not capabilities.standard:
        reading.note(
            "no-scep-standard", "SCEPStandard is missing: not all that RFC 8894 makes mandatory is there"
        )
    return {
        "kind": "capabilities",
        "title": "capabilities, as GetCACaps answers",
        "known": sorted(capabilities.names),
        "unknown": list(capabilities.unknown),
        "requests": {
            "method": choice.method,
            "cipher": choice.cipher.value,
            "digest": choice.digest.value,
        },
    }


def _part(part: Part, reading: Reading) -> dict[str, Any]:
    if part.private:
        return {"kind": "private-key", "title": f"{part.label.lower()}, which is not shown"}
    der = reading.attempt_der(part.data, "the file")
    document = _value(der, reading, depth=1)
    binary = "DER" if part.data.startswith(der) else "BER"
    return {
        "kind": document["kind"],
        "title": document["title"],
        "form": part.form or binary,
        "size_bytes": len(part.data),
    } | document


def _value(der: bytes, reading: Reading, *, depth: int) -> dict[str, Any]:
    """Return what one value is, and what stands in it; raises ProtocolError for nothing that SCEP knows."""
    if depth > _MAX_NESTED:
        raise ProtocolError(f"not read: it is nested deeper than {_MAX_NESTED} messages")
    try:
        content_type = asn1.decode(asn1.ContentInfo, der, "CMS").content_type
    except ProtocolError:
        return _plain(der, reading)
    if content_type == oids.ENVELOPED_DATA:
        envelope, content = read_envelope(der, reading)
        document = {
            "kind": "envelope",
            "title": "envelope (EnvelopedData) without a signature",
            "envelope": envelope,
        }
        return _with_inside(document, content, reading, depth=depth)
    cms.content_info(der, oids.SIGNED_DATA, "SignedData or EnvelopedData")
    document, content = read_signed(der, reading)
    return _with_inside(document, content, reading, depth=depth)


def _with_inside(
    document: dict[str, Any], content: bytes | None, reading: Reading, *, depth: int
) -> dict[str, Any]:
    """Return the document with what its content is, if there is any to be seen."""
    if content is None:
        return document
    try:
        inside = _value(reading.attempt_der(content, "the content"), reading, depth=depth + 1)
    except ProtocolError as error:
        inside = {"kind": "unknown", "title": error.message, "size_bytes": len(content)}
    if inside["kind"] == "certificates" and document["kind"] == "signed":
        document |= {"kind": "next-ca", "title": "signed certificates, as GetNextCACert answers"}
    document.get("envelope", document)["content"] = inside
    return document


def _plain(der: bytes, reading: Reading) -> dict[str, Any]:
    readers: tuple[Callable[[bytes, Reading], dict[str, Any]], ...] = (
        _certificate,
        _request,
        _crl,
        _issuer_and_serial,
        _issuer_and_subject,
    )
    for reader in readers:
        try:
            return reader(der, reading)
        except UNREADABLE:
            continue
    raise ProtocolError("no SCEP message, certification request, certificate, CRL or question about one")


def _certificate(der: bytes, _reading: Reading) -> dict[str, Any]:
    (certificate,) = load_certificates([der])
    return {"kind": "certificate", "title": "certificate", **describe_certificate(certificate)}


def _request(der: bytes, reading: Reading) -> dict[str, Any]:
    described = describe_request(x509.load_der_x509_csr(der), show_secrets=reading.means.show_secrets)
    if described["signature"] != "right":
        reading.note(
            "request-signature", "the request's own signature is wrong, or of a kind that cannot be verified"
        )
    return {"kind": "request", "title": "certification request (PKCS#10)", **described}


def _crl(der: bytes, _reading: Reading) -> dict[str, Any]:
    return {"kind": "crl", "title": "CRL", **describe_crl(x509.load_der_x509_crl(der))}


def _issuer_and_serial(der: bytes, _reading: Reading) -> dict[str, Any]:
    named = asn1.decode(asn1.IssuerAndSerialNumber, der, "IssuerAndSerialNumber")
    title = "the name of a certificate (IssuerAndSerialNumber), as GetCert and GetCRL ask"
    described = {"issuer": _name(named.issuer), "serial_number": serial_text(named.serial_number)}
    return {"kind": "issuer-and-serial-number", "title": title, **described}


def _issuer_and_subject(der: bytes, _reading: Reading) -> dict[str, Any]:
    named = asn1.decode(asn1.IssuerAndSubject, der, "IssuerAndSubject")
    title = "issuer and subject of a request (IssuerAndSubject), as CertPoll asks"
    described = {"issuer": _name(named.issuer), "subject": _name(named.subject)}
    return {"kind": "issuer-and-subject", "title": title, **described}


def _name(value: asn1.TLV) -> str:
    """Return a Name as text; raises ValueError for another shape, which then is something else."""
    return name_text(x509.Name.from_bytes(asn1.encode(value)))
