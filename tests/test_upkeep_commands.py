"""What a person does between runs: deliver once more, go back, adopt; and what the next run makes of it."""

from datetime import timedelta

import pytest
from run_fixtures import Box, GivenKey, Wire, World, new_rsa_key

from scepflow.errors import LockedError, OptionError, PendingError, SinkError, StateError
from scepflow.pipeline import RenewOptions
from scepflow.stages import OutputSink
from scepflow.standing import standing_of
from scepflow.testca import Knobs
from scepflow.upkeep import adopt, deliver_again, roll_back

DAY_S = 86400


@pytest.fixture
def renewed(world):
    """A world with a certificate that was due, and the one that replaced it."""
    world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    world.run(_with_new_key(world))
    world.requests.clear()
    world.events.clear()
    return world


def _with_new_key(world, **changed):
    return world.pipeline(key=GivenKey(key=new_rsa_key()), **changed)


class Full(OutputSink, frozen=True, kw_only=True, tag="full"):
    def write(self, issued, run):
        raise SinkError("no space left")


def _call(command, world, *args, pipeline=None):
    return command(
        pipeline or world.pipeline(), *args, emit=world.events.append, state=world.state, system=world.system
    )


def _record(world):
    return world.state.journal.pipeline(world.state.place(world.pipeline().file))


def _state(world):
    return standing_of(_record(world), world.now()).state


def _history(world):
    return [happening.kind for happening in world.state.journal.history()]


# -- deliver


def test_everyone_gets_the_certificate_once_more_without_the_ca(world):
    first = world.run()
    world.requests.clear()
    outcome = _call(deliver_again, world, ())
    assert (outcome.action, outcome.exit_code, outcome.certificate) == ("delivered", 0, first.certificate)
    assert [got.certificate for got in world.box] == [first.credential.certificate] * 2
    assert world.box[1].key.private_numbers() == world.key.private_numbers()
    assert world.requests == []


def test_delivering_is_told_as_a_run(world):
    world.run()
    world.events.clear()
    _call(deliver_again, world, ())
    assert world.told == ["RunStarted", "SinkDelivered", "RunFinished"]
    assert (world.events[-1].outcome, world.events[-1].exit_code) == ("delivered", 0)


def test_only_the_sinks_that_are_named_get_it(world):
    sinks = world.pipeline().sinks | {"other": Box(content=[])}
    pipeline = world.pipeline(sinks=sinks)
    world.run(pipeline)
    outcome = _call(deliver_again, world, ("other",), pipeline=pipeline)
    assert [delivery.sink for delivery in outcome.deliveries] == ["other"]
    assert (len(world.box), len(sinks["other"].content)) == (1, 2)


def test_a_sink_that_fails_now_is_behind_until_a_run_has_tried_again(world):
    world.run()
    broken = world.pipeline(sinks={"box": Full()})
    outcome = _call(deliver_again, world, (), pipeline=broken)
    assert (outcome.word, outcome.exit_code, _state(world)) == ("degraded", 6, "degraded")
    assert world.run().action == "delivered"
    assert _state(world) == "valid"


def test_a_sink_that_no_one_knows_is_named_with_those_that_are_known(world):
    world.run()
    with pytest.raises(OptionError, match="no sink is named 'bax'") as caught:
        _call(deliver_again, world, ("bax",))
    assert caught.value.hint == "known: box"


def test_there_is_nothing_to_deliver_before_the_first_certificate(world):
    with pytest.raises(StateError, match="no certificate yet"):
        _call(deliver_again, world, ())
    assert (world.events[-1].outcome, world.events[-1].exit_code) == ("failed", 78)


@pytest.mark.parametrize("command", [lambda *a, **k: deliver_again(*a, (), **k), roll_back])
def test_what_a_run_works_on_is_left_alone(renewed, command):
    box = list(renewed.box)
    with (
        renewed.state.locked(renewed.pipeline().file, name="gw1", now=renewed.now()),
        pytest.raises(LockedError),
    ):
        _call(command, renewed)
    assert renewed.box == box
    assert renewed.events[-1].outcome == "locked"


# -- roll back


def test_going_back_makes_the_earlier_pair_the_current_one_and_delivers_it(renewed):
    outcome = _call(roll_back, renewed)
    assert (outcome.action, outcome.exit_code) == ("rolled-back", 0)
    assert renewed.box[-1].certificate == renewed.box[0].certificate
    assert renewed.box[-1].key.private_numbers() == renewed.key.private_numbers()
    assert _record(renewed).current.certificate == outcome.certificate
    assert _history(renewed)[-2:] == ["rolled-back", "delivered"]
    assert renewed.requests == []


class Interrupted(OutputSink, frozen=True, kw_only=True, tag="interrupted"):
    """Ends the process when its turn comes to get what was there before."""

    serials: list

    def write(self, issued, run):
        if issued.certificate.serial_number in self.serials:
            raise KeyboardInterrupt
        self.serials.append(issued.certificate.serial_number)


