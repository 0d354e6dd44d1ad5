import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from privileges import unprivileged

from scepflow.errors import KeySourceError, OptionError
from scepflow.options import PathTemplate, Secret
from scepflow.stages import Run
from scepflow_bundled.csr_extensions import der_value
from scepflow_bundled.keys import FileKeySource, GenerateKeySource, load_private_key

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")

PEM, DER = ser.Encoding.PEM, ser.Encoding.DER
PKCS8, TRADITIONAL = ser.PrivateFormat.PKCS8, ser.PrivateFormat.TraditionalOpenSSL
PLAIN, LOCKED = ser.NoEncryption(), ser.BestAvailableEncryption(b"open sesame")


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def warned():
    return []


@pytest.fixture
def run(tmp_path, warned):
    return Run(
        pipeline="gw1",
        directory=tmp_path,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        random_bytes=os.urandom,
        emit=warned.append,
    )


@pytest.fixture
def write(tmp_path):
    """Write a key file that only its owner can read."""

    def write(data, mode=0o600):
        path = tmp_path / "gw1.key"
        path.write_bytes(data)
        path.chmod(mode)
        return path

    return write


def codes(warned):
    return [event.code for event in warned]


def rsa_der(key, **changes):
    """Return PKCS#1 DER with single numbers changed."""
    k = key.private_numbers()
    numbers = {"n": k.public_numbers.n, "e": k.public_numbers.e, "d": k.d, "p": k.p, "q": k.q}
    numbers |= {"dmp1": k.dmp1, "dmq1": k.dmq1, "iqmp": k.iqmp} | changes
    parts = [der_value(2, n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in (0, *numbers.values())]
    return der_value(0x30, b"".join(parts))


# generate


def test_generate_makes_rsa_2048_unless_told_otherwise(run):
    key = GenerateKeySource().obtain(run)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert key.public_key().public_numbers().e == 65537


def test_generate_makes_larger_rsa_keys(run):
    assert GenerateKeySource(algorithm="rsa-3072").obtain(run).key_size == 3072


@pytest.mark.parametrize(
    ("algorithm", "curve"), [("ec-p256", "secp256r1"), ("ec-p384", "secp384r1"), ("ec-p521", "secp521r1")]
)
def test_generate_makes_ec_keys(run, algorithm, curve):
    key = GenerateKeySource(algorithm=algorithm).obtain(run)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == curve


def test_two_generated_keys_differ(run):
    source = GenerateKeySource(algorithm="ec-p256")
    assert source.obtain(run).public_key() != source.obtain(run).public_key()


# file


@pytest.mark.parametrize("encoding", [PEM, DER])
@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_every_plain_form_of_an_rsa_key_loads(run, write, warned, rsa_key, encoding, form):
    write(rsa_key.private_bytes(encoding, form, PLAIN))
    key = FileKeySource(path=PathTemplate("gw1.key")).obtain(run)
    assert key.public_key() == rsa_key.public_key()
    assert warned == []


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_every_plain_form_of_an_ec_key_loads(write, curve, form):
    made = ec.generate_private_key(curve)
    for encoding in (PEM, DER):
        key = load_private_key(write(made.private_bytes(encoding, form, PLAIN)))
        assert key.public_key() == made.public_key()


@pytest.mark.parametrize(("encoding", "form"), [(PEM, PKCS8), (DER, PKCS8), (PEM, TRADITIONAL)])
def test_every_encrypted_form_loads_with_its_passphrase(run, write, warned, rsa_key, encoding, form):
    write(rsa_key.private_bytes(encoding, form, LOCKED))
    source = FileKeySource(path=PathTemplate("gw1.key"), passphrase=Secret("open sesame"))
    assert source.obtain(run).public_key() == rsa_key.public_key()
    assert warned == []


@pytest.mark.parametrize(("encoding", "form"), [(PEM, PKCS8), (DER, PKCS8), (PEM, TRADITIONAL)])
def test_a_wrong_passphrase_is_reported_without_its_text(write, rsa_key, encoding, form):
    path = write(rsa_key.private_bytes(encoding, form, LOCKED))
    with pytest.raises(KeySourceError, match="wrong passphrase") as caught:
        load_private_key(path, "Tr0ub4dor")
    assert "Tr0ub4dor" not in f"{caught.value!r} {caught.value.hint}"
    assert str(path) in caught.value.message


def test_a_missing_passphrase_is_reported(write, rsa_key):
    path = write(rsa_key.private_bytes(PEM, PKCS8, LOCKED))
    with pytest.raises(KeySourceError, match="is encrypted and there is no passphrase"):
        load_private_key(path)


def test_a_passphrase_for_a_plain_key_is_a_warning(run, write, warned, rsa_key):
    write(rsa_key.private_bytes(PEM, PKCS8, PLAIN))
    source = FileKeySource(path=PathTemplate("gw1.key"), passphrase=Secret("open sesame"))
    assert source.obtain(run).public_key() == rsa_key.public_key()
    assert codes(warned) == ["passphrase-not-needed"]
    assert "open sesame" not in repr(warned)


def test_a_passphrase_does_not_hide_that_a_file_holds_no_key(write):
    with pytest.raises(KeySourceError, match=r"no private key can be read .*neither PEM nor DER"):
        load_private_key(write(b"hello"), "open sesame")


def test_text_and_certificates_beside_a_pem_key_do_not_matter(write, rsa_key):
    certificate = a_certificate(rsa_key).public_bytes(PEM)
    key = rsa_key.private_bytes(PEM, TRADITIONAL, PLAIN)
    loaded = load_private_key(write(b"Bag Attributes\n" + certificate + key))
    assert loaded.public_key() == rsa_key.public_key()


def a_certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw1")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, start, start + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def test_a_certificate_instead_of_a_key_is_named(write, rsa_key):
    path = write(a_certificate(rsa_key).public_bytes(PEM))
    with pytest.raises(KeySourceError, match=r"no private key .*\(PEM: CERTIFICATE\)"):
        load_private_key(path)


def test_a_binary_file_that_is_no_key_is_named(write, rsa_key):
    with pytest.raises(KeySourceError, match="binary, perhaps DER"):
        load_private_key(write(a_certificate(rsa_key).public_bytes(DER)))


def test_an_openssh_key_says_how_to_convert_it(write):
    key = ec.generate_private_key(ec.SECP256R1())
    path = write(key.private_bytes(PEM, ser.PrivateFormat.OpenSSH, PLAIN).replace(b"\n", b"\r\n"))
    with pytest.raises(KeySourceError, match="OPENSSH PRIVATE KEY") as caught:
        load_private_key(path)
    assert "ssh-keygen" in caught.value.hint


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(
        KeySourceError, match=r"cannot read the key file .*nothing\.key: No such file"
    ) as caught:
        load_private_key(tmp_path / "nothing.key")
    assert "relative paths" in caught.value.hint


def test_a_file_that_may_not_be_read_is_reported(outside, rsa_key):
    path = outside / "key.pem"
    path.write_bytes(rsa_key.private_bytes(PEM, PKCS8, PLAIN))
    path.chmod(0)
    with unprivileged(), pytest.raises(KeySourceError, match="Permission denied"):
        load_private_key(path)


def test_a_directory_is_reported(tmp_path):
    with pytest.raises(KeySourceError, match="Is a directory"):
        load_private_key(tmp_path)


def test_an_empty_and_an_endless_file_are_reported(write):
    with pytest.raises(KeySourceError, match="is empty"):
        load_private_key(write(b"\n"))
    with pytest.raises(KeySourceError, match="is larger than"):
        load_private_key(write(b"x" * (1 << 20) + b"x"))


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o620, 1)])
def test_a_key_file_open_to_others_is_a_warning(run, write, warned, rsa_key, mode, expected):
    write(rsa_key.private_bytes(PEM, PKCS8, PLAIN), mode=mode)
    FileKeySource(path=PathTemplate("gw1.key")).obtain(run)
    assert codes(warned) == ["key-permissions"] * expected


