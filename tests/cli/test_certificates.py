"""What a certificate is called, and what it would be used for."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from issuing import CA_USAGE, DAY, certify, ec_key, rsa_key

from scepflow.cli.certificates import ca_certificate_lines, certificate_lines, crl_lines, pin_line
from scepflow.engine import trust
from scepflow.engine.identity import SigningIdentity
from scepflow.inquiry import CaAnswer

KEY = rsa_key()
LATER = datetime.now(UTC) + 400 * DAY


def certificate(subject="RA", **how):
    return certify(subject, KEY, **{"ca": False, "ends": LATER, **how})


@pytest.mark.parametrize(
    ("how", "role"),
    [
        ({"ca": True}, "CA"),
        ({}, "RA"),
        ({"usage": "digital_signature key_encipherment"}, "RA"),
        ({"usage": "digital_signature"}, "RA signing"),
        ({"usage": "key_encipherment"}, "RA encryption"),
    ],
)
def test_a_role_is_what_constraints_and_usage_say(how, role):
    one = certificate(**how)
    heading = next(ca_certificate_lines(one, CaAnswer(certificates=(one,))))
    assert heading == f"\x1b[1m{role:13}\x1b[0m  CN=RA"


def test_a_certificate_that_is_not_valid_yet_says_so():
    lines = list(certificate_lines(certificate(begins=datetime.now(UTC) + DAY), "RA"))
    assert any(" (not yet) until " in line for line in lines)
    assert not any("issuer" in line for line in lines)


def test_one_pinned_signer_is_the_only_one():
    now = datetime.now(UTC)
    ca = SigningIdentity(certify("CA", KEY, ca=True, usage=CA_USAGE, ends=LATER, begins=now - DAY), KEY)
    ra = certify(
        "RA", rsa_key(), issuer=ca, ca=False, usage="digital_signature", ends=LATER, begins=now - DAY
    )
    bundle = trust.pinned([ca.certificate], signer=ra, recipient=ca.certificate, now=now)
    answer = CaAnswer(certificates=(ca.certificate, ra), bundle=bundle)
    assert "and no other" in "\n".join(ca_certificate_lines(ra, answer))
    assert "signs" not in "\n".join(ca_certificate_lines(ca.certificate, answer))


def test_the_line_that_pins_has_the_topmost_ca():
    root = SigningIdentity(certificate("Root", ca=True), KEY)
    sub, ra = certificate("Sub", ca=True, issuer=root), certificate()
    answer = CaAnswer(certificates=(ra, sub, root.certificate))
    assert pin_line(answer) == f'fingerprint = "{trust.fingerprint(root.certificate)}"'
    assert trust.fingerprint(sub) in pin_line(CaAnswer(certificates=(ra, sub)))
    assert trust.fingerprint(ra) in pin_line(CaAnswer(certificates=(ra,)))


def test_a_crl_has_its_times_and_its_count():
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(certificate().subject)
    crl = builder.last_update(now).next_update(now + timedelta(days=7)).sign(ec_key(), hashes.SHA256())
    assert [line.split()[0] for line in crl_lines(crl)][1:] == ["issued", "next", "revoked"]
