"""Every cell of tests/house/policy_tables.py shown with a message: each algorithm under each policy, sent and received."""

from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from issuing import CHALLENGE, NOW, certify, request, resigned
from policy_tables import NO, PAGE, POLICIES, TABLES, WARN, YES, page
from replies import NONCE, Reply, algorithm, envelope, issued_reply, seq
from test_password import recipient

from scepflow.engine import cms, envelopes, messages, oids, password, trust
from scepflow.engine.algorithms import Cipher, Digest, Security, choose
from scepflow.engine.asn1 import NULL_DER, Oid, encode, parse, wrap
from scepflow.engine.asn1 import KeyTransRecipientInfo as KeyTransport
from scepflow.engine.capabilities import Capabilities, parse_capabilities
from scepflow.engine.enrollment import Issued
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.identity import SigningIdentity
from scepflow.errors import OptionError, ProtocolError, TrustError
from scepflow.pipeline.model import CaOptions

WEAK = {"weak-request", "weak-reply", "weak-certificate"}
STANDARD = Capabilities(frozenset({"SCEPStandard"}))
RC2_CBC = Oid("1.2.840.113549.3.2")
AES128_GCM = Oid("2.16.840.1.101.3.4.1.6")
MD2 = Oid("1.2.840.113549.2.2")
SHA3_256 = Oid("2.16.840.1.101.3.4.2.8")
HMAC_MD5 = Oid("1.3.6.1.5.5.8.1.1")
HMAC_SHA224 = Oid("1.2.840.113549.2.8")
SCRYPT = Oid("1.3.6.1.4.1.11591.4.11")


def cells(*tables):
    """Parametrise over the cells of some tables: the table's name, the row and the policy."""
    found = [
        (name, row, Security(policy)) for name in tables for row in TABLES[name].rows for policy in POLICIES
    ]
    ids = [f"{name}-{row.name}-{policy}" for name, row, policy in found]
    return pytest.mark.parametrize(("table", "row", "policy"), found, ids=ids)


def judged(findings):
    return WARN if WEAK & {finding.code for finding in findings} else YES


# Requests


@pytest.fixture
def sent(start, pki):
    """Return a function that gives the request of an enrollment as it is on the wire."""

    def sent(**how):
        csr = how.pop("csr", None) or request("gw1", pki.client.key)
        http = start(csr=csr, send=False, **how).next_request(now=NOW, sender_nonce=NONCE)
        return messages.parse_request(http.body)

    return sent


def ca_options(policy, **option):
    return CaOptions(url="http://ca.example/scep", security=policy.value, **option)


@cells("request digest", "request cipher")
def test_a_request_by_option(sent, pki, table, row, policy):
    verdict = getattr(row, policy)
    option = table.removeprefix("request ")
    text, _, by_ec = row.name.partition(", ")
    value = {"digest": Digest, "cipher": Cipher}[option](text)
    if verdict == NO and not by_ec:
        with pytest.raises(OptionError, match=f'refused by security = "{policy}"'):
            ca_options(policy, **{option: text})
        with pytest.raises(TrustError) as error:
            choose(STANDARD, security=policy, **{option: value})
        assert error.value.check == "algorithms"
        return
    if by_ec:
        choice = choose(STANDARD, security=Security.LEGACY, **{option: value})
        with pytest.raises(TrustError, match="cannot be signed with an EC key"):
            sent(choice=choice, identity=pki.ec_client, csr=request("gw1", pki.client.key, challenge=None))
        return
    assert getattr(ca_options(policy, **{option: text}), option) == text
    choice = choose(STANDARD, security=policy, **{option: value})
    seen = sent(choice=choice, security=policy)
    assert seen.verified
    assert {"digest": seen.digest, "cipher": seen.envelope.cipher}[option] is value
    assert judged(choice.findings) == verdict


@cells("capabilities")
def test_a_request_by_what_the_ca_offers(sent, table, row, policy):
    verdict = getattr(row, policy)
    offered, _, chosen = row.name.partition(" → ")
    keywords = "" if offered == "nothing" else "\n".join([*offered.split(", "), "POSTPKIOperation"])
    capabilities = parse_capabilities(keywords.encode())
    if verdict == NO:
        with pytest.raises(TrustError, match="which security = strict demands"):
            choose(capabilities, security=policy)
        return
    choice = choose(capabilities, security=policy)
    assert judged(choice.findings) == verdict
    seen = sent(choice=choose(capabilities, security=policy, method="POST"), security=policy)
    assert f"{seen.envelope.cipher.value}, {seen.digest.value}" == chosen


def public(bits, exponent=65537):
    """Return an RSA key of which no one knows the other half."""
    return rsa.RSAPublicNumbers(exponent, (1 << bits) - 1).public_key()


LARGE_EXPONENT = (1 << 64) + 1
REQUEST_KEYS = {
    "RSA, 1023 bits": (partial(public, 1023), "offers no certificate that can decrypt"),
    "RSA, 1024 bits": (partial(public, 1024), "offers no certificate that can decrypt"),
    "RSA, 2048 bits": (partial(public, 2048), ""),
    "RSA, 16384 bits": (partial(public, 16384), ""),
    "RSA, 16385 bits": (partial(public, 16385), "recipient's RSA key of 16385 bits is out of bounds"),
    "RSA, an exponent of 65 bits": (partial(public, 2048, LARGE_EXPONENT), "out of bounds"),
}


@cells("request key")
def test_a_request_to_the_key_of_the_ca(sent, pki, table, row, policy):
    verdict = getattr(row, policy)
    if row.name.startswith("EC"):
        _to_ec(sent, pki, row.name)
        return
    make, said = REQUEST_KEYS[row.name]
    receiver = certify("RA", make(), issuer=pki.ec_ca, ca=False, usage="key_encipherment")
    bundle = trust.authenticate(
        [pki.ec_ca.certificate, receiver],
        fingerprints=[trust.fingerprint(pki.ec_ca.certificate)],
        now=NOW,
        security=policy,
    )
    if verdict == NO:
        with pytest.raises(TrustError, match=said):
            sent(bundle=bundle, security=policy)
        return
    assert judged(bundle.findings) == verdict
    [info] = sent(bundle=bundle, security=policy).envelope.recipients
    transport = parse(info, KeyTransport, "KeyTransRecipientInfo")
    assert encode(oids.RSA_ENCRYPTION) == encode(transport.algorithm[0])
    assert len(transport.encrypted_key) * 8 == receiver.public_key().key_size


def _to_ec(sent, pki, name):
    _, _, how = name.partition(", ")
    short = how == "with a challenge of 13"
    csr = request("gw1", pki.client.key, challenge="x" * 13 if short else CHALLENGE)
    allowed = how != "without password_envelope"
    if short or not allowed:
        said = "fewer than 14 characters" if short else "offers no certificate that can decrypt"
        with pytest.raises(TrustError, match=said):
            sent(bundle=pki.ec_bundle, csr=csr, password_envelope=allowed)
        return
    seen = sent(bundle=pki.ec_bundle, csr=csr, password_envelope=True)
    assert envelopes.open_envelope(seen.envelope, pki.ec_ca, challenge_password=CHALLENGE)


# Replies


@dataclass(frozen=True, kw_only=True)
class Case:
    """A reply, and the enrollment that gets it.

    Attributes:
        reply: a `Reply`, or its bytes.
        bundle: what GetCACert gave, the anchor first.
        said: what the error says where no policy allows it.
        how: what else is different in the enrollment.
    """

    reply: Any
    bundle: tuple[Any, ...] = ()
    said: str = ""
    how: dict[str, Any] = field(default_factory=dict)


def good(pki, **knobs):
    return issued_reply(pki.ca, pki.client.certificate, pki.issue(), **knobs)


def with_oid(reply, before, after):
    """Return a reply that names another algorithm, whose OID has the same length; no signature covers that."""
    before, after = encode(before), encode(after)
    assert len(before) == len(after)
    return reply.der().replace(before, after)


