"""Which of several CA certificates signs and which receives."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.sscep.ca_files import CaFiles, choose, find_ca_files, is_older
from scepflow.sscep.settings import Operation, Settings, SscepExit

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def certificate(subject, issuer, *usages, constraints=None):
    names = [x509.Name.from_rfc4514_string(f"CN={name}") for name in (subject, issuer)]
    builder = x509.CertificateBuilder(subject_name=names[0], issuer_name=names[1]).public_key(
        KEY.public_key()
    )
    builder = builder.serial_number(1).not_valid_before(datetime(2024, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2034, 1, 1, tzinfo=UTC))
    if usages:
        builder = builder.add_extension(
            x509.KeyUsage(**{name: name in usages for name in KEY_USAGES}), critical=True
        )
    if constraints:
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(KEY, hashes.SHA256())


SIGN = certificate("RA Sign", "Sub", "digital_signature")
ENCRYPT = certificate("RA Enc", "Sub", "key_encipherment")
BOTH = certificate("RA", "Sub")
SUB = certificate("Sub", "Root", "key_cert_sign")
ROOT = certificate("Root", "Root", "key_cert_sign")


@pytest.mark.parametrize(
    ("certificates", "expected"),
    [
        ((SIGN, ENCRYPT, SUB, ROOT), (0, 1)),  # Appendix C.4
        ((ROOT, SUB, ENCRYPT, SIGN), (3, 2)),
        ((ROOT,), (0, 0)),
        ((ROOT, BOTH), (1, 1)),
        ((SIGN, BOTH), (1, 1)),  # the last that fits
        ((SUB, SIGN), (1, 0)),  # what issued another one is no candidate, but the first is the default
    ],
)
def test_the_choice_is_sscep_s(certificates, expected):
    assert choose(certificates) == expected


def named(anchor="sub", **more):
    files = {"sign": SIGN, "encrypt": ENCRYPT, "sub": SUB, "root": ROOT}
    return CaFiles(signing="sign", encryption="encrypt", anchor=anchor, certificates=files, **more)


def test_a_choice_is_told_and_so_is_a_ca_that_is_not_known():
    assert list(named().lines()) == []
    assert list(named(guessed=True).lines()) == [
        "using RA certificate: /CN=RA Sign",
        "using RA encryption certificate: /CN=RA Enc",
        "using issuer certificate: /CN=Sub",
    ]
    assert list(named(None, guessed=True).lines())[2:] == [
        "no CA certificate is known: the new certificate's issuer is not verified"
    ]


def test_the_issuer_is_the_ca_s_name_or_that_of_who_signs():
    assert (named().issuer, named(None).issuer) == (SUB.subject, SIGN.subject)


CA_SUB, CA_ROOT = (
    certificate(name, "Root", "key_cert_sign", constraints=x509.BasicConstraints(ca=True, path_length=None))
    for name in ("Sub", "Root")
)


@pytest.mark.parametrize(
    ("wanted", "anchor"), [("Root", "root"), ("Sub", "sub"), ("RA Sign", "sub"), ("Else", "sub")]
)
def test_a_question_may_be_about_another_ca_of_the_files(wanted, anchor):
    files = {"sign": SIGN, "root": CA_ROOT, "sub": CA_SUB}
    found = CaFiles(signing="sign", encryption="sign", anchor="sub", certificates=files)
    assert found.for_issuer(x509.Name.from_rfc4514_string(f"CN={wanted}")).anchor == anchor


def test_a_question_may_be_about_a_ca_that_is_named_for_it():
    found = CaFiles(signing="sign", encryption="sign", anchor=None, certificates={"sign": SIGN})
    found = found.for_issuer(CA_ROOT.subject, CA_ROOT, file="root")
    assert (found.anchor, found.issuer) == ("root", CA_ROOT.subject)


@pytest.mark.parametrize(("size", "is_read"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_a_file_larger_than_any_chain_is_not_read(size, is_read, tmp_path):
    (tmp_path / "ca.crt").write_bytes(ROOT.public_bytes(Encoding.PEM).ljust(size))
    settings = Settings(program="sscep", operation=Operation.ENROLL, ca_file=str(tmp_path / "ca.crt"))
    if is_read:
        assert find_ca_files(settings).certificates
    else:
        with pytest.raises(SscepExit) as ended:
            find_ca_files(settings)
        assert ended.value.code == 93


def test_an_endless_file_is_not_read_to_its_end():
    with pytest.raises(SscepExit):
        find_ca_files(Settings(program="sscep", operation=Operation.ENROLL, ca_file="/dev/zero"))


def test_the_older_of_two_files_is_known_by_its_time(tmp_path):
    old, new = (str(tmp_path / name) for name in ("old", "new"))
    for name, written_at in ((old, 1), (new, 2)):
        Path(name).touch()
        os.utime(name, (written_at, written_at))
    assert is_older(old, new)
    assert not is_older(new, old)
    assert not is_older(old, str(tmp_path / "none"))
    assert not is_older(str(tmp_path / "none"), new)


def test_no_more_than_twenty_files_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(21):
        (tmp_path / f"ca.crt-{number}").write_bytes(ROOT.public_bytes(Encoding.PEM))
    settings = Settings(program="sscep", operation=Operation.ENROLL, ca_file="ca.crt")
    assert len(find_ca_files(settings).certificates) == 20
