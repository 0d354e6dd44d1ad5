"""Appendix C.1 to C.8 of sscep's reference: what the real program computed and sent, row by row, and what is right where it was wrong."""

from __future__ import annotations

import base64
import re
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import CA_USAGE, certify
from reference_fixtures import (
    LONG_AGO,
    message_of,
    new_key,
    query_of,
)
from replies import issuer_and_serial

from scepflow.engine import asn1
from scepflow.engine.algorithms import Digest
from scepflow.engine.enrollment import key_transaction_id
from scepflow.engine.identity import SigningIdentity
from scepflow.sscep.wire import SteadySigner
from scepflow.stages import Run
from scepflow.testca import Authority
from scepflow.testca.authority import RaPair
from scepflow_bundled.signers import SelfSignedSigner

# -- C.1 transaction id and serial number

CSR = b"""\
-----BEGIN CERTIFICATE REQUEST-----
MIIBnzCCAQgCAQAwGTEXMBUGA1UEAwwOZ3cuZXhhbXBsZS5jb20wgZ8wDQYJKoZI
hvcNAQEBBQADgY0AMIGJAoGBAMfnQv1Bi4VVBn3AWGOTd30r8xJM3O2+JOel/X/S
i48Mb6YABR7jp+f+UYc5VSjszRC+PKboV7B/z3He0eFDSfc8sJlZ3PVszVzN61Yt
TfW1fIwr3+30we/e5S3LGQWbZxOPh/kOaWcwKcKSDVKoxmK/c1BFo0APJ8uCJQE6
0yorAgMBAAGgRjAVBgkqhkiG9w0BCQcxCAwGc2VjcmV0MC0GCSqGSIb3DQEJDjEg
MB4wHAYDVR0RAQH/BBIwEIIOZ3cuZXhhbXBsZS5jb20wDQYJKoZIhvcNAQELBQAD
gYEArXaiLumW8xDdPeL47PbTluibE0NQi9egV2b+Y41GaALCcgemw7rrraHQMcvN
SfXZXyZwA7d1aeg5nrKjOOcAyVLY9SK6YfzPps5vybyR1yCACctdO1dpxPBIyFfF
TWR8gJBmsSYcbkEudIfgjTpAV0AxK20ho0LLILOx1dhPG54=
-----END CERTIFICATE REQUEST-----
"""
TRANSACTION_ID = "97CCDD49F8318691928A4113B43A5CE9"


def test_the_transaction_id_is_the_digest_of_the_request_s_key():
    assert key_transaction_id(x509.load_pem_x509_csr(CSR)) == TRANSACTION_ID


def test_the_signer_s_serial_number_is_made_of_the_transaction_id():
    """The 32 bytes of text in sscep's are more than the 20 of RFC 5280; the id's own 16 are as steady, and never zero."""
    ready = []
    signer = SteadySigner(inner=SelfSignedSigner(), serial=bytes.fromhex(TRANSACTION_ID), ready=ready.append)
    run = Run(
        pipeline="sscep",
        directory=None,
        now=lambda: LONG_AGO,
        random_bytes=lambda count: b"R" * count,
        emit=lambda _event: None,
        renewal=False,
    )
    csr = x509.load_pem_x509_csr(CSR)
    identity = signer.identity(new_key(), csr, run)
    assert ready == [identity.certificate]
    assert f"{identity.certificate.serial_number:X}" == TRANSACTION_ID
    assert identity.certificate.subject == identity.certificate.issuer == csr.subject


def test_the_signer_is_the_same_for_the_same_key_and_outlives_a_decision_of_months(script):
    """The real one meant a year, in which a CA may still decide, and made it six days."""
    made = []
    for _ in range(2):
        assert script.enroll("-L", "self.crt", "-n", "0").code == 0
        made.append(script.certificate("self.crt"))
    first, second = made
    transaction_id = script.ca.responder.requests[-1].transaction_id
    assert first.serial_number == second.serial_number == int(transaction_id, 16) | 1
    assert first.public_key() == second.public_key()
    assert first.not_valid_after_utc - first.not_valid_before_utc == timedelta(days=366)
    assert script.ca.responder.requests[-1].certificates == (second,)


@pytest.mark.parametrize(
    "digest",
    [Digest.SHA224, Digest.SHA256, Digest.SHA384, Digest.SHA512],
)
def test_the_signer_s_certificate_is_signed_with_the_digest_of_big_s(digest, script):
    assert script.enroll("-L", "self.crt", "-S", digest.value.replace("-", "")).code == 0
    assert script.certificate("self.crt").signature_hash_algorithm.name == digest.value.replace("-", "")


