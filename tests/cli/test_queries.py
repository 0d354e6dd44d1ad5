"""``getca``, ``getcaps``, ``getnextca``, ``getcert`` and ``getcrl``: screens, documents, files and exit codes."""

import json
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from scepflow.cli.queries import _write
from scepflow.engine.trust import fingerprint
from scepflow.errors import SinkError
from scepflow.testca import Authority, Knobs, Responder, serve
from scepflow.testca.behaviours import behaviours


@pytest.fixture
def enrolled(scepflow, write, folder):
    """A pipeline whose certificate is there, and the options that sign with it."""
    file = write("gw1.toml", "[sink.isakmpd]", 'base = "isakmpd"')
    assert scepflow("run", "-q", file).exit_code == 0
    certificate = x509.load_pem_x509_certificate((folder / "gw1.pem").read_bytes())
    return certificate, (file, "--certificate", "gw1.pem", "--key", "device.key")


def rows(text):
    """The lines of a screen by their first words."""
    return {line[:13].strip(): line[15:] for line in text.splitlines()}


# -- getcaps


def test_capabilities_are_lines(scepflow, write):
    said = scepflow("getcaps", write())
    assert said.exit_code == 0
    assert "SCEPStandard\n" in said.stdout
    assert scepflow("getcaps", "-q", write()).stdout == ""


@pytest.fixture
def served(write, folder, current_authority):
    """A function that writes a pipeline for a CA on a loopback port, which behaves as a test wants; and the CA."""
    responder = Responder(Authority(current_authority.ca))
    with serve(responder) as server:

        def pipeline(url=server.url, **knobs):
            responder.knobs = Knobs(**knobs)
            file = write("loop.toml", url=f'"{url}"')
            text = (folder / file).read_text()
            text = text.replace('use = "embedded"\ndirectory = "testca"', 'use = "direct"')
            (folder / file).write_text(text)
            return file

        yield pipeline, responder


def test_unknown_capabilities_are_marked(scepflow, served):
    pipeline, _ = served
    file = pipeline(capabilities="AES\nUp\x1b[31mdate\n")
    assert scepflow("getcaps", file).stdout == "AES\nUp\\x1b[31mdate (unknown)\n"
    document = json.loads(scepflow("getcaps", "--json", file).stdout)
    assert document == {
        "pipeline": "loop",
        "exit_code": 0,
        "error": None,
        "http_status": 200,
        "capabilities": ["AES"],
        "unknown": [r"Up\x1b[31mdate"],
    }


def test_no_capabilities_are_worth_a_warning(scepflow, served):
    pipeline, _ = served
    said = scepflow("getcaps", pipeline(capabilities=""))
    assert (said.exit_code, said.stdout) == (0, "")
    assert "the CA lists no capabilities\n" in said.stderr


def test_a_server_that_is_not_there_exits_4_in_words_and_in_json(scepflow, served):
    pipeline, _ = served
    file = pipeline(url="http://127.0.0.1:1/scep")
    for command in ("getcaps", "getca", "getnextca"):
        said = scepflow(command, "--json", file)
        assert said.exit_code == 4
        document = json.loads(said.stdout)
        assert (document["exit_code"], document["error"]["type"]) == (4, "TransportError")
        assert "pipeline loop, transport direct, http://127.0.0.1:1/scep" in said.stderr


def test_a_pipeline_with_mistakes_is_not_asked(scepflow, write):
    said = scepflow("getca", write("bad.toml", "[poller]", 'use = "nonsense"'))
    assert said.exit_code == 78
    assert "nonsense" in said.stderr
    assert said.stdout == ""


# -- getca


