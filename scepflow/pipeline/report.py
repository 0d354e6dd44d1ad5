"""What was found in a pipeline file, and how it is shown.

Source lines are shown only as far as they are known to hold no secret: a value
is masked unless validation has cleared it. Must never hold: validation.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scepflow.errors import PipelineError
from scepflow.pipeline.fields import LOGIN
from scepflow.pipeline.locate import Span
from scepflow.pipeline.syntax import TomlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.pipeline.load import Document
    from scepflow.pipeline.locate import KeyPath, Source
    from scepflow.pipeline.model import Pipeline

__all__ = ["InvalidPipelineError", "MoreFoundError", "Report", "render"]

_CONTEXT = 100  # characters of a line shown before and after the place in question
_LONGEST = 4096  # characters of a value that is shown; a longer one is masked


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that was found in a pipeline file.

    Attributes:
        file: the file as the user named it.
        pipeline: the pipeline, or None when there are errors.
        errors: what must be put right, in the order of the files and their lines.
        warnings: what works and should be looked at.
        document: the tables as read, or None when they could not be.
        cleared: where values stand that may be shown: file name and key path.
    """

    file: str
    pipeline: Pipeline | None = None
    errors: tuple[PipelineError, ...] = ()
    warnings: tuple[PipelineError, ...] = ()
    document: Document | None = field(default=None, repr=False)
    cleared: frozenset[tuple[str, KeyPath]] = field(default=frozenset(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "file": self.file,
            "valid": not self.errors,
            "errors": [_as_dict(error) for error in self.errors],
            "warnings": [_as_dict(warning) for warning in self.warnings],
        }


class MoreFoundError(PipelineError):
    """What was found in a file besides all that is listed."""


class InvalidPipelineError(PipelineError):
    """A pipeline file with errors, all of them.

    Args:
        report: what was found; it has one error or more.
    """

    def __init__(self, report: Report) -> None:
        first = report.errors[0]
        more = f" (and {_count(len(report.errors) - 1, 'more error')})" if len(report.errors) > 1 else ""
        super().__init__(
            first.message + more,
            file=first.file,
            line=first.line,
            column=first.column,
            where=first.where,
            hint=first.hint,
        )
        self.report = report
        self.errors = report.errors
        self.warnings = report.warnings


def render(*reports: Report) -> list[str]:
    """Return reports as lines for a terminal: each finding with its source line, then the count."""
    lines = [line for report in reports for line in _findings(report)]
    errors = sum(len(report.errors) for report in reports)
    warnings = sum(len(report.warnings) for report in reports)
    if not errors and not warnings:
        return [f"{report.file}: ok" for report in reports]
    counts = [_count(errors, "error")] * bool(errors) + [_count(warnings, "warning")] * bool(warnings)
    return [*lines, f"{', '.join(counts)} in {_count(len(reports), 'file')}"]


def _findings(report: Report) -> Iterator[str]:
    both = [(error, "error") for error in report.errors] + [(w, "warning") for w in report.warnings]
    files = list(dict.fromkeys(finding.file for finding, _ in both))
    both.sort(key=lambda item: (files.index(item[0].file), *_order(item[0])))
    for finding, severity in both:
        place = [str(part) for part in (finding.file, finding.line, finding.column) if part is not None]
        yield f"{':'.join(place)}: {severity}: {finding.message}"
        source = _source_of(report, finding)
        if isinstance(finding, TomlError) and finding.excerpt:
            yield f"{finding.line:4} | {finding.excerpt}"
            yield f"     | {' ' * (finding.caret - 1)}^ {finding.hint or ''}".rstrip()
        elif source is not None and finding.line and finding.column:
            yield from _marked(report, source, finding)
        elif finding.hint:
            yield f"     {finding.hint}"


def _order(finding: PipelineError) -> tuple[bool, int, int]:
    return isinstance(finding, MoreFoundError), finding.line or 0, finding.column or 0


def _source_of(report: Report, finding: PipelineError) -> Source | None:
    sources = report.document.sources if report.document else ()
    return next((source for source in sources if source.name == finding.file), None)


def _marked(report: Report, source: Source, finding: PipelineError) -> Iterator[str]:
    """Yield the source line with its number, and a line with carets below the culprit."""
    assert finding.line is not None
    assert finding.column is not None
    line = source.line(finding.line)
    start = line.start + finding.column - 1
    line = Span(max(line.start, start - _CONTEXT), min(line.end, start + _CONTEXT))
    end = min(source.ends.get(start, start + 1), line.end)
    cells = list(_cells(report, source, line))
    before = sum(offset < start for offset, _ in cells)
    marked = sum(start <= offset < end for offset, _ in cells)
    yield f"{finding.line:4} | {''.join(text for _, text in cells).rstrip()}"
    yield f"     | {' ' * before}{'^' * max(1, marked)} {finding.hint or ''}".rstrip()


def _cells(report: Report, source: Source, line: Span) -> Iterator[tuple[int, str]]:
    """Yield what may be shown of a line: offset and character, one for all of a masked value."""
    at = line.start
    for path, value in source.leaves(line):
        start = max(value.start, at)
        yield from _visible(source.text, at, start)
        if (source.name, path) in report.cleared and value.end - value.start <= _LONGEST:
            whole = _visible(source.text, *value)  # a login is masked before the value is cut to the line
            yield from ((offset, char) for offset, char in whole if line.start <= offset < line.end)
        else:
            yield start, "…"
        at = min(value.end, line.end)
    comment = source.text.find("#", at, line.end)  # a comment may hold an old secret
    yield from _visible(source.text, at, line.end if comment < 0 else comment)


def _visible(text: str, start: int, stop: int) -> Iterator[tuple[int, str]]:
    shown = LOGIN.sub(lambda match: "*" * (len(match[0]) - 1) + "@", text[start:stop]).replace("\t", " ")
    for offset, char in enumerate(shown, start):
        yield offset, "�" if unicodedata.category(char).startswith("C") else char


def _as_dict(finding: PipelineError) -> dict[str, Any]:
    return {
        "message": finding.message,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "where": finding.where,
        "hint": finding.hint,
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