# -- C.2 capabilities → algorithms

SCEPSERVER = "Renewal SHA-1 SHA-256 AES DES3 SCEPStandard POSTPKIOperation"


@pytest.mark.parametrize(
    ("capabilities", "digest", "cipher", "method", "bitmask"),
    [
        ("", "sha-1", "3des-cbc", "GET", "0x0000"),  # sscep: MD5 and DES, only for who types them
        ("SHA-1", "sha-1", "3des-cbc", "GET", "0x0020"),  # sscep: DES
        ("SHA-1 SHA-256 DES3", "sha-256", "3des-cbc", "GET", "0x00a2"),
        ("SCEPStandard", "sha-256", "aes-128-cbc", "POST", "0x0400"),
        ("SHA-512 SHA-256 AES", "sha-512", "aes-128-cbc", "GET", "0x0281"),
        ("SHA-384 AES", "sha-384", "aes-128-cbc", "GET", "0x0101"),
        ("AES SHA-224", "sha-224", "aes-128-cbc", "GET", "0x0041"),
        (SCEPSERVER, "sha-256", "aes-128-cbc", "POST", "0x04bb"),
    ],
)
def test_the_message_is_made_by_what_the_ca_offers(
    capabilities, digest, cipher, method, bitmask, start, plain_authority
):
    script = start(plain_authority, capabilities=capabilities.replace(" ", "\n"))
    script.write("ca.crt", plain_authority.ca.certificate)
    said = script.enroll("-d")
    assert said.code == 0
    assert f"sscep: scep caps bitmask: {bitmask}\n" in said.out
    (request,) = script.ca.responder.requests
    assert (request.digest.value, request.envelope.cipher.value) == (digest, cipher)
    assert script.ca.seen[-1].method == method


# -- C.3 spellings of -E

OIDS = {
    "des-cbc": "1.3.14.3.2.7",
    "3des": "1.2.840.113549.3.7",
    "blowfish": "1.3.6.1.4.1.3029.1.2",
    "aes128": "2.16.840.1.101.3.4.1.2",
    "aes192": "2.16.840.1.101.3.4.1.22",
    "aes256": "2.16.840.1.101.3.4.1.42",
}


@pytest.mark.parametrize(
    ("spelling", "cipher"),
    [
        ("des", "des-cbc"),
        ("des3", "des-cbc"),
        ("3des", "3des"),
        ("blowfish", "blowfish"),
        ("aes", "aes128"),
        ("aes128", "aes128"),
        ("aes-256-cbc", "aes128"),
        ("aes192", "aes192"),
        ("aes256", "aes256"),
    ],
)
def test_the_envelope_has_the_cipher_that_sscep_reads_in_the_spelling(spelling, cipher, script):
    said = script.enroll("-E", spelling)
    assert said.code == 0
    body = script.ca.seen[-1].body
    found = [name for name, oid in OIDS.items() if asn1.encode(x509.ObjectIdentifier(oid)) in body]
    assert found == [cipher]
    misleading = spelling in ("des3", "aes-256-cbc")
    assert (f"-E {spelling} means " in said.err) == misleading, "a spelling that means something else is told"


# -- C.4 automatic choice of certificates


@pytest.fixture(scope="module")
def chain():
    """The reference's four certificates: RA Sign, RA Enc, Sub CA and Root, with their keys."""
    valid = {"begins": LONG_AGO, "ends": LONG_AGO + timedelta(days=3650), "key_identifier": b"K" * 20}

    def made(subject, issuer=None, **how):
        key = new_key()
        return SigningIdentity(certify(subject, key, issuer=issuer, **valid, **how), key)

    root = made("Root", ca=True, usage=CA_USAGE)
    sub = made("Sub CA", root, ca=True, usage=CA_USAGE)
    sign = made("RA Sign", sub, ca=False, usage="digital_signature")
    return sign, made("RA Enc", sub, ca=False, usage="key_encipherment"), sub, root


@pytest.fixture
def chosen(start, chain):
    """A client that has the four in numbered files; Sub CA issues through the RA."""
    sign, encryption, sub, _ = chain
    script = start(Authority(sub, ra=RaPair(signing=sign, encryption=encryption)))
    for number, identity in enumerate(chain):
        script.write(f"ca.crt-{number}", identity.certificate)
    return script


def received_by(request, identity):
    """Tell whether a request is encrypted for an identity, and for no other."""
    (recipient,) = request.envelope.recipients
    return issuer_and_serial(identity.certificate) in asn1.encode(recipient)


