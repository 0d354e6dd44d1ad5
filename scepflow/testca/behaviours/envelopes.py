"""What a SUCCESS encrypts and how: strange envelopes, strange contents, and what padding oracles are made of.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine import algorithms, asn1, cms, oids
from scepflow.engine.algorithms import Cipher
from scepflow.engine.asn1 import Oid, encode, wrap
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.shapes import (
    algorithm,
    content_info,
    envelope,
    issuer_and_serial,
    key_transport_info,
    seq,
    signed_data,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.testca.behaviour import Scene
    from scepflow.testca.knobs import Reply

__all__ = ["BEHAVIOURS", "UNOPENED"]

_KEY, _IV = b"K" * 16, b"I" * 16  # what `shapes.envelope` takes for AES-128
_SHA256 = algorithm(oids.SHA256)
_OAEP_SHA1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303  # what NDES uses
_OAEP_SHA256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_OAEP_PARAMETERS = seq(wrap(0xA0, _SHA256), wrap(0xA1, algorithm(oids.MGF1, _SHA256)))
_MOMENT = timedelta(minutes=1)
_UNKNOWN = Oid("1.3.6.1.4.1.1.1")
_AES128_GCM = Oid("2.16.840.1.101.3.4.1.6")
_RC2_CBC = Oid("1.2.840.113549.3.2")
_AUTH_ENVELOPED_DATA = Oid("1.2.840.113549.1.9.16.1.23")


# -- how it is encrypted


def _seal(content: bytes, reply: Reply, _: Scene, **parts: Any) -> bytes:
    return envelope(content, recipient=reply.recipient, **parts)


def _transporting(name: str, summary: str, seal: Callable[[bytes, Reply, Scene], bytes]) -> Behaviour:
    """Return a behaviour of key transport: only an RSA key can get one, others get what they should."""

    def sealed(content: bytes, reply: Reply, scene: Scene) -> bytes | None:
        is_rsa = isinstance(reply.recipient.public_key(), rsa.RSAPublicKey)
        return seal(content, reply, scene) if is_rsa else None

    return Behaviour(name=name, summary=summary, seal=sealed)


def _sealing(name: str, summary: str, **parts: Any) -> Behaviour:
    return _transporting(name, summary, partial(_seal, **parts))


def _to_key_identifier(content: bytes, reply: Reply, _: Scene) -> bytes:
    identifier = x509.SubjectKeyIdentifier.from_public_key(reply.recipient.public_key()).digest
    return envelope(content, recipient=reply.recipient, rid=wrap(0x80, identifier), version=2)


def _to_several(content: bytes, reply: Reply, scene: Scene) -> bytes:
    recipients = (scene.stranger.certificate, reply.recipient)
    return envelope(content, recipient_infos=[key_transport_info(one, _KEY) for one in recipients])


def _to_crowd(content: bytes, reply: Reply, _: Scene) -> bytes:
    return envelope(content, recipient_infos=[key_transport_info(reply.recipient, _KEY)] * 17)


def _to_us_twice(content: bytes, reply: Reply, _: Scene) -> bytes:
    keys = (b"W" * 16, _KEY)
    return envelope(content, recipient_infos=[key_transport_info(reply.recipient, key) for key in keys])


def _to_stranger(content: bytes, _: Reply, scene: Scene) -> bytes:
    return envelope(content, recipient=scene.stranger.certificate)


def _in_pieces(content: bytes, reply: Reply, _: Scene) -> bytes:
    sealed = algorithms.encrypt(Cipher.AES128, _KEY, _IV, content)
    pieces = b"".join(wrap(0x04, sealed[at : at + 1000]) for at in range(0, len(sealed), 1000))
    return envelope(content, recipient=reply.recipient, encrypted_content=wrap(0xA0, pieces))


def _authenticated(content: bytes, reply: Reply, _: Scene) -> bytes:
    enveloped = envelope(content, recipient=reply.recipient)
    return content_info(
        _AUTH_ENVELOPED_DATA, asn1.encode(cms.content_info(enveloped, oids.ENVELOPED_DATA, "it"))
    )


def _slow_password(content: bytes, _: Reply, __: Scene) -> bytes:
    derivation = asn1.Pbkdf2Params(salt=b"salt", iterations=10**9, key_length=None, prf=None)
    kek = seq(encode(Cipher.AES128.oid), encode(_IV))
    info = (
        encode(0),
        wrap(0xA0, encode(oids.PBKDF2) + encode(derivation)),
        algorithm(oids.PWRI_KEK, kek),
        encode(b"W" * 32),
    )
    return envelope(content, recipient_infos=[wrap(0xA3, b"".join(info))], version=3)


def _unsealed(content: bytes, _: Reply, __: Scene) -> bytes:
    return content


# -- what goes wrong behind the lock: nobody may learn how far a client came (S-050, S-051)


def _broken_transport(content: bytes, reply: Reply, _: Scene) -> bytes:
    number = b"\0" + b"\x55" * 255  # what it decrypts to is not padded
    info = seq(encode(0), issuer_and_serial(reply.recipient), algorithm(oids.RSA_ENCRYPTION), encode(number))
    return envelope(content, recipient_infos=[info])


def _garbage(_: bytes, __: Scene) -> bytes:
    return b"\x30\x05no CMS at all"


def _envelope_inside(content: bytes, scene: Scene) -> bytes:
    return envelope(content, recipient=scene.stranger.certificate)


def _certificate_inside(_: bytes, scene: Scene) -> bytes:
    return _issued(scene)[0].public_bytes(Encoding.DER)


def _broken_certificate_inside(_: bytes, __: Scene) -> bytes:
    return signed_data(certificates=wrap(0xA0, seq(b"\x05\0")))


# -- what is inside


def _issued(scene: Scene) -> tuple[x509.Certificate, ...]:
    return scene.reply.certificates if scene.reply else ()


def _holding(certificates: tuple[x509.Certificate, ...], *, content: bytes = b"", crls: bytes = b"") -> bytes:
    """Return a certs-only message whose certificates stand in the order given."""
    ders = b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    return signed_data(content, certificates=wrap(0xA0, ders) if ders else b"", crls=crls)


def _nothing(_: bytes, __: Scene) -> bytes:
    return _holding(())


def _empty_content(_: bytes, scene: Scene) -> bytes:
    return _holding(_issued(scene), content=wrap(0xA0, encode(b"")))


def _leaf_last(_: bytes, scene: Scene) -> bytes:
    return _holding((*scene.authority.bundle(), *_issued(scene)))


def _leaf_first(_: bytes, scene: Scene) -> bytes:
    return _holding((*_issued(scene), *scene.authority.bundle()))


def _leaf_between(_: bytes, scene: Scene) -> bytes:
    return _holding((scene.stranger.certificate, *_issued(scene), *scene.authority.bundle()))


def _only_ca(_: bytes, scene: Scene) -> bytes:
    return _holding(tuple(scene.authority.bundle()))


def _crl_inside(_: bytes, scene: Scene) -> bytes:
    crl = scene.authority.crl(scene.now).public_bytes(Encoding.DER)
    return _holding(_issued(scene), crls=wrap(0xA1, crl))


def _signed_inside(_: bytes, scene: Scene) -> bytes:
    return cms.build_signed_data(
        None,
        attributes=[],
        identity=scene.authority.signing,
        digest=algorithms.Digest.SHA256,
        certificates=_issued(scene),
    )


def _older_too(reply: Reply, scene: Scene) -> Reply:
    """Send a second certificate for the same request, which began a moment before."""
    known = scene.authority.records.transaction(reply.transaction_id)
    if known is None or not reply.certificates:
        return reply
    csr = x509.load_pem_x509_csr(known.csr_pem.encode())
    older = scene.authority.issue(csr, now=scene.now - _MOMENT)
    return replace(reply, certificates=(older, *reply.certificates))


def _old_certificate(reply: Reply, scene: Scene) -> Reply:
    if not reply.certificates or scene.request is None:
        return reply
    return replace(reply, certificates=(scene.request.certificate,))


UNOPENED = (
    _sealing(
        "wrong-key",
        "encrypts with another key than it sends, as if the algorithms were mixed up",
        key=b"W" * 16,
    ),
    _sealing("short-key", "sends a content key of 5 bytes", key=b"short"),
    _sealing("long-key", "sends a content key of 24 bytes for AES-128", key=b"L" * 24),
    _sealing("mislabelled-oaep", "calls its RSAES-OAEP rsaEncryption, as Dogtag does", pad=_OAEP_SHA256),
    _transporting("broken-transport", "sends a content key without padding", _broken_transport),
    _sealing("broken-padding", "sends content without padding", encrypted_content=wrap(0x80, b"\x55" * 64)),
    _sealing("half-block", "sends half a block of content", encrypted_content=wrap(0x80, b"\x55" * 8)),
    _sealing("no-blocks", "sends no content at all in its envelope", encrypted_content=wrap(0x80, b"")),
    Behaviour(name="garbage-inside", summary="encrypts what is no message", content=_garbage),
    Behaviour(name="envelope-inside", summary="encrypts another envelope", content=_envelope_inside),
    Behaviour(
        name="certificate-inside",
        summary="encrypts the certificate alone, without CMS around it",
        content=_certificate_inside,
    ),
    Behaviour(
        name="broken-certificate-inside",
        summary="encrypts a certificate that is none",
        content=_broken_certificate_inside,
    ),
)
"""All that must look the same from outside."""

BEHAVIOURS = (
    _sealing(
        "oaep",
        "sends the content key in RSAES-OAEP with empty parameters, as NDES does",
        key_transport=algorithm(oids.RSAES_OAEP, seq()),
        pad=_OAEP_SHA1,
    ),
    _sealing(
        "oaep-without-parameters",
        "sends the content key in RSAES-OAEP without parameters",
        key_transport=algorithm(oids.RSAES_OAEP, b""),
        pad=_OAEP_SHA1,
    ),
    _sealing(
        "oaep-sha256",
        "sends the content key in RSAES-OAEP with SHA-256",
        key_transport=algorithm(oids.RSAES_OAEP, _OAEP_PARAMETERS),
        pad=_OAEP_SHA256,
    ),
    _sealing(
        "oaep-unknown-digest",
        "sends the content key in RSAES-OAEP with a digest that is none",
        key_transport=algorithm(oids.RSAES_OAEP, seq(wrap(0xA0, algorithm(_UNKNOWN)))),
    ),
    _sealing(
        "bare-key-transport",
        "leaves the parameters of rsaEncryption out, as step-ca does",
        key_transport=algorithm(oids.RSA_ENCRYPTION, b""),
    ),
    _sealing(
        "unknown-key-transport",
        "sends the content key in a way that nobody knows",
        key_transport=algorithm(_UNKNOWN),
    ),
    _sealing("other-envelope-version", "numbers its envelope by another version of CMS", version=2),
    _transporting(
        "recipient-by-key-identifier", "names the client by its key identifier", _to_key_identifier
    ),
    _transporting(
        "several-recipients", "encrypts for others too, and for them first, as step-ca does", _to_several
    ),
    _transporting("crowd", "encrypts for 17 recipients", _to_crowd),
    _transporting("two-keys", "sends the client two content keys, a wrong one first", _to_us_twice),
    Behaviour(name="for-a-stranger", summary="encrypts for somebody else", seal=_to_stranger),
    _transporting("ciphertext-in-pieces", "sends its ciphertext in pieces, as micromdm does", _in_pieces),
    _sealing(
        "gcm",
        "encrypts with AES-GCM in an EnvelopedData, as step-ca can",
        cipher_identifier=algorithm(_AES128_GCM, seq(encode(b"N" * 12), encode(16))),
    ),
    _transporting("authenvelope", "sends an AuthEnvelopedData", _authenticated),
    _sealing(
        "rc2", "encrypts with RC2", cipher_identifier=algorithm(_RC2_CBC, seq(encode(58), encode(b"V" * 8)))
    ),
    _sealing("no-cipher", "names no cipher that there is", cipher_identifier=algorithm(_UNKNOWN, b"")),
    _sealing(
        "short-vector",
        "sends an initialisation vector of 8 bytes for AES",
        cipher_identifier=algorithm(oids.AES128_CBC, encode(b"V" * 8)),
    ),
    _sealing(
        "number-for-vector",
        "sends a number where the initialisation vector should be",
        cipher_identifier=algorithm(oids.AES128_CBC, encode(1)),
    ),
    _sealing(
        "no-vector", "sends no initialisation vector", cipher_identifier=algorithm(oids.AES128_CBC, b"")
    ),
    Behaviour(
        name="endless-derivation",
        summary="encrypts under the challenge, with a thousand million iterations",
        seal=_slow_password,
    ),
    Behaviour(name="not-encrypted", summary="sends what should be encrypted in clear", seal=_unsealed),
    *UNOPENED,
    Behaviour(
        name="nothing-inside",
        summary="says SUCCESS and sends no certificate, as Dogtag does while a person has to approve",
        content=_nothing,
    ),
    Behaviour(name="ca-inside", summary="says SUCCESS and sends its own certificates", content=_only_ca),
    Behaviour(
        name="empty-inner-content",
        summary="puts empty content into the message with the certificates",
        content=_empty_content,
    ),
    Behaviour(
        name="signed-inside", summary="signs the message with the certificates too", content=_signed_inside
    ),
    Behaviour(name="leaf-last", summary="sends the new certificate after its own", content=_leaf_last),
    Behaviour(name="leaf-first", summary="sends the new certificate before its own", content=_leaf_first),
    Behaviour(
        name="leaf-between",
        summary="sends the new certificate between its own and one of somebody else",
        content=_leaf_between,
    ),
    Behaviour(name="crl-inside", summary="sends a CRL with the new certificate", content=_crl_inside),
    Behaviour(
        name="two-certificates",
        summary="sends two certificates for the client's key, the older first",
        reply=_older_too,
    ),
    Behaviour(
        name="old-certificate",
        summary="answers a renewal with the certificate that is to be renewed, as NDES does",
        reply=_old_certificate,
    ),
)
