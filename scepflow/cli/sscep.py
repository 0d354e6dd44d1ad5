"""``scepflow sscep`` and the console script ``scepflow-sscep``: a drop-in for the command sscep.

Must never hold: what an option means, or a line of sscep's.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from scepflow.cli.invocation import common_options

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "sscep"]

_EXIT_INTERRUPTED = 128 + signal.SIGINT


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["--help"],  # -h is sscep's
    },
)
@common_options
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sscep(arguments: tuple[str, ...]) -> int:
    """Do what the command sscep does, with its options and files.

    Operations: getca, getnextca, getcaps, enroll, getcert, getcrl, and mkrequest; without one, sscep's usage. Lines and
    exit codes are sscep's; so is -v, which comes after the operation.
    """
    return _run(arguments, "sscep")


def _run(arguments: Sequence[str], program: str) -> int:
    from scepflow.registry import Registry
    from scepflow.sscep.front import run_sscep
    from scepflow.state import StateDirectory, default_state_path

    registry = Registry.discover()
    if arguments[:1] == ("mkrequest",):
        return _mkrequest(arguments[1:], program, registry)
    state = StateDirectory(default_state_path(os.environ, root=os.geteuid() == 0).absolute())
    return run_sscep(arguments, program=program, environment=os.environ, registry=registry, state=state)


def _mkrequest(arguments: Sequence[str], program: str, registry: object) -> int:
    from scepflow.sscep.mkrequest import make_request
    from scepflow.sscep.settings import SscepExit

    code = 0
    try:
        made = make_request(
            arguments,
            program=f"{program} mkrequest",
            registry=registry,  # type: ignore[arg-type]  # a Registry, whose import only a call pays for
            environment=os.environ,
            directory=Path.cwd(),
        )
        stdout, stderr = made.stdout_lines, made.stderr_lines
    except SscepExit as end:
        code, stdout, stderr = end.code, end.stdout_lines, end.stderr_lines
    for line in stdout:
        click.echo(line)
    for line in stderr:
        click.echo(line, err=True)
    return code


def main() -> NoReturn:
    """Run as a command of its own, which may be linked as ``sscep``."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file here, always
    try:
        code = _run(tuple(sys.argv[1:]), Path(sys.argv[0]).name)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read the lines has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code)
