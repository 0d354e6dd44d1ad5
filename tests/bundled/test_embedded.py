from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AttributeOID, NameOID

from scepflow.engine import queries, trust
from scepflow.engine.algorithms import choose
from scepflow.engine.channel import Channel
from scepflow.engine.enrollment import Enrollment, Issued, Pending, Rejected
from scepflow.engine.identity import SigningIdentity
from scepflow.errors import OptionError, TransportError
from scepflow.options import Duration, PathTemplate, Secret
from scepflow.stages import Run
from scepflow_bundled.embedded import EmbeddedTransport

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "http://embedded/scep"


@pytest.fixture
def events():
    return []


@pytest.fixture
def run(tmp_path, events):
    return Run(
        pipeline="demo", directory=tmp_path, now=lambda: NOW, random_bytes=os.urandom, emit=events.append
    )


@pytest.fixture(scope="module")
def identity():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return SigningIdentity(certificate, key)


def make_csr(identity, *, key=None, challenge=None):
    builder = x509.CertificateSigningRequestBuilder().subject_name(identity.certificate.subject)
    if challenge:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    return builder.sign(key or identity.key, hashes.SHA256())


def enroll(connection, run, identity, csr, *, bundle=None):
    """Do what the runner does: ask for the CA, pin its file or take the bundle, send, and poll once."""
    certificates = queries.parse_ca_cert(connection.send(queries.ca_cert_request(URL)))
    capabilities = queries.parse_ca_caps(connection.send(queries.ca_caps_request(URL)))
    anchor = x509.load_pem_x509_certificate(run.path("testca/ca.pem").read_bytes())
    channel = Channel(
        url=URL,
        bundle=trust.authenticate(certificates, anchors=[anchor], now=NOW),
        identity=identity,
        choice=choose(capabilities),
        random_bytes=os.urandom,
    )
    return Enrollment(channel, csr, transaction_id="T1")


def exchange(connection, enrollment):
    request = enrollment.next_request(now=NOW, sender_nonce=os.urandom(16))
    return enrollment.receive(connection.send(request), now=NOW)


def once(stage, run, identity, **csr):
    with stage.connect(run) as connection:
        return exchange(connection, enroll(connection, run, identity, make_csr(identity, **csr)))


def embedded(**options):
    return EmbeddedTransport(directory=PathTemplate("testca"), **options)


def test_the_anchor_stands_in_the_directory_as_soon_as_the_connection_is_open(run):
    with embedded().connect(run):
        assert run.path("testca/ca.pem").exists()


def test_a_certificate_is_issued_that_chains_to_the_anchor(run, identity):
    outcome = once(embedded(lifetime=Duration("2d")), run, identity)
    assert isinstance(outcome, Issued)
    assert outcome.certificate.not_valid_after_utc == NOW + timedelta(days=2)
    anchor = x509.load_pem_x509_certificate(run.path("testca/ca.pem").read_bytes())
    assert outcome.chain == (anchor,)


def test_an_ec_key_with_an_rsa_transport_identity_gets_its_certificate(run, identity):
    key = ec.generate_private_key(ec.SECP256R1())
    outcome = once(embedded(), run, identity, key=key)
    assert outcome.certificate.public_key() == key.public_key()


def test_an_ra_stands_in_for_the_ca(run, identity):
    with embedded(ra=True).connect(run) as connection:
        certificates = queries.parse_ca_cert(connection.send(queries.ca_cert_request(URL)))
        assert len(certificates) == 3
        outcome = exchange(connection, enroll(connection, run, identity, make_csr(identity)))
    assert isinstance(outcome, Issued)


@pytest.mark.parametrize(("brought", "expected"), [("right", Issued), ("wrong", Rejected)])
def test_the_challenge_is_read_from_its_secret(run, identity, brought, expected):
    run.path("challenge").write_text("right\n")
    stage = embedded(challenge=Secret({"file": "challenge"}))
    assert isinstance(once(stage, run, identity, challenge=brought), expected)


def test_a_challenge_that_cannot_be_read_is_the_options_error(run):
    stage = embedded(challenge=Secret({"file": "missing"}))
    with pytest.raises(OptionError, match="file missing"), stage.connect(run):
        pass


