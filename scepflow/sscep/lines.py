"""What is said of certificates, requests and capabilities, in sscep's words.

Must never hold: a challenge, a decrypted message, or server text that is not sanitised or in base64.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from scepflow.engine.identity import Credential
    from scepflow.inquiry import CapabilitiesAnswer
    from scepflow.sscep.output import Screen

__all__ = [
    "CAPABILITIES",
    "certificate_lines",
    "fingerprint_line",
    "oneline",
    "pem_lines",
    "tell_capabilities",
    "tell_certificate",
    "tell_issued",
    "tell_pem",
    "tell_request",
]

CAPABILITIES = {
    "AES": 0x001,
    "DES3": 0x002,
    "GetNextCACert": 0x004,
    "POSTPKIOperation": 0x008,
    "Renewal": 0x010,
    "SHA-1": 0x020,
    "SHA-224": 0x040,
    "SHA-256": 0x080,
    "SHA-384": 0x100,
    "SHA-512": 0x200,
    "SCEPStandard": 0x400,
}
"""The capabilities that sscep knows, in the order in which it prints them, and its bit for each."""

_LONGEST_NAME = 1023
_SHORT_NAMES = {
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "2.5.4.5": "serialNumber",
}
"""OpenSSL's, where RFC 4514 has none."""


def oneline(name: x509.Name) -> str:
    """Return a name as OpenSSL writes it in one line, such as ``/C=FI/O=Example/CN=CA``."""
    from scepflow.text import sanitise

    return sanitise("".join(map(_part, name)), limit=_LONGEST_NAME)


def _part(part: x509.NameAttribute[Any]) -> str:
    key = _SHORT_NAMES.get(part.oid.dotted_string, part.rfc4514_attribute_name)
    return f"/{key}={part.value.hex() if isinstance(part.value, bytes) else part.value}"


def pem_lines(label: str, der: bytes) -> Iterator[str]:
    """Yield the lines of a PEM block.

    Args:
        label: such as ``PKCS7``.
        der: what is in it, of any length.
    """
    text = b64encode(der).decode("ascii")
    yield f"-----BEGIN {label}-----"
    yield from (text[at : at + 64] for at in range(0, len(text), 64))
    yield f"-----END {label}-----"


def tell_pem(screen: Screen, content: Any) -> None:
    """Print a certificate or CRL with ``-d``."""
    if screen.is_debug:
        from cryptography.hazmat.primitives.serialization import Encoding

        screen.raw(content.public_bytes(Encoding.PEM).decode("ascii").rstrip("\n"))


def tell_capabilities(screen: Screen, answer: CapabilitiesAnswer) -> None:
    """Print what a CA says of itself; the lines that mean nothing to us always."""
    from scepflow.text import sanitise

    names, unknown = answer.capabilities.names, answer.capabilities.unknown
    if names or unknown:
        for sent in answer.response.body.splitlines():
            screen.verbose(sanitise(sent), prefix=False)
    for line in unknown:
        screen.complain(f"unknown capability {line}")
    bits = sum(bit for name, bit in CAPABILITIES.items() if name in names)
    screen.debug(f"scep caps bitmask: {bits:#06x}")


def tell_request(screen: Screen, csr: x509.CertificateSigningRequest) -> None:
    """Print a request with ``-v``, unless there is a challenge in it.

    sscep printed it all the same, but whoever reads the log could then use the challenge; it cannot
    be taken out of what is signed.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    screen.verbose("request data dump")
    request_der = csr.public_bytes(Encoding.DER)
    if _has_challenge(csr):
        screen.verbose("not shown: there is a challenge password in it")
    else:
        for line in pem_lines("CERTIFICATE REQUEST", request_der):
            screen.verbose(line, prefix=False)
    screen.verbose(f"data payload size: {len(request_der)} bytes")


def _has_challenge(csr: x509.CertificateSigningRequest) -> bool:
    from scepflow.engine.oids import CHALLENGE_PASSWORD

    try:
        return any(attribute.oid == CHALLENGE_PASSWORD for attribute in csr.attributes)
    except ValueError:
        return True  # who knows


def tell_certificate(screen: Screen, certificate: x509.Certificate) -> None:
    """Print whose certificate came, with ``-v``."""
    screen.verbose("found certificate with")
    screen.verbose(f"  subject: {oneline(certificate.subject)}", prefix=False)
    screen.verbose(f"  issuer: {oneline(certificate.issuer)}", prefix=False)


def tell_issued(screen: Screen, issued: Credential, *, csr: x509.CertificateSigningRequest) -> None:
    """Print what was issued; that its subject is not the one of the request always."""
    subject, asked = oneline(issued.certificate.subject), oneline(csr.subject)
    matched = issued.certificate.subject == csr.subject or subject == asked
    screen.verbose("found certificate with")
    screen.verbose(f"  subject: '{subject}'", prefix=False)
    screen.verbose(f"  issuer: {oneline(issued.certificate.issuer)}", prefix=False)
    screen.verbose(f"  request_subject: '{asked}'", prefix=False)
    if matched:
        screen.verbose("CN's of request and certificate matched!", prefix=False)
    else:
        screen.complain("Subject of our request does not match that of the returned Certificate!")


def fingerprint_line(certificate: x509.Certificate, digest: str) -> str:
    """Return such as ``SHA256 fingerprint: AA:BB``.

    Args:
        certificate: whose DER is digested.
        digest: scepflow's name, such as ``sha-256``.
    """
    from scepflow.engine.algorithms import Digest

    printed = certificate.fingerprint(Digest(digest).hash()).hex(":").upper()
    return f"{digest.replace('-', '').upper()} fingerprint: {printed}"


def certificate_lines(certificate: x509.Certificate) -> Iterator[str]:
    """Yield what sscep says of one certificate among several."""
    yield f"  subject: {oneline(certificate.subject)}"
    yield f"  issuer: {oneline(certificate.issuer)}"
    yield f"  basic constraints: {_constraints(certificate)}"
    yield f"  usage: {_usage(certificate)}"


def _constraints(certificate: x509.Certificate) -> str:
    from cryptography import x509

    from scepflow.engine.certificates import find_extension

    found = find_extension(certificate, x509.BasicConstraints)
    if found is None:
        return "(not included)"
    length = "" if found.path_length is None else f", pathlen:{found.path_length}"
    return f"CA:{str(found.ca).upper()}{length}"


_USAGES = {
    "digital_signature": "Digital Signature",
    "content_commitment": "Non Repudiation",
    "key_encipherment": "Key Encipherment",
    "data_encipherment": "Data Encipherment",
    "key_agreement": "Key Agreement",
    "key_cert_sign": "Certificate Sign",
    "crl_sign": "CRL Sign",
}
_AGREEMENT_USAGES = {"encipher_only": "Encipher Only", "decipher_only": "Decipher Only"}
"""Which mean something, and can be asked for, with a key agreement only."""


def _usage(certificate: x509.Certificate) -> str:
    from scepflow.engine.certificates import key_usage

    usage = key_usage(certificate)
    if usage is None:
        return "(not included)"
    names = _USAGES | (_AGREEMENT_USAGES if usage.key_agreement else {})
    return ", ".join(words for name, words in names.items() if getattr(usage, name))
