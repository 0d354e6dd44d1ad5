"""Running pipelines again and again in one process: each when something of it is due, and at the latest after an interval.

Must never hold: what a run does, or what is printed; how one is woken is its caller's.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Flag, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scepflow.records import PipelineRecord
    from scepflow.stages import Poller

__all__ = ["Daemon", "Order", "Orders", "next_step_at"]

_LONGEST_PAUSE_S = 600.0
"""A machine that slept may have a clock for sleeps that did not go on: the time of day is looked at this often."""

_SHORTEST_PAUSE_S = 1.0

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Order(Flag):
    """What a person, or whoever started the process, wants now."""

    RUN = auto()
    RELOAD = auto()
    STOP = auto()


class Orders(Protocol):
    """Where orders come from."""

    def wait(self, timeout_s: float) -> Order:
        """Return the orders that have come, at once if there are any, else after the timeout; each is given once."""

    @property
    def stopping(self) -> bool:
        """Whether an order to stop has come."""


def next_step_at(record: PipelineRecord, poller: Poller, now: datetime) -> datetime | None:
    """Return when a pipeline has something to do of itself: its next poll, its renewal, or the end of its certificate.

    Args:
        record: what the journal knows after a run.
        poller: the pipeline's; its times count from the first request.
        now: current time, aware UTC.
    """
    if record.open is None:
        facts = record.current.certificate if record.current else None
        moments = (record.renew_at, facts.not_after) if facts else ()
        return next((at for at in moments if at and at > now), None)
    begun_at, asked_at = record.open.begun_at, record.open.asked_at
    moment_at = begun_at if begun_at <= now else asked_at  # the clock was set back
    with suppress(Exception):  # a plugin's; the run has told of it
        for delay_s in poller.delays_s():
            moment_at += timedelta(seconds=delay_s)
            if moment_at > asked_at:
                return moment_at
    return None


@dataclass(kw_only=True)
class Daemon:
    """Runs pipeline files until it is told to stop.

    Attributes:
        files: the pipeline files, one or more.
        run: runs one and returns when it has something to do next, aware UTC, or None.
        rest: is called when all that was due has run.
        reload: reads the pipeline files anew.
        orders: where orders come from.
        now: the clock, aware UTC.
        interval: the longest time from the end of a run to the next one of the same pipeline, a second or more.
    """

    files: Sequence[str]
    run: Callable[[str], datetime | None]
    rest: Callable[[], None]
    reload: Callable[[], object]
    orders: Orders
    now: Callable[[], datetime]
    interval: timedelta

    def __post_init__(self) -> None:
        """Let every pipeline be due."""
        self._due_at = dict.fromkeys(self.files, _LONG_AGO)

    def serve(self) -> None:
        """Run what is due, and wait for what is due next, until an order to stop."""
        while not self.orders.stopping:
            self._run_due()
            if self.orders.stopping:
                return
            order = self.orders.wait(self._pause_s())
            if Order.RELOAD in order:
                self.reload()
            if order & (Order.RUN | Order.RELOAD):
                self._due_at = dict.fromkeys(self.files, _LONG_AGO)

    def _run_due(self) -> None:
        due = [file for file in self._due_at if self._is_due(file)]
        for file in due:
            if self.orders.stopping:
                break
            step_at = self.run(file)
            self._due_at[file] = self._next_at(step_at)
        if due:
            self.rest()

    def _is_due(self, file: str) -> bool:
        now, due_at = self.now(), self._due_at[file]
        return not now < due_at <= now + self.interval  # further away than that: the clock was set back

    def _next_at(self, step_at: datetime | None) -> datetime:
        """Return when to run again; what was due already and has not been done is tried after the interval."""
        now = self.now()
        latest_at = now + self.interval
        return min(step_at, latest_at) if step_at and step_at > now else latest_at

    def _pause_s(self) -> float:
        now = self.now()
        left_s = min((due_at - now).total_seconds() for due_at in self._due_at.values())
        return min(max(left_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
