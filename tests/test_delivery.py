"""All sinks get the credential: prepared first, committed in two rounds, each on its own."""

import sys

import pytest

from scepflow.delivery import deliver, deliver_crl, describe
from scepflow.errors import SinkError
from scepflow.stages import OutputSink, Prepared


class Staged(OutputSink, frozen=True, kw_only=True, tag="staged"):
    """Notes what happens to it, and fails where it is told."""

    name: str
    log: list[str]
    fails_in: str = ""

    def prepare(self, issued, run):
        self._do("prepare")
        return Prepared(commit=lambda: self._do("commit"), discard=lambda: self._do("discard"))

    def write(self, issued, run):
        raise AssertionError("a sink that prepares is never asked to write")

    def _do(self, step):
        self.log.append(f"{step} {self.name}")
        if self.fails_in == step:
            raise SinkError("the disk is full")


class Written(OutputSink, frozen=True, kw_only=True, tag="written"):
    name: str
    log: list[str]

    def write(self, issued, run):
        self.log.append(f"write {self.name}")


@pytest.fixture
def log():
    return []


def _deliver(sinks, issued, stage_run):
    return deliver(sinks, issued, stage_run, monotonic_s=iter(range(1000)).__next__)


def test_files_are_in_place_before_anything_that_only_writes(issued, stage_run, log):
    """A reload command finds the new files, wherever it stands in the pipeline."""
    sinks = {
        "reload": Written(name="reload", log=log),
        "one": Staged(name="one", log=log),
        "two": Staged(name="two", log=log),
    }
    deliveries = _deliver(sinks, issued, stage_run)
    assert log[:5] == ["prepare one", "prepare two", "commit one", "commit two", "write reload"]
    assert [(d.sink, d.error) for d in deliveries] == [("reload", None), ("one", None), ("two", None)]


def test_a_sink_that_cannot_prepare_is_not_committed(issued, stage_run, log):
    sinks = {
        "bad": Staged(name="bad", log=log, fails_in="prepare"),
        "good": Staged(name="good", log=log),
    }
    bad, good = _deliver(sinks, issued, stage_run)
    assert "commit bad" not in log
    assert "commit good" in log
    assert (bad.error.message, bad.error.name, good.error) == ("the disk is full", "staged", None)


def test_a_sink_that_cannot_commit_discards_what_it_prepared(issued, stage_run, log):
    sinks = {"bad": Staged(name="bad", log=log, fails_in="commit"), "good": Staged(name="good", log=log)}
    bad, good = _deliver(sinks, issued, stage_run)
    assert log.index("discard bad") > log.index("commit bad")
    assert (bad.error.message, good.error) == ("the disk is full", None)


def test_a_sink_that_ends_the_process_stops_no_other(issued, stage_run, log):
    class Quitting(OutputSink, frozen=True, kw_only=True, tag="quitting"):
        def write(self, issued, run):
            sys.exit(0)

    quitting, other = _deliver(
        {"quitting": Quitting(), "other": Written(name="other", log=log)}, issued, stage_run
    )
    assert quitting.error.message == "sink quitting broke: SystemExit: 0"
    assert (log, other.error) == (["write other"], None)


def test_an_interruption_discards_what_stands_prepared(issued, stage_run, log):
    class Interrupted(OutputSink, frozen=True, kw_only=True, tag="interrupted"):
        def prepare(self, issued, run):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _deliver({"one": Staged(name="one", log=log), "two": Interrupted()}, issued, stage_run)
    assert log == ["prepare one", "discard one"]


def test_a_discard_that_fails_changes_no_result(issued, stage_run, log):
    (delivery,) = _deliver({"one": Staged(name="one", log=log, fails_in="discard")}, issued, stage_run)
    assert delivery.error is None


def test_each_sink_is_told_with_its_time(issued, stage_run, recorded_events, log):
    sinks = {"good": Staged(name="good", log=log), "bad": Staged(name="bad", log=log, fails_in="commit")}
    _deliver(sinks, issued, stage_run)
    good, bad = recorded_events
    assert (good.sink, good.detail, good.elapsed_s) == ("good", "staged", 2)
    assert (bad.sink, bad.error) == ("bad", "the disk is full")


