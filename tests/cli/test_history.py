"""``scepflow history``: what has happened, the oldest first."""

import json
import re

import pytest


@pytest.fixture
def happened(scepflow, write):
    """Two pipelines have run; of one a sink failed."""
    write("deg.toml", "[sink.far]", 'use = "file"', 'cert = "far/away.pem"')
    scepflow("run", write("a.toml"))
    scepflow("run", "deg.toml")


def test_each_line_has_its_time_pipeline_kind_and_words(scepflow, happened):
    said = scepflow("history")
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert [re.split(r"  +", line, maxsplit=3)[1:3] for line in lines] == [
        ["a", "issued"],
        ["a", "delivered"],
        ["deg", "issued"],
        ["deg", "sink-failed"],
        ["deg", "delivered"],
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines)
    assert "CN=gw1.example.com, serial " in lines[0]
    assert "far: " in lines[3]


def test_of_one_pipeline_by_file_or_name(scepflow, happened):
    assert scepflow("history", "a.toml").stdout == scepflow("history", "a").stdout
    assert len(scepflow("history", "a").stdout.splitlines()) == 2


def test_the_limit_leaves_the_latest(scepflow, happened):
    assert (
        scepflow("history", "--limit", "2").stdout.splitlines()
        == (scepflow("history").stdout.splitlines()[-2:])
    )


def test_a_limit_of_nothing_is_a_usage_error(scepflow, folder):
    assert scepflow("history", "--limit", "0").exit_code == 64


def test_the_same_as_json(scepflow, happened):
    said = scepflow("history", "deg", "--json", "--limit", "1")
    (line,) = json.loads(said.stdout)["happenings"]
    assert (line["pipeline"], line["kind"], line["text"]) == ("deg", "delivered", "file: gw1.pem")
    assert line["at"].endswith("Z")
    assert json.loads(scepflow("history", "--json", "--state-dir", "empty").stdout) == {"happenings": []}


def test_a_pipeline_that_has_not_run_has_no_history(scepflow, write, folder):
    said = scepflow("history", write())
    assert (said.exit_code, said.stdout) == (
        0,
        f"nothing has happened with its state in {folder / 'state'}\n",
    )


def test_a_name_that_nothing_has_is_a_usage_error(scepflow, folder):
    assert scepflow("history", "nope").exit_code == 64


def test_a_run_that_fails_as_the_one_before_leaves_no_second_line(scepflow, write):
    write("bad.toml", directory='"testca"\nreject = "badRequest"')
    for _ in range(3):
        scepflow("run", "bad.toml")
    assert len(scepflow("history").stdout.splitlines()) == 1


def test_a_sink_that_fails_as_before_leaves_no_second_line(scepflow, write):
    write("deg.toml", "[sink.far]", 'use = "file"', 'cert = "far/away.pem"')
    for _ in range(3):
        assert scepflow("run", "deg.toml").exit_code == 6
    kinds = [line.split()[3] for line in scepflow("history").stdout.splitlines()]
    assert sorted(kinds) == ["delivered", "issued", "sink-failed"]
