import hashlib
from base64 import b64encode, encodebytes
from contextlib import suppress
from datetime import timedelta
from time import process_time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from issuing import CA_USAGE, DAY, NOW, certify, odd_names, pin, resigned, version_1
from replies import broken, seq, to_ber

from scepflow.engine import certificates, cms, oids, trust
from scepflow.engine.algorithms import Digest, Security
from scepflow.engine.asn1 import algorithm_der, encode, wrap
from scepflow.engine.certificates import is_ca
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.trust import authenticate, fingerprint, parse_certificates
from scepflow.errors import ProtocolError, ScepflowError, TrustError


def der(certificate):
    return certificate.public_bytes(Encoding.DER)


def pem(certificate):
    return certificate.public_bytes(Encoding.PEM)


def pem_of(label, data):
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label, encodebytes(data), label)


# Reading


@pytest.fixture(scope="module")
def forms(pki):
    """One certificate, and two, in every form that servers send them in."""
    one, two = [pki.ca.certificate], [pki.ca.certificate, pki.ra_signer.certificate]
    bundle = cms.build_certs_only(two)
    return {
        "DER": (der(one[0]), one),
        "CMS": (bundle, two),
        "CMS in BER": (to_ber(bundle), two),
        "PEM": (pem(one[0]), one),
        "PEM of two": (pem(one[0]) + b"\n" + pem(two[1]), two),
        "PEM after words": (b"Here it comes:\n" + pem(one[0]), one),
        "PEM with CRLF": (pem(one[0]).replace(b"\n", b"\r\n"), one),
        "PEM of PKCS7": (pem_of(b"PKCS7", bundle), two),
        "PEM of CMS": (pem_of(b"CMS", bundle), two),
        "base64 of DER": (b64encode(der(one[0])), one),
        "base64 in lines": (encodebytes(bundle), two),
    }


FORMS = (
    "DER",
    "CMS",
    "CMS in BER",
    "PEM",
    "PEM of two",
    "PEM after words",
    "PEM with CRLF",
    "PEM of PKCS7",
    "PEM of CMS",
    "base64 of DER",
    "base64 in lines",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"", b"\n"), (b"\r\n", b"\r\n"), (b" \t", b" \t")]
)
def test_certificates_are_read_in_every_form(forms, form, before, after):
    data, certificates = forms[form]
    assert set(parse_certificates(before + data + after)) == set(certificates)


@pytest.mark.parametrize("form", ["DER", "CMS"])
def test_nuls_after_der_are_not_in_it_and_anything_else_is_an_error(forms, form):
    """Q-103."""
    data, certificates = forms[form]
    assert set(parse_certificates(data + b"\0\0")) == set(certificates)
    with pytest.raises(ProtocolError):
        parse_certificates(data + b"x")
    with pytest.raises(ProtocolError):
        parse_certificates(data + data)


def test_a_certificate_that_ends_like_a_blank_is_whole(pki):
    """The last byte of a signature is a blank in one certificate of 64."""
    ends = set()
    for serial_number in range(1, 2000):
        certificate = pki.issue(serial_number=serial_number)
        if (last := der(certificate)[-1:]) in b" \t\r\n":
            ends.add(last)
            assert parse_certificates(der(certificate)) == (certificate,)
        if len(ends) == 2:
            break
    assert ends


def test_pem_and_its_bundles_hold_no_more_certificates_than_cms(pki):
    """S-030."""
    certificate = pki.ca.certificate
    assert parse_certificates(pem(certificate) * 64) == (certificate,)
    with pytest.raises(ProtocolError, match="more than 64 certificates"):
        parse_certificates(pem(certificate) * 65)
    with pytest.raises(ProtocolError, match="more than 64 certificates"):
        parse_certificates(pem_of(b"PKCS7", cms.build_certs_only([certificate] * 33)) * 2)


def test_duplicates_are_left_out_and_the_order_kept(pki):
    """Q-104."""
    ca, ra = pki.ca.certificate, pki.ra_signer.certificate
    assert parse_certificates(b"".join(map(pem, (ra, ca, ra, ca)))) == (ra, ca)


@pytest.mark.parametrize(
    "data",
    [
        b"<html><body>\x1b]0;pwn\x07 not found</body></html>",
        b"GetCACert is not supported",
        b"\x30\x03\x02\x01\x05",
        b"MIIB",
        b"\xff\xfe",
        b"MII=C",
    ],
)
def test_what_is_neither_certificate_nor_bundle_is_an_error(data):
    with pytest.raises(ProtocolError):
        parse_certificates(data)