def test_each_certificate_of_the_ca_has_its_role_and_its_use(scepflow, write):
    said = scepflow("getca", write("ra.toml", directory='"ra-ca"\nra = true', certificate='"ra-ca/ca.pem"'))
    assert said.exit_code == 0
    blocks = {}
    for line in said.stdout.splitlines():
        if not line.startswith(" "):
            heading = line[:13].strip()
        blocks.setdefault(heading, []).append(line)
    assert set(blocks) == {"CA", "RA signing", "RA encryption"}
    uses = {name: list(rows("\n".join(lines))) for name, lines in blocks.items()}
    assert uses["RA signing"][-1] == "signs"
    assert uses["RA encryption"][-2:] == ["encrypts", "signs"]
    assert uses["CA"][-3:] == ["trusted", "issues", "signs"]
    assert "keyEncipherment, the first choice" in said.stdout
    assert "\x1b" not in said.stdout


def test_the_ca_in_json_and_in_a_file(scepflow, write, folder, current_authority):
    said = scepflow("getca", "--json", "--output", "got.pem", write())
    assert said.exit_code == 0
    document = json.loads(said.stdout)
    assert document["authenticated_by"] == "CA certificate file"
    [certificate] = document["certificates"]
    assert certificate["role"] == "CA"
    assert certificate["fingerprint"] == f"sha256:{current_authority.fingerprint}"
    assert certificate["trusted"] is certificate["recipient"] is certificate["signer"] is True
    assert (folder / "got.pem").read_text() == certificate["pem"]
    assert stat.S_IMODE((folder / "got.pem").stat().st_mode) == 0o644
    assert rows(scepflow("getca", "--output", "got.pem", write()).stdout)["written"] == "got.pem"


def test_pem_goes_to_stdout_when_it_is_asked_for(scepflow, write, current_authority):
    said = scepflow("getca", "--output", "-", write())
    assert x509.load_pem_x509_certificate(said.stdout.encode()) == current_authority.certificate
    assert said.stdout.count("-----BEGIN") == 1


def test_a_ca_that_is_not_pinned_is_shown_and_not_written(scepflow, write, folder, current_authority):
    file = write("new.toml")
    (folder / file).write_text((folder / file).read_text().replace('certificate = "testca/ca.pem"\n', ""))
    said = scepflow("getca", "--output", "got.pem", file)
    assert said.exit_code == 5
    assert rows(said.stdout)["fingerprint"] == f"sha256:{current_authority.fingerprint}"
    assert {"trusted", "encrypts", "written"} & rows(said.stdout).keys() == set()
    assert f'write into [ca]:  fingerprint = "sha256:{current_authority.fingerprint}"' in said.stderr
    assert not (folder / "got.pem").exists()
    document = json.loads(scepflow("getca", "--json", file).stdout)
    assert (document["authenticated_by"], document["exit_code"]) == (None, 5)
    assert document["error"]["type"] == "TrustError"


def test_a_certificate_outside_the_trusted_ca_is_not_used(scepflow, served, folder):
    pipeline, responder = served
    stranger = Authority.create(now=datetime.now(UTC)).certificate
    ours = responder.authority.bundle
    responder.authority.bundle = lambda: (*ours(), stranger)
    said = scepflow("getca", pipeline())
    assert said.exit_code == 0
    assert "not used     it does not chain to the trusted CA" in said.stdout


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(scepflow, write, folder):
    said = scepflow("getnextca", "--output", "missing/next.pem", write())
    assert said.exit_code == 6
    assert "missing/next.pem: No such file" in said.stderr
    (folder / "dir.pem").mkdir()
    with pytest.raises(SinkError, match="directory"):
        _write(folder / "dir.pem", b"x")
    assert not list(folder.glob(".scepflow-*"))


def test_a_link_or_a_fifo_is_written_to_and_not_replaced(scepflow, write, folder):
    """As a daemon that waits for the certificate on a FIFO needs, and as /dev/stdout is for root."""
    os.mkfifo(folder / "fifo")
    reader = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert scepflow("getca", "--output", "fifo", write()).exit_code == 0
        pem = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
    (folder / "link.pem").symlink_to("target.pem")
    assert scepflow("getca", "--output", "link.pem", write()).exit_code == 0
    assert (folder / "link.pem").is_symlink()
    assert (folder / "target.pem").read_bytes() == pem
    assert pem.startswith(b"-----BEGIN CERTIFICATE-----")


