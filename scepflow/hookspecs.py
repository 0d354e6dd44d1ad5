"""The seven hooks, in the order a run meets them.

Must never hold: name dispatch. Each stage hook returns classes; the registry
picks by kind and ``use`` name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepflow.events import Event
    from scepflow.stages import CsrBuilder, KeySource, OutputSink, Poller, Signer, Transport

__all__ = [
    "hookimpl",
    "hookspec",
    "scepflow_csr_builders",
    "scepflow_event",
    "scepflow_key_sources",
    "scepflow_pollers",
    "scepflow_signers",
    "scepflow_sinks",
    "scepflow_transports",
]

hookspec = pluggy.HookspecMarker("scepflow")
hookimpl = pluggy.HookimplMarker("scepflow")


@hookspec
def scepflow_key_sources() -> Sequence[type[KeySource]]:
    """Return the key sources this plugin offers."""
    raise NotImplementedError


@hookspec
def scepflow_csr_builders() -> Sequence[type[CsrBuilder]]:
    """Return the CSR builders this plugin offers."""
    raise NotImplementedError


@hookspec
def scepflow_signers() -> Sequence[type[Signer]]:
    """Return the signers this plugin offers."""
    raise NotImplementedError


@hookspec
def scepflow_transports() -> Sequence[type[Transport]]:
    """Return the transports this plugin offers."""
    raise NotImplementedError


@hookspec
def scepflow_pollers() -> Sequence[type[Poller]]:
    """Return the pollers this plugin offers."""
    raise NotImplementedError


@hookspec
def scepflow_sinks() -> Sequence[type[OutputSink]]:
    """Return the output sinks this plugin offers."""
    raise NotImplementedError


@hookspec
def scepflow_event(event: Event) -> None:
    """Be told of everything that happens in a run; it cannot be altered."""
