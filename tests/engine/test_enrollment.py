import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from issuing import CHALLENGE, DAY, NOW, certify, ec_key, name, pin, request, resigned, rsa_key
from replies import NONCE, TRANSACTION_ID, Reply, broken, envelope, issued_reply, random_bytes
from test_password import recipient

from scepflow.engine import asn1, cms, envelopes, messages, trust
from scepflow.engine.algorithms import Cipher, Digest, Security, choose
from scepflow.engine.capabilities import NONE
from scepflow.engine.checks import CHECKS
from scepflow.engine.enrollment import (
    CLOCK_TOLERANCE,
    Enrollment,
    Issued,
    Pending,
    Rejected,
    key_transaction_id,
)
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import MessageType
from scepflow.engine.state import State
from scepflow.errors import ProtocolError, ScepflowError, TransportError, TrustError

SECOND = timedelta(seconds=1)


def receive(enrollment, reply, *, now=NOW):
    body = reply if isinstance(reply, bytes) else reply.der()
    return enrollment.receive(HttpResponse(status=200, body=body), now=now)


def codes(outcome):
    return [finding.code for finding in outcome.findings]


def opened(http_request, pki):
    """Return a request as the CA reads it, and its content."""
    seen = messages.parse_request(http_request.body)
    assert seen.verified
    return seen, envelopes.open_envelope(seen.envelope, pki.ca)


# The eight replies: a good one, one without certificates, and six that must not give a certificate.


def good(pki):
    return issued_reply(pki.ca, pki.client.certificate, pki.issue())


def forged(pki):
    """Sign with another key under the CA's issuer and serial number (S-003)."""
    reply = good(pki)
    return reply.but(signer=SigningIdentity(pki.ca.certificate, pki.stranger.key))


def nocerts(pki):
    """Leave the certificates out, as NDES and Dogtag do (Q-001, Q-062)."""
    return good(pki).but(certificates=())


def stranger(pki):
    """Sign with a stranger's certificate and send it along (S-001)."""
    return good(pki).but(signer=pki.stranger, certificates=(pki.stranger.certificate,))


def badnonce(pki):
    return good(pki).but(recipient_nonce=bytes((NONCE[0] ^ 1, *NONCE[1:])))


def badtx(pki):
    return good(pki).but(transaction_id=TRANSACTION_ID[:-1] + "0")


def prefixtx(pki):
    """Answer for the beginning of the transaction ID, which sscep takes for the whole (S-009)."""
    return good(pki).but(transaction_id=TRANSACTION_ID[:8])


def wrongkey(pki):
    return issued_reply(pki.ca, pki.client.certificate, pki.issue(key=pki.stranger.key))


@pytest.mark.parametrize("reply", [good, nocerts])
def test_a_right_reply_gives_the_certificate(start, pki, reply):
    enrollment = start()
    outcome = receive(enrollment, reply(pki))
    assert isinstance(outcome, Issued)
    assert outcome.certificate.public_key() == pki.client.key.public_key()
    assert outcome.chain == (pki.ca.certificate,)
    assert outcome.transaction_id == TRANSACTION_ID
    assert outcome.findings == ()
    assert enrollment.state is State.ISSUED


WRONG = [
    (forged, "signature"),
    (stranger, "signer"),
    (badnonce, "recipient-nonce"),
    (badtx, "transaction-id"),
    (prefixtx, "transaction-id"),
    (wrongkey, "certificate-key"),
]


@pytest.mark.parametrize(("reply", "check"), WRONG)
def test_a_wrong_reply_fails_its_check_and_changes_nothing(start, pki, reply, check):
    enrollment = start()
    sent = enrollment.sent
    with pytest.raises(TrustError) as error:
        receive(enrollment, reply(pki))
    assert error.value.check == check
    assert (enrollment.state, enrollment.sent) == (State.AWAITING, sent)
    assert isinstance(receive(enrollment, good(pki)), Issued)


@pytest.mark.parametrize(("reply", "check"), WRONG)
def test_a_wrong_reply_passes_only_when_its_own_check_is_turned_off(start, pki, reply, check):
    outcome = receive(start(relaxed=frozenset({check})), reply(pki))
    assert isinstance(outcome, Issued)
    assert codes(outcome) == [f"relaxed-{check}"]
    with pytest.raises(TrustError) as error:
        receive(start(relaxed=frozenset(CHECKS) - {check}), reply(pki))
    assert error.value.check == check


def test_another_client_of_the_ca_may_not_sign_replies(start, pki):
    """A certificate of the same CA is not the CA's own (S-001)."""
    other = SigningIdentity(pki.issue("gw2", pki.stranger.key), pki.stranger.key)
    reply = good(pki).but(signer=other, certificates=(other.certificate,))
    with pytest.raises(TrustError, match="not signed by a certificate of the authenticated CA") as error:
        receive(start(), reply)
    assert error.value.check == "signer"


def test_our_own_request_sent_back_is_no_reply(start, pki):
    enrollment = start(send=False)
    echoed = enrollment.next_request(now=NOW, sender_nonce=NONCE).body
    with pytest.raises(TrustError) as error:
        receive(enrollment, echoed)
    assert error.value.check == "signer"


