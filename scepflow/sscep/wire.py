"""Stages of this process: the way to the CA, watched; the signer, with ``-L`` and a steady serial; the file ``-l``.

Must never hold: a message's content; the first two hand on what the installed stages make.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from typing import TYPE_CHECKING, Any

from scepflow.errors import ScepflowError, SinkError, TransportError
from scepflow.output_files import write_output
from scepflow.sscep.exchanges import message_of, tell_received, tell_sent
from scepflow.sscep.settings import Exit, SscepExit
from scepflow.stages import OutputSink, Signer, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography import x509

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.engine.identity import Credential, SigningIdentity
    from scepflow.sscep.output import Screen
    from scepflow.stages import Connection, PrivateKey, Run

__all__ = ["CertificateFile", "CommandEnded", "SteadySigner", "WatchedTransport", "Wire"]


class CommandEnded(ScepflowError):  # noqa: N818  # which may be what was asked for
    """The command ends inside a stage: only our own errors come out of one as they are.

    Args:
        end: how it ends.
    """

    def __init__(self, end: SscepExit) -> None:
        super().__init__(str(end))
        self.end = end


@dataclass
class Wire:
    """What passes between us and the CA, over all connections of one command.

    Attributes:
        screen: where every step is told.
        peer: host and port that are connected to, the proxy's if there is one.
        wait_s: seconds in all to try again when no answer comes.
        sleep: waits.
        take: is given the message instead of the CA, or None to send it.
        answers: the last response to each operation.
    """

    screen: Screen
    peer: str
    wait_s: int = 0
    sleep: Callable[[float], None] = lambda _seconds: None
    take: Callable[[bytes], None] | None = None
    answers: dict[str, HttpResponse] = field(default_factory=dict)

    def send(self, connection: Connection, request: HttpRequest) -> HttpResponse:
        """Send a request; the CA is asked for its capabilities only once."""
        if request.operation == "GetCACaps" and "GetCACaps" in self.answers:
            return self.answers["GetCACaps"]
        if request.operation == "PKIOperation" and self.take:
            self.take(message_of(request))
            raise CommandEnded(SscepExit(Exit.SUCCESS))
        tell_sent(self.screen, request)
        response = self._persist(connection, request)
        tell_received(self.screen, request, response)
        self.answers[request.operation] = response
        return response

    def _persist(self, connection: Connection, request: HttpRequest) -> HttpResponse:
        """Try again after 1, 2, 3… seconds, as long as ``-W`` allows."""
        left_s, pause_s = self.wait_s, 1
        while True:
            try:
                self.screen.verbose(f"connecting to {self.peer}")
                return connection.send(request)
            except TransportError as error:
                if left_s <= 0 or not error.retryable:
                    raise
            pause_s = min(pause_s, left_s)
            self.sleep(pause_s)
            left_s, pause_s = left_s - pause_s, pause_s + 1


class WatchedTransport(Transport, frozen=True, kw_only=True, tag="sscep-watched"):
    """Another transport, watched."""

    inner: Any
    wire: Any

    @contextmanager
    def connect(self, run: Run) -> Iterator[Connection]:
        """Open the other transport."""
        self.wire.screen.masks = run.masks
        with self.inner.connect(run) as connection:
            yield _WatchedConnection(connection, self.wire)


@dataclass
class _WatchedConnection:
    connection: Connection
    wire: Wire

    def send(self, request: HttpRequest) -> HttpResponse:
        return self.wire.send(self.connection, request)


class SteadySigner(Signer, frozen=True, kw_only=True, tag="sscep-signer"):
    """Another signer; what it makes for one key always has the same serial number, and ``-L`` is written.

    Attributes:
        inner: the other signer.
        serial: 16 bytes that the serial number is made of.
        ready: is given the certificate before anything is sent.
    """

    inner: Any
    serial: bytes
    ready: Any

    @property
    def durable(self) -> bool:  # type: ignore[override]  # a class has one answer, this one its inner signer's
        """Whether the key can be had again: a run then keeps no copy of it."""
        return bool(self.inner.durable)

    @property
    def renews(self) -> bool:  # type: ignore[override]  # likewise
        """Whether the certificate was issued before."""
        return bool(self.inner.renews)

    def identity(self, key: PrivateKey, csr: x509.CertificateSigningRequest, run: Run) -> SigningIdentity:
        """Return the other signer's identity."""
        identity: SigningIdentity = self.inner.identity(
            key, csr, replaced(run, random_bytes=lambda count: self.serial[:count])
        )
        self.ready(identity.certificate)
        return identity


class CertificateFile(OutputSink, frozen=True, kw_only=True, tag="sscep-file"):
    """The certificate alone, PEM, where ``-l`` names a file, a link to one or a device.

    Attributes:
        name: the file.
        ready: is given the credential before it is written.
    """

    name: str
    ready: Any

    def write(self, issued: Credential, run: Run) -> None:  # noqa: ARG002  # the file is named from where the command runs
        """Write the certificate."""
        from cryptography.hazmat.primitives.serialization import Encoding

        self.ready(issued)
        try:
            write_output(self.name, issued.certificate.public_bytes(Encoding.PEM))
        except OSError as error:
            raise SinkError(f"{self.name}: {error.strerror}") from None

    def describe(self) -> str:
        """Return the file's name."""
        return self.name
