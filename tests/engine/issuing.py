"""Certificates and requests for the tests, of every kind that a CA might send."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from scepflow.engine import oids, trust
from scepflow.engine.algorithms import Digest
from scepflow.engine.asn1 import NULL_DER, UTCTime, encode, wrap
from scepflow.engine.identity import SigningIdentity

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CHALLENGE = "open sesame 42"

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_RSA_WITH = {
    Digest.MD5: oids.MD5_WITH_RSA,
    Digest.SHA1: oids.SHA1_WITH_RSA,
    Digest.SHA384: oids.SHA384_WITH_RSA,
    Digest.SHA512: oids.SHA512_WITH_RSA,
}
CA_USAGE = "digital_signature key_encipherment key_cert_sign crl_sign"


def name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(words):
    wanted = words.split()
    return x509.KeyUsage(**{usage: usage in wanted for usage in _USAGES})


def certify(
    subject,
    key,
    *,
    issuer=None,
    ca=None,
    usage=None,
    begins=NOW - 30 * DAY,
    ends=NOW + 365 * DAY,
    serial_number=None,
    key_identifier=None,
    extensions=(),
):
    """Return a certificate for a private or public key, self-signed unless an issuer is given."""
    public_key = key.public_key() if hasattr(key, "public_key") else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer.certificate.subject if issuer else name(subject))
        .public_key(public_key)
        .serial_number(serial_number or x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usage is not None:
        builder = builder.add_extension(key_usage(usage), critical=True)
    if key_identifier is not None:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(key_identifier), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer.key if issuer else key, hashes.SHA256())


def resigned(certificate, issuer_key, digest):
    """Return a certificate signed anew with RSA and another digest, one that the library no longer signs with too."""
    identifier = wrap(0x30, encode(oids.SHA256_WITH_RSA) + NULL_DER)
    other = wrap(0x30, encode(_RSA_WITH[digest]) + NULL_DER)
    tbs = certificate.tbs_certificate_bytes
    assert tbs.count(identifier) == 1
    tbs = tbs.replace(identifier, other)
    signature = issuer_key.sign(tbs, padding.PKCS1v15(), digest.hash())
    return x509.load_der_x509_certificate(wrap(0x30, tbs + other + wrap(0x03, b"\0" + signature)))


def request(subject, key, *, challenge=CHALLENGE):
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(subject))
    if challenge is not None:
        builder = builder.add_attribute(oids.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key, hashes.SHA256())


@dataclass(frozen=True, kw_only=True)
class Pki:
    """Keys are slow to make, so all tests share these."""

    ca: SigningIdentity
    ra_signer: SigningIdentity
    ra_encryption: SigningIdentity
    client: SigningIdentity
    stranger: SigningIdentity
    ec_ca: SigningIdentity
    ec_client: SigningIdentity

    @property
    def bundle(self):
        """The CA alone, pinned."""
        return pin(self.ca.certificate)

    @property
    def ra_bundle(self):
        """The CA with an RA pair, the CA pinned."""
        return pin(self.ca.certificate, self.ra_signer.certificate, self.ra_encryption.certificate)

    @property
    def ec_bundle(self):
        """A CA that has no key to encrypt for."""
        return pin(self.ec_ca.certificate)

    def issue(self, subject="gw1", key=None, **how):
        """Return a certificate of the CA, for the client's key unless another is given."""
        how.setdefault("issuer", self.ca)
        return certify(subject, key or self.client.key, ca=False, usage="digital_signature", **how)


def pin(ca_certificate, *others):
    return trust.authenticate(
        [ca_certificate, *others], fingerprints=[trust.fingerprint(ca_certificate)], now=NOW
    )


def long_name():
    """Return a Name that the library warns of: its common name has more than 64 characters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "y" * 80, _validate=False)])


def odd_names():
    """Return an extension with a DirectoryName that OpenSSL reads, and the library answers with a TypeError."""
    common_name = wrap(0x31, wrap(0x30, encode(x509.NameOID.COMMON_NAME) + b"\x03\x02\0\x78"))
    directory_name = wrap(0xA4, wrap(0x30, common_name))
    return x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, wrap(0x30, directory_name))


def rsa_key():
    return rsa.generate_private_key(65537, 2048)


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def version_1(subject, key):
    """Return a self-signed certificate of X.509 version 1, serial number 7: it has no extensions at all."""
    algorithm = wrap(0x30, encode(oids.SHA256_WITH_RSA) + NULL_DER)
    validity = b"".join(encode(UTCTime(at)) for at in (NOW - DAY, NOW + 365 * DAY))
    der_name = name(subject).public_bytes()
    public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    tbs = wrap(0x30, encode(7) + algorithm + der_name + wrap(0x30, validity) + der_name + public_key)
    signature = key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    return x509.load_der_x509_certificate(wrap(0x30, tbs + algorithm + wrap(0x03, b"\0" + signature)))
