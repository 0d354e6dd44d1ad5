"""What can be seen of a key file without its pass phrase.

Must never hold: the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["KeyFile", "look_at_key"]

_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What a key file is like.

    Attributes:
        encrypted: whether it has a pass phrase.
        rsa_bits: how long the RSA key in it is; None for another key, or one that cannot be read.
    """

    encrypted: bool = False
    rsa_bits: int | None = None


def look_at_key(name: str | None) -> KeyFile:
    """Return what a key file is like, as far as it can be read; what is no regular file is left alone.

    Args:
        name: the file, PEM; None looks at nothing.
    """
    path = Path(name or "")
    try:
        if not path.is_file():
            return KeyFile()
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES)
    except (OSError, ValueError):
        return KeyFile()
    return KeyFile(encrypted=b"ENCRYPTED" in data, rsa_bits=_rsa_bits(data))


def _rsa_bits(data: bytes) -> int | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    except (TypeError, ValueError, UnsupportedAlgorithm):  # encrypted, or no key
        return None
    return key.key_size if isinstance(key, rsa.RSAPrivateKey) else None
