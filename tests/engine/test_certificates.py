import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import DAY, NOW, name

from scepflow.engine import asn1, certificates, cms
from scepflow.engine.algorithms import Digest
from scepflow.errors import ProtocolError

CONTENT = b"content of some length, not a multiple of 16"


def signed_by(identity, content=CONTENT, **how):
    arguments = {"attributes": (), "digest": Digest.SHA256, "certificates": [identity.certificate], **how}
    return cms.build_signed_data(content, identity=identity, **arguments)


@pytest.mark.parametrize("der", [b"\x30\0", b"", b"\x02\x01\x05"])
def test_a_certificate_that_is_none_is_an_error(der):
    with pytest.raises(ProtocolError, match="not a certificate"):
        certificates.load_certificates([der])


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"), (b"\x0c\x07Test CA", b"\x0c\x07Test\xff\xffA")],
    ids=["version", "name"],
)
def test_a_certificate_that_would_fail_later_fails_at_once(pki, old, new):
    """The library reads versions and names only when asked, and then with errors of its own."""
    der = pki.ca.certificate.public_bytes(Encoding.DER)
    assert old in der
    with pytest.raises(ProtocolError, match="not a certificate"):
        certificates.load_certificates([der.replace(old, new)])


def test_a_certificate_is_named_by_issuer_and_serial_number(pki):
    issuer, serial_number, _ = asn1.certificate_names(pki.ra_signer.certificate)

    def named(certificate, issuer=issuer, serial_number=serial_number):
        return certificates.names_certificate(
            certificate, issuer_der=issuer, serial_number=serial_number, key_identifier=None
        )

    assert named(pki.ra_signer.certificate)
    assert not named(pki.ra_encryption.certificate)
    assert not named(pki.ra_signer.certificate, serial_number=serial_number + 1)
    assert not named(pki.ra_signer.certificate, issuer=asn1.certificate_names(pki.stranger.certificate)[0])


def test_a_certificate_whose_key_cannot_be_read_is_named_by_no_key_identifier(pki):
    rsa_oid = bytes.fromhex("2a864886f70d010101")
    der = pki.stranger.certificate.public_bytes(Encoding.DER).replace(rsa_oid, rsa_oid[:-1] + b"\x63")
    [odd] = certificates.load_certificates([der])
    assert certificates.public_key(odd) is None
    for identifier in (b"", b"x"):
        assert not certificates.names_certificate(
            odd, issuer_der=None, serial_number=None, key_identifier=identifier
        )
    with pytest.raises(ProtocolError, match="neither RSA nor EC"):
        cms.verify_signature(cms.parse_signed_data(signed_by(pki.stranger)).signers[0], odd)


def test_an_extension_that_cannot_be_read_is_none(pki):
    broken_extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x05\0")
    assert certificates.find_extension(pki.ca.certificate, x509.KeyUsage).key_cert_sign
    assert certificates.find_extension(pki.client.certificate, x509.KeyUsage) is None
    assert certificates.find_extension(with_extensions(pki, broken_extension), x509.KeyUsage) is None


def with_extensions(pki, *extensions):
    builder = x509.CertificateBuilder(
        name("odd"), name("odd"), pki.client.key.public_key(), 1, NOW - DAY, NOW + DAY
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(pki.client.key, hashes.SHA256())


def test_an_extension_that_comes_twice_is_none(pki):
    der = with_extensions(
        pki,
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x03\x02\x05\xa0"),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x03\x02\x05\xa0"),
    ).public_bytes(Encoding.DER)
    [twice] = certificates.load_certificates([der.replace(b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x0f")])
    assert certificates.find_extension(twice, x509.KeyUsage) is None
