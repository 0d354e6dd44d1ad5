"""`scepflow doctor` against micromdm's scepserver, whose only certificate has a key usage that forbids encryption."""

import json
import shutil
import socket
import subprocess
import sys
import time

import pytest
import tomli
from cryptography import x509

from scepflow.engine.trust import fingerprint

SCEPSERVER = shutil.which("scepserver")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(SCEPSERVER is None, reason="apt-get install scep"),
]


@pytest.fixture
def scepserver(tmp_path):
    """Start a server; give its address and its CA's certificate."""
    make = [SCEPSERVER, "ca", "-init", "-organization", "Peer", "-key-password", "x"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [SCEPSERVER, "-depot", "depot", "-capass", "x", "-port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        _wait_for(port, process)
        ca = x509.load_pem_x509_certificate((tmp_path / "depot" / "ca.pem").read_bytes())
        yield f"http://127.0.0.1:{port}/scep", ca
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port, process):
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("the server does not listen")


def test_the_ca_s_only_certificate_would_encrypt_although_its_key_usage_forbids_it(scepserver, tmp_path):
    url, ca = scepserver
    done = subprocess.run(
        [sys.executable, "-m", "scepflow", "doctor", url, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    document = json.loads(done.stdout)
    (certificate,) = document["certificates"]
    assert certificate["fingerprint"] == fingerprint(ca)
    assert certificate["encrypts"]
    assert "only where nothing better came" in certificate["encryption"]
    assert "no digitalSignature" in certificate["signing"]
    assert [warning["code"] for warning in document["warnings"]] == ["recipient-usage"]
    assert abs(document["connection"]["clock_ahead_s"]) <= 2
    assert tomli.loads(document["pin_toml"])["ca"] == {"url": url, "fingerprint": fingerprint(ca)}
    assert "PKIOperation" not in (tmp_path / "log").read_text()