@pytest.mark.parametrize("more", [(), ("-e", "ca.crt-1")], ids=["guessed", "named"])
def test_of_four_files_one_verifies_and_another_receives(more, chosen, chain):
    """What was encrypted for another one would be refused, and what another one signed as well."""
    said = chosen.enroll("-v", *more)
    assert said.code == 0
    assert "sscep: using RA certificate: /CN=RA Sign\n" in said.out
    (request,) = chosen.ca.responder.requests
    assert received_by(request, chain[1])
    assert chosen.certificate("local.crt").issuer == chain[2].certificate.subject


def test_e_is_honoured_beside_numbered_files(chosen, chain):
    """The real one ignored it there."""
    assert chosen.enroll("-e", "ca.crt-2").code == 71
    assert received_by(chosen.ca.responder.requests[0], chain[2])


def asked_about(script):
    """Return issuer and serial number in the question, the issuer as it is written."""
    (content,) = script.ca.contents()
    asked = asn1.decode(asn1.IssuerAndSerialNumber, content, "IssuerAndSerialNumber")
    return asn1.encode(asked.issuer), asked.serial_number


@pytest.mark.parametrize("issuer", ["Sub CA", "Root"])
def test_getcrl_names_the_certificate_that_the_crl_shall_cover(issuer, chosen, chain, device_key):
    """RFC 8894 §3.3.4; sscep named the issuer's own certificate, and so asked for the CRL above it."""
    by = {identity.certificate.subject: identity for identity in chain}
    found = next(identity for name, identity in by.items() if name.rfc4514_string() == f"CN={issuer}")
    valid = {"begins": LONG_AGO, "ends": LONG_AGO + timedelta(days=30)}
    own = certify("gw", device_key, issuer=found, ca=False, **valid)
    chosen.write("local.crt", own)
    said = chosen.ask("getcrl")
    assert asked_about(chosen) == (found.certificate.subject.public_bytes(), own.serial_number)
    assert said.code == (0 if issuer == "Sub CA" else 74), "the test CA has no CRL but its own"


def test_getcert_names_the_ca_and_not_its_ra(chosen, chain):
    """The real one named the RA, unless -O said better."""
    own = chosen.enrolled()
    assert chosen.ask("getcert").code == 0
    expected = (chain[2].certificate.subject.public_bytes(), own.serial_number)
    assert asked_about(chosen) == expected
    chosen.ca.forget()
    assert chosen.ask("getcert", "-O", "ca.crt-2").code == 0
    assert asked_about(chosen) == expected


# -- C.5 what is in a GetCertInitial


def test_a_poll_names_ca_and_subject_byte_for_byte(start):
    name = x509.Name.from_rfc4514_string("CN=Mock Root CA,O=ACME")
    key = new_key()
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, LONG_AGO, LONG_AGO + timedelta(3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier(b"K" * 20), critical=False)
    ca = SigningIdentity(builder.sign(key, Digest.SHA256.hash()), key)
    script = start(Authority(ca), pending=1)
    script.write("ca.crt", ca.certificate)
    assert script.enroll("-t", "0", "-n", "1").code == 0
    content = script.ca.contents()[1]
    subject = x509.load_pem_x509_csr((script.folder / "local.csr").read_bytes()).subject
    assert content == b"\x30\x43" + name.public_bytes() + subject.public_bytes()
    assert (content[3], content[43]) == (38, 25)


# -- C.6 escaping


@pytest.mark.parametrize("proxied", [False, True])
def test_an_identifier_arrives_as_it_was_typed(proxied, script):
    """The real one sent blanks, ``&`` and ``%`` as they were, which broke the request line or the query."""
    identifier = "My CA+x-y=z&a b/%"
    way = ["-u", script.url]
    if proxied:
        way = ["-u", "http://pki.example.com/scep", "-p", script.url.split("/")[2]]
    said = script("getca", "-c", "new.crt", *way, "-i", identifier, "-M", "a=1", "-M", "b=2")
    assert said.code == 0
    capabilities, request = script.ca.seen
    assert query_of(capabilities.url) == {"operation": "GetCACaps"}
    assert query_of(request.url) == {"operation": "GetCACert", "message": identifier, "a": "1", "b": "2"}
    assert "message=My%20CA%2Bx-y%3Dz%26a%20b%2F%25" in request.url
    assert request.url.endswith(query := request.url.partition("?")[2])
    assert re.fullmatch(r"[!-~]+", query), "nothing that no address may have"
    assert ("http://pki.example.com/scep?" in request.url) == proxied


@pytest.mark.parametrize(
    ("more", "message"),
    [((), "CAIdentifier"), (("-i", ""), None), (("-i", "+"), "+"), (("-i", "-----"), "-----")],
)
def test_an_identifier_is_neither_cut_nor_invented(more, message, script):
    """The real one cut what needed much escaping; its default stays."""
    assert script("getca", "-c", "new.crt", "-u", script.url, *more).code == 0
    assert query_of(script.ca.seen[-1].url).get("message") == message


