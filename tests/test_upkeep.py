"""What a run decides: enroll, go on, renew, deliver again, or nothing; and what survives between runs."""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from run_fixtures import Box, Delays, GivenKey, Wire, World, new_authority, new_rsa_key

from scepflow.errors import (
    LockedError,
    PendingError,
    RejectedError,
    SinkError,
    StateError,
    TransportError,
    TrustError,
)
from scepflow.pipeline import RenewOptions
from scepflow.runner import note_unreadable, run_pipeline
from scepflow.stages import OutputSink
from scepflow.standing import standing_of
from scepflow.state import Folder
from scepflow.testca import Knobs, Responder
from scepflow_bundled.file_sink import FileSink
from scepflow_bundled.signers import SelfSignedSigner

GONE = TransportError("the server hung up")
DAY_S = 86400


class Flaky(OutputSink, frozen=True, kw_only=True, tag="flaky"):
    """Fails while ``broken`` holds anything."""

    broken: list
    got: list

    def write(self, issued, run):
        if self.broken:
            raise SinkError("permission denied")
        self.got.append(issued)


def _again(world, pipeline=None, **orders):
    world.requests.clear()
    world.events.clear()
    return run_pipeline(
        pipeline or world.pipeline(),
        emit=world.events.append,
        state=world.state,
        system=world.system,
        **orders,
    )


def test_a_second_run_with_nothing_due_asks_nothing(world):
    first = world.run()
    second = _again(world)
    assert (second.action, second.exit_code, second.certificate) == ("unchanged", 0, first.certificate)
    assert (world.requests, len(world.box)) == ([], 1)


def test_a_due_certificate_is_renewed_and_signed_by_the_old_one(world):
    first = world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    key = new_rsa_key()
    second = _again(world, world.pipeline(key=GivenKey(key=key)))
    assert second.action == "renewed"
    assert second.certificate.serial != first.certificate.serial
    assert second.credential.certificate.public_key() == key.public_key()
    sent = next(event for event in world.events if type(event).__name__ == "RequestSent")
    assert sent.message_type == "RenewalReq"
    assert world.box[-1] == second.credential


def test_a_pending_request_is_polled_by_the_next_run(world):
    world.responder.knobs = Knobs(pending=2)
    with pytest.raises(PendingError):
        run_pipeline(
            world.pipeline(), emit=world.events.append, state=world.state, system=world.system, wait_s=0
        )
    world.slept_s.append(61)
    with pytest.raises(PendingError):
        _again(world, wait_s=0)
    world.slept_s.append(121)
    assert _again(world, wait_s=0).action == "issued"
    assert [r.message_type for r in world.responder.requests] == [19, 20, 20]
    assert len(world.responder.issued) == 1


def test_a_rejected_request_is_not_sent_again_until_something_changes(world):
    world.responder.knobs = Knobs(challenge="right")
    pipeline = world.pipeline(transport=Wire(handle=Steady(world)))
    with pytest.raises(RejectedError):
        world.run(pipeline)
    with pytest.raises(RejectedError, match="not asked again") as caught:
        _again(world, pipeline)
    assert (caught.value.exit_code, world.requests) == (72, [])
    world.responder.knobs = Knobs()
    with pytest.raises(RejectedError):
        _again(world, pipeline)
    assert _again(world, pipeline, again=True).action == "issued"


def test_only_the_sink_that_failed_gets_it_again(world):
    broken, got = [1], []
    flaky = Flaky(broken=broken, got=got)
    sinks = world.pipeline().sinks | {"flaky": flaky}
    outcome = world.run(world.pipeline(sinks=sinks))
    assert (outcome.exit_code, len(world.box)) == (6, 1)
    assert _again(world, world.pipeline(sinks=sinks)).exit_code == 6
    broken.clear()
    outcome = _again(world, world.pipeline(sinks=sinks))
    assert (outcome.action, outcome.exit_code, [d.sink for d in outcome.deliveries]) == (
        "delivered",
        0,
        ["flaky"],
    )
    assert (len(got), len(world.box), world.requests) == (1, 1, [])
    assert got[0].certificate == world.box[0].certificate


def test_a_lost_answer_is_asked_for_under_the_same_name(world):
    def lose(request):
        world.responder.handle(request)
        raise GONE

    world.answers["PKIOperation"] = lose
    with pytest.raises(TransportError):
        world.run()
    world.answers.clear()
    assert _again(world).action == "issued"
    assert [r.message_type for r in world.responder.requests] == [19, 20]
    assert len(world.responder.issued) == 1


