"""`scepflow.descriptions`: whatever stands in a certificate is safe text, and what cannot be read is said to be so."""

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import NOW, certify, ec_key, name, request, rsa_key, version_1
from replies import seq

from scepflow import descriptions
from scepflow.engine import asn1, oids
from scepflow.engine.asn1 import encode, wrap


def with_extensions(*extensions, subject="gw1"):
    key = ec_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(subject))
        .public_key(key.public_key())
        .serial_number(0xABC)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def described(*extensions):
    listed = descriptions.describe_certificate(with_extensions(*extensions))["extensions"]
    return [extension["value"] for extension in listed]


def test_extensions_are_shown_as_people_write_them():
    point = x509.DistributionPoint(
        [x509.UniformResourceIdentifier("http://crl.example.com/1")], None, None, None
    )
    assert described(
        x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("192.0.2.7")), x509.RFC822Name("a@example.com")]
        ),
        x509.CRLDistributionPoints([point]),
        x509.AuthorityKeyIdentifier(b"\1\2", None, None),
    ) == ["ip:192.0.2.7, email:a@example.com", "uri:http://crl.example.com/1", "0102"]
    assert described(
        x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(name("CA"))], 1),
        x509.CRLDistributionPoints(
            [x509.DistributionPoint(None, None, None, [x509.DirectoryName(name("x"))])]
        ),
    ) == ["no key identifier", ""]


def test_a_name_that_holds_no_value_is_shown_in_hex():
    broken = x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\xff")
    assert descriptions._general_names([broken]) == "other:1.2.3.4:ff"


def test_extensions_that_cannot_be_read_are_said_to_be_so():
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.19"), b"\x01")
    (listed,) = descriptions.describe_certificate(with_extensions(broken))["extensions"]
    assert listed["value"].startswith("cannot be read: ")


def test_names_are_safe_to_show():
    shown = descriptions.describe_certificate(with_extensions(subject="x\x1b[2J\n"))
    assert shown["subject"] == "CN=x\\x1b[2J\\n"
    assert descriptions.name_text(x509.Name([])) == "(empty)"
    assert descriptions.name_of_der(name("x").public_bytes()) == "CN=x"
    assert descriptions.name_of_der(b"\xff") == "ff"


@pytest.mark.parametrize(
    ("der", "text"),
    [
        (encode("é\x00"), "é\\x00"),
        (wrap(0x1E, "é".encode("utf-16-be")), "é"),
        (wrap(0x13, b"\xff"), "\\xff"),
        (encode(b"\1\2"), "0102"),
        (encode(b"\0" * 70), f"{'00' * 64}… (70 bytes)"),
        (encode(-7), "-7"),
        (encode(1 << 600), f"{'01' + '00' * 63}… (76 bytes)"),
        (encode(-1 << 600), f"{'ff' + '00' * 63}… (76 bytes)"),
        (encode(asn1.Oid("1.2.840.113549.1.7.1")), "data"),
        (encode(asn1.Oid("1.2.3")), "1.2.3"),
        (b"\x06\x01\x80", "060180"),
        (seq(encode(1)), "3003020101"),
    ],
)
def test_any_value_is_shown(der, text):
    assert descriptions.value_text(asn1.tlv(der)) == text


def test_a_serial_number_is_hex_and_one_without_measure_is_cut():
    assert descriptions.serial_text(0xABC) == "abc"
    assert descriptions.serial_text((1 << 512) - 1) == "f" * 128
    assert descriptions.serial_text(1 << 16_000) == f"{'01' + '00' * 63}… (2001 bytes)"


def test_a_name_with_a_value_of_no_text_is_shown_in_hex():
    der = name("x").public_bytes().replace(b"\x0c\x01x", b"\x03\x01x")
    assert descriptions.name_of_der(der) == der.hex()


def test_a_revocation_in_the_year_0_is_said_to_be_unreadable():
    key, moment = ec_key(), NOW.replace(year=2060)
    revoked = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(moment).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(name("CA")).last_update(NOW)
    crl = builder.next_update(NOW).add_revoked_certificate(revoked).sign(key, hashes.SHA256())
    der = crl.public_bytes(Encoding.DER).replace(b"\x18\x0f2060", b"\x18\x0f0000")
    shown = descriptions.describe_crl(x509.load_der_x509_crl(der))
    assert shown["revoked"] == [{"serial_number": "7", "revoked_at": "cannot be read"}]


def test_keys_are_named_by_kind_and_size():
    certificate = certify("gw1", ec_key())
    assert descriptions.describe_certificate(certificate)["key"] == "EC secp256r1"
    assert descriptions.described_key(ed25519.Ed25519PrivateKey.generate().public_key()) == "Ed25519"
    assert descriptions.described_key(None) == "of a kind that cannot be read"


def test_a_request_whose_key_cannot_be_read_is_shown_all_the_same():
    key = ec_key()
    der = request("gw1", key).public_bytes(Encoding.DER)
    curve, unknown = encode(asn1.Oid("1.2.840.10045.3.1.7")), encode(asn1.Oid("1.2.840.10045.3.1.9"))
    assert der.count(curve) == 1
    shown = descriptions.describe_request(x509.load_der_x509_csr(der.replace(curve, unknown)))
    assert shown["key"] == "of a kind that cannot be read"
    assert shown["signature"] == "WRONG"
    assert shown["challenge"] == "present, not shown"


def test_a_certificate_of_version_1_has_neither_usage_nor_extensions():
    certificate = version_1("Old CA", rsa_key())
    assert descriptions.usages(certificate) is None
    shown = descriptions.describe_certificate(certificate)
    assert (shown["extensions"], shown["ca"], shown["serial_number"]) == ([], True, "7")


OIDS = {
    **{constant: value for constant, value in vars(oids).items() if isinstance(value, oids.Oid)},
    **{f"RA_PURPOSES-{number}": value for number, value in enumerate(oids.RA_PURPOSES)},
}


def test_there_are_numbers_to_name():
    assert {"BLOWFISH_CBC", "HMAC_SHA256", "MGF1", "RA_PURPOSES-1", "ANY_PURPOSE"} <= OIDS.keys()


@pytest.mark.parametrize("constant", OIDS)
def test_every_number_that_the_engine_knows_has_a_name(constant):
    assert descriptions.oid_name(OIDS[constant]) != OIDS[constant].dotted_string


def test_no_two_numbers_have_the_same_name():
    names = list(map(descriptions.oid_name, OIDS.values()))
    assert sorted(set(names)) == sorted(names)
