"""``scepflow deliver`` and ``rollback``: the certificates that are kept, without the CA."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.testca import Authority
from scepflow_bundled.csr import SubjectCsrBuilder

GENERATED = ('use = "file"\npath = "device.key"', 'use = "generate"')


@pytest.fixture
def generating(write, folder):
    """A pipeline file with a new key for each certificate."""

    def generating(name="gw1.toml", *added, **replaced):
        path = folder / write(name, *added, **replaced)
        path.write_text(path.read_text().replace(*GENERATED))
        return name

    return generating


def _serial(folder):
    return x509.load_pem_x509_certificate((folder / "gw1.pem").read_bytes()).serial_number


def test_what_was_deleted_is_there_again(scepflow, write, folder):
    scepflow("run", write())
    before = (folder / "gw1.pem").read_bytes()
    (folder / "gw1.pem").unlink()
    said = scepflow("deliver", "gw1.toml")
    assert said.exit_code == 0
    assert (folder / "gw1.pem").read_bytes() == before
    assert [line.split()[:2] for line in said.stdout.splitlines()] == [
        ["gw1", "delivered"],
        ["delivered", "file:"],
    ]
    assert said.stderr.splitlines() == ["gw1", "  delivered  file: gw1.pem"]


def test_sinks_can_be_named(scepflow, write):
    write("two.toml", "[sink.other]", 'use = "file"', 'cert = "other.pem"')
    scepflow("run", "two.toml")
    said = scepflow("deliver", "--json", "two.toml", "other")
    (result,) = json.loads(said.stdout)["pipelines"]
    assert [delivery["sink"] for delivery in result["deliveries"]] == ["other"]
    assert (result["outcome"], result["exit_code"]) == ("delivered", 0)


def test_a_sink_that_no_one_knows_is_an_error(scepflow, write):
    scepflow("run", write())
    said = scepflow("deliver", "gw1.toml", "fiel")
    assert said.exit_code == 78
    assert "no sink is named 'fiel'" in said.stderr
    assert "known: file" in said.stderr


def test_a_sink_that_fails_exits_6_and_is_not_called_delivered(scepflow, write):
    scepflow("run", write())
    write(cert='"far/away.pem"')
    said = scepflow("deliver", "gw1.toml")
    assert said.exit_code == 6
    first, failed, hint = said.stdout.splitlines()
    assert first.split()[:2] == ["gw1", "degraded"]
    assert "NOT delivered   file: " in failed
    assert "hint: make the directory" in hint


def test_before_the_first_certificate_there_is_nothing_to_deliver(scepflow, write):
    said = scepflow("deliver", write())
    assert (said.exit_code, said.stdout) == (78, "")
    assert "gw1 has no certificate yet" in said.stderr
    assert "hint: `scepflow run` gets one" in said.stderr


def test_a_file_with_errors_delivers_nothing(scepflow, write):
    write("m.toml", "[renw]")
    for command in ("deliver", "rollback"):
        said = scepflow(command, "m.toml")
        assert said.exit_code == 78
        assert 'unknown key "renw"' in said.stderr


def test_going_back_delivers_the_earlier_certificate(scepflow, generating, folder):
    scepflow("run", generating())
    first = _serial(folder)
    scepflow("run", "--renew", "gw1.toml")
    assert _serial(folder) != first
    said = scepflow("rollback", "gw1.toml")
    assert said.exit_code == 0
    assert _serial(folder) == first
    assert said.stdout.splitlines()[0].startswith("gw1       rolled back     serial ")
    assert "note:" not in said.stderr
    assert "rolled-back" in scepflow("history").stdout
    (result,) = json.loads(scepflow("run", "--json", "gw1.toml").stdout)["pipelines"]
    assert (result["outcome"], result["serial"]) == ("unchanged", f"{first:x}")


@pytest.fixture
def due(scepflow, generating, folder, stage_run, _device_key):
    """Take over a certificate of which an eighth of the life is left, so that the run renews it at once; give its serial."""

    def due(*added):
        authority = Authority.load(folder / "testca")
        name = SubjectCsrBuilder(subject="CN=gw1.example.com").build(_device_key, stage_run).subject
        csr = x509.CertificateSigningRequestBuilder(name).sign(_device_key, SHA256())
        old = authority.issue(csr, now=datetime.now(UTC) - timedelta(days=7), days=8)
        (folder / "old.pem").write_bytes(old.public_bytes(Encoding.PEM))
        said = scepflow("run", generating("gw1.toml", *added), "--adopt", "old.pem", "device.key")
        assert said.exit_code == 0, said.stderr
        return old.serial_number

    return due


def test_going_back_to_what_is_due_says_that_the_next_run_renews_it(scepflow, due, folder):
    first = due()
    assert _serial(folder) != first
    said = scepflow("rollback", "gw1.toml")
    assert (said.exit_code, _serial(folder)) == (0, first)
    assert "note: this certificate is due: the next run renews it." in said.stderr
    assert scepflow("status").stdout.splitlines()[1].split()[1] == "due"
    assert "renewed" in scepflow("run", "gw1.toml").stdout


def test_without_an_earlier_certificate_nothing_changes(scepflow, generating, folder):
    scepflow("run", generating())
    first = _serial(folder)
    said = scepflow("rollback", "gw1.toml")
    assert (said.exit_code, said.stdout) == (78, "")
    assert "no earlier certificate is kept" in said.stderr
    assert _serial(folder) == first


def test_the_help_of_rollback_says_what_the_next_run_does(scepflow):
    assert "the next run renews it" in " ".join(scepflow("rollback", "--help").stdout.split())


def test_notes_are_json_lines_where_logs_are_and_none_when_quiet(scepflow, due):
    due("[renew]", "keep = 2")
    said = scepflow("rollback", "gw1.toml", "--log-format", "json")
    (note,) = (line for line in map(json.loads, said.stderr.splitlines()) if line["event"] == "Log")
    assert note["level"] == "info"
    assert note["message"].startswith("this certificate is due")
    scepflow("run", "gw1.toml")
    said = scepflow("rollback", "-q", "gw1.toml")
    assert (said.exit_code, said.output) == (0, "")
