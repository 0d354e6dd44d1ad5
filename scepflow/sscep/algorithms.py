"""What a CA's capabilities lead to where no algorithm is named.

Must never hold: single DES or MD5; those are for whoever types them.
"""

from __future__ import annotations

__all__ = ["algorithms_of", "fingerprint_digest"]


def algorithms_of(names: frozenset[str]) -> tuple[str | None, str | None]:
    """Return cipher and digest for a CA's capabilities (Appendix C.2); None leaves scepflow's floor, 3DES and SHA-1.

    Without capabilities sscep used single DES and MD5.
    """
    standard = "SCEPStandard" in names
    cipher = "aes-128-cbc" if standard or "AES" in names else None
    for digest in ("SHA-512", "SHA-384", "SHA-256", "SHA-224", "SHA-1"):
        if digest in names or (standard and digest == "SHA-256"):
            return cipher, digest.lower()
    return cipher, None


def fingerprint_digest(named: str | None, names: frozenset[str]) -> str:
    """Return the digest of fingerprints: the one that is named, or the CA's best, or SHA-256."""
    return named or algorithms_of(names)[1] or "sha-256"
