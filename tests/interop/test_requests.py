"""What the client sends, as a CA sees it: who signs, what is asked for, and what no message repeats."""

import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from rows import Row, issued

from scepflow.engine import asn1, envelopes
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.messages import MessageType
from scepflow.testca import Authority
from scepflow.testca.csr import challenge, load_csr
from scepflow.testing import NOW

SECRET = "correct horse battery staple"


@pytest.fixture
def run(bench_of):
    """Run a pipeline once against an honest CA, and return the bench."""

    def of(**options):
        bench = bench_of(Row(items=(), behave=(), expected=issued(), **options))
        ran = bench.run()
        assert ran.code == 0, ran.said
        return bench

    return of


def content(bench, request):
    """Return what a request encrypts."""
    return envelopes.open_envelope(request.envelope, bench.responder.authority.encryption)


def asked(bench, request):
    return load_csr(content(bench, request))


def test_a_first_request_is_signed_by_a_certificate_of_its_own(run):
    """Self-signed, with key and subject of the request, in a PKCSReq that carries no other (C-020, C-022, C-026)."""
    bench = run()
    (request,) = bench.responder.requests
    csr, certificate = asked(bench, request), request.certificate
    assert (request.message_type, request.verified) == (MessageType.PKCS_REQ, True)
    assert request.certificates == (certificate,)
    assert certificate.issuer == certificate.subject
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == csr.public_key()
    assert asn1.certificate_names(certificate)[2] == asn1.csr_subject(csr)


def test_a_self_signed_certificate_says_what_its_key_is_for(run):
    """C-021."""
    (request,) = run().responder.requests
    usage = request.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment) == (True, True)
    assert not usage.key_cert_sign


def test_a_request_is_in_the_algorithms_that_every_ca_must_know(run):
    """C-060, C-061."""
    (request,) = run().responder.requests
    assert (request.digest, request.envelope.cipher) == (Digest.SHA256, Cipher.AES128)


def test_a_renewal_is_signed_by_the_old_certificate_alone(run):
    """In a RenewalReq that brings no challenge (C-023, C-026, C-030)."""
    bench = run(knobs={"challenge": SECRET})
    old = bench.certificate
    assert bench.run(renew=True).code == 0
    first, renewal = bench.responder.requests
    assert challenge(asked(bench, first)) == SECRET.encode()
    assert not challenge(asked(bench, renewal))
    assert renewal.message_type == MessageType.RENEWAL_REQ
    assert renewal.certificates == (old,)


def test_a_renewal_takes_a_new_key_and_opens_the_reply_with_the_old(bench_of):
    """What it encrypts is for who signed (C-027); so it can be opened only with the old key (C-028, C-033)."""
    bench = bench_of(Row(items=(), behave=(), expected=issued()))
    pipeline = bench.folder / "gw1.toml"
    text = pipeline.read_text()
    pipeline.write_text(text.replace('use = "file"\npath = "device.key"', 'use = "generate"'))
    assert bench.run().code == 0
    old = bench.certificate
    assert bench.run(renew=True).code == 0
    renewal = bench.responder.requests[-1]
    assert renewal.certificate == old
    assert asked(bench, renewal).public_key() == bench.certificate.public_key() != old.public_key()


def test_a_certificate_of_another_ca_may_sign_a_first_request(bench_of):
    """What a device had from its maker, say. This CA does not renew it, and takes the challenge for it (C-024)."""
    bench = bench_of(
        Row(
            items=(),
            behave=(),
            knobs={"challenge": SECRET},
            csr={"challenge_in_renewal": True},
            pipeline='[signer]\nuse = "existing"\ncertificate = "birth.crt"',
            expected=issued(),
        )
    )
    maker = Authority.create(now=NOW - timedelta(days=1), key="ec-p256")
    csr = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(bench.key, hashes.SHA256())
    birth = maker.issue(csr, now=NOW)
    (bench.folder / "birth.crt").write_bytes(birth.public_bytes(Encoding.PEM))
    ran = bench.run()
    assert ran.code == 0, ran.said
    sent = [(request.message_type, request.certificates) for request in bench.responder.requests]
    assert sent == [(MessageType.RENEWAL_REQ, (birth,)), (MessageType.PKCS_REQ, (birth,))]
    assert bench.certificate.issuer == bench.responder.authority.certificate.subject


