"""Whatever bytes come, what describes them raises no other error than ours: messages with hostile parts, by the thousand.

The parts are those that broke something once. Where they go is drawn from a seed, so that each run tries the same places.
"""

import json
import random
import warnings
from contextlib import suppress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import CA_USAGE, CHALLENGE, NOW, certify, ec_key, request, rsa_key
from replies import NONCE, TRANSACTION_ID, Reply, issued_reply, random_bytes, seq, to_ber

from scepflow.decoding import Means, decode
from scepflow.descriptions import describe_certificate, describe_crl
from scepflow.doctor import appraisal
from scepflow.engine import cms, envelopes, messages, queries, trust
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.asn1 import encode, wrap
from scepflow.engine.certificates import load_certificates
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import MessageType
from scepflow.errors import ScepflowError
from scepflow.options import UrlTemplate
from scepflow.pipeline import CaOptions

PINNED = CaOptions(url=UrlTemplate("http://ca.example"))
HUGE = wrap(0x02, b"\x7f" + b"\xff" * 3000)
PARTS = (
    HUGE,
    wrap(0x02, b"\x80" + b"\0" * 3000),
    wrap(0x02, b""),
    wrap(0x02, b"\xff"),
    wrap(0x03, b"\0\1\2"),
    wrap(0x03, b""),
    wrap(0x03, b"\x09\xff"),
    wrap(0x04, b"\xff" * 300),
    wrap(0x06, b"\x80"),
    wrap(0x06, b"\xff" * 40 + b"\x7f"),
    wrap(0x01, b"\x01"),
    wrap(0x09, b"\x031E9"),
    wrap(0x0C, b"\xff\xfe"),
    wrap(0x0C, b"9" * 5000),
    wrap(0x13, b"9" * 5000),
    wrap(0x13, b"\x1b[2J"),
    wrap(0x1E, b"\xd8"),
    wrap(0x1C, b"\xff\xff\xff\xff"),
    wrap(0x17, b"000000000000Z"),
    wrap(0x17, b"260601120000+9999"),
    wrap(0x18, b"00000101000000Z"),
    wrap(0x18, b"99991231235959Z"),
    wrap(0x05, b""),
    seq(),
    wrap(0x31, b""),
    wrap(0xA0, b""),
    wrap(0x80, b"\xff"),
    wrap(0x82, b"\xff"),
    wrap(0x86, b"\xff"),
    wrap(0x87, b"\1\2\3"),
    seq(seq(HUGE), wrap(0x31, HUGE)),
)


def tree(der, depth=0):
    """Take DER apart, what is in OCTET STRINGs and BIT STRINGs too; each element is [tag, prefix, parts or bytes]."""
    elements = []
    while der:
        size, header = der[1], 2
        if size >= 0x80:
            header += size & 0x7F
            size = int.from_bytes(der[2:header], "big")
        if len(der) < header + size or size & 0x80000000:
            raise ValueError("not DER")
        elements.append([der[0], *inside(der[0], der[header : header + size])])
        der = der[header + size :]
    return elements


def inside(tag, content):
    if tag & 0x20:
        return b"", tree(content)
    prefix = b"\0" if tag == 0x03 else b""
    if tag in (0x03, 0x04) and content[len(prefix) :][:1] in (b"\x30", b"\x31"):
        with suppress(ValueError, IndexError):
            return prefix, tree(content[len(prefix) :])
    return b"", content


def untree(elements):
    return b"".join(wrap(t, p + (untree(c) if isinstance(c, list) else c)) for t, p, c in elements)


def places(elements):
    for at, (_, _, content) in enumerate(elements):
        yield elements, at
        if isinstance(content, list):
            yield from places(content)


def hostile(valid, count, *, seed=1):
    """Yield valid values with one to three hostile parts."""
    chance = random.Random(seed)
    for number in range(count):
        elements = tree(valid[number % len(valid)])
        for _ in range(chance.randint(1, 3)):
            siblings, at = chance.choice(list(places(elements)))
            change(siblings, at, chance)
            if not elements:
                break
        der = untree(elements)
        yield to_ber(der) if chance.random() < 0.1 else der


def change(siblings, at, chance):
    tag, prefix, _ = siblings[at]
    match chance.randrange(8):
        case 0:
            del siblings[at]
        case 1:
            siblings.insert(at, siblings[at])
        case 2:
            siblings[at] = [tag, b"", b""]
        case 3:
            siblings[at] = [chance.randrange(256) & 0xDF, b"", untree([siblings[at]])[2:]]
        case 4:
            siblings[at] = [tag, prefix, chance.choice(PARTS)]
        case _:
            siblings[at] = tree(chance.choice(PARTS))[0]


