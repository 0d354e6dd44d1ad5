"""Delivering a credential to every sink, or a CRL to those that take one; a sink that fails stops no other.

Must never hold: how a sink writes.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepflow.errors import ScepflowError
from scepflow.events import SinkDelivered, SinkFailed
from scepflow.faults import working
from scepflow.stages import OutputSink, Prepared
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography import x509

    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["Delivery", "deliver", "deliver_crl", "describe", "only_writes"]


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
) -> tuple[Delivery, ...]:
    """Deliver to every sink and tell of each.

    Sinks that stage their output are committed before those that only write, so
    that a reload command or a notification finds the files in place.

    Args:
        sinks: the sinks by the names of their tables.
        credential: key, certificate and chain.
        run: the run.
        monotonic_s: a clock for durations.
        note: is given each delivery as soon as its sink has it or has failed.

    Returns:
        One delivery for each sink, in the given order.
    """
    failures: dict[str, ScepflowError] = {}
    prepared: dict[str, Prepared] = {}
    elapsed_s = dict.fromkeys(sinks, 0.0)

    def attempt(name: str, step: Callable[[], object]) -> None:
        started_s = monotonic_s()
        try:
            with working(sinks[name]):
                step()
        except ScepflowError as error:
            failures[name] = error
            note(Delivery(name, describe(sinks[name]), error))
        elapsed_s[name] += monotonic_s() - started_s

    try:
        for name, sink in sinks.items():
            attempt(name, lambda: prepared.update({name: sink.prepare(credential, run)}))  # noqa: B023  # called at once
        for name in sorted(prepared, key=lambda name: only_writes(sinks[name])):
            attempt(name, prepared[name].commit)
            if name not in failures:
                note(Delivery(name, describe(sinks[name])))
    finally:
        for (
            name,
            output,
        ) in prepared.items():  # nothing staged is left behind; what is committed is not touched
            # What matters is known by now: delivered, or the failure before.
            with suppress(ScepflowError), working(sinks[name]):
                output.discard()
    deliveries = tuple(Delivery(name, describe(sink), failures.get(name)) for name, sink in sinks.items())
    for delivery in deliveries:
        _tell(delivery, elapsed_s[delivery.sink], run)
    return deliveries


def only_writes(sink: OutputSink) -> bool:
    """Return whether a sink stages nothing: such as a command that is told of the files that others stage."""
    return type(sink).prepare is OutputSink.prepare


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
            with working(sink):
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
