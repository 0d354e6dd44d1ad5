"""What a stage raises comes out as an error of its kind, and a bug names its plugin."""

import asyncio
from contextlib import contextmanager
from typing import Any

import pytest

from scepflow.engine.exchange import HttpRequest, HttpResponse
from scepflow.errors import (
    OptionError,
    PipelineError,
    RejectedError,
    ScepflowError,
    SinkError,
    StageError,
    TransportError,
)
from scepflow.faults import connected, working
from scepflow.stages import OutputSink, Transport
from scepflow_bundled.file_sink import FileSink

REQUEST = HttpRequest(method="GET", operation="GetCACaps", url="http://ca.test", max_response_bytes=1)


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


class Answering(Wire, frozen=True, kw_only=True, tag="answering"):
    answer: Any

    def send(self, request):
        return self.answer


class Careless(Wire, frozen=True, kw_only=True, tag="careless"):
    """Closes in a ``finally`` that fails, or swallows what was raised inside."""

    swallows: bool = False

    @contextmanager
    def connect(self, run):
        try:
            yield self
        except BaseException:
            if not self.swallows:
                raise
        finally:
            if not self.swallows:
                raise OSError("stuck")


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


def test_an_option_of_another_stage_stays_an_error_of_the_pipeline(stage_run):
    with pytest.raises(OptionError, match=r"transport wire \(password\): not set") as caught, working(Wire()):
        raise OptionError("not set", where="password", hint="set it")
    assert (caught.value.exit_code, caught.value.hint) == (78, "set it")


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


@pytest.mark.parametrize(
    "error", [SystemExit(0), asyncio.CancelledError(), BaseExceptionGroup("g", [SystemExit()])]
)
def test_a_stage_cannot_end_the_command(error):
    with (
        pytest.raises(SinkError, match=f"sink mine broke: {type(error).__name__}") as caught,
        working(Sink()),
    ):
        raise error
    assert (caught.value.exit_code, caught.value.__cause__) == (6, error)


class Stopped(KeyboardInterrupt):
    """As the command line makes one of SIGTERM."""


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, Stopped, GeneratorExit])
def test_an_interrupt_is_no_ones_bug(interrupt):
    with pytest.raises(interrupt) as caught, working(Sink()):
        raise interrupt
    assert caught.type is interrupt


FORGED = "full\x1b[2J\nerror: \u202eforged"


@pytest.mark.parametrize("kind", [SinkError, PipelineError])
def test_what_a_stage_says_is_one_line_and_only_its_hint_has_more(kind):
    with pytest.raises(kind) as caught, working(Sink()):
        raise kind(FORGED, hint="one\x07\ntwo\r")
    assert caught.value.message == str(caught.value) == "full\\x1b[2J\\nerror: \\u202eforged"
    assert caught.value.hint == "one\\x07\ntwo\\r"


@pytest.mark.parametrize("stage", [Sink(), Wire()])
def test_an_option_error_of_a_stage_is_one_line_too(stage):
    with pytest.raises(ScepflowError) as caught, working(stage):
        raise OptionError(FORGED, where="p\nq", hint="\x1b")
    assert caught.value.message.isprintable()
    assert caught.value.hint == "\\x1b"


def test_what_a_stage_says_is_not_endless():
    with pytest.raises(SinkError) as caught, working(Sink()):
        raise SinkError("x" * 100_000)
    assert len(caught.value.message) == 2000


def test_whatever_a_connection_raises_is_a_transport_error(stage_run):
    with pytest.raises(TransportError, match="no wire"), connected(Wire(opens=False), stage_run):
        pass
    with pytest.raises(TransportError, match="broke: OSError: hello"), connected(Wire(), stage_run) as wire:
        wire.send("hello")


def test_a_connection_that_does_not_close_is_a_warning(stage_run, recorded_events):
    with connected(Wire(closes=False), stage_run):
        pass
    assert [event.code for event in recorded_events] == ["transport-close"]


@pytest.mark.parametrize("swallows", [False, True])
def test_the_error_inside_a_connection_is_the_one_that_counts(stage_run, recorded_events, swallows):
    inside = TransportError("gone")
    with pytest.raises(TransportError) as caught, connected(Careless(swallows=swallows), stage_run):
        raise inside
    assert caught.value is inside
    assert [event.code for event in recorded_events] == ([] if swallows else ["transport-close"])


def test_an_interrupt_while_a_connection_closes_is_not_lost(stage_run):
    class Interrupted(Wire, frozen=True, kw_only=True, tag="interrupted"):
        @contextmanager
        def connect(self, run):
            yield self
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), connected(Interrupted(), stage_run):
        pass


def test_a_response_passes_as_it_is(stage_run):
    response = HttpResponse(status=200, body=b"AES")
    with connected(Answering(answer=response), stage_run) as wire:
        assert wire.send(REQUEST) is response


@pytest.mark.parametrize(
    "answer", [None, b"AES", HttpResponse(status="200"), HttpResponse(status=200, body="AES")]
)
def test_what_is_no_response_is_a_bug_of_its_transport(stage_run, answer):
    with (
        connected(Answering(answer=answer), stage_run) as wire,
        pytest.raises(TransportError, match="transport answering broke: TypeError: send") as caught,
    ):
        wire.send(REQUEST)
    assert (caught.value.kind, caught.value.name) == ("transport", "answering")
    assert caught.value.hint == f"this is a bug in {__name__}"
