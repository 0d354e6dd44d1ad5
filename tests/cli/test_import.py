"""``scepflow import``: what it prints validates, and enrolls."""

import os

import pytest
import tomli
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

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
    assert failed.exit_code == 78
    assert failed.stdout == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("cmdline -- sscep enroll -K old.key", 78),
        ("cmdline -- sscep enroll -u ftp://h/x", 64),
        ("cmdline -- sscep enroll -f none.conf", 78),
        ("sscep bad.conf", 78),
    ],
)
def test_the_exit_codes_are_those_of_scepflow(words, code, scepflow, folder):
    (folder / "bad.conf").write_text("URL ftp://h/x\n")
    assert scepflow("import", *words.split()).exit_code == code


def test_a_key_with_a_pass_phrase_is_read_with_one_of_the_environment(scepflow, folder):
    encryption = BestAvailableEncryption(b"sesame")
    key = load_pem_private_key((folder / "device.key").read_bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    (folder / "local.key").write_bytes(pem)
    words = ("enroll", "-k", "local.key", "-K", "local.key", "-O", "old.crt")
    printed = scepflow("import", "cmdline", "--", "sscep", *words)
    remark = (
        "# MISSING: the pass phrase of local.key: put it into the environment variable SSCEP_PASSPHRASE.\n"
    )
    assert printed.stdout.count(remark) == 1
    found = tomli.loads(printed.stdout)
    assert found["key"]["passphrase"] == found["signer"]["passphrase"] == {"env": "SSCEP_PASSPHRASE"}
    given = scepflow("import", "cmdline", "--", "sscep", *words, "-P", "file:pass")
    assert "MISSING: the pass phrase" not in given.stdout
    assert tomli.loads(given.stdout)["key"]["passphrase"] == {"file": "pass"}


@pytest.mark.parametrize(("bits", "expected"), [(1024, 1024), (2048, None)])
def test_a_short_key_is_let_in_and_pointed_out(bits, expected, scepflow, folder):
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    (folder / "local.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    printed = scepflow("import", "cmdline", "--", "sscep", "enroll", "-k", "local.key")
    assert tomli.loads(printed.stdout)["key"].get("min_bits") == expected
    assert ("# The RSA key in local.key has 1024 bits" in printed.stdout) == (expected is not None)


def test_a_command_that_only_prints_usage_is_a_usage_error(scepflow):
    assert scepflow("import", "cmdline", "--", "sscep", "frobnicate").exit_code == 64


EVIL = 'x\n[sink.evil]\nuse = "command"\nargv = ["touch", "pwned"]\n#'


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x85", "\u2028"])
@pytest.mark.parametrize(
    "words",
    [
        ("enroll", "-c", EVIL),
        ("enroll", "-k", EVIL, "-l", EVIL, "-r", EVIL),
        ("getca", "-c", EVIL),
        ("getnextca", "-c", EVIL),
        ("getcert", "-w", EVIL, "-s", "1"),
        ("getcrl", "-w", EVIL),
        (EVIL.replace("x", "enroll", 1),),
        ("enroll", "-g", "pkcs11", "-k", EVIL),
    ],
    ids=lambda words: " ".join(words)[:12],
)
def test_a_name_with_a_line_end_adds_no_line_to_the_pipeline(words, end, scepflow, folder):
    """What stands in the name would be a sink of its own, which runs a command."""
    words = [word.replace("\n", end) for word in words]
    printed = scepflow("import", "cmdline", "--", "sscep", *words)
    assert printed.exit_code == 0
    assert set(tomli.loads(printed.stdout)["sink"]) == {"file"}
    remarks, _, text = printed.stdout.partition("\n\n")
    assert all(line.startswith("# ") for line in remarks.splitlines())
    assert "sink.evil]\n" not in text


@pytest.mark.parametrize("operation", ["enroll", "getca", "getcrl"])
def test_a_configuration_with_line_ends_adds_no_line_either(operation, scepflow, folder):
    """INI values may have them, as may the file's own name."""
    value = '"x"' + EVIL.replace("\n", "\\n").replace('"', '\\"').replace("#", "\\#").removeprefix("x")
    name = "conf\n[sink.evil]\n"
    (folder / name).write_text(
        f"[sscep]\nCACertFile = {value}\n[sscep_getcrl]\nGetCrlFile = {value}\nLocalCertFile = l\n"
    )
    printed = scepflow("import", "sscep", name, "--operation", operation)
    assert printed.exit_code == 0
    assert "evil" in printed.stdout
    assert set(tomli.loads(printed.stdout)["sink"]) == {"file"}
    assert printed.stdout.startswith("# From sscep's configuration conf\\n[sink.evil]\\n. ")


@pytest.mark.parametrize("configured", [True, False])
def test_the_login_of_a_proxy_is_imported_without_its_password(configured, scepflow, folder):
    proxy = "u%40x:s3cret@host:9"
    (folder / "sscep.conf").write_text(f"Proxy = {proxy}\n")
    given = ("-f", "sscep.conf") if configured else ("-p", proxy)
    printed = scepflow("import", "cmdline", "--", "sscep", "enroll", *given)
    assert "s3cret" not in printed.output
    found = tomli.loads(printed.stdout)["transport"]
    assert (found["use"], found["url"], found["user"]) == ("proxy", "http://host:9", "u@x")
    assert found["password"] == {"env": "SSCEP_PROXY_PASSWORD"}
    assert "# The proxy's password is not copied: put it into the environment" in printed.stdout
    (folder / "gw.toml").write_text(printed.stdout)
    assert scepflow("validate", "gw.toml").exit_code == 0


def test_a_name_that_is_not_utf_8_is_refused(scepflow, folder):
    """TOML is UTF-8; the front-end itself takes such a name."""
    name = os.fsdecode(b"ca-\xff.crt")
    printed = scepflow("import", "cmdline", "--", "sscep", "enroll", "-l", name)
    assert (printed.exit_code, printed.stdout) == (78, "")
    assert r"a name that is not UTF-8: cert = \"ca-\udcff.crt\"".replace('\\"', '"') in printed.stderr


def test_an_endless_ca_file_is_no_endless_import(scepflow):
    printed = scepflow("import", "cmdline", "--", "sscep", "enroll", "-c", "/dev/zero")
    assert "# /dev/zero cannot be read now" in printed.stdout
