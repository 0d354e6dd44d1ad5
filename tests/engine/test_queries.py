from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import CA_USAGE, CHALLENGE, DAY, NOW, certify, long_name, name, pin
from replies import NONCE, TRANSACTION_ID, Reply, issued_reply, random_bytes, seq, signed_data, to_ber

from scepflow.engine import cms, envelopes, messages, oids, queries, trust
from scepflow.engine.algorithms import Cipher, Digest, Security
from scepflow.engine.asn1 import encode, wrap
from scepflow.engine.capabilities import NONE
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import MessageType
from scepflow.errors import PendingError, ProtocolError, RejectedError, TransportError, TrustError

URL = "http://ca.example/scep?profile=a"


def ok(body):
    return HttpResponse(status=200, body=body)


# GetCACaps, GetCACert


@pytest.mark.parametrize(
    ("ask", "operation", "limit"),
    [
        (queries.ca_caps_request, "GetCACaps", 1 << 16),
        (queries.ca_cert_request, "GetCACert", 1 << 20),
        (queries.next_ca_request, "GetNextCACert", 1 << 20),
    ],
)
def test_questions_go_by_get_with_an_identifier_only_if_there_is_one(ask, operation, limit):
    """Micromdm answers 400 to a message that is not asked for (Q-035)."""
    http_request = ask(URL)
    assert (http_request.method, http_request.operation, http_request.body) == ("GET", operation, b"")
    assert http_request.url == f"{URL}&operation={operation}"
    assert http_request.max_response_bytes == limit
    assert ask(URL, "my CA").url == f"{URL}&operation={operation}&message=my%20CA"


@pytest.mark.parametrize("status", [202, 404, 500])
def test_an_http_error_means_no_capabilities(status):
    """C-076."""
    assert queries.parse_ca_caps(HttpResponse(status=status, body=b"AES")) == NONE
    assert queries.parse_ca_caps(HttpResponse(status=200, body=b"AES")).aes


@pytest.mark.parametrize(
    "content_type",
    ["application/x-x509-ca-cert", "application/x-x509-ca-ra-cert; charset=x", "text/plain", None],
)
def test_the_content_type_of_get_ca_cert_does_not_matter(pki, content_type):
    """Q-100."""
    headers = {} if content_type is None else {"content-type": content_type}
    two = (pki.ca.certificate, pki.ra_signer.certificate)
    for certificates in (two[:1], two):
        body = cms.build_certs_only(certificates)
        found = queries.parse_ca_cert(HttpResponse(status=200, headers=headers, body=body))
        assert set(found) == set(certificates)
    single = HttpResponse(status=200, headers=headers, body=two[0].public_bytes(Encoding.DER))
    assert queries.parse_ca_cert(single) == two[:1]


def test_get_ca_cert_needs_200_and_a_body(pki):
    body = pki.ca.certificate.public_bytes(Encoding.DER)
    with pytest.raises(TransportError, match="HTTP 404"):
        queries.parse_ca_cert(HttpResponse(status=404, body=body))
    with pytest.raises(ProtocolError, match="an empty body, not with a CA certificate"):
        queries.parse_ca_cert(ok(b""))
    with pytest.raises(ProtocolError, match="a web page"):
        queries.parse_ca_cert(ok(b"<html>"))


# GetNextCACert


@pytest.fixture
def next_ca(pki):
    return certify("Test CA", pki.stranger.key, ca=True, usage=CA_USAGE)


def next_reply(signer, next_ca, **knobs):
    """Return the answer to GetNextCACert: it has none of SCEP's own attributes."""
    return Reply(
        **{
            "signer": signer,
            "content": cms.build_certs_only([next_ca]),
            "message_type": None,
            "status": None,
            "transaction_id": None,
            "recipient_nonce": None,
            "sender_nonce": None,
            **knobs,
        }
    )


def parse_next(reply, bundle, **how):
    return queries.parse_next_ca(ok(reply.der()), bundle=bundle, **how).value.certificates


