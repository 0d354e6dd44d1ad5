"""The journal: what has become of every pipeline, in one SQLite file.

Each change is on disk when the call that makes it returns (synchronous = FULL or stronger).
Must never hold: a private key, a challenge or a request, which carries one; the
files of `scepflow.state` do.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from scepflow.errors import StateError
from scepflow.private_files import explained, make_private_file
from scepflow.records import AttemptRecord, CertificateFacts, DeliveryRecord, Happening, PipelineRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Journal"]

_BUSY_S = 30.0
"""How long one process waits while another writes; a write takes milliseconds."""

_SCHEMA = """
CREATE TABLE pipeline (
    place TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    file TEXT NOT NULL,
    current TEXT,
    renew_at TEXT,
    outcome TEXT,
    exit_code INTEGER,
    message TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    ended_at TEXT,
    refused TEXT
) STRICT;
CREATE TABLE attempt (
    place TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    status TEXT NOT NULL,
    begun_at TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    polls INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    message_type TEXT NOT NULL,
    ended_at TEXT,
    subject TEXT, issuer TEXT, serial TEXT, fingerprint TEXT, not_before TEXT, not_after TEXT,
    PRIMARY KEY (place, transaction_id)
) STRICT;
CREATE TABLE delivery (
    place TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    sink TEXT NOT NULL,
    options TEXT NOT NULL,
    at TEXT NOT NULL,
    error TEXT,
    tries INTEGER NOT NULL,
    PRIMARY KEY (place, transaction_id, sink)
) STRICT;
CREATE TABLE happening (
    id INTEGER PRIMARY KEY,
    place TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX happening_of ON happening (place, id);
"""


class Journal:
    """The journal of one state directory.

    Args:
        path: the SQLite file; it is made, mode 0600, when something is first written.
    """

    migrations: ClassVar[tuple[str, ...]] = (_SCHEMA,)
    """Each from a version of the schema to the next, from none on. A newer schema than these lead to is refused."""

    kept_happenings: ClassVar[int] = 1000
    """Of each pipeline; the oldest are let go."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # -- reading

    def pipelines(self) -> tuple[PipelineRecord, ...]:
        """Return every pipeline that has ever run, by name."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM pipeline ORDER BY name, file").fetchall() if db else []
            return tuple(_pipeline_record(db, row) for row in rows)

    def pipeline(self, place: str) -> PipelineRecord | None:
        """Return how a pipeline stands, or None before its first run."""
        with self._reading() as db:
            row = db and db.execute("SELECT * FROM pipeline WHERE place = ?", (place,)).fetchone()
            return _pipeline_record(db, row) if row else None

    def attempts(self, place: str) -> tuple[AttemptRecord, ...]:
        """Return all attempts of a pipeline, the latest first."""
        with self._reading() as db:
            return _attempts(db, "place = ? ORDER BY begun_at DESC, rowid DESC", place) if db else ()

    def history(self, place: str | None = None, *, limit: int = 1000) -> tuple[Happening, ...]:
        """Return what happened, the oldest first.

        Args:
            place: of this pipeline alone.
            limit: at most so many of the latest, 1 or more.
        """
        where, values = ("WHERE h.place = ?", (place,)) if place else ("", ())
        columns = "h.at, p.name AS pipeline, h.kind, h.text FROM happening h JOIN pipeline p USING (place)"
        query = f"SELECT {columns} {where} ORDER BY h.id DESC LIMIT ?"  # constants
        with self._reading() as db:
            rows = db.execute(query, (*values, limit)).fetchall() if db else []
        return tuple(msgspec.convert(dict(row), Happening) for row in reversed(rows))

    # -- writing; each call is one transaction

    def enter(self, place: str, *, name: str, file: str) -> None:
        """Make a pipeline known."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO pipeline (place, name, file) VALUES (?, ?, ?)"
                " ON CONFLICT (place) DO UPDATE SET name = excluded.name, file = excluded.file",
                (place, name, file),
            )

    def begin(
        self, place: str, transaction_id: str, *, purpose: str, message_type: str, at: datetime
    ) -> None:
        """Note that a request is about to leave; what it needs is in its folder."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO attempt (place, transaction_id, purpose, status, begun_at, asked_at, message_type)"
                " VALUES (?, ?, ?, 'sent', ?, ?, ?)",
                (place, transaction_id, purpose, _text(at), _text(at), message_type),
            )

    def asked(self, place: str, transaction_id: str, *, at: datetime) -> None:
        """Note that a poll is about to leave."""
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET asked_at = ?, polls = polls + 1 WHERE place = ? AND transaction_id = ?",
                (_text(at), place, transaction_id),
            )

    def pending(self, place: str, transaction_id: str) -> None:
        """Note that the CA has the request and will decide."""
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET pending = 1 WHERE place = ? AND transaction_id = ?",
                (place, transaction_id),
            )

    def close(
        self, place: str, transaction_id: str, *, status: str, at: datetime, refused: str | None = None
    ) -> None:
        """Note that an attempt gave no certificate.

        Args:
            place: of the pipeline.
            transaction_id: of the attempt.
            status: ``rejected`` or ``abandoned``.
            at: when, aware UTC.
            refused: digest of what was asked and shall not be asked again, or None.
        """
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET status = ?, ended_at = ? WHERE place = ? AND transaction_id = ?",
                (status, _text(at), place, transaction_id),
            )
            db.execute("UPDATE pipeline SET refused = ? WHERE place = ?", (refused, place))

    def allow(self, place: str) -> None:
        """Let what the CA has rejected be asked again."""
        with self._writing() as db:
            db.execute("UPDATE pipeline SET refused = NULL WHERE place = ?", (place,))

    def issue(
        self,
        place: str,
        transaction_id: str,
        certificate: CertificateFacts,
        *,
        at: datetime,
        renew_at: datetime,
        keep: int,
    ) -> None:
        """Note a certificate, whose files are in the attempt's folder, and make it the current one.

        Args:
            place: of the pipeline.
            transaction_id: of the attempt.
            certificate: what was issued.
            at: when, aware UTC.
            renew_at: when it is due, aware UTC.
            keep: how many earlier certificates stay, 0 or more.
        """
        facts = certificate.__class__.__struct_fields__
        columns = ", ".join(f"{name} = ?" for name in facts)
        values = [_plain(getattr(certificate, name)) for name in facts]
        with self._writing() as db:
            db.execute(
                f"UPDATE attempt SET status = 'issued', ended_at = ?, {columns}"  # noqa: S608  # names of fields
                " WHERE place = ? AND transaction_id = ?",
                (_text(at), *values, place, transaction_id),
            )
            self._select(db, place, transaction_id, renew_at)
            db.execute(
                "UPDATE attempt SET status = 'superseded' WHERE place = ? AND status = 'issued' AND rowid NOT IN"
                " (SELECT rowid FROM attempt WHERE place = ? AND status = 'issued' ORDER BY ended_at DESC, rowid DESC LIMIT ?)",
                (place, place, keep + 1),
            )

    def adopt(
        self,
        place: str,
        transaction_id: str,
        certificate: CertificateFacts,
        *,
        at: datetime,
        renew_at: datetime,
        keep: int,
    ) -> None:
        """Note a certificate that came from elsewhere, and make it the current one; as `issue`."""
        self.begin(place, transaction_id, purpose="adoption", message_type="", at=at)
        self.issue(place, transaction_id, certificate, at=at, renew_at=renew_at, keep=keep)

    def select(self, place: str, transaction_id: str, *, renew_at: datetime) -> None:
        """Make another issued certificate the current one."""
        with self._writing() as db:
            self._select(db, place, transaction_id, renew_at)

    @staticmethod
    def _select(db: sqlite3.Connection, place: str, transaction_id: str, renew_at: datetime) -> None:
        db.execute(
            "UPDATE pipeline SET current = ?, renew_at = ?, refused = NULL WHERE place = ?",
            (transaction_id, _text(renew_at), place),
        )

    def due(self, place: str, renew_at: datetime) -> None:
        """Note when the current certificate is due, should the options have changed."""
        with self._writing() as db:
            db.execute("UPDATE pipeline SET renew_at = ? WHERE place = ?", (_text(renew_at), place))

    def deliver(
        self,
        place: str,
        transaction_id: str,
        sink: str,
        *,
        options: str,
        at: datetime,
        error: str | None,
        outdates: Sequence[str] = (),
    ) -> None:
        """Note what became of a sink.

        Args:
            place: of the pipeline.
            transaction_id: of the certificate.
            sink: name of its table.
            options: digest of its options.
            at: when, aware UTC.
            error: why it failed, or None.
            outdates: sinks that need to be told once more because of this one.
        """
        with self._writing() as db:
            for other in outdates:
                db.execute(
                    "DELETE FROM delivery WHERE place = ? AND transaction_id = ? AND sink = ?",
                    (place, transaction_id, other),
                )
            db.execute(
                "INSERT INTO delivery (place, transaction_id, sink, options, at, error, tries) VALUES (?, ?, ?, ?, ?, ?, 1)"
                " ON CONFLICT (place, transaction_id, sink) DO UPDATE SET options = excluded.options, at = excluded.at,"
                " error = excluded.error, tries = tries + 1",
                (place, transaction_id, sink, options, _text(at), error),
            )

    def undeliver(self, place: str, transaction_id: str) -> None:
        """Forget what was delivered of a certificate, so that every sink gets it again."""
        with self._writing() as db:
            db.execute("DELETE FROM delivery WHERE place = ? AND transaction_id = ?", (place, transaction_id))

    def forget_sinks(self, place: str, sinks: Sequence[str]) -> None:
        """Forget what became of sinks that the pipeline does not have any more."""
        with self._writing() as db:
            for sink in sinks:
                db.execute("DELETE FROM delivery WHERE place = ? AND sink = ?", (place, sink))

    def end(
        self, place: str, *, outcome: str, exit_code: int, at: datetime, message: str = "", hint: str = ""
    ) -> None:
        """Note how a run ended."""
        with self._writing() as db:
            db.execute(
                "UPDATE pipeline SET outcome = ?, exit_code = ?, message = ?, hint = ?, ended_at = ? WHERE place = ?",
                (outcome, exit_code, message, hint, _text(at), place),
            )

    def tell(self, place: str, kind: str, text: str, *, at: datetime) -> None:
        """Add a line to a pipeline's history."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO happening (place, at, kind, text) VALUES (?, ?, ?, ?)",
                (place, _text(at), kind, text),
            )
            db.execute(
                "DELETE FROM happening WHERE place = ? AND id <="
                " (SELECT id FROM happening WHERE place = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (place, place, self.kept_happenings),
            )

    # -- the file

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """Give a connection, or None where there is no journal yet."""
        with explained(self.path):
            there = self.path.exists()
        if not there:
            yield None
            return
        with self._explained(), closing(self._open()) as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._explained(), closing(self._open()) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # a full disk may have ended it
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        make_private_file(self.path)
        db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.row_factory = sqlite3.Row
        # FULL, and the folder too once the rollback journal is gone: else a power cut may take back what is committed.
        db.execute("PRAGMA synchronous = EXTRA")
        known = len(self.migrations)
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > known:
            raise StateError(
                f"{self.path} was written by a newer scepflow (schema {version}, this one knows {known})",
                hint="use that scepflow, or another --state-dir",
            )
        if version < known:
            self._migrate(db)

    def _migrate(self, db: sqlite3.Connection) -> None:
        """Bring the schema up to date, whole or not at all."""
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()  # another process may have been faster
        for step in self.migrations[version:]:
            for statement in step.split(";"):
                db.execute(statement)
            version += 1
        db.execute(f"PRAGMA user_version = {version:d}")
        db.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(
                f"cannot use {self.path}: {error}",
                hint="is the disk full, or the file damaged? another place is named with --state-dir or SCEPFLOW_STATE_DIR",
            ) from None


