"""Targets that get signed replies: to an enrollment, and to each question whose answer is signed.

Must never hold: a limit on time or memory.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import forge
from cases import Case, Reply, Target, change, der, is_showable, made, response, true_certificates
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from forge import Authority, ec_authority, pss_authority, rsa_authority, scep, signed_data
from issuing import NOW, request
from replies import NONCE, TRANSACTION_ID, random_bytes

from scepflow.engine import queries
from scepflow.engine.algorithms import choose
from scepflow.engine.asn1 import wrap
from scepflow.engine.capabilities import NONE
from scepflow.engine.channel import Channel, Message
from scepflow.engine.enrollment import Enrollment, Issued, Pending, Rejected
from scepflow.engine.messages import MessageType
from scepflow.engine.state import State

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


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
            assert meaning in self._said(case), "what is not signed changed what the reply means"
        if isinstance(outcome, Issued):
            self._judge(outcome, case)
        if isinstance(outcome, Rejected):
            assert is_showable(outcome.fail_info_text), "the CA's words are not fit to be shown"
        assert all(is_showable(finding.text) for finding in outcome.findings), (
            "a finding is not fit to be shown"
        )
        return str(meaning[0])

    def _said(self, case: Case) -> list[tuple[object, ...]]:
        """Return what the CA said in a case that is not signed anew; a splice may be all of another message."""
        spliced = [reply for reply in self.replies if reply.data[-32:] in case.data]  # its signature's end
        return [self.meaning[id(reply)] for reply in (case.of, *spliced)]

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
