"""CertReps of attackers: signed by the wrong one, for the wrong message, or made to overwhelm who reads them.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine import algorithms, oids
from scepflow.engine.algorithms import Digest
from scepflow.engine.asn1 import encode, wrap
from scepflow.engine.identity import SigningIdentity
from scepflow.testca.behaviour import Behaviour, reshaping
from scepflow.testca.behaviours.bundles import signing_client
from scepflow.testca.behaviours.messages import printable, pss
from scepflow.testca.shapes import algorithm, attribute, content_info, seq

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.x509 import Certificate, Name

    from scepflow.testca.behaviour import Scene
    from scepflow.testca.knobs import Reply
    from scepflow.testca.shapes import Shape

__all__ = ["BEHAVIOURS", "strangers_certificate"]


def strangers_certificate(scene: Scene, subject: Name) -> Certificate:
    """Return a certificate that the CA issued to a stranger, as it may to anyone."""
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(scene.stranger.ca.key, hashes.SHA256())
    )
    return scene.authority.issue(csr, now=scene.now)


# -- who signs


def _forge(shape: Shape, scene: Scene) -> Shape:
    return shape.but(signer=SigningIdentity(shape.signer.certificate, scene.stranger.ca.key))


def _be_a_stranger(shape: Shape, scene: Scene, *, carried: bool) -> Shape:
    certificates = (scene.stranger.certificate,) if carried else ()
    return shape.but(signer=scene.stranger.ca, certificates=certificates)


def _be_a_client(shape: Shape, scene: Scene) -> Shape:
    name = x509.Name.from_rfc4514_string("CN=another device")
    certificate = strangers_certificate(scene, name)
    return shape.but(signer=SigningIdentity(certificate, scene.stranger.ca.key), certificates=(certificate,))


def _refuse_as_a_client(shape: Shape, scene: Scene) -> Shape:
    client = signing_client(scene)
    return shape.but(
        signer=client, certificates=(client.certificate,), status="2", fail_info="2", content=None
    )


def _be_an_unlisted_ra(shape: Shape, scene: Scene) -> Shape:
    other = type(scene.authority)(scene.authority.ca)
    other.add_ra(scene.now)
    return shape.but(signer=other.signing, certificates=(other.signing.certificate,))


# -- what is signed


def _sign_content_alone(shape: Shape, _: Scene) -> Shape:
    """Pass signed attributes off as content that was signed without any (S-004)."""
    attributes = wrap(0x31, b"".join(sorted(shape.attributes())))
    signature = algorithms.sign(shape.signer.key, attributes, shape.digest)[1]
    return shape.but(content=attributes, arrange=lambda _: [], sign=lambda _: signature)


def _sign_twice(shape: Shape, _: Scene) -> Shape:
    other = shape.but(content=shape.content, status="2", fail_info="2")
    return shape.but(more_signer_infos=(other.signer_info(),))


def _adding(shape: Shape, _: Scene, *, extra: bytes) -> Shape:
    return shape.but(extra=(*shape.extra, extra))


def _without(shape: Shape, _: Scene, *, oid: x509.ObjectIdentifier) -> Shape:
    """Leave an attribute out, whatever knob it has."""
    start = encode(oid)
    return shape.but(arrange=lambda all_of_them: sorted(a for a in all_of_them if start not in a[:20]))


def _change_content(shape: Shape, _: Scene) -> Shape:
    content = shape.content or b""
    return shape.but(
        content=content[:-1] + bytes((content[-1] ^ 1,)) if content else b"changed", hashed=content
    )


def _in_clear(shape: Shape, scene: Scene) -> Shape:
    issued = scene.reply.certificates if scene.reply else ()
    return shape.but(content=None, certificates=(*issued, *shape.certificates))


def _bare_sequence(shape: Shape, _: Scene) -> Shape:
    """Put the content into [0] as a SEQUENCE, digested as PKCS#7 1.5 does: without tag and length."""
    content = shape.content or b""
    value = content[4:] if content[1:2] == b"\x82" else content[2:]
    return shape.but(wrapped=content, hashed=value)


# -- what it answers


def _other_nonce(reply: Reply, scene: Scene) -> Reply:
    return replace(reply, recipient_nonce=scene.random_bytes(16))


def _cut_nonce(reply: Reply, _: Scene) -> Reply:
    return replace(reply, recipient_nonce=reply.recipient_nonce[:8])


def _lengthen_nonce(reply: Reply, _: Scene) -> Reply:
    return replace(reply, recipient_nonce=reply.recipient_nonce + b"\0")


