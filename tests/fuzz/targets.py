"""What is fuzzed: each target makes a case from chance, gives it to the engine and judges what comes out.

A case may end with a ScepflowError. Any other exception is a bug, and so is an
outcome that the case does not allow. Must never hold: a limit on time or memory.
"""

from __future__ import annotations

import base64
import tempfile
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import forge
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from forge import Authority, attributes, ec_authority, pss_authority, rsa_authority, scep, signed_data
from issuing import CA_USAGE, NOW, request
from mutation import Specimen, damaged, mutated, mutated_text
from replies import NONCE, TRANSACTION_ID, random_bytes, to_ber

from scepflow.engine import ber, envelopes, queries, trust
from scepflow.engine.algorithms import choose
from scepflow.engine.asn1 import wrap
from scepflow.engine.capabilities import NONE, parse_capabilities
from scepflow.engine.channel import Channel, Message
from scepflow.engine.enrollment import Enrollment, Issued, Pending, Rejected
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType
from scepflow.engine.state import State
from scepflow.pipeline.load import load_document
from scepflow.sscep.conffile import load_configuration
from scepflow.sscep.settings import Operation

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Case:
    """One input.

    Attributes:
        layer: what was changed, such as ``attributes``.
        data: the bytes that come from the server, or stand in the file.
        of: the valid message that it was made of.
        certificate: one that the CA signed for this case alone, as DER.
    """

    layer: str
    data: bytes
    of: Any = None
    certificate: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A right reply in its parts, and what the engine says to it."""

    authority: Authority
    attributes: bytes
    content: bytes | None
    inner: Specimen | None = None  # what is encrypted in the content
    recipients: tuple[bytes, ...] = ()
    certificate: bytes = b""  # the one in `inner`
    within: Callable[[Authority, bytes], bytes] = Authority.sealed

    @cached_property
    def data(self) -> bytes:
        return self.authority.signed(self.attributes, self.content, (self.authority.ca_der,))

    @cached_property
    def specimens(self) -> tuple[Specimen, ...]:
        """The whole message, in DER and in BER."""
        return Specimen.of(self.data), Specimen.of(to_ber(self.data))

    @cached_property
    def parts(self) -> dict[str, Specimen]:
        """What is changed under the signature."""
        found = {"attributes": Specimen.of(self.attributes)}
        if self.content is not None:
            found["envelope"] = Specimen.of(self.content)
        if self.inner is not None:
            found["content"] = self.inner
        if self.certificate:
            found["certificate"] = Specimen.of(
                Specimen.of(self.certificate).bytes_of(Specimen.of(self.certificate).elements[1])
            )
        return found

    def with_content(self, content: bytes) -> bytes:
        """Return the message around other content, signed."""
        digest = forge.digest_attribute(self.content)
        return self.authority.signed(
            self.attributes.replace(digest, forge.digest_attribute(content)), content
        )

    def with_inner(self, inner: bytes) -> bytes:
        """Return the message around other plaintext, sealed and signed."""
        return self.with_content(self.within(self.authority, inner))


def made(authority: Authority, texts: dict[Any, str], inner: bytes | None = None, **more: Any) -> Reply:
    """Return a right reply, sealed for the client unless it is told how."""
    recipients = more.get("recipients", ())
    within = more.pop("within", lambda authority, inner: authority.sealed(inner, *recipients))
    content = None if inner is None else within(authority, inner)
    return Reply(
        authority=authority,
        attributes=attributes(content, texts),
        content=content,
        inner=None if inner is None else Specimen.of(inner),
        within=within,
        **more,
    )


def change(chance: random.Random, reply: Reply, others: Sequence[Specimen]) -> Case:
    """Return a reply changed outside its signature, or under it and signed again."""
    layer = int(chance.random() * 20)
    if layer < 8:
        return Case("message", mutated(chance, chance.choice(reply.specimens), others), reply)
    if layer < 10:
        return Case(
            "bytes", damaged(chance, chance.choice(reply.specimens).data, chance.choice(others).data), reply
        )
    name = chance.choice(list(reply.parts))
    part = reply.parts[name]
    new = mutated(chance, part, others) if chance.random() < 0.9 else damaged(chance, part.data, part.data)
    match name:
        case "attributes":
            return Case(name, reply.authority.signed(new, reply.content), reply)
        case "envelope":
            return Case(name, reply.with_content(new), reply)
        case "content":
            return Case(name, reply.with_inner(new), reply)
        case _:
            signed = forge.signed_value(new, reply.authority.ca.key)
            assert reply.inner is not None
            inner = reply.inner.with_element(reply.inner.find(reply.certificate), signed)
            return Case(name, reply.with_inner(inner), reply, signed)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def is_showable(text: str) -> bool:
    """Tell whether text holds nothing that a terminal acts upon."""
    return text.isprintable() or not {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} & set(
        map(unicodedata.category, text)
    )


def response(data: bytes) -> HttpResponse:
    return HttpResponse(status=200, body=data)


@cache
def true_certificates(authority: Authority) -> tuple[x509.Certificate, ...]:
    """Return what the CA issued: two for our key, one for a stranger's, and a CA below."""
    stranger = ec.derive_private_key(7, ec.SECP256R1())
    below = {"ca": True, "usage": CA_USAGE, "key": ec.derive_private_key(8, ec.SECP256R1())}
    return (
        authority.issued("gw1", 1000),
        authority.issued("gw1", 1001, begins=NOW - timedelta(days=1)),
        authority.issued("other", 1002, key=stranger),
        authority.issued("Sub CA", 1003, **below),
    )


