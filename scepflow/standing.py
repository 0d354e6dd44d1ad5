"""How a pipeline stands, in one of eight words, and what happens next; for `scepflow status` and for machines.

Must never hold: a change, or a file that is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scepflow.renewal import RENEWAL_RETRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from scepflow.records import AttemptRecord, PipelineRecord

__all__ = ["Standing", "State", "standing_of"]

State = Literal["new", "pending", "valid", "due", "degraded", "rejected", "blocked", "expired"]

_BLOCKING = (1, 5, 78)
"""Exit codes of what a later run does not mend by itself: a bug, a lack of trust, a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a pipeline stands.

    Attributes:
        state: ``new`` (no certificate and no request yet), ``pending`` (the CA decides), ``valid``, ``due`` (for
            renewal), ``degraded`` (issued, not delivered everywhere), ``rejected`` (and not asked again
            unchanged), ``blocked`` (a person must look), ``expired``.
        then: what happens next, or what to do, one line; "" when nothing needs to.
    """

    state: State
    then: str


def standing_of(record: PipelineRecord, now: datetime) -> Standing:
    """Return how a pipeline stands.

    Where several things are open, the most urgent gives the state: a person must look, the certificate is over
    (whatever is under way), a sink is behind, the CA decides, it has rejected, the certificate is due.

    Args:
        record: what the journal knows.
        now: current time, aware UTC.
    """
    if _failed(record) and record.exit_code in _BLOCKING:
        return Standing(state="blocked", then=_trouble(record))
    open_ends = tuple(_open_ends(record, now))
    if not open_ends:
        return Standing(state="valid", then="")
    return Standing(state=open_ends[0].state, then=_joined(end.then for end in open_ends))


def _open_ends(record: PipelineRecord, now: datetime) -> Iterator[Standing]:
    """Yield all that is not as it should be, the most urgent first."""
    facts = record.current.certificate if record.current else None
    valid = facts is not None and facts.not_after > now
    if valid:
        yield from _behind(record)
    state: State = "due" if valid else "expired" if facts else "new"
    if record.open and state == "expired":
        yield Standing(state=state, then=f"{record.open.purpose} pending: {_poll(record, record.open)}")
    elif record.open:
        yield Standing(state="pending", then=_poll(record, record.open))
    elif not valid or (record.renew_at and record.renew_at <= now):
        yield _refused(record, now, state) or Standing(state=state, then=_attempt(record, state))


def _behind(record: PipelineRecord) -> Iterator[Standing]:
    """Yield what the sinks lack; each pipeline has one at least."""
    failed = [delivery for delivery in record.deliveries.values() if delivery.error]
    if failed:
        said = ", ".join(f"{delivery.sink} ({_line(delivery.error or '')})" for delivery in failed)
        yield Standing(state="degraded", then=f"the next run delivers again to {said}")
    elif not record.deliveries:  # of a journal from before sinks were noted beforehand
        yield Standing(state="degraded", then="the next run delivers it: the last one did not come to that")


def _poll(record: PipelineRecord, attempt: AttemptRecord) -> str:
    name, since = attempt.transaction_id, f"{attempt.begun_at:%Y-%m-%d %H:%M} UTC"
    if attempt.pending:
        said = f"the CA's operator must approve transaction {name} (sent {since}); the next run asks"
    else:
        said = (
            f"the CA's answer to transaction {name} (sent {since}) did not arrive; the next run asks for it"
        )
    return f"{said}: {_trouble(record)}" if _failed(record) else said


def _refused(record: PipelineRecord, now: datetime, state: State) -> Standing | None:
    """Return what the CA has rejected and is not asked again, if that is how the last run ended.

    A rejected renewal is asked again after a while. It holds up no enrollment, to which an expired certificate leads;
    one that was rejected after its end was to be renewed nevertheless.
    """
    refusal = record.refused
    if refusal is None or record.outcome != "rejected":
        return None
    when = ""
    if refusal.purpose == "renewal":
        facts, until = record.current.certificate if record.current else None, refusal.at + RENEWAL_RETRY
        leads_to_enrollment = state == "expired" and facts is not None and refusal.at < facts.not_after
        if leads_to_enrollment or not refusal.at <= now < until:
            return None
        when = f"on {until:%Y-%m-%d %H:%M} UTC, "
    again = f"asked again {when}when the pipeline or its challenge changes, or with `scepflow run --again`"
    word: State = "expired" if state == "expired" and refusal.purpose == "renewal" else "rejected"
    return Standing(state=word, then=_joined([_trouble(record), again]))


def _attempt(record: PipelineRecord, state: State) -> str:
    does = {"due": "renews it", "expired": "asks for a new one", "new": "enrolls"}[state]
    if record.outcome not in ("failed", "rejected"):
        return f"the next run {does}"
    if state == "expired" and record.outcome == "rejected":
        return f"the next run {does}; the latest request was rejected: {_trouble(record)}"
    return f"the next run tries again: {_trouble(record)}"


def _failed(record: PipelineRecord) -> bool:
    """Return whether the last run failed, and nothing has been sent since by one that was killed."""
    if record.outcome != "failed" or record.open is None:
        return record.outcome == "failed"
    return record.ended_at is not None and record.open.asked_at <= record.ended_at


def _trouble(record: PipelineRecord) -> str:
    """Return why the last run failed and what to do, where that is one line; else `scepflow doctor` says it."""
    hint = f"see `scepflow doctor {record.file}`" if "\n" in record.hint else record.hint
    return _joined(text for text in (_line(record.message), hint) if text)


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(texts).replace("?; ", "? ")


def _line(text: str) -> str:
    return " ".join(text.split())
