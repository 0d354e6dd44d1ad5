from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scepflow.testca.certificates import leaf_extensions, new_serial


def request(key, *extensions, subject="CN=client"):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


def usage(**bits):
    names = (
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
    return x509.KeyUsage(**{name: bits.get(name, False) for name in names})


def granted(csr):
    return {type(extension): (extension, critical) for extension, critical in leaf_extensions(csr)}


def test_a_serial_number_is_positive_and_long_whatever_the_random_bytes_are():
    assert new_serial(bytes) > 0
    assert new_serial(bytes).bit_length() == new_serial(lambda n: b"\xff" * n).bit_length() == 129


def test_requested_names_and_purposes_are_copied(client_key):
    san = x509.SubjectAlternativeName([x509.DNSName("a.example.com"), x509.RFC822Name("a@example.com")])
    eku = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    given = granted(request(client_key, (san, False), (eku, True)))
    assert given[x509.SubjectAlternativeName] == (san, False)
    assert given[x509.ExtendedKeyUsage] == (eku, True)


def test_names_are_critical_where_the_subject_is_empty(client_key):
    san = x509.SubjectAlternativeName([x509.DNSName("a.example.com")])
    assert granted(request(client_key, (san, False), subject=""))[x509.SubjectAlternativeName] == (san, True)


def test_no_request_makes_a_ca(client_key):
    asked = request(
        client_key,
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage(digital_signature=True, key_cert_sign=True, crl_sign=True), True),
        (x509.SubjectKeyIdentifier(b"chosen by the client"), False),
    )
    given = granted(asked)
    assert not given[x509.BasicConstraints][0].ca
    assert given[x509.KeyUsage][0] == usage(digital_signature=True)
    assert x509.SubjectKeyIdentifier not in given


@pytest.mark.parametrize("asked", [None, usage(key_cert_sign=True)])
def test_key_usage_follows_the_key_where_the_request_says_nothing_usable(client_key, ec_key, asked):
    wanted = [(asked, True)] if asked else []
    rsa_usage = granted(request(client_key, *wanted))[x509.KeyUsage][0]
    ec_usage = granted(request(ec_key, *wanted))[x509.KeyUsage][0]
    assert rsa_usage == usage(digital_signature=True, key_encipherment=True)
    assert ec_usage == usage(digital_signature=True)


@pytest.mark.parametrize(
    "kind", [_ASN1Type.UTF8String, _ASN1Type.PrintableString, _ASN1Type.T61String, _ASN1Type.BMPString]
)
def test_the_subject_is_kept_byte_for_byte(authority, client_key, now, kind):
    """String types and multi-valued RDNs survive, so that the client finds its own name again (C-111)."""
    subject = x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COUNTRY_NAME, "DE")]),
            x509.RelativeDistinguishedName(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, "gw 1", kind),
                    x509.NameAttribute(NameOID.SERIAL_NUMBER, "0815"),
                ]
            ),
        ]
    )
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(client_key, hashes.SHA256())
    parsed = x509.load_der_x509_csr(csr.public_bytes(_der()))
    issued = authority.issue(parsed, now=now)
    assert subject.public_bytes() in csr.tbs_certrequest_bytes
    assert subject.public_bytes() in issued.tbs_certificate_bytes


def _der():
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER
