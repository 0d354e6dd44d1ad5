"""When a process that stays runs which pipeline; its clock is moved by waiting alone."""

from dataclasses import dataclass, field
from datetime import timedelta

import msgspec
import pytest
from journal_fixtures import ATTEMPT, FACTS, RECORD
from run_fixtures import Delays

from scepflow.daemon import Daemon, Order, next_step_at
from scepflow.stages import Poller
from scepflow.testing import NOW

HOUR_S = 3600
NONE = Order(0)


@dataclass
class World:
    """A clock, orders to come, and pipelines that say when they have something to do.

    Attributes:
        orders_at: second → the order that comes then.
        steps: file → seconds from the begin at which it has something to do of itself.
        took_s: how long each run takes.
        ran: what ran, and in which second.
    """

    files: tuple = ("a", "b")
    orders_at: dict = field(default_factory=dict)
    steps: dict = field(default_factory=dict)
    took_s: float = 0
    until_s: float = 3 * HOUR_S
    elapsed_s: float = 0
    set_back_s: float = 0
    stopping: bool = False
    ran: list = field(default_factory=list)
    waited_s: list = field(default_factory=list)
    rests: list = field(default_factory=list)
    reloads: list = field(default_factory=list)

    def now(self):
        return NOW + timedelta(seconds=self.elapsed_s - self.set_back_s)

    def wait(self, timeout_s):
        assert timeout_s >= 1, "a busy loop"
        self.waited_s.append(timeout_s)
        coming_s = [at_s for at_s in self.orders_at if at_s <= self.elapsed_s + timeout_s]
        if not coming_s:
            self.elapsed_s += timeout_s
            self.stopping = self.elapsed_s > self.until_s
            return Order.STOP if self.stopping else NONE
        self.elapsed_s = max(self.elapsed_s, min(coming_s))
        order = self.orders_at.pop(min(coming_s))
        self.stopping = Order.STOP in order
        return order

    def run(self, file):
        self.ran.append((file, self.elapsed_s))
        self.elapsed_s += self.took_s
        later_s = [at_s for at_s in self.steps.get(file, ()) if at_s > self.ran[-1][1]]
        return NOW + timedelta(seconds=later_s[0]) if later_s else None

    def serve(self):
        Daemon(
            files=self.files,
            run=self.run,
            rest=lambda: self.rests.append(len(self.ran)),
            reload=lambda: self.reloads.append(self.elapsed_s),
            orders=self,
            now=self.now,
            interval=timedelta(hours=1),
        ).serve()
        return self.ran


def test_every_pipeline_runs_at_once_and_then_at_the_interval():
    world = World(until_s=2.5 * HOUR_S)
    assert world.serve() == [("a", 0), ("b", 0), ("a", 3600), ("b", 3600), ("a", 7200), ("b", 7200)]
    assert world.rests == [2, 4, 6]


def test_a_pipeline_runs_when_it_has_something_to_do_and_the_others_do_not():
    world = World(steps={"b": (60, 180, 90000)}, until_s=1.5 * HOUR_S)
    assert world.serve() == [("a", 0), ("b", 0), ("b", 60), ("b", 180), ("a", 3600), ("b", 3780)]


def test_what_was_due_and_has_not_been_done_waits_for_the_interval():
    """A poll that no server answers must not be repeated at once."""
    world = World(files=("a",), until_s=1.5 * HOUR_S)
    world.run = lambda _: world.ran.append(world.elapsed_s) or NOW
    assert world.serve() == [0, 3600]


def test_what_became_due_while_others_ran_is_not_late_by_an_interval():
    world = World(steps={"a": (60,)}, took_s=50, until_s=HOUR_S / 2)
    assert world.serve() == [("a", 0), ("b", 50), ("a", 101)]


def test_the_pause_is_never_so_long_that_a_machine_that_slept_goes_unnoticed():
    world = World(files=("a",), until_s=HOUR_S / 2)
    world.serve()
    assert set(world.waited_s) == {600}


@pytest.mark.parametrize(("order", "reloads"), [(Order.RUN, []), (Order.RELOAD, [100])])
def test_an_order_to_run_is_obeyed_at_once_by_all(order, reloads):
    world = World(orders_at={100: order}, until_s=HOUR_S / 2)
    assert world.serve() == [("a", 0), ("b", 0), ("a", 100), ("b", 100)]
    assert world.reloads == reloads


def test_an_order_to_stop_ends_it():
    world = World(orders_at={100: Order.STOP})
    assert world.serve() == [("a", 0), ("b", 0)]
    assert world.elapsed_s == 100


def test_an_order_to_stop_in_a_run_lets_it_end_and_begins_no_other():
    world = World()

    def run(file):
        world.ran.append(file)
        world.stopping = True

    world.run = run
    assert world.serve() == ["a"]
    assert world.rests == [1]
    assert world.waited_s == []


def test_an_order_to_stop_before_the_first_run_runs_nothing():
    world = World(stopping=True)
    assert world.serve() == []


def test_a_clock_that_is_set_back_does_not_silence_it():
    world = World(files=("a",), until_s=2 * HOUR_S)
    wait = world.wait

    def set_back(timeout_s):
        order = wait(timeout_s)
        world.set_back_s = 365 * 24 * HOUR_S
        return order

    world.wait = set_back
    assert world.serve() == [("a", 0), ("a", 600), ("a", 4200)]


# -- what a pipeline has to do of itself


def waiting(**changed):
    attempt = msgspec.structs.replace(ATTEMPT, status="sent", certificate=None, pending=True, **changed)
    return msgspec.structs.replace(RECORD, current=None, renew_at=None, open=attempt)


def after_s(record, *delays):
    at = next_step_at(record, Delays(seconds=delays), NOW)
    return at and (at - NOW).total_seconds()


def test_a_pending_request_is_polled_when_the_poller_says_counted_from_the_request():
    asked_at = NOW + timedelta(seconds=60)
    assert after_s(waiting(), 60, 120, 240) == 60
    assert after_s(waiting(asked_at=asked_at), 60, 120, 240) == 180
    assert after_s(waiting(asked_at=asked_at + timedelta(seconds=1)), 60, 120, 240) == 180
    assert after_s(waiting(asked_at=NOW + timedelta(days=1)), 60, 120) is None
    assert after_s(waiting()) is None


def test_a_clock_that_was_set_back_makes_the_next_poll_count_from_the_latest():
    asked_at = NOW - timedelta(seconds=10)
    assert after_s(waiting(begun_at=NOW + timedelta(days=99), asked_at=asked_at), 60, 120) == 50


def test_a_pending_renewal_is_polled_though_a_certificate_is_there():
    record = msgspec.structs.replace(RECORD, open=waiting().open)
    assert after_s(record, 60) == 60


def test_a_certificate_is_renewed_when_it_is_due_and_enrolled_when_it_is_over():
    poller = Delays(seconds=())
    assert next_step_at(RECORD, poller, NOW) == RECORD.renew_at
    assert next_step_at(RECORD, poller, RECORD.renew_at) == FACTS.not_after
    assert next_step_at(RECORD, poller, FACTS.not_after) is None
    assert next_step_at(msgspec.structs.replace(RECORD, renew_at=None), poller, NOW) == FACTS.not_after
    assert next_step_at(msgspec.structs.replace(RECORD, current=None), poller, NOW) is None


def test_a_poller_that_breaks_is_as_one_that_says_nothing():
    class Broken(Poller, frozen=True, kw_only=True, tag="broken"):
        """Breaks."""

        def delays_s(self):
            raise RuntimeError

    assert next_step_at(waiting(), Broken(), NOW) is None
