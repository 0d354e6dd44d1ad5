"""Delivering a credential to every sink: prepare all, then commit each; one that fails stops no other.

Must never hold: how a sink writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepflow.errors import ScepflowError
from scepflow.events import SinkDelivered, SinkFailed
from scepflow.faults import working
from scepflow.stages import OutputSink, Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["Delivery", "deliver"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one sink; ``error`` is None when it delivered."""

    sink: str
    detail: str
    error: ScepflowError | None = None


def deliver(
    sinks: Mapping[str, OutputSink], credential: Credential, run: Run, *, monotonic_s: Callable[[], float]
) -> tuple[Delivery, ...]:
    """Deliver to every sink and tell of each.

    Sinks that stage their output are committed before those that only write, so
    that a reload command or a notification finds the files in place.

    Args:
        sinks: the sinks by the names of their tables.
        credential: key, certificate and chain.
        run: the run.
        monotonic_s: a clock for durations.

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
        elapsed_s[name] += monotonic_s() - started_s

    try:
        for name, sink in sinks.items():
            attempt(name, lambda: prepared.update({name: sink.prepare(credential, run)}))  # noqa: B023  # called at once
        for name in sorted(prepared, key=lambda name: type(sinks[name]).prepare is OutputSink.prepare):
            attempt(name, prepared[name].commit)
    finally:
        for output in prepared.values():  # nothing staged is left behind; what is committed is not touched
            output.discard()
    for name, sink in sinks.items():
        _tell(name, sink, failures.get(name), elapsed_s[name], run)
    return tuple(Delivery(name, sink.describe(), failures.get(name)) for name, sink in sinks.items())


def _tell(name: str, sink: OutputSink, error: ScepflowError | None, elapsed_s: float, run: Run) -> None:
    if error is None:
        detail = sink.describe()
        run.emit(
            SinkDelivered(pipeline=run.pipeline, at=run.now(), sink=name, detail=detail, elapsed_s=elapsed_s)
        )
    else:
        run.emit(SinkFailed(pipeline=run.pipeline, at=run.now(), sink=name, error=error.message))
