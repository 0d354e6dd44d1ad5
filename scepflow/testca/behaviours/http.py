"""HTTP as strange servers, proxies and attackers speak it.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from scepflow.testca.behaviour import Behaviour

__all__ = ["BEHAVIOURS"]

BEHAVIOURS: tuple[Behaviour, ...] = ()