def channel(authority: Authority) -> Channel:
    return Channel(
        url="http://ca.example/scep",
        bundle=authority.bundle,
        identity=authority.client,
        choice=choose(NONE),
        random_bytes=random_bytes(),
        challenge_password=forge.CHALLENGE,
        password_envelope=True,
    )


class Target:
    """Something that is fuzzed.

    Attributes:
        name: what ``--target`` calls it.
    """

    name: ClassVar[str]

    def case(self, chance: random.Random) -> Case:
        """Return a case."""
        raise NotImplementedError

    def outcome(self, case: Case) -> str:
        """Give a case to the engine and return what came out; raises AssertionError if that must not be."""
        raise NotImplementedError


class CertRep(Target):
    """Replies to an enrollment, through all of `Enrollment.receive`, the CA pinned."""

    name = "certrep"

    def __init__(self) -> None:
        fast, usual, pss = ec_authority(), rsa_authority(), pss_authority()
        failure = scep("2", fail_info="2", fail_info_text="no such device")
        password = (fast.for_password,)
        first = true_certificates(fast)[:1]
        replies = [
            *(self._success(fast, first) for _ in range(3)),
            self._success(fast, true_certificates(fast)),
            self._success(fast, first, recipients=password),
            self._success(fast, first, recipients=(fast.for_password, fast.key_transport)),
            self._success(fast, first, recipients=(fast.by_oaep,)),
            made(fast, failure),
            made(fast, scep("3")),
        ]
        slow = [
            self._success(usual, true_certificates(usual)[:1]),
            made(usual, failure),
            made(pss, scep("3")),
        ]
        self.replies = [*replies, *replies, *slow]
        self.others = [
            specimen for reply in replies for specimen in (*reply.specimens, *reply.parts.values())
        ]
        self.enrollments = {authority: self._enrollment(authority) for authority in (fast, usual, pss)}
        self.true = {der(certificate) for a in (fast, usual) for certificate in true_certificates(a)}
        self.meaning = {
            id(reply): self._meaning(self.receive(reply.authority, reply.data)) for reply in self.replies
        }
        self.our_key = fast.client.key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    @staticmethod
    def _success(authority: Authority, certificates: Sequence[x509.Certificate], **more: Any) -> Reply:
        ders = tuple(map(der, certificates))
        is_fast = authority is ec_authority()
        return made(
            authority, scep("0"), signed_data(None, ders), certificate=ders[0] if is_fast else b"", **more
        )

    @staticmethod
    def _enrollment(authority: Authority) -> Enrollment:
        csr = request("gw1", authority.client.key, challenge=None)
        enrollment = Enrollment(channel(authority), csr, transaction_id=TRANSACTION_ID)
        enrollment.sent = Message(
            type=MessageType.PKCS_REQ, transaction_id=TRANSACTION_ID, sender_nonce=NONCE
        )
        return enrollment

    def receive(self, authority: Authority, data: bytes) -> Issued | Pending | Rejected:
        enrollment = self.enrollments[authority]
        enrollment.state = State.AWAITING
        outcome = enrollment.receive(response(data), now=NOW)
        ends = {Issued: State.ISSUED, Pending: State.PENDING, Rejected: State.REJECTED}
        assert enrollment.state is ends[type(outcome)]
        return outcome

    @staticmethod
    def _meaning(outcome: Issued | Pending | Rejected) -> tuple[object, ...]:
        match outcome:
            case Issued(certificate=certificate, chain=chain):
                return ("issued", der(certificate), chain)
            case Rejected(fail_info=fail_info, fail_info_text=text):
                return ("rejected", fail_info, text)
            case _:
                return ("pending",)

    def case(self, chance: random.Random) -> Case:
        reply = self.replies[int(chance.random() * len(self.replies))]
        return change(chance, reply, self.others)

    def outcome(self, case: Case) -> str:
        outcome = self.receive(case.of.authority, case.data)
        meaning = self._meaning(outcome)
        if case.layer in ("message", "bytes"):
            assert meaning == self.meaning[id(case.of)], "what is not signed changed what the reply means"
        if isinstance(outcome, Issued):
            self._judge(outcome, case)
        if isinstance(outcome, Rejected):
            assert is_showable(outcome.fail_info_text), "the CA's words are not fit to be shown"
        assert all(is_showable(finding.text) for finding in outcome.findings), (
            "a finding is not fit to be shown"
        )
        return str(meaning[0])

    def _judge(self, outcome: Issued, case: Case) -> None:
        certificate = outcome.certificate
        assert der(certificate) in self.true | {case.certificate}, "a certificate that the CA never issued"
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert key == self.our_key, "a certificate for another key"
        assert outcome.chain[-1] == case.of.authority.ca.certificate, "a chain to another CA"


