"""A pytest plugin for authors of stages; it is there when a conftest.py says ``pytest_plugins = ["scepflow.testing"]``.

Fixtures: `embedded_ca`, `issued`, `renewed`, `stage_run`, `recorded_events`, `run_pipeline`. Checks: one function per
kind of stage, which fails the test when the stage breaks what its kind promises.
Must never hold: anything that a run needs.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import isfinite
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import pytest

from scepflow.errors import OptionError, ScepflowError, SinkError, StageError
from scepflow.options import Secret
from scepflow.stages import KINDS, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.engine.identity import Credential, SigningIdentity
    from scepflow.events import Event
    from scepflow.registry import Registry
    from scepflow.runner import Outcome
    from scepflow.stages import (
        CsrBuilder,
        KeySource,
        OutputSink,
        Poller,
        PrivateKey,
        Signer,
        Stage,
        Transport,
    )
    from scepflow.testca import Authority, Responder

__all__ = [
    "NOW",
    "PipelineRun",
    "RunPipeline",
    "check_csr_builder",
    "check_failing_sink",
    "check_key_source",
    "check_poller",
    "check_signer",
    "check_sink",
    "check_stage",
    "check_transport",
    "embedded_ca",
    "issued",
    "recorded_events",
    "renewed",
    "run_pipeline",
    "stage_run",
]

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
"""When every test runs, as far as stages and the CA can tell."""

_DEFAULT_TABLES = {
    "ca": 'ca = { url = "http://embedded/scep", certificate = "testca/ca.pem" }',
    "csr": 'csr = { subject = "CN=device.example.com" }',
    "transport": 'transport = { use = "embedded", directory = "testca" }',
}


# -- fixtures


@pytest.fixture(scope="session")
def _ca_authority() -> Authority:
    """One CA key for the whole session: it takes a tenth of a second to make."""
    from scepflow.testca import Authority

    return Authority.create(now=NOW - timedelta(days=1))


@pytest.fixture(scope="session")
def _device_key() -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def embedded_ca(_ca_authority: Authority, tmp_path: Path) -> Responder:
    """A test CA with an empty memory, in memory and in the folder ``testca`` of tmp_path.

    Its ``authority`` has keys and certificates; ``with scepflow.testca.serve(embedded_ca) as server`` puts it
    on a loopback port.
    """
    from scepflow.testca import Authority, Responder

    authority = Authority(_ca_authority.ca)
    authority.save(tmp_path / "testca")
    return Responder(authority, now=lambda: NOW)


@pytest.fixture
def issued(embedded_ca: Responder, _device_key: PrivateKey) -> Credential:
    """A credential as a sink gets it: an RSA key, its certificate, and the CA's."""
    return _issue(embedded_ca.authority, _device_key)