def test_a_way_back_that_ends_before_a_sink_has_it_is_gone_by_the_next_run(world):
    """Though the sinks had that very certificate before."""
    pipeline = world.pipeline(sinks={"stop": Interrupted(serials=[]), "box": Box(content=world.box)})
    first = world.run(pipeline)
    world.run(pipeline, renew=True)
    with pytest.raises(KeyboardInterrupt):
        _call(roll_back, world, pipeline=pipeline)
    pipeline.sinks["stop"].serials.clear()
    outcome = world.run(pipeline)
    assert (outcome.action, outcome.certificate) == ("delivered", first.certificate)
    assert [delivery.sink for delivery in outcome.deliveries] == ["stop", "box"]
    assert world.box[-1].certificate == world.box[0].certificate


def test_a_way_back_forgets_what_sinks_had_that_the_pipeline_does_not_have_just_now(renewed):
    """They are in it again some day, and would hold another pair."""
    before = renewed.state.journal.before_current(_record(renewed).place)
    journal, place = renewed.state.journal, _record(renewed).place
    journal.deliver(place, before.transaction_id, "away", options="", at=renewed.now(), error=None)
    _call(roll_back, renewed)
    assert "away" not in _record(renewed).deliveries


def test_the_next_run_renews_what_one_went_back_to_if_it_is_due(renewed):
    outcome = _call(roll_back, renewed)
    assert outcome.renew_at <= renewed.now()
    assert _state(renewed) == "due"
    assert renewed.run(_with_new_key(renewed)).action == "renewed"


def test_what_one_went_back_to_stays_where_it_is_not_due(world):
    world.run()
    world.run(_with_new_key(world), renew=True)
    _call(roll_back, world)
    assert (_state(world), world.run().action) == ("valid", "unchanged")


def test_one_can_go_back_step_by_step_until_nothing_is_left(world):
    serials = [world.run(world.pipeline(renew=RenewOptions(keep=2))).certificate.serial]
    for _ in range(2):
        pipeline = _with_new_key(world, renew=RenewOptions(keep=2))
        serials.append(world.run(pipeline, renew=True).certificate.serial)
    went = [_call(roll_back, world).certificate.serial for _ in range(2)]
    assert went == serials[1::-1]
    with pytest.raises(StateError, match="no earlier certificate is kept"):
        _call(roll_back, world)


def test_what_one_went_back_from_is_not_what_one_goes_back_to_after_the_next_renewal(world):
    good = world.run()
    bad = world.run(_with_new_key(world), renew=True)
    _call(roll_back, world)
    world.run(_with_new_key(world), renew=True)
    assert _call(roll_back, world).certificate == good.certificate != bad.certificate
    with pytest.raises(StateError, match="no earlier certificate is kept"):
        _call(roll_back, world)


def test_with_nothing_kept_there_is_no_way_back(world):
    with pytest.raises(StateError, match="no earlier certificate is kept"):
        _call(roll_back, world)
    world.run(world.pipeline(renew=RenewOptions(keep=0)))
    world.run(_with_new_key(world, renew=RenewOptions(keep=0)), renew=True)
    with pytest.raises(StateError, match="no earlier certificate is kept") as caught:
        _call(roll_back, world)
    assert "keep" in caught.value.hint


def test_no_one_goes_back_to_a_certificate_that_has_expired(renewed):
    renewed.slept_s.append(365 * DAY_S * 0.3)
    current, box = _record(renewed).current, list(renewed.box)
    with pytest.raises(StateError, match="the earlier certificate expired on"):
        _call(roll_back, renewed)
    assert (_record(renewed).current, renewed.box) == (current, box)


def test_no_one_goes_back_while_a_request_is_open(renewed):
    """The certificate that is current now may have signed it, and its key opens the answer."""
    renewed.responder.knobs = Knobs(pending=1)
    with pytest.raises(PendingError):
        renewed.run(_with_new_key(renewed), renew=True, wait_s=0)
    with pytest.raises(StateError, match="has not decided") as caught:
        _call(roll_back, renewed)
    assert "--again" in caught.value.hint
    renewed.slept_s.append(60)
    assert renewed.run().action == "renewed"


def test_no_one_goes_back_to_a_certificate_whose_files_are_lost(renewed):
    current = _record(renewed).current
    for path in renewed.state.path.glob("*/*/certificate.pem"):
        if path.parent.name != current.transaction_id:
            path.unlink()
    with pytest.raises(StateError, match="missing or damaged"):
        _call(roll_back, renewed)
    assert _record(renewed).current == current
    assert _state(renewed) == "valid"


def test_a_sink_that_fails_on_the_way_back_is_retried_by_the_next_run(world):
    world.run()
    world.run(_with_new_key(world), renew=True)
    outcome = _call(roll_back, world, pipeline=world.pipeline(sinks={"box": Full()}))
    assert (outcome.word, outcome.exit_code, _state(world)) == ("degraded", 6, "degraded")
    assert world.run().action == "delivered"
    assert world.box[-1].certificate == world.box[0].certificate