def test_the_next_ca_signed_by_the_current_one_is_taken(pki, next_ca):
    """C-120."""
    for body in (next_reply(pki.ca, next_ca).der(), to_ber(next_reply(pki.ca, next_ca).der())):
        found = queries.parse_next_ca(ok(body), bundle=pki.ra_bundle).value
        assert (found.certificates, found.signer) == ((next_ca,), pki.ca.certificate)


@pytest.mark.parametrize("content", [None, b""])
def test_a_next_ca_that_the_signature_does_not_cover_is_refused(pki, next_ca, content):
    """Some servers put it there (Q-084); so can anyone, under a signature of the CA on something else."""
    single = next_reply(pki.ca, next_ca, content=content, certificates=(next_ca, pki.ca.certificate))
    with pytest.raises(ProtocolError, match="no next CA certificate in what the reply's signature covers"):
        parse_next(single, pki.bundle)


def test_a_genuine_failure_of_the_ca_with_other_certificates_is_no_next_ca(pki, next_ca):
    """Anyone can get one, and certificates beside a signature can be swapped (S-084)."""
    failure = Reply(signer=pki.ca, content=None, status="2", certificates=(next_ca,))
    with pytest.raises(ProtocolError, match="answer to another question"):
        parse_next(failure, pki.bundle)


@pytest.mark.parametrize("attribute", ["message_type", "status"])
def test_an_answer_to_another_question_is_no_next_ca(pki, next_ca, attribute):
    with pytest.raises(ProtocolError, match="answer to another question"):
        parse_next(next_reply(pki.ca, next_ca, **{attribute: "3"}), pki.bundle)


def test_the_next_ca_signed_by_another_is_refused(pki, next_ca):
    """S-084."""
    for signer, check in (
        (pki.stranger, "signer"),
        (SigningIdentity(next_ca, pki.stranger.key), "signer"),
        (SigningIdentity(pki.ca.certificate, pki.stranger.key), "signature"),
    ):
        reply = next_reply(signer, next_ca, certificates=(signer.certificate,))
        with pytest.raises(TrustError) as error:
            parse_next(reply, pki.ra_bundle)
        assert error.value.check == check
        assert parse_next(reply, pki.ra_bundle, relaxed=frozenset({check})) == (next_ca,)


def test_an_ra_signs_the_next_ca_only_if_it_is_pinned(pki, next_ca):
    """What any client of the CA has may stand in the answer as an RA (S-082)."""
    reply = next_reply(pki.ra_signer, next_ca)
    with pytest.raises(TrustError) as error:
        parse_next(reply, pki.ra_bundle)
    assert error.value.check == "signer"
    pinned = trust.authenticate(
        pki.ra_bundle.certificates,
        fingerprints=[trust.fingerprint(pki.ca.certificate)],
        signer=trust.fingerprint(pki.ra_signer.certificate),
        now=NOW,
    )
    assert parse_next(reply, pinned) == (next_ca,)


def test_the_policy_holds_for_the_next_ca(pki, next_ca):
    weak = next_reply(pki.ca, next_ca, digest=Digest.MD5)
    with pytest.raises(TrustError) as error:
        parse_next(weak, pki.bundle)
    assert error.value.check == "algorithms"
    assert parse_next(weak, pki.bundle, security=Security.LEGACY) == (next_ca,)


def test_a_next_ca_that_is_not_signed_is_refused(pki, next_ca):
    with pytest.raises(ProtocolError, match="no signature"):
        queries.parse_next_ca(ok(cms.build_certs_only([next_ca])), bundle=pki.bundle)


@pytest.mark.parametrize("content", [None, b"", cms.build_certs_only([])])
def test_no_next_ca_is_an_error(pki, next_ca, content):
    with pytest.raises(ProtocolError, match="no next CA certificate"):
        parse_next(
            next_reply(pki.ca, next_ca, content=content, certificates=(pki.ca.certificate,)), pki.bundle
        )


