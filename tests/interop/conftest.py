"""Runs a row of the interop table: a whole pipeline, over HTTP on loopback, against a test CA that behaves as the row says."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.engine.messages import MessageType
from scepflow.errors import ScepflowError
from scepflow.events import Warned
from scepflow.pipeline import load_pipeline
from scepflow.registry import Registry
from scepflow.runner import run_pipeline
from scepflow.state import StateDirectory
from scepflow.system import System
from scepflow.testca import Authority, Knobs, Responder, serve
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.behaviours import behaviours
from scepflow.testing import NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rows import Row

    from scepflow.engine.exchange import HttpResponse
    from scepflow.events import Event
    from scepflow.runner import Outcome
    from scepflow.testca.behaviour import Scene

PIPELINE = """\
[ca]
url = "{url}"
{ca}
[key]
use = "file"
path = "device.key"
[csr]
subject = "CN=gw1.example.com"
{csr}
[sink.file]
cert = "gw1.pem"
chain = "chain.pem"
"""


@pytest.fixture(scope="session")
def authority_of() -> Callable[..., Authority]:
    """Authorities by their options: keys take a tenth of a second to make."""
    made: dict[str, Authority] = {}

    def of(options: dict[str, Any]) -> Authority:
        name = repr(sorted(options.items()))
        if name not in made:
            made[name] = Authority.create(now=NOW - timedelta(days=1), **options)
        return Authority(made[name].ca, ra=made[name].ra)

    return of


@dataclass
class Ran:
    """What came of a run.

    Attributes:
        code: exit code.
        outcome: when the run ended well, or None.
        error: when it did not, or None.
        events: all that was told.
    """

    code: int
    outcome: Outcome | None
    error: ScepflowError | None
    events: list[Event]

    @property
    def said(self) -> str:
        """Errors, hints and warnings, as they are shown."""
        errors = [f"{self.error.message} {self.error.hint or ''}"] if self.error else []
        return "\n".join([*errors, *(event.text for event in self.events if isinstance(event, Warned))])

    @property
    def warned(self) -> set[str]:
        return {event.code for event in self.events if isinstance(event, Warned)}


class Bench:
    """A folder with a key and a pipeline, and a CA on a port."""

    def __init__(self, folder: Path, authority: Authority, row: Row, *, key: Any) -> None:
        self.folder = folder
        self.key = key
        self.row = row
        self.slept_s: list[float] = []
        self.methods: list[str] = []
        self.honest = Knobs(**row.knobs, behave=(self._watching(),))
        self.strange = Knobs(**row.knobs, behave=(*behaviours(row.behave), self._watching()))
        self.responder = Responder(authority, self.honest if row.renewal else self.strange, now=self.now)

    def _watching(self) -> Behaviour:
        def note(response: HttpResponse, scene: Scene) -> HttpResponse:
            self.methods.append(scene.http.method)
            return response

        return Behaviour(name="watching", summary="notes", answer=note, operations=("PKIOperation",))

    def now(self) -> Any:
        return NOW + timedelta(seconds=sum(self.slept_s))

    def write(self, url: str) -> None:
        """Write the pipeline's file; the CA is pinned by its fingerprint unless the row pins otherwise."""
        pinned = {"fingerprint": f"sha256:{self.responder.authority.fingerprint}"}
        challenge = {"challenge": self.honest.challenge} | dict(self.row.csr)
        text = PIPELINE.format(
            url=url, ca=self._options(pinned | dict(self.row.ca)), csr=self._options(challenge)
        )
        ca_pem = self.responder.authority.certificate.public_bytes(Encoding.PEM)
        (self.folder / "ca.crt").write_bytes(ca_pem)
        (self.folder / "gw1.toml").write_text(f"{text}\n{self.row.pipeline}\n", encoding="utf-8")

    def _options(self, options: dict[str, Any]) -> str:
        """Return the lines of a table; what is None is left out."""
        values = {name: value(self) if callable(value) else value for name, value in options.items()}
        return "\n".join(f"{name} = {_toml(value)}" for name, value in values.items() if value is not None)

    @property
    def sent(self) -> dict[str, str]:
        """The last request, as it came to the CA."""
        request = self.responder.requests[-1]
        return {
            "message": MessageType(request.message_type).title,
            "cipher": request.envelope.cipher.value,
            "digest": request.digest.value,
            "method": self.methods[-1],
        }

    def run(self, **orders: Any) -> Ran:
        events: list[Event] = []
        system = System(now=self.now, monotonic_s=lambda: sum(self.slept_s), sleep=self.slept_s.append)
        try:
            outcome = run_pipeline(
                load_pipeline(self.folder / "gw1.toml", Registry.discover()),
                emit=events.append,
                state=StateDirectory(self.folder / "state"),
                system=system,
                **orders,
            )
        except ScepflowError as error:
            return Ran(error.exit_code, None, error, events)
        return Ran(outcome.exit_code, outcome, None, events)

    def delivered(self) -> dict[str, bytes]:
        """Return what the sink delivered."""
        return {name: data for name, data in self.files().items() if name.endswith(".pem")}

    def files(self) -> dict[str, bytes]:
        """Return every file by its path, but for what the command itself keeps in ``state``."""
        files = {
            str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()
        }
        return {
            name: path.read_bytes() for name, path in files.items() if not name.startswith(f"state{os.sep}")
        }

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "gw1.pem").read_bytes())


def _toml(value: object) -> str:
    return json.dumps(value)


@pytest.fixture
def bench_of(tmp_path, authority_of, _device_key):
    """Open the bench of a row; its server ends with the test."""
    key_pem = _device_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "device.key").write_bytes(key_pem)
    (tmp_path / "device.key").chmod(0o600)
    with ExitStack() as stack:

        def of(row: Row) -> Bench:
            bench = Bench(tmp_path, authority_of(dict(row.authority)), row, key=_device_key)
            server = stack.enter_context(serve(bench.responder))
            bench.write(server.url + row.address)
            return bench

        yield of
