"""How long a command takes to start, beside a bare interpreter and beside importing what it needs."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import server
from benchmarks.enrollment import PIPELINE

if TYPE_CHECKING:
    from collections.abc import Sequence

ROUNDS = 15
DEPENDENCIES = "cryptography.x509, OpenSSL.crypto, urllib3, pluggy, msgspec, click, tomli"


def _wall_ms(argv: Sequence[str], directory: Path) -> float:
    started_s = time.perf_counter()
    subprocess.run(
        argv,
        cwd=directory,
        env={**os.environ, "SCEPFLOW_STATE_DIR": str(directory / "state")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return (time.perf_counter() - started_s) * 1000


def measure() -> None:
    """Print the figures."""
    scepflow = [sys.executable, "-m", "scepflow"]
    if script := shutil.which("scepflow", path=str(Path(sys.executable).parent)):
        scepflow = [script]
    with server.running() as url, tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        _write_pipeline(directory, url)
        commands = {
            "bare interpreter": [sys.executable, "-c", ""],
            "scepflow --help": [*scepflow, "--help"],
            "importing the dependencies": [sys.executable, "-c", f"import {DEPENDENCIES}"],
            "cold scepflow run, key given": [*scepflow, "run", "benchmark.toml", "--quiet"],
        }
        for argv in commands.values():
            _wall_ms(argv, directory)
        rows = [[_wall_ms(argv, directory) for argv in commands.values()] for _ in range(ROUNDS)]
    ms = {name: statistics.median(row[i] for row in rows) for i, name in enumerate(commands)}
    print("\nwall time of a command, median of rounds taken in turns")
    for name, value in ms.items():
        print(f"  {name:<44}{value:8.1f} ms")
    ratio = ms["cold scepflow run, key given"] / ms["importing the dependencies"]
    print(f"  {'cold run / importing its dependencies':<44}{ratio:8.2f}    (must be <= 2)")


def _write_pipeline(directory: Path, url: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    from benchmarks import enrollment

    (directory / "key.pem").write_bytes(enrollment.key_pem(rsa.generate_private_key(65537, 2048)))
    (directory / "key.pem").chmod(0o600)
    fingerprint = enrollment.ca_fingerprint(directory, url)
    (directory / "benchmark.toml").write_text(PIPELINE.format(url=url, fingerprint=fingerprint))
