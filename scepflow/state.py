"""What a run must not lose: private keys and requests in files, what became of them in the journal.

    STATE-DIR/journal.sqlite3
    STATE-DIR/NAME-1a2b3c4d/lock
    STATE-DIR/NAME-1a2b3c4d/TRANSACTION-ID/{key,signer-key,ca,certificate}.pem, enrollment.json
    STATE-DIR/unknown/NAME-1a2b3c4d/TRANSACTION-ID

A folder lives as long as the journal says that its attempt is sent or issued. Of
those that it does not know, one without a certificate and with no request that may
have left is a leftover of a crash; any other is of a journal that is lost, and moves
to ``unknown``. The state is the machine's, the pipeline
file is the human's. Must never hold: a key in a file that others can read, or
anything the pipeline file decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.errors import LockedError, StateError
from scepflow.journal import Journal
from scepflow.private_files import check_owned, explained, make_folders, sync_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

__all__ = ["Folder", "PipelineState", "StateDirectory", "adopting", "default_state_path"]

_UNTIL_ANSWERED = ("enrollment.json", "signer-key.pem", "ca.pem")
"""What an attempt needs until its certificate has come; the request carries the challenge."""

_UNSENT, _SENT = "unsent.json", "enrollment.json"
"""The request, until the journal knows that it is about to leave, and from then on."""

_FOLDER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def default_state_path(environment: Mapping[str, str], *, root: bool) -> Path:
    """Return where state lives unless ``--state-dir`` says otherwise.

    Args:
        environment: ``SCEPFLOW_STATE_DIR`` wins; systemd's ``STATE_DIRECTORY`` comes next.
        root: whether the user is root: /var/lib/scepflow, else the XDG state folder.
    """
    named = environment.get("SCEPFLOW_STATE_DIR") or environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if named:
        return Path(named)
    if root:
        return Path("/var/lib/scepflow")
    home = Path(environment.get("XDG_STATE_HOME", ""))
    if not home.is_absolute():  # the XDG specification says to ignore such a value
        home = Path(environment.get("HOME") or Path.home()) / ".local" / "state"
    return home / "scepflow"


class StateDirectory:
    """The folder that holds every pipeline's state.

    Args:
        path: the folder; it is made when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path / "journal.sqlite3")

    def place(self, pipeline_file: Path) -> str:
        """Return the name of a pipeline's folder; two of one name in different folders have two.

        Args:
            pipeline_file: absolute; by whatever way its folder is named, the answer is the same.
        """
        whole = pipeline_file.parent.resolve() / pipeline_file.name
        digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]
        return f"{pipeline_file.stem}-{digest}"

    @contextlib.contextmanager
    def locked(self, pipeline_file: Path, *, name: str, now: datetime) -> Iterator[PipelineState]:
        """Give a pipeline's state to this process alone.

        Args:
            pipeline_file: the pipeline's file, absolute.
            name: the pipeline's name.
            now: current time, aware UTC, for those who find it locked.

        Raises:
            LockedError: another process works on it.
            StateError: the state directory cannot be used.
        """
        from filelock import FileLock, Timeout

        place = self.place(pipeline_file)
        folder, holder = self.path / place, self.path / place / "holder"
        with explained(folder):
            make_folders(folder)
            for owned in (self.path, folder):
                check_owned(owned)
            lock = FileLock(folder / "lock", timeout=0, mode=0o600)
            try:
                lock.acquire()
            except Timeout:
                raise LockedError(
                    f"another run works on this pipeline: {_holder(holder)}",
                    hint="it does what this one would have done; `scepflow status` shows how it stands",
                ) from None
        try:
            with explained(holder):
                write_private(holder, f"pid {os.getpid()}, since {now:%Y-%m-%d %H:%M:%S} UTC".encode())
            self.journal.enter(place, name=name, file=str(pipeline_file))
            state = PipelineState(self.journal, folder)
            for path in state.sweep():
                self.journal.tell(place, "set-aside", state.why_aside(path), at=now)
            yield state
        finally:
            with contextlib.suppress(OSError):
                holder.unlink()
            lock.release()


def _holder(path: Path) -> str:
    """Return who holds a lock, as far as it is known."""
    try:
        return path.read_text(encoding="utf-8")[:200]
    except (OSError, ValueError):
        return "it has just begun"


def adopting(file: Path | str, folder: Path) -> str:
    """Return the command by which a pipeline takes in the certificate in a folder; the user knows a key that is not there."""
    key = folder / "key.pem"
    return f"scepflow run {file} --adopt {folder / 'certificate.pem'} {key if key.exists() else 'KEY-FILE'}"


