"""How times, sizes and errors are said."""

from datetime import timedelta

import click
import pytest

from scepflow.cli.words import counted, digits, duration, error_lines, plain_url, until, with_exit_code
from scepflow.errors import PendingError, TransportError
from scepflow.testing import NOW


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0126, "13 ms"),
        (1, "1 s"),
        (2.53, "2.5 s"),
        (59.7, "1 m"),
        (252, "4 m 12 s"),
        (3600, "1 h"),
        (4920, "1 h 22 m"),
        (3 * 86400 + 7200, "3 d 2 h"),
        (86400 + 60, "1 d 1 m"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (timedelta(days=364, hours=5), "2027-11-19 (364 d)"),
        (timedelta(hours=5), "2026-11-20 17:00 UTC (5 h)"),
        (timedelta(hours=-1), "2026-11-20 11:00 UTC (past)"),
    ],
)
def test_a_moment_says_how_far_it_is(left, text):
    assert until(NOW + left, NOW) == text


def test_numbers_can_be_read():
    assert digits(2613) == "2 613"
    assert counted(1, "pipeline") == "1 pipeline"
    assert counted(0, "pipeline") == "0 pipelines"


def test_an_address_is_shown_without_what_may_be_secret():
    assert (
        plain_url("http://user:hush@pki.example.com:80/scep?key=hush#x") == "http://pki.example.com:80/scep"
    )


def test_an_error_of_a_stage_names_it():
    error = TransportError("no wire", name="direct", hint="plug it in")
    lines = [click.unstyle(line) for line in error_lines(error, ["pipeline gw1", "http://x"])]
    assert lines == ["error: no wire", "  pipeline gw1, transport direct, http://x", "  hint: plug it in"]


def test_an_error_without_context_and_hint_is_one_line():
    error = PendingError("not yet", transaction_id="8f3a", polls=1, waited_s=1)
    assert [click.unstyle(line) for line in error_lines(error)] == ["error: not yet"]


def test_the_exit_code_stands_at_the_right_of_the_last_line():
    lines = with_exit_code(["one", click.style("two", bold=True)], 72, 20)
    assert [click.unstyle(line) for line in lines] == ["one", "two          exit 72"]


def test_the_exit_code_goes_below_a_line_that_is_too_long():
    assert [click.unstyle(line) for line in with_exit_code(["x" * 15], 72, 20)] == [
        "x" * 15,
        " " * 13 + "exit 72",
    ]


def test_where_nobody_looks_there_is_no_exit_code():
    assert with_exit_code(["one"], 72, 0) == ["one"]
