"""A dry run tries everything that issues nothing, uses up nothing and changes nothing."""

import os
import pathlib
import sys
import threading
from dataclasses import dataclass, field

import msgspec
import pytest
from run_fixtures import Box, GivenKey, Wire, World

from scepflow.dryrun import exit_code, rehearse
from scepflow.errors import KeySourceError, PendingError, RejectedError, SinkError, TransportError
from scepflow.options import PathTemplate, Secret
from scepflow.pipeline import RenewOptions
from scepflow.stages import OutputSink, Signer
from scepflow.system import make_run
from scepflow.testca import Knobs
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.embedded import EmbeddedTransport
from scepflow_bundled.file_sink import FileSink
from scepflow_bundled.pkcs12_sink import Pkcs12Sink


class Picky(OutputSink, frozen=True, kw_only=True, tag="picky"):
    complaint: str = ""
    tokens: dict[str, Secret] = msgspec.field(default_factory=dict)
    parts: tuple[Secret, ...] = ()

    def check(self, run):
        if self.complaint:
            raise SinkError(self.complaint, hint="make room")

    def describe(self):
        return "a shelf"


class Elsewhere(Signer, frozen=True, kw_only=True, tag="elsewhere"):
    pass


def rehearsal(world, orders=None, **changed):
    lines = rehearse(
        world.pipeline(**changed),
        emit=world.events.append,
        system=world.system,
        state=world.state,
        **(orders or {}),
    )
    return lines, {line.topic: (line.status, line.text) for line in lines}


def test_every_part_of_a_run_is_looked_at_in_its_order(world):
    lines, found = rehearsal(world)
    assert list(found) == [
        "config",
        "this run",
        "key",
        "CSR",
        "signer",
        "transport",
        "CA",
        "message",
        "poller",
        "sink box",
    ]
    assert {status for status, _ in found.values()} == {"ok"}
    assert found["sink box"] == ("ok", "a box")
    assert exit_code(lines) == 0


def test_no_message_is_sent_and_nothing_is_made(world):
    before = list(world.directory.iterdir())
    rehearsal(world)
    assert world.operations == ["GetCACaps", "GetCACert"]
    assert list(world.directory.iterdir()) == before
    assert world.box == []


def test_every_stage_is_told_that_it_is_a_rehearsal(world):
    told = []

    class Asking(OutputSink, frozen=True, kw_only=True, tag="asking"):
        def check(self, run):
            told.append(run.rehearsal)

    class Wired(Wire, frozen=True, kw_only=True, tag="wired"):
        def connect(self, run):
            told.append(run.rehearsal)
            return super().connect(run)

    rehearsal(world, transport=Wired(handle=world.handle), sinks={"a": Asking()})
    assert told == [True, True]
    assert not make_run(world.pipeline(), world.events.append, world.system).rehearsal


def test_a_test_ca_that_is_not_there_yet_is_not_made(world):
    before = list(world.directory.rglob("*"))
    lines, found = rehearsal(
        world,
        transport=EmbeddedTransport(directory=PathTemplate("testca")),
        ca={"certificate": "testca/ca.pem"},
    )
    assert list(world.directory.rglob("*")) == before
    assert found["CA"][0] == "FAIL"
    assert "test-ca-missing" in world.warnings
    assert exit_code(lines) == 78


def test_a_stage_that_ends_the_process_is_that_stages_failure(world):
    class Quitting(OutputSink, frozen=True, kw_only=True, tag="quitting"):
        def check(self, run):
            sys.exit(0)

    lines, found = rehearsal(world, sinks={"q": Quitting()})
    assert found["sink q"] == ("FAIL", "sink quitting broke: SystemExit: 0")
    assert exit_code(lines) == 6


def test_what_the_ca_is_and_what_would_be_sent_is_said(world):
    _, found = rehearsal(world)
    assert found["CA"][1].startswith(
        "CN=scepflow test CA,O=Never for production, fingerprint matches; offers"
    )
    assert found["message"][1] == (
        "PKCSReq by POST, AES-128-CBC, SHA-256, encrypted for CN=scepflow test CA,O=Never for production"
    )


