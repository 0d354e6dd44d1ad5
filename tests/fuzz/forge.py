"""A CA that signs anything: its keys, what it truly issued, and messages sealed and signed from any parts.

All of it is the same in each process, so that a case is its seed and its number: the
keys come from numbers that anyone can read here. Must never hold: chance.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import CA_USAGE, certify, pin
from mutation import attribute
from replies import NONCE, TRANSACTION_ID

from scepflow.engine import algorithms, asn1, oids, password
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.asn1 import encode, sequence, wrap
from scepflow.engine.identity import SigningIdentity

if TYPE_CHECKING:
    from scepflow.engine.trust import Bundle

CHALLENGE = "open sesame, forty-two times"
CONTENT_KEY = bytes(range(16))
IV = bytes(range(16, 32))
_DETERMINISTIC = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
ECDSA_WITH_SHA256 = sequence(encode(oids.ECDSA_WITH_SHA256))


def fixed_rsa_key(p: int, q: int) -> rsa.RSAPrivateKey:
    """Return the RSA key that has these primes."""
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


_MGF = padding.MGF1(hashes.SHA256())
_BY_SHA256 = (
    wrap(0xA0, Digest.SHA256.identifier()),
    wrap(0xA1, asn1.algorithm_der(oids.MGF1, Digest.SHA256.identifier())),
)
PSS = asn1.algorithm_der(oids.RSASSA_PSS, sequence(*_BY_SHA256, wrap(0xA2, encode(0))))
OAEP = asn1.algorithm_der(oids.RSAES_OAEP, sequence(*_BY_SHA256))


def signature(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, data: bytes, *, pss: bool = False
) -> bytes:
    """Sign, the same way each time."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PSS(_MGF, 0) if pss else padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, _DETERMINISTIC)


