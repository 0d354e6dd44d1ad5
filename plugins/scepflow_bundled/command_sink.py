"""The ``command`` sink: a program told of each new certificate.

Must never hold: a shell, or the private key unless its user asked for it.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from scepflow.errors import OptionError, SinkError

# Field types: msgspec resolves them when options are read.
from scepflow.options import Duration, PathTemplate, Template
from scepflow.stages import OutputSink
from scepflow.text import sanitise
from scepflow_bundled.rendering import certificates_pem, key_bytes, serial_hex, sha256_hex

if TYPE_CHECKING:
    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["CommandSink"]

_INHERITED = re.compile(r"PATH|HOME|LANG|LC_[A-Z]+|TZ|USER|LOGNAME|SHELL|TMPDIR")
_VARIABLE = re.compile(r"(?!SCEPFLOW_)[A-Za-z_][A-Za-z0-9_]*")
_TAIL_BYTES = 4096
_PIPE_BYTES = 65536
_TICK_S = 0.05


class CommandSink(OutputSink, frozen=True, kw_only=True, tag="command"):
    """Run a program after each new certificate, such as one that reloads a daemon.

    No shell is involved. The program finds the certificate's facts in SCEPFLOW_PIPELINE,
    SCEPFLOW_SUBJECT, SCEPFLOW_ISSUER, SCEPFLOW_SERIAL, SCEPFLOW_NOT_BEFORE, SCEPFLOW_NOT_AFTER
    and SCEPFLOW_CERTIFICATE_SHA256, and with the PEM as one JSON object on its standard input.
    Of the environment it inherits PATH, HOME, USER, LOGNAME, SHELL, LANG, LC_*, TZ and TMPDIR.
    An exit status other than 0 is a failure. It runs once the sinks that write files have delivered; while one of
    them fails, it waits. A certificate that it has been told of is told again only when one of those files comes anew.

        [sink.reload]
        use = "command"
        run = ["rcctl", "reload", "isakmpd"]

    Attributes:
        run: program and arguments, one list element each.
        timeout: time after which the program and its children are killed.
        environment: more environment variables.
        directory: working directory; without it the pipeline file's folder.
        with_key: also put the private key, unencrypted, into the JSON object.
        after: names of the sinks whose files it waits for; without it all that write files, ``[]`` for none.
    """

    run: list[Template]
    timeout: Duration = Duration("60s")
    environment: dict[str, Template] = msgspec.field(default_factory=dict)
    directory: PathTemplate | None = None
    with_key: bool = False
    after: list[str] | None = None

    def __post_init__(self) -> None:
        """Refuse what no program can be given."""
        if not self.run or not self.run[0]:
            raise OptionError(
                "run names no program", where="run", hint='write a list: run = ["rcctl", "reload", "isakmpd"]'
            )
        for name in self.environment:
            if not _VARIABLE.fullmatch(name):
                raise OptionError(
                    f"not a name for an environment variable: {name!r}",
                    where="environment",
                    hint="use letters, digits and _, and do not begin with SCEPFLOW_",
                )
        for option, texts in (("run", self.run), ("environment", self.environment.values())):
            if any("\0" in text for text in texts):
                raise OptionError(f"a NUL character in {option}", where=option)
        if self.timeout <= 0:
            raise OptionError("timeout must be longer than 0 s", where="timeout")

    def writes_key(self) -> bool:
        """Return whether the program is given the key."""
        return self.with_key

    def waits_for(self) -> tuple[str, ...] | None:
        """Return what ``after`` names."""
        return None if self.after is None else tuple(self.after)

    def describe(self) -> str:
        """Return the program, without its arguments, which may be nobody's business."""
        return self.run[0]

    def check(self, run: Run) -> None:
        """Look for the program and the working directory."""
        directory = self._directory(run)
        if not directory.is_dir():
            raise SinkError(f"{directory}: no such directory", hint="make it, or change directory")
        program = self.run[0]
        path = str(directory / program) if "/" in program else program
        if shutil.which(path, path=self._inherited()["PATH"]) is None:
            raise SinkError(f"cannot run {program}: not found or not executable", hint=_hint(program))

    def write(self, issued: Credential, run: Run) -> None:
        """Run the program and wait for it."""
        environment = self._inherited() | self._facts(issued, run) | dict(self.environment)
        with self._start(environment, self._directory(run)) as process:
            try:
                output = _converse(process, document=self._document(issued, run), timeout_s=self.timeout)
            except subprocess.TimeoutExpired:
                _kill(process)
                raise SinkError(
                    f"{self.run[0]} took longer than {self.timeout:g} s and was killed", hint="raise timeout"
                ) from None
            except BaseException:
                _kill(process)  # it has a session of its own, so Ctrl-C does not reach it
                raise
        if process.returncode:
            raise SinkError(f"{self.run[0]} {_ending(process.returncode)}{self._said(output)}")

    def _start(self, environment: dict[str, str], directory: Path) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603  # argv comes from the pipeline file, no shell
                list(self.run),
                bufsize=0,
                cwd=directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise SinkError(
                f"cannot run {self.run[0]}: {reason}: {error.filename}", hint=_hint(self.run[0])
            ) from None

    def _directory(self, run: Run) -> Path:
        return run.path(self.directory or "")

    @staticmethod
    def _inherited() -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
        return {"PATH": os.defpath} | kept

    @staticmethod
    def _facts(issued: Credential, run: Run) -> dict[str, str]:
        facts = _facts(issued, run)
        fingerprint = facts.pop("fingerprint").removeprefix("sha256:")
        variables = {f"SCEPFLOW_{name.upper()}": value for name, value in facts.items()}
        return variables | {"SCEPFLOW_CERTIFICATE_SHA256": fingerprint}

    def _document(self, issued: Credential, run: Run) -> bytes:
        document = _facts(issued, run)
        document["certificate_pem"] = certificates_pem([issued.certificate]).decode()
        document["chain_pem"] = certificates_pem(issued.chain).decode()
        if self.with_key:
            document["key_pem"] = key_bytes(issued.key).decode()
        return msgspec.json.encode(document) + b"\n"

    def _said(self, output: bytes) -> str:
        if self.with_key:
            return "; its output is not shown, because it was given the key"
        lines = [sanitise(line) for line in output.splitlines() if line.strip()]
        return f": {' | '.join(lines[-5:])}" if lines else " and said nothing"


