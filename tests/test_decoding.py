"""`scepflow.decoding`: every message is shown as it stands, and what deviates is said in words."""

import base64
import json
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from issuing import CA_USAGE, CHALLENGE, DAY, NOW, certify, ec_key, name, request, rsa_key
from replies import (
    NONCE,
    TRANSACTION_ID,
    Reply,
    algorithm,
    altered,
    attribute,
    content_info,
    envelope,
    issued_reply,
    key_transport_info,
    random_bytes,
    seq,
    signed_data,
    to_ber,
)

from scepflow.decoding import Means, decode
from scepflow.engine import cms, envelopes, messages, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.asn1 import Oid, encode, wrap
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import MessageType
from scepflow.errors import ProtocolError, TrustError

FOLDER = Path(
    os.environ.get("SCEPFLOW_VECTORS") or Path(__file__).parents[1].resolve().parent / "shared" / "vectors"
)


@pytest.fixture(scope="module")
def pki():
    ca_key, client_key = rsa_key(), rsa_key()
    ca = SigningIdentity(certify("Test CA", ca_key, ca=True, usage=CA_USAGE), ca_key)
    client = SigningIdentity(certify("gw1", client_key), client_key)
    issued = certify("gw1", client_key, issuer=ca, ca=False, usage="digital_signature")
    return SimpleNamespace(ca=ca, client=client, issued=issued)


@pytest.fixture(scope="module")
def reply(pki):
    return issued_reply(pki.ca, pki.client.certificate, pki.issued)


def asked(pki, message_type, content):
    """Return a request as the engine makes it."""
    sealed = envelopes.build_envelope(
        content, recipient=pki.ca.certificate, cipher=Cipher.AES128, random_bytes=random_bytes()
    )
    return messages.build_request(
        message_type,
        sealed,
        transaction_id=TRANSACTION_ID,
        sender_nonce=NONCE,
        identity=pki.client,
        digest=Digest.SHA256,
        signing_time=NOW,
    )


def codes(decoded):
    return [note["code"] for note in decoded.document["notes"]]


def der_of(thing):
    return thing.public_bytes(Encoding.DER)


# -- requests and replies


def test_a_request_as_we_send_it_deviates_in_nothing(pki):
    decoded = decode(asked(pki, MessageType.PKCS_REQ, der_of(request("gw1", pki.client.key))))
    document = decoded.document
    assert document["kind"] == "request"
    assert document["message_type"] == {"number": "19", "name": "PKCSReq"}
    assert document["transaction_id"] == TRANSACTION_ID
    assert document["sender_nonce"] == NONCE.hex()
    assert document["signing_time"] == "2026-06-01T12:00:00Z"
    assert (document["form"], document["notes"], decoded.error) == ("DER", [], None)
    assert document["signature"]["verdict"] == "right"
    assert document["signature"]["self_signed"]
    assert document["envelope"]["cipher"] == "aes-128-cbc"
    (recipient,) = document["envelope"]["recipients"]
    assert recipient["issuer"] == "CN=Test CA"
    assert int(recipient["serial_number"], 16) == pki.ca.certificate.serial_number
    assert "content" not in document["envelope"]


def test_with_the_ca_s_key_the_request_inside_is_shown_without_its_challenge(pki):
    message = asked(pki, MessageType.PKCS_REQ, der_of(request("gw1", pki.client.key)))
    document = decode(message, Means(key=pki.ca.key)).document
    inside = document["envelope"]["content"]
    assert inside["kind"] == "request"
    assert inside["subject"] == "CN=gw1"
    assert inside["key"] == "RSA-2048"
    assert inside["signature"] == "right"
    assert inside["challenge"] == "present, not shown"
    assert CHALLENGE not in str(document)
    shown = decode(message, Means(key=pki.ca.key, show_secrets=True)).document
    assert shown["envelope"]["content"]["challenge"] == CHALLENGE


@pytest.mark.parametrize(
    ("message_type", "kind"),
    [
        (MessageType.CERT_POLL, "issuer-and-subject"),
        (MessageType.GET_CERT, "issuer-and-serial-number"),
        (MessageType.GET_CRL, "issuer-and-serial-number"),
    ],
)
def test_what_is_asked_about_is_named(pki, message_type, kind):
    second = name("gw1").public_bytes() if kind.endswith("subject") else encode(255)
    content = seq(name("Test CA").public_bytes(), second)
    document = decode(asked(pki, message_type, content), Means(key=pki.ca.key)).document
    assert document["message_type"]["name"] == message_type.title
    inside = document["envelope"]["content"]
    assert (inside["kind"], inside["issuer"]) == (kind, "CN=Test CA")
    assert inside.get("subject", inside.get("serial_number")) in {"CN=gw1", "ff"}