def test_the_reply_to_an_earlier_poll_is_no_reply_to_this_one(start, pki):
    enrollment = start()
    old = good(pki)
    receive(enrollment, Reply(signer=pki.ca, content=None, status="3"))
    enrollment.next_request(now=NOW, sender_nonce=b"another nonce 16")
    with pytest.raises(TrustError) as error:
        receive(enrollment, old)
    assert error.value.check == "recipient-nonce"


@pytest.mark.parametrize("status", ["2", "3"])
@pytest.mark.parametrize("reply", [forged, stranger, badnonce, badtx, prefixtx])
def test_an_unproven_failure_or_pending_is_no_answer_of_the_ca(start, pki, reply, status):
    """It neither ends the enrollment nor starts polling (S-005, S-006)."""
    enrollment = start()
    with pytest.raises(TrustError):
        receive(enrollment, reply(pki).but(content=None, status=status))
    assert enrollment.state is State.AWAITING


def test_pending_is_polled_until_the_certificate_comes(start, pki):
    enrollment = start(send=False)
    nonces = [bytes((n,)) * 16 for n in range(4)]
    kinds = []
    for n, nonce in enumerate(nonces):
        seen, content = opened(enrollment.next_request(now=NOW, sender_nonce=nonce), pki)
        kinds.append(seen.message_type)
        assert (seen.transaction_id, seen.sender_nonce) == (TRANSACTION_ID, nonce)
        if n:
            names = asn1.wrap(
                0x30, pki.ca.certificate.subject.public_bytes() + enrollment.csr.subject.public_bytes()
            )
            assert content == names
        status = "3" if n < 3 else "0"
        reply = good(pki) if status == "0" else Reply(signer=pki.ca, content=None, status="3")
        outcome = receive(enrollment, reply.but(recipient_nonce=nonce))
        assert isinstance(outcome, Pending if n < 3 else Issued)
        assert enrollment.state is (State.PENDING if n < 3 else State.ISSUED)
    assert kinds == [19, 20, 20, 20]


def test_the_first_request_carries_the_csr_and_only_the_signers_certificate(start, pki):
    enrollment = start(send=False)
    http_request = enrollment.next_request(now=NOW, sender_nonce=NONCE)
    seen, content = opened(http_request, pki)
    assert content == enrollment.csr.public_bytes(Encoding.DER)
    assert seen.certificates == (pki.client.certificate,)
    assert seen.message_type == MessageType.PKCS_REQ
    assert http_request.method == "POST"


def test_a_lost_reply_is_polled_for_and_the_request_not_sent_again(start, pki):
    """The challenge may be spent (Q-015)."""
    enrollment = start()
    seen, _ = opened(enrollment.next_request(now=NOW, sender_nonce=b"n" * 16), pki)
    assert seen.message_type == MessageType.CERT_POLL


def test_a_renewal_is_a_renewal_req(start, pki):
    enrollment = start(send=False, message_type=MessageType.RENEWAL_REQ)
    seen, _ = opened(enrollment.next_request(now=NOW, sender_nonce=NONCE), pki)
    assert seen.message_type == MessageType.RENEWAL_REQ


@pytest.mark.parametrize("fail_info", ["0", "1", "2", "3", "4", "7", "12", "99"])
def test_a_failure_ends_the_enrollment_with_its_fail_info(start, pki, fail_info):
    enrollment = start()
    reply = Reply(signer=pki.ca, content=None, status="2", fail_info=fail_info, fail_info_text="no\nway")
    outcome = receive(enrollment, reply)
    assert outcome == Rejected(
        fail_info=int(fail_info), fail_info_text=r"no\nway", transaction_id=TRANSACTION_ID
    )
    assert enrollment.state is State.REJECTED


def test_a_failure_without_fail_info_is_a_failure(start, pki):
    outcome = receive(start(), Reply(signer=pki.ca, content=None, status="2"))
    assert (outcome.fail_info, outcome.fail_info_text) == (None, "")


@pytest.mark.parametrize("status", [202, 403, 500])
def test_a_reply_counts_whatever_the_http_status(start, pki, status):
    enrollment = start()
    body = Reply(signer=pki.ca, content=None, status="3").der()
    assert isinstance(enrollment.receive(HttpResponse(status=status, body=body), now=NOW), Pending)


@pytest.mark.parametrize("status", [202, 403, 500])
def test_an_http_error_without_a_reply_changes_nothing(start, status):
    enrollment = start()
    with pytest.raises(TransportError):
        enrollment.receive(HttpResponse(status=status, body=b"pending"), now=NOW)
    assert enrollment.state is State.AWAITING


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_certificate_is_found_by_its_key_wherever_it_stands(start, pki, place):
    ours = pki.issue()
    delivered = [pki.ca.certificate, pki.issue("gw2", pki.stranger.key)]
    delivered.insert(place, ours)
    content = asn1.wrap(0xA0, b"".join(c.public_bytes(Encoding.DER) for c in delivered))
    assert receive(start(), unsorted_reply(pki, content)).certificate == ours


