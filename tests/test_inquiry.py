"""Questions on a pipeline: what is sent, what is verified, what is said, and that nothing is issued."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from run_fixtures import GivenKey, World, new_authority

from scepflow import inquiry
from scepflow.engine.algorithms import Digest
from scepflow.engine.asn1 import certificate_names
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType, PkiStatus
from scepflow.errors import (
    PendingError,
    ProtocolError,
    RejectedError,
    SignerError,
    TransportError,
    TrustError,
)
from scepflow.options import PathTemplate
from scepflow.stages import CsrBuilder, KeySource, Signer
from scepflow.system import System
from scepflow.testca import Knobs, replying
from scepflow_bundled.signers import ExistingSigner, SelfSignedSigner

GONE = TransportError("the server hung up")


@pytest.fixture(scope="module")
def ra_authority():
    return new_authority(ra=True)


class Untouched(CsrBuilder, KeySource, frozen=True, kw_only=True, tag="untouched"):
    """Fails the test that uses it."""

    def build(self, key, run):
        raise AssertionError("a question spends no challenge")

    def obtain(self, run):
        raise AssertionError("no key is wanted")


def ask(question, world, *arguments, ca=None, **how):
    pipeline = world.pipeline(ca=ca, csr=Untouched(), **how.pop("stages", {}))
    return question(pipeline, *arguments, emit=world.events.append, system=world.system, **how)


@pytest.fixture
def enrolled(world):
    """The stages that sign with a certificate that the CA has issued, and that certificate."""
    credential = world.run().credential
    certificate = credential.certificate
    (world.directory / "gw1.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    key_pem = credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (world.directory / "gw1.key").write_bytes(key_pem)
    (world.directory / "gw1.key").chmod(0o600)
    world.events.clear()
    world.requests.clear()
    world.responder.requests.clear()
    return {"signer": ExistingSigner(certificate=PathTemplate("gw1.pem"))}, certificate


# -- what anyone may ask


def test_capabilities_are_asked_for_and_nothing_else(world):
    world.responder.knobs = Knobs(capabilities="AES\nSHA-256\nUpdate\n")
    answer = ask(inquiry.get_capabilities, world, ca={"identifier": "east"}, stages={"key": Untouched()})
    assert answer.capabilities.names == {"AES", "SHA-256"}
    assert answer.capabilities.unknown == ("Update",)
    assert answer.response.body == b"AES\nSHA-256\nUpdate\n"
    assert world.operations == ["GetCACaps"]
    assert world.requests[0].url.endswith("message=east")


def test_no_answer_on_capabilities_is_an_error_and_an_http_error_is_none(world):
    world.answers["GetCACaps"] = GONE
    with pytest.raises(TransportError):
        ask(inquiry.get_capabilities, world)
    world.answers["GetCACaps"] = HttpResponse(status=404, body=b"AES")
    assert ask(inquiry.get_capabilities, world).capabilities.names == frozenset()


def test_the_ca_s_certificates_come_with_their_bundle(tmp_path, ra_authority):
    world = World(directory=tmp_path, authority=ra_authority, key=None)
    answer = ask(inquiry.get_ca, world, stages={"key": Untouched()})
    assert set(answer.certificates) == set(ra_authority.bundle())
    assert answer.bundle.recipient == ra_authority.ra.encryption.certificate
    assert answer.error is None
    assert world.operations == ["GetCACert"]


def test_a_ca_that_is_not_the_pinned_one_is_shown_and_not_authenticated(world):
    answer = ask(inquiry.get_ca, world, ca={"fingerprint": "sha256:" + "0" * 64})
    assert answer.certificates == (world.authority.certificate,)
    assert answer.bundle is None
    assert answer.error.check == "ca-authentication"


def test_what_is_odd_about_the_ca_is_said(world):
    stranger = new_authority().certificate
    (world.directory / "ra.pem").write_bytes(stranger.public_bytes(Encoding.PEM))
    answer = ask(inquiry.get_ca, world, ca={"encryption_certificate": "ra.pem"})
    assert answer.error  # the pinned one does not chain
    world.answers["GetCACert"] = HttpResponse(
        status=200,
        body=b"".join(c.public_bytes(Encoding.PEM) for c in (world.authority.certificate, stranger)),
    )
    assert ask(inquiry.get_ca, world).bundle
    assert world.warnings == ["untrusted-certificate"]


def test_no_certificate_is_an_error(world):
    world.answers["GetCACert"] = HttpResponse(status=200, body=b"<html>")
    with pytest.raises(ProtocolError):
        ask(inquiry.get_ca, world)


# -- the next CA


def test_the_next_ca_is_signed_by_the_authenticated_one(world):
    following = ask(inquiry.get_next_ca, world, stages={"key": Untouched()})
    assert following.certificates == world.responder.authority.next_ca(world.now()).bundle()
    assert following.signer == world.responder.authority.ca.certificate
    assert world.operations == ["GetCACaps", "GetCACert", "GetNextCACert"]
    assert "CaAuthenticated" in world.told


def test_the_next_ca_of_a_stranger_is_refused(world, tmp_path):
    stranger = World(directory=tmp_path, authority=new_authority(), key=None)
    world.answers["GetNextCACert"] = stranger.responder.handle
    with pytest.raises(TrustError) as caught:
        ask(inquiry.get_next_ca, world)
    assert caught.value.check == "signer"
    assert ask(inquiry.get_next_ca, world, ca={"relax": ("signer",)}).signer is None
    assert "relaxed-signer" in world.warnings


def test_a_wrong_ca_is_not_asked_for_the_next_one(world):
    with pytest.raises(TrustError):
        ask(inquiry.get_next_ca, world, ca={"fingerprint": "sha256:" + "0" * 64})
    assert "GetNextCACert" not in world.operations


# -- certificates and CRLs


def test_a_certificate_is_found_by_its_serial_number(world, enrolled):
    stages, certificate = enrolled
    found = ask(inquiry.get_certificate, world, certificate.serial_number, stages=stages)
    assert found == certificate
    assert world.operations == ["GetCACaps", "GetCACert", "PKIOperation"]
    assert world.told == ["SignerReady", "CaAuthenticated", "RequestSent", "ReplyReceived"]
    sent = world.events[2]
    assert (sent.message_type, sent.poll, len(sent.transaction_id)) == ("GetCert", 0, 32)
    assert world.events[3].transaction_id == sent.transaction_id


def test_two_questions_have_two_transactions_and_two_nonces(world, enrolled):
    stages, certificate = enrolled
    for _ in range(2):
        ask(inquiry.get_certificate, world, certificate.serial_number, stages=stages)
    one, two = world.responder.requests
    assert one.transaction_id != two.transaction_id
    assert one.sender_nonce != two.sender_nonce


def test_transaction_and_issuer_may_be_given(world, enrolled):
    stages, certificate = enrolled
    how = {"transaction_id": "SSCEP transactionId", "stages": stages}
    issuer_der = certificate_names(certificate)[0]
    assert ask(inquiry.get_certificate, world, certificate.serial_number, issuer_der=issuer_der, **how)
    ask(inquiry.get_crl, world, issuer_der=issuer_der, **how)
    assert {request.transaction_id for request in world.responder.requests} == {"SSCEP transactionId"}
    other_der = certificate_names(certificate)[2]
    with pytest.raises(RejectedError, match="badCertId"):
        ask(inquiry.get_crl, world, issuer_der=other_der, **how)


def test_a_certificate_that_the_ca_does_not_know_is_rejected(world, enrolled):
    with pytest.raises(RejectedError) as caught:
        ask(inquiry.get_certificate, world, 5, stages=enrolled[0])
    assert caught.value.exit_code == 74
    assert "ReplyReceived" not in world.told


def test_another_certificate_than_was_asked_for_is_refused(world, enrolled):
    stages, certificate = enrolled

    def other(reply):
        return replace(reply, certificates=(world.authority.certificate,))

    world.responder.knobs = Knobs(behave=(replying(other),))
    with pytest.raises(TrustError):
        ask(inquiry.get_certificate, world, certificate.serial_number, stages=stages)
    assert "ReplyReceived" not in world.told


def test_an_answer_that_is_pending_is_said(world, enrolled):
    def pending(reply):
        return replace(reply, pki_status=PkiStatus.PENDING, fail_info=None)

    world.responder.knobs = Knobs(behave=(replying(pending),))
    for question, arguments in ((inquiry.get_certificate, [5]), (inquiry.get_crl, [])):
        with pytest.raises(PendingError) as caught:
            ask(question, world, *arguments, stages=enrolled[0])
        assert caught.value.exit_code == 3


def test_the_crl_is_that_of_our_own_certificate_unless_another_is_named(world, enrolled):
    stages, certificate = enrolled
    world.responder.authority.revoke(certificate.serial_number, now=world.now())
    crl = ask(inquiry.get_crl, world, stages=stages)
    assert crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    assert crl.is_signature_valid(world.authority.certificate.public_key())
    ask(inquiry.get_crl, world, 7, stages=stages)
    assert {request.message_type for request in world.responder.requests} == {MessageType.GET_CRL}


def test_a_crl_of_another_ca_is_refused(world, enrolled):
    crl_der = new_authority().crl(world.now()).public_bytes(Encoding.DER)
    world.responder.knobs = Knobs(behave=(replying(lambda reply: replace(reply, crls_der=(crl_der,))),))
    with pytest.raises(TrustError, match="not signed by the CA"):
        ask(inquiry.get_crl, world, stages=enrolled[0])


def test_what_is_weak_in_an_answer_is_said(world, enrolled):
    world.responder.knobs = Knobs(digest=Digest.SHA1)
    ask(inquiry.get_crl, world, stages=enrolled[0])
    assert world.warnings == ["weak-reply"]


@pytest.mark.parametrize("signer", [None, SelfSignedSigner()])
def test_a_question_is_not_signed_with_a_certificate_made_for_it(world, signer):
    stages = {"key": Untouched()} | ({"signer": signer} if signer else {})
    with pytest.raises(SignerError, match="that the CA has issued") as caught:
        ask(inquiry.get_crl, world, stages=stages)
    assert "--certificate" in caught.value.hint
    assert world.requests == []


class NoCard(Signer, frozen=True, kw_only=True, tag="no-card"):
    def identity(self, key, csr, run):
        raise OSError("no card")


def test_a_signer_that_breaks_is_named(world):
    with pytest.raises(SignerError, match="no-card broke: OSError: no card"):
        ask(inquiry.get_crl, world, stages={"signer": NoCard(), "key": GivenKey(key=world.key)})


def test_questions_have_the_real_clock_unless_told_otherwise(world):
    pipeline = world.pipeline()
    assert inquiry.get_capabilities(pipeline, emit=world.events.append).capabilities.aes
    assert inquiry.System is System
