"""Each limit at its edge: what is as long as allowed passes, one more is refused by a clear error.

Those of a transport (deadlines, redirects, header fields, Retry-After) are shown in tests/bundled/test_transports.py.
"""

import ast
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import NOW, certify, pin
from replies import (
    NONCE,
    Reply,
    algorithm,
    attribute,
    envelope,
    issued_reply,
    key_transport_info,
    seq,
    signed_data,
    to_ber,
)
from test_password import recipient

import scepflow.engine
from scepflow.engine import (
    algorithms,
    asn1,
    attributes,
    ber,
    capabilities,
    channel,
    cms,
    envelopes,
    oids,
    password,
    queries,
    strength,
    trust,
)
from scepflow.engine.channel import Message
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType
from scepflow.errors import ProtocolError, ScepflowError, TrustError
from scepflow.transaction import LONGEST_DELAY_S
from scepflow_bundled import http_connection
from scepflow_bundled.pollers import BackoffPoller, FixedPoller
from scepflow_bundled.transports import DirectTransport

LIMITS = {
    "algorithms.MAX_PSS_SALT_BYTES": 64,
    "algorithms.MAX_RSA_BITS": 16384,
    "algorithms.MAX_RSA_EXPONENT_BITS": 64,
    "algorithms.MIN_RSA_BITS": 1024,
    "attributes.MAX_TEXT_BYTES": 1024,
    "ber.MAX_BYTES": 16 << 20,
    "ber.MAX_DEPTH": 32,
    "ber.MAX_ELEMENTS": 100_000,
    "ber.MAX_LENGTH_OCTETS": 4,
    "capabilities.MAX_BYTES": 64 << 10,
    "capabilities.MAX_LINES": 1000,
    "channel.MAX_CRL_REPLY_BYTES": 16 << 20,
    "channel.MAX_REPLY_BYTES": 1 << 20,
    "cms.MAX_ATTRIBUTES": 64,
    "cms.MAX_CERTIFICATES": 64,
    "envelopes.MAX_RECIPIENTS": 16,
    "password.MAX_ITERATIONS": 1_500_000,
    "password.MAX_SALT_BYTES": 1024,
    "password.MIN_CHARACTERS": 14,
    "trust.MAX_SHOWN": 10,
}