def test_a_reply_is_shown_with_the_certificate_in_it(pki, reply):
    decoded = decode(reply.der(), Means(key=pki.client.key, ca=(pki.ca.certificate,)))
    document = decoded.document
    assert document["kind"] == "reply"
    assert document["title"] == "CertRep, a reply: SUCCESS"
    assert document["recipient_nonce"] == NONCE.hex()
    assert document["signature"]["authenticated"] is True
    assert document["signature"]["certificate_from"] == "--ca"
    inside = document["envelope"]["content"]
    assert inside["kind"] == "certificates"
    assert [certificate["subject"] for certificate in inside["certificates"]] == ["CN=gw1"]
    assert decoded.error is None


def test_a_crl_in_a_reply_is_shown(pki, reply):
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(pki.ca.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_extension(x509.CRLNumber(7), critical=False)
        .add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(0xBAD).revocation_date(NOW).build()
        )
        .sign(pki.ca.key, hashes.SHA256())
    )
    sealed = envelope(
        cms.build_certs_only([], [crl.public_bytes(Encoding.DER)]), recipient=pki.client.certificate
    )
    document = decode(reply.but(content=sealed).der(), Means(key=pki.client.key)).document
    (shown,) = document["envelope"]["content"]["crls"]
    assert shown["issuer"] == "CN=Test CA"
    assert shown["revoked"] == [{"serial_number": "bad", "revoked_at": "2026-06-01T12:00:00Z"}]
    assert shown["extensions"] == [{"name": "cRLNumber", "value": "7"}]
    assert decode(crl.public_bytes(Encoding.PEM)).document["kind"] == "crl"


def test_a_failure_is_named_and_its_text_made_safe(pki):
    knobs = {"status": "2", "fail_info": "2", "fail_info_text": "no\x1b[2J", "text_tag": 0x0C}
    document = decode(Reply(signer=pki.ca, content=None, **knobs).der()).document
    assert document["fail_info"] == {"number": "2", "name": "badRequest"}
    assert document["fail_info_text"] == "no\\x1b[2J"
    assert document["title"].endswith("FAILURE")


def test_a_value_that_is_not_defined_is_shown_and_noted(pki, reply):
    document = decode(reply.but(message_type="18", status="1").der()).document
    assert document["message_type"] == {"number": "18", "name": "not defined"}
    assert [note["code"] for note in document["notes"]].count("undefined-value") == 2
    assert decode(reply.but(status="2", fail_info="7").der()).document["fail_info"]["name"] == "badIdentity"


# -- who signed


def test_a_signature_by_somebody_else_is_an_error_only_where_the_ca_is_given(pki, reply):
    stranger = SigningIdentity(certify("Stranger", pki.client.key), pki.client.key)
    forged = reply.but(signer=stranger, certificates=(stranger.certificate,)).der()
    assert decode(forged).error is None
    decoded = decode(forged, Means(ca=(pki.ca.certificate,)))
    assert isinstance(decoded.error, TrustError)
    assert decoded.document["signature"]["authenticated"] is False
    assert decoded.document["signature"]["certificate_from"] == "the message itself"


@pytest.mark.parametrize(
    ("knobs", "verdict"),
    [
        ({"sign": lambda _: b"nonsense"}, "WRONG"),
        ({"hashed": b"another content"}, "WRONG: the content was changed"),
        ({"certificates": ()}, "not verified: the message does not carry the signer's certificate"),
        (
            {"digest_parameters": b"", "signature_algorithm": algorithm(Oid("1.2.3"))},
            "not verified: signature",
        ),
    ],
)
def test_a_signature_that_is_not_right_is_called_so(pki, reply, knobs, verdict):
    signature = decode(reply.but(**knobs).der()).document["signature"]
    assert signature["verdict"].startswith(verdict)
    assert signature["verified"] is False


@pytest.mark.parametrize("knobs", [{"sign": lambda _: b"nonsense"}, {"hashed": b"another content"}])
def test_a_wrong_signature_in_the_ca_s_name_is_an_error(pki, reply, knobs):
    decoded = decode(reply.but(**knobs).der(), Means(ca=(pki.ca.certificate,)))
    assert decoded.document["signature"]["authenticated"] is False
    assert isinstance(decoded.error, TrustError)


