"""One run of a pipeline: key source → CSR builder → signer → transport → poller → output sinks.

Owns the clock, randomness and sleep of a run. Must never hold: what a stage
does, what a message looks like, or a word printed.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.ca import authenticate_ca
from scepflow.delivery import deliver
from scepflow.engine.algorithms import Security
from scepflow.engine.channel import Channel
from scepflow.engine.enrollment import Enrollment, Issued, Pending
from scepflow.engine.identity import Credential
from scepflow.engine.messages import MessageType, fail_info_name
from scepflow.engine.trust import fingerprint
from scepflow.errors import (
    CsrError,
    PendingError,
    ProtocolError,
    RejectedError,
    ScepflowError,
    SignerError,
    TransportError,
)
from scepflow.events import (
    CertificateIssued,
    CsrReady,
    KeyReady,
    PollScheduled,
    ReplyReceived,
    RequestSent,
    RunFinished,
    RunStarted,
    SignerReady,
)
from scepflow.faults import connected, working
from scepflow.stages import Run
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography import x509

    from scepflow.ca import AuthenticatedCa
    from scepflow.delivery import Delivery
    from scepflow.engine.enrollment import Rejected
    from scepflow.engine.exchange import HttpResponse
    from scepflow.engine.identity import SigningIdentity
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.stages import Connection, PrivateKey
    from scepflow.state import StateDirectory

__all__ = ["Outcome", "System", "make_run", "run_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The world of a run; tests put their own in its place."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random_bytes: Callable[[int], bytes] = secrets.token_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A certificate was issued.

    Attributes:
        credential: key, certificate and chain.
        deliveries: one for each sink, in the pipeline's order.
        kept_at: where key and certificate are kept because a sink failed, or None.
    """

    credential: Credential
    deliveries: tuple[Delivery, ...]
    kept_at: str | None = None

    @property
    def exit_code(self) -> int:
        """0, or 6 when a sink failed."""
        return 6 if any(delivery.error for delivery in self.deliveries) else 0


def make_run(pipeline: Pipeline, emit: Callable[[Event], None], system: System) -> Run:
    """Return what the stages of this run may know."""
    return Run(
        pipeline=pipeline.name,
        directory=pipeline.directory,
        now=system.now,
        random_bytes=system.random_bytes,
        emit=emit,
        renewal=pipeline.signer.renews,
    )


def run_pipeline(
    pipeline: Pipeline,
    *,
    emit: Callable[[Event], None],
    state: StateDirectory,
    system: System | None = None,
    transaction_id: str | None = None,
    resume: bool = False,
) -> Outcome:
    """Get a certificate by a pipeline and deliver it.

    Args:
        pipeline: what to do.
        emit: is told every event.
        state: where the key is kept before anything is sent.
        system: clock, sleep and randomness; the real ones when None.
        transaction_id: letters, digits, ``-`` and ``_``, 1 to 64 of them; a random one when None.
        resume: whether an earlier run has sent the request under this ``transaction_id``: the
            first message is a CertPoll, sent at once.

    Raises:
        ScepflowError: no certificate came of it; its ``exit_code`` says why.
    """
    system = system or System()
    runner = _Runner(
        pipeline,
        emit=emit,
        state=state,
        system=system,
        transaction_id=transaction_id or system.random_bytes(16).hex(),
        resume=resume,
    )
    started_s = runner.system.monotonic_s()

    def finished(outcome: str, exit_code: int, error: str = "") -> None:
        elapsed_s = runner.system.monotonic_s() - started_s
        runner.tell(RunFinished, outcome=outcome, exit_code=exit_code, elapsed_s=elapsed_s, error=error)

    runner.tell(RunStarted, file=str(pipeline.file), dry_run=False)
    try:
        outcome = runner.run()
    except ScepflowError as error:
        ended = {PendingError: "pending", RejectedError: "rejected"}
        finished(ended.get(type(error), "failed"), error.exit_code, error.message)
        raise
    except Exception as error:
        finished("failed", ScepflowError.exit_code, f"a bug: {type(error).__name__}")
        raise
    finished("degraded" if outcome.exit_code else "issued", outcome.exit_code)
    return outcome


LONGEST_DELAY_S = 366 * 86400
"""A poller that wants to wait longer is wrong."""