def _pipeline_record(db: sqlite3.Connection, row: sqlite3.Row) -> PipelineRecord:
    place, current = row["place"], row["current"]
    deliveries = db.execute(
        "SELECT sink, options, at, error, tries FROM delivery WHERE place = ? AND transaction_id = ?",
        (place, current),
    )
    return PipelineRecord(
        place=place,
        name=row["name"],
        file=row["file"],
        current=_first(_attempts(db, "place = ? AND transaction_id = ?", place, current)),
        renew_at=_time(row["renew_at"]),
        open=_first(_attempts(db, "place = ? AND status = 'sent' ORDER BY rowid DESC", place)),
        deliveries={
            delivery["sink"]: msgspec.convert(dict(delivery), DeliveryRecord) for delivery in deliveries
        },
        outcome=row["outcome"] or "",
        exit_code=row["exit_code"] or 0,
        message=row["message"],
        hint=row["hint"],
        ended_at=_time(row["ended_at"]),
        refused=row["refused"],
    )


def _attempts(db: sqlite3.Connection, where: str, *values: str | None) -> tuple[AttemptRecord, ...]:
    rows = db.execute(f"SELECT * FROM attempt WHERE {where}", values)  # noqa: S608  # constants of this module
    return tuple(_attempt_record(row) for row in rows)


def _attempt_record(row: sqlite3.Row) -> AttemptRecord:
    values = dict(row)
    certificate = msgspec.convert(values, CertificateFacts) if values["serial"] else None
    return msgspec.convert(values | {"certificate": certificate}, AttemptRecord, strict=False)


def _first(records: Sequence[AttemptRecord]) -> AttemptRecord | None:
    return records[0] if records else None


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _plain(value: str | datetime) -> str:
    return _text(value) if isinstance(value, datetime) else value
