"""`scepflow sscep`: the six steps of sscep's classic README against a CA on loopback, and against scepserver.

In each step a file in either syntax says everything that the command line does not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from starting import free_port, started

from scepflow.testca import Authority, Knobs, Responder, serve

SCEPSERVER = shutil.which("scepserver")

CLASSIC = """\
# sscep's sample, for every operation
URL             "{url}"
CACertFile      ./ca.crt
PrivateKeyFile  ./local.key
LocalCertFile   ./local.crt
CertReqFile     ./local.csr
SignKeyFile     {old_key}
SignCertFile    {old_certificate}
PollInterval    0
MaxPollTime     60
MaxPollCount    5
GetCertFile     ./cert.crt
GetCrlFile      ./crl.crl
Verbose         no
"""

INI = """\
[sscep]
URL = {url}
CACertFile = ./ca.crt

[sscep_enroll]
PrivateKeyFile = ./local.key
LocalCertFile = ./local.crt
CertReqFile = ./local.csr
SignKeyFile = {old_key}
SignCertFile = {old_certificate}
PollInterval = 0
MaxPollTime = 60
MaxPollCount = 5

[sscep_getcert]
PrivateKeyFile = ./local.key
LocalCertFile = ./local.crt
GetCertFile = ./cert.crt

[sscep_getcrl]
PrivateKeyFile = ./local.key
LocalCertFile = ./local.crt
GetCrlFile = ./crl.crl
"""


@pytest.fixture
def scepflow(tmp_path):
    """Run the command in a process of its own; gives exit code, stdout and stderr."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "scepflow", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "SCEPFLOW_STATE_DIR": str(tmp_path / "state")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def sscep(scepflow):
    """Run an sscep command as a script would."""
    return partial(scepflow, "sscep")


def write_configuration(tmp_path, template, url, *, renewal=False):
    text = template.format(url=url, old_key="./old.key", old_certificate="./old.crt")
    if not renewal:
        text = "".join(line for line in text.splitlines(keepends=True) if "old." not in line)
    (tmp_path / "sscep.conf").write_text(text)


def read_certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.mark.parametrize("template", [CLASSIC, INI], ids=["classic", "ini"])
def test_the_six_steps_run_from_one_file(template, sscep, tmp_path):
    responder = Responder(Authority.create(now=datetime.now(UTC) - timedelta(days=1)), Knobs(pending=2))
    with serve(responder) as server:
        write_configuration(tmp_path, template, server.url)
        assert sscep("mkrequest", "-dns", "gw.example.com", "secret")[0] == 0
        code, stdout, stderr = sscep("getca", "-f", "sscep.conf")
        assert (code, stderr) == (0, "")
        assert "SHA512 fingerprint: " in stdout
        assert "CA certificate written as ./ca.crt" in stdout

        code, stdout, stderr = sscep("enroll", "-f", "sscep.conf")
        assert (code, stderr) == (0, "")
        assert "requesting certificate (#2)" in stdout
        assert stdout.count("pkistatus: PENDING") == 2
        assert stdout.endswith("certificate written as ./local.crt\n")
        first = read_certificate(tmp_path / "local.crt")

        code, stdout, stderr = sscep("getcrl", "-f", "sscep.conf")
        assert (code, stderr) == (0, "")
        assert stdout.splitlines() == [
            "sscep: requesting crl",
            "sscep: valid response from server",
            "sscep: reply transaction id: SSCEP transactionId",
            "sscep: pkistatus: SUCCESS",
            "sscep: CRL written as ./crl.crl",
        ]
        crl = x509.load_pem_x509_crl((tmp_path / "crl.crl").read_bytes())
        assert crl.issuer == first.issuer

        assert sscep("getcert", "-f", "sscep.conf", "-s", first.serial_number)[0] == 0
        assert read_certificate(tmp_path / "cert.crt") == first

        responder.knobs = Knobs()
        (tmp_path / "local.key").rename(tmp_path / "old.key")
        (tmp_path / "local.crt").rename(tmp_path / "old.crt")
        assert sscep("mkrequest", "-dns", "gw.example.com")[0] == 0
        write_configuration(tmp_path, template, server.url, renewal=True)
        code, stdout, stderr = sscep("enroll", "-f", "sscep.conf")
        assert (code, stderr) == (0, "")
        second = read_certificate(tmp_path / "local.crt")
        assert second.public_key() != first.public_key()
        assert responder.requests[-1].certificates[0] == first
        assert not list((tmp_path / "state").rglob("*.pem"))


