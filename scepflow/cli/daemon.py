"""``scepflow daemon``: pipelines kept up to date by a process in the foreground, for containers and where no timer is.

Must never hold: when a pipeline is due, or how it is run.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import click

from scepflow.cli.invocation import Invocation, common_options, exit_code_of, plugin_option
from scepflow.cli.places import metrics_option, open_state, state_option
from scepflow.cli.progress import progress_for
from scepflow.cli.results import common_code
from scepflow.cli.runs import Runs, print_results, run_pipeline
from scepflow.daemon import Daemon, Order, next_step_at
from scepflow.errors import OptionError, PipelineError, ScepflowError
from scepflow.options import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

    from scepflow.cli.results import Result
    from scepflow.pipeline import Report
    from scepflow.state import StateDirectory

__all__ = ["Signals", "daemon"]

_ORDERS = {
    signal.SIGHUP: Order.RELOAD,
    signal.SIGUSR1: Order.RUN,
    signal.SIGTERM: Order.STOP,
    signal.SIGINT: Order.STOP,
}


class _Interval(click.ParamType[timedelta]):
    """A duration, one second or more."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return it."""
        try:
            seconds = Duration(value)
        except OptionError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        if seconds < 1:
            self.fail("less than a second leaves the CA no rest", param, ctx)
        return timedelta(seconds=min(seconds, timedelta(days=366).total_seconds()))


@click.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE…")
@click.option(
    "--interval",
    type=_Interval(),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="Run each pipeline this often, though nothing is due.",
)
@state_option
@metrics_option
@common_options
@plugin_option
@click.pass_obj
def daemon(
    invocation: Invocation,
    *,
    pipelines: tuple[str, ...],
    interval: timedelta,
    state_dir: Path | None,
    metrics: Path | None,
) -> int:
    """Run pipelines in the foreground whenever something is due.

    That is a poll, a renewal, or the interval. SIGHUP reads the pipeline files again and runs all, SIGUSR1 runs all,
    SIGTERM and Ctrl-C end it after the pipeline in work; the second one ends it at once, and nothing is lost either way.
    """
    with Signals(invocation) as signals:
        runs = _runs(invocation, state_dir, metrics)
        try:
            if not runs.read(pipelines):
                return PipelineError.exit_code
            runs.serve(signals, interval)
        except KeyboardInterrupt as interrupt:
            runs.tell_interruption()
            return exit_code_of(interrupt)
        return signals.exit_code


def _runs(invocation: Invocation, state_dir: Path | None, metrics: Path | None) -> KeptRuns:
    registry = invocation.registry()
    progress, state = progress_for(invocation), open_state(state_dir)
    registry.register(progress, "progress")
    return KeptRuns(
        invocation=invocation,
        registry=registry,
        progress=progress,
        work=partial(run_pipeline, state=state, wait_s=0.0),
        state=state,
        metrics=metrics,
    )


@dataclass(kw_only=True)
class KeptRuns(Runs):
    """The runs of a process that reads a pipeline file once and runs it often.

    Attributes:
        state: the state directory.
        metrics: the file of ``--metrics``, or None.
        reports: the pipeline files as read, the latest version of each that has no errors.
        ended: results of the runs since the last rest.
    """

    state: StateDirectory
    metrics: Path | None = None
    reports: dict[str, Report] = field(default_factory=dict)
    ended: list[Result] = field(default_factory=list)

    def read(self, files: Sequence[str]) -> bool:
        """Read pipeline files; of one with errors the version before it stays.

        Returns:
            Whether any of them can be run.
        """
        for file in files:
            report, before = super().report(file), self.reports.get(file)
            if report.pipeline is None and before and before.pipeline:
                self.invocation.error_line(f"{file}: has errors; the version read before stays in force")
            else:
                self.reports[file] = report
        return any(report.pipeline for report in self.reports.values())

    def report(self, file: str) -> Report:
        """Return a pipeline file as it was read."""
        return self.reports[file]

    def serve(self, signals: Signals, interval: timedelta) -> None:
        """Run what is due until a signal ends it."""
        files = tuple(self.reports)
        Daemon(
            files=files,
            run=self._run_one,
            rest=self._rest,
            reload=lambda: self.read(files),
            orders=signals,
            now=lambda: datetime.now(UTC),
            interval=interval,
        ).serve()

    def _run_one(self, file: str) -> datetime | None:
        """Run one pipeline and return when it has something to do next."""
        self.ended += self.results([file])
        if self.pipeline is None:
            return None
        with suppress(ScepflowError):  # the run has told that the state cannot be used
            record = self.state.journal.pipeline(self.state.place(self.pipeline.file))
            return next_step_at(record, self.pipeline.poller, datetime.now(UTC)) if record else None
        return None

    def _rest(self) -> None:
        """Show what came of the runs."""
        if self.invocation.verbosity < 0 or not self.invocation.json_log:  # events have told all
            code = common_code(result.exit_code for result in self.ended)
            print_results(self.invocation, self.ended, code)
        self.ended.clear()
        if self.metrics:
            self.write_metrics(self.metrics, self.state)


class Signals:
    """Orders that come as signals; outside of ``with`` they mean what they meant before.

    A signal that the process was started to ignore stays ignored.
    """

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._stop_number: int | None = None
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._reader, writer = os.pipe()
        for descriptor in (self._reader, writer):
            self._undo.callback(os.close, descriptor)
            os.set_blocking(descriptor, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._undo.callback(signal.set_wakeup_fd, before)
        for number in _ORDERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._undo.callback(signal.signal, number, signal.signal(number, self._arrived))
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        """Remember an order to stop; the second one is obeyed at once."""
        if _ORDERS[signal.Signals(number)] is not Order.STOP:
            return
        if self._stop_number is not None:
            self._invocation.interrupt(number, frame)
        self._stop_number = number

    @property
    def stopping(self) -> bool:
        """Whether an order to stop has come."""
        return self._stop_number is not None

    @property
    def exit_code(self) -> int:
        """0 for SIGTERM, 130 for Ctrl-C."""
        return 0 if self._stop_number == signal.SIGTERM else 128 + signal.SIGINT

    def wait(self, timeout_s: float) -> Order:
        """Return the orders that have come, at once if there are any, else after the timeout."""
        select.select([self._reader], [], [], timeout_s)
        orders = Order(0)
        with suppress(BlockingIOError):
            for number in os.read(self._reader, 4096):
                orders |= _ORDERS[signal.Signals(number)] if number in _ORDERS else Order(0)
        return orders