# -- C.7 a message in an address


def test_a_message_by_get_is_plain_base64(start, plain_authority):
    """RFC 8894 §4.1 has no line ends in it; sscep sent one after each 64 characters."""
    script = start(plain_authority, capabilities="AES\nSHA-256\n")
    script.write("ca.crt", plain_authority.ca.certificate)
    assert script.enroll("-M", "a=1").code == 0
    sent = script.ca.seen[-1]
    assert (sent.method, sent.body) == ("GET", b"")
    assert query_of(sent.url) | {"message": ""} == {"operation": "PKIOperation", "message": "", "a": "1"}
    written = re.search(r"message=([^&]*)", sent.url)[1]
    assert re.fullmatch(r"(?:[A-Za-z0-9]|%2B|%2F|%3D)+", written)
    message = message_of(sent)
    assert query_of(sent.url)["message"] == base64.b64encode(message).decode()
    assert len(message) > 64
    assert message[:2] == b"\x30\x82", "one DER value"
    assert int.from_bytes(message[2:4], "big") == len(message) - 4


def test_get_and_post_carry_the_same_kind_of_message(start, plain_authority):
    seen = []
    for capabilities in ("AES\nSHA-256\n", "AES\nSHA-256\nPOSTPKIOperation\n"):
        script = start(plain_authority, capabilities=capabilities)
        script.write("ca.crt", plain_authority.ca.certificate)
        assert script.enroll().code == 0
        (request,) = script.ca.responder.requests
        seen.append((request.message_type, request.transaction_id, request.digest, request.envelope.cipher))
        assert script.ca.contents() == [x509_request_der(script)]
    assert seen[0] == seen[1]


def x509_request_der(script):
    csr = x509.load_pem_x509_csr((script.folder / "local.csr").read_bytes())
    return csr.public_bytes(Encoding.DER)


# -- C.8 poll arithmetic


@pytest.mark.parametrize(
    ("words", "types", "slept_s"),
    [
        ("-t 1 -n 2", [19, 20, 20], [1, 1]),
        ("-t 1 -T 2", [19, 20], [1]),
        ("-t 1 -T 1", [19], []),
        ("-n 0", [19], []),
        ("-t 0 -n 3", [19, 20, 20, 20], [0, 0, 0]),
        ("-R -t 1 -T 3", [20, 20], [1]),
        ("-R -n 1", [20], []),
        ("-R -n 2", [20, 20], [300]),
    ],
)
def test_a_pending_request_is_polled_as_often_as_sscep_polls(words, types, slept_s, start, plain_authority):
    script = start(plain_authority, pending=99)
    script.write("ca.crt", plain_authority.ca.certificate)
    if "-R" in words:
        assert script.enroll("-n", "0").code == 3
        script.ca.forget()
    said = script.enroll(*words.split())
    assert (said.code, said.err) == (3, "")
    assert script.ca.types == types
    assert script.slept_s == slept_s
    assert re.findall(r"requesting certificate \(#(\d+)\)", said.out) == [
        str(number + 1) for number in range(types.count(20))
    ]
    assert said.out.count("sscep: pkistatus: PENDING\n") == len(types)
    assert not script.has("local.crt")


def test_resuming_without_a_poll_sends_nothing(script):
    assert script.enroll("-R", "-n", "0") == (0, "", "")
    assert script.ca.operations == ["GetCACaps"]


@pytest.mark.parametrize(("operation", "message_type"), [("getcert", 21), ("getcrl", 22)])
def test_a_pending_question_is_not_polled_for(operation, message_type, script):
    script.enrolled()
    script.ca.alter(lambda reply: reply.but(status="3", content=None))
    said = script.ask(operation)
    assert said.code == 3
    assert script.ca.types == [message_type]
    assert said.out.endswith("sscep: pkistatus: PENDING\n")
    assert script.slept_s == []


def test_every_poll_is_a_message_of_its_own(start, plain_authority):
    """A new nonce, envelope and signature; the same transaction and signer."""
    script = start(plain_authority, pending=2)
    script.write("ca.crt", plain_authority.ca.certificate)
    assert script.enroll("-t", "0").code == 0
    requests = script.ca.responder.requests
    assert len({request.sender_nonce for request in requests}) == 3
    assert {len(request.sender_nonce) for request in requests} == {16}
    assert len({request.transaction_id for request in requests}) == 1
    assert len({request.certificates for request in requests}) == 1
