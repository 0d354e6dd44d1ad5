"""Certificates that a client did not ask for, or should not take.

Must never hold: which of them a client accepts.
"""

from __future__ import annotations

from scepflow.testca.behaviour import Behaviour

__all__ = ["BEHAVIOURS"]

BEHAVIOURS: tuple[Behaviour, ...] = ()
