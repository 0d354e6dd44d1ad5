"""Every behaviour of the test CA by its name: what strange servers send, and what attackers try.

Must never hold: a behaviour; each is in the module of what it changes.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepflow.testca.behaviour import Behaviour

__all__ = ["all_behaviours", "behaviours"]


def all_behaviours() -> dict[str, Behaviour]:
    """Return the whole catalogue, by name, in its order."""
    from scepflow.testca.behaviours import (
        bundles,
        ca,
        capabilities,
        certificates,
        envelopes,
        forgeries,
        http,
        messages,
        redirects,
        statuses,
        wire,
    )

    modules = (
        capabilities,
        ca,
        bundles,
        messages,
        statuses,
        forgeries,
        envelopes,
        certificates,
        http,
        redirects,
        wire,
    )
    return {behaviour.name: behaviour for module in modules for behaviour in module.BEHAVIOURS}


def behaviours(names: Iterable[str]) -> tuple[Behaviour, ...]:
    """Return the behaviours with these names, in this order.

    Raises:
        ValueError: there is none with one of the names.
    """
    known = all_behaviours()
    found = []
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(f'there is no behaviour "{name}"' + (f'; is it "{near[0]}"?' if near else ""))
        found.append(known[name])
    return tuple(found)
