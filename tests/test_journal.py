"""The journal: one file, private, durable, for several processes, and for versions to come."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta, timezone

import pytest

from scepflow.errors import StateError
from scepflow.journal import Journal
from scepflow.records import CertificateFacts
from scepflow.testing import NOW

HOUR = timedelta(hours=1)
PLACE = "gw1-1a2b3c4d"


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "state" / "journal.sqlite3")


@pytest.fixture
def entered(journal):
    journal.enter(PLACE, name="gw1", file="/etc/gw1.toml")
    return journal


def _facts(number=1):
    return CertificateFacts(
        subject=f"CN=gw{number}",
        issuer="CN=CA",
        serial=f"{number:x}",
        fingerprint=f"sha256:{number:064x}",
        not_before=NOW,
        not_after=NOW + timedelta(days=365),
    )


def _begin(journal, transaction_id, at=NOW, purpose="enrollment"):
    journal.begin(PLACE, transaction_id, purpose=purpose, message_type="PKCSReq", at=at)


def _issue(journal, number, keep=1):
    at = NOW + number * HOUR
    _begin(journal, f"t{number}", at=at)
    journal.issue(PLACE, f"t{number}", _facts(number), at=at, renew_at=at + HOUR, keep=keep)


def _status(journal):
    return {attempt.transaction_id: attempt.status for attempt in journal.attempts(PLACE)}


# -- the file


def test_reading_makes_no_file(journal):
    assert (journal.pipelines(), journal.pipeline(PLACE), journal.attempts(PLACE), journal.history()) == (
        (),
        None,
        (),
        (),
    )
    assert not journal.path.parent.exists()


def test_the_file_and_its_folder_are_private_whatever_the_umask(journal):
    before = os.umask(0)
    try:
        journal.enter(PLACE, name="gw1", file="/etc/gw1.toml")
    finally:
        os.umask(before)
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in journal.path.parent.iterdir()] == ["journal.sqlite3"]


def test_every_write_is_on_disk_when_it_returns(journal):
    with closing(journal._open()) as db:
        (synchronous,) = db.execute("PRAGMA synchronous").fetchone()
    assert synchronous == 3  # EXTRA, which is more than FULL


class Next(Journal):
    """The next version of it."""

    migrations = (
        *Journal.migrations,
        "ALTER TABLE pipeline ADD COLUMN colour TEXT; UPDATE pipeline SET colour = 'red'",
    )


class Clumsy(Journal):
    """One whose migration fails halfway."""

    migrations = (*Next.migrations, "UPDATE pipeline SET colour = 'blue'; UPDATE pipeline SET size = 1")


VERSION = len(Journal.migrations)


def _version(journal):
    with closing(sqlite3.connect(journal.path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
    return version


def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(entered):
    assert Next(entered.path).pipeline(PLACE)
    before = entered.path.read_bytes()
    for use in (entered.pipelines, lambda: entered.tell(PLACE, "issued", "x", at=NOW)):
        with pytest.raises(StateError, match=f"schema {VERSION + 1}, this one knows {VERSION}") as caught:
            use()
        assert (caught.value.exit_code, "--state-dir" in caught.value.hint) == (78, True)
    assert entered.path.read_bytes() == before


def test_an_older_journal_is_brought_up_to_date_with_what_is_in_it(entered):
    entered.tell(PLACE, "issued", "CN=gw1", at=NOW)
    newer = Next(entered.path)
    assert newer.pipeline(PLACE).name == "gw1"
    assert [happening.text for happening in newer.history()] == ["CN=gw1"]
    with closing(sqlite3.connect(entered.path)) as db:
        assert db.execute("SELECT colour FROM pipeline").fetchone() == ("red",)
    assert _version(entered) == VERSION + 1


def test_a_migration_that_fails_changes_nothing(entered):
    with pytest.raises(StateError, match="no such column: size"):
        Clumsy(entered.path).pipelines()
    assert _version(entered) == VERSION
    assert entered.pipeline(PLACE).name == "gw1"


def test_a_migration_that_another_process_has_done_is_not_done_again(entered):
    newer = Next(entered.path)
    with closing(newer._open()) as db:
        newer._migrate(db)
    assert _version(entered) == VERSION + 1


def test_a_damaged_file_is_an_error_with_a_way_out(journal):
    journal.path.parent.mkdir()
    journal.path.write_bytes(b"this is not a database, and long enough to show it" * 20)
    with pytest.raises(StateError, match="not a database") as caught:
        journal.pipelines()
    assert "--state-dir" in caught.value.hint


def test_a_place_that_cannot_be_looked_into_is_an_error_with_a_way_out(tmp_path):
    """As another user's state directory, which a test that root runs cannot have."""

    class Locked(type(tmp_path)):
        def exists(self, **_options):
            raise PermissionError(13, "Permission denied")

    with pytest.raises(StateError, match="Permission denied") as caught:
        Journal(Locked(tmp_path / "journal.sqlite3")).pipelines()
    assert "--state-dir" in caught.value.hint