def test_a_certificate_of_another_ca_may_renew_where_the_ca_knows_it(bench_of):
    """The RenewalReq is what is tried first; a CA that takes it issues, and no challenge is spent (C-024)."""
    bench = bench_of(
        Row(
            items=(),
            behave=(),
            knobs={"challenge": SECRET},
            csr={"challenge": None},
            pipeline='[signer]\nuse = "existing"\ncertificate = "birth.crt"',
            expected=issued(),
        )
    )
    maker = Authority.create(now=NOW - timedelta(days=1), key="ec-p256")
    printable = x509.NameAttribute(
        x509.NameOID.COMMON_NAME, "gw1.example.com", _type=_ASN1Type.PrintableString
    )
    csr = x509.CertificateSigningRequestBuilder(x509.Name([printable])).sign(bench.key, hashes.SHA256())
    birth = maker.issue(csr, now=NOW)
    (bench.folder / "birth.crt").write_bytes(birth.public_bytes(Encoding.PEM))
    denied = bench.run()
    assert denied.code == 72
    assert "not issued by this CA" in denied.said or "a challenge password is required" in denied.said
    bench.responder.authority.records.add(birth)  # its operator lets the maker's certificates in
    ran = bench.run(again=True)
    assert ran.code == 0, ran.said
    assert bench.sent["message"] == "RenewalReq"
    assert bench.certificate.issuer == bench.responder.authority.certificate.subject


def test_a_renewal_proves_that_it_has_both_keys(bench_of):
    """The message is signed with the old one, the request inside with the new one; SCEP has no more to prove it by (S-091)."""
    bench = bench_of(Row(items=(), behave=(), expected=issued()))
    pipeline = bench.folder / "gw1.toml"
    pipeline.write_text(pipeline.read_text().replace('use = "file"\npath = "device.key"', 'use = "generate"'))
    assert bench.run().code == 0
    assert bench.run(renew=True).code == 0
    renewal = bench.responder.requests[-1]
    csr = asked(bench, renewal)
    assert renewal.verified
    assert csr.is_signature_valid
    assert csr.public_key() != renewal.certificate.public_key()


def test_the_ca_is_found_by_its_name_as_well_as_by_its_address(bench_of):
    """C-001."""
    bench = bench_of(Row(items=(), behave=(), expected=issued()))
    pipeline = bench.folder / "gw1.toml"
    text = pipeline.read_text()
    assert "//127.0.0.1:" in text
    pipeline.write_text(text.replace("//127.0.0.1:", "//localhost:"))
    assert bench.run().code == 0
    assert len(bench.responder.requests) == 1


def test_the_request_asks_for_what_the_pipeline_says(run):
    """C-032, C-034."""
    bench = run(csr={"san": ["dns:gw1.example.com", "ip:192.0.2.7"], "extended_key_usage": ["serverAuth"]})
    csr = asked(bench, bench.responder.requests[0])
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == "CN=gw1.example.com"
    for holder in (csr, bench.certificate):
        names = holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["gw1.example.com"]
        assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["192.0.2.7"]


def test_a_challenge_is_in_the_request_and_nowhere_else(run):
    """Encrypted on the way (C-029, C-032)."""
    bench = run(knobs={"challenge": SECRET})
    (request,) = bench.responder.requests
    csr = asked(bench, request)
    assert challenge(csr) == SECRET.encode()
    assert SECRET.encode() not in request.certificate.public_bytes(Encoding.DER)
    assert SECRET.encode() not in request.envelope.encrypted


def test_all_messages_of_a_transaction_have_its_id_and_a_nonce_of_their_own(run):
    """One id, one signer, one recipient; 16 bytes that never come again (C-051, C-056, C-110, C-114)."""
    bench = run(knobs={"pending": 3})
    assert bench.run(renew=True).code == 0
    requests = list(bench.responder.requests)
    first, second = requests[:4], requests[4:]
    assert [request.message_type for request in first] == [MessageType.PKCS_REQ] + [MessageType.CERT_POLL] * 3
    for messages in (first, second):
        assert len({request.transaction_id for request in messages}) == 1
        assert len({request.certificate for request in messages}) == 1
        assert re.fullmatch("[0-9a-f]{32}", messages[0].transaction_id)
    assert first[0].transaction_id != second[0].transaction_id
    nonces = [request.sender_nonce for request in requests]
    assert len(set(nonces)) == len(nonces)
    assert {len(nonce) for nonce in nonces} == {16}


def test_a_poll_names_issuer_and_subject_byte_for_byte(run):
    """As the CA's certificate and the request have them, whatever types their strings are of (C-111, Q-117)."""
    bench = run(knobs={"pending": 1})
    request, poll = bench.responder.requests
    names = asn1.decode(asn1.IssuerAndSubject, content(bench, poll), "IssuerAndSubject")
    assert asn1.encode(names.issuer) == asn1.certificate_names(bench.responder.authority.certificate)[2]
    assert asn1.encode(names.subject) == asn1.csr_subject(asked(bench, request))


@pytest.mark.parametrize(("ra", "enciphers"), [(False, True), (True, False)])
def test_the_ca_certificate_may_do_what_the_rfc_wants(authority_of, ra, enciphers):
    """The test CA's: it signs and enciphers, unless an RA does that for it (C-010)."""
    certificate = authority_of({"ra": ra}).certificate
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert usage.key_encipherment is enciphers
