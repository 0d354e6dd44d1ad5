"""Whom requests are encrypted for."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import CA_USAGE, DAY, NOW, certify, pin

from scepflow.engine import certificates
from scepflow.engine.recipients import choose_recipient
from scepflow.errors import TrustError


def candidate(pki, *, ca=False, usage=None, begins=NOW - DAY, key=None, ends=NOW + DAY):
    return certify(
        "candidate",
        key or pki.stranger.key,
        issuer=pki.ca,
        ca=ca,
        usage=usage,
        begins=begins,
        ends=ends,
    )


RANKS = [
    [
        {"ca": False, "usage": "key_encipherment"},
        {"ca": False, "usage": "digital_signature key_encipherment"},
    ],
    [{"ca": True, "usage": CA_USAGE}, {"ca": True, "usage": "key_encipherment key_cert_sign"}],
    [{"ca": False}, {"ca": False, "usage": "data_encipherment"}, {"ca": None}],
    [{"ca": True}],
    [{"ca": False, "usage": "digital_signature"}],
    [{"ca": True, "usage": "key_cert_sign"}],
]
PAIRS = [
    (better, worse)
    for rank, betters in enumerate(RANKS)
    for better in betters
    for worses in RANKS[rank + 1 :]
    for worse in worses
]


@pytest.mark.parametrize(("better", "worse"), PAIRS, ids=str)
def test_the_better_rank_receives_though_it_is_older(pki, better, worse):
    """Q-004, Q-011, Q-125."""
    wanted = candidate(pki, **better, begins=NOW - 9 * DAY)
    other = candidate(pki, **worse, begins=NOW - DAY)
    for sent in ([wanted, other], [other, wanted]):
        assert choose_recipient(sent, NOW) == wanted


@pytest.mark.parametrize(
    "rank", RANKS, ids=["RA with", "CA with", "RA without", "CA without", "RA against", "CA against"]
)
def test_the_newest_of_a_rank_receives(pki, rank):
    certificates = [
        candidate(pki, **kind, begins=NOW - (n + 1) * DAY) for n, kind in enumerate((*rank, *rank[:1]))
    ]
    for chosen in (certificates, certificates[::-1]):
        assert choose_recipient(chosen, NOW) == certificates[0]


def test_an_ec_ca_is_passed_over_for_an_rsa_ra(pki):
    """Q-124."""
    ra = certify("RA", pki.stranger.key, issuer=pki.ec_ca, ca=False, usage="digital_signature")
    bundle = pin(pki.ec_ca.certificate, ra)
    assert bundle.recipient == ra


def test_without_an_rsa_key_an_ec_certificate_is_taken_without_a_word_on_usage(pki):
    assert pki.ec_bundle.recipient == pki.ec_ca.certificate
    assert pki.ec_bundle.findings == ()


def test_what_is_not_valid_does_not_receive(pki):
    early, late = (
        candidate(pki, begins=NOW + DAY, ends=NOW + 2 * DAY),
        candidate(pki, ends=NOW - timedelta(hours=1)),
    )
    valid = candidate(pki, ca=True, usage="key_cert_sign")
    assert choose_recipient([early, late, valid], NOW) == valid
    with pytest.raises(TrustError, match="expired or is not valid yet") as error:
        choose_recipient([early, late], NOW)
    assert error.value.check == "ca-authentication"


def test_the_edges_of_validity_are_valid(pki):
    edge = candidate(pki, begins=NOW, ends=NOW)
    assert choose_recipient([edge], NOW) == edge


def test_a_key_too_large_to_be_used_does_not_receive(pki):
    """S-026."""
    huge = candidate(
        pki, key=rsa.RSAPublicNumbers(65537, (1 << 16385) - 1).public_key(), usage="key_encipherment"
    )
    modest = candidate(pki, ca=True, usage="key_cert_sign")
    assert choose_recipient([huge, modest], NOW) == modest


def test_a_key_that_cannot_be_read_does_not_receive(pki):
    rsa_oid = bytes.fromhex("2a864886f70d010101")
    odd = candidate(pki, usage="key_encipherment")
    [odd] = certificates.load_certificates(
        [odd.public_bytes(Encoding.DER).replace(rsa_oid, rsa_oid[:-1] + b"\x63")]
    )
    modest = candidate(pki, ca=True, usage="key_cert_sign")
    assert choose_recipient([odd, modest], NOW) == modest
