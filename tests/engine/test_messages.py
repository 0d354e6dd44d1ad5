import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from issuing import NOW, certify
from replies import (
    NONCE,
    TRANSACTION_ID,
    Reply,
    algorithm,
    attribute,
    broken,
    issued_reply,
    random_bytes,
    seq,
    to_ber,
)

from scepflow.engine import asn1, cms, envelopes, messages, oids
from scepflow.engine.algorithms import Cipher, Digest, Security
from scepflow.engine.checks import CHECKS, Checks
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import (
    FailInfo,
    MessageType,
    PkiStatus,
    build_cert_rep,
    build_request,
    fail_info_name,
    parse_cert_rep,
    parse_request,
)
from scepflow.errors import ProtocolError, ScepflowError, TrustError

ENVELOPE = b"an envelope, as far as this layer can see"


def read(body, pki, *, security=Security.DEFAULT, checks=None, trusted=None, transaction_id=TRANSACTION_ID):
    return parse_cert_rep(
        body if isinstance(body, bytes) else body.der(),
        trusted=pki.ra_bundle.signers if trusted is None else trusted,
        transaction_id=transaction_id,
        sender_nonce=NONCE,
        security=security,
        checks=checks or Checks(),
    )


@pytest.fixture
def success(pki):
    return Reply(signer=pki.ca, content=ENVELOPE)


@pytest.fixture
def failure(pki):
    return Reply(signer=pki.ca, content=None, status="2", fail_info="2")


@pytest.fixture
def pending(pki):
    return Reply(signer=pki.ca, content=None, status="3")


def refused(body, pki, check, **how):
    """Show that a reply fails one check, and that it is this check alone which stops it."""
    with pytest.raises(TrustError) as error:
        read(body, pki, **how)
    assert error.value.check == check
    others = Checks(frozenset(CHECKS) - {check})
    with pytest.raises(TrustError) as error:
        read(body, pki, checks=others, **how)
    assert error.value.check == check
    relaxed = Checks(frozenset({check}))
    reply = read(body, pki, checks=relaxed, **how)
    assert f"relaxed-{check}" in [finding.code for finding in relaxed.findings]
    return reply


# What a CertRep says


def test_a_success_has_its_envelope(success, pki):
    reply = read(success, pki)
    assert (reply.pki_status, reply.envelope, reply.fail_info) == (PkiStatus.SUCCESS, ENVELOPE, None)


@pytest.mark.parametrize("content", [None, b"", b"\0"], ids=["absent", "empty", "one byte"])
@pytest.mark.parametrize("status", ["2", "3"])
def test_failure_and_pending_have_no_envelope_whatever_stands_for_it(pki, status, content):
    """RFC 8894: absent; step-ca, EJBCA: empty; NDES: one byte 00 (Q-002, Q-023, Q-043, Q-063)."""
    reply = read(Reply(signer=pki.ca, content=content, status=status), pki)
    assert (reply.pki_status, reply.envelope) == (PkiStatus(int(status)), None)


@pytest.mark.parametrize("content", [None, b""])
def test_a_success_without_an_envelope_is_none(success, pki, content):
    with pytest.raises(ProtocolError, match="SUCCESS without an envelope"):
        read(success.but(content=content), pki)


@pytest.mark.parametrize("status", ["1", "4", "", "00", " 0", "0 ", "SUCCESS", "-1"])
def test_an_undefined_status_is_an_error(success, pki, status):
    with pytest.raises(ProtocolError, match=f'pkiStatus is "{status}"'):
        read(success.but(status=status), pki)


def test_a_missing_status_is_an_error_that_shows_the_fail_info(failure, pki):
    """Dogtag answers so to what it does not understand (Q-067)."""
    with pytest.raises(ProtocolError, match='pkiStatus is missing, failInfo is "2"'):
        read(failure.but(status=None), pki)


def test_a_status_that_is_a_number_in_asn1_is_an_error(success, pki):
    number = attribute(oids.PKI_STATUS, asn1.encode(0))
    with pytest.raises(ProtocolError, match="not a short text"):
        read(success.but(status=None, extra=(number,)), pki)


@pytest.mark.parametrize("status", ["0", "3"])
def test_a_fail_info_goes_with_failure_only(success, pki, status):
    with pytest.raises(ProtocolError, match="with a failInfo"):
        read(success.but(status=status, fail_info="0"), pki)


