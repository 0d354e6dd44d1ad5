"""Starting a program that no one here wrote, on a free port of loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def free_port() -> int:
    """Return a TCP port that nothing listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def started(command: Sequence[str | Path], port: int, *, directory: Path, log: Path) -> Iterator[None]:
    """Run a server until the context ends; it listens when the context begins."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen) -> None:
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # a real program starts in real time
        else:
            return
    raise AssertionError("the server does not listen")
