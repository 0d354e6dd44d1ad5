import shutil
import subprocess
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from issuing import CHALLENGE, DAY, NOW, certify, name
from replies import (
    Reply,
    algorithm,
    attribute,
    broken,
    content_info,
    envelope,
    issuer_and_serial,
    key_transport_info,
    random_bytes,
    seq,
    signed_data,
    to_ber,
)

from scepflow.engine import asn1, cms, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.identity import SigningIdentity
from scepflow.errors import ProtocolError, ScepflowError, TrustError

openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="apt-get install openssl")
CONTENT = b"content of some length, not a multiple of 16"


def run_openssl(*arguments, stdin):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


@pytest.fixture(scope="session")
def files(pki, tmp_path_factory):
    """The CA's certificate and key, where openssl can read them."""
    folder = tmp_path_factory.mktemp("openssl")
    (folder / "ca.pem").write_bytes(pki.ca.certificate.public_bytes(Encoding.PEM))
    key = pki.ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "ca.key").write_bytes(key)
    return folder


# SignedData


def signed_by(identity, content=CONTENT, **how):
    arguments = {"attributes": (), "digest": Digest.SHA256, "certificates": [identity.certificate], **how}
    return cms.build_signed_data(content, identity=identity, **arguments)


@pytest.mark.parametrize("digest", list(Digest))
def test_signed_data_is_read_as_it_was_built(pki, digest):
    extra = cms.attribute(oids.PKI_STATUS, asn1.encode(asn1.PrintableString("0")))
    signed = cms.parse_signed_data(signed_by(pki.ca, digest=digest, attributes=[extra]))
    assert (signed.content_type, signed.content) == (oids.DATA, CONTENT)
    assert signed.certificates() == (pki.ca.certificate,)
    assert signed.crls_der == ()
    [signer] = signed.signers
    assert (signer.digest, signer.key_identifier) == (digest, None)
    assert (signer.issuer_der, signer.serial_number) == asn1.certificate_names(pki.ca.certificate)[:2]
    assert signer.attributes == tuple(sorted(signer.attributes))
    assert extra in signer.attributes
    assert cms.verify_signature(signer, pki.ca.certificate)
    assert not cms.verify_signature(signer, pki.stranger.certificate)


@pytest.mark.parametrize("digest", list(Digest))
def test_a_digest_of_sha_2_has_no_parameters_and_the_older_have_null(pki, digest):
    """RFC 5754 §2 Message Digest Algorithms."""
    body = signed_by(pki.ca, digest=digest)
    older = digest in {Digest.MD5, Digest.SHA1}
    assert body.count(algorithm(digest.oid)) == (2 if older else 0)
    assert body.count(algorithm(digest.oid, b"")) == (0 if older else 2)


def test_an_ec_key_signs(pki):
    [signer] = cms.parse_signed_data(signed_by(pki.ec_ca)).signers
    assert cms.verify_signature(signer, pki.ec_ca.certificate)
    assert not cms.verify_signature(signer, pki.ec_client.certificate)


@openssl
@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA256, Digest.SHA512])
def test_openssl_verifies_what_we_sign(pki, files, digest):
    arguments = ("cms", "-verify", "-inform", "DER", "-binary", "-CAfile", files / "ca.pem", "-no_check_time")
    assert run_openssl(*arguments, "-purpose", "any", stdin=signed_by(pki.ca, digest=digest)) == CONTENT


@openssl
def test_we_verify_what_openssl_signs(pki, files):
    signing = ("-signer", files / "ca.pem", "-inkey", files / "ca.key", "-nodetach", "-binary")
    body = run_openssl("cms", "-sign", "-outform", "DER", *signing, stdin=CONTENT)
    signed = cms.parse_signed_data(body)
    assert signed.content == CONTENT
    assert cms.verify_signature(signed.signers[0], pki.ca.certificate)


def test_without_content_nothing_stands_for_it(pki):
    assert cms.parse_signed_data(signed_by(pki.ca, content=None)).content is None
    assert cms.parse_signed_data(signed_by(pki.ca, content=b"")).content == b""


