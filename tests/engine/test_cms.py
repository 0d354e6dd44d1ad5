import tracemalloc
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from issuing import DAY, NOW
from replies import (
    Reply,
    algorithm,
    attribute,
    broken,
    content_info,
    signed_data,
    to_ber,
)
from witness import openssl, run_openssl

from scepflow.engine import asn1, cms, envelopes, oids
from scepflow.engine.algorithms import Digest
from scepflow.errors import ProtocolError, ScepflowError

CONTENT = b"content of some length, not a multiple of 16"


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
    signed = cms.parse_signed_data(Reply(signer=pki.ca, content=None, signatures=64).der())
    assert len(signed.signers) == 2
    with pytest.raises(ProtocolError, match="more than 64"):
        cms.parse_signed_data(Reply(signer=pki.ca, content=None, signatures=65).der())


@pytest.mark.parametrize("tag", [0xA0, 0xA1])
def test_a_crowd_is_counted_before_lists_are_made_of_it(tag):
    place = "certificates" if tag == 0xA0 else "crls"
    body = signed_data(**{place: asn1.wrap(tag, b"\x30\0" * 400_000)})
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="more than 64"):
            cms.parse_signed_data(body)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    finally:
        tracemalloc.stop()


def test_a_tag_that_would_hide_the_crowd_behind_it_is_refused():
    hiding = asn1.wrap(0xA0, b"\x1f\xff\x01\0" + b"\x30\0" * 65)
    with pytest.raises(ProtocolError, match="tag 0x1f"):
        cms.parse_signed_data(signed_data(certificates=hiding))


def test_a_crowd_in_ber_is_refused():
    body = signed_data(certificates=b"\xa0\x80" + b"\x30\0" * 65 + b"\0\0")
    with pytest.raises(ProtocolError, match="more than 64"):
        cms.parse_signed_data(body)


def test_another_content_type_is_named():
    with pytest.raises(ProtocolError, match=r"1\.2\.840\.113549\.1\.7\.1 where a CMS SignedData must be"):
        cms.parse_signed_data(content_info(oids.DATA, asn1.encode(b"")))
    with pytest.raises(ProtocolError, match="where a CMS EnvelopedData must be"):
        envelopes.parse_envelope(signed_data())


@pytest.mark.parametrize("body", [b"", b"<html>", b"\x30\0", content_info(oids.SIGNED_DATA, b"\x30\0")])
def test_what_is_no_signed_data_is_an_error(body):
    with pytest.raises(ProtocolError):
        cms.parse_signed_data(body)


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography on odd names and numbers
def test_whatever_comes_only_our_errors_come_out(pki):
    signed = [cms.build_certs_only([pki.ca.certificate], [crl_of(pki)]), signed_by(pki.ca)]

    @settings(max_examples=200)
    @given(broken([*signed, *map(to_ber, signed)]))
    def reads(body):
        with suppress(ScepflowError):
            cms.parse_signed_data(body).certificates()

    reads()