class PipelineState:
    """One pipeline's state, while this process holds its lock.

    Args:
        journal: the state directory's.
        path: the pipeline's folder.

    Attributes:
        set_aside: where folders have gone that the journal does not know.
    """

    def __init__(self, journal: Journal, path: Path) -> None:
        self.journal = journal
        self.path = path
        self.place = path.name
        self.set_aside: tuple[Path, ...] = ()

    def folder(self, transaction_id: str) -> Folder:
        """Return the place for the files of one attempt.

        Raises:
            StateError: the transaction id is not fit to name a folder, so that scepflow has not written it.
        """
        if not _FOLDER_NAME.fullmatch(transaction_id):
            raise StateError(
                f"{self.journal.path} is damaged: {self.place} has what is not a transaction id: {transaction_id!r}",
                hint="restore it from a backup",
            )
        return Folder(self.path / transaction_id)

    def salt(self, random_bytes: Callable[[int], bytes]) -> bytes:
        """Return 32 bytes that only this pipeline's state knows, made at the first call.

        Raises:
            StateError: they cannot be kept.
        """
        path = self.path / "salt"
        with explained(path):
            if not path.exists():
                write_private(path, random_bytes(32))
            return path.read_bytes()

    def sweep(self) -> tuple[Path, ...]:
        """Remove the folders of attempts that have ended or never began, and the requests that have been answered.

        Returns:
            Where folders have gone that the journal does not know though they hold what it should know of.

        Raises:
            StateError: a folder cannot be moved.
        """
        status = {attempt.transaction_id: attempt.status for attempt in self.journal.attempts(self.place)}
        aside: list[Path] = []
        for path in list(self.path.iterdir()):
            if not path.is_dir() or path.is_symlink():
                continue
            folder = Folder(path)
            match status.get(path.name):
                case "sent":
                    folder.confirm()
                case "issued":  # here and not where it was issued: the process may have ended in between
                    for name in _UNTIL_ANSWERED:
                        folder.forget(name)
                case None if folder.was_known:
                    aside.append(self._move_aside(path))
                case _:
                    folder.discard()
        self.set_aside += tuple(aside)
        return tuple(aside)

    def _move_aside(self, path: Path) -> Path:
        folder = self.path.parent / "unknown" / self.place
        names = itertools.chain([path.name], (f"{path.name}-{number}" for number in itertools.count(2)))
        target = next(folder / name for name in names if not (folder / name).exists())
        with explained(target):
            make_folders(folder)
            path.rename(target)
            for changed in (folder, self.path):
                sync_folder(changed)
        return target

    def left_aside(self) -> tuple[Path, ...]:
        """Return the folders that were moved and are still there."""
        folder = self.path.parent / "unknown" / self.place
        with explained(folder):
            return tuple(sorted(folder.iterdir())) if folder.is_dir() else ()

    def why_aside(self, path: Path) -> str:
        """Return why a folder was moved, and what to do with it, one line."""
        record = self.journal.pipeline(self.place)
        use = (
            f"take it in with `{adopting(record.file if record else 'PIPELINE', path)}`"
            if (path / "certificate.pem").exists()
            else ""
        )
        ways = [f"move it back once {self.journal.path} is restored from a backup", use, "or remove it"]
        return (
            f"the journal does not know {path.name}, which is kept in {path}: {', '.join(filter(None, ways))}"
        )


class Folder:
    """The files of one attempt, mode 0600 in a folder of mode 0700.

    Args:
        path: the folder; it is made when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, name: str, content: bytes) -> None:
        """Write a file whole, and return only when it is on disk.

        Raises:
            StateError: it cannot be written; an earlier file of that name is as it was.
        """
        with explained(self.path / name):
            make_folders(self.path)
            write_private(self.path / name, content)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None when it is not there.

        Raises:
            StateError: it cannot be read.
        """
        with explained(self.path / name):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def keep_unsent(self, request: bytes) -> None:
        """Write a request of which the journal does not know so far."""
        self.keep(_UNSENT, request)

    def confirm(self) -> None:
        """Note that the journal knows of the request.

        Raises:
            StateError: that cannot be written.
        """
        with explained(self.path / _SENT), contextlib.suppress(FileNotFoundError):
            (self.path / _UNSENT).rename(self.path / _SENT)
            sync_folder(self.path)

    @property
    def was_known(self) -> bool:
        """Whether the journal has known of it: a request may have left, or a certificate has come."""
        return any((self.path / name).exists() for name in (_SENT, "certificate.pem"))

    def forget(self, name: str) -> None:
        """Remove one file that is not needed any more, if it is there."""
        with contextlib.suppress(OSError):
            (self.path / name).unlink()

    def discard(self) -> None:
        """Remove the folder: nothing came of the attempt, or it is not needed any more."""
        with contextlib.suppress(OSError):
            for file in self.path.iterdir():
                file.unlink()
            self.path.rmdir()
