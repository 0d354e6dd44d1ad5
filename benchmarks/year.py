"""A year of a fleet's life in simulated time: real runs, a real journal, the test CA in memory.

Every pipeline enrolls within the first hour. A timer runs each once an hour; hours
in which nothing is due are skipped but for one run a week. One contact with the CA
in twenty fails. Printed: renewals by day, the fullest day, what expired (nothing may).

    python -m benchmarks.year [PIPELINES] [SEED]
"""

from __future__ import annotations

import collections
import random
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.errors import ScepflowError, TransportError
from scepflow.pipeline import CaOptions, Pipeline, RenewOptions
from scepflow.runner import run_pipeline
from scepflow.stages import KeySource, OutputSink, Poller, Transport
from scepflow.state import StateDirectory
from scepflow.system import System
from scepflow.testca import Authority, Knobs, Responder
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.signers import AutoSigner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.engine.identity import Credential
    from scepflow.stages import Connection, PrivateKey, Run

BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
LIFE_DAYS = 90
HOUR = timedelta(hours=1)
LOST = 0.05


@dataclass
class World:
    """The clock, the CA and the luck of all."""

    luck: random.Random
    now: datetime = BEGIN
    renewals: collections.Counter[int] = field(default_factory=collections.Counter)
    expired: int = 0
    failures: int = 0
    runs: int = 0

    def __post_init__(self) -> None:
        authority = Authority.create(now=BEGIN - timedelta(days=1), random_bytes=self.luck.randbytes)
        self.authority = authority
        self.responder = Responder(authority, Knobs(days=LIFE_DAYS), now=lambda: self.now)
        self.keys = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(8)]

    def send(self, request: HttpRequest) -> HttpResponse:
        """Answer, or not."""
        if self.luck.random() < LOST:
            raise TransportError("the server hung up", retryable=True)
        return self.responder.handle(request)


class PooledKey(KeySource, frozen=True, kw_only=True, tag="pooled"):
    """One of a few keys, since making one is not what is measured."""

    world: Any

    def obtain(self, run: Run) -> PrivateKey:  # noqa: ARG002  # the fleet has few keys
        """Return one."""
        return self.world.luck.choice(self.world.keys)


class InMemory(Transport, frozen=True, kw_only=True, tag="in-memory"):
    """The CA of the world."""

    world: Any

    @contextmanager
    def connect(self, run: Run) -> Iterator[Connection]:  # noqa: ARG002  # one CA for all
        """Give it."""
        yield self.world


class Never(Poller, frozen=True, kw_only=True, tag="never"):
    """Asks once."""

    def delays_s(self) -> Iterator[float]:
        """Yield nothing."""
        return iter(())


class Nowhere(OutputSink, frozen=True, kw_only=True, tag="nowhere"):
    """Takes everything."""

    def write(self, issued: Credential, run: Run) -> None:
        """Do nothing."""


def simulate(count: int, seed: int, directory: Path) -> World:
    """Live through a year."""
    world = World(random.Random(seed))  # a simulation
    state = StateDirectory(directory)
    system = System(now=lambda: world.now, monotonic_s=lambda: 0.0, random_bytes=world.luck.randbytes)
    pipelines = [_pipeline(f"gw{number:04}", world, directory) for number in range(count)]
    next_run = [BEGIN + HOUR * (number / count) for number in range(count)]
    not_after = [BEGIN] * count
    calendar: dict[datetime, list[int]] = collections.defaultdict(list)
    for number, at in enumerate(next_run):
        calendar[at].append(number)
    end = BEGIN + timedelta(days=365)
    while calendar:
        at = min(calendar)
        numbers = calendar.pop(at)
        if at >= end:
            break
        world.now = at
        for number in numbers:
            first = not_after[number] == BEGIN
            again_at, not_after[number] = _run(
                pipelines[number], world, state, system, until=not_after[number], first=first
            )
            calendar[again_at].append(number)
    return world


def _run(
    pipeline: Pipeline, world: World, state: StateDirectory, system: System, *, until: datetime, first: bool
) -> tuple[datetime, datetime]:
    """Return when the timer has something to do for it again, and how long its certificate lives."""
    world.runs += 1
    world.expired += not first and until <= world.now
    try:
        outcome = run_pipeline(pipeline, emit=lambda _event: None, state=state, system=system, wait_s=0)
    except ScepflowError:
        world.failures += 1
        return world.now + HOUR, until
    if outcome.action == "renewed":
        world.renewals[(world.now - BEGIN).days] += 1
    due_in = outcome.renew_at - world.now
    hours = max(1, min(-(-due_in // HOUR), 24 * 7))
    return world.now + HOUR * hours, outcome.certificate.not_after


def _pipeline(name: str, world: World, directory: Path) -> Pipeline:
    return Pipeline(
        name=name,
        file=directory / f"{name}.toml",
        ca=CaOptions(url="http://pki.example.com/scep", fingerprint=f"sha256:{world.authority.fingerprint}"),
        key=PooledKey(world=world),
        csr=SubjectCsrBuilder(subject=f"CN={name}"),
        signer=AutoSigner(),
        transport=InMemory(world=world),
        poller=Never(),
        renew=RenewOptions(),
        sinks={"nowhere": Nowhere()},
    )


def main() -> None:
    """Print the year."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1  # the second argument
    with tempfile.TemporaryDirectory() as directory:
        world = simulate(count, seed, Path(directory))
    renewals = world.renewals
    print(f"{count} pipelines, seed {seed}: {world.runs} runs, {world.failures} failed")
    print(f"{renewals.total()} renewals, {world.expired} runs found an expired certificate")
    fullest, number = renewals.most_common(1)[0]
    print(f"fullest day {fullest}: {number} renewals, {number / count:.1%} of the fleet")
    for day in range(365):
        if renewals[day]:
            print(f"day {day:3} {renewals[day]:4} {'#' * (renewals[day] * 60 // number)}")


if __name__ == "__main__":
    main()