def test_a_request_is_signed_by_the_client_so_the_ca_file_says_nothing(pki):
    message = asked(pki, MessageType.PKCS_REQ, der_of(request("gw1", pki.client.key)))
    decoded = decode(message, Means(ca=(pki.ca.certificate,)))
    assert decoded.error is None
    assert "authenticated" not in decoded.document["signature"]


# -- deviations


def in_pieces(content):
    return wrap(0xA0, wrap(0x04, content[:8]) + wrap(0x04, content[8:]))


def test_a_reply_as_the_rfc_wants_it_has_no_notes(pki, reply):
    assert codes(decode(reply.but(digest_parameters=b"").der())) == []


@pytest.mark.parametrize(
    ("knobs", "code", "words"),
    [
        ({"arrange": lambda attributes: sorted(attributes)[::-1]}, "unsorted-attributes", "order"),
        ({"digest": Digest.SHA1}, "weak-digest", "SHA-1"),
        ({"digest": Digest.MD5}, "weak-digest", "MD5"),
        ({}, "digest-parameters", "RFC 5754"),
        ({"certificates": ()}, "no-certificates", "NDES"),
        ({"sender_nonce": None}, "missing-attribute", "senderNonce is missing"),
        ({"recipient_nonce": b"8 bytes!"}, "nonce-length", "recipientNonce has 8 bytes"),
        ({"text_tag": 0x0C}, "attribute-type", "UTF8String"),
        ({"text_tag": 0x1E}, "attribute-type", "tag 1e"),
        ({"signature_algorithm": algorithm(oids.RSA_ENCRYPTION, b"")}, "missing-parameters", "NULL"),
        ({"key_identifier": b"\1\2"}, "key-identifier", "signer"),
        ({"signatures": 2}, "several-signers", "2 signatures"),
        ({"content": None}, "no-envelope", "no envelope"),
        ({"content": None, "status": "3"}, None, ""),
        ({"content": b"", "status": "3"}, "empty-content", "empty"),
        ({"content": b"\0", "status": "3"}, "empty-content", "one byte 00"),
        ({"content": b"neither"}, "envelope", "no envelope"),
        (
            {"content_type": oids.ENVELOPED_DATA, "signed_content_type": oids.ENVELOPED_DATA},
            "content-type",
            "XiPKI",
        ),
        ({"signed_content_type": None}, "content-type", "missing"),
        (
            {"signed_content_type": None, "extra": (attribute(oids.CONTENT_TYPE, encode(1)),)},
            "content-type",
            "missing, or not",
        ),
        ({"status": None, "fail_info": "1"}, "missing-attribute", "pkiStatus"),
        ({"fail_info": "1"}, "fail-info", "contradicts"),
        ({"status": "2"}, "no-fail-info", "without failInfo"),
        ({"status": "2", "fail_info": "12"}, "undefined-value", "Dogtag"),
        ({"extra": (attribute(oids.PKI_STATUS, encode(1)),)}, "duplicate-attribute", "pkiStatus comes twice"),
        ({"extra": (attribute(Oid("1.2.3.4"), encode(1), encode(2)),)}, "attribute-values", "1.2.3.4 has 2"),
        ({"extra": (seq(encode(5)),)}, "attribute", "cannot be read"),
        ({"extra": (attribute(oids.SIGNING_TIME, wrap(0x17, b"1601010000-0400")),)}, "signing-time", "form"),
        ({"unsigned": wrap(0xA1, attribute(Oid("1.2.3.4"), encode(1)))}, "unsigned-attributes", "anybody"),
    ],
)
def test_what_deviates_in_a_message_is_noted(reply, knobs, code, words):
    decoded = decode(reply.but(**knobs).der())
    if code is None:
        assert codes(decoded) == ["digest-parameters"]
        return
    assert any(code == note["code"] and words in note["text"] for note in decoded.document["notes"])


def test_the_signing_time_of_the_far_future_is_read(reply):
    far = attribute(oids.SIGNING_TIME, wrap(0x18, b"20510203040506Z"))
    assert decode(reply.but(extra=(far,)).der()).document["signing_time"] == "2051-02-03T04:05:06Z"


def test_ber_is_noted_and_read_all_the_same(pki, reply):
    decoded = decode(to_ber(reply.der()), Means(key=pki.client.key))
    assert decoded.document["form"] == "BER"
    assert "ber" in codes(decoded)
    assert decoded.document["signature"]["verdict"] == "right"
    assert decoded.document["envelope"]["content"]["kind"] == "certificates"


