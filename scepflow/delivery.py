"""Delivering a credential to every sink, or a CRL to those that take one; a sink that fails stops no other.

Must never hold: how a sink writes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from scepflow.errors import ScepflowError, SinkError
from scepflow.events import SinkDelivered, SinkFailed
from scepflow.faults import masked, working
from scepflow.stages import OutputSink, Prepared
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from cryptography import x509

    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["Delivery", "awaited", "deliver", "deliver_crl", "describe", "only_writes"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one sink; ``error`` is None when it delivered."""

    sink: str
    detail: str
    error: ScepflowError | None = None


def deliver(
    sinks: Mapping[str, OutputSink],
    credential: Credential,
    run: Run,
    *,
    monotonic_s: Callable[[], float],
    note: Callable[[Delivery], None] = lambda _delivery: None,
    note_staged: Callable[[str, Sequence[Path]], None] = lambda _sink, _paths: None,
    waits: Mapping[str, Collection[str]] | None = None,
    behind: Collection[str] = (),
) -> tuple[Delivery, ...]:
    """Deliver to every sink and tell of each.

    Sinks that stage their output are committed before those that only write, so
    that a reload command or a notification finds the files in place; while they
    are not, it waits, and counts as one that failed.

    Args:
        sinks: the sinks by the names of their tables.
        credential: key, certificate and chain.
        run: the run.
        monotonic_s: a clock for durations.
        note: is given each delivery as soon as its sink has it or has failed.
        note_staged: is told of the files that a sink is about to make and that a kill may leave.
        waits: whom each sink that only writes waits for; `awaited` of the sinks when None.
        behind: further sinks that have not delivered, of those that are waited for.

    Returns:
        One delivery for each sink, in the given order.
    """
    failures: dict[str, ScepflowError] = {}
    prepared: dict[str, Prepared] = {}
    elapsed_s = dict.fromkeys(sinks, 0.0)
    waits = awaited(sinks) if waits is None else waits

    def prepare(name: str) -> None:
        own = replace(run, note_staged=partial(note_staged, name))
        prepared[name] = sinks[name].prepare(credential, own)

    def commit(name: str) -> None:
        missing = [other for other in waits.get(name, ()) if other in failures or other in behind]
        if missing:
            raise SinkError(f"waits for {_named(missing)}")
        prepared[name].commit()

    def attempt(name: str, step: Callable[[], object]) -> None:
        started_s = monotonic_s()
        try:
            with masked(run), working(sinks[name]):
                step()
        except ScepflowError as error:
            failures[name] = error
            note(Delivery(name, describe(sinks[name]), error))
        elapsed_s[name] += monotonic_s() - started_s

    try:
        for name in sinks:
            attempt(name, partial(prepare, name))
        for name in sorted(prepared, key=lambda name: only_writes(sinks[name])):
            attempt(name, partial(commit, name))
            if name not in failures:
                note(Delivery(name, describe(sinks[name])))
    finally:
        _discard(prepared, sinks)
    deliveries = tuple(Delivery(name, describe(sink), failures.get(name)) for name, sink in sinks.items())
    for delivery in deliveries:
        _tell(delivery, elapsed_s[delivery.sink], run)
    return deliveries


def only_writes(sink: OutputSink) -> bool:
    """Return whether a sink stages nothing: such as a command that is told of the files that others stage."""
    return type(sink).prepare is OutputSink.prepare


def _discard(prepared: Mapping[str, Prepared], sinks: Mapping[str, OutputSink]) -> None:
    """Leave nothing staged behind; what is committed is not touched."""
    for name, output in prepared.items():
        # What matters is known by now: delivered, or the failure before.
        with suppress(ScepflowError), working(sinks[name]):
            output.discard()


def awaited(sinks: Mapping[str, OutputSink]) -> dict[str, tuple[str, ...]]:
    """Return, for each sink that only writes, the names of those that must have delivered before."""
    files = [name for name, sink in sinks.items() if not only_writes(sink)]
    chosen = {name: _waits_for(sink) for name, sink in sinks.items() if only_writes(sink)}
    return {name: tuple(f for f in files if only is None or f in only) for name, only in chosen.items()}


def _waits_for(sink: OutputSink) -> tuple[str, ...] | None:
    try:
        with working(sink):
            return sink.waits_for()
    except ScepflowError:
        return None


def _named(sinks: Sequence[str]) -> str:
    return f"sink{'s' * (len(sinks) > 1)} {', '.join(sinks)}"


def deliver_crl(
    sinks: Mapping[str, OutputSink],
    crl: x509.CertificateRevocationList,
    run: Run,
    *,
    monotonic_s: Callable[[], float],
) -> tuple[Delivery, ...]:
    """Deliver a CRL to every sink that takes one and tell of each.

    Args:
        sinks: the sinks by the names of their tables.
        crl: the CRL, verified.
        run: the run.
        monotonic_s: a clock for durations.

    Returns:
        One delivery for each sink that takes a CRL, in the given order.
    """
    deliveries = []
    for name, sink in sinks.items():
        started_s = monotonic_s()
        try:
            with masked(run), working(sink):
                detail = sink.write_crl(crl, run)
            delivery = Delivery(name, sanitise(detail)) if detail is not None else None
        except ScepflowError as error:
            delivery = Delivery(name, describe(sink), error)
        if delivery:
            _tell(delivery, monotonic_s() - started_s, run)
            deliveries.append(delivery)
    return tuple(deliveries)


def describe(sink: OutputSink) -> str:
    """Return where a sink's output goes; one that cannot say so is called by its name."""
    try:
        with working(sink):
            return sanitise(sink.describe())
    except ScepflowError:
        return sink.stage_name()


def _tell(delivery: Delivery, elapsed_s: float, run: Run) -> None:
    sink, detail, error = delivery.sink, delivery.detail, delivery.error
    if error is None:
        run.emit(
            SinkDelivered(pipeline=run.pipeline, at=run.now(), sink=sink, detail=detail, elapsed_s=elapsed_s)
        )
    else:
        run.emit(SinkFailed(pipeline=run.pipeline, at=run.now(), sink=sink, error=error.message))