@pytest.fixture(scope="module")
def ca():
    key = rsa_key()
    extensions = [
        x509.SubjectAlternativeName(
            [
                x509.DNSName("a.example.com"),
                x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), encode("user")),
                x509.DirectoryName(x509.Name([])),
                x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            ]
        ),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
        x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")]),
        x509.CRLDistributionPoints(
            [x509.DistributionPoint([x509.UniformResourceIdentifier("http://a")], None, None, None)]
        ),
    ]
    certificate = certify(
        "Test CA", key, ca=True, usage=CA_USAGE, key_identifier=b"\1" * 20, extensions=extensions
    )
    return SigningIdentity(certificate, key)


@pytest.fixture(scope="module")
def client(ca):
    key = rsa_key()
    return SigningIdentity(certify("gw1", key, issuer=ca, usage="digital_signature"), key)


@pytest.fixture(scope="module")
def crl(ca):
    revoked = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW).build()
    return (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=7))
        .add_extension(x509.CRLNumber(7), critical=False)
        .add_revoked_certificate(revoked)
        .sign(ca.key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def signed_messages(ca, client):
    csr = request("gw1", client.key).public_bytes(Encoding.DER)
    sealed = envelopes.build_envelope(
        csr, recipient=ca.certificate, cipher=Cipher.AES128, random_bytes=random_bytes()
    )
    failure = {"status": "2", "fail_info": "2", "fail_info_text": "no", "text_tag": 0x0C}
    for_password = envelopes.build_envelope(
        csr,
        recipient=certify("EC", ec_key()),
        cipher=Cipher.AES256,
        random_bytes=random_bytes(),
        challenge_password=CHALLENGE,
    )
    return [
        issued_reply(ca, client.certificate, client.certificate).der(),
        Reply(signer=ca, content=None, **failure).der(),
        Reply(signer=ca, content=for_password, key_identifier=b"\1" * 20).der(),
        Reply(
            signer=ca, content=cms.build_certs_only([ca.certificate]), message_type=None, status=None
        ).der(),
        messages.build_request(
            MessageType.PKCS_REQ,
            sealed,
            transaction_id=TRANSACTION_ID,
            sender_nonce=NONCE,
            identity=client,
            digest=Digest.SHA256,
            signing_time=NOW,
        ),
    ]


@pytest.fixture(scope="module")
def plain_values(ca, client, crl):
    name = ca.certificate.subject.public_bytes()
    return [
        ca.certificate.public_bytes(Encoding.DER),
        crl.public_bytes(Encoding.DER),
        request("gw1", client.key).public_bytes(Encoding.DER),
        cms.build_certs_only([ca.certificate], [crl.public_bytes(Encoding.DER)]),
        seq(name, encode(7)),
        seq(name, name),
    ]


CASES = 1500


def test_whatever_is_decoded_is_shown_as_json_or_refused(ca, client, signed_messages, plain_values):
    means = (Means(key=client.key, ca=(ca.certificate,)), Means(key=ca.key, challenge=CHALLENGE))
    shown = 0
    for number, data in enumerate(hostile([*signed_messages, *plain_values], CASES)):
        with suppress(ScepflowError):
            json.dumps(decode(data, means[number % 2]).document)
            shown += 1
    assert shown > CASES // 5


def test_whatever_certificates_a_ca_sends_are_appraised_or_refused(plain_values):
    shown = 0
    for data in hostile([plain_values[0], plain_values[3]], CASES // 3):
        with suppress(ScepflowError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificates = trust.parse_certificates(data)
            list(appraisal.certificate_warnings(certificates, NOW))
            for certificate in certificates:
                json.dumps(appraisal.describe(certificate, None, pinned=PINNED, now=NOW))
                shown += 1
            bundle = appraisal.presumed(certificates, NOW)
            list(appraisal.risks(bundle, PINNED))
            appraisal.pin_lines("http://ca.example", None, bundle)
    assert shown > CASES // 15


def test_whatever_certificate_or_crl_is_read_is_described(plain_values):
    """As by ``getcert`` and ``getcrl``, after what the engine takes."""
    shown = 0
    for der in hostile(plain_values[:1], CASES // 3):
        with suppress(ScepflowError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            json.dumps(describe_certificate(*load_certificates([der])))
            shown += 1
    for der in hostile(plain_values[1:2], CASES // 3):
        with suppress(ScepflowError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            json.dumps(describe_crl(queries._load_crl(der)))
            shown += 1
    assert shown > CASES // 20
