"""``scepflow plugins``: which stages are installed. Must never hold: how plugins are found."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli.invocation import Invocation, common_options, plugin_option
from scepflow.cli.words import shout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.registry import Registry, StageInfo

__all__ = ["plugins"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON document.")
@common_options
@plugin_option
@click.pass_obj
def plugins(invocation: Invocation, *, as_json: bool) -> None:
    """List the stages that are installed, and broken plugins."""
    registry = invocation.registry()
    if as_json:
        click.echo(json.dumps(_document(registry), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_screen(registry)))


def _screen(registry: Registry) -> Iterator[str]:
    """Yield the stages by kind, in the order a run meets them, then what is broken."""
    stages = registry.stages()
    width = max((len(stage.name) for stage in stages), default=0)
    origins = {stage.origin for stage in stages}
    for kind, group in groupby(stages, key=lambda stage: stage.kind):
        table = "[sink.NAME]" if kind == "sink" else f"[{kind}]"
        found = list(group)
        yield f"{click.style(table, bold=True)}  {found[0].cls.kind}"
        for stage in sorted(found, key=lambda stage: stage.name):
            yield f"  {stage.name:{width}}  {stage.summary.rstrip('.')}" + _shown_origin(stage, origins)
        yield ""
    if len(origins) == 1:
        yield f"all from {origins.pop()}"
    for problem in registry.problems:
        yield f"{shout('problem:', 'red')} {problem.message}"
        if problem.hint:
            yield f"  {click.style('hint:', bold=True)} {problem.hint}"


def _shown_origin(stage: StageInfo, origins: set[str]) -> str:
    return click.style(f"  ({stage.origin})", dim=True) if len(origins) > 1 else ""


def _document(registry: Registry) -> dict[str, Any]:
    names = ("kind", "name", "summary", "plugin", "distribution", "version")
    return {
        "stages": [{name: getattr(stage, name) for name in names} for stage in registry.stages()],
        "problems": [
            {"plugin": problem.plugin, "message": problem.message, "hint": problem.hint}
            for problem in registry.problems
        ],
    }
