from base64 import b64encode
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_fixtures import Wire

from scepflow.engine.exchange import HttpResponse
from scepflow.engine.queries import ca_caps_request
from scepflow.errors import PendingError, RejectedError, SinkError, TransportError
from scepflow.events import KeyReady, SinkFailed
from scepflow.faults import connected
from scepflow.inquiry import get_capabilities
from scepflow.masks import SHORTEST, Masks
from scepflow.options import Secret
from scepflow.stages import OutputSink
from scepflow.system import make_run
from scepflow.testca import Knobs
from scepflow.text import sanitise
from scepflow_bundled.csr import SubjectCsrBuilder

SECRET = "Ch4llenge+of/this=CA~ü"


NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Quoted(Wire, frozen=True, kw_only=True, tag="quoted"):
    """Has a login."""

    def connect(self, run):
        run.hide(SECRET)
        return super().connect(run)


class Told(OutputSink, frozen=True, kw_only=True, tag="told"):
    """Is answered with its own token."""

    token: Secret

    def write(self, issued, run):
        raise SinkError(f"HTTP 401: no {run.reveal(self.token)}")


@pytest.fixture
def masks():
    masks = Masks()
    masks.add(SECRET)
    return masks


@pytest.mark.parametrize(
    "quoted",
    [
        SECRET,
        SECRET.upper(),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").replace("%2B", "%2b"),
        SECRET.encode().hex(),
        SECRET.encode().hex(":").upper(),
        repr(SECRET.encode())[2:-1],
        b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_hidden_in_every_form(masks, quoted):
    assert masks.hide(f'the text: "{quoted}", and more') == 'the text: "***", and more'


@pytest.mark.parametrize("user", ["", "a", "ab", "bob"])
def test_a_login_is_hidden_whole(masks, user):
    login = b64encode(f"{user}:{SECRET}".encode()).decode()
    assert masks.hide(f"Authorization: Basic {login}, twice {login}") == "Authorization: Basic ***, twice ***"


@pytest.mark.parametrize("limit", range(22, 38))
def test_the_start_of_a_secret_whose_end_is_cut_off_is_hidden(masks, limit):
    shown = masks.hide(sanitise(f"not known here: {SECRET} is spent", limit=limit))
    assert SECRET[:SHORTEST] not in shown
    assert shown.startswith("not known here: ")


def test_what_is_on_both_sides_of_an_ellipsis_stays(masks):
    assert masks.hide("one… two… three Ch4…") == "one… two… three Ch4…"


@pytest.mark.parametrize(
    "secret", ["<b>word</b> of a CA", 'it\'s & "quoted"', "two\nlines\tof\x1bit", "   spaced   out   "]
)
def test_a_secret_is_hidden_as_it_is_shown(secret):
    masks = Masks()
    masks.add(secret)
    shown = sanitise(f"so {secret} it")
    assert masks.hide(shown) != shown


def test_the_name_of_bytes_that_are_no_text_is_hidden():
    masks = Masks()
    masks.add("pass\udcffword")
    assert masks.hide(sanitise("not pass\udcffword")) == "not ***"


def test_a_secret_that_ordinary_words_contain_is_shown():
    masks = Masks()
    masks.add("a" * (SHORTEST - 1))
    assert masks.hide("aaaaaaaa") == "aaaaaaaa"
    masks.add("a" * SHORTEST)
    assert masks.hide("bbaaaaaabb") == "bb***bb"


@given(st.text(), st.text(min_size=SHORTEST), st.text())
def test_no_secret_stays(before, secret, after):
    masks = Masks()
    masks.add(secret)
    shown = masks.hide(sanitise(before + secret + after, limit=1000))
    assert secret.lower() not in shown.lower() or secret in "***"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be", "latin-1"])
def test_a_secret_is_found_in_bytes(masks, encoding):
    assert masks.is_in(b"\x30\x82\xff" + SECRET.encode(encoding) + b"\xfe")
    assert not masks.is_in(b"\x30\x82\xff")
    assert not Masks().is_in(SECRET.encode(encoding))


def test_an_event_keeps_the_names_of_the_pipeline(masks):
    failed = SinkFailed(pipeline=SECRET, at=NOW, sink=SECRET, error=f"it said {SECRET}")
    assert masks.hide_in_event(failed) == SinkFailed(
        pipeline=SECRET, at=NOW, sink=SECRET, error="it said ***"
    )
    ready = KeyReady(pipeline="gw1", at=NOW, stage="file", description="RSA-2048")
    assert masks.hide_in_event(ready) is ready


def test_an_error_and_what_led_to_it_lose_the_secret(masks):
    cause = ValueError(f"bad {SECRET}", 3)
    error = RejectedError(
        f"no: {SECRET}", fail_info=2, fail_info_text=SECRET, transaction_id="1", hint=f"is {SECRET} right?"
    )
    error.__cause__ = cause
    cause.__context__ = error  # a circle
    masks.hide_in_error(error)
    assert (error.message, error.hint, error.fail_info_text, str(error)) == (
        "no: ***",
        "is *** right?",
        "***",
        "no: ***",
    )
    assert cause.args == ("bad ***", 3)


def test_an_error_without_a_hint_stays_without(masks):
    error = TransportError("nothing", url=f"http://ca.test/{SECRET}")
    masks.hide_in_error(error)
    assert (error.message, error.hint, error.url) == ("nothing", None, "http://ca.test/***")


def test_nothing_shows_the_secrets_of_masks(masks):
    assert SECRET not in repr(masks)


def test_a_run_hides_what_it_has_revealed_in_what_it_tells(world):
    run = make_run(world.pipeline(), world.events.append, world.system)
    run.warn("before", f"it said {SECRET}")
    assert run.reveal(Secret(SECRET)) == SECRET
    run.warn("after", f"it said {SECRET}")
    assert [event.text for event in world.events] == [f"it said {SECRET}", "it said ***"]


@pytest.mark.parametrize("error", [TransportError(f"403: {SECRET}"), ValueError(f"403: {SECRET}")])
def test_an_error_of_a_connection_does_not_quote_a_secret(world, error):
    world.answers["GetCACaps"] = error
    pipeline = world.pipeline()
    run = make_run(pipeline, world.events.append, world.system)
    run.hide(SECRET)
    with (
        pytest.raises(TransportError, match=r"403: \*\*\*"),
        connected(pipeline.transport, run) as connection,
    ):
        connection.send(ca_caps_request(pipeline.ca.url))
    assert str(error) == "403: ***"


def test_capabilities_that_quote_a_login_are_told_without(world):
    world.answers["GetCACaps"] = HttpResponse(status=200, body=f"AES\nfor {SECRET}".encode())
    pipeline = world.pipeline(transport=Quoted(handle=world.handle))
    answer = get_capabilities(pipeline, emit=world.events.append, system=world.system)
    assert answer.capabilities.unknown == ("for ***",)


def test_a_request_that_goes_on_hides_its_challenge_still(world):
    asking = world.pipeline(csr=SubjectCsrBuilder(subject="CN=gw1", challenge=Secret(SECRET)))
    world.responder.behave(Knobs(challenge=SECRET, pending=9))
    with pytest.raises(PendingError):
        world.run(asking, wait_s=0)
    world.answers["PKIOperation"] = HttpResponse(status=500, body=f"{SECRET} is spent".encode())
    world.slept_s.append(3600)
    with pytest.raises(TransportError, match=r"\*\*\* is spent"):
        world.run(asking, wait_s=0)
    place = world.state.place(asking.file)
    assert SECRET not in repr(world.state.journal.pipeline(place))
    assert SECRET not in repr(world.events)


def test_a_sink_that_quotes_a_secret_is_told_without(world):
    outcome = world.run(world.pipeline(sinks={"told": Told(token=Secret(SECRET))}))
    assert outcome.deliveries[0].error.message == "HTTP 401: no ***"
    place = world.state.place(world.directory / "gw1.toml")
    assert world.state.journal.pipeline(place).deliveries["told"].error == "HTTP 401: no ***"
    assert SECRET not in repr(world.events)
