import os
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepflow.engine.identity import Credential
from scepflow.errors import OptionError, SignerError
from scepflow.options import NameTemplate, PathTemplate, Secret
from scepflow.stages import Run
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.signers import AutoSigner, ExistingSigner, SelfSignedSigner

PEM, DER = ser.Encoding.PEM, ser.Encoding.DER
NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def warned():
    return []


@pytest.fixture
def run(tmp_path, warned):
    return make_run(tmp_path, warned)


def make_run(directory, warned, previous=None, random_bytes=os.urandom):
    return Run(
        pipeline="gw1",
        directory=directory,
        now=lambda: NOW,
        random_bytes=random_bytes,
        emit=warned.append,
        previous=previous,
    )


def codes(warned):
    return [event.code for event in warned]


def a_request(key, run, subject="CN=gw1_2,O=Example", **options):
    options |= {"subject": NameTemplate(subject)}
    return SubjectCsrBuilder(**options).build(key, run)


def a_certificate(key, common_name="old", *, start=NOW - timedelta(days=10), days=20):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, start, start + timedelta(days=days))
    return builder.sign(key, hashes.SHA256())


def key_usage(certificate):
    return certificate.extensions.get_extension_for_class(x509.KeyUsage)


# self-signed


def test_a_self_signed_certificate_has_the_subject_and_key_of_the_request(key, run):
    """C-020, C-022: byte for byte, string types included."""
    csr = a_request(key, run)
    identity = SelfSignedSigner().identity(key, csr, run)
    certificate = identity.certificate
    assert identity.key is key
    assert (
        certificate.subject.public_bytes() == certificate.issuer.public_bytes() == csr.subject.public_bytes()
    )
    assert certificate.public_key() == csr.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.signature_hash_algorithm.name == "sha256"


def test_a_self_signed_certificate_may_sign_and_decipher_keys(key, run):
    """C-021."""
    usage = key_usage(SelfSignedSigner().identity(key, a_request(key, run), run).certificate)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_encipherment
    assert not usage.value.key_cert_sign


def test_a_self_signed_certificate_is_back_dated_by_a_day(key, run):
    """Q-121: a server with another clock must not find it not yet valid."""
    certificate = SelfSignedSigner(days=30).identity(key, a_request(key, run), run).certificate
    now = NOW.replace(microsecond=0)
    assert certificate.not_valid_before_utc == now - timedelta(hours=24)
    assert certificate.not_valid_after_utc == now + timedelta(days=30)


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_the_serial_number_is_positive_and_comes_from_the_run(key, tmp_path, byte):
    run = make_run(tmp_path, [], random_bytes=lambda size: byte * size)
    serial = SelfSignedSigner().identity(key, a_request(key, run), run).certificate.serial_number
    assert serial == int.from_bytes(byte * 16, "big") | 1
    assert 0 < serial < 1 << 159


def test_two_self_signed_certificates_have_different_serial_numbers(key, run):
    csr = a_request(key, run)
    first, second = (SelfSignedSigner().identity(key, csr, run).certificate for _ in range(2))
    assert first.serial_number != second.serial_number


@pytest.mark.parametrize(
    ("san", "common_name"),
    [
        (("ip:192.0.2.7", "dns:gw1.example.com", "dns:gw2"), "gw1.example.com"),
        (("ip:192.0.2.7",), "scepflow"),
        ((f"dns:{'a.' * 40}example",), ("a." * 40)[:64]),
    ],
)
def test_an_empty_subject_gets_a_name_in_the_self_signed_certificate(key, run, san, common_name):
    csr = a_request(key, run, subject="", san=san, allow_empty_subject=True)
    certificate = SelfSignedSigner().identity(key, csr, run).certificate
    assert certificate.subject.rfc4514_string() == f"CN={common_name}"


def test_a_request_with_neither_subject_nor_san_gets_a_name(key, run):
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    certificate = SelfSignedSigner().identity(key, csr, run).certificate
    assert certificate.subject.rfc4514_string() == "CN=scepflow"


def test_a_request_whose_san_cannot_be_read_gets_a_name(key, run):
    party = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("3006a504a1020c00"))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(party, critical=True).sign(key, hashes.SHA256())
    subject = SelfSignedSigner().identity(key, csr, run).certificate.subject
    assert subject.rfc4514_string() == "CN=scepflow"


