"""How the test CA's keys and certificates are made: nothing here remembers anything.

Must never hold: state, files, or a decision about who gets a certificate.
"""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    Extensions = Iterable[tuple[x509.ExtensionType, bool]]

__all__ = [
    "LEAF",
    "KeyType",
    "authority_key_id",
    "build_certificate",
    "ca_key_usage",
    "key_usage",
    "leaf_extensions",
    "new_key",
    "new_serial",
]

KeyType = Literal["rsa-2048", "ec-p256"]

LEAF = (x509.BasicConstraints(ca=False, path_length=None), True)
"""The extension of every certificate that is no CA's, and its criticality."""

_BACKDATED = timedelta(minutes=5)
"""Certificates start a little early: the clocks of a client and its CA differ."""


def new_key(kind: KeyType) -> PrivateKey:
    """Make a private key; RSA takes about 0.1 s."""
    if kind == "ec-p256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_serial(random_bytes: Callable[[int], bytes]) -> int:
    """128 random bits below a leading one: positive, never short (RFC 5280 §4.1.2.2 Serial Number)."""
    return 1 << 128 | int.from_bytes(random_bytes(16), "big")


def build_certificate(
    *,
    subject: x509.Name,
    public_key: PublicKey,
    issuer: x509.Certificate | None,
    issuer_key: PrivateKey,
    serial: int,
    valid: tuple[datetime, datetime],
    extensions: Extensions,
) -> x509.Certificate:
    """Build and sign a certificate with SHA-256.

    Args:
        subject: its subject; every string keeps the type it was parsed with.
        public_key: its public key.
        issuer: the CA that issues it, or None when it is self-signed.
        issuer_key: the key that signs.
        serial: its serial number, 1 or more.
        valid: first and last moment, aware UTC; the first is moved back by five minutes.
        extensions: further extensions with their criticality.
    """
    key_id = (
        authority_key_id(issuer) if issuer else x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before((valid[0] - _BACKDATED).replace(microsecond=0))
        .not_valid_after(valid[1].replace(microsecond=0))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(key_id, critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def authority_key_id(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the extension that points at the issuer's subjectKeyIdentifier."""
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


key_usage = partial(
    x509.KeyUsage,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def ca_key_usage(*, encrypts: bool) -> x509.KeyUsage:
    """Return what RFC 8894 §2.1.2 Certificate Authority asks of a CA certificate (C-010)."""
    return key_usage(digital_signature=True, key_encipherment=encrypts, key_cert_sign=True, crl_sign=True)


def leaf_extensions(csr: x509.CertificateSigningRequest) -> list[tuple[x509.ExtensionType, bool]]:
    """Return what is granted of what the CSR asks.

    Raises:
        ValueError: the CSR's extensions cannot be parsed.
    """
    granted: list[tuple[x509.ExtensionType, bool]] = [LEAF, (_leaf_key_usage(csr), True)]
    asked = {type(extension.value): extension for extension in csr.extensions}
    if san := asked.get(x509.SubjectAlternativeName):
        # RFC 5280 §4.2.1.6 Subject Alternative Name: critical where the subject is empty.
        granted.append((san.value, san.critical or not csr.subject.rdns))
    if eku := asked.get(x509.ExtendedKeyUsage):
        granted.append((eku.value, eku.critical))
    return granted


_LEAF_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
)


def _leaf_key_usage(csr: x509.CertificateSigningRequest) -> x509.KeyUsage:
    """What was asked without the bits of a CA, else what an RSA or EC key is good for."""
    with contextlib.suppress(x509.ExtensionNotFound):
        asked = csr.extensions.get_extension_for_class(x509.KeyUsage).value
        granted = {name: True for name in _LEAF_USAGES if getattr(asked, name)}
        if granted:
            return key_usage(**granted)
    return key_usage(digital_signature=True, key_encipherment=isinstance(csr.public_key(), rsa.RSAPublicKey))
