import shutil
import subprocess
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from scepflow.registry import Registry
from scepflow.sscep.mkrequest import make_request
from scepflow.sscep.settings import SscepExit

CHALLENGE = x509.ObjectIdentifier("1.2.840.113549.1.9.7")
DEVICE = ["--unstructured-name", "gw.example.com"]


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


@pytest.fixture
def make(tmp_path, registry):
    def make(*arguments, environment=None):
        return make_request(
            arguments,
            program="mkrequest",
            registry=registry,
            environment=environment or {},
            directory=tmp_path,
        )

    return make


@pytest.fixture
def request_of(make):
    def request_of(*arguments, **options):
        made = make(*arguments, **options)
        return x509.load_pem_x509_csr(made.request_file.read_bytes())

    return request_of


@pytest.fixture
def fails(make, tmp_path):
    def fails(*arguments, **options):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(SscepExit) as caught:
            make(*arguments, **options)
        assert sorted(tmp_path.iterdir()) == before
        return caught.value

    return fails


def parts(csr):
    return [f"{a.oid.dotted_string}={a.value}" for a in csr.subject]


def names(csr):
    return csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.parametrize(
    ("kind", "name", "general_name"),
    [
        ("-dns", "gw.example.com", x509.DNSName("gw.example.com")),
        ("-ip", "192.0.2.7", x509.IPAddress(ip_address("192.0.2.7"))),
        ("-ip", "2001:db8::1", x509.IPAddress(ip_address("2001:db8::1"))),
        ("-email", "noone@example.com", x509.RFC822Name("noone@example.com")),
    ],
)
def test_the_name_is_common_name_and_critical_subject_alternative_name(request_of, kind, name, general_name):
    csr = request_of(kind, name)
    assert parts(csr) == [f"2.5.4.3={name}"]
    assert list(names(csr).value) == [general_name]
    assert names(csr).critical
    assert [extension.oid for extension in csr.extensions] == [names(csr).oid]
    assert csr.is_signature_valid
    assert csr.signature_hash_algorithm.name == "sha256"


def test_key_and_request_belong_together_and_the_key_is_private(make, tmp_path):
    made = make("-dns", "gw.example.com")
    assert (made.key_file, made.request_file) == (tmp_path / "local.key", tmp_path / "local.csr")
    assert made.key_file.stat().st_mode & 0o777 == 0o600
    pem = made.key_file.read_bytes()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    key = serialization.load_pem_private_key(pem, None)
    csr = x509.load_pem_x509_csr(made.request_file.read_bytes())
    assert key.key_size == 2048
    assert csr.public_key() == key.public_key()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local.csr", "local.key"]
    assert made.stdout_lines == (
        "mkrequest: private key written as local.key",
        "mkrequest: request written as local.csr",
    )
    assert made.stderr_lines == ()


def test_files_that_are_there_are_replaced_and_it_says_so(make, tmp_path):
    for name in ("local.key", "local.csr"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o644)
    made = make("-dns", "gw.example.com")
    assert made.stdout_lines == (
        "mkrequest: private key replaced local.key",
        "mkrequest: request replaced local.csr",
    )
    assert made.key_file.stat().st_mode & 0o777 == 0o600
    assert "old" not in made.key_file.read_text()


@pytest.mark.parametrize(
    ("options", "stem"), [((), "local"), (("--prefix", "gw"), "gw"), (("--prefix=",), "gw.example.com")]
)
def test_the_prefix_names_the_files(make, options, stem):
    made = make("-dns", "gw.example.com", *options)
    assert (made.key_file.name, made.request_file.name) == (f"{stem}.key", f"{stem}.csr")


def test_the_subject_is_in_the_script_s_order_whatever_its_parts_hold(request_of):
    csr = request_of(
        "--country=FI",
        "--state=Uusimaa",
        "--locality",
        "Helsinki",
        "-dns",
        "gw.example.com",
        "--organization",
        "A, B+C=\\#{x}",
        "--organizational-unit= ö ",
    )
    assert parts(csr) == [
        "2.5.4.6=FI",
        "2.5.4.8=Uusimaa",
        "2.5.4.7=Helsinki",
        "2.5.4.10=A, B+C=\\#{x}",
        "2.5.4.11= ö ",
        "2.5.4.3=gw.example.com",
    ]


def test_a_device_s_names_stand_instead_of_the_common_name(request_of):
    csr = request_of(
        "-ip",
        "192.0.2.7",
        *DEVICE,
        "--unstructured-address=192.0.2.7",
        "--serial-number=42",
        "--organization=O",
    )
    assert parts(csr) == [
        "2.5.4.10=O",
        "1.2.840.113549.1.9.2=gw.example.com",
        "1.2.840.113549.1.9.8=192.0.2.7",
        "2.5.4.5=42",
    ]
    assert names(csr).critical
    assert parts(request_of("-ip", "192.0.2.7", *DEVICE)) == ["1.2.840.113549.1.9.2=gw.example.com"]


def test_the_key_has_as_many_bits_as_asked_for(request_of):
    assert request_of("-dns", "gw", "--key-bits", "3072").public_key().key_size == 3072


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("", "sha256"),
        ("sha1", "sha1"),
        ("sha224", "sha224"),
        ("sha256", "sha256"),
        ("sha384", "sha384"),
        ("-SHA512", "sha512"),
    ],
)
def test_the_fourth_word_is_the_digest(request_of, spelling, name):
    csr = request_of("-dns", "gw", "", spelling)
    assert csr.signature_hash_algorithm.name == name


def test_a_weak_digest_is_warned_of_once(make):
    made = make("-dns", "gw", "", "sha1")
    assert [line for line in made.stderr_lines if "SHA-1" in line] == list(made.stderr_lines)
    assert len(made.stderr_lines) == 1