# -- adopt


@pytest.fixture
def foreign(tmp_path_factory, world):
    """A certificate from the same CA that scepflow has not got for this pipeline."""
    other = World(directory=tmp_path_factory.mktemp("other"), authority=world.authority, key=new_rsa_key())
    other.responder = world.responder
    return other.run().credential


def _adopt(world, credential, *others, pipeline=None, key=None):
    certificates = [*others, credential.certificate, *credential.chain]
    return _call(adopt, world, key or credential.key, certificates, pipeline=pipeline)


@pytest.fixture
def fresh_keys(world):
    """A pipeline whose key source makes keys, as most do."""
    return _with_new_key(world)


def test_an_adopted_certificate_counts_as_delivered_and_is_not_asked_for(world, foreign):
    facts = _adopt(world, foreign)
    assert facts.serial == f"{foreign.certificate.serial_number:x}"
    outcome = world.run()
    assert (outcome.action, outcome.certificate) == ("unchanged", facts)
    assert (world.requests, world.box, _state(world)) == ([], [], "valid")
    assert _history(world) == ["adopted"]


def test_an_adopted_certificate_signs_its_renewal(world, foreign, fresh_keys):
    _adopt(world, foreign)
    world.slept_s.append(365 * DAY_S * 0.8)
    outcome = world.run(fresh_keys)
    assert outcome.action == "renewed"
    assert [request.message_type for request in world.responder.requests] == [19, 17]
    assert world.box[-1] == outcome.credential


def test_an_adopted_certificate_that_is_due_is_renewed_by_the_next_run(world, foreign, fresh_keys):
    world.slept_s.append(365 * DAY_S * 0.8)
    _adopt(world, foreign)
    assert _state(world) == "due"
    assert world.run(fresh_keys).action == "renewed"


def test_what_is_adopted_can_be_delivered(world, foreign):
    _adopt(world, foreign)
    _call(deliver_again, world, ())
    assert world.box[0].certificate == foreign.certificate
    assert world.box[0].chain == foreign.chain
    assert world.box[0].key.private_numbers() == foreign.key.private_numbers()


def test_adopting_the_same_once_more_changes_nothing(world, foreign):
    _adopt(world, foreign)
    assert _adopt(world, foreign) is None
    assert _history(world) == ["adopted"]


def test_of_several_that_fit_the_key_the_newest_is_adopted(world, foreign):
    world.responder.now = lambda: world.now() + timedelta(days=1)
    newer = world.run(world.pipeline(key=GivenKey(key=foreign.key))).credential
    other = World(directory=world.directory / "third", authority=world.authority, key=world.key)
    (world.directory / "third").mkdir()
    facts = _adopt(other, foreign, newer.certificate)
    assert facts.serial == f"{newer.certificate.serial_number:x}"


def test_a_certificate_for_another_key_is_not_adopted(world, foreign):
    with pytest.raises(StateError, match="fits the key"):
        _adopt(world, foreign, key=world.key)


def test_a_self_signed_certificate_is_not_adopted(world):
    ca = world.authority.ca
    with pytest.raises(StateError, match="self-signed"):
        _call(adopt, world, ca.key, [ca.certificate])


def test_an_expired_certificate_is_not_adopted(world, foreign):
    world.slept_s.append(366 * DAY_S)
    with pytest.raises(StateError, match="expired"):
        _adopt(world, foreign)


def test_nothing_is_adopted_where_a_certificate_or_a_request_is(world, foreign):
    world.responder.knobs = Knobs(pending=1)
    with pytest.raises(PendingError):
        world.run(wait_s=0)
    with pytest.raises(StateError, match="already"):
        _adopt(world, foreign)
    world.slept_s.append(60)
    world.run()
    with pytest.raises(StateError, match="already") as caught:
        _adopt(world, foreign)
    assert "status" in caught.value.hint


class DurableKey(GivenKey, frozen=True, kw_only=True, tag="durable"):
    """A key that can be had again, of which nothing is kept."""

    durable = True


def test_of_a_key_that_its_source_has_no_copy_is_kept(world, foreign):
    pipeline = world.pipeline(key=DurableKey(key=foreign.key))
    _adopt(world, foreign, pipeline=pipeline)
    assert world.kept == ["certificate.pem"]
    assert world.run(pipeline).action == "unchanged"


def test_a_certificate_for_another_key_than_that_of_the_source_is_not_adopted(world, foreign):
    pipeline = world.pipeline(key=DurableKey(key=world.key))
    with pytest.raises(StateError, match=r"not the one of the certificate to adopt"):
        _adopt(world, foreign, pipeline=pipeline)
    assert (world.kept, _record(world).current) == ([], None)


def test_adopting_asks_nothing_of_the_ca(world, foreign):
    def handle(request):
        raise AssertionError("nothing is sent")

    _adopt(world, foreign, pipeline=world.pipeline(transport=Wire(handle=handle)))