@pytest.mark.parametrize(
    ("capabilities", "message", "expected"),
    [
        ("Renewal\n", "auto", "RenewalReq, or PKCSReq"),
        ("AES\n", "auto", "PKCSReq by"),
        ("AES\n", "renewal", "RenewalReq, or PKCSReq"),
        ("Renewal\n", "pkcsreq", "PKCSReq by"),
    ],
)
def test_another_signer_may_make_it_a_renewal(world, capabilities, message, expected):
    world.responder.knobs = Knobs(capabilities=capabilities)
    _, found = rehearsal(world, signer=Elsewhere(), renew=RenewOptions(message=message))
    assert found["message"][1].startswith(expected)


def test_secrets_are_read_and_never_shown(world):
    (world.directory / "challenge").write_text("hush\n")
    lines, _ = rehearsal(
        world, csr=SubjectCsrBuilder(subject="CN=x", challenge=Secret({"file": "challenge"}))
    )
    assert [line.text for line in lines if line.topic == "secret"] == ["csr.challenge from file challenge"]
    assert "hush" not in repr(lines)
    assert "hush" not in repr(world.events)


def test_a_secret_that_cannot_be_read_names_its_option(world):
    lines, _ = rehearsal(world, csr=SubjectCsrBuilder(subject="CN=x", challenge=Secret({"file": "missing"})))
    (line,) = (line for line in lines if line.topic == "secret")
    assert line.status == "FAIL"
    assert line.text.startswith("csr.challenge: cannot read the secret (file missing)")
    assert exit_code(lines) == 78


def test_a_command_that_gives_a_secret_is_not_run(world):
    """It may hand out a one-time challenge."""
    mark = world.directory / "was-run"
    argv = [sys.executable, "-c", f"open({str(mark)!r}, 'w')"]
    lines, _ = rehearsal(world, csr=SubjectCsrBuilder(subject="CN=x", challenge=Secret({"command": argv})))
    (line,) = (line for line in lines if line.topic == "secret")
    assert line.status == "ok"
    assert "not run" in line.text
    assert not mark.exists()


@pytest.mark.parametrize(
    "stages",
    [
        {"csr": SubjectCsrBuilder(subject="CN=x", challenge=Secret({"file": "fifo"}))},
        {"sinks": {"s": FileSink(key=PathTemplate("key.pem"), key_passphrase=Secret({"file": "fifo"}))}},
        {"sinks": {"s": Pkcs12Sink(path=PathTemplate("x.p12"), password=Secret({"file": "fifo"}))}},
    ],
)
def test_a_stream_that_gives_a_secret_once_is_not_read(world, stages):
    path = world.directory / "fifo"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(descriptor, b"hush")
    writer = threading.Timer(5, os.close, [descriptor])  # who reads to the end is let go
    writer.start()
    lines, _ = rehearsal(world, **stages)
    assert writer.is_alive(), "it was waited for"
    writer.cancel()
    assert os.read(descriptor, 9) == b"hush"
    os.close(descriptor)
    (line,) = (line for line in lines if line.topic == "secret")
    assert line.status == "ok"
    assert line.text.endswith(" from file fifo (not read: a stream gives it once)")


def test_a_folder_in_place_of_a_secret_is_no_stream(world):
    lines, _ = rehearsal(world, csr=SubjectCsrBuilder(subject="CN=x", challenge=Secret({"file": "."})))
    (line,) = (line for line in lines if line.topic == "secret")
    assert (line.status, "Is a directory" in line.text) == ("FAIL", True)


def test_a_secret_whose_folder_cannot_be_looked_into_fails_alone(world, monkeypatch):
    def denied(path):
        if path.name == "challenge":
            raise PermissionError(13, "Permission denied", str(path))
        return True

    (world.directory / "challenge").write_text("hush")
    monkeypatch.setattr(pathlib.Path, "exists", denied)
    lines, _ = rehearsal(
        world, csr=SubjectCsrBuilder(subject="CN=x", challenge=Secret({"file": "challenge"}))
    )
    assert [line.text for line in lines if line.topic == "secret"] == ["csr.challenge from file challenge"]


def test_secrets_are_found_wherever_they_stand(world):
    sink = Picky(tokens={"a": Secret("x")}, parts=(Secret("y"), Secret("z")))
    lines, _ = rehearsal(world, sinks={"s": sink})
    assert [line.text for line in lines if line.topic == "secret"] == [
        "sink.s.tokens.a from literal (it stands in the file)",
        "sink.s.parts[0] from literal (it stands in the file)",
        "sink.s.parts[1] from literal (it stands in the file)",
    ]


