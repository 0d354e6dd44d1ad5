from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from issuing import CHALLENGE, NOW
from replies import (
    NONCE,
    TRANSACTION_ID,
    Reply,
    broken,
    envelope,
    issued_reply,
    random_bytes,
    signed_data,
    to_ber,
)

from scepflow.engine import cms, envelopes, messages
from scepflow.engine.algorithms import Cipher, Digest, Security, choose
from scepflow.engine.capabilities import Capabilities, parse_capabilities
from scepflow.engine.channel import Message
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType, PkiStatus
from scepflow.errors import ProtocolError, ScepflowError, TransportError, TrustError

POLL = Message(type=MessageType.CERT_POLL, transaction_id=TRANSACTION_ID, sender_nonce=NONCE)


def reply_to(channel, reply, *, status=200):
    return channel.reply(POLL, HttpResponse(status=status, body=reply.der()))


def test_a_request_goes_by_post_with_its_media_type(connect):
    """C-093."""
    http_request = connect().request(POLL, b"content", now=NOW)
    assert (http_request.method, http_request.operation) == ("POST", "PKIOperation")
    assert http_request.url == "http://ca.example/scep?operation=PKIOperation"
    assert http_request.headers == {"Content-Type": "application/x-pki-message"}
    assert messages.parse_request(http_request.body).verified


def test_a_request_goes_by_get_in_its_url_where_post_is_not_offered(connect):
    """C-094."""
    http_request = connect(choice=choose(parse_capabilities(b"AES\nSHA-256"))).request(
        POLL, b"content", now=NOW
    )
    assert (http_request.method, http_request.body, http_request.headers) == ("GET", b"", {})
    head, _, message = http_request.url.partition("&message=")
    assert head == "http://ca.example/scep?operation=PKIOperation"
    assert message.startswith("MII")
    assert not set(message) & set("+/= ")


def test_a_request_is_for_the_recipient_and_in_the_algorithms_chosen(connect, pki):
    choice = choose(Capabilities(), digest=Digest.SHA512, cipher=Cipher.AES256, method="POST")
    http_request = connect(bundle=pki.ra_bundle, choice=choice).request(POLL, b"content", now=NOW)
    seen = messages.parse_request(http_request.body)
    assert (seen.message_type, seen.transaction_id, seen.sender_nonce) == (20, TRANSACTION_ID, NONCE)
    assert (seen.digest, seen.envelope.cipher) == (Digest.SHA512, Cipher.AES256)
    assert envelopes.open_envelope(seen.envelope, pki.ra_encryption) == b"content"


@pytest.mark.parametrize(
    ("kind", "limit"), [(MessageType.PKCS_REQ, 1 << 20), (MessageType.GET_CRL, 16 << 20)]
)
def test_the_answer_to_a_request_is_limited_in_size(connect, kind, limit):
    """S-031."""
    message = Message(type=kind, transaction_id=TRANSACTION_ID, sender_nonce=NONCE)
    assert connect().request(message, b"content", now=NOW).max_response_bytes == limit


def test_a_reply_is_checked_and_what_was_found_kept(connect, pki):
    weak = Reply(signer=pki.ca, content=None, status="3", digest=Digest.SHA1)
    cert_rep, checks = reply_to(connect(), weak, status=202)
    assert cert_rep.pki_status is PkiStatus.PENDING
    assert [finding.code for finding in checks.findings] == ["weak-reply"]


def test_policy_and_relaxed_checks_are_the_channels(connect, pki):
    weak = Reply(signer=pki.ca, content=None, status="3", digest=Digest.SHA1, recipient_nonce=None)
    with pytest.raises(TrustError) as error:
        reply_to(connect(security=Security.STRICT), weak)
    assert error.value.check == "algorithms"
    with pytest.raises(TrustError) as error:
        reply_to(connect(), weak)
    assert error.value.check == "recipient-nonce"
    relaxed = connect(security=Security.STRICT, relaxed=frozenset({"algorithms", "recipient-nonce"}))
    _, checks = reply_to(relaxed, weak)
    assert [finding.code for finding in checks.findings] == [
        "relaxed-algorithms",
        "weak-reply",
        "relaxed-recipient-nonce",
    ]


def test_only_the_signers_of_the_bundle_sign(connect, pki):
    by_ra = Reply(signer=pki.ra_signer, content=None, status="3")
    assert reply_to(connect(bundle=pki.ra_bundle), by_ra)
    with pytest.raises(TrustError):
        reply_to(connect(bundle=pki.bundle), by_ra)


def test_an_http_error_is_no_reply(connect):
    with pytest.raises(TransportError):
        connect().reply(POLL, HttpResponse(status=500, body=b"no"))