def test_what_came_instead_is_quoted_and_sanitised():
    with pytest.raises(ProtocolError) as error:
        parse_certificates(b"<html>\x1b]0;pwn\x07" + b"x" * 500)
    assert r'"<html>\x1b]0;pwn\x07xx' in error.value.message
    assert len(error.value.message) < 150
    assert "web page" in error.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        cms.build_certs_only([]),
        pem_of(b"PRIVATE KEY", b"key"),
        pem_of(b"RSA PRIVATE KEY", b"key"),
        b"-----BEGIN CERTIFICATE-----\nMIIB",
        b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END PKCS7-----",
    ],
)
def test_no_certificate_is_an_error(data):
    with pytest.raises(ProtocolError):
        parse_certificates(data)


def test_a_private_key_beside_a_certificate_is_passed_over(pki):
    data = pem_of(b"PRIVATE KEY", b"key") + pem(pki.ca.certificate)
    assert parse_certificates(data) == (pki.ca.certificate,)


def test_half_a_megabyte_of_beginnings_is_read_at_once():
    """If each was searched for its end, that would take a minute and not milliseconds (S-030)."""
    began = process_time()
    with pytest.raises(ProtocolError, match="no certificate"):
        parse_certificates(b"-----BEGIN CERTIFICATE-----\n" * 20_000)
    assert process_time() - began < 10


@pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography on odd names and numbers
def test_whatever_comes_only_our_errors_come_out(pki):
    certificates = [pki.ca.certificate, pki.ra_signer.certificate]
    valid = [der(pki.ca.certificate), cms.build_certs_only(certificates), der(pki.ec_ca.certificate)]

    @settings(max_examples=300)
    @given(broken([*valid, *map(to_ber, valid)]))
    def reads(data):
        with suppress(ScepflowError):
            found = parse_certificates(data)
            pins = [fingerprint(certificate) for certificate in found]
            with suppress(ScepflowError):
                authenticate(found, anchors=[pki.ca.certificate], now=NOW)
            authenticate(found, fingerprints=pins, now=NOW)

    reads()


# Fingerprints


def test_a_fingerprint_is_of_the_whole_certificate(pki):
    data = der(pki.ca.certificate)
    assert fingerprint(pki.ca.certificate) == f"sha256:{hashlib.sha256(data).hexdigest()}"
    for algorithm in ("sha1", "sha512"):
        expected = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        assert fingerprint(pki.ca.certificate, algorithm) == expected
        bundle = authenticate([pki.ca.certificate], fingerprints=[expected], now=NOW)
        assert bundle.by == f"fingerprint {fingerprint(pki.ca.certificate)}"


# Authentication


def seen_in(error):
    return error.value.hint


def test_a_pinned_ca_is_authenticated(pki):
    bundle = pki.bundle
    assert bundle.certificates == bundle.anchors == bundle.signers == (pki.ca.certificate,)
    assert bundle.ca_certificate == bundle.recipient == pki.ca.certificate
    assert bundle.by == f"fingerprint {fingerprint(pki.ca.certificate)}"
    assert bundle.findings == ()


def test_of_many_certificates_ten_are_shown(pki):
    leaves = [pki.issue(f"gw{number}") for number in range(12)]
    with pytest.raises(TrustError) as error:
        authenticate(leaves, now=NOW)
    assert seen_in(error).count("fingerprint =") == 10
    assert "CN=gw9" in seen_in(error)
    assert "CN=gw10" not in seen_in(error)
    assert seen_in(error).endswith("… and 2 more")
    with pytest.raises(TrustError) as error:
        authenticate(leaves[:10], now=NOW)
    assert "more" not in seen_in(error)


def test_without_a_pin_nothing_is_trusted_and_what_came_is_shown(pki):
    """C-007."""
    with pytest.raises(TrustError, match="neither fingerprint nor certificate") as error:
        authenticate([pki.ca.certificate, pki.ra_signer.certificate], now=NOW)
    assert error.value.check == "ca-authentication"
    assert f'CA CN=Test CA\n     fingerprint = "{fingerprint(pki.ca.certificate)}"' in seen_in(error)
    assert "RA CN=RA signing" in seen_in(error)


