"""Pollers: when to ask again for a certificate that is pending.

Must never hold: a clock or a sleep; the runner owns both.
"""

from __future__ import annotations

from itertools import islice, repeat
from typing import TYPE_CHECKING, Annotated

import msgspec

from scepflow.errors import OptionError
from scepflow.options import Duration
from scepflow.stages import Poller

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BackoffPoller", "FixedPoller"]


class FixedPoller(Poller, frozen=True, kw_only=True, tag="fixed"):
    """Ask again at a fixed interval.

        [poller]
        use = "fixed"
        interval = "5m"
        max_time = "8h"

    Attributes:
        interval: time between two polls, 1 second or more (or "0s", together with ``max_count``).
        max_time: stop when the waits would add up to more than this.
        max_count: stop after this many polls; 0 asks only once, without a poll. Left out: no limit.
        wait: ``false`` asks once and does not poll; while the CA decides, the run exits 3.
    """

    interval: Duration = Duration("60s")
    max_time: Duration = Duration("8h")
    max_count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    wait: bool = True

    def __post_init__(self) -> None:
        """Refuse intervals that would hammer a server."""
        _check_interval(self.interval, self.max_count)

    def delays_s(self) -> Iterator[float]:
        """Yield the interval until a limit is reached."""
        if self.wait:
            yield from _limited(repeat(float(self.interval)), self.max_time, self.max_count)


class BackoffPoller(Poller, frozen=True, kw_only=True, tag="backoff"):
    """Ask again at growing intervals.

        [poller]
        use = "backoff"
        interval = "60s"
        max_interval = "15m"
        max_time = "8h"

    Attributes:
        interval: time before the first poll, 1 second or more (or "0s", together with ``max_count``).
        factor: each wait is this many times the one before it, 1 to 10.
        max_interval: the waits grow no further than this.
        max_time: stop when the waits would add up to more than this.
        max_count: stop after this many polls; 0 asks only once, without a poll. Left out: no limit.
        wait: ``false`` asks once and does not poll; while the CA decides, the run exits 3.
    """

    interval: Duration = Duration("60s")
    factor: Annotated[float, msgspec.Meta(ge=1, le=10)] = 2.0
    max_interval: Duration = Duration("15m")
    max_time: Duration = Duration("8h")
    max_count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    wait: bool = True

    def __post_init__(self) -> None:
        """Refuse intervals that would hammer a server."""
        _check_interval(self.interval, self.max_count)

    def delays_s(self) -> Iterator[float]:
        """Yield growing delays until a limit is reached."""
        if self.wait:
            yield from _limited(self._growing(), self.max_time, self.max_count)

    def _growing(self) -> Iterator[float]:
        delay_s = float(self.interval)
        # An interval above max_interval is what the user wrote first: it stays, and does not grow.
        cap_s = max(delay_s, self.max_interval)
        while True:
            yield delay_s
            delay_s = min(delay_s * self.factor, cap_s)


def _check_interval(interval: Duration, max_count: int | None) -> None:
    if 0 < interval < 1:
        raise OptionError(
            "an interval below one second hammers the server", where="interval", hint='"1s" or more'
        )
    if not interval and max_count is None:
        raise OptionError("an interval of 0 never ends", where="interval", hint="set max_count as well")


def _limited(delays_s: Iterable[float], max_time_s: float, max_count: int | None) -> Iterator[float]:
    """Yield delays while their sum is at most max_time_s and their number at most max_count."""
    waited_s = 0.0
    for delay_s in islice(delays_s, max_count):
        waited_s += delay_s
        if waited_s > max_time_s:
            return
        yield delay_s