class Questions(Target):
    """Replies to a question, through its ``queries.parse_`` function."""

    def __init__(self) -> None:
        self.authority = ec_authority()
        self.channel = channel(self.authority)
        self.true = {der(certificate) for certificate in true_certificates(self.authority)}
        self.replies = self.made()
        self.others = [specimen for reply in self.replies for specimen in reply.specimens]

    def made(self) -> list[Reply]:
        raise NotImplementedError

    def case(self, chance: random.Random) -> Case:
        return change(chance, chance.choice(self.replies), self.others)


class NextCa(Questions):
    """Replies to GetNextCACert; what is signed is not encrypted."""

    name = "nextca"

    def made(self) -> list[Reply]:
        following = der(repeated_ca())
        plain = {"within": lambda _, inner: inner}
        bundles = (signed_data(None, (following,)), signed_data(None, (following, self.authority.ca_der)))
        return [made(self.authority, {}, inner, **plain) for inner in bundles]

    def outcome(self, case: Case) -> str:
        answer = queries.parse_next_ca(response(case.data), bundle=self.authority.bundle).value
        assert answer.signer == self.authority.ca.certificate
        if case.layer in ("message", "bytes"):
            assert set(map(der, answer.certificates)) <= {der(repeated_ca()), self.authority.ca_der}
        return "next CA"


@cache
def repeated_ca() -> x509.Certificate:
    """Return the certificate of the CA's next key."""
    return Authority(ec.derive_private_key(20270601, ec.SECP256R1())).ca.certificate


class Certificate(Questions):
    """Replies to GetCert."""

    name = "getcert"
    message = Message(type=MessageType.GET_CERT, transaction_id=TRANSACTION_ID, sender_nonce=NONCE)

    def made(self) -> list[Reply]:
        ders = tuple(map(der, true_certificates(self.authority)))
        return [
            made(self.authority, scep("0"), signed_data(None, ders[:1]), certificate=ders[0]),
            made(self.authority, scep("0"), signed_data(None, ders), certificate=ders[0]),
            made(self.authority, scep("2", fail_info="4")),
        ]

    def outcome(self, case: Case) -> str:
        answer = queries.parse_certificate(
            self.channel, self.message, response(case.data), serial_number=1000, now=NOW
        )
        assert der(answer.value) in self.true | {case.certificate}, "a certificate that the CA never issued"
        return "certificate"