class _Runner:
    def __init__(
        self,
        pipeline: Pipeline,
        *,
        emit: Callable[[Event], None],
        state: StateDirectory,
        system: System,
        transaction_id: str,
        resume: bool,
    ) -> None:
        self.pipeline = pipeline
        self.system = system
        self.context = make_run(pipeline, emit, system)
        self.transaction_id = transaction_id
        self.resumed = self.sent = resume
        self.attempt = state.attempt(pipeline.file, self.transaction_id)

    def run(self) -> Outcome:
        """Take the stages in their order; what must not be lost is on disk before it is needed."""
        pipeline, run = self.pipeline, self.context
        for check in pipeline.ca.relax:
            run.warn("relaxed", f"the check {check} on replies is turned off")
        try:
            key = self._key()
            csr = self._csr(key)
            identity = self._identity(key, csr)
            with connected(pipeline.transport, run) as connection:
                ca = authenticate_ca(pipeline.ca, connection, run)
                enrollment = self._enrollment(ca, csr, identity)
                issued = self._enroll(enrollment, connection)
        except BaseException as error:
            if not self.sent or isinstance(error, RejectedError):
                self.attempt.discard()
            raise
        return self._deliver(Credential(key=key, certificate=issued.certificate, chain=issued.chain))

    def _key(self) -> PrivateKey:
        stage = self.pipeline.key
        with working(stage):
            key = stage.obtain(self.context)
            if not stage.durable:
                self._keep_key("key.pem", key)
        self.tell(KeyReady, stage=stage.stage_name(), description=describe_key(key))
        return key

    def _csr(self, key: PrivateKey) -> x509.CertificateSigningRequest:
        stage = self.pipeline.csr
        with working(stage):
            csr = stage.build(key, self.context)
            if csr.public_key() != key.public_key():
                raise CsrError("the request is for another key than the one of [key]")
            subject = sanitise(csr.subject.rfc4514_string())
        self.tell(CsrReady, stage=stage.stage_name(), subject=subject)
        return csr

    def _identity(self, key: PrivateKey, csr: x509.CertificateSigningRequest) -> SigningIdentity:
        stage = self.pipeline.signer
        with working(stage):
            identity = stage.identity(key, csr, self.context)
            if identity.key is not key and not stage.durable:
                self._keep_key("signer-key.pem", identity.key)
        self.tell(
            SignerReady, stage=stage.stage_name(), description=describe_certificate(identity.certificate)
        )
        return identity

    def _keep_key(self, name: str, key: PrivateKey) -> None:
        self.attempt.keep(name, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _enrollment(
        self, ca: AuthenticatedCa, csr: x509.CertificateSigningRequest, identity: SigningIdentity
    ) -> Enrollment:
        options = self.pipeline.ca
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
        wanted = self.pipeline.renew.message
        renewal = existing and (wanted == "renewal" or (wanted == "auto" and ca.capabilities.renewal))
        enrollment = Enrollment(
            channel,
            csr,
            transaction_id=self.transaction_id,
            message_type=MessageType.RENEWAL_REQ if renewal else MessageType.PKCS_REQ,
            previous=identity.certificate if existing else None,
            resumed=self.resumed,
        )
        if not isinstance(identity.key, rsa.RSAPrivateKey) and not enrollment.channel.challenge_password:
            raise SignerError(
                "the reply could not be read: the signing key is EC, which cannot decrypt, and there is no challenge",
                kind=self.pipeline.signer.kind,
                name=self.pipeline.signer.stage_name(),
                hint="sign with an RSA key, or see password_envelope in [ca] (RFC 8894 §3.1)",
            )
        return enrollment

    def _enroll(self, enrollment: Enrollment, connection: Connection) -> Issued:
        """Send the request, then poll until the CA has decided or the poller gives up."""
        event = self._exchange(enrollment, connection, poll=int(self.resumed))
        if isinstance(event, Pending):
            event = self._poll(enrollment, connection)
        if isinstance(event, Issued):
            return event
        raise _rejected(event)

    def _poll(self, enrollment: Enrollment, connection: Connection) -> Issued | Rejected:
        asked_s = self.system.monotonic_s()
        lost: TransportError | ProtocolError | None = None
        poll = first = int(self.resumed)
        for poll, delay_s in enumerate(self._delays_s(), start=first + 1):
            self.tell(
                PollScheduled,
                transaction_id=self.transaction_id,
                poll=poll,
                delay_s=delay_s,
                waited_s=self.system.monotonic_s() - asked_s,
            )
            self.system.sleep(delay_s)
            try:
                event, lost = self._exchange(enrollment, connection, poll=poll), None
            except (TransportError, ProtocolError) as error:  # a server that restarts does not end the wait
                lost = error
                self.context.warn("poll-lost", f"poll {poll} got no answer: {error.message}")
                continue
            if not isinstance(event, Pending):
                return event
        polled = f"after {poll} poll{'s' if poll > 1 else ''}" if poll else "yet, and no poll was asked for"
        raise lost or PendingError(
            f"the CA has not decided {polled}",
            transaction_id=self.transaction_id,
            polls=poll,
            waited_s=self.system.monotonic_s() - asked_s,
            hint=f"its operator must approve transaction {self.transaction_id}; it is kept in {self.attempt.path}",
        )

    def _delays_s(self) -> Iterator[float]:
        with working(self.pipeline.poller):
            for delay_s in self.pipeline.poller.delays_s():
                if not 0 <= delay_s <= LONGEST_DELAY_S:
                    raise ValueError(f"a delay of {delay_s} s")
                yield delay_s

    def _exchange(
        self, enrollment: Enrollment, connection: Connection, *, poll: int
    ) -> Issued | Pending | Rejected:
        """Send one message and return its answer; that a request was sent is on disk before its first byte leaves."""
        first = enrollment.sent is None
        request = enrollment.next_request(now=self.system.now(), sender_nonce=self.system.random_bytes(16))
        if first:
            self.attempt.keep("enrollment.json", json.dumps(enrollment.snapshot(), indent=1).encode())
        assert enrollment.sent is not None
        self.sent = True
        self.tell(
            RequestSent,
            message_type=enrollment.sent.type.title,
            transaction_id=self.transaction_id,
            poll=poll,
            method=request.method,
            cipher=enrollment.channel.choice.cipher.value,
            digest=enrollment.channel.choice.digest.value,
            size_bytes=len(request.body or request.url),
        )
        sent_s = self.system.monotonic_s()
        response = connection.send(request)
        event = enrollment.receive(response, now=self.system.now())
        self._tell_reply(event, response, self.system.monotonic_s() - sent_s)
        return event

    def _tell_reply(
        self, event: Issued | Pending | Rejected, response: HttpResponse, elapsed_s: float
    ) -> None:
        for finding in event.findings:
            self.context.warn(finding.code, finding.text)
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
            serial=f"{certificate.serial_number:x}",
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            fingerprint=fingerprint(certificate),
        )

    def _deliver(self, credential: Credential) -> Outcome:
        """Keep what was issued, deliver it, and let go of it when every sink has it."""
        certificates = (credential.certificate, *credential.chain)
        try:
            self.attempt.keep("certificate.pem", b"".join(c.public_bytes(Encoding.PEM) for c in certificates))
            self.attempt.forget("enrollment.json")
        except ScepflowError as error:  # the sinks may still have room for what the CA has granted
            self.context.warn("not-kept", error.message)
        deliveries = deliver(
            self.pipeline.sinks, credential, self.context, monotonic_s=self.system.monotonic_s
        )
        outcome = Outcome(credential=credential, deliveries=deliveries, kept_at=str(self.attempt.path))
        if outcome.exit_code:
            return outcome
        self.attempt.discard()
        return Outcome(credential=credential, deliveries=deliveries)

    def tell(self, event: type[Event], **fields: object) -> None:
        """Tell an event of this run."""
        self.context.emit(event(pipeline=self.pipeline.name, at=self.system.now(), **fields))


