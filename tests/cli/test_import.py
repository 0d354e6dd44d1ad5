"""``scepflow import``: what it prints validates, and enrolls."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.testca import Authority, Knobs, Responder, serve

CLASSIC = """\
URL "{url}"
CACertFile ./ca.crt
PrivateKeyFile ./local.key
LocalCertFile "./local {{1}}.crt"
CertReqFile ./local.csr
PollInterval 5
SelfSignedFile ./selfsigned.crt
"""

INI = """\
[sscep]
URL = {url}
CACertFile = ./ca.crt
[sscep_enroll]
PrivateKeyFile = ./local.key
LocalCertFile = "./local {{1}}.crt"
CertReqFile = ./local.csr
PollInterval = 5
SelfSignedFile = ./selfsigned.crt
"""


@pytest.fixture
def ca_url(folder, current_authority, scepflow):
    """A CA on a loopback port; its certificate, a key and a request are in the folder."""
    (folder / "ca.crt").write_bytes(current_authority.ca.certificate.public_bytes(Encoding.PEM))
    assert scepflow("sscep", "mkrequest", "-dns", "gw.example.com", "secret").exit_code == 0
    with serve(Responder(Authority(current_authority.ca), Knobs())) as server:
        yield server.url


@pytest.mark.parametrize("template", [CLASSIC, INI], ids=["classic", "ini"])
def test_the_pipeline_of_a_configuration_validates_and_enrolls(template, ca_url, scepflow, folder):
    (folder / "sscep.conf").write_text(template.format(url=ca_url))
    printed = scepflow("import", "sscep", "sscep.conf")
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert "# -L SelfSignedFile: the self-signed certificate is not written.\n" in printed.stdout
    (folder / "gw.toml").write_text(printed.stdout)
    assert scepflow("validate", "gw.toml").exit_code == 0
    assert scepflow("run", "gw.toml").exit_code == 0
    issued = x509.load_pem_x509_certificate((folder / "local {1}.crt").read_bytes())
    assert "gw.example.com" in issued.subject.rfc4514_string()


def test_a_command_line_gives_the_same_pipeline(ca_url, scepflow, folder):
    words = ("-u", ca_url, "-c", "./ca.crt", "-k", "./local.key", "-r", "local.csr", "-l", "x.crt", "-t", "5")
    printed = scepflow("import", "cmdline", "--", "./sscep", "enroll", *words)
    assert printed.exit_code == 0
    (folder / "gw.toml").write_text(printed.stdout)
    assert scepflow("run", "-q", "gw.toml").exit_code == 0
    assert (folder / "x.crt").exists()


def test_what_is_missing_is_said_and_the_pipeline_still_validates(scepflow, folder):
    printed = scepflow("import", "cmdline", "--", "sscep", "enroll", "-P", "pass:hush", "-k", "a.key", "-R")
    assert printed.stdout.count("# MISSING: ") == 4
    assert "hush" not in printed.output
    assert 'passphrase = { env = "SSCEP_PASSPHRASE" }' in printed.output.replace('"env"', "env")
    assert "# -R Resume" in printed.stdout
    (folder / "gw.toml").write_text(printed.stdout)
    assert scepflow("validate", "gw.toml").exit_code == 0


@pytest.mark.parametrize(
    ("operation", "command"),
    [
        ("getcaps", "scepflow getcaps PIPELINE"),
        ("getca", "scepflow getca PIPELINE --output ca.crt"),
        ("getcert", "scepflow getcert PIPELINE --serial 1f --output new.crt"),
    ],
)
def test_a_question_names_the_command_that_asks_it(operation, command, scepflow, folder):
    words = ("-u", "http://h/x", "-c", "ca.crt", "-w", "new.crt", "-s", "31", "-l", "l.crt", "-k", "l.key")
    printed = scepflow("import", "cmdline", "--", "sscep", operation, *words)
    assert f"# {operation} issues nothing: {command}\n" in printed.stdout
    (folder / "gw.toml").write_text(printed.stdout)
    assert scepflow("validate", "gw.toml").exit_code == 0


def test_a_file_that_cannot_be_read_is_an_error(scepflow, folder):
    failed = scepflow("import", "sscep", "none.conf")
    assert failed.exit_code == 93
    assert failed.stdout == ""


def test_a_command_that_only_prints_usage_is_a_usage_error(scepflow):
    assert scepflow("import", "cmdline", "--", "sscep", "frobnicate").exit_code == 64