# -- getnextca


def test_the_next_ca_is_stored_apart(scepflow, write, folder):
    before = (folder / "testca/ca.pem").read_bytes()
    said = scepflow("getnextca", "--output", "next.pem", write())
    assert said.exit_code == 0
    following = x509.load_pem_x509_certificate((folder / "next.pem").read_bytes())
    assert said.stdout.startswith("next CA        CN=scepflow test CA")
    assert rows(said.stdout)["fingerprint"] == fingerprint(following)
    assert (folder / "testca/ca.pem").read_bytes() == before
    document = json.loads(scepflow("getnextca", "--json", write()).stdout)
    assert [c["fingerprint"] for c in document["certificates"]] == [fingerprint(following)]


@pytest.mark.parametrize(
    ("relax", "behave"), [("signer", "next-ca-by-a-stranger"), ("signature", "next-ca-forged")]
)
def test_a_next_ca_that_only_a_relaxed_check_lets_through_is_shown_and_not_written(
    scepflow, served, folder, relax, behave
):
    """Whoever is in between could make it a trust anchor (S-084)."""
    pipeline, _ = served
    file = pipeline(behave=behaviours([behave]))
    text = (folder / file).read_text().replace("[key]", f'relax = ["{relax}"]\n[key]', 1)
    (folder / file).write_text(text)
    said = scepflow("getnextca", "--output", "next.pem", file)
    assert said.exit_code == 5
    assert not (folder / "next.pem").exists()
    assert said.stdout.startswith("next CA        CN=")
    assert "written" not in said.stdout
    assert "shown and not written" in said.stderr
    assert f"check {relax} is turned off and would have failed" in said.stderr
    document = json.loads(scepflow("getnextca", "--json", "--output", "next.pem", file).stdout)
    assert document["exit_code"] == 5
    assert len(document["certificates"]) == 1
    assert f"check {relax} is turned off and would have failed" in document["error"]["message"]
    assert not (folder / "next.pem").exists()
    assert scepflow("getnextca", "--output", "-", file).stdout == ""


# -- getcert, getcrl


def test_a_certificate_is_found_by_its_serial_number_in_every_spelling(scepflow, enrolled, folder):
    certificate, options = enrolled
    digits = f"{certificate.serial_number:x}"
    digits = "0" * (len(digits) % 2) + digits
    colons = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2)).upper()
    for serial in (digits, f"0x{digits}", colons):
        said = scepflow("getcert", *options, "--serial", serial, "--output", "-")
        assert x509.load_pem_x509_certificate(said.stdout.encode()) == certificate
    said = scepflow("getcert", *options, "--serial", digits)
    assert said.stdout.startswith("certificate    CN=gw1.example.com\n  issuer  ")
    document = json.loads(scepflow("getcert", *options, "--serial", digits, "--json").stdout)
    assert document["certificates"][0]["fingerprint"] == fingerprint(certificate)


@pytest.mark.parametrize("serial", ["", "4g", "0x", "1" * 65, "-1"])
def test_what_is_no_serial_number_is_a_usage_error(scepflow, write, serial):
    said = scepflow("getcert", write(), "--serial", serial)
    assert said.exit_code == 64
    assert "is not a serial number in hex" in said.stderr


def test_an_unknown_certificate_exits_as_a_rejection(scepflow, enrolled):
    said = scepflow("getcert", *enrolled[1], "--serial", "5")
    assert said.exit_code == 74
    assert "badCertId" in said.stderr


def test_a_question_without_a_certificate_says_how_to_name_one(scepflow, write):
    said = scepflow("getcrl", write())
    assert said.exit_code == 78
    assert "--certificate and --key" in said.stderr


def test_a_key_without_a_certificate_is_a_usage_error(scepflow, write):
    assert scepflow("getcrl", write(), "--key", "device.key").exit_code == 64


def test_the_pipeline_s_own_key_signs_where_no_other_is_named(scepflow, enrolled):
    assert scepflow("getcrl", enrolled[1][0], "--certificate", "gw1.pem").exit_code == 0


