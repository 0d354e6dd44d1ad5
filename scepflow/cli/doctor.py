"""``scepflow doctor``: what a CA offers, and how to pin it.

Must never hold: how it is found out; that is `scepflow.doctor`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from scepflow.cli import problems
from scepflow.cli.invocation import Invocation, common_options, plugin_option, terminal_width
from scepflow.cli.rehearsal import line_as_dict, stage_lines
from scepflow.cli.results import error_as_dict
from scepflow.cli.trees import tree_lines
from scepflow.cli.words import shout, with_exit_code
from scepflow.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.doctor import Diagnosis
    from scepflow.stages import Transport

__all__ = ["doctor"]


@click.command()
@click.argument("target", metavar="PIPELINE|URL")
@click.option("--identifier", metavar="TEXT", help="With a URL: which CA of a server with several.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON document.")
@common_options
@plugin_option
@click.pass_obj
def doctor(invocation: Invocation, *, target: str, identifier: str | None, as_json: bool) -> int:
    """Show what a CA offers, which keys it uses, and how to pin it.

    PIPELINE is a TOML file: its stages, its transport and its pins are examined too. A URL is asked directly. Only
    GetCACaps and GetCACert are sent, never a request.
    """
    diagnosis = _examine_url(invocation, target, identifier) if "://" in target else None
    if diagnosis is None:
        if identifier is not None:
            raise click.UsageError("--identifier goes with a URL; a pipeline has it in [ca].")
        diagnosis = _examine_file(invocation, target)
    if diagnosis is None:
        return PipelineError.exit_code
    code = diagnosis.exit_code
    if as_json:
        click.echo(json.dumps(_as_dict(diagnosis), indent=2, ensure_ascii=False))
    else:
        for line in with_exit_code(list(_screen(diagnosis)), code, terminal_width(sys.stdout) if code else 0):
            click.echo(line)
    if diagnosis.error:
        invocation.show_error(diagnosis.error)
    return code


def _examine_url(invocation: Invocation, url: str, identifier: str | None) -> Diagnosis:
    from scepflow.doctor import examine_url
    from scepflow.system import System

    direct = cast("type[Transport]", invocation.registry().stage("transport", "direct"))
    return examine_url(url, direct(), identifier=identifier, system=System())


def _examine_file(invocation: Invocation, file: str) -> Diagnosis | None:
    """Examine a pipeline, or show what is wrong with its file."""
    from scepflow.pipeline import check_pipeline

    report = check_pipeline(file, invocation.registry())
    problems.show(invocation, report)
    if report.pipeline is None:
        return None
    from scepflow.doctor import examine_pipeline
    from scepflow.system import System

    return examine_pipeline(report.pipeline, system=System())


def _as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "exit_code": diagnosis.exit_code,
        **diagnosis.document,
        "stages": [line_as_dict(line) for line in diagnosis.stages],
        "warnings": [{"code": warning.code, "text": warning.text} for warning in diagnosis.warnings],
        "pin_toml": "\n".join(diagnosis.pin_toml),
        "error": error_as_dict(diagnosis.error),
    }


_HIDDEN = ("subject", "role", "encrypts", "signs")
"""What a certificate's heading and sentences say already."""


def _screen(diagnosis: Diagnosis) -> Iterator[str]:
    document = diagnosis.document
    yield f"{click.style(document['target'], bold=True)}: only GetCACaps and GetCACert were sent"
    hidden = {"target", "certificates", *(["url"] if document["url"] == document["target"] else [])}
    shown = {name: value for name, value in document.items() if name not in hidden}
    shown["certificates"] = [
        {name: value for name, value in certificate.items() if name not in _HIDDEN}
        for certificate in document["certificates"]
    ]
    yield from tree_lines(shown)
    if diagnosis.stages:
        yield f"  {click.style('stages', bold=True)}"
        yield from (f"  {line}" for line in stage_lines(diagnosis.stages))
    for warning in diagnosis.warnings:
        yield f"  {shout('warning', 'yellow')}  {warning.text}"
    if diagnosis.pin_toml:
        yield f"  {click.style('to pin it', bold=True)}, once the CA's operator has confirmed the fingerprint:"
        yield from (f"    {line}" for line in diagnosis.pin_toml)
