"""The journal: what has become of every pipeline, in one SQLite file.

Each change is made whole, and on disk when the call that makes it returns.
Must never hold: a private key, a challenge or a request, which carries one; the
files of `scepflow.state` do.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from scepflow.errors import StateError
from scepflow.journal_file import LOOK, JournalFile
from scepflow.journal_rows import attempts, happening, pipeline_record
from scepflow.records import PipelineRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from scepflow.records import AttemptRecord, CertificateFacts, Happening, RefusalRecord

__all__ = ["OWED", "Journal"]

OWED = "it has not got it yet"
"""Stands for the error of a sink that is behind though nothing failed: its turn has not come, or it must be told anew."""


class Journal(JournalFile):
    """The journal of one state directory.

    Args:
        path: the SQLite file; it is made, mode 0600, when something is first written.
    """

    kept_happenings: ClassVar[int] = 1000
    """Of each pipeline; the oldest are let go."""

    # -- reading

    def pipelines(self) -> tuple[PipelineRecord, ...]:
        """Return every pipeline that has ever run, by name; of one whose rows are damaged, that they are."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM pipeline ORDER BY name, file").fetchall() if db else []
            return tuple(self._readable(db, row) for row in rows)

    def _readable(self, db: sqlite3.Connection, row: sqlite3.Row) -> PipelineRecord:
        try:
            return pipeline_record(db, row)
        except ValueError as error:
            return PipelineRecord(
                place=row["place"],
                name=row["name"],
                file=row["file"],
                outcome="failed",
                exit_code=StateError.exit_code,
                message=self.damaged(error),
                hint=LOOK,
            )

    def pipeline(self, place: str) -> PipelineRecord | None:
        """Return how a pipeline stands, or None before its first run.

        Raises:
            StateError: what is written of it is damaged.
        """
        with self._reading() as db:
            row = db and db.execute("SELECT * FROM pipeline WHERE place = ?", (place,)).fetchone()
            return pipeline_record(db, row) if row else None

    def attempts(self, place: str) -> tuple[AttemptRecord, ...]:
        """Return all attempts of a pipeline, the latest first."""
        with self._reading() as db:
            return attempts(db, "place = ? ORDER BY rowid DESC", place) if db else ()

    def before_current(self, place: str) -> AttemptRecord | None:
        """Return what was in use before the current certificate and is kept, or None; what one went back from does not count."""
        used = "SELECT c.used FROM attempt c JOIN pipeline p ON p.place = c.place AND p.current = c.transaction_id"
        where = f"place = ? AND status = 'issued' AND 0 < used AND used < ({used} WHERE c.place = ?) ORDER BY used DESC"
        with self._reading() as db:
            found = attempts(db, where, place, place) if db else ()
        return found[0] if found else None

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
            return tuple(happening(row) for row in reversed(rows))

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
            self._begin(db, place, transaction_id, purpose=purpose, message_type=message_type, at=at)

    @staticmethod
    def _begin(
        db: sqlite3.Connection, place: str, transaction_id: str, *, at: datetime, **named: str
    ) -> None:
        db.execute(
            "INSERT INTO attempt (place, transaction_id, purpose, status, begun_at, asked_at, message_type)"
            " VALUES (?, ?, ?, 'sent', ?, ?, ?)",
            (place, transaction_id, named["purpose"], _text(at), _text(at), named["message_type"]),
        )

    def asked(self, place: str, transaction_id: str, *, at: datetime) -> None:
        """Note that a poll is about to leave."""
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET asked_at = ?, polls = polls + 1 WHERE place = ? AND transaction_id = ?",
                (_text(at), place, transaction_id),
            )

    def resent(self, place: str, transaction_id: str, *, at: datetime) -> None:
        """Note that a request is about to leave once more, under the same name."""
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET asked_at = ?, resent = resent + 1 WHERE place = ? AND transaction_id = ?",
                (_text(at), place, transaction_id),
            )
            self._tell(db, place, "resent", f"the request of transaction {transaction_id} is sent again", at)

    def pending(self, place: str, transaction_id: str) -> None:
        """Note that the CA has the request and will decide."""
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET pending = 1 WHERE place = ? AND transaction_id = ?",
                (place, transaction_id),
            )

    def close(
        self, place: str, transaction_id: str, *, at: datetime, refusal: RefusalRecord | None = None
    ) -> None:
        """Note that an attempt gave no certificate: the CA has rejected it, or else it is given up.

        Args:
            place: of the pipeline.
            transaction_id: of the attempt.
            at: when, aware UTC.
            refusal: what the CA has rejected; so the run ends, too.
        """
        status = "rejected" if refusal else "abandoned"
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET status = ?, ended_at = ? WHERE place = ? AND transaction_id = ?",
                (status, _text(at), place, transaction_id),
            )
            if refusal:
                db.execute(
                    "INSERT OR REPLACE INTO refusal (place, asked, purpose, at, exit_code, fail_info, fail_info_text,"
                    " message, hint) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        place,
                        refusal.asked,
                        refusal.purpose,
                        _text(refusal.at),
                        refusal.exit_code,
                        refusal.fail_info,
                        refusal.fail_info_text,
                        refusal.message,
                        refusal.hint,
                    ),
                )
                self._end_refused(db, place, refusal, at)

    def hold(self, place: str, refusal: RefusalRecord, *, at: datetime) -> None:
        """Note that a run asked nothing because of what the CA has rejected, whatever runs in between ended with."""
        with self._writing() as db:
            self._end_refused(db, place, refusal, at)

    def _end_refused(self, db: sqlite3.Connection, place: str, refusal: RefusalRecord, at: datetime) -> None:
        self._end(
            db,
            place,
            outcome="rejected",
            exit_code=refusal.exit_code,
            at=at,
            message=refusal.message,
            hint=refusal.hint,
        )

    def allow(self, place: str) -> None:
        """Let what the CA has rejected be asked again."""
        with self._writing() as db:
            self._allow(db, place)

    @staticmethod
    def _allow(db: sqlite3.Connection, place: str) -> None:
        db.execute("DELETE FROM refusal WHERE place = ?", (place,))

    def issue(
        self,
        place: str,
        transaction_id: str,
        certificate: CertificateFacts,
        *,
        at: datetime,
        renew_at: datetime,
        keep: int,
        action: str = "issued",
        sinks: Iterable[str] = (),
    ) -> None:
        """Note a certificate, whose files are in the attempt's folder, and make it the current one.

        Args:
            place: of the pipeline.
            transaction_id: of the attempt.
            certificate: what was issued.
            at: when, aware UTC.
            renew_at: when it is due, aware UTC.
            keep: how many of those that were in use before stay, the latest ones, 0 or more.
            action: ``issued`` or ``renewed``.
            sinks: who is to get it.
        """
        with self._writing() as db:
            self._issue(db, place, transaction_id, certificate, at=at, renew_at=renew_at, keep=keep)
            self._owe(db, place, transaction_id, sinks, at)
            self._end(db, place, outcome=action, exit_code=0, at=at)
            self._tell(db, place, action, _said(certificate), at)

    def _issue(
        self,
        db: sqlite3.Connection,
        place: str,
        transaction_id: str,
        certificate: CertificateFacts,
        *,
        at: datetime,
        renew_at: datetime,
        keep: int,
    ) -> None:
        facts = certificate.__class__.__struct_fields__
        columns = ", ".join(f"{name} = ?" for name in facts)
        values = [_plain(getattr(certificate, name)) for name in facts]
        db.execute(
            f"UPDATE attempt SET status = 'issued', ended_at = ?, {columns},"  # noqa: S608  # names of fields
            " used = (SELECT 1 + max(used) FROM attempt WHERE place = ?)"
            " WHERE place = ? AND transaction_id = ?",
            (_text(at), *values, place, place, transaction_id),
        )
        self._select(db, place, transaction_id, renew_at)
        others = "place = ? AND status = 'issued' AND transaction_id <> ?"
        db.execute(
            f"UPDATE attempt SET status = 'superseded' WHERE {others} AND rowid NOT IN"  # noqa: S608  # a constant
            f" (SELECT rowid FROM attempt WHERE {others} ORDER BY used DESC, rowid DESC LIMIT ?)",
            (place, transaction_id, place, transaction_id, keep),
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
        delivered: Mapping[str, str] | None = None,
    ) -> None:
        """Note a certificate that came from elsewhere, and make it the current one; as `issue`.

        Args:
            place: of the pipeline.
            transaction_id: names its folder.
            certificate: what it is.
            at: when, aware UTC.
            renew_at: when it is due, aware UTC.
            keep: how many of those that were in use before stay.
            delivered: the sinks that have it, and digests of their options.
        """
        with self._writing() as db:
            self._begin(db, place, transaction_id, purpose="adoption", message_type="", at=at)
            self._issue(db, place, transaction_id, certificate, at=at, renew_at=renew_at, keep=keep)
            for sink, options in (delivered or {}).items():
                self._deliver(db, (place, transaction_id, sink), options=options, at=at, error=None)
            self._tell(db, place, "adopted", _said(certificate), at)

    def select(
        self,
        place: str,
        transaction_id: str,
        *,
        at: datetime,
        renew_at: datetime,
        sinks: Iterable[str] = (),
    ) -> None:
        """Go back to a certificate that was in use before; every sink is to get it again.

        Args:
            place: of the pipeline.
            transaction_id: of the certificate.
            at: when, aware UTC.
            renew_at: when it is due, aware UTC.
            sinks: who is to get it.
        """
        with self._writing() as db:
            db.execute(
                "UPDATE attempt SET used = 0 WHERE place = ? AND transaction_id ="
                " (SELECT current FROM pipeline WHERE place = ?)",
                (place, place),
            )
            self._select(db, place, transaction_id, renew_at)
            db.execute("DELETE FROM delivery WHERE place = ? AND transaction_id = ?", (place, transaction_id))
            self._owe(db, place, transaction_id, sinks, at)
            self._end(db, place, outcome="rolled-back", exit_code=0, at=at)
            (serial,) = db.execute(
                "SELECT serial FROM attempt WHERE place = ? AND transaction_id = ?", (place, transaction_id)
            ).fetchone()
            self._tell(db, place, "rolled-back", f"back to serial {serial}", at)

    def _select(self, db: sqlite3.Connection, place: str, transaction_id: str, renew_at: datetime) -> None:
        db.execute(
            "UPDATE pipeline SET current = ?, renew_at = ? WHERE place = ?",
            (transaction_id, _text(renew_at), place),
        )
        self._allow(db, place)

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
        detail: str = "",
        outdates: Sequence[str] = (),
    ) -> None:
        """Note what became of a sink; the same failure as before makes no second line of history.

        Args:
            place: of the pipeline.
            transaction_id: of the certificate.
            sink: name of its table.
            options: digest of its options.
            at: when, aware UTC.
            error: why it failed, or None.
            detail: where it went.
            outdates: sinks that need to be told once more because of this one.
        """
        with self._writing() as db:
            row = (place, transaction_id, sink)
            before = db.execute(
                "SELECT error FROM delivery WHERE place = ? AND transaction_id = ? AND sink = ?", row
            ).fetchone()
            self._deliver(db, row, options=options, at=at, error=error)
            self._owe(db, place, transaction_id, outdates, at)
            if error is None or before is None or before["error"] != error:
                kind = "delivered" if error is None else "sink-failed"
                self._tell(db, place, kind, f"{sink}: {detail if error is None else error}", at)

    @staticmethod
    def _deliver(
        db: sqlite3.Connection, row: tuple[str, str, str], *, options: str, at: datetime, error: str | None
    ) -> None:
        db.execute(
            "INSERT INTO delivery (place, transaction_id, sink, options, at, error, tries) VALUES (?, ?, ?, ?, ?, ?, 1)"
            " ON CONFLICT (place, transaction_id, sink) DO UPDATE SET options = excluded.options, at = excluded.at,"
            " error = excluded.error, tries = tries + 1",
            (*row, options, _text(at), error),
        )

    @staticmethod
    def _owe(
        db: sqlite3.Connection, place: str, transaction_id: str, sinks: Iterable[str], at: datetime
    ) -> None:
        """Note that sinks are still to get a certificate, or to be told of it once more."""
        for sink in sinks:
            db.execute(
                "INSERT INTO delivery (place, transaction_id, sink, options, at, error, tries) VALUES (?, ?, ?, '', ?, ?, 0)"
                " ON CONFLICT (place, transaction_id, sink) DO UPDATE SET error = excluded.error",
                (place, transaction_id, sink, _text(at), OWED),
            )

    def forget_sinks(self, place: str, sinks: Sequence[str]) -> None:
        """Forget what became of sinks that the pipeline does not have any more."""
        with self._writing() as db:
            for sink in sinks:
                db.execute("DELETE FROM delivery WHERE place = ? AND sink = ?", (place, sink))

    def end(
        self, place: str, *, outcome: str, exit_code: int, at: datetime, message: str = "", hint: str = ""
    ) -> None:
        """Note how a run ended; the same error as before makes no second line of history."""
        with self._writing() as db:
            self._end(db, place, outcome=outcome, exit_code=exit_code, at=at, message=message, hint=hint)

    def _end(
        self,
        db: sqlite3.Connection,
        place: str,
        *,
        outcome: str,
        exit_code: int,
        at: datetime,
        message: str = "",
        hint: str = "",
    ) -> None:
        before = db.execute("SELECT message FROM pipeline WHERE place = ?", (place,)).fetchone()
        db.execute(
            "UPDATE pipeline SET outcome = ?, exit_code = ?, message = ?, hint = ?, ended_at = ? WHERE place = ?",
            (outcome, exit_code, message, hint, _text(at), place),
        )
        if message and before and message != before["message"]:
            self._tell(db, place, outcome, message, at)

    def tell(self, place: str, kind: str, text: str, *, at: datetime) -> None:
        """Add a line to a pipeline's history."""
        with self._writing() as db:
            self._tell(db, place, kind, text, at)

    def _tell(self, db: sqlite3.Connection, place: str, kind: str, text: str, at: datetime) -> None:
        db.execute(
            "INSERT INTO happening (place, at, kind, text) VALUES (?, ?, ?, ?)",
            (place, _text(at), kind, text),
        )
        db.execute(
            "DELETE FROM happening WHERE place = ? AND id <="
            " (SELECT id FROM happening WHERE place = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (place, place, self.kept_happenings),
        )


def _said(certificate: CertificateFacts) -> str:
    return f"{certificate.subject}, serial {certificate.serial}, expires {certificate.not_after:%Y-%m-%d}"


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def _plain(value: str | datetime) -> str:
    return _text(value) if isinstance(value, datetime) else value