@pytest.mark.parametrize("fail_info", [*range(13), 99, 999_999])
def test_a_fail_info_is_read(failure, pki, fail_info):
    assert read(failure.but(fail_info=str(fail_info)), pki).fail_info == fail_info


@pytest.mark.parametrize("fail_info", [None, "", "02", " 2", "-1", "x", "1234567", "²", "\u0662"])
def test_a_failure_without_a_proper_fail_info_is_a_failure(failure, pki, fail_info):
    reply = read(failure.but(fail_info=fail_info, text_tag=0x0C), pki)
    assert (reply.pki_status, reply.fail_info) == (PkiStatus.FAILURE, None)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "badAlg"),
        (4, "badCertId"),
        (7, "badIdentity"),
        (12, "tryLater"),
        (13, "unknown failInfo"),
        (-1, "unknown failInfo"),
        (None, "no failInfo"),
    ],
)
def test_a_fail_info_has_a_name(number, name):
    assert fail_info_name(number) == name


def test_the_reason_in_words_is_sanitised(failure, pki):
    reply = read(failure.but(fail_info_text="no\r\n\x1b[2Jway", text_tag=0x0C), pki)
    assert reply.fail_info_text == r"no\r\n\x1b[2Jway"


@pytest.mark.parametrize(
    "value", [asn1.wrap(0x0C, b"x" * 2000), asn1.wrap(0x1E, b"\0x"), asn1.encode(5), asn1.encode(1) * 2]
)
def test_reasons_that_cannot_be_read_do_not_matter(failure, pki, value):
    """They are for humans and decide nothing (C-055)."""
    reply = read(failure.but(extra=(attribute(oids.FAIL_INFO_TEXT, value),)), pki)
    assert (reply.fail_info, reply.fail_info_text) == (2, "")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("-2147024809", "Windows error 0x80070057"),
        ("5", "Windows error 0x00000005"),
        ("-99999999999", ""),
        ("E_FAIL", ""),
        ("", ""),
    ],
)
def test_what_ndes_sends_for_a_reason_is_shown_as_its_log_has_it(failure, pki, number, words):
    """Q-003."""
    extra = attribute(oids.MICROSOFT_ERROR, asn1.wrap(0x13, number.encode()))
    assert read(failure.but(extra=(extra,)), pki).fail_info_text == words
    assert read(failure.but(extra=(extra,), fail_info_text="no"), pki).fail_info_text == "no"


def test_a_windows_error_that_is_no_text_does_not_matter(failure, pki):
    extra = attribute(oids.MICROSOFT_ERROR, asn1.encode(5))
    assert read(failure.but(extra=(extra,)), pki).fail_info_text == ""


# Who it answers


@pytest.mark.parametrize("tag", [0x13, 0x0C, 0x16, 0x14])
def test_attributes_may_be_of_any_string_type(failure, pki, tag):
    """Go encodes some as UTF8String (Q-029)."""
    assert read(failure.but(text_tag=tag, fail_info_text="no"), pki).fail_info_text == "no"


@pytest.mark.parametrize("message_type", ["19", "18", "99", "3 ", "03", "", None])
def test_another_message_type_is_refused(success, pki, message_type):
    refused(success.but(message_type=message_type), pki, "message-type")


@pytest.mark.parametrize(
    "transaction_id",
    ["", TRANSACTION_ID[:31], TRANSACTION_ID + "0", TRANSACTION_ID.lower(), f" {TRANSACTION_ID}", None],
)
def test_another_transaction_id_is_refused(success, pki, transaction_id):
    refused(success.but(transaction_id=transaction_id), pki, "transaction-id")


def test_a_transaction_id_is_any_text(success, pki):
    """SCEPman's has + and /, ours may have what is not printable in ASN.1 (Q-076)."""
    for text, tag in (("ab+/==", 0x13), ("a_b@c", 0x0C)):
        assert read(success.but(transaction_id=text, text_tag=tag), pki, transaction_id=text)


@pytest.mark.parametrize("nonce", [b"", NONCE[:8], NONCE + b"\0", NONCE[::-1], None])
@pytest.mark.parametrize("status", ["0", "2", "3"])
def test_another_recipient_nonce_is_refused(success, pki, nonce, status):
    refused(success.but(recipient_nonce=nonce, status=status), pki, "recipient-nonce")


@pytest.mark.parametrize("sender_nonce", [None, NONCE, b"8 bytes."])
def test_the_sender_nonce_of_a_reply_does_not_matter(success, pki, sender_nonce):
    assert read(success.but(sender_nonce=sender_nonce), pki).envelope == ENVELOPE


@pytest.mark.parametrize(
    "extra",
    [
        attribute(oids.SIGNING_TIME, asn1.wrap(0x17, b"160101000000-0400")),
        attribute(oids.SIGNING_TIME, asn1.wrap(0x17, b"20160101000000Z")),
        attribute(asn1.Oid("1.3.6.1.4.1.311.21.33"), asn1.wrap(0x13, b"-2147024809")),
        attribute(asn1.Oid("1.2.3.4"), b""),
        attribute(asn1.Oid("1.2.3.4"), asn1.encode(1), asn1.encode(2)),
    ],
)
def test_attributes_that_we_do_not_use_may_say_anything(success, pki, extra):
    assert read(success.but(extra=(extra,)), pki).envelope == ENVELOPE


@pytest.mark.parametrize(
    "oid", [oids.PKI_STATUS, oids.RECIPIENT_NONCE, oids.MESSAGE_DIGEST, asn1.Oid("1.2.3")]
)
def test_an_attribute_that_comes_twice_is_an_error(success, pki, oid):
    twice = attribute(oid, asn1.wrap(0x13, b"2"))
    with pytest.raises(ProtocolError, match="comes twice"):
        read(success.but(extra=(twice, twice)), pki)


@pytest.mark.parametrize("values", [(), (asn1.wrap(0x13, b"0"), asn1.wrap(0x13, b"2"))])
def test_an_attribute_has_one_value(success, pki, values):
    with pytest.raises(ProtocolError, match=f"has {len(values)} values"):
        read(success.but(status=None, extra=(attribute(oids.PKI_STATUS, *values),)), pki)


@pytest.mark.parametrize("value", [asn1.wrap(0x31, b""), asn1.wrap(0x13, b"0"), b"\x02\x05"])
def test_a_broken_attribute_is_an_error(success, pki, value):
    with pytest.raises(ProtocolError):
        read(success.but(extra=(seq(asn1.encode(oids.SENDER_NONCE), value),)), pki)


def test_attributes_that_are_not_signed_count_for_nothing(success, pki):
    """S-005."""
    status = asn1.wrap(0xA1, attribute(oids.PKI_STATUS, asn1.wrap(0x13, b"0")))
    with pytest.raises(ProtocolError, match="pkiStatus is missing"):
        read(success.but(status=None, unsigned=status), pki)


# Who signed it


def test_a_reply_without_attributes_is_refused(success, pki):
    """A signature over the content itself proves nothing of SCEP (S-004)."""
    bare = success.but(arrange=lambda _: [])
    with pytest.raises(ProtocolError, match="no signed attributes"):
        read(bare, pki)


@pytest.mark.parametrize(("signatures", "said"), [(0, "no signature"), (2, "more than one signature")])
def test_a_reply_is_signed_once(success, pki, signatures, said):
    with pytest.raises(ProtocolError, match=said):
        read(success.but(signatures=signatures), pki)


def test_a_stranger_may_not_sign(success, pki):
    refused(success.but(signer=pki.stranger, certificates=(pki.stranger.certificate,)), pki, "signer")


def test_a_stranger_whose_certificate_is_nowhere_cannot_be_verified_at_all(success, pki):
    checks = Checks(frozenset({"signer"}))
    with pytest.raises(TrustError) as error:
        read(success.but(signer=pki.stranger), pki, checks=checks)
    assert error.value.check == "signature"


def test_a_forged_signature_is_refused(success, pki):
    forger = SigningIdentity(pki.ca.certificate, pki.stranger.key)
    refused(success.but(signer=forger), pki, "signature")


def test_each_trusted_certificate_of_the_same_name_is_tried(success, pki):
    """Two may have the same issuer and serial number (S-003)."""
    serial_number = pki.ca.certificate.serial_number
    double = certify("Test CA", pki.stranger.key, ca=True, serial_number=serial_number)
    assert read(success, pki, trusted=[double, pki.ca.certificate]).envelope == ENVELOPE


def test_changed_content_is_refused(success, pki):
    refused(success.but(hashed=b"what was there before"), pki, "message-digest")


@pytest.mark.parametrize("signed", [oids.ENVELOPED_DATA, None])
def test_a_content_type_that_is_not_the_signed_one_is_refused(success, pki, signed):
    refused(success.but(signed_content_type=signed), pki, "content-type")


def test_an_enveloped_data_content_type_is_read_when_it_is_signed_so(success, pki):
    """XiPKI says what is in it, not id-data (Q-049, Q-077)."""
    kind = oids.ENVELOPED_DATA
    assert read(success.but(content_type=kind, signed_content_type=kind), pki).envelope == ENVELOPE


def test_the_ra_may_sign(success, pki):
    assert read(success.but(signer=pki.ra_signer), pki).envelope == ENVELOPE
    with pytest.raises(TrustError):
        read(success.but(signer=pki.ra_signer), pki, trusted=pki.bundle.signers)


def test_an_ec_ca_signs(success, pki):
    assert read(success.but(signer=pki.ec_ca), pki, trusted=[pki.ec_ca.certificate]).envelope == ENVELOPE


def test_a_broken_certificate_in_the_message_does_not_matter(success, pki):
    """Certificates in a reply are not used (Q-091)."""
    data = success.but(certificates=(pki.stranger.certificate,)).der()
    der = pki.stranger.certificate.tbs_certificate_bytes
    assert read(data.replace(der[:40], der[:20] + b"\0" * 20), pki).envelope == ENVELOPE


def key_hash(key):
    return hashlib.sha1(key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).digest()


@pytest.mark.parametrize("extension", [b"an identifier", None])
def test_a_signer_named_by_key_identifier_is_found(success, pki, extension):
    """By the extension, or else by the SHA-1 of the key (Q-097)."""
    certificate = certify("RA", pki.stranger.key, issuer=pki.ca, key_identifier=extension)
    signer = SigningIdentity(certificate, pki.stranger.key)
    reply = success.but(signer=signer, key_identifier=extension or key_hash(signer.key))
    assert read(reply, pki, trusted=[pki.ca.certificate, certificate]).envelope == ENVELOPE
    refused(reply.but(certificates=(certificate,)), pki, "signer")


def test_a_signer_named_by_an_unknown_key_identifier_is_refused(success, pki):
    with pytest.raises(TrustError) as error:
        read(success.but(key_identifier=b""), pki)
    assert error.value.check == "signer"


# How it is encoded and signed


def as_sent(attributes):
    return sorted(attributes, reverse=True)


def test_unsorted_attributes_signed_in_the_order_that_came_are_read(success, pki):
    """OpenXPKI up to 3.20.2 (Q-056)."""
    assert read(success.but(arrange=as_sent), pki).envelope == ENVELOPE


def test_unsorted_attributes_signed_in_sorted_order_are_read(success, pki):
    """Go sorts before it signs, whatever it sends (Q-027)."""
    assert read(success.but(arrange=as_sent, arrange_signed=sorted), pki).envelope == ENVELOPE


def test_attributes_signed_in_a_third_order_are_refused(success, pki):
    rotated = success.but(arrange=as_sent, arrange_signed=lambda a: [*a[3:], *a[:3]])
    refused(rotated, pki, "signature")
    refused(success.but(arrange_signed=as_sent), pki, "signature")


def test_ber_is_read(success, pki):
    """EJBCA: indefinite lengths, strings in pieces (Q-042)."""
    assert read(to_ber(success.but(certificates=(pki.ca.certificate,)).der()), pki).envelope == ENVELOPE


@pytest.mark.parametrize("padding_bytes", [b"\n", b"\r\n", b"\0\0\0"])
def test_blanks_and_nuls_after_a_message_are_not_in_it(success, pki, padding_bytes):
    assert read(success.der() + padding_bytes, pki).envelope == ENVELOPE


def test_anything_else_after_a_message_is_an_error(success, pki):
    with pytest.raises(ProtocolError):
        read(success.der() + b"x", pki)


