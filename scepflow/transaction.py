"""One transaction with the CA: from a key to a certificate, or on from where an earlier process stopped.

Key source → CSR builder → signer → transport → poller. Must never hold: whether
one is wanted, what is kept where, or what is done with the certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.engine.algorithms import Security
from scepflow.engine.certificates import serial_number
from scepflow.engine.channel import Channel
from scepflow.engine.enrollment import Enrollment, Issued, Pending
from scepflow.engine.messages import MessageType, fail_info_name
from scepflow.engine.trust import fingerprint
from scepflow.errors import CsrError, PendingError, ProtocolError, RejectedError, SignerError, TransportError
from scepflow.events import (
    CertificateIssued,
    CsrReady,
    KeyReady,
    PollScheduled,
    ReplyReceived,
    RequestSent,
    SignerReady,
)
from scepflow.faults import working
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cryptography import x509

    from scepflow.ca import AuthenticatedCa
    from scepflow.engine.enrollment import Rejected
    from scepflow.engine.exchange import HttpResponse
    from scepflow.engine.identity import SigningIdentity
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.stages import Connection, PrivateKey, Run
    from scepflow.system import System

__all__ = ["Keeper", "Request", "Since", "Transaction", "describe_certificate", "describe_key"]

LONGEST_DELAY_S = 366 * 86400
"""A poller that wants to wait longer is wrong."""


class Keeper(Protocol):
    """Keeps what a transaction must not lose; each call returns once that is on disk."""

    def keep_key(self, name: str, key: PrivateKey) -> None:
        """Keep a private key that cannot be had again."""

    def sending(self, enrollment: Enrollment) -> None:
        """Keep a request that is about to leave."""

    def polling(self) -> None:
        """Note a poll that is about to leave."""

    def pending(self) -> None:
        """Note that the CA has the request and will decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is made before the CA is asked."""

    key: PrivateKey
    csr: x509.CertificateSigningRequest
    identity: SigningIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """How far an earlier process came.

    Attributes:
        begun_at: when the request left, aware UTC; the poller's times count from here.
        asked_at: when the latest message left, aware UTC.
        polls: polls sent so far.
        pending: whether the CA has answered that it will decide.
    """

    begun_at: datetime
    asked_at: datetime
    polls: int = 0
    pending: bool = False

    def counted_at(self, now: datetime) -> Since:
        """Return it with times that can be counted from: a clock that was set back may have put them in the future."""
        asked_at = min(self.asked_at, now)
        return replace(self, asked_at=asked_at, begun_at=self.begun_at if self.begun_at <= now else asked_at)


class Transaction:
    """One request, its polls and their answers.

    Args:
        pipeline: whose stages work.
        run: what they may know.
        keeper: keeps what must not be lost.
        system: clock, sleep and randomness.
        transaction_id: names it to the CA.
        wait_s: the longest time to wait for a decision in this process, 0 or more; None is as long as the poller says.

    Attributes:
        polls: polls sent so far, by earlier processes too.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        run: Run,
        *,
        keeper: Keeper,
        system: System,
        transaction_id: str,
        wait_s: float | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.run = run
        self.keeper = keeper
        self.system = system
        self.transaction_id = transaction_id
        self._waits_until_s = None if wait_s is None else system.monotonic_s() + wait_s
        self._since = Since(begun_at=system.now(), asked_at=system.now())
        self.polls = 0

    # -- before the CA is asked

    def request(self, key: PrivateKey | None = None) -> Request:
        """Take the stages up to the signer.

        Args:
            key: a key to use instead of a new one.

        Raises:
            StageError: a stage failed.
            StateError: a key cannot be kept.
        """
        key = self._key(key)
        csr = self._csr(key)
        return Request(key=key, csr=csr, identity=self._identity(key, csr))

    def _key(self, key: PrivateKey | None) -> PrivateKey:
        stage = self.pipeline.key
        with working(stage):
            key = key or stage.obtain(self.run)
            if not stage.durable:
                self.keeper.keep_key("key.pem", key)
        self.tell(KeyReady, stage=stage.stage_name(), description=describe_key(key))
        return key

    def _csr(self, key: PrivateKey) -> x509.CertificateSigningRequest:
        stage = self.pipeline.csr
        with working(stage):
            csr = stage.build(key, self.run)
            if csr.public_key() != key.public_key():
                raise CsrError("the request is for another key than the one of [key]")
            subject = sanitise(csr.subject.rfc4514_string())
        self.tell(CsrReady, stage=stage.stage_name(), subject=subject)
        return csr

    def _identity(self, key: PrivateKey, csr: x509.CertificateSigningRequest) -> SigningIdentity:
        stage, previous = self.pipeline.signer, self.run.previous
        with working(stage):
            identity = stage.identity(key, csr, self.run)
            kept_elsewhere = identity.key is key or (previous and identity.key is previous.key)
            if not (kept_elsewhere or stage.durable):
                self.keeper.keep_key("signer-key.pem", identity.key)
        self.tell(
            SignerReady, stage=stage.stage_name(), description=describe_certificate(identity.certificate)
        )
        return identity

    def enrollment(
        self,
        ca: AuthenticatedCa,
        request: Request,
        *,
        message_type: MessageType | None = None,
        resumed: bool = False,
    ) -> Enrollment:
        """Return the engine's side of it.

        Args:
            ca: the CA.
            request: what is asked.
            message_type: PKCSReq or RenewalReq; by option and capability when None.
            resumed: whether the request has been sent before: the first message is a CertPoll.

        Raises:
            SignerError: nobody could read the reply.
        """
        options, identity = self.pipeline.ca, request.identity
        channel = Channel(
            url=options.url,
            bundle=ca.bundle,
            identity=identity,
            choice=ca.choice,
            random_bytes=self.system.random_bytes,
            security=Security(options.security),
            relaxed=frozenset(options.relax),
            password_envelope=options.password_envelope,
        )
        existing = identity.certificate.issuer != identity.certificate.subject
        enrollment = Enrollment(
            channel,
            request.csr,
            transaction_id=self.transaction_id,
            message_type=message_type or self._message_type(ca, renewal=existing),
            previous=identity.certificate if existing else None,
            resumed=resumed,
        )
        if not isinstance(identity.key, rsa.RSAPrivateKey) and not enrollment.channel.challenge_password:
            raise SignerError(
                "the reply could not be read: the signing key is EC, which cannot decrypt, and there is no challenge",
                kind=self.pipeline.signer.kind,
                name=self.pipeline.signer.stage_name(),
                hint="sign with an RSA key, or see password_envelope in [ca] (RFC 8894 §3.1); "
                "in a renewal it needs challenge_in_renewal = true in [csr] as well",
            )
        return enrollment

    def _message_type(self, ca: AuthenticatedCa, *, renewal: bool) -> MessageType:
        wanted = self.pipeline.renew.message
        by_capability = wanted == "auto" and ca.capabilities.renewal
        return (
            MessageType.RENEWAL_REQ
            if renewal and (wanted == "renewal" or by_capability)
            else MessageType.PKCS_REQ
        )

    # -- with the CA

    def carry_through(
        self, enrollment: Enrollment, connection: Connection, *, since: Since | None = None
    ) -> Issued:
        """Send the request, or go on with one that was sent, until the CA has decided.

        Args:
            enrollment: the engine's side of it.
            connection: the way to the CA.
            since: how far an earlier process came, or None.

        Raises:
            PendingError: the CA has not decided, and it was waited as long as was allowed.
            RejectedError: the CA said no.
            TransportError, TrustError, ProtocolError: no answer, or one that fails a check.
        """
        if (
            enrollment.channel.challenge_password
        ):  # which may be of a request that was made elsewhere, or earlier
            self.run.hide(enrollment.channel.challenge_password)
        delays_s = self._delays_s()
        event: Issued | Pending | Rejected | None = None
        if since is None:
            event = self._exchange(enrollment, connection)
        else:
            now = self.system.now()
            self._since, self.polls = since.counted_at(now), since.polls
            due, delays_s = self._resumed(delays_s)
            if due or since.asked_at > now:
                event = self._exchange(enrollment, connection)
        if event is None or isinstance(event, Pending):
            event = self._poll(enrollment, connection, delays_s)
        if isinstance(event, Issued):
            return event
        bare = self.run.renewal and not enrollment.channel.challenge_password
        raise _rejected(event, bare=bare, renewal=self.run.previous is not None)

    def _resumed(self, delays_s: Iterator[float]) -> tuple[bool, Iterator[float]]:
        """Return whether a poll is due now, and the delays that are left of the poller's."""
        elapsed_s = self._elapsed_s()
        asked_s = (self._since.asked_at - self._since.begun_at).total_seconds()
        due, moment_s = not self._since.pending, 0.0
        for delay_s in delays_s:
            moment_s += delay_s
            if moment_s > elapsed_s:
                return due, chain([moment_s - elapsed_s], delays_s)
            due = due or moment_s > asked_s
        return True, iter(())  # its time is over: a run asks once and waits no more

    def _elapsed_s(self) -> float:
        """Return the time since the request; a clock that was set back does not count."""
        return max(0.0, (self.system.now() - self._since.begun_at).total_seconds())

    def _poll(
        self, enrollment: Enrollment, connection: Connection, delays_s: Iterator[float]
    ) -> Issued | Rejected:
        lost: TransportError | ProtocolError | None = None
        for delay_s in delays_s:
            if self._waits_until_s is not None and self.system.monotonic_s() + delay_s > self._waits_until_s:
                raise lost or self._undecided(f"a run in {delay_s:.0f} s or later asks again")
            self.tell(
                PollScheduled,
                transaction_id=self.transaction_id,
                poll=self.polls + 1,
                delay_s=delay_s,
                waited_s=self._elapsed_s(),
            )
            self.system.sleep(delay_s)
            try:
                event, lost = self._exchange(enrollment, connection), None
            except (TransportError, ProtocolError) as error:  # a server that restarts does not end the wait
                lost = error
                self.run.warn("poll-lost", f"poll {self.polls} got no answer: {error.message}")
                continue
            if not isinstance(event, Pending):
                return event
        raise lost or self._undecided("the poller waits no longer, and each later run asks once")

    def _undecided(self, outlook: str) -> PendingError:
        polls = self.polls
        polled = f"after {polls} poll{'s' if polls > 1 else ''}" if polls else "yet, and was not polled"
        return PendingError(
            f"the CA has not decided {polled}",
            transaction_id=self.transaction_id,
            polls=polls,
            waited_s=self._elapsed_s(),
            hint=f"its operator must approve transaction {self.transaction_id}; {outlook}",
        )

    def _delays_s(self) -> Iterator[float]:
        with working(self.pipeline.poller):
            for delay_s in self.pipeline.poller.delays_s():
                if not 0 <= delay_s <= LONGEST_DELAY_S:
                    raise ValueError(f"a delay of {delay_s} s")
                yield delay_s

    def _exchange(self, enrollment: Enrollment, connection: Connection) -> Issued | Pending | Rejected:
        """Send one message and return its answer; that it is sent is on disk before its first byte leaves."""
        request = enrollment.next_request(now=self.system.now(), sender_nonce=self.system.random_bytes(16))
        sent = enrollment.sent
        assert sent is not None
        if sent.type is MessageType.CERT_POLL:
            self.polls += 1
            self.keeper.polling()
        else:
            self.keeper.sending(enrollment)
        self.tell(
            RequestSent,
            message_type=sent.type.title,
            transaction_id=self.transaction_id,
            poll=self.polls,
            method=request.method,
            cipher=enrollment.channel.choice.cipher.value,
            digest=enrollment.channel.choice.digest.value,
            size_bytes=len(request.body or request.url),
        )
        sent_s = self.system.monotonic_s()
        response = connection.send(request)
        event = enrollment.receive(response, now=self.system.now())
        if isinstance(event, Pending):
            self.keeper.pending()
        self._tell_reply(event, response, self.system.monotonic_s() - sent_s)
        return event

    # -- events

    def _tell_reply(
        self, event: Issued | Pending | Rejected, response: HttpResponse, elapsed_s: float
    ) -> None:
        for finding in event.findings:
            self.run.warn(finding.code, finding.text)
        self.tell(
            ReplyReceived,
            transaction_id=self.transaction_id,
            pki_status={Issued: "SUCCESS", Pending: "PENDING"}.get(type(event), "FAILURE"),
            http_status=response.status,
            elapsed_s=elapsed_s,
        )
        if isinstance(event, Issued):
            self._tell_issued(event.certificate)

    def _tell_issued(self, certificate: x509.Certificate) -> None:
        self.tell(
            CertificateIssued,
            transaction_id=self.transaction_id,
            subject=sanitise(certificate.subject.rfc4514_string()),
            issuer=sanitise(certificate.issuer.rfc4514_string()),
            serial=f"{serial_number(certificate):x}",
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            fingerprint=fingerprint(certificate),
        )

    def tell(self, event: type[Event], **fields: object) -> None:
        """Tell an event of this run."""
        self.run.emit(event(pipeline=self.pipeline.name, at=self.system.now(), **fields))


