"""A pipeline's sinks: which of them miss the current certificate, who waits for whom, and what became of each.

Must never hold: how a sink delivers, or a question to the CA.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from scepflow.delivery import awaited, deliver
from scepflow.digests import sink_digest
from scepflow.errors import ScepflowError, StateError
from scepflow.faults import working
from scepflow.staging import StagedFiles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from scepflow.delivery import Delivery
    from scepflow.engine.identity import Credential
    from scepflow.pipeline.model import Pipeline
    from scepflow.records import PipelineRecord
    from scepflow.stages import OutputSink, Run
    from scepflow.state import PipelineState
    from scepflow.system import System

__all__ = ["Sinks"]


class Sinks:
    """The sinks of one pipeline, under its lock.

    Args:
        pipeline: whose sinks.
        state: the pipeline's, locked.
        run: what sinks may know of the run.
        system: the clocks.
    """

    def __init__(self, pipeline: Pipeline, state: PipelineState, run: Run, *, system: System) -> None:
        self._pipeline = pipeline
        self._state = state
        self._run = run
        self._system = system

    def missed(self, record: PipelineRecord) -> dict[str, OutputSink]:
        """Return the sinks that do not have the current certificate, whose options have changed, or whose output is gone."""
        return {
            name: sink
            for name, sink in self._pipeline.sinks.items()
            if not (_is_delivered(record, name, sink) and self._is_in_place(sink))
        }

    def _is_in_place(self, sink: OutputSink) -> bool:
        """Return whether a sink's output is there; what cannot be looked at is delivered, and says then what is wrong."""
        try:
            with working(sink):
                return sink.is_in_place(self._run)
        except ScepflowError:
            return False

    def deliver(
        self,
        transaction_id: str,
        credential: Credential,
        sinks: Mapping[str, OutputSink],
        *,
        tell_again: bool = True,
    ) -> tuple[Delivery, ...]:
        """Deliver a certificate and note what became of each sink.

        Args:
            transaction_id: of the certificate.
            credential: key, certificate and chain.
            sinks: who gets it; those that only write and wait for one of these follow.
            tell_again: whether that is so even for those that have been told of this certificate: a daemon that was
                reloaded while its files could not be written has not seen them.
        """
        waits = awaited(self._pipeline.sinks)
        others = self._pipeline.sinks.keys() - sinks.keys()
        behind = others & self.missed(self._record()).keys() if others else set()

        def note(delivery: Delivery) -> None:
            told = [name for name, files in waits.items() if delivery.sink in files] if tell_again else []
            with self._noting():  # else it will be delivered once more
                self._note(transaction_id, delivery, outdates=() if delivery.error else told)

        def note_staged(sink: str, paths: Sequence[Path]) -> None:
            with self._noting():
                self._staged.note(sink, paths)

        def to(some: Mapping[str, OutputSink], behind: Collection[str]) -> tuple[Delivery, ...]:
            clock = self._system.monotonic_s
            noted: dict[str, Any] = {"monotonic_s": clock, "note": note, "note_staged": note_staged}
            return deliver(some, credential, self._run, waits=waits, behind=behind, **noted)

        deliveries = to(sinks, behind)
        arrived = {delivery.sink for delivery in deliveries if not delivery.error}
        followers = {
            name: self._pipeline.sinks[name]
            for name, files in waits.items()
            if name in others and arrived & set(files) and (tell_again or name in behind)
        }
        if followers:
            deliveries += to(followers, behind | (sinks.keys() - arrived))
        with self._noting():
            self._staged.clear(arrived | (others - behind))
        return deliveries

    def clear_staged(self, *, but: Collection[str]) -> None:
        """Remove what a killed run has left beside the targets of all sinks but these."""
        with self._noting():
            self._staged.clear_all_but(but)

    @property
    def _staged(self) -> StagedFiles:
        return StagedFiles(self._state.path / "staged.json")

    def _record(self) -> PipelineRecord:
        record = self._state.journal.pipeline(self._state.place)
        assert record is not None, "the lock has entered it"
        return record

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Warn of what cannot be kept, and go on."""
        try:
            yield
        except StateError as error:
            self._run.warn("not-kept", error.message)

    def _note(self, transaction_id: str, delivery: Delivery, *, outdates: Sequence[str]) -> None:
        """Write down what became of a sink."""
        now, error = self._system.now(), delivery.error
        self._state.journal.deliver(
            self._state.place,
            transaction_id,
            delivery.sink,
            options=sink_digest(self._pipeline.sinks[delivery.sink]),
            at=now,
            error=error.message if error else None,
            detail=delivery.detail,
            outdates=outdates,
        )


def _is_delivered(record: PipelineRecord, name: str, sink: OutputSink) -> bool:
    delivery = record.deliveries.get(name)
    return delivery is not None and delivery.error is None and delivery.options == sink_digest(sink)
