import subprocess
from shutil import which

import pytest
from credential_fixtures import ec_key, make_credential, make_run, mode_of, tree
from cryptography.hazmat.primitives.serialization import pkcs12

from scepflow.engine.identity import Credential
from scepflow.errors import OptionError, SinkError
from scepflow.options import FileMode, PathTemplate, Secret, Template
from scepflow_bundled.sinks import Pkcs12Sink

needs_openssl = pytest.mark.skipif(which("openssl") is None, reason="apt-get install openssl")
needs_keytool = pytest.mark.skipif(which("keytool") is None, reason="apt-get install default-jre-headless")


def sink(password="hush", **options):
    return Pkcs12Sink(path=PathTemplate("gw1.p12"), password=Secret(password), **options)


def write(tmp_path, issued=None, **options):
    issued = issued or make_credential()
    sink(**options).write(issued, make_run(tmp_path))
    return issued


def load(tmp_path, password="hush"):
    return pkcs12.load_pkcs12((tmp_path / "gw1.p12").read_bytes(), password.encode())


def openssl(tmp_path, *options, password="hush"):
    return subprocess.run(
        ["openssl", "pkcs12", "-in", "gw1.p12", "-passin", f"pass:{password}", *options],
        cwd=tmp_path,
        capture_output=True,
        encoding="latin-1",  # as it prints friendly names
        check=True,
    )


@pytest.mark.parametrize("encryption", ["modern", "legacy"])
@pytest.mark.parametrize("key", [None, ec_key()], ids=["rsa", "ec"])
def test_key_certificate_and_chain_are_inside(tmp_path, encryption, key):
    issued = write(tmp_path, make_credential(key=key), encryption=encryption)
    loaded = load(tmp_path)
    assert loaded.key.private_numbers() == issued.key.private_numbers()
    assert loaded.cert.certificate == issued.certificate
    assert loaded.cert.friendly_name == b"gw1.example.com"
    assert [ca.certificate for ca in loaded.additional_certs] == list(issued.chain)


@needs_openssl
@pytest.mark.parametrize(
    ("encryption", "cipher", "mac"),
    [
        ("modern", "PBES2, PBKDF2, AES-256-CBC", "sha256"),
        ("legacy", "pbeWithSHA1And3-KeyTripleDES-CBC", "sha1"),
    ],
)
def test_openssl_opens_both_encryptions_without_its_legacy_provider(tmp_path, encryption, cipher, mac):
    write(tmp_path, encryption=encryption)
    seen = openssl(tmp_path, "-info", "-nodes")
    assert f"MAC: {mac}" in seen.stderr
    assert f"Shrouded Keybag: {cipher}" in seen.stderr
    assert f"PKCS7 Encrypted data: {cipher}" in seen.stderr
    assert seen.stdout.count("BEGIN CERTIFICATE") == 3
    assert "friendlyName: gw1.example.com" in seen.stdout
    assert "BEGIN PRIVATE KEY" in seen.stdout


@needs_openssl
def test_openssl_opens_it_with_a_password_that_is_not_ascii(tmp_path):
    write(tmp_path, password="grün€", friendly_name=Template("Büro €"))
    seen = openssl(tmp_path, "-nodes", password="grün€")
    assert "BEGIN PRIVATE KEY" in seen.stdout
    assert load(tmp_path, "grün€").cert.friendly_name == "Büro €".encode()


@needs_keytool
@pytest.mark.parametrize("encryption", ["modern", "legacy"])
def test_java_opens_the_key_store(tmp_path, encryption):
    write(tmp_path, password="hushhush", encryption=encryption)
    assert "PrivateKeyEntry" in keytool(tmp_path)


@needs_keytool
def test_java_trusts_every_ca_of_a_truststore(tmp_path):
    write(tmp_path, password="hushhush", contents="truststore")
    assert keytool(tmp_path).count("trustedCertEntry") == 2


def keytool(tmp_path):
    argv = ["keytool", "-list", "-storetype", "PKCS12", "-keystore", "gw1.p12", "-storepass", "hushhush"]
    return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


def test_a_truststore_holds_no_key_and_distinct_names(tmp_path):
    issued = write(tmp_path, make_credential(root="Example CA"), contents="truststore")
    loaded = load(tmp_path)
    assert loaded.key is None
    assert {entry.certificate for entry in loaded.additional_certs} == set(issued.chain)
    names = [entry.friendly_name for entry in loaded.additional_certs]
    assert len(set(names)) == 2
    assert all(name.startswith(b"Example CA-") for name in names)


def test_a_truststore_without_a_ca_is_an_error(tmp_path):
    alone = Credential(key=ec_key(), certificate=make_credential().certificate)
    with pytest.raises(SinkError, match="no CA certificate to trust"):
        write(tmp_path, alone, contents="truststore")


def test_the_chain_can_be_left_out(tmp_path):
    write(tmp_path, chain=False)
    assert load(tmp_path).additional_certs == []


@pytest.mark.parametrize(
    ("subject", "friendly_name", "expected"),
    [("gw1", Template("phone"), b"phone"), ("gw\x1b1", None, b"gw\\x1b1"), (None, None, None)],
)
def test_the_friendly_name_is_the_option_or_the_common_name(tmp_path, subject, friendly_name, expected):
    write(tmp_path, make_credential(subject), friendly_name=friendly_name)
    assert load(tmp_path).cert.friendly_name == expected


def test_the_file_is_private_unless_told_otherwise(tmp_path):
    write(tmp_path)
    assert mode_of(tmp_path / "gw1.p12") == 0o600
    write(tmp_path, mode=FileMode("0640"))
    assert mode_of(tmp_path / "gw1.p12") == 0o640
    assert list(tree(tmp_path)) == ["gw1.p12"]


def test_the_password_is_not_in_clear_in_the_file(tmp_path):
    write(tmp_path, password="correct horse")
    content = (tmp_path / "gw1.p12").read_bytes()
    assert b"correct horse" not in content
    assert "correct horse".encode("utf-16-be") not in content


def test_a_key_that_does_not_fit_is_an_error_without_the_password(tmp_path):
    stranger = Credential(key=ec_key(5), certificate=make_credential().certificate)
    with pytest.raises(SinkError, match="PKCS#12 cannot hold this") as caught:
        write(tmp_path, stranger)
    assert "hush" not in str(caught.value)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("options", [{"friendly_name": Template("x")}, {"chain": False}])
def test_options_of_a_credential_do_not_go_with_a_truststore(options):
    with pytest.raises(OptionError, match="truststore"):
        sink(contents="truststore", **options)


def test_a_password_that_cannot_be_read_fails_this_sink_only(tmp_path):
    broken = Pkcs12Sink(path=PathTemplate("a"), password=Secret({"file": "missing"}))
    for act in (broken.check, lambda run: broken.write(make_credential(), run)):
        with pytest.raises(SinkError, match="password: "):
            act(make_run(tmp_path))
    assert tree(tmp_path) == {}


def test_check_looks_at_target_and_owner(tmp_path):
    sink().check(make_run(tmp_path))
    with pytest.raises(SinkError, match="no user"):
        sink(owner="no-such-user").check(make_run(tmp_path))
    with pytest.raises(SinkError, match="no such directory"):
        sink().check(make_run(tmp_path / "missing"))
    assert tree(tmp_path) == {}


def test_describe_names_the_file_and_no_secret():
    assert sink().describe() == "gw1.p12"
    assert "hush" not in repr(sink())
