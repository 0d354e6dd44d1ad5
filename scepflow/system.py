"""The world of a run: clock, sleep and randomness; and what stages may know of it.

Must never hold: what a run does.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from scepflow.masks import Masks
from scepflow.stages import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.engine.identity import Credential
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline

__all__ = ["System", "make_run", "warn_relaxed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The world of a run; tests put their own in its place."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random_bytes: Callable[[int], bytes] = secrets.token_bytes


def make_run(
    pipeline: Pipeline,
    emit: Callable[[Event], None],
    system: System,
    *,
    previous: Credential | None = None,
) -> Run:
    """Return what the stages of this run may know.

    Args:
        pipeline: what is run.
        emit: is told every event, without the secrets that this run has revealed.
        system: its world.
        previous: the credential that is being renewed, or None.
    """
    signer, masks = pipeline.signer, Masks()
    return Run(
        pipeline=pipeline.name,
        directory=pipeline.directory,
        now=system.now,
        random_bytes=system.random_bytes,
        emit=lambda event: emit(masks.hide_in_event(event)),
        masks=masks,
        previous=previous,
        renewal=signer.renews or (previous is not None and signer.renews_with(previous)),
    )


def warn_relaxed(pipeline: Pipeline, run: Run) -> None:
    """Tell, at every run, which checks on replies are turned off."""
    for check in pipeline.ca.relax:
        run.warn("relaxed", f"the check {check} on replies is turned off")