@pytest.mark.parametrize(
    ("knobs", "code"),
    [
        ({"cipher": Cipher.DES}, "weak-cipher"),
        ({"cipher": Cipher.DES3}, "weak-cipher"),
        ({"pad": "oaep"}, "oaep"),
        ({"key_transport": algorithm(oids.RSA_ENCRYPTION, b"")}, "missing-parameters"),
        ({"rid": wrap(0x80, b"\1\2")}, "key-identifier"),
        ({"pieces": True}, "constructed-ciphertext"),
    ],
)
def test_what_deviates_in_an_envelope_is_noted_and_it_opens(pki, reply, knobs, code):
    certs_only = cms.build_certs_only([pki.issued])
    how = dict(knobs)
    if how.pop("pieces", False):
        from scepflow.engine import algorithms

        key, iv = b"K" * 16, b"I" * 16
        how["encrypted_content"] = in_pieces(algorithms.encrypt(Cipher.AES128, key, iv, certs_only))
    if how.get("pad"):
        how["pad"] = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
        how["key_transport"] = algorithm(oids.RSAES_OAEP, seq())
    sealed = envelope(certs_only, recipient=pki.client.certificate, **how)
    decoded = decode(reply.but(content=sealed).der(), Means(key=pki.client.key))
    assert code in codes(decoded)
    assert decoded.document["envelope"]["content"]["certificates"][0]["subject"] == "CN=gw1"
    assert decoded.error is None


def test_an_envelope_that_we_do_not_read_is_described_all_the_same(pki, reply):
    odd = content_info(
        oids.ENVELOPED_DATA,
        seq(
            encode(0),
            wrap(0x31, b"".join([wrap(0xA1, encode(3)), wrap(0xA9, encode(3))])),
            seq(encode(oids.SIGNED_DATA), algorithm(Oid("1.2.840.113549.3.2")), wrap(0x80, b"12345678")),
        ),
    )
    decoded = decode(reply.but(content=odd).der(), Means(key=pki.client.key))
    assert {"cipher", "encrypted-type", "several-recipients"} <= set(codes(decoded))
    assert decoded.document["envelope"]["cipher"] == "rc2-cbc"
    assert [r["kind"] for r in decoded.document["envelope"]["recipients"]] == [
        "key agreement",
        "unknown (tag a9)",
    ]
    assert "not opened: unknown content cipher" in decoded.error.message


# -- envelopes for the challenge


def for_password(content, *, challenge=CHALLENGE):
    """Return an envelope as the engine makes it where a key cannot decrypt."""
    return envelopes.build_envelope(
        content,
        recipient=certify("EC", ec_key()),
        cipher=Cipher.AES256,
        random_bytes=random_bytes(),
        challenge_password=challenge,
    )


def test_an_envelope_for_a_password_is_described(pki, reply):
    document = decode(reply.but(content=for_password(b"x")).der()).document
    assert document["envelope"]["recipients"] == [
        {
            "kind": "password (the challenge)",
            "key_derivation": "PBKDF2",
            "function": "hmacWithSHA256",
            "iterations": 600_000,
            "key_encryption": "PWRI-KEK",
        }
    ]
    assert document["envelope"]["opened"] is False


@pytest.mark.parametrize(
    ("derivation", "shown"),
    [
        (b"", {"key_derivation": "none"}),
        (wrap(0xA0, encode(Oid("1.2.3"))), {"key_derivation": "1.2.3"}),
        (wrap(0xA0, encode(oids.PBKDF2)), {"key_derivation": "PBKDF2"}),
        (wrap(0xA0, encode(oids.PBKDF2) + seq(encode(1))), {"key_derivation": "PBKDF2"}),
        (
            wrap(0xA0, encode(oids.PBKDF2) + seq(encode(b"salt"), encode(7))),
            {"key_derivation": "PBKDF2", "function": "hmacWithSHA1", "iterations": 7},
        ),
    ],
)
def test_a_derivation_of_another_kind_is_described_and_opens_nothing(derivation, shown):
    kek = algorithm(oids.PWRI_KEK, algorithm(oids.AES128_CBC, encode(bytes(16))))
    recipient = wrap(0xA3, encode(0) + derivation + kek + encode(bytes(32)))
    encrypted = seq(encode(oids.DATA), algorithm(oids.AES128_CBC, encode(bytes(16))), wrap(0x80, bytes(16)))
    odd = content_info(oids.ENVELOPED_DATA, seq(encode(3), wrap(0x31, recipient), encrypted))
    decoded = decode(odd, Means(challenge=CHALLENGE))
    (described,) = decoded.document["envelope"]["recipients"]
    assert described == {"kind": "password (the challenge)", **shown, "key_encryption": "PWRI-KEK"}
    assert decoded.error.message == "the envelope does not open with this challenge"