def test_get_next_ca_cert_needs_200(pki, next_ca):
    body = next_reply(pki.ca, next_ca).der()
    with pytest.raises(TransportError, match="HTTP 403"):
        queries.parse_next_ca(HttpResponse(status=403, body=body), bundle=pki.bundle)


# GetCert, GetCRL

SERIAL = 0x1234


@pytest.fixture
def channel(connect):
    return connect()


def asked(channel, kind, pki):
    ask = queries.certificate_request if kind is MessageType.GET_CERT else queries.crl_request
    message, http_request = ask(channel, SERIAL, transaction_id=TRANSACTION_ID, sender_nonce=NONCE, now=NOW)
    return message, http_request


@pytest.mark.parametrize("kind", [MessageType.GET_CERT, MessageType.GET_CRL])
def test_the_question_names_issuer_and_serial_number(channel, pki, kind):
    """C-117."""
    message, http_request = asked(channel, kind, pki)
    assert (message.type, message.transaction_id, message.sender_nonce) == (kind, TRANSACTION_ID, NONCE)
    seen = messages.parse_request(http_request.body)
    assert (seen.message_type, seen.verified) == (kind, True)
    content = envelopes.open_envelope(seen.envelope, pki.ca)
    assert content == seq(pki.ca.certificate.subject.public_bytes(), encode(SERIAL))


def get_certificate(channel, pki, reply):
    message, _ = asked(channel, MessageType.GET_CERT, pki)
    answer = queries.parse_certificate(channel, message, ok(reply.der()), serial_number=SERIAL, now=NOW)
    return answer.value


def test_the_certificate_that_was_asked_for_is_taken(channel, pki):
    """C-118."""
    wanted, other = pki.issue(serial_number=SERIAL), pki.issue()
    reply = issued_reply(pki.ca, pki.client.certificate, other, wanted)
    assert get_certificate(channel, pki, reply) == wanted


def test_a_certificate_of_the_future_is_taken(channel, pki):
    wanted = pki.issue(serial_number=SERIAL, begins=NOW + DAY)
    assert get_certificate(channel, pki, issued_reply(pki.ca, pki.client.certificate, wanted)) == wanted


def test_another_certificate_than_asked_for_is_refused(channel, pki):
    other_ca = SigningIdentity(certify("Other CA", pki.stranger.key, ca=True), pki.stranger.key)
    wrong = (pki.issue(), pki.issue(serial_number=SERIAL, issuer=other_ca))
    with pytest.raises(TrustError, match="another certificate") as error:
        get_certificate(channel, pki, issued_reply(pki.ca, pki.client.certificate, *wrong))
    assert error.value.check == "certificate-key"


def test_a_certificate_that_only_names_the_ca_is_refused(channel, pki):
    imposter = SigningIdentity(certify("Test CA", pki.stranger.key, ca=True), pki.stranger.key)
    forged = pki.issue(serial_number=SERIAL, issuer=imposter)
    with pytest.raises(TrustError) as error:
        get_certificate(channel, pki, issued_reply(pki.ca, pki.client.certificate, forged))
    assert error.value.check == "chain"


def crl_by(issuer, *extensions, issuer_name=None, begins=NOW, ends=NOW + timedelta(days=7)):
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer_name or issuer.certificate.subject)
    builder = builder.last_update(begins).next_update(ends)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer.key, hashes.SHA256())


def crl_answer(channel, pki, *crls, ders=()):
    message, _ = asked(channel, MessageType.GET_CRL, pki)
    listed = [*(crl.public_bytes(Encoding.DER) for crl in crls), *ders]
    return queries.parse_crl(channel, message, ok(crl_reply(pki, channel, listed).der()), now=NOW)


def get_crl(channel, pki, *crls, ders=()):
    return crl_answer(channel, pki, *crls, ders=ders).value


def crl_reply(pki, channel, ders):
    content = signed_data(crls=wrap(0xA1, b"".join(ders)) if ders else b"")
    sealed = envelopes.build_envelope(
        content, recipient=pki.client.certificate, cipher=Cipher.AES128, random_bytes=random_bytes()
    )
    signer = pki.ec_ca if channel.bundle.ca_certificate == pki.ec_ca.certificate else pki.ca
    return Reply(signer=signer, content=sealed)


def test_the_crl_of_the_ca_is_taken_wherever_it_stands(channel, pki):
    """C-119."""
    wanted, other = crl_by(pki.ca), crl_by(pki.stranger)
    for crls in ((wanted,), (other, wanted), (wanted, other)):
        assert get_crl(channel, pki, *crls) == wanted


def test_the_crl_of_an_ec_ca_is_taken(connect, pki):
    crl = crl_by(pki.ec_ca)
    channel = connect(bundle=pki.ec_bundle, challenge_password=CHALLENGE, password_envelope=True)
    assert get_crl(channel, pki, crl) == crl


def test_a_crl_that_is_not_the_cas_is_refused(connect, pki):
    ra_bundle = connect(bundle=pki.ra_bundle)
    for crl in (
        crl_by(pki.stranger),
        crl_by(pki.stranger, issuer_name=name("Test CA")),  # forged
        crl_by(pki.ra_signer),  # of the bundle, and no CA
        crl_by(pki.ca, issuer_name=name("Other CA")),  # the CA's signature under another name
    ):
        with pytest.raises(TrustError, match="not signed by the CA") as error:
            get_crl(ra_bundle, pki, crl)
        assert error.value.check == "chain"


@pytest.mark.parametrize(
    ("ca", "usage"), [(False, "crl_sign"), (None, None), (True, "digital_signature key_cert_sign")]
)
def test_a_crl_of_one_that_is_known_and_may_sign_none_is_refused(connect, pki, ca, usage):
    """RFC 5280 §6.3.3: the issuer is a CA, and its key usage, if it has one, has cRLSign."""
    key, purposes = pki.ra_signer.key, [x509.ExtendedKeyUsage([oids.RA_PURPOSES[0]])]
    signer = SigningIdentity(
        certify("Other", key, issuer=pki.ca, ca=ca, usage=usage, extensions=purposes), key
    )
    channel = connect(bundle=pin(pki.ca.certificate, signer.certificate))
    assert signer.certificate in channel.bundle.certificates
    message, _ = asked(channel, MessageType.GET_CRL, pki)
    response = ok(crl_reply(pki, channel, [crl_by(signer).public_bytes(Encoding.DER)]).der())
    issuer_der = signer.certificate.subject.public_bytes()
    with pytest.raises(TrustError, match="not signed by the CA"):
        queries.parse_crl(channel, message, response, issuer_der=issuer_der, now=NOW)


def test_odd_names_in_a_crl_are_read_without_a_word_on_stderr(connect, pki):
    """The library warns of common names of more than 64 characters; warnings are errors here."""
    odd = long_name()
    with_name = crl_by(pki.ca, x509.IssuerAlternativeName([x509.DirectoryName(odd)])).public_bytes(
        Encoding.DER
    )
    assert get_crl(connect(), pki, ders=[with_name]).issuer == pki.ca.certificate.subject
    of_another = crl_by(pki.ca, issuer_name=odd).public_bytes(Encoding.DER)
    with pytest.raises(TrustError, match="not signed by the CA"):
        get_crl(connect(), pki, ders=[of_another])


def test_a_crl_of_a_ca_without_key_usage_is_taken(connect, pki):
    old = SigningIdentity(certify("Old CA", pki.ra_signer.key, issuer=pki.ca, ca=True), pki.ra_signer.key)
    crl = crl_by(old)
    assert get_crl(connect(bundle=pin(pki.ca.certificate, old.certificate)), pki, crl) == crl


def point(**knobs):
    return x509.IssuingDistributionPoint(
        **{
            "full_name": None,
            "relative_name": None,
            "only_contains_user_certs": False,
            "only_contains_ca_certs": False,
            "only_some_reasons": None,
            "indirect_crl": False,
            "only_contains_attribute_certs": False,
            **knobs,
        }
    )


UNFIT = {
    "delta CRL": x509.DeltaCRLIndicator(1),
    "does not cover clients": point(only_contains_ca_certs=True),
    "does not cover clients' certificates": point(only_contains_attribute_certs=True),
    "not known: 1.2.3": x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"),
    "cannot be read": x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.20"), b"\5\0"),
}


@pytest.mark.parametrize("why", UNFIT)
def test_a_crl_that_would_mislead_who_gets_it_is_refused(channel, pki, why):
    """RFC 5280 §5.2: a delta, a part for others, or something critical that nobody here understands."""
    unfit, fit = crl_by(pki.ca, UNFIT[why]), crl_by(pki.ca)
    with pytest.raises(ProtocolError, match=why):
        get_crl(channel, pki, unfit)
    assert get_crl(channel, pki, unfit, fit) == fit


def test_a_crl_for_clients_with_what_is_known_is_taken(channel, pki):
    crl = crl_by(pki.ca, x509.CRLNumber(1 << 159), point(only_contains_user_certs=True))
    assert get_crl(channel, pki, crl) == crl
    builder = x509.CertificateRevocationListBuilder().issuer_name(name("Test CA")).last_update(NOW)
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0")
    builder = builder.next_update(NOW + DAY).add_extension(unknown, critical=False)
    assert get_crl(channel, pki, crl := builder.sign(pki.ca.key, hashes.SHA256())) == crl


@pytest.mark.parametrize(
    ("begins", "ends", "codes"),
    [
        (NOW - DAY, NOW, []),
        (NOW + timedelta(seconds=60), NOW + DAY, []),
        (NOW - DAY, NOW - timedelta(seconds=1), ["crl-stale"]),
        (NOW + timedelta(seconds=61), NOW + DAY, ["crl-not-yet-valid"]),
    ],
)
def test_a_crl_that_is_not_current_is_taken_and_noted(channel, pki, begins, ends, codes):
    """RFC 5280 §5.1.2.5: a CA may be late, and a device whose clock is wrong must get on."""
    answer = crl_answer(channel, pki, crl_by(pki.ca, begins=begins, ends=ends))
    assert [finding.code for finding in answer.findings] == codes


def test_a_crl_that_says_of_no_next_one_is_current(channel, pki):
    der = crl_by(pki.ca).public_bytes(Encoding.DER)
    times = b"\x17\x0d260601120000Z", b"\x17\x0d260608120000Z"
    tbs = x509.load_der_x509_crl(der).tbs_certlist_bytes
    tbs = wrap(0x30, tbs[2 + (tbs[1] & 0x7F if tbs[1] > 0x80 else 0) :].replace(times[1], b""))
    sha256_rsa = seq(bytes.fromhex("06092a864886f70d01010b"), b"\5\0")
    signature = pki.ca.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    answer = crl_answer(channel, pki, ders=[seq(tbs, sha256_rsa, wrap(0x03, b"\0" + signature))])
    assert (answer.value.next_update_utc, answer.findings) == (None, ())


def test_the_crl_of_the_root_is_not_that_of_the_ca_below(connect, pki):
    sub = certify("Sub CA", pki.ra_signer.key, issuer=pki.ca, ca=True, usage=CA_USAGE)
    with pytest.raises(TrustError, match="not signed by the CA that was asked about"):
        get_crl(connect(bundle=pin(pki.ca.certificate, sub)), pki, crl_by(pki.ca))


def test_a_crl_signed_in_another_kind_of_key_is_refused(channel, pki):
    key = ed25519.Ed25519PrivateKey.generate()
    builder = x509.CertificateRevocationListBuilder().issuer_name(name("Test CA"))
    crl = builder.last_update(NOW).next_update(NOW + DAY).sign(key, None)
    with pytest.raises(TrustError):
        get_crl(channel, pki, crl)
    with pytest.raises(TrustError):
        get_crl(channel, pki, crl_by(pki.ec_ca, issuer_name=name("Test CA")))