def test_what_fails_stops_nothing_else_and_the_first_failure_is_the_exit_code(world):
    class Lost(GivenKey, frozen=True, kw_only=True, tag="lost"):
        def check(self, run):
            raise KeySourceError("the key is lost")

    sinks = {"a": Picky(complaint="full"), "b": Box(content=[])}
    lines, found = rehearsal(world, key=Lost(key=None), sinks=sinks)
    assert found["key"] == ("FAIL", "the key is lost")
    assert found["CA"][0] == "ok"
    assert found["sink a"] == ("FAIL", "full")
    assert found["sink b"] == ("ok", "a box")
    assert exit_code(lines) == 78


def test_a_ca_that_is_not_there_leaves_the_message_open(world):
    world.answers |= dict.fromkeys(["GetCACaps", "GetCACert"], TransportError("nobody is there"))
    lines, found = rehearsal(world)
    assert found["CA"] == ("FAIL", "nobody is there")
    assert found["message"][0] == "-"
    assert exit_code(lines) == 4


def test_a_wrong_fingerprint_is_a_trust_failure(world):
    lines, _ = rehearsal(world, ca={"fingerprint": "sha256:" + "0" * 64})
    assert exit_code(lines) == 5


def test_a_foreign_exception_in_a_check_is_that_stages_failure(world):
    class Clumsy(OutputSink, frozen=True, kw_only=True, tag="clumsy"):
        def check(self, run):
            raise ZeroDivisionError

    _, found = rehearsal(world, sinks={"c": Clumsy()})
    assert found["sink c"] == ("FAIL", "sink clumsy broke: ZeroDivisionError: ")


def test_a_dry_run_is_told_as_one(world):
    rehearsal(world)
    assert world.told == ["RunStarted", "CaAuthenticated", "RunFinished"]
    assert world.events[0].dry_run
    assert (world.events[-1].outcome, world.events[-1].exit_code) == ("rehearsed", 0)
    world.events.clear()
    rehearsal(world, sinks={"a": Picky(complaint="full")})
    finished = world.events[-1]
    assert (finished.outcome, finished.exit_code, finished.error) == ("failed", 6, "full")


def test_a_ca_certificate_file_is_said_as_such(world):
    from cryptography.hazmat.primitives.serialization import Encoding

    (world.directory / "ca.pem").write_bytes(world.authority.certificate.public_bytes(Encoding.PEM))
    world.responder.knobs = Knobs(capabilities="")
    _, found = rehearsal(world, ca={"fingerprint": None, "certificate": "ca.pem"})
    assert "authenticated by CA certificate file; offers nothing" in found["CA"][1]
    assert os.fspath(world.directory / "gw1.toml") == found["config"][1]


# -- what a run would do now

DAY_S = 86400


def _plan(world, **orders):
    lines, found = rehearsal(world, orders)
    assert lines[1].topic == "this run"
    return found["this run"]


def test_before_the_first_run_it_enrolls(world):
    assert _plan(world) == ("ok", "enrolls, for the first time")
    world.answers["GetCACert"] = TransportError("nobody is there")
    with pytest.raises(TransportError):
        world.run()
    assert _plan(world) == ("ok", "enrolls: there is no certificate yet")


def test_a_pending_request_is_gone_on_with_unless_it_is_given_up(world):
    world.responder.knobs = Knobs(pending=1)
    with pytest.raises(PendingError) as caught:
        world.run(wait_s=0)
    name = caught.value.transaction_id
    sent = f"{world.now():%Y-%m-%d %H:%M} UTC"
    assert _plan(world) == ("ok", f"goes on with transaction {name}, sent {sent}")
    assert _plan(world, again=True) == ("ok", "enrolls: there is no certificate yet")
    world.slept_s.append(60)
    assert world.run(wait_s=0).action == "issued"  # nothing was given up by trying


def test_with_nothing_due_nothing_is_asked(world):
    outcome = world.run()
    status, text = _plan(world)
    assert status == "ok"
    assert text == (
        f"asks nothing of the CA: the certificate expires on {outcome.certificate.not_after:%Y-%m-%d}"
        f" and is due on {outcome.renew_at:%Y-%m-%d}"
    )
    assert _plan(world, renew=True)[1].startswith("renews, as --renew says; the certificate expires on ")
    assert _plan(world, enroll=True)[1].startswith("enrolls, as --enroll says; the certificate expires on ")


