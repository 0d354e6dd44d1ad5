"""CertReps that are rightly signed, and encoded as real servers do.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from scepflow.engine import oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.asn1 import NULL_DER, Oid, encode, wrap
from scepflow.testca.behaviour import Behaviour, reshaping
from scepflow.testca.shapes import algorithm, attribute, seq, to_ber

if TYPE_CHECKING:
    from scepflow.testca.behaviour import Scene
    from scepflow.testca.knobs import Reply
    from scepflow.testca.shapes import Shape

__all__ = ["BEHAVIOURS", "printable", "pss"]

_MICROSOFT_STATUS = Oid("1.3.6.1.4.1.311.21.38")
_MICROSOFT_ERROR = Oid("1.3.6.1.4.1.311.21.33")
_RANDOM_NONCE = Oid("1.2.840.113549.1.9.25.3")


def printable(text: str) -> bytes:
    """Return the DER of a PrintableString, whatever is in it."""
    return wrap(0x13, text.encode())


# -- certificates and the signer's name


def _issued_first(shape: Shape, scene: Scene) -> Shape:
    issued = scene.reply.certificates if scene.reply else ()
    return shape.but(certificates=(*issued, *shape.certificates))


def _by_key_identifier(shape: Shape, _: Scene) -> Shape:
    certificate = shape.signer.certificate
    return shape.but(
        key_identifier=x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest,
        signer_version=3,
    )


# -- signed attributes


def _adding(shape: Shape, _: Scene, *, extra: tuple[bytes, ...]) -> Shape:
    return shape.but(extra=(*shape.extra, *extra))


def _microsoft(shape: Shape, scene: Scene) -> Shape:
    if shape.status == "2":
        return _adding(shape, scene, extra=(attribute(_MICROSOFT_ERROR, printable("-2147024809")),))
    return _adding(shape, scene, extra=(attribute(_MICROSOFT_STATUS, wrap(0x0C, b"Issued")),))


def _signing_time(shape: Shape, _: Scene, *, value: bytes) -> Shape:
    """Put another signingTime in the place of the right one, which is all that is extra; ``b""`` for none."""
    return shape.but(extra=(attribute(oids.SIGNING_TIME, value),) if value else ())


def _reversed(attributes: list[bytes]) -> list[bytes]:
    return sorted(attributes, reverse=True)


def _nonce_of(reply: Reply, _: Scene, *, sender_nonce: bytes | None) -> Reply:
    return replace(reply, sender_nonce=sender_nonce)


def _echo_nonce(reply: Reply, _: Scene) -> Reply:
    return replace(reply, sender_nonce=reply.recipient_nonce)


# -- algorithms


def _algorithms(reply: Reply, _: Scene, *, cipher: Cipher, digest: Digest) -> Reply:
    return replace(reply, cipher=cipher, digest=digest)


def pss(shape: Shape, _: Scene, *, salt_bytes: int) -> Shape:
    """Sign with RSASSA-PSS, where the key is RSA."""
    key = shape.signer.key
    if not isinstance(key, rsa.RSAPrivateKey):
        return shape
    digest = shape.digest
    mask = algorithm(oids.MGF1, algorithm(digest.oid))
    parameters = seq(wrap(0xA0, algorithm(digest.oid)), wrap(0xA1, mask), wrap(0xA2, encode(salt_bytes)))
    pss = padding.PSS(padding.MGF1(digest.hash()), salt_bytes)
    return shape.but(
        signature_algorithm=algorithm(oids.RSASSA_PSS, parameters),
        sign=lambda data: key.sign(data, pss, digest.hash()),
    )


def _bare_digest_info(shape: Shape, _: Scene) -> Shape:
    """Sign by hand (RFC 8017 §9.2 EMSA-PKCS1-v1_5): the libraries always write the NULL."""
    key, digest = shape.signer.key, shape.digest
    if not isinstance(key, rsa.RSAPrivateKey):
        return shape

    def sign(data: bytes) -> bytes:
        info = seq(algorithm(digest.oid, b""), encode(digest.of(data)))
        size = key.key_size // 8
        padded = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
        numbers = key.private_numbers()
        return pow(int.from_bytes(padded, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")

    return shape.but(sign=sign)


# -- the whole encoding


def _ber(shape: Shape, _: Scene) -> bytes:
    content = None if shape.content is None else to_ber(shape.content)
    return to_ber(shape.but(content=content).der())


def _ber_content(content: bytes, _: Scene) -> bytes:
    return to_ber(content)


def _followed(shape: Shape, _: Scene, *, after: bytes) -> bytes:
    return shape.der() + after


def _timed(name: str, summary: str, value: bytes) -> Behaviour:
    return Behaviour(name=name, summary=summary, message=partial(_signing_time, value=value))


def _using(name: str, cipher: Cipher, digest: Digest, summary: str) -> Behaviour:
    return Behaviour(
        name=name,
        summary=summary,
        reply=partial(_algorithms, cipher=cipher, digest=digest),
        needs_rsa=digest is Digest.MD5,  # no standard has MD5 with EC keys
    )


BEHAVIOURS = (
    reshaping(
        "no-certificates",
        "leaves all certificates out of its replies, as NDES and Dogtag do",
        certificates=(),
    ),
    Behaviour(
        name="issued-first",
        summary="carries the new certificate before its own in its replies, as step-ca does",
        message=_issued_first,
    ),
    Behaviour(
        name="signer-by-key-identifier",
        summary="names itself by its key identifier",
        message=_by_key_identifier,
    ),
    reshaping("odd-versions", "numbers its messages by other versions of CMS", version=3, signer_version=3),
    Behaviour(
        name="microsoft-attributes",
        summary="adds attributes of Microsoft's, as NDES does",
        message=_microsoft,
    ),
    Behaviour(
        name="random-nonce",
        summary="adds a randomNonce, as cryptlib does",
        message=partial(_adding, extra=(attribute(_RANDOM_NONCE, encode(b"R" * 20)),)),
    ),
    _timed("no-signing-time", "leaves signingTime out", b""),
    _timed(
        "generalized-signing-time", "writes signingTime as GeneralizedTime", wrap(0x18, b"20260102030405Z")
    ),
    _timed(
        "zoned-signing-time",
        "writes signingTime with a time zone, as micromdm did",
        wrap(0x17, b"190910173402-0400"),
    ),
    _timed(
        "broken-signing-time",
        "writes the year of a UTCTime in four digits, as OpenXPKI did",
        wrap(0x17, b"20260102030405Z"),
    ),
    _timed("skewed-signing-time", "lives in the year 1999", wrap(0x17, b"990102030405Z")),
    _timed("text-signing-time", "writes signingTime as a text", wrap(0x0C, b"yesterday")),
    *(
        reshaping(f"{name}-attributes", f"writes its attributes as {kind}", text_tag=tag)
        for name, kind, tag in (
            ("printable", "PrintableString, failInfoText too, as Go does", 0x13),
            ("utf8", "UTF8String", 0x0C),
            ("ia5", "IA5String", 0x16),
            ("teletex", "TeletexString", 0x14),
        )
    ),
    reshaping(
        "unsorted-attributes",
        "sends its attributes out of order, and signs them so, as OpenXPKI did",
        arrange=_reversed,
    ),
    reshaping(
        "unsorted-but-signed-sorted",
        "sends its attributes out of order, and signs them in order",
        arrange=_reversed,
        arrange_signed=sorted,
    ),
    Behaviour(
        name="no-sender-nonce",
        summary="sends no nonce of its own",
        reply=partial(_nonce_of, sender_nonce=None),
    ),
    Behaviour(
        name="short-sender-nonce",
        summary="sends a nonce of 8 bytes, as micromdm did",
        reply=partial(_nonce_of, sender_nonce=b"8 bytes!"),
    ),
    Behaviour(
        name="long-sender-nonce",
        summary="sends a nonce of 20 bytes, as cryptlib does",
        reply=partial(_nonce_of, sender_nonce=b"N" * 20),
    ),
    Behaviour(
        name="echoed-sender-nonce",
        summary="sends the client's nonce as its own, as step-ca does",
        reply=_echo_nonce,
    ),
    _using("des-sha1", Cipher.DES, Digest.SHA1, "answers in single DES and SHA-1, as step-ca does"),
    _using("3des-sha1", Cipher.DES3, Digest.SHA1, "answers in 3DES and SHA-1, as jscep does"),
    _using("3des-md5", Cipher.DES3, Digest.MD5, "signs with MD5, as old EJBCA did"),
    _using("aes192-sha384", Cipher.AES192, Digest.SHA384, "answers in AES-192 and SHA-384"),
    _using("aes256-sha512", Cipher.AES256, Digest.SHA512, "answers in AES-256 and SHA-512"),
    reshaping(
        "no-parameters",
        "leaves the parameters of its algorithms out, as step-ca does",
        digest_parameters=b"",
        signature_algorithm=algorithm(oids.RSA_ENCRYPTION, b""),
        needs_rsa=True,
    ),
    reshaping(
        "null-parameters",
        "writes NULL as the parameters of its algorithms, as NDES does",
        digest_parameters=NULL_DER,
        signature_algorithm=algorithm(oids.RSA_ENCRYPTION, NULL_DER),
        needs_rsa=True,
    ),
    reshaping(
        "sha256-with-rsa",
        "names its signature sha256WithRSAEncryption, as step-ca does",
        digest=Digest.SHA256,
        signature_algorithm=algorithm(oids.SHA256_WITH_RSA, b""),
        needs_rsa=True,
    ),
    Behaviour(
        name="pss", summary="signs with RSASSA-PSS", message=partial(pss, salt_bytes=32), needs_rsa=True
    ),
    Behaviour(
        name="bare-digest-info",
        summary="signs a DigestInfo without the NULL in it",
        message=_bare_digest_info,
        needs_rsa=True,
    ),
    reshaping(
        "enveloped-data-type",
        "says that the content is an EnvelopedData, as xipki does",
        content_type=oids.ENVELOPED_DATA,
        signed_content_type=oids.ENVELOPED_DATA,
    ),
    Behaviour(
        name="ber",
        summary="writes indefinite lengths and strings in pieces, as EJBCA does",
        content=_ber_content,
        message=_ber,
        replaces=True,
    ),
    Behaviour(
        name="line-end-after",
        summary="ends its replies with a line end",
        message=partial(_followed, after=b"\r\n"),
        replaces=True,
    ),
    Behaviour(
        name="data-after",
        summary="puts more data after its replies",
        message=partial(_followed, after=b"0\0"),
        replaces=True,
    ),
)
