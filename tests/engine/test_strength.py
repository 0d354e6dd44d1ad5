"""Judged by hand-made certificates: the library no longer signs with MD5."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import DAY, NOW, certify, name, resigned

from scepflow.engine.algorithms import Digest, Security
from scepflow.engine.strength import weaknesses


def test_what_is_strong_is_not_spoken_of(pki):
    assert weaknesses([pki.issue(), pki.ca.certificate], anchors=[pki.ca.certificate]) == []
    assert weaknesses([pki.ec_ca.certificate], anchors=[]) == []


@pytest.mark.parametrize(
    ("digest", "refused_by"),
    [(Digest.MD5, {Security.STRICT, Security.DEFAULT}), (Digest.SHA1, {Security.STRICT})],
)
def test_a_weak_signature_is_refused_as_the_policy_says(pki, digest, refused_by):
    weak = resigned(pki.issue(), pki.ca.key, digest)
    [weakness] = weaknesses([weak, pki.ca.certificate], anchors=[pki.ca.certificate])
    assert weakness.refused_by == refused_by
    assert "CN=gw1 is signed with" in weakness.text


def test_how_an_anchor_is_signed_says_nothing(pki):
    weak = resigned(pki.ca.certificate, pki.ca.key, Digest.MD5)
    assert weaknesses([weak], anchors=[weak]) == []
    assert weaknesses([weak], anchors=[]) != []


@pytest.mark.parametrize(
    ("bits", "refused_by"), [(1023, set(Security)), (1024, {Security.STRICT}), (2047, {Security.STRICT})]
)
def test_a_small_rsa_key_is_refused_the_sooner_the_smaller(pki, bits, refused_by):
    key = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
    [weakness] = weaknesses([certify("small", key, issuer=pki.ca)], anchors=[pki.ca.certificate])
    assert weakness.refused_by == refused_by


@pytest.mark.parametrize(("curve", "weak"), [(ec.SECP192R1, True), (ec.SECP224R1, False)])
def test_a_small_ec_key_is_weak(pki, curve, weak):
    small = certify("small", ec.generate_private_key(curve()), issuer=pki.ca)
    found = [weakness.text for weakness in weaknesses([small], anchors=[pki.ca.certificate])]
    assert found == ["the EC key of CN=small has 192 bits"] * weak


def test_a_small_rsa_key_is_weak_unless_it_is_ours(pki):
    small = certify("small", rsa.generate_private_key(65537, 1024), issuer=pki.ca)
    [weakness] = weaknesses([small], anchors=[small])
    assert (weakness.text, weakness.refused_by) == (
        "the RSA key of CN=small has 1024 bits",
        {Security.STRICT},
    )
    assert weaknesses([small], anchors=[], own_key=True) == []


def test_a_signature_without_a_digest_or_in_a_way_that_nobody_knows_is_not_judged(pki):
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateBuilder(name("x"), name("x"), key.public_key(), 1, NOW - DAY, NOW + DAY)
    assert weaknesses([builder.sign(key, None)], anchors=[]) == []
    der = pki.ca.certificate.public_bytes(Encoding.DER)
    sha256_rsa = bytes.fromhex("2a864886f70d01010b")
    unknown = x509.load_der_x509_certificate(der.replace(sha256_rsa, sha256_rsa[:-1] + b"\x63"))
    assert weaknesses([unknown], anchors=[]) == []
