"""How strong the signatures and keys above a certificate are, judged by the policy.

Must never hold: whether a certificate chains; `chains.ChainVerifier` knows no policy, and this no signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepflow.engine import algorithms, certificates
from scepflow.engine.algorithms import Security
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cryptography import x509

__all__ = ["Weakness", "weaknesses"]

STRONG_RSA_BITS = 2048  # NIST SP 800-57 Part 1: 112 bits of security, as an EC key of 224 bits has
STRONG_EC_BITS = 224

_REFUSED_BY = {
    "md5": frozenset({Security.STRICT, Security.DEFAULT}),
    "sha1": frozenset({Security.STRICT}),
}


@dataclass(frozen=True, slots=True)
class Weakness:
    """Something weak: what it is, for humans, and which policies refuse it."""

    text: str
    refused_by: frozenset[Security]


def weaknesses(
    path: Sequence[x509.Certificate], *, anchors: Collection[x509.Certificate], own_key: bool = False
) -> list[Weakness]:
    """Return what is weak in a verified path (RFC 6194, RFC 6151, NIST SP 800-57).

    Args:
        path: a certificate and the chain above it.
        anchors: trusted by themselves; how they are signed says nothing.
        own_key: the first certificate is for our own key, whose size is not the CA's choice.
    """
    signed = [_weak_signature(certificate) for certificate in path if certificate not in anchors]
    keys = [_weak_key(certificate) for certificate in path[1 if own_key else 0 :]]
    return [weakness for weakness in (*signed, *keys) if weakness]


def _weak_signature(certificate: x509.Certificate) -> Weakness | None:
    try:
        digest = certificate.signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return None  # then nothing can verify it either
    if digest is None or digest.name not in _REFUSED_BY:
        return None
    return Weakness(
        f"the certificate of {_subject(certificate)} is signed with {digest.name}", _REFUSED_BY[digest.name]
    )


def _weak_key(certificate: x509.Certificate) -> Weakness | None:
    key = certificates.public_key(certificate)
    if isinstance(key, rsa.RSAPublicKey):
        kind, strong = "RSA", STRONG_RSA_BITS
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind, strong = "EC", STRONG_EC_BITS
    else:
        return None
    if key.key_size >= strong:
        return None
    broken = kind == "RSA" and key.key_size < algorithms.MIN_RSA_BITS
    return Weakness(
        f"the {kind} key of {_subject(certificate)} has {key.key_size} bits",
        frozenset(Security) if broken else frozenset({Security.STRICT}),
    )


def _subject(certificate: x509.Certificate) -> str:
    return sanitise(certificate.subject.rfc4514_string())