def test_a_crl_signed_in_a_way_that_nobody_knows_is_refused(channel, pki):
    der = crl_by(pki.ca).public_bytes(Encoding.DER)
    sha256_rsa = bytes.fromhex("2a864886f70d01010b")
    with pytest.raises(TrustError):
        get_crl(channel, pki, ders=[der.replace(sha256_rsa, sha256_rsa[:-1] + b"\x63")])


def test_a_crl_of_a_ca_whose_key_cannot_be_read_is_refused(channel, pki):
    assert not queries._signed_by(crl_by(pki.ca), unreadable(pki.ca.certificate))


def unreadable(certificate):
    rsa_oid = bytes.fromhex("2a864886f70d010101")
    der = certificate.public_bytes(Encoding.DER).replace(rsa_oid, rsa_oid[:-1] + b"\x63")
    return x509.load_der_x509_certificate(der)


def test_no_crl_is_an_error(channel, pki):
    with pytest.raises(ProtocolError, match="no CRL in the reply"):
        get_crl(channel, pki)
    with pytest.raises(ProtocolError, match="not a CRL"):
        get_crl(channel, pki, ders=[seq()])


def test_a_crl_that_would_fail_later_fails_at_once(channel, pki):
    der = crl_by(pki.ca, ends=datetime(2060, 6, 8, tzinfo=UTC)).public_bytes(Encoding.DER)
    for old, new in (
        (b"\x0c\x07Test CA", b"\x0c\x07Test\xff\xffA"),
        (b"\x02\x01\x01\x30", b"\x02\x01\x09\x30"),
        (b"\x18\x0f2060", b"\x18\x0f0000"),
    ):
        assert old in der
        with pytest.raises(ProtocolError, match="not a CRL"):
            get_crl(channel, pki, ders=[der.replace(old, new)])


@pytest.mark.parametrize(
    ("knobs", "said", "fail_info"),
    [
        ({"status": "2", "fail_info": "4", "fail_info_text": "no such"}, "GetCRL: badCertId", 4),
        ({"status": "2"}, "GetCRL: no failInfo", None),
        ({"status": "2", "fail_info": "99"}, "GetCRL: unknown failInfo", 99),
    ],
)
def test_an_answer_that_is_none_is_a_rejection(channel, pki, knobs, said, fail_info):
    message, _ = asked(channel, MessageType.GET_CRL, pki)
    reply = Reply(signer=pki.ca, content=None, **knobs)
    with pytest.raises(RejectedError, match=said) as error:
        queries.parse_crl(channel, message, ok(reply.der()), now=NOW)
    assert (error.value.fail_info, error.value.transaction_id) == (fail_info, TRANSACTION_ID)
    assert error.value.fail_info_text == knobs.get("fail_info_text", "")


def test_an_answer_is_checked_like_any_reply(channel, pki):
    message, _ = asked(channel, MessageType.GET_CRL, pki)
    reply = crl_reply(pki, channel, [crl_by(pki.ca).public_bytes(Encoding.DER)])
    with pytest.raises(TrustError) as error:
        queries.parse_crl(channel, message, ok(reply.but(recipient_nonce=b"x" * 16).der()), now=NOW)
    assert error.value.check == "recipient-nonce"
    with pytest.raises(TransportError):
        queries.parse_crl(channel, message, HttpResponse(status=500, body=b"not implemented"), now=NOW)


def test_a_question_that_is_pending_is_no_rejection(channel, pki):
    for kind, parse, how in (
        (MessageType.GET_CRL, queries.parse_crl, {"now": NOW}),
        (MessageType.GET_CERT, queries.parse_certificate, {"serial_number": SERIAL, "now": NOW}),
    ):
        message, _ = asked(channel, kind, pki)
        with pytest.raises(PendingError, match=f"has not decided whether to answer {kind.title}") as error:
            parse(channel, message, ok(Reply(signer=pki.ca, content=None, status="3").der()), **how)
        assert (error.value.transaction_id, error.value.polls) == (TRANSACTION_ID, 0)


