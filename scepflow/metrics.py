"""How pipelines stand, for node_exporter's textfile collector, in the text format of Prometheus.

Must never hold: a secret, or a decision that follows from a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from scepflow.private_files import write_shared
from scepflow.standing import State, standing_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from scepflow.records import PipelineRecord

__all__ = ["Sample", "metrics_text", "write_metrics"]

_HELP = {
    "certificate_not_after_seconds": "When the certificate in use expires, in seconds since 1970.",
    "renewal_due_seconds": "When the certificate in use is due for renewal, in seconds since 1970.",
    "last_run_exit_code": "What the latest run of this pipeline alone would exit with; 0 is good.",
    "last_run_seconds": "When the latest run ended, in seconds since 1970.",
    "state": "1 for the state that the pipeline is in, 0 for the others.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One pipeline after its latest run.

    Attributes:
        name: the pipeline's name.
        file: its file, absolute.
        record: what the journal knows, or None when no run has come so far.
        exit_code: of the latest run.
        ended_at: when that was, aware UTC.
    """

    name: str
    file: str
    record: PipelineRecord | None
    exit_code: int
    ended_at: datetime


def metrics_text(samples: Sequence[Sample], now: datetime) -> str:
    """Return the whole file.

    Args:
        samples: one for each pipeline, no two of one file.
        now: current time, aware UTC.
    """
    values = [(sample, dict(_values(sample))) for sample in samples]
    lines: list[str] = []
    for name, text in _HELP.items():
        lines += [f"# HELP scepflow_{name} {text}", f"# TYPE scepflow_{name} gauge"]
        for sample, of in values:
            if name == "state":
                lines += _states(sample, now)
            elif name in of:
                lines.append(_line(name, of[name], sample))
    return "\n".join([*lines, ""])


def write_metrics(path: Path, samples: Sequence[Sample], now: datetime) -> None:
    """Replace the file whole, mode 0644; as `metrics_text`.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    write_shared(path, metrics_text(samples, now).encode(), mode=0o644)


def _values(sample: Sample) -> Iterator[tuple[str, int]]:
    record = sample.record
    if record and record.current and record.current.certificate:
        yield "certificate_not_after_seconds", _seconds(record.current.certificate.not_after)
        if record.renew_at:
            yield "renewal_due_seconds", _seconds(record.renew_at)
    yield "last_run_exit_code", sample.exit_code
    yield "last_run_seconds", _seconds(sample.ended_at)


def _states(sample: Sample, now: datetime) -> Iterable[str]:
    standing = standing_of(sample.record, now).state if sample.record else "new"
    return [_line("state", int(state == standing), sample, state=state) for state in get_args(State)]


def _line(name: str, value: int, sample: Sample, **labels: str) -> str:
    named = {"pipeline": sample.name, "file": sample.file, **labels}
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in named.items())
    return f"scepflow_{name}{{{inside}}} {value}"


def _escaped(text: str) -> str:
    """Escape a label's value as the text format wants it, which is UTF-8."""
    text = text.encode(errors="replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(at: datetime) -> int:
    return round(at.timestamp())
