"""What one call of the command line was told, for every command: verbosity, log format, colours, plugins.

Must never hold: an import of click's that ``--help`` need not pay for, or what a single command does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scepflow.errors import ScepflowError
    from scepflow.registry import Registry

__all__ = ["Invocation", "Terminated", "common_options", "plugin_option", "terminal_width"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; whoever can handle Ctrl-C handles this."""

    exit_code = 128 + 15


def _plain_terminal() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


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
    """

    verbosity: int = 0
    json_log: bool = False
    plugins: list[str] = field(default_factory=list)
    color: bool | None = field(default_factory=lambda: False if _plain_terminal() else None)

    def registry(self) -> Registry:
        """Return a new registry of the installed plugins and those of ``-p``."""
        from scepflow.cli.logs import show_logs
        from scepflow.registry import Registry

        show_logs(self)
        return Registry.discover(extra=self.plugins)

    def error_line(self, text: str, **fields: object) -> None:
        """Say something on stderr, as the log format has it."""
        if self.json_log:
            text = json.dumps({"log": "error", "message": text, **fields}, ensure_ascii=False)
        with suppress(BrokenPipeError):  # whoever read it may have gone; the work goes on
            click.echo(text, err=True, color=self.color)

    def show_error(self, error: ScepflowError, *, context: Sequence[str] = ()) -> None:
        """Show what went wrong, where, and what to do.

        Args:
            error: what happened.
            context: where, in short pieces such as ``pipeline gw1``.
        """
        if self.json_log:
            name = type(error).__name__
            where = ", ".join(context)
            self.error_line(error.message, type=name, where=where, hint=error.hint, exit_code=error.exit_code)
            return
        from scepflow.cli.words import error_lines, with_exit_code

        for line in with_exit_code(
            list(error_lines(error, context)), error.exit_code, terminal_width(sys.stderr)
        ):
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
