"""``scepflow history``: what has become of pipelines, line by line. Must never hold: what is written down; runs do that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from scepflow.cli.invocation import Invocation, common_options
from scepflow.cli.places import open_state, records_of, state_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepflow.records import Happening

__all__ = ["history"]

_COLORS = {
    "issued": "green",
    "renewed": "green",
    "delivered": "green",
    "adopted": "green",
    "pending": "yellow",
    "rolled-back": "yellow",
}
"""Of what happened; what is not here is red."""


@click.command()
@click.argument("pipeline", required=False)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most the latest N lines; 1000 of each pipeline are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON document.")
@state_option
@common_options
@click.pass_obj
def history(
    invocation: Invocation,  # noqa: ARG001  # holds the options that all commands have
    *,
    pipeline: str | None,
    limit: int,
    as_json: bool,
    state_dir: Path | None,
) -> None:
    """Show what has happened, the oldest first.

    PIPELINE is a TOML file, or the name of one that has run; without it all are shown. A run that changes nothing, or
    that fails as the one before, leaves no line. Times are UTC.
    """
    state = open_state(state_dir)
    places = [record.place for record in records_of(state, [pipeline])] if pipeline else [None]
    found = [happening for place in places for happening in state.journal.history(place, limit=limit)]
    found = sorted(found, key=lambda happening: happening.at)[-limit:]
    if as_json:
        document = {"happenings": msgspec.to_builtins(found)}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif found:
        for line in _lines(found):
            click.echo(line)
    else:
        click.echo(f"nothing has happened with its state in {state.path}")


def _lines(found: Sequence[Happening]) -> Iterator[str]:
    names, kinds = (
        max(map(len, column)) for column in zip(*((h.pipeline, h.kind) for h in found), strict=True)
    )
    for happening in found:
        name = click.style(happening.pipeline.ljust(names), bold=True)
        kind = click.style(happening.kind.ljust(kinds), fg=_COLORS.get(happening.kind, "red"), bold=True)
        yield f"{happening.at:%Y-%m-%d %H:%M:%S}  {name}  {kind}  {happening.text}"
