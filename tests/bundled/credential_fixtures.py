"""Credentials and runs that the tests of the sinks share."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from scepflow.engine.identity import Credential
from scepflow.stages import Run

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key(_number: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(common_name: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")]
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def make_certificate(subject, *, issuer="Example CA", key, signing_key, san=(), ca=False):
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(0x4F11)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    return builder.sign(signing_key, SHA256())


def dns(text: str) -> x509.DNSName:
    return x509.DNSName(text)


def ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def make_credential(subject="gw1.example.com", *, key=None, san=(), issuer="Example CA", root="Example Root"):
    """A leaf under an issuing CA under a root; each call has the same keys and CAs."""
    key = key or rsa_key()
    leaf = make_certificate(subject, issuer=issuer, key=key, signing_key=ec_key(2), san=san)
    return Credential(key=key, certificate=leaf, chain=make_chain(issuer, root))


@cache
def make_chain(issuer: str, root: str) -> tuple[x509.Certificate, ...]:
    return (
        make_certificate(issuer, issuer=root, key=ec_key(2), signing_key=ec_key(1), ca=True),
        make_certificate(root, issuer=root, key=ec_key(1), signing_key=ec_key(1), ca=True),
    )


def make_run(directory: Path, events: list | None = None) -> Run:
    return Run(
        pipeline="gw1",
        directory=directory,
        now=lambda: NOW,
        random_bytes=bytes,
        emit=(events if events is not None else []).append,
    )


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def tree(directory: Path) -> dict[str, bytes | None]:
    """Everything below a directory: relative name to content, None for directories."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }
