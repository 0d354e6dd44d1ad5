from __future__ import annotations

import base64
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import AttributeOID

from scepflow.engine import asn1, cms, envelopes, oids, queries, trust
from scepflow.engine.algorithms import Choice, Cipher, Digest
from scepflow.engine.channel import Channel, Message
from scepflow.engine.enrollment import Enrollment, Issued, Pending, Rejected
from scepflow.engine.exchange import HttpRequest
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import FailInfo, MessageType, PkiStatus, SignedAttributes, parse_request
from scepflow.errors import RejectedError, TrustError
from scepflow.testca.authority import Authority
from scepflow.testca.behaviour import WireResponse, replying
from scepflow.testca.behaviours import behaviours
from scepflow.testca.certificates import LEAF, build_certificate
from scepflow.testca.knobs import CAPABILITIES, Knobs
from scepflow.testca.responder import Responder

URL = "http://ca.example/scep"
# Too short to protect anything, and nobody's.
RSA_512 = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAMRLzyeTm/J9VefHz0E99F2cTG+lymVzYCRP1QdRuLHCVjgMGd9U
sP+S52FQg73Sdr0ItqilmrPlAUYWVTtVfe0CAwEAAQJAIk3RROxR2321zoynlpI6
K0XOQdCqXzJbgd0FsILCkSXDjb6gTGASYwvPB6XbF2sMgogh8W9ui25ZqeG1vdca
LQIhAPJ8IQbyoRcwSGyGZ4OCWkXUoYGhHMDmeI7WXawXRkEPAiEAzzykA+dlVCKd
myqNvhu56H75yEun4EmjJAq/fI7oGUMCICpk7VlLnkJxnJfsv7hMWAARdtM1GdPX
94fxjpsBzrSdAiEApTfqZzZfIZGrZ16ovKzsLYC18Urn3ze1+fEbstlYD3MCIEDG
qQW87R4Xt0W5Cnk3RpDUnupuw0v13ucc4DBnWdry
-----END RSA PRIVATE KEY-----
"""


def make_csr(key, subject="CN=client", *, challenge=None, extensions=()):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@dataclass
class Client:
    """A client of one responder, made of the engine."""

    responder: Responder
    now: object
    identity: SigningIdentity
    cipher: Cipher = Cipher.AES128
    digest: Digest = Digest.SHA256
    method: str = "POST"

    def channel(self, **changes):
        authority = self.responder.authority
        bundle = trust.authenticate(authority.bundle(), anchors=[authority.certificate], now=self.now)
        known = {
            "url": URL,
            "bundle": bundle,
            "identity": self.identity,
            "choice": Choice(digest=self.digest, cipher=self.cipher, method=self.method),
            "random_bytes": os.urandom,
            "password_envelope": True,
        }
        return Channel(**{**known, **changes})

    def start(self, csr, transaction_id="T1", message_type=MessageType.PKCS_REQ):
        return Enrollment(self.channel(), csr, transaction_id=transaction_id, message_type=message_type)

    def exchange(self, enrollment):
        request = enrollment.next_request(now=self.now, sender_nonce=os.urandom(16))
        return enrollment.receive(self.responder.handle(request), now=self.now)

    def enroll(self, csr, **options):
        return self.exchange(self.start(csr, **options))

    def send(self, message_type, content, transaction_id="T1", *, sender_nonce=None, **channel):
        """Send any message; return pki_status, fail_info and text of the reply, which answers its nonce."""
        nonce = sender_nonce or os.urandom(16)
        message = Message(type=message_type, transaction_id=transaction_id, sender_nonce=nonce)
        way = self.channel(**channel)
        reply, _ = way.reply(message, self.responder.handle(way.request(message, content, now=self.now)))
        return reply.pki_status, reply.fail_info, reply.fail_info_text


def self_signed(key, now, subject="CN=client"):
    certificate = build_certificate(
        subject=x509.Name.from_rfc4514_string(subject),
        public_key=key.public_key(),
        issuer=None,
        issuer_key=key,
        serial=1,
        valid=(now, now + timedelta(days=1)),
        extensions=[LEAF],
    )
    return SigningIdentity(certificate, key)


@pytest.fixture(scope="session")
def identity(client_key, now):
    return self_signed(client_key, now)


@pytest.fixture
def connect(authority, identity, now):
    """Make a client of a new responder from knobs."""

    def connect(ca=authority, as_identity=identity, **knobs):
        return Client(Responder(ca, Knobs(**knobs), now=lambda: now), now, as_identity)

    return connect


def get(responder, query):
    return responder.handle(
        HttpRequest(method="GET", operation="", url=f"{URL}?{query}", max_response_bytes=1)
    )


def post(responder, body, **headers):
    return responder.handle(
        HttpRequest(
            method="POST",
            operation="PKIOperation",
            url=f"{URL}?operation=PKIOperation",
            headers={"content-type": "application/x-pki-message", **headers},
            body=body,
            max_response_bytes=1,
        )
    )


def captured(client, csr):
    """Return the body of a first request."""
    return client.start(csr).next_request(now=client.now, sender_nonce=b"n" * 16).body


# GetCA*


def test_capabilities_are_sent_as_they_stand(connect):
    plain = get(connect().responder, "operation=GetCACaps")
    assert (plain.body, plain.content_type) == (CAPABILITIES.encode(), "text/plain")
    assert get(connect(capabilities="AES\r\nFoo").responder, "operation=GetCACaps").body == b"AES\r\nFoo"


def test_the_default_capabilities_are_those_of_the_rfc():
    keywords = set(CAPABILITIES.split())
    assert {"AES", "POSTPKIOperation", "Renewal", "SHA-256", "SCEPStandard", "GetNextCACert"} <= keywords


def test_a_ca_alone_is_one_certificate_and_a_ca_with_ra_is_a_bundle(connect, ra_authority, authority):
    alone = get(connect().responder, "operation=GetCACert&message=anything")
    assert alone.content_type == "application/x-x509-ca-cert"
    assert alone.body == authority.certificate.public_bytes(Encoding.DER)
    with_ra = get(connect(ra_authority).responder, "operation=GetCACert")
    assert with_ra.content_type == "application/x-x509-ca-ra-cert"
    assert set(queries.parse_ca_cert(with_ra)) == set(ra_authority.bundle())


def test_the_next_ca_is_signed_by_the_current_one(connect, ra_authority):
    client = connect(ra_authority)
    response = get(client.responder, "operation=GetNextCACert")
    assert response.content_type == "application/x-x509-next-ca-cert"
    following = queries.parse_next_ca(response, bundle=client.channel().bundle)
    assert following.value.certificates == ra_authority.next_ca(client.now).bundle()
    signed = cms.parse_signed_data(response.body)
    assert cms.verify_signature(signed.signers[0], ra_authority.certificate)


@pytest.mark.parametrize("query", ["operation=Foo", "", "operation=getcacaps"])
def test_unknown_operations_are_not_found(connect, query):
    assert get(connect().responder, query).status == 404


def test_get_ca_operations_are_get_only(connect):
    request = HttpRequest(
        method="POST", operation="GetCACaps", url=f"{URL}?operation=GetCACaps", max_response_bytes=1
    )
    assert connect().responder.handle(request).status == 405


# Enrollment


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_is_answered_with_a_certificate_for_its_key(connect, client_key, authority, method):
    client = replace(connect(), method=method)
    outcome = client.enroll(make_csr(client_key))
    assert isinstance(outcome, Issued)
    assert outcome.certificate.public_key() == client_key.public_key()
    assert outcome.chain == (authority.certificate,)
    assert client.responder.issued == [("T1", outcome.certificate)]


def test_an_ra_answers_with_two_certificates(connect, ra_authority, client_key):
    client = connect(ra_authority)
    bundle = client.channel().bundle
    assert bundle.recipient == ra_authority.encryption.certificate
    assert ra_authority.signing.certificate in bundle.signers
    assert isinstance(client.enroll(make_csr(client_key)), Issued)


def test_the_lifetime_is_a_knob(connect, client_key):
    outcome = connect(days=2).enroll(make_csr(client_key))
    assert outcome.certificate.not_valid_after_utc == connect().now + timedelta(days=2)


def reply_algorithms(client, csr):
    request = client.start(csr).next_request(now=client.now, sender_nonce=b"n" * 16)
    signed = cms.parse_signed_data(client.responder.handle(request).body)
    return signed.signers[0].digest, envelopes.parse_envelope(signed.content).cipher


def test_a_reply_uses_the_algorithms_of_its_request_unless_told_otherwise(connect, client_key):
    csr = make_csr(client_key)
    mirroring = replace(connect(), cipher=Cipher.DES3, digest=Digest.SHA512)
    assert reply_algorithms(mirroring, csr) == (Digest.SHA512, Cipher.DES3)
    fixed = connect(content_cipher=Cipher.DES, digest=Digest.SHA1)
    assert reply_algorithms(fixed, csr) == (Digest.SHA1, Cipher.DES)


def test_a_reply_carries_the_attributes_of_the_rfc(connect, client_key):
    client = connect(reject=FailInfo.BAD_TIME, reject_text="nein")
    signed = cms.parse_signed_data(post(client.responder, captured(client, make_csr(client_key))).body)
    attributes = SignedAttributes(signed.signers[0])
    assert attributes.octets(oids.RECIPIENT_NONCE) == b"n" * 16
    assert len(attributes.octets(oids.SENDER_NONCE)) == 16
    texts = [
        attributes.text(o) for o in (oids.MESSAGE_TYPE, oids.PKI_STATUS, oids.FAIL_INFO, oids.FAIL_INFO_TEXT)
    ]
    assert texts == ["3", "2", "3", "nein"]


@pytest.mark.parametrize("nonce", [b"8 bytes.", b"n" * 20])
def test_a_nonce_of_any_length_comes_back_whole(connect, client_key, nonce):
    """Apple's have 8 bytes (Q-075), cryptlib's may have more than 16 (C-057)."""
    csr_der = make_csr(client_key).public_bytes(Encoding.DER)
    assert connect().send(MessageType.PKCS_REQ, csr_der, sender_nonce=nonce)[0] == PkiStatus.SUCCESS


@pytest.mark.parametrize("knobs", [{"pending": 1}, {"reject": FailInfo.BAD_REQUEST}])
def test_failure_and_pending_leave_the_envelope_out(connect, client_key, knobs):
    """The content is absent, not empty (C-042, C-065)."""
    client = connect(**knobs)
    body = post(client.responder, captured(client, make_csr(client_key))).body
    assert cms.parse_signed_data(body).content is None
    assert bytes.fromhex("300b06092a864886f70d010701") in body


def test_success_carries_a_degenerate_signed_data(connect, client_key, identity):
    """No signers, no content, the issued certificate alone (C-062, C-063)."""
    client = connect()
    body = post(client.responder, captured(client, make_csr(client_key))).body
    envelope = envelopes.parse_envelope(cms.parse_signed_data(body).content)
    inner = cms.parse_signed_data(envelopes.open_envelope(envelope, identity))
    assert (inner.signers, inner.content) == ((), None)
    assert inner.certificates() == (client.responder.issued[0][1],)


# Who may enroll


@pytest.mark.parametrize(
    ("brought", "text"), [(None, "required"), ("", "required"), ("wrong", "wrong"), ("secret2", "wrong")]
)
def test_without_the_challenge_nobody_gets_a_certificate(connect, client_key, brought, text):
    """A self-signed certificate alone authenticates no one (C-031)."""
    client = connect(challenge="secret")
    outcome = client.enroll(make_csr(client_key, challenge=brought))
    assert isinstance(outcome, Rejected)
    assert outcome.fail_info == FailInfo.BAD_REQUEST
    assert text in outcome.fail_info_text
    assert "secret" not in outcome.fail_info_text.replace("secret2", "")
    assert not client.responder.issued


def test_with_the_challenge_a_certificate_is_issued_as_often_as_wanted(connect, client_key):
    client = connect(challenge="sécret")
    for transaction_id in ("T1", "T2"):
        outcome = client.enroll(make_csr(client_key, challenge="sécret"), transaction_id=transaction_id)
        assert isinstance(outcome, Issued)


def test_a_one_time_challenge_is_good_for_one_enrollment_and_its_repetition(connect, client_key):
    client = connect(challenge="secret", one_time_challenge=True)
    csr = make_csr(client_key, challenge="secret")
    first = client.enroll(csr)
    assert client.enroll(csr).certificate == first.certificate
    again = client.enroll(csr, transaction_id="T2")
    assert isinstance(again, Rejected)
    assert "used before" in again.fail_info_text


def test_a_request_signed_with_another_key_than_its_csrs_is_refused(connect, other_key):
    outcome = connect().enroll(make_csr(other_key))
    assert isinstance(outcome, Rejected)
    assert "another key" in outcome.fail_info_text


def test_an_rsa_key_may_bring_an_ec_key_unless_told_otherwise(connect, ec_key):
    issued = connect().enroll(make_csr(ec_key))
    assert isinstance(issued, Issued)
    assert issued.certificate.public_key() == ec_key.public_key()
    assert isinstance(connect(rsa_for_ec=False).enroll(make_csr(ec_key), transaction_id="T2"), Rejected)


def test_an_ec_signer_receives_under_the_challenge(connect, ec_key, now):
    """PasswordRecipientInfo in the reply (RFC 8894 §3.1); without a challenge nothing is issued."""
    csr = make_csr(ec_key, challenge="a challenge of some length")
    with_challenge = connect(as_identity=self_signed(ec_key, now), challenge="a challenge of some length")
    assert isinstance(with_challenge.enroll(csr), Issued)
    without = connect(as_identity=self_signed(ec_key, now))
    outcome = without.enroll(csr, transaction_id="T2")
    assert outcome.fail_info == FailInfo.BAD_ALG
    assert not without.responder.issued


def test_an_ec_ca_reads_requests_under_the_challenge(connect, client_key, now):
    client = connect(Authority.create(now=now, key="ec-p256"), challenge="a challenge of some length")
    outcome = client.enroll(make_csr(client_key, challenge="a challenge of some length"))
    assert isinstance(outcome, Issued)


# Renewal


@pytest.fixture
def renewing(connect, client_key):
    """A client that has a certificate of the CA and signs with it."""

    def renewing(**knobs):
        client = connect(**knobs)
        first = client.responder.authority.issue(make_csr(client_key), now=client.now)
        return replace(client, identity=SigningIdentity(first, client_key))

    return renewing


@pytest.mark.parametrize("message_type", [MessageType.RENEWAL_REQ, MessageType.PKCS_REQ])
def test_a_renewal_is_signed_with_the_old_certificate_and_needs_no_challenge(
    renewing, other_key, message_type
):
    """The reply opens with the old key, the new certificate is for the new one (C-027)."""
    client = renewing(challenge="secret")
    outcome = client.enroll(make_csr(other_key), message_type=message_type)
    assert isinstance(outcome, Issued)
    assert outcome.certificate.public_key() == other_key.public_key()


def test_a_renewal_signed_with_a_self_signed_certificate_is_refused(connect, client_key):
    client = connect()
    outcome = client.enroll(make_csr(client_key), message_type=MessageType.RENEWAL_REQ)
    assert "not issued by this CA" in outcome.fail_info_text
    assert not client.responder.issued


def test_a_renewal_with_a_revoked_certificate_is_refused(renewing, other_key):
    client = renewing()
    client.responder.authority.revoke(client.identity.certificate.serial_number, now=client.now)
    outcome = client.enroll(make_csr(other_key), message_type=MessageType.RENEWAL_REQ)
    assert "revoked" in outcome.fail_info_text


def test_a_renewal_cannot_take_another_subject(renewing, other_key):
    client = renewing()
    outcome = client.enroll(make_csr(other_key, "CN=admin"), message_type=MessageType.RENEWAL_REQ)
    assert "keeps its subject" in outcome.fail_info_text


# Pending, rejected, repeated


def test_a_pending_request_is_decided_at_the_last_poll(connect, client_key):
    client = connect(pending=3)
    enrollment = client.start(make_csr(client_key))
    outcomes = [client.exchange(enrollment) for _ in range(4)]
    assert [type(outcome) for outcome in outcomes] == [Pending, Pending, Pending, Issued]


def test_a_pending_request_can_end_in_a_rejection(connect, client_key):
    client = connect(pending=1, reject=FailInfo.BAD_CERT_ID, reject_text="not today")
    enrollment = client.start(make_csr(client_key))
    assert isinstance(client.exchange(enrollment), Pending)
    outcome = client.exchange(enrollment)
    assert (outcome.fail_info, outcome.fail_info_text) == (FailInfo.BAD_CERT_ID, "not today")


def test_a_poll_after_the_decision_gets_the_same_certificate(connect, client_key, authority):
    client = connect()
    csr = make_csr(client_key)
    client.enroll(csr)
    assert client.send(MessageType.CERT_POLL, names(authority, csr))[0] == PkiStatus.SUCCESS
    assert len(client.responder.issued) == 1


def test_a_repeated_request_does_not_count_as_a_poll(connect, client_key):
    client = connect(pending=1)
    csr = make_csr(client_key)
    assert isinstance(client.enroll(csr), Pending)
    assert isinstance(client.enroll(csr), Pending)


def test_a_transaction_outlives_the_responder(connect, client_key, identity, now, tmp_path):
    """The first process hears PENDING, the second gets the certificate."""
    connect(Authority.open(tmp_path, now=now), pending=1).enroll(make_csr(client_key))
    later = Client(Responder(Authority.load(tmp_path), Knobs(pending=1), now=lambda: now), now, identity)
    enrollment = later.start(make_csr(client_key))
    enrollment.next_request(now=now, sender_nonce=b"x" * 16)
    assert isinstance(later.exchange(enrollment), Issued)


def test_a_known_transaction_gets_the_same_result_again(connect, client_key):
    """C-133: same id, same CSR."""
    client = connect()
    csr = make_csr(client_key)
    assert client.enroll(csr).certificate == client.enroll(csr).certificate
    assert len(client.responder.issued) == 1


def test_a_known_transaction_takes_no_other_request(connect, client_key):
    """C-133: same id, other CSR."""
    client = connect()
    client.enroll(make_csr(client_key))
    outcome = client.enroll(make_csr(client_key, "CN=other"))
    assert outcome.fail_info == FailInfo.BAD_REQUEST
    assert "belongs to another request" in outcome.fail_info_text


def names(authority, csr, issuer=None):
    return asn1.wrap(
        0x30, (issuer or authority.certificate.subject.public_bytes()) + csr.subject.public_bytes()
    )


def test_a_poll_for_an_unknown_transaction_is_refused(connect, client_key, authority):
    """C-112."""
    status = connect().send(MessageType.CERT_POLL, names(authority, make_csr(client_key)))
    assert status == (PkiStatus.FAILURE, FailInfo.BAD_CERT_ID, "unknown transactionID")


def test_a_poll_by_someone_else_is_refused(connect, client_key, other_key, authority, now):
    client = connect(pending=1)
    csr = make_csr(client_key)
    client.enroll(csr)
    stranger = replace(client, identity=self_signed(other_key, now))
    status, fail_info, text = stranger.send(MessageType.CERT_POLL, names(authority, csr))
    assert (status, fail_info) == (PkiStatus.FAILURE, FailInfo.BAD_REQUEST)
    assert "another key" in text
    assert not client.responder.issued


def test_a_poll_must_name_issuer_and_subject_of_its_request(connect, client_key, authority):
    client = connect(pending=1)
    csr = make_csr(client_key)
    client.enroll(csr)
    wrong_subject = names(authority, make_csr(client_key, "CN=other"))
    wrong_issuer = names(authority, csr, csr.subject.public_bytes())
    for content in (wrong_subject, wrong_issuer):
        assert client.send(MessageType.CERT_POLL, content)[1] == FailInfo.BAD_CERT_ID
    assert not client.responder.issued


# Queries


def ask(client, build, parse, serial, **options):
    channel = client.channel()
    message, request = build(channel, serial, transaction_id="Q", sender_nonce=b"n" * 16, now=client.now)
    return parse(channel, message, client.responder.handle(request), **options).value


def test_get_cert_returns_an_issued_certificate_and_no_other(connect, client_key):
    client = connect()
    serial = client.enroll(make_csr(client_key)).certificate.serial_number
    found = ask(
        client,
        queries.certificate_request,
        queries.parse_certificate,
        serial,
        serial_number=serial,
        now=client.now,
    )
    assert found == client.responder.issued[0][1]
    with pytest.raises(RejectedError, match="badCertId"):
        ask(
            client, queries.certificate_request, queries.parse_certificate, 5, serial_number=5, now=client.now
        )


def test_get_crl_returns_the_crl_and_nothing_else(connect, client_key):
    """C-119."""
    client = connect()
    serial = client.enroll(make_csr(client_key)).certificate.serial_number
    client.responder.authority.revoke(serial, now=client.now)
    crl = ask(client, queries.crl_request, queries.parse_crl, serial, now=client.now)
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None


@pytest.mark.parametrize("message_type", [MessageType.GET_CERT, MessageType.GET_CRL])
def test_a_query_about_another_ca_is_refused(connect, client_key, message_type):
    content = asn1.wrap(0x30, make_csr(client_key).subject.public_bytes() + asn1.encode(1))
    assert connect().send(message_type, content)[1] == FailInfo.BAD_CERT_ID


# What a request must be


@pytest.mark.parametrize("message_type", [0, 1, 3, 18, 23, 99])
def test_undefined_message_types_are_refused(connect, client_key, message_type):
    """S-092: UpdateReq (18) bypassed authentication elsewhere."""
    client = connect()
    status, fail_info, text = client.send(message_type, make_csr(client_key).public_bytes(Encoding.DER))
    assert (status, fail_info) == (PkiStatus.FAILURE, FailInfo.BAD_REQUEST)
    assert "not defined" in text
    assert not client.responder.issued


def test_a_message_type_that_it_shall_not_know_is_refused_and_no_other(connect, client_key):
    client = connect(unknown=frozenset([MessageType.RENEWAL_REQ]))
    csr = make_csr(client_key).public_bytes(Encoding.DER)
    assert client.send(MessageType.RENEWAL_REQ, csr)[:2] == (PkiStatus.FAILURE, FailInfo.BAD_REQUEST)
    assert client.send(MessageType.PKCS_REQ, csr)[0] == PkiStatus.SUCCESS


def test_a_request_with_a_wrong_signature_is_refused(connect, client_key):
    client = connect()
    body = bytearray(captured(client, make_csr(client_key)))
    body[-1] ^= 1
    message = Message(type=MessageType.PKCS_REQ, transaction_id="T1", sender_nonce=b"n" * 16)
    reply, _ = client.channel().reply(message, post(client.responder, bytes(body)))
    assert (reply.pki_status, reply.fail_info) == (PkiStatus.FAILURE, FailInfo.BAD_MESSAGE_CHECK)
    assert not client.responder.issued


def test_a_csr_with_a_wrong_signature_is_refused(connect, client_key):
    der = bytearray(make_csr(client_key).public_bytes(Encoding.DER))
    der[-1] ^= 1
    client = connect()
    status = client.send(MessageType.PKCS_REQ, bytes(der))
    assert status == (PkiStatus.FAILURE, FailInfo.BAD_MESSAGE_CHECK, "the CSR's signature is wrong")
    assert not client.responder.issued


def test_what_is_no_csr_is_refused(connect, client_key):
    unreadable = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00")
    for content in (b"0\x00", make_csr(client_key, extensions=[unreadable]).public_bytes(Encoding.DER)):
        assert connect().send(MessageType.PKCS_REQ, content) == (
            PkiStatus.FAILURE,
            FailInfo.BAD_REQUEST,
            "not a certification request",
        )


def test_only_rsa_and_ec_keys_are_certified(connect):
    csr = make_csr(ed25519.Ed25519PrivateKey.generate())
    assert connect().send(MessageType.PKCS_REQ, csr.public_bytes(Encoding.DER))[1] == FailInfo.BAD_ALG


def test_a_poll_that_holds_something_else_is_refused(connect):
    assert connect().send(MessageType.CERT_POLL, b"\x04\x00")[1] == FailInfo.BAD_MESSAGE_CHECK


def test_a_request_encrypted_for_someone_else_is_refused(connect, client_key, ra_authority):
    client = connect()
    channel = client.channel()
    elsewhere = replace(channel.bundle, recipient=ra_authority.encryption.certificate)
    csr = make_csr(client_key).public_bytes(Encoding.DER)
    assert client.send(MessageType.PKCS_REQ, csr, bundle=elsewhere)[1] == FailInfo.BAD_MESSAGE_CHECK


def sign(envelope, identity, *more):
    """Return a request made by hand around an envelope, with more certificates than the signer's."""
    attributes = [
        cms.attribute(oids.MESSAGE_TYPE, asn1.encode(asn1.PrintableString("19"))),
        cms.attribute(oids.TRANSACTION_ID, asn1.encode(asn1.PrintableString("T2"))),
        cms.attribute(oids.SENDER_NONCE, asn1.encode(b"n" * 16)),
    ]
    return cms.build_signed_data(
        envelope,
        attributes=attributes,
        identity=identity,
        digest=Digest.SHA256,
        certificates=[identity.certificate, *more],
    )