def test_a_request_for_a_password_is_opened_by_the_challenge_and_does_not_show_it(pki):
    key = ec_key()
    message = messages.build_request(
        MessageType.PKCS_REQ,
        for_password(der_of(request("gw1", key))),
        transaction_id=TRANSACTION_ID,
        sender_nonce=NONCE,
        identity=SigningIdentity(certify("gw1", key), key),
        digest=Digest.SHA256,
        signing_time=NOW,
    )
    means = Means(challenge=CHALLENGE)
    assert CHALLENGE not in repr(means)
    decoded = decode(message, means)
    inside = decoded.document["envelope"]["content"]
    assert (inside["subject"], inside["key"]) == ("CN=gw1", "EC secp256r1")
    assert (decoded.error, decoded.document["envelope"]["opened"]) == (None, True)
    assert CHALLENGE not in str(decoded)


def test_a_reply_for_a_password_is_opened_by_the_challenge_with_or_without_a_key(pki, reply):
    sealed = for_password(cms.build_certs_only([pki.issued]))
    for key in (None, pki.client.key, ec_key()):
        decoded = decode(reply.but(content=sealed).der(), Means(key=key, challenge=CHALLENGE))
        (certificate,) = decoded.document["envelope"]["content"]["certificates"]
        assert (certificate["subject"], decoded.error) == ("CN=gw1", None)


@pytest.mark.parametrize(
    ("give", "password", "message", "hint"),
    [
        ({"challenge": "wrong"}, True, "with this challenge", "the challenge of the request opens both"),
        ({"challenge": "wrong"}, False, "with this challenge", "it is for a key, not for a challenge: --key"),
        ({"key": True}, True, "with this key", "it opens with the challenge: --challenge-file"),
        ({"key": True}, False, "with this key", "a reply with the key that signed the request"),
        ({"key": True, "challenge": "wrong"}, True, "with this key or challenge", "a request opens with"),
    ],
)
def test_what_does_not_open_says_what_to_try(pki, reply, give, password, message, hint):
    content = for_password(b"0") if password else envelope(b"0", recipient=pki.client.certificate)
    means = Means(**give | ({"key": pki.ca.key} if "key" in give else {}))
    decoded = decode(reply.but(content=content).der(), means)
    assert decoded.error.message == f"the envelope does not open {message}"
    assert hint in decoded.error.hint
    assert "wrong" not in str(decoded)


def test_a_challenge_that_was_not_needed_is_noted(pki):
    decoded = decode(der_of(pki.issued), Means(challenge=CHALLENGE))
    assert codes(decoded) == ["challenge-unused"]
    assert "the challenge was not needed" in decoded.document["notes"][0]["text"]


# -- keys


def test_a_key_that_does_not_fit_is_an_error_and_all_else_is_shown(pki, reply):
    decoded = decode(reply.der(), Means(key=pki.ca.key))
    assert isinstance(decoded.error, ProtocolError)
    assert "does not open with this key" in decoded.error.message
    assert decoded.document["envelope"]["opened"] is False
    assert decoded.document["pki_status"]["name"] == "SUCCESS"
    assert decode(reply.der(), Means(key=ec_key())).error


def test_the_recipient_is_found_among_several_with_or_without_its_certificate(pki, reply):
    key = b"K" * 16
    infos = [key_transport_info(one, key) for one in (pki.ca.certificate, pki.client.certificate)]
    sealed = envelope(cms.build_certs_only([pki.issued]), recipient_infos=infos)
    message = reply.but(content=sealed).der()
    for certificate in (None, pki.client.certificate):
        decoded = decode(message, Means(key=pki.client.key, certificate=certificate))
        assert decoded.document["envelope"]["opened"] is True
        assert "several-recipients" in codes(decoded)
    assert decode(message, Means(key=pki.client.key, certificate=pki.issued)).error
    by_identifier = certify("gw1", pki.client.key, key_identifier=b"\1\2")
    sealed = envelope(b"\x30\0", recipient=pki.client.certificate, rid=wrap(0x80, b"\1\2"))
    means = Means(key=pki.client.key, certificate=by_identifier)
    assert decode(reply.but(content=sealed).der(), means).document["envelope"]["opened"] is True


