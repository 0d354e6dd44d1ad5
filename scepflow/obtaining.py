"""Getting a certificate for a pipeline, so that a crash at any point loses nothing: keep, ask, keep the answer.

Must never hold: whether one is wanted now, or what is done with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scepflow.ca import are_pinned, ask_next_ca, authenticate_ca, recognise_ca
from scepflow.custody import Announcement, Custody, JournalKeeper
from scepflow.engine.algorithms import Security
from scepflow.engine.enrollment import Enrollment
from scepflow.engine.identity import Credential
from scepflow.engine.messages import MessageType
from scepflow.errors import ProtocolError, RejectedError, TransportError, TrustError
from scepflow.faults import connected
from scepflow.lost import is_refused, judge
from scepflow.records import RefusalRecord
from scepflow.system import make_run, warn_relaxed
from scepflow.transaction import Since, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

    from scepflow.ca import AuthenticatedCa, KnownCa
    from scepflow.engine.enrollment import Issued
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.records import AttemptRecord
    from scepflow.stages import Connection, PrivateKey, Run
    from scepflow.state import PipelineState
    from scepflow.system import System

__all__ = ["Obtaining"]


class _RenewalRefusedError(Exception):
    """A RenewalReq was refused as by a server that knows none, or gets no answer: a PKCSReq is next."""


class Obtaining:
    """Gets certificates for one pipeline.

    Args:
        pipeline: what to do.
        state: the pipeline's, locked.
        emit: is told every event.
        system: clock, sleep and randomness.
        wait_s: the longest time to wait for the CA's decision; as long as the poller says when None.
        asked: returns the digest of what is asked, to be compared when it was rejected.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        state: PipelineState,
        *,
        emit: Callable[[Event], None],
        system: System,
        wait_s: float | None,
        asked: Callable[[], str],
    ) -> None:
        self.pipeline = pipeline
        self.state = state
        self.custody = Custody(pipeline, state)
        self._emit = emit
        self._system = system
        self._wait_s = wait_s
        self._asked = asked

    def run(self, previous: Credential | None = None) -> Run:
        """Return what the stages may know."""
        run = make_run(self.pipeline, self._emit, self._system, previous=previous)
        warn_relaxed(self.pipeline, run)
        return run

    def credential(self, attempt: AttemptRecord) -> Credential:
        """Return what was issued before.

        Raises:
            StateError: it is lost.
        """
        return self.custody.credential(attempt, make_run(self.pipeline, self._emit, self._system))

    def enroll(self) -> tuple[str, Credential]:
        """Get a certificate as if there were none.

        Returns:
            The transaction id under which it is kept, and the credential.

        Raises:
            ScepflowError: no certificate came of it.
        """
        return self._obtain(self.run(), purpose="enrollment")

    def renew(
        self, current: AttemptRecord, *, message_type: MessageType | None = None
    ) -> tuple[str, Credential]:
        """Get the certificate that replaces the current one; as `enroll`.

        Args:
            current: the certificate.
            message_type: RenewalReq or PKCSReq; by option and capability when None.
        """
        previous = self.credential(current)
        key = previous.key if self.pipeline.renew.key == "reuse" else None
        return self._obtain(self.run(previous), purpose="renewal", key=key, message_type=message_type)

    def _obtain(
        self,
        run: Run,
        *,
        purpose: str,
        key: PrivateKey | None = None,
        message_type: MessageType | None = None,
    ) -> tuple[str, Credential]:
        transaction, keeper = self._transaction(run, purpose)
        try:
            request = transaction.request(key)
            with connected(self.pipeline.transport, run) as connection:
                ca = self._ca(connection, keeper)
                enrollment = transaction.enrollment(ca, request, message_type=message_type)
                try:
                    issued = transaction.carry_through(enrollment, connection)
                except (RejectedError, TransportError) as error:
                    if transaction.polls or not self._may_be_plain(enrollment, error):
                        raise
                    run.warn(
                        "renewal-refused", f"RenewalReq failed, PKCSReq is sent instead: {error.message}"
                    )
                    first, (transaction, keeper) = keeper, self._transaction(run, purpose)
                    keeper.take_files(first)
                    self._close(first.transaction_id)
                    enrollment = transaction.enrollment(ca, request, message_type=MessageType.PKCS_REQ)
                    issued = transaction.carry_through(enrollment, connection)
        except RejectedError as error:
            self._close(keeper.transaction_id, self._refusal(error, purpose))
            raise
        finally:
            if not keeper.sent:
                keeper.folder.discard()
        return _received(keeper.transaction_id, request.key, issued)

    def _ca(self, connection: Connection, keeper: JournalKeeper) -> AuthenticatedCa:
        """Authenticate the CA, and keep what it is before it is asked for anything."""
        known = self._announced(keeper.run).successors
        ca = authenticate_ca(self.pipeline.ca, connection, keeper.run, successors=known)
        self._note(ca, connection, keeper)
        return ca

    def _ca_again(self, connection: Connection, keeper: JournalKeeper) -> KnownCa:
        """Do as `_ca` for a request that has been sent; where the CA does not say what it is, what was kept counts."""
        known = self._announced(keeper.run).successors
        kept = self.custody.ca(keeper.transaction_id)
        ca = recognise_ca(self.pipeline.ca, connection, keeper.run, successors=known, kept=kept)
        self._note(ca, connection, keeper)
        return ca

    def _announced(self, run: Run) -> Announcement:
        """Return what the CA has announced; of one that the pins of today do not trust any more, nothing."""
        announced = self.custody.announcement()
        if are_pinned(self.pipeline.ca, announced.by, run):
            return announced
        run.warn(
            "next-ca",
            "the next CA that was announced is forgotten: [ca] does not pin who announced it any more",
        )
        self.custody.keep_announcement(Announcement())
        return Announcement()

    def _note(self, ca: KnownCa, connection: Connection, keeper: JournalKeeper) -> None:
        """Keep what the CA is; a renewal also asks for the one that will follow it, so that its change stops nothing."""
        keeper.keep_ca(ca.certificates)
        options, run = self.pipeline.ca, keeper.run
        if not (run.previous and ca.capabilities.next_ca and options.fetch_certificates):
            return
        announced: tuple[x509.Certificate, ...] = ()
        try:
            answer = ask_next_ca(options, connection, ca.bundle).value
        except TransportError as error:
            if not is_refused(error):
                return
            # There is none, yet or any more. A trust anchor that is withdrawn goes, though nobody has signed that:
            # at worst the CA's change stops the pipeline until a person pins the new one.
        except (ProtocolError, TrustError) as error:
            run.warn("next-ca", f"the next CA that was announced is not believed: {error.message}")
            return
        else:
            if not answer.signer:  # a check was turned off: what becomes a trust anchor has passed them all
                return
            announced = answer.certificates
        self._keep_announcement(ca, announced, run)

    def _keep_announcement(self, ca: KnownCa, announced: tuple[x509.Certificate, ...], run: Run) -> None:
        """Keep what was announced; a CA that was followed itself goes on to be trusted by the pins of its predecessor."""
        known, anchors = self.custody.announcement(), ca.bundle.anchors
        if are_pinned(self.pipeline.ca, anchors, run):
            now = Announcement(by=anchors, successors=announced)
        else:
            followed = [certificate for certificate in known.successors if certificate in anchors]
            now = Announcement(by=known.by, successors=tuple(dict.fromkeys((*followed, *announced))))
        if now != known and (now.successors or known.successors):
            self.custody.keep_announcement(now)

    def _may_be_plain(self, enrollment: Enrollment, error: RejectedError | TransportError) -> bool:
        """Return whether a renewal may be asked once more, as PKCSReq.

        The CA has rejected it, or the server answers as one does that knows no RenewalReq. Any other answer, such as
        a gateway's, says nothing of what the CA has done: the request stays open, and is polled.
        """
        if enrollment.message_type is not MessageType.RENEWAL_REQ or self.pipeline.renew.message != "auto":
            return False
        return isinstance(error, RejectedError) or is_refused(error)

    def resume(self, attempt: AttemptRecord, current: AttemptRecord | None) -> tuple[str, Credential]:
        """Go on with a request that has left; as `enroll`.

        Args:
            attempt: the attempt.
            current: the certificate in use, which may have signed it.
        """
        transaction_id = attempt.transaction_id
        run = self.run(self.credential(current) if current and attempt.purpose == "renewal" else None)
        if self.custody.certificates(transaction_id):  # it had come, and the process ended there
            return transaction_id, self.custody.credential(attempt, run)
        key = self.custody.requested_key(transaction_id, run)
        try:
            issued = self._go_on(attempt, run)
        except _RenewalRefusedError as refused:
            assert current is not None, "its certificate has signed the request"
            run.warn("renewal-refused", f"RenewalReq failed, the renewal begins anew with PKCSReq: {refused}")
            self._close(transaction_id)
            return self.renew(current, message_type=MessageType.PKCS_REQ)
        except RejectedError as error:
            self._close(transaction_id, self._refusal(error, attempt.purpose))
            raise
        return _received(transaction_id, key, issued)

    def _go_on(self, attempt: AttemptRecord, run: Run) -> Issued:
        transaction, keeper = self._transaction(run, attempt.purpose, attempt.transaction_id)
        since = Since(
            begun_at=attempt.begun_at,
            asked_at=attempt.asked_at,
            polls=attempt.polls,
            pending=attempt.pending,
        )
        keeper.sent = True
        with connected(self.pipeline.transport, run) as connection:
            ca = self._ca_again(connection, keeper)
            enrollment = self._restored(attempt, ca, run)
            try:
                return transaction.carry_through(enrollment, connection, since=since)
            except (RejectedError, ProtocolError, TransportError) as error:
                if attempt.pending or transaction.polls != attempt.polls + 1:
                    raise  # the CA has had it
                message = self.pipeline.renew.message if run.previous else "renewal"
                if judge(attempt, enrollment, error, message=message, now=self._system.now()) == "plain":
                    raise _RenewalRefusedError(error.message) from None
                run.warn(
                    "request-lost",
                    f"the CA does not know the transaction, and the request is sent again under its name: {error.message}",
                )
            polls = transaction.polls
            try:
                return transaction.carry_through(enrollment.afresh(), connection)
            except (RejectedError, TransportError) as error:
                was_pending = transaction.polls > polls
                if was_pending or not (run.previous and self._may_be_plain(enrollment, error)):
                    raise
                raise _RenewalRefusedError(error.message) from None

    def _restored(self, attempt: AttemptRecord, ca: KnownCa, run: Run) -> Enrollment:
        """Return a request that was sent; what has been loosened or tightened since counts, and the address of today."""
        snapshot, options = self.custody.snapshot(attempt.transaction_id), self.pipeline.ca
        enrollment = Enrollment.restore(
            snapshot,
            key=self.custody.signing_key(attempt.transaction_id, snapshot, run),
            bundle=ca.bundle,
            random_bytes=self._system.random_bytes,
        )
        enrollment.channel = replace(
            enrollment.channel,
            url=options.url,
            security=Security(options.security),
            relaxed=frozenset(options.relax),
            password_envelope=options.password_envelope,
        )
        return enrollment

    def _transaction(
        self, run: Run, purpose: str, transaction_id: str | None = None
    ) -> tuple[Transaction, JournalKeeper]:
        transaction_id = transaction_id or self._system.random_bytes(16).hex()
        keeper = JournalKeeper(self.state, transaction_id, purpose, run)
        transaction = Transaction(
            self.pipeline,
            run,
            keeper=keeper,
            system=self._system,
            transaction_id=transaction_id,
            wait_s=self._wait_s,
        )
        return transaction, keeper

    def _refusal(self, error: RejectedError, purpose: str) -> RefusalRecord:
        return RefusalRecord(
            asked=self._asked(),
            purpose=purpose,
            at=self._system.now(),
            exit_code=error.exit_code,
            fail_info=error.fail_info,
            fail_info_text=error.fail_info_text,
            message=error.message,
            hint=error.hint or "",
        )

    def _close(self, transaction_id: str, refusal: RefusalRecord | None = None) -> None:
        """Note the end of an attempt, then let its files go."""
        self.state.journal.close(self.state.place, transaction_id, at=self._system.now(), refusal=refusal)
        self.state.folder(transaction_id).discard()


def _received(transaction_id: str, key: PrivateKey, issued: Issued) -> tuple[str, Credential]:
    return transaction_id, Credential(key=key, certificate=issued.certificate, chain=issued.chain)