def test_a_request_that_never_arrived_is_sent_again_under_the_same_name(world):
    world.answers["PKIOperation"] = GONE
    with pytest.raises(TransportError):
        world.run()
    world.answers.clear()
    assert _again(world).action == "issued"
    assert [r.message_type for r in world.responder.requests] == [20, 19]
    assert len({r.transaction_id for r in world.responder.requests}) == 1


def test_two_runs_at_once_are_refused(world):
    with (
        world.state.locked(world.pipeline().file, name="gw1", now=world.now()),
        pytest.raises(LockedError, match="pid") as caught,
    ):
        world.run()
    assert (caught.value.exit_code, world.requests) == (75, [])


def test_a_ca_that_refuses_renewal_req_gets_a_plain_request(world):
    world.run()
    world.slept_s.append(365 * DAY_S * 0.8)

    real = world.responder._enroll

    def enroll(request, content, reply):
        if request.message_type == 17:
            from scepflow.engine.messages import FailInfo
            from scepflow.testca.responder import _RefusedError

            raise _RefusedError(FailInfo.BAD_REQUEST, "no 17 here")
        return real(request, content, reply)

    world.responder._enroll = enroll
    outcome = _again(world, world.pipeline(key=GivenKey(key=new_rsa_key())))
    assert outcome.action == "renewed"
    assert "renewal-refused" in world.warnings
    sent = [e.message_type for e in world.events if type(e).__name__ == "RequestSent"]
    assert sent == ["RenewalReq", "PKCSReq"]


def test_old_pairs_are_kept_as_many_as_asked(world):
    world.run()
    for _ in range(3):
        world.slept_s.append(365 * DAY_S * 0.8)
        _again(world, world.pipeline(renew=RenewOptions(keep=1)))
    folders = [
        path for path in world.state.path.rglob("*") if path.is_dir() and (path / "certificate.pem").exists()
    ]
    assert len(folders) == 2


def test_a_poll_is_not_due_before_its_time(world):
    world.responder.knobs = Knobs(pending=5)
    pipeline = world.pipeline(poller=Delays(seconds=(600, 600, 600)))
    with pytest.raises(PendingError):
        run_pipeline(pipeline, emit=world.events.append, state=world.state, system=world.system, wait_s=0)
    world.slept_s.append(60)
    with pytest.raises(PendingError):
        _again(world, pipeline, wait_s=0)
    assert "PKIOperation" not in world.operations


def test_once_the_time_is_over_each_run_asks_once(world):
    world.responder.knobs = Knobs(pending=50)
    with pytest.raises(PendingError):
        world.run()
    slept = len(world.slept_s)
    for _ in range(2):
        world.slept_s.append(DAY_S)
        with pytest.raises(PendingError):
            _again(world)
        assert world.operations.count("PKIOperation") == 1
    assert len(world.slept_s) == slept + 2


def test_an_output_that_is_gone_is_delivered_again(world):
    pipeline = world.pipeline(sinks={"file": FileSink(cert="gw1.crt", key="gw1.key", crl="ca.crl")})
    first = world.run(pipeline)
    assert _again(world, pipeline).action == "unchanged"
    (world.directory / "gw1.key").unlink()
    again = _again(world, pipeline)
    assert (again.action, again.certificate) == ("delivered", first.certificate)
    assert (world.directory / "gw1.key").exists()


def test_a_ca_that_changes_as_it_announced_is_followed(world):
    world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    assert _again(world).action == "renewed"
    assert "GetNextCACert" in world.operations
    world.responder.authority = world.responder.authority.next_ca(world.now())
    world.slept_s.append(365 * DAY_S * 0.8)
    outcome = _again(world, world.pipeline(renew=RenewOptions(message="pkcsreq"), signer=SelfSignedSigner()))
    assert outcome.credential.chain[-1] == world.responder.authority.certificate
    assert "ca-followed" in world.warnings


def test_a_ca_that_was_followed_is_so_again_though_it_has_announced_another(world):
    world.run()
    for _ in range(2):
        world.slept_s.append(365 * DAY_S * 0.8)
        assert _again(world).action == "renewed"
        world.responder.authority = world.responder.authority.next_ca(world.now())
    plain = world.pipeline(renew=RenewOptions(message="pkcsreq"), signer=SelfSignedSigner())
    for _ in range(2):
        assert _again(world, plain, renew=True).action == "renewed"
        assert "ca-followed" in world.warnings