def test_a_wrapped_key_of_a_wrong_length_opens_nothing(pki, reply):
    broken = key_transport_info(pki.client.certificate, b"K" * 16)
    cut = seq(encode(0), *[broken[4:][3:-260]], encode(b"short"))
    sealed = envelope(b"\x30\0", recipient_infos=[cut])
    decoded = decode(reply.but(content=sealed).der(), Means(key=pki.client.key))
    assert decoded.document["envelope"]["opened"] is False


def test_what_is_inside_and_unknown_is_said_to_be_so(pki, reply):
    sealed = envelope(seq(encode(1), encode(2)), recipient=pki.client.certificate)
    decoded = decode(reply.but(content=sealed).der(), Means(key=pki.client.key))
    assert decoded.document["envelope"]["content"]["kind"] == "unknown"


def test_a_key_that_was_not_needed_is_noted(pki):
    decoded = decode(der_of(pki.issued), Means(key=pki.client.key))
    assert codes(decoded) == ["key-unused"]


# -- the other answers and files


def test_an_answer_to_get_ca_cert_is_its_certificates(pki):
    decoded = decode(cms.build_certs_only([pki.ca.certificate, pki.issued]))
    assert decoded.document["kind"] == "certificates"
    assert {c["subject"]: c["ca"] for c in decoded.document["certificates"]} == {
        "CN=Test CA": True,
        "CN=gw1": False,
    }
    empty = signed_data(wrap(0xA0, encode(b"")), certificates=wrap(0xA0, der_of(pki.issued)))
    assert codes(decode(empty)) == ["empty-content"]


def test_certificates_and_crls_that_cannot_be_read_are_said_to_be_so():
    broken = signed_data(certificates=wrap(0xA0, seq(encode(1))), crls=wrap(0xA1, seq(encode(1))))
    decoded = decode(broken)
    assert codes(decoded) == ["certificate", "crl"]
    assert decoded.document["certificates"] == [{"subject": "not a certificate"}]


def test_an_answer_to_get_next_ca_cert_is_verified_by_the_ca(pki):
    following = certify("Next CA", pki.client.key, ca=True)
    plain = {"message_type": None, "status": None, "transaction_id": None}
    nonces = {"recipient_nonce": None, "sender_nonce": None}
    message = Reply(
        signer=pki.ca,
        content=cms.build_certs_only([following]),
        certificates=(pki.ca.certificate,),
        **plain,
        **nonces,
    )
    decoded = decode(message.der(), Means(ca=(pki.ca.certificate,)))
    assert decoded.document["kind"] == "next-ca"
    assert decoded.document["content"]["certificates"][0]["subject"] == "CN=Next CA"
    assert decoded.document["signature"]["authenticated"] is True


class Bare(Reply):
    def attributes(self):
        return []


def test_signed_data_without_attributes_is_no_message_of_scep(pki):
    decoded = decode(Bare(signer=pki.ca, content=b"\x30\0", certificates=(pki.ca.certificate,)).der())
    assert decoded.document["kind"] == "signed"
    assert "no-attributes" in codes(decoded)


def test_capabilities_and_what_follows_from_them():
    decoded = decode(b"AES\r\nSCEPStandard\r\nExample.com-Own\r\n")
    assert decoded.document["known"] == ["AES", "SCEPStandard"]
    assert decoded.document["unknown"] == ["Example.com-Own"]
    assert decoded.document["requests"] == {"method": "POST", "cipher": "aes-128-cbc", "digest": "sha-256"}
    assert decoded.document["notes"] == []
    assert codes(decode(b"Renewal\n")) == ["weak-request", "get-request", "no-scep-standard"]