def test_one_wrong_digit_of_the_fingerprint_is_refused(pki):
    """C-003."""
    right = fingerprint(pki.ca.certificate)
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    with pytest.raises(TrustError, match="no certificate of the CA has the fingerprint") as error:
        authenticate([pki.ca.certificate], fingerprints=[wrong], now=NOW)
    assert error.value.check == "ca-authentication"
    assert authenticate([pki.ca.certificate], fingerprints=[wrong, right], now=NOW)


def test_a_pinned_ra_certificate_is_no_anchor(pki):
    certificates = [pki.ca.certificate, pki.ra_signer.certificate]
    with pytest.raises(TrustError, match="not a CA's") as error:
        authenticate(certificates, fingerprints=[fingerprint(pki.ra_signer.certificate)], now=NOW)
    assert error.value.check == "ca-authentication"
    with pytest.raises(TrustError, match="not a CA's"):
        authenticate([pki.ra_signer.certificate], anchors=[pki.ra_signer.certificate], now=NOW)


def test_an_anchor_from_a_file_authenticates_what_came(pki):
    bundle = authenticate([pki.ra_signer.certificate], anchors=[pki.ca.certificate], now=NOW)
    assert bundle.certificates == (pki.ra_signer.certificate, pki.ca.certificate)
    assert bundle.signers == bundle.certificates
    assert (bundle.ca_certificate, bundle.anchors) == (pki.ca.certificate, (pki.ca.certificate,))
    assert bundle.recipient == pki.ra_signer.certificate
    assert bundle.by == "CA certificate file"


def test_an_anchor_from_a_file_does_not_make_another_ca_right(pki):
    with pytest.raises(TrustError, match="nothing in the CA's answer is valid") as error:
        authenticate([pki.ec_ca.certificate], anchors=[pki.ca.certificate], now=NOW)
    assert error.value.check == "ca-authentication"
    assert fingerprint(pki.ec_ca.certificate) in seen_in(error)


def test_an_empty_answer_is_not_valid_under_any_anchor(pki):
    with pytest.raises(TrustError, match="it is empty"):
        authenticate([], anchors=[pki.ca.certificate], now=NOW)


@pytest.fixture(scope="module")
def hierarchy(pki):
    """A root, a CA below it, and an RA of that."""
    sub_key = pki.ra_encryption.key
    sub = SigningIdentity(certify("Sub CA", sub_key, issuer=pki.ca, ca=True, usage=CA_USAGE), sub_key)
    ra_certificate = certify("RA", pki.ra_signer.key, issuer=sub, ca=False, usage="key_encipherment")
    return [pki.ca.certificate, sub.certificate, ra_certificate]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_any_ca_of_the_answer_may_be_pinned_in_any_order(hierarchy, order):
    """C-009."""
    certificates = [hierarchy[n] for n in order]
    root, sub, ra = hierarchy
    by_root = authenticate(certificates, fingerprints=[fingerprint(root)], now=NOW)
    assert set(by_root.certificates) == set(hierarchy)
    assert (by_root.ca_certificate, by_root.recipient) == (sub, ra)
    by_sub = authenticate(certificates, fingerprints=[fingerprint(sub)], now=NOW)
    assert set(by_sub.certificates) == {sub, ra}
    assert [finding.code for finding in by_sub.findings] == ["untrusted-certificate", "ra-not-pinned"]
    assert "CN=Test CA" in by_sub.findings[0].text


def test_the_issuing_ca_is_the_lowest_without_an_ra(hierarchy):
    bundle = authenticate(hierarchy[:2], fingerprints=[fingerprint(hierarchy[0])], now=NOW)
    assert bundle.ca_certificate == hierarchy[1]


def test_the_issuing_ca_is_the_first_when_two_issued_each_other(pki):
    """Cross certificates have no lowest."""
    other = SigningIdentity(certify("Other CA", pki.stranger.key, ca=True, usage=CA_USAGE), pki.stranger.key)
    crossed = certify("Test CA", pki.ca.key, issuer=other, ca=True, usage=CA_USAGE)
    back = certify("Other CA", other.key, issuer=pki.ca, ca=True, usage=CA_USAGE)
    bundle = authenticate([crossed, back], anchors=[pki.ca.certificate, other.certificate], now=NOW)
    assert bundle.ca_certificate == crossed


