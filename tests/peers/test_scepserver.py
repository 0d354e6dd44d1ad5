"""`scepflow run` against micromdm's scepserver, which answers in single DES with SHA-1 (Q-020)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from starting import free_port, started

from scepflow.engine.trust import fingerprint

SCEPSERVER = shutil.which("scepserver")
TINYPROXY = shutil.which("tinyproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")
CHALLENGE = "sesame"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(SCEPSERVER is None, reason="apt-get install scep"),
    pytest.mark.skipif(OPENSSL is None, reason="apt-get install openssl"),
]


class Peer:
    """A scepserver and its log."""

    def __init__(self, url: str, directory: Path, log: Path) -> None:
        self.url = url
        self.ca = directory / "depot" / "ca.pem"
        self._log = log

    @property
    def fingerprint(self) -> str:
        return fingerprint(x509.load_pem_x509_certificate(self.ca.read_bytes()))

    def operations(self) -> list[str]:
        """Return the operations it has served, in order."""
        words = [word for line in self._log.read_text().splitlines() for word in line.split()]
        return [word.removeprefix("op=") for word in words if word.startswith("op=")]


@pytest.fixture(scope="module")
def depot(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scepserver")
    subprocess.run(
        [SCEPSERVER, "ca", "-init", "-organization", "Peer", "-key-password", "x"],
        cwd=directory,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return directory


@pytest.fixture
def peer(depot, tmp_path):
    port = free_port()
    log = tmp_path / "scepserver.log"
    command = [SCEPSERVER, "-depot", "depot", "-capass", "x", "-port", str(port), "-challenge", CHALLENGE]
    with started([*command, "-allowrenew", "0"], port, directory=depot, log=log):
        yield Peer(f"http://127.0.0.1:{port}/scep", depot, log)


PIPELINE = """
[ca]
url = "{url}"
{pin}

[csr]
subject = "CN=gw1.example.com,O=Example"
san = ["dns:gw1.example.com"]
challenge = {{ env = "CHALLENGE" }}

{transport}

[sink.file]
key = "gw1.key"
cert = "gw1.crt"
chain = "ca.crt"

