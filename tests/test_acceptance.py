"""What a user sees of `scepflow run` as a command: HTTPS, pending requests, five mistakes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.testca import Authority, Knobs, Responder, serve


@pytest.fixture(scope="module")
def authority():
    return Authority.create(now=datetime.now(UTC), ra=True)


@pytest.fixture
def scepflow(tmp_path):
    def run(text, *arguments):
        (tmp_path / "gw1.toml").write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "scepflow", "run", "gw1.toml", *arguments],
            cwd=tmp_path,
            env={**os.environ, "SCEPFLOW_STATE_DIR": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


PIPELINE = """
[ca]
url = "{url}"
fingerprint = "sha256:{fingerprint}"
[csr]
subject = "CN=gw1"
[sink.file]
key = "gw1.key"
cert = "gw1.crt"
"""


def test_a_pending_request_is_polled_until_its_certificate_comes(authority, scepflow, tmp_path):
    responder = Responder(authority, Knobs(pending=2))
    with serve(responder) as server:
        done = scepflow(
            PIPELINE.format(url=server.url, fingerprint=authority.fingerprint)
            + '[poller]\nuse = "fixed"\ninterval = "0s"\nmax_count = 5\n',
            "--json",
        )
    assert done.returncode == 0, done.stderr
    assert [int(request.message_type) for request in responder.requests] == [19, 20, 20]
    assert len({request.transaction_id for request in responder.requests}) == 1
    assert len({request.sender_nonce for request in responder.requests}) == 3
    assert len(responder.issued) == 1
    assert (tmp_path / "gw1.crt").exists()


def test_the_poll_limit_exits_3_and_keeps_the_key(authority, scepflow, tmp_path):
    with serve(Responder(authority, Knobs(pending=99))) as server:
        done = scepflow(
            PIPELINE.format(url=server.url, fingerprint=authority.fingerprint)
            + '[poller]\nuse = "fixed"\ninterval = "0s"\nmax_count = 2\n',
            "--json",
        )
    assert done.returncode == 3
    assert "transaction" in json.dumps(json.loads(done.stdout)["pipelines"][0]["error"])
    keys = list((tmp_path / "state").rglob("key.pem"))
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600]
    assert not (tmp_path / "gw1.crt").exists()


def test_https_with_a_private_root(authority, scepflow, tmp_path):
    credential = authority.tls_credential("127.0.0.1", now=datetime.now(UTC))
    (tmp_path / "root.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    text = PIPELINE + '[transport]\nuse = "direct"\n{roots}\n'
    with serve(Responder(authority), tls=credential) as server:
        assert server.url.startswith("https://")
        trusted = scepflow(
            text.format(url=server.url, fingerprint=authority.fingerprint, roots='ca_file = "root.pem"')
        )
        again = text.format(url=server.url, fingerprint=authority.fingerprint, roots="")
        stranger = scepflow(again, "--renew")
    assert trusted.returncode == 0, trusted.stderr
    assert stranger.returncode == 4
    assert "certificate" in stranger.stderr


def test_five_mistakes_are_shown_at_once_and_nothing_is_made_or_sent(authority, scepflow, tmp_path):
    responder = Responder(authority)
    with serve(responder) as server:
        done = scepflow(f"""[ca]
url = "{server.url}"
fingerprint = "sha256:12ab"
[csr]
subjct = "CN=gw1"
[poller]
max_count = -3
[transport]
use = "proxi"
[sink.file]
key = "gw1.key"
mode = 640
""")
        assert not responder.requests
    assert done.returncode == 78
    for place in (
        "gw1.toml:3:15: error",
        "gw1.toml:5:1: error",
        "gw1.toml:7:13: error",
        "gw1.toml:9:7: error",
        "gw1.toml:12:8: error",
    ):
        assert place in done.stderr, done.stderr
    assert "5 errors" in done.stderr
    assert 'did you mean "subject"?' in done.stderr
    assert 'did you mean "proxy"?' in done.stderr
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "gw1.key").exists()


def test_a_dry_run_sends_no_pki_operation_and_makes_nothing(authority, scepflow, tmp_path):
    responder = Responder(authority)
    with serve(responder) as server:
        done = scepflow(PIPELINE.format(url=server.url, fingerprint=authority.fingerprint), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not responder.requests
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gw1.toml"]