def test_a_rejection_has_its_reason_and_words(run, identity):
    outcome = once(embedded(reject="badTime", reject_text="too late"), run, identity)
    assert (outcome.fail_info, outcome.fail_info_text) == (3, "too late")


def test_a_pending_request_is_approved_in_a_later_run(run, identity):
    """Each run opens the CA anew; the transaction waits in the directory."""
    stage = embedded(pending=2)
    with stage.connect(run) as connection:
        enrollment = enroll(connection, run, identity, make_csr(identity))
        assert isinstance(exchange(connection, enrollment), Pending)
    outcomes = []
    for _ in range(2):
        with stage.connect(run) as connection:
            outcomes.append(type(exchange(connection, enrollment)))
    assert outcomes == [Pending, Issued]


def test_without_a_directory_each_run_has_its_own_ca(run, tmp_path):
    seen = []
    for _ in range(2):
        with EmbeddedTransport().connect(run) as connection:
            seen.append(connection.send(queries.ca_cert_request(URL)).body)
    assert seen[0] != seen[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ra", [False, True])
def test_a_rehearsal_without_a_ca_makes_none_on_disk(run, tmp_path, events, ra):
    with embedded(ra=ra).connect(dataclasses.replace(run, rehearsal=True)) as connection:
        certificates = queries.parse_ca_cert(connection.send(queries.ca_cert_request(URL)))
    assert len(certificates) == (3 if ra else 1)
    assert not list(tmp_path.iterdir())
    assert [event.code for event in events] == ["test-ca", "test-ca-missing"]
    assert "testca" in events[1].text


@pytest.mark.parametrize(("kept", "wanted"), [(False, False), (False, True), (True, False), (True, True)])
def test_a_rehearsal_shows_the_ca_of_the_directory_and_changes_nothing_there(run, events, kept, wanted):
    with embedded(ra=kept).connect(run):
        pass
    run.path("testca/.lock").unlink(missing_ok=True)
    anchor = x509.load_pem_x509_certificate(run.path("testca/ca.pem").read_bytes())
    before = {path: path.read_bytes() for path in run.path("testca").rglob("*") if path.is_file()}
    with embedded(ra=wanted).connect(dataclasses.replace(run, rehearsal=True)) as connection:
        certificates = queries.parse_ca_cert(connection.send(queries.ca_cert_request(URL)))
    assert anchor in certificates
    assert len(certificates) == (3 if wanted else 1)
    assert {path: path.read_bytes() for path in run.path("testca").rglob("*") if path.is_file()} == before
    assert {event.code for event in events} == {"test-ca"}


def test_a_rehearsal_finds_a_damaged_directory(run):
    run.path("testca").mkdir()
    for name in ("ca.pem", "ca.key"):
        run.path(f"testca/{name}").write_text("nonsense")
    rehearsal = dataclasses.replace(run, rehearsal=True)
    with pytest.raises(TransportError, match="not the files of a test CA"), embedded().connect(rehearsal):
        pass


def test_every_run_says_that_this_is_no_real_ca(run, events):
    with embedded().connect(run):
        pass
    assert [event.code for event in events] == ["test-ca"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "ca.key").unlink(), "No such file"),
        (lambda folder: (folder / "ca.pem").write_text("nonsense"), "not the files of a test CA"),
    ],
)
def test_a_damaged_directory_is_named_with_what_to_do(run, spoil, reason):
    with embedded().connect(run):
        pass
    spoil(run.path("testca"))
    with pytest.raises(TransportError, match=reason) as caught, embedded().connect(run):
        pass
    assert "testca" in caught.value.message
    assert "remove the directory" in caught.value.hint


def test_options_are_read_from_toml_values():
    stage = msgspec.convert(
        {"use": "embedded", "pending": 3, "ra": True, "reject": "badAlg"}, EmbeddedTransport
    )
    assert (stage.pending, stage.ra, stage.reject) == (3, True, "badAlg")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"use": "embedded", "pending": -1}, EmbeddedTransport)
