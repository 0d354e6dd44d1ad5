"""Each effective value of a pipeline and where it came from.

Must never hold: the text of a secret; only its origin is shown.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from scepflow.options import Secret, Template
from scepflow.pipeline.fields import as_toml, fields_of
from scepflow.pipeline.locate import KeyPath, dotted
from scepflow.pipeline.report import InvalidPipelineError
from scepflow.pipeline.validate import DEFAULT_USE, check_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from scepflow.pipeline.load import Document
    from scepflow.pipeline.model import Pipeline
    from scepflow.registry import Registry
    from scepflow.stages import Stage

__all__ = ["ExplainedValue", "Explanation", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedValue:
    """One option's value.

    Attributes:
        table: the table it belongs to, such as ``sink.phone``.
        option: the option's name.
        value: the value in force, as plain values; of a secret only its origin.
        origin: ``file`` for the pipeline file itself, ``extends`` for a file that it extends, ``default``.
        file: the file it stands in, or None for a default.
        line: its line there, 1 or more, or None.
        uses: the template names that were filled in, such as ``var.org``.
    """

    table: str
    option: str
    value: Any
    origin: Literal["file", "extends", "default"]
    file: str | None = None
    line: int | None = None
    uses: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The value on one line."""
        if isinstance(self.value, dict) and self.value.keys() == {"secret"}:
            return f"<secret: {self.value['secret']}>"
        return "-" if self.value is None else json.dumps(self.value, ensure_ascii=False)

    @property
    def source(self) -> str:
        """Where it came from, on one line."""
        place = "default" if self.file is None else f"{self.file}:{self.line}"
        with_names = f" with {', '.join(self.uses)}" if self.uses else ""
        return place + (" (extends)" if self.origin == "extends" else "") + with_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Every value of a pipeline, tables in the order a run meets them.

    Attributes:
        file: the pipeline file as the user named it.
        values: the values.
    """

    file: str
    values: tuple[ExplainedValue, ...]

    def lines(self) -> list[str]:
        """Return it as aligned text."""
        widths = [
            max((len(text) for text in column if len(text) <= 60), default=0)
            for column in ([v.option for v in self.values], [v.text for v in self.values])
        ]
        lines: list[str] = []
        table = None
        for value in self.values:
            if value.table != table:
                table = value.table
                lines += [""] * bool(lines) + [f"[{table}]"]
            lines.append(f"  {value.option:{widths[0]}}  {value.text:{widths[1]}}  {value.source}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "file": self.file,
            "values": [{**asdict(value), "uses": list(value.uses)} for value in self.values],
        }


def explain(path: str | Path, registry: Registry, *, device: Mapping[str, str] | None = None) -> Explanation:
    """Return each effective value of a pipeline file and where it came from.

    Args:
        path: the pipeline file.
        registry: where its stages are found.
        device: values for ``{device.x}``.

    Raises:
        InvalidPipelineError: the file has errors.
    """
    report = check_pipeline(path, registry, device=device)
    if report.pipeline is None or report.document is None:
        raise InvalidPipelineError(report)
    values = [
        value
        for at, options in _tables(report.pipeline)
        for value in _explained(report.document, at, options)
    ]
    return Explanation(file=report.file, values=tuple(values))


def _tables(pipeline: Pipeline) -> Iterator[tuple[KeyPath, msgspec.Struct]]:
    yield ("ca",), pipeline.ca
    for kind in DEFAULT_USE:
        yield (kind,), getattr(pipeline, kind)
    yield ("renew",), pipeline.renew
    for name, sink in pipeline.sinks.items():
        yield ("sink", name), sink


def _explained(document: Document, at: KeyPath, options: msgspec.Struct | Stage) -> Iterator[ExplainedValue]:
    config = type(options).__struct_config__
    if config.tag_field is not None:
        yield _value(document, (*at, config.tag_field), config.tag)
    for key, field in fields_of(type(options)).items():
        yield _value(document, (*at, key), getattr(options, field.name))


def _value(document: Document, path: KeyPath, value: Any) -> ExplainedValue:
    table, option = dotted(path[:-1]), str(path[-1])
    found = document.place(path)
    if found is None:
        return ExplainedValue(table=table, option=option, value=as_toml(value), origin="default")
    source, place = found
    return ExplainedValue(
        table=table,
        option=option,
        value=as_toml(value),
        origin="file" if source is document.main else "extends",
        file=source.name,
        line=source.position(place.key.start)[0],
        uses=() if isinstance(value, Secret) else tuple(dict.fromkeys(_names(document.value(path), value))),
    )


def _names(written: Any, value: Any) -> Iterator[str]:
    """Yield the template names in what was written; the value's types tell what is a template."""
    if isinstance(value, Template):
        yield from Template.names(written)
    elif isinstance(value, list | tuple):
        for one, other in zip(written, value, strict=False):
            yield from _names(one, other)
    elif isinstance(value, dict):
        for key in value:
            yield from _names(written[key], value[key])
    elif isinstance(value, msgspec.Struct):
        for key, field in fields_of(type(value)).items():
            if key in written:
                yield from _names(written[key], getattr(value, field.name))
