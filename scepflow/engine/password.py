"""Envelopes keyed by the challenge password, for keys that cannot decrypt (RFC 8894 §3.1, RFC 3211 §2.3).

Must never hold: a way to tell a wrong password from a damaged message (S-050).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from scepflow.engine import algorithms, asn1, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.errors import ProtocolError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["build_recipient", "check_password", "open_recipient"]

ITERATIONS = 600_000  # what offline guessing is slowed down to, for PBKDF2 with SHA-256
MAX_ITERATIONS = 1_500_000  # S-035: less than a second, and no less than is advised for any of the digests
MAX_SALT_BYTES = 1024  # S-035: 16 are enough
KEK_CIPHER = Cipher.AES128
MIN_CHARACTERS = 14  # S-093: 80 bits, if they are letters and digits drawn at random

_PRF = {
    oids.HMAC_SHA1: Digest.SHA1,
    oids.HMAC_SHA256: Digest.SHA256,
    oids.HMAC_SHA384: Digest.SHA384,
    oids.HMAC_SHA512: Digest.SHA512,
}


def check_password(challenge_password: str | None, *, allowed: bool, why: str) -> None:
    """Refuse a password envelope that is not allowed, or whose challenge can be guessed offline (S-093).

    Args:
        challenge_password: the password.
        allowed: the option ``password_envelope``.
        why: what would need one, for the error.

    Raises:
        TrustError: refused; nothing was encrypted.
    """
    if not allowed:
        raise TrustError(
            why,
            check="recipient",
            hint="ask the CA's operator for an RSA certificate, or sign with an RSA key; password_envelope = true in [ca] "
            "uses the challenge instead, which whoever records the message can guess offline: "
            f"draw {MIN_CHARACTERS} characters or more at random",
        )
    if challenge_password and len(challenge_password) < MIN_CHARACTERS:
        raise TrustError(
            f"a challenge of fewer than {MIN_CHARACTERS} characters does not protect what is encrypted with it: {why}",
            check="recipient",
            hint="whoever records the message can guess it offline; ask for a random challenge of 80 bits or more",
        )


def build_recipient(key: bytes, challenge_password: str, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return the DER of a PasswordRecipientInfo for a content key of 8 to 32 bytes."""
    salt = random_bytes(16)
    iv = random_bytes(KEK_CIPHER.block_bytes)
    kek = _derive(challenge_password, salt, ITERATIONS, Digest.SHA256, KEK_CIPHER)
    derivation = asn1.Pbkdf2Params(
        salt=salt, iterations=ITERATIONS, key_length=None, prf=asn1.algorithm(oids.HMAC_SHA256)
    )
    inner = asn1.algorithm(KEK_CIPHER.oid, asn1.encode(iv))
    info = asn1.PasswordRecipientInfo(
        version=0,
        key_derivation=asn1.algorithm(oids.PBKDF2, asn1.encode(derivation)),
        key_encryption=asn1.algorithm(oids.PWRI_KEK, asn1.wrap(0x30, b"".join(map(asn1.encode, inner)))),
        encrypted_key=_wrap_key(key, kek, iv, random_bytes),
    )
    return b"\xa3" + asn1.encode(info)[1:]


def open_recipient(
    value: asn1.TLV, challenge_password: str, *, judge: Callable[[Digest, Cipher], None] | None = None
) -> bytes | None:
    """Return the content key, or None when it does not open.

    Args:
        value: the recipient info with its tag [3].
        challenge_password: the password, encoded as UTF-8.
        judge: told of the derivation's digest and the key's cipher first; it may refuse them.

    Raises:
        ProtocolError: not a PasswordRecipientInfo, or parameters out of bounds.
    """
    info = asn1.decode(asn1.PasswordRecipientInfo, b"\x30" + asn1.encode(value)[1:], "PasswordRecipientInfo")
    oid, parameters = asn1.algorithm_parts(info.key_encryption)
    if oid != oids.PWRI_KEK or parameters is None:
        raise ProtocolError(f"unknown key encryption {oid.dotted_string}")
    cipher, iv = algorithms.cipher_of(asn1.members(parameters, "PWRI-KEK parameters", tag=b"\x30"))
    salt, iterations, prf = _derivation(info.key_derivation)
    if judge:
        judge(prf, cipher)
    kek = _derive(challenge_password, salt, iterations, prf, cipher)
    return _unwrap_key(info.encrypted_key, kek, iv, cipher)


def _derivation(identifier: list[asn1.TLV] | None) -> tuple[bytes, int, Digest]:
    oid, parameters = asn1.algorithm_parts(identifier or [])
    if oid != oids.PBKDF2 or parameters is None:
        raise ProtocolError(f"unknown key derivation {oid.dotted_string}")
    pbkdf2 = asn1.parse(parameters, asn1.Pbkdf2Params, "PBKDF2 parameters")
    prf = _PRF.get(asn1.algorithm_parts(pbkdf2.prf)[0]) if pbkdf2.prf else Digest.SHA1
    if prf is None or not 1 <= pbkdf2.iterations <= MAX_ITERATIONS or len(pbkdf2.salt) > MAX_SALT_BYTES:
        raise ProtocolError("PBKDF2 parameters out of bounds")
    return pbkdf2.salt, pbkdf2.iterations, prf


def _derive(challenge_password: str, salt: bytes, iterations: int, prf: Digest, cipher: Cipher) -> bytes:
    kdf = PBKDF2HMAC(algorithm=prf.hash(), length=cipher.key_bytes, salt=salt, iterations=iterations)
    return kdf.derive(challenge_password.encode())


def _wrap_key(key: bytes, kek: bytes, iv: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    """Wrap by RFC 3211 §2.3.1 Key Wrap: length, check bytes, key, padding, encrypted twice."""
    block = KEK_CIPHER.block_bytes
    formatted = bytes((len(key),)) + bytes(0xFF ^ byte for byte in key[:3]) + key
    size = max(2 * block, -(-len(formatted) // block) * block)
    encryptor = KEK_CIPHER.context(kek, iv).encryptor()
    once = encryptor.update(formatted + random_bytes(size - len(formatted)))
    return encryptor.update(once)


def _unwrap_key(wrapped: bytes, kek: bytes, iv: bytes, cipher: Cipher) -> bytes | None:
    """Unwrap by RFC 3211 §2.3.2 Key Unwrap; None for anything wrong."""
    block = cipher.block_bytes
    if len(wrapped) < 2 * block or len(wrapped) % block:
        return None
    last = cipher.context(kek, wrapped[-2 * block : -block]).decryptor().update(wrapped[-block:])
    once = cipher.context(kek, last).decryptor().update(wrapped)
    formatted = cipher.context(kek, iv).decryptor().update(once)
    key = formatted[4 : 4 + formatted[0]]
    checks = all(a ^ b == 0xFF for a, b in zip(formatted[1:4], key, strict=False))
    return key if checks and len(key) == formatted[0] >= 3 else None
