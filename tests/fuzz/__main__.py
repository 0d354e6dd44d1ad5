"""Fuzz what reads the bytes of servers and users, each case drawn from a seed.

    python -m tests.fuzz COUNT SEED [--target NAME]… [--processes N] [--first NUMBER] [--keep FOLDER]

COUNT cases of each target. Printed: rate, slowest case, memory, how the cases ended.
The input of a failure is kept in FOLDER; its target, seed and number make it again:
``python -m tests.fuzz 1 SEED --target NAME --first NUMBER``. Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "engine")]

from harness import Failure, Tally, work  # noqa: E402  # found by the line above
from targets import TARGETS  # noqa: E402  # as well

if TYPE_CHECKING:
    from collections.abc import Iterator

_STUCK_S = 120.0  # without a new case; the timer of a case cannot stop what runs outside of Python


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("count", type=int, metavar="COUNT", help="cases of each target")
    parser.add_argument("seed", type=int, metavar="SEED", help="decides what is in them")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="all unless given")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="share the work (default 1)")
    parser.add_argument(
        "--first", type=int, default=0, metavar="NUMBER", help="number of the first case (default 0)"
    )
    keep = Path(tempfile.gettempdir()) / "scepflow-fuzz"
    parser.add_argument("--keep", type=Path, default=keep, metavar="FOLDER", help=f"default {keep}")
    return parser.parse_args()


class _Worker:
    """A process that runs some of a target's cases."""

    def __init__(self, name: str, numbers: range, options: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.current: Any = context.RawValue("q", -1)
        self.pipe, theirs = context.Pipe(duplex=False)
        arguments = (theirs, self.current, name, options.seed, numbers, options.keep)
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self._seen = (-2, time.monotonic())

    def result(self) -> Tally | None:
        """Return what came of the cases, a failure if the process died or is stuck, or None while it works."""
        if self.pipe.poll():
            try:
                return self.pipe.recv()  # type: ignore[no-any-return]  # what `work` sends
            except EOFError:
                self.process.join()
                return self._failed(f"the process ended with {self.process.exitcode}")
        if self.current.value != self._seen[0]:
            self._seen = (self.current.value, time.monotonic())
        elif time.monotonic() - self._seen[1] > _STUCK_S:
            self.process.kill()
            return self._failed(f"stuck for {_STUCK_S:.0f} s")
        return None

    def _failed(self, what: str) -> Tally:
        return Tally(failures=[Failure(self.name, self.current.value, what, "")])


def _run_target(name: str, options: argparse.Namespace) -> Tally:
    numbers = range(options.first, options.first + options.count)
    workers = [_Worker(name, numbers[at :: options.processes], options) for at in range(options.processes)]
    tally = Tally()
    while workers:
        wait([worker.pipe for worker in workers], timeout=5)
        for worker in list(workers):
            result = worker.result()
            if result is not None:
                tally.add(result)
                workers.remove(worker)
    return tally


def _report(name: str, tally: Tally, *, seconds: float, seed: int) -> Iterator[str]:
    slowest, number = tally.slowest
    yield (
        f"{name}: {tally.cases:,} cases, seed {seed}, {seconds:.0f} s, {tally.cases / seconds:,.0f}/s, "
        f"slowest {slowest * 1000:.0f} ms (number {number}), memory +{tally.growth_bytes / (1 << 20):.0f} MiB, "
        f"{len(tally.failures)} failures"
    )
    layers: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for (layer, end), count in tally.ends.items():
        layers[layer] += count
        ends[end] += count
    for title, counts in (("changed", layers), ("ended at", ends)):
        yield f"  {title}"
        yield from (f"    {n:>9,}  {n / tally.cases:>6.1%}  {what}" for what, n in counts.most_common())
    for failure in tally.failures:
        yield f"  FAILED number {failure.number}: {failure.what} {failure.file}"


def main() -> int:
    options = _arguments()
    failed = False
    for name in options.target or TARGETS:
        begun = time.monotonic()
        tally = _run_target(name, options)
        lines = _report(name, tally, seconds=time.monotonic() - begun, seed=options.seed)
        sys.stdout.write("\n".join((*lines, "", "")))
        sys.stdout.flush()
        failed = failed or bool(tally.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