def test_a_sink_that_cannot_say_where_it_writes_is_called_by_its_name():
    class Silent(OutputSink, frozen=True, kw_only=True, tag="silent"):
        def describe(self):
            raise ZeroDivisionError

    class Tricky(OutputSink, frozen=True, kw_only=True, tag="tricky"):
        def describe(self):
            return "a\x1b[31mb"

    assert describe(Silent()) == "silent"
    assert describe(Tricky()) == "a\\x1b[31mb"


def test_no_sinks_are_no_deliveries(issued, stage_run):
    assert _deliver({}, issued, stage_run) == ()


# -- who waits


class Waiting(Written, frozen=True, kw_only=True, tag="waiting"):
    files: tuple[str, ...]

    def waits_for(self):
        if self.files == ("broken",):
            raise ZeroDivisionError
        return self.files


@pytest.mark.parametrize("step", ["prepare", "commit"])
def test_who_only_acts_waits_while_files_are_not_there(issued, stage_run, log, recorded_events, step):
    sinks = {
        "all": Written(name="all", log=log),
        "first": Waiting(name="first", log=log, files=("one",)),
        "none": Waiting(name="none", log=log, files=()),
        "broken": Waiting(name="broken", log=log, files=("broken",)),
        "one": Staged(name="one", log=log),
        "two": Staged(name="two", log=log, fails_in=step),
    }
    deliveries = {delivery.sink: delivery.error for delivery in _deliver(sinks, issued, stage_run)}
    assert [entry for entry in log if entry.startswith("write")] == ["write first", "write none"]
    assert str(deliveries["all"]) == str(deliveries["broken"]) == "waits for sink two"
    assert deliveries["first"] is deliveries["none"] is None


def test_who_only_acts_waits_for_what_is_behind_from_before(issued, stage_run, log):
    sinks = {"bell": Written(name="bell", log=log)}
    (delivery,) = deliver(
        sinks,
        issued,
        stage_run,
        monotonic_s=iter(range(9)).__next__,
        waits={"bell": ("one", "two")},
        behind=("one", "two"),
    )
    assert (str(delivery.error), log) == ("waits for sinks one, two", [])


# CRLs


class Lists(Written, frozen=True, kw_only=True, tag="lists"):
    """Takes CRLs, and fails where it is told."""

    error: Exception | None = None

    def write_crl(self, crl, run):
        if self.error:
            raise self.error
        self.log.append(f"{self.name} has {crl}")
        return "crls/\x1b[31mca.crl"


def test_a_crl_goes_to_the_sinks_that_take_one(stage_run, recorded_events, log):
    sinks = {"plain": Written(name="plain", log=log), "lists": Lists(name="lists", log=log)}
    deliveries = deliver_crl(sinks, "a CRL", stage_run, monotonic_s=iter((0, 1, 2.5)).__next__)
    assert log == ["lists has a CRL"]
    assert [(d.sink, d.detail, d.error) for d in deliveries] == [("lists", r"crls/\x1b[31mca.crl", None)]
    assert [(event.sink, event.elapsed_s) for event in recorded_events] == [("lists", 1.5)]


def test_a_sink_that_cannot_take_a_crl_stops_no_other(stage_run, recorded_events, log):
    sinks = {
        "full": Lists(name="full", log=log, error=SinkError("the disk is full")),
        "buggy": Lists(name="buggy", log=log, error=KeyError("x")),
        "lists": Lists(name="lists", log=log),
    }
    deliveries = deliver_crl(sinks, "a CRL", stage_run, monotonic_s=iter(range(9)).__next__)
    assert [delivery.error is None for delivery in deliveries] == [False, False, True]
    assert "lists broke: KeyError" in deliveries[1].error.message
    assert [type(event).__name__ for event in recorded_events] == [
        "SinkFailed",
        "SinkFailed",
        "SinkDelivered",
    ]
