"""What a run decides: enroll, go on, renew, deliver again, or nothing; and what survives between runs."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from run_fixtures import Delays, GivenKey, Wire, World, new_authority, new_rsa_key

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
from scepflow.runner import run_pipeline
from scepflow.stages import OutputSink
from scepflow.testca import Knobs, Responder
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
    with pytest.raises(RejectedError):
        world.run()
    with pytest.raises(RejectedError, match="not asked again") as caught:
        _again(world)
    assert (caught.value.exit_code, world.requests) == (72, [])
    world.responder.knobs = Knobs()
    with pytest.raises(RejectedError):
        _again(world)
    assert _again(world, again=True).action == "issued"


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
    from scepflow_bundled.file_sink import FileSink

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
