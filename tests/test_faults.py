"""What a stage raises comes out as an error of its kind, and a bug names its plugin."""

from contextlib import contextmanager

import pytest

from scepflow.errors import OptionError, RejectedError, SinkError, StageError, TransportError
from scepflow.faults import connected, working
from scepflow.stages import OutputSink, Transport
from scepflow_bundled.file_sink import FileSink


class Sink(OutputSink, frozen=True, kw_only=True, tag="mine"):
    pass


class Wire(Transport, frozen=True, kw_only=True, tag="wire"):
    opens: bool = True
    closes: bool = True

    @contextmanager
    def connect(self, run):
        if not self.opens:
            raise OSError("no wire")
        yield self
        if not self.closes:
            raise OSError("stuck")

    def send(self, request):
        raise OSError(request)


def test_a_stage_error_gets_kind_and_name_where_it_has_none():
    with pytest.raises(SinkError) as caught, working(Sink()):
        raise SinkError("full")
    assert (caught.value.kind, caught.value.name) == ("sink", "mine")


def test_a_stage_error_keeps_the_kind_and_name_it_has():
    with pytest.raises(StageError) as caught, working(Sink()):
        raise StageError("odd", kind="key source", name="other")
    assert (caught.value.kind, caught.value.name) == ("key source", "other")


def test_a_secret_that_cannot_be_read_is_the_stages_error():
    with pytest.raises(SinkError, match="not set") as caught, working(Sink()):
        raise OptionError("the environment variable X is not set", hint="set it")
    assert caught.value.hint == "set it"


def test_other_errors_of_ours_pass():
    rejected = RejectedError("no", fail_info=2, transaction_id="t")
    with pytest.raises(RejectedError) as caught, working(Sink()):
        raise rejected
    assert caught.value is rejected


def test_a_foreign_exception_is_sanitised_and_names_its_module():
    with pytest.raises(SinkError) as caught, working(Sink()):
        raise ValueError("bad \x1b[2J bytes")
    assert caught.value.message == "sink mine broke: ValueError: bad \\x1b[2J bytes"
    assert caught.value.hint == f"this is a bug in {__name__}"
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_foreign_exception_names_distribution_and_version():
    with pytest.raises(SinkError) as caught, working(FileSink(cert="x")):
        raise ValueError("bad")
    assert caught.value.hint.startswith("this is a bug in scepflow 0")
    assert caught.value.hint.endswith("(scepflow_bundled.file_sink)")


def test_a_keyboard_interrupt_is_no_ones_bug():
    with pytest.raises(KeyboardInterrupt), working(Sink()):
        raise KeyboardInterrupt


def test_whatever_a_connection_raises_is_a_transport_error(stage_run):
    with pytest.raises(TransportError, match="no wire"), connected(Wire(opens=False), stage_run):
        pass
    with pytest.raises(TransportError, match="broke: OSError: hello"), connected(Wire(), stage_run) as wire:
        wire.send("hello")


def test_a_connection_that_does_not_close_is_a_warning(stage_run, recorded_events):
    with connected(Wire(closes=False), stage_run):
        pass
    assert [event.code for event in recorded_events] == ["transport-close"]


def test_the_error_inside_a_connection_is_the_one_that_counts(stage_run):
    with pytest.raises(RejectedError), connected(Wire(), stage_run):
        raise RejectedError("no", fail_info=2, transaction_id="t")
