"""``scepflow doctor``: what a CA offers, who would encrypt and sign, and lines that pin it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import tomli

from scepflow.testca import Authority, Knobs, Responder, serve


@pytest.fixture
def served_ra(folder):
    """A test CA with an RA pair on loopback."""
    authority = Authority.create(now=datetime.now(UTC) - timedelta(days=1), ra=True)
    with serve(Responder(authority, Knobs())) as server:
        yield server, authority


def test_an_address_is_examined_and_can_be_pinned_and_used(scepflow, served_ra, folder):
    server, authority = served_ra
    said = scepflow("doctor", server.url)
    assert (said.exit_code, said.stderr) == (0, "")
    first, *lines = said.stdout.splitlines()
    assert first == f"{server.url}: only GetCACaps and GetCACert were sent"
    assert "  certificate 2: RA CN=scepflow test CA RA encryption" in said.stdout
    assert (
        "requests would be encrypted for it: an RA's certificate whose key usage has keyEncipherment"
        in said.stdout
    )
    assert "  warning  several certificates could be the one" in said.stdout
    pin = "\n".join(line.strip() for line in lines[lines.index("    [ca]") :])
    assert tomli.loads(pin)["ca"]["fingerprint"] == f"sha256:{authority.fingerprint}"
    (folder / "ra.toml").write_text(f'{pin}\n[csr]\nsubject = "CN=gw1"\n[sink.file]\ncert = "ra.pem"\n')
    pinned = scepflow("doctor", "ra.toml")
    assert pinned.exit_code == 0
    assert "  pin  matches: fingerprint" in pinned.stdout
    assert "sink file  ok" in pinned.stdout
    assert "warning" not in pinned.stdout
    assert scepflow("run", "ra.toml").exit_code == 0


def test_the_answer_is_one_json_document(scepflow, served_ra):
    server, authority = served_ra
    said = scepflow("doctor", server.url, "--json")
    document = json.loads(said.stdout)
    assert document["exit_code"] == 0
    assert [c["role"] for c in document["certificates"]].count("RA") == 2
    assert [c["subject"] for c in document["certificates"] if c["encrypts"]] == [
        "CN=scepflow test CA RA encryption"
    ]
    assert [warning["code"] for warning in document["warnings"]] == [
        "ra-not-pinned",
        "several-candidates",
    ]
    assert authority.fingerprint in document["pin_toml"]
    assert (document["error"], document["stages"]) == (None, [])


def test_a_pipeline_that_would_fail_is_told_with_its_exit_code(scepflow, write):
    write("far.toml", cert='"far/away.pem"')
    said = scepflow("doctor", "far.toml")
    assert said.exit_code == 6
    assert "sink file  FAIL" in said.stdout
    assert "make the directory" in said.stdout
    document = json.loads(scepflow("doctor", "far.toml", "--json").stdout)
    assert document["stages"][-1]["error"]["type"] == "SinkError"
    assert document["pin"] == "matches: CA certificate file"


def test_a_pipeline_with_errors_is_not_examined(scepflow, write):
    write("m.toml", "[renw]")
    said = scepflow("doctor", "m.toml")
    assert (said.exit_code, said.stdout) == (78, "")
    assert "unknown key" in said.stderr


def test_a_server_that_is_not_there_exits_4(scepflow, folder):
    said = scepflow("doctor", "http://127.0.0.1:9/scep")
    assert said.exit_code == 4
    assert "transport  direct" in said.stdout
    assert "cannot reach http://127.0.0.1:9" in said.stderr


def test_an_identifier_goes_with_an_address_only(scepflow, write, served_ra):
    server, _ = served_ra
    assert 'identifier = "CA 1"' in scepflow("doctor", server.url, "--identifier", "CA 1").stdout
    said = scepflow("doctor", write(), "--identifier", "CA 1")
    assert said.exit_code == 64
