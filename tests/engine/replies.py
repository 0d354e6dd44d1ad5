"""A CertRep with a knob for everything that servers do and attackers would, and the envelopes inside.

Built by hand, piece by piece: what the engine builds has no such knobs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import strategies as st

from scepflow.engine import algorithms, cms, envelopes, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.asn1 import NULL_DER, certificate_names, encode, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.engine.identity import SigningIdentity

TRANSACTION_ID = "0123456789ABCDEF0123456789ABCDEF"
NONCE = bytes(range(16))


def seq(*parts):
    return wrap(0x30, b"".join(parts))


def algorithm(oid, parameters=NULL_DER):
    """Return an AlgorithmIdentifier; no parameters is ``b""``."""
    return seq(encode(oid), parameters)


def attribute(oid, *values):
    return seq(encode(oid), wrap(0x31, b"".join(values)))


def content_info(content_type, content):
    return seq(encode(content_type), wrap(0xA0, content))


def issuer_and_serial(certificate):
    issuer, serial_number, _ = certificate_names(certificate)
    return seq(issuer, encode(serial_number))


def random_bytes():
    """Return a source of bytes that always gives the same ones."""
    numbers = count(1)
    return lambda size: bytes((next(numbers) * 37 + i) % 256 for i in range(size))


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A CertRep in the making; an attribute whose knob is None is left out."""

    signer: SigningIdentity
    content: bytes | None
    named: x509.Certificate | None = None  # whose issuer and serial number the sid has
    key_identifier: bytes | None = None  # the sid instead
    certificates: tuple[x509.Certificate, ...] = ()
    message_type: str | None = "3"
    status: str | None = "0"
    transaction_id: str | None = TRANSACTION_ID
    recipient_nonce: bytes | None = NONCE
    sender_nonce: bytes | None = b"S" * 16
    fail_info: str | None = None
    fail_info_text: str | None = None
    text_tag: int = 0x13
    content_type: Any = oids.DATA
    signed_content_type: Any = oids.DATA
    hashed: bytes | None = None  # what is hashed instead of the content
    extra: tuple[bytes, ...] = ()  # more signed attributes
    arrange: Callable[[list[bytes]], list[bytes]] = sorted  # the order in the message
    arrange_signed: Callable[[list[bytes]], list[bytes]] | None = None  # the order that is signed
    digest: Digest = Digest.SHA256
    digest_parameters: bytes = NULL_DER
    signature_algorithm: bytes | None = None
    sign: Callable[[bytes], bytes] | None = None
    signatures: int = 1
    unsigned: bytes = b""

    def attributes(self):
        hashed = self.digest.of((self.content or b"") if self.hashed is None else self.hashed)
        texts = {
            oids.MESSAGE_TYPE: self.message_type,
            oids.PKI_STATUS: self.status,
            oids.TRANSACTION_ID: self.transaction_id,
            oids.FAIL_INFO: self.fail_info,
            oids.FAIL_INFO_TEXT: self.fail_info_text,
        }
        octets = {
            oids.RECIPIENT_NONCE: self.recipient_nonce,
            oids.SENDER_NONCE: self.sender_nonce,
            oids.MESSAGE_DIGEST: hashed,
        }
        return [
            *(attribute(o, wrap(self.text_tag, t.encode())) for o, t in texts.items() if t is not None),
            *(attribute(oid, encode(value)) for oid, value in octets.items() if value is not None),
            *([attribute(oids.CONTENT_TYPE, encode(o))] if (o := self.signed_content_type) else []),
            *self.extra,
        ]

    def _signature(self, data):
        if self.sign:
            return self.sign(data)
        if isinstance(self.signer.key, ec.EllipticCurvePrivateKey):
            return self.signer.key.sign(data, ec.ECDSA(self.digest.hash()))
        return self.signer.key.sign(data, padding.PKCS1v15(), self.digest.hash())

    def _signer_info(self):
        attributes = self.arrange(self.attributes())
        signed = (self.arrange_signed or self.arrange)(self.attributes())
        rsa = algorithm(oids.RSA_ENCRYPTION)
        by_default = rsa if not isinstance(self.signer.key, ec.EllipticCurvePrivateKey) else None
        return seq(
            encode(1),
            wrap(0x80, self.key_identifier)
            if self.key_identifier is not None
            else issuer_and_serial(self.named or self.signer.certificate),
            algorithm(self.digest.oid, self.digest_parameters),
            wrap(0xA0, b"".join(attributes)) if attributes else b"",
            self.signature_algorithm or by_default or algorithm(oids.ECDSA_WITH_SHA256, b""),
            encode(self._signature(wrap(0x31, b"".join(signed)))),
            self.unsigned,
        )

    def der(self):
        certificates = [certificate.public_bytes(Encoding.DER) for certificate in self.certificates]
        return signed_data(
            b"" if self.content is None else wrap(0xA0, encode(self.content)),
            content_type=self.content_type,
            certificates=wrap(0xA0, b"".join(certificates)) if certificates else b"",
            signer_infos=[self._signer_info()] * self.signatures,
        )

    def but(self, **knobs):
        return replace(self, **knobs)


