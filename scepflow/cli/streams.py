"""Standard streams that a process can rely on: there, and with an end that is known when they cannot be written.

Must never hold: what is written to them.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from scepflow.errors import ScepflowError

__all__ = ["StdoutError", "drop_stdout", "open_streams"]


class StdoutError(ScepflowError):
    """Standard output cannot be written; whatever the command did is done."""


class _Whole(io.FileIO):
    """A file that is written whole and at once: a signal amid a write must not have a buffer write it again."""

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            written = super().write(left)
            if not written:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            left = left[written:]
        return len(data)


class _Results(_Whole):
    """Standard output; whoever reads it may go away, and anything else is told."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StdoutError(f"cannot write to standard output: {error.strerror}") from None


class _Told(_Whole):
    """Standard error; what cannot be written is dropped, for a full disk under a log must not end a run."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data)
        return len(data)


def open_streams() -> None:
    """Make stdin, stdout and stderr usable, also where the caller closed them or their disk is full.

    A name that the terminal's character set lacks is escaped: it must not end a run either.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: left so, the next file to be opened would take its place
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # lives as long as we do
    sys.stdout = _text(_Results(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Told(2, "w", closefd=False), sys.stderr)


def _text(raw: _Whole, former: TextIO | None) -> TextIO:
    encoding = former.encoding if former else "utf-8"
    return io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", write_through=True)


def drop_stdout() -> None:
    """Drop what is still to be written: nobody gets it, and the interpreter would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
