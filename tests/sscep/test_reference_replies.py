"""Appendix C.9 of sscep's reference: every alteration of a reply, wherever a reply comes, and what a client that checks makes of it.

sscep takes a wrong recipientNonce, the prefix of a transaction id and a messageType that only begins with 3, and
crashes on a certificate; this client does not. It takes text in UTF8String and a reply of the wrong Content-Type, as servers send them.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import certify
from reference_fixtures import answer, in_chunks, new_key, raw_server

from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import MessageType

FAILURE = {"status": "2", "content": None, "certificates": ()}


@cache
def stranger_key():
    return new_key()


def but(**knobs):
    """Return the alteration that sets some of a reply's attributes."""
    return lambda reply: reply.but(**knobs)


def only_its_prefix(reply):
    return reply.but(transaction_id=reply.transaction_id[:4])


def as_a_certificate(reply):
    """Return the CA's certificate alone."""
    return reply.signer.certificate.public_bytes(Encoding.DER)


def signed_by_another_key(reply):
    return reply.but(signer=SigningIdentity(reply.signer.certificate, stranger_key()))


def signed_by_a_stranger(reply):
    """The stranger's certificate comes with the reply, as the CA's would."""
    stranger = SigningIdentity(certify("Stranger", stranger_key()), stranger_key())
    return reply.but(signer=stranger, certificates=(stranger.certificate,))


WRONG_NONCE = "corrupted nonce received"
WRONG_TRANSACTION = "transaction id mismatch"
WRONG_TYPE = "wrong message type in reply"
WRONG_STATUS = "wrong pkistatus in reply"
WRONG_SIGNATURE = "error verifying signature"
NO_REASON = "cannot find failInfo"
NO_PAYLOAD = "illegal size of payload"
NO_PKCS7 = "error reading PKCS#7 data"
ROWS = {
    "recipient-nonce-different": (but(recipient_nonce=b"x" * 16), 97, WRONG_NONCE),  # sscep: 0
    "recipient-nonce-missing": (but(recipient_nonce=None), 97, WRONG_NONCE),
    "sender-nonce-missing": (but(sender_nonce=None), 0, ""),
    "transaction-id-prefix": (only_its_prefix, 97, WRONG_TRANSACTION),  # sscep: 0
    "transaction-id-other": (but(transaction_id="OTHER"), 97, WRONG_TRANSACTION),
    "transaction-id-missing": (but(transaction_id=None), 97, WRONG_TRANSACTION),
    "message-type-19": (but(message_type="19"), 97, WRONG_TYPE),
    "message-type-3x": (but(message_type="3x"), 97, WRONG_TYPE),  # sscep: 0
    "message-type-missing": (but(message_type=None), 97, WRONG_TYPE),
    "status-7": (but(status="7"), 97, WRONG_STATUS),
    "status-missing": (but(status=None), 97, WRONG_STATUS),
    "texts-as-utf8string": (but(text_tag=0x0C), 0, ""),  # sscep: 97
    "failure-without-reason": (but(**FAILURE), 97, NO_REASON),
    "failure-5": (but(**FAILURE, fail_info="5"), 97, "wrong failInfo in reply"),
    "failure-x": (but(**FAILURE, fail_info="x"), 97, NO_REASON),  # sscep: 70
    "no-certificates": (but(certificates=()), 0, ""),
    "signed-by-another-key": (signed_by_another_key, 97, WRONG_SIGNATURE),
    "signed-by-a-stranger": (signed_by_a_stranger, 97, WRONG_SIGNATURE),
    "success-and-empty-content": (but(content=b""), 97, NO_PAYLOAD),
    "success-without-content": (but(content=None), 97, NO_PAYLOAD),
    "pending-with-content": (but(status="3"), 3, ""),
    "pending-with-one-byte": (but(status="3", content=b"\0"), 3, ""),  # NDES
    "empty-body": (lambda _reply: b"", 97, NO_PKCS7),
    "certificate-instead-of-pkcs7": (as_a_certificate, 97, NO_PKCS7),  # sscep: 139
}
"""An alteration, the exit code of a client that checks, and its first complaint; sscep's own code where it is another one."""


def enroll(script):
    """The answer to the request itself."""
    return script.enroll("-n", "0")


def poll(script):
    """The answer to the poll; the one before it is left as it is, and says PENDING."""
    return script.enroll("-t", "0", "-n", "1")


def resume(script):
    """The answer to the poll that another command begins with."""
    return script.enroll("-R", "-n", "1")


def getcert(script):
    return script.ask("getcert")