@pytest.fixture
def renewed(embedded_ca: Responder) -> Credential:
    """The credential that replaces `issued`: same subject, a new key, an EC one."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _issue(embedded_ca.authority, ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def recorded_events() -> list[Event]:
    """The events that stages emitted through `stage_run`, in their order."""
    return []


@pytest.fixture
def stage_run(tmp_path: Path, recorded_events: list[Event]) -> Run:
    """What a stage may know of its run: the pipeline ``gw1`` in tmp_path, at `NOW`."""
    import secrets

    return Run(
        pipeline="gw1",
        directory=tmp_path,
        now=lambda: NOW,
        random_bytes=secrets.token_bytes,
        emit=recorded_events.append,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRun:
    """What came of `run_pipeline`.

    Attributes:
        exit_code: as of ``scepflow run``.
        events: everything that was told, in its order.
        outcome: credential and deliveries, or None when no certificate was issued.
        error: why not, or None.
    """

    exit_code: int
    events: tuple[Event, ...]
    outcome: Outcome | None = None
    error: ScepflowError | None = None


class RunPipeline(Protocol):
    """The type of the `run_pipeline` fixture."""

    def __call__(self, text: str, *plugins: object, renew: bool = False) -> PipelineRun:
        """Run a pipeline."""


@pytest.fixture
def run_pipeline(tmp_path: Path, embedded_ca: Responder) -> RunPipeline:  # noqa: ARG001  # its folder is used
    """Run the pipeline of a TOML text, as a file in tmp_path, against `embedded_ca`.

    Missing ``[ca]``, ``[csr]`` and ``[transport]`` tables are added. Arguments after the text are plugins to use beside
    the installed ones: objects with hook implementations, or what ``-p`` would name. No wait takes time.
    What is kept in tmp_path counts at the next run; with ``renew`` that renews though nothing is due.
    """

    def run(text: str, *plugins: object, renew: bool = False) -> PipelineRun:
        return _run(tmp_path / "gw1.toml", _completed(text), plugins, renew=renew)

    return run


def _issue(authority: Authority, key: PrivateKey) -> Credential:
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    from scepflow.engine.identity import Credential

    subject = x509.Name.from_rfc4514_string("CN=device.example.com")
    csr = x509.CertificateSigningRequestBuilder(subject).sign(key, SHA256())
    certificate = authority.issue(csr, now=NOW)
    return Credential(key=key, certificate=certificate, chain=(authority.certificate,))


def _completed(text: str) -> str:
    import tomli

    missing = _DEFAULT_TABLES.keys() - tomli.loads(text)
    return "\n".join([*(_DEFAULT_TABLES[table] for table in sorted(missing)), text])


def _run(file: Path, text: str, plugins: tuple[object, ...], *, renew: bool) -> PipelineRun:
    from scepflow.pipeline import load_pipeline
    from scepflow.runner import run_pipeline
    from scepflow.state import StateDirectory
    from scepflow.system import System

    events: list[Event] = []
    clock = _Clock()
    system = System(now=clock.now, monotonic_s=clock.monotonic_s, sleep=clock.sleep)

    try:
        registry = _registry(plugins)

        def emit(event: Event) -> None:
            events.append(event)
            registry.emit(event)

        file.write_text(text, encoding="utf-8")
        pipeline = load_pipeline(file, registry)
        state = StateDirectory(file.parent / "state")
        outcome = run_pipeline(pipeline, emit=emit, state=state, system=system, renew=renew)
    except ScepflowError as error:
        return PipelineRun(exit_code=error.exit_code, events=tuple(events), error=error)
    return PipelineRun(exit_code=outcome.exit_code, events=tuple(events), outcome=outcome)


def _registry(plugins: tuple[object, ...]) -> Registry:
    from scepflow.registry import Registry

    registry = Registry.discover(extra=[plugin for plugin in plugins if isinstance(plugin, str)])
    for number, plugin in enumerate(plugins):
        if not isinstance(plugin, str):
            registry.register(plugin, f"test-{number}")
    return registry


class _Clock:
    """Time that passes only when someone sleeps."""

    def __init__(self) -> None:
        self._elapsed_s = 0.0

    def monotonic_s(self) -> float:
        return self._elapsed_s

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self._elapsed_s)

    def sleep(self, delay_s: float) -> None:
        self._elapsed_s += delay_s


# -- checks


def check_stage(stage: Stage, run: Run) -> None:
    """Check what holds for every stage; the checks below do so first.

    Its class can be registered and is frozen, its docstring begins with what the user gets and explains each
    option, and its ``check`` changes no file.

    Args:
        stage: the stage.
        run: what it may know; `stage_run` does.
    """
    from scepflow.pipeline.schema import attribute_docs

    cls = type(stage)
    flaws = _flaws_of(cls)
    assert not flaws, "; ".join(flaws)
    assert cls.__struct_config__.frozen, f"{cls.__name__} is not frozen"
    assert cls.__dict__.get("__doc__"), (
        f"{cls.__name__} has no docstring; `scepflow plugins` shows its first line"
    )
    docs = attribute_docs(cls)
    silent = [field.encode_name for field in msgspec.structs.fields(cls) if not docs.get(field.name)]
    assert not silent, f"the docstring of {cls.__name__} has no line under Attributes for {', '.join(silent)}"
    with _unchanged(run.directory, "check()"):
        stage.check(run)


def check_key_source(source: KeySource, run: Run) -> PrivateKey:
    """Check that a key source gives a key that can be used, and return it."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    check_stage(source, run)
    key = source.obtain(run)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey), f"{type(key).__name__} is no key"
    assert isinstance(key, ec.EllipticCurvePrivateKey) or key.key_size >= 2048, "an RSA key below 2048 bits"
    return key


def check_csr_builder(builder: CsrBuilder, key: PrivateKey, run: Run) -> x509.CertificateSigningRequest:
    """Check that a CSR builder's request is for the key and signed with it, and return it."""
    check_stage(builder, run)
    csr = builder.build(key, run)
    assert csr.public_key() == key.public_key(), "the request is for another key"
    assert csr.is_signature_valid, "the request's signature is wrong"
    return csr


def check_signer(
    signer: Signer, key: PrivateKey, csr: x509.CertificateSigningRequest, run: Run
) -> SigningIdentity:
    """Check that a signer's certificate and key belong together, and return them."""
    check_stage(signer, run)
    identity = signer.identity(key, csr, run)
    assert identity.certificate.public_key() == identity.key.public_key(), (
        "the certificate is for another key"
    )
    return identity