def test_a_ca_that_changes_without_a_word_is_refused(world):
    world.run()
    world.responder.authority = new_authority()
    world.slept_s.append(365 * DAY_S * 0.8)
    with pytest.raises(TrustError):
        _again(world)
    assert "PKIOperation" not in world.operations


# -- what a person may say, and what the journal then knows


def test_again_holds_until_the_ca_has_answered(world):
    """A CA that is down just then must not make the earlier rejection count once more."""
    world.responder.knobs = Knobs(challenge="right")
    with pytest.raises(RejectedError):
        world.run()
    world.responder.knobs = Knobs()
    world.answers["GetCACert"] = GONE
    with pytest.raises(TransportError):
        _again(world, again=True)
    world.answers.clear()
    assert _again(world).action == "issued"


def _lose_keys(world):
    for path in world.state.path.rglob("key.pem"):
        path.unlink()


def test_again_enrolls_anew_where_the_key_of_the_certificate_is_lost(world):
    world.run()
    _lose_keys(world)
    sinks = world.pipeline().sinks | {"other": Flaky(broken=[], got=[])}
    for orders in ({}, {"renew": True}):
        with pytest.raises(StateError, match="missing or damaged") as caught:
            _again(world, world.pipeline(sinks=sinks), **orders)
        assert "--again" in caught.value.hint
    assert _again(world, world.pipeline(sinks=sinks), again=True).action == "issued"
    assert [r.message_type for r in world.responder.requests] == [19, 19]


def test_a_lost_key_does_not_keep_the_next_run_from_what_is_pending(world):
    world.run()
    _lose_keys(world)
    world.responder.knobs = Knobs(pending=1)
    sinks = world.pipeline().sinks | {"other": Flaky(broken=[], got=[])}
    with pytest.raises(PendingError):
        _again(world, world.pipeline(sinks=sinks), again=True, wait_s=0)
    world.slept_s.append(60)
    assert _again(world, world.pipeline(sinks=sinks)).action == "issued"


def test_again_leaves_a_certificate_that_is_not_lost_alone(world):
    world.run()
    assert _again(world, again=True).action == "unchanged"


@dataclass
class Steady:
    """Answers as the CA, and looks the same at each run: an option that changes is asked anew."""

    world: World = field(repr=False)

    def __call__(self, request):
        return self.world.handle(request)


def test_a_rejected_renewal_is_asked_again_a_day_later_and_the_certificate_stays(world):
    """It may have been too early, or an outage of the CA's own."""
    pipeline = world.pipeline(transport=Wire(handle=Steady(world)))
    first = world.run(pipeline)
    world.slept_s.append(365 * DAY_S * 0.8)
    world.responder.knobs = Knobs(reject=2)
    with pytest.raises(RejectedError):
        _again(world, pipeline)
    rejected_at = world.now()
    world.slept_s.append(DAY_S - 60)
    with pytest.raises(RejectedError, match="not asked again") as caught:
        _again(world, pipeline)
    assert f"after {rejected_at + timedelta(days=1):%Y-%m-%d %H:%M} UTC" in caught.value.hint
    assert (world.requests, caught.value.exit_code) == ([], 72)
    assert _record(world).current.certificate == first.certificate
    world.slept_s.append(60)
    world.responder.knobs = Knobs()
    assert _again(world, pipeline).action == "renewed"


def test_another_before_moves_what_is_due(world):
    first = world.run()
    later = _again(world, world.pipeline(renew=RenewOptions(before="10d")))
    assert later.action == "unchanged"
    assert later.renew_at > first.renew_at
    assert _record(world).renew_at == later.renew_at


def test_again_gives_up_what_is_pending_and_asks_under_another_name(world):
    world.responder.knobs = Knobs(pending=50)
    with pytest.raises(PendingError) as caught:
        world.run(wait_s=0)
    world.responder.knobs = Knobs()
    assert _again(world, again=True).action == "issued"
    assert [r.message_type for r in world.responder.requests] == [19, 19]
    assert _record(world).current.transaction_id != caught.value.transaction_id
    statuses = {attempt.status for attempt in world.state.journal.attempts(_record(world).place)}
    assert statuses == {"abandoned", "issued"}


def test_a_sink_that_is_taken_out_of_the_file_is_not_behind_any_more(world):
    flaky = Flaky(broken=[1], got=[])
    world.run(world.pipeline(sinks=world.pipeline().sinks | {"flaky": flaky}))
    assert list(_record(world).deliveries) == ["box", "flaky"]
    assert _again(world).action == "unchanged"
    assert list(_record(world).deliveries) == ["box"]