def getcrl(script):
    return script.ask("getcrl")


class State(NamedTuple):
    """Where in its work a client is when the reply comes."""

    command: Callable
    message_type: MessageType
    output: str


STATES = {
    "enroll": State(enroll, MessageType.PKCS_REQ, "local.crt"),
    "poll": State(poll, MessageType.CERT_POLL, "local.crt"),
    "resume": State(resume, MessageType.CERT_POLL, "local.crt"),
    "getcert": State(getcert, MessageType.GET_CERT, "out.pem"),
    "getcrl": State(getcrl, MessageType.GET_CRL, "out.pem"),
}


@pytest.fixture(params=STATES)
def state(request, start, plain_authority):
    """A client that is about to have its reply altered, in each state that takes one."""
    name = request.param
    script = start(plain_authority, pending=1 if name in ("poll", "resume") else 0)
    script.write("ca.crt", plain_authority.ca.certificate)
    if name == "resume":
        assert script.enroll("-n", "0").code == 3
        script.ca.forget()
    elif name in ("getcert", "getcrl"):
        script.enrolled()
    return script, STATES[name]


def alter_the_last(script, state, alter):
    """Alter the answers to the messages of one type only."""

    def changed(reply):
        return alter(reply) if script.ca.types[-1] == state.message_type else reply

    script.ca.alter(changed)


def check(script, state, said, code):
    """Check the exit code, that the reply was asked for, and that only a good one left its file."""
    assert said.code == code, said
    assert script.ca.types[-1] == state.message_type
    assert script.has(state.output) == (code == 0)
    assert not {name for name in script.files() if name.startswith(".")}, "nothing half written is left"
    assert "sscep: valid response from server\n" in said.out
    if code == 3:
        assert said.out.endswith("sscep: pkistatus: PENDING\n")


@pytest.mark.parametrize("row", ROWS)
def test_an_altered_reply_has_the_code_of_a_client_that_checks(row, state):
    script, where = state
    alter, code, complaint = ROWS[row]
    alter_the_last(script, where, alter)
    said = where.command(script)
    check(script, where, said, code)
    assert said.err.split("\n")[0] == (f"sscep: {complaint}" if complaint else "")


def test_a_reply_that_was_only_taken_apart_and_made_again_is_good(state):
    """What the other rows alter is right until they do."""
    script, where = state
    alter_the_last(script, where, lambda reply: reply)
    check(script, where, where.command(script), 0)


# -- what HTTP says around a good reply


@pytest.mark.parametrize(
    "response",
    [
        {"content_type": "text/plain"},  # sscep: 95
        {"content_type": "Application/X-PKI-Message"},  # sscep: 95
        {"content_type": "application/x-pki-message", "status": 500},
        {"content_type": "application/x-pki-message ; charset=utf-8", "status": 404},  # sscep: 95
    ],
    ids=["text-plain", "upper-case", "status-500", "blank-and-status-404"],
)
def test_a_good_reply_is_taken_whatever_http_says_of_it(response, state):
    script, where = state

    def changed(good):
        return answer(good.body, **response) if script.ca.types[-1] == where.message_type else good

    script.ca.changes["PKIOperation"] = changed
    check(script, where, where.command(script), 0)


def test_a_good_reply_in_chunks_is_taken(state):
    script, where = state
    with raw_server(script.ca.handle, PKIOperation=in_chunks) as url:
        script.url = url
        check(script, where, where.command(script), 0)


@pytest.mark.parametrize("body", [b"\x30\x00", b"\x30\x80" * 40, b"<html>", b"\x30\x82\xff\xff" + b"\0" * 40])
def test_a_body_that_is_no_message_is_refused(body, state):
    script, where = state
    alter_the_last(script, where, lambda _reply: body)
    check(script, where, where.command(script), 97)


@pytest.mark.parametrize("row", [name for name, (_, code, _) in ROWS.items() if code == 97])
def test_a_reply_that_fails_a_check_is_no_reason_to_poll(row, script):
    script.ca.alter(ROWS[row][0])
    assert script.enroll("-t", "1", "-n", "3").code == 97
    assert (script.ca.types, script.slept_s) == ([19], [])


@pytest.mark.parametrize("row", ["pending-with-content", "pending-with-one-byte"])
def test_pending_is_polled_for_whatever_comes_with_it(row, script):
    script.ca.alter(ROWS[row][0])
    assert script.enroll("-t", "1", "-n", "2").code == 3
    assert (script.ca.types, script.slept_s) == ([19, 20, 20], [1, 1])
