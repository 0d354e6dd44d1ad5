"""What came of each pipeline: the screen, the JSON document and the exit code of ``scepflow run``.

Must never hold: how it came about; that is told by events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli.words import counted, duration, shout, until
from scepflow.events import CertificateIssued, KeyReady, RequestSent, RunFinished, Warned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from scepflow.delivery import Delivery
    from scepflow.errors import ScepflowError
    from scepflow.events import Event

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
_COLORS = {"issued": "green", "pending": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one pipeline.

    Attributes:
        pipeline: its name.
        outcome: issued, degraded, pending, rejected, failed, or invalid for a file with errors.
        exit_code: what a run of this pipeline alone exits with.
        events: everything that was told, in its order.
        deliveries: one for each sink, if a certificate was issued.
        kept_at: the folder of what is kept: a sink failed, or a request may still be granted.
        kept: what is kept there.
        error: why there is no certificate.
        problems: errors and warnings of the pipeline file, as JSON-able values.
    """

    pipeline: str
    outcome: str
    exit_code: int
    events: Sequence[Event] = ()
    deliveries: Sequence[Delivery] = ()
    kept_at: str | None = None
    kept: str = ""
    error: ScepflowError | None = None
    problems: Sequence[dict[str, Any]] = ()

    @property
    def certified(self) -> bool:
        """Whether there is a new certificate."""
        return self.outcome in ("issued", "degraded")

    def told(self, kind: type[Event]) -> Any:
        """Return the last event of a kind, or None."""
        return next((event for event in reversed(self.events) if isinstance(event, kind)), None)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values; a document without a certificate has null in its place."""
        issued, finished = self.told(CertificateIssued), self.told(RunFinished)
        sent, error = self.told(RequestSent), self.error
        certificate = ("serial", "subject", "issuer", "not_before", "not_after", "fingerprint")
        return {
            "pipeline": self.pipeline,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "transaction_id": sent.transaction_id if sent else None,
            "fail_info": getattr(error, "fail_info", None),
            "fail_info_text": getattr(error, "fail_info_text", None),
            **{name: _plain(getattr(issued, name, None)) for name in certificate},
            "deliveries": [delivery_as_dict(delivery) for delivery in self.deliveries],
            "kept_at": self.kept_at,
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
    return {"type": type(error).__name__, "message": error.message, "hint": error.hint}


def delivery_as_dict(delivery: Delivery) -> dict[str, Any]:
    """Return what became of a sink as JSON-able values."""
    return {
        "sink": delivery.sink,
        "delivered": delivery.error is None,
        "detail": delivery.detail,
        "error": error_as_dict(delivery.error),
    }


def common_code(codes: Iterable[int]) -> int:
    """Return the exit code that all have in common, else 7."""
    different = set(codes)
    return different.pop() if len(different) == 1 else EXIT_MIXED


def result_lines(result: Result, *, width: int, brief: bool = False) -> Iterator[str]:
    """Yield one pipeline's lines.

    Args:
        result: what came of it.
        width: columns for the name.
        brief: leave out what went well, because the same screen has just shown it.
    """
    word = "issued" if result.outcome == "degraded" else result.outcome
    status = shout(f"{word:14}", _COLORS.get(word, "red"))
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
    if result.kept_at:
        yield f"{indent}{'kept':14}  {result.kept}, in {result.kept_at}"


def _essence(result: Result) -> str:
    issued, key = result.told(CertificateIssued), result.told(KeyReady)
    if issued and result.certified:
        return f"serial {_short(issued.serial)}, expires {until(issued.not_after, issued.at)}, {key.description} key"
    if result.error:
        finished = result.told(RunFinished)
        return result.error.message + (f" (after {duration(finished.elapsed_s)})" if finished else "")
    errors = [problem for problem in result.problems if problem["severity"] == "error"]
    return counted(len(errors), "error") + " in the pipeline file" if errors else "a bug; see above"


def _short(serial: str) -> str:
    return serial if len(serial) <= 16 else f"{serial[:12]}…"


def summary(results: Sequence[Result]) -> str:
    """Return the line that counts several results."""
    words = {"degraded": "issued but not fully delivered"}
    outcomes = [words.get(result.outcome, result.outcome) for result in results]
    counts = (f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))
    return f"{counted(len(results), 'pipeline')}: {', '.join(counts)}"