def by_ra(pki, key, *, said="", certificate=None, **knobs):
    """Let an RA with a key sign; of a public key alone, nothing can come but noise."""
    certificate = certificate or certify("RA", key, issuer=pki.ca, ca=False, usage="digital_signature")
    if not hasattr(key, "sign"):
        knobs["sign"] = lambda data: b"noise"
    reply = good(pki).but(signer=SigningIdentity(certificate, key), **knobs)
    return Case(reply=reply, bundle=(pki.ca.certificate, certificate), said=said)


def pss(pki, digest):
    hashed = digest.hash()
    mask = algorithm(oids.MGF1, algorithm(digest.oid))
    parameters = [algorithm(digest.oid), mask, encode(hashed.digest_size)]
    identifier = algorithm(oids.RSASSA_PSS, seq(*(wrap(0xA0 + n, part) for n, part in enumerate(parameters))))
    pad = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
    sign = partial(pki.ca.key.sign, padding=pad, algorithm=hashed)
    return Case(reply=good(pki, digest=digest, signature_algorithm=identifier, sign=sign))


def ecdsa(pki, curve, digest, oid):
    return by_ra(
        pki, ec.generate_private_key(curve()), digest=digest, signature_algorithm=algorithm(oid, b"")
    )


@cache
def large_key():
    """Return a key of 16384 bits in 32 primes: one of two primes would take minutes to make."""
    return LargeKey()


class LargeKey:
    """An RSA key whose modulus is the product of those of small keys."""

    def __init__(self):
        pairs = [rsa.generate_private_key(65537, 1024).private_numbers() for _ in range(15)]
        product = 1
        for pair in pairs:
            product *= pair.public_numbers.n
        missing = 16384 - product.bit_length()
        candidates = (
            rsa.generate_private_key(65537, missing + more).private_numbers() for more in [0, 1] * 30
        )
        last = next(c for c in candidates if (product * c.public_numbers.n).bit_length() == 16384)
        self.primes = [prime for pair in (*pairs, last) for prime in (pair.p, pair.q)]
        self.modulus = product * last.public_numbers.n

    def public_key(self):
        return rsa.RSAPublicNumbers(65537, self.modulus).public_key()

    def sign(self, data):
        """Sign with PKCS #1 v1.5 and SHA-256 (RFC 8017 §8.2.1)."""
        hashed = seq(algorithm(oids.SHA256), encode(Digest.SHA256.of(data)))
        size = self.modulus.bit_length() // 8
        padded = int.from_bytes(b"\0\1" + b"\xff" * (size - 3 - len(hashed)) + b"\0" + hashed, "big")
        signature, modulus = 0, 1
        for prime in self.primes:  # the Chinese remainder theorem, prime by prime
            part = pow(padded, pow(65537, -1, prime - 1), prime)
            signature += modulus * ((part - signature) * pow(modulus, -1, prime) % prime)
            modulus *= prime
        return signature.to_bytes(size, "big")


def enveloped(pki, *, said="", **parts):
    parts = {"recipient": pki.client.certificate, **parts}
    return Case(reply=good(pki).but(content=envelope(certs(pki), **parts)), said=said)


def certs(pki, key=None):
    return cms.build_certs_only([pki.issue(key=key)])


def oaep_identifier(digest):
    hashed, mask = algorithm(digest.oid), algorithm(oids.MGF1, algorithm(digest.oid))
    return algorithm(oids.RSAES_OAEP, seq(wrap(0xA0, hashed), wrap(0xA1, mask)))


def oaep(pki, digest):
    pad = padding.OAEP(padding.MGF1(digest.hash()), digest.hash(), None)
    return enveloped(pki, key_transport=oaep_identifier(digest), pad=pad)


def under_the_challenge(pki, *, said="", **parts):
    """Answer an EC client; the parts are those of `test_password.recipient`."""
    info = recipient(key=b"K" * 16, **parts)
    content = envelope(certs(pki, pki.ec_client.key), recipient_infos=[encode(info)])
    csr = request("gw1", pki.ec_client.key)
    how = {"identity": pki.ec_client, "csr": csr, "password_envelope": True}
    return Case(reply=good(pki).but(content=content), said=said, how=how)


def wrapped_in(pki, cipher):
    return under_the_challenge(pki, cipher=cipher)


