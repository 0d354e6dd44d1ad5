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
from scepflow.journal import OWED, Journal
from scepflow.journal_schema import MIGRATIONS
from scepflow.records import CertificateFacts, RefusalRecord
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


REFUSAL = RefusalRecord(
    asked="ab",
    purpose="renewal",
    at=NOW,
    exit_code=72,
    fail_info=2,
    fail_info_text="too early",
    message="the CA rejected it",
    hint="is it too early?",
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


class First(Journal):
    """The first version."""

    migrations = MIGRATIONS[:1]


def test_a_journal_of_the_first_version_keeps_its_rejections_and_the_order_of_use(tmp_path):
    first = First(tmp_path / "journal.sqlite3")
    rows = [("held", "x1"), ("told", "x2"), ("back", "b1")]
    with first._writing() as db:
        for name, current in rows:
            db.execute(
                "INSERT INTO pipeline (place, name, file, current, refused) VALUES (?, ?, ?, ?, ?)",
                (name, name, f"/etc/{name}.toml", current, None if name == "back" else "ab"),
            )
        db.execute(
            "UPDATE pipeline SET outcome = 'rejected', exit_code = 72, message = 'no', hint = 'why' WHERE place = 'held'"
        )
        db.execute(
            "UPDATE pipeline SET outcome = 'failed', exit_code = 4, message = 'gone' WHERE place = 'told'"
        )
        attempts = [("held", "x1", "rejected"), ("told", "x2", "rejected")]
        attempts += [
            ("back", name, status) for name, status in (("b0", "issued"), ("b1", "issued"), ("b2", "issued"))
        ]
        for place, name, status in attempts:
            db.execute(
                "INSERT INTO attempt (place, transaction_id, purpose, status, begun_at, asked_at, message_type, ended_at)"
                " VALUES (?, ?, 'renewal', ?, ?, ?, 'PKCSReq', ?)",
                (place, name, status, *[NOW.isoformat()] * 3),
            )
    journal = Journal(first.path)
    refusal = journal.pipeline("held").refused
    assert (refusal.asked, refusal.purpose, refusal.at) == ("ab", "renewal", NOW)
    assert (refusal.exit_code, refusal.fail_info, refusal.message, refusal.hint) == (72, 2, "no", "why")
    refusal = journal.pipeline("told").refused
    assert (refusal.exit_code, refusal.fail_info, refusal.message) == (2, None, "the CA rejected the request")
    assert journal.pipeline("back").refused is None
    assert journal.before_current("back").transaction_id == "b0"
    journal.begin("back", "b3", purpose="renewal", message_type="PKCSReq", at=NOW)
    journal.issue("back", "b3", _facts(), at=NOW, renew_at=NOW, keep=1)
    assert journal.before_current("back").transaction_id == "b1"


DAMAGES = [
    ("UPDATE pipeline SET renew_at = 'soon' WHERE place = 'gw1-1a2b3c4d'", "soon"),
    ("UPDATE pipeline SET ended_at = '2026-01-01T00:00:00' WHERE place = 'gw1-1a2b3c4d'", "no time zone"),
    ("UPDATE attempt SET begun_at = 'then'", "transaction t1: .*begun_at"),
    ("UPDATE attempt SET not_after = '2026-01-01T00:00:00'", "transaction t1: .*not_after"),
    ("UPDATE delivery SET at = ''", "delivery to box: .*at"),
    ("UPDATE refusal SET at = 'once'", "refusal: .*at"),
]


@pytest.mark.parametrize(("statement", "said"), DAMAGES)
def test_what_no_scepflow_has_written_is_said_of_its_pipeline_and_of_no_other(entered, statement, said):
    _issue(entered, 1)
    entered.deliver(PLACE, "t1", "box", options="ab", at=NOW, error=None)
    entered.enter("gw2-1", name="gw2", file="/etc/gw2.toml")
    _begin(entered, "t2")
    entered.close(PLACE, "t2", at=NOW, refusal=REFUSAL)
    with closing(sqlite3.connect(entered.path)) as db, db:
        assert db.execute(statement).rowcount
    with pytest.raises(StateError, match=said) as caught:
        entered.pipeline(PLACE)
    assert str(entered.path) in caught.value.message
    assert caught.value.hint
    damaged, whole = entered.pipelines()
    assert (damaged.name, damaged.outcome, damaged.exit_code) == ("gw1", "failed", 78)
    assert damaged.message == caught.value.message
    assert (whole.name, whole.outcome) == ("gw2", "")


def test_damaged_history_is_an_error_that_says_where(entered):
    entered.tell(PLACE, "issued", "x", at=NOW)
    with closing(sqlite3.connect(entered.path)) as db, db:
        db.execute("UPDATE happening SET at = 'once'")
    with pytest.raises(StateError, match="history of gw1"):
        entered.history()


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


def test_who_writes_is_alone_before_it_has_read_anything(entered):
    """Two that read first and write then would both wait for the other to end."""
    with (
        entered._writing(),
        closing(sqlite3.connect(entered.path, timeout=0, isolation_level=None)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("BEGIN IMMEDIATE")


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
    entered.close(PLACE, "t1", at=NOW)
    record = entered.pipeline(PLACE)
    assert (record.open, record.refused, _status(entered)) == (None, None, {"t1": "abandoned"})


def test_a_rejection_is_kept_with_its_reason_whatever_later_runs_end_with(entered):
    _begin(entered, "t1")
    entered.close(PLACE, "t1", at=NOW, refusal=REFUSAL)
    record = entered.pipeline(PLACE)
    assert (record.open, record.refused, _status(entered)) == (None, REFUSAL, {"t1": "rejected"})
    assert (record.outcome, record.exit_code, record.message) == ("rejected", 72, REFUSAL.message)
    assert [happening.text for happening in entered.history()] == [REFUSAL.message]
    entered.end(PLACE, outcome="failed", exit_code=4, at=NOW, message="it hung up")
    _begin(entered, "t2")
    entered.close(PLACE, "t2", at=NOW)
    assert entered.pipeline(PLACE).refused == REFUSAL


def test_a_refusal_is_over_once_it_is_allowed_or_something_is_issued(entered):
    for number, forget in enumerate((lambda: entered.allow(PLACE), lambda: _issue(entered, 7))):
        _begin(entered, f"t{number}")
        entered.close(PLACE, f"t{number}", at=NOW, refusal=REFUSAL)
        assert entered.pipeline(PLACE).refused == REFUSAL
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
    entered.select(PLACE, "t1", at=NOW, renew_at=NOW, sinks=["box"])
    record = entered.pipeline(PLACE)
    assert (record.current.certificate, record.renew_at) == (_facts(1), NOW)
    assert [delivery.error for delivery in record.deliveries.values()] == [OWED]
    assert entered.history()[-1].text == "back to serial 1"


def test_of_a_clock_that_is_set_back_nothing_depends_on(entered):
    for number in (3, 2, 1):  # each of an hour before the one that was issued last
        _issue(entered, number, keep=1)
    assert entered.pipeline(PLACE).current.status == "issued"
    assert _status(entered) == {"t3": "superseded", "t2": "issued", "t1": "issued"}
    assert entered.before_current(PLACE).transaction_id == "t2"
    assert [attempt.transaction_id for attempt in entered.attempts(PLACE)] == ["t1", "t2", "t3"]


def test_what_was_in_use_before_stays_and_not_what_one_went_back_from(entered):
    _issue(entered, 1)
    _issue(entered, 2)
    entered.select(PLACE, "t1", at=NOW, renew_at=NOW)
    assert entered.before_current(PLACE) is None
    _issue(entered, 3)
    assert _status(entered) == {"t1": "issued", "t2": "superseded", "t3": "issued"}
    assert entered.before_current(PLACE).transaction_id == "t1"


def test_the_certificates_of_other_pipelines_stay(entered):
    other = "gw2-1"
    entered.enter(other, name="gw2", file="/etc/gw2.toml")
    for name in ("o1", "o2"):
        entered.begin(other, name, purpose="enrollment", message_type="PKCSReq", at=NOW)
        entered.issue(other, name, _facts(9), at=NOW, renew_at=NOW, keep=1)
    for number in (1, 2, 3):
        _issue(entered, number, keep=0)
    assert {attempt.status for attempt in entered.attempts(other)} == {"issued"}
    assert entered.before_current(other).transaction_id == "o1"


def test_an_adopted_certificate_is_current_and_delivered(entered):
    entered.adopt(PLACE, "adopted-1", _facts(7), at=NOW, renew_at=NOW + HOUR, keep=1, delivered={"box": "ab"})
    current = entered.pipeline(PLACE).current
    (delivery,) = entered.pipeline(PLACE).deliveries.values()
    assert (delivery.sink, delivery.options, delivery.error) == ("box", "ab", None)
    assert (current.purpose, current.status, current.certificate) == ("adoption", "issued", _facts(7))


def test_deliveries_are_of_the_current_certificate_and_count_their_tries(entered):
    _issue(entered, 1)
    for error in ("permission denied", None):
        entered.deliver(PLACE, "t1", "p12", options="ab", at=NOW, error=error)
    (delivery,) = entered.pipeline(PLACE).deliveries.values()
    assert (delivery.sink, delivery.error, delivery.tries, delivery.at) == ("p12", None, 2, NOW)
    _issue(entered, 2)
    assert entered.pipeline(PLACE).deliveries == {}


def test_every_sink_is_behind_from_the_moment_a_certificate_is_issued(entered):
    _begin(entered, "t1")
    entered.issue(PLACE, "t1", _facts(), at=NOW, renew_at=NOW, keep=1, sinks=["a", "b"])
    owed = entered.pipeline(PLACE).deliveries
    assert {name: (delivery.error, delivery.tries) for name, delivery in owed.items()} == {
        "a": (OWED, 0),
        "b": (OWED, 0),
    }
    entered.deliver(PLACE, "t1", "a", options="ab", at=NOW, error=None, outdates=["bell"])
    known = entered.pipeline(PLACE).deliveries
    assert {name: delivery.error for name, delivery in known.items()} == {"a": None, "b": OWED, "bell": OWED}


def test_a_sink_that_fails_as_before_leaves_no_second_line(entered):
    _issue(entered, 1)
    for error in ("full", "full", "denied", None, "denied"):
        entered.deliver(PLACE, "t1", "a", options="ab", at=NOW, error=error, detail="a.pem")
    told = [(happening.kind, happening.text) for happening in entered.history()][1:]
    assert told == [
        ("sink-failed", "a: full"),
        ("sink-failed", "a: denied"),
        ("delivered", "a: a.pem"),
        ("sink-failed", "a: denied"),
    ]


class Dying(Journal):
    """One whose process ends when it would add to the history."""

    def _tell(self, *_):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "write",
    [
        lambda journal: journal.issue(PLACE, "t9", _facts(9), at=NOW, renew_at=NOW, keep=1, sinks=["a"]),
        lambda journal: journal.adopt(PLACE, "a1", _facts(9), at=NOW, renew_at=NOW, keep=1),
        lambda journal: journal.select(PLACE, "t1", at=NOW, renew_at=NOW, sinks=["a"]),
        lambda journal: journal.deliver(PLACE, "t2", "a", options="ab", at=NOW, error=None),
        lambda journal: journal.close(PLACE, "t9", at=NOW, refusal=REFUSAL),
        lambda journal: journal.end(PLACE, outcome="failed", exit_code=4, at=NOW, message="it hung up"),
    ],
)
def test_what_happened_and_its_line_of_history_are_noted_together_or_not_at_all(entered, write):
    _issue(entered, 1)
    _issue(entered, 2)
    _begin(entered, "t9")
    before = entered.pipeline(PLACE), entered.attempts(PLACE), entered.history()
    with pytest.raises(KeyboardInterrupt):
        write(Dying(entered.path))
    assert (entered.pipeline(PLACE), entered.attempts(PLACE), entered.history()) == before
    write(entered)
    assert len(entered.history()) == len(before[2]) + 1


def test_deliveries_can_be_forgotten_of_some_sinks(entered):
    _issue(entered, 1)
    for sink in ("a", "b", "c"):
        entered.deliver(PLACE, "t1", sink, options="ab", at=NOW, error=None)
    entered.forget_sinks(PLACE, ["a", "b"])
    assert list(entered.pipeline(PLACE).deliveries) == ["c"]


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
