from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID

from scepflow.engine import asn1, oids
from scepflow.errors import ProtocolError
from scepflow.testca.csr import challenge, is_proven, load_csr


def make(key, *, text="secret", **signing):
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=client"))
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, text.encode())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example.com")]), critical=False)
        .sign(key, signing.pop("digest", hashes.SHA256()), **signing)
        .public_bytes(Encoding.DER)
    )


def unsorted(der, key):
    """Sign the request anew with its attributes the other way round, as strongSwan's pki has them."""
    info, algorithm, _ = asn1.members(asn1.tlv(der), "CSR", tag=b"\x30")
    *fields, attributes = asn1.members(info, "CSR", tag=b"\x30")
    values = [asn1.encode(value) for value in asn1.members(attributes, "attributes", tag=b"\xa0")]
    body = b"".join(map(asn1.encode, fields)) + asn1.wrap(0xA0, b"".join(reversed(values)))
    signed = asn1.wrap(0x30, body)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return asn1.wrap(0x30, signed + asn1.encode(algorithm) + asn1.wrap(0x03, b"\x00" + signature))


@pytest.mark.parametrize("key", ["client_key", "ec_key"])
def test_a_request_in_der_is_read_and_proven(request, key):
    der = make(request.getfixturevalue(key))
    csr = load_csr(der)
    assert csr.public_bytes(Encoding.DER) == der
    assert is_proven(csr, der)
    assert challenge(csr) == b"secret"


@pytest.mark.parametrize("key", ["client_key", "ec_key"])
def test_unsorted_attributes_are_read_and_their_signature_holds_for_what_came(request, key):
    key = request.getfixturevalue(key)
    der = unsorted(make(key), key)
    with pytest.raises(ValueError, match="InvalidSetOrdering"):
        x509.load_der_x509_csr(der)
    csr = load_csr(der)
    assert not csr.is_signature_valid
    assert is_proven(csr, der)
    assert challenge(csr) == b"secret"
    assert csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)


@pytest.mark.parametrize("key", ["client_key", "ec_key"])
def test_a_changed_request_is_not_proven(request, key):
    key = request.getfixturevalue(key)
    for der in (make(key), unsorted(make(key), key)):
        changed = der.replace(b"client", b"climate"[:6])
        assert not is_proven(load_csr(changed), changed)


def test_a_pss_signature_proves_a_request(client_key):
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    der = make(client_key, rsa_padding=pss)
    assert is_proven(load_csr(der), der)


def test_a_key_that_is_neither_rsa_nor_ec_proves_nothing():
    der = make(ed25519.Ed25519PrivateKey.generate(), digest=None)
    assert not is_proven(load_csr(der), der)


def test_an_unknown_signature_algorithm_proves_nothing(client_key):
    der = make(client_key)
    unknown = der.replace(asn1.encode(oids.SHA256_WITH_RSA), asn1.encode(asn1.Oid("1.2.840.113549.1.1.99")))
    assert unknown != der
    assert not is_proven(load_csr(unknown), unknown)


def test_an_rsa_key_under_an_ecdsa_signature_proves_nothing(client_key, ec_key):
    rsa_parts = asn1.members(asn1.tlv(make(client_key)), "CSR", tag=b"\x30")
    ec_parts = asn1.members(asn1.tlv(make(ec_key)), "CSR", tag=b"\x30")
    mixed = asn1.wrap(0x30, b"".join(map(asn1.encode, [rsa_parts[0], *ec_parts[1:]])))
    assert not is_proven(load_csr(mixed), mixed)


@pytest.mark.parametrize("der", [b"", b"0\x00", b"hello", b"\x30\x80\x00\x00"])
def test_what_is_no_request_is_refused(der):
    with pytest.raises(ProtocolError, match="not a certification request"):
        load_csr(der)


def test_a_request_of_another_version_is_refused(client_key):
    der = make(client_key).replace(b"\x02\x01\x00", b"\x02\x01\x01", 1)
    with pytest.raises(ProtocolError):
        load_csr(der)


def test_a_request_without_challenge_has_an_empty_one(client_key):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    assert challenge(builder.sign(client_key, hashes.SHA256())) == b""