@pytest.mark.parametrize("digest", [Digest.SHA224, Digest.SHA256, Digest.SHA384, Digest.SHA512])
@pytest.mark.parametrize("security", list(Security))
def test_every_sha_2_is_read_without_a_word(success, pki, digest, security):
    checks = Checks()
    assert read(success.but(digest=digest), pki, security=security, checks=checks).digest is digest
    assert checks.findings == []


@pytest.mark.parametrize(
    ("digest", "security", "allowed"),
    [
        (Digest.SHA1, Security.STRICT, False),
        (Digest.SHA1, Security.DEFAULT, True),
        (Digest.SHA1, Security.LEGACY, True),
        (Digest.MD5, Security.STRICT, False),
        (Digest.MD5, Security.DEFAULT, False),
        (Digest.MD5, Security.LEGACY, True),
    ],
)
def test_a_weak_digest_is_read_by_policy_and_never_silently(failure, pki, digest, security, allowed):
    checks = Checks()
    weak = failure.but(digest=digest)
    if allowed:
        assert read(weak, pki, security=security, checks=checks).digest is digest
        assert [finding.code for finding in checks.findings] == ["weak-reply"]
    else:
        refused(weak, pki, "algorithms", security=security)


def test_algorithms_are_judged_before_anything_is_computed_with_them(failure, pki):
    """The checks come in the order that they are listed in."""
    wrong_in_everything = failure.but(
        digest=Digest.MD5,
        hashed=b"x",
        signed_content_type=None,
        signer=SigningIdentity(pki.ca.certificate, pki.stranger.key),
        message_type="19",
        transaction_id="x",
        recipient_nonce=b"x",
        named=pki.client.certificate,
    )
    relaxed = set()
    for check in CHECKS[: CHECKS.index("recipient-nonce") + 1]:
        with pytest.raises(TrustError) as error:
            read(wrong_in_everything, pki, checks=Checks(frozenset(relaxed)))
        assert error.value.check == check
        relaxed.add(check)
    assert read(wrong_in_everything, pki, checks=Checks(frozenset(relaxed))).fail_info == 2


@pytest.mark.parametrize("digest_parameters", [asn1.NULL_DER, b""])
@pytest.mark.parametrize("signature_parameters", [asn1.NULL_DER, b""])
@pytest.mark.parametrize("oid", [oids.RSA_ENCRYPTION, oids.SHA256_WITH_RSA])
def test_parameters_may_be_null_or_absent(success, pki, digest_parameters, signature_parameters, oid):
    """Q-105, Q-106."""
    signature_algorithm = algorithm(oid, signature_parameters)
    reply = success.but(digest_parameters=digest_parameters, signature_algorithm=signature_algorithm)
    assert read(reply, pki).envelope == ENVELOPE


def test_a_signature_algorithm_with_another_digest_is_an_error(success, pki):
    """S-013."""
    with pytest.raises(ProtocolError, match="does not fit sha-256"):
        read(success.but(signature_algorithm=algorithm(oids.SHA1_WITH_RSA)), pki)


def pss(digest=oids.SHA256, mask=oids.SHA256, salt=32):
    explicit = [algorithm(digest), algorithm(oids.MGF1, algorithm(mask)), asn1.encode(salt)]
    return algorithm(oids.RSASSA_PSS, seq(*(asn1.wrap(0xA0 + n, part) for n, part in enumerate(explicit))))


def test_pss_is_read(success, pki):
    def sign(data):
        return pki.ca.key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())

    reply = success.but(sign=sign, signature_algorithm=pss())
    assert read(reply, pki).envelope == ENVELOPE
    refused(reply.but(signature_algorithm=pss(salt=20)), pki, "signature")


# What we send


@pytest.fixture
def envelope(pki):
    return envelopes.build_envelope(
        b"content", recipient=pki.ca.certificate, cipher=Cipher.AES128, random_bytes=random_bytes()
    )


def a_request(pki, envelope, **how):
    return build_request(
        **{
            "message_type": MessageType.PKCS_REQ,
            "envelope": envelope,
            "transaction_id": TRANSACTION_ID,
            "sender_nonce": NONCE,
            "identity": pki.client,
            "digest": Digest.SHA256,
            "signing_time": NOW.replace(microsecond=5),
            **how,
        }
    )


