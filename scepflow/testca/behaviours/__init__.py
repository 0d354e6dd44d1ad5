"""Every behaviour of the test CA by its name: what strange servers send, and what attackers try.

Must never hold: a behaviour; each is in the module of what it changes.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepflow.testca.behaviour import Behaviour

__all__ = ["all_behaviours", "behaviours", "by_name"]


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
    return by_name(behaviour for module in modules for behaviour in module.BEHAVIOURS)


def by_name(catalogue: Iterable[Behaviour]) -> dict[str, Behaviour]:
    """Return behaviours by name.

    Raises:
        ValueError: two have the same name.
    """
    known: dict[str, Behaviour] = {}
    for behaviour in catalogue:
        if behaviour.name in known:
            raise ValueError(f'there are two behaviours "{behaviour.name}"')
        known[behaviour.name] = behaviour
    return known


def behaviours(names: Iterable[str]) -> tuple[Behaviour, ...]:
    """Return the behaviours with these names, in this order.

    Raises:
        ValueError: there is none with one of the names, or two of them cannot both count.
    """
    known = all_behaviours()
    found = []
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise ValueError(f'there is no behaviour "{name}"' + (f'; is it "{near[0]}"?' if near else ""))
        found.append(known[name])
    for earlier, later in combinations(found, 2):
        if why := _conflict(earlier, later):
            raise ValueError(f'"{earlier.name}" and "{later.name}" do not go together: {why}')
    return tuple(found)


def _conflict(earlier: Behaviour, later: Behaviour) -> str:
    """Say why the second of two would not count beside the first, or "" where it does."""
    if earlier.seal and later.seal:
        return "both encrypt the reply"
    if earlier.wire and later.wire and _share_operations(earlier, later):
        return "both write the bytes of a response"
    if earlier.replaces and later.message:
        return "nothing can change the reply behind the first; name it last"
    return ""


def _share_operations(one: Behaviour, other: Behaviour) -> bool:
    return not one.operations or not other.operations or bool({*one.operations} & {*other.operations})
