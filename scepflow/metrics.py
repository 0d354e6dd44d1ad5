"""How pipelines stand, for node_exporter's textfile collector, in the text format of Prometheus.

Must never hold: a secret, or a decision that follows from a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from scepflow.private_files import write_shared
from scepflow.standing import State, standing_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
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

_LARGEST_BYTES = 16 << 20
_EARLIER = re.compile(r"(scepflow_last_run_(?:seconds|exit_code)\{.+\}) ([0-9]{1,10})")


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

    A run with nothing to do leaves nothing in the journal. So where the file that is there
    tells of a later run of a pipeline, that one stays its latest.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    earlier = _earlier(path)
    samples = [_latest(sample, earlier, now) for sample in samples]
    write_shared(path, metrics_text(samples, now).encode(), mode=0o644)


def _earlier(path: Path) -> Mapping[str, int]:
    """Read which runs the file tells of: series → value; a damaged line counts as none, and so does a file."""
    try:
        if not path.is_file():  # reading anything else may wait
            return {}
        with path.open("rb") as file:
            text = file.read(_LARGEST_BYTES).decode(errors="replace")
    except OSError:
        return {}
    whole_lines = text.split("\n")[:-1]
    return {found[1]: int(found[2]) for line in whole_lines if (found := _EARLIER.fullmatch(line))}


def _latest(sample: Sample, earlier: Mapping[str, int], now: datetime) -> Sample:
    """Return the sample with the run that the file tells of, if that was later; one to come is a clock gone wrong."""
    ended_s = earlier.get(_series("last_run_seconds", sample), 0)
    exit_code = earlier.get(_series("last_run_exit_code", sample))
    if exit_code is None or not _seconds(sample.ended_at) < ended_s <= _seconds(now):
        return sample
    return replace(sample, exit_code=exit_code, ended_at=datetime.fromtimestamp(ended_s, UTC))


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
    return f"{_series(name, sample, **labels)} {value}"


def _series(name: str, sample: Sample, **labels: str) -> str:
    named = {"pipeline": sample.name, "file": sample.file, **labels}
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in named.items())
    return f"scepflow_{name}{{{inside}}}"


def _escaped(text: str) -> str:
    """Escape a label's value as the text format wants it, which is UTF-8."""
    text = text.encode(errors="replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _seconds(at: datetime) -> int:
    return round(at.timestamp())