def test_an_expired_certificate_is_not_delivered_any_more(world):
    world.run()
    world.slept_s.append(366 * DAY_S)
    world.answers["GetCACert"] = GONE
    got = []
    sinks = world.pipeline().sinks | {"other": Flaky(broken=[], got=got)}
    with pytest.raises(TransportError):
        _again(world, world.pipeline(sinks=sinks))
    assert got == []


def test_a_bug_is_noted_without_what_the_exception_says(world):
    class Odd(GivenKey, frozen=True, kw_only=True, tag="odd"):
        durable = True

    with pytest.raises(AttributeError):
        world.run(world.pipeline(key=Odd(key=object())))
    record = _record(world)
    assert (record.outcome, record.exit_code) == ("failed", 1)
    assert record.message == "a bug in scepflow: AttributeError"
    assert _again(world).action == "issued"
    assert (_record(world).exit_code, _record(world).message) == (0, "")


def test_a_pipeline_is_the_same_by_whatever_way_its_folder_is_named(world):
    (world.directory / "link").symlink_to(world.directory)
    world.run()
    for file in (world.directory / "link" / "gw1.toml", world.directory / "x" / ".." / "gw1.toml"):
        assert world.state.place(file) == world.state.place(world.pipeline().file)
    assert _again(world, replace(world.pipeline(), file=world.directory / "link" / "gw1.toml")).action == (
        "unchanged"
    )


def _state(world):
    return standing_of(_record(world), world.now()).state


def _record(world):
    return world.state.journal.pipeline(world.state.place(world.pipeline().file))


def test_an_output_that_cannot_be_looked_at_is_delivered_and_stops_no_run(world):
    class Blind(Flaky, frozen=True, kw_only=True, tag="blind"):
        def is_in_place(self, run):
            raise PermissionError("no entry")

    got = []
    pipeline = world.pipeline(sinks={"blind": Blind(broken=[], got=got)})
    world.run(pipeline)
    assert _again(world, pipeline).action == "delivered"
    assert len(got) == 2


def test_a_stranger_s_next_ca_is_not_kept_even_where_checks_are_turned_off(world):
    world.run()
    world.answers["GetNextCACert"] = Responder(new_authority(), now=world.now).handle
    renewing = world.pipeline(ca={"relax": ("signer", "signature")})
    assert _again(world, renewing, renew=True).action == "renewed"
    assert "GetNextCACert" in world.operations
    assert not list(world.state.path.rglob("next-ca.pem"))


# -- what the CA has rejected


@pytest.fixture
def refused(world):
    """A world whose CA has rejected the renewal, the pipeline, and when that was."""
    pipeline = world.pipeline(transport=Wire(handle=Steady(world)))
    world.run(pipeline)
    world.slept_s.append(365 * DAY_S * 0.8)
    world.responder.knobs = Knobs(reject=2)
    with pytest.raises(RejectedError):
        world.run(pipeline)
    world.responder.knobs = Knobs()
    return world, pipeline, world.now()


def test_a_rejected_renewal_does_not_keep_an_expired_certificate_from_enrollment(refused):
    world, pipeline, _ = refused
    world.slept_s.append(365 * DAY_S * 0.2 - DAY_S / 2)
    world.responder.knobs = Knobs(reject=2)
    with pytest.raises(RejectedError):
        _again(world, pipeline)
    world.responder.knobs = Knobs()
    world.slept_s.append(DAY_S * 0.75)
    assert _state(world) == "expired"
    assert _again(world, pipeline).action == "issued"
    assert world.responder.requests[-1].message_type == 19


def test_an_error_of_a_later_run_does_not_start_the_day_of_a_rejected_renewal_anew(refused):
    world, pipeline, _ = refused
    world.slept_s.append(DAY_S)
    world.answers["GetCACert"] = GONE
    with pytest.raises(TransportError):
        _again(world, pipeline)
    world.answers.clear()
    assert _again(world, pipeline).action == "renewed"


