"""The time until the next poll, counting down on a terminal; needs the extra ``rich``.

Must never hold: anything that the lines of `TextProgress` do not say as well.
"""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from scepflow.cli.progress import TextProgress
from scepflow.cli.words import duration
from scepflow.events import PollScheduled
from scepflow.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from scepflow.cli.invocation import Invocation
    from scepflow.events import Event

__all__ = ["Countdown", "LiveProgress"]


class Countdown:
    """A spinner and the time that is left.

    Args:
        poll: number of the poll that follows.
        delay_s: how long it takes, in seconds, 0 or more.
        monotonic_s: the clock.
    """

    def __init__(
        self, poll: int, delay_s: float, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._poll = poll
        self._monotonic_s = monotonic_s
        self._until_s = monotonic_s() + delay_s
        self._spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        left_s = max(0.0, self._until_s - self._monotonic_s())
        when = f"in {duration(ceil(left_s))}" if left_s else "now"
        self._spinner.update(text=f"  pending    poll {self._poll} {when} (Ctrl-C keeps the request)")
        return self._spinner


class LiveProgress(TextProgress):
    """Each event as a line, and a countdown below them while a poll is awaited."""

    def __init__(self, invocation: Invocation, console: Console | None = None) -> None:
        super().__init__(invocation)
        self._console = console or Console(stderr=True, no_color=invocation.color is False)
        self._live: Live | None = None

    @hookimpl
    def scepflow_event(self, event: Event) -> None:
        """Write the event; start or stop the countdown."""
        self.stop()
        if not isinstance(event, PollScheduled):
            super().scepflow_event(event)
            return
        countdown = Countdown(event.poll, event.delay_s)
        self._live = Live(countdown, console=self._console, transient=True, refresh_per_second=8)
        self._live.start()

    def stop(self) -> None:
        """Take the countdown off the screen."""
        if self._live:
            self._live.stop()
            self._live = None
