"""The command line: ``scepflow COMMAND``; a command's module is imported when that command is used.

Must never hold: what a command does, or an import that ``--help`` need not pay for.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from scepflow.cli.invocation import Invocation, common_options, exit_code_of, plugin_option
from scepflow.cli.streams import StdoutError, drop_stdout, open_streams
from scepflow.errors import ScepflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "cli", "main"]

COMMANDS = {
    "run": ("scepflow.cli.run:run", "Bring the certificate of each pipeline up to date and deliver it."),
    "status": ("scepflow.cli.status:status", "Show how pipelines stand, and what happens next."),
    "history": ("scepflow.cli.history:history", "Show what has happened, the oldest first."),
    "deliver": (
        "scepflow.cli.deliver:deliver",
        "Deliver the current certificate once more, without asking the CA.",
    ),
    "rollback": (
        "scepflow.cli.deliver:rollback",
        "Go back to the certificate before the current one, and deliver it.",
    ),
    "daemon": ("scepflow.cli.daemon:daemon", "Run pipelines in the foreground whenever something is due."),
    "timer": ("scepflow.cli.timer:timer", "Print, install or remove what runs pipelines every hour."),
    "validate": ("scepflow.cli.pipelines:validate", "Find every mistake in pipeline files at once."),
    "explain": (
        "scepflow.cli.pipelines:explain",
        "Show each value of a pipeline that is in force, and its origin.",
    ),
    "schema": ("scepflow.cli.pipelines:schema", "Print the JSON Schema of pipeline files, for editors."),
    "getca": ("scepflow.cli.queries:getca", "Show the CA's certificates, and which would be used."),
    "getcaps": ("scepflow.cli.queries:getcaps", "Show what the CA says it can do."),
    "getnextca": ("scepflow.cli.queries:getnextca", "Get the certificates that will follow the CA's."),
    "getcert": ("scepflow.cli.queries:getcert", "Get a certificate that the CA has issued."),
    "getcrl": ("scepflow.cli.queries:getcrl", "Get the CA's certificate revocation list."),
    "plugins": ("scepflow.cli.plugins:plugins", "List the stages that are installed, and broken plugins."),
    "doctor": (
        "scepflow.cli.doctor:doctor",
        "Show what a CA offers, which keys it uses, and how to pin it.",
    ),
    "decode": ("scepflow.cli.decode:decode", "Show what is in any SCEP message, request or answer."),
    "sscep": ("scepflow.cli.sscep:sscep", "Do what the command sscep does, with its options and files."),
    "import": ("scepflow.cli.imports:import_", "Print the pipeline that does what an sscep command does."),
    "testca": ("scepflow.cli.testca:testca", "Serve a test CA on loopback; never for production."),
}
"""Command → where it is, as ``module:attribute``, and its line in ``scepflow --help``."""

EXIT_USAGE = 64
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE


class LazyGroup(click.Group):
    """A group whose commands are imported when used, and whose every end has its exit code (DESIGN §7)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names in the order of the manual."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Import and return a command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        """List the commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which name is nearest."""
        name = args[0]
        if not (name in COMMANDS or name.startswith("-") or ctx.resilient_parsing):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            ctx.fail(f"no command is named {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]  # click overloads it for a mode that does not exit
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command and exit."""
        invocation: Invocation = extra.pop("obj", None) or Invocation()
        extra |= {"standalone_mode": False, "obj": invocation, "color": invocation.color}
        invocation.leave(
            _exit_code(lambda: super(LazyGroup, self).main(args, prog_name, **extra), invocation)
        )

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the options, of which ``--help`` prints; whoever read its output may have gone."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            raise click.exceptions.Exit(_hang_up()) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whoever read its output may have gone."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _hang_up()


def _exit_code(command: Any, invocation: Invocation) -> int:
    try:
        code = command() or 0
        sys.stdout.flush()
    except click.UsageError as error:
        invocation.show_usage(error, EXIT_USAGE)
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt) as interrupt:  # click makes the one of the other
        return _interrupted(invocation, interrupt.__cause__ or interrupt)
    except BrokenPipeError:
        return _hang_up()
    except Exception as error:  # noqa: BLE001  # the last one who can say anything
        return _failed(invocation, error)
    return int(code)


def _interrupted(invocation: Invocation, interrupt: BaseException) -> int:
    invocation.error_line("interrupted")
    return exit_code_of(interrupt)


def _failed(invocation: Invocation, error: Exception) -> int:
    if invocation.interruption:  # an import that was interrupted may end in any exception
        return _interrupted(invocation, invocation.interruption)
    if isinstance(error, StdoutError):
        drop_stdout()
    if isinstance(error, ScepflowError):
        invocation.show_error(error)
        return error.exit_code
    invocation.show_bug(error)
    return 1


def _hang_up() -> int:
    drop_stdout()
    return EXIT_BROKEN_PIPE


@click.command(
    "scepflow",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 3 pending, 4 unreachable, 5 not trusted, 6 issued but not delivered everywhere, "
    "7 several pipelines and mixed results, 70-74 rejected (2 without a reason), 64 usage, 75 locked, "
    "78 pipeline file or plugin, 1 a bug, or stdout could not be written.",
)
@click.version_option(package_name="scepflow", message="%(prog)s %(version)s")
@common_options
@plugin_option
def cli() -> None:
    """Get certificates over SCEP (RFC 8894), by pipelines written in TOML."""


def main() -> NoReturn:
    """Run the ``scepflow`` command and exit."""
    open_streams()
    invocation = Invocation()
    invocation.listen()
    cli.main(prog_name="scepflow", obj=invocation)
