"""One sscep command, run as a pipeline: settings → pipeline → `scepflow.runner` or `scepflow.inquiry` → lines, files, exit code.

Must never hold: what an operation does; each has a module.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from scepflow.errors import ScepflowError
from scepflow.sscep.authorities import getca, getcaps, getnextca
from scepflow.sscep.command import Command
from scepflow.sscep.engine import refuse_engine
from scepflow.sscep.enrolling import enroll
from scepflow.sscep.failures import tell_failure
from scepflow.sscep.options import address_lines, opening_lines, parse_arguments
from scepflow.sscep.output import Screen
from scepflow.sscep.passing import with_copies
from scepflow.sscep.questions import getcert, getcrl
from scepflow.sscep.settings import Operation, SscepExit
from scepflow.sscep.wire import CommandEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scepflow.registry import Registry
    from scepflow.state import StateDirectory
    from scepflow.system import System

__all__ = ["run_sscep"]

_PROMPT = "Enter PEM pass phrase:"
_OPERATIONS = {
    Operation.GETCAPS: getcaps,
    Operation.GETCA: getca,
    Operation.GETNEXTCA: getnextca,
    Operation.ENROLL: enroll,
    Operation.GETCERT: getcert,
    Operation.GETCRL: getcrl,
}


def run_sscep(
    arguments: Sequence[str],
    *,
    program: str,
    environment: Mapping[str, str],
    registry: Registry,
    state: StateDirectory,
    system: System | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    ask: Callable[[], str] | None = None,
) -> int:
    """Run one sscep command and return its exit code (reference §3).

    Args:
        arguments: the words after the program's name, the operation first.
        program: the program's name, as lines on the screen begin with it.
        environment: what ``$ENV::NAME`` in a configuration file stands for.
        registry: where the stages come from; it is told the events.
        state: where a run keeps what must not be lost.
        system: clock, sleep and randomness; the real ones when None.
        stdout: sys.stdout when None.
        stderr: sys.stderr when None.
        ask: asks the user for the pass phrase of an encrypted key; the terminal when None.
    """
    from scepflow.system import System as RealSystem

    screen = Screen(program, stdout=stdout or sys.stdout, stderr=stderr or sys.stderr)
    try:
        settings = parse_arguments(arguments, program=program, environment=environment)
    except SscepExit as end:
        return screen.ended(end)
    screen.is_verbose, screen.is_debug = settings.verbose, settings.debug
    registry.register(screen, "sscep")
    with with_copies(settings) as (readable, screen.names):
        command = Command(
            settings=readable,
            screen=screen,
            registry=registry,
            state=state,
            system=system or RealSystem(),
            ask=ask or _ask,
        )
        return _ended(command)


def _ended(command: Command) -> int:
    screen = command.screen
    try:
        return _run(command)
    except SscepExit as end:
        return screen.ended(end)
    except CommandEnded as ended:
        return screen.ended(ended.end)
    except ScepflowError as error:
        return tell_failure(command, error)


def _ask() -> str:
    """Return what is typed at the terminal, or the first line of stdin where there is no terminal.

    Raises:
        EOFError: there is nothing.
        ValueError: what there is, is no text.
    """
    from getpass import getpass

    if _has_terminal():
        return getpass(_PROMPT)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return sys.stdin.isatty()
    return True


def _run(command: Command) -> int:
    settings, screen = command.settings, command.screen
    for line in settings.notes:
        screen.complain(line.removeprefix(f"{settings.program}: "))
    for line in (*opening_lines(settings), *address_lines(settings)):
        screen.raw(line)
    refuse_engine(settings)
    names = command.capabilities()
    screen.verbose(f"SCEP_OPERATION_{settings.operation.upper()}")
    return _OPERATIONS[settings.operation](command, names)