def constants():
    """Return the engine's limits, and the lines that set them."""
    for file in sorted(Path(scepflow.engine.__file__).parent.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id.removeprefix("_")
                if name.startswith(("MAX_", "MIN_")):
                    yield f"{file.stem}.{name}", text.splitlines()[node.lineno - 1]


def test_the_limits_are_these_and_no_others():
    """A new one needs its line in the table, and its edge below."""
    modules = {module.__name__.rpartition(".")[2]: module for module in ENGINE}
    assert {name for name, _ in constants()} == LIMITS.keys()
    for name, value in LIMITS.items():
        module, _, constant = name.partition(".")
        assert getattr(modules[module], constant) == value, name


ENGINE = (
    algorithms,
    attributes,
    ber,
    capabilities,
    channel,
    cms,
    envelopes,
    password,
    strength,
    trust,
)


def test_each_limit_has_its_reason_beside_it():
    bare = [name for name, line in constants() if "  # " not in line]
    assert bare == []


def test_times_and_counts_of_the_bundled_stages_are_these():
    """S-070, S-071, S-072, C-101."""
    transport = DirectTransport()
    times = (transport.timeout, transport.connect_timeout, transport.idle_timeout)
    assert times == (60, 10, 15)
    assert (http_connection.MOST_REDIRECTS, http_connection.LONGEST_RETRY_AFTER_S) == (3, 10)
    assert http_connection.HEADER_BYTES == 64 << 10
    for poller in (FixedPoller(), BackoffPoller()):
        delays_s = list(poller.delays_s())
        assert sum(delays_s) <= 8 * 3600
        assert min(delays_s) == 60
    assert LONGEST_DELAY_S == 366 * 86400


# The edges


def nested(levels):
    return b"\x30\x80" * (levels - 1) + b"\5\0" + b"\0\0" * (levels - 1)


def elements(number):
    return b"\x31\x80" + b"\5\0" * (number - 1) + b"\0\0"


def length_of(octets):
    return b"\x04" + bytes((0x80 | octets,)) + b"\3".rjust(octets, b"\0") + b"abc"


def read_capabilities(body):
    """Read capabilities as a run does: of too long an answer there are none."""
    if not capabilities.parse_capabilities(body).aes:
        raise ProtocolError("no capabilities")


def certificates_in_pem(pki, number):
    text = pki.ca.certificate.public_bytes(Encoding.PEM)
    assert trust.parse_certificates(text * number) == (pki.ca.certificate,)


def signed_attributes(pki, number):
    known = len(Reply(signer=pki.ca, content=None).attributes())
    extra = tuple(attribute(asn1.Oid(f"1.2.3.{n}"), asn1.encode(n)) for n in range(number - known))
    [signer] = cms.parse_signed_data(Reply(signer=pki.ca, content=None, extra=extra).der()).signers
    assert len(signer.attributes) == number


def text_of(pki, size):
    reply = Reply(signer=pki.ca, content=None, transaction_id="x" * size)
    [signer] = cms.parse_signed_data(reply.der()).signers
    assert len(attributes.SignedAttributes(signer).text(oids.TRANSACTION_ID)) == size


def recipients(pki, number):
    info = key_transport_info(pki.client.certificate, b"K" * 16)
    parsed = envelopes.parse_envelope(envelope(b"content", recipient_infos=[info] * number))
    assert len(parsed.recipients) == number


class JudgedError(Exception):
    """The parameters were within bounds, and nothing was derived yet."""


def derived(*, salt=16, rounds=1):
    def judge(*_):
        raise JudgedError

    parameters = seq(asn1.encode(b"s" * salt), asn1.encode(rounds))
    value = recipient(derivation=seq(asn1.encode(oids.PBKDF2), parameters))
    with pytest.raises(JudgedError):
        password.open_recipient(value, "a challenge of some length", judge=judge)


def challenge_of(missing):
    """Ask for a password envelope with a challenge that is shorter by so many characters than the shortest."""
    password.check_password("x" * (password.MIN_CHARACTERS - missing), allowed=True, why="the CA is EC")


def rsa_key(bits=2048, exponent_bits=17):
    exponent = (1 << (exponent_bits - 1)) + 1
    algorithms.check_rsa(rsa.RSAPublicNumbers(exponent, (1 << bits) - 1).public_key())


def pss_salt(pki, size):
    parts = (algorithm(oids.SHA256), algorithm(oids.MGF1, algorithm(oids.SHA256)), asn1.encode(size))
    named = algorithm(oids.RSASSA_PSS, seq(*(asn1.wrap(0xA0 + n, part) for n, part in enumerate(parts))))
    algorithms.verify(
        pki.ca.key.public_key(),
        algorithm=asn1.members(asn1.tlv(named), "AlgorithmIdentifier", tag=b"\x30"),
        digest=algorithms.Digest.SHA256,
        signature=b"s" * 256,
        data=b"data",
    )


EDGES = {
    "algorithms.MAX_PSS_SALT_BYTES": (pss_salt, "salt length out of bounds"),
    "algorithms.MAX_RSA_BITS": (lambda _, n: rsa_key(bits=n), "RSA key of 16385 bits is out of bounds"),
    "algorithms.MAX_RSA_EXPONENT_BITS": (lambda _, n: rsa_key(exponent_bits=n), "out of bounds"),
    "attributes.MAX_TEXT_BYTES": (text_of, "is not a short text"),
    "ber.MAX_BYTES": (
        lambda _, n: ber.normalise(b"\x04\x84" + (n - 6).to_bytes(4, "big") + bytes(n - 6)),
        "16777217 bytes, more than the 16777216 allowed",
    ),
    "ber.MAX_DEPTH": (lambda _, n: ber.normalise(nested(n)), "nested deeper than 32 levels"),
    "ber.MAX_ELEMENTS": (lambda _, n: ber.normalise(elements(n)), "too many elements"),
    "ber.MAX_LENGTH_OCTETS": (lambda _, n: ber.normalise(length_of(n)), "a length of 5 octets"),
    "capabilities.MAX_BYTES": (
        lambda _, n: read_capabilities(b"AES\n" + b"x" * (n - 4)),
        "no capabilities",
    ),
    "capabilities.MAX_LINES": (lambda _, n: read_capabilities(b"AES\n" * n), "no capabilities"),
    "cms.MAX_ATTRIBUTES": (signed_attributes, "more than 64 signed attributes"),
    "cms.MAX_CERTIFICATES": (certificates_in_pem, "more than 64 certificates"),
    "envelopes.MAX_RECIPIENTS": (recipients, "more than 16 recipients"),
    "password.MAX_ITERATIONS": (lambda _, n: derived(rounds=n), "PBKDF2 parameters out of bounds"),
    "password.MAX_SALT_BYTES": (lambda _, n: derived(salt=n), "PBKDF2 parameters out of bounds"),
}


@pytest.mark.parametrize("limit", list(EDGES))
def test_at_the_limit_it_passes_and_one_more_is_refused(pki, limit):
    reach, said = EDGES[limit]
    reach(pki, LIMITS[limit])
    with pytest.raises((ProtocolError, TrustError), match=said) as error:
        reach(pki, LIMITS[limit] + 1)
    assert error.value.exit_code == 5


@pytest.mark.parametrize(
    ("reach", "said"),
    [(challenge_of, "fewer than 14 characters"), (lambda n: rsa_key(bits=1024 - n), "1023 bits is out")],
)
def test_at_the_least_it_passes_and_one_less_is_refused(reach, said):
    reach(0)
    with pytest.raises(TrustError, match=said):
        reach(1)


def test_every_limit_has_its_edge():
    shown_below = {"channel.MAX_REPLY_BYTES", "channel.MAX_CRL_REPLY_BYTES", "trust.MAX_SHOWN"}
    least = {name for name in LIMITS if ".MIN_" in name}
    assert LIMITS.keys() - EDGES.keys() == shown_below | least


# Bytes of an exchange: what a transport must not read is not looked at either, should one bring it


def message(kind):
    return Message(type=kind, transaction_id="x", sender_nonce=NONCE)


def ask(kind, connect, size):
    asked = message(kind)
    http = connect().request(asked, b"content", now=NOW)
    assert http.max_response_bytes == asked.max_reply_bytes
    connect().reply(asked, HttpResponse(status=200, body=b"\x30".ljust(size, b"\0")))


ANSWERS = {
    "CertRep": (1 << 20, partial(ask, MessageType.PKCS_REQ)),
    "CertRep of a poll": (1 << 20, partial(ask, MessageType.CERT_POLL)),
    "CertRep with a CRL": (16 << 20, partial(ask, MessageType.GET_CRL)),
    "GetCACert": (
        1 << 20,
        lambda _, size: queries.parse_ca_cert(HttpResponse(status=200, body=b"x" * size)),
    ),
    "GetNextCACert": (
        1 << 20,
        lambda connect, size: queries.parse_next_ca(
            HttpResponse(status=200, body=b"\x30".ljust(size, b"\0")), bundle=connect().bundle
        ),
    ),
}


@pytest.mark.parametrize("answer", list(ANSWERS))
def test_an_answer_that_is_longer_than_it_may_be_is_not_looked_at(connect, answer):
    """S-031."""
    most, read = ANSWERS[answer]
    with pytest.raises(ProtocolError) as error:
        read(connect, most)  # noise of just this length is noise
    assert "allowed for such an answer" not in error.value.message
    with pytest.raises(ProtocolError, match=f"sent {most + 1} bytes, more than the {most} allowed"):
        read(connect, most + 1)


def test_a_long_answer_in_ber_is_read(pki):
    """A CRL of two megabytes from a CA that writes BER (Q-042)."""
    content = b"c" * (2 << 20)
    reply = to_ber(Reply(signer=pki.ca, content=content).der())
    assert cms.parse_signed_data(reply).content == content
    assert cms.parse_signed_data(signed_data()).content is None


def test_of_many_certificates_ten_are_shown(pki):
    many = [certify(f"CA {n}", pki.client.key, ca=True) for n in range(trust.MAX_SHOWN + 1)]
    for count, more in ((trust.MAX_SHOWN, False), (trust.MAX_SHOWN + 1, True)):
        with pytest.raises(TrustError) as error:
            trust.authenticate(many[:count], now=NOW)
        assert error.value.hint.count("fingerprint") == trust.MAX_SHOWN
        assert ("and 1 more" in error.value.hint) == more


def test_a_reply_with_as_many_certificates_as_allowed_gives_ours(start, pki):
    """S-030: whatever else is in it."""
    others = [certify(f"CA {n}", pki.stranger.key, ca=True) for n in range(cms.MAX_CERTIFICATES)]

    def answered(count):
        reply = issued_reply(pki.ca, pki.client.certificate, pki.issue(), *others[:count])
        return start(bundle=pin(pki.ca.certificate)).receive(
            HttpResponse(status=200, body=reply.der()), now=NOW
        )

    assert answered(cms.MAX_CERTIFICATES - 1).certificate.issuer == pki.ca.certificate.subject
    with pytest.raises(ScepflowError) as error:
        answered(cms.MAX_CERTIFICATES)
    assert error.value.exit_code == 5
