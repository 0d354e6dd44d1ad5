"""Pipeline files as read: text to tables, ``extends`` merged, names for templates collected.

Must never hold: knowledge of what the tables mean.

``extends = "common.toml"``, or a list of files of which a later one wins, puts
a file's tables under one's own. The files named there are looked up beside the
file that names them. Tables merge and everything else replaces: scalars,
arrays, tables written ``{ in one piece }`` (a secret is one value), and a table
that names another ``use`` (the options of one stage are not those of another).
Relative paths among the *values* start at the pipeline file that is run, in
whichever file they are written.
"""

from __future__ import annotations

import os.path
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli

from scepflow.errors import PipelineError
from scepflow.pipeline.locate import KeyPath, Place, Source, dotted
from scepflow.pipeline.syntax import TomlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Document", "load_document", "paths_of"]

_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Document:
    """The tables of a pipeline file, merged with those it extends.

    Attributes:
        main: the pipeline file itself.
        sources: every file that was read, the pipeline file first.
        tables: the merged tables, without ``extends``.
        origins: key path → the file its value came from.
    """

    main: Source
    sources: tuple[Source, ...]
    tables: dict[str, Any] = field(repr=False)
    origins: Mapping[KeyPath, Source] = field(repr=False)

    def place(self, path: KeyPath) -> tuple[Source, Place] | None:
        """Return the file and place of a key path, or None when no file has it."""
        source = self.origins.get(path)
        return (source, source.places[path]) if source else None

    def value(self, path: KeyPath) -> Any:
        """Return the value as written; the path must be in ``origins``."""
        found: Any = self.tables
        for key in path:
            found = found[key]
        return found


def load_document(path: str | Path, *, text: str | None = None) -> Document:
    """Read a pipeline file and the files it extends.

    Args:
        path: the pipeline file.
        text: what stands in it, for a pipeline that was not read from a file; None reads the file.

    Raises:
        PipelineError: a file cannot be read, is not TOML, or extends itself.
    """
    return _load(Path(path), [], text=text)


def _load(path: Path, chain: list[Path], *, text: str | None = None) -> Document:
    source, tables = _read(path, text)
    chain = [*chain, path.resolve()]
    merged: dict[str, Any] = {}
    origins: dict[KeyPath, Source] = {}
    sources = [source]
    for name, at in _extended(source, tables.pop("extends", [])):
        base = _load_base(source, at, path=path.parent / name, chain=chain)
        _merge(merged, base.tables, origins=origins, come_from=base.origins)
        sources += base.sources
    own = dict.fromkeys(source.places, source)
    _merge(merged, tables, origins=origins, come_from=own)
    return Document(main=source, sources=tuple(sources), tables=merged, origins=origins)


def _read(path: Path, text: str | None) -> tuple[Source, dict[str, Any]]:
    name = os.path.normpath(path)
    try:
        if text is None:
            with path.open("rb") as file:
                data = file.read(_LARGEST_BYTES + 1)
            if len(data) > _LARGEST_BYTES:
                raise PipelineError(
                    "the pipeline file is larger than 1 MiB", file=name, hint="is this the right file?"
                )
            text = data.decode("utf-8-sig")
        tables = tomli.loads(text)
        return Source.of(name, text), tables
    except OSError as error:
        raise PipelineError(f"cannot read the pipeline file: {error.strerror}", file=name) from None
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
        raise PipelineError(
            f"not UTF-8 text (byte 0x{error.object[error.start]:02x})",
            file=name,
            line=len(before),
            column=len(before[-1]) + 1,
            hint="save the file as UTF-8",
        ) from None
    except tomli.TOMLDecodeError as error:
        raise TomlError.of(name, error) from None
    except ValueError:  # Python's own limit on digits, which tomli passes on
        raise PipelineError(
            "not TOML: a number has too many digits", file=name, hint='text needs quotes: key = "text"'
        ) from None
    except RecursionError:
        raise PipelineError("values are nested too deeply", file=name) from None


def _extended(source: Source, extends: Any) -> Iterator[tuple[str, KeyPath]]:
    """Yield the files that ``extends`` names, each with the key path of its name."""
    if isinstance(extends, str):
        yield extends, ("extends",)
        return
    names = extends if isinstance(extends, list) else [extends]
    for index, name in enumerate(names):
        at: KeyPath = ("extends", index) if isinstance(extends, list) else ("extends",)
        if not isinstance(name, str):
            raise _wrong("extends must be a file name or a list of them", source, at)
        yield name, at


def _load_base(source: Source, at: KeyPath, *, path: Path, chain: list[Path]) -> Document:
    if path.resolve() in chain:
        raise _wrong(f"extends goes in a circle: {os.path.normpath(path)} is being read already", source, at)
    if not path.is_file():
        raise _wrong(f"no such file: {os.path.normpath(path)}", source, at)
    return _load(path, chain)


def _wrong(message: str, source: Source, at: KeyPath) -> PipelineError:
    line, column = source.position(source.places[at].value.start)
    return PipelineError(message, file=source.name, line=line, column=column, where=dotted(at))


def _merge(
    under: dict[str, Any],
    over: Mapping[str, Any],
    *,
    origins: dict[KeyPath, Source],
    come_from: Mapping[KeyPath, Source],
    path: KeyPath = (),
) -> None:
    """Put ``over`` on ``under``, and note in ``origins`` where each value now comes from."""
    for key, value in over.items():
        at = (*path, key)
        if _may_merge(under.get(key), value, come_from[at], at):
            origins[at] = come_from[at]
            _merge(under[key], value, origins=origins, come_from=come_from, path=at)
            continue
        if key in under:
            for stale in paths_of(under[key], at):
                del origins[stale]
        under[key] = value
        origins.update((known, come_from[known]) for known in paths_of(value, at))


def paths_of(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the key path of a value and those of everything inside it."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from paths_of(inner, (*path, key))


def _may_merge(under: Any, over: Any, source: Source, at: KeyPath) -> bool:
    return (
        isinstance(under, dict)
        and isinstance(over, dict)
        and not source.is_inline(at)
        and ("use" not in under or over.get("use", under["use"]) == under["use"] or at == ("vars",))
    )
