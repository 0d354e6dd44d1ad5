"""Messages that were made by other programs; they belong to other projects and are never copied into this one."""

import os
from pathlib import Path

import pytest

from scepflow.engine import cms, envelopes, messages, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.attributes import SignedAttributes, named_by, only_signer

FOLDER = Path(
    os.environ.get("SCEPFLOW_VECTORS") or Path(__file__).parents[2].resolve().parent / "shared" / "vectors"
)
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="set SCEPFLOW_VECTORS to a folder with messages of other programs"
)


def read(file):
    path = FOLDER / file
    if not path.is_file():
        pytest.skip(f"{file} is not in {FOLDER}")
    signed = cms.parse_signed_data(path.read_bytes())
    return signed, only_signer(signed)


@pytest.mark.parametrize(
    ("file", "digest", "cipher"),
    [
        ("cryptlib-pkcsreq.der", Digest.SHA256, Cipher.AES128),
        ("cryptlib-certrep-success.der", Digest.SHA256, Cipher.AES128),
        ("apple-pkcsreq-3des.der", Digest.SHA1, Cipher.DES3),
        ("ejbca-bound-pkcsreq-ber.p7", Digest.SHA1, Cipher.DES),
    ],
)
def test_the_message_parses_and_its_signature_verifies(file, digest, cipher):
    signed, signer = read(file)
    certificates = named_by(signer, signed.certificates())
    assert [cms.verify_signature(signer, certificate) for certificate in certificates] == [True]
    attributes = SignedAttributes(signer)
    assert attributes.octets(oids.MESSAGE_DIGEST) == signer.digest.of(signed.content)
    assert attributes.oid(oids.CONTENT_TYPE) == signed.content_type == oids.DATA
    assert (signer.digest, envelopes.parse_envelope(signed.content).cipher) == (digest, cipher)


@pytest.mark.parametrize(
    ("file", "transaction_id", "nonce_bytes"),
    [
        ("cryptlib-pkcsreq.der", "7XXEY-ERLPU-2JDR9", None),
        ("apple-pkcsreq-3des.der", None, 8),
        ("ejbca-bound-pkcsreq-ber.p7", None, None),
    ],
)
def test_the_request_is_read_as_a_responder_reads_it(file, transaction_id, nonce_bytes):
    path = FOLDER / file
    if not path.is_file():
        pytest.skip(f"{file} is not in {FOLDER}")
    seen = messages.parse_request(path.read_bytes())
    assert seen.verified
    assert seen.message_type == messages.MessageType.PKCS_REQ
    assert transaction_id in {None, seen.transaction_id}
    assert nonce_bytes in {None, len(seen.sender_nonce)}


def test_the_reply_says_success_and_echoes_the_nonce():
    signed, signer = read("cryptlib-certrep-success.der")
    attributes = SignedAttributes(signer)
    assert (attributes.text(oids.MESSAGE_TYPE), attributes.text(oids.PKI_STATUS)) == ("3", "0")
    assert attributes.octets(oids.RECIPIENT_NONCE)
    assert attributes.octets(oids.SENDER_NONCE) is None
    assert len(envelopes.parse_envelope(signed.content).recipients) == 1