def test_the_crl_is_shown_and_written(scepflow, enrolled, folder, current_authority):
    said = scepflow("getcrl", *enrolled[1], "--output", "ca.crl")
    assert said.exit_code == 0
    assert said.stdout.startswith("CRL            CN=scepflow test CA")
    assert rows(said.stdout)["revoked"] == "0 certificates"
    crl = x509.load_pem_x509_crl((folder / "ca.crl").read_bytes())
    assert crl.is_signature_valid(current_authority.certificate.public_key())
    document = json.loads(scepflow("getcrl", *enrolled[1], "--json", "--serial", "7").stdout)
    assert document["crl"]["revoked_count"] == 0
    assert document["deliveries"] == []


def test_a_crl_with_a_huge_number_is_shown_and_one_that_is_stale_is_warned_of(scepflow, served, folder):
    pipeline, responder = served
    file = pipeline()
    assert scepflow("run", "-q", file).exit_code == 0
    ca, long_ago = responder.authority.ca, datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.certificate.subject)
    builder = builder.last_update(long_ago).next_update(long_ago + timedelta(days=7))
    crl = builder.add_extension(x509.CRLNumber(1 << 24_000), critical=False).sign(ca.key, hashes.SHA256())
    responder.authority.crl = lambda _now: crl
    said = scepflow("getcrl", "--json", "--output", "ca.crl", file, "--certificate", "gw1.pem")
    assert said.exit_code == 0
    (number,) = json.loads(said.stdout)["crl"]["extensions"]
    assert number["value"].endswith("… (3001 bytes)")
    assert "out of date: the next was due 2026-01-08 00:00 UTC" in " ".join(said.stderr.split())


def test_the_crl_goes_to_the_sinks_that_take_one(scepflow, enrolled, folder, current_authority):
    said = scepflow("getcrl", *enrolled[1], "--deliver")
    assert said.exit_code == 0
    [path] = (folder / "isakmpd/crls").iterdir()
    assert x509.load_pem_x509_crl(path.read_bytes()) is not None
    assert rows(said.stdout)["delivered"] == f"isakmpd: isakmpd/crls/{path.name}"
    document = json.loads(scepflow("getcrl", *enrolled[1], "--deliver", "--json").stdout)
    assert [delivery["delivered"] for delivery in document["deliveries"]] == [True]


def test_the_help_says_that_scep_cannot_revoke(scepflow):
    """RFC 8894 section 2.8, Certificate Revocation (C-122)."""
    assert "SCEP cannot revoke" in " ".join(scepflow("getcrl", "--help").stdout.split())


def test_a_sink_that_cannot_take_the_crl_exits_6(scepflow, enrolled, folder):
    (folder / "isakmpd/crls").rmdir()
    (folder / "isakmpd/crls").touch()
    said = scepflow("getcrl", *enrolled[1], "--deliver")
    assert said.exit_code == 6
    assert "NOT delivered  isakmpd: " in said.stdout


def test_a_pipeline_without_a_sink_for_crls_says_so_before_it_asks(scepflow, served, folder):
    pipeline, responder = served
    file = pipeline()
    assert scepflow("run", "-q", file).exit_code == 0
    responder.requests.clear()
    said = scepflow("getcrl", file, "--certificate", "gw1.pem", "--deliver")
    assert said.exit_code == 78
    assert "no sink of the pipeline takes a CRL" in said.stderr
    assert not responder.requests


CHANGES_ITS_MIND = """\
from scepflow.hookspecs import hookimpl
from scepflow.stages import OutputSink

class Picky(OutputSink, frozen=True, kw_only=True, tag="picky"):
    def write(self, issued, run):
        pass

    def write_crl(self, crl, run):
        return None

@hookimpl
def scepflow_sinks():
    return [Picky]
"""