{sinks}
"""


@pytest.fixture
def scepflow(tmp_path):
    """Run a pipeline by the command; gives exit code, JSON document and stderr."""

    def run(url, *, pin, challenge=CHALLENGE, transport="", sinks="", state="state", **environment):
        (tmp_path / "gw1.toml").write_text(
            PIPELINE.format(url=url, pin=pin, transport=transport, sinks=sinks)
        )
        done = subprocess.run(
            [sys.executable, "-m", "scepflow", "run", "gw1.toml", "--json"],
            cwd=tmp_path,
            env={
                **os.environ,
                "CHALLENGE": challenge,
                "SCEPFLOW_STATE_DIR": str(tmp_path / state),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)["pipelines"][0], done.stderr

    return run


def kept(tmp_path: Path) -> list[str]:
    """Return the files that are kept of attempts."""
    return sorted(path.name for path in (tmp_path / "state").glob("*/*/*"))


def assert_issued(directory: Path, ca: Path) -> None:
    """Have OpenSSL read the certificate, verify it, and compare it with the key."""

    def openssl(*arguments) -> str:
        done = subprocess.run(
            [OPENSSL, *arguments], cwd=directory, capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout

    assert "subject=CN = gw1.example.com" in openssl("x509", "-in", "gw1.crt", "-noout", "-subject").replace(
        "O = Example, CN", "CN"
    )
    assert "OK" in openssl("verify", "-CAfile", str(ca), "gw1.crt")
    assert openssl("x509", "-in", "gw1.crt", "-noout", "-pubkey") == openssl(
        "pkey", "-in", "gw1.key", "-pubout"
    )
    assert (directory / "gw1.key").stat().st_mode & 0o777 == 0o600


def test_a_certificate_is_issued_and_verified_although_the_reply_is_in_des_and_sha_1(
    peer, scepflow, tmp_path
):
    code, report, _ = scepflow(peer.url, pin=f'fingerprint = "{peer.fingerprint}"')
    assert code == 0
    assert_issued(tmp_path, peer.ca)
    assert any("sha-1 and des-cbc" in json.dumps(warning) for warning in report["warnings"])
    assert peer.operations() == ["GetCACaps", "GetCACert", "PKIOperation"]
    assert kept(tmp_path) == ["certificate.pem", "key.pem"]


def test_a_wrong_challenge_exits_72_and_says_bad_request(peer, scepflow, tmp_path):
    code, report, stderr = scepflow(
        peer.url, pin=f'fingerprint = "{peer.fingerprint}"', challenge="wrong-word"
    )
    assert code == 72
    assert "badRequest" in report["error"]["message"]
    assert "wrong-word" not in json.dumps(report) + stderr
    assert not (tmp_path / "gw1.key").exists()
    assert kept(tmp_path) == []


def test_a_wrong_fingerprint_exits_5_before_any_pki_operation(peer, scepflow, tmp_path):
    code, report, _ = scepflow(peer.url, pin=f'fingerprint = "sha256:{"0" * 64}"')
    assert code == 5
    assert peer.fingerprint in json.dumps(report)
    assert "PKIOperation" not in peer.operations()
    assert kept(tmp_path) == []


def test_without_a_pin_the_run_stops_and_shows_what_it_saw(peer, scepflow):
    code, report, _ = scepflow(peer.url, pin="")
    assert code == 5
    assert peer.fingerprint in json.dumps(report)
    assert "PKIOperation" not in peer.operations()


def test_strict_security_refuses_the_reply_and_writes_nothing(peer, scepflow, tmp_path):
    code, report, _ = scepflow(peer.url, pin=f'fingerprint = "{peer.fingerprint}"\nsecurity = "strict"')
    assert code == 5
    assert "strict" in report["error"]["message"]
    assert not (tmp_path / "gw1.crt").exists()
    assert "key.pem" in kept(tmp_path)  # the CA may have issued: the key is not thrown away


def test_a_dead_server_exits_4(scepflow, tmp_path):
    url = f"http://127.0.0.1:{free_port()}/scep"
    code, report, _ = scepflow(url, pin=f'fingerprint = "sha256:{"0" * 64}"')
    assert code == 4
    assert "refused" in report["error"]["message"]
    assert kept(tmp_path) == []


def test_three_sinks_at_once_and_one_that_fails_stops_no_other(peer, scepflow, tmp_path):
    sinks = """
[sink.isakmpd]
base = "isakmpd"
[sink.phone]
use = "pkcs12"
path = "{path}"
password = {{ env = "P12_PASSWORD" }}
friendly_name = "Gateway 1"
"""
    pin = f'fingerprint = "{peer.fingerprint}"'
    code, _, _ = scepflow(peer.url, pin=pin, sinks=sinks.format(path="gw1.p12"), P12_PASSWORD="p12-secret")
    assert code == 0
    opened = subprocess.run(
        [OPENSSL, "pkcs12", "-in", "gw1.p12", "-passin", "pass:p12-secret", "-noenc"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert "friendlyName: Gateway 1" in opened
    assert "BEGIN PRIVATE KEY" in opened
    tree = {
        str(path.relative_to(tmp_path / "isakmpd")): path.stat().st_mode & 0o777
        for path in (tmp_path / "isakmpd").rglob("*")
    }
    authority = [name for name in tree if name.startswith("ca/")]
    assert tree["private"] == 0o700
    assert tree["private/local.key"] == 0o600
    assert tree["certs/gw1.example.com.crt"] == 0o644
    assert len(authority) == 1
    assert (tmp_path / "isakmpd" / authority[0]).read_bytes().strip() == (
        tmp_path / "ca.crt"
    ).read_bytes().strip()
    load_pem_private_key((tmp_path / "isakmpd/private/local.key").read_bytes(), None)

    for written in (tmp_path / "gw1.key", tmp_path / "gw1.crt", tmp_path / "isakmpd/private/local.key"):
        written.unlink()
    code, report, stderr = scepflow(
        peer.url, pin=pin, sinks=sinks.format(path="missing/gw1.p12"), P12_PASSWORD="p12-secret"
    )
    assert code == 6
    assert_issued(tmp_path, peer.ca)
    assert (tmp_path / "isakmpd/private/local.key").exists()
    failed = [delivery for delivery in report["deliveries"] if delivery.get("error")]
    assert [delivery["sink"] for delivery in failed] == ["phone"]
    assert {"key.pem", "certificate.pem"} <= set(kept(tmp_path))
    assert "p12-secret" not in json.dumps(report) + stderr


@pytest.fixture
def proxy(tmp_path):
    if TINYPROXY is None:
        pytest.skip("apt-get install tinyproxy")
    port = free_port()
    configuration = tmp_path / "tinyproxy.conf"
    configuration.write_text(
        f'Port {port}\nListen 127.0.0.1\nTimeout 30\nAllow 127.0.0.1\nLogFile "{tmp_path}/tinyproxy.log"\n'
        "LogLevel Info\nBasicAuth svc proxy-secret\n"
    )
    command = [TINYPROXY, "-d", "-c", configuration]
    with started(command, port, directory=tmp_path, log=tmp_path / "tinyproxy.out"):
        yield port


@pytest.mark.parametrize("tunnel", ["auto", "always"])
def test_enrollment_through_a_proxy_with_a_login(peer, proxy, scepflow, tmp_path, tunnel):
    transport = f"""
