"""The file of the journal: private, durable, for several processes, and for versions to come.

What is written is on disk when the context ends (synchronous = FULL or stronger). Must
never hold: what it means.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from scepflow.errors import StateError
from scepflow.journal_schema import MIGRATIONS
from scepflow.private_files import explained, make_private_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LOOK", "JournalFile"]

LOOK = "restore it from a backup; keys that it does not know are not deleted but moved aside"
"""What to do about a journal that is damaged."""

_BUSY_S = 30.0
"""How long one process waits while another writes; a write takes milliseconds."""


class JournalFile:
    """The journal as a file.

    Args:
        path: the SQLite file; it is made, mode 0600, when something is first written.
    """

    migrations: ClassVar[tuple[str, ...]] = MIGRATIONS
    """A newer schema than these lead to is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def damaged(self, error: ValueError) -> str:
        """Return in words that something stands in it that no scepflow wrote."""
        return f"{self.path} is damaged: {error}"

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
        except ValueError as error:
            raise StateError(self.damaged(error), hint=LOOK) from None
