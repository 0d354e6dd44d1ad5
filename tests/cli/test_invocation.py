"""What the command line was told holds for every command, wherever it stands."""

import errno
import json
import logging
from datetime import datetime, timedelta

import click
import pytest

from scepflow.cli.invocation import Invocation
from scepflow.errors import PluginError, TrustError


@pytest.mark.parametrize(
    ("environment", "color"),
    [({}, None), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, None), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_want_them(monkeypatch, environment, color):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Invocation().color is color


def test_an_error_says_what_where_and_what_to_do(capsys):
    error = TrustError("no", check="chain", hint="do this\n  and that")
    Invocation(color=False).show_error(error, context=["pipeline gw1", "http://x/scep"])
    assert capsys.readouterr().err == (
        "error: no\n  pipeline gw1, check chain, http://x/scep\n  hint: do this\n    and that\n"
    )


def test_a_json_error_says_the_same(capsys):
    error = TrustError("no", check="chain", hint="do this")
    Invocation(json_log=True).show_error(error, context=["pipeline gw1", "http://x/scep"])
    line = json.loads(capsys.readouterr().err)
    assert datetime.fromisoformat(line.pop("at")).utcoffset() == timedelta(0)
    assert line == {
        "event": "Log",
        "level": "error",
        "message": "no",
        "type": "TrustError",
        "check": "chain",
        "where": "pipeline gw1, http://x/scep",
        "hint": "do this",
        "kept": None,
        "exit_code": 5,
    }


def test_a_plugin_that_cannot_be_imported_stops_the_command(scepflow):
    said = scepflow("plugins", "-p", "no_such_module_at_all")
    assert said.exit_code == 78
    assert "no_such_module_at_all" in said.stderr


def test_a_plugin_may_stand_before_and_after_the_command(scepflow, tmp_path):
    text = """
from scepflow.hookspecs import hookimpl
from scepflow.stages import OutputSink

class Sink(OutputSink, tag="{name}"):
    "{name} it."
    def write(self, issued, run): pass

@hookimpl
def scepflow_sinks():
    return [Sink]
"""
    for name in ("print", "burn"):
        (tmp_path / f"{name}.py").write_text(text.format(name=name))
    said = scepflow(
        "-p", tmp_path / "print.py", "plugins", "-p", tmp_path / "burn.py", "--plugin", "no:bundled"
    )
    assert said.exit_code == 0
    assert [line.split()[0] for line in said.stdout.splitlines() if line.startswith("  ")] == [
        "burn",
        "print",
    ]


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(-1, ["error: e"]), (0, ["warning: w", "error: e"]), (1, ["info: i", "warning: w", "error: e"])],
)
def test_log_records_are_shown_as_verbosity_has_it(capsys, verbosity, shown):
    invocation = Invocation(verbosity=verbosity)
    invocation.registry()
    log = logging.getLogger("scepflow.some.module")
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert capsys.readouterr().err.splitlines() == shown


def test_log_records_are_json_lines_where_asked(capsys):
    Invocation(json_log=True).registry()
    logging.getLogger("scepflow").warning("%s failed", "it")
    line = json.loads(capsys.readouterr().err)
    assert line.pop("at")
    assert line == {"event": "Log", "level": "warning", "message": "it failed"}


@pytest.mark.parametrize(
    "trouble",
    [BrokenPipeError(), OSError(errno.ENOSPC, "No space left on device"), ValueError("closed file")],
)
def test_a_stderr_that_cannot_be_written_does_not_end_a_run(monkeypatch, trouble):
    class Closed:
        def write(self, text):
            raise trouble

        def flush(self):
            raise trouble

        def isatty(self):
            return False

    monkeypatch.setattr("sys.stderr", Closed())
    invocation = Invocation()
    invocation.registry()
    invocation.error_line("hello")
    invocation.show_error(PluginError("no", plugin="x"))
    invocation.show_usage(click.UsageError("no"), 64)
    logging.getLogger("scepflow").warning("hello")


def test_the_last_word_on_verbosity_counts(scepflow, tmp_path):
    """Options before and after the command add up."""
    (tmp_path / "bad.toml").write_text("[renw]\n")
    assert scepflow("-q", "validate", tmp_path / "bad.toml").exit_code == 78
    assert scepflow("--log-format", "json", "run", tmp_path / "bad.toml").stderr.startswith("{")
