"""`scepflow doctor` against micromdm's scepserver, whose only certificate has a key usage that forbids encryption."""

import json
import shutil
import subprocess
import sys

import pytest
import tomli
from cryptography import x509
from starting import free_port, started

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
    port = free_port()
    command = [SCEPSERVER, "-depot", "depot", "-capass", "x", "-port", str(port)]
    with started(command, port, directory=tmp_path, log=tmp_path / "log"):
        ca = x509.load_pem_x509_certificate((tmp_path / "depot" / "ca.pem").read_bytes())
        yield f"http://127.0.0.1:{port}/scep", ca


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