def test_an_error_amid_a_change_leaves_it_as_it_was(entered):
    _begin(entered, "t1")
    with pytest.raises(StateError):
        _begin(entered, "t1")
    with pytest.raises(ZeroDivisionError), entered._writing() as db:
        db.execute("DELETE FROM attempt")
        raise ZeroDivisionError
    assert _status(entered) == {"t1": "sent"}


PROCESS = """
import sys
from pathlib import Path
from scepflow.journal import Journal
from scepflow.testing import NOW
journal, me = Journal(Path(sys.argv[1])), sys.argv[2]
journal.enter(me, name=me, file=f"/etc/{me}.toml")
for number in range(20):
    journal.tell(me, "issued", str(number), at=NOW)
"""


def test_several_processes_write_at_once_and_nothing_is_lost(journal):
    names = ["a", "b", "c", "d"]
    command = [sys.executable, "-c", PROCESS, str(journal.path)]
    processes = [subprocess.Popen([*command, name]) for name in names]
    assert [process.wait(60) for process in processes] == [0] * len(names)
    assert [record.name for record in journal.pipelines()] == names
    for name in names:
        assert [happening.text for happening in journal.history(name)] == [
            str(number) for number in range(20)
        ]


# -- what is in it


def test_a_pipeline_that_has_only_been_entered_knows_nothing_more(entered):
    record = entered.pipeline(PLACE)
    assert (record.place, record.name, record.file) == (PLACE, "gw1", "/etc/gw1.toml")
    assert (record.current, record.open, record.deliveries, record.refused) == (None, None, {}, None)
    assert (record.outcome, record.exit_code, record.message, record.ended_at) == ("", 0, "", None)


def test_a_pipeline_is_entered_once_with_its_latest_name(entered):
    entered.enter(PLACE, name="gw1", file="/srv/gw1.toml")
    assert [record.file for record in entered.pipelines()] == ["/srv/gw1.toml"]


def test_a_request_is_open_from_before_it_leaves_until_it_is_closed(entered):
    _begin(entered, "t1")
    entered.pending(PLACE, "t1")
    entered.asked(PLACE, "t1", at=NOW + HOUR)
    attempt = entered.pipeline(PLACE).open
    assert (attempt.transaction_id, attempt.status, attempt.pending, attempt.polls) == ("t1", "sent", True, 1)
    assert (attempt.begun_at, attempt.asked_at, attempt.certificate) == (NOW, NOW + HOUR, None)
    entered.close(PLACE, "t1", status="rejected", at=NOW, refused="ab")
    record = entered.pipeline(PLACE)
    assert (record.open, record.refused, _status(entered)) == (None, "ab", {"t1": "rejected"})


def test_a_refusal_is_over_once_it_is_allowed_or_something_is_issued(entered):
    for number, forget in enumerate((lambda: entered.allow(PLACE), lambda: _issue(entered, 7))):
        _begin(entered, f"t{number}")
        entered.close(PLACE, f"t{number}", status="rejected", at=NOW, refused="ab")
        assert entered.pipeline(PLACE).refused == "ab"
        forget()
        assert entered.pipeline(PLACE).refused is None


def test_what_is_issued_is_current_and_due(entered):
    _issue(entered, 1)
    record = entered.pipeline(PLACE)
    assert (record.current.certificate, record.renew_at) == (_facts(1), NOW + 2 * HOUR)
    entered.due(PLACE, NOW)
    assert entered.pipeline(PLACE).renew_at == NOW


