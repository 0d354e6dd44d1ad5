"""The ``embedded`` transport: a test CA inside this process. For tests and demos only.

Must never hold: a socket, or a way to use its CA for anything real.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from scepflow.errors import TransportError

# Field types: msgspec resolves them when options are read.
from scepflow.options import Duration, PathTemplate, Secret
from scepflow.stages import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.stages import Connection, Run
    from scepflow.testca import Authority, Knobs

__all__ = ["EmbeddedTransport"]

_DAY_S = 86400
_REJECTIONS = ("badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId")
"""In the order of their numbers (RFC 8894 §3.2.1.4 failInfo and failInfoText)."""


class EmbeddedTransport(Transport, frozen=True, kw_only=True, tag="embedded"):
    """Talk to a test CA inside scepflow, without a server: for tests and demos, never for production.

        [ca]
        url = "http://embedded/scep"
        certificate = "testca/ca.pem"
        [transport]
        use = "embedded"
        directory = "testca"

    Attributes:
        directory: where the CA is kept, keys unencrypted; made at the first run. Left out: a new CA for each run.
        challenge: secret that a first enrollment must bring. Left out: everyone gets a certificate.
        pending: how often the CA answers PENDING before it decides.
        ra: a registration authority, with one certificate to sign and another to decrypt, answers for the CA.
        reject: reason (failInfo) with which every request is rejected. Left out: none is.
        reject_text: the CA's words (failInfoText) that go with it.
        lifetime: how long a certificate is valid.
    """

    directory: PathTemplate | None = None
    challenge: Secret | None = None
    pending: Annotated[int, msgspec.Meta(ge=0)] = 0
    ra: bool = False
    reject: Literal["badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId"] | None = None
    reject_text: str = ""
    lifetime: Duration = Duration("365d")

    @contextmanager
    def connect(self, run: Run) -> Iterator[Connection]:
        """Open the CA, or make it; a dry run leaves its directory as it is."""
        from scepflow.testca import Responder

        run.warn(
            "test-ca", "the embedded test CA is for tests and demos; nobody else trusts its certificates"
        )
        responder = Responder(
            self._authority(run), self._knobs(run), now=run.now, random_bytes=run.random_bytes
        )
        yield _EmbeddedConnection(responder.handle)

    def _authority(self, run: Run) -> Authority:
        from scepflow.testca import Authority

        if self.directory is None:
            return Authority.create(now=run.now(), ra=self.ra, random_bytes=run.random_bytes)
        try:
            if run.rehearsal:
                return self._rehearsed(run.path(self.directory), run)
            return Authority.open(
                run.path(self.directory), now=run.now(), ra=self.ra, random_bytes=run.random_bytes
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not the files of a test CA"
            raise TransportError(
                f"the embedded CA in {self.directory} cannot be opened: {reason}",
                hint="remove the directory to start with a new CA, or name another one",
                name="embedded",
            ) from error

    def _rehearsed(self, directory: Path, run: Run) -> Authority:
        """Return a copy in memory of the CA in a directory, or of the one that would be made there."""
        from scepflow.testca import Authority

        if not (directory / "ca.pem").exists():
            run.warn(
                "test-ca-missing",
                f"there is no CA in {self.directory} yet: the first run makes it, and its certificate file ca.pem",
            )
            return Authority.create(now=run.now(), ra=self.ra, random_bytes=run.random_bytes)
        kept = Authority.load(directory, random_bytes=run.random_bytes)
        copy = Authority(kept.ca, ra=kept.ra if self.ra else None, random_bytes=run.random_bytes)
        if self.ra and not copy.ra:
            copy.add_ra(run.now())
        return copy

    def _knobs(self, run: Run) -> Knobs:
        from scepflow.testca import FailInfo, Knobs

        return Knobs(
            challenge=run.reveal(self.challenge) if self.challenge else None,
            pending=self.pending,
            reject=FailInfo(_REJECTIONS.index(self.reject)) if self.reject else None,
            reject_text=self.reject_text,
            days=self.lifetime / _DAY_S,
            der_only=True,
        )


class _EmbeddedConnection:
    """A way to the CA that is a function call."""

    def __init__(self, handle: Callable[[HttpRequest], HttpResponse]) -> None:
        self.send = handle