@pytest.mark.parametrize(("transport_key", "warnings"), [("auto", ["rsa-transport-key"]), ("rsa", [])])
def test_for_an_ec_key_a_temporary_rsa_key_signs(ec_key, run, warned, transport_key, warnings):
    csr = a_request(ec_key, run)
    identity = SelfSignedSigner(transport_key=transport_key).identity(ec_key, csr, run)
    assert isinstance(identity.key, rsa.RSAPrivateKey)
    assert identity.key.key_size == 2048
    assert identity.certificate.public_key() == identity.key.public_key()
    assert identity.certificate.subject.public_bytes() == csr.subject.public_bytes()
    assert key_usage(identity.certificate).value.key_encipherment
    identity.certificate.verify_directly_issued_by(identity.certificate)
    assert codes(warned) == warnings


def test_an_ec_key_may_sign_for_itself(ec_key, run, warned):
    identity = SelfSignedSigner(transport_key="csr").identity(ec_key, a_request(ec_key, run), run)
    assert identity.key is ec_key
    assert identity.certificate.public_key() == ec_key.public_key()
    assert key_usage(identity.certificate).value.digital_signature
    assert not key_usage(identity.certificate).value.key_encipherment
    assert warned == []


@pytest.mark.parametrize("transport_key", ["auto", "rsa", "csr"])
def test_an_rsa_key_always_signs_for_itself(key, run, warned, transport_key):
    signer = SelfSignedSigner(transport_key=transport_key)
    assert signer.identity(key, a_request(key, run), run).key is key
    assert warned == []


@pytest.mark.parametrize("days", [0, 3651])
def test_days_out_of_range_are_refused_by_validation(days):
    with pytest.raises(msgspec.ValidationError, match="days"):
        msgspec.convert({"use": "self-signed", "days": days}, SelfSignedSigner)


# auto


def test_auto_is_self_signed_for_the_first_certificate(key, run):
    csr = a_request(key, run)
    identity = AutoSigner(days=7).identity(key, csr, run)
    assert identity.key is key
    assert identity.certificate.subject == csr.subject
    assert identity.certificate.not_valid_after_utc == NOW.replace(microsecond=0) + timedelta(days=7)


def test_auto_uses_the_existing_credential_in_a_renewal(key, ec_key, tmp_path):
    """C-023, C-028: signed by, and answered to, the old key."""
    old = Credential(key=key, certificate=a_certificate(key))
    run = make_run(tmp_path, [], previous=old)
    identity = AutoSigner().identity(ec_key, a_request(ec_key, run), run)
    assert identity.key is key
    assert identity.certificate is old.certificate


@pytest.mark.parametrize(("transport_key", "renews"), [("auto", False), ("rsa", False), ("csr", True)])
def test_auto_asks_anew_for_an_ec_certificate_unless_the_challenge_may_encrypt(
    key, ec_key, tmp_path, warned, transport_key, renews
):
    """What the EC key signs, it could not read the answer to."""
    old = Credential(key=ec_key, certificate=a_certificate(ec_key))
    run = make_run(tmp_path, warned, previous=old)
    signer = AutoSigner(transport_key=transport_key)
    identity = signer.identity(key, a_request(key, run), run)
    assert signer.renews_with(old) is renews
    assert (identity.certificate is old.certificate) is renews
    assert identity.key is (ec_key if renews else key)
    assert codes(warned) == ([] if renews else ["ec-renewal"])


# existing