def test_certs_only_is_what_the_rfc_says_to_the_byte(pki):
    certificates = [pki.ra_signer.certificate, pki.ca.certificate]
    body = cms.build_certs_only(certificates)
    ders = sorted(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    assert body == signed_data(certificates=asn1.wrap(0xA0, b"".join(ders)))
    assert set(cms.parse_signed_data(body).certificates()) == set(certificates)


def test_certs_only_may_carry_crls(pki):
    crl = crl_of(pki)
    signed = cms.parse_signed_data(cms.build_certs_only([], [crl]))
    assert (signed.certificates_der, signed.crls_der) == ((), (crl,))


def crl_of(pki):
    builder = x509.CertificateRevocationListBuilder().issuer_name(pki.ca.certificate.subject)
    builder = builder.last_update(NOW).next_update(NOW + DAY)
    return builder.sign(pki.ca.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("content", [b"", asn1.wrap(0xA0, b"\x04\0")], ids=["absent", "empty"])
@pytest.mark.parametrize("certificates", [b"", asn1.wrap(0xA0, b"")], ids=["absent", "empty"])
def test_certs_only_without_certificates_is_empty(content, certificates):
    """Q-092."""
    signed = cms.parse_signed_data(signed_data(content, certificates=certificates))
    assert (signed.certificates(), signed.signers) == ((), ())


@pytest.mark.parametrize("version", [0, 1, 3, 5])
def test_version_numbers_do_not_matter(pki, version):
    """Q-096."""
    body = cms.build_certs_only([pki.ca.certificate]).replace(
        b"\x02\x01\x01\x31\0", bytes((2, 1, version, 0x31, 0))
    )
    assert cms.parse_signed_data(body).certificates() == (pki.ca.certificate,)


@pytest.mark.parametrize("tag", [0xA0, 0xA1])
def test_more_certificates_or_crls_than_any_honest_message_are_refused(tag):
    place = "certificates" if tag == 0xA0 else "crls"
    assert cms.parse_signed_data(signed_data(**{place: asn1.wrap(tag, b"\x30\0" * 64)}))
    with pytest.raises(ProtocolError, match="more than 64"):
        cms.parse_signed_data(signed_data(**{place: asn1.wrap(tag, b"\x30\0" * 65)}))


def test_more_attributes_than_any_honest_message_are_refused(pki):
    extra = tuple(attribute(asn1.Oid(f"1.2.3.{n}"), asn1.encode(n)) for n in range(58))
    reply = Reply(signer=pki.ca, content=None, extra=extra)
    assert len(reply.attributes()) == 65
    with pytest.raises(ProtocolError, match="more than 64 signed attributes"):
        cms.parse_signed_data(reply.der())
    [signer] = cms.parse_signed_data(reply.but(extra=extra[1:]).der()).signers
    assert len(signer.attributes) == 64


def test_of_many_signers_only_two_are_looked_at(pki):
    signed = cms.parse_signed_data(Reply(signer=pki.ca, content=None, signatures=3000).der())
    assert len(signed.signers) == 2


@pytest.mark.parametrize("der", [b"\x30\0", b"", b"\x02\x01\x05"])
def test_a_certificate_that_is_none_is_an_error(der):
    with pytest.raises(ProtocolError, match="not a certificate"):
        cms.load_certificates([der])


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
        cms.load_certificates([der.replace(old, new)])


def test_another_content_type_is_named():
    with pytest.raises(ProtocolError, match=r"1\.2\.840\.113549\.1\.7\.1 where a CMS SignedData must be"):
        cms.parse_signed_data(content_info(oids.DATA, asn1.encode(b"")))
    with pytest.raises(ProtocolError, match="where a CMS EnvelopedData must be"):
        cms.parse_envelope(signed_data())


@pytest.mark.parametrize("body", [b"", b"<html>", b"\x30\0", content_info(oids.SIGNED_DATA, b"\x30\0")])
def test_what_is_no_signed_data_is_an_error(body):
    with pytest.raises(ProtocolError):
        cms.parse_signed_data(body)


def test_a_certificate_is_named_by_issuer_and_serial_number(pki):
    issuer, serial_number, _ = asn1.certificate_names(pki.ra_signer.certificate)

    def named(certificate, issuer=issuer, serial_number=serial_number):
        return cms.names_certificate(
            certificate, issuer_der=issuer, serial_number=serial_number, key_identifier=None
        )

    assert named(pki.ra_signer.certificate)
    assert not named(pki.ra_encryption.certificate)
    assert not named(pki.ra_signer.certificate, serial_number=serial_number + 1)
    assert not named(pki.ra_signer.certificate, issuer=asn1.certificate_names(pki.stranger.certificate)[0])


def test_a_certificate_whose_key_cannot_be_read_is_named_by_no_key_identifier(pki):
    rsa_oid = bytes.fromhex("2a864886f70d010101")
    der = pki.stranger.certificate.public_bytes(Encoding.DER).replace(rsa_oid, rsa_oid[:-1] + b"\x63")
    [odd] = cms.load_certificates([der])
    assert cms.public_key(odd) is None
    for identifier in (b"", b"x"):
        assert not cms.names_certificate(odd, issuer_der=None, serial_number=None, key_identifier=identifier)
    with pytest.raises(ProtocolError, match="neither RSA nor EC"):
        cms.verify_signature(cms.parse_signed_data(signed_by(pki.stranger)).signers[0], odd)


def test_an_extension_that_cannot_be_read_is_none(pki):
    broken_extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.15"), b"\x05\0")
    assert cms.find_extension(pki.ca.certificate, x509.KeyUsage).key_cert_sign
    assert cms.find_extension(pki.client.certificate, x509.KeyUsage) is None
    assert cms.find_extension(with_extensions(pki, broken_extension), x509.KeyUsage) is None


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
    [twice] = cms.load_certificates([der.replace(b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x0f")])
    assert cms.find_extension(twice, x509.KeyUsage) is None


# EnvelopedData


def sealed_for(recipient, cipher=Cipher.AES128, **how):
    return cms.build_envelope(CONTENT, recipient=recipient, cipher=cipher, random_bytes=random_bytes(), **how)


def opened(der, identity, **how):
    return cms.open_envelope(cms.parse_envelope(der), identity, **how)


@pytest.mark.parametrize("cipher", list(Cipher))
def test_an_envelope_opens_with_the_key_it_is_for_and_no_other(pki, cipher):
    der = sealed_for(pki.ca.certificate, cipher)
    assert cms.parse_envelope(der).cipher is cipher
    assert opened(der, pki.ca) == CONTENT
    with pytest.raises(ProtocolError, match="not for our certificate"):
        opened(der, pki.stranger)
    with pytest.raises(ProtocolError, match="does not open"):
        opened(der, SigningIdentity(pki.ca.certificate, pki.stranger.key))


@openssl
@pytest.mark.parametrize("cipher", [Cipher.AES128, Cipher.AES192, Cipher.AES256, Cipher.DES3])
def test_openssl_opens_what_we_seal(pki, files, cipher):
    keys = ("-inkey", files / "ca.key", "-recip", files / "ca.pem")
    assert (
        run_openssl(
            "cms",
            "-decrypt",
            "-inform",
            "DER",
            "-binary",
            *keys,
            stdin=sealed_for(pki.ca.certificate, cipher),
        )
        == CONTENT
    )


@openssl
@pytest.mark.parametrize(
    ("cipher", "options"),
    [
        (("-aes128",), ()),
        (("-aes256", "-stream", "-indef"), ()),
        (("-des3",), ("-keyopt", "rsa_padding_mode:oaep")),
        (("-aes128",), ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256")),
    ],
    ids=["AES-128", "AES-256 in BER", "OAEP", "OAEP with SHA-256"],
)
def test_we_open_what_openssl_seals(pki, files, cipher, options):
    how = ("-encrypt", "-binary", "-outform", "DER", *cipher, "-recip", files / "ca.pem", *options)
    assert opened(run_openssl("cms", *how, stdin=CONTENT), pki.ca) == CONTENT


def test_an_envelope_is_what_the_rfc_says(pki):
    """One recipient by issuer and serial number, rsaEncryption with NULL, id-data (C-043, C-044)."""
    der = sealed_for(pki.ca.certificate)
    enveloped = asn1.parse(asn1.decode(asn1.ContentInfo, der, "x").content, asn1.EnvelopedData, "x")
    assert (enveloped.version, enveloped.encrypted.content_type) == (0, oids.DATA)
    [recipient] = asn1.members(enveloped.recipient_infos, "recipients")
    info = asn1.parse(recipient, asn1.KeyTransRecipientInfo, "x")
    assert asn1.encode(info.rid) == issuer_and_serial(pki.ca.certificate)
    assert b"".join(map(asn1.encode, info.algorithm)) == algorithm(oids.RSA_ENCRYPTION)[2:]
    assert enveloped.encrypted.encrypted_content.tag_bytes == b"\x80"


def test_the_same_random_bytes_give_the_same_envelope_but_for_the_encrypted_key(pki):
    one, two = (cms.parse_envelope(sealed_for(pki.ca.certificate)) for _ in range(2))
    assert (one.iv, one.encrypted) == (two.iv, two.encrypted)
    assert asn1.encode(one.recipients[0]) != asn1.encode(two.recipients[0])


def test_an_envelope_under_a_password_opens_with_it(pki):
    der = sealed_for(pki.ec_ca.certificate, challenge_password=CHALLENGE)
    assert der == sealed_for(pki.ec_ca.certificate, challenge_password=CHALLENGE)
    assert opened(der, pki.ec_ca, challenge_password=CHALLENGE) == CONTENT
    with pytest.raises(ProtocolError, match="not for our certificate"):
        opened(der, pki.ec_ca)
    with pytest.raises(ProtocolError, match="does not open"):
        opened(der, pki.ec_ca, challenge_password="open sesame")


@openssl
def test_openssl_opens_what_we_seal_under_a_password(pki):
    der = sealed_for(pki.ec_ca.certificate, challenge_password=CHALLENGE)
    how = ("-decrypt", "-inform", "DER", "-binary", "-pwri_password", CHALLENGE)
    assert run_openssl("cms", *how, stdin=der) == CONTENT


@openssl
@pytest.mark.parametrize("cipher", ["-aes128", "-aes256", "-des3"])
def test_we_open_what_openssl_seals_under_a_password(pki, cipher):
    how = ("-encrypt", "-outform", "DER", "-binary", cipher, "-pwri_password", CHALLENGE)
    assert (
        opened(run_openssl("cms", *how, stdin=CONTENT), pki.ec_client, challenge_password=CHALLENGE)
        == CONTENT
    )


@pytest.mark.parametrize("challenge_password", [None, ""])
def test_no_envelope_is_made_that_would_be_none(pki, challenge_password):
    with pytest.raises(TrustError, match="cannot decrypt") as error:
        sealed_for(pki.ec_ca.certificate, challenge_password=challenge_password)
    assert error.value.check == "recipient"


def test_ciphertext_in_pieces_is_joined(pki):
    """Q-036, Q-042."""
    assert opened(to_ber(sealed_for(pki.ca.certificate)), pki.ca) == CONTENT
    whole = cms.parse_envelope(sealed_for(pki.ca.certificate)).encrypted
    pieces = asn1.wrap(0xA0, asn1.wrap(0x04, whole[:5]) + asn1.wrap(0x04, b"") + asn1.wrap(0x04, whole[5:]))
    iv = random_bytes_after(16)
    der = envelope(b"", recipient=pki.ca.certificate, key=random_bytes()(16), iv=iv, encrypted_content=pieces)
    assert opened(der, pki.ca) == CONTENT


def random_bytes_after(size):
    source = random_bytes()
    source(size)
    return source(size)


@pytest.mark.parametrize("tag", [0x04, 0x30, 0x81])
def test_ciphertext_under_another_tag_is_an_error(pki, tag):
    with pytest.raises(ProtocolError, match="encryptedContent"):
        cms.parse_envelope(envelope(b"", recipient=pki.ca.certificate, encrypted_content=asn1.wrap(tag, b"")))


def test_a_recipient_named_by_key_identifier_is_found(pki):
    """Q-097."""
    certificate = certify("Receiver", pki.client.key, key_identifier=b"12345678")
    rid = asn1.wrap(0x80, b"12345678")
    der = envelope(CONTENT, recipient=certificate, rid=rid)
    assert opened(der, SigningIdentity(certificate, pki.client.key)) == CONTENT
    with pytest.raises(ProtocolError, match="not for our certificate"):
        opened(der, pki.client)


def oaep(digest):
    return padding.OAEP(padding.MGF1(digest()), digest(), None)


def explicit(digest_oid):
    hashed, mask = algorithm(digest_oid), algorithm(oids.MGF1, algorithm(digest_oid))
    return algorithm(oids.RSAES_OAEP, seq(asn1.wrap(0xA0, hashed), asn1.wrap(0xA1, mask)))


@pytest.mark.parametrize(
    ("identifier", "pad"),
    [
        (algorithm(oids.RSAES_OAEP, b""), oaep(hashes.SHA1)),
        (bytes.fromhex("300d06092a864886f70d0101073000"), oaep(hashes.SHA1)),
        (explicit(oids.SHA1), oaep(hashes.SHA1)),
        (explicit(oids.SHA256), oaep(hashes.SHA256)),
        (algorithm(oids.RSA_ENCRYPTION, b""), padding.PKCS1v15()),
    ],
    ids=["absent", "empty, as NDES", "SHA-1", "SHA-256", "PKCS#1 without NULL"],
)
def test_the_key_comes_in_the_padding_that_is_named(pki, identifier, pad):
    """Q-006."""
    der = envelope(CONTENT, recipient=pki.client.certificate, key_transport=identifier, pad=pad)
    assert opened(der, pki.client) == CONTENT


def test_a_padding_that_the_library_refuses_does_not_open(pki):
    der = envelope(CONTENT, recipient=pki.client.certificate, key_transport=explicit(oids.MD5))
    with pytest.raises(ProtocolError, match="does not open"):
        opened(der, pki.client)


def test_everything_that_goes_wrong_with_key_and_content_is_the_same_error(pki):
    """Bleichenbacher's and Vaudenay's oracles need a difference (S-050, S-051)."""
    mine = pki.client.certificate
    wrong = {
        "other padding": envelope(CONTENT, recipient=mine, pad=oaep(hashes.SHA1)),
        "OAEP that is none": envelope(CONTENT, recipient=mine, key_transport=explicit(oids.SHA1)),
        "another key": envelope(CONTENT, recipient=mine, key=b"k" * 16),
        "short key": envelope(CONTENT, recipient=mine, key=b"K" * 15),
        "long key": envelope(CONTENT, recipient=mine, key=b"K" * 32),
        "no key": envelope(CONTENT, recipient=mine, key=b""),
        "no content": envelope(CONTENT, recipient=mine, encrypted_content=asn1.wrap(0x80, b"")),
        "half a block": envelope(CONTENT, recipient=mine, encrypted_content=asn1.wrap(0x80, b"x" * 24)),
        "no CBC padding": envelope(CONTENT, recipient=mine, encrypted_content=asn1.wrap(0x80, b"x" * 32)),
        "encrypted key of wrong size": envelope(
            CONTENT,
            recipient_infos=[
                seq(b"\x02\x01\0", issuer_and_serial(mine), algorithm(oids.RSA_ENCRYPTION), asn1.encode(b"x"))
            ],
        ),
    }
    said = set()
    for der in wrong.values():
        with pytest.raises(ProtocolError) as error:
            opened(der, pki.client)
        said.add((error.value.message, error.value.section, error.value.hint))
    assert len(said) == 1


def test_among_several_recipients_ours_is_found(pki):
    """Step-ca encrypts to every certificate of the request (Q-025, Q-098)."""
    infos = [
        key_transport_info(recipient, b"K" * 16)
        for recipient in (pki.stranger.certificate, pki.client.certificate, pki.ca.certificate)
    ]
    der = envelope(CONTENT, recipient_infos=[asn1.wrap(0xA1, b""), asn1.wrap(0xA4, b""), *infos])
    assert opened(der, pki.client) == CONTENT


def test_the_key_is_tried_once(pki):
    """The first recipient that names us decides, so that many do not multiply tries (S-052)."""
    bad = key_transport_info(pki.client.certificate, b"x" * 16)
    good = key_transport_info(pki.client.certificate, b"K" * 16)
    with pytest.raises(ProtocolError, match="does not open"):
        opened(envelope(CONTENT, recipient_infos=[bad, good]), pki.client)


def test_more_recipients_than_any_honest_message_are_refused(pki):
    info = key_transport_info(pki.client.certificate, b"K" * 16)
    assert cms.parse_envelope(envelope(CONTENT, recipient_infos=[info] * 16))
    with pytest.raises(ProtocolError, match="more than 16 recipients"):
        cms.parse_envelope(envelope(CONTENT, recipient_infos=[info] * 17))


def test_no_recipient_is_not_us(pki):
    with pytest.raises(ProtocolError, match="not for our certificate"):
        opened(envelope(CONTENT, recipient_infos=[]), pki.client)


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography on odd names and numbers
def test_whatever_comes_only_our_errors_come_out(pki):
    valid = [
        sealed_for(pki.client.certificate),
        to_ber(sealed_for(pki.client.certificate, Cipher.DES3)),
        envelope(CONTENT, recipient=pki.client.certificate, key_transport=explicit(oids.SHA256)),
    ]
    signed = [cms.build_certs_only([pki.ca.certificate], [crl_of(pki)]), signed_by(pki.ca)]

    @settings(max_examples=300)
    @given(broken(valid))
    def opens(body):
        with suppress(ScepflowError):
            opened(body, pki.client, challenge_password=CHALLENGE)

    @settings(max_examples=200)
    @given(broken([*signed, *map(to_ber, signed)]))
    def reads(body):
        with suppress(ScepflowError):
            cms.parse_signed_data(body).certificates()

    opens()
    reads()
