"""Which of several CA certificates signs and which receives."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from scepflow.sscep.ca_files import choose

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def certificate(subject, issuer, *usages):
    names = [x509.Name.from_rfc4514_string(f"CN={name}") for name in (subject, issuer)]
    builder = x509.CertificateBuilder(subject_name=names[0], issuer_name=names[1]).public_key(
        KEY.public_key()
    )
    builder = builder.serial_number(1).not_valid_before(datetime(2024, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2034, 1, 1, tzinfo=UTC))
    if usages:
        builder = builder.add_extension(
            x509.KeyUsage(**{name: name in usages for name in KEY_USAGES}), critical=True
        )
    return builder.sign(KEY, hashes.SHA256())


SIGN = certificate("RA Sign", "Sub", "digital_signature")
ENCRYPT = certificate("RA Enc", "Sub", "key_encipherment")
BOTH = certificate("RA", "Sub")
SUB = certificate("Sub", "Root", "key_cert_sign")
ROOT = certificate("Root", "Root", "key_cert_sign")


@pytest.mark.parametrize(
    ("certificates", "expected"),
    [
        ((SIGN, ENCRYPT, SUB, ROOT), (0, 1)),  # Appendix C.4
        ((ROOT, SUB, ENCRYPT, SIGN), (3, 2)),
        ((ROOT,), (0, 0)),
        ((ROOT, BOTH), (1, 1)),
        ((SIGN, BOTH), (1, 1)),  # the last that fits
        ((SUB, SIGN), (1, 0)),  # what issued another one is no candidate, but the first is the default
    ],
)
def test_the_choice_is_sscep_s(certificates, expected):
    assert choose(certificates) == expected