@pytest.fixture
def existing(tmp_path, key, ec_key):
    """Write a certificate file, a key file and another key file."""
    (tmp_path / "other.key").touch(0o600)
    (tmp_path / "birth.key").touch(0o600)
    (tmp_path / "birth.key").write_bytes(
        key.private_bytes(PEM, ser.PrivateFormat.PKCS8, ser.BestAvailableEncryption(b"open sesame"))
    )
    (tmp_path / "other.key").write_bytes(
        ec_key.private_bytes(PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    )

    def write(data):
        (tmp_path / "birth.pem").write_bytes(data)

    write(a_certificate(key).public_bytes(PEM))
    return write


def existing_signer(**options):
    options = {"use": "existing", "certificate": "birth.pem"} | options
    return msgspec.convert(options, ExistingSigner, dec_hook=lambda kind, value: kind(value))


def test_an_existing_certificate_signs_with_its_own_key(key, ec_key, run, existing, warned):
    signer = existing_signer(key="birth.key", passphrase="open sesame")
    signer.check(run)
    identity = signer.identity(ec_key, a_request(ec_key, run), run)
    assert identity.certificate == a_certificate(key)
    assert identity.key.public_key() == key.public_key()
    assert warned == []


def test_a_certificate_on_a_short_key_signs_with_a_warning(ec_key, run, tmp_path, existing, warned):
    short = rsa.generate_private_key(65537, 1024)
    pem = short.private_bytes(PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    (tmp_path / "birth.key").write_bytes(pem)
    (tmp_path / "birth.key").chmod(0o600)
    existing(a_certificate(short).public_bytes(PEM))
    identity = existing_signer(key="birth.key").identity(ec_key, a_request(ec_key, run), run)
    assert identity.key.public_key() == short.public_key()
    assert codes(warned) == ["short-key"]


def test_without_a_key_an_existing_certificate_signs_with_the_key_of_the_run(key, run, existing):
    signer = existing_signer()
    signer.check(run)
    assert signer.identity(key, a_request(key, run), run).key is key


def test_an_existing_certificate_may_be_der(key, run, existing):
    existing(a_certificate(key).public_bytes(DER))
    assert existing_signer().identity(key, a_request(key, run), run).certificate == a_certificate(key)


def test_of_several_certificates_the_one_that_fits_the_key_is_taken(key, ec_key, run, existing):
    chain = a_certificate(ec_key, "ca").public_bytes(PEM) + a_certificate(key).public_bytes(PEM)
    existing(b"text before\n" + chain)
    identity = existing_signer().identity(key, a_request(key, run), run)
    assert identity.certificate.subject.rfc4514_string() == "CN=old"


def test_a_certificate_of_an_unknown_kind_of_key_does_not_fit(key, run, existing):
    p256, unknown = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d027f")
    der = a_certificate(ec.generate_private_key(ec.SECP256R1())).public_bytes(DER).replace(p256, unknown)
    existing(der)
    with pytest.raises(SignerError, match="no certificate in"):
        existing_signer().identity(key, a_request(key, run), run)


def test_a_certificate_for_another_key_is_refused(ec_key, run, existing):
    with pytest.raises(
        SignerError, match=r"no certificate in .*birth\.pem fits the key of \[key\]"
    ) as caught:
        existing_signer().identity(ec_key, a_request(ec_key, run), run)
    assert "key = " in caught.value.hint
    with pytest.raises(SignerError, match=r"fits the key in .*other\.key"):
        existing_signer(key="other.key").check(run)


def test_an_expired_certificate_is_refused_unless_allowed(key, run, existing):
    existing(a_certificate(key, start=NOW - timedelta(days=30), days=29).public_bytes(PEM))
    csr = a_request(key, run)
    with pytest.raises(SignerError, match="expired on 2025-12-31") as caught:
        existing_signer().identity(key, csr, run)
    assert "allow_expired" in caught.value.hint
    assert existing_signer(allow_expired=True).identity(key, csr, run).key is key


def test_a_certificate_that_is_not_yet_valid_is_a_warning(key, run, existing, warned):
    existing(a_certificate(key, start=NOW + timedelta(hours=1)).public_bytes(PEM))
    assert existing_signer().identity(key, a_request(key, run), run).key is key
    assert codes(warned) == ["signer-not-yet-valid"]


def test_a_wrong_passphrase_is_a_signer_error_without_its_text(run, existing):
    with pytest.raises(SignerError, match="wrong passphrase") as caught:
        existing_signer(key="birth.key", passphrase="Tr0ub4dor").check(run)
    assert "Tr0ub4dor" not in f"{caught.value!r}{caught.value.hint}"


def test_a_missing_passphrase_or_secret_is_reported(run, existing):
    with pytest.raises(SignerError, match="encrypted and there is no passphrase"):
        existing_signer(key="birth.key").check(run)
    signer = ExistingSigner(
        certificate=PathTemplate("birth.pem"),
        key=PathTemplate("birth.key"),
        passphrase=Secret({"file": "nothing"}),
    )
    with pytest.raises(OptionError, match="cannot read the secret"):
        signer.check(run)


def test_a_file_without_a_certificate_is_named(key, run, existing):
    existing(a_request(key, run).public_bytes(PEM))
    with pytest.raises(SignerError, match=r"no certificate can be read .*\(PEM: CERTIFICATE REQUEST\)"):
        existing_signer().check(run)
    existing(b"hello")
    with pytest.raises(SignerError, match="neither PEM nor DER"):
        existing_signer().check(run)
    with pytest.raises(SignerError, match=r"cannot read the certificate .*: No such file"):
        existing_signer(certificate="nothing.pem").check(run)
