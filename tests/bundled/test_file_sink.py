import os
import subprocess
from datetime import timedelta
from shutil import which

import msgspec
import pytest
from credential_fixtures import NOW, ec_key, make_credential, make_run, mode_of, name, tree
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from scepflow.engine.identity import Credential
from scepflow.errors import OptionError, SinkError
from scepflow.events import Warned
from scepflow.options import FileMode, PathTemplate, Secret
from scepflow_bundled.sinks import FileSink

P = PathTemplate


def write(tmp_path, issued=None, events=None, **options):
    issued = issued or make_credential()
    FileSink(**options).write(issued, make_run(tmp_path, events))
    return issued


def openssl(directory, *arguments):
    return subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, check=True).stdout


def load_certificates(path):
    return x509.load_pem_x509_certificates(path.read_bytes())


def test_each_option_writes_its_part_of_the_credential(tmp_path):
    names = {option: P(f"{option}.pem") for option in ("key", "cert", "chain", "fullchain", "combined", "ca")}
    issued = write(tmp_path, **names)
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    assert key.private_numbers() == issued.key.private_numbers()
    assert load_certificates(tmp_path / "cert.pem") == [issued.certificate]
    assert load_certificates(tmp_path / "chain.pem") == list(issued.chain)
    assert load_certificates(tmp_path / "fullchain.pem") == [issued.certificate, *issued.chain]
    assert load_certificates(tmp_path / "ca.pem") == [issued.chain[-1]]
    combined = (tmp_path / "combined.pem").read_bytes()
    assert combined == (tmp_path / "key.pem").read_bytes() + (tmp_path / "fullchain.pem").read_bytes()
    assert len(tree(tmp_path)) == len(names)


def test_files_with_the_key_are_private_and_the_others_are_not(tmp_path):
    write(tmp_path, key=P("k"), cert=P("c"), combined=P("kc"))
    assert {name: mode_of(tmp_path / name) for name in ("k", "c", "kc")} == {
        "k": 0o600,
        "c": 0o644,
        "kc": 0o600,
    }


def test_modes_are_what_the_options_say(tmp_path):
    write(tmp_path, key=P("k"), cert=P("c"), mode=FileMode("0640"), key_mode=FileMode("0440"))
    assert (mode_of(tmp_path / "k"), mode_of(tmp_path / "c")) == (0o440, 0o640)


def test_a_key_for_every_user_earns_a_warning(tmp_path):
    events = []
    write(tmp_path, events=events, key=P("k"), key_mode=FileMode("0644"))
    assert [(type(event), event.code) for event in events] == [(Warned, "key-mode")]
    write(tmp_path, events=(quiet := []), cert=P("c"), key_mode=FileMode("0644"))
    assert quiet == []


def test_the_key_switches_before_its_certificate(tmp_path):
    sink = FileSink(cert=P("c"), key=P("k"), combined=P("kc"), chain=P("ch"))
    outputs = sink.outputs(make_credential(), make_run(tmp_path))
    assert [output.path.name for output in outputs] == ["k", "kc", "c", "ch"]


def test_der_holds_one_object(tmp_path):
    issued = write(tmp_path, key=P("k"), cert=P("c"), ca=P("ca"), format="der")
    assert (
        load_der_private_key((tmp_path / "k").read_bytes(), None).private_numbers()
        == issued.key.private_numbers()
    )
    assert x509.load_der_x509_certificate((tmp_path / "c").read_bytes()) == issued.certificate
    assert x509.load_der_x509_certificate((tmp_path / "ca").read_bytes()) == issued.chain[-1]


@pytest.mark.parametrize(
    ("key_format", "key", "header"),
    [
        ("pkcs8", None, b"BEGIN PRIVATE KEY"),
        ("traditional", None, b"BEGIN RSA PRIVATE KEY"),
        ("traditional", ec_key(), b"BEGIN EC PRIVATE KEY"),
    ],
)
def test_key_format_chooses_the_encoding(tmp_path, key_format, key, header):
    write(tmp_path, make_credential(key=key), key=P("k"), key_format=key_format)
    assert header in (tmp_path / "k").read_bytes()


