import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import DAY, NOW, long_name, name, odd_names

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


def test_a_name_that_cannot_be_read_makes_no_extension_and_no_foreign_error(pki):
    """The library raises TypeError for a DirectoryName with a BIT STRING in it."""
    odd = with_extensions(pki, odd_names())
    assert certificates.find_extension(odd, x509.SubjectAlternativeName) is None
    assert certificates.find_extension(odd, x509.BasicConstraints) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x17\x0d260502120000Z", b"\x17\x0d260002120000Z"),
        (b"\x17\x0d260502120000Z", b"\x04\x0d260502120000Z"),
    ],
    ids=["month 0", "no date"],
)
def test_a_date_that_is_none_is_an_error_at_once(pki, old, new):
    der = pki.ca.certificate.public_bytes(Encoding.DER)
    assert old in der
    with pytest.raises(ProtocolError, match="not a certificate"):
        certificates.load_certificates([der.replace(old, new)])


def test_the_year_0_is_an_error_at_once(pki):
    """The library reads it, and fails when it is asked for the date."""
    der = year_0(pki.ca.certificate)
    with pytest.raises(ProtocolError, match="not a certificate"):
        certificates.load_certificates([der])


def year_0(certificate):
    """Return the DER of a certificate that begins in the year 0; its signature is not valid for that."""
    old = b"\x17\x0d260502120000Z"
    new = b"\x18\x0f00000502120000Z"
    tbs = certificate.tbs_certificate_bytes
    assert old in tbs
    validity = tbs[tbs.index(old) - 2 :][: 2 + tbs[tbs.index(old) - 1]]
    longer = asn1.wrap(0x30, validity[2:].replace(old, new))
    inside = tbs[4:].replace(validity, longer)
    whole = certificate.public_bytes(Encoding.DER)
    return asn1.wrap(0x30, asn1.wrap(0x30, inside) + whole[4 + len(tbs) :])


@pytest.mark.parametrize("serial_number", [b"\0", b"\xff"], ids=["0", "-1"])
def test_an_odd_serial_number_is_taken_without_a_word_on_stderr(pki, serial_number):
    """Some CAs have numbered so; a warning of Python means nothing to a user."""
    certificate = with_extensions(pki)
    der = certificate.public_bytes(Encoding.DER)
    assert b"\x02\x01\x01\x30" in der
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [odd] = certificates.load_certificates(
            [der.replace(b"\x02\x01\x01\x30", b"\x02\x01" + serial_number + b"\x30", 1)]
        )
        assert asn1.certificate_names(odd)[1] <= 0


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


def test_an_extension_with_an_odd_name_is_read_without_a_word_on_stderr(pki):
    """A common name of more than 64 characters, which the library warns of whenever it is read for the first time."""
    odd = long_name()
    made = with_extensions(pki, x509.SubjectAlternativeName([x509.DirectoryName(odd)]))
    der = made.public_bytes(Encoding.DER)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [read] = certificates.load_certificates([der])
        assert len(list(read.extensions)) == 1
        elsewhere = x509.load_der_x509_certificate(der)
        assert certificates.find_extension(elsewhere, x509.SubjectAlternativeName) is not None
        assert certificates.has_readable_extensions(x509.load_der_x509_certificate(der))
    broken = with_extensions(pki, x509.IssuerAlternativeName([x509.DirectoryName(odd)]), odd_names())
    assert not certificates.has_readable_extensions(broken)


def off_curve(der, key):
    """Return a certificate whose EC point is on no curve; both numbers of a point decide that."""
    numbers = key.public_key().public_numbers()
    point = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    return der.replace(point, point[:-1] + bytes([point[-1] ^ 1]))


def even_exponent(der, _key):
    return der.replace(b"\x02\x03\x01\x00\x01", b"\x02\x03\x01\x00\x00")


@pytest.mark.parametrize(("who", "spoil"), [("ec_ca", off_curve), ("ca", even_exponent)])
def test_a_key_that_is_none_is_not_read_and_verifies_nothing(pki, who, spoil):
    """S-026: invalid points and even exponents."""
    identity = getattr(pki, who)
    der = identity.certificate.public_bytes(Encoding.DER)
    spoilt = spoil(der, identity.key)
    assert spoilt != der
    [odd] = certificates.load_certificates([spoilt])
    assert certificates.public_key(odd) is None
    assert not certificates.can_decrypt(odd)
    with pytest.raises(ProtocolError, match="neither RSA nor EC"):
        cms.verify_signature(cms.parse_signed_data(signed_by(identity)).signers[0], odd)