def derivation(oid, parameters):
    return seq(encode(oid), parameters)


def issued_with(pki, digest):
    return Case(reply=issued_reply(pki.ca, pki.client.certificate, resigned(pki.issue(), pki.ca.key, digest)))


def ra_signed_with(pki, digest):
    return by_ra(pki, pki.ra_signer.key, certificate=resigned(pki.ra_signer.certificate, pki.ca.key, digest))


def issued_by_ec(pki):
    reply = issued_reply(pki.ec_ca, pki.client.certificate, pki.issue(issuer=pki.ec_ca))
    return Case(reply=reply, bundle=(pki.ec_ca.certificate,), how={"password_envelope": True})


def named(oid, digest):
    return lambda pki: Case(reply=good(pki, digest=digest, signature_algorithm=algorithm(oid)))


SALT_AND_COUNT = seq(encode(b"salt of 16 bytes"), encode(2), encode(1))
UNKNOWN = "neither RSA nor EC"
OUT = "out of bounds"
BUILDERS = {
    "reply digest": {
        **{
            f"SHA-{n}": lambda pki, n=n: Case(reply=good(pki, digest=Digest(f"sha-{n}")))
            for n in (1, 224, 256, 384, 512)
        },
        "MD5": lambda pki: Case(reply=good(pki, digest=Digest.MD5)),
        "MD2": lambda pki: Case(
            reply=with_oid(good(pki, digest=Digest.MD5), oids.MD5, MD2), said="unknown digest"
        ),
        "SHA3-256": lambda pki: Case(reply=with_oid(good(pki), oids.SHA256, SHA3_256), said="unknown digest"),
    },
    "reply signature": {
        "rsaEncryption": lambda pki: Case(reply=good(pki)),
        "md5WithRSAEncryption": named(oids.MD5_WITH_RSA, Digest.MD5),
        "sha1WithRSAEncryption": named(oids.SHA1_WITH_RSA, Digest.SHA1),
        "sha256WithRSAEncryption": named(oids.SHA256_WITH_RSA, Digest.SHA256),
        "sha384WithRSAEncryption": named(oids.SHA384_WITH_RSA, Digest.SHA384),
        "sha512WithRSAEncryption": named(oids.SHA512_WITH_RSA, Digest.SHA512),
        **{f"RSASSA-PSS, SHA-{n}": lambda pki, n=n: pss(pki, Digest(f"sha-{n}")) for n in (1, 256, 384, 512)},
        "ECDSA P-256, SHA-1": lambda pki: ecdsa(pki, ec.SECP256R1, Digest.SHA1, oids.ECDSA_WITH_SHA1),
        "ECDSA P-256, SHA-256": lambda pki: ecdsa(pki, ec.SECP256R1, Digest.SHA256, oids.ECDSA_WITH_SHA256),
        "ECDSA P-384, SHA-384": lambda pki: ecdsa(pki, ec.SECP384R1, Digest.SHA384, oids.ECDSA_WITH_SHA384),
        "ECDSA P-521, SHA-512": lambda pki: ecdsa(pki, ec.SECP521R1, Digest.SHA512, oids.ECDSA_WITH_SHA512),
        "Ed25519": lambda pki: by_ra(pki, ed25519.Ed25519PrivateKey.generate().public_key(), said=UNKNOWN),
        "DSA": lambda pki: by_ra(pki, dsa.generate_private_key(1024).public_key(), said=UNKNOWN),
    },
    "reply signer": {
        "RSA, 1023 bits": lambda pki: by_ra(
            pki, public(1023), said="not signed by a certificate of the authent"
        ),
        "RSA, 1024 bits": lambda pki: by_ra(pki, rsa.generate_private_key(65537, 1024)),
        "RSA, 2048 bits": lambda pki: by_ra(pki, pki.ra_signer.key),
        "RSA, 16384 bits": lambda pki: by_ra(pki, large_key(), sign=large_key().sign),
        "RSA, 16385 bits": lambda pki: by_ra(pki, public(16385), said=OUT),
        "RSA, an exponent of 65 bits": lambda pki: by_ra(pki, public(2048, LARGE_EXPONENT), said=OUT),
        "EC P-192": lambda pki: by_ra(pki, ec.generate_private_key(ec.SECP192R1())),
        "EC P-224": lambda pki: by_ra(pki, ec.generate_private_key(ec.SECP224R1())),
        "EC P-256": lambda pki: by_ra(pki, ec.generate_private_key(ec.SECP256R1())),
    },
    "reply cipher": {
        "AES-128-CBC": lambda pki: Case(reply=good(pki, cipher=Cipher.AES128)),
        "AES-192-CBC": lambda pki: Case(reply=good(pki, cipher=Cipher.AES192)),
        "AES-256-CBC": lambda pki: Case(reply=good(pki, cipher=Cipher.AES256)),
        "3DES-CBC": lambda pki: Case(reply=good(pki, cipher=Cipher.DES3)),
        "DES-CBC": lambda pki: Case(reply=good(pki, cipher=Cipher.DES)),
        "Blowfish-CBC": lambda pki: Case(reply=good(pki, cipher=Cipher.BLOWFISH)),
        "RC2-CBC": lambda pki: enveloped(
            pki,
            cipher_identifier=algorithm(RC2_CBC, seq(encode(58), encode(b"i" * 8))),
            said="unknown content cipher",
        ),
        "AES-128-GCM": lambda pki: enveloped(
            pki,
            cipher_identifier=algorithm(AES128_GCM, seq(encode(b"n" * 12))),
            said="unknown content cipher",
        ),
        "none: the certificates in clear": lambda pki: Case(
            reply=good(pki).but(content=certs(pki)), said="where a CMS EnvelopedData must be"
        ),
    },
    "reply transport": {
        "RSA PKCS #1 v1.5": enveloped,
        **{f"OAEP, SHA-{n}": lambda pki, n=n: oaep(pki, Digest(f"sha-{n}")) for n in (1, 256, 512)},
        "OAEP, MD5": lambda pki: enveloped(
            pki, key_transport=oaep_identifier(Digest.MD5), said="does not open with our key"
        ),
        "key agreement (ECDH)": lambda pki: enveloped(
            pki, recipient_infos=[wrap(0xA1, encode(3))], said="not for our certificate"
        ),
    },
    "reply password": {
        **{
            f"PBKDF2, HMAC-SHA-{n}": lambda pki, n=n: under_the_challenge(
                pki, prf=algorithm(getattr(oids, f"HMAC_SHA{n}")), prf_digest=Digest(f"sha-{n}")
            )
            for n in (1, 256, 384, 512)
        },
        "PBKDF2, no prf named (HMAC-SHA-1)": lambda pki: under_the_challenge(
            pki, prf=b"", prf_digest=Digest.SHA1
        ),
        "PBKDF2, HMAC-SHA-224": lambda pki: under_the_challenge(pki, prf=algorithm(HMAC_SHA224), said=OUT),
        "PBKDF2, HMAC-MD5": lambda pki: under_the_challenge(pki, prf=algorithm(HMAC_MD5), said=OUT),
        "PBKDF2, 0 rounds": lambda pki: under_the_challenge(
            pki, derivation=derivation(oids.PBKDF2, seq(encode(b"salt"), encode(0))), said=OUT
        ),
        "PBKDF2, 1 500 001 rounds": lambda pki: under_the_challenge(
            pki,
            derivation=derivation(oids.PBKDF2, seq(encode(b"salt"), encode(password.MAX_ITERATIONS + 1))),
            said=OUT,
        ),
        "PBKDF2, a salt of 1025 bytes": lambda pki: under_the_challenge(
            pki, derivation=derivation(oids.PBKDF2, seq(encode(b"s" * 1025), encode(1))), said=OUT
        ),
        "scrypt": lambda pki: under_the_challenge(
            pki, derivation=derivation(SCRYPT, SALT_AND_COUNT), said="unknown key derivation"
        ),
        "wrapped in AES-128-CBC": partial(wrapped_in, cipher=Cipher.AES128),
        "wrapped in AES-256-CBC": partial(wrapped_in, cipher=Cipher.AES256),
        "wrapped in 3DES-CBC": partial(wrapped_in, cipher=Cipher.DES3),
        "wrapped in DES-CBC": partial(wrapped_in, cipher=Cipher.DES),
        "wrapped in Blowfish-CBC": partial(wrapped_in, cipher=Cipher.BLOWFISH),
        "wrapped in RC2-CBC": lambda pki: under_the_challenge(
            pki,
            key_encryption=algorithm(oids.PWRI_KEK, algorithm(RC2_CBC, NULL_DER)),
            said="unknown content cipher",
        ),
    },
    "issued": {
        "RSA, SHA-256": lambda pki: Case(reply=good(pki)),
        "RSA, SHA-384": partial(issued_with, digest=Digest.SHA384),
        "RSA, SHA-512": partial(issued_with, digest=Digest.SHA512),
        "RSA, SHA-1": partial(issued_with, digest=Digest.SHA1),
        "RSA, MD5": partial(issued_with, digest=Digest.MD5),
        "ECDSA, SHA-256": issued_by_ec,
    },
    "bundle": {
        "RSA, SHA-256": lambda pki: by_ra(pki, pki.ra_signer.key),
        "RSA, SHA-1": partial(ra_signed_with, digest=Digest.SHA1),
        "RSA, MD5": partial(ra_signed_with, digest=Digest.MD5),
    },
}