def test_a_passphrase_encrypts_the_key(tmp_path):
    issued = write(tmp_path, key=P("k"), combined=P("kc"), key_passphrase=Secret("grün"))
    for file in ("k", "kc"):
        pem = (tmp_path / file).read_bytes()
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in pem
        assert b"BEGIN PRIVATE KEY" not in pem
        key = load_pem_private_key(pem, "grün".encode())
        assert key.private_numbers() == issued.key.private_numbers()


@pytest.mark.skipif(which("openssl") is None, reason="apt-get install openssl")
def test_openssl_reads_the_certificate_and_finds_the_key_fitting(tmp_path):
    write(tmp_path, key=P("k"), cert=P("c"), key_passphrase=Secret("pass"))
    of_key = openssl(tmp_path, "pkey", "-in", "k", "-passin", "pass:pass", "-pubout")
    of_certificate = openssl(tmp_path, "x509", "-in", "c", "-noout", "-pubkey")
    assert of_key == of_certificate != b""


def test_a_subject_cannot_smuggle_text_into_pem(tmp_path):
    issued = write(tmp_path, make_credential("-----BEGIN CERTIFICATE-----\nx"), fullchain=P("f"))
    text = (tmp_path / "f").read_text()
    assert text.count("-----BEGIN CERTIFICATE-----") == 3
    assert text.startswith("-----BEGIN")
    assert load_certificates(tmp_path / "f")[0] == issued.certificate


def test_a_chain_that_is_missing_is_an_error_only_where_it_is_wanted(tmp_path):
    alone = Credential(key=ec_key(), certificate=make_credential(key=ec_key()).certificate)
    write(tmp_path, alone, cert=P("c"), fullchain=P("f"))
    for option in ("chain", "ca"):
        with pytest.raises(SinkError, match="there is no CA certificate"):
            write(tmp_path, alone, key=P("k"), **{option: P("x")})
    assert sorted(tree(tmp_path)) == ["c", "f"]


def test_missing_directories_are_made_only_when_told_to(tmp_path):
    with pytest.raises(SinkError, match="no such file or directory"):
        write(tmp_path, cert=P("x/y/c"))
    assert tree(tmp_path) == {}
    write(tmp_path, cert=P("x/y/c"), key=P("x/k"), make_directories=True)
    assert (mode_of(tmp_path / "x"), mode_of(tmp_path / "x" / "y")) == (0o755, 0o755)


def test_a_renewal_replaces_every_file(tmp_path):
    options = {"key": P("k"), "cert": P("c"), "chain": P("ch")}
    write(tmp_path, **options)
    second = write(tmp_path, make_credential("gw2.example.com", key=ec_key(7)), **options)
    assert load_certificates(tmp_path / "c") == [second.certificate]
    assert sorted(tree(tmp_path)) == ["c", "ch", "k"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "writes nothing"),
        ({"crl": P("a")}, "writes nothing of a new certificate"),
        ({"cert": P("a"), "crl": P("./a")}, "cert and crl name the same file"),
        ({"key": P("a"), "cert": P("./a")}, "key and cert name the same file"),
        ({"chain": P("a"), "format": "der"}, "chain cannot be DER"),
        ({"combined": P("a"), "cert": P("b"), "format": "der"}, "combined cannot be DER"),
        (
            {"key": P("a"), "key_passphrase": Secret("s"), "key_format": "traditional"},
            "needs key_format pkcs8",
        ),
        ({"cert": P("a"), "key_passphrase": Secret("s")}, "without a key to encrypt"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options, message):
    with pytest.raises(OptionError, match=message) as caught:
        FileSink(**options)
    assert caught.value.hint


def test_options_come_from_a_table_with_a_tag():
    def convert(kind, value):
        return kind(value)

    table = {
        "use": "file",
        "key": "k",
        "key_mode": "0640",
        "owner": "root",
        "group": 0,
        "key_passphrase": {"env": "X"},
    }
    sink = msgspec.convert(table, FileSink, dec_hook=convert)
    assert (sink.key, sink.key_mode, sink.owner, sink.group) == ("k", 0o640, "root", 0)


def test_a_passphrase_that_cannot_be_read_fails_this_sink_only(tmp_path):
    sink = FileSink(key=P("k"), key_passphrase=Secret({"file": "missing"}))
    for act in (sink.check, lambda run: sink.write(make_credential(), run)):
        with pytest.raises(SinkError, match="key_passphrase: cannot read the secret"):
            act(make_run(tmp_path))
    assert tree(tmp_path) == {}


