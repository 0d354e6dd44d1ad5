"""Which files sinks are about to make beside their targets, so that those that a kill leaves are found and removed.

A sink finds its own leftovers where it writes; these are for one that writes elsewhere by then, or is gone. Must
never hold: what is in the files, or how they switch.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.private_files import explained, write_private

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["StagedFiles"]


class StagedFiles:
    """The files that the sinks of one pipeline may have left.

    Args:
        path: where their names are noted, JSON: sink → paths; it is there only while there is something to note.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, sink: str, paths: Sequence[Path]) -> None:
        """Note that a sink is about to make files, beside those that it may have left before.

        Raises:
            StateError: it cannot be noted.
        """
        noted = self._read()
        known = noted.get(sink, [])
        noted[sink] = list(dict.fromkeys([*known, *map(str, paths)]))
        if noted[sink] != known:
            self._write(noted)

    def clear(self, sinks: Collection[str]) -> None:
        """Remove what sinks have left; they have delivered, so that none of it is of use.

        Raises:
            StateError: that they did cannot be noted.
        """
        noted = self._read()
        over = [sink for sink in noted if sink in sinks]
        for path in (Path(name) for sink in over for name in noted[sink]):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    path.unlink()
        if over:
            self._write({sink: paths for sink, paths in noted.items() if sink not in over})

    def clear_all_but(self, sinks: Collection[str]) -> None:
        """Remove what sinks have left that the pipeline does not have any more; as `clear`."""
        self.clear(self._read().keys() - set(sinks))

    def _read(self) -> dict[str, list[str]]:
        try:
            noted = json.loads(self._path.read_bytes())
        except (OSError, ValueError):  # nothing is there, or what a damaged disk has made of it
            return {}
        lists = noted.items() if isinstance(noted, dict) else ()
        return {sink: [str(path) for path in paths] for sink, paths in lists if isinstance(paths, list)}

    def _write(self, noted: dict[str, list[str]]) -> None:
        with explained(self._path):
            if noted:
                write_private(self._path, json.dumps(noted).encode())
            else:
                self._path.unlink(missing_ok=True)
