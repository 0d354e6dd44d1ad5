from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from issuing import CHALLENGE, certify
from replies import (
    algorithm,
    broken,
    envelope,
    issuer_and_serial,
    key_transport_info,
    random_bytes,
    seq,
    to_ber,
)
from witness import openssl, run_openssl

from scepflow.engine import asn1, envelopes, oids
from scepflow.engine.algorithms import Cipher
from scepflow.engine.identity import SigningIdentity
from scepflow.errors import ProtocolError, ScepflowError, TrustError

CONTENT = b"content of some length, not a multiple of 16"


def sealed_for(recipient, cipher=Cipher.AES128, **how):
    return envelopes.build_envelope(
        CONTENT, recipient=recipient, cipher=cipher, random_bytes=random_bytes(), **how
    )


def opened(der, identity, **how):
    return envelopes.open_envelope(envelopes.parse_envelope(der), identity, **how)


@pytest.mark.parametrize("cipher", list(Cipher))
def test_an_envelope_opens_with_the_key_it_is_for_and_no_other(pki, cipher):
    der = sealed_for(pki.ca.certificate, cipher)
    assert envelopes.parse_envelope(der).cipher is cipher
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
    one, two = (envelopes.parse_envelope(sealed_for(pki.ca.certificate)) for _ in range(2))
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
    whole = envelopes.parse_envelope(sealed_for(pki.ca.certificate)).encrypted
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
        envelopes.parse_envelope(
            envelope(b"", recipient=pki.ca.certificate, encrypted_content=asn1.wrap(tag, b""))
        )


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
    assert envelopes.parse_envelope(envelope(CONTENT, recipient_infos=[info] * 16))
    with pytest.raises(ProtocolError, match="more than 16 recipients"):
        envelopes.parse_envelope(envelope(CONTENT, recipient_infos=[info] * 17))


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

    @settings(max_examples=300)
    @given(broken(valid))
    def opens(body):
        with suppress(ScepflowError):
            opened(body, pki.client, challenge_password=CHALLENGE)

    opens()