def test_a_rogue_ra_is_left_out(pki):
    """Whoever is in the path can add one to the answer (S-081)."""
    rogue = certify("RA encryption", pki.stranger.key, ca=False, usage="key_encipherment")
    bundle = pin(pki.ca.certificate, rogue)
    assert rogue not in (*bundle.certificates, *bundle.signers, bundle.recipient)
    [finding] = bundle.findings
    assert finding.code == "untrusted-certificate"
    assert "CN=RA encryption" in finding.text


def test_a_rogue_ra_with_the_cas_name_as_its_issuer_is_left_out(pki):
    imposter = SigningIdentity(certify("Test CA", pki.stranger.key, ca=True), pki.stranger.key)
    rogue = certify("RA", pki.stranger.key, issuer=imposter, ca=False, usage="key_encipherment")
    assert pin(pki.ca.certificate, rogue, imposter.certificate).certificates == (pki.ca.certificate,)


def test_a_leaf_is_no_issuer(pki):
    """C-008."""
    leaf = SigningIdentity(pki.issue("leaf"), pki.client.key)
    below = certify("RA", pki.stranger.key, issuer=leaf, ca=False, usage="key_encipherment")
    assert below not in pin(pki.ca.certificate, leaf.certificate, below).certificates


@pytest.mark.parametrize(
    "when",
    [{"ends": NOW - timedelta(seconds=1)}, {"begins": NOW + timedelta(seconds=1)}],
    ids=["expired", "early"],
)
def test_what_is_not_valid_now_is_left_out(pki, when):
    """S-083."""
    ra = certify("RA", pki.stranger.key, issuer=pki.ca, ca=False, usage="key_encipherment", **when)
    bundle = pin(pki.ca.certificate, ra)
    assert bundle.recipient == pki.ca.certificate
    assert [finding.code for finding in bundle.findings] == ["untrusted-certificate"]
    old_ca = certify("Old CA", pki.stranger.key, ca=True, usage=CA_USAGE, **when)
    with pytest.raises(TrustError, match="nothing in the CA's answer is valid"):
        pin(old_ca)


def test_signer_and_recipient_can_be_pinned(pki):
    """What keeps out a certificate that any client of the CA has (S-082)."""
    certificates = [pki.ca.certificate, pki.ra_signer.certificate, pki.ra_encryption.certificate]
    pins = {
        "fingerprints": [fingerprint(pki.ca.certificate)],
        "recipient": fingerprint(pki.ra_signer.certificate, "sha1"),
        "signer": fingerprint(pki.ra_encryption.certificate, "sha512"),
    }
    bundle = authenticate(certificates, **pins, now=NOW)
    assert bundle.recipient == pki.ra_signer.certificate
    assert bundle.signers == (pki.ra_encryption.certificate,)
    assert bundle.findings == ()


@pytest.mark.parametrize(("which", "said"), [("recipient", "encryption"), ("signer", "signing")])
def test_a_pinned_signer_or_recipient_must_have_come_and_chain(pki, which, said):
    rogue = certify("RA", pki.stranger.key, ca=False, usage="key_encipherment")
    for sent in ([pki.ca.certificate], [pki.ca.certificate, rogue]):
        with pytest.raises(TrustError, match=f"did not send the {said} certificate") as error:
            authenticate(
                sent,
                fingerprints=[fingerprint(pki.ca.certificate)],
                now=NOW,
                **{which: fingerprint(rogue)},
            )
        assert error.value.check == "ca-authentication"


def with_purposes(pki, *purposes, usage="key_encipherment", extensions=(), **how):
    listed = x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose) for purpose in purposes])
    extensions = [listed, *extensions]
    return certify("other", pki.stranger.key, issuer=pki.ca, usage=usage, extensions=extensions, **how)


CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"


def test_another_clients_certificate_is_no_ra(pki):
    """Any client of the CA has one, and who is in the path can add it to the answer (S-082)."""
    client = with_purposes(pki, CLIENT_AUTH, ca=False)
    bundle = pin(pki.ca.certificate, client)
    assert client not in (*bundle.certificates, *bundle.signers, bundle.recipient)
    [finding] = bundle.findings
    assert finding.code == "untrusted-certificate"
    assert "the extended key usage of CN=other is not an RA's" in finding.text


