"""The group of commands: what it imports, how it names things, and every way a command can end."""

import json
import re
import signal

import click
import pytest

from scepflow.cli import COMMANDS, EXIT_BROKEN_PIPE, _exit_code, cli
from scepflow.cli.invocation import Invocation, Terminated
from scepflow.errors import LockedError

HEAVY = {
    "cryptography",
    "urllib3",
    "OpenSSL",
    "msgspec",
    "pluggy",
    "tomli",
    "rich",
    "sqlite3",
    "logging",
    "ssl",
}


@pytest.mark.parametrize("args", [("--help",), ("-h",), ("--version",)])
def test_help_and_version_import_nothing_heavy(imported_by, args):
    assert imported_by(*args) & HEAVY == set()


def test_help_lists_every_command_with_its_line(scepflow):
    said = scepflow("--help")
    assert said.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:{max(map(len, COMMANDS))}}  {line}" in said.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_of_its_own_help(name):
    command = cli.get_command(click.Context(cli), name)
    assert command.name == name
    assert command.help.splitlines()[0] == COMMANDS[name][1]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_says_how_much_it_may_say(scepflow, name):
    said = scepflow(name, "--help")
    assert said.exit_code == 0
    assert "--log-format" in said.stdout


def test_version_is_one_line(scepflow):
    said = scepflow("--version")
    assert said.exit_code == 0
    assert re.fullmatch(r"scepflow \d+\.\d+\.\d+\n", said.stdout)


def test_a_misspelt_command_is_a_usage_error_with_the_nearest_name(scepflow):
    said = scepflow("vaildate")
    assert said.exit_code == 64
    assert "no command is named 'vaildate'. Did you mean 'validate'?" in said.stderr
    assert "Did you mean" not in scepflow("xyzzy").stderr


@pytest.mark.parametrize(
    "args", [(), ("--nonsense",), ("run",), ("run", "--nonsense"), ("testca", "--port", "x")]
)
def test_what_click_refuses_is_a_usage_error(scepflow, args):
    said = scepflow(*args)
    assert said.exit_code == 64
    assert said.stdout == ""
    assert "Usage:" in said.stderr


def test_an_unknown_command_of_the_completion_is_no_error():
    context = click.Context(cli, resilient_parsing=True)
    assert cli.resolve_command(context, ["xyzzy"]) == (None, None, [])


def test_an_error_has_its_exit_code_and_a_hint(capsys):
    def locked():
        raise LockedError("another run holds gw1", hint="wait for it")

    assert _exit_code(locked, Invocation(color=False)) == 75
    assert capsys.readouterr().err == "error: another run holds gw1\n  hint: wait for it\n"


def test_an_error_is_a_json_line_where_logs_are(capsys):
    def locked():
        raise LockedError("another run holds gw1")

    assert _exit_code(locked, Invocation(json_log=True)) == 75
    line = json.loads(capsys.readouterr().err)
    assert line["message"] == "another run holds gw1"
    assert (line["level"], line["type"], line["exit_code"]) == ("error", "LockedError", 75)


def test_a_bug_is_one_line_without_what_the_exception_says(capsys):
    def bug():
        raise KeyError("hush-hush")

    assert _exit_code(bug, Invocation()) == 1
    said = capsys.readouterr().err
    assert "this is a bug in scepflow: KeyError at cli/test_cli.py:" in said
    assert "report it" in said
    assert "hush-hush" not in said
    assert said.count("\n") == 1


def test_a_bug_has_its_traceback_with_vv(capsys):
    def bug():
        raise KeyError("hush-hush")

    assert _exit_code(bug, Invocation(verbosity=2)) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_usage_error_is_a_json_line_where_logs_are(scepflow):
    said = scepflow("--log-format", "json", "run")
    line = json.loads(said.stderr)
    assert (said.exit_code, line["exit_code"], line["event"], line["type"]) == (
        64,
        64,
        "Log",
        "MissingParameter",
    )


def test_an_error_after_an_interruption_is_the_interruption(capsys):
    """As where an import was interrupted and made an ImportError of it."""
    invocation = Invocation()

    def broken():
        with pytest.raises(Terminated):
            invocation.interrupt(signal.SIGTERM, None)
        raise ImportError("half a module")

    assert _exit_code(broken, invocation) == 143
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("interrupt", "code"), [(KeyboardInterrupt(), 130), (Terminated(), 143)])
def test_an_interruption_has_the_exit_code_of_its_signal(capsys, interrupt, code):
    def interrupted():
        raise click.Abort from interrupt

    assert _exit_code(interrupted, Invocation()) == code
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_goes_away_is_no_error(start):
    """As in ``scepflow schema | head -1``."""
    process = start("schema")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == EXIT_BROKEN_PIPE


def test_a_reader_of_help_that_goes_away_is_no_error(start):
    process = start("--help")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == EXIT_BROKEN_PIPE


def test_python_m_scepflow_is_the_command(start):
    out, err = start("--version").communicate()
    assert out.startswith("scepflow ")
    assert err == ""