class Crl(Questions):
    """Replies to GetCRL."""

    name = "getcrl"
    message = Message(type=MessageType.GET_CRL, transaction_id=TRANSACTION_ID, sender_nonce=NONCE)

    def made(self) -> list[Reply]:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.authority.ca.certificate.subject)
            .last_update(NOW)
            .next_update(NOW + timedelta(days=7))
            .add_extension(x509.CRLNumber(7), critical=False)
        )
        for serial_number in range(70, 75):
            revoked = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(NOW)
            builder = builder.add_revoked_certificate(revoked.build())
        tbs = builder.sign(self.authority.ca.key, hashes.SHA256()).tbs_certlist_bytes
        self.crl = forge.signed_value(tbs, self.authority.ca.key)
        inner = signed_data(None, crls=wrap(0xA1, self.crl))
        return [made(self.authority, scep("0"), inner, certificate=self.crl)]

    def outcome(self, case: Case) -> str:
        crl = queries.parse_crl(self.channel, self.message, response(case.data), now=NOW).value
        assert crl.public_bytes(Encoding.DER) in {self.crl, case.certificate}, (
            "a CRL that the CA never issued"
        )
        return "CRL"


class CaCert(Target):
    """Answers to GetCACert, read and then authenticated with a pin."""

    name = "getcacert"

    def __init__(self) -> None:
        self.authority = authority = rsa_authority()
        ra = {"key": authority.client.key.public_key()}
        signer = authority.issued("RA signing", 5, **ra)
        receiver = authority.issued("RA encryption", 6, usage="key_encipherment", **ra)
        ders = (authority.ca_der, der(signer), der(receiver))
        bundle = signed_data(None, ders)
        self.true = set(ders)
        values = [authority.ca_der, bundle, bundle, to_ber(bundle), signed_data(None, (*ders, *ders))]
        self.specimens = [*map(Specimen.of, values)]
        pems = b"".join(
            certificate.public_bytes(Encoding.PEM) for certificate in (authority.ca.certificate, signer)
        )
        self.texts = [
            pems.decode(),
            in_base64(bundle),
            f"-----BEGIN PKCS7-----\n{in_base64(bundle)}-----END PKCS7-----\n",
        ]
        self.pin = trust.fingerprint(authority.ca.certificate)

    def case(self, chance: random.Random) -> Case:
        kind = chance.random()
        if kind < 0.25:
            text = mutated_text(chance, chance.choice(self.texts), self.texts)
            return Case("text", text.encode())
        specimen = chance.choice(self.specimens)
        if kind < 0.4:
            return Case("bytes", damaged(chance, specimen.data, chance.choice(self.specimens).data))
        data = mutated(chance, specimen, self.specimens)
        if kind < 0.5:
            return Case("within base64", in_base64(data).encode())
        return Case("message", data)

    def outcome(self, case: Case) -> str:
        certificates = queries.parse_ca_cert(response(case.data))
        bundle = trust.authenticate(certificates, fingerprints=[self.pin], now=NOW)
        assert set(map(der, bundle.certificates)) <= self.true, "a certificate that the CA never issued"
        assert set(map(der, bundle.signers)) <= self.true, "a signer that the CA never issued"
        return "authenticated"


def in_base64(data: bytes) -> str:
    return base64.encodebytes(data).decode()


class Capabilities(Target):
    """Answers to GetCACaps."""

    name = "getcacaps"
    texts = (
        "AES\nPOSTPKIOperation\nSHA-256\nSCEPStandard\nRenewal\n",
        "\ufeffsha-512\r\nDES3\r\nOther thing\r\n",
        "",
    )

    def case(self, chance: random.Random) -> Case:
        data = mutated_text(chance, chance.choice(self.texts), self.texts).encode()
        return Case("text", data) if chance.random() < 0.6 else Case("bytes", damaged(chance, data, data))

    def outcome(self, case: Case) -> str:
        found = parse_capabilities(case.data)
        assert all(is_showable(text) and len(text) <= 80 for text in found.unknown)
        choose(found)
        return "capabilities" if found.names else "none"