def check_transport(transport: Transport, request: HttpRequest, run: Run) -> HttpResponse:
    """Check that a transport delivers a request twice over one connection, and return the second response.

    Args:
        transport: the transport.
        request: such as ``scepflow.engine.queries.ca_caps_request(url)``, to a server that is running.
        run: what it may know.
    """
    check_stage(transport, run)
    with transport.connect(run) as connection:
        connection.send(request)
        response = connection.send(request)
    assert 100 <= response.status <= 599, f"{response.status} is no HTTP status"
    assert all(name == name.lower() for name in response.headers), "names of header fields are in lower case"
    assert isinstance(response.body, bytes), "the body is bytes, as sent"
    assert len(response.body) <= request.max_response_bytes, "the body is longer than the request allows"
    return response


def check_poller(poller: Poller, run: Run, *, count: int = 1000) -> tuple[float, ...]:
    """Check that a poller's delays are sane and start anew for each run, and return the first of them.

    Args:
        poller: the poller.
        run: what it may know.
        count: how many delays to look at, 1 or more.
    """
    check_stage(poller, run)
    delays_s = tuple(islice(poller.delays_s(), count))
    assert all(delay_s >= 0 and isfinite(delay_s) for delay_s in delays_s), (
        "a delay is seconds, finite, 0 or more"
    )
    again = next(iter(poller.delays_s()), None)
    assert (again is None) == (not delays_s), "a second run gets no delays"
    return delays_s


def check_sink(sink: OutputSink, issued: Credential, run: Run, *, renewed: Credential | None = None) -> None:
    """Check that a sink delivers, twice, and that nothing stays of an output that is discarded.

    With ``renewed`` it is also checked that files of the pipeline's folder are replaced, never overwritten: who reads one
    at the time sees the old or the new content, whole.

    Args:
        sink: the sink.
        issued: the credential to deliver.
        run: what it may know; files outside its directory are not looked at.
        renewed: another credential, delivered last.
    """
    check_stage(sink, run)
    shown = sink.describe()
    assert shown, "describe() says nothing"
    assert shown.isprintable(), "describe() is one line of visible text"
    assert not _secrets_in(shown, sink, run), "describe() shows a secret"
    with _unchanged(run.directory, "an output that was discarded"):
        sink.prepare(issued, run).discard()
    sink.prepare(issued, run).commit()
    sink.write(issued, run)
    if renewed:
        with _replaced_whole(run.directory):
            sink.write(renewed, run)


def check_failing_sink(sink: OutputSink, issued: Credential, run: Run) -> SinkError:
    """Check that a sink that cannot deliver says so and leaves everything as it was; return its error.

    Args:
        sink: a sink whose output is bound to fail.
        issued: the credential to deliver.
        run: what it may know; files outside its directory are not looked at.
    """
    with _unchanged(run.directory, "a sink that failed"), pytest.raises(SinkError) as caught:
        sink.prepare(issued, run).commit()
    error = caught.value
    shown = f"{error.message}{error.hint or ''}"
    assert shown.isprintable(), "an error is one line of visible text"
    assert "PRIVATE KEY" not in shown, "the error shows the private key"
    assert not _secrets_in(shown, sink, run), "the error shows a secret"
    return error


def _flaws_of(cls: type[Stage]) -> list[str]:
    """Return what the registry has against a class."""
    from scepflow.hookspecs import hookimpl
    from scepflow.registry import HOOKS, Registry

    table = next(table for table, base in KINDS.items() if issubclass(cls, base))
    hook = HOOKS[table][0]

    plugin = ModuleType(cls.__name__)
    setattr(plugin, hook, hookimpl(lambda: [cls], specname=hook))
    registry = Registry()
    registry.register(plugin, cls.__name__)
    return [problem.message for problem in registry.problems]


def _secrets_in(text: str, stage: Stage, run: Run) -> list[str]:
    """Return the names of a stage's secrets that a text shows."""
    found = []
    for name in stage.__struct_fields__:
        value: Any = getattr(stage, name)
        if isinstance(value, Secret):
            try:
                secret = run.reveal(value)
            except (OptionError, StageError):
                continue
            found += [name] if secret in text else []
    return found


def _files(directory: Path) -> dict[str, tuple[int, bytes | None]]:
    """Everything below a directory: relative name → mode and content."""
    paths = sorted(directory.rglob("*"))
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in paths
    }


@contextmanager
def _unchanged(directory: Path, who: str) -> Iterator[None]:
    before = _files(directory)
    yield
    after = _files(directory)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert not changed, f"{who} changed {', '.join(changed)}"


@contextmanager
def _replaced_whole(directory: Path) -> Iterator[None]:
    """Hold every file open meanwhile: a file that is replaced still reads as it was."""
    with ExitStack() as stack:
        held = [
            (path, stack.enter_context(path.open("rb")), path.read_bytes())
            for path in directory.rglob("*")
            if path.is_file()
        ]
        yield
        for path, file, before in held:
            assert file.read() == before, f"{path.name} was overwritten, not replaced"