def test_a_request_file_is_shown_with_all_that_it_asks_for(pki):
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name("gw1"))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("gw1.example.com"),
                    x509.DirectoryName(name("x")),
                    x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
                    x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), encode("u@example.com")),
                    x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), seq(encode(1))),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0" * 50), critical=False
        )
        .add_attribute(x509.ObjectIdentifier("1.2.840.113549.1.9.2"), b"fw-7")
        .sign(ec_key(), hashes.SHA256())
    )
    document = decode(csr.public_bytes(Encoding.PEM)).document
    assert document["form"] == "PEM"
    assert document["key"] == "EC secp256r1"
    assert document["challenge"] == "none"
    assert document["attributes"] == [{"name": "unstructuredName", "value": "fw-7"}]
    extensions = {extension["name"]: extension for extension in document["extensions"]}
    assert extensions["subjectAltName"]["value"] == (
        "dns:gw1.example.com, name:CN=x, id:1.2.3, other:userPrincipalName:u@example.com, "
        "other:1.2.3.4:3003020101"
    )
    assert extensions["extendedKeyUsage"] == {
        "name": "extendedKeyUsage",
        "value": "clientAuth",
        "critical": True,
    }
    assert extensions["basicConstraints"]["value"] == "CA, path length 1"
    assert extensions["1.2.3.4"]["value"].endswith("… (100 bytes)")


def test_a_request_that_was_changed_is_noted(pki):
    der = bytearray(der_of(request("gw1", pki.client.key)))
    der[-1] ^= 1
    decoded = decode(bytes(der))
    assert decoded.document["signature"] == "WRONG"
    assert codes(decoded) == ["request-signature"]


def test_every_form_of_a_file_is_read(pki, reply):
    message = reply.der()
    text = base64.b64encode(message)
    quoted = text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")
    forms = {
        "base64": text,
        "lines": b"\n".join(text[at : at + 64] for at in range(0, len(text), 64)),
        "url-safe": base64.urlsafe_b64encode(message),
        "a web server's log": b'"GET /scep?operation=PKIOperation&message=' + quoted + b' HTTP/1.1" 200',
        "padded": message + b"\n\n",
        "PEM": b"-----BEGIN CMS-----\n" + base64.encodebytes(message) + b"-----END CMS-----\n",
    }
    for form, data in forms.items():
        assert decode(data).document["transaction_id"] == TRANSACTION_ID, form
    assert "trailing-bytes" in codes(decode(forms["padded"]))


def test_several_blocks_are_several_values_and_a_private_key_is_not_shown(pki):
    key = pki.client.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    document = decode(pki.issued.public_bytes(Encoding.PEM) + key).document
    assert [value["kind"] for value in document["values"]] == ["certificate", "private-key"]
    assert document["title"] == "2 values"
    assert base64.b64encode(b"\x02\x01\x00")[:3].decode() not in document["values"][1]["title"]


def test_an_envelope_without_a_signature_is_opened_too(pki):
    decoded = decode(
        envelope(der_of(pki.issued), recipient=pki.client.certificate), Means(key=pki.client.key)
    )
    assert decoded.document["kind"] == "envelope"
    assert decoded.document["envelope"]["content"]["kind"] == "certificate"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"<html>no</html>", "a web page"),
        (b"what is \x1b this", "neither DER, PEM"),
        (seq(encode(1)), "no SCEP message"),
        (seq(encode(1), encode(2)), "no SCEP message"),
        (b"\x30\x82\x01", "no SCEP message"),
        (content_info(oids.DATA, encode(b"x")), "1.2.840.113549.1.7.1"),
        (content_info(oids.SIGNED_DATA, encode(b"x")), "SignedData"),
    ],
)
def test_what_is_nothing_of_scep_is_refused_with_words_that_are_safe(data, words):
    with pytest.raises(ProtocolError) as raised:
        decode(data)
    assert words in raised.value.message
    assert "\x1b" not in raised.value.message


def test_a_weak_key_of_the_signer_is_noted(pki, reply):
    key = rsa.generate_private_key(65537, 1024)
    weak = SigningIdentity(certify("Weak", key), key)
    assert "weak-key" in codes(decode(reply.but(signer=weak, certificates=(weak.certificate,)).der()))


# -- whatever comes


@pytest.fixture(scope="module")
def valid(pki, reply):
    crl = (
        x509.CertificateRevocationListBuilder().issuer_name(name("Test CA")).last_update(NOW).next_update(NOW)
    )
    return [
        reply.der(),
        asked(pki, MessageType.PKCS_REQ, der_of(request("gw1", pki.client.key))),
        cms.build_certs_only(
            [pki.issued], [crl.sign(pki.ca.key, hashes.SHA256()).public_bytes(Encoding.DER)]
        ),
        der_of(request("gw1", pki.client.key)),
        Reply(signer=pki.ca, content=None, status="2", fail_info="2").der(),
    ]


@given(st.data())
def test_whatever_comes_is_shown_or_refused(pki, valid, data):
    means = Means(key=pki.client.key, ca=(pki.ca.certificate,))
    with suppress(ProtocolError):
        json.dumps(decode(data.draw(altered(valid)), means).document)


