"""What an attacker could learn from how a client fails: nothing behind the lock, and nothing before the signature."""

import json
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from rows import Row, issued
from table import ROWS

from scepflow.engine import trust
from scepflow.engine.algorithms import choose
from scepflow.engine.capabilities import parse_capabilities
from scepflow.engine.channel import Channel
from scepflow.engine.enrollment import Enrollment, Issued
from scepflow.engine.identity import SigningIdentity
from scepflow.errors import ScepflowError
from scepflow.testca import Knobs, Responder
from scepflow.testca.behaviours import behaviours
from scepflow.testca.behaviours.envelopes import UNOPENED
from scepflow.testca.certificates import build_certificate
from scepflow.testing import NOW

BEFORE_DECRYPTION = frozenset(
    {
        "signer",
        "algorithms",
        "content-type",
        "message-digest",
        "signature",
        "message-type",
        "transaction-id",
        "recipient-nonce",
    }
)
UNPROVEN = sorted(
    {
        row.behave
        for row in ROWS
        if row.expected.check in BEFORE_DECRYPTION
        and not (row.ca or row.knobs or row.authority or row.renewal)
    }
    | {
        (name,)
        for name in ("no-signature", "two-signatures", "no-attributes", "two-statuses", "unsigned-status")
    }
)


class CountingKey:
    """A private key that counts how often something is decrypted with it."""

    def __init__(self, key):
        self._key = key
        self.decrypted = 0

    def decrypt(self, ciphertext, padding):
        self.decrypted += 1
        return self._key.decrypt(ciphertext, padding)

    def __getattr__(self, name):
        return getattr(self._key, name)


rsa.RSAPrivateKey.register(CountingKey)


@pytest.fixture
def exchange(authority_of, _device_key):
    """Send a request to a CA that behaves as named, and return what comes of its reply, and the key."""
    authority = authority_of({})
    name = x509.Name.from_rfc4514_string("CN=gw1.example.com")
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(_device_key, hashes.SHA256())
    certificate = build_certificate(
        subject=name,
        public_key=_device_key.public_key(),
        issuer=None,
        issuer_key=_device_key,
        serial=1,
        valid=(NOW, NOW.replace(year=NOW.year + 1)),
        extensions=[],
    )

    def of(*names):
        responder = Responder(authority, Knobs(behave=behaviours(names)), now=lambda: NOW)
        key = CountingKey(_device_key)
        channel = Channel(
            url="http://ca.example/scep",
            bundle=trust.authenticate(
                authority.bundle(), fingerprints=[f"sha256:{authority.fingerprint}"], now=NOW
            ),
            identity=SigningIdentity(certificate, key),
            choice=choose(parse_capabilities(Knobs().capabilities.encode())),
            random_bytes=lambda size: b"r" * size,
        )
        enrollment = Enrollment(channel, csr, transaction_id="0123456789abcdef")
        request = enrollment.next_request(now=NOW, sender_nonce=b"16 bytes of nonce"[:16])
        try:
            return enrollment.receive(responder.handle(request), now=NOW), key
        except ScepflowError as error:
            return error, key

    return of


def test_a_good_reply_is_decrypted_once(exchange):
    outcome, key = exchange()
    assert isinstance(outcome, Issued)
    assert key.decrypted == 1


@pytest.mark.parametrize("names", UNPROVEN, ids="+".join)
def test_the_private_key_is_not_used_for_a_reply_that_fails_a_check(exchange, names):
    outcome, key = exchange(*names)
    assert isinstance(outcome, ScepflowError)
    assert key.decrypted == 0


@pytest.mark.parametrize("name", ["crowd", "for-a-stranger", "gcm", "short-vector", "oaep-unknown-digest"])
def test_the_private_key_is_not_used_where_its_algorithms_are_not_ours(exchange, name):
    outcome, key = exchange(name)
    assert isinstance(outcome, ScepflowError)
    assert key.decrypted == 0


@pytest.mark.parametrize("name", ["two-keys", *(behaviour.name for behaviour in UNOPENED)])
def test_a_reply_that_does_not_open_is_tried_once(exchange, name):
    """No other padding, recipient or key is tried: each try would be an answer (S-050, S-052)."""
    outcome, key = exchange(name)
    assert isinstance(outcome, ScepflowError)
    assert key.decrypted == 1


def test_nothing_tells_what_went_wrong_behind_the_lock(bench_of):
    """Error, hint, exit code, warnings, and what the journal keeps are the same for all of them."""
    bench = bench_of(Row(items=(), behave=(), expected=issued()))
    told = set()
    for behaviour in UNOPENED:
        bench.responder.behave(Knobs(behave=(behaviour,)))
        ran = bench.run(again=True)
        error = ran.error
        told.add(
            (ran.code, type(error), str(error), error.message, error.hint, error.section, *sorted(ran.warned))
        )
    assert len(told) == 1, told
    ((code, *_),) = told
    assert code == 5


def test_what_is_written_of_it_is_the_same_too(bench_of):
    bench = bench_of(Row(items=(), behave=(), expected=issued()))
    events = set()
    for behaviour in UNOPENED:
        bench.responder.behave(Knobs(behave=(behaviour,)))
        ran = bench.run(again=True)
        text = json.dumps([repr(event) for event in ran.events])
        events.add(re.sub(r"transaction_id='[0-9a-f]{32}'|size_bytes=\d+", "", text))
    assert len(events) == 1, events
