"""What a first enrollment would pass over: a pipeline under an earlier name, and keys that a lost journal does not know.

Must never hold: how one of them is taken over; `scepflow.upkeep` does that when it is told to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.errors import ScepflowError, StateError
from scepflow.state import PipelineState, adopting

if TYPE_CHECKING:
    from datetime import datetime

    from scepflow.pipeline.model import Pipeline
    from scepflow.records import PipelineRecord
    from scepflow.stages import Run

__all__ = ["refuse_to_pass_over"]


def refuse_to_pass_over(pipeline: Pipeline, state: PipelineState, run: Run, *, now: datetime) -> None:
    """Do not enroll anew, with a challenge that may be spent, where a certificate or a request is at hand.

    Args:
        pipeline: it has neither, as far as the journal knows.
        state: the pipeline's, locked.
        run: what stages may know of the run.
        now: the current time, aware UTC.

    Raises:
        StateError: there is one, and what to do.
    """
    if aside := state.left_aside():
        raise StateError(
            state.why_aside(aside[0]),
            hint="`scepflow run --again` enrolls anew all the same; a challenge may be spent",
        )
    if pipeline.file.exists():
        for other in state.journal.pipelines():
            if not Path(other.file).exists() and _lives(other, now):
                _refuse_renamed(
                    pipeline, PipelineState(state.journal, state.path.parent / other.place), other, run
                )


def _lives(other: PipelineRecord, now: datetime) -> bool:
    facts = other.current.certificate if other.current else None
    return other.open is not None or (facts is not None and facts.not_after > now)


def _refuse_renamed(pipeline: Pipeline, state: PipelineState, other: PipelineRecord, run: Run) -> None:
    """Refuse where the other pipeline, whose file is gone, asked the same CA for the same subject."""
    from scepflow.ca import are_pinned
    from scepflow.custody import Custody
    from scepflow.subjects import asked_subject
    from scepflow.text import sanitise

    attempt, custody = other.open or other.current, Custody(pipeline, state)
    assert attempt is not None, "one of them lives"
    try:
        if other.open:
            subject, known = custody.csr(attempt.transaction_id).subject, custody.ca(attempt.transaction_id)
        else:
            certificates = custody.certificates(attempt.transaction_id) or ()
            if not certificates:
                return
            subject, known = certificates[0].subject, certificates[1:]
        same = any(are_pinned(pipeline.ca, [certificate], run) for certificate in known)
    except ScepflowError:  # damaged, or [ca] is: the run says so where it matters
        return
    if not same or asked_subject(pipeline, run) != subject:
        return
    take_over = adopting(pipeline.file, state.folder(attempt.transaction_id).path)
    raise StateError(
        f"{pipeline.name} has no certificate, and {other.file}, which is gone, has"
        f" {'a request that the CA has not decided' if other.open else 'a valid one'}"
        f" for the same subject {sanitise(subject.rfc4514_string())}",
        hint="if it was renamed, name it back"
        + ("" if other.open else f", or take over what it had: {take_over}")
        + "; --again enrolls anew",
    )