def _facts(issued: Credential, run: Run) -> dict[str, str]:
    certificate = issued.certificate
    return {
        "pipeline": run.pipeline,
        "subject": sanitise(certificate.subject.rfc4514_string(), limit=2000),
        "issuer": sanitise(certificate.issuer.rfc4514_string(), limit=2000),
        "serial": serial_hex(certificate),
        "not_before": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fingerprint": f"sha256:{sha256_hex(certificate)}",
    }


def _hint(program: str) -> str:
    if "/" in program:
        return "it must exist, be executable, and begin with #! if it is a script"
    return "name a program on PATH, or its whole path; no shell looks at it"


def _ending(returncode: int) -> str:
    if returncode > 0:
        return f"exited {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-returncode}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and everything in its session's group."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _converse(process: subprocess.Popen[bytes], *, document: bytes, timeout_s: float) -> bytes:
    """Feed a program and return the end of what it says.

    Ends with the program, not with its pipes: a daemon that it started may hold
    them, and a program may end without having read a byte.

    Raises:
        subprocess.TimeoutExpired: it is still running after ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    assert process.stdin
    assert process.stdout
    tail = b""
    with selectors.DefaultSelector() as pipes:
        for pipe, event in ((process.stdin, selectors.EVENT_WRITE), (process.stdout, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            pipes.register(pipe, event, data=pipe)
        while pipes.get_map() and process.poll() is None and (left_s := deadline - time.monotonic()) > 0:
            for ready, _ in pipes.select(min(left_s, _TICK_S)):
                if ready.data is process.stdin:
                    document = _feed(process.stdin, document)
                    ended = not document
                else:
                    chunk = process.stdout.read(_PIPE_BYTES)
                    tail = (tail + chunk)[-_TAIL_BYTES:]
                    ended = not chunk
                if ended:
                    pipes.unregister(ready.fileobj)
                    ready.data.close()
    process.wait(max(0.0, deadline - time.monotonic()))
    rest = b"" if process.stdout.closed else process.stdout.read(_PIPE_BYTES) or b""
    return (tail + rest)[-_TAIL_BYTES:]


def _feed(stdin: IO[bytes], document: bytes) -> bytes:
    """Write what fits and return what is left; nothing is left when nobody reads."""
    try:
        return document[stdin.write(document) or 0 :]
    except BrokenPipeError:
        return b""
