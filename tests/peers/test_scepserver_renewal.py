"""Renewal against micromdm's scepserver, which looks at the challenge and at the subject, and never at who signs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from starting import free_port, started

from scepflow.engine.trust import fingerprint
from scepflow.errors import ScepflowError
from scepflow.pipeline import load_pipeline
from scepflow.registry import Registry
from scepflow.runner import run_pipeline
from scepflow.standing import standing_of
from scepflow.state import StateDirectory
from scepflow.system import System

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scepflow.runner import Outcome
    from scepflow.standing import Standing

SCEPSERVER = shutil.which("scepserver")
OPENSSL = shutil.which("openssl")
CHALLENGE = "sesame"
WITH_CHALLENGE = ("-challenge", CHALLENGE)
AT_ANY_TIME = ("-allowrenew", "0")
RENEWAL_REQ, PKCS_REQ = "RenewalReq", "PKCSReq"
IN_THAT_ORDER = [("auto", [RENEWAL_REQ, PKCS_REQ]), ("renewal", [RENEWAL_REQ]), ("pkcsreq", [PKCS_REQ])]
"""What may be sent where the server refuses, by [renew] message."""

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(SCEPSERVER is None, reason="apt-get install scep"),
    pytest.mark.skipif(OPENSSL is None, reason="apt-get install openssl"),
]

PIPELINE = """
[ca]
url = "{url}"
fingerprint = "{fingerprint}"

[csr]
subject = "CN=gw1.example.com,O=Example"
challenge = {{ env = "CHALLENGE" }}
{csr}

[renew]
{renew}