HUGE = wrap(0x02, b"\x7f" * 3000)
"""A number of more digits than Python writes."""


def test_a_huge_number_is_shown_by_its_first_bytes(pki, reply):
    derivation = wrap(0xA0, encode(oids.PBKDF2) + seq(encode(b"salt"), HUGE))
    info = wrap(0xA3, encode(0) + derivation + algorithm(oids.PWRI_KEK) + encode(b"k"))
    attributes = (attribute(oids.MESSAGE_TYPE, HUGE), attribute(Oid("1.2.3"), HUGE))
    sealed = envelope(b"x", recipient_infos=[info])
    shown = decode(reply.but(message_type=None, extra=attributes, content=sealed).der()).document
    text = f"{'7f' * 64}… (3000 bytes)"
    assert shown["message_type"] == {"number": text, "name": "not defined"}
    assert shown["envelope"]["recipients"][0]["iterations"] == text
    assert {"name": "1.2.3", "value": text, "oid": "1.2.3"} in shown["attributes"]
    asked = decode(seq(name("Test CA").public_bytes(), HUGE)).document
    assert (asked["kind"], asked["serial_number"]) == ("issuer-and-serial-number", text)


def test_a_signer_whose_name_cannot_be_read_is_shown_in_hex(pki, reply):
    der = reply.but(named=pki.issued).der()
    issuer = b"\x0c\x07Test CA"
    at = der.rindex(issuer)
    shown = decode(der[:at] + b"\x03" + der[at + 1 :]).document
    assert shown["signature"]["signer"]["issuer"].startswith("30")
    assert shown["kind"] == "reply"


def test_messages_within_messages_are_read_so_deep_and_no_deeper(pki):
    """Some megabytes hold a thousand of them, more than Python has stack for."""
    data = seq(name("Test CA").public_bytes(), encode(7))
    for _ in range(1200):
        data = Reply(signer=pki.ca, content=data, sign=lambda _: b"", message_type=None, status=None).der()
    inside = decode(data).document
    for _ in range(8):
        inside = inside["content"]
    assert inside["kind"] == "unknown"
    assert "nested deeper than 8" in inside["title"]


def test_a_crl_with_a_huge_number_is_a_crl(pki):
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(pki.ca.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + DAY)
        .add_extension(x509.CRLNumber(1 << 24_000), critical=False)
        .sign(pki.ca.key, hashes.SHA256())
    )
    shown = decode(der_of(crl)).document
    assert shown["kind"] == "crl"
    assert shown["extensions"][0]["value"].endswith("… (3001 bytes)")


# -- messages of other programs


VECTORS = {
    "cryptlib-pkcsreq.der": ("PKCSReq", "right", "aes-128-cbc", {"digest-parameters", "weak-key"}),
    "cryptlib-certrep-success.der": (
        "CertRep",
        "right",
        "aes-128-cbc",
        {"digest-parameters", "weak-key", "missing-attribute"},
    ),
    "apple-pkcsreq-3des.der": (
        "PKCSReq",
        "right",
        "3des-cbc",
        {"nonce-length", "weak-digest", "weak-cipher"},
    ),
    "ejbca-bound-pkcsreq-ber.p7": (
        "PKCSReq",
        "right",
        "des-cbc",
        {"ber", "weak-digest", "weak-cipher", "constructed-ciphertext"},
    ),
}


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason="set SCEPFLOW_VECTORS to a folder with messages of other programs"
)
@pytest.mark.parametrize("file", VECTORS)
def test_messages_of_other_programs_are_read(file):
    path = FOLDER / file
    if not path.is_file():
        pytest.skip(f"{file} is not in {FOLDER}")
    kind, verdict, cipher, notes = VECTORS[file]
    decoded = decode(path.read_bytes())
    assert decoded.document["message_type"]["name"] == kind
    assert decoded.document["signature"]["verdict"] == verdict
    assert decoded.document["envelope"]["cipher"] == cipher
    assert set(codes(decoded)) == notes


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason="set SCEPFLOW_VECTORS to a folder with messages of other programs"
)
def test_every_message_in_the_folder_is_read():
    files = [path for path in FOLDER.iterdir() if path.suffix in {".der", ".p7", ".pem", ".b64"}]
    for path in files:
        assert decode(path.read_bytes()).document["kind"] in {"request", "reply"}, path.name
