"""Gives a target its cases and keeps count: how each ended, the slowest, and what must not have happened.

A case is the seed, the target's name and a number; nothing else decides what is in
it. Must never hold: what a target is.
"""

from __future__ import annotations

import random
import resource
import signal
import time
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from targets import TARGETS

from scepflow.errors import ScepflowError
from scepflow.sscep.settings import SscepExit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from cases import Case, Target

SLOWEST_S = 1.0
"""A case that takes longer is a failure. Of processor time: what is measured never waits, but may have to wait its turn."""
MOST_GROWTH_BYTES = 200 << 20
MOST_FAILURES = 10
WARM_UP = 200  # cases before memory is measured: tables are built, modules loaded


class HangError(BaseException):
    """A case takes too long; no handler of ordinary errors may take it for one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that showed a bug, and where its input was kept."""

    target: str
    number: int
    what: str
    file: str


@dataclass(slots=True)
class Tally:
    """What came of some cases.

    Attributes:
        ends: layer and how it ended → how often.
        slowest: seconds of processor time of the slowest case, and its number.
        growth_bytes: how far the peak of memory rose.
    """

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    growth_bytes: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return self.ends.total()

    def add(self, other: Tally) -> None:
        self.ends += other.ends
        self.slowest = max(self.slowest, other.slowest)
        self.growth_bytes = max(self.growth_bytes, other.growth_bytes)
        self.failures += other.failures


def make_case(target: Target, seed: int, number: int) -> Case:
    """Return a case; the same arguments always give the same one."""
    return target.case(random.Random(f"{seed}/{target.name}/{number}"))


def run(
    name: str,
    *,
    seed: int,
    numbers: Iterable[int],
    keep: Path,
    tell: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Run cases of a target.

    Args:
        name: the target's.
        seed: the seed.
        numbers: the cases' numbers.
        keep: folder for the inputs of failures.
        tell: told of each number before its case begins.
    """
    return run_cases(TARGETS[name](), seed=seed, numbers=numbers, keep=keep, tell=tell)


def run_cases(
    target: Target,
    *,
    seed: int,
    numbers: Iterable[int],
    keep: Path,
    tell: Callable[[int], None] = lambda _: None,
    most_failures: int = MOST_FAILURES,
) -> Tally:
    """Run cases of a target that is there already, up to so many failures; arguments are those of `run`."""
    name = target.name
    tally = Tally()
    before = 0
    with time_limit(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for count, number in enumerate(numbers):
            if count == WARM_UP:
                before = _peak_bytes()
            tell(number)
            case = make_case(target, seed, number)
            end, seconds, what = run_one(target, case)
            tally.ends[case.layer, end] += 1
            tally.slowest = max(tally.slowest, (seconds, number))
            if what:
                tally.failures.append(Failure(name, number, what, _kept(keep, name, seed, number, case)))
                if len(tally.failures) == most_failures:
                    break
    tally.growth_bytes = _peak_bytes() - before if before else 0
    if tally.growth_bytes > MOST_GROWTH_BYTES:
        tally.failures.append(Failure(name, -1, f"memory grew by {tally.growth_bytes >> 20} MiB", ""))
    return tally


def run_one(target: Target, case: Case, limit_s: float = SLOWEST_S) -> tuple[str, float, str]:
    """Return how a case ended, its seconds, and what is wrong with that; only within `time_limit`."""
    what = ""
    begun = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        end = target.outcome(case)
        signal.setitimer(signal.ITIMER_PROF, 0)
    except (ScepflowError, SscepExit) as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        end = ended_at(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # also a panic of Rust, which is no Exception
        signal.setitimer(signal.ITIMER_PROF, 0)
        end = what = f"FAILURE {type(error).__name__}: {str(error)[:200]} at {_stage(error)}"
    seconds = time.process_time() - begun
    if seconds > limit_s and not what:
        end = what = f"FAILURE it took {seconds:.1f} s"
    return end, seconds, what


def ended_at(error: BaseException) -> str:
    """Return in which check or which function a case ended; what an error hides on purpose (S-050) counts."""
    while isinstance(error.__context__, ScepflowError):
        error = error.__context__
    check = getattr(error, "check", None)
    return f"check {check}" if check else _stage(error)


_TOOLS = ("engine.asn1", "engine.ber", "engine.checks")  # what everything is read with says little


def _stage(error: BaseException) -> str:
    stages = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        module = str(trace.tb_frame.f_globals.get("__name__"))
        if module.startswith("scepflow."):
            stages.append(f"{module.removeprefix('scepflow.')}.{code.co_name}")
        trace = trace.tb_next
    telling = [stage for stage in stages if not stage.startswith(_TOOLS)]
    return (telling or stages or [type(error).__name__])[-1]


def _kept(keep: Path, name: str, seed: int, number: int, case: Case) -> str:
    keep.mkdir(parents=True, exist_ok=True)
    file = keep / f"fuzz-{name}-{seed}-{number}.bin"
    file.write_bytes(case.data)
    return str(file)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise `HangError` when the timer of a case runs out."""

    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGPROF, too_long)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def limit_memory() -> None:
    """Let this process have no more than it has now and what a case may take."""
    has = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + MOST_GROWTH_BYTES + (64 << 20), resource.RLIM_INFINITY))


def work(pipe: Any, current: Any, name: str, seed: int, numbers: range, keep: Path) -> None:
    """Run cases in a process of their own: `Tally` goes into the pipe, the number of the case at work into a shared one.

    Args:
        pipe: the connection for the tally.
        current: a shared number.
        name: the target's.
        seed: the seed.
        numbers: the cases' numbers.
        keep: folder for the inputs of failures.
    """

    def tell(number: int) -> None:
        current.value = number

    run(name, seed=seed, numbers=numbers[:WARM_UP], keep=keep)
    limit_memory()
    pipe.send(run(name, seed=seed, numbers=numbers, keep=keep, tell=tell))
