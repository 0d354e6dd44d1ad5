"""Digests, ciphers, signatures and key transport by their AlgorithmIdentifiers, and what the policy allows.

Must never hold: a choice made from a reply (replies name algorithms, the
policy accepts or refuses them), or a message that tells bad padding from bad
content (S-050).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import Blowfish, TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import CipherAlgorithm
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from scepflow.engine import asn1, oids
from scepflow.engine.checks import Finding
from scepflow.errors import ProtocolError, TrustError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from scepflow.engine.asn1 import Oid
    from scepflow.engine.capabilities import Capabilities
    from scepflow.engine.checks import Checks

    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

__all__ = ["Choice", "Cipher", "Digest", "Security", "choose", "decrypt", "encrypt", "sign", "verify"]

MIN_RSA_BITS = 1024  # S-007: a smaller modulus can be factored by anyone, so it proves and hides nothing
MAX_RSA_BITS = 16384  # S-026: a larger modulus only costs time, and OpenSSL refuses it
MAX_PSS_SALT_BYTES = 64  # as long as the longest digest
MAX_RSA_EXPONENT_BITS = 64  # S-026: 65537 has 17 bits; a huge exponent makes each use slow


class Security(StrEnum):
    """How much is asked of algorithms: ``[ca] security``."""

    STRICT = "strict"
    DEFAULT = "default"
    LEGACY = "legacy"


class _Digest(NamedTuple):
    oid: Oid
    rsa_oid: Oid
    ec_oid: Oid | None
    hash: Callable[[], hashes.HashAlgorithm]


class Digest(Enum):
    """A message digest; its value is the option's text."""

    SHA256 = "sha-256"
    SHA512 = "sha-512"
    SHA384 = "sha-384"
    SHA224 = "sha-224"
    SHA1 = "sha-1"
    MD5 = "md5"

    @property
    def oid(self) -> Oid:
        """The digest's own OID."""
        return _DIGESTS[self].oid

    def identifier(self) -> bytes:
        """Return the DER of its AlgorithmIdentifier: NULL parameters, absent for SHA-2 (RFC 5754 §2, Q-105)."""
        return asn1.algorithm_der(self.oid, asn1.NULL_DER if self in (Digest.MD5, Digest.SHA1) else None)

    def hash(self) -> hashes.HashAlgorithm:
        """Return the algorithm for `cryptography`."""
        return _DIGESTS[self].hash()

    def of(self, data: bytes) -> bytes:
        """Return the digest of data, 16 to 64 bytes."""
        context = hashes.Hash(self.hash())
        context.update(data)
        return context.finalize()


_DIGESTS = {
    Digest.MD5: _Digest(oids.MD5, oids.MD5_WITH_RSA, None, hashes.MD5),
    Digest.SHA1: _Digest(oids.SHA1, oids.SHA1_WITH_RSA, oids.ECDSA_WITH_SHA1, hashes.SHA1),
    Digest.SHA224: _Digest(oids.SHA224, oids.SHA224_WITH_RSA, oids.ECDSA_WITH_SHA224, hashes.SHA224),
    Digest.SHA256: _Digest(oids.SHA256, oids.SHA256_WITH_RSA, oids.ECDSA_WITH_SHA256, hashes.SHA256),
    Digest.SHA384: _Digest(oids.SHA384, oids.SHA384_WITH_RSA, oids.ECDSA_WITH_SHA384, hashes.SHA384),
    Digest.SHA512: _Digest(oids.SHA512, oids.SHA512_WITH_RSA, oids.ECDSA_WITH_SHA512, hashes.SHA512),
}
_DIGEST_BY_OID = {row.oid: digest for digest, row in _DIGESTS.items()}
_DIGEST_BY_RSA_OID = {row.rsa_oid: digest for digest, row in _DIGESTS.items()}
_DIGEST_BY_EC_OID = {row.ec_oid: digest for digest, row in _DIGESTS.items() if row.ec_oid}


class _Cipher(NamedTuple):
    oid: Oid
    key_bytes: int
    block_bytes: int
    algorithm: Callable[[bytes], CipherAlgorithm]


class Cipher(Enum):
    """A content cipher in CBC mode; its value is the option's text."""

    AES128 = "aes-128-cbc"
    AES192 = "aes-192-cbc"
    AES256 = "aes-256-cbc"
    DES3 = "3des-cbc"
    DES = "des-cbc"
    BLOWFISH = "blowfish-cbc"

    @property
    def oid(self) -> Oid:
        """The cipher's OID."""
        return _CIPHERS[self].oid

    @property
    def key_bytes(self) -> int:
        """Length of the content key: 8 to 32."""
        return _CIPHERS[self].key_bytes

    @property
    def block_bytes(self) -> int:
        """Length of a block and of the initialisation vector: 8 or 16."""
        return _CIPHERS[self].block_bytes

    def context(self, key: bytes, iv: bytes) -> BlockCipher[CBC]:
        """Return the cipher for `cryptography`, set up with key and initialisation vector."""
        return BlockCipher(_CIPHERS[self].algorithm(key), CBC(iv))


