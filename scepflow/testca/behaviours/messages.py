"""CertReps that are encoded oddly, signed wrongly, or answer something else.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from scepflow.testca.behaviour import Behaviour

if TYPE_CHECKING:
    from scepflow.testca.behaviour import Scene
    from scepflow.testca.knobs import Reply
    from scepflow.testca.shapes import Shape

__all__ = ["BEHAVIOURS"]


def _strip_certificates(shape: Shape, _: Scene) -> Shape:
    return shape.but(certificates=())


def _wrong_nonce(reply: Reply, scene: Scene) -> Reply:
    return replace(reply, recipient_nonce=scene.random_bytes(16))


BEHAVIOURS = (
    Behaviour(
        name="no-certificates",
        summary="leaves all certificates out of its replies, as NDES and Dogtag do",
        message=_strip_certificates,
    ),
    Behaviour(
        name="wrong-nonce",
        summary="answers with a recipientNonce that nobody sent",
        reply=_wrong_nonce,
    ),
)
