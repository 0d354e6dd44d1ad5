"""Getting a certificate for a pipeline, so that a crash at any point loses nothing: keep, ask, keep the answer.

Must never hold: whether one is wanted now, or what is done with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepflow.ca import ask_next_ca, authenticate_ca, recognise_ca
from scepflow.custody import Custody, JournalKeeper
from scepflow.engine.enrollment import Enrollment
from scepflow.engine.identity import Credential
from scepflow.engine.messages import FailInfo, MessageType
from scepflow.errors import ProtocolError, RejectedError, ScepflowError, TransportError, TrustError
from scepflow.faults import connected
from scepflow.system import make_run, warn_relaxed
from scepflow.transaction import Since, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """A RenewalReq that was sent once more was refused, as by a server that knows none."""


class Obtaining:
    """Gets certificates for one pipeline.

    Args:
        pipeline: what to do.
        state: the pipeline's, locked.
        emit: is told every event.
        system: clock, sleep and randomness.
        wait_s: the longest time to wait for the CA's decision; as long as the poller says when None.
        asked: digest of what is asked, to be compared when it was rejected.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        state: PipelineState,
        *,
        emit: Callable[[Event], None],
        system: System,
        wait_s: float | None,
        asked: str,
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

    def renew(self, current: AttemptRecord) -> tuple[str, Credential]:
        """Get the certificate that replaces the current one; as `enroll`."""
        previous = self.credential(current)
        key = previous.key if self.pipeline.renew.key == "reuse" else None
        return self._obtain(self.run(previous), purpose="renewal", key=key)

    def _obtain(self, run: Run, *, purpose: str, key: PrivateKey | None = None) -> tuple[str, Credential]:
        transaction, keeper = self._transaction(run, purpose)
        try:
            request = transaction.request(key)
            with connected(self.pipeline.transport, run) as connection:
                ca = self._ca(connection, keeper)
                enrollment = transaction.enrollment(ca, request)
                try:
                    issued = transaction.carry_through(enrollment, connection)
                except (RejectedError, ProtocolError, TransportError) as error:
                    if transaction.polls or not self._may_be_plain(enrollment, error):
                        raise
                    run.warn(
                        "renewal-refused", f"RenewalReq failed, PKCSReq is sent instead: {error.message}"
                    )
                    first, (transaction, keeper) = keeper, self._transaction(run, purpose)
                    keeper.take_files(first)
                    self._close(first.transaction_id, "abandoned")
                    enrollment = transaction.enrollment(ca, request, message_type=MessageType.PKCS_REQ)
                    issued = transaction.carry_through(enrollment, connection)
        except RejectedError:
            self._close(keeper.transaction_id, "rejected", refused=self._asked)
            raise
        finally:
            if not keeper.sent:
                keeper.folder.discard()
        return _received(keeper.transaction_id, request.key, issued)

    def _ca(self, connection: Connection, keeper: JournalKeeper) -> AuthenticatedCa:
        """Authenticate the CA, and keep what it is before it is asked for anything."""
        known = self.custody.successors()
        ca = authenticate_ca(self.pipeline.ca, connection, keeper.run, successors=known)
        self._note(ca, connection, keeper)
        return ca

    def _ca_again(self, connection: Connection, keeper: JournalKeeper) -> KnownCa:
        """Do as `_ca` for a request that has been sent; where the CA does not say what it is, what was kept counts."""
        known, kept = self.custody.successors(), self.custody.ca(keeper.transaction_id)
        ca = recognise_ca(self.pipeline.ca, connection, keeper.run, successors=known, kept=kept)
        self._note(ca, connection, keeper)
        return ca

    def _note(self, ca: KnownCa, connection: Connection, keeper: JournalKeeper) -> None:
        """Keep what the CA is; a renewal also asks for the one that will follow it, so that its change stops nothing."""
        keeper.keep_ca(ca.certificates)
        options, run = self.pipeline.ca, keeper.run
        if not (run.previous and ca.capabilities.next_ca and options.fetch_certificates):
            return
        try:
            announced = ask_next_ca(options, connection, ca.bundle).value
        except TransportError:
            return  # there is none yet
        except (ProtocolError, TrustError) as error:
            run.warn("next-ca", f"the next CA that was announced is not believed: {error.message}")
            return
        known = self.custody.successors()
        followed = [certificate for certificate in known if certificate in ca.bundle.anchors]
        successors = dict.fromkeys((*followed, *announced.certificates))
        # Without a signer a check was turned off: what becomes a trust anchor has passed them all.
        if announced.signer and successors.keys() != set(known):
            self.custody.keep_successors(successors)

    def _may_be_plain(self, enrollment: Enrollment, error: ScepflowError) -> bool:
        """Return whether a renewal may be asked once more, as PKCSReq: the server answered, and not by a decision."""
        if enrollment.message_type is not MessageType.RENEWAL_REQ or self.pipeline.renew.message != "auto":
            return False
        return not (isinstance(error, TransportError) and error.status is None)

    def resume(self, attempt: AttemptRecord, current: AttemptRecord | None) -> tuple[str, Credential]:
        """Go on with a request that has left; as `enroll`.

        Args:
            attempt: the attempt.
            current: the certificate in use, which may have signed it.
        """
        transaction_id = attempt.transaction_id
        run = self.run(self.credential(current) if current and attempt.purpose == "renewal" else None)
        key = self.custody.key(transaction_id, run)
        certificates = self.custody.certificates(transaction_id)
        if certificates:  # it had come, and the process ended there
            return transaction_id, Credential(key=key, certificate=certificates[0], chain=certificates[1:])
        try:
            issued = self._go_on(attempt, run)
        except _RenewalRefusedError as refused:  # the process ended before it could ask in another way
            assert current is not None, "its certificate has signed the request"
            run.warn("renewal-refused", f"RenewalReq failed, the renewal begins anew: {refused}")
            self._close(transaction_id, "abandoned")
            return self.renew(current)
        except RejectedError:
            self._close(transaction_id, "rejected", refused=self._asked)
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
        snapshot = self.custody.snapshot(attempt.transaction_id)
        with connected(self.pipeline.transport, run) as connection:
            ca = self._ca_again(connection, keeper)
            enrollment = Enrollment.restore(
                snapshot,
                key=self.custody.signing_key(attempt.transaction_id, snapshot, run),
                bundle=ca.bundle,
                random_bytes=self._system.random_bytes,
            )
            try:
                return transaction.carry_through(enrollment, connection, since=since)
            except RejectedError as error:
                if attempt.pending or error.fail_info != FailInfo.BAD_CERT_ID:
                    raise
            run.warn(
                "request-lost",
                "the CA does not know the transaction: the request is sent again under its name",
            )
            polls = transaction.polls
            try:
                return transaction.carry_through(enrollment.afresh(), connection)
            except (RejectedError, ProtocolError, TransportError) as error:
                was_pending = transaction.polls > polls
                if was_pending or not (run.previous and self._may_be_plain(enrollment, error)):
                    raise
                raise _RenewalRefusedError(error.message) from None

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

    def _close(self, transaction_id: str, status: str, *, refused: str | None = None) -> None:
        """Note the end of an attempt, then let its files go."""
        self.state.journal.close(
            self.state.place, transaction_id, status=status, at=self._system.now(), refused=refused
        )
        self.state.folder(transaction_id).discard()


def _received(transaction_id: str, key: PrivateKey, issued: Issued) -> tuple[str, Credential]:
    return transaction_id, Credential(key=key, certificate=issued.certificate, chain=issued.chain)