@pytest.mark.parametrize(("keep", "kept"), [(0, {"t4"}), (1, {"t4", "t3"}), (9, {"t1", "t2", "t3", "t4"})])
def test_as_many_earlier_certificates_stay_as_are_asked_for(entered, keep, kept):
    for number in (1, 2, 3, 4):
        _issue(entered, number, keep=keep)
    status = _status(entered)
    assert {name for name in status if status[name] == "issued"} == kept
    assert {status[name] for name in status.keys() - kept} <= {"superseded"}


def test_another_issued_certificate_can_be_made_the_current_one(entered):
    _issue(entered, 1)
    _issue(entered, 2)
    entered.select(PLACE, "t1", renew_at=NOW)
    record = entered.pipeline(PLACE)
    assert (record.current.certificate, record.renew_at) == (_facts(1), NOW)


def test_an_adopted_certificate_is_current(entered):
    entered.adopt(PLACE, "adopted-1", _facts(7), at=NOW, renew_at=NOW + HOUR, keep=1)
    current = entered.pipeline(PLACE).current
    assert (current.purpose, current.status, current.certificate) == ("adoption", "issued", _facts(7))


def test_deliveries_are_of_the_current_certificate_and_count_their_tries(entered):
    _issue(entered, 1)
    for error in ("permission denied", None):
        entered.deliver(PLACE, "t1", "p12", options="ab", at=NOW, error=error)
    (delivery,) = entered.pipeline(PLACE).deliveries.values()
    assert (delivery.sink, delivery.error, delivery.tries, delivery.at) == ("p12", None, 2, NOW)
    _issue(entered, 2)
    assert entered.pipeline(PLACE).deliveries == {}


def test_deliveries_can_be_forgotten_all_or_those_of_some_sinks(entered):
    _issue(entered, 1)
    for sink in ("a", "b", "c"):
        entered.deliver(PLACE, "t1", sink, options="ab", at=NOW, error=None)
    entered.forget_sinks(PLACE, ["a", "b"])
    assert list(entered.pipeline(PLACE).deliveries) == ["c"]
    entered.undeliver(PLACE, "t1")
    assert entered.pipeline(PLACE).deliveries == {}


def test_how_a_run_ended_is_kept(entered):
    entered.end(PLACE, outcome="failed", exit_code=4, at=NOW, message="it hung up", hint="is it up?")
    record = entered.pipeline(PLACE)
    assert (record.outcome, record.exit_code, record.ended_at) == ("failed", 4, NOW)
    assert (record.message, record.hint) == ("it hung up", "is it up?")
    entered.end(PLACE, outcome="issued", exit_code=0, at=NOW)
    assert (entered.pipeline(PLACE).message, entered.pipeline(PLACE).hint) == ("", "")


def test_times_are_utc_whatever_zone_they_come_in(entered):
    entered.tell(PLACE, "issued", "x", at=NOW.astimezone(timezone(5 * HOUR)))
    (happening,) = entered.history()
    assert happening.at == NOW
    assert happening.at.utcoffset() == timedelta(0)


def test_history_is_the_latest_lines_the_oldest_first(entered):
    entered.enter("gw2-1", name="gw2", file="/etc/gw2.toml")
    for number in range(4):
        entered.tell(PLACE, "issued", str(number), at=NOW)
        entered.tell("gw2-1", "issued", f"other {number}", at=NOW)
    assert [happening.text for happening in entered.history(PLACE, limit=2)] == ["2", "3"]
    assert [happening.pipeline for happening in entered.history(limit=2)] == ["gw1", "gw2"]
    assert len(entered.history()) == 8


def test_of_each_pipeline_only_so_many_lines_are_kept(entered):
    class Short(Journal):
        kept_happenings = 3

    entered = Short(entered.path)
    entered.enter("gw2-1", name="gw2", file="/etc/gw2.toml")
    entered.tell("gw2-1", "issued", "other", at=NOW)
    for number in range(10):
        entered.tell(PLACE, "issued", str(number), at=NOW)
    assert [happening.text for happening in entered.history(PLACE)] == ["7", "8", "9"]
    assert [happening.text for happening in entered.history("gw2-1")] == ["other"]


def test_nothing_that_is_written_is_taken_for_sql(entered):
    entered.tell(PLACE, "'; DROP TABLE happening; --", "x', 'y", at=NOW)
    assert [(happening.kind, happening.text) for happening in entered.history()] == [
        ("'; DROP TABLE happening; --", "x', 'y")
    ]
