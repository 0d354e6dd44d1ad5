"""``scepflow decode``: a tree or one JSON document, and secrets only on request."""

import json
import os
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from scepflow.engine import cms, envelopes, messages, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.exchange import HttpRequest
from scepflow.engine.identity import SigningIdentity
from scepflow.testca import Authority, Responder

CHALLENGE = "hush-hush-42"
NOW = datetime.now(UTC)


def self_signed(key):
    name = x509.Name.from_rfc4514_string("CN=gw1")
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 7, NOW - timedelta(days=1), NOW + timedelta(1)
    )
    return SigningIdentity(builder.sign(key, SHA256()), key)


@pytest.fixture
def exchange(folder, current_authority, _device_key):
    """A request and the reply to it, in request.der and reply.der, with the keys and certificates."""
    identity = self_signed(_device_key)
    csr = x509.CertificateSigningRequestBuilder(identity.certificate.subject).add_attribute(
        oids.CHALLENGE_PASSWORD, CHALLENGE.encode()
    )
    sealed = envelopes.build_envelope(
        csr.sign(_device_key, SHA256()).public_bytes(Encoding.DER),
        recipient=current_authority.certificate,
        cipher=Cipher.AES128,
        random_bytes=secrets.token_bytes,
    )
    request = messages.build_request(
        messages.MessageType.PKCS_REQ,
        sealed,
        transaction_id="T1",
        sender_nonce=b"N" * 16,
        identity=identity,
        digest=Digest.SHA256,
        signing_time=NOW,
    )
    http = HttpRequest(
        method="POST",
        operation="PKIOperation",
        url="http://x/scep?operation=PKIOperation",
        headers={"Content-Type": "application/x-pki-message"},
        body=request,
        max_response_bytes=1 << 20,
    )
    reply = Responder(Authority(current_authority.ca)).handle(http).body
    (folder / "request.der").write_bytes(request)
    (folder / "reply.der").write_bytes(reply)
    (folder / "device.pem").write_bytes(identity.certificate.public_bytes(Encoding.PEM))
    ca_key = current_authority.ca.key
    (folder / "ca.key").write_bytes(ca_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def test_a_request_is_shown_as_a_tree_and_its_challenge_is_not(scepflow, exchange):
    said = scepflow("decode", "request.der", "--key", "ca.key")
    assert said.exit_code == 0
    first, *lines = said.stdout.splitlines()
    assert first.startswith("request.der: PKCSReq, a request for a certificate, ")
    assert first.endswith(" bytes, DER")
    assert "  message type    PKCSReq (19)" in lines
    assert "    content: certification request (PKCS#10)" in lines
    assert "      challenge            present, not shown" in lines
    assert CHALLENGE not in said.output
    assert CHALLENGE in scepflow("decode", "request.der", "--key", "ca.key", "--show-secrets").stdout


def test_a_reply_is_verified_and_opened(scepflow, exchange):
    said = scepflow(
        "decode",
        "reply.der",
        "--json",
        "--key",
        "device.key",
        "--certificate",
        "device.pem",
        "--ca",
        "testca/ca.pem",
    )
    assert (said.exit_code, said.stderr) == (0, "")
    document = json.loads(said.stdout)
    assert document["exit_code"] == 0
    assert document["signature"]["authenticated"] is True
    assert document["envelope"]["content"]["certificates"][0]["subject"] == "CN=gw1"


def test_what_was_asked_for_and_cannot_be_had_is_an_error_below_the_tree(scepflow, exchange):
    said = scepflow("decode", "reply.der", "--key", "ca.key")
    assert said.exit_code == 5
    assert "pki status       SUCCESS (0)" in said.stdout
    assert "error: the envelope does not open with this key" in said.stderr
    said = scepflow("decode", "reply.der", "--ca", "device.pem", "--json")
    assert said.exit_code == json.loads(said.stdout)["exit_code"] == 5
    assert "give the CA's answer to GetCACert as --ca" in said.stderr


def test_notes_are_shown(scepflow, folder):
    (folder / "caps.txt").write_text("Renewal\n")
    said = scepflow("decode", "caps.txt")
    assert said.stdout.startswith("caps.txt: capabilities, as GetCACaps answers\n")
    assert "  note  SCEPStandard is missing" in said.stdout


def test_standard_input_is_read(exchange):
    done = subprocess.run(
        [sys.executable, "-m", "scepflow", "decode", "-"],
        input=(exchange / "reply.der").read_bytes(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith(b"standard input: CertRep, a reply: SUCCESS, ")


def test_a_key_with_a_pass_phrase_is_opened_from_a_file(scepflow, exchange):
    key = load_pem_private_key((exchange / "device.key").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame word"))
    (exchange / "locked.key").write_bytes(locked)
    (exchange / "pass").write_text("sesame word\n")
    (exchange / "wrong").write_text("another word\n")
    reply = ("decode", "reply.der", "--key", "locked.key")
    assert scepflow(*reply, "--passphrase-file", "pass").exit_code == 0
    for options, words in (
        ((), "its pass phrase is needed: --passphrase-file"),
        (("--passphrase-file", "wrong"), "or the pass phrase is wrong"),
        (("--passphrase-file", "missing"), "cannot read the secret (file missing): No such file"),
    ):
        said = scepflow(*reply, *options)
        assert said.exit_code == 64
        assert words in " ".join(said.stderr.split())
        assert "another word" not in said.output
    said = scepflow("decode", "reply.der", "--key", "device.key", "--passphrase-file", "pass")
    assert "it has no pass phrase" in said.stderr


def test_files_that_are_not_what_they_should_be_are_usage_errors(scepflow, exchange):
    odd = ed25519.Ed25519PrivateKey.generate()
    (exchange / "odd.key").write_bytes(odd.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    curve = ec.generate_private_key(ec.SECP256R1())
    (exchange / "ec.key").write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for options, words in (
        (("missing.der",), "cannot read missing.der: No such file"),
        (("reply.der", "--key", "reply.der"), "no private key that can be read"),
        (("reply.der", "--key", "odd.key"), "neither an RSA nor an EC key"),
        (("reply.der", "--ca", "device.key"), "--ca: device.key: "),
        (("reply.der", "--certificate", "missing.pem"), "cannot read missing.pem"),
    ):
        said = scepflow("decode", *options)
        assert said.exit_code == 64, options
        assert words in " ".join(said.stderr.split())
    assert scepflow("decode", "reply.der", "--key", "ec.key").exit_code == 5


def test_a_file_that_is_too_large_is_refused(scepflow, folder):
    with (folder / "large").open("wb") as file:
        file.truncate((64 << 20) + 1)  # a hole; takes no room
    said = scepflow("decode", "large")
    assert said.exit_code == 64
    assert "larger than" in said.stderr


def test_what_is_nothing_of_scep_exits_5(scepflow, folder):
    (folder / "page").write_text("<html>hello")
    said = scepflow("decode", "page")
    assert said.exit_code == 5
    assert said.stdout == ""
    assert "a web page" in said.stderr


def test_a_reply_for_a_password_is_opened_by_the_challenge_in_a_file(scepflow, exchange):
    device = self_signed(ec.generate_private_key(ec.SECP256R1()))
    sealed = envelopes.build_envelope(
        cms.build_certs_only([device.certificate]),
        recipient=device.certificate,
        cipher=Cipher.AES128,
        random_bytes=secrets.token_bytes,
        challenge_password=CHALLENGE,
    )
    (exchange / "sealed.der").write_bytes(sealed)
    (exchange / "challenge").write_text(f"{CHALLENGE}\n")
    said = scepflow("decode", "sealed.der", "--challenge-file", "challenge")
    assert said.exit_code == 0
    assert "subject CN=gw1" in " ".join(said.stdout.split())
    assert CHALLENGE not in said.output
    (exchange / "wrong").write_text("another word\n")
    said = scepflow("decode", "sealed.der", "--challenge-file", "wrong")
    assert said.exit_code == 5
    assert "the envelope does not open with this challenge" in said.stderr
    assert "another word" not in said.output
    assert "--challenge-file" in scepflow("decode", "sealed.der", "--key", "device.key").stderr


def test_a_secret_that_cannot_be_used_is_a_usage_error(scepflow, exchange):
    (exchange / "empty").write_text("\n")
    for options, words in (
        (("--challenge-file", "missing"), "--challenge-file: cannot read the secret (file missing)"),
        (("--challenge-file", "empty"), "--challenge-file: the secret (file empty) is empty"),
        (("--passphrase-file", "empty"), "--passphrase-file needs --key."),
    ):
        said = scepflow("decode", "reply.der", *options)
        assert said.exit_code == 64
        assert words in " ".join(said.stderr.split())


VECTORS = Path(
    os.environ.get("SCEPFLOW_VECTORS") or Path(__file__).parents[2].resolve().parent / "shared" / "vectors"
)


@pytest.mark.skipif(
    not VECTORS.is_dir(), reason="set SCEPFLOW_VECTORS to a folder with messages of other programs"
)
def test_every_message_of_another_program_is_shown_as_a_tree_and_as_json(scepflow):
    files = [path for path in VECTORS.iterdir() if path.suffix in {".der", ".p7", ".pem", ".b64"}]
    assert files
    for path in files:
        said = scepflow("decode", path)
        assert (said.exit_code, said.stderr) == (0, ""), path.name
        first = said.stdout.splitlines()[0]
        document = json.loads(scepflow("decode", "--json", path).stdout)
        assert document["exit_code"] == 0
        assert document["signature"]["verdict"] == "right"
        assert f": {document['message_type']['name']}, a {document['kind']}" in first
        assert document["envelope"]["cipher"] in said.stdout


def test_what_cannot_be_read_at_all_is_told_in_json_as_well(scepflow, folder):
    (folder / "r.bin").write_bytes(b"xx")
    said = scepflow("decode", "r.bin", "--json")
    document = json.loads(said.stdout)
    assert said.exit_code == document["exit_code"] == 5
    assert document["error"]["type"] == "ProtocolError"
    assert document["error"]["message"] in said.stderr
    assert scepflow("decode", "r.bin").stdout == ""
