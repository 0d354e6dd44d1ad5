"""``scepflow status``: how every pipeline stands, for people, for machines, and at little cost."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import click
import pytest

from scepflow.cli.status import table_lines
from scepflow.records import AttemptRecord, CertificateFacts, PipelineRecord
from scepflow.standing import Standing
from scepflow.testing import NOW

DAY = timedelta(days=1)


def _record(name="gw1", *, days_left=None, renews_in=30):
    facts = days_left is not None and CertificateFacts(
        subject="CN=gw1",
        issuer="CN=CA",
        serial="1a",
        fingerprint="sha256:ab",
        not_before=NOW,
        not_after=NOW + days_left * DAY,
    )
    current = facts and AttemptRecord(
        transaction_id="8f3a",
        purpose="enrollment",
        status="issued",
        begun_at=NOW,
        asked_at=NOW,
        polls=0,
        pending=False,
        message_type="PKCSReq",
        certificate=facts,
    )
    renew_at = NOW + renews_in * DAY if facts else None
    return PipelineRecord(
        place=f"{name}-1", name=name, file=f"/etc/{name}.toml", current=current or None, renew_at=renew_at
    )


def _table(*found, width=0):
    return [click.unstyle(line) for line in table_lines(found, now=NOW, width=width)]


VALID = (_record(days_left=88), Standing(state="valid", then=""))
PENDING = (_record("gw02-long"), Standing(state="pending", then="the CA decides"))
OVERDUE = (_record("gw03", days_left=1, renews_in=-9), Standing(state="due", then="the next run renews it"))
EXPIRED = (
    _record("gw04", days_left=-1, renews_in=-9),
    Standing(state="expired", then="the next run enrolls"),
)
WORDS = "the CA's operator must approve transaction 8f3a; the next run asks, and so does each that follows it"
WORDY = (_record("gw05"), Standing(state="pending", then=WORDS))


def test_columns_are_as_wide_as_what_is_in_them():
    assert _table(VALID, PENDING, OVERDUE, EXPIRED) == [
        line.rstrip()
        for line in (
            "PIPELINE   STATE    EXPIRES                      RENEWS      NEXT",
            f"gw1        valid    {NOW + 88 * DAY:%Y-%m-%d} (88 d)            {NOW + 30 * DAY:%Y-%m-%d}  -",
            "gw02-long  pending  -                            -           the CA decides",
            f"gw03       due      {NOW + DAY:%Y-%m-%d %H:%M} UTC (1 d)   overdue     the next run renews it",
            f"gw04       expired  {NOW - DAY:%Y-%m-%d %H:%M} UTC (past)  -           the next run enrolls",
        )
    ]


def test_what_happens_next_is_wrapped_below_itself_on_a_terminal():
    heading, first, *more = _table(WORDY, width=80)
    column = heading.index("NEXT")
    assert first[column:].startswith("the CA's operator")
    assert all(line.startswith(" " * column) and line[column] != " " for line in more)
    assert max(map(len, (first, *more))) <= 80
    assert " ".join(line[column:] for line in (first, *more)) == WORDS


def test_on_a_narrow_terminal_it_goes_below_the_row():
    _, row, *more = _table(WORDY, width=50)
    assert row == "gw05      pending  -        -"
    assert " ".join(line.strip() for line in more) == WORDS
    assert all(line.startswith("    ") and len(line) <= 50 for line in more)
    assert len(_table(VALID, width=50)) == 2


def test_what_is_to_be_pasted_is_not_broken():
    pin = "sha256:" + "0" * 64
    lines = _table((_record(), Standing(state="blocked", then=f"the pin is {pin}")), width=60)
    assert any(pin in line for line in lines)


@pytest.mark.parametrize(
    ("state", "colour"),
    [("valid", "green"), ("pending", "yellow"), ("due", "yellow"), ("blocked", "red"), ("expired", "red")],
)
def test_a_state_has_its_colour(state, colour):
    _, row = table_lines([(_record(), Standing(state=state, then="x"))], now=NOW, width=0)
    assert click.style(state, fg=colour, bold=True)[:-4] in row


# -- the command


def test_without_any_run_it_says_so_and_makes_nothing(scepflow, folder):
    said = scepflow("status")
    assert (said.exit_code, said.stdout) == (
        0,
        f"no pipeline has run with its state in {folder / 'state'}\n",
    )
    assert not (folder / "state").exists()


def test_every_pipeline_that_has_run_is_shown_by_name(scepflow, write, folder):
    write("pend.toml", directory='"testca"\npending = 5')
    scepflow("run", write("b.toml"))
    scepflow("run", "--wait", "0s", "pend.toml")
    scepflow("run", write("a.toml"))
    said = scepflow("status")
    assert said.exit_code == 0
    assert [line.split()[:2] for line in said.stdout.splitlines()] == [
        ["PIPELINE", "STATE"],
        ["a", "valid"],
        ["b", "valid"],
        ["pend", "pending"],
    ]
    assert "operator must approve transaction " in said.stdout


def test_pipelines_that_are_named_are_shown_in_their_order(scepflow, write):
    scepflow("run", write("a.toml"), write("b.toml"))
    said = scepflow("status", "b", "./b.toml", write("never-ran.toml"))
    assert [line.split()[:2] for line in said.stdout.splitlines()[1:]] == [
        ["b", "valid"],
        ["b", "valid"],
        ["never-ran", "new"],
    ]


def test_a_name_that_nothing_has_is_a_usage_error(scepflow, folder):
    said = scepflow("status", "nope")
    assert (said.exit_code, said.stdout) == (64, "")
    assert "nope is no file, and no pipeline of that name has run in " in said.stderr


def test_a_pipeline_whose_file_is_gone_says_so(scepflow, write, folder):
    scepflow("run", write("a.toml"))
    (folder / "a.toml").unlink()
    assert scepflow("status", "a").stdout.endswith("a.toml is gone: no run goes on with it\n")


@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_text("[ca\n")])
def test_a_run_whose_file_cannot_be_read_is_no_good_news(scepflow, write, folder, spoil):
    file = folder / write("a.toml")
    scepflow("run", file)
    whole = file.read_text()
    spoil(file)
    metrics = folder / "scepflow.prom"
    assert scepflow("run", file, "--metrics", metrics).exit_code == 78
    (known,) = json.loads(scepflow("status", "--json").stdout)["pipelines"]
    assert (known["state"], known["outcome"], known["exit_code"]) == ("blocked", "failed", 78)
    assert str(file) in known["message"]
    assert 'state="blocked"} 1' in metrics.read_text()
    assert len(scepflow("history").stdout.splitlines()) == 3
    file.write_text(whole)
    assert scepflow("run", file).exit_code == 0
    assert json.loads(scepflow("status", "--json").stdout)["pipelines"][0]["state"] == "valid"


def test_a_pipeline_file_with_errors_that_has_never_run_stays_unknown(scepflow, folder):
    (folder / "new.toml").write_text("[ca\n")
    scepflow("run", "new.toml")
    assert "no pipeline has run" in scepflow("status").stdout


def test_a_damaged_row_is_said_of_its_pipeline_alone(scepflow, write, folder):
    scepflow("run", write("a.toml"), write("b.toml", cert='"b.pem"'))
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite3")) as db, db:
        db.execute("UPDATE pipeline SET renew_at = 'soon' WHERE name = 'a'")
    damaged, whole = json.loads(scepflow("status", "--json").stdout)["pipelines"]
    assert (damaged["state"], whole["state"]) == ("blocked", "valid")
    assert "journal.sqlite3 is damaged" in damaged["next"]
    assert scepflow("run", "a.toml").exit_code == 78


def test_all_that_is_known_is_json(scepflow, write, folder):
    scepflow("run", write("a.toml"))
    said = scepflow("status", "--json", "a.toml", write("new.toml"))
    known, new = json.loads(said.stdout)["pipelines"]
    assert (known["pipeline"], known["state"], known["next"]) == ("a", "valid", "")
    assert known["file"] == str(folder / "a.toml")
    assert known["current"]["certificate"]["subject"] == "CN=gw1.example.com"
    assert known["renew_at"] < known["current"]["certificate"]["not_after"]
    assert known["deliveries"]["file"]["error"] is None
    assert (known["outcome"], known["exit_code"], known["open"]) == ("issued", 0, None)
    assert (new["pipeline"], new["state"], new["current"]) == ("new", "new", None)


def test_a_state_directory_can_be_named(scepflow, write, folder):
    scepflow("run", write("a.toml"), "--state-dir", folder / "other")
    assert "a " in scepflow("status", "--state-dir", folder / "other").stdout
    assert "no pipeline has run" in scepflow("status").stdout


def test_a_state_that_cannot_be_read_exits_78(scepflow, folder):
    (folder / "state").mkdir()
    (folder / "state" / "journal.sqlite3").write_bytes(b"no database" * 100)
    said = scepflow("status")
    assert (said.exit_code, said.stdout) == (78, "")
    assert "is not a database" in said.stderr


@pytest.mark.parametrize("args", [("status",), ("status", "--json"), ("status", "a.toml"), ("history", "a")])
def test_a_look_imports_neither_cryptography_nor_what_speaks_http(scepflow, write, imported_by, args):
    scepflow("run", write("a.toml"))
    heavy = {"cryptography", "urllib3", "OpenSSL", "pluggy", "rich", "logging", "ssl", "filelock"}
    assert imported_by(*args) & heavy == set()