def received(case, start, pki, policy):
    """Return what was found on the way to a certificate."""
    anchor = (case.bundle or (pki.ca.certificate,))[0]
    bundle = trust.authenticate(
        case.bundle or [anchor],
        fingerprints=[trust.fingerprint(certificate) for certificate in case.bundle or [anchor]],
        now=NOW,
        security=policy,
    )
    enrollment = start(bundle=bundle, security=policy, **case.how)
    body = case.reply.der() if isinstance(case.reply, Reply) else case.reply
    try:
        outcome = enrollment.receive(HttpResponse(status=200, body=body), now=NOW)
    except TrustError as error:
        error.add_note(" ".join(finding.text for finding in bundle.findings))
        raise
    assert isinstance(outcome, Issued)
    return [*bundle.findings, *outcome.findings]


@cells(*BUILDERS)
def test_a_reply(start, pki, table, row, policy):
    verdict = getattr(row, policy)
    case = BUILDERS[table][row.name](pki)
    if verdict != NO:
        assert judged(received(case, start, pki, policy)) == verdict
        return
    with pytest.raises((TrustError, ProtocolError)) as error:
        received(case, start, pki, policy)
    assert error.value.exit_code == 5
    if {*row[1:]} == {NO}:  # then the reason is the algorithm, and no policy
        assert case.said
        assert case.said in error.value.message
    else:
        everything = " ".join([error.value.message, *getattr(error.value, "__notes__", [])])
        assert f"security = {policy} refuses" in everything


# The page


def test_every_row_is_shown():
    by_hand = {"request digest", "request cipher", "capabilities", "request key"}
    assert TABLES.keys() - by_hand == BUILDERS.keys()
    for table, builders in BUILDERS.items():
        assert {row.name for row in TABLES[table].rows} == builders.keys()
    assert REQUEST_KEYS.keys() == {r.name for r in TABLES["request key"].rows if r.name.startswith("RSA")}


def test_every_algorithm_of_the_engine_has_a_row():
    assert {d.value for d in Digest} <= {row.name for row in TABLES["request digest"].rows}
    assert {c.value for c in Cipher} == {row.name for row in TABLES["request cipher"].rows}
    assert {p.value for p in Security} == set(POLICIES)
    rounds = f"{password.MAX_ITERATIONS + 1:,}".replace(",", " ")
    assert f"PBKDF2, {rounds} rounds" in {row.name for row in TABLES["reply password"].rows}


def test_a_weaker_policy_allows_all_that_a_stronger_one_does():
    for table in TABLES.values():
        for row in table.rows:
            allowed = [verdict != NO for verdict in row[1:]]
            assert allowed == sorted(allowed), row
            assert set(row[1:]) <= {NO, WARN, YES}


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/house/policy_tables.py"