@pytest.fixture
def envelope(authority):
    return envelopes.build_envelope(
        b"0\x00", recipient=authority.certificate, cipher=Cipher.AES128, random_bytes=os.urandom
    )


def test_all_certificates_of_a_request_are_recorded(connect, client_key, authority, identity, envelope):
    """More than one is a mistake that other servers punish (C-134, Q-025)."""
    client = connect()
    client.enroll(make_csr(client_key))
    post(client.responder, sign(envelope, identity, authority.certificate))
    assert [len(request.certificates) for request in client.responder.requests] == [1, 2]


# HTTP


def test_a_form_is_refused(connect, client_key):
    client = connect()
    body = captured(client, make_csr(client_key))
    response = post(client.responder, body, **{"content-type": "application/x-www-form-urlencoded; a=b"})
    assert response.status == 415
    assert not client.responder.issued


def test_only_plain_base64_is_taken_in_a_url(connect, client_key):
    """C-132: line ends and base64url are refused; a plus may stand for itself."""
    client = connect()
    body = captured(client, make_csr(client_key))
    text = base64.b64encode(body).decode()
    lines = base64.encodebytes(body).decode()
    url_safe = base64.urlsafe_b64encode(body).decode().replace("A", "-", 1)
    for message in (lines, url_safe, "%%%"):
        assert get(client.responder, f"operation=PKIOperation&message={quote(message)}").status == 400
    assert get(client.responder, f"operation=PKIOperation&message={text}").status == 200