@pytest.mark.parametrize("message_type", list(MessageType)[1:])
def test_a_request_is_read_as_it_was_built(pki, envelope, message_type):
    seen = parse_request(a_request(pki, envelope, message_type=message_type))
    assert (seen.message_type, seen.transaction_id, seen.sender_nonce) == (
        message_type,
        TRANSACTION_ID,
        NONCE,
    )
    assert (seen.certificate, seen.certificates) == (pki.client.certificate, (pki.client.certificate,))
    assert (seen.digest, seen.verified) == (Digest.SHA256, True)
    assert envelopes.open_envelope(seen.envelope, pki.ca) == b"content"
    assert message_type.title.endswith(("Req", "Poll", "Cert", "CRL"))


def test_the_attributes_of_a_request_are_those_of_the_rfc_to_the_byte(pki, envelope):
    [signer] = cms.parse_signed_data(a_request(pki, envelope)).signers
    signing_time = "301c06092a864886f70d010905310f170d3236303630313132303030305a"
    digest = Digest.SHA256.of(envelope).hex()
    assert [der.hex() for der in signer.attributes] == [
        "3012060a6086480186f845010902310413023139",
        "301806092a864886f70d010903310b06092a864886f70d010701",
        signing_time,
        f"3020060a6086480186f84501090531120410{NONCE.hex()}",
        f"302f06092a864886f70d01090431220420{digest}",
        f"3030060a6086480186f845010907312213 20{TRANSACTION_ID.encode().hex()}".replace(" ", ""),
    ]


def test_the_same_arguments_give_the_same_request(pki, envelope):
    assert a_request(pki, envelope) == a_request(pki, envelope)


def test_a_transaction_id_that_is_not_printable_goes_as_utf8(pki, envelope):
    body = a_request(pki, envelope, transaction_id="a_b")
    assert b"\x0c\x03a_b" in body
    assert parse_request(body).transaction_id == "a_b"


