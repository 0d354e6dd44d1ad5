"""``scepflow import``: the pipeline that does what an sscep command or its configuration file does, on stdout.

Must never hold: what an option of sscep's means.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from scepflow.cli.invocation import common_options

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["import_"]

_EXIT_USAGE = 64
_EXIT_FILE = 78


@click.group("import")
@common_options
def import_() -> None:
    """Print the pipeline that does what an sscep command does.

    Comments say what has no equivalent. Check the result with `scepflow validate`.
    """


@import_.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--operation",
    type=click.Choice(["enroll", "getca", "getcaps", "getnextca", "getcert", "getcrl"]),
    default="enroll",
    show_default=True,
    help="Whose settings to take.",
)
def sscep(file: str, operation: str) -> int:
    """Print the pipeline for an sscep configuration FILE, in either of its syntaxes."""
    return _print([operation, "-f", file], origin=f"sscep's configuration {file}", wrong=_EXIT_FILE)


@import_.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- sscep OPERATION …")
def cmdline(words: tuple[str, ...]) -> int:
    """Print the pipeline for an sscep command line, program name included."""
    words = words[1:] if words[0] == "--" else words
    return _print(words[1:], origin=f"the command sscep {words[1] if words[1:] else ''}".rstrip())


def _print(arguments: Sequence[str], *, origin: str, wrong: int = _EXIT_USAGE) -> int:
    """Print the pipeline; return 0, or as scepflow has it: 78 for a file, and ``wrong`` for what else is wrong."""
    from scepflow.sscep.comments import commented_pipeline
    from scepflow.sscep.options import parse_arguments
    from scepflow.sscep.settings import Exit, SscepExit

    try:
        settings = parse_arguments(arguments, program="sscep", environment=os.environ, complete=False)
        text = commented_pipeline(settings, origin=origin)
    except SscepExit as end:
        for line in (*end.stdout_lines, *end.stderr_lines):
            click.echo(line, err=True)
        return _EXIT_FILE if end.code == Exit.FILE else wrong
    for line in settings.notes:
        click.echo(line, err=True)
    click.echo(text, nl=False)
    return 0