@pytest.mark.parametrize("body", [b"", b"hello", b"0\x00"])
def test_what_is_no_message_is_a_bad_request(connect, body):
    response = post(connect().responder, body)
    assert response.status == 400
    assert response.content_type == "text/plain"


@pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")
def test_a_damaged_message_is_answered_and_never_breaks_the_responder(connect, client_key):
    client = connect()
    body = captured(client, make_csr(client_key, challenge="secret"))
    for place in range(0, len(body), 5):
        damaged = bytearray(body)
        damaged[place] ^= 0x81
        assert post(client.responder, bytes(damaged)).status in {200, 400}


def test_a_signer_with_a_key_too_short_is_refused(connect, now):
    weak = load_pem_private_key(RSA_512, password=None)
    client = connect(as_identity=self_signed(weak, now))
    response = post(client.responder, captured(client, make_csr(weak)))
    assert response.status == 400
    assert b"512 bits" in response.body


def indefinite(body):
    """The same ContentInfo with an indefinite length: BER, not DER."""
    header = 2 + (body[1] & 0x7F)
    return b"\x30\x80" + body[header:] + b"\x00\x00"


def test_ber_is_read_unless_der_is_demanded(connect, client_key):
    body = captured(connect(), make_csr(client_key))
    assert parse_request(indefinite(body)).verified
    assert post(connect().responder, indefinite(body)).status == 200
    strict = connect(der_only=True)
    assert post(strict.responder, indefinite(body)).status == 400
    assert post(strict.responder, body).status == 200


