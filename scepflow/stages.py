"""The six kinds of stages: all that a plugin author must know.

A stage is a frozen Struct: its fields are its TOML options, its tag is the
name after ``use =``, and one method does the work. It holds options only;
what must be open for a run lives in what the method returns.
Must never hold: an implementation of a stage.

    class HelloSink(OutputSink, tag="hello"):
        '''Print the new certificate's subject.'''
        greeting: str = "hello"

        def write(self, issued, run):
            print(self.greeting, issued.certificate.subject.rfc4514_string())
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from scepflow.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.engine.identity import Credential, SigningIdentity
    from scepflow.events import Event
    from scepflow.options import Secret

    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

__all__ = [
    "KINDS",
    "Connection",
    "CsrBuilder",
    "KeySource",
    "OutputSink",
    "Poller",
    "Prepared",
    "Run",
    "Signer",
    "Stage",
    "Transport",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a stage may know of the run that it works in.

    Attributes:
        pipeline: the pipeline's name.
        directory: folder of the pipeline file; relative paths start here.
        now: returns the current time, aware UTC; stages ask no other clock.
        random_bytes: returns that many bytes from the system's secure source.
        emit: tells an event to every ``scepflow_event`` implementation.
        previous: the credential that is being renewed, or None for the first.
        renewal: whether an existing certificate signs the request.
        rehearsal: whether this is a dry run: a stage then makes nothing that outlives it.
        note_staged: is told by a sink, before it makes them, of the absolute paths of files that are to be gone once it
            has delivered; those that a kill leaves are then removed by a later run, even if the sink is another by then.
        masks: hides what was revealed in everything that is told; for what no `Secret` holds, see `hide`.
    """

    pipeline: str
    directory: Path
    now: Callable[[], datetime]
    random_bytes: Callable[[int], bytes]
    emit: Callable[[Event], None]
    previous: Credential | None = None
    renewal: bool = False
    rehearsal: bool = False
    note_staged: Callable[[Sequence[Path]], None] = lambda _paths: None
    masks: Masks = field(default_factory=Masks, repr=False, compare=False)

    def path(self, name: str) -> Path:
        """Return the path that an option names, relative to the pipeline file."""
        return self.directory / name

    def reveal(self, secret: Secret) -> str:
        """Return a secret's text. Never log it, never put it in an error or an argv."""
        text = secret.reveal(self.directory)
        self.hide(text)
        return text

    def hide(self, text: str) -> None:
        """Show ``***`` instead of a text from now on, should a peer send it back; one of 5 characters or less is shown."""
        self.masks.add(text)

    def warn(self, code: str, text: str) -> None:
        """Tell the user something that works today and should be looked at."""
        from scepflow.events import Warned
        from scepflow.text import sanitise

        code, text = sanitise(code), sanitise(text, limit=2000)
        self.emit(Warned(pipeline=self.pipeline, at=self.now(), code=code, text=text))


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="use"):
    """Base of every stage. The first line of a stage's docstring is what its user gets."""

    kind: ClassVar[str]

    @classmethod
    def stage_name(cls) -> str:
        """Return the name after ``use =``."""
        return str(cls.__struct_config__.tag)

    def check(self, run: Run) -> None:
        """Raise what would make this stage fail, and change nothing.

        ``run --dry-run`` calls it. The default finds nothing.

        Raises:
            StageError: the stage could not do its work as things are.
        """


class KeySource(Stage, frozen=True, kw_only=True):
    """Where the private key comes from: ``[key]``.

    ``durable`` says that the key can be had again, so that a run keeps no copy of it;
    ``exportable`` that it can be written, so that a sink may: a key on a token cannot.
    A key that cannot be written must be durable.
    """

    kind = "key source"
    durable: ClassVar[bool] = False
    exportable: ClassVar[bool] = True

    def obtain(self, run: Run) -> PrivateKey:
        """Return a private key, RSA of 2048 bits or more, or EC.

        Raises:
            KeySourceError: there is no usable key.
        """
        raise NotImplementedError


class CsrBuilder(Stage, frozen=True, kw_only=True):
    """What is asked of the CA: ``[csr]``."""

    kind = "CSR builder"

    def build(self, key: PrivateKey, run: Run) -> x509.CertificateSigningRequest:
        """Return a PKCS#10 request signed with the key (RFC 2986).

        Raises:
            CsrError: the request cannot be built, or is for another key.
        """
        raise NotImplementedError