class EnvelopedData(Target):
    """Envelopes, opened without the signature around them."""

    name = "envelope"

    def __init__(self) -> None:
        self.authority = authority = ec_authority()
        self.inner = signed_data(None, (authority.ca_der,))
        recipients = ((), (authority.for_password,), (authority.for_password, authority.key_transport))
        sealed = [authority.sealed(self.inner, *those) for those in recipients]
        self.specimens = [Specimen.of(data) for data in (*sealed, *map(to_ber, sealed))]

    def case(self, chance: random.Random) -> Case:
        specimen = chance.choice(self.specimens)
        if chance.random() < 0.3:
            return Case("bytes", damaged(chance, specimen.data, chance.choice(self.specimens).data))
        return Case("message", mutated(chance, specimen, self.specimens))

    def outcome(self, case: Case) -> str:
        envelope = envelopes.parse_envelope(case.data)
        opened = envelopes.open_envelope(envelope, self.authority.client, challenge_password=forge.CHALLENGE)
        return "opened" if opened == self.inner else "opened to something else"


class Ber(Target):
    """Any BER, made DER; what comes out must be its own DER."""

    name = "ber"

    def __init__(self) -> None:
        self.specimens = CertRep().others

    def case(self, chance: random.Random) -> Case:
        specimen = chance.choice(self.specimens)
        if chance.random() < 0.3:
            return Case("bytes", damaged(chance, specimen.data, chance.choice(self.specimens).data))
        return Case("message", mutated(chance, specimen, self.specimens))

    def outcome(self, case: Case) -> str:
        normalised = ber.normalise(case.data)
        assert ber.normalise(normalised) == normalised, "DER that is not its own"
        return "unchanged" if normalised == case.data else "changed"


_ROOT = Path(__file__).parents[2]
_TOML = '''[csr]
"quoted key" = "a\\tb"
'single' = \'\'\'one
two\'\'\'
text = """x\\
   y"""
dotted . key = [1, 2.5, 1979-05-27 07:32:00, {a = 1, b.c = "2"}, [[], ["x"]], 0xff, inf, true]
[[fleet.device]]
name = "a"
[[fleet.device]]
[fleet.device.deep]
x = "y" # comment
'''


class Toml(Target):
    """Pipeline files: the tables, and where each value stands."""

    name = "toml"

    def __init__(self) -> None:
        self.texts = [
            _TOML,
            _TOML,
            *(file.read_text("utf-8") for file in sorted((_ROOT / "pipelines").glob("*.toml"))),
        ]

    def case(self, chance: random.Random) -> Case:
        text = mutated_text(chance, chance.choice(self.texts), self.texts)
        return Case("text", text.encode("utf-8", "surrogatepass"))

    def outcome(self, case: Case) -> str:
        document = load_document("fuzz.toml", text=case.data.decode("utf-8", "surrogatepass"))
        size = len(document.main.text)
        for path in document.origins:
            found = document.place(path)
            assert found is not None, "a value without a place"
            key, value = found[1]
            assert 0 <= key.start < key.end <= size, "a key beyond the text"
            assert 0 <= value.start < value.end <= size, "a value beyond the text"
            document.main.position(value.start)
        assert all(
            document.main.text[value.start] not in " \t\n#" for _, value in document.main.places.values()
        )
        return "loaded"


_INI = """[sscep]
URL = "http://ca.example/scep" # comment
CACertFile = ${dir}/ca.crt
Verbose = yes
[sscep_enroll]
PrivateKeyFile = 'local.key'
PollInterval = 5
dir = $ENV::HOME
x = a\\
b
[engine_x]
dynamic_path = `x`
"""
_CLASSIC = """# comment
URL http://ca.example/scep
CACertFile "./ca \\"1\\".crt"
PrivateKeyFile local.key
Verbose yes
PollInterval 5
"""


class Conffile(Target):
    """sscep's configuration files, in both syntaxes."""

    name = "conffile"
    texts = (_INI, _CLASSIC)

    def case(self, chance: random.Random) -> Case:
        data = mutated_text(chance, chance.choice(self.texts), self.texts).encode("utf-8", "surrogatepass")
        return Case("text", data) if chance.random() < 0.7 else Case("bytes", damaged(chance, data, data))

    def outcome(self, case: Case) -> str:
        operation = (Operation.ENROLL, Operation.GETCA)[len(case.data) % 2]
        with tempfile.NamedTemporaryFile() as file:
            file.write(case.data)
            file.flush()
            load_configuration(file.name, operation=operation, program="sscep", environment={"HOME": "/h"})
        return "read"


TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        CertRep,
        EnvelopedData,
        CaCert,
        NextCa,
        Capabilities,
        Crl,
        Certificate,
        Ber,
        Toml,
        Conffile,
    )
}