def test_an_empty_passphrase_does_not_mean_an_unencrypted_key(tmp_path):
    (tmp_path / "pass").write_text("\n")
    with pytest.raises(SinkError, match=r"key_passphrase: .* is empty"):
        write(tmp_path, key=P("k"), key_passphrase=Secret({"file": "pass"}))
    assert list(tree(tmp_path)) == ["pass"]


def test_a_passphrase_that_is_too_long_is_reported_without_its_text(tmp_path):
    with pytest.raises(SinkError, match="the private key cannot be written") as caught:
        write(tmp_path, key=P("k"), key_passphrase=Secret("hush" * 300))
    assert "hush" not in str(caught.value)


def test_check_finds_what_would_fail_and_changes_nothing(tmp_path):
    run = make_run(tmp_path)
    FileSink(
        key=P("k"), cert=P("c"), owner="root" if which("sh") else None, group=None, make_directories=True
    )
    FileSink(key=P("k"), cert=P("c")).check(run)
    FileSink(key=P("x/k"), make_directories=True).check(run)
    with pytest.raises(SinkError, match="x: no such directory"):
        FileSink(key=P("x/k")).check(run)
    with pytest.raises(SinkError, match="there is no user 'no-such-user'"):
        FileSink(key=P("k"), owner="no-such-user").check(run)
    assert tree(tmp_path) == {}


def test_describe_names_the_files():
    assert FileSink(key=P("etc/gw.key"), cert=P("etc/gw.crt")).describe() == "etc/gw.key, etc/gw.crt"


# -- CRLs


def make_crl(issuer="Example CA"):
    builder = x509.CertificateRevocationListBuilder(name(issuer), NOW, NOW + timedelta(days=1))
    return builder.sign(ec_key(2), SHA256())


@pytest.mark.parametrize(
    ("encoding", "load"), [("pem", x509.load_pem_x509_crl), ("der", x509.load_der_x509_crl)]
)
def test_a_crl_goes_to_its_file_with_the_mode_of_what_is_public(tmp_path, encoding, load):
    sink = FileSink(key=P("k"), crl=P("ca.crl"), format=encoding, mode=FileMode("0640"), group=os.getegid())
    assert sink.write_crl(make_crl(), make_run(tmp_path)) == "ca.crl"
    assert load((tmp_path / "ca.crl").read_bytes()).issuer == name("Example CA")
    assert mode_of(tmp_path / "ca.crl") == 0o640
    assert list(tree(tmp_path)) == ["ca.crl"]


def test_a_newer_crl_replaces_the_old_one_and_a_certificate_leaves_it_alone(tmp_path):
    sink = FileSink(cert=P("c"), crl=P("crl"))
    run = make_run(tmp_path)
    sink.write_crl(make_crl(), run)
    newer = make_crl("Other CA")
    sink.write_crl(newer, run)
    sink.write(make_credential(), run)
    assert x509.load_pem_x509_crl((tmp_path / "crl").read_bytes()) == newer
    assert (sink.describe(), sink.outputs_at()) == ("c", ("c", "crl"))


def test_a_file_sink_without_a_place_for_a_crl_takes_none(tmp_path):
    sink = FileSink(cert=P("c"))
    assert sink.write_crl(make_crl(), make_run(tmp_path)) is None
    assert not sink.takes_crl()
    assert FileSink(cert=P("c"), crl=P("crl")).takes_crl()
    assert tree(tmp_path) == {}


def test_only_the_directories_of_a_crl_are_made_for_it(tmp_path):
    options = {"cert": P("certs/c"), "crl": P("crls/deep/ca.crl")}
    run = make_run(tmp_path)
    with pytest.raises(SinkError, match="no such directory"):
        FileSink(**options).check(run)
    with pytest.raises(SinkError, match="no such file or directory"):
        FileSink(**options).write_crl(make_crl(), run)
    sink = FileSink(**options, make_directories=True)
    sink.check(run)
    sink.write_crl(make_crl(), run)
    assert mode_of(tmp_path / "crls" / "deep") == 0o755
    assert not (tmp_path / "certs").exists()
    sink.write(make_credential(), run)
    assert (tmp_path / "certs" / "c").exists()
