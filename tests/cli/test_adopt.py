"""``scepflow run --adopt``: a certificate that came from elsewhere is taken in, and renewed from then on."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from scepflow.cli import passphrases
from scepflow.testca import Authority


@pytest.fixture
def foreign(scepflow, write, folder):
    """A certificate for ``device.key`` in ``foreign.pem``, of which the state directory knows nothing."""
    write("other.toml", cert='"foreign.pem"')
    assert scepflow("run", "-q", "other.toml", "--state-dir", folder / "elsewhere").exit_code == 0
    return ("--adopt", "foreign.pem", "device.key")


@pytest.fixture
def locked(folder, _device_key, foreign):
    """The same, and the key is encrypted."""
    encryption = BestAvailableEncryption(b"hush")
    pem = _device_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    (folder / "locked.key").write_bytes(pem)
    (folder / "locked.key").chmod(0o600)
    return ("--adopt", "foreign.pem", "locked.key")


def test_an_adopted_certificate_is_up_to_date_and_no_sink_is_touched(scepflow, write, foreign, folder):
    (folder / "gw1.pem").write_text("what the sink's place holds")
    said = scepflow("run", write(), *foreign)
    assert said.exit_code == 0
    assert said.stdout.startswith("gw1       up to date      serial ")
    assert said.stderr.startswith("note: adopted CN=gw1.example.com, serial ")
    assert "`scepflow deliver` hands it to the sinks" in said.stderr
    assert (folder / "gw1.pem").read_text() == "what the sink's place holds"
    assert scepflow("deliver", "gw1.toml").exit_code == 0
    assert (folder / "gw1.pem").read_bytes() == (folder / "foreign.pem").read_bytes()


def test_an_adopted_certificate_goes_where_there_is_nothing(scepflow, write, foreign, folder):
    said = scepflow("run", write(), *foreign)
    assert said.stdout.startswith("gw1       delivered       serial ")
    assert (folder / "gw1.pem").read_bytes() == (folder / "foreign.pem").read_bytes()


def test_adopting_it_once_more_says_nothing_of_it(scepflow, write, foreign):
    scepflow("run", write(), *foreign)
    said = scepflow("run", "gw1.toml", *foreign)
    assert (said.exit_code, "adopted" in said.stderr) == (0, False)
    assert "up to date" in said.stdout


def test_an_adopted_certificate_that_is_due_is_renewed_at_once(scepflow, write, foreign, folder):
    said = scepflow("run", write(), *foreign, "--renew", "--json")
    (result,) = json.loads(said.stdout)["pipelines"]
    old = x509.load_pem_x509_certificate((folder / "foreign.pem").read_bytes())
    assert (said.exit_code, result["outcome"]) == (0, "renewed")
    assert result["serial"] != f"{old.serial_number:x}"
    assert f"certificate of CN=gw1.example.com, serial {old.serial_number:x}" in said.stderr


def test_der_and_a_chain_around_it_are_read_too(scepflow, write, foreign, folder):
    old = x509.load_pem_x509_certificate((folder / "foreign.pem").read_bytes())
    (folder / "foreign.der").write_bytes(old.public_bytes(Encoding.DER))
    ca = (folder / "testca" / "ca.pem").read_bytes()
    (folder / "bundle.pem").write_bytes(ca + (folder / "foreign.pem").read_bytes())
    for name, file in (("a.toml", "foreign.der"), ("b.toml", "bundle.pem")):
        said = scepflow("run", write(name), "--adopt", file, "device.key")
        assert (said.exit_code, f"serial {old.serial_number:x};" in said.stderr) == (0, True)


def test_a_pass_phrase_comes_from_a_file(scepflow, write, locked, folder):
    (folder / "pass").write_text("hush\n")
    said = scepflow("run", write(), *locked, "--passphrase-file", "pass")
    assert said.exit_code == 0
    assert "hush" not in said.output


def test_without_a_terminal_a_pass_phrase_that_is_missing_is_a_usage_error(scepflow, write, locked):
    said = scepflow("run", write(), *locked)
    assert said.exit_code == 64
    assert "--adopt: locked.key: its pass phrase is needed: --passphrase-file" in said.stderr


def test_whoever_sits_at_the_terminal_is_asked(folder, locked):
    asked = []

    def ask(text):
        asked.append(text)
        return "hush"

    assert passphrases.key_passphrase("locked.key", None, option="--adopt", ask=ask) == "hush"
    assert asked == ["Pass phrase of locked.key: "]


def test_a_wrong_pass_phrase_is_reported_without_its_text(scepflow, write, locked, folder):
    (folder / "pass").write_text("wr0ng")
    said = scepflow("run", write(), *locked, "--passphrase-file", "pass")
    assert said.exit_code == 78
    assert "cannot decrypt the key" in said.stderr
    assert "wr0ng" not in said.output


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("missing.pem", "device.key"), "--adopt: cannot read missing.pem: No such file"),
        (("foreign.pem", "missing.key"), "--adopt: cannot read missing.key: No such file"),
        (("device.key", "device.key"), "--adopt: device.key holds no certificate"),
        (("gw1.toml", "device.key"), "--adopt: gw1.toml holds no certificate"),
    ],
)
def test_files_that_cannot_be_used_are_usage_errors(scepflow, write, foreign, args, expected):
    said = scepflow("run", write(), "--adopt", *args)
    assert (said.exit_code, said.stdout) == (64, "")
    assert expected in said.stderr


def test_a_certificate_that_does_not_fit_changes_nothing(scepflow, write, foreign):
    said = scepflow("run", write(), "--adopt", "testca/ca.pem", "device.key")
    assert (said.exit_code, said.stdout) == (78, "")
    assert "no certificate in the file fits the key" in said.stderr
    assert scepflow("status", "gw1.toml").stdout.splitlines()[1].split()[:2] == ["gw1", "new"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("gw2.toml",), "--adopt goes with one PIPELINE"),
        (("--dry-run",), "--adopt changes what is kept, and --dry-run changes nothing"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(scepflow, write, foreign, args, expected):
    said = scepflow("run", write(), *foreign, *args)
    assert said.exit_code == 64
    assert expected in said.stderr


def test_a_pass_phrase_for_nothing_is_a_usage_error(scepflow, write):
    said = scepflow("run", write(), "--passphrase-file", "pass")
    assert said.exit_code == 64
    assert "--passphrase-file goes with --adopt" in said.stderr


def test_over_a_certificate_that_is_there_nothing_is_adopted(scepflow, write, foreign):
    scepflow("run", write())
    said = scepflow("run", "gw1.toml", *foreign)
    assert said.exit_code == 78
    assert "gw1 has a certificate or a request already" in said.stderr


def _warnings(said):
    return [warning["code"] for warning in json.loads(said.stdout)["pipelines"][0]["warnings"]]


def test_a_certificate_that_fits_is_adopted_without_a_warning(scepflow, write, foreign):
    assert _warnings(scepflow("run", write(), *foreign, "--json")) == []


def test_a_certificate_for_another_subject_is_adopted_with_a_warning(scepflow, write, foreign):
    said = scepflow("run", write(subject='"CN=gw2.example.com"'), *foreign, "--json")
    assert (said.exit_code, _warnings(said)) == (0, ["adopted-subject"])
    assert "for CN=gw1.example.com, and [csr] asks for CN=gw2.example.com" in said.stdout


def test_a_certificate_of_another_ca_is_adopted_with_a_warning(scepflow, write, foreign, folder):
    other = Authority.create(now=datetime.now(UTC) - timedelta(days=1))
    other.save(folder / "otherca")
    said = scepflow("run", write(certificate='"otherca/ca.pem"'), *foreign, "--json")
    assert _warnings(said) == ["adopted-issuer"]