[sink.file]
key = "gw1.key"
cert = "gw1.crt"
"""


@dataclass(frozen=True)
class Gateway:
    """A machine with one pipeline, and the scepserver that it knows.

    Attributes:
        folder: its files; the server's are below.
        port: the server's.
    """

    folder: Path
    port: int

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.folder / "depot" / "ca.pem"

    @contextmanager
    def serving(self, *options: str) -> Iterator[None]:
        """Run the server with these options, whatever it was run with before."""
        command = [SCEPSERVER, "-depot", "depot", "-capass", "x", "-port", str(self.port), "-debug", *options]
        with started(command, self.port, directory=self.folder, log=self.folder / "log"):
            yield

    def heard(self) -> list[tuple[str, bool]]:
        """Return the messages that the server says it got since it started, and whether they brought a challenge."""
        log = (self.folder / "log").read_text()
        heard: list[tuple[str, bool]] = []
        for kind, brought in re.findall(
            r'scep_message_type="(\w+) \(\d+\) ?"|has_challenge=(true|false)', log
        ):
            if kind:
                heard.append((kind, False))
            else:  # the line after, of all but polls
                heard[-1] = (heard[-1][0], brought == "true")
        return heard

    def reasons(self) -> list[str]:
        """Return why it says that it signed nothing."""
        return re.findall(r'msg="failed to sign CSR" err="([^"]*)"', (self.folder / "log").read_text())

    def write(self, *, renew: str = "", csr: str = "") -> None:
        """Write the pipeline."""
        pin = fingerprint(x509.load_pem_x509_certificate(self.ca.read_bytes()))
        url = f"http://127.0.0.1:{self.port}/scep"
        (self.folder / "gw1.toml").write_text(PIPELINE.format(url=url, fingerprint=pin, renew=renew, csr=csr))

    def ask(
        self, command: str, *arguments: str, challenge: str = CHALLENGE
    ) -> tuple[int, dict[str, Any], str]:
        """Return exit code, what is said of the pipeline, and stderr of a command."""
        environment = {"CHALLENGE": challenge, "SCEPFLOW_STATE_DIR": str(self.folder / "state")}
        done = subprocess.run(
            [sys.executable, "-m", "scepflow", command, "gw1.toml", "--json", *arguments],
            cwd=self.folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)["pipelines"][0], done.stderr

    def enroll(self) -> x509.Certificate:
        """Get the first certificate."""
        code, _, said = self.ask("run")
        assert code == 0, said
        return self.certificate()

    def certificate(self) -> x509.Certificate:
        """Have OpenSSL verify the delivered certificate and compare it with the key, and return it."""
        self._openssl("verify", "-no_check_time", "-CAfile", str(self.ca), "gw1.crt")
        assert self._openssl("x509", "-in", "gw1.crt", "-noout", "-pubkey") == self._openssl(
            "pkey", "-in", "gw1.key", "-pubout"
        )
        return x509.load_pem_x509_certificate((self.folder / "gw1.crt").read_bytes())

    def _openssl(self, *arguments: str) -> str:
        command = [OPENSSL, *arguments]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=30, check=True
        ).stdout

    def kept(self) -> int:
        """Return how many certificates are kept."""
        return len(list((self.folder / "state").glob("*/*/certificate.pem")))

    def assert_still(self, first: x509.Certificate) -> None:
        """Assert that all is as before a renewal that came to nothing."""
        assert self.certificate() == first
        _, known, _ = self.ask("status")
        assert (known["state"], known["next"], known["outcome"]) == ("valid", "", "rejected")
        assert int(known["current"]["certificate"]["serial"], 16) == first.serial_number
        assert (self.kept(), known["open"]) == (1, None)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """The files of a CA that has issued nothing."""
    folder = tmp_path_factory.mktemp("scepserver")
    make = [SCEPSERVER, "ca", "-init", "-organization", "Peer", "-key-password", "x", "-keySize", "2048"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "depot"


@pytest.fixture
def gateway(authority, tmp_path):
    shutil.copytree(authority, tmp_path / "depot")
    return Gateway(tmp_path, free_port())


@pytest.mark.parametrize(
    ("message", "sent"), [("auto", RENEWAL_REQ), ("renewal", RENEWAL_REQ), ("pkcsreq", PKCS_REQ)]
)
def test_without_a_challenge_of_its_own_it_renews_by_either_message(gateway, message, sent):
    gateway.write(renew=f'message = "{message}"')
    with gateway.serving(*AT_ANY_TIME):
        first = gateway.enroll()
        code, result, said = gateway.ask("run", "--renew")
    assert (code, result["outcome"]) == (0, "renewed"), said
    assert gateway.heard() == [(PKCS_REQ, True), (sent, False)], "the renewal leaves the challenge out"
    second = gateway.certificate()
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()
    assert gateway.kept() == 2, "the earlier pair is kept"
    _, known, _ = gateway.ask("status")
    assert (known["state"], known["next"], known["outcome"]) == ("valid", "", "renewed")


@pytest.mark.parametrize(("message", "sent"), IN_THAT_ORDER)
def test_with_a_challenge_it_wants_that_in_a_renewal_too_and_the_refusal_says_how_to_send_it(
    gateway, message, sent
):
    gateway.write(renew=f'message = "{message}"')
    with gateway.serving(*WITH_CHALLENGE, *AT_ANY_TIME):
        first = gateway.enroll()
        code, result, _ = gateway.ask("run", "--renew")
        assert (code, result["outcome"]) == (72, "rejected")
        assert "challenge_in_renewal" in result["error"]["hint"]
        gateway.assert_still(first)
        assert gateway.heard() == [(PKCS_REQ, True), *((kind, False) for kind in sent)]
        assert gateway.reasons() == ["invalid challenge"] * len(sent)
        gateway.write(renew=f'message = "{message}"', csr="challenge_in_renewal = true")
        code, result, said = gateway.ask("run", "--renew")
    assert (code, result["outcome"]) == (0, "renewed"), said
    assert gateway.heard()[-1] == (sent[0], True)
    assert gateway.certificate().serial_number != first.serial_number


def test_a_renewal_with_a_wrong_challenge_leaves_the_pair_in_use(gateway):
    gateway.write(csr="challenge_in_renewal = true")
    with gateway.serving(*WITH_CHALLENGE, *AT_ANY_TIME):
        first = gateway.enroll()
        code, result, said = gateway.ask("run", "--renew", challenge="wrong-word")
    assert (code, result["outcome"]) == (72, "rejected")
    assert "wrong-word" not in json.dumps(result) + said
    assert "is the challenge right" in result["error"]["hint"]
    gateway.assert_still(first)
    assert gateway.reasons() == ["invalid challenge"] * 2


def test_before_its_window_opens_it_refuses_and_within_it_renews(gateway):
    gateway.write()
    with gateway.serving("-allowrenew", "14", "-crtvalid", "30"):
        first = gateway.enroll()
        code, result, _ = gateway.ask("run", "--renew")
        assert (code, result["outcome"]) == (72, "rejected")
        assert "too early" in result["error"]["hint"]
        gateway.assert_still(first)
        assert gateway.reasons() == ["DN /O=Example/CN=gw1.example.com already exists"] * 2
    with gateway.serving("-allowrenew", "40", "-crtvalid", "365"):
        code, result, said = gateway.ask("run", "--renew")
    assert (code, result["outcome"]) == (0, "renewed"), said
    assert gateway.certificate().not_valid_after_utc > first.not_valid_after_utc


@pytest.fixture
def later(gateway, monkeypatch):
    """Run in this process with a clock that is ahead; gives the outcome or the error, and how the pipeline stands then."""
    monkeypatch.setenv("CHALLENGE", CHALLENGE)
    state = StateDirectory(gateway.folder / "state")

    def run(*, days: int) -> tuple[Outcome | ScepflowError, Standing]:
        def now() -> datetime:
            return datetime.now(UTC) + timedelta(days=days)

        pipeline = load_pipeline(gateway.folder / "gw1.toml", Registry.discover())
        said: Outcome | ScepflowError
        try:
            said = run_pipeline(pipeline, emit=lambda event: None, state=state, system=System(now=now))
        except ScepflowError as error:
            said = error
        (record,) = state.journal.pipelines()
        return said, standing_of(record, now())

    return run


def test_a_due_renewal_that_it_refuses_is_not_sent_again_until_something_changes_or_a_day_is_over(
    gateway, later
):
    gateway.write()
    with gateway.serving(*WITH_CHALLENGE, *AT_ANY_TIME):
        first = gateway.enroll()
        asked = [(RENEWAL_REQ, False), (PKCS_REQ, False)]
        for days, times in ((300, 1), (300, 1), (302, 2)):
            said, standing = later(days=days)
            assert said.exit_code == 72
            assert gateway.heard() == [(PKCS_REQ, True), *asked * times]
            assert standing.state == "rejected"
            assert "challenge_in_renewal" in standing.then
        assert gateway.certificate() == first
        gateway.write(csr="challenge_in_renewal = true")
        said, standing = later(days=302)
    # The server's clock has stayed behind; the life of what it dates back counts from when it came.
    assert (said.exit_code, said.action, standing.state) == (0, "renewed", "valid")
    assert gateway.heard()[-1] == (RENEWAL_REQ, True)
    assert gateway.certificate().serial_number != first.serial_number
