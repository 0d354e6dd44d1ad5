"""One run of a pipeline: enroll, go on with a pending request, renew what is due, deliver what a sink missed, or nothing.

Owns that decision. Must never hold: what a stage does, what a message looks
like, a word printed; or an import of cryptography that a run with nothing due
would pay for.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scepflow.digests import asked_digest, sink_digest
from scepflow.errors import LockedError, PendingError, RejectedError, ScepflowError, StateError
from scepflow.events import RunFinished, RunStarted
from scepflow.faults import working
from scepflow.renewal import RENEWAL_RETRY, renewal_of
from scepflow.system import System, make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from scepflow.delivery import Delivery
    from scepflow.engine.identity import Credential
    from scepflow.events import Event
    from scepflow.journal import Journal
    from scepflow.obtaining import Obtaining
    from scepflow.pipeline.model import Pipeline
    from scepflow.records import AttemptRecord, CertificateFacts, PipelineRecord
    from scepflow.stages import OutputSink, Run
    from scepflow.state import PipelineState, StateDirectory

__all__ = ["Decision", "Outcome", "Runner", "run_pipeline", "tell_run"]

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
    """

    action: str
    certificate: CertificateFacts
    renew_at: datetime
    deliveries: tuple[Delivery, ...] = ()
    credential: Credential | None = None

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

    Raises:
        LockedError: another run works on the same pipeline.
        ScepflowError: the pipeline has no valid certificate, or a due renewal failed; its ``exit_code`` says why.
    """
    world = system or System()

    def run() -> Outcome:
        with state.locked(pipeline.file, name=pipeline.name, now=world.now()) as own:
            runner = Runner(pipeline, own, emit=emit, system=world, wait_s=wait_s)
            return runner.run(again=again, renew=renew)

    return tell_run(pipeline, run, emit=emit, system=world)


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

    def run(self, *, again: bool, renew: bool) -> Outcome:
        """Decide and act, and note how it ended."""
        record = self.record()
        try:
            outcome = self._act(record, again=again, renew=renew)
        except ScepflowError as error:
            if not isinstance(error, _HeldError):
                with suppress(StateError):  # the error itself says more than that it cannot be noted
                    self._end(record, _word(error), error.exit_code, error.message, error.hint or "")
            raise
        except Exception as error:
            with suppress(StateError):
                bug = f"a bug in scepflow: {type(error).__name__}"
                self._end(record, "failed", ScepflowError.exit_code, bug, "the log of the run says more")
            raise
        if (outcome.word, outcome.exit_code) != ("unchanged", record.exit_code):
            with suppress(StateError):  # told already
                self.end(record, outcome)
        return outcome

    def end(self, record: PipelineRecord, outcome: Outcome) -> None:
        """Note that the pipeline has a certificate."""
        self._end(record, outcome.word, outcome.exit_code)

    def record(self) -> PipelineRecord:
        """Return how the pipeline stands."""
        record = self.journal.pipeline(self.place)
        assert record is not None, "the lock has entered it"
        return record

    def _end(
        self, record: PipelineRecord, word: str, exit_code: int, message: str = "", hint: str = ""
    ) -> None:
        """Note how the run ended; the same failure as before makes no second line of history."""
        now = self.system.now()
        self.journal.end(self.place, outcome=word, exit_code=exit_code, at=now, message=message, hint=hint)
        if message and message != record.message:
            self.journal.tell(self.place, word, message, at=now)

    def _act(self, record: PipelineRecord, *, again: bool, renew: bool) -> Outcome:
        record = self._given_up(record) if again else record
        if record.refused and (again or renew):
            self.journal.allow(self.place)
            record = self.record()
        if again and record.current and self._is_lost(record.current):
            return self._have(*self.obtaining().enroll(), purpose="enrollment")
        missed = self._deliver_missed(record)
        current, decision = record.current, self.decide(record, renew=renew)
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
        renew_at = renewal_of(self.pipeline, facts)
        if renew_at != record.renew_at:
            self.journal.due(self.place, renew_at)
        return missed or Outcome(action="unchanged", certificate=facts, renew_at=renew_at)

    def decide(self, record: PipelineRecord, *, renew: bool = False) -> Decision:
        """Return what to ask of the CA, and change nothing.

        Args:
            record: how the pipeline stands.
            renew: renew the certificate though it is not due.

        Raises:
            RejectedError: the CA has rejected it, and is not asked again yet.
        """
        if record.open:
            return "resume"
        current = record.current
        if current is None or self._is_over(current):
            self._heed_refusal(record, for_ever=True)
            return "enroll"
        assert current.certificate is not None, "an issued attempt has one"
        if not renew and self.system.now() < renewal_of(self.pipeline, current.certificate):
            return "nothing"
        self._heed_refusal(record, for_ever=False)
        return "renew"

    def _given_up(self, record: PipelineRecord) -> PipelineRecord:
        """Give up a pending request, and return how the pipeline stands then."""
        if record.open is None:
            return record
        self.journal.close(self.place, record.open.transaction_id, status="abandoned", at=self.system.now())
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

    def _heed_refusal(self, record: PipelineRecord, *, for_ever: bool) -> None:
        """Do not ask again for what the CA has rejected, unless something has changed."""
        if record.refused is None or record.refused != self._asked():
            return
        ended_at = record.ended_at or self.system.now()
        if not for_ever and self.system.now() - ended_at >= RENEWAL_RETRY:
            return
        when = "`scepflow run --again` asks nevertheless"
        if not for_ever:
            when = f"it is asked again after {ended_at + RENEWAL_RETRY:%Y-%m-%d %H:%M} UTC; {when}"
        code = record.exit_code
        raise _HeldError(
            f"not asked again, since nothing has changed: {record.message}",
            fail_info=code - 70 if code >= 70 else None,
            transaction_id="",
            hint=f"{record.hint}\n{when}" if record.hint else when,
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
            asked=self._asked(),
        )

    def _have(self, transaction_id: str, credential: Credential, *, purpose: str) -> Outcome:
        """Make a new certificate the current one and deliver it."""
        from scepflow.custody import Custody, facts_of

        facts, now = facts_of(credential.certificate), self.system.now()
        renew_at = renewal_of(self.pipeline, facts)
        action = "renewed" if purpose == "renewal" else "issued"
        try:
            # What is not kept is not issued in the journal either, so that the next run asks the CA for it once more.
            Custody(self.pipeline, self.state).keep(
                transaction_id, (credential.certificate, *credential.chain)
            )
            self.journal.issue(
                self.place, transaction_id, facts, at=now, renew_at=renew_at, keep=self.pipeline.renew.keep
            )
            said = f"{facts.subject}, serial {facts.serial}, expires {facts.not_after:%Y-%m-%d}"
            self.journal.tell(self.place, action, said, at=now)
            self.state.sweep()
        except StateError as error:  # the sinks may still have room for what the CA has granted
            self._context().warn("not-kept", error.message)
        deliveries = self.deliver(transaction_id, credential, self.pipeline.sinks)
        return Outcome(
            action=action, certificate=facts, renew_at=renew_at, deliveries=deliveries, credential=credential
        )

    # -- sinks

    def _deliver_missed(self, record: PipelineRecord) -> Outcome | None:
        """Deliver the current certificate to the sinks that do not have it, or whose options have changed."""
        current = record.current
        if (
            current is None
            or current.certificate is None
            or current.certificate.not_after <= self.system.now()
        ):
            return None
        gone = record.deliveries.keys() - self.pipeline.sinks.keys()
        if gone:
            self.journal.forget_sinks(self.place, sorted(gone))
        missed = self.missed(record)
        if not missed:
            return None
        try:
            credential = self.obtaining().credential(current)
        except StateError:
            if record.open:  # which may give another
                return None
            raise
        deliveries = self.deliver(current.transaction_id, credential, missed)
        return Outcome(
            action="delivered",
            certificate=current.certificate,
            renew_at=renewal_of(self.pipeline, current.certificate),
            deliveries=deliveries,
            credential=credential,
        )

    def missed(self, record: PipelineRecord) -> dict[str, OutputSink]:
        """Return the sinks that do not have the current certificate, whose options have changed, or whose output is gone."""
        return {
            name: sink
            for name, sink in self.pipeline.sinks.items()
            if not (_is_delivered(record, name, sink) and self._is_in_place(sink))
        }

    def _is_in_place(self, sink: OutputSink) -> bool:
        """Return whether a sink's output is there; what cannot be looked at is delivered, and says then what is wrong."""
        try:
            with working(sink):
                return sink.is_in_place(self._context())
        except ScepflowError:
            return False

    def deliver(
        self, transaction_id: str, credential: Credential, sinks: Mapping[str, OutputSink]
    ) -> tuple[Delivery, ...]:
        """Deliver a certificate and note what became of each sink.

        When files come late, the sinks that only write are told once more: a daemon that was reloaded
        while its files could not be written has not seen them.
        """
        from scepflow.delivery import deliver, only_writes

        run = self._context()

        def note(delivery: Delivery) -> None:
            try:
                self._note(transaction_id, delivery)
            except StateError as error:  # it will be delivered once more
                run.warn("not-kept", error.message)

        def to(some: Mapping[str, OutputSink]) -> tuple[Delivery, ...]:
            return deliver(some, credential, run, monotonic_s=self.system.monotonic_s, note=note)

        deliveries = to(sinks)
        if any(not (delivery.error or only_writes(sinks[delivery.sink])) for delivery in deliveries):
            told = self._only_writing()
            deliveries += to({name: sink for name, sink in told.items() if name not in sinks})
        return deliveries

    def _only_writing(self) -> dict[str, OutputSink]:
        from scepflow.delivery import only_writes

        return {name: sink for name, sink in self.pipeline.sinks.items() if only_writes(sink)}

    def _note(self, transaction_id: str, delivery: Delivery) -> None:
        """Write down what became of a sink."""
        now, error = self.system.now(), delivery.error
        outdated = self._only_writing()
        self.journal.deliver(
            self.place,
            transaction_id,
            delivery.sink,
            options=sink_digest(self.pipeline.sinks[delivery.sink]),
            at=now,
            error=error.message if error else None,
            outdates=() if error or delivery.sink in outdated else tuple(outdated),
        )
        said = f"{delivery.sink}: {error.message if error else delivery.detail}"
        self.journal.tell(self.place, "sink-failed" if error else "delivered", said, at=now)

    def note_delivered(self, transaction_id: str) -> None:
        """Note that every sink has a certificate, as one has that came from where the sinks write."""
        for name, sink in self.pipeline.sinks.items():
            self.journal.deliver(
                self.place,
                transaction_id,
                name,
                options=sink_digest(sink),
                at=self.system.now(),
                error=None,
            )

    def _context(self) -> Run:
        return make_run(self.pipeline, self.emit, self.system)


class _HeldError(RejectedError):
    """The CA has rejected this before, and nothing was sent."""


def _is_delivered(record: PipelineRecord, name: str, sink: OutputSink) -> bool:
    delivery = record.deliveries.get(name)
    return delivery is not None and delivery.error is None and delivery.options == sink_digest(sink)
