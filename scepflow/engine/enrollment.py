"""One certificate from one CA: a request, its polls, and the certificate that comes of them.

Messages go out through `next_request`, come in through `receive`; `state`
holds the ways between. Must never hold: a wait, a retry or a file.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from scepflow.engine import asn1, certificates, oids, strength
from scepflow.engine.algorithms import Choice, Cipher, Digest, Security
from scepflow.engine.certificates import is_ca, key_usage
from scepflow.engine.channel import Channel, Message
from scepflow.engine.checks import Finding
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import MessageType, PkiStatus
from scepflow.engine.state import TRANSITIONS, State, Step
from scepflow.errors import ProtocolError, TrustError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from scepflow.engine.checks import Checks
    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.engine.trust import Bundle

__all__ = ["Enrollment", "Issued", "Pending", "Rejected", "key_transaction_id"]

CLOCK_TOLERANCE = timedelta(hours=1)
"""How far in the future a new certificate may begin: clocks differ (Q-121)."""
_TRIED = 4  # certificates for our key
_NAMED = 5  # names or usages in a warning

LEAST_SHARE = 0.1
"""Share of the time that a certificate has left, which the one that replaces it must live at least (S-025)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """The CA issued a certificate for our key.

    Attributes:
        certificate: the issued certificate.
        chain: its issuer first, the trust anchor last; empty only if the check ``chain`` is turned off.
        transaction_id: the transaction.
        findings: what should be said about the reply.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    transaction_id: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The CA has not decided; ask again later."""

    transaction_id: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The CA said no.

    Attributes:
        fail_info: the reason, 0 or more, or None when the CA gave none.
        fail_info_text: the reason in words, sanitised, or "".
        transaction_id: the transaction.
        findings: what should be said about the reply.
    """

    fail_info: int | None
    fail_info_text: str
    transaction_id: str
    findings: tuple[Finding, ...] = ()


class Enrollment:
    """The client's side of one transaction (RFC 8894 §2.5 Certificate Enrollment/Renewal).

    Args:
        channel: the way to the CA; its identity must stay the same for all polls (C-114).
        csr: the certification request.
        transaction_id: new for each enrollment, printable text (Q-007).
        message_type: PKCSReq, or RenewalReq.
        previous: the certificate that is renewed; the same one coming back is an error.
        resumed: whether the request has been sent before, by another process: the first message is a CertPoll.
    """

    def __init__(
        self,
        channel: Channel,
        csr: x509.CertificateSigningRequest,
        *,
        transaction_id: str,
        message_type: MessageType = MessageType.PKCS_REQ,
        previous: x509.Certificate | None = None,
        resumed: bool = False,
    ) -> None:
        password = challenge_password(csr) or channel.challenge_password
        # The request's key, which at a renewal is another than the signer's.
        bundle = channel.bundle.without(csr.public_key())
        self.channel = replace(channel, challenge_password=password, bundle=bundle)
        self.csr = csr
        self.transaction_id = transaction_id
        self.message_type = message_type
        self.previous = previous
        self.state = State.AWAITING if resumed else State.READY
        self.sent: Message | None = None

    def afresh(self) -> Enrollment:
        """Return the same enrollment before its request was sent: the CA says that it never saw it."""
        return Enrollment(
            self.channel,
            self.csr,
            transaction_id=self.transaction_id,
            message_type=self.message_type,
            previous=self.previous,
        )

    def _step(self, step: Step) -> None:
        try:
            self.state = TRANSITIONS[self.state][step]
        except KeyError:
            raise ProtocolError(f"an enrollment that is {self.state} takes no {step}") from None

    def next_request(self, *, now: datetime, sender_nonce: bytes) -> HttpRequest:
        """Return the message to send: the request first, after that polls.

        Once this has returned, the message counts as sent.

        Args:
            now: current time, aware UTC.
            sender_nonce: 16 fresh random bytes (C-056).

        Raises:
            TrustError: the CA's certificate cannot receive the message.
            ProtocolError: the enrollment has ended.
        """
        first = self.state is State.READY
        kind = self.message_type if first else MessageType.CERT_POLL
        message = Message(type=kind, transaction_id=self.transaction_id, sender_nonce=sender_nonce)
        content = self.csr.public_bytes(Encoding.DER) if first else self._names()
        request = self.channel.request(message, content, now=now)
        self._step(Step.SEND)
        self.sent = message
        return request

    def _names(self) -> bytes:
        """Return the content of a CertPoll, the Names as CA and request have them (C-111)."""
        issuer = asn1.certificate_names(self.channel.bundle.ca_certificate)[2]
        return asn1.wrap(0x30, issuer + asn1.csr_subject(self.csr))

    def receive(self, response: HttpResponse, *, now: datetime) -> Issued | Pending | Rejected:
        """Return what a response means.

        Args:
            response: the response to the latest request.
            now: current time, aware UTC.

        Raises:
            TransportError: an HTTP error without a reply in it.
            TrustError, ProtocolError: a check failed. Nothing has changed: a poll may follow.
        """
        if self.sent is None or Step.SUCCESS not in TRANSITIONS[self.state]:
            raise ProtocolError(f"an enrollment that is {self.state} takes no reply")
        cert_rep, checks = self.channel.reply(self.sent, response)
        if cert_rep.pki_status is PkiStatus.PENDING:
            self._step(Step.PENDING)
            return Pending(transaction_id=self.transaction_id, findings=tuple(checks.findings))
        if cert_rep.pki_status is PkiStatus.FAILURE:
            self._step(Step.FAILURE)
            return Rejected(
                fail_info=cert_rep.fail_info,
                fail_info_text=cert_rep.fail_info_text,
                transaction_id=self.transaction_id,
                findings=tuple(checks.findings),
            )
        delivered = self.channel.open(cert_rep, checks).certificates()
        certificate = self._ours(delivered, now=now, checks=checks)
        chain = self._chain(certificate, delivered, now=now, checks=checks)
        self._look_at(certificate, now, checks)
        self._step(Step.SUCCESS)
        return Issued(
            certificate=certificate,
            chain=chain,
            transaction_id=self.transaction_id,
            findings=tuple(checks.findings),
        )

    def _ours(
        self, delivered: tuple[x509.Certificate, ...], *, now: datetime, checks: Checks
    ) -> x509.Certificate:
        """Return the certificate for our key, by its key and not by its place (C-064, S-020)."""
        key = self.csr.public_key()
        ours = [certificate for certificate in delivered if certificates.public_key(certificate) == key]
        checks.require(
            ours,
            "certificate-key",
            f"none of the {len(delivered)} certificates in the reply is for our key",
            hint="some CAs answer so while a person still has to approve: run again later",
        )
        candidates = ours or [certificate for certificate in delivered if not is_ca(certificate)]
        if not candidates:
            raise ProtocolError(
                "no end-entity certificate in the reply", section="RFC 8894 §3.3.2.1 CertRep SUCCESS"
            )
        candidates = [c for c in candidates if c != self.previous] or candidates
        if len(candidates) > 1:
            checks.note(
                "several-certificates",
                f"{len(candidates)} certificates for our key came; the newest that chains to the CA is taken",
            )
        newest = self._newest(candidates, delivered, now)
        checks.require(
            newest != self.previous,
            "new-certificate",
            "the CA sent the certificate that is being renewed, not a new one",
            hint="some CAs renew only shortly before expiry, or answer a known transaction again",
        )
        return newest

    def _newest(
        self, candidates: list[x509.Certificate], delivered: tuple[x509.Certificate, ...], now: datetime
    ) -> x509.Certificate:
        """Return the newest that chains to the CA, or the newest where none does; of many, only some are tried."""
        ordered = sorted(candidates, key=lambda certificate: certificate.not_valid_before_utc, reverse=True)
        for candidate in ordered[:_TRIED] if len(ordered) > 1 else ():
            with suppress(TrustError):
                self._verified(candidate, delivered, now)
                return candidate
        return ordered[0]

    def _verified(
        self, certificate: x509.Certificate, delivered: tuple[x509.Certificate, ...], now: datetime
    ) -> tuple[x509.Certificate, ...]:
        """Return the chain above a certificate; raises TrustError."""
        between = [other for other in delivered if other != certificate and is_ca(other)]
        begins = certificate.not_valid_before_utc
        at = begins if now < begins <= now + CLOCK_TOLERANCE else now
        return self.channel.bundle.verifier.chain(certificate, at, between=between)

    def _chain(
        self,
        certificate: x509.Certificate,
        delivered: tuple[x509.Certificate, ...],
        *,
        now: datetime,
        checks: Checks,
    ) -> tuple[x509.Certificate, ...]:
        """Return the verified chain; certificates of the reply may stand in it, never anchor it (S-021, S-024)."""
        begins = certificate.not_valid_before_utc
        if now < begins <= now + CLOCK_TOLERANCE:
            checks.note(
                "clock", f"the certificate begins at {begins:%Y-%m-%d %H:%M:%S} UTC: is the clock right?"
            )
        try:
            chain = self._verified(certificate, delivered, now)
        except TrustError as error:
            checks.require(
                False, "chain", f"the new certificate does not chain to the CA: {error.message}"
            )  # the outcome
            return ()
        self._judge((certificate, *chain), checks)
        return chain

    def _judge(self, path: tuple[x509.Certificate, ...], checks: Checks) -> None:
        """Check how the certificate and those above it are signed; `trust.authenticate` told of the CA's own."""
        security, bundle = self.channel.security, self.channel.bundle
        known = {
            w.text for c in bundle.certificates for w in strength.weaknesses([c], anchors=bundle.anchors)
        }
        for weakness in strength.weaknesses(path, anchors=bundle.anchors, own_key=True):
            checks.require(
                security not in weakness.refused_by,
                "algorithms",
                f"{weakness.text}, which security = {security} refuses",
            )
            if weakness.text not in known and security not in weakness.refused_by:
                checks.note("weak-certificate", weakness.text)

    def _look_at(self, certificate: x509.Certificate, now: datetime, checks: Checks) -> None:
        """Note what a person may want to know of the certificate (S-022, S-025, Q-116)."""
        if is_ca(certificate):
            checks.note("ca-certificate", "the new certificate is a CA certificate")
        if certificate.subject != self.csr.subject:
            subject = sanitise(certificate.subject.rfc4514_string())
            checks.note("subject-changed", f"the CA changed the subject to {subject}")
        self._compare_extensions(certificate, checks)
        if self.previous and certificate.not_valid_after_utc <= self.previous.not_valid_after_utc:
            self._compare_ends(
                certificate.not_valid_after_utc, self.previous.not_valid_after_utc, now, checks
            )
            checks.note("not-longer", "the new certificate expires no later than the one it replaces")

    @staticmethod
    def _compare_ends(ends: datetime, ended: datetime, now: datetime, checks: Checks) -> None:
        """Refuse a certificate that would take away nearly all the time that is left."""
        checks.require(
            ends - now >= (ended - now) * LEAST_SHARE,
            "new-certificate",
            f"the new certificate expires on {ends:%Y-%m-%d %H:%M} UTC, the one that it is to replace not before "
            f"{ended:%Y-%m-%d %H:%M} UTC",
            hint="the one in use stays; ask the CA's operator, and if such a short one is meant, turn the check "
            'off for one run: relax = ["new-certificate"] in [ca]',
        )

    def _compare_extensions(self, certificate: x509.Certificate, checks: Checks) -> None:
        """Note what was asked for and is not there, what nobody asked for, and a right that only a CA has (S-023).

        Names: the common name is asked for, so a CA may repeat it. Usages: most CAs give some
        to whoever names none, so only those beside others are worth a word.
        """
        kinds: tuple[tuple[type[x509.SubjectAlternativeName | x509.ExtendedKeyUsage], str, str], ...] = (
            (x509.SubjectAlternativeName, "san-changed", "names that were asked for"),
            (x509.ExtendedKeyUsage, "usage-changed", "extended key usages that were asked for"),
        )
        for kind, code, what in kinds:
            asked, got = _listed(self.csr, kind), _listed(certificate, kind)
            missing = asked - got
            if missing:
                checks.note(code, f"the CA left out {len(missing)} of the {len(asked)} {what}")
            added = got - asked - self._granted(kind)
            if added and (asked or kind is x509.SubjectAlternativeName):
                checks.note(code, f"the CA added {_worded(added)}, which nobody asked for")
        usage = key_usage(certificate)
        if usage and usage.key_cert_sign and not is_ca(certificate):
            checks.note(
                "key-cert-sign", "the new certificate may sign certificates by its key usage, and is no CA"
            )

    def _granted(self, kind: type[x509.ExtensionType]) -> frozenset[object]:
        """Return the names that repeat the common name, which CAs do and browsers want."""
        if kind is not x509.SubjectAlternativeName:
            return frozenset()
        names = {str(a.value) for a in self.csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
        return frozenset(x509.DNSName(name) for name in names if name.isascii())

    def snapshot(self) -> dict[str, Any]:
        """Return what `restore` needs, fit for JSON; no private key is in it.

        The CSR in it carries the challenge: keep it as secret as the key.
        """
        channel = self.channel
        return {
            "version": 1,
            "url": channel.url,
            "state": self.state.value,
            "transaction_id": self.transaction_id,
            "message_type": int(self.message_type),
            "csr": _text(self.csr.public_bytes(Encoding.DER)),
            "signer": _text(channel.identity.certificate.public_bytes(Encoding.DER)),
            "previous": self.previous and _text(self.previous.public_bytes(Encoding.DER)),
            "digest": channel.choice.digest.value,
            "cipher": channel.choice.cipher.value,
            "method": channel.choice.method,
            "security": channel.security.value,
            "relaxed": sorted(channel.relaxed),
            "password_envelope": channel.password_envelope,
        }

    @classmethod
    def restore(
        cls,
        snapshot: Mapping[str, Any],
        *,
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
        bundle: Bundle,
        random_bytes: Callable[[int], bytes],
    ) -> Enrollment:
        """Return the enrollment that a snapshot was taken of; its next message is a poll if anything was sent.

        Args:
            snapshot: from `snapshot`.
            key: the private key of the signing identity.
            bundle: the CA, authenticated anew.
            random_bytes: source of content keys.

        Raises:
            ProtocolError: the snapshot is of another version, damaged, or for another key.
        """
        try:
            enrollment = cls._restored(snapshot, key=key, bundle=bundle, random_bytes=random_bytes)
        except (KeyError, TypeError, ValueError, ProtocolError, x509.InvalidVersion):
            raise ProtocolError("the saved enrollment cannot be read") from None
        if certificates.public_key(enrollment.channel.identity.certificate) != key.public_key():
            raise ProtocolError("the saved enrollment was signed with another key")
        return enrollment

    @classmethod
    def _restored(
        cls,
        snapshot: Mapping[str, Any],
        *,
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
        bundle: Bundle,
        random_bytes: Callable[[int], bytes],
    ) -> Enrollment:
        texts = snapshot["url"], snapshot["transaction_id"]
        if (
            snapshot["version"] != 1
            or snapshot["method"] not in ("GET", "POST")
            or not all(isinstance(text, str) for text in texts)
        ):
            raise ValueError
        channel = Channel(
            url=snapshot["url"],
            bundle=bundle,
            identity=SigningIdentity(_certificate(snapshot["signer"]), key),
            choice=Choice(
                digest=Digest(snapshot["digest"]),
                cipher=Cipher(snapshot["cipher"]),
                method=snapshot["method"],
            ),
            random_bytes=random_bytes,
            security=Security(snapshot["security"]),
            relaxed=frozenset(snapshot["relaxed"]),
            password_envelope=snapshot["password_envelope"] is True,
        )
        previous = snapshot["previous"]
        enrollment = cls(
            channel,
            x509.load_der_x509_csr(b64decode(snapshot["csr"])),
            transaction_id=snapshot["transaction_id"],
            message_type=MessageType(snapshot["message_type"]),
            previous=_certificate(previous) if previous else None,
        )
        enrollment.state = State(snapshot["state"])
        return enrollment


def _listed(
    holder: x509.Certificate | x509.CertificateSigningRequest,
    kind: type[x509.SubjectAlternativeName | x509.ExtendedKeyUsage],
) -> frozenset[object]:
    """Return what an extension lists; nothing without it."""
    return frozenset(certificates.find_extension(holder, kind) or ())


def _worded(found: frozenset[object]) -> str:
    """Return names or usages in words, some of them."""
    words = sorted(
        sanitise(str(getattr(item, "value", None) or getattr(item, "dotted_string", item))) for item in found
    )
    more = [f"{len(words) - _NAMED} more"] if len(words) > _NAMED else []
    return ", ".join([*words[:_NAMED], *more])


def _text(der: bytes) -> str:
    return b64encode(der).decode("ascii")


def _certificate(text: str) -> x509.Certificate:
    return certificates.load_certificates([b64decode(text)])[0]


def key_transaction_id(csr: x509.CertificateSigningRequest) -> str:
    """Return the transaction id that sscep uses: MD5 of the request's SubjectPublicKeyInfo, 32 upper-case hex digits.

    The same key always gives the same one, so a resumed enrollment needs no memory; but some
    CAs answer a known transaction with the old certificate (Q-007).
    """
    key_der = csr.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.md5(key_der, usedforsecurity=False).hexdigest().upper()  # a name, also under FIPS


def challenge_password(csr: x509.CertificateSigningRequest) -> str | None:
    """Return the challenge password in a certification request (RFC 2985 §5.4.1), or None."""
    try:
        return csr.attributes.get_attribute_for_oid(oids.CHALLENGE_PASSWORD).value.decode("utf-8", "replace")
    except (x509.AttributeNotFound, ValueError):
        return None
