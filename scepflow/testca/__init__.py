"""A certification authority with a SCEP responder, for tests and demos ONLY: never for production.

It approves whoever brings the challenge (or anyone, when there is none), keeps
its private keys unencrypted, and will misbehave on request.
`Authority` has the keys and certificates, `Responder` turns requests into
replies, `serve` puts a responder on a loopback port.
Must never hold: anything that the client needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scepflow.engine.messages import FailInfo
    from scepflow.testca.authority import Authority
    from scepflow.testca.behaviour import Behaviour, Scene, replying
    from scepflow.testca.knobs import Knobs, Reply
    from scepflow.testca.responder import Responder
    from scepflow.testca.server import Server, announcement, serve, serve_forever

__all__ = [
    "Authority",
    "Behaviour",
    "FailInfo",
    "Knobs",
    "Reply",
    "Responder",
    "Scene",
    "Server",
    "announcement",
    "replying",
    "serve",
    "serve_forever",
]

_HOMES = {
    "Authority": "scepflow.testca.authority",
    "Behaviour": "scepflow.testca.behaviour",
    "Scene": "scepflow.testca.behaviour",
    "FailInfo": "scepflow.engine.messages",
    "Knobs": "scepflow.testca.knobs",
    "Reply": "scepflow.testca.knobs",
    "Responder": "scepflow.testca.responder",
    "Server": "scepflow.testca.server",
    "announcement": "scepflow.testca.server",
    "replying": "scepflow.testca.behaviour",
    "serve": "scepflow.testca.server",
    "serve_forever": "scepflow.testca.server",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that naming this package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