def unsorted_reply(pki, certificates):
    from replies import signed_data

    sealed = envelopes.build_envelope(
        signed_data(certificates=certificates),
        recipient=pki.client.certificate,
        cipher=Cipher.AES128,
        random_bytes=random_bytes(),
    )
    return Reply(signer=pki.ca, content=sealed)


def test_of_several_certificates_for_our_key_the_newest_is_taken_and_it_is_said(start, pki):
    old, new = pki.issue(begins=NOW - 20 * DAY), pki.issue(begins=NOW - 2 * DAY)
    outcome = receive(start(), issued_reply(pki.ca, pki.client.certificate, old, new))
    assert outcome.certificate == new
    assert codes(outcome) == ["several-certificates"]


def test_a_success_without_certificates_is_not_for_our_key(start, pki):
    """Dogtag answers so while a request is still pending; a later poll may bring it (Q-065)."""
    enrollment = start()
    with pytest.raises(TrustError, match="none of the 0 certificates") as error:
        receive(enrollment, issued_reply(pki.ca, pki.client.certificate))
    assert error.value.check == "certificate-key"
    assert enrollment.state is State.AWAITING


def test_only_ca_certificates_are_no_answer_even_with_the_key_check_turned_off(start, pki):
    with pytest.raises(ProtocolError, match="no end-entity certificate"):
        receive(
            start(relaxed=frozenset({"certificate-key"})),
            issued_reply(pki.ca, pki.client.certificate, pki.ca.certificate),
        )


def test_a_certificate_whose_key_cannot_be_read_is_not_ours(start, pki):
    odd = unreadable_key(pki.issue())
    outcome = receive(start(), issued_reply(pki.ca, pki.client.certificate, odd, pki.issue()))
    assert isinstance(outcome, Issued)
    assert outcome.findings == ()


def unreadable_key(certificate):
    """Return the certificate with a kind of key that does not exist."""
    der = certificate.public_bytes(Encoding.DER)
    rsa_oid = bytes.fromhex("2a864886f70d010101")
    return x509.load_der_x509_certificate(der.replace(rsa_oid, rsa_oid[:-1] + b"\x63"))


def test_the_certificate_that_is_being_renewed_is_no_new_one(start, pki):
    """NDES answers a known transaction with the old certificate (Q-007)."""
    previous = pki.issue()
    enrollment = start(previous=previous)
    reply = issued_reply(pki.ca, pki.client.certificate, previous)
    with pytest.raises(TrustError, match="being renewed") as error:
        receive(enrollment, reply)
    assert error.value.check == "new-certificate"
    assert enrollment.state is State.AWAITING
    outcome = receive(start(previous=previous, relaxed=frozenset({"new-certificate"})), reply)
    assert outcome.certificate == previous
    assert codes(outcome) == ["relaxed-new-certificate", "not-longer"]


def test_the_certificate_that_is_being_renewed_may_come_beside_the_new_one(start, pki):
    previous, new = pki.issue(ends=NOW + DAY), pki.issue()
    outcome = receive(start(previous=previous), issued_reply(pki.ca, pki.client.certificate, previous, new))
    assert outcome.certificate == new
    assert outcome.findings == ()


def test_a_new_certificate_that_lives_no_longer_than_the_old_is_worth_a_word(start, pki):
    previous = pki.issue()
    outcome = receive(start(previous=previous), good(pki))
    assert codes(outcome) == ["not-longer"]


def test_a_new_certificate_that_takes_nearly_all_the_time_away_is_refused(start, pki):
    previous = pki.issue(ends=NOW + 100 * DAY)
    short, enough = pki.issue(ends=NOW + 9 * DAY), pki.issue(ends=NOW + 11 * DAY)
    enrollment = start(previous=previous)
    with pytest.raises(TrustError, match="expires on") as error:
        receive(enrollment, issued_reply(pki.ca, pki.client.certificate, short))
    assert (error.value.check, enrollment.state) == ("new-certificate", State.AWAITING)
    assert "one in use stays" in error.value.hint
    assert codes(receive(start(previous=previous), issued_reply(pki.ca, pki.client.certificate, enough))) == [
        "not-longer"
    ]
    relaxed = start(previous=previous, relaxed=frozenset({"new-certificate"}))
    outcome = receive(relaxed, issued_reply(pki.ca, pki.client.certificate, short))
    assert codes(outcome) == ["relaxed-new-certificate", "not-longer"]


def test_any_certificate_is_longer_than_one_that_is_over(start, pki):
    previous = pki.issue(begins=NOW - 9 * DAY, ends=NOW - DAY)
    outcome = receive(start(previous=previous), good(pki))
    assert outcome.findings == ()