def repeatable(
    certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> x509.Certificate:
    """Return a certificate signed anew, if the library drew a number to sign it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return certificate
    return x509.load_der_x509_certificate(signed_value(certificate.tbs_certificate_bytes, key))


def signed_value(tbs: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate or CRL: what is to be signed, and its signature."""
    return sequence(tbs, ECDSA_WITH_SHA256, wrap(0x03, b"\0" + signature(key, tbs)))


class Authority:
    """A CA and a client of it, with all that the CA's messages are made of.

    Attributes:
        ca: signs messages and certificates.
        client: whom it issued a certificate for; it has an RSA key.
        bundle: the CA, pinned.
        key_transport: the RecipientInfo for the client's key.
        by_oaep: the same with OAEP.
        for_password: the RecipientInfo for the challenge.

    Args:
        key: the CA's.
        pss: whether it signs messages with RSASSA-PSS.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, pss: bool = False) -> None:
        client_key = fixed_rsa_key((15 << 1020) + 1627, (7 << 1021) + 309)
        usage = CA_USAGE if isinstance(key, rsa.RSAPrivateKey) else CA_USAGE.replace("key_encipherment ", "")
        self.ca = SigningIdentity(
            repeatable(certify("Test CA", key, ca=True, usage=usage, serial_number=1), key), key
        )
        self.client = SigningIdentity(certify("gw1", client_key, serial_number=2), client_key)
        self.bundle: Bundle = pin(self.ca.certificate)
        rid = asn1.issuer_and_serial_number(self.client.certificate)
        by_rsa = asn1.algorithm_der(oids.RSA_ENCRYPTION)
        self.key_transport = sequence(
            encode(0), rid, by_rsa, encode(_encrypted(client_key, _padded(client_key)))
        )
        self.by_oaep = sequence(
            encode(0), rid, OAEP, encode(_encrypted(client_key, _oaep_padded(client_key)))
        )
        self.for_password = _password_recipient()
        sid = asn1.issuer_and_serial_number(self.ca.certificate)
        self._pss = pss
        algorithm = by_rsa if isinstance(key, rsa.RSAPrivateKey) else ECDSA_WITH_SHA256
        self._signer_head = encode(1) + sid + Digest.SHA256.identifier()
        self._signer_algorithm = PSS if pss else algorithm
        self.ca_der = self.ca.certificate.public_bytes(Encoding.DER)

    def issued(self, subject: str, serial_number: int, **how: object) -> x509.Certificate:
        """Return a certificate for the client's key, signed with the same bytes each time."""
        how = {"ca": False, "usage": "digital_signature", **how}
        key = how.pop("key", self.client.key)
        return repeatable(
            certify(subject, key, issuer=self.ca, serial_number=serial_number, **how), self.ca.key
        )

    def sealed(self, content: bytes, *recipients: bytes) -> bytes:
        """Return content in an envelope, for the client's key unless recipients are given."""
        encrypted = sequence(
            encode(oids.DATA),
            asn1.algorithm_der(Cipher.AES128.oid, encode(IV)),
            wrap(0x80, algorithms.encrypt(Cipher.AES128, CONTENT_KEY, IV, content)),
        )
        infos = wrap(0x31, b"".join(recipients or (self.key_transport,)))
        return _content_info(oids.ENVELOPED_DATA, encode(0) + infos + encrypted)

    def signed(self, attributes: bytes, content: bytes | None, certificates: tuple[bytes, ...] = ()) -> bytes:
        """Return a SignedData with attributes as they are; see `attributes` for right ones."""
        signer = sequence(
            self._signer_head,
            wrap(0xA0, attributes),
            self._signer_algorithm,
            encode(signature(self.ca.key, wrap(0x31, attributes), pss=self._pss)),
        )
        return signed_data(content, certificates, signer)


def _content_info(content_type: object, contents: bytes) -> bytes:
    return sequence(encode(content_type), wrap(0xA0, wrap(0x30, contents)))


def signed_data(
    content: bytes | None, certificates: tuple[bytes, ...] = (), signer: bytes = b"", crls: bytes = b""
) -> bytes:
    """Return a SignedData, certs-only without a signer."""
    return _content_info(
        oids.SIGNED_DATA,
        encode(1)
        + wrap(0x31, Digest.SHA256.identifier() if signer else b"")
        + sequence(encode(oids.DATA), wrap(0xA0, encode(content)) if content is not None else b"")
        + (wrap(0xA0, b"".join(certificates)) if certificates else b"")
        + crls
        + wrap(0x31, signer),
    )


def attributes(content: bytes | None, texts: dict[object, str]) -> bytes:
    """Return the signed attributes of a reply to our request, and texts besides, as they stand in the message."""
    octets = {oids.RECIPIENT_NONCE: NONCE, oids.SENDER_NONCE: b"S" * 16}
    return b"".join(
        sorted(
            [
                attribute(oids.CONTENT_TYPE, encode(oids.DATA)),
                digest_attribute(content),
                *(attribute(oid, wrap(0x13, text.encode())) for oid, text in texts.items()),
                *(attribute(oid, encode(value)) for oid, value in octets.items() if texts),
            ]
        )
    )


def digest_attribute(content: bytes | None) -> bytes:
    return attribute(oids.MESSAGE_DIGEST, encode(Digest.SHA256.of(content or b"")))


def scep(status: str, **more: str) -> dict[object, str]:
    """Return the texts of a CertRep's attributes; ``fail_info="2"`` and ``fail_info_text`` are the others."""
    named = {oids.MESSAGE_TYPE: "3", oids.PKI_STATUS: status, oids.TRANSACTION_ID: TRANSACTION_ID}
    return {**named, **{getattr(oids, name.upper()): text for name, text in more.items()}}


def _encrypted(key: rsa.RSAPrivateKey, padded: bytes) -> bytes:
    """Encrypt what is padded already: the library would draw the padding."""
    numbers = key.public_key().public_numbers()
    return pow(int.from_bytes(padded, "big"), numbers.e, numbers.n).to_bytes(len(padded), "big")


def _padded(key: rsa.RSAPrivateKey) -> bytes:
    """Return the content key padded by RFC 8017 §7.2.1 RSAES-PKCS1-v1_5 Encryption Operation."""
    return b"\0\2" + b"\x55" * (key.key_size // 8 - 3 - len(CONTENT_KEY)) + b"\0" + CONTENT_KEY


def _oaep_padded(key: rsa.RSAPrivateKey) -> bytes:
    """Return the content key padded by RFC 8017 §7.1.1 RSAES-OAEP Encryption Operation, with SHA-256."""
    seed, label_hash = b"seed" * 8, Digest.SHA256.of(b"")
    block = label_hash + bytes(key.key_size // 8 - 2 * 32 - 2 - len(CONTENT_KEY)) + b"\1" + CONTENT_KEY
    masked = _xor(block, seed)
    return b"\0" + _xor(seed, masked) + masked


def _xor(data: bytes, seed: bytes) -> bytes:
    """Mask data by RFC 8017 B.2.1 MGF1."""
    mask = b"".join(Digest.SHA256.of(seed + n.to_bytes(4, "big")) for n in range(len(data) // 32 + 1))
    return bytes(a ^ b for a, b in zip(data, mask, strict=False))


def _password_recipient() -> bytes:
    """Build what `password.build_recipient` does with a single iteration, which costs no time."""
    cipher, salt = password.KEK_CIPHER, b"salt" * 4
    kek = password._derive(CHALLENGE, salt, 1, Digest.SHA256, cipher)
    prf = asn1.algorithm_der(oids.HMAC_SHA256)
    derivation = encode(oids.PBKDF2) + sequence(encode(salt), encode(1), prf)
    return wrap(
        0xA3,
        encode(0)
        + wrap(0xA0, derivation)
        + sequence(encode(oids.PWRI_KEK), asn1.algorithm_der(cipher.oid, encode(IV)))
        + encode(password._wrap_key(CONTENT_KEY, kek, IV, bytes)),
    )


@cache
def ec_authority() -> Authority:
    """Return the CA that signs fast."""
    return Authority(ec.derive_private_key(20260601, ec.SECP256R1()))


@cache
def rsa_authority() -> Authority:
    """Return the CA of the kind that most are."""
    return Authority(fixed_rsa_key((3 << 1022) + 1037, (13 << 1020) + 1125))


@cache
def pss_authority() -> Authority:
    """Return the same CA, signing another way."""
    return Authority(rsa_authority().ca.key, pss=True)
