"""``scepflow sscep`` and the console script ``scepflow-sscep``: a drop-in for the command sscep.

Must never hold: what an option means, or a line of sscep's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from scepflow.cli.invocation import Invocation, common_options, exit_code_of
from scepflow.cli.streams import open_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "sscep"]


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
    from scepflow.sscep.output import Screen
    from scepflow.sscep.settings import SscepExit

    try:
        made = make_request(
            arguments,
            program=f"{program} mkrequest",
            registry=registry,  # type: ignore[arg-type]  # a Registry, whose import only a call pays for
            environment=os.environ,
            directory=Path.cwd(),
        )
        end = SscepExit(0, stdout=made.stdout_lines, stderr=made.stderr_lines)
    except SscepExit as refused:
        end = refused
    return Screen(program, stdout=sys.stdout, stderr=sys.stderr).ended(end)


def main() -> NoReturn:
    """Run as a command of its own, which may be linked as ``sscep``."""
    open_streams()
    invocation = Invocation()
    invocation.listen()
    try:
        code = _run(tuple(sys.argv[1:]), Path(sys.argv[0]).name)
    except BaseException:
        if not invocation.interruption:  # which an import may have made another exception of
            raise
        code = exit_code_of(invocation.interruption)
    invocation.leave(code)