def test_a_sink_that_takes_no_crl_after_all_is_an_error(scepflow, enrolled, write, folder):
    (folder / "picky.py").write_text(CHANGES_ITS_MIND)
    file = write("picky.toml", "[sink.picky]", 'use = "picky"')
    said = scepflow("getcrl", "-p", "./picky.py", file, "--certificate", "gw1.pem", "--deliver")
    assert said.exit_code == 6
    assert "no sink of the pipeline takes a CRL" in said.stderr


@pytest.mark.parametrize("command", ["getcaps", "getca", "getnextca", "getcert", "getcrl"])
def test_a_pipeline_that_is_none_is_told_in_json_as_well(command, scepflow, folder):
    serial = ("--serial", "1") if command == "getcert" else ()
    said = scepflow(command, "nofile.toml", *serial, "--json")
    document = json.loads(said.stdout)
    assert said.exit_code == document["exit_code"] == 78
    assert document["pipeline"] == "nofile"
    assert document["error"]["message"] == "cannot read the pipeline file: No such file or directory"
    assert scepflow(command, "nofile.toml", *serial).stdout == ""


def test_the_ca_s_own_words_are_told_where_it_does_not_answer(scepflow, served, folder):
    pipeline, _ = served
    file = pipeline()
    assert scepflow("run", "-q", file).exit_code == 0
    said = scepflow("getcert", file, "--certificate", "gw1.pem", "--serial", "7")
    assert said.exit_code == 74
    assert 'badCertId: "no such certificate"' in said.stderr


def test_questions_come_to_a_ca_on_loopback(scepflow, served, folder):
    pipeline, responder = served
    file = pipeline()
    assert scepflow("run", "-q", file).exit_code == 0
    serial = responder.issued[0][1].serial_number
    options = (file, "--certificate", "gw1.pem")
    assert scepflow("getcert", *options, "--serial", f"{serial:x}").exit_code == 0
    responder.authority.revoke(serial, now=datetime.now(UTC))
    said = scepflow("getcrl", *options)
    assert rows(said.stdout)["revoked"] == "1 certificate"


# -- keys with a pass phrase, and CRLs in files


def test_an_encrypted_key_signs_with_its_pass_phrase(scepflow, enrolled, folder):
    certificate, (file, *_) = enrolled
    key = load_pem_private_key((folder / "device.key").read_bytes(), None)
    how = BestAvailableEncryption(b"sesame word")
    (folder / "locked.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    (folder / "locked.key").chmod(0o600)
    (folder / "pass").write_text("sesame word\n")
    (folder / "wrong").write_text("another word\n")
    options = (file, "--certificate", "gw1.pem", "--key", "locked.key")
    for command in (("getcrl",), ("getcert", "--serial", f"{certificate.serial_number:x}")):
        said = scepflow(*command, *options, "--passphrase-file", "pass")
        assert said.exit_code == 0
        said = scepflow(*command, *options)
        assert said.exit_code == 64
        assert "locked.key: its pass phrase is needed: --passphrase-file" in " ".join(said.stderr.split())
        said = scepflow(*command, *options, "--passphrase-file", "wrong")
        assert said.exit_code == 78
        assert "wrong passphrase" in said.stderr
        assert "another word" not in said.output


def test_a_pass_phrase_without_a_key_is_a_usage_error(scepflow, enrolled):
    said = scepflow("getcrl", enrolled[1][0], "--certificate", "gw1.pem", "--passphrase-file", "pass")
    assert said.exit_code == 64
    assert "--passphrase-file needs --key" in said.stderr


def test_the_crl_goes_to_the_file_that_a_pipeline_names(scepflow, write, folder, current_authority):
    file = write("files.toml", 'crl = "crls/ca.crl"', "make_directories = true")
    assert scepflow("run", "-q", file).exit_code == 0
    assert not (folder / "crls").exists()
    said = scepflow("getcrl", file, "--certificate", "gw1.pem", "--deliver")
    assert said.exit_code == 0
    assert rows(said.stdout)["delivered"] == "file: crls/ca.crl"
    crl = x509.load_pem_x509_crl((folder / "crls/ca.crl").read_bytes())
    assert crl.is_signature_valid(current_authority.certificate.public_key())