def test_a_certificate_whose_purposes_cannot_be_read_is_no_ra(pki):
    client = with_purposes(pki, CLIENT_AUTH, extensions=[odd_names()])
    bundle = pin(pki.ca.certificate, client)
    assert bundle.certificates == (pki.ca.certificate,)
    assert "the extended key usage of CN=other cannot be read" in bundle.findings[0].text


@pytest.mark.parametrize("purposes", [["2.5.29.37.0"], ["2.5.29.37.0", CLIENT_AUTH]])
def test_any_purpose_is_not_an_ras(pki, purposes):
    """It is in the certificates of many clients (S-082)."""
    client = with_purposes(pki, *purposes, ca=False)
    assert pin(pki.ca.certificate, client).certificates == (pki.ca.certificate,)


@pytest.mark.parametrize(
    ("purposes", "taken"), [([CLIENT_AUTH], False), ([CLIENT_AUTH, "2.5.29.37.0"], True), ([], True)]
)
def test_what_a_ca_between_may_issue_for_holds_for_what_names_no_purpose(pki, purposes, taken):
    """A CA for TLS clients certifies no RA; one that is pinned itself may (S-082)."""
    limited = [x509.ExtendedKeyUsage(map(x509.ObjectIdentifier, purposes))] if purposes else []
    sub_key = pki.ra_encryption.key
    sub = SigningIdentity(
        certify("Sub CA", sub_key, issuer=pki.ca, ca=True, usage=CA_USAGE, extensions=limited), sub_key
    )
    leaf = certify("RA", pki.ra_signer.key, issuer=sub, ca=False, usage="key_encipherment")
    assert (leaf in pin(pki.ca.certificate, sub.certificate, leaf).certificates) == taken
    assert leaf in pin(sub.certificate, leaf).certificates


@pytest.mark.parametrize(
    ("usage", "pins", "taken"),
    [
        ("digital_signature key_encipherment key_cert_sign", {}, False),
        ("digital_signature key_encipherment key_cert_sign", {"signer": True}, True),
        ("key_encipherment key_cert_sign", {}, True),
        ("digital_signature key_cert_sign", {}, True),
        (None, {}, True),
    ],
)
def test_who_only_signs_is_needless_where_the_ca_may_sign_and_decrypt(pki, usage, pins, taken):
    """Whoever decrypts with the CA's key can sign with it: a signer beside it would be any client (S-006, S-082)."""
    ca = SigningIdentity(certify("Test CA", pki.ca.key, ca=True, usage=usage), pki.ca.key)
    client = certify("a client", pki.stranger.key, issuer=ca, ca=False, usage="digital_signature")
    options = {"signer": fingerprint(client)} if pins else {}
    bundle = authenticate(
        [ca.certificate, client],
        fingerprints=[fingerprint(ca.certificate)],
        recipient=fingerprint(ca.certificate),
        now=NOW,
        **options,
    )
    assert (client in bundle.signers) == taken
    assert [finding.code for finding in bundle.findings] == (
        [] if pins else ["ra-not-pinned"] if taken else ["untrusted-certificate"]
    )
    assert pins or f'signing_certificate = "{fingerprint(client)}"' in bundle.findings[0].text


def test_who_may_sign_unpinned_is_told_of_though_the_recipient_is_pinned(pki):
    """S-006: a client of the CA could sign a FAILURE."""
    signers = [
        certify(f"RA {n}", pki.ra_signer.key, issuer=pki.ca, ca=False, usage="digital_signature")
        for n in range(5)
    ]
    bundle = authenticate(
        [pki.ca.certificate, pki.ra_encryption.certificate, *signers],
        fingerprints=[fingerprint(pki.ca.certificate)],
        recipient=fingerprint(pki.ra_encryption.certificate),
        now=NOW,
    )
    [finding] = bundle.findings
    assert finding.code == "ra-not-pinned"
    assert finding.text.startswith(
        "replies may be signed by CN=RA 0 or CN=RA 1 or CN=RA 2 (2 more may sign), which"
    )
    assert "encryption_certificate" not in finding.text
    assert f'signing_certificate = "{fingerprint(signers[2])}"' in finding.text
    assert fingerprint(signers[3]) not in finding.text


@pytest.mark.parametrize("purpose", ["1.3.6.1.4.1.311.20.2.1", "1.3.6.1.5.5.7.3.28"])
def test_the_purposes_of_an_ra_are_an_ras(pki, purpose):
    """NDES has the first."""
    ra = with_purposes(pki, CLIENT_AUTH, purpose, ca=False)
    assert pin(pki.ca.certificate, ra).recipient == ra


