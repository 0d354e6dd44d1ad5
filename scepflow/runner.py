"""One run of a pipeline: enroll, go on with a pending request, renew what is due, deliver what a sink missed, or nothing.

Owns that decision. Must never hold: what a stage does, what a message looks
like, a word printed; or an import of cryptography that a run with nothing due
would pay for.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scepflow.digests import asked_digest
from scepflow.errors import (
    LockedError,
    PendingError,
    PipelineError,
    RejectedError,
    ScepflowError,
    StateError,
)
from scepflow.events import RunFinished, RunStarted
from scepflow.renewal import RENEWAL_RETRY, renewal_of
from scepflow.system import System, make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from scepflow.delivery import Delivery
    from scepflow.engine.identity import Credential
    from scepflow.events import Event
    from scepflow.journal import Journal
    from scepflow.obtaining import Obtaining
    from scepflow.pipeline.model import Pipeline
    from scepflow.records import AttemptRecord, CertificateFacts, PipelineRecord
    from scepflow.sinks import Sinks
    from scepflow.stages import Run
    from scepflow.state import PipelineState, StateDirectory

__all__ = ["Decision", "Outcome", "Runner", "at_work", "note_unreadable", "run_pipeline", "tell_run"]

Decision = Literal["enroll", "resume", "renew", "nothing"]
"""What a run asks of the CA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The pipeline has a valid certificate.

    Attributes:
        action: what the run did: ``issued``, ``renewed``, ``delivered``, ``rolled-back`` or ``unchanged``.
        certificate: the certificate in use.
        renew_at: when it is due, aware UTC.
        deliveries: what became of the sinks that got it in this run, in the pipeline's order.
        credential: key, certificate and chain, if this run had them in its hands.
        pending: the renewal that the CA has not decided, where a sink that failed is the worse news.
    """

    action: str
    certificate: CertificateFacts
    renew_at: datetime
    deliveries: tuple[Delivery, ...] = ()
    credential: Credential | None = None
    pending: PendingError | None = None

    @property
    def exit_code(self) -> int:
        """0, or 6 when a sink failed."""
        return 6 if any(delivery.error for delivery in self.deliveries) else 0

    @property
    def word(self) -> str:
        """The action, or ``degraded`` when a sink failed."""
        return "degraded" if self.exit_code else self.action


def run_pipeline(
    pipeline: Pipeline,
    *,
    emit: Callable[[Event], None],
    state: StateDirectory,
    system: System | None = None,
    wait_s: float | None = None,
    again: bool = False,
    renew: bool = False,
    enroll: bool = False,
) -> Outcome:
    """Bring a pipeline's certificate up to date and deliver it.

    Args:
        pipeline: what to do.
        emit: is told every event.
        state: what earlier runs have left, and where this one keeps what must not be lost.
        system: clock, sleep and randomness; the real ones when None.
        wait_s: the longest time to wait for the CA's decision, 0 or more; as long as the poller says when None.
        again: give up a pending request, and ask again for what was rejected.
        renew: renew the certificate though it is not due.
        enroll: ask for a certificate as if there were none, though one is valid.

    Raises:
        LockedError: another run works on the same pipeline.
        ScepflowError: the pipeline has no valid certificate, or a due renewal failed; its ``exit_code`` says why.
    """
    world = system or System()

    def run() -> Outcome:
        with at_work(pipeline, emit=emit, state=state, system=world, wait_s=wait_s) as runner:
            return runner.run(again=again, renew=renew, enroll=enroll)

    return tell_run(pipeline, run, emit=emit, system=world)


@contextmanager
def at_work(
    pipeline: Pipeline,
    *,
    emit: Callable[[Event], None],
    state: StateDirectory,
    system: System,
    wait_s: float | None = None,
) -> Iterator[Runner]:
    """Give what works on a pipeline, whose state is locked meanwhile.

    Raises:
        LockedError: another run works on the same pipeline.
        StateError: the state directory cannot be used.
    """
    with state.locked(pipeline.file, name=pipeline.name, now=system.now()) as own:
        for path in own.set_aside:
            make_run(pipeline, emit, system).warn("unknown-transaction", own.why_aside(path))
        yield Runner(pipeline, own, emit=emit, system=system, wait_s=wait_s)


def note_unreadable(state: StateDirectory, file: Path, *, message: str, hint: str, at: datetime) -> None:
    """Note that a run could not begin because the pipeline's file is missing or has errors.

    Args:
        state: the state directory; a pipeline that it does not know stays unknown.
        file: the pipeline's file, absolute.
        message: what is wrong with it, one line.
        hint: what to do about it, or "".
        at: when, aware UTC.

    Raises:
        StateError: it cannot be noted.
    """
    place, code = state.place(file), PipelineError.exit_code
    if state.journal.pipeline(place):
        state.journal.end(place, outcome="failed", exit_code=code, at=at, message=message, hint=hint)


def tell_run(
    pipeline: Pipeline, work: Callable[[], Outcome], *, emit: Callable[[Event], None], system: System
) -> Outcome:
    """Do the work of a run, and tell that it begins and how it ends.

    Args:
        pipeline: whose run.
        work: what to do.
        emit: is told.
        system: the clock.

    Raises:
        ScepflowError: what the work raised.
    """
    started_s = system.monotonic_s()

    def tell(event: type[Event], **fields: object) -> None:
        emit(event(pipeline=pipeline.name, at=system.now(), **fields))

    def finished(outcome: str, exit_code: int, error: str = "") -> None:
        elapsed_s = system.monotonic_s() - started_s
        tell(RunFinished, outcome=outcome, exit_code=exit_code, elapsed_s=elapsed_s, error=error)

    tell(RunStarted, file=str(pipeline.file), dry_run=False)
    try:
        outcome = work()
    except ScepflowError as error:
        finished(_word(error), error.exit_code, error.message)
        raise
    except Exception as error:
        finished("failed", ScepflowError.exit_code, f"a bug: {type(error).__name__}")
        raise
    finished(outcome.word, outcome.exit_code)
    return outcome


def _word(error: ScepflowError) -> str:
    words = {
        LockedError: "locked",
        PendingError: "pending",
        RejectedError: "rejected",
        _HeldError: "rejected",
    }
    return words.get(type(error), "failed")


class Runner:
    """One run, under the pipeline's lock.

    Args:
        pipeline: what to do.
        state: the pipeline's, locked.
        emit: is told every event.
        system: clock, sleep and randomness.
        wait_s: the longest time to wait for the CA's decision; as long as the poller says when None.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        state: PipelineState,
        *,
        emit: Callable[[Event], None],
        system: System,
        wait_s: float | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.state = state
        self.emit = emit
        self.system = system
        self.wait_s = wait_s

    @property
    def journal(self) -> Journal:
        """The state directory's journal."""
        return self.state.journal

    @property
    def place(self) -> str:
        """The pipeline's name in it."""
        return self.state.place

    def run(self, *, again: bool, renew: bool, enroll: bool = False) -> Outcome:
        """Decide and act, and note how it ended."""
        record = self.record()
        try:
            outcome = self._act(record, again=again, renew=renew, enroll=enroll)
        except _HeldError:
            with suppress(StateError):
                self._hold(record)
            raise
        except RejectedError:  # noted together with the end of its attempt
            raise
        except ScepflowError as error:
            with suppress(StateError):  # the error itself says more than that it cannot be noted
                self._end(_word(error), error.exit_code, error.message, error.hint or "")
            raise
        except Exception as error:
            with suppress(StateError):
                bug = f"a bug in scepflow: {type(error).__name__}"
                self._end("failed", ScepflowError.exit_code, bug, "the log of the run says more")
            raise
        if (outcome.word, outcome.exit_code) != ("unchanged", record.exit_code):
            with suppress(StateError):  # told already
                self.end(outcome)
        return outcome

    def end(self, outcome: Outcome) -> None:
        """Note that the pipeline has a certificate."""
        self._end(outcome.word, outcome.exit_code)

    def record(self) -> PipelineRecord:
        """Return how the pipeline stands."""
        record = self.journal.pipeline(self.place)
        assert record is not None, "the lock has entered it"
        return record

    def _end(self, word: str, exit_code: int, message: str = "", hint: str = "") -> None:
        """Note how the run ended."""
        now = self.system.now()
        self.journal.end(self.place, outcome=word, exit_code=exit_code, at=now, message=message, hint=hint)

    def _hold(self, record: PipelineRecord) -> None:
        """Note that the run asked nothing, unless that is what the journal says already."""
        refusal = record.refused
        if refusal and (record.outcome, record.message) != ("rejected", refusal.message):
            self.journal.hold(self.place, refusal, at=self.system.now())

    def _act(self, record: PipelineRecord, *, again: bool, renew: bool, enroll: bool) -> Outcome:
        record = self._given_up(record) if again else record
        if record.refused and (again or renew or enroll):
            self.journal.allow(self.place)
            record = self.record()
        if again and record.current and self._is_lost(record.current):
            return self._have(*self.obtaining().enroll(), purpose="enrollment")
        if not (again or enroll):
            self.refuse_to_pass_over(record)
        missed = self._deliver_missed(record, enroll=enroll)
        try:
            return self._ask(record, missed, renew=renew, enroll=enroll)
        except PendingError as error:
            if missed and missed.exit_code:
                return replace(missed, pending=error)
            raise

    def _ask(self, record: PipelineRecord, missed: Outcome | None, *, renew: bool, enroll: bool) -> Outcome:
        """Ask of the CA what is to be asked; what the sinks have missed they have got by now, or they failed."""
        current, decision = record.current, self.decide(record, renew=renew, enroll=enroll)
        if decision == "resume":
            assert record.open is not None, "what can be resumed is open"
            return self._have(*self.obtaining().resume(record.open, current), purpose=record.open.purpose)
        if decision == "enroll":
            return self._have(*self.obtaining().enroll(), purpose="enrollment")
        assert current is not None, "what is due is there"
        if decision == "renew":
            return self._have(*self.obtaining().renew(current), purpose="renewal")
        facts = current.certificate
        assert facts is not None, "an issued attempt has one"
        renew_at = renewal_of(self.pipeline, facts, current.issued_at)
        if renew_at != record.renew_at:
            self.journal.due(self.place, renew_at)
        return missed or Outcome(action="unchanged", certificate=facts, renew_at=renew_at)

    def decide(self, record: PipelineRecord, *, renew: bool = False, enroll: bool = False) -> Decision:
        """Return what to ask of the CA, and change nothing.

        Args:
            record: how the pipeline stands.
            renew: renew the certificate though it is not due.
            enroll: enroll though there is a valid certificate.

        Raises:
            RejectedError: the CA has rejected it, and is not asked again yet.
        """
        if record.open:
            return "resume"
        current = record.current
        if current is None or enroll or self._is_over(current):
            self._heed_refusal(record, "enrollment")
            return "enroll"
        assert current.certificate is not None, "an issued attempt has one"
        due_at = renewal_of(self.pipeline, current.certificate, current.issued_at)
        if not renew and self.system.now() < due_at:
            return "nothing"
        self._heed_refusal(record, "renewal")
        return "renew"

    def refuse_to_pass_over(self, record: PipelineRecord | None) -> None:
        """Do not enroll for the first time where a lost journal or an earlier name of the pipeline has left something.

        Raises:
            StateError: it has, and what to do.
        """
        if record and (record.current or record.open):
            return
        from scepflow.predecessors import refuse_to_pass_over

        refuse_to_pass_over(self.pipeline, self.state, self._context(), now=self.system.now())

    def _given_up(self, record: PipelineRecord) -> PipelineRecord:
        """Give up a pending request, and return how the pipeline stands then."""
        if record.open is None:
            return record
        self.journal.close(self.place, record.open.transaction_id, at=self.system.now())
        self.state.sweep()
        return self.record()

    def _is_lost(self, current: AttemptRecord) -> bool:
        """Return whether the files of a certificate are missing or damaged."""
        try:
            self.obtaining().credential(current)
        except StateError:
            return True
        return False

    def _is_over(self, current: AttemptRecord) -> bool:
        """Return whether a certificate has expired and nothing can be signed with it any more."""
        assert current.certificate is not None, "an issued attempt has one"
        expired = current.certificate.not_after <= self.system.now()
        return expired and self.pipeline.renew.expired == "enroll"

    # -- what was rejected

    def _asked(self) -> str:
        return asked_digest(self.pipeline, salt=self.state.salt(self.system.random_bytes))

    def _heed_refusal(self, record: PipelineRecord, purpose: str) -> None:
        """Do not ask again for what the CA has rejected, unless something has changed; a renewal only for a while.

        A rejection of the future is past: the clock was wrong then, which may be why it was rejected.
        """
        refusal = record.refused
        if refusal is None or refusal.purpose != purpose or refusal.asked != self._asked():
            return
        when = "`scepflow run --again` asks nevertheless"
        if purpose == "renewal":
            until = refusal.at + RENEWAL_RETRY
            if not refusal.at <= self.system.now() < until:
                return
            when = f"it is asked again after {until:%Y-%m-%d %H:%M} UTC; {when}"
        raise _HeldError(
            f"not asked again, since nothing has changed: {refusal.message}",
            fail_info=refusal.fail_info,
            fail_info_text=refusal.fail_info_text,
            transaction_id="",
            hint=f"{refusal.hint}\n{when}" if refusal.hint else when,
        )

    # -- a certificate

    def obtaining(self) -> Obtaining:
        """Return what gets certificates."""
        from scepflow.obtaining import Obtaining

        return Obtaining(
            self.pipeline,
            self.state,
            emit=self.emit,
            system=self.system,
            wait_s=self.wait_s,
            asked=self._asked,
        )

    def _have(self, transaction_id: str, credential: Credential, *, purpose: str) -> Outcome:
        """Make a new certificate the current one and deliver it."""
        from scepflow.custody import Custody, facts_of

        facts, now = facts_of(credential.certificate), self.system.now()
        renew_at = renewal_of(self.pipeline, facts, now)
        action = "renewed" if purpose == "renewal" else "issued"
        try:
            # What is not kept is not issued in the journal either, so that the next run asks the CA for it once more.
            Custody(self.pipeline, self.state).keep(
                transaction_id, (credential.certificate, *credential.chain)
            )
            self.journal.issue(
                self.place,
                transaction_id,
                facts,
                at=now,
                renew_at=renew_at,
                keep=self.pipeline.renew.keep,
                action=action,
                sinks=self.pipeline.sinks,
            )
            self.state.sweep()
        except StateError as error:  # the sinks may still have room for what the CA has granted
            self._context().warn("not-kept", error.message)
        deliveries = self.sinks.deliver(transaction_id, credential, self.pipeline.sinks)
        return Outcome(
            action=action, certificate=facts, renew_at=renew_at, deliveries=deliveries, credential=credential
        )

    # -- sinks

    def _deliver_missed(self, record: PipelineRecord, *, enroll: bool) -> Outcome | None:
        """Deliver the current certificate to the sinks that do not have it, or whose options have changed."""
        sinks, current = self.sinks, record.current
        sinks.clear_staged(but=self.pipeline.sinks)
        if (
            current is None
            or current.certificate is None
            or current.certificate.not_after <= self.system.now()
        ):
            return None
        gone = record.deliveries.keys() - self.pipeline.sinks.keys()
        if gone:
            self.journal.forget_sinks(self.place, sorted(gone))
        missed = sinks.missed(record)
        sinks.clear_staged(but=missed)  # the last run may have ended before it could
        if not missed:
            return None
        try:
            credential = self.obtaining().credential(current)
        except StateError:
            if record.open or enroll:  # which may give another
                return None
            raise
        deliveries = sinks.deliver(current.transaction_id, credential, missed)
        return Outcome(
            action="delivered",
            certificate=current.certificate,
            renew_at=renewal_of(self.pipeline, current.certificate, current.issued_at),
            deliveries=deliveries,
            credential=credential,
        )

    @property
    def sinks(self) -> Sinks:
        """What becomes of the pipeline's sinks."""
        from scepflow.sinks import Sinks

        return Sinks(self.pipeline, self.state, self._context(), system=self.system)

    def _context(self) -> Run:
        return make_run(self.pipeline, self.emit, self.system)


class _HeldError(RejectedError):
    """The CA has rejected this before, and nothing was sent."""
