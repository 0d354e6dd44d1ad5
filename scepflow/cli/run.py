"""``scepflow run``: the only verb that a timer needs.

Must never hold: how a certificate is got, or how a result looks.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli import problems
from scepflow.cli.invocation import Invocation, common_options, exit_code_of, plugin_option, terminal_width
from scepflow.cli.kept import kept_in
from scepflow.cli.progress import progress_for
from scepflow.cli.rehearsal import rehearse_file
from scepflow.cli.results import Result, common_code, result_lines, summary
from scepflow.cli.words import duration, plain_url, with_exit_code
from scepflow.errors import PendingError, PipelineError, RejectedError, ScepflowError
from scepflow.events import CertificateIssued, RequestSent, RunFinished
from scepflow.pipeline import check_pipeline
from scepflow.state import StateDirectory, default_state_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepflow.cli.progress import JsonProgress, TextProgress
    from scepflow.events import Event
    from scepflow.pipeline import Pipeline
    from scepflow.registry import Registry

__all__ = ["run"]


@click.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE…")
@click.option("--dry-run", is_flag=True, help="Try everything but the request; nothing is issued or used up.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON document.")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where keys and pending requests are kept. Otherwise SCEPFLOW_STATE_DIR, /var/lib/scepflow for root, "
    "or ~/.local/state/scepflow.",
)
@common_options
@plugin_option
@click.pass_obj
def run(
    invocation: Invocation,
    *,
    pipelines: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    state_dir: Path | None,
) -> int:
    """Get a certificate by each pipeline and deliver it.

    PIPELINE is a TOML file; of several, one that fails stops no other. Progress goes to stderr, results to stdout.
    """
    registry = invocation.registry()
    if dry_run:
        return _rehearse_all(invocation, registry, pipelines, as_json=as_json)
    progress = progress_for(invocation)
    registry.register(progress, "progress")
    state = StateDirectory((state_dir or default_state_path(os.environ, root=os.geteuid() == 0)).absolute())
    runner = _Runs(invocation=invocation, registry=registry, progress=progress, state=state)
    try:
        results = runner.results(pipelines)
    except KeyboardInterrupt as interrupt:
        runner.tell_interruption()
        return exit_code_of(interrupt)
    code = common_code(result.exit_code for result in results)
    if as_json:
        _print_json({"exit_code": code, "pipelines": [result.as_dict() for result in results]})
    else:
        _print_results(invocation, results, code)
    return code


def _print_json(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print_results(invocation: Invocation, results: Sequence[Result], code: int) -> None:
    """Print what was issued; of a single pipeline that gave nothing, the error has said it all."""
    if invocation.verbosity < 0:
        for result in results:
            _tell_undelivered(invocation, result)
        return
    if len(results) == 1 and not results[0].certified:
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
    if result.certified and result.kept_at:
        invocation.error_line(f"{result.pipeline}: kept: {result.kept}, in {result.kept_at}")


@dataclass
class _Runs:
    """The runs of one command, one after the other."""

    invocation: Invocation
    registry: Registry
    progress: TextProgress | JsonProgress
    state: StateDirectory
    waiting: list[str] = field(default_factory=list)
    pipeline: Pipeline | None = None
    events: tuple[Event, ...] = ()

    def results(self, files: Sequence[str]) -> list[Result]:
        """Run pipeline files; one that fails stops no other."""
        self.waiting = list(files)
        return [self._result(self.waiting.pop(0)) for _ in files]

    def _result(self, file: str) -> Result:
        """Run a pipeline file, and tell at once what went wrong."""
        self.pipeline, self.events = None, ()
        report = check_pipeline(file, self.registry)
        self.invocation.heed_interruption()
        problems.show(self.invocation, report)
        found = problems.as_dicts(report)
        if report.pipeline is None:
            name = Path(file).stem
            return Result(pipeline=name, outcome="invalid", exit_code=PipelineError.exit_code, problems=found)
        self.pipeline = report.pipeline
        ended = self._run(report.pipeline)
        return Result(pipeline=report.pipeline.name, events=self.events, problems=found, **ended)

    def _run(self, pipeline: Pipeline) -> dict[str, Any]:
        from scepflow.runner import run_pipeline

        try:
            outcome = run_pipeline(pipeline, emit=self._emit, state=self.state)
        except ScepflowError as error:
            self.invocation.heed_interruption()
            ended = self._kept()
            self.invocation.show_error(error, context=self._context(pipeline), kept=_said(ended, error))
            words = {PendingError: "pending", RejectedError: "rejected"}
            word = words.get(type(error), "failed")
            return {"outcome": word, "exit_code": error.exit_code, "error": error, **ended}
        except Exception as error:  # noqa: BLE001  # a bug must not keep other pipelines from their certificates
            self.invocation.heed_interruption()
            self.invocation.show_bug(error)
            return {"outcome": "failed", "exit_code": 1, **self._kept()}
        finally:
            self.progress.stop()
        word = "degraded" if outcome.exit_code else "issued"
        return {
            "outcome": word,
            "exit_code": outcome.exit_code,
            "deliveries": outcome.deliveries,
            **self._kept(),
        }

    def _kept(self) -> dict[str, str]:
        """Return what this run left in its attempt's folder, and where, or nothing."""
        sent = self._told(RequestSent)
        if not (sent and self.pipeline):
            return {}
        path = self.state.attempt(self.pipeline.file, sent.transaction_id).path
        kept = kept_in(path)
        return {"kept": kept, "kept_at": str(path)} if kept else {}

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
            return "nothing was sent and nothing is kept"
        issued, left = self._told(CertificateIssued), self._kept()
        if not left:
            return "its certificate was issued and delivered" if issued else "it had ended; nothing is kept"
        so_far = (
            "the certificate was issued" if issued else "the request was sent, and the CA may still grant it"
        )
        return f"{so_far}; {left['kept']} {'is' if ' and ' not in left['kept'] else 'are'} kept in {left['kept_at']}"


def _said(left: dict[str, str], error: ScepflowError) -> str:
    """Say what an error leaves behind, unless its own hint does."""
    if not left or left["kept_at"] in (error.hint or ""):
        return ""
    granted = "" if isinstance(error, PendingError) else "; the CA may have granted the request"
    return f"{left['kept']}, in {left['kept_at']}{granted}"


def _rehearse_all(invocation: Invocation, registry: Registry, files: Sequence[str], *, as_json: bool) -> int:
    if invocation.json_log:
        registry.register(progress_for(invocation), "progress")
    rehearsals = [
        rehearse_file(file, registry=registry, invocation=invocation, as_json=as_json) for file in files
    ]
    code = common_code(rehearsal["exit_code"] for rehearsal in rehearsals)
    if as_json:
        _print_json({"dry_run": True, "exit_code": code, "pipelines": rehearsals})
    return code
