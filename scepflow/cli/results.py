"""What came of each pipeline: the screen, the JSON document and the exit code of ``scepflow run``.

Must never hold: how it came about; that is told by events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli.words import counted, duration, shout, until
from scepflow.errors import PendingError, TrustError
from scepflow.events import KeyReady, RequestSent, RunFinished, Warned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from scepflow.delivery import Delivery
    from scepflow.errors import ScepflowError
    from scepflow.events import Event
    from scepflow.records import CertificateFacts

__all__ = [
    "Result",
    "common_code",
    "delivery_as_dict",
    "error_as_dict",
    "result_lines",
    "summary",
    "warnings_of",
]

EXIT_MIXED = 7
_COLORS = {
    "issued": "green",
    "renewed": "green",
    "delivered": "green",
    "rolled-back": "green",
    "unchanged": "green",
    "pending": "yellow",
    "locked": "yellow",
}
_WORDS = {"unchanged": "up to date", "rolled-back": "rolled back"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one pipeline.

    Attributes:
        pipeline: its name.
        outcome: issued, renewed, delivered, rolled-back, unchanged, degraded, pending, rejected, locked, failed, or
            invalid for a file with errors.
        action: what was done where the outcome is degraded, else the outcome, or "".
        exit_code: what a run of this pipeline alone exits with.
        events: everything that was told, in its order.
        certificate: the certificate in use, if the run ended well.
        renew_at: when it is due, aware UTC.
        deliveries: what became of the sinks that got it in this run.
        error: what went wrong.
        problems: errors and warnings of the pipeline file, as JSON-able values.
    """

    pipeline: str
    outcome: str
    exit_code: int
    events: Sequence[Event] = ()
    action: str = ""
    certificate: CertificateFacts | None = None
    renew_at: datetime | None = None
    deliveries: Sequence[Delivery] = ()
    error: ScepflowError | None = None
    problems: Sequence[dict[str, Any]] = ()

    @property
    def valid(self) -> bool:
        """Whether the run ended with a valid certificate."""
        return self.certificate is not None

    def told(self, kind: type[Event]) -> Any:
        """Return the last event of a kind, or None."""
        return next((event for event in reversed(self.events) if isinstance(event, kind)), None)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values; a document without a certificate has null in its place."""
        finished = self.told(RunFinished)
        sent, error = self.told(RequestSent), self.error
        certificate = ("serial", "subject", "issuer", "not_before", "not_after", "fingerprint")
        return {
            "pipeline": self.pipeline,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "transaction_id": sent.transaction_id if sent else None,
            "fail_info": getattr(error, "fail_info", None),
            "fail_info_text": getattr(error, "fail_info_text", None),
            **{name: _plain(getattr(self.certificate, name, None)) for name in certificate},
            "renew_at": _plain(self.renew_at),
            "deliveries": [delivery_as_dict(delivery) for delivery in self.deliveries],
            "error": error_as_dict(error),
            "problems": list(self.problems),
            "warnings": warnings_of(self.events),
            "elapsed_s": round(finished.elapsed_s, 3) if finished else None,
        }


def warnings_of(events: Sequence[Event]) -> list[dict[str, str]]:
    """Return the warnings among events as JSON-able values."""
    return [{"code": event.code, "text": event.text} for event in events if isinstance(event, Warned)]


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value


def error_as_dict(error: ScepflowError | None) -> dict[str, Any] | None:
    """Return an error as JSON-able values."""
    if error is None:
        return None
    check = {"check": error.check} if isinstance(error, TrustError) else {}
    return {"type": type(error).__name__, "message": error.message, **check, "hint": error.hint}


def delivery_as_dict(delivery: Delivery) -> dict[str, Any]:
    """Return what became of a sink as JSON-able values."""
    return {
        "sink": delivery.sink,
        "delivered": delivery.error is None,
        "detail": delivery.detail,
        "error": error_as_dict(delivery.error),
    }


def common_code(codes: Iterable[int]) -> int:
    """Return the exit code that all have in common, else 7; among those that are done, one that is pending gives its 3."""
    different = set(codes)
    if PendingError.exit_code in different:
        different.discard(0)
    return different.pop() if len(different) == 1 else EXIT_MIXED


def result_lines(result: Result, *, width: int, brief: bool = False) -> Iterator[str]:
    """Yield one pipeline's lines.

    Args:
        result: what came of it.
        width: columns for the name.
        brief: leave out what went well, because the same screen has just shown it.
    """
    word = result.action or result.outcome
    if (word, result.outcome) == ("delivered", "degraded"):
        word = result.outcome  # the sinks that follow say which
    status = shout(f"{_WORDS.get(word, word):14}", _COLORS.get(word, "red"))
    yield f"{click.style(f'{result.pipeline:{width}}', bold=True)}  {status}  {_essence(result)}"
    indent = " " * (width + 2)
    for delivery in result.deliveries:
        if delivery.error is None:
            if not brief:
                yield f"{indent}{'delivered':14}  {delivery.sink}: {delivery.detail}"
        else:
            failed = shout(f"{'NOT delivered':14}", "red")
            yield f"{indent}{failed}  {delivery.sink}: {delivery.error.message}"
            if delivery.error.hint:
                yield f"{indent}{'':14}  {click.style('hint:', bold=True)} {delivery.error.hint}"


def _essence(result: Result) -> str:
    finished, facts = result.told(RunFinished), result.certificate
    if facts and result.renew_at:
        key = result.told(KeyReady)
        made = f", {key.description} key" if key else ""
        expires = until(facts.not_after, finished.at)
        return f"serial {_short(facts.serial)}, expires {expires}, renews {result.renew_at:%Y-%m-%d}{made}"
    if result.error:
        return result.error.message + (f" (after {duration(finished.elapsed_s)})" if finished else "")
    errors = [problem for problem in result.problems if problem["severity"] == "error"]
    return counted(len(errors), "error") + " in the pipeline file" if errors else "a bug; see above"


def _short(serial: str) -> str:
    return serial if len(serial) <= 16 else f"{serial[:12]}…"


def summary(results: Sequence[Result]) -> str:
    """Return the line that counts several results."""
    outcomes = [
        _WORDS.get(result.outcome, result.outcome)
        if result.outcome != "degraded"
        else "not fully delivered"
        if result.action == "delivered"
        else f"{result.action} but not fully delivered"
        for result in results
    ]
    counts = (f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))
    return f"{counted(len(results), 'pipeline')}: {', '.join(counts)}"