def test_what_holds_a_request_back_is_the_ca_s_reason_and_exit_code_whatever_happened_since(world):
    world.responder.knobs = Knobs(reject=3, reject_text="your clock is wrong")
    pipeline = world.pipeline(transport=Wire(handle=Steady(world)))
    with pytest.raises(RejectedError) as first:
        _again(world, pipeline)
    world.answers["GetCACert"] = GONE
    with pytest.raises(TransportError):
        _again(world, world.pipeline(ca={"identifier": "other"}))
    place = _record(world).place
    world.state.journal.end(place, outcome="failed", exit_code=78, at=world.now(), message="a broken file")
    with pytest.raises(RejectedError) as held:
        _again(world, pipeline)
    assert held.value.message == f"not asked again, since nothing has changed: {first.value.message}"
    assert (held.value.exit_code, held.value.fail_info_text) == (73, "your clock is wrong")
    assert "GetCACert" not in world.operations
    record = _record(world)
    assert (record.outcome, record.exit_code, record.message) == ("rejected", 73, first.value.message)
    assert _state(world) == "rejected"
    ended_at = record.ended_at
    world.slept_s.append(60)
    with pytest.raises(RejectedError):
        _again(world, pipeline)
    assert _record(world).ended_at == ended_at, "a run that changes nothing writes nothing"


def test_a_rejection_from_the_future_is_past(refused):
    """The clock was ahead, which may be why it was rejected."""
    world, pipeline, _ = refused
    world.slept_s.append(-30 * DAY_S)
    assert _again(world, pipeline, renew=True).action == "renewed"


def test_a_rejection_from_the_future_holds_no_due_renewal_up(refused):
    world, pipeline, _ = refused
    world.slept_s.append(-DAY_S)
    assert _again(world, pipeline).action == "renewed"


def test_a_process_that_ends_right_after_a_rejection_leaves_its_reason(world, monkeypatch):
    world.responder.knobs = Knobs(reject=2)
    pipeline = world.pipeline(transport=Wire(handle=Steady(world)))

    def die(_self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "discard", die)
        with pytest.raises(KeyboardInterrupt):
            _again(world, pipeline)
    record = _record(world)
    assert (record.outcome, record.exit_code, _state(world)) == ("rejected", 72, "rejected")
    with pytest.raises(RejectedError, match="not asked again, since nothing has changed: the CA rejected"):
        _again(world, pipeline)
    assert world.kept == []


def test_a_request_that_is_rejected_after_days_is_not_asked_again(world):
    pipeline = world.pipeline(transport=Wire(handle=Steady(world)))
    world.responder.knobs = Knobs(pending=1, reject=2)
    with pytest.raises(PendingError):
        _again(world, pipeline, wait_s=0)
    world.slept_s.append(DAY_S)
    with pytest.raises(RejectedError):
        _again(world, pipeline)
    with pytest.raises(RejectedError, match="not asked again"):
        _again(world, pipeline)
    assert world.requests == []


@pytest.mark.parametrize(("expired", "kinds"), [("enroll", [19, 19]), ("renew", [19, 17])])
def test_an_expired_certificate_is_replaced_as_the_pipeline_says(world, expired, kinds):
    pipeline = world.pipeline(renew=RenewOptions(expired=expired))
    world.run(pipeline)
    world.slept_s.append(366 * DAY_S)
    with suppress(RejectedError):  # what the CA thinks of it is its own affair
        _again(world, pipeline)
    assert [request.message_type for request in world.responder.requests][:2] == kinds


# -- what is noted on the way


def test_every_poll_is_noted_before_it_leaves(world):
    world.responder.knobs = Knobs(pending=9)
    with pytest.raises(PendingError):
        world.run()
    attempt = _record(world).open
    assert (attempt.polls, attempt.asked_at, attempt.pending) == (2, world.now(), True)


def test_a_clock_that_was_set_back_makes_no_wait_longer_than_the_poller_s(world):
    world.responder.knobs = Knobs(pending=9)
    pipeline = world.pipeline(poller=Delays(seconds=(60, 120)))
    with pytest.raises(PendingError):
        _again(world, pipeline, wait_s=0)
    world.slept_s.append(-DAY_S / 2)
    with pytest.raises(PendingError):
        _again(world, pipeline)
    waits = [event for event in world.events if type(event).__name__ == "PollScheduled"]
    assert [(event.delay_s, event.waited_s) for event in waits] == [(60, 0), (120, 60)]


class Post(OutputSink, frozen=True, kw_only=True, tag="post"):
    """Sends it to an address, where nobody can look whether it is there."""

    address: str

    def write(self, issued, run):
        pass


