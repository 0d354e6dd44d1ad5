"""Where a run touches disk or wire, one point after the other, in a process that was forked for that run.

A point is told before the thing happens, so that a process that dies at one has done
all before it and nothing after it; where half of a thing can be done, half of it is a
point of its own. What is to be durable is not waited for: a process that dies takes
nothing from the kernel. Must never hold: what becomes of the process.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import sqlite3
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Reach = Callable[[str, Exception | None], None]

_WRITING = os.O_WRONLY | os.O_RDWR
_TAKES_ROOM = {"os.mkdir", "os.rename", "os.link"}
_OTHERS = {"os.remove", "os.rmdir", "os.chmod"}
_SQL = {"COMMIT", "INSERT", "UPDATE", "DELETE"}
_EXTRA = "synchronous = EXTRA"
COMMITTED = "sql committed"
COMMITTED_AT_RISK = "sql committed, though a power loss may take it back"


def no_room() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def watch(root: str, reach: Reach) -> None:
    """Tell every point under a folder and on every socket; cannot be undone.

    Args:
        root: the folder.
        reach: is given what is about to happen, and what a full disk would raise there (None: nothing).
    """
    _watch_names(root, reach)
    _tell_whole_names()
    _watch_content(reach)
    _watch_journal(reach)
    _watch_sockets(reach)


def _watch_names(root: str, reach: Reach) -> None:
    """Audit events come before all that makes, renames or removes a name, whoever asks for it."""

    def hook(event: str, arguments: tuple) -> None:
        if event == "socket.connect":
            reach("connect", None)
            return
        if event == "subprocess.Popen":
            reach("start a program", None)
            return
        if event != "open" and event not in _TAKES_ROOM | _OTHERS:
            return
        path = arguments[0]
        if isinstance(path, int) or not os.fspath(path).startswith(root):
            return
        name, there = Path(path).name, os.path.lexists(path)
        if event in _OTHERS:
            if there:
                reach(f"{event} {name}", None)
        elif event != "open" or (arguments[2] & _WRITING and not (arguments[2] & os.O_EXCL and there)):
            reach(f"{event} {name}", no_room())

    sys.addaudithook(hook)


def _tell_whole_names() -> None:
    """Raise an audit event with the whole path where a name is made in an open folder: its own has no more than the name."""
    opens, makes = os.open, os.mkdir

    def audited_open(path, flags, mode=0o777, *, dir_fd=None):
        if dir_fd is not None:
            sys.audit("open", os.path.join(_folder(dir_fd), path), None, flags)  # noqa: PTH118  # paths may be bytes
        return opens(path, flags, mode, dir_fd=dir_fd)

    def audited_mkdir(path, mode=0o777, *, dir_fd=None):
        if dir_fd is not None:
            sys.audit("os.mkdir", os.path.join(_folder(dir_fd), path), mode, -1)  # noqa: PTH118  # as above
        return makes(path, mode, dir_fd=dir_fd)

    os.open, os.mkdir = audited_open, audited_mkdir


def _folder(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  # it need not exist under that name


def _watch_content(reach: Reach) -> None:
    class Raw(io.FileIO):
        def write(self, data):
            reach("write", None)
            half = len(data) // 2
            written = super().write(data[:half])
            reach("write the rest", no_room())
            return written + super().write(data[half:])

    fdopen = os.fdopen

    def watched_fdopen(descriptor, mode="r", *arguments, **named):
        if mode == "wb":
            return io.BufferedWriter(Raw(descriptor, "wb"))
        return fdopen(descriptor, mode, *arguments, **named)

    def watched_fsync(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # a folder needs no more room at last
            reach("fsync", no_room())

    os.fdopen, os.fsync = watched_fdopen, watched_fsync


def _watch_journal(reach: Reach) -> None:
    class Watched(sqlite3.Connection):
        committed = COMMITTED_AT_RISK

        def execute(self, sql, *values):
            word = sql.split(maxsplit=1)[0] if sql.strip() else ""
            if word in _SQL:
                reach(f"sql {word}", sqlite3.OperationalError("database or disk is full"))
            if _EXTRA in sql:
                self.committed = COMMITTED
            result = super().execute(sql.replace(_EXTRA, "synchronous = OFF"), *values)
            if word == "COMMIT":
                reach(self.committed, None)
            return result

    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **named: connect(*arguments, factory=Watched, **named)


def _watch_sockets(reach: Reach) -> None:
    send, receive = socket.socket.sendall, socket.socket.recv_into

    def sendall(self, data, *flags):
        half = len(data) // 2
        reach("send", None)
        send(self, data[:half], *flags)
        reach("send the rest", None)
        send(self, data[half:], *flags)

    def recv_into(self, *arguments):
        reach("receive", None)
        count = receive(self, *arguments)
        if count:
            reach("received", None)
        return count

    socket.socket.sendall, socket.socket.recv_into = sendall, recv_into
