"""A stranger's distribution: built, installed into a fresh environment, found by its entry point and used by a pipeline.

The only tests that let pip ask its index: the fresh environment needs scepflow's dependencies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "plugins" / "example-webhook"
PIPELINE = """
[ca]
url = "http://embedded/scep"
certificate = "testca/ca.pem"
[csr]
subject = "CN=gw1.example.com"
[transport]
use = "embedded"
directory = "testca"
[sink.file]
key = "gw1.key"
cert = "gw1.crt"
"""

pytestmark = pytest.mark.xdist_group("fresh environment")


@dataclass
class Receiver:
    """A web service that keeps what it is told."""

    url: str
    status: int = 200
    requests: list = field(default_factory=list)


@pytest.fixture
def receiver():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # http.server's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.headers["Authorization"], body))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}/certificates")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


def checked(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def fresh_bin(tmp_path_factory):
    """The ``bin`` of a new environment with the wheels of scepflow and of the example, and nothing of this tree."""
    folder = tmp_path_factory.mktemp("fresh")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    checked(*pip, "wheel", "-q", "--no-deps", "--wheel-dir", folder / "wheels", ROOT, EXAMPLE)
    wheels = sorted((folder / "wheels").glob("*.whl"))
    assert [wheel.name.split("-")[0] for wheel in wheels] == ["scepflow", "scepflow_webhook"]
    checked(sys.executable, "-m", "venv", folder / "env")
    python = folder / "env" / "bin" / "python"
    checked(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wheels)
    return folder / "env" / "bin"


@pytest.fixture
def scepflow(fresh_bin, tmp_path):
    """Run the installed command in an empty folder, with none of our environment."""

    def run(*arguments, **environment):
        clean = {"PATH": os.defpath, "HOME": str(tmp_path), "SCEPFLOW_STATE_DIR": str(tmp_path / "state")}
        return subprocess.run(
            [fresh_bin / "scepflow", *arguments],
            cwd=tmp_path,
            env=clean | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def broken(tmp_path):
    """A folder for PYTHONPATH in which another distribution is installed, whose plugin cannot be imported."""
    folder = tmp_path / "broken"
    info = folder / "scepflow_fax-3.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scepflow-fax\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[scepflow]\nfax = scepflow_fax\n")
    (folder / "scepflow_fax.py").write_text("import a_modem_that_nobody_has\n")
    return str(folder)


@pytest.fixture
def pipeline(tmp_path, receiver):
    """A pipeline that delivers to a file and to the receiver."""
    sink = f'[sink.webhook]\nurl = "{receiver.url}"\ntoken = {{ env = "TOKEN" }}\n'
    (tmp_path / "gw1.toml").write_text(PIPELINE + sink)
    return "gw1.toml"


def test_it_is_listed_with_its_distribution(scepflow):
    done = scepflow("plugins")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "webhook" in line]
    assert "scepflow-webhook 0.1.0" in line


def test_a_pipeline_delivers_through_it(scepflow, pipeline, receiver, tmp_path):
    done = scepflow("run", pipeline, TOKEN="hush")
    assert done.returncode == 0, done.stderr
    ((authorization, body),) = receiver.requests
    assert authorization == "Bearer hush"
    certificate = x509.load_pem_x509_certificate((tmp_path / "gw1.crt").read_bytes())
    assert x509.load_pem_x509_certificate(json.loads(body)["certificate"].encode()) == certificate
    assert b"PRIVATE" not in body
    assert "hush" not in done.stdout + done.stderr


def test_when_the_service_refuses_the_other_sinks_are_delivered(scepflow, pipeline, receiver, tmp_path):
    receiver.status = 503
    done = scepflow("run", pipeline, TOKEN="hush")
    assert done.returncode == 6
    assert f"{receiver.url} answered HTTP 503" in done.stdout + done.stderr
    assert (tmp_path / "gw1.crt").exists()


def test_a_mistake_in_its_options_is_found_before_anything_is_made(scepflow, pipeline, tmp_path):
    with (tmp_path / pipeline).open("a") as file:
        file.write('tiemout = "5s"\n')
    done = scepflow("run", pipeline, TOKEN="hush")
    assert done.returncode == 78
    assert 'did you mean "timeout"?' in done.stdout + done.stderr
    assert not (tmp_path / "testca").exists()


def test_a_plugin_that_cannot_be_imported_breaks_no_pipeline_that_does_without_it(scepflow, pipeline, broken):
    done = scepflow("run", pipeline, TOKEN="hush", PYTHONPATH=broken)
    assert done.returncode == 0, done.stderr


def test_a_plugin_that_cannot_be_imported_is_named_by_who_wants_its_stage(scepflow, broken, tmp_path):
    (tmp_path / "fax.toml").write_text(f"{PIPELINE}[sink.fax]\n")
    done = scepflow("run", "fax.toml", PYTHONPATH=broken)
    assert done.returncode == 78
    said = " ".join((done.stdout + done.stderr).split())
    assert 'no sink named "fax"' in said
    assert "scepflow-fax 3.1" in said
    assert "a_modem_that_nobody_has" in said


def test_a_plugin_that_cannot_be_imported_is_listed(scepflow, broken):
    done = scepflow("plugins", PYTHONPATH=broken)
    said = " ".join((done.stdout + done.stderr).split())
    assert "scepflow-fax 3.1" in said
    assert "a_modem_that_nobody_has" in said
    assert "webhook" in said


def test_its_own_tests_pass(tmp_path):
    """In the environment of this test run, with the example's folder as the root."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "t"],
        cwd=EXAMPLE,
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
