"""The command line, called in this process, and a pipeline file that needs no server."""

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.cli import cli
from scepflow.testca import Authority

PIPELINE = """\
[ca]
url = "http://embedded/scep"
certificate = "testca/ca.pem"
[key]
use = "file"
path = "device.key"
[csr]
subject = "CN=gw1.example.com"
[transport]
use = "embedded"
directory = "testca"
[sink.file]
cert = "gw1.pem"
"""


@pytest.fixture(autouse=True)
def _logs_as_they_were():
    """A command sets up the log of its process; here that process goes on."""
    log = logging.getLogger("scepflow")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before


@pytest.fixture(scope="session")
def current_authority():
    """A CA that is valid now: commands have the real clock."""
    return Authority.create(now=datetime.now(UTC) - timedelta(days=1))


@pytest.fixture
def folder(tmp_path, monkeypatch, current_authority, _device_key):
    """The working directory: a CA in ``testca``, a key in ``device.key``, and state in ``state``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCEPFLOW_STATE_DIR", str(tmp_path / "state"))
    Authority(current_authority.ca).save(tmp_path / "testca")
    key_pem = _device_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "device.key").write_bytes(key_pem)
    (tmp_path / "device.key").chmod(0o600)
    return tmp_path


@pytest.fixture
def write(folder):
    """Write a pipeline file: its name, lines to replace, and lines to add."""

    def write(name="gw1.toml", *added, **replaced):
        text = PIPELINE
        for old, new in replaced.items():
            before = next(line for line in text.splitlines() if line.startswith(f"{old} = "))
            text = text.replace(before, f"{old} = {new}")
        (folder / name).write_text("\n".join([text, *added, ""]))
        return name

    return write


@pytest.fixture
def scepflow():
    """Call the command in this process."""

    def call(*args, **env):
        return CliRunner(env={"TERM": "xterm", **env}).invoke(cli, [str(arg) for arg in args])

    return call


MODULES = """
import sys
sys.argv = ["scepflow", *sys.argv[1:]]
import atexit, scepflow.cli
atexit.register(lambda: print(*{m.partition(".")[0] for m in sys.modules}, file=sys.stderr))
scepflow.cli.main()
"""


@pytest.fixture
def imported_by():
    """Run the command and return the names of the top-level modules that it imported."""

    def imported_by(*args):
        command = [sys.executable, "-c", MODULES, *map(str, args)]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stderr.split())

    return imported_by


@pytest.fixture
def start():
    """Start the command as a process of its own; it is gone at the end of the test."""
    started = []

    def start(*args, **options):
        command = [sys.executable, "-m", "scepflow", *map(str, args)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        process = subprocess.Popen(command, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}, **pipes)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