def test_a_certificate_of_another_ca_fails_the_chain(start, pki):
    other = SigningIdentity(certify("Other CA", pki.stranger.key, ca=True), pki.stranger.key)
    wrong = pki.issue(issuer=other)
    enrollment = start()
    reply = issued_reply(pki.ca, pki.client.certificate, wrong, other.certificate)
    with pytest.raises(TrustError, match="does not chain to the CA") as error:
        receive(enrollment, reply)
    assert error.value.check == "chain"
    assert enrollment.state is State.AWAITING
    outcome = receive(start(relaxed=frozenset({"chain"})), reply)
    assert (outcome.certificate, outcome.chain) == (wrong, ())
    assert codes(outcome) == ["relaxed-chain"]


def test_a_certificate_with_the_cas_name_and_another_signature_fails_the_chain(start, pki):
    imposter = SigningIdentity(certify("Test CA", pki.stranger.key, ca=True), pki.stranger.key)
    reply = issued_reply(pki.ca, pki.client.certificate, pki.issue(issuer=imposter))
    with pytest.raises(TrustError, match="does not chain"):
        receive(start(), reply)


def test_an_intermediate_of_the_reply_stands_in_the_chain_below_the_anchor(start, pki):
    sub_key = pki.ra_signer.key
    sub = SigningIdentity(certify("Sub CA", sub_key, issuer=pki.ca, ca=True, usage="key_cert_sign"), sub_key)
    leaf = pki.issue(issuer=sub)
    outcome = receive(start(), issued_reply(pki.ca, pki.client.certificate, leaf, sub.certificate))
    assert outcome.chain == (sub.certificate, pki.ca.certificate)


def test_an_expired_certificate_fails_the_chain(start, pki):
    reply = issued_reply(pki.ca, pki.client.certificate, pki.issue(ends=NOW - SECOND))
    with pytest.raises(TrustError, match="expired"):
        receive(start(), reply)


def test_a_certificate_that_begins_a_little_later_is_taken_with_a_word_on_clocks(start, pki):
    leaf = pki.issue(begins=NOW + CLOCK_TOLERANCE)
    outcome = receive(start(), issued_reply(pki.ca, pki.client.certificate, leaf))
    assert outcome.certificate == leaf
    assert codes(outcome) == ["clock"]
    assert "2026-06-01 13:00:00 UTC" in outcome.findings[0].text


def test_a_certificate_that_begins_too_late_fails_the_chain(start, pki):
    leaf = pki.issue(begins=NOW + CLOCK_TOLERANCE + SECOND)
    with pytest.raises(TrustError, match="not yet valid"):
        receive(start(), issued_reply(pki.ca, pki.client.certificate, leaf))


def test_a_changed_subject_and_a_ca_certificate_are_worth_a_word(start, pki):
    outcome = receive(start(), issued_reply(pki.ca, pki.client.certificate, pki.issue("gw\n9")))
    assert codes(outcome) == ["subject-changed"]
    assert r"CN=gw\n9" in outcome.findings[0].text
    leaf = certify("gw1", pki.client.key, issuer=pki.ca, ca=True)
    assert codes(receive(start(), issued_reply(pki.ca, pki.client.certificate, leaf))) == ["ca-certificate"]


# Envelopes


@pytest.mark.parametrize(
    ("cipher", "security", "said"),
    [
        (Cipher.AES128, Security.STRICT, []),
        (Cipher.AES192, Security.STRICT, []),
        (Cipher.AES256, Security.STRICT, []),
        (Cipher.DES3, Security.DEFAULT, ["weak-reply"]),
        (Cipher.DES, Security.DEFAULT, ["weak-reply"]),
        (Cipher.DES, Security.LEGACY, ["weak-reply"]),
    ],
)
def test_a_reply_is_read_in_every_cipher_that_the_policy_allows(start, pki, cipher, security, said):
    reply = issued_reply(pki.ca, pki.client.certificate, pki.issue(), cipher=cipher)
    assert codes(receive(start(security=security), reply)) == said


@pytest.mark.parametrize("cipher", [Cipher.DES, Cipher.DES3])
def test_a_weak_cipher_fails_the_strict_policy_unless_that_is_relaxed(start, pki, cipher):
    reply = issued_reply(pki.ca, pki.client.certificate, pki.issue(), cipher=cipher)
    with pytest.raises(TrustError, match=cipher.value) as error:
        receive(start(security=Security.STRICT), reply)
    assert error.value.check == "algorithms"
    relaxed = start(security=Security.STRICT, relaxed=frozenset({"algorithms"}))
    assert codes(receive(relaxed, reply)) == ["relaxed-algorithms", "weak-reply"]


def test_weak_digest_and_weak_cipher_are_told_in_one_line(start, pki):
    """Micromdm and step-ca answer in DES and SHA-1 (Q-020)."""
    reply = issued_reply(pki.ca, pki.client.certificate, pki.issue(), cipher=Cipher.DES, digest=Digest.SHA1)
    [finding] = receive(start(), reply).findings
    assert finding.text == "the reply uses sha-1 and des-cbc"


def test_a_success_for_somebody_else_does_not_open(start, pki):
    reply = issued_reply(pki.ca, pki.stranger.certificate, pki.issue())
    enrollment = start()
    with pytest.raises(ProtocolError, match="not for our certificate"):
        receive(enrollment, reply)
    assert enrollment.state is State.AWAITING