def describe_key(key: PrivateKey) -> str:
    """Return such as ``RSA-2048`` or ``EC secp256r1``."""
    return f"RSA-{key.key_size}" if isinstance(key, rsa.RSAPrivateKey) else f"EC {key.curve.name}"


def describe_certificate(certificate: x509.Certificate) -> str:
    """Return such as ``self-signed`` or ``certificate of CN=gw1, serial 4f11``."""
    if certificate.issuer == certificate.subject:
        return "self-signed"
    return f"certificate of {sanitise(certificate.subject.rfc4514_string())}, serial {serial_number(certificate):x}"


_REJECTION_HINTS = {
    "badAlg": "the CA does not know an algorithm of the request",
    "badMessageCheck": "the CA could not verify or decrypt the request; is the right RA certificate used?",
    "badRequest": "is the challenge right, unused and not expired, and does the CA allow the subject?",
    "badTime": "compare this machine's clock with the CA's",
    "badCertId": "the CA does not know the certificate or transaction; some CAs renew only what they issued",
}


_BARE_RENEWAL_HINT = (
    "does the CA want the challenge in a renewal as well (challenge_in_renewal in [csr]), or is it too early?"
)


_ENROLL_HINT = "`scepflow run --enroll` asks for a certificate as if there were none"


def _rejected(event: Rejected, *, bare: bool, renewal: bool) -> RejectedError:
    """Return the error for a rejection.

    Args:
        event: what the CA answered.
        bare: whether it was a renewal, which brought no challenge.
        renewal: whether it was to replace a certificate, which can be had in another way.
    """
    name = fail_info_name(event.fail_info)
    number = "" if event.fail_info is None else f" (failInfo {event.fail_info})"
    said = f': "{event.fail_info_text}"' if event.fail_info_text else ""
    hint = _BARE_RENEWAL_HINT if bare and name == "badRequest" else _REJECTION_HINTS.get(name)
    hints = [text for text in (hint, _ENROLL_HINT if renewal else None) if text]
    return RejectedError(
        f"the CA rejected the request: {name}{number}{said}",
        fail_info=event.fail_info,
        fail_info_text=event.fail_info_text,
        transaction_id=event.transaction_id,
        hint="; ".join(hints).replace("?; ", "? ") or None,
    )
