"""One run of a pipeline: the order of things, what is on disk when, and what each failure leaves."""

import json
import os
import stat
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from run_fixtures import NOW, Box, Delays, GivenKey, Wire, new_rsa_key

from scepflow.engine.enrollment import Enrollment
from scepflow.engine.envelopes import open_envelope
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import FailInfo, MessageType, parse_request
from scepflow.errors import (
    CsrError,
    KeySourceError,
    OptionError,
    PendingError,
    RejectedError,
    ScepflowError,
    SignerError,
    SinkError,
    StageError,
    TransportError,
    TrustError,
)
from scepflow.options import Secret
from scepflow.pipeline import RenewOptions
from scepflow.runner import run_pipeline
from scepflow.stages import CsrBuilder, OutputSink, Signer
from scepflow.state import StateDirectory
from scepflow.testca import Authority, Knobs
from scepflow.transaction import describe_certificate, describe_key
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.signers import AutoSigner

GONE = TransportError("the server hung up")


class FailingSink(OutputSink, frozen=True, kw_only=True, tag="failing"):
    def write(self, issued, run):
        raise SinkError("the disk is full")


class Asked(Signer, frozen=True, kw_only=True, tag="asked"):
    """Signs with the identity that a test gives it."""

    found: object

    def identity(self, key, csr, run):
        return self.found


# -- issued


def test_a_run_issues_and_delivers(world):
    outcome = world.run()
    assert outcome.exit_code == 0
    assert outcome.credential.certificate.public_key() == world.key.public_key()
    assert outcome.credential.chain == (world.authority.certificate,)
    assert world.box == [outcome.credential]
    assert [(d.sink, d.detail, d.error) for d in outcome.deliveries] == [("box", "a box", None)]


def test_events_come_in_the_order_of_the_stages(world):
    world.run()
    assert world.told == [
        "RunStarted",
        "KeyReady",
        "CsrReady",
        "SignerReady",
        "CaAuthenticated",
        "RequestSent",
        "ReplyReceived",
        "CertificateIssued",
        "SinkDelivered",
        "RunFinished",
    ]
    finished = world.events[-1]
    assert (finished.outcome, finished.exit_code, finished.error) == ("issued", 0, "")


def test_key_and_certificate_are_kept_for_renewal_and_the_request_is_not(world):
    world.run()
    assert world.kept == ["certificate.pem", "key.pem"]


def test_key_and_enrollment_are_on_disk_before_the_first_byte_leaves(world):
    seen = []

    def look(request):
        seen.append(world.kept)
        (file,) = world.state.path.rglob("enrollment.json")
        assert json.loads(file.read_bytes())["state"] == "awaiting"
        (key_file,) = world.state.path.rglob("key.pem")
        assert load_pem_private_key(key_file.read_bytes(), None).public_key() == world.key.public_key()
        return world.responder.handle(request)

    world.answers["PKIOperation"] = look
    world.run()
    assert seen == [["ca.pem", "enrollment.json", "key.pem"]]


def test_an_ec_key_keeps_the_key_of_its_signer_too(world):
    world.answers["PKIOperation"] = GONE
    with pytest.raises(TransportError):
        world.run(world.pipeline(key=GivenKey(key=ec.generate_private_key(ec.SECP256R1()))))
    assert world.kept == ["ca.pem", "enrollment.json", "key.pem", "signer-key.pem"]
    assert "rsa-transport-key" in world.warnings


def test_a_state_directory_that_cannot_be_written_stops_before_anything_is_sent(world):
    (world.directory / "state").write_text("a file in its place")
    with pytest.raises(ScepflowError, match="cannot keep") as caught:
        world.run()
    assert caught.value.exit_code == 78
    assert world.requests == []


def test_a_state_directory_that_is_full_once_the_certificate_is_there_stops_no_sink(world):
    def fill(request):
        (world.directory / "state").rename(world.directory / "away")
        (world.directory / "state").write_text("a file in its place")
        return world.responder.handle(request)

    world.answers["PKIOperation"] = fill
    assert world.run().exit_code == 0
    assert len(world.box) == 1
    assert set(world.warnings) == {"not-kept"}