# Odd servers


def test_a_test_can_change_any_part_of_a_reply(connect, client_key):
    client = connect(behave=(replying(lambda reply: replace(reply, recipient_nonce=b"x" * 16)),))
    with pytest.raises(TrustError) as caught:
        client.enroll(make_csr(client_key))
    assert caught.value.check == "recipient-nonce"


def test_the_clock_is_the_systems_unless_injected(ca_credentials, client_key, identity):
    client = Client(Responder(Authority(ca_credentials.ca)), datetime.now(UTC), identity)
    outcome = client.enroll(make_csr(client_key))
    assert abs(outcome.certificate.not_valid_after_utc - client.now - timedelta(days=365)) < timedelta(
        minutes=1
    )


def test_where_der_is_demanded_the_envelope_must_be_der_too(connect, identity, envelope):
    strict = connect(der_only=True)
    assert post(strict.responder, sign(envelope, identity)).status == 200
    assert post(strict.responder, sign(indefinite(envelope), identity)).status == 400
    assert post(connect().responder, sign(indefinite(envelope), identity)).status == 200


def test_strict_post_takes_one_kind_of_request_alone(connect, client_key):
    client = connect(behave=behaviours(["strict-post"]))
    body = captured(client, make_csr(client_key))
    size = str(len(body))
    assert post(client.responder, body, **{"content-length": size}).status == 200
    assert post(client.responder, body).status == 415
    assert post(client.responder, body, **{"content-length": f"{len(body) + 1}"}).status == 415
    assert (
        post(client.responder, body, **{"content-length": size, "content-type": "text/plain"}).status == 415
    )
    assert (
        get(client.responder, f"operation=PKIOperation&message={quote(base64.b64encode(body))}").status == 415
    )


