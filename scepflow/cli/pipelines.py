"""``scepflow validate``, ``explain`` and ``schema``: what a pipeline file says, without running it.

Must never hold: validation itself, or an import that opens connections or makes keys.
"""

from __future__ import annotations

import json
import sys

import click

from scepflow.cli import problems
from scepflow.cli.invocation import Invocation, common_options, plugin_option, terminal_width
from scepflow.cli.words import with_exit_code
from scepflow.errors import PipelineError

__all__ = ["explain", "schema", "validate"]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON document.")
@common_options
@plugin_option
@click.pass_obj
def validate(invocation: Invocation, *, files: tuple[str, ...], as_json: bool) -> int:
    """Find every mistake in pipeline files at once.

    Each is shown as file:line:column with the line itself. No key is made, no connection opened, no secret read.
    """
    from scepflow.pipeline import check_pipeline, render

    registry = invocation.registry()
    reports = [check_pipeline(file, registry) for file in files]
    code = PipelineError.exit_code if any(report.errors for report in reports) else 0
    if as_json:
        documents = [report.as_dict() for report in reports]
        click.echo(json.dumps({"exit_code": code, "files": documents}, indent=2, ensure_ascii=False))
    elif code or invocation.verbosity >= 0:
        for line in with_exit_code(render(*reports), code, terminal_width(sys.stdout) if code else 0):
            click.echo(line)
    return code


@click.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print the values as one JSON document.")
@common_options
@plugin_option
@click.pass_obj
def explain(invocation: Invocation, *, file: str, as_json: bool) -> int:
    """Show each value of a pipeline that is in force, and its origin.

    Of a secret only the origin is shown.
    """
    from scepflow.pipeline import InvalidPipelineError
    from scepflow.pipeline.explain import explain as explained

    try:
        explanation = explained(file, invocation.registry())
    except InvalidPipelineError as error:
        problems.show(invocation, error.report)
        return error.exit_code
    if as_json:
        click.echo(json.dumps(explanation.as_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(explanation.lines()))
    return 0


@click.command()
@common_options
@plugin_option
@click.pass_obj
def schema(invocation: Invocation) -> None:
    """Print the JSON Schema of pipeline files, for editors.

    It is of draft 07, and knows the options of every stage that is installed.
    """
    from scepflow.pipeline.schema import pipeline_schema

    click.echo(json.dumps(pipeline_schema(invocation.registry()), indent=2, ensure_ascii=False))