def test_a_key_that_can_be_had_again_is_not_copied(world):
    class Durable(GivenKey, frozen=True, kw_only=True, tag="durable"):
        durable = True

    world.responder.knobs = Knobs(pending=9)
    with pytest.raises(PendingError):
        world.run(world.pipeline(key=Durable(key=world.key)))
    assert world.kept == ["ca.pem", "enrollment.json"]


# -- pending


def test_a_pending_request_is_polled_until_it_is_issued(world):
    world.responder.knobs = Knobs(pending=2)
    outcome = world.run()
    assert outcome.exit_code == 0
    assert world.slept_s == [60, 120]
    assert [request.message_type for request in world.responder.requests] == [
        MessageType.PKCS_REQ,
        MessageType.CERT_POLL,
        MessageType.CERT_POLL,
    ]
    assert len({request.transaction_id for request in world.responder.requests}) == 1
    waits = [(e.poll, e.delay_s, e.waited_s) for e in world.events if type(e).__name__ == "PollScheduled"]
    assert waits == [(1, 60, 0), (2, 120, 60)]


def test_the_poll_limit_ends_in_pending_and_the_key_stays_private(world):
    world.responder.knobs = Knobs(pending=9)
    with pytest.raises(PendingError) as caught:
        world.run()
    error = caught.value
    assert (error.exit_code, error.polls, error.waited_s) == (3, 2, 180)
    assert error.transaction_id in (error.hint or "")
    assert world.kept == ["ca.pem", "enrollment.json", "key.pem"]
    for file in world.state.path.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600)
    assert (world.events[-1].outcome, world.events[-1].exit_code) == ("pending", 3)


def test_what_is_kept_of_a_pending_request_is_enough_to_poll_on(world):
    world.responder.knobs = Knobs(pending=3)
    with pytest.raises(PendingError):
        world.run()
    (folder,) = {path.parent for path in world.state.path.rglob("key.pem")}
    restored = Enrollment.restore(
        json.loads((folder / "enrollment.json").read_bytes()),
        key=load_pem_private_key((folder / "key.pem").read_bytes(), None),
        bundle=_bundle(world),
        random_bytes=os.urandom,
    )
    request = restored.next_request(now=NOW, sender_nonce=bytes(16))
    issued = restored.receive(world.responder.handle(request), now=NOW)
    assert issued.certificate.public_key() == world.key.public_key()


def _bundle(world):
    from scepflow.engine.trust import authenticate

    return authenticate(
        world.authority.bundle(), fingerprints=[f"sha256:{world.authority.fingerprint}"], now=NOW
    )


def test_a_poller_without_polls_asks_once(world):
    world.responder.knobs = Knobs(pending=1)
    with pytest.raises(PendingError, match="was not polled"):
        world.run(world.pipeline(poller=Delays(seconds=())))
    assert world.slept_s == []


def test_a_poll_without_an_answer_does_not_end_the_wait(world):
    world.responder.knobs = Knobs(pending=1)
    world.answers["PKIOperation", 2] = GONE
    assert world.run().exit_code == 0
    assert world.warnings == ["poll-lost"]


def test_a_web_page_in_answer_to_a_poll_does_not_end_the_wait(world):
    world.responder.knobs = Knobs(pending=1)
    world.answers["PKIOperation", 2] = HttpResponse(status=200, body=b"<html>log in</html>")
    assert world.run().exit_code == 0
    assert world.warnings == ["poll-lost"]


def test_a_last_poll_without_an_answer_says_so_and_keeps_the_key(world):
    world.responder.knobs = Knobs(pending=1)
    world.answers |= {("PKIOperation", 2): GONE, ("PKIOperation", 3): GONE}
    with pytest.raises(TransportError, match="hung up"):
        world.run()
    assert "key.pem" in world.kept


def test_a_forged_answer_to_a_poll_ends_the_run_and_keeps_the_key(world):
    forger = Authority.create(now=NOW)
    world.responder.knobs = Knobs(pending=1)

    def forge(request):
        world.responder.authority.ca, true_ca = forger.ca, world.responder.authority.ca
        try:
            return world.responder.handle(request)
        finally:
            world.responder.authority.ca = true_ca

    world.answers["PKIOperation", 2] = forge
    with pytest.raises(TrustError) as caught:
        world.run()
    assert (caught.value.check, caught.value.exit_code) == ("signer", 5)
    assert world.kept == ["ca.pem", "enrollment.json", "key.pem"]
    assert world.events[-1].outcome == "failed"


