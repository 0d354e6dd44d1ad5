"""A dry run tries everything that issues nothing, uses up nothing and changes nothing."""

import os
import sys

import msgspec
import pytest
from run_fixtures import Box, GivenKey, Wire, World

from scepflow.dryrun import exit_code, rehearse
from scepflow.errors import KeySourceError, SinkError, TransportError
from scepflow.options import PathTemplate, Secret
from scepflow.pipeline import RenewOptions
from scepflow.runner import make_run
from scepflow.stages import OutputSink, Signer
from scepflow.testca import Knobs
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.embedded import EmbeddedTransport


@pytest.fixture
def world(tmp_path, _ca_authority, _device_key):
    return World(directory=tmp_path, authority=_ca_authority, key=_device_key)


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


def rehearsal(world, **changed):
    lines = rehearse(world.pipeline(**changed), emit=world.events.append, system=world.system)
    return lines, {line.topic: (line.status, line.text) for line in lines}


def test_every_part_of_a_run_is_looked_at_in_its_order(world):
    lines, found = rehearsal(world)
    assert list(found) == [
        "config",
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