class Signer(Stage, frozen=True, kw_only=True):
    """Whose key signs the request and decrypts the reply: ``[signer]``.

    ``durable`` says that the key can be had again, so that a run keeps no copy of it;
    ``renews`` that the certificate was issued before, so that the run is a renewal;
    ``takes_previous`` that it signs with ``run.previous`` where there is one.
    """

    kind = "signer"
    durable: ClassVar[bool] = False
    renews: ClassVar[bool] = False
    takes_previous: ClassVar[bool] = False

    def renews_with(self, previous: Credential) -> bool:  # noqa: ARG002  # one signer looks at it
        """Tell whether ``previous`` signs the request that renews it; if not, it is asked for as for a first one."""
        return self.takes_previous

    def identity(self, key: PrivateKey, csr: x509.CertificateSigningRequest, run: Run) -> SigningIdentity:
        """Return the signing identity (RFC 8894 §2.3 Client Authentication).

        Raises:
            SignerError: there is no usable certificate, or it does not fit its key.
        """
        raise NotImplementedError


class Connection(Protocol):
    """An open way to the server."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send one request and return its response, whatever its status.

        Raises:
            TransportError: no complete response arrived.
        """


class Transport(Stage, frozen=True, kw_only=True):
    """How messages travel to the CA: ``[transport]``."""

    kind = "transport"

    def connect(self, run: Run) -> AbstractContextManager[Connection]:
        """Return a context manager that gives a `Connection` for one run.

        Raises:
            TransportError: the server cannot be reached, now or on entering.
        """
        raise NotImplementedError


class Poller(Stage, frozen=True, kw_only=True):
    """When to ask again for a pending certificate: ``[poller]``."""

    kind = "poller"

    def delays_s(self) -> Iterator[float]:
        """Yield seconds to wait before each poll, 0 or more; the end means give up."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Prepared:
    """An output that stands ready beside its target.

    Attributes:
        commit: puts it in place; raises SinkError.
        discard: removes what was prepared, if it still is; called after commit too; never raises.
    """

    commit: Callable[[], None]
    discard: Callable[[], None] = field(default=lambda: None)


class OutputSink(Stage, frozen=True, kw_only=True):
    """Where the certificate goes: ``[sink.NAME]``."""

    kind = "sink"

    def write(self, issued: Credential, run: Run) -> None:
        """Deliver key, certificate and chain. A file is replaced whole or not at all.

        Raises:
            SinkError: the output could not be written; what was there before still is.
        """
        raise NotImplementedError

    def prepare(self, issued: Credential, run: Run) -> Prepared:
        """Stage the output beside its target, so that several sinks switch together.

        The default prepares nothing and writes when committed.

        Raises:
            SinkError: the output could not be staged; nothing is left behind.
        """
        return Prepared(commit=lambda: self.write(issued, run))

    def write_crl(self, crl: x509.CertificateRevocationList, run: Run) -> str | None:  # noqa: ARG002  # for those that take one
        """Deliver the CA's certificate revocation list, whose issuer and signature are verified.

        ``scepflow getcrl --deliver`` calls it. The default takes none. A file is replaced whole or not at all.

        Returns:
            Where it went, one short line for the user, or None if this sink takes no CRL.

        Raises:
            SinkError: the output could not be written; what was there before still is.
        """
        return None

    def takes_crl(self) -> bool:
        """Return whether this sink, as its options are, takes a certificate revocation list.

        ``scepflow getcrl --deliver`` asks no CA where no sink does. The default takes one where `write_crl` is its own.
        """
        return type(self).write_crl is not OutputSink.write_crl

    def outputs_at(self) -> tuple[str, ...]:
        """Return the files that this sink replaces, as its options name them, as far as they are known beforehand.

        Validation refuses a pipeline in which two sinks replace the same file, or
        one replaces a file that the pipeline reads. The default names none.
        """
        return ()

    def writes_key(self) -> bool:
        """Return whether this sink, as its options are, writes the private key.

        Validation refuses it where the key of ``[key]`` cannot be written. The default does not.
        """
        return False

    def waits_for(self) -> tuple[str, ...] | None:
        """Return the names of the sinks that must have delivered before this one acts, or None for all that write files.

        Asked only of a sink that prepares nothing, such as a command that is told of the files of others. While one of
        those sinks fails, this one waits, which counts as not delivered. The default waits for all.
        """
        return None

    def is_in_place(self, run: Run) -> bool:  # noqa: ARG002  # for those that can look
        """Return whether what was delivered last is still there, as far as that can be seen at once.

        A run that finds it gone delivers again. The default believes that it is there.
        """
        return True

    def describe(self) -> str:
        """Return where the output goes, one short line for the user, without secrets."""
        return self.stage_name()


KINDS: dict[str, type[Stage]] = {
    "key": KeySource,
    "csr": CsrBuilder,
    "signer": Signer,
    "transport": Transport,
    "poller": Poller,
    "sink": OutputSink,
}
"""TOML table → base class, in the order a run meets them."""
