"""Going on with what was sent: with the key, the CA and the options of today, or not at all."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from cryptography import x509
from run_fixtures import Delays, GivenKey, Wire, World, new_authority, new_rsa_key

from scepflow.custody import Custody
from scepflow.engine.algorithms import Digest
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import FailInfo, MessageType
from scepflow.errors import PendingError, RejectedError, StateError, TransportError, TrustError
from scepflow.pipeline import RenewOptions
from scepflow.stages import KeySource
from scepflow.standing import standing_of
from scepflow.testca import Knobs, replying
from scepflow_bundled.signers import SelfSignedSigner

GONE = TransportError("the server hung up")
DAY_S = 86400


class FileKey(KeySource, frozen=True, kw_only=True, tag="file-key"):
    """A key in a place that others write to as well."""

    durable = True
    place: list

    def obtain(self, run):
        return self.place[0]


def again(world, pipeline=None, **orders):
    world.requests.clear()
    world.events.clear()
    return world.run(pipeline, **orders)


def sent(world):
    return [event.message_type for event in world.events if type(event).__name__ == "RequestSent"]


def make_due(world):
    world.slept_s.append(365 * DAY_S * 0.8)


def with_another_key(world, **changed):
    return world.pipeline(key=GivenKey(key=new_rsa_key()), **changed)


def plain(world, **ca):
    """A pipeline whose renewals no earlier certificate signs."""
    return world.pipeline(ca=ca, renew=RenewOptions(message="pkcsreq"), signer=SelfSignedSigner())


def announced(world):
    return [path.name for path in world.state.path.rglob("next-ca.pem")]


# -- key and certificate belong together


def test_a_key_that_was_replaced_while_its_request_is_pending_stops_the_run_before_the_poll(world):
    place = [world.key]
    pipeline = world.pipeline(key=FileKey(place=place))
    world.responder.knobs = Knobs(pending=1)
    with pytest.raises(PendingError):
        world.run(pipeline, wait_s=0)
    world.slept_s.append(61)
    place[0] = new_rsa_key()
    with pytest.raises(
        StateError, match=r"the key of \[key\] is not the one for which transaction"
    ) as caught:
        again(world, pipeline)
    assert "put the old key back" in caught.value.hint
    assert "--again" in caught.value.hint
    assert (world.requests, world.box) == ([], [])
    place[0] = world.key
    assert again(world, pipeline).action == "issued"


def die_before_the_journal(world, pipeline):
    """Leave what a process leaves that ends once the certificate is on disk."""

    def lose(request):
        world.responder.handle(request)
        raise GONE

    world.answers["PKIOperation"] = lose
    with pytest.raises(TransportError):
        world.run(pipeline)
    world.answers.clear()
    transaction_id, certificate = world.responder.issued[-1]
    with world.state.locked(pipeline.file, name=pipeline.name, now=world.now()) as own:
        Custody(pipeline, own).keep(transaction_id, (certificate, world.authority.certificate))


def test_a_certificate_that_had_come_is_not_delivered_with_another_key(world):
    place = [world.key]
    pipeline = world.pipeline(key=FileKey(place=place))
    die_before_the_journal(world, pipeline)
    place[0] = new_rsa_key()
    with pytest.raises(StateError, match="not the one of the certificate") as caught:
        again(world, pipeline)
    assert "put its key back" in caught.value.hint
    assert (world.requests, world.box) == ([], [])
    place[0] = world.key
    assert again(world, pipeline).action == "issued"


def test_a_certificate_is_not_delivered_again_with_another_key(world):
    place = [world.key]
    pipeline = world.pipeline(key=FileKey(place=place))
    world.run(pipeline)
    place[0] = new_rsa_key()
    with pytest.raises(StateError, match="not the one of the certificate"):
        world.run(
            world.pipeline(key=FileKey(place=place), sinks=pipeline.sinks | {"two": pipeline.sinks["box"]})
        )
    assert len(world.box) == 1


def test_a_request_that_is_damaged_is_said_to_be(world):
    world.responder.knobs = Knobs(pending=1)
    with pytest.raises(PendingError):
        world.run(wait_s=0)
    (file,) = world.state.path.rglob("enrollment.json")
    file.write_text('{"csr": "bm90IG9uZQ=="}')
    with pytest.raises(StateError, match=r"enrollment\.json is missing or damaged"):
        again(world)


# -- one request, one answer


@pytest.mark.parametrize("status", [502, 503, 504, 401, 407, 408, 425, 429, 511])
def test_a_gateway_s_answer_to_a_renewal_makes_no_second_request(world, status):
    world.run()
    make_due(world)
    issued = len(world.responder.issued)

    def lose(request):
        world.responder.handle(request)
        return HttpResponse(status=status, body=b"<html>gateway</html>")

    world.answers["PKIOperation"] = lose
    pipeline = with_another_key(world)
    with pytest.raises(TransportError):
        again(world, pipeline)
    assert sent(world) == ["RenewalReq"]
    world.answers.clear()
    assert again(world, pipeline).action == "renewed"
    assert sent(world) == ["CertPoll"]
    assert len(world.responder.issued) == issued + 1


def test_a_page_in_place_of_the_answer_to_a_renewal_makes_no_second_request(world):
    world.run()
    make_due(world)
    world.answers["PKIOperation"] = HttpResponse(status=200, body=b"<html>log in</html>")
    with pytest.raises(Exception, match="web page"):
        again(world, with_another_key(world))
    assert sent(world) == ["RenewalReq"]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 500, 501])
def test_a_server_that_does_not_know_a_renewal_gets_a_plain_request(world, status):
    world.run()
    make_due(world)

    def answer(request):
        known = sent(world)[-1] != "RenewalReq"
        return world.responder.handle(request) if known else HttpResponse(status=status, body=b"what?")

    world.answers["PKIOperation"] = answer
    assert again(world, with_another_key(world)).action == "renewed"
    assert sent(world) == ["RenewalReq", "PKCSReq"]


def test_a_renewal_that_is_refused_after_polls_is_refused_for_good(world):
    world.run()
    make_due(world)
    world.responder.knobs = Knobs(pending=1, reject=FailInfo.BAD_REQUEST)
    with pytest.raises(RejectedError):
        again(world, with_another_key(world))
    assert sent(world) == ["RenewalReq", "CertPoll"]


def test_the_plain_request_after_a_refusal_finds_its_key_after_a_crash(world):
    """The key was made for the first of the two."""
    world.run()
    make_due(world)
    world.responder.knobs = Knobs(unknown=frozenset([MessageType.RENEWAL_REQ]), pending=1)
    with pytest.raises(PendingError):
        again(world, with_another_key(world), wait_s=0)
    assert sent(world) == ["RenewalReq", "PKCSReq"]
    world.slept_s.append(61)
    assert again(world).action == "renewed"


def test_a_renewal_that_is_rejected_says_how_to_enroll_anew(world):
    world.run()
    make_due(world)
    world.responder.knobs = Knobs(reject=FailInfo.BAD_CERT_ID)
    with pytest.raises(RejectedError) as caught:
        again(world)
    assert "scepflow run --enroll" in caught.value.hint


# -- enrolling anew


def test_a_pipeline_enrolls_anew_at_another_ca_though_its_certificate_is_valid(world):
    first = world.run()
    old, new = world.authority, new_authority()
    pins = {"fingerprint": (f"sha256:{old.fingerprint}", f"sha256:{new.fingerprint}")}
    world.responder.authority = new
    world.slept_s.append(DAY_S)
    pipeline = with_another_key(world, ca=pins)
    with pytest.raises(RejectedError):
        again(world, pipeline, renew=True)
    outcome = again(world, pipeline, enroll=True)
    assert (outcome.action, sent(world)) == ("issued", ["PKCSReq"])
    assert outcome.credential.chain[-1] == new.certificate
    assert world.box[-1].certificate == outcome.credential.certificate
    statuses = {a.certificate and a.certificate.serial: a.status for a in attempts(world)}
    assert statuses[first.certificate.serial] == "issued", "kept, as after a renewal"
    assert again(world, pipeline).action == "unchanged"


@dataclass
class Steady:
    """Answers as the CA, and looks the same at each run: an option that changes is asked anew."""

    world: World = field(repr=False)

    def __call__(self, request):
        return self.world.handle(request)


def test_to_enroll_anew_is_asked_again_though_it_was_rejected(world):
    pipeline = world.pipeline(transport=Wire(handle=Steady(world)))
    world.run(pipeline)
    world.responder.knobs = Knobs(reject=FailInfo.BAD_REQUEST)
    for _ in range(2):
        with pytest.raises(RejectedError, match="the CA rejected"):
            again(world, pipeline, enroll=True)
        assert sent(world) == ["PKCSReq"]


def attempts(world):
    (record,) = world.state.journal.pipelines()
    return world.state.journal.attempts(record.place)


# -- the CA's next one


def test_what_an_earlier_ca_announced_is_forgotten_once_another_is_pinned(world):
    world.run()
    make_due(world)
    assert again(world).action == "renewed"
    assert announced(world) == ["next-ca.pem"]
    world.responder.authority = world.responder.authority.next_ca(world.now())
    with pytest.raises(TrustError):
        again(world, plain(world, fingerprint=f"sha256:{new_authority().fingerprint}"), renew=True)
    assert announced(world) == []
    assert "next-ca" in world.warnings
    assert "PKIOperation" not in world.operations


def test_what_was_announced_holds_while_who_announced_it_is_pinned_beside_another(world):
    world.run()
    make_due(world)
    assert again(world).action == "renewed"
    world.responder.authority = world.responder.authority.next_ca(world.now())
    pins = [f"sha256:{world.authority.fingerprint}", f"sha256:{new_authority().fingerprint}"]
    assert again(world, plain(world, fingerprint=tuple(pins)), renew=True).action == "renewed"
    assert "ca-followed" in world.warnings


@pytest.mark.parametrize(("status", "left"), [(404, []), (503, ["next-ca.pem"])])
def test_a_next_ca_that_is_announced_no_more_is_forgotten_and_an_outage_says_nothing(world, status, left):
    world.run()
    make_due(world)
    assert again(world).action == "renewed"
    world.answers["GetNextCACert"] = HttpResponse(status=status, body=b"none")
    assert again(world, renew=True).action == "renewed"
    assert announced(world) == left


def test_a_next_ca_that_is_not_believed_is_told(world):
    world.run()
    make_due(world)
    world.answers["GetNextCACert"] = HttpResponse(status=200, body=b"<html>log in</html>")
    assert again(world).action == "renewed"
    assert world.warnings == ["next-ca"]
    assert announced(world) == []


def test_a_file_of_the_next_ca_that_is_damaged_is_said_to_be(world):
    world.run()
    make_due(world)
    world.run()
    (file,) = world.state.path.rglob("next-ca.pem")
    assert len(x509.load_pem_x509_certificates(file.read_bytes())) == 2
    file.write_bytes(b"lost")
    with pytest.raises(StateError, match=r"next-ca\.pem is damaged"):
        again(world, renew=True)


# -- the options of today


def leave_pending(world, pipeline=None, polls=5):
    world.responder.knobs = Knobs(pending=polls)
    with pytest.raises(PendingError):
        again(world, pipeline, wait_s=0)
    world.slept_s.append(61)


def test_an_address_that_has_changed_is_polled_where_its_ca_was_asked(world):
    leave_pending(world)
    with pytest.raises(PendingError):
        again(world, world.pipeline(ca={"url": "http://new.example.com/scep"}), wait_s=0)
    assert world.operations == ["GetCACaps", "GetCACert", "PKIOperation"]
    assert {request.url.partition("/scep")[0] for request in world.requests} == {"http://new.example.com"}


def test_a_check_that_is_turned_on_again_holds_for_what_is_pending(world):
    leave_pending(world, world.pipeline(ca={"relax": ("recipient-nonce",)}), polls=1)
    forged = replying(lambda reply: replace(reply, recipient_nonce=bytes(16)))
    world.responder.knobs = replace(world.responder.knobs, behave=(forged,))
    with pytest.raises(TrustError) as caught:
        again(world)
    assert caught.value.check == "recipient-nonce"
    assert world.box == []


def test_a_policy_that_was_tightened_holds_for_what_is_pending(world):
    leave_pending(world, polls=1)
    world.responder.knobs = Knobs(digest=Digest.SHA1)
    with pytest.raises(TrustError) as caught:
        again(world, world.pipeline(ca={"security": "strict"}))
    assert caught.value.check == "algorithms"
    assert again(world).action == "issued"


# -- the clock


def test_a_clock_that_was_set_back_is_no_reason_not_to_poll(world):
    world.slept_s.append(182 * DAY_S)
    pipeline = world.pipeline(poller=Delays(seconds=(60, 600, 6000)))
    leave_pending(world, pipeline, polls=4)
    world.slept_s.append(-100 * DAY_S)
    for wait_s, polls in ((0, 1), (30, 0), (3600, 1)):
        world.slept_s.append(wait_s)
        with pytest.raises(PendingError):
            again(world, pipeline, wait_s=0)
        assert sent(world) == ["CertPoll"] * polls, f"{wait_s} s after the poll before"


# -- a renewal that takes away


def test_a_renewal_that_would_take_nearly_all_the_time_away_leaves_the_old_certificate(world):
    first = world.run()
    make_due(world)
    world.responder.knobs = Knobs(days=1 / 288)
    with pytest.raises(TrustError, match="expires on") as caught:
        again(world, with_another_key(world))
    assert caught.value.check == "new-certificate"
    assert "relax" in caught.value.hint
    (record,) = world.state.journal.pipelines()
    assert record.current.certificate == first.certificate
    assert standing_of(record, world.now()).state == "blocked"
    assert len(world.box) == 1


# -- no renewal at every run


def test_a_ca_that_dates_back_is_not_asked_at_every_run(world):
    issue = world.responder.authority.issue

    def date_back(csr, *, now, days):
        return issue(csr, now=now - timedelta(days=1), days=days + 1)

    world.responder.authority.issue = date_back
    world.responder.knobs = Knobs(days=8 / 24)
    world.run()
    actions = []
    for _ in range(30):
        world.slept_s.append(600)
        actions.append(again(world).action)
    assert actions.count("renewed") == 1, "8 h of life, half of it over"
