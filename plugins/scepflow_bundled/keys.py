"""Key sources: a new private key, or one from a file.

Must never hold: a key that is written anywhere; the runner and the sinks do that.
cryptography is imported by the functions that need it, since validating a pipeline does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from scepflow.errors import KeySourceError
from scepflow.options import PathTemplate, Secret
from scepflow.stages import KeySource, Run
from scepflow_bundled.input_files import describe_content, is_pem, read_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from scepflow.stages import PrivateKey

__all__ = ["FileKeySource", "GenerateKeySource", "load_private_key"]

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_SAFE_BITS = 2048
_WANTED = "RSA of 2048 bits or more, or EC on P-256, P-384 or P-521"


class GenerateKeySource(KeySource, frozen=True, kw_only=True, tag="generate"):
    """A new private key, made for this enrollment.

        [key]
        use = "generate"
        algorithm = "rsa-3072"

    Attributes:
        algorithm: kind and size of the key; with an EC key a temporary RSA key carries the request (see ``[signer] transport_key``).
    """

    algorithm: Literal["rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384", "ec-p521"] = "rsa-2048"

    def obtain(self, run: Run) -> PrivateKey:  # noqa: ARG002  # a new key depends on nothing of the run
        """Return a new key; it exists in memory only."""
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        family, _, size = self.algorithm.partition("-")
        if family == "rsa":
            return rsa.generate_private_key(public_exponent=65537, key_size=int(size))
        curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
        return ec.generate_private_key(curves[size])


class FileKeySource(KeySource, frozen=True, kw_only=True, tag="file"):
    """The private key in a file, PEM or DER; PKCS#8, PKCS#1 or SEC1, encrypted or not.

        [key]
        use = "file"
        path = "gw1.key"
        passphrase = { file = "gw1.pass" }

    Attributes:
        path: the key file, relative to the pipeline file; text and certificates beside a PEM key do not matter.
        passphrase: secret that decrypts the file; needed only when the key is encrypted.
        min_bits: the fewest bits that an RSA key may have, 1024 to 2048; one of fewer than 2048 can be broken, and a warning says so.
    """

    durable: ClassVar[bool] = True

    path: PathTemplate
    passphrase: Secret | None = None
    min_bits: Annotated[int, msgspec.Meta(ge=1024, le=2048)] = 2048

    def obtain(self, run: Run) -> PrivateKey:
        """Return the key.

        Raises:
            KeySourceError: the file cannot be read, holds no usable key, or the passphrase does not fit.
            OptionError: the passphrase cannot be read.
        """
        passphrase = None if self.passphrase is None else run.reveal(self.passphrase)
        path = run.path(self.path)
        return load_private_key(path, passphrase, min_bits=self.min_bits, warn=run.warn)

    def check(self, run: Run) -> None:
        """Load the key and forget it."""
        self.obtain(run)


def load_private_key(
    path: Path,
    passphrase: str | None = None,
    *,
    min_bits: int = 2048,
    warn: Callable[[str, str], None] = lambda _code, _text: None,
) -> PrivateKey:
    """Return the private key in a file.

    Args:
        path: the file, PEM or DER; PKCS#8, PKCS#1 or SEC1 (RFC 5958, RFC 8017, RFC 5915).
        passphrase: text, used as UTF-8, or None.
        min_bits: the least that an RSA key may have; of one below 2048 ``warn`` is told.
        warn: told a stable code and a sentence when something should be looked at.

    Raises:
        KeySourceError: the file cannot be read, holds no usable key, or the passphrase does not fit.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa

    data = read_input(path, what="key file", error=KeySourceError)
    key = _decode(data, passphrase, path=path, warn=warn)
    mode = path.stat().st_mode
    if mode & 0o066:
        warn("key-permissions", f"the key file {path} is open to other users (mode {mode & 0o777:04o})")
    usable = _usable(key, path, min_bits=min_bits)
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < _SAFE_BITS:
        warn("short-key", f"the RSA key in {path} has {key.key_size} bits, too few to be safe")
    return usable


