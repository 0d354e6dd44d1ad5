"""What a run must not lose: private keys and enrollments on disk, each attempt in a folder of its own.

The state is the machine's, the pipeline file is the human's. Must never hold:
a key in a file that others can read, or anything the pipeline file decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from scepflow.errors import ScepflowError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Attempt", "StateDirectory", "default_state_path"]

_FOLDER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class StateError(ScepflowError):
    """The state directory cannot be used; nothing was sent."""

    exit_code = 78


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

    def attempt(self, pipeline_file: Path, transaction_id: str) -> Attempt:
        """Return the place for one enrollment attempt of a pipeline.

        Two pipelines of one name in different folders have different places.

        Raises:
            ValueError: the transaction id is not fit to name a folder.
        """
        if not _FOLDER_NAME.fullmatch(transaction_id):
            raise ValueError(f"not a transaction id: {transaction_id!r}")
        place = hashlib.sha256(os.fsencode(pipeline_file)).hexdigest()[:8]
        return Attempt(self.path / f"{pipeline_file.stem}-{place}" / transaction_id)


class Attempt:
    """The files of one enrollment attempt, mode 0600 in a folder of mode 0700.

    Args:
        path: the attempt's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, name: str, content: bytes) -> None:
        """Write a file whole, and return only when it is on disk.

        Raises:
            StateError: it cannot be written; an earlier file of that name is as it was.
        """
        target = self.path / name
        temporary = self.path / f".{name}.new"
        try:
            self._make_folders()
            with _private(temporary) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _sync_folder(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StateError(
                f"cannot keep {target}: {error.strerror}",
                hint="name a folder that can be written with --state-dir or SCEPFLOW_STATE_DIR",
            ) from None

    def _make_folders(self) -> None:
        if self.path.is_dir():
            return
        for folder in reversed([self.path, *self.path.parents]):
            if not folder.exists():
                folder.mkdir(mode=0o700)
                _sync_folder(folder.parent)

    def forget(self, name: str) -> None:
        """Remove one file that is not needed any more, if it is there."""
        with contextlib.suppress(OSError):
            (self.path / name).unlink()

    def discard(self) -> None:
        """Remove the attempt: all is delivered, or nothing came of it."""
        with contextlib.suppress(OSError):
            for file in self.path.iterdir():
                file.unlink()
            self.path.rmdir()
            self.path.parent.rmdir()


def _private(path: Path) -> BinaryIO:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