def describe_key(key: PrivateKey) -> str:
    """Return such as ``RSA-2048`` or ``EC secp256r1``."""
    return f"RSA-{key.key_size}" if isinstance(key, rsa.RSAPrivateKey) else f"EC {key.curve.name}"


def describe_certificate(certificate: x509.Certificate) -> str:
    """Return such as ``self-signed`` or ``certificate of CN=gw1, serial 4f11``."""
    if certificate.issuer == certificate.subject:
        return "self-signed"
    return f"certificate of {sanitise(certificate.subject.rfc4514_string())}, serial {certificate.serial_number:x}"


_REJECTION_HINTS = {
    "badAlg": "the CA does not know an algorithm of the request",
    "badMessageCheck": "the CA could not verify or decrypt the request; is the right RA certificate used?",
    "badRequest": "is the challenge right, unused and not expired, and does the CA allow the subject?",
    "badTime": "compare this machine's clock with the CA's",
    "badCertId": "the CA does not know the certificate or transaction; some CAs renew only what they issued",
}


def _rejected(event: Rejected) -> RejectedError:
    name = fail_info_name(event.fail_info)
    number = "" if event.fail_info is None else f" (failInfo {event.fail_info})"
    said = f': "{event.fail_info_text}"' if event.fail_info_text else ""
    return RejectedError(
        f"the CA rejected the request: {name}{number}{said}",
        fail_info=event.fail_info,
        fail_info_text=event.fail_info_text,
        transaction_id=event.transaction_id,
        hint=_REJECTION_HINTS.get(name),
    )