def test_signing_time_is_generalized_from_2050_on(pki, envelope):
    late = a_request(pki, envelope, signing_time=datetime(2050, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert b"\x18\x0f20500102030405Z" in late
    early = a_request(pki, envelope, signing_time=datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert b"\x17\x0d491231235959Z" in early


@pytest.mark.parametrize("digest", list(Digest))
def test_a_request_is_signed_with_the_digest_asked_for(pki, envelope, digest):
    seen = parse_request(a_request(pki, envelope, digest=digest))
    assert (seen.digest, seen.verified) == (digest, True)


def test_an_ec_client_signs(pki, envelope):
    assert parse_request(a_request(pki, envelope, identity=pki.ec_client)).verified


def test_a_request_with_a_wrong_signature_is_not_verified(pki, envelope):
    forger = SigningIdentity(pki.client.certificate, pki.stranger.key)
    assert not parse_request(a_request(pki, envelope, identity=forger)).verified


@pytest.mark.parametrize("change", [{"hashed": b"other"}, {"signed_content_type": oids.ENVELOPED_DATA}])
def test_a_request_whose_content_is_not_what_was_signed_is_not_verified(pki, envelope, change):
    request = Reply(
        signer=pki.client, content=envelope, certificates=(pki.client.certificate,), message_type="19"
    )
    assert parse_request(request.der()).verified
    assert not parse_request(request.but(**change).der()).verified


@pytest.mark.parametrize(
    "missing",
    [
        {"certificates": ()},
        {"message_type": None},
        {"message_type": "19 "},
        {"message_type": "\u0663"},
        {"transaction_id": None},
        {"transaction_id": ""},
        {"sender_nonce": None},
        {"sender_nonce": b""},
    ],
    ids=str,
)
def test_a_request_with_something_missing_is_an_error(pki, envelope, missing):
    request = Reply(
        signer=pki.client,
        content=envelope,
        certificates=(pki.client.certificate,),
        message_type="19",
        text_tag=0x0C,
    )
    with pytest.raises(ProtocolError, match="is missing"):
        parse_request(request.but(**missing).der())


def test_a_request_without_an_envelope_is_an_error(pki):
    request = Reply(signer=pki.client, content=None, certificates=(pki.client.certificate,))
    with pytest.raises(ProtocolError):
        parse_request(request.der())


@pytest.mark.parametrize("status", list(PkiStatus))
@pytest.mark.parametrize("sender_nonce", [None, b"n" * 16])
def test_a_cert_rep_is_read_as_it_was_built(pki, status, sender_nonce):
    failed = status is PkiStatus.FAILURE
    body = build_cert_rep(
        status,
        ENVELOPE if status is PkiStatus.SUCCESS else None,
        transaction_id=TRANSACTION_ID,
        recipient_nonce=NONCE,
        sender_nonce=sender_nonce,
        identity=pki.ca,
        digest=Digest.SHA512,
        signing_time=NOW,
        certificates=[pki.ca.certificate],
        fail_info=FailInfo.BAD_TIME if failed else None,
        fail_info_text="späť" if failed else "",
    )
    reply = read(body, pki)
    assert (reply.pki_status, reply.digest) == (status, Digest.SHA512)
    assert (reply.fail_info, reply.fail_info_text) == ((3, "späť") if failed else (None, ""))
    assert reply.envelope == (ENVELOPE if status is PkiStatus.SUCCESS else None)


def test_without_content_the_whole_content_is_left_out(pki, pending):
    """Not empty: absent (C-042)."""
    body = build_cert_rep(
        PkiStatus.PENDING,
        None,
        transaction_id=TRANSACTION_ID,
        recipient_nonce=NONCE,
        sender_nonce=None,
        identity=pki.ca,
        digest=Digest.SHA256,
        signing_time=NOW,
    )
    assert bytes.fromhex("300b06092a864886f70d010701") in body
    assert cms.parse_signed_data(body).content is None


@pytest.mark.parametrize(
    ("bits", "exponent"),
    [(2048, (1 << 64) + 1), (1023, 65537), (16385, 65537)],
    ids=["exponent", "small", "large"],
)
def test_a_key_that_proves_nothing_or_costs_too_much_is_refused_whatever_is_relaxed(
    pki, success, bits, exponent
):
    """S-007, S-026."""
    key = rsa.RSAPublicNumbers(exponent, (1 << bits) - 1).public_key()
    odd = certify("Test CA", key, issuer=pki.ca, serial_number=pki.ca.certificate.serial_number)
    with pytest.raises(TrustError, match="out of bounds") as error:
        read(success, pki, trusted=[odd], checks=Checks(frozenset(CHECKS)))
    assert error.value.check == "algorithms"


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography on odd names and numbers
def test_whatever_comes_only_our_errors_come_out(pki):
    valid = [
        issued_reply(pki.ca, pki.client.certificate, pki.issue()).der(),
        Reply(signer=pki.ca, content=b"\0", status="2", fail_info="2", fail_info_text="no").der(),
        Reply(signer=pki.ra_signer, content=None, status="3", key_identifier=b"1234").der(),
        Reply(signer=pki.ec_ca, content=None, status="3", signature_algorithm=pss()).der(),
    ]
    trusted = [*pki.ra_bundle.signers, pki.ec_ca.certificate]

    @settings(max_examples=400)
    @given(broken([*valid, *map(to_ber, valid)]), st.booleans())
    def reads(body, relaxed):
        checks = Checks(frozenset(CHECKS if relaxed else ()))
        with suppress(ScepflowError):
            read(body, pki, trusted=trusted, checks=checks)

    reads()


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography on odd names and numbers
def test_whatever_request_comes_only_our_errors_come_out(pki, envelope):
    valid = [a_request(pki, envelope), a_request(pki, envelope, identity=pki.ec_client)]

    @settings(max_examples=200)
    @given(broken(valid))
    def reads(body):
        with suppress(ScepflowError):
            parse_request(body)

    reads()


def test_the_curve_of_an_ec_signature_does_not_matter(success, pki):
    key = ec.generate_private_key(ec.SECP521R1())
    signer = SigningIdentity(certify("Test CA", key, issuer=pki.ca), key)
    assert read(success.but(signer=signer), pki, trusted=[signer.certificate]).envelope == ENVELOPE


def test_the_names_of_message_types_are_the_rfcs():
    assert [kind.title for kind in MessageType] == [
        "CertRep",
        "RenewalReq",
        "PKCSReq",
        "CertPoll",
        "GetCert",
        "GetCRL",
    ]
    assert messages.MessageType(20) is MessageType.CERT_POLL
    assert 18 not in list(MessageType)  # UpdateReq of the drafts is never sent
