"""Keys with their certificates: who signs a pki_message, and what an enrollment yields.

Must never hold: a way to store them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

__all__ = ["Credential", "SigningIdentity"]


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    """The certificate and key that sign a pki_message and decrypt its reply (RFC 8894 §2.3 Client Authentication).

    Attributes:
        certificate: self-signed, or the existing certificate in a renewal.
        key: its private key; the reply's envelope is for this key.
    """

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A private key, its certificate and the certificates above it.

    Attributes:
        key: the private key.
        certificate: the issued certificate; its public key is the key's.
        chain: the issuer's certificate first, then upward to the trust anchor; never empty when issued.
    """

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