def test_what_is_due_is_renewed_with_a_message_that_the_certificate_signs(world):
    outcome = world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    _, found = rehearsal(world)
    due = f"{outcome.renew_at:%Y-%m-%d %H:%M} UTC"
    assert found["this run"][1].startswith(f"renews, due since {due}; the certificate expires on ")
    assert found["message"][1].startswith("RenewalReq by ")
    assert found["message"][1].endswith(", signed by the current certificate")


def test_an_expired_certificate_is_enrolled_anew(world):
    outcome = world.run()
    world.slept_s.append(366 * DAY_S)
    expired = f"enrolls: the certificate expired on {outcome.certificate.not_after:%Y-%m-%d}"
    assert _plan(world) == ("ok", expired)


def test_a_sink_that_is_behind_is_named(world):
    world.run()
    _, found = rehearsal(world, sinks={"box": Box(content=world.box), "phone": Picky()})
    assert found["this run"][1].startswith("delivers to phone, and asks nothing of the CA: ")


@dataclass
class Steady:
    """Answers as the CA, and looks the same at each run: an option that changes is asked anew."""

    world: World = field(repr=False)

    def __call__(self, request):
        return self.world.handle(request)


def test_what_the_ca_has_rejected_is_a_failure_unless_asked_again(world):
    steady = {"transport": Wire(handle=Steady(world))}
    world.responder.knobs = Knobs(challenge="right")
    with pytest.raises(RejectedError):
        world.run(world.pipeline(**steady))
    for _ in range(2):  # trying with --again allows nothing
        lines, found = rehearsal(world, **steady)
        assert found["this run"][0] == "FAIL"
        assert found["this run"][1].startswith("not asked again, since nothing has changed: ")
        assert exit_code(lines) == 72
        _, found = rehearsal(world, {"again": True}, **steady)
        assert found["this run"] == ("ok", "enrolls: there is no certificate yet")
    _, found = rehearsal(world, csr=SubjectCsrBuilder(subject="CN=other"), **steady)
    assert found["this run"][0] == "ok"


def test_looking_at_the_state_changes_nothing_in_it_and_takes_no_lock(world):
    world.run()
    before = {path: path.read_bytes() for path in world.state.path.rglob("*") if path.is_file()}
    with world.state.locked(world.pipeline().file, name="gw1", now=world.now()):
        assert _plan(world)[0] == "ok"
    _plan(world, again=True, renew=True)
    assert {path: path.read_bytes() for path in world.state.path.rglob("*") if path.is_file()} == before


def test_a_state_that_cannot_be_read_is_a_failure(world):
    world.state.path.mkdir()
    (world.state.path / "journal.sqlite3").write_bytes(b"no database" * 100)
    assert _plan(world)[0] == "FAIL"
    assert exit_code(rehearsal(world)[0]) == 78


@pytest.mark.parametrize("age_days", [1, 250, 364, 366])
@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("orders", [{}, {"again": True}, {"renew": True}, {"enroll": True}])
def test_a_run_does_what_the_dry_run_has_said(world, age_days, pending, orders):
    world.run()
    if pending:
        world.responder.knobs = Knobs(pending=1)
        with pytest.raises(PendingError):
            world.run(renew=True, wait_s=0)
    world.slept_s.append(age_days * DAY_S)
    said = _plan(world, **orders)[1].split()[0].rstrip(",:")
    world.events.clear()
    outcome = world.run(**orders)
    sent = [event.message_type for event in world.events if type(event).__name__ == "RequestSent"]
    asked = {"enrolls": ["PKCSReq"], "renews": ["RenewalReq"], "goes": ["CertPoll"], "asks": []}
    assert sent[:1] == asked[said]
    assert outcome.action == {"enrolls": "issued", "asks": "unchanged"}.get(said, "renewed")


def test_it_refuses_a_renamed_pipeline_as_the_run_does(world):
    old, new = world.directory / "gw1.toml", world.directory / "gw2.toml"
    old.touch()
    world.run(world.pipeline(file=old))
    old.rename(new)
    _, found = rehearsal(world, name="gw2", file=new)
    assert any("which is gone, has a valid one" in text for _, text in found.values())
    _, found = rehearsal(world, {"again": True}, name="gw2", file=new)
    assert not any("which is gone" in text for _, text in found.values())