def test_a_ca_may_have_other_purposes(pki):
    sub = with_purposes(pki, CLIENT_AUTH, ca=True, usage=CA_USAGE)
    assert sub in pin(pki.ca.certificate, sub).certificates


@pytest.mark.parametrize("how", ["recipient", "signer", "fingerprints", "anchors"])
def test_what_is_pinned_may_have_other_purposes(pki, how):
    ra = with_purposes(pki, CLIENT_AUTH, ca=False)
    pinned = fingerprint(pki.ca.certificate)
    pins = {
        "recipient": {"fingerprints": [pinned], "recipient": fingerprint(ra)},
        "signer": {"fingerprints": [pinned], "signer": fingerprint(ra)},
        "fingerprints": {"fingerprints": [pinned, fingerprint(ra, "sha512")]},
        "anchors": {"anchors": [pki.ca.certificate, ra]},
    }[how]
    bundle = authenticate([pki.ca.certificate, ra], **pins, now=NOW)
    assert ra in bundle.signers or how == "recipient"
    assert bundle.recipient == ra
    assert bundle.findings == ()


def test_an_ra_that_nothing_pins_receives_with_a_word_on_how_to_pin_it(pki):
    [finding] = pki.ra_bundle.findings
    assert finding.code == "ra-not-pinned"
    assert "CN=RA encryption" in finding.text
    line = f'encryption_certificate = "{fingerprint(pki.ra_encryption.certificate)}"'
    assert line in finding.text


# How certificates are signed


@pytest.mark.parametrize(
    ("digest", "security", "taken"),
    [
        (Digest.MD5, Security.LEGACY, True),
        (Digest.MD5, Security.DEFAULT, False),
        (Digest.SHA1, Security.DEFAULT, True),
        (Digest.SHA1, Security.STRICT, False),
    ],
)
def test_an_ra_is_left_out_if_it_is_signed_too_weakly_for_the_policy(pki, digest, security, taken):
    ra = resigned(pki.ra_encryption.certificate, pki.ca.key, digest)
    ca = resigned(pki.ca.certificate, pki.ca.key, Digest.MD5)  # an anchor; how it is signed says nothing
    bundle = authenticate([ca, ra], fingerprints=[fingerprint(ca)], security=security, now=NOW)
    assert (ra in bundle.certificates) == taken
    assert bundle.recipient == (ra if taken else ca)
    first, *_ = bundle.findings
    assert first.code == ("weak-certificate" if taken else "untrusted-certificate")
    assert f"CN=RA encryption is signed with {'md5' if digest is Digest.MD5 else 'sha1'}" in first.text


@pytest.mark.parametrize(("security", "taken"), [(Security.DEFAULT, True), (Security.STRICT, False)])
def test_the_policy_holds_for_certificates_from_files_too(pki, security, taken):
    ra = resigned(pki.ra_encryption.certificate, pki.ca.key, Digest.SHA1)
    bundle = trust.pinned([pki.ca.certificate, ra], security=security, now=NOW)
    assert (ra in bundle.certificates) == taken


def test_a_ca_with_a_small_key_is_told_of_once_and_refused_by_the_strict_policy(pki):
    small = rsa.generate_private_key(65537, 1024)
    ca = SigningIdentity(certify("Small CA", small, ca=True, usage=CA_USAGE), small)
    ra = certify("RA", pki.stranger.key, issuer=ca, ca=False, usage="key_encipherment")
    how = {"fingerprints": [fingerprint(ca.certificate)], "now": NOW}
    bundle = authenticate([ca.certificate, ra], **how)
    assert [finding.code for finding in bundle.findings] == ["weak-certificate", "ra-not-pinned"]
    with pytest.raises(TrustError, match="the RSA key of CN=Small CA has 1024 bits"):
        authenticate([ca.certificate, ra], security=Security.STRICT, **how)


def test_a_ca_that_cannot_encrypt_by_its_key_usage_is_used_with_a_word(pki):
    """The last row of the table: some CAs are so and work."""
    ca = certify("Test CA", pki.ca.key, ca=True, usage="key_cert_sign crl_sign")
    bundle = pin(ca)
    assert bundle.recipient == ca
    [finding] = bundle.findings
    assert finding.code == "recipient-usage"
    assert "CN=Test CA" in finding.text
    pinned = authenticate([ca], fingerprints=[fingerprint(ca)], recipient=fingerprint(ca), now=NOW)
    assert pinned.findings == ()


