"""What is wrong with a pipeline file, shown by the commands that do something else than validate it.

Must never hold: validation.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from scepflow.cli.invocation import terminal_width
from scepflow.cli.words import with_exit_code
from scepflow.errors import PipelineError
from scepflow.pipeline import render

if TYPE_CHECKING:
    from scepflow.cli.invocation import Invocation
    from scepflow.pipeline import Report

__all__ = ["as_dicts", "show"]


def show(invocation: Invocation, report: Report) -> None:
    """Show the errors of a file with their lines, or its warnings unless quiet."""
    if invocation.json_log:
        for problem in as_dicts(report):
            place = {key: problem[key] for key in ("file", "line", "column", "hint")}
            invocation.error_line(problem["message"], level=problem["severity"], **place)
    elif report.errors or (report.warnings and invocation.verbosity >= 0):
        lines = render(report)
        if report.errors:
            lines = with_exit_code(lines, PipelineError.exit_code, terminal_width(sys.stderr))
        else:
            lines.pop()  # warnings need not be counted
        for line in lines:
            invocation.error_line(line)


def as_dicts(report: Report) -> list[dict[str, Any]]:
    """Return errors and warnings as JSON-able values."""
    found = report.as_dict()
    errors = [{"severity": "error", **problem} for problem in found["errors"]]
    return errors + [{"severity": "warning", **problem} for problem in found["warnings"]]