def test_an_interruption_while_polling_keeps_the_key(world):
    world.responder.knobs = Knobs(pending=1)

    def interrupt(_request):
        raise KeyboardInterrupt

    world.answers["PKIOperation", 2] = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert world.kept == ["ca.pem", "enrollment.json", "key.pem"]


# -- no certificate


def test_a_rejection_has_its_exit_code_and_leaves_nothing(world):
    world.responder.knobs = Knobs(reject=FailInfo.BAD_REQUEST, reject_text="challenge has expired")
    with pytest.raises(RejectedError, match="challenge has expired") as caught:
        world.run()
    assert caught.value.exit_code == 72
    assert caught.value.hint
    assert world.kept == []
    assert (world.events[-1].outcome, world.events[-1].exit_code) == ("rejected", 72)


def test_a_rejection_after_polls_leaves_nothing(world):
    world.responder.knobs = Knobs(pending=1, reject=FailInfo.BAD_TIME)
    with pytest.raises(RejectedError) as caught:
        world.run()
    assert caught.value.exit_code == 73
    assert world.kept == []


def test_a_wrong_fingerprint_stops_before_any_pki_operation(world):
    with pytest.raises(TrustError) as caught:
        world.run(world.pipeline(ca={"fingerprint": "sha256:" + "0" * 64}))
    assert caught.value.exit_code == 5
    assert world.operations == ["GetCACaps", "GetCACert"]
    assert world.kept == []


def test_no_pin_stops_before_any_pki_operation_and_says_what_was_seen(world):
    with pytest.raises(TrustError) as caught:
        world.run(world.pipeline(ca={"fingerprint": None}))
    assert f'fingerprint = "sha256:{world.authority.fingerprint}"' in (caught.value.hint or "")
    assert "PKIOperation" not in world.operations


def test_a_dead_server_leaves_nothing(world):
    world.answers |= {"GetCACaps": GONE, "GetCACert": GONE}
    with pytest.raises(TransportError) as caught:
        world.run()
    assert caught.value.exit_code == 4
    assert world.kept == []
    assert world.warnings == []


def test_a_request_whose_answer_is_lost_keeps_its_key(world):
    world.answers["PKIOperation"] = GONE
    with pytest.raises(TransportError):
        world.run()
    assert world.kept == ["ca.pem", "enrollment.json", "key.pem"]