def test_strict_host_wants_a_host(connect, client_key):
    client = connect(behave=behaviours(["strict-host"]))
    body = captured(client, make_csr(client_key))
    assert post(client.responder, body, host="ca.example").status == 200
    assert post(client.responder, body).status == 400


def test_strict_query_takes_no_bare_plus(connect, client_key):
    client = connect(behave=behaviours(["strict-query"]))
    text = base64.b64encode(captured(client, make_csr(client_key))).decode()
    assert "+" in text
    assert get(client.responder, f"operation=PKIOperation&message={quote(text)}").status == 200
    assert get(client.responder, f"operation=PKIOperation&message={text}").status == 400


def test_what_a_response_is_sent_as_comes_after_what_it_says(connect):
    """In whatever order the two are named."""
    for names in (("caps-404", "chunked"), ("chunked", "caps-404")):
        response = get(connect(behave=behaviours(names)).responder, "operation=GetCACaps")
        assert response.status == 404
        assert isinstance(response, WireResponse)


def test_a_message_that_is_lost_is_lost_however_the_others_are_sent(connect, client_key):
    client = connect(behave=behaviours(["chunked", "loses-first"]))
    body = captured(client, make_csr(client_key))
    assert post(client.responder, body).pieces(b"HTTP/1.1 200 OK\r\n\r\n") == ()


def test_an_expired_ca_issues_all_the_same(client_key, authority):
    csr = make_csr(client_key)
    late = authority.certificate.not_valid_after_utc + timedelta(days=1)
    assert authority.issue(csr, now=late).not_valid_after_utc == late + timedelta(days=365)
