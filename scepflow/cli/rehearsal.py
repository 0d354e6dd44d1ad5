"""The screen of ``scepflow run --dry-run``. Must never hold: what is tried; that is `scepflow.dryrun`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli import problems
from scepflow.cli.invocation import terminal_width
from scepflow.cli.results import error_as_dict, warnings_of
from scepflow.cli.words import shout, with_exit_code
from scepflow.errors import PipelineError
from scepflow.pipeline import check_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepflow.cli.invocation import Invocation
    from scepflow.dryrun import Line
    from scepflow.events import Event
    from scepflow.registry import Registry
    from scepflow.state import StateDirectory

__all__ = ["line_as_dict", "rehearse_file", "stage_lines"]

_COLORS = {"ok": "green", "FAIL": "red", "-": "yellow"}


def rehearse_file(
    file: str,
    *,
    registry: Registry,
    invocation: Invocation,
    state: StateDirectory,
    orders: dict[str, bool],
    as_json: bool,
) -> dict[str, Any]:
    """Rehearse one pipeline file, print how it went, and return it as JSON-able values.

    Args:
        file: the pipeline file.
        registry: where its stages are found.
        invocation: how much is told.
        state: what earlier runs have left.
        orders: ``again``, ``renew`` and ``enroll``, as the run would have them.
        as_json: whether nothing is printed, because the caller prints JSON.
    """
    report = check_pipeline(file, registry)
    invocation.heed_interruption()
    problems.show(invocation, report)
    document: dict[str, Any] = {"pipeline": Path(file).stem, "problems": problems.as_dicts(report)}
    if report.pipeline is None:
        return document | {"exit_code": PipelineError.exit_code, "lines": []}
    from scepflow.dryrun import exit_code, rehearse
    from scepflow.system import System

    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        registry.emit(event)

    lines = rehearse(report.pipeline, emit=emit, system=System(), state=state, **orders)
    invocation.heed_interruption()
    code, warnings = exit_code(lines), warnings_of(events)
    if not as_json and (code or invocation.verbosity >= 0):
        screen = list(_screen(report.pipeline.name, lines, warnings))
        for text in with_exit_code(screen, code, terminal_width(sys.stdout) if code else 0):
            click.echo(text)
    return document | {
        "exit_code": code,
        "lines": [line_as_dict(line) for line in lines],
        "warnings": warnings,
    }


def _screen(name: str, lines: Sequence[Line], warnings: Sequence[dict[str, str]]) -> Iterator[str]:
    heading = click.style(f"dry run of {name}:", bold=True)
    yield f"{heading} nothing is sent that could issue a certificate or use up a challenge"
    width = _width(lines)
    yield from stage_lines(lines)
    for warning in warnings:
        label = shout("warning".ljust(width), "yellow")
        yield f"  {label}        {warning['text']}"


def _width(lines: Sequence[Line]) -> int:
    return max(9, *(len(line.topic) for line in lines))


def stage_lines(lines: Sequence[Line]) -> Iterator[str]:
    """Yield how each part would go, with what to do where it would fail."""
    width = _width(lines)
    for line in lines:
        yield f"  {line.topic:{width}}  {shout(f'{line.status:4}', _COLORS[line.status])}  {line.text}"
        if line.error and line.error.hint:
            yield from (f"  {'':{width}}        {hint}" for hint in line.error.hint.splitlines())


def line_as_dict(line: Line) -> dict[str, Any]:
    """Return how a part would go as JSON-able values."""
    return {
        "topic": line.topic,
        "status": line.status,
        "text": line.text,
        "error": error_as_dict(line.error),
    }
