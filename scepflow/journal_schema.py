"""The tables of the journal, version by version. Must never hold: a statement that is run more than once."""

from __future__ import annotations

__all__ = ["MIGRATIONS"]

_TABLES = """
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

# A rejection used to be no more than a digest, and its reason was that of the latest run. Which pair was in use before
# which was a matter of the clock; now ``used`` grows with each one that is put to use, and is 0 for one that was
# never, or was gone back from.
_REFUSALS_AND_USE = """
CREATE TABLE refusal (
    place TEXT PRIMARY KEY,
    asked TEXT NOT NULL,
    purpose TEXT NOT NULL,
    at TEXT NOT NULL,
    exit_code INTEGER NOT NULL,
    fail_info INTEGER,
    fail_info_text TEXT NOT NULL,
    message TEXT NOT NULL,
    hint TEXT NOT NULL
) STRICT;
INSERT INTO refusal
    SELECT p.place, p.refused, a.purpose, a.ended_at,
        CASE p.outcome WHEN 'rejected' THEN p.exit_code ELSE 2 END,
        CASE WHEN p.outcome = 'rejected' AND p.exit_code >= 70 THEN p.exit_code - 70 END,
        '',
        CASE p.outcome WHEN 'rejected' THEN p.message ELSE 'the CA rejected the request' END,
        CASE p.outcome WHEN 'rejected' THEN p.hint ELSE '' END
    FROM pipeline p JOIN attempt a ON a.place = p.place AND a.rowid =
        (SELECT max(b.rowid) FROM attempt b WHERE b.place = p.place AND b.status = 'rejected')
    WHERE p.refused IS NOT NULL;
ALTER TABLE pipeline DROP COLUMN refused;
ALTER TABLE attempt ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
UPDATE attempt SET used = rowid WHERE status = 'issued' AND rowid <=
    (SELECT c.rowid FROM attempt c JOIN pipeline p ON p.place = c.place AND p.current = c.transaction_id
        WHERE p.place = attempt.place);
"""

# How often a request was sent once more under its own name used to be forgotten, so that there was no end to it.
_RESENT = "ALTER TABLE attempt ADD COLUMN resent INTEGER NOT NULL DEFAULT 0"

MIGRATIONS = (_TABLES, _REFUSALS_AND_USE, _RESENT)
"""Each from a version of the schema to the next, from none on."""