def test_an_rsa_key_of_1024_bits_is_refused_unless_it_is_let_in(run, write, warned):
    short = rsa.generate_private_key(65537, 1024)
    write(short.private_bytes(PEM, PKCS8, PLAIN))
    with pytest.raises(KeySourceError, match="has 1024 bits") as caught:
        FileKeySource(path=PathTemplate("gw1.key")).obtain(run)
    assert "min_bits = 1024" in caught.value.hint
    assert warned == []
    key = FileKeySource(path=PathTemplate("gw1.key"), min_bits=1024).obtain(run)
    assert key.public_key() == short.public_key()
    assert codes(warned) == ["short-key"]


@pytest.mark.parametrize("bits", [1023, 2049])
def test_the_least_bits_are_between_1024_and_2048(bits):
    options = {"use": "file", "path": "gw1.key", "min_bits": bits}
    with pytest.raises(msgspec.ValidationError, match="min_bits"):
        msgspec.convert(options, FileKeySource, dec_hook=lambda kind, value: kind(value))


@pytest.mark.parametrize("exponent", [1, 65536, (1 << 64) + 1])
def test_an_rsa_exponent_that_others_refuse_is_refused(write, rsa_key, exponent):
    with pytest.raises(KeySourceError, match="a public exponent that others refuse"):
        load_private_key(write(rsa_der(rsa_key, e=exponent)))