def test_certificates_in_clear_are_no_success(start, pki):
    """Without an envelope nothing shows that the CA answers our key (S-043)."""
    reply = Reply(signer=pki.ca, content=cms.build_certs_only([pki.issue()]), status="0")
    with pytest.raises(ProtocolError, match="where a CMS EnvelopedData must be"):
        receive(start(), reply)


def test_an_ec_client_receives_through_its_challenge(start, pki):
    """The request goes to an RSA key, the reply comes under the password (RFC 8894 §3.1)."""
    leaf = pki.issue(key=pki.ec_client.key)
    enrollment = start(identity=pki.ec_client, csr=request("gw1", pki.ec_client.key), password_envelope=True)
    reply = issued_reply(pki.ca, pki.ec_client.certificate, leaf, challenge_password=CHALLENGE)
    assert receive(enrollment, reply).certificate == leaf


def test_an_ec_ca_receives_through_the_challenge(start, pki):
    enrollment = start(bundle=pki.ec_bundle, send=False, password_envelope=True)
    seen = messages.parse_request(enrollment.next_request(now=NOW, sender_nonce=NONCE).body)
    content = envelopes.open_envelope(seen.envelope, pki.ec_ca, challenge_password=CHALLENGE)
    assert content == enrollment.csr.public_bytes(Encoding.DER)
    leaf = pki.issue(issuer=pki.ec_ca)
    outcome = receive(enrollment, issued_reply(pki.ec_ca, pki.client.certificate, leaf))
    assert outcome.chain == (pki.ec_ca.certificate,)


def test_an_ec_ca_and_no_challenge_send_nothing(start, pki):
    """Leaving the encryption out is no way (C-046)."""
    enrollment = start(bundle=pki.ec_bundle, csr=request("gw1", pki.client.key, challenge=None), send=False)
    with pytest.raises(TrustError) as error:
        enrollment.next_request(now=NOW, sender_nonce=NONCE)
    assert error.value.check == "recipient"
    assert (enrollment.state, enrollment.sent) == (State.READY, None)


@pytest.mark.parametrize("allowed", [False, True])
def test_an_ec_ca_and_no_good_challenge_send_nothing(start, pki, allowed):
    """Who takes the RA out of the answer would guess the challenge offline (S-093)."""
    csr = request("gw1", pki.client.key, challenge="x" * 13 if allowed else CHALLENGE)
    enrollment = start(bundle=pki.ec_bundle, csr=csr, send=False, password_envelope=allowed)
    said = "fewer than 14 characters" if allowed else "offers no certificate that can decrypt"
    with pytest.raises(TrustError, match=said) as error:
        enrollment.next_request(now=NOW, sender_nonce=NONCE)
    assert error.value.check == "recipient"
    assert (enrollment.state, enrollment.sent) == (State.READY, None)


def test_a_reply_under_the_challenge_is_not_asked_for_unless_allowed(start, pki):
    csr = request("gw1", pki.ec_client.key)
    with pytest.raises(TrustError, match="our signing key is EC") as error:
        start(identity=pki.ec_client, csr=csr)
    assert error.value.check == "recipient"
    assert start(identity=pki.ec_client, csr=request("gw1", pki.ec_client.key, challenge=None)).sent


def test_a_weak_wrapping_of_the_key_fails_the_strict_policy(start, pki):
    """PBKDF2 with HMAC-SHA-1 is what OpenSSL writes."""
    leaf = pki.issue(key=pki.ec_client.key)

    def answered(security):
        enrollment = start(
            identity=pki.ec_client,
            csr=request("gw1", pki.ec_client.key),
            password_envelope=True,
            security=security,
        )
        return receive(enrollment, reply)

    info = recipient(key=b"K" * 16, prf=b"", prf_digest=Digest.SHA1)
    sealed = envelope(cms.build_certs_only([leaf]), recipient_infos=[asn1.encode(info)])
    reply = Reply(signer=pki.ca, content=sealed)
    assert codes(answered(Security.DEFAULT)) == ["weak-reply"]
    with pytest.raises(TrustError, match="sha-1") as error:
        answered(Security.STRICT)
    assert error.value.check == "algorithms"


# How certificates are signed


@pytest.mark.parametrize(
    ("digest", "policy", "said"),
    [
        (Digest.MD5, Security.LEGACY, "signed with md5"),
        (Digest.MD5, Security.DEFAULT, None),
        (Digest.MD5, Security.STRICT, None),
        (Digest.SHA1, Security.LEGACY, "signed with sha1"),
        (Digest.SHA1, Security.DEFAULT, "signed with sha1"),
        (Digest.SHA1, Security.STRICT, None),
    ],
)
def test_a_weakly_signed_certificate_is_taken_as_the_policy_says(start, pki, digest, policy, said):
    leaf = resigned(pki.issue(), pki.ca.key, digest)
    reply = issued_reply(pki.ca, pki.client.certificate, leaf)
    if said:
        [finding] = receive(start(security=policy), reply).findings
        assert finding.code == "weak-certificate"
        assert said in finding.text
        return
    enrollment = start(security=policy)
    with pytest.raises(TrustError, match=f"security = {policy} refuses") as error:
        receive(enrollment, reply)
    assert error.value.check == "algorithms"
    assert enrollment.state is State.AWAITING
    relaxed = receive(start(security=policy, relaxed=frozenset({"algorithms"})), reply)
    assert codes(relaxed) == ["relaxed-algorithms"]


