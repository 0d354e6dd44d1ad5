"""``scepflow status``: how every pipeline stands, and what happens next.

Must never hold: what the eight states mean; that is `scepflow.standing`. Or an
import of cryptography: a look must be cheap.
"""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from scepflow.cli.invocation import Invocation, common_options, terminal_width
from scepflow.cli.places import open_state, records_of, state_option
from scepflow.cli.words import shout, until
from scepflow.standing import standing_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepflow.records import PipelineRecord
    from scepflow.standing import Standing

__all__ = ["status"]

_COLORS = {"valid": "green", "pending": "yellow", "due": "yellow", "degraded": "yellow", "new": "cyan"}
"""Of states; what is not here is red."""

_STATES = """\b
States:
  new       no certificate and no request yet
  pending   the CA has the request and decides
  valid     nothing to do
  due       to be renewed
  degraded  issued, but not delivered everywhere
  rejected  the CA said no, and is not asked again unchanged
  blocked   a person must look
  expired   no valid certificate any more"""

_HEADINGS = ("PIPELINE", "STATE", "EXPIRES", "RENEWS", "NEXT")
_LEAST_NEXT = 30
"""Columns below which the last column goes on a line of its own."""


@click.command(epilog=_STATES)
@click.argument("pipelines", nargs=-1, metavar="[PIPELINE]…")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as one JSON document.")
@state_option
@common_options
@click.pass_obj
def status(
    invocation: Invocation,  # noqa: ARG001  # holds the options that all commands have
    *,
    pipelines: tuple[str, ...],
    as_json: bool,
    state_dir: Path | None,
) -> None:
    """Show how pipelines stand, and what happens next.

    PIPELINE is a TOML file, or the name of one that has run; without any, all that have run are shown. Nothing is
    sent, and the exit code is 0 whatever they stand like.
    """
    state, now = open_state(state_dir), datetime.now(UTC)
    found = [(record, _standing(record, now)) for record in records_of(state, pipelines)]
    if as_json:
        document = {"pipelines": [_as_dict(*known) for known in found]}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif found:
        for line in table_lines(found, now=now, width=terminal_width(sys.stdout)):
            click.echo(line)
    else:
        click.echo(f"no pipeline has run with its state in {state.path}")


def _standing(record: PipelineRecord, now: datetime) -> Standing:
    standing = standing_of(record, now)
    if Path(record.file).exists():
        return standing
    return replace(standing, then=f"{record.file} is gone: no run goes on with it")


def _as_dict(record: PipelineRecord, standing: Standing) -> dict[str, Any]:
    known = msgspec.to_builtins(record)
    return {"pipeline": known.pop("name"), "state": standing.state, "next": standing.then, **known}


def table_lines(
    found: Sequence[tuple[PipelineRecord, Standing]], *, now: datetime, width: int
) -> Iterator[str]:
    """Yield the table.

    Args:
        found: pipelines and how they stand, one or more.
        now: current time, aware UTC.
        width: columns of the terminal; 0 when there is none, and then nothing is wrapped.
    """
    rows = [_cells(record, standing, now) for record, standing in found]
    widths = [max(map(len, column)) for column in zip(_HEADINGS[:4], *(row[:4] for row in rows), strict=True)]
    before = sum(widths) + 2 * len(widths)
    yield click.style("  ".join([*map(str.ljust, _HEADINGS, widths), _HEADINGS[4]]), bold=True)
    for row in rows:
        name, state, *dates = map(str.ljust, row, widths)
        start = "  ".join([click.style(name, bold=True), shout(state, _COLORS.get(row[1], "red")), *dates])
        yield from _with_next(start, row[4], before=before, width=width)


def _with_next(start: str, text: str, *, before: int, width: int) -> Iterator[str]:
    """Yield a row whose last column is wrapped below itself, or below the row where it would be too narrow."""
    if not width:
        yield f"{start}  {text}"
        return
    narrow = width - before < _LEAST_NEXT
    indent = 4 if narrow else before
    room = max(width - indent, _LEAST_NEXT)
    first, *more = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    if narrow:
        yield start.rstrip()
        more = [first, *more] if text != "-" else []
    else:
        yield f"{start}  {first}"
    yield from (" " * indent + line for line in more)


def _cells(record: PipelineRecord, standing: Standing, now: datetime) -> tuple[str, ...]:
    facts = record.current.certificate if record.current else None
    expires = until(facts.not_after, now) if facts else "-"
    return record.name, standing.state, expires, _renews(record, standing, now), standing.then or "-"


def _renews(record: PipelineRecord, standing: Standing, now: datetime) -> str:
    if record.renew_at is None or standing.state == "expired":
        return "-"
    return f"{record.renew_at:%Y-%m-%d}" if record.renew_at > now else "overdue"