def test_another_issuer_may_be_asked_about(connect, pki):
    """An RA alone is known, and its name is not the CA's."""
    issuer_der = pki.ca.certificate.subject.public_bytes()
    bundle = trust.pinned([], signer=pki.ra_signer.certificate, recipient=pki.ca.certificate, now=NOW)
    channel = connect(bundle=bundle, relaxed=frozenset({"chain"}))
    label = {"transaction_id": TRANSACTION_ID, "sender_nonce": NONCE, "now": NOW}
    message, http_request = queries.certificate_request(channel, SERIAL, issuer_der=issuer_der, **label)
    seen = messages.parse_request(http_request.body)
    assert envelopes.open_envelope(seen.envelope, pki.ca) == seq(issuer_der, encode(SERIAL))
    wanted = pki.issue(serial_number=SERIAL)
    response = ok(issued_reply(pki.ra_signer, pki.client.certificate, wanted).der())

    def parse(channel, issuer_der):
        return queries.parse_certificate(
            channel, message, response, serial_number=SERIAL, issuer_der=issuer_der, now=NOW
        )

    answer = parse(channel, issuer_der)
    assert (answer.value, [finding.code for finding in answer.findings]) == (wanted, ["relaxed-chain"])
    with pytest.raises(TrustError, match="another certificate"):
        parse(channel, None)
    with pytest.raises(TrustError, match="no CA certificate is known") as error:
        parse(connect(bundle=bundle), issuer_der)
    assert error.value.check == "chain"


def test_a_crl_of_a_named_issuer_is_verified_with_its_certificate(connect, pki):
    sub = SigningIdentity(
        certify("Sub CA", pki.ra_signer.key, issuer=pki.ca, ca=True, usage=CA_USAGE), pki.ra_signer.key
    )
    channel = connect(bundle=pin(pki.ca.certificate, sub.certificate))
    message, _ = asked(channel, MessageType.GET_CRL, pki)
    root_der = pki.ca.certificate.subject.public_bytes()
    for crl, issuer_der in ((crl_by(sub), None), (crl_by(pki.ca), root_der)):
        response = ok(crl_reply(pki, channel, [crl.public_bytes(Encoding.DER)]).der())
        assert queries.parse_crl(channel, message, response, issuer_der=issuer_der, now=NOW).value == crl
        with pytest.raises(TrustError):
            other = None if issuer_der else root_der
            queries.parse_crl(channel, message, response, issuer_der=other, now=NOW)


def test_a_crl_whose_issuer_is_not_known_is_taken_only_when_the_chain_is_relaxed(connect, pki):
    bundle = trust.pinned([], signer=pki.ca.certificate, now=NOW)
    channel = connect(bundle=bundle, relaxed=frozenset({"chain"}))
    message, _ = asked(channel, MessageType.GET_CRL, pki)
    crl = crl_by(pki.stranger)
    response = ok(crl_reply(pki, channel, [crl.public_bytes(Encoding.DER)]).der())
    answer = queries.parse_crl(channel, message, response, now=NOW)
    assert (answer.value, [finding.code for finding in answer.findings]) == (crl, ["relaxed-chain"])
    with pytest.raises(ProtocolError, match="no CRL"):
        queries.parse_crl(channel, message, ok(crl_reply(pki, channel, []).der()), now=NOW)


def test_what_is_weak_in_an_answer_is_said(channel, pki, next_ca):
    message, _ = asked(channel, MessageType.GET_CRL, pki)
    reply = crl_reply(pki, channel, [crl_by(pki.ca).public_bytes(Encoding.DER)])
    weak = queries.parse_crl(channel, message, ok(reply.but(digest=Digest.SHA1).der()), now=NOW)
    assert [finding.code for finding in weak.findings] == ["weak-reply"]
    following = queries.parse_next_ca(
        ok(next_reply(pki.ca, next_ca, digest=Digest.SHA1).der()), bundle=pki.bundle
    )
    assert [finding.code for finding in following.findings] == ["weak-reply"]