def test_a_weak_ca_in_the_middle_is_seen_even_if_only_the_reply_brings_it(start, pki):
    sub_key = pki.ra_signer.key
    sub = SigningIdentity(certify("Sub CA", sub_key, issuer=pki.ca, ca=True, usage="key_cert_sign"), sub_key)
    weak = resigned(sub.certificate, pki.ca.key, Digest.MD5)
    reply = issued_reply(pki.ca, pki.client.certificate, pki.issue(issuer=sub), weak)
    with pytest.raises(TrustError, match="CN=Sub CA is signed with md5"):
        receive(start(), reply)


def test_our_own_small_key_is_not_the_cas_weakness(start, pki):
    small = rsa.generate_private_key(65537, 1024)
    identity = SigningIdentity(certify("gw1", small), small)
    reply = issued_reply(pki.ca, identity.certificate, pki.issue(key=small))
    assert receive(start(identity=identity, csr=request("gw1", small)), reply).findings == ()


# What was asked for


def csr_asking(key, *extensions):
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("gw1"))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def test_a_name_or_purpose_that_was_asked_for_and_left_out_is_worth_a_word(start, pki):
    """S-023."""
    san = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.DNSName("b.example")])
    client = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    csr = csr_asking(pki.client.key, san, client)
    outcome = receive(start(csr=csr), good(pki))
    assert codes(outcome) == ["san-changed", "usage-changed"]
    assert "left out 2 of the 2 names" in outcome.findings[0].text
    some = pki.issue(extensions=[x509.SubjectAlternativeName([x509.DNSName("b.example")]), client])
    outcome = receive(start(csr=csr), issued_reply(pki.ca, pki.client.certificate, some))
    assert [finding.text for finding in outcome.findings] == [
        "the CA left out 1 of the 2 names that were asked for"
    ]
    more = x509.SubjectAlternativeName([*san, x509.DNSName("c.example")])
    whole = pki.issue(extensions=[more, client])
    [finding] = receive(start(csr=csr), issued_reply(pki.ca, pki.client.certificate, whole)).findings
    assert (finding.code, finding.text) == ("san-changed", "the CA added c.example, which nobody asked for")


def test_names_and_purposes_that_nobody_asked_for_are_worth_a_word(start, pki):
    """A name always, but for the common name; a purpose only beside those that were asked for (S-023, Q-116)."""

    def said(csr, *extensions):
        certificate = pki.issue(extensions=extensions)
        outcome = receive(start(csr=csr), issued_reply(pki.ca, pki.client.certificate, certificate))
        return [(finding.code, finding.text) for finding in outcome.findings]

    usual, oid = x509.ExtendedKeyUsage, x509.ExtendedKeyUsageOID
    bare = csr_asking(pki.client.key)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("gw1"), *(x509.DNSName(f"h{n}.example") for n in range(7))]
    )
    assert said(bare, x509.SubjectAlternativeName([x509.DNSName("gw1")])) == []
    assert said(bare, names, usual([oid.CLIENT_AUTH])) == [
        (
            "san-changed",
            "the CA added h0.example, h1.example, h2.example, h3.example, h4.example, 2 more, which nobody asked for",
        )
    ]
    asked = csr_asking(pki.client.key, usual([oid.CLIENT_AUTH]))
    assert said(asked, usual([oid.CLIENT_AUTH, oid.OCSP_SIGNING])) == [
        ("usage-changed", "the CA added 1.3.6.1.5.5.7.3.9, which nobody asked for")
    ]
    address = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("http://a\x1b[2J"), x509.RegisteredID(oid.OCSP_SIGNING)]
    )
    assert said(bare, address)[0][1].count("x1b") == 1


def test_of_several_certificates_for_our_key_the_newest_that_chains_is_taken(start, pki):
    ours = pki.issue(begins=NOW - 2 * DAY)
    newer = certify("gw1", pki.client.key, issuer=pki.stranger, ca=False, begins=NOW - DAY)
    outcome = receive(start(), issued_reply(pki.ca, pki.client.certificate, ours, newer))
    assert outcome.certificate == ours
    assert codes(outcome) == ["several-certificates"]
    with pytest.raises(TrustError, match="does not chain") as error:
        receive(start(), issued_reply(pki.ca, pki.client.certificate, newer, newer))
    assert error.value.check == "chain"