def _decode(
    data: bytes, passphrase: str | None, *, path: Path, warn: Callable[[str, str], None]
) -> PrivateKeyTypes:
    """Decrypt and parse; cryptography's TypeError means that a passphrase is missing or superfluous."""
    try:
        return _parse(data, passphrase)
    except TypeError:
        if passphrase is None:
            raise KeySourceError(
                f"the key in {path} is encrypted and there is no passphrase",
                hint='give one: passphrase = { file = "…" }',
            ) from None
    except ValueError:
        if passphrase is not None and _is_encrypted(data):
            raise KeySourceError(
                f"cannot decrypt the key in {path}: wrong passphrase, or a damaged file"
            ) from None
        raise _not_a_key(data, path) from None
    warn("passphrase-not-needed", f"the key in {path} is not encrypted; its passphrase was not needed")
    return _decode(data, None, path=path, warn=warn)


def _parse(data: bytes, passphrase: str | None) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load = serialization.load_pem_private_key if is_pem(data) else serialization.load_der_private_key
    try:
        return load(
            data,
            None if passphrase is None else passphrase.encode(),
            # It proves primes, which takes as long as 100 signatures; _belongs_together is enough.
            unsafe_skip_rsa_key_validation=True,
        )
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def _is_encrypted(data: bytes) -> bool:
    """Tell whether a key that did not load with a passphrase needs one at all."""
    try:
        _parse(data, None)
    except TypeError:
        return True
    except ValueError:
        return False
    return False  # pragma: no cover  # such a key loads in the first place


def _not_a_key(data: bytes, path: Path) -> KeySourceError:
    """Say what the file holds instead."""
    hint = f"a private key is wanted: {_WANTED}, in PKCS#8, PKCS#1 or SEC1"
    if b"BEGIN OPENSSH PRIVATE KEY" in data:
        hint = "convert a copy: ssh-keygen -p -m PKCS8 -f FILE"
    return KeySourceError(f"no private key can be read from {path} ({describe_content(data)})", hint=hint)


def _usable(key: PrivateKeyTypes, path: Path, *, min_bits: int) -> PrivateKey:
    """Return the key if SCEP's servers can work with it."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPrivateKey):
        return _usable_rsa(key, path, min_bits=min_bits)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.name in _CURVES:
            return key
        found = f"an EC key on {key.curve.name}"
    else:
        found = f"of the kind {type(key).__name__.removesuffix('PrivateKey')}"
    raise KeySourceError(f"the key in {path} is {found}, which cannot be used", hint=f"use {_WANTED}")


def _usable_rsa(key: rsa.RSAPrivateKey, path: Path, *, min_bits: int) -> rsa.RSAPrivateKey:
    if key.key_size < min_bits:
        raise KeySourceError(
            f"the RSA key in {path} has {key.key_size} bits, too few to be safe",
            hint='make one of 2048 bits or more, or let scepflow make it: use = "generate";'
            " min_bits = 1024 takes a short one for once",
        )
    exponent = key.public_key().public_numbers().e
    # OpenSSL refuses longer exponents, and so do most CAs; an even one is no RSA key.
    if exponent % 2 == 0 or exponent < 3 or exponent.bit_length() > 64:
        raise KeySourceError(
            f"the RSA key in {path} has a public exponent that others refuse ({exponent.bit_length()} bits)",
            hint="make a key with exponent 65537",
        )
    if not _belongs_together(key):
        raise KeySourceError(f"the parts of the RSA key in {path} do not belong together")
    return key


def _belongs_together(key: rsa.RSAPrivateKey) -> bool:
    """Tell whether the numbers fit (RFC 8017 §3.2 RSA Private Key) and the public half verifies what the private half signs."""
    from cryptography.exceptions import InternalError, InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    k = key.private_numbers()
    p, q, de = k.p, k.q, k.d * k.public_numbers.e
    fits = p * q == k.public_numbers.n and de % (p - 1) == de % (q - 1) == 1
    if not fits or (k.dmp1, k.dmq1, k.iqmp * q % p) != (k.d % (p - 1), k.d % (q - 1), 1):
        return False
    try:
        signature = key.sign(b"scepflow", padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, b"scepflow", padding.PKCS1v15(), hashes.SHA256())
    except (InternalError, InvalidSignature, ValueError):
        return False
    return True
