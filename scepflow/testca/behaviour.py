"""What a behaviour of the test CA is: a named departure from how a careful CA answers.

Must never hold: a behaviour; those are in `scepflow.testca.behaviours`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scepflow.engine.exchange import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from typing import Any

    from scepflow.engine.exchange import HttpRequest
    from scepflow.engine.messages import PkiRequest
    from scepflow.testca.authority import Authority
    from scepflow.testca.knobs import Reply
    from scepflow.testca.shapes import Shape

__all__ = ["Behaviour", "Memory", "Scene", "WireResponse", "replying", "reshaping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireResponse(HttpResponse):
    """A response whose bytes a server on a port does not send as they are.

    Attributes:
        pieces: gives what is sent instead, from head and body as they would have been; see `Behaviour.wire`.
    """

    pieces: Callable[[bytes], Iterable[bytes]]


@dataclass(slots=True)
class Memory:
    """What a responder's behaviours remember from one request to the next.

    Attributes:
        replies: every CertRep that was sent, as sent.
        served: how many requests each operation had so far, this one included.
        stranger: the CA of an attacker, made when first asked for.
    """

    replies: list[bytes] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    stranger: Authority | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a behaviour may know of the exchange it takes part in.

    Attributes:
        authority: the CA's keys and certificates.
        now: the current time, aware UTC.
        http: the request as it came.
        request: the pki_message in it, or None.
        random_bytes: source of nonces, content keys and vectors.
        memory: what behaviours remember.
        reply: the CertRep that is being encrypted, signed and encoded, or None before that.
    """

    authority: Authority
    now: datetime
    http: HttpRequest
    request: PkiRequest | None
    random_bytes: Callable[[int], bytes]
    memory: Memory
    reply: Reply | None = None

    @property
    def stranger(self) -> Authority:
        """Another CA, which nobody trusts; the same one for the life of a responder."""
        from scepflow.testca.authority import Authority

        if self.memory.stranger is None:
            self.memory.stranger = Authority.create(now=self.now, name="stranger")
        return self.memory.stranger


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One thing that a strange server does or an attacker tries; each step that is None is as usual.

    Attributes:
        name: what ``scepflow testca --behave`` calls it: words in lower case, with hyphens.
        summary: what the server does, one line that begins with a verb, such as ``signs with a stranger's key``.
        prepare: changes the CA before its first request, once; gets the current time, aware UTC.
        reply: changes a CertRep before it is encrypted, signed and encoded.
        content: changes what SUCCESS encrypts: the DER of a certs-only SignedData.
        seal: encrypts that content, instead of `scepflow.engine.envelopes.build_envelope`; None leaves it to that, where
            the recipient's key cannot take what would be sent.
        message: changes the CertRep's encoding in any part, or gives other bytes in its place; see ``replaces``.
        answer: changes the HTTP response.
        operations: the operations that ``answer`` and ``wire`` are about; none are all.
        wire: gives the bytes that are sent instead of the response's, in pieces; it may sleep between them, and
            the connection is closed after the last. Only a server on a port does that.
        replaces: whether ``message`` gives bytes, which no later behaviour's can change.
        needs_ra: whether it shows only where an RA answers.
        needs_root: whether it shows only where the CA has another above it.
        needs_rsa: whether it shows only where replies are signed with an RSA key.
    """

    name: str
    summary: str
    prepare: Callable[[Authority, datetime], None] | None = None
    reply: Callable[[Reply, Scene], Reply] | None = None
    content: Callable[[bytes, Scene], bytes] | None = None
    seal: Callable[[bytes, Reply, Scene], bytes | None] | None = None
    message: Callable[[Shape, Scene], Shape | bytes] | None = None
    answer: Callable[[HttpResponse, Scene], HttpResponse] | None = None
    operations: tuple[str, ...] = ()
    wire: Callable[[bytes], Iterable[bytes]] | None = None
    replaces: bool = False
    needs_ra: bool = False
    needs_root: bool = False
    needs_rsa: bool = False

    def lacks(self, authority: Authority) -> str:
        """Say what an authority would need for this to show, or "" when it has it."""
        if self.needs_ra and not authority.ra:
            return "a registration authority: --ra, or a behaviour that has one"
        if self.needs_root and not authority.above:
            return "a root above the CA: the behaviour intermediate has one"
        if self.needs_rsa and not authority.signs_with_rsa:
            return "an RSA key to sign with: --key rsa-2048, or --ra"
        return ""

    def concerns(self, operation: str) -> bool:
        """Tell whether ``answer`` and ``wire`` are about an operation, such as ``GetCACert``."""
        return not self.operations or operation in self.operations


def replying(change: Callable[[Reply], Reply]) -> Behaviour:
    """Return a behaviour for one test: a CertRep as a function changes it."""
    return Behaviour(name="reply", summary="replies as a test wants", reply=lambda reply, _: change(reply))


def reshaping(name: str, summary: str, *, needs_rsa: bool = False, **knobs: Any) -> Behaviour:
    """Return a behaviour that sets knobs of a CertRep's `Shape`."""
    return Behaviour(
        name=name, summary=summary, message=lambda shape, _: shape.but(**knobs), needs_rsa=needs_rsa
    )