def test_an_interruption_before_the_request_leaves_nothing(world):
    def interrupt(_request):
        raise KeyboardInterrupt

    world.answers["GetCACert"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert world.kept == []


# -- delivery


def test_a_sink_that_fails_stops_no_other_and_keeps_the_certificate(world):
    outcome = world.run(
        world.pipeline(sinks={"a": FailingSink(), "b": Box(content=world.box), "c": FailingSink()})
    )
    assert outcome.exit_code == 6
    assert [d.error is None for d in outcome.deliveries] == [False, True, False]
    assert world.box == [outcome.credential]
    assert world.kept == ["certificate.pem", "key.pem"]
    assert (world.events[-1].outcome, world.events[-1].exit_code) == ("degraded", 6)


# -- a stranger's stages


class Broken:
    """Raises what no stage may raise."""

    def obtain(self, run):
        raise ZeroDivisionError("no key")

    def build(self, key, run):
        raise ZeroDivisionError("no request")

    def identity(self, key, csr, run):
        raise ZeroDivisionError("no signer")

    def connect(self, run):
        raise ZeroDivisionError("no wire")

    def delays_s(self):
        yield 1
        raise ZeroDivisionError("no patience")

    def write(self, issued, run):
        raise ZeroDivisionError("no paper")


class BrokenKey(Broken, GivenKey, frozen=True, kw_only=True, tag="broken-key"):
    key: object = None


class BrokenCsr(Broken, CsrBuilder, frozen=True, kw_only=True, tag="broken-csr"):
    pass


class BrokenSigner(Broken, Signer, frozen=True, kw_only=True, tag="broken-signer"):
    pass


class BrokenWire(Broken, Wire, frozen=True, kw_only=True, tag="broken-wire"):
    handle: object = None


class BrokenPoller(Broken, Delays, frozen=True, kw_only=True, tag="broken-poller"):
    seconds: tuple[float, ...] = ()


class BrokenSink(Broken, OutputSink, frozen=True, kw_only=True, tag="broken-sink"):
    pass


def _divide(_request):
    raise ZeroDivisionError("no answer")


@pytest.mark.parametrize(
    ("changed", "kind", "exit_code"),
    [
        ({"key": BrokenKey()}, KeySourceError, 78),
        ({"key": GivenKey(key="no key")}, KeySourceError, 78),
        ({"csr": BrokenCsr()}, CsrError, 78),
        ({"signer": BrokenSigner()}, SignerError, 78),
        ({"signer": Asked(found=None)}, SignerError, 78),
        ({"transport": BrokenWire()}, TransportError, 4),
        ({"transport": Wire(handle=_divide)}, TransportError, 4),
        ({"poller": BrokenPoller()}, StageError, 78),
        ({"poller": Delays(seconds=(-1,))}, StageError, 78),
        ({"poller": Delays(seconds=(float("nan"),))}, StageError, 78),
        ({"poller": Delays(seconds=("soon",))}, StageError, 78),
    ],
)
def test_a_foreign_exception_is_an_error_of_its_stage(world, changed, kind, exit_code):
    world.responder.knobs = Knobs(pending=9)
    with pytest.raises(kind, match="broke: ") as caught:
        world.run(world.pipeline(**changed))
    (stage,) = changed.values()
    assert caught.value.exit_code == exit_code
    assert (caught.value.kind, caught.value.name) == (stage.kind, stage.stage_name())
    assert "bug in" in (caught.value.hint or "")
    assert world.events[-1].exit_code == exit_code


def test_a_foreign_exception_of_a_sink_is_its_failure_alone(world):
    outcome = world.run(world.pipeline(sinks={"broken": BrokenSink(), "box": Box(content=world.box)}))
    error = outcome.deliveries[0].error
    assert isinstance(error, SinkError)
    assert error.message == "sink broken-sink broke: ZeroDivisionError: no paper"
    assert "test_runner" in (error.hint or "")
    assert world.box


def test_a_request_for_another_key_is_never_sent(world):
    other = world.pipeline(key=GivenKey(key=new_rsa_key())).csr.build(new_rsa_key(), _stage_run(world))

    class Other(CsrBuilder, frozen=True, kw_only=True, tag="other"):
        def build(self, key, run):
            return other

    with pytest.raises(CsrError, match="another key"):
        world.run(world.pipeline(csr=Other()))
    assert world.requests == []


def _stage_run(world):
    from scepflow.system import make_run

    return make_run(world.pipeline(), world.events.append, world.system)


def test_a_connection_that_does_not_close_costs_no_certificate(world):
    class Sticky(Wire, frozen=True, kw_only=True, tag="sticky"):
        @contextmanager
        def connect(self, run):
            with super().connect(run) as connection:
                yield connection
            raise OSError("cannot close")

    assert world.run(world.pipeline(transport=Sticky(handle=world.handle))).exit_code == 0
    assert world.warnings == ["transport-close"]


def test_a_bug_is_told_as_the_end_of_the_run(world):
    class Broken(Wire, frozen=True, kw_only=True, tag="broken"):
        @property
        def kind(self):
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        world.run(world.pipeline(transport=Broken(handle=world.handle)))
    assert world.events[-1].error == "a bug: RuntimeError"
    assert world.events[-1].exit_code == 1


# -- renewal


def test_an_existing_certificate_signs_a_renewal_where_the_ca_knows_them(world):
    assert _message_type(world, RenewOptions()) == MessageType.RENEWAL_REQ


def test_renewals_are_plain_requests_where_the_ca_does_not_know_them(world):
    world.responder.knobs = Knobs(capabilities="AES\nSHA-256\nPOSTPKIOperation\n")
    assert _message_type(world, RenewOptions()) == MessageType.PKCS_REQ


def test_an_option_decides_what_a_renewal_is(world):
    old = world.run().credential
    assert _message_type(world, RenewOptions(message="pkcsreq"), old) == MessageType.PKCS_REQ
    world.responder.knobs = Knobs(capabilities="AES\nSHA-256\nPOSTPKIOperation\n")
    assert _message_type(world, RenewOptions(message="renewal"), old) == MessageType.RENEWAL_REQ


def _message_type(world, renew, old=None):
    old = old or world.run().credential
    signer = Asked(found=SigningIdentity(old.certificate, old.key))
    world.run(world.pipeline(signer=signer, renew=renew), renew=True)
    signed = [e.description for e in world.events if type(e).__name__ == "SignerReady"]
    assert signed[-1] == f"certificate of CN=gw1.example.com, serial {old.certificate.serial_number:x}"
    return world.responder.requests[-1].message_type


def test_in_a_renewal_the_challenge_is_left_out(world):
    class Renewing(Asked, frozen=True, kw_only=True, tag="renewing"):
        renews = True

    old = world.run().credential
    csr = SubjectCsrBuilder(subject="CN=gw1.example.com", challenge=Secret("sesame"))
    signer = Renewing(found=SigningIdentity(old.certificate, old.key))
    assert world.run(world.pipeline(csr=csr, signer=signer), renew=True).exit_code == 0
    kept = [*world.requests][-1]
    sealed = parse_request(kept.body).envelope
    assert b"sesame" not in open_envelope(sealed, world.authority.encryption)


# -- checks


def test_a_check_that_is_turned_off_is_told_on_every_run(world):
    world.run(world.pipeline(ca={"relax": ("chain", "recipient-nonce")}))
    assert world.warnings == ["relaxed", "relaxed"]


def test_an_ec_signer_without_a_challenge_is_refused_before_anything_is_sent(world):
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(SignerError, match="EC, which cannot decrypt"):
        world.run(world.pipeline(key=GivenKey(key=key), signer=AutoSigner(transport_key="csr")))
    assert "PKIOperation" not in world.operations


# -- words


def test_keys_and_certificates_are_described(world):
    assert describe_key(world.key) == "RSA-2048"
    assert describe_key(ec.generate_private_key(ec.SECP384R1())) == "EC secp384r1"
    assert describe_certificate(world.authority.certificate) == "self-signed"


def test_a_run_has_the_real_clock_unless_told_otherwise(world):
    """The CA of the test lives now, too: it was made before today and lasts for years."""
    with pytest.raises(TransportError):
        run_pipeline(
            world.pipeline(transport=Wire(handle=_gone)),
            emit=world.events.append,
            state=StateDirectory(world.directory / "state"),
        )
    assert world.events[0].at.tzinfo is not None


def _gone(_request):
    raise GONE


def test_http_errors_without_a_reply_are_transport_errors(world):
    world.answers["PKIOperation"] = HttpResponse(status=500, body=b"out of paper")
    with pytest.raises(TransportError, match="HTTP 500"):
        world.run()


def test_a_run_without_get_ca_cert_takes_the_ca_from_its_file(world):
    (world.directory / "ca.pem").write_bytes(world.authority.certificate.public_bytes(Encoding.PEM))
    ca = {"fingerprint": None, "fetch_certificates": False, "signing_certificate": "ca.pem"}
    outcome = world.run(world.pipeline(ca=ca))
    assert outcome.credential.chain == (world.authority.certificate,)
    assert world.operations == ["GetCACaps", "PKIOperation"]


@pytest.mark.parametrize("cipher", ["blowfish-cbc", "des-cbc"])
def test_what_sscep_can_say_is_said_by_choice_only(world, cipher):
    weak = {"cipher": cipher, "digest": "md5"}
    with pytest.raises(OptionError, match="refused by security"):
        world.pipeline(ca=weak)
    assert world.run(world.pipeline(ca=weak | {"security": "legacy"})).exit_code == 0
    assert {"weak-request", "weak-reply"} <= set(world.warnings)


def test_sha_224_is_used_when_it_is_asked_for(world):
    world.run(world.pipeline(ca={"digest": "sha-224"}))
    assert world.responder.requests[-1].digest.value == "sha-224"