# -- challenge


def challenge_of(csr):
    try:
        return csr.attributes.get_attribute_for_oid(CHALLENGE).value
    except x509.AttributeNotFound:
        return None


def test_the_third_word_is_the_challenge_as_it_is(request_of):
    """The script pasted it into a configuration file, where some characters meant something."""
    assert challenge_of(request_of("-dns", "gw", "se#c$r\\et {x}")) == b"se#c$r\\et {x}"
    assert challenge_of(request_of("-dns", "gw")) is None
    assert challenge_of(request_of("-dns", "gw", "")) is None


def test_the_challenge_may_come_from_a_file_or_the_environment(request_of, tmp_path):
    (tmp_path / "challenge").write_text("from file\n")
    environment = {"SECRET": "from environment"}
    assert challenge_of(request_of("-dns", "gw", "--challenge-file", "challenge")) == b"from file"
    assert (
        challenge_of(request_of("-dns", "gw", "--challenge-env=SECRET", environment=environment))
        == b"from environment"
    )


def test_password_of_the_environment_is_not_sent_unasked(make):
    made = make("-dns", "gw", environment={"PASSWORD": "hunter2"})
    assert challenge_of(x509.load_pem_x509_csr(made.request_file.read_bytes())) is None
    assert made.stderr_lines == (
        "mkrequest: PASSWORD of the environment is not sent; --challenge-env PASSWORD sends it",
    )
    assert make("-dns", "gw", "given", environment={"PASSWORD": "hunter2"}).stderr_lines == ()


def test_an_odd_challenge_is_warned_of_unseen(make):
    made = make("-dns", "gw", "hünter2")
    assert len(made.stderr_lines) == 1
    assert "hünter2" not in made.stderr_lines[0]


# -- refusals


@pytest.mark.parametrize("arguments", [[], ["-dns"], ["gw"], ["-dns", ""], ["--prefix=x", "-dns"]])
def test_too_few_words_print_the_usage_and_fail(fails, arguments):
    end = fails(*arguments)
    usage, *options = end.stdout_lines
    assert (end.code, usage) == (1, "Usage: mkrequest -ip|-dns|-email name [challenge]")
    assert {line.split()[0] for line in options if line.startswith("  ")} >= {"--prefix", "--challenge-file"}


def test_another_kind_of_name_is_illegal(fails):
    end = fails("-uri", "http://h/")
    assert (end.code, end.stdout_lines) == (
        1,
        ("Illegal subjectAltName extension -uri", "Usage: mkrequest -ip|-dns|-email name [keybits]"),
    )


@pytest.mark.parametrize("option", ["--unstructured-address=a", "--serial-number=1"])
def test_a_device_needs_its_unstructured_name(fails, option):
    end = fails("-dns", "gw", option)
    assert (end.code, end.stdout_lines) == (1, ("unstructuredName is required",))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-ip", "not-an-address"], "is not an IP address"),
        (["-dns", "bad name"], "is not a domain name"),
        (["-email", "nobody"], "is not an e-mail address"),
        (["-dns", "gw", "", "md5"], "cannot be signed with md5"),
        (["-dns", "gw", "--key-bits=1024"], "no RSA key of 1024 bits"),
        (["-dns", "gw", "--country=Finland"], "2 bytes"),
        (["-dns", "gw", "--colour=red"], "unknown option --colour"),
        (["-dns", "gw", "--prefix"], "--prefix needs a value"),
        (["-dns", "gw", "a", "sha1", "b"], "too many words"),
        (["-dns", "gw", "--challenge-env", "NONE"], "NONE is not set"),
        (["-dns", "gw", "--challenge-file", "none"], "cannot read the secret"),
        (["-dns", "gw", "hunter2", "--challenge-file", "none"], "more than one challenge"),
        (["-dns", "gw", "hunter2\nx"], "line end"),
        (["-dns", "gw\udce9"], "not UTF-8"),
    ],
)
def test_what_cannot_be_made_fails_and_leaves_nothing(fails, arguments, words):
    """The script's exit code was that of its last command, rm."""
    end = fails(*arguments)
    assert end.code == 1
    assert end.stderr_lines[0].startswith("mkrequest: ")
    assert words in end.stderr_lines[0]
    assert "hunter2" not in str(end)


def test_words_after_two_hyphens_are_no_options(request_of):
    assert challenge_of(request_of("--", "-dns", "gw", "--secret")) == b"--secret"


def test_a_file_that_cannot_be_written_ends_with_93(fails, make, tmp_path):
    end = fails("-dns", "gw", "--prefix=missing/local")
    assert end.code == 93
    assert end.stderr_lines == (
        "mkrequest: cannot write missing/local.key and missing/local.csr: No such file or directory",
    )
    (tmp_path / "gw.key").mkdir()
    assert fails("-dns", "gw", "--prefix=gw").code == 93


@pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")
def test_openssl_reads_what_was_made(make):
    made = make("-dns", "gw.example.com", "secret", "sha384")
    command = ["openssl", "req", "-verify", "-noout", "-text", "-in", made.request_file]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "CN = gw.example.com" in text or "CN=gw.example.com" in text
    assert "X509v3 Subject Alternative Name: critical" in text
    assert "challengePassword" in text
    assert "sha384WithRSAEncryption" in text


@pytest.mark.parametrize(
    ("digest", "reason"), [("md5", "it is broken, and the library signs nothing with it: "), ("crc32", "")]
)
def test_a_digest_that_signs_nothing_is_refused_with_those_that_do(fails, digest, reason):
    end = fails("-dns", "gw", "", digest)
    assert end.stderr_lines[1] == f"mkrequest: {reason}use sha256, sha384, sha512, sha224, sha1"