def signed_data(content=b"", *, content_type=oids.DATA, certificates=b"", crls=b"", signer_infos=()):
    """Return a ContentInfo with a SignedData of the parts as they are."""
    return content_info(
        oids.SIGNED_DATA,
        seq(
            encode(1),
            wrap(0x31, algorithm(oids.SHA256) if signer_infos else b""),
            seq(encode(content_type), content),
            certificates,
            crls,
            wrap(0x31, b"".join(signer_infos)),
        ),
    )


def issued_reply(signer, client, *delivered, **knobs):
    """Return a SUCCESS in which certificates come to a client."""
    sealed = envelopes.build_envelope(
        cms.build_certs_only(delivered),
        recipient=client,
        cipher=knobs.pop("cipher", Cipher.AES128),
        random_bytes=random_bytes(),
        challenge_password=knobs.pop("challenge_password", None),
    )
    return Reply(signer=signer, content=sealed, **{"certificates": (signer.certificate,), **knobs})


def envelope(
    content,
    *,
    recipient=None,
    rid=None,
    key_transport=None,
    pad=None,
    cipher=Cipher.AES128,
    key=None,
    iv=None,
    cipher_identifier=None,
    encrypted_content=None,
    recipient_infos=None,
):
    """Return a ContentInfo with an EnvelopedData of the parts as they are, made by default."""
    key = b"K" * cipher.key_bytes if key is None else key
    iv = b"I" * cipher.block_bytes if iv is None else iv
    if recipient_infos is None:
        recipient_infos = [key_transport_info(recipient, key, rid=rid, identifier=key_transport, pad=pad)]
    if encrypted_content is None:
        encrypted_content = wrap(0x80, algorithms.encrypt(cipher, b"K" * cipher.key_bytes, iv, content))
    identifier = cipher_identifier or algorithm(cipher.oid, encode(iv))
    return content_info(
        oids.ENVELOPED_DATA,
        seq(
            encode(0),
            wrap(0x31, b"".join(recipient_infos)),
            seq(encode(oids.DATA), identifier, encrypted_content),
        ),
    )


def key_transport_info(recipient, key, *, rid=None, identifier=None, pad=None):
    return seq(
        encode(0),
        rid or issuer_and_serial(recipient),
        identifier or algorithm(oids.RSA_ENCRYPTION),
        encode(recipient.public_key().encrypt(key, pad or padding.PKCS1v15())),
    )


def to_ber(der):
    """Return a DER value as BouncyCastle would write it: indefinite lengths, octet strings in pieces (Q-042)."""
    return b"".join(map(_ber_element, _elements(der)))


def _elements(data):
    while data:
        size, header = data[1], 2
        if size >= 0x80:
            header += size & 0x7F
            size = int.from_bytes(data[2:header], "big")
        yield data[0], data[header : header + size]
        data = data[header + size :]


def _ber_element(element):
    tag, content = element
    if tag & 0x20:
        return bytes((tag, 0x80)) + to_ber(content) + b"\0\0"
    if tag in (0x04, 0x80) and len(content) > 1:
        pieces = wrap(0x04, content[:1]) + wrap(0x04, content[1:])
        return bytes((tag | 0x20, 0x80)) + pieces + b"\0\0"
    return wrap(tag, content)


def _tree(der):
    return [[tag, _tree(content) if tag & 0x20 else content] for tag, content in _elements(der)]


def _places(tree):
    for at, (_, content) in enumerate(tree):
        yield tree, at
        if isinstance(content, list):
            yield from _places(content)


def _encode(tree):
    return b"".join(wrap(tag, _encode(c) if isinstance(c, list) else c) for tag, c in tree)


@st.composite
def altered(draw, valid):
    """Draw a message with right lengths, but some of its elements gone, doubled, emptied, retagged or changed."""
    tree = _tree(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree))
        if not places:
            break
        siblings, at = places[draw(st.integers(0, len(places) - 1))]
        tag, content = siblings[at]
        match draw(st.sampled_from(("drop", "double", "empty", "retag", "change", "swap"))):
            case "drop":
                del siblings[at]
            case "double":
                siblings.insert(at, siblings[at])
            case "empty":
                siblings[at] = [tag, b""]
            case "retag":
                siblings[at] = [draw(st.integers(0, 255)), content]
            case "change":
                siblings[at] = [tag, draw(st.binary(max_size=20))]
            case "swap":
                siblings[at], siblings[0] = siblings[0], siblings[at]
    return _encode(tree)


@st.composite
def damaged(draw, valid):
    """Draw a message of which some bytes were changed, taken out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(1, 12))
        match draw(st.sampled_from(("flip", "delete", "double", "insert", "cut"))):
            case "flip":
                data[at : at + 1] = bytes(b ^ 1 << draw(st.integers(0, 7)) for b in data[at : at + 1])
            case "delete":
                del data[at : at + size]
            case "double":
                data[at:at] = data[at : at + size]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "cut":
                del data[at:]
    return bytes(data)


def broken(valid):
    """Draw any bytes, most of them once a valid message."""
    return st.one_of(st.binary(max_size=64), damaged(valid), altered(valid))
