"""A pipeline of fakes around the real engine and the test CA, in a world whose clock only sleep moves."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.pipeline import CaOptions, Pipeline, RenewOptions
from scepflow.runner import run_pipeline
from scepflow.stages import KeySource, OutputSink, Poller, Transport
from scepflow.state import StateDirectory
from scepflow.system import System
from scepflow.testca import Authority, Responder
from scepflow.testing import NOW
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.signers import AutoSigner

if TYPE_CHECKING:
    from pathlib import Path

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.events import Event
    from scepflow.runner import Outcome

URL = "http://pki.example.com/scep"
SUBJECT = "CN=gw1.example.com"


class GivenKey(KeySource, frozen=True, kw_only=True, tag="given"):
    """The key that the test has: making one takes a tenth of a second."""

    key: Any

    def obtain(self, run):
        return self.key


class Wire(Transport, frozen=True, kw_only=True, tag="wire"):
    """Answers by a function."""

    handle: Any

    @contextmanager
    def connect(self, run):
        yield _Connection(self.handle)


@dataclass
class _Connection:
    send: Any


class Delays(Poller, frozen=True, kw_only=True, tag="delays"):
    """Waits as it is told."""

    seconds: tuple[float, ...]

    def delays_s(self):
        return iter(self.seconds)


class Box(OutputSink, frozen=True, kw_only=True, tag="box"):
    """Keeps what it is given."""

    content: Any

    def write(self, issued, run):
        self.content.append(issued)

    def describe(self):
        return "a box"


@dataclass
class World:
    """One test's CA, clock, disk and memory.

    Attributes:
        requests: what was sent, in its order.
        events: what was told.
        slept_s: every wait.
        lost: operations (with a number: that request of it, from 1) that get no answer but this exception.
    """

    directory: Path
    authority: Authority
    key: rsa.RSAPrivateKey
    requests: list[HttpRequest] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    slept_s: list[float] = field(default_factory=list)
    box: list[Any] = field(default_factory=list)
    answers: dict[str | tuple[str, int], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.responder = Responder(Authority(self.authority.ca, ra=self.authority.ra), now=self.now)
        self.state = StateDirectory(self.directory / "state")
        self.system = System(now=self.now, monotonic_s=lambda: sum(self.slept_s), sleep=self.slept_s.append)

    def now(self):
        return NOW + timedelta(seconds=sum(self.slept_s))

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer as the CA would, unless ``answers`` has an exception or a response for the operation."""
        self.requests.append(request)
        number = sum(sent.operation == request.operation for sent in self.requests)
        planned = self.answers.get((request.operation, number)) or self.answers.get(request.operation)
        if isinstance(planned, BaseException):
            raise planned
        return planned(request) if callable(planned) else planned or self.responder.handle(request)

    def pipeline(self, *, ca: dict[str, Any] | None = None, **changed: Any) -> Pipeline:
        parts = {
            "name": "gw1",
            "file": self.directory / "gw1.toml",
            "key": GivenKey(key=self.key),
            "csr": SubjectCsrBuilder(subject=SUBJECT),
            "signer": AutoSigner(),
            "transport": Wire(handle=self.handle),
            "poller": Delays(seconds=(60, 120)),
            "renew": RenewOptions(),
            "sinks": {"box": Box(content=self.box)},
        }
        pinned = {"url": URL, "fingerprint": f"sha256:{self.authority.fingerprint}"}
        return Pipeline(ca=CaOptions(**(pinned | (ca or {}))), **(parts | changed))

    def run(self, pipeline: Pipeline | None = None, **orders: Any) -> Outcome:
        return run_pipeline(
            pipeline or self.pipeline(),
            emit=self.events.append,
            state=self.state,
            system=self.system,
            **orders,
        )

    @property
    def operations(self) -> list[str]:
        return [request.operation for request in self.requests]

    @property
    def told(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    @property
    def warnings(self) -> list[str]:
        return [event.code for event in self.events if type(event).__name__ == "Warned"]

    @property
    def kept(self) -> list[str]:
        """The names of the files that are kept of attempts; the journal stands beside them."""
        return sorted(path.name for path in self.state.path.glob("*/*/*") if path.is_file())


def new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_authority(**options: Any) -> Authority:
    return Authority.create(now=NOW - timedelta(days=1), random_bytes=secrets.token_bytes, **options)