def test_our_own_certificate_in_the_cas_answer_neither_signs_nor_receives(start, pki):
    """Neither the signer's nor that of the request's key; whoever is in between may add them (S-002, S-010)."""
    mine = [
        certify("RA", key, issuer=pki.ca, ca=False, usage="digital_signature key_encipherment")
        for key in (pki.client.key, pki.ra_encryption.key)
    ]
    bundle = pin(pki.ca.certificate, *mine)
    assert bundle.recipient in mine
    enrollment = start(bundle=bundle, csr=csr_asking(pki.ra_encryption.key))
    channel = enrollment.channel
    assert (channel.bundle.recipient, channel.bundle.signers) == (pki.ca.certificate, (pki.ca.certificate,))
    own = SigningIdentity(mine[0], pki.client.key)
    with pytest.raises(TrustError) as error:
        receive(enrollment, issued_reply(own, pki.client.certificate, pki.issue()))
    assert error.value.check == "signer"


def test_a_ca_that_has_only_our_own_certificate_is_refused(start, pki):
    mine = certify("gw1", pki.client.key, ca=True)
    with pytest.raises(TrustError, match="is for our own key") as error:
        start(bundle=pin(mine))
    assert error.value.check == "recipient"


def test_a_certificate_that_may_sign_others_and_is_no_ca_is_worth_a_word(start, pki):
    leaf = certify("gw1", pki.client.key, issuer=pki.ca, ca=False, usage="digital_signature key_cert_sign")
    assert codes(receive(start(), issued_reply(pki.ca, pki.client.certificate, leaf))) == ["key-cert-sign"]


def test_the_challenge_for_envelopes_is_the_csrs_or_else_the_channels(start, pki):
    without = request("gw1", pki.client.key, challenge=None)
    assert start(send=False, challenge_password="other").channel.challenge_password == CHALLENGE
    assert start(send=False, csr=without, challenge_password="kept").channel.challenge_password == "kept"
    assert start(send=False, csr=without).channel.challenge_password is None


# Snapshots


def through_json(enrollment):
    return json.loads(json.dumps(enrollment.snapshot()))


def restore(snapshot, pki, **how):
    return Enrollment.restore(
        snapshot, **{"key": pki.client.key, "bundle": pki.bundle, "random_bytes": random_bytes(), **how}
    )


@pytest.mark.parametrize("previous", [False, True])
def test_a_snapshot_survives_json_and_goes_on_polling(start, pki, previous):
    enrollment = start(
        previous=pki.issue() if previous else None,
        message_type=MessageType.RENEWAL_REQ,
        security=Security.LEGACY,
        relaxed=frozenset({"chain"}),
        choice=choose(NONE, security=Security.LEGACY, digest=Digest.MD5),
        password_envelope=True,
    )
    receive(enrollment, Reply(signer=pki.ca, content=None, status="3"))
    snapshot = through_json(enrollment)
    again = restore(snapshot, pki)
    assert again.snapshot() == snapshot
    assert again.state is State.PENDING
    assert again.previous == enrollment.previous
    assert again.channel.challenge_password == CHALLENGE
    assert again.channel.password_envelope


def test_a_restored_enrollment_polls_and_gets_its_certificate(start, pki):
    again = restore(through_json(start()), pki)
    seen, _ = opened(again.next_request(now=NOW, sender_nonce=NONCE), pki)
    assert seen.message_type == MessageType.CERT_POLL
    assert isinstance(receive(again, good(pki)), Issued)


def test_a_restored_enrollment_of_which_nothing_was_sent_sends_its_request(start, pki):
    again = restore(through_json(start(send=False)), pki)
    seen, _ = opened(again.next_request(now=NOW, sender_nonce=NONCE), pki)
    assert seen.message_type == MessageType.PKCS_REQ


def test_no_private_key_is_in_a_snapshot(start, pki):
    assert set(start().snapshot()) == {
        "version", "url", "state", "transaction_id", "message_type", "csr", "signer", "previous",
        "digest", "cipher", "method", "security", "relaxed",
        "password_envelope",
    }  # fmt: skip


def test_a_snapshot_needs_its_own_key(start, pki):
    with pytest.raises(ProtocolError, match="signed with another key"):
        restore(through_json(start()), pki, key=pki.stranger.key)


DAMAGE = [
    {"version": 2},
    {"state": "somewhere"},
    {"message_type": 18},
    {"csr": "AAAA"},
    {"csr": None},
    {"signer": "not base64 at all!"},
    {"signer": "AAAA"},
    {"previous": "AAAA"},
    {"digest": "sha-0"},
    {"cipher": "rot13"},
    {"method": "PUT"},
    {"security": "none"},
    {"relaxed": 5},
    {"url": None},
    {"transaction_id": 7},
]


@pytest.mark.parametrize("damage", DAMAGE, ids=str)
def test_a_damaged_snapshot_cannot_be_read(start, pki, damage):
    with pytest.raises(ProtocolError, match="cannot be read"):
        restore(through_json(start()) | damage, pki)


@pytest.mark.parametrize("field", ["version", "url", "state", "csr", "previous", "relaxed"])
def test_a_snapshot_with_something_missing_cannot_be_read(start, pki, field):
    snapshot = through_json(start())
    del snapshot[field]
    with pytest.raises(ProtocolError, match="cannot be read"):
        restore(snapshot, pki)


