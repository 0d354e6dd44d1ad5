"""The keys and certificates of a test CA. For tests and demos only: the keys are kept unencrypted.

Must never hold: SCEP messages, HTTP, or a decision about who gets a certificate.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

from scepflow.engine.identity import Credential, SigningIdentity
from scepflow.testca.certificates import (
    LEAF,
    KeyType,
    authority_key_id,
    build_certificate,
    ca_key_usage,
    key_usage,
    leaf_extensions,
    new_key,
    new_serial,
)
from scepflow.testca.records import Records, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import Self

    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    Extensions = Iterable[tuple[x509.ExtensionType, bool]]

__all__ = ["Authority", "KeyType", "RaPair"]

_CA_LIFETIME = timedelta(days=3650)
_CRL_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class RaPair:
    """The two identities of a registration authority, both issued by the CA.

    Attributes:
        signing: signs replies; its certificate has digitalSignature alone.
        encryption: opens requests; its certificate has keyEncipherment alone.
    """

    signing: SigningIdentity
    encryption: SigningIdentity


class Authority:
    """A test CA: issues, revokes, signs CRLs, rolls over. Make one with `create` or `open`.

    Args:
        ca: the CA's certificate and key.
        ra: its registration authority, or None when the CA answers itself.
        records: its memory; a new one when None.
        random_bytes: source of serial numbers.

    Attributes:
        above: the CA certificates above its own, which GetCACert gives too; none for a root.
    """

    def __init__(
        self,
        ca: SigningIdentity,
        *,
        ra: RaPair | None = None,
        records: Records | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.ca = ca
        self.ra = ra
        self.above: tuple[x509.Certificate, ...] = ()
        self.records = records or Records()
        self._random_bytes = random_bytes
        self._next: Authority | None = None
        self._directory: Path | None = None

    @classmethod
    def create(
        cls,
        *,
        now: datetime,
        name: str = "scepflow test CA",
        key: KeyType = "rsa-2048",
        ra: bool = False,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Make a new CA with new keys (RSA takes about 0.1 s each).

        Args:
            now: the current time, aware UTC.
            name: the CA's common name.
            key: the CA key's type; an RA's keys are always RSA.
            ra: whether to add a registration authority.
            random_bytes: source of serial numbers.
        """
        ca_key = new_key(key)
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Never for production"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        certificate = build_certificate(
            subject=subject,
            public_key=ca_key.public_key(),
            issuer=None,
            issuer_key=ca_key,
            serial=new_serial(random_bytes),
            valid=(now, now + _CA_LIFETIME),
            extensions=[
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (ca_key_usage(encrypts=not ra and isinstance(ca_key, rsa.RSAPrivateKey)), True),
            ],
        )
        authority = cls(SigningIdentity(certificate, ca_key), random_bytes=random_bytes)
        if ra:
            authority.add_ra(now)
        return authority

    @classmethod
    def load(cls, directory: Path, *, random_bytes: Callable[[int], bytes] = os.urandom) -> Self:
        """Read a CA that `save` has written.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file is not the PEM it should be.
        """
        ra = None
        if (directory / "ra-signing.pem").exists():
            ra = RaPair(_load_identity(directory, "ra-signing"), _load_identity(directory, "ra-encryption"))
        ca = _load_identity(directory, "ca")
        authority = cls(ca, ra=ra, records=Records(directory), random_bytes=random_bytes)
        authority._directory = directory
        return authority

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        now: datetime,
        key: KeyType = "rsa-2048",
        ra: bool = False,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Load the CA in a directory, or create it there the first time; safe between processes.

        Args:
            directory: made when it is missing; holds ``ca.pem``, the trust anchor.
            now: the current time, aware UTC.
            key: type of a new CA's key.
            ra: whether a registration authority answers; it is added when missing.
            random_bytes: source of serial numbers.

        Raises:
            OSError: the directory cannot be read or written.
            ValueError: what is there is not a CA.
        """
        from filelock import FileLock

        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".lock"):
            if not (directory / "ca.pem").exists():
                authority = cls.create(now=now, key=key, ra=ra, random_bytes=random_bytes)
                authority.save(directory)
                return authority
            authority = cls.load(directory, random_bytes=random_bytes)
            if not ra:
                authority.ra = None
            elif not authority.ra:
                authority.add_ra(now)
            return authority

    def save(self, directory: Path) -> None:
        """Write the CA to a directory and keep its records there from now on.

        ``ca.pem`` is written last: where it stands, the rest is complete.

        Raises:
            OSError: a file cannot be written.
        """
        self._directory = directory
        self.records.keep_in(directory)
        if self.ra:
            _write_identity(directory, "ra-encryption", self.ra.encryption)
            _write_identity(directory, "ra-signing", self.ra.signing)
        if self._next:
            self._next.save(directory / "next")
        _write_identity(directory, "ca", self.ca)

    @property
    def certificate(self) -> x509.Certificate:
        """The CA's certificate: the trust anchor."""
        return self.ca.certificate

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the CA certificate's DER, lower-case hex (RFC 8894 §2.2 CA Authentication)."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def signing(self) -> SigningIdentity:
        """Who signs replies: the RA, or the CA."""
        return self.ra.signing if self.ra else self.ca

    @property
    def encryption(self) -> SigningIdentity:
        """Who opens requests: the RA, or the CA (an EC CA has only the challenge to open them with)."""
        return self.ra.encryption if self.ra else self.ca

    @property
    def can_decrypt(self) -> bool:
        """Whether requests can be encrypted to a key; otherwise only a challenge can key them."""
        return isinstance(self.encryption.key, rsa.RSAPrivateKey)

    @property
    def signs_with_rsa(self) -> bool:
        """Whether replies are signed with an RSA key; otherwise with an EC key."""
        return isinstance(self.signing.key, rsa.RSAPrivateKey)

    def bundle(self, *, order: Literal["ca-first", "ra-first"] = "ca-first") -> tuple[x509.Certificate, ...]:
        """Return what GetCACert answers with (RFC 8894 §4.2 Get CA Certificate)."""
        chain = (self.certificate, *self.above)
        if not self.ra:
            return chain
        ra = (self.ra.signing.certificate, self.ra.encryption.certificate)
        return (*chain, *ra) if order == "ca-first" else (*ra, *chain)

    def add_ra(self, now: datetime) -> None:
        """Give the CA a registration authority with two new RSA keys."""
        self.ra = RaPair(
            self._ra_identity("RA signing", key_usage(digital_signature=True), now),
            self._ra_identity("RA encryption", key_usage(key_encipherment=True), now),
        )
        if self._directory:
            self.save(self._directory)

    def _ra_identity(self, role: str, usage: x509.KeyUsage, now: datetime) -> SigningIdentity:
        key = new_key("rsa-2048")
        own = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{own!s} {role}")])
        leaf = LEAF
        return SigningIdentity(
            self._sign(
                subject, key.public_key(), now=now, lifetime=_CA_LIFETIME, extensions=[leaf, (usage, True)]
            ),
            key,
        )

    def issue(
        self, csr: x509.CertificateSigningRequest, *, now: datetime, days: float = 365
    ) -> x509.Certificate:
        """Issue what a CSR asks for, within reason, and remember it.

        The subject is kept byte for byte; subjectAltName, keyUsage (without
        CA bits) and extendedKeyUsage are copied; nothing else is.

        Args:
            csr: the request; whoever calls has checked it.
            now: the current time, aware UTC.
            days: lifetime, more than 0; it ends with the CA's own at the latest, unless that is over.
        """
        certificate = self._sign(
            csr.subject,
            csr.public_key(),  # type: ignore[arg-type]  # the responder lets RSA and EC keys through
            now=now,
            lifetime=timedelta(days=days),
            extensions=leaf_extensions(csr),
        )
        self.records.add(certificate)
        return certificate

    def _sign(
        self,
        subject: x509.Name,
        public_key: PublicKey,
        *,
        now: datetime,
        lifetime: timedelta,
        extensions: Extensions,
    ) -> x509.Certificate:
        ends, last = now + lifetime, self.certificate.not_valid_after_utc
        return build_certificate(
            subject=subject,
            public_key=public_key,
            issuer=self.certificate,
            issuer_key=self.ca.key,
            serial=new_serial(self._random_bytes),
            valid=(now, min(ends, last) if last > now else ends),  # an expired CA issues all the same
            extensions=extensions,
        )

    def objection(self, certificate: x509.Certificate, *, now: datetime) -> str:
        """Say why a certificate may not authenticate a renewal, or "" when it may.

        Args:
            certificate: the certificate that signed the request.
            now: the current time, aware UTC.
        """
        if self.records.certificate(certificate.serial_number) != certificate:
            return "not issued by this CA"
        if certificate.serial_number in self.records.revoked():
            return "revoked"
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return "expired or not yet valid"
        return ""

    def revoke(self, serial: int, *, now: datetime) -> None:
        """Put a serial number on the CRL from now on."""
        self.records.revoke(serial, now)

    def crl(self, now: datetime) -> x509.CertificateRevocationList:
        """Sign the current CRL, good for 7 days."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now)
            .next_update(now + _CRL_LIFETIME)
            .add_extension(authority_key_id(self.certificate), critical=False)
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        )
        for serial, at in self.records.revoked().items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.ca.key, hashes.SHA256())

    def next_ca(self, now: datetime) -> Authority:
        """Return the CA that will follow this one: same name, new key (RFC 8894 §4.7 Get Next CA Certificate).

        It is made the first time and stays the same afterwards.
        """
        if self._next is None and self._directory:
            self._next = Authority.open(self._directory / "next", now=now, random_bytes=self._random_bytes)
        elif self._next is None:
            self._next = Authority.create(now=now, random_bytes=self._random_bytes)
        return self._next

    def tls_credential(self, hostname: str, *, now: datetime) -> Credential:
        """Issue a key and certificate for an HTTPS server under this CA.

        Args:
            hostname: a DNS name or an IP address.
            now: the current time, aware UTC.
        """
        key = new_key("ec-p256")
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(hostname))
        except ValueError:
            name = x509.DNSName(hostname)
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)]),
            key.public_key(),
            now=now,
            lifetime=timedelta(days=365),
            extensions=[
                LEAF,
                (x509.SubjectAlternativeName([name]), False),
                (key_usage(digital_signature=True), True),
                (x509.ExtendedKeyUsage([Eku.SERVER_AUTH]), False),
            ],
        )
        return Credential(key=key, certificate=certificate, chain=(self.certificate,))


def _write_identity(directory: Path, name: str, identity: SigningIdentity) -> None:
    pem = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(directory / f"{name}.key", pem, mode=0o600)
    write_file(directory / f"{name}.pem", identity.certificate.public_bytes(Encoding.PEM))


def _load_identity(directory: Path, name: str) -> SigningIdentity:
    certificate_pem, key_pem = ((directory / f"{name}.{suffix}").read_bytes() for suffix in ("pem", "key"))
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise ValueError(f"{name}.pem is not a certificate in PEM") from None
    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError:  # what cryptography raises without a password
        raise ValueError(f"{name}.key is encrypted; a test CA keeps its keys unencrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{name}.key is not a private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError(f"{name}.key is neither RSA nor EC")  # noqa: TRY004  # a file's content
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{name}.key does not belong to {name}.pem")
    return SigningIdentity(certificate, key)