def test_a_sink_whose_options_have_changed_gets_the_certificate_again(world):
    def pipeline(address):
        return world.pipeline(sinks={"post": Post(address=address)})

    world.run(pipeline("one"))
    assert _again(world, pipeline("one")).action == "unchanged"
    assert _again(world, pipeline("two")).action == "delivered"
    assert _again(world, pipeline("two")).action == "unchanged"


def test_a_process_that_ends_between_two_sinks_leaves_the_second_behind(world):
    class Deadly(OutputSink, frozen=True, kw_only=True, tag="deadly"):
        def write(self, issued, run):
            raise KeyboardInterrupt

    sinks = world.pipeline().sinks | {"last": Deadly()}
    with pytest.raises(KeyboardInterrupt):
        world.run(world.pipeline(sinks=sinks))
    assert _state(world) == "degraded"
    deliveries = _record(world).deliveries
    assert (deliveries["box"].error, bool(deliveries["last"].error)) == (None, True)


def test_a_sink_that_failed_is_worse_news_than_a_renewal_that_is_pending(world):
    broken = [1]
    sinks = world.pipeline().sinks | {"flaky": Flaky(broken=broken, got=[])}
    first = world.run(world.pipeline(sinks=sinks))
    world.responder.knobs = Knobs(pending=9)
    world.slept_s.append(365 * DAY_S * 0.8)
    outcome = _again(world, world.pipeline(sinks=sinks), wait_s=0)
    assert (outcome.word, outcome.exit_code, outcome.certificate) == ("degraded", 6, first.certificate)
    assert [delivery.sink for delivery in outcome.deliveries] == ["flaky"]
    assert outcome.pending.exit_code == 3
    assert (_record(world).outcome, _record(world).exit_code) == ("degraded", 6)
    broken.clear()
    with pytest.raises(PendingError):
        _again(world, world.pipeline(sinks=sinks), wait_s=0)


# -- a journal that is lost


def test_a_key_that_a_new_journal_does_not_know_is_kept_and_told_of(world):
    key = world.run().credential.key
    world.state.journal.path.unlink()
    for _ in range(2):  # and not only by the run that finds it
        with pytest.raises(
            StateError, match=r"the journal does not know .*: .*scepflow run .*gw1.toml --adopt"
        ):
            _again(world)
        assert world.requests == []
    (kept,) = (world.state.path / "unknown").rglob("key.pem")
    assert load_pem_private_key(kept.read_bytes(), None).private_numbers() == key.private_numbers()
    assert world.state.journal.history()[0].kind == "set-aside"
    assert str(kept.parent) in world.state.journal.history()[0].text
    assert _again(world, again=True).action == "issued"
    assert _again(world).action == "unchanged"


def test_a_pending_request_that_a_new_journal_does_not_know_is_kept(world):
    world.responder.knobs = Knobs(pending=9)
    with pytest.raises(PendingError):
        world.run(wait_s=0)
    world.state.journal.path.write_bytes(b"")
    with pytest.raises(StateError, match="the journal does not know"):
        _again(world, wait_s=0)
    assert world.warnings == ["unknown-transaction"]
    assert world.requests == []
    assert len(list((world.state.path / "unknown").rglob("enrollment.json"))) == 1


def test_an_identifier_that_would_lead_out_of_the_state_directory_is_an_error(world):
    world.run()
    with closing(sqlite3.connect(world.state.journal.path)) as db, db:
        db.execute("UPDATE attempt SET transaction_id = '../../x', status = 'sent'")
    with pytest.raises(StateError, match="not a transaction id"):
        _again(world)


# -- a pipeline file that cannot be read


def test_a_run_that_could_not_begin_is_noted_of_a_pipeline_that_is_known(world):
    file = world.pipeline().file
    note = {"message": "line 3: no", "hint": "see", "at": world.now()}
    note_unreadable(world.state, file, **note)
    assert world.state.journal.pipelines() == ()
    world.run()
    note_unreadable(world.state, file, **note)
    assert (_state(world), _record(world).exit_code, _record(world).message) == ("blocked", 78, "line 3: no")
    assert _again(world).action == "unchanged"
    assert (_state(world), _record(world).exit_code) == ("valid", 0)


def test_what_is_asked_for_anew_needs_no_key_of_the_certificate_that_it_replaces(world):
    world.run()
    (key,) = world.state.path.rglob("key.pem")
    key.unlink()
    more = world.pipeline(sinks={"box": Box(content=[]), "second": Box(content=[])})
    with pytest.raises(StateError):
        _again(world, more)
    assert _again(world, more, enroll=True).action == "issued"