@pytest.mark.parametrize("status", [400, 500])
def test_an_http_error_names_whom_the_request_was_for_where_there_was_a_choice(connect, pki, status):
    """Q-005."""
    serial = f"{pki.ra_encryption.certificate.serial_number:x}"
    for bundle, named in ((pki.ra_bundle, True), (pki.bundle, False)):
        with pytest.raises(TransportError) as error:
            connect(bundle=bundle).reply(POLL, HttpResponse(status=status, body=b"no"))
        assert (serial in (error.value.hint or "")) is named


def test_an_http_error_that_has_another_reason_does_not(connect, pki):
    with pytest.raises(TransportError) as error:
        connect(bundle=pki.ra_bundle).reply(POLL, HttpResponse(status=404, body=b"no"))
    assert "encrypted for" not in (error.value.hint or "")


def test_an_answer_is_opened(connect, pki):
    leaf = pki.issue()
    channel = connect()
    cert_rep, checks = reply_to(channel, issued_reply(pki.ca, pki.client.certificate, leaf))
    assert channel.open(cert_rep, checks).certificates() == (leaf,)


def test_what_is_in_an_envelope_may_be_ber(connect, pki):
    channel, leaf = connect(), pki.issue()
    sealed = to_ber(envelope(to_ber(cms.build_certs_only([leaf])), recipient=pki.client.certificate))
    cert_rep, checks = reply_to(channel, Reply(signer=pki.ca, content=sealed))
    assert channel.open(cert_rep, checks).certificates() == (leaf,)


@pytest.mark.parametrize("inside", [b"", b"not CMS", b"\x30\x80"])
def test_wrong_content_is_the_same_error_as_a_wrong_key(connect, pki, inside):
    """How far decryption came is nobody's business (S-050)."""
    channel = connect()
    said = set()
    for sealed in (
        envelope(inside, recipient=pki.client.certificate),
        envelope(inside, recipient=pki.client.certificate, key=b"another 16 bytes"),
        envelope(signed_data(certificates=b"\xa0\x02\x30\0"), recipient=pki.client.certificate),
    ):
        cert_rep, checks = reply_to(channel, Reply(signer=pki.ca, content=sealed))
        with pytest.raises(ProtocolError) as error:
            channel.open(cert_rep, checks)
        said.add((error.value.message, error.value.section, error.value.hint))
    assert len(said) == 1


def test_a_bare_certificate_in_an_envelope_does_not_open(connect, pki):
    """Some old server may have sent so (Q-093); nothing that we know of does."""
    channel = connect()
    bare = pki.issue().public_bytes(Encoding.DER)
    sealed = envelope(bare, recipient=pki.client.certificate)
    cert_rep, checks = reply_to(channel, Reply(signer=pki.ca, content=sealed))
    with pytest.raises(ProtocolError, match="does not open"):
        channel.open(cert_rep, checks)


def test_a_cipher_is_judged_before_the_key_is_used(connect, pki):
    """The envelope is for somebody else, and that is not even noticed."""
    channel = connect(security=Security.STRICT)
    reply = issued_reply(pki.ca, pki.stranger.certificate, pki.issue(), cipher=Cipher.DES)
    cert_rep, checks = reply_to(channel, reply)
    with pytest.raises(TrustError) as error:
        channel.open(cert_rep, checks)
    assert error.value.check == "algorithms"


def test_an_envelope_under_a_challenge_opens_with_the_channels(connect, pki):
    reply = issued_reply(pki.ca, pki.ec_client.certificate, pki.issue(), challenge_password=CHALLENGE)
    channel = connect(identity=pki.ec_client, challenge_password=CHALLENGE, password_envelope=True)
    cert_rep, checks = reply_to(channel, reply)
    assert len(channel.open(cert_rep, checks).certificates_der) == 1
    channel = connect(identity=pki.ec_client, challenge_password=CHALLENGE)
    with pytest.raises(ProtocolError, match="not for our certificate"):
        channel.open(cert_rep, checks)


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography on odd names and numbers
def test_whatever_envelope_a_ca_signs_only_our_errors_come_out(connect, pki):
    channel = connect(relaxed=frozenset({"algorithms"}))
    valid = [
        envelopes.build_envelope(
            cms.build_certs_only([pki.ca.certificate]),
            recipient=pki.client.certificate,
            cipher=cipher,
            random_bytes=random_bytes(),
        )
        for cipher in (Cipher.AES256, Cipher.DES)
    ]

    @settings(max_examples=150)
    @given(broken(valid))
    def opens(sealed):
        with suppress(ScepflowError):
            cert_rep, checks = reply_to(channel, Reply(signer=pki.ca, content=sealed))
            channel.open(cert_rep, checks)

    opens()