def test_a_ca_of_x509_version_1_is_a_ca(pki):
    old = version_1("Old CA", pki.stranger.key)
    assert is_ca(old)
    assert pin(old).ca_certificate == old


def test_a_version_3_certificate_says_itself_whether_it_is_a_ca(pki):
    assert is_ca(pki.ca.certificate)
    assert not is_ca(pki.ra_signer.certificate)
    assert not is_ca(pki.stranger.certificate)  # self-issued, and not said to be one


# Chains


def test_a_chain_has_the_issuer_first_and_the_anchor_last(pki, hierarchy):
    root, sub, ra = hierarchy
    bundle = authenticate(hierarchy, fingerprints=[fingerprint(root)], now=NOW)
    assert bundle.verifier.chain(ra, NOW) == (sub, root)
    assert bundle.verifier.chain(root, NOW) == ()
    assert authenticate(hierarchy, fingerprints=[fingerprint(sub)], now=NOW).verifier.chain(ra, NOW) == (sub,)


def test_what_stands_between_is_not_trusted_by_that(pki):
    other = SigningIdentity(certify("Other CA", pki.stranger.key, ca=True), pki.stranger.key)
    leaf = pki.issue(issuer=other)
    with pytest.raises(TrustError, match=r"CN=gw1|CN=Other CA") as error:
        pki.bundle.verifier.chain(leaf, NOW, between=[other.certificate])
    assert error.value.check == "chain"


def test_a_verifier_answers_for_the_time_it_is_asked_about(pki):
    """OpenSSL's store keeps the first time that it is given."""
    verifier = pki.bundle.verifier
    leaf = pki.issue(begins=NOW, ends=NOW + DAY)
    assert verifier.chain(leaf, NOW)
    with pytest.raises(TrustError, match="expired"):
        verifier.chain(leaf, NOW + 2 * DAY)
    with pytest.raises(TrustError, match="not yet valid"):
        verifier.chain(leaf, NOW - DAY)
    assert verifier.chain(leaf, NOW + DAY)


def with_name_of_type(certificate, tag):
    """Return the certificate with its common name in another type, for instance one that no name may have."""
    data = der(certificate)
    before = b"\x0c\x03gw1"
    assert before in data
    return data.replace(before, bytes((tag,)) + before[1:])


@pytest.mark.parametrize("tag", [0x04, 0x17, 0x1A])
def test_a_certificate_that_only_openssl_cannot_read_does_not_chain(pki, tag):
    [odd] = certificates.load_certificates([with_name_of_type(pki.issue(), tag)])
    with pytest.raises(TrustError, match="cannot read") as error:
        pki.bundle.verifier.chain(odd, NOW)
    assert error.value.check == "chain"
    assert pki.bundle.verifier.chain(pki.issue(), NOW, between=[odd])
    assert pin(pki.ca.certificate, odd).certificates == (pki.ca.certificate,)


@pytest.mark.parametrize("tag", [0x03, 0x05, 0x30, 0x9F])
def test_a_name_of_a_type_that_nobody_reads_is_no_certificate(pki, tag):
    with pytest.raises(ProtocolError):
        parse_certificates(with_name_of_type(pki.issue(), tag))


def test_openssl_may_not_even_say_which_certificate_is_at_fault(pki):
    """It has none to show when it cannot take the key out of the one it looks at."""
    data = der(pki.ca.certificate)
    modulus = encode(pki.ca.key.public_key().public_numbers().n)
    assert modulus in data
    damaged = data.replace(modulus, b"\x03" + modulus[1:])
    with pytest.raises(TrustError, match="a certificate that cannot be read") as error:
        pin(*certificates.load_certificates([damaged]))
    assert error.value.check == "ca-authentication"


def odd(certificate, issuer):
    """Return a certificate signed anew with a serial number below 1, of which the library warns."""
    tbs = certificate.tbs_certificate_bytes.replace(b"\x02\x01\x01", b"\x02\x01\xff")
    signature = issuer.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    whole = seq(tbs, algorithm_der(oids.SHA256_WITH_RSA), wrap(0x03, b"\0" + signature))
    return certificates.load_certificates([whole])[0]


