"""From rows of the journal to records; a value that no scepflow wrote is a ValueError that says where it stands.

Must never hold: a change.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from scepflow.records import (
    AttemptRecord,
    CertificateFacts,
    DeliveryRecord,
    Happening,
    PipelineRecord,
    RefusalRecord,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

__all__ = ["attempts", "happening", "pipeline_record"]

_Record = TypeVar("_Record")


def pipeline_record(db: sqlite3.Connection, row: sqlite3.Row) -> PipelineRecord:
    """Return how a pipeline stands, from its row and those of other tables."""
    place, current = row["place"], row["current"]
    deliveries = db.execute(
        "SELECT sink, options, at, error, tries FROM delivery WHERE place = ? AND transaction_id = ?",
        (place, current),
    )
    refusal = db.execute("SELECT * FROM refusal WHERE place = ?", (place,)).fetchone()
    return PipelineRecord(
        place=place,
        name=row["name"],
        file=row["file"],
        current=_first(attempts(db, "place = ? AND transaction_id = ?", place, current)),
        renew_at=_time(row, "renew_at"),
        open=_first(attempts(db, "place = ? AND status = 'sent' ORDER BY rowid DESC", place)),
        deliveries={
            delivery["sink"]: _converted(delivery, DeliveryRecord, f"delivery to {delivery['sink']}")
            for delivery in deliveries
        },
        outcome=row["outcome"] or "",
        exit_code=row["exit_code"] or 0,
        message=row["message"],
        hint=row["hint"],
        ended_at=_time(row, "ended_at"),
        refused=_converted(refusal, RefusalRecord, "refusal") if refusal else None,
    )


def attempts(db: sqlite3.Connection, where: str, *values: str | None) -> tuple[AttemptRecord, ...]:
    """Return the attempts that fulfil a condition, which is a constant; the values are its parameters."""
    rows = db.execute(f"SELECT * FROM attempt WHERE {where}", values)  # noqa: S608  # constants of the journal
    return tuple(_attempt_record(row) for row in rows)


def happening(row: sqlite3.Row) -> Happening:
    """Return one line of history."""
    return _converted(row, Happening, f"history of {row['pipeline']}")


def _attempt_record(row: sqlite3.Row) -> AttemptRecord:
    values, where = dict(row), f"transaction {row['transaction_id']}"
    certificate = _converted(values, CertificateFacts, where) if values["serial"] else None
    return _converted(values | {"certificate": certificate}, AttemptRecord, where)


def _converted(values: Mapping[str, object] | sqlite3.Row, kind: type[_Record], where: str) -> _Record:
    try:
        return msgspec.convert(dict(values), kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}") from None


def _first(records: tuple[AttemptRecord, ...]) -> AttemptRecord | None:
    return records[0] if records else None


def _time(row: sqlite3.Row, name: str) -> datetime | None:
    if not row[name]:
        return None
    at = datetime.fromisoformat(row[name])
    if at.tzinfo is None:
        raise ValueError(f"{name} has no time zone: {row[name]!r}")
    return at
