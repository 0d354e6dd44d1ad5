"""A process that has imported everything and forks a child for each run that a test orders.

Started as a program: a job is one JSON line on standard input, its report one JSON
line on standard output. A killed run so costs a fork, not an interpreter. It has no
thread, since one that has forks badly. Must never hold: what a run must have done.
"""

from __future__ import annotations

import gc
import itertools
import os
import pkgutil
import resource
import secrets
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import points
from cryptography.hazmat.primitives.asymmetric import rsa
from power_loss_recorder import Recorder, Step

from scepflow.errors import ScepflowError
from scepflow.events import RequestSent, Warned
from scepflow.hookspecs import hookimpl
from scepflow.pipeline import load_pipeline
from scepflow.registry import Registry
from scepflow.runner import run_pipeline
from scepflow.stages import KeySource
from scepflow.state import StateDirectory
from scepflow.system import System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scepflow.pipeline import Pipeline

_KEYS = 5
_COMMANDS = (
    "scepflow.cli",
    "scepflow.sscep",
    "scepflow.testing",
    "scepflow.__main__",
    "scepflow.testca",
    "urllib3.contrib",
)
_LONGEST_S = 30
_STILL = ("fsync", "sql INSERT", "sql UPDATE", "sql DELETE")
"""A death there is one at the next point: the kernel has what was written, and SQLite what it shall write."""


class Job(msgspec.Struct, kw_only=True):
    """One child.

    Attributes:
        pipeline: its file.
        state: the state directory.
        root: the folder whose points count.
        at: the point at which it happens, from 1; 0 is never.
        among: only the points count that begin with this.
        what: it is killed at that point (``kill``), the disk is full there (``full``), or from there on (``full-on``); or all is recorded (``record``).
        outside: what is recorded apart, since it is not on the disk.
        kill_after_s: when it is killed from outside; 0 is never.
        largest_bytes: no file grows beyond; 0 is no limit.
        later_days: how far its clock is ahead.
        renew: renew though nothing is due.
        runs: so many, one after the other.
    """

    pipeline: str
    state: str
    root: str
    at: int = 0
    among: str = ""
    what: str = "kill"
    outside: list[str] = []
    kill_after_s: float = 0
    largest_bytes: int = 0
    later_days: float = 0
    renew: bool = False
    runs: int = 1


class Report(msgspec.Struct, kw_only=True):
    """What became of a child.

    Attributes:
        killed: whether it was killed.
        points: the points that it reached.
        steps: what was recorded.
        sent: message type and transaction id of every pki_message.
        warned: codes and texts of its warnings.
        ends: what each run did, or its error, and its exit code.
        bug: a traceback, should one have come out.
        took_s: how long it lived.
    """

    killed: bool = False
    points: list[str] = []
    steps: list[Step] = []
    sent: list[tuple[str, str]] = []
    warned: list[str] = []
    ends: list[tuple[str, int]] = []
    bug: str = ""
    took_s: float = 0


class Nursery:
    """The process, as tests see it."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process

    def run(self, job: Job) -> Report:
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Report)


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Give a nursery until the context ends."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        yield Nursery(process)
        process.stdin.close()


def main() -> None:
    """Work off the jobs, with the same umask wherever the tests run."""
    os.umask(0o022)
    registry = Registry.discover()
    registry.register(_pool_plugin(), "pool")
    registry.stages()
    _import_all("scepflow", "scepflow_bundled", "filelock", "http", "urllib3")
    gc.disable()  # a collection would copy every page that a child shares with this process
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        report = _bear(job, load_pipeline(job.pipeline, registry))
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()


def _pool_plugin() -> object:
    keys = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(_KEYS)]

    class PoolKeySource(KeySource, frozen=True, kw_only=True, tag="pool"):
        """A key of those made beforehand: by chance one that an earlier run has not had, as with ``generate``."""

        def obtain(self, run):
            return secrets.choice(keys)

    class Pool:
        @hookimpl
        def scepflow_key_sources(self):
            return [PoolKeySource]

    return Pool()


def _import_all(*packages: str) -> None:
    for package in packages:
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.startswith(_COMMANDS):
                with suppress(ImportError):  # what urllib3 has for others
                    import_module(module.name)


def _bear(job: Job, pipeline: Pipeline) -> Report:
    """Fork, and tell what has become of the child."""
    read, write = os.pipe()
    began_s = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(read)
        _live(job, pipeline, partial(_tell, write))
    os.close(write)
    if job.kill_after_s:
        time.sleep(job.kill_after_s)
        os.kill(child, signal.SIGKILL)
    report = Report()
    with os.fdopen(read, "rb") as told:
        for line in told:
            name, value = msgspec.json.decode(line)
            kept = getattr(report, name)
            setattr(report, name, [*kept, value] if isinstance(kept, list) else value)
    _, status = os.waitpid(child, 0)
    report.killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    report.took_s = time.monotonic() - began_s
    return report


def _tell(descriptor: int, name: str, value: object) -> None:
    os.write(descriptor, msgspec.json.encode((name, value)) + b"\n")


def _live(job: Job, pipeline: Pipeline, tell: Callable[[str, object], None]) -> None:
    """Be the child; never returns."""
    signal.alarm(_LONGEST_S)
    try:
        if job.largest_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job.largest_bytes, job.largest_bytes))
        if job.what == "record":
            database = str(StateDirectory(Path(job.state)).journal.path)
            recorder = Recorder(job.root, database=database, outside=job.outside, tell=tell)
            recorder.watch()
            tell = recorder.tell
        else:
            points.watch(job.root, _reach(job, tell))
        system = System(now=lambda: datetime.now(UTC) + timedelta(days=job.later_days))
        for _ in range(job.runs):
            tell("ends", _run(job, pipeline, tell, system))
    except BaseException:  # noqa: BLE001  # all that comes out is a bug
        tell("bug", traceback.format_exc())
    finally:
        os._exit(0)


def _run(
    job: Job, pipeline: Pipeline, tell: Callable[[str, object], None], system: System
) -> tuple[str, int]:
    def emit(event):
        if isinstance(event, RequestSent):
            tell("sent", (event.message_type, event.transaction_id))
        elif isinstance(event, Warned):
            tell("warned", f"{event.code}: {event.text}")

    try:
        outcome = run_pipeline(
            pipeline,
            emit=emit,
            state=StateDirectory(Path(job.state)),
            system=system,
            renew=job.renew,
        )
    except ScepflowError as error:
        return f"{type(error).__name__}: {error.message}", error.exit_code
    failed = "; ".join(delivery.error.message for delivery in outcome.deliveries if delivery.error)
    return failed or outcome.action, outcome.exit_code


def _reach(job: Job, tell: Callable[[str, object], None]) -> points.Reach:
    numbers = itertools.count(1)

    def kill(what: str, _full: Exception | None) -> None:
        if what not in _STILL:
            if next(numbers) == job.at:
                os.kill(os.getpid(), signal.SIGKILL)
            tell("points", what)

    def fill(what: str, full: Exception | None) -> None:
        if full is not None and what.startswith(job.among):
            number = next(numbers)
            tell("points", what)
            if number == job.at or (job.what == "full-on" and number > job.at > 0):
                raise full

    return kill if job.what == "kill" else fill


if __name__ == "__main__":
    main()