def _other_transaction(reply: Reply, _: Scene) -> Reply:
    last = "0" if reply.transaction_id[-1] != "0" else "1"
    return replace(reply, transaction_id=reply.transaction_id[:-1] + last)


def _begin_of_transaction(reply: Reply, _: Scene) -> Reply:
    return replace(reply, transaction_id=reply.transaction_id[:8])


def _loud_transaction(reply: Reply, _: Scene) -> Reply:
    return replace(reply, transaction_id=reply.transaction_id.upper())


def _pad_transaction(reply: Reply, _: Scene) -> Reply:
    return replace(reply, transaction_id=f"{reply.transaction_id} ")


def _replay_first(shape: Shape, scene: Scene) -> Shape | bytes:
    return scene.memory.replies[0] if scene.memory.replies else shape


def _reflect(_shape: Shape, scene: Scene) -> bytes:
    return scene.http.body


def _for_another_key(reply: Reply, scene: Scene) -> Reply:
    if not reply.certificates:
        return reply
    return replace(reply, certificates=(strangers_certificate(scene, reply.certificates[0].subject),))


# -- bombs: all are refused by what reads BER, before anything is verified


def _bomb(name: str, summary: str, make: Callable[[], bytes]) -> Behaviour:
    return Behaviour(
        name=f"bomb-{name}", summary=summary, message=lambda _shape, _scene: make(), replaces=True
    )


def _crowded(**parts: bytes) -> bytes:
    certificates, signers = parts.get("certificates", b""), parts.get("signers", b"")
    head = encode(1), wrap(0x31, b""), seq(encode(oids.DATA))
    return content_info(oids.SIGNED_DATA, seq(*head, certificates, wrap(0x31, signers)))


_SIGNED_DATA = encode(oids.SIGNED_DATA)
_BOMBS = (
    _bomb("depth", "nests its reply 20000 levels deep", lambda: b"\x30\x80" * 20_000),
    _bomb("endless", "opens its reply and never ends it", lambda: b"\x30\x80" + _SIGNED_DATA),
    _bomb(
        "length",
        "says that its reply is longer than it is",
        lambda: b"\x30\x84\x7f\xff\xff\xff" + _SIGNED_DATA,
    ),
    _bomb(
        "length-of-length",
        "says that its reply has 2^63 bytes",
        lambda: b"\x30\x88\x80" + b"\0" * 7 + _SIGNED_DATA,
    ),
    _bomb(
        "elements",
        "sends half a million empty sets",
        lambda: content_info(oids.SIGNED_DATA, wrap(0x30, b"\x31\0" * 500_000)),
    ),
    _bomb(
        "name",
        "sends an object identifier of a million bytes",
        lambda: seq(wrap(0x06, b"\x2a" + b"\x81" * 1_000_000 + b"\1")),
    ),
    _bomb(
        "number",
        "numbers its message with an integer of a million bytes",
        lambda: content_info(oids.SIGNED_DATA, seq(wrap(0x02, b"\x7f" * 1_000_000))),
    ),
    _bomb(
        "certificates",
        "sends 10000 certificates that are none",
        lambda: _crowded(certificates=wrap(0xA0, b"\x30\0" * 10_000)),
    ),
    _bomb("signers", "sends 10000 signers that are none", lambda: _crowded(signers=b"\x30\0" * 10_000)),
    Behaviour(
        name="bomb-attributes",
        summary="signs 5000 attributes",
        message=lambda shape, _: shape.but(
            extra=tuple(
                attribute(x509.ObjectIdentifier(f"1.3.6.1.4.1.1.{n}"), encode(n)) for n in range(5000)
            )
        ),
    ),
)