[transport]
use = "proxy"
url = "http://127.0.0.1:{proxy}"
user = "svc"
password = {{ env = "PROXY_PASSWORD" }}
tunnel = "{tunnel}"
"""
    pin = f'fingerprint = "{peer.fingerprint}"'
    code, _, _ = scepflow(peer.url, pin=pin, transport=transport, PROXY_PASSWORD="proxy-secret")
    assert code == 0
    assert_issued(tmp_path, peer.ca)
    log = (tmp_path / "tinyproxy.log").read_text()
    assert ("CONNECT 127.0.0.1" in log) == (tunnel == "always")
    code, report, stderr = scepflow(
        peer.url, pin=pin, transport=transport, PROXY_PASSWORD="wrong-secret", state="anew"
    )
    assert code == 4
    assert "login" in report["error"]["message"]
    assert "wrong-secret" not in json.dumps(report) + stderr


@pytest.fixture
def ask(peer, tmp_path):
    """Ask the peer by a command; gives exit code and JSON document."""

    def ask(command, *options, pin=None):
        pin = pin or f'fingerprint = "{peer.fingerprint}"'
        text = PIPELINE.format(url=peer.url, pin=pin, transport="", sinks="")
        (tmp_path / "gw1.toml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "scepflow", command, "gw1.toml", "--json", *options],
            cwd=tmp_path,
            env={**os.environ, "CHALLENGE": CHALLENGE},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    return ask


def test_getcaps_reads_what_it_offers(ask, peer):
    code, document = ask("getcaps")
    assert code == 0
    assert document["capabilities"] == [
        "AES",
        "DES3",
        "POSTPKIOperation",
        "Renewal",
        "SCEPStandard",
        "SHA-1",
        "SHA-256",
    ]
    assert peer.operations() == ["GetCACaps"]


def test_getca_writes_its_certificate_only_when_it_is_pinned(ask, peer, tmp_path):
    code, document = ask("getca", "--output", "got.pem")
    assert code == 0
    assert document["certificates"][0]["fingerprint"] == peer.fingerprint
    assert document["certificates"][0]["recipient"]
    assert (tmp_path / "got.pem").read_text().strip() == peer.ca.read_text().strip()
    (tmp_path / "got.pem").unlink()
    code, document = ask("getca", "--output", "got.pem", pin="# nothing is pinned")
    assert (code, document["certificates"][0]["fingerprint"]) == (5, peer.fingerprint)
    assert not (tmp_path / "got.pem").exists()


def test_without_get_ca_cert_its_certificate_comes_from_a_file(peer, scepflow, tmp_path):
    pin = f'fetch_certificates = false\nsigning_certificate = "{peer.ca}"'
    code, _, _ = scepflow(peer.url, pin=pin)
    assert code == 0
    assert_issued(tmp_path, peer.ca)
    assert peer.operations() == ["GetCACaps", "PKIOperation"]


def test_it_has_no_next_ca(ask):
    code, document = ask("getnextca")
    assert code in (4, 5)
    assert document["error"]["message"]
