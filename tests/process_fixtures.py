"""A CA and a machine whose runs are processes of their own, and the wire between them.

The wire writes down what reaches the CA, and holds an answer back until a test has done what must happen just then.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepflow.engine import envelopes
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType, parse_request
from scepflow.testca import Authority
from scepflow.testca.csr import challenge, load_csr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scepflow.engine.exchange import HttpRequest
    from scepflow.engine.messages import PkiRequest

__all__ = ["CHALLENGE", "LONGEST_S", "Ca", "Gateway", "served"]

LONGEST_S = 60
"""For what should take a second."""
CHALLENGE = "good-for-one"
_PIPELINE = """\
[ca]
url = "%s"
fingerprint = "%s"
[csr]
subject = "CN=gw1.example.com"
challenge = { env = "CHALLENGE" }
[poller]
use = "fixed"
wait = false
[sink.file]
key = "gw1.key"
cert = "gw1.pem"
"""


@dataclass(frozen=True)
class Ca:
    """A test CA, seen through the wire to it.

    Attributes:
        folder: where it remembers.
        origin: where it listens, such as ``http://127.0.0.1:40001``.
        fingerprint: of its certificate.
        heard: the messages that have reached it, and for each whether its CSR brought the challenge.
    """

    folder: Path
    origin: str
    fingerprint: str
    heard: list[tuple[PkiRequest, bool]] = field(default_factory=list)
    _holds: list[Callable[[HttpRequest], HttpResponse]] = field(default_factory=list)

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Pass a request on and its answer back, as a responder for `scepflow.testca.serve`."""
        if request.operation != "PKIOperation":
            return self._pass(request)
        return self._holds[-1](request) if self._holds else self._deliver(request)

    @contextmanager
    def held(self, *, arrives: bool = True) -> Iterator[Callable[[], None]]:
        """Hold back the answers to all messages until the context ends; gives what waits for the first.

        Args:
            arrives: whether the CA gets and answers them; lost on the way otherwise.
        """
        came, over = threading.Event(), threading.Event()

        def hold(request: HttpRequest) -> HttpResponse:
            answer = self._deliver(request) if arrives else None
            came.set()
            over.wait(LONGEST_S)
            if answer is None:
                raise ConnectionError("lost on the way")
            return answer

        def wait() -> None:
            assert came.wait(LONGEST_S), "no message came"

        self._holds.append(hold)
        try:
            yield wait
        finally:
            self._holds.pop()
            over.set()

    def _deliver(self, request: HttpRequest) -> HttpResponse:
        message = parse_request(request.body)
        self.heard.append((message, self._brings_challenge(message)))
        return self._pass(request)

    def _brings_challenge(self, message: PkiRequest) -> bool:
        if message.message_type == MessageType.CERT_POLL:
            return False
        authority = Authority.open(self.folder, now=datetime.now(UTC))
        csr = load_csr(envelopes.open_envelope(message.envelope, authority.encryption))
        return challenge(csr) == CHALLENGE.encode()

    def _pass(self, request: HttpRequest) -> HttpResponse:
        asked, body = urlsplit(request.url), request.body or None
        with closing(HTTPConnection(urlsplit(self.origin).netloc, timeout=LONGEST_S)) as connection:
            connection.request(request.method, f"{asked.path}?{asked.query}", body, request.headers)
            got = connection.getresponse()
            headers = {"content-type": got.headers["content-type"]}
            return HttpResponse(status=got.status, headers=headers, body=got.read())

    @property
    def told(self) -> list[tuple[str, bool]]:
        """The kinds of the messages that it got, and whether they brought the challenge."""
        return [(MessageType(message.message_type).title, brought) for message, brought in self.heard]

    def transactions(self) -> list[dict[str, Any]]:
        """Return what it remembers of requests."""
        return [msgspec.json.decode(file.read_bytes()) for file in (self.folder / "transactions").iterdir()]

    def issued(self) -> list[x509.Certificate]:
        """Return all certificates that it has issued."""
        files = (self.folder / "issued").iterdir()
        return [x509.load_pem_x509_certificate(file.read_bytes()) for file in files]

    def approve(self) -> None:
        """Do as its operator does: the next poll gets the certificate."""
        (file,) = (self.folder / "transactions").iterdir()
        file.write_bytes(msgspec.json.encode(msgspec.json.decode(file.read_bytes()) | {"polls_left": 1}))


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Ca]:
    """Start ``scepflow testca`` with its state in a folder, and end it with the context."""
    command = [sys.executable, "-m", "scepflow", "testca", "--directory", str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            told: dict[str, str] = {}
            while "fingerprint" not in told:
                line = process.stdout.readline()
                assert line, "the CA has ended"
                if found := re.fullmatch(r'(\w+) = "(.*)"\n', line):
                    told[found[1]] = found[2]
            yield Ca(folder, told["url"].removesuffix("/scep"), told["fingerprint"])
        finally:
            process.terminate()


@dataclass(frozen=True)
class Gateway:
    """A machine with one pipeline, each of whose runs asks once and does not wait.

    Attributes:
        folder: its files.
        ca: its CA.
    """

    folder: Path
    ca: Ca

    def know(self, url: str) -> None:
        """Write the pipeline."""
        self.folder.mkdir()
        (self.folder / "gw1.toml").write_text(_PIPELINE % (url, self.ca.fingerprint))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run."""
        environment = {"CHALLENGE": CHALLENGE, "SCEPFLOW_STATE_DIR": str(self.folder / "state")}
        return subprocess.Popen(
            [sys.executable, "-m", "scepflow", "run", "gw1.toml", *arguments],
            cwd=self.folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Return exit code and stderr of a run."""
        with self.start(*arguments) as process:
            _, said = process.communicate(timeout=LONGEST_S)
            return process.returncode, said

    @contextmanager
    def held(self, *, arrives: bool = True) -> Iterator[subprocess.Popen[str]]:
        """Give a run that waits for its first answer from the CA; the answer comes when the context ends.

        Args:
            arrives: whether the CA has got the message, and has decided.
        """
        with self.start() as process:
            try:
                with self.ca.held(arrives=arrives) as wait:
                    wait()
                    yield process
                process.communicate(timeout=LONGEST_S)
            finally:
                process.kill()

    def certificate(self) -> x509.Certificate:
        """Return what was delivered; the key beside it is its key."""
        key = load_pem_private_key((self.folder / "gw1.key").read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((self.folder / "gw1.pem").read_bytes())
        assert key.public_key() == certificate.public_key()
        return certificate