@pytest.mark.parametrize("template", [CLASSIC, INI], ids=["classic", "ini"])
def test_the_file_of_the_six_steps_becomes_a_pipeline_that_enrolls_and_renews(
    template, sscep, scepflow, tmp_path
):
    responder = Responder(Authority.create(now=datetime.now(UTC) - timedelta(days=1)), Knobs(pending=2))
    with serve(responder) as server:
        write_configuration(tmp_path, template, server.url)
        assert sscep("mkrequest", "-dns", "gw.example.com", "secret")[0] == 0
        assert sscep("getca", "-f", "sscep.conf")[0] == 0
        code, toml, stderr = scepflow("import", "sscep", "sscep.conf")
        assert (code, stderr) == (0, "")
        (tmp_path / "gw.toml").write_text(toml)
        assert scepflow("validate", "gw.toml")[0] == 0
        code, _, stderr = scepflow("run", "gw.toml")
        assert code == 0, stderr
        first = read_certificate(tmp_path / "local.crt")
        assert [int(request.message_type) for request in responder.requests] == [19, 20, 20]

        responder.knobs = Knobs()
        (tmp_path / "local.key").rename(tmp_path / "old.key")
        (tmp_path / "local.crt").rename(tmp_path / "old.crt")
        assert sscep("mkrequest", "-dns", "gw.example.com")[0] == 0
        write_configuration(tmp_path, template, server.url, renewal=True)
        code, toml, stderr = scepflow("import", "sscep", "sscep.conf")
        assert (code, stderr) == (0, "")
        (tmp_path / "renewal.toml").write_text(toml)
        assert scepflow("validate", "renewal.toml")[0] == 0
        code, _, stderr = scepflow("run", "renewal.toml")
        assert code == 0, stderr
        assert read_certificate(tmp_path / "local.crt").public_key() != first.public_key()
        assert responder.requests[-1].certificates[0] == first


@pytest.fixture
def peer(tmp_path):
    """Start a scepserver; gives its address."""
    directory = tmp_path / "peer"
    directory.mkdir()
    initialise = [SCEPSERVER, "ca", "-init", "-organization", "Peer", "-key-password", "x"]
    subprocess.run(initialise, cwd=directory, check=True, capture_output=True, timeout=60)
    port = free_port()
    command = [SCEPSERVER, "-depot", "depot", "-capass", "x", "-port", str(port), "-challenge", "secret"]
    with started([*command, "-allowrenew", "0"], port, directory=directory, log=tmp_path / "peer.log"):
        yield f"http://127.0.0.1:{port}/scep"


@pytest.mark.peer
@pytest.mark.skipif(SCEPSERVER is None, reason="apt-get install scep")
def test_scepserver_enrolls_although_it_answers_in_single_des(peer, sscep, tmp_path):
    code, stdout, _ = sscep("getcaps", "-u", peer)
    assert code == 0
    assert "scep capabilities: AES, DES3, POSTPKIOperation, Renewal, SHA-1, SHA-256, SCEPStandard" in stdout
    assert sscep("getca", "-u", peer, "-c", "ca.crt")[0] == 0
    assert sscep("mkrequest", "-dns", "gw.example.com", "secret")[0] == 0
    words = ("-u", peer, "-c", "ca.crt", "-k", "local.key", "-r", "local.csr", "-l", "local.crt")
    code, stdout, stderr = sscep("enroll", *words)
    assert (code, stderr) == (0, "")
    assert "pkistatus: SUCCESS" in stdout
    read_certificate(tmp_path / "local.crt").verify_directly_issued_by(read_certificate(tmp_path / "ca.crt"))


@pytest.mark.peer
@pytest.mark.skipif(SCEPSERVER is None, reason="apt-get install scep")
def test_scepserver_refuses_a_wrong_challenge_with_72(peer, sscep):
    assert sscep("getca", "-u", peer, "-c", "ca.crt")[0] == 0
    assert sscep("mkrequest", "-dns", "gw.example.com", "wrong")[0] == 0
    words = ("-u", peer, "-c", "ca.crt", "-k", "local.key", "-r", "local.csr", "-l", "local.crt")
    code, stdout, _ = sscep("enroll", *words)
    assert code == 72
    assert "pkistatus: FAILURE\nsscep: reason: Transaction not permitted or supported\n" in stdout