BEHAVIOURS = (
    Behaviour(
        name="forged",
        summary="signs with another key under the CA's issuer and serial number",
        message=_forge,
    ),
    Behaviour(
        name="nocerts",
        summary="signs as a stranger and carries no certificate, for clients that then skip the check",
        message=partial(_be_a_stranger, carried=False),
    ),
    Behaviour(
        name="stranger",
        summary="signs as a stranger and carries the certificate to it",
        message=partial(_be_a_stranger, carried=True),
    ),
    Behaviour(name="badnonce", summary="answers with a recipientNonce that nobody sent", reply=_other_nonce),
    Behaviour(name="badtx", summary="answers another transaction", reply=_other_transaction),
    Behaviour(
        name="prefixtx",
        summary="answers the beginning of the transaction's name, which sscep takes for the whole",
        reply=_begin_of_transaction,
    ),
    Behaviour(name="wrongkey", summary="issues the certificate for another key", reply=_for_another_key),
    Behaviour(
        name="client-signs",
        summary="signs with the certificate of another client of the CA",
        message=_be_a_client,
    ),
    Behaviour(
        name="listed-client-refuses",
        summary="refuses in the name of the client whom rogue-signing-client adds",
        message=_refuse_as_a_client,
    ),
    Behaviour(
        name="unlisted-ra",
        summary="signs with the certificate of an RA that GetCACert does not show",
        message=_be_an_unlisted_ra,
    ),
    reshaping("no-signature", "signs nothing", signatures=0),
    reshaping("two-signatures", "signs twice", signatures=2),
    Behaviour(
        name="two-answers", summary="signs two attributes sets that say different things", message=_sign_twice
    ),
    Behaviour(
        name="no-attributes",
        summary="passes off what it signed as content without attributes",
        message=_sign_content_alone,
    ),
    reshaping(
        "third-order",
        "sends its attributes in one order, and signs them in another, neither sorted",
        arrange=lambda a: sorted(a)[1:] + sorted(a)[:1],
        arrange_signed=lambda a: sorted(a)[2:] + sorted(a)[:2],
    ),
    reshaping(
        "unsigned-status",
        "says SUCCESS only in an attribute that is not signed",
        status=None,
        unsigned=wrap(0xA1, attribute(oids.PKI_STATUS, printable("0"))),
    ),
    Behaviour(
        name="two-statuses",
        summary="signs two attributes pkiStatus",
        message=partial(_adding, extra=attribute(oids.PKI_STATUS, printable("2"))),
    ),
    *(
        Behaviour(name=f"no-{name}", summary=f"leaves out {title}", message=partial(_without, oid=oid))
        for name, title, oid in (
            ("content-type", "contentType, as OpenXPKI did", oids.CONTENT_TYPE),
            ("message-digest", "messageDigest", oids.MESSAGE_DIGEST),
            ("message-type", "messageType", oids.MESSAGE_TYPE),
            ("transaction", "transactionID", oids.TRANSACTION_ID),
            ("recipient-nonce", "recipientNonce", oids.RECIPIENT_NONCE),
        )
    ),
    reshaping(
        "other-content-type",
        "signs another content type than it sends",
        signed_content_type=oids.ENVELOPED_DATA,
    ),
    Behaviour(
        name="changed-content", summary="changes the content after signing it", message=_change_content
    ),
    Behaviour(
        name="bare-sequence",
        summary="sends content that is no OCTET STRING, as PKCS#7 had it",
        message=_bare_sequence,
    ),
    reshaping(
        "other-digest",
        "names one digest for the signer and another for the signature",
        digest=Digest.SHA256,
        signature_algorithm=algorithm(oids.SHA512_WITH_RSA),
        needs_rsa=True,
    ),
    Behaviour(
        name="pss-without-end",
        summary="signs with RSASSA-PSS and a salt longer than any digest",
        message=partial(pss, salt_bytes=65),
        needs_rsa=True,
    ),
    *(
        reshaping(f"type-{name}", f"says that its messageType is {text!r}", message_type=text)
        for name, text in (("18", "18"), ("19", "19"), ("99", "99"), ("blank", "3 "), ("padded", "03"))
    ),
    Behaviour(name="short-nonce", summary="answers with the first 8 bytes of the nonce", reply=_cut_nonce),
    Behaviour(
        name="long-nonce", summary="answers with a nonce that is too long by a byte", reply=_lengthen_nonce
    ),
    reshaping("empty-transaction", "answers a transaction with no name", transaction_id=""),
    Behaviour(
        name="upper-case-transaction",
        summary="writes the transaction's name in capitals",
        reply=_loud_transaction,
    ),
    Behaviour(
        name="padded-transaction",
        summary="puts a blank after the transaction's name",
        reply=_pad_transaction,
    ),
    Behaviour(
        name="replay", summary="sends its first reply again and again", message=_replay_first, replaces=True
    ),
    Behaviour(name="reflection", summary="sends the client's message back", message=_reflect, replaces=True),
    Behaviour(
        name="in-clear", summary="sends the certificate in clear, without an envelope", message=_in_clear
    ),
    Behaviour(
        name="raw-crl",
        summary="sends a CRL as it is, as servers of old drafts did",
        message=lambda _, scene: scene.authority.crl(scene.now).public_bytes(Encoding.DER),
        replaces=True,
    ),
    *_BOMBS,
)
