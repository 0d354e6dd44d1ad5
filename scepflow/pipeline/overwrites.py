"""Files that a sink would replace though something else of the pipeline needs them.

Paths are compared as they are written, relative to the pipeline file; links are
not followed. Must never hold: a look at the disk.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from scepflow.options import PathTemplate, Secret
from scepflow.pipeline.fields import fields_of
from scepflow.pipeline.locate import dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from scepflow.pipeline.locate import KeyPath
    from scepflow.pipeline.model import Pipeline

__all__ = ["Overwrite", "overwrites"]


@dataclass(frozen=True, kw_only=True)
class Overwrite:
    """A file that a sink would replace.

    Attributes:
        path: key path of the sink's option, or of the sink where no option names the file.
        name: the file as the sink names it.
        what: what it is already.
        other: key path of the option that names it as well, or () for a pipeline file.
    """

    path: KeyPath
    name: str
    what: str
    other: KeyPath = ()


def overwrites(pipeline: Pipeline, files: Iterable[str]) -> Iterator[Overwrite]:
    """Yield what the sinks of a pipeline would wrongly replace.

    A sink may replace the files of ``[signer]`` and ``[transport]``, except secrets:
    a renewal is signed with what the run before has written.

    Args:
        pipeline: what would be run.
        files: the pipeline file and those it extends, relative to the current folder.
    """
    taken: dict[str, tuple[str, KeyPath]] = {
        os.path.normpath(Path.cwd() / file): ("a pipeline file", ()) for file in files
    }
    for path, name in _inputs(pipeline):
        taken.setdefault(_whole(pipeline, name), (f"read by {dotted(path)}", path))
    for sink_name, sink in pipeline.sinks.items():
        at: KeyPath = ("sink", sink_name)
        named = {str(value): path for path, value in _values(sink, at) if isinstance(value, PathTemplate)}
        for name in sink.outputs_at():
            path = named.get(str(name), at)
            what, other = taken.setdefault(_whole(pipeline, name), (f"written by {dotted(path)}", path))
            if other != path:
                yield Overwrite(path=path, name=str(name), what=what, other=other)


def _whole(pipeline: Pipeline, name: str) -> str:
    return os.path.normpath(pipeline.directory / name)


def _inputs(pipeline: Pipeline) -> Iterator[tuple[KeyPath, str]]:
    """Yield the files that must still be there for the next run."""
    for option, name in pipeline.ca.pinned_files.items():
        yield ("ca", option), name
    for kind in ("key", "csr", "signer", "transport", "poller"):
        yield from _read(getattr(pipeline, kind), (kind,), paths=kind not in ("signer", "transport"))
    for sink_name, sink in pipeline.sinks.items():
        yield from _read(sink, ("sink", sink_name), paths=False)


def _read(stage: Any, at: KeyPath, *, paths: bool) -> Iterator[tuple[KeyPath, str]]:
    for path, value in _values(stage, at):
        if isinstance(value, Secret) and value.file is not None:
            yield path, value.file
        elif paths and isinstance(value, PathTemplate):
            yield path, value


def _values(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every option's value with its key path, those inside lists and tables too."""
    if isinstance(value, msgspec.Struct):
        inside: Iterable[tuple[str | int, Any]] = (
            (key, getattr(value, field.name)) for key, field in fields_of(type(value)).items()
        )
    elif isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = enumerate(value)
    else:
        yield path, value
        return
    for key, inner in inside:
        yield from _values(inner, (*path, key))