_CIPHERS = {
    Cipher.AES128: _Cipher(oids.AES128_CBC, 16, 16, AES),
    Cipher.AES192: _Cipher(oids.AES192_CBC, 24, 16, AES),
    Cipher.AES256: _Cipher(oids.AES256_CBC, 32, 16, AES),
    Cipher.DES3: _Cipher(oids.DES_EDE3_CBC, 24, 8, TripleDES),
    # OpenSSL 3 has no single DES; EDE with three equal keys is the same cipher.
    Cipher.DES: _Cipher(oids.DES_CBC, 8, 8, lambda key: TripleDES(key * 3)),
    Cipher.BLOWFISH: _Cipher(oids.BLOWFISH_CBC, 16, 8, Blowfish),  # as sscep sends it
}
_LEGACY: frozenset[Digest | Cipher | None] = frozenset({Digest.MD5, Cipher.DES, Cipher.BLOWFISH})
_WEAK: frozenset[Digest | Cipher | None] = _LEGACY | frozenset((Digest.SHA1, Cipher.DES3))
_REFUSED_IN_REPLIES: dict[Security, frozenset[Digest | Cipher | None]] = {
    Security.STRICT: _WEAK,
    Security.DEFAULT: frozenset({Digest.MD5, Cipher.BLOWFISH}),  # micromdm and step-ca answer in DES
    Security.LEGACY: frozenset(),
}
_CIPHER_BY_OID = {row.oid: cipher for cipher, row in _CIPHERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a request uses, and what should be said about it."""

    digest: Digest
    cipher: Cipher
    method: Literal["GET", "POST"]
    findings: tuple[Finding, ...] = ()


def choose(
    capabilities: Capabilities,
    *,
    security: Security = Security.DEFAULT,
    digest: Digest | None = None,
    cipher: Cipher | None = None,
    method: Literal["GET", "POST"] | None = None,
) -> Choice:
    """Choose a request's algorithms from what the CA offers (RFC 8894 §3.5.2 CA Capabilities Response Format).

    SHA-256 comes before SHA-512 before SHA-1, AES-128 before 3DES; an explicit
    argument wins. Capabilities are not authenticated, so what they lead to is
    never below 3DES and SHA-1 (S-040).

    Raises:
        TrustError: the policy refuses what was asked for, or what the CA offers.
    """
    if security is Security.STRICT and not (capabilities.aes and capabilities.sha256):
        raise TrustError(
            "the CA offers neither SCEPStandard nor AES with SHA-256, which security = strict demands",
            check="algorithms",
            hint='if this CA is that old, set security = "default" in [ca]',
        )
    digest = digest or (
        Digest.SHA256 if capabilities.sha256 else Digest.SHA512 if capabilities.sha512 else Digest.SHA1
    )
    cipher = cipher or (Cipher.AES128 if capabilities.aes else Cipher.DES3)
    method = method or ("POST" if capabilities.post else "GET")
    legacy = [part for part in (digest, cipher) if part in _LEGACY]
    if legacy and security is not Security.LEGACY:
        raise TrustError(
            f"requests in {_listed(legacy)} need security = legacy",
            check="algorithms",
            hint="leave digest and cipher on auto",
        )
    if security is Security.STRICT and (digest is Digest.SHA1 or cipher is Cipher.DES3):
        raise TrustError("security = strict refuses SHA-1 and 3DES in requests", check="algorithms")
    weak = [part for part in (digest, cipher) if part in _WEAK]
    findings = (
        [Finding("weak-request", f"the request uses {_listed(weak)}: {_reason(capabilities)}")]
        if weak
        else []
    )
    if method == "GET":
        findings.append(
            Finding("get-request", "the request travels in a URL, because the CA does not offer POST")
        )
    return Choice(digest=digest, cipher=cipher, method=method, findings=tuple(findings))


def _reason(capabilities: Capabilities) -> str:
    return (
        "the CA lists no capabilities"
        if not capabilities.names
        else "set by option, or the CA offers nothing better"
    )


def check_reply(digest: Digest, cipher: Cipher | None, security: Security, checks: Checks) -> None:
    """Check a reply's algorithms against the policy (RFC 8894 §2.9 Mandatory-to-Implement Functionality).

    Args:
        digest: the digest that it is signed with.
        cipher: the cipher of its envelope, or None when there is none yet.
        security: the policy.
        checks: makes the check ``algorithms``, and is told of weak ones.

    Raises:
        TrustError: the policy refuses them.
    """
    weak = [part for part in (digest, cipher) if part in _WEAK]
    refused = [part for part in weak if part in _REFUSED_IN_REPLIES[security]]
    checks.require(
        not refused,
        "algorithms",
        f"the reply uses {_listed(refused)}, which security = {security} refuses",
        hint='upgrade the CA, or set security = "legacy" in [ca]' if security is Security.DEFAULT else None,
    )
    if weak:
        checks.note("weak-reply", f"the reply uses {_listed(weak)}")


def _listed(parts: Iterable[Digest | Cipher | None]) -> str:
    return " and ".join(part.value for part in parts if part)


def digest_of(identifier: list[asn1.TLV]) -> Digest:
    """Return the digest that an AlgorithmIdentifier names, parameters NULL or absent (Q-105).

    Raises:
        ProtocolError: not a digest that we know.
    """
    oid, _ = asn1.algorithm_parts(identifier)
    try:
        return _DIGEST_BY_OID[oid]
    except KeyError:
        raise ProtocolError(f"unknown digest algorithm {oid.dotted_string}") from None


def sign(key: PrivateKey, data: bytes, digest: Digest) -> tuple[bytes, bytes]:
    """Return the DER of signatureAlgorithm, and the signature (RFC 8894 §3.2 SCEP pkiMessage).

    PKCS#1 v1.5, the same each time; or ECDSA, which draws its own random number and differs.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        return asn1.algorithm_der(oids.RSA_ENCRYPTION), key.sign(data, padding.PKCS1v15(), digest.hash())
    oid = _DIGESTS[digest].ec_oid
    if oid is None:
        raise TrustError(f"{digest.value} cannot be signed with an EC key", check="algorithms")
    return asn1.algorithm_der(oid, None), key.sign(data, ec.ECDSA(digest.hash()))


def verify(
    public_key: CertificatePublicKeyTypes | None,
    *,
    algorithm: list[asn1.TLV],
    digest: Digest,
    signature: bytes,
    data: bytes,
) -> bool:
    """Tell whether a CMS signature is right.

    Accepts rsaEncryption and shaNWithRSA, whose digest must then be the
    SignerInfo's (Q-106, S-013), RSASSA-PSS with the same digest, and ECDSA.

    Raises:
        ProtocolError: an algorithm that we do not know, or a key that does not fit it.
        TrustError: an RSA key out of bounds (S-026).
    """
    oid, parameters = asn1.algorithm_parts(algorithm)
    try:
        if isinstance(public_key, rsa.RSAPublicKey):
            check_rsa(public_key)
            pad = _rsa_padding(oid, parameters, digest)
            if isinstance(pad, padding.PKCS1v15) and _signs_bare(public_key, signature, digest, data):
                return True
            public_key.verify(signature, data, pad, digest.hash())
        elif isinstance(public_key, ec.EllipticCurvePublicKey):
            if _DIGEST_BY_EC_OID.get(oid) is not digest:
                raise ProtocolError(
                    f"signature algorithm {oid.dotted_string} does not fit the signer's EC key"
                )
            public_key.verify(signature, data, ec.ECDSA(digest.hash()))
        else:
            raise ProtocolError("the signer's key is neither RSA nor EC")
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _signs_bare(public_key: rsa.RSAPublicKey, signature: bytes, digest: Digest, data: bytes) -> bool:
    """Tell whether what is signed is a DigestInfo without the NULL (Q-109); it is compared, not parsed."""
    bare = asn1.sequence(asn1.algorithm_der(digest.oid, None), asn1.encode(digest.of(data)))
    return public_key.recover_data_from_signature(signature, padding.PKCS1v15(), None) == bare


def check_rsa(public_key: rsa.RSAPublicKey, whose: str = "signer's") -> None:
    """Refuse an RSA key whose use costs too much or proves nothing, whatever is relaxed; raises TrustError."""
    if not in_bounds(public_key):
        raise TrustError(
            f"the {whose} RSA key of {public_key.key_size} bits is out of bounds", check="algorithms"
        )


def in_bounds(public_key: rsa.RSAPublicKey) -> bool:
    """Tell whether an RSA key can be used at all (S-007, S-026): 1024 to 16384 bits, an exponent of 64 at most."""
    exponent = public_key.public_numbers().e  # odd and 3 or more, says the library
    return (
        MIN_RSA_BITS <= public_key.key_size <= MAX_RSA_BITS and exponent.bit_length() <= MAX_RSA_EXPONENT_BITS
    )


def _rsa_padding(oid: Oid, parameters: asn1.TLV | None, digest: Digest) -> padding.AsymmetricPadding:
    if oid == oids.RSA_ENCRYPTION or _DIGEST_BY_RSA_OID.get(oid) is digest:
        return padding.PKCS1v15()
    if oid == oids.RSASSA_PSS and parameters is not None:
        return _pss(asn1.parse(parameters, asn1.PssParams, "RSASSA-PSS parameters"), digest)
    raise ProtocolError(
        f"signature algorithm {oid.dotted_string} does not fit {digest.value} and the signer's RSA key"
    )


def _pss(parameters: asn1.PssParams, digest: Digest) -> padding.PSS:
    hashed = digest_of(parameters.hash) if parameters.hash else Digest.SHA1
    if hashed is not digest or _mask_digest(parameters.mask) is not digest:
        raise ProtocolError(f"RSASSA-PSS parameters do not agree with {digest.value}")
    length = 20 if parameters.salt_length is None else parameters.salt_length
    if not 0 <= length <= MAX_PSS_SALT_BYTES:
        raise ProtocolError("RSASSA-PSS salt length out of bounds")  # not the number: it may be endless
    return padding.PSS(padding.MGF1(digest.hash()), length)


def _mask_digest(mask: list[asn1.TLV] | None) -> Digest:
    if mask is None:
        return Digest.SHA1
    oid, parameters = asn1.algorithm_parts(mask)
    if oid != oids.MGF1 or parameters is None:
        raise ProtocolError(f"unknown mask generation function {oid.dotted_string}")
    return digest_of(asn1.members(parameters, "MGF1 parameters", tag=b"\x30"))


def encrypt(cipher: Cipher, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Return the data padded (RFC 5652 §6.3) and encrypted."""
    fill = cipher.block_bytes - len(data) % cipher.block_bytes
    context = cipher.context(key, iv).encryptor()
    return context.update(data + bytes((fill,)) * fill) + context.finalize()


def decrypt(cipher: Cipher, key: bytes, iv: bytes, data: bytes) -> bytes | None:
    """Return the data without its padding, or None for anything wrong at all (S-050, S-051)."""
    if len(key) != cipher.key_bytes or not data or len(data) % cipher.block_bytes:
        return None
    context = cipher.context(key, iv).decryptor()
    padded = context.update(data) + context.finalize()
    fill = padded[-1]
    if not 1 <= fill <= cipher.block_bytes or padded[-fill:] != bytes((fill,)) * fill:
        return None
    return padded[:-fill]


def cipher_of(identifier: list[asn1.TLV]) -> tuple[Cipher, bytes]:
    """Return the cipher and the initialisation vector that an AlgorithmIdentifier names.

    Raises:
        ProtocolError: not a cipher that we read, or a vector of the wrong length (Q-034, Q-110, Q-111).
    """
    oid, parameters = asn1.algorithm_parts(identifier)
    cipher = _CIPHER_BY_OID.get(oid)
    if cipher is None:
        raise ProtocolError(
            f"unknown content cipher {oid.dotted_string}",
            hint="set the CA to AES-128-CBC, which every client reads",
        )
    iv = asn1.parse(parameters, bytes, "initialisation vector") if parameters is not None else b""
    if len(iv) != cipher.block_bytes:
        raise ProtocolError(f"an initialisation vector of {len(iv)} bytes for {cipher.value}")
    return cipher, iv


def key_transport_padding(identifier: list[asn1.TLV]) -> padding.AsymmetricPadding:
    """Return the padding that an envelope's keyEncryptionAlgorithm names: PKCS#1 v1.5 or OAEP (Q-006).

    Raises:
        ProtocolError: neither of them.
    """
    oid, parameters = asn1.algorithm_parts(identifier)
    if oid == oids.RSA_ENCRYPTION:
        return padding.PKCS1v15()
    if oid != oids.RSAES_OAEP:
        raise ProtocolError(f"unknown key transport {oid.dotted_string}")
    if parameters is None:
        hashed = mask = Digest.SHA1
    else:
        oaep = asn1.parse(parameters, asn1.OaepParams, "RSAES-OAEP parameters")
        if oaep.label is not None:
            raise ProtocolError("RSAES-OAEP with a label")
        hashed = digest_of(oaep.hash) if oaep.hash else Digest.SHA1
        mask = _mask_digest(oaep.mask)
    return padding.OAEP(padding.MGF1(mask.hash()), hashed.hash(), None)
