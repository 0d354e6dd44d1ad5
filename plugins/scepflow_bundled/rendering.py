"""Keys and certificates as the bytes and the words that outputs are made of.

Must never hold: files, or text around PEM (a preamble would carry the server's words, S-062).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from scepflow.errors import OptionError, SinkError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

    from scepflow.options import Secret
    from scepflow.stages import PrivateKey, Run

__all__ = ["certificates_pem", "common_name", "key_bytes", "reveal", "serial_hex", "sha256_hex"]

_FORMATS = {"pkcs8": PrivateFormat.PKCS8, "traditional": PrivateFormat.TraditionalOpenSSL}


def certificates_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return the certificates in PEM one after the other, nothing between them."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_bytes(
    key: PrivateKey,
    *,
    encoding: Encoding = Encoding.PEM,
    key_format: Literal["pkcs8", "traditional"] = "pkcs8",
    passphrase: str | None = None,
) -> bytes:
    """Return a private key, encrypted when there is a passphrase.

    Args:
        key: the key.
        encoding: PEM or DER.
        key_format: ``pkcs8``, or ``traditional`` for PKCS#1 (RSA) and SEC 1 (EC).
        passphrase: text, encoded as UTF-8; only with ``pkcs8``.

    Raises:
        SinkError: the key cannot be written this way.
    """
    protection = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    try:
        return key.private_bytes(encoding, _FORMATS[key_format], protection)
    except ValueError as error:
        raise SinkError(f"the private key cannot be written: {error}") from None


def reveal(secret: Secret, *, option: str, run: Run) -> str:
    """Return a secret's text; what fails is this sink only.

    Raises:
        SinkError: the secret cannot be read; names the option, never the value.
    """
    try:
        return run.reveal(secret)
    except OptionError as error:
        raise SinkError(f"{option}: {error.message}", hint=error.hint) from None


def common_name(certificate: x509.Certificate) -> str:
    """Return the subject's first common name as the CA wrote it, or ""; not fit to be shown or to name a file."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def serial_hex(certificate: x509.Certificate) -> str:
    """Return the serial number in lower-case hex."""
    return format(certificate.serial_number, "x")


def sha256_hex(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint of the certificate's DER, 64 lower-case hex digits."""
    return certificate.fingerprint(SHA256()).hex()
