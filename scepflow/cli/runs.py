"""The runs of a command, one pipeline after the other: errors at once on stderr, results at the end on stdout.

Must never hold: what a run does, or how a result looks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli import problems
from scepflow.cli.invocation import exit_code_of, terminal_width
from scepflow.cli.progress import progress_for
from scepflow.cli.results import Result, common_code, result_lines, summary
from scepflow.cli.words import duration, plain_url, with_exit_code
from scepflow.errors import PendingError, PipelineError, RejectedError, ScepflowError, StateError
from scepflow.events import CertificateIssued, RequestSent, RunFinished
from scepflow.pipeline import check_pipeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepflow.cli.invocation import Invocation
    from scepflow.cli.progress import JsonProgress, TextProgress
    from scepflow.events import Event
    from scepflow.pipeline import Pipeline, Report
    from scepflow.registry import Registry
    from scepflow.runner import Outcome
    from scepflow.state import StateDirectory

__all__ = ["Runs", "Work", "print_json", "print_results", "run_all", "run_pipeline"]

Work = Callable[["Pipeline", Callable[["Event"], None]], "Outcome"]
"""What is done with each pipeline, given whom to tell events."""


def run_pipeline(
    pipeline: Pipeline, emit: Callable[[Event], None], *, state: StateDirectory, **orders: Any
) -> Outcome:
    """Run a pipeline; what a run needs is imported only now."""
    from scepflow.runner import run_pipeline

    return run_pipeline(pipeline, emit=emit, state=state, **orders)


def run_all(
    invocation: Invocation,
    registry: Registry,
    files: Sequence[str],
    *,
    work: Work,
    as_json: bool,
    state: StateDirectory | None = None,
    metrics: Path | None = None,
) -> int:
    """Do something with each pipeline file, show what came of it, and return the exit code.

    Args:
        invocation: how much is told, and how.
        registry: where stages are found; the progress is registered with it.
        files: the pipeline files; one that fails stops no other.
        work: what to do.
        as_json: whether the results are one JSON document.
        state: where it is noted that a pipeline file cannot be run, and what ``metrics`` come from; None where the work
            is no run.
        metrics: the file of ``--metrics``, or None.
    """
    progress = progress_for(invocation)
    registry.register(progress, "progress")
    runs = Runs(invocation=invocation, registry=registry, progress=progress, work=work, state=state)
    try:
        results = runs.results(files)
    except KeyboardInterrupt as interrupt:
        runs.tell_interruption()
        return exit_code_of(interrupt)
    if metrics and state:
        runs.write_metrics(metrics, state)
    code = common_code(result.exit_code for result in results)
    if as_json:
        print_json({"exit_code": code, "pipelines": [result.as_dict() for result in results]})
    else:
        print_results(invocation, results, code)
    return code


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_results(invocation: Invocation, results: Sequence[Result], code: int) -> None:
    """Print what was issued; of a single pipeline that gave nothing, the error has said it all."""
    if invocation.verbosity < 0:
        for result in results:
            _tell_undelivered(invocation, result)
        return
    if len(results) == 1 and not results[0].valid:
        return
    width = max(8, *(len(result.pipeline) for result in results))
    brief = sys.stdout.isatty() and sys.stderr.isatty()
    lines = [line for result in results for line in result_lines(result, width=width, brief=brief)]
    if len(results) > 1:
        lines.append(summary(results))
    for line in with_exit_code(lines, code, terminal_width(sys.stdout) if code else 0):
        click.echo(line)


def _tell_undelivered(invocation: Invocation, result: Result) -> None:
    """Say what to do where a sink failed; that it did, progress has told."""
    for delivery in result.deliveries:
        if delivery.error and delivery.error.hint:
            invocation.error_line(f"{result.pipeline}: hint: {delivery.error.hint}")


@dataclass
class Runs:
    """The runs of one command, one after the other.

    Attributes:
        invocation: what the command line said.
        registry: is told every event.
        progress: the display among those who are told.
        work: what is done with each pipeline.
        state: where it is noted that a pipeline file cannot be run, or None.
        waiting: the files that have not been run.
        pipeline: the one in work.
        events: its events so far.
        latest: what came of the latest run of each pipeline file, absolute, and when.
    """

    invocation: Invocation
    registry: Registry
    progress: TextProgress | JsonProgress
    work: Work
    state: StateDirectory | None = None
    waiting: list[str] = field(default_factory=list)
    pipeline: Pipeline | None = None
    events: tuple[Event, ...] = ()
    latest: dict[Path, tuple[Result, datetime]] = field(default_factory=dict)

    def results(self, files: Sequence[str]) -> list[Result]:
        """Run pipeline files; one that fails stops no other."""
        self.waiting = list(files)
        return [self._result(self.waiting.pop(0)) for _ in files]

    def _result(self, file: str) -> Result:
        """Run a pipeline file, and tell at once what went wrong."""
        self.pipeline, self.events = None, ()
        report = self.report(file)
        found = problems.as_dicts(report)
        if report.pipeline is None:
            ended: dict[str, Any] = {"outcome": "invalid", "exit_code": PipelineError.exit_code}
            self._note_unreadable(file, found)
        else:
            self.pipeline = report.pipeline
            ended = self._run(report.pipeline)
        name = self.pipeline.name if self.pipeline else Path(file).stem
        result = Result(pipeline=name, events=self.events, problems=found, **ended)
        self.latest[Path(file).absolute()] = result, datetime.now(UTC)
        return result

    def _note_unreadable(self, file: str, found: Sequence[dict[str, Any]]) -> None:
        """Note that the pipeline could not be run, so that its status says it."""
        if self.state is None:
            return
        from scepflow.runner import note_unreadable

        errors = [problem for problem in found if problem["severity"] == "error"]
        message = f"{file}: {errors[0]['message'] if errors else 'cannot be read'}"
        hint = f"`scepflow validate {file}` shows all that is wrong with it"
        with suppress(StateError):  # what is wrong with the file is told already
            note_unreadable(
                self.state, Path(file).absolute(), message=message, hint=hint, at=datetime.now(UTC)
            )

    def report(self, file: str) -> Report:
        """Read a pipeline file, and show what is wrong with it."""
        report = check_pipeline(file, self.registry)
        self.invocation.heed_interruption()
        problems.show(self.invocation, report)
        return report

    def _run(self, pipeline: Pipeline) -> dict[str, Any]:
        try:
            outcome = self.work(pipeline, self._emit)
        except ScepflowError as error:
            self.invocation.heed_interruption()
            self._show(error, pipeline)
            finished = self._told(RunFinished)
            word = finished.outcome if finished else "failed"
            return {"outcome": word, "exit_code": error.exit_code, "error": error}
        except Exception as error:  # noqa: BLE001  # a bug must not keep other pipelines from their certificates
            self.invocation.heed_interruption()
            self.invocation.show_bug(error)
            return {"outcome": "failed", "exit_code": 1}
        finally:
            self.progress.stop()
        if outcome.pending:
            self._show(outcome.pending, pipeline)
        return {
            "outcome": outcome.word,
            "action": outcome.action,
            "exit_code": outcome.exit_code,
            "certificate": outcome.certificate,
            "renew_at": outcome.renew_at,
            "deliveries": outcome.deliveries,
            "error": outcome.pending,
        }

    def _show(self, error: ScepflowError, pipeline: Pipeline) -> None:
        """Show an error; that the CA decides is none, and whoever wants no more than errors is not told each time."""
        if not (isinstance(error, PendingError) and self.invocation.verbosity < 0):
            self.invocation.show_error(error, context=self._context(pipeline), kept=self._kept(error))

    def _kept(self, error: ScepflowError) -> str:
        """Say what a failure after the request has left leaves behind."""
        if not self._told(RequestSent) or isinstance(error, PendingError | RejectedError):
            return ""
        return "key and request; the CA may have granted it, and the next run asks"

    def _emit(self, event: Event) -> None:
        self.events += (event,)
        self.registry.emit(event)

    def _context(self, pipeline: Pipeline) -> list[str]:
        """Say where an error happened."""
        sent, finished = self._told(RequestSent), self._told(RunFinished)
        return [
            f"pipeline {pipeline.name}",
            *([f"transaction {sent.transaction_id}"] if sent else []),
            plain_url(pipeline.ca.url),
            *([duration(finished.elapsed_s)] if finished else []),
        ]

    def _told(self, kind: type[Event]) -> Any:
        return next((event for event in reversed(self.events) if isinstance(event, kind)), None)

    def write_metrics(self, path: Path, state: StateDirectory) -> None:
        """Replace the file of ``--metrics``; where it cannot be, that is said, and changes nothing else."""
        from scepflow.metrics import Sample, write_metrics

        try:
            known = {record.place: record for record in state.journal.pipelines()}
            samples = [
                Sample(
                    name=result.pipeline,
                    file=str(file),
                    record=known.pop(state.place(file), None),
                    exit_code=result.exit_code,
                    ended_at=ended_at,
                )
                for file, (result, ended_at) in self.latest.items()
            ]
            samples += [  # else the series of what other timers run would come and go
                Sample(
                    name=record.name,
                    file=record.file,
                    record=record,
                    exit_code=record.exit_code,
                    ended_at=record.ended_at,
                )
                for record in known.values()
                if record.ended_at and Path(record.file).exists()
            ]
            write_metrics(path, samples, datetime.now(UTC))
        except OSError as error:
            self.invocation.error_line(f"cannot write {path}: {error.strerror}")
        except StateError as error:
            self.invocation.show_error(error)

    def tell_interruption(self) -> None:
        """Say in one line what is kept, and what was not begun."""
        if sys.stderr.isatty():
            self.invocation.say("")  # closes the line with the terminal's ^C
        rest = f"; not run: {', '.join(self.waiting)}" if self.waiting else ""
        name = f"{self.pipeline.name} " if self.pipeline else ""
        self.invocation.error_line(f"{name}interrupted: {self._standing()}{rest}")

    def _standing(self) -> str:
        """Say how far the run came, and what it leaves."""
        if not self._told(RequestSent):
            return "nothing was sent"
        if self._told(RunFinished):
            return "it had ended"
        if self._told(CertificateIssued):
            return "the certificate was issued and is kept; the next run delivers it"
        return "the request was sent and is kept; the next run asks for its certificate"
