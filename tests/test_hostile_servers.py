"""Servers that drip, never end or send 10 GB: the command ends at its cap or deadline, with no more memory than a good run takes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scepflow.testca import Authority, Knobs, Responder, serve
from scepflow.testca.behaviours import behaviours

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

HANG_GUARD_S = 60  # no measure of speed: each deadline is 2 s
MORE_MEMORY_KIB = 16 << 10  # the longest reply that is read has 1 MiB

# The peak of the process itself: what a parent is told of a child counts the parent's own memory before exec.
COMMAND = """\
import sys
from pathlib import Path
from scepflow.cli import main
try:
    main()
finally:
    Path("status").write_bytes(Path("/proc/self/status").read_bytes())
"""
PIPELINE = """\
[ca]
url = "{url}"
fingerprint = "sha256:{fingerprint}"
[csr]
subject = "CN=gw1"
[transport]
use = "direct"
timeout = "2s"
connect_timeout = "2s"
idle_timeout = "{idle_s}s"
[sink.file]
key = "gw1.key"
cert = "gw1.crt"
"""


@pytest.fixture(scope="module")
def authority():
    return Authority.create(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def run(authority, tmp_path_factory):
    def run(url, *, idle_s=2):
        folder = tmp_path_factory.mktemp("run")
        text = PIPELINE.format(url=url, fingerprint=authority.fingerprint, idle_s=idle_s)
        (folder / "gw1.toml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "run", "gw1.toml"],
            cwd=folder,
            env={**os.environ, "SCEPFLOW_STATE_DIR": str(folder / "state")},
            capture_output=True,
            text=True,
            timeout=HANG_GUARD_S,
            check=False,
        )
        peak = re.search(r"VmHWM:\s*([0-9]+) kB", (folder / "status").read_text())
        return done, int(peak[1])

    return run


@pytest.fixture(scope="module")
def good_peak_kib(authority, run):
    with serve(Responder(authority)) as server:
        done, peak_kib = run(server.url)
    assert done.returncode == 0, done.stderr
    return peak_kib


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("drip", "was not done after 2 s"),
        ("drip-head", "was not done after 2 s"),
        ("endless", "its reply is longer than 1048576 bytes"),
        ("endless-chunks", "its reply is longer than 1048576 bytes"),
        ("endless-extensions", "sent more than an HTTP reply may have"),
        ("endless-head", "not HTTP that can be used"),
        ("endless-interim-replies", "sent more than an HTTP reply may have"),
        ("ten-gigabytes", "its reply is longer than 1048576 bytes"),
    ],
)
def test_a_hostile_server_is_left_with_memory_as_it_was(authority, run, good_peak_kib, behaviour, said):
    with serve(Responder(authority, Knobs(behave=behaviours([behaviour])))) as server:
        done, peak_kib = run(server.url)
    assert done.returncode == 4
    assert said in done.stderr
    assert peak_kib < good_peak_kib + MORE_MEMORY_KIB


@contextlib.contextmanager
def dripping(data, *, every_s=0.1):
    """Give a port on which each connection gets one byte after the other."""
    stopping = threading.Event()

    def drip(sock):
        with contextlib.suppress(OSError), sock:
            for number in data:
                if stopping.wait(every_s):
                    return
                sock.sendall(bytes([number]))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                workers.append(threading.Thread(target=drip, args=(listener.accept()[0],)))
                workers[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        workers = [threading.Thread(target=accept)]
        workers[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            stopping.set()
            listener.shutdown(socket.SHUT_RDWR)
            for worker in workers:
                worker.join(10)


def test_a_drip_in_the_handshake_ends_at_its_time(run, good_peak_kib):
    # A TLS record that announces 16 KiB, and takes half an hour to arrive.
    with dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(1 << 14)) as port:
        done, peak_kib = run(f"https://127.0.0.1:{port}/scep")
    assert done.returncode == 4
    assert "was not done after 2 s" in done.stderr or "within 2 s" in done.stderr
    assert peak_kib < good_peak_kib + MORE_MEMORY_KIB
