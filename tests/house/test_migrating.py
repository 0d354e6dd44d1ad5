"""MIGRATING in pipelines/README.md is right: its scripts, commands and pipelines are run against a CA on loopback."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from snippets import ROOT, snippets

from scepflow.testca import Authority, Knobs, Responder, serve

README = "pipelines/README.md"
URL = "http://pki.example.com/scep"
FOLDER = "/etc/ssl/gw1"
SSCEP = "from scepflow.cli.sscep import main; main()"
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")


def blocks():
    """The named blocks of the chapter: sscep's scripts, the pipelines, and the configuration."""
    found = {}
    for language in ("sh", "text", "toml"):
        for snippet in snippets(README, language):
            match = re.match(r"(?:#!/bin/sh\n)?# ([\w.-]+)\n", snippet.text)
            if match:
                found[match[1]] = snippet.text
    return found


def sessions():
    """Each console block of the chapter: its commands, and the lines after each."""
    chapter = (ROOT / README).read_text().partition("\n## MIGRATING from sscep\n")[2]
    text = "\n".join(re.findall(r"^```console\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL))
    return [part.partition("\n")[::2] for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part.strip()]


def console(start):
    """Return what a command prints, as the chapter shows it."""
    (shown,) = [shown for command, shown in sessions() if command.startswith(start)]
    return shown


def fits(printed, shown):
    pattern = "".join(r"\S+" if part == "…" else re.escape(part) for part in re.split("(…)", shown.strip()))
    return re.fullmatch(pattern, printed.strip())


@pytest.fixture
def gateway(tmp_path):
    """The folder of the chapter, with a CA, and what its scripts find on their PATH."""
    authority = Authority.create(now=datetime.now(UTC) - timedelta(days=1))
    responder = Responder(authority, Knobs(challenge="correct horse battery"))
    folder, programs = tmp_path / "gw1", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    with serve(responder) as server:
        for name, text in blocks().items():
            here = text.replace(URL, server.url).replace(FOLDER, str(folder))
            pinned = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{authority.fingerprint}", here)
            (folder / name).write_text(pinned)
        (folder / "challenge").write_text("correct horse battery\n")
        (folder / "p12.pass").write_text("p12 word\n")
        program(programs, "scepflow", f'exec {sys.executable} -m scepflow "$@"')
        program(programs, "mkrequest", 'exec sscep mkrequest "$@"')
        program(programs, "rcctl", f'echo "$@" >> {tmp_path}/reloaded')
        drop_in = programs / "sscep"
        drop_in.write_text(f"#!{sys.executable}\n{SSCEP.replace('; ', chr(10))}\n")
        drop_in.chmod(0o755)
        yield Gateway(folder, programs, responder)


def program(programs, name, line):
    (programs / name).write_text(f"#!/bin/sh\n{line}\n")
    (programs / name).chmod(0o755)


class Gateway:
    """A folder in which the chapter's commands run."""

    def __init__(self, folder, programs, responder):
        self.folder, self.programs, self.responder = folder, programs, responder

    def run(self, command, code=0):
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env={
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "SCEPFLOW_STATE_DIR": str(self.folder.parent / "state"),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def certificate(self):
        return x509.load_pem_x509_certificate((self.folder / "local.crt").read_bytes())

    def expire_soon(self):
        """Make the scripts think that it is time."""
        for script in ("renew-certificate", "renew-with-scepflow"):
            text = (self.folder / script).read_text()
            (self.folder / script).write_text(
                text.replace("2592000", "999999999").replace("run -q", "run -q --renew")
            )

    @property
    def reloads(self):
        return (self.folder.parent / "reloaded").read_text().splitlines()


def test_the_blocks_and_sessions_are_there():
    assert blocks().keys() == {
        "sscep.conf",
        "get-certificate",
        "renew-certificate",
        "drop-in",
        "gw1.toml",
        "renew-with-scepflow",
        *(snippet.name for snippet in snippets(README, "toml") if snippet.name),
    }
    assert len(sessions()) >= 6


def test_the_scripts_run_with_the_drop_in_and_print_what_is_shown(gateway):
    printed = gateway.run("sh get-certificate")
    assert fits(printed, console("get-certificate"))
    first = gateway.certificate()
    assert first.subject.rfc4514_string() == "CN=gw1.example.com"
    assert {"fullchain.pem", "gw1.p12", "ca.crt"} <= {path.name for path in gateway.folder.iterdir()}
    gateway.run("sh renew-certificate")
    assert gateway.certificate() == first
    gateway.expire_soon()
    gateway.run("sh renew-certificate")
    assert gateway.certificate().public_key() != first.public_key()
    assert x509.load_pem_x509_certificate((gateway.folder / "old.crt").read_bytes()) == first
    assert gateway.reloads == ["reload httpd"] * 2


def test_the_import_is_a_pipeline_that_does_what_the_script_did(gateway):
    gateway.run("sh get-certificate")
    first = gateway.certificate()
    (gateway.folder / "local.crt").rename(gateway.folder / "old.crt")
    shutil.copy(gateway.folder / "local.key", gateway.folder / "old.key")
    commands = [command for command, _ in sessions() if "imported" in command]
    assert len(commands) == 5
    for command in commands:
        printed, shown = gateway.run(command), console(command)
        assert not shown.strip() or fits(printed, shown)
    assert gateway.certificate() != first
    assert gateway.certificate().public_key() == first.public_key()
    gateway.run("scepflow run imported-renewal.toml")


def test_the_pipeline_takes_the_place_of_the_scripts(gateway):
    gateway.run("scepflow validate gw1.toml")
    gateway.run("scepflow run gw1.toml")
    first = gateway.certificate()
    gateway.run("sh renew-with-scepflow")
    assert gateway.certificate() == first
    gateway.expire_soon()
    gateway.run("sh renew-with-scepflow")
    second = gateway.certificate()
    assert second.public_key() != first.public_key()
    assert gateway.responder.requests[-2].certificate == first
    assert x509.load_pem_x509_crl((gateway.folder / "ca.crl").read_bytes()).issuer == second.issuer
    assert {"local.key", "fullchain.pem", "gw1.p12"} <= {path.name for path in gateway.folder.iterdir()}
    assert gateway.reloads == ["reload httpd"] * 2


def test_what_no_longer_fits_would_be_found():
    assert fits("x: SHA256 fingerprint: 00:11\n", "x: SHA256 fingerprint: …")
    assert not fits("x: MD5 fingerprint: 00:11\n", "x: SHA256 fingerprint: …")