@pytest.mark.parametrize("part", ["d", "p", "q", "dmp1", "dmq1", "iqmp", "e"])
def test_an_rsa_key_whose_parts_do_not_fit_is_refused(write, rsa_key, part):
    numbers = rsa_key.private_numbers()
    value = getattr(numbers, part, numbers.public_numbers.e) + 2
    with pytest.raises(KeySourceError, match="do not belong together"):
        load_private_key(write(rsa_der(rsa_key, **{part: value})))


def test_an_rsa_key_of_numbers_that_are_no_primes_is_refused(write):
    """The numbers fit each other, yet nothing verifies what such a key signs."""
    p, q, e = (1 << 1023) + (1 << 1022) + 5 * 7 * 9, (1 << 1023) + (1 << 1022) + 5 * 7 * 11, 65537
    composite = rsa.RSAPrivateNumbers(p, q, 0, 0, 0, 0, rsa.RSAPublicNumbers(e, p * q))
    d = pow(e, -1, (p - 1) * (q - 1))
    iqmp = pow(q, -1, p)

    class Key:
        def private_numbers(self):
            return composite

    der = rsa_der(Key(), d=d, dmp1=d % (p - 1), dmq1=d % (q - 1), iqmp=iqmp)
    with pytest.raises(KeySourceError, match="do not belong together"):
        load_private_key(write(der))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
    ],
)
def test_kinds_of_keys_that_scep_has_no_use_for_are_refused(write, key, kind):
    with pytest.raises(KeySourceError, match=f"{kind}.*cannot be used") as caught:
        load_private_key(write(key.private_bytes(PEM, PKCS8, PLAIN)))
    assert "P-256" in caught.value.hint


@needs_openssl
def test_an_ec_key_with_explicit_parameters_is_refused(write):
    made = subprocess.run(
        ["openssl", "ecparam", "-name", "secp112r1", "-genkey", "-param_enc", "explicit"],
        capture_output=True,
        check=True,
    )
    with pytest.raises(KeySourceError, match="no private key can be read"):
        load_private_key(write(made.stdout), "open sesame")


def test_check_finds_what_obtain_would_find(run, write, rsa_key):
    write(rsa_key.private_bytes(PEM, PKCS8, LOCKED))
    FileKeySource(path=PathTemplate("gw1.key"), passphrase=Secret("open sesame")).check(run)
    with pytest.raises(KeySourceError):
        FileKeySource(path=PathTemplate("gw1.key")).check(run)
    with pytest.raises(OptionError, match="cannot read the secret"):
        FileKeySource(path=PathTemplate("gw1.key"), passphrase=Secret({"file": "nothing"})).check(run)