@pytest.mark.parametrize("snapshot", [None, [], "text", 5])
def test_what_is_no_snapshot_cannot_be_read(pki, snapshot):
    with pytest.raises(ProtocolError, match="cannot be read"):
        restore(snapshot, pki)


def test_a_restored_enrollment_trusts_the_bundle_of_today(start, pki):
    other = SigningIdentity(certify("Other CA", rsa_key(), ca=True), pki.stranger.key)
    again = restore(through_json(start()), pki, bundle=pin(other.certificate))
    again.next_request(now=NOW, sender_nonce=NONCE)
    with pytest.raises(TrustError) as error:
        receive(again, good(pki))
    assert error.value.check == "signer"


def test_a_csr_without_a_readable_challenge_has_none(start, pki):
    assert start(send=False, csr=request("gw1", ec_key(), challenge=None)).channel.challenge_password is None


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography on odd names and numbers
def test_whatever_is_in_an_envelope_only_our_errors_come_out(connect, pki):
    """Certificates in a reply are the only thing that is read and not ours or the CA's."""
    delivered = cms.build_certs_only([pki.issue(), pki.ca.certificate])
    channel = connect(relaxed=frozenset(CHECKS))
    csr = request("gw1", pki.client.key)

    @settings(max_examples=150)
    @given(broken([delivered]))
    def receives(content):
        enrollment = Enrollment(channel, csr, transaction_id=TRANSACTION_ID, previous=pki.ca.certificate)
        enrollment.next_request(now=NOW, sender_nonce=NONCE)
        sealed = envelopes.build_envelope(
            content, recipient=pki.client.certificate, cipher=Cipher.AES128, random_bytes=random_bytes()
        )
        try:
            receive(enrollment, Reply(signer=pki.ca, content=sealed))
        except ScepflowError:
            assert enrollment.state is State.AWAITING

    receives()


# Without GetCACert: certificates in files


def test_a_pinned_ra_signs_replies_and_without_a_ca_the_chain_must_be_relaxed(start, pki):
    bundle = trust.pinned([], signer=pki.ra_signer.certificate, recipient=pki.ca.certificate, now=NOW)
    reply = issued_reply(pki.ra_signer, pki.client.certificate, pki.issue())
    with pytest.raises(TrustError, match="no CA certificate is known") as error:
        receive(start(bundle=bundle), reply)
    assert error.value.check == "chain"
    outcome = receive(start(bundle=bundle, relaxed=frozenset({"chain"})), reply)
    assert (codes(outcome), outcome.chain) == (["relaxed-chain"], ())


def test_with_a_pinned_ra_and_its_ca_the_chain_is_verified(start, pki):
    bundle = trust.pinned([pki.ca.certificate], signer=pki.ra_signer.certificate, now=NOW)
    outcome = receive(start(bundle=bundle), issued_reply(pki.ra_signer, pki.client.certificate, pki.issue()))
    assert outcome.chain == (pki.ca.certificate,)


def test_nobody_but_the_pinned_signer_may_sign_whatever_comes_along(start, pki):
    """S-001, S-003: not the RA's own CA, not its other key holders, not who sends a certificate of its name."""
    bundle = trust.pinned([pki.ca.certificate], signer=pki.ra_signer.certificate, now=NOW)
    named_alike = certify(
        "RA signing",
        pki.stranger.key,
        issuer=pki.ca,
        ca=False,
        serial_number=pki.ra_signer.certificate.serial_number,
    )
    for signer, check in (
        (pki.ca, "signer"),
        (pki.ra_encryption, "signer"),
        (pki.stranger, "signer"),
        (SigningIdentity(named_alike, pki.stranger.key), "signature"),
        (SigningIdentity(pki.ra_signer.certificate, pki.stranger.key), "signature"),
    ):
        reply = issued_reply(signer, pki.client.certificate, pki.issue())
        with pytest.raises(TrustError) as error:
            receive(start(bundle=bundle, relaxed=frozenset({"chain"})), reply)
        assert error.value.check == check


# As sscep does it

SSCEP_CSR = b"""-----BEGIN CERTIFICATE REQUEST-----
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


def test_the_transaction_id_of_a_key_is_sscep_s():
    assert key_transaction_id(x509.load_pem_x509_csr(SSCEP_CSR)) == "97CCDD49F8318691928A4113B43A5CE9"


def test_a_resumed_enrollment_begins_with_a_poll(connect, pki):
    csr = request("gw1", pki.client.key)
    enrollment = Enrollment(connect(), csr, transaction_id=TRANSACTION_ID, resumed=True)
    with pytest.raises(ProtocolError, match="takes no reply"):
        receive(enrollment, good(pki))
    seen, content = opened(enrollment.next_request(now=NOW, sender_nonce=NONCE), pki)
    assert seen.message_type == MessageType.CERT_POLL
    assert content == asn1.wrap(0x30, pki.ca.certificate.subject.public_bytes() + csr.subject.public_bytes())
    assert isinstance(receive(enrollment, good(pki)), Issued)
