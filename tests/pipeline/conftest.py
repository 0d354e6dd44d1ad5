from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from scepflow.errors import OptionError
from scepflow.hookspecs import hookimpl
from scepflow.options import Duration, FileMode, NameTemplate, PathTemplate, Secret, Template
from scepflow.registry import Registry
from scepflow.stages import CsrBuilder, KeySource, OutputSink, Poller, Signer, Transport


class FakeKey(KeySource, tag="generate"):
    """Make a key.

    Attributes:
        algorithm: what kind of key,
            and how large.
    """

    algorithm: Literal["rsa-2048", "rsa-3072", "ec-p256"] = "rsa-2048"

    def obtain(self, run): ...


class Extension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    der: str
    critical: bool = False


class FakeCsr(CsrBuilder, tag="subject"):
    """Ask for a name.

    Attributes:
        subject: who asks | RFC 4514.
    """

    subject: NameTemplate
    san: tuple[Template, ...] = ()
    challenge: Secret | None = None
    extensions: dict[str, str | Extension] = msgspec.field(default_factory=dict)

    def build(self, key, run): ...


class FakeSigner(Signer, tag="auto"):
    """Sign."""

    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 365

    def identity(self, key, csr, run): ...


class FakeTransport(Transport, tag="direct"):
    """Reach the CA."""

    timeout: Duration = Duration("60s")

    def connect(self, run): ...


class FakeProxy(FakeTransport, kw_only=True, tag="proxy"):
    """Reach the CA through a proxy."""

    url: Template
    user: Template | None = None
    password: Secret | None = None

    def __post_init__(self):
        if self.password and not self.user:
            raise OptionError("a password needs user", where="password", hint="add user")


class FakePoller(Poller, tag="backoff"):
    """Ask again."""

    interval: Duration = Duration("60s")
    max_count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    factor: float = 2.0

    def __post_init__(self):
        if self.interval <= 0:
            raise OptionError("interval must be more than 0 s", where="interval")

    def delays_s(self):
        yield float(self.interval)


class FakeFileSink(OutputSink, tag="file"):
    """Write files."""

    key: PathTemplate | None = None
    mode: FileMode = FileMode("0600")
    owner: str | int | None = None
    passphrase: Secret | None = None
    words: list[str] = msgspec.field(default_factory=list)
    pair: tuple[int, str] | None = None
    on: bool = True

    def write(self, issued, run): ...


class FakeP12Sink(OutputSink, tag="pkcs12"):
    """Write PKCS#12."""

    path: PathTemplate
    password: Secret
    passwords: dict[str, Secret] = msgspec.field(default_factory=dict)

    def write(self, issued, run): ...


class FakeStages:
    """A plugin with one or two stages of each kind."""

    @hookimpl
    def scepflow_key_sources(self):
        return [FakeKey]

    @hookimpl
    def scepflow_csr_builders(self):
        return [FakeCsr]

    @hookimpl
    def scepflow_signers(self):
        return [FakeSigner]

    @hookimpl
    def scepflow_transports(self):
        return [FakeTransport, FakeProxy]

    @hookimpl
    def scepflow_pollers(self):
        return [FakePoller]

    @hookimpl
    def scepflow_sinks(self):
        return [FakeFileSink, FakeP12Sink]


@pytest.fixture
def registry():
    found = Registry()
    found.register(FakeStages(), "fake")
    return found


PRINT = "sha256:" + "ab" * 32

GOOD = f"""
[ca]
url = "http://pki.example.com/scep"
fingerprint = "{PRINT}"
[csr]
subject = "CN=gw"
[sink.file]
key = "key.pem"
"""


@pytest.fixture
def good():
    """Text of a pipeline file without faults."""
    return GOOD


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into a folder that is the current one, and return its name."""
    monkeypatch.chdir(tmp_path)

    def write_file(text, name="gw.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write_file
