"""Reading certificates that a server sent: whatever is wrong with one is a ProtocolError, or nothing found.

Must never hold: trust.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.engine import asn1
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes


__all__ = [
    "UNREADABLE",
    "can_decrypt",
    "find_extension",
    "has_readable_extensions",
    "is_ca",
    "key_usage",
    "load_certificates",
    "names_certificate",
    "public_key",
    "quietly",
    "serial_number",
]

UNREADABLE = (
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    ValueError,
    TypeError,  # a DirectoryName with a BIT STRING in it
)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def load_certificates(ders: Iterable[bytes]) -> tuple[x509.Certificate, ...]:
    """Return certificates from their DER; raises ProtocolError for one that is none."""
    return tuple(map(_load_certificate, ders))


def _load_certificate(der: bytes) -> x509.Certificate:
    try:
        with quietly():
            certificate = x509.load_der_x509_certificate(der)
            _read_once(certificate)
    except (ValueError, TypeError, OverflowError, x509.InvalidVersion):
        raise ProtocolError("not a certificate", section="RFC 5280 §4.1 Basic Certificate Fields") from None
    return certificate


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what the library has to say of odd names, dates and serial numbers from stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def serial_number(certificate: x509.Certificate) -> int:
    """Return the serial number, of which the library warns when it is below 1."""
    return asn1.certificate_names(certificate)[1]


def _read_once(certificate: x509.Certificate) -> None:
    """Read now what is read later by those who do not expect it to fail (a year 0, a name that is none)."""
    _ = certificate.subject, certificate.issuer, certificate.serial_number
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    has_readable_extensions(certificate)  # the library warns when it reads them, and keeps them


def public_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes | None:
    """Return a certificate's key, or None for one that cannot be read: its kind is unknown, or it is damaged."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def is_ca(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate may issue others; one of X.509 version 1 may if it is self-issued."""
    constraints = find_extension(certificate, x509.BasicConstraints)
    if constraints is not None:
        return constraints.ca
    return certificate.version is x509.Version.v1 and certificate.issuer == certificate.subject


def key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """Return the key usage, or None when the certificate has none or it cannot be read."""
    return find_extension(certificate, x509.KeyUsage)


def can_decrypt(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate's key is one that messages can be encrypted for: RSA."""
    return isinstance(public_key(certificate), rsa.RSAPublicKey)


def names_certificate(
    certificate: x509.Certificate,
    *,
    issuer_der: bytes | None,
    serial_number: int | None,
    key_identifier: bytes | None,
) -> bool:
    """Tell whether an identifier of RFC 5652 names this certificate.

    A key identifier is compared with the certificate's extension, or with the
    SHA-1 of its key where there is none (Q-097).
    """
    if key_identifier is not None:
        return _key_identifier(certificate) == key_identifier
    return (issuer_der, serial_number) == asn1.certificate_names(certificate)[:2]


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    extension = find_extension(certificate, x509.SubjectKeyIdentifier)
    if extension is not None:
        return extension.digest
    key = public_key(certificate)
    return x509.SubjectKeyIdentifier.from_public_key(key).digest if key else None


def find_extension(
    certificate: x509.Certificate | x509.CertificateSigningRequest, kind: type[_Extension]
) -> _Extension | None:
    """Return an extension, or None when there is none of its kind or the extensions cannot be read."""
    try:
        with quietly():
            return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return None


def has_readable_extensions(certificate: x509.Certificate) -> bool:
    """Tell whether `find_extension` finds nothing because there is nothing."""
    try:
        with quietly():
            _ = certificate.extensions
    except UNREADABLE:
        return False
    return True
