"""Tables to a pipeline, or to everything that is wrong with them at once.

Makes no key and opens no connection. Must never hold: knowledge of a single
stage's options.
"""

from __future__ import annotations

from itertools import groupby
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from scepflow.errors import OptionError, PipelineError, PluginError, UnknownStageError
from scepflow.options import Secret, Template
from scepflow.pipeline.fields import (
    MANY,
    Fault,
    Hook,
    closest,
    faults,
    fields_of,
    filler,
    members,
    near,
    parts,
)
from scepflow.pipeline.load import Document, load_document, paths_of
from scepflow.pipeline.locate import KeyPath, dotted
from scepflow.pipeline.model import CaOptions, Pipeline, RenewOptions
from scepflow.pipeline.overwrites import overwrites
from scepflow.pipeline.report import InvalidPipelineError, MoreFoundError, Report
from scepflow.stages import OutputSink, Stage
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scepflow.registry import Registry

__all__ = ["DEFAULT_USE", "TABLES", "check_pipeline", "load_pipeline", "this_host"]

TABLES = ("ca", "key", "csr", "signer", "transport", "poller", "renew", "sink", "vars")
"""The tables that a pipeline file may have."""

DEFAULT_USE = {
    "key": "generate",
    "csr": "subject",
    "signer": "auto",
    "transport": "direct",
    "poller": "backoff",
}
"""TOML table → what its ``use`` is unless given; a sink's is its name."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def load_pipeline(
    path: str | Path, registry: Registry, *, device: Mapping[str, str] | None = None
) -> Pipeline:
    """Read a pipeline file.

    Args:
        path: the file.
        registry: where its stages are found.
        device: values for ``{device.x}``.

    Raises:
        InvalidPipelineError: the file has errors; all of them are in ``.errors``.
    """
    report = check_pipeline(path, registry, device=device)
    if report.pipeline is None:
        raise InvalidPipelineError(report)
    return report.pipeline


def this_host() -> Mapping[str, str]:
    """Return ``host.name`` and ``host.fqdn`` of this machine; may ask the resolver."""
    import socket

    name = socket.gethostname()
    return {"host.name": name.partition(".")[0], "host.fqdn": name if "." in name else socket.getfqdn(name)}


def check_pipeline(
    path: str | Path,
    registry: Registry,
    *,
    text: str | None = None,
    device: Mapping[str, str] | None = None,
    host: Callable[[], Mapping[str, str]] = this_host,
) -> Report:
    """Read a pipeline file and find everything that is wrong with it.

    Args:
        path: the file; where relative paths start and what the pipeline is called, even with ``text``.
        registry: where its stages are found.
        text: what stands in it, for a pipeline that was not read from a file; None reads the file.
        device: values for ``{device.x}``.
        host: gives the values for ``{host.x}``; called only if a file has such a field.
    """
    try:
        document = load_document(path, text=text)
    except PipelineError as error:
        return Report(file=normpath(path), errors=(error,))
    values = {f"device.{key}": value for key, value in (device or {}).items()}
    if any("{host." in source.text for source in document.sources):
        values |= host()
    check = _Check(document, registry, values)
    pipeline = check.pipeline(path)
    return check.report(pipeline)


class _Check:
    """One validation: reads the document, collects what it finds."""

    def __init__(self, document: Document, registry: Registry, values: Mapping[str, str]) -> None:
        self.document = document
        self.registry = registry
        self.values = values
        self.errors: list[PipelineError] = []
        self.warnings: list[PipelineError] = []
        self.cleared: set[tuple[str, KeyPath]] = set()

    def report(self, pipeline: Pipeline | None) -> Report:
        names = dict.fromkeys(source.name for source in self.document.sources)
        order = {name: index for index, name in enumerate(names)}

        def by_place(error: PipelineError) -> tuple[int, int, int]:
            return order[str(error.file)], error.line or 0, error.column or 0

        return Report(
            file=self.document.main.name,
            pipeline=pipeline,
            errors=_not_too_many(sorted(self.errors, key=by_place), "error"),
            warnings=_not_too_many(sorted(self.warnings, key=by_place), "warning"),
            document=self.document,
            cleared=frozenset(self.cleared),
        )

    def pipeline(self, path: str | Path) -> Pipeline | None:
        """Return the pipeline, or None when ``errors`` has why not."""
        self.unknown_tables()
        hook = filler({**self.values, **self.variables()})
        ca = self.options("ca", CaOptions, hook)
        stages: dict[str, Any] = {kind: self.stage((kind,), kind, hook) for kind in DEFAULT_USE}
        sinks = self.sinks(hook)
        renew = self.options("renew", RenewOptions, hook)
        if ca is not None and ca.fetch_certificates and not ca.fingerprints and ca.certificate is None:
            self.warn(
                ("ca",),
                "nothing authenticates the CA: the run will stop and print what it saw",
                'add fingerprint = "sha256:…" or certificate = "ca.pem"',
            )
        if self.errors or ca is None or renew is None:
            return None
        file = Path(path).absolute()
        pipeline = Pipeline(
            name=file.name.removesuffix(".toml"),
            file=file,
            ca=ca,
            key=stages["key"],
            csr=stages["csr"],
            signer=stages["signer"],
            transport=stages["transport"],
            poller=stages["poller"],
            renew=renew,
            sinks=sinks,
        )
        self.overwrites(pipeline)
        self.written_keys(pipeline)
        self.awaited(pipeline)
        return None if self.errors else pipeline

    def overwrites(self, pipeline: Pipeline) -> None:
        """Find sinks that would replace each other's files, or what the pipeline is made of."""
        files = [source.name for source in self.document.sources]
        try:
            found = list(overwrites(pipeline, files))
        except Exception as error:  # noqa: BLE001  # a stranger's class may raise anything
            self.broken(("sink",), "outputs_at()", error)
            return
        for overwrite in found:
            place = ""
            if overwrite.other:
                file, line, _ = self.place(overwrite.other, at="value")
                place = f" ({file}:{line})" if line else ""
            self.error(
                overwrite.path,
                f"{overwrite.name} is {overwrite.what}{place}, which would be lost",
                "give each output a file of its own",
            )

    def written_keys(self, pipeline: Pipeline) -> None:
        """Find sinks that would write a key which cannot be written."""
        for name, sink in pipeline.sinks.items() if not pipeline.key.exportable else ():
            try:
                refused = sink.writes_key()
            except Exception as error:  # noqa: BLE001  # a stranger's class may raise anything
                self.broken(("sink", name), "writes_key()", error)
                continue
            if refused:
                self.error(
                    ("sink", name),
                    f'the sink {sanitise(name)} writes the private key, which [key] use = "{pipeline.key.stage_name()}" never gives away',
                    'let it write certificates only, such as use = "file" with cert and chain',
                )

    def awaited(self, pipeline: Pipeline) -> None:
        """Find sinks that wait for one which is not there, or which writes no files itself."""
        files = [
            name for name, sink in pipeline.sinks.items() if type(sink).prepare is not OutputSink.prepare
        ]
        for name, sink in pipeline.sinks.items():
            try:
                unknown = [other for other in sink.waits_for() or () if other not in files]
            except Exception as error:  # noqa: BLE001  # a stranger's class may raise anything
                self.broken(("sink", name), "waits_for()", error)
                continue
            for other in unknown:
                self.error(
                    ("sink", name),
                    f"the sink {sanitise(name)} waits for {sanitise(str(other))}, which is no sink that writes files",
                    f"{near(str(other), files)}known: {', '.join(map(sanitise, files)) or 'none'}",
                )

    # -- tables

    def unknown_tables(self) -> None:
        unknown = [key for key in self.document.tables if key not in TABLES]
        for number, key in enumerate(unknown):
            guess = near(key, TABLES) if number < MANY else ""
            hint = f"{guess}known: {', '.join(TABLES)}, extends"
            self.error((key,), f'unknown key "{sanitise(key)}"', hint, at="key")

    def table(self, path: KeyPath) -> dict[str, Any] | None:
        """Return a table that is there, or None, which is an error if it is something else."""
        found: Any = self.document.tables
        for key in path:
            found = found.get(key, {})
        if not isinstance(found, dict):
            self.error(
                path, f"{dotted(path)} must be a table", f"write [{dotted(path)}] on a line of its own"
            )
            return None
        return found

    def variables(self) -> dict[str, str]:
        found = self.table(("vars",)) or {}
        for key, value in found.items():
            if not isinstance(value, str):
                self.error(("vars", key), f'variable "{sanitise(key)}" must be text', "write it in quotes")
                self.clear(("vars", key))
        return {f"var.{key}": str(value) for key, value in found.items()}

    def options(self, name: str, cls: type[_Struct], hook: Hook) -> _Struct | None:
        """Return [ca] or [renew]."""
        if name == "ca" and name not in self.document.tables:
            self.error(
                (), "missing table [ca]", 'add [ca] with url = "http://…" and fingerprint = "sha256:…"'
            )
            return None
        table = self.table((name,))
        return None if table is None else self.converted(table, cls, hook, path=(name,))

    def stage(self, path: KeyPath, kind: str, hook: Hook) -> Stage | None:
        if path == ("csr",) and "csr" not in self.document.tables:
            self.error((), "missing table [csr]", 'add [csr] with subject = "CN=…"')
            return None
        table = self.table(path)
        if table is None:
            return None
        use = table.get("use", DEFAULT_USE.get(kind, path[-1]))
        self.clear((*path, "use"))
        if not isinstance(use, str):
            self.error((*path, "use"), "use must be text")
            return None
        cls = self.stage_class(path, kind, use)
        if cls is None:  # nothing more can be said of the table
            return None
        return self.converted({**table, "use": use}, cls, hook, path=path)

    def stage_class(self, path: KeyPath, kind: str, use: str) -> type[Stage] | None:
        at = (*path, "use") if (*path, "use") in self.document.origins else path
        try:
            return self.registry.stage(kind, use)
        except UnknownStageError as error:
            place = self.place(at, at="key" if at == path else "value")
            error.file, error.line, error.column = place
            error.where = dotted(at)
            self.errors.append(error)
        except PluginError as error:
            self.error(at, error.message, error.hint)
        return None

    def sinks(self, hook: Hook) -> dict[str, Any]:
        tables = self.table(("sink",))
        if tables == {}:
            self.error((), "no output: at least one [sink.NAME] is needed", "such as [sink.file]")
        return {name: self.stage(("sink", name), "sink", hook) for name in tables or {}}

    def converted(
        self, table: dict[str, Any], cls: type[_Struct], hook: Hook, *, path: KeyPath
    ) -> _Struct | None:
        """Return a table as options, or record why not."""
        try:
            found = list(faults(table, cls, hook, path=path))
            self.survey(table, cls, path)
            for fault in found:
                self.fault(fault, cls, path)
            return None if found else msgspec.convert(table, cls, dec_hook=hook)
        except Exception as error:  # noqa: BLE001  # a stranger's class may raise anything
            self.broken(path, cls.__name__, error)
            return None

    def broken(self, path: KeyPath, what: str, error: Exception) -> None:
        self.error(
            path,
            f"{what} is broken: {type(error).__name__}: {sanitise(str(error))}",
            "tell the plugin's author (`scepflow plugins`)",
        )

    # -- what was found

    def fault(self, fault: Fault, cls: type[msgspec.Struct], path: KeyPath) -> None:
        self.error(fault.path, fault.message, fault.hint, at=fault.at)
        if fault.at == "key" and fault.path[:-1] == path and len(self.errors) <= MANY:
            known = fields_of(cls)
            meant = closest(str(fault.path[-1]), known)
            if meant and not _is_secret(known[meant].type):
                self.clear(fault.path)

    def survey(self, value: Any, type_: Any, path: KeyPath) -> None:
        """Clear the values that may be shown, and warn of secrets that stand in the file."""
        if _is_secret(type_):
            self.survey_secret(value, path)
            return
        self.clear(path)
        self.survey_host(value, type_, path)
        for key, inner, inner_type in parts(value, type_):
            self.survey(inner, inner_type, (*path, key))

    def survey_host(self, value: Any, type_: Any, path: KeyPath) -> None:
        """Warn of ``{host.fqdn}`` where this machine has no full name that others know."""
        name = self.values.get("host.fqdn")
        if name is None or not _is_a(type_, Template) or not isinstance(value, str):
            return
        if "host.fqdn" in Template.names(value) and not _is_full_name(name):
            self.warn(
                path,
                f'{{host.fqdn}} is "{sanitise(name)}" here, which is no full name',
                "let this machine's name resolve, or write the name out",
            )

    def survey_secret(self, value: Any, path: KeyPath) -> None:
        if isinstance(value, str):
            self.warn(path, "literal secret in a pipeline file", "use { file = … } or { env = … }")
            return
        try:
            Secret(value)
        except OptionError:
            return
        for known in paths_of(value, path):
            self.clear(known)

    def clear(self, path: KeyPath) -> None:
        """Let the value be shown in a report."""
        if path in self.document.origins:
            self.cleared.add((self.document.origins[path].name, path))

    def error(
        self, path: KeyPath, message: str, hint: str | None = None, *, at: Literal["key", "value"] = "value"
    ) -> None:
        self.errors.append(self.finding(path, message, hint, at))

    def warn(self, path: KeyPath, message: str, hint: str) -> None:
        self.warnings.append(self.finding(path, message, hint, "value"))

    def finding(
        self, path: KeyPath, message: str, hint: str | None, at: Literal["key", "value"]
    ) -> PipelineError:
        file, line, column = self.place(path, at=at)
        return PipelineError(message, file=file, line=line, column=column, where=dotted(path), hint=hint)

    def place(
        self, path: KeyPath, *, at: Literal["key", "value"]
    ) -> tuple[str, int, int] | tuple[str, None, None]:
        """Return file, line and column of a key path, or of the nearest table around it, if there is one."""
        for length in range(len(path), 0, -1):
            found = self.document.place(path[:length])
            if found is not None:
                source, (key, value) = found
                span = key if at == "key" and length == len(path) else value
                return (source.name, *source.position(span.start))
        return self.document.main.name, None, None


def _is_secret(type_: Any) -> bool:
    return _is_a(type_, Secret)


def _is_a(type_: Any, cls: type) -> bool:
    return any(isinstance(member, type) and issubclass(member, cls) for member in members(type_))


def _is_full_name(name: str) -> bool:
    """Tell whether a host's name has a domain, and not that of the loopback address."""
    head, _, rest = name.rstrip(".").lower().partition(".")
    domain = rest.rpartition(".")[2]
    return bool(rest) and head != "localhost" and not domain.startswith(("localdomain", "localhost"))


def _not_too_many(findings: list[PipelineError], noun: str) -> tuple[PipelineError, ...]:
    """Return the first hundred findings of each file, and how many more it has."""
    shown: list[PipelineError] = []
    for file, group in groupby(findings, key=lambda finding: finding.file):
        own = list(group)
        more = len(own) - MANY
        shown += own[:MANY]
        if more > 0:
            shown.append(MoreFoundError(f"… and {more} more {noun}{'s' * (more > 1)}", file=file))
    return tuple(shown)
