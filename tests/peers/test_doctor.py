"""`scepflow doctor` against micromdm's scepserver, whose only certificate forbids encryption, and a test CA with an RA pair."""

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
RA_SIGNING = "CN=scepflow test CA RA signing"
RA_ENCRYPTION = "CN=scepflow test CA RA encryption"


def doctor(*arguments):
    """Run the command in a process of its own; gives what it printed."""
    command = [sys.executable, "-m", "scepflow", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


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


@pytest.mark.peer
@pytest.mark.skipif(SCEPSERVER is None, reason="apt-get install scep")
def test_the_ca_s_only_certificate_would_encrypt_although_its_key_usage_forbids_it(scepserver, tmp_path):
    url, ca = scepserver
    document = json.loads(doctor(url, "--json"))
    (certificate,) = document["certificates"]
    assert certificate["fingerprint"] == fingerprint(ca)
    assert certificate["encrypts"]
    assert "only where nothing better came" in certificate["encryption"]
    assert "no digitalSignature" in certificate["signing"]
    assert [warning["code"] for warning in document["warnings"]] == ["recipient-usage"]
    assert abs(document["connection"]["clock_ahead_s"]) <= 2
    assert tomli.loads(document["pin_toml"])["ca"] == {"url": url, "fingerprint": fingerprint(ca)}
    assert "PKIOperation" not in (tmp_path / "log").read_text()


@pytest.fixture
def testca(tmp_path):
    """Start the test CA with an RA pair, as the command does; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "scepflow", "testca", "--ra", "--port", str(port)]
    with started(command, port, directory=tmp_path, log=tmp_path / "log"):
        yield f"http://127.0.0.1:{port}/scep"


def test_of_an_ra_pair_one_would_encrypt_and_the_other_sign_and_the_reasons_are_said(testca):
    found = {c["subject"]: c for c in json.loads(doctor(testca, "--json"))["certificates"]}
    assert [subject for subject, certificate in found.items() if certificate["encrypts"]] == [RA_ENCRYPTION]
    assert "RA's certificate whose key usage has keyEncipherment" in found[RA_ENCRYPTION]["encryption"]
    assert "its key usage does not allow it" in found[RA_SIGNING]["encryption"]
    assert "its key usage has digitalSignature" in found[RA_SIGNING]["signing"]
    lines = [" ".join(line.split()) for line in doctor(testca).splitlines()]
    assert f"encrypted for {RA_ENCRYPTION}" in lines
    assert f"certificate 1: RA {RA_SIGNING}" in lines
    for certificate in found.values():
        assert f"encryption {certificate['encryption']}" in lines
        assert f"signing {certificate['signing']}" in lines
