"""What one call of the command line was told, for every command: verbosity, log format, colours, plugins.

Must never hold: an import of click's that ``--help`` need not pay for, or what a single command does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from scepflow.errors import ScepflowError
    from scepflow.registry import Registry

__all__ = [
    "Invocation",
    "Terminated",
    "common_options",
    "exit_code_of",
    "is_dumb",
    "plugin_option",
    "terminal_width",
]

_Command = TypeVar("_Command", bound="Callable[..., Any]")


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; whoever can handle Ctrl-C handles this."""


def exit_code_of(interrupt: BaseException) -> int:
    """Return 143 for SIGTERM, else 130, as a shell has it."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def is_dumb() -> bool:
    """Whether the terminal has neither colours nor a cursor that moves."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def _plain_terminal() -> bool:
    return bool(os.environ.get("NO_COLOR")) or is_dumb()


def terminal_width(stream: TextIO) -> int:
    """Return the columns to fill, at most 100, or 0 when the stream is no terminal."""
    return min(shutil.get_terminal_size().columns, 100) if stream.isatty() else 0


@dataclass
class Invocation:
    """What the command line said; options add to it wherever they stand.

    Attributes:
        verbosity: -1 for errors and warnings only, 0, 1 for details, 2 for tracebacks as well.
        json_log: whether stderr gets JSON lines.
        plugins: what ``-p`` named.
        color: False without colours, None where the terminal decides.
        interruption: what SIGINT or SIGTERM raised, from then on.
    """

    verbosity: int = 0
    json_log: bool = False
    plugins: list[str] = field(default_factory=list)
    color: bool | None = field(default_factory=lambda: False if _plain_terminal() else None)
    interruption: KeyboardInterrupt | None = None

    def interrupt(self, number: int, _frame: FrameType | None) -> NoReturn:
        """Handle SIGINT or SIGTERM."""
        self.interruption = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        raise self.interruption

    def listen(self) -> None:
        """Handle SIGINT and SIGTERM from now on, unless they are ignored, as under nohup or behind a shell's ``&``."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.interrupt)

    def leave(self, code: int) -> NoReturn:
        """End the process: by the signal that interrupted it, for a shell's loop goes on after a mere exit with 130."""
        if self.interruption and code == exit_code_of(self.interruption):
            number = code - 128
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)  # process 1 of a container survives it
        sys.exit(code)

    def heed_interruption(self) -> None:
        """Raise again what was raised in a place that swallowed it, as some imports do."""
        if self.interruption:
            raise self.interruption from None

    def registry(self) -> Registry:
        """Return a new registry of the installed plugins and those of ``-p``."""
        from scepflow.cli.logs import show_logs
        from scepflow.registry import Registry

        show_logs(self)
        registry = Registry.discover(extra=self.plugins)
        self.heed_interruption()
        return registry

    def error_line(self, text: str, *, level: str = "error", **fields: object) -> None:
        """Say something on stderr, as the log format has it: in JSON with ``event`` and ``at`` like any event."""
        if self.json_log:
            at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
            line = {"event": "Log", "at": at, "level": level, "message": text, **fields}
            text = json.dumps(line, ensure_ascii=False)
        self.say(text)

    def note(self, text: str) -> None:
        """Say on stderr what nobody needs to act on, unless quiet."""
        if self.verbosity >= 0:
            prefix = "" if self.json_log else f"{click.style('note:', bold=True)} "
            self.error_line(prefix + text, level="info")

    def say(self, text: str) -> None:
        """Write to stderr; where nobody reads it, or it has no room, the work goes on."""
        with suppress(OSError, ValueError):
            click.echo(text, err=True, color=self.color)

    def show_usage(self, error: click.UsageError, exit_code: int) -> None:
        """Show what the command line has wrong."""
        if self.json_log:
            self.error_line(error.format_message(), type=type(error).__name__, exit_code=exit_code)
            return
        with suppress(OSError, ValueError):
            error.show()

    def show_error(self, error: ScepflowError, *, context: Sequence[str] = (), kept: str = "") -> None:
        """Show what went wrong, where, what to do, and what is left.

        Args:
            error: what happened.
            context: where, in short pieces such as ``pipeline gw1``.
            kept: what is kept, and where.
        """
        from scepflow.errors import TrustError

        if self.json_log:
            self.error_line(
                error.message,
                type=type(error).__name__,
                **({"check": error.check} if isinstance(error, TrustError) else {}),
                where=", ".join(context),
                hint=error.hint,
                kept=kept or None,
                exit_code=error.exit_code,
            )
            return
        from scepflow.cli.words import error_lines, with_exit_code

        lines = [
            *error_lines(error, context),
            *([f"  {click.style('kept:', bold=True)} {kept}"] if kept else []),
        ]
        for line in with_exit_code(lines, error.exit_code, terminal_width(sys.stderr)):
            self.error_line(line)

    def show_bug(self, error: Exception) -> None:
        """Show an exception that is nobody's message; its text may hold anything, so it stays inside."""
        import traceback

        *_, last = traceback.extract_tb(error.__traceback__)
        place = f"{'/'.join(last.filename.split('/')[-2:])}:{last.lineno}"
        self.error_line(
            f"this is a bug in scepflow: {type(error).__name__} at {place};"
            " please report it, with what the same command says with -vv"
        )
        if self.verbosity > 1:
            self.error_line("".join(traceback.format_exception(error)).rstrip())


def _verbose(ctx: click.Context, _option: click.Parameter, value: int) -> None:
    ctx.ensure_object(Invocation).verbosity += value


def _quiet(ctx: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's signature
    if value:
        ctx.ensure_object(Invocation).verbosity = -1


def _log_format(ctx: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value:
        ctx.ensure_object(Invocation).json_log = value == "json"


def _plugins(ctx: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> None:
    ctx.ensure_object(Invocation).plugins += value


def common_options(command: _Command) -> _Command:
    """Add the options that say how much is told, and how."""
    for option in (
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            expose_value=False,
            callback=_log_format,
            help="How stderr is written: for people, or one JSON object per line.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            callback=_quiet,
            help="Say only what went wrong.",
        ),
        click.option(
            "-v",
            "--verbose",
            count=True,
            expose_value=False,
            callback=_verbose,
            help="Say more; twice also shows where a bug happened.",
        ),
    ):
        command = option(command)
    return command


plugin_option = click.option(
    "-p",
    "--plugin",
    multiple=True,
    metavar="FILE_OR_MODULE",
    expose_value=False,
    callback=_plugins,
    help="Use this plugin as well, or leave an installed one out with no:NAME. Repeatable.",
)