def test_an_odd_certificate_is_named_without_a_warning_of_the_library(pki):
    """Found by fuzzing; a warning is an error here, and a line on stderr for a user."""
    with pytest.raises(TrustError, match="certificate signature failure: CN=gw1"):
        pki.bundle.verifier.chain(odd(pki.issue(serial_number=1), pki.stranger), NOW)


def test_a_chain_over_an_odd_certificate_comes_without_a_warning_of_the_library(pki):
    below = odd(certify("Sub CA", pki.stranger.key, issuer=pki.ca, ca=True, serial_number=1), pki.ca)
    leaf = pki.issue(issuer=SigningIdentity(below, pki.stranger.key))
    assert pki.bundle.verifier.chain(leaf, NOW, between=[below]) == (below, pki.ca.certificate)


# Pinned: what files say, and no server


def test_a_pinned_signer_is_trusted_by_itself_and_for_nothing_else(pki):
    ra = pki.ra_signer.certificate
    bundle = trust.pinned([], signer=ra, now=NOW)
    assert (bundle.signers, bundle.recipient, bundle.ca_certificate) == ((ra,), ra, ra)
    assert (bundle.anchors, bundle.by) == ((), "certificate file")
    with pytest.raises(TrustError, match="no CA certificate is known") as error:
        bundle.verifier.chain(pki.issue(), NOW)
    assert error.value.check == "chain"


def test_a_pinned_signer_of_a_ca_is_a_trust_anchor_too(pki):
    bundle = trust.pinned([], signer=pki.ca.certificate, now=NOW)
    assert bundle.anchors == bundle.signers == (pki.ca.certificate,)
    assert bundle.verifier.chain(pki.issue(), NOW) == (pki.ca.certificate,)


def test_of_pinned_files_each_is_used_as_it_is_named(pki):
    bundle = trust.pinned(
        [pki.ca.certificate, pki.stranger.certificate],
        signer=pki.ra_signer.certificate,
        recipient=pki.ra_encryption.certificate,
        now=NOW,
    )
    assert bundle.signers == (pki.ra_signer.certificate,)
    assert bundle.recipient == pki.ra_encryption.certificate
    assert bundle.ca_certificate == pki.ca.certificate
    assert bundle.anchors == (pki.ca.certificate,)  # what is no CA's anchors nothing
    assert bundle.certificates == (pki.ca.certificate, pki.ra_signer.certificate)
    assert bundle.findings == ()
    assert bundle.verifier.chain(pki.issue(), NOW) == (pki.ca.certificate,)


def test_a_pinned_recipient_signs_nothing_and_anchors_nothing(pki):
    bundle = trust.pinned([], signer=pki.ra_signer.certificate, recipient=pki.ca.certificate, now=NOW)
    assert pki.ca.certificate not in (*bundle.signers, *bundle.anchors, *bundle.certificates)
    with pytest.raises(TrustError):
        bundle.verifier.chain(pki.issue(), NOW)


def test_without_a_pinned_signer_those_that_chain_to_a_pinned_ca_sign(pki):
    files = [pki.ca.certificate, pki.ra_signer.certificate, pki.ra_encryption.certificate]
    bundle = trust.pinned(files, now=NOW)
    assert set(bundle.signers) == set(files)
    assert bundle.recipient == pki.ra_encryption.certificate
    stranger = trust.pinned(files, recipient=pki.stranger.certificate, now=NOW)
    assert stranger.recipient == pki.stranger.certificate
    assert stranger.signers == bundle.signers


def test_files_without_a_ca_and_without_a_signer_authenticate_nothing(pki):
    with pytest.raises(TrustError) as error:
        trust.pinned([pki.ra_signer.certificate], recipient=pki.ra_encryption.certificate, now=NOW)
    assert error.value.check == "ca-authentication"


def test_what_is_odd_about_pinned_certificates_is_said(pki):
    old = certify("old RA", pki.stranger.key, ends=NOW - DAY, usage="digital_signature", ca=False)
    bundle = trust.pinned([], signer=old, now=NOW)
    assert [finding.code for finding in bundle.findings] == ["pinned-validity", "recipient-usage"]
    assert "CN=old RA" in bundle.findings[0].text
    early = certify("new RA", pki.stranger.key, begins=NOW + DAY, usage="key_encipherment", ca=False)
    both = trust.pinned([], signer=old, recipient=early, now=NOW)
    assert [finding.code for finding in both.findings] == ["pinned-validity"] * 2
