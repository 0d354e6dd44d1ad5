"""Where state is kept, and whose is meant: for every command that works with it.

Must never hold: an import that reading the journal does not need.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scepflow.records import PipelineRecord
from scepflow.state import StateDirectory, default_state_path

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["metrics_option", "open_state", "records_of", "state_option"]

state_option = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where keys, requests and certificates are kept. Otherwise SCEPFLOW_STATE_DIR, /var/lib/scepflow for root, "
    "or ~/.local/state/scepflow.",
)
metrics_option = click.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write how the pipelines stand into FILE, for node_exporter's textfile collector.",
)


def open_state(state_dir: Path | None) -> StateDirectory:
    """Return the state directory that the command line, the environment or the user decides."""
    path = state_dir or default_state_path(os.environ, root=os.geteuid() == 0)
    return StateDirectory(path.absolute())


def records_of(state: StateDirectory, pipelines: Sequence[str]) -> tuple[PipelineRecord, ...]:
    """Return how pipelines stand, in their order.

    Args:
        state: where that is kept.
        pipelines: their files, or the names of some that have run; all that have run when empty.

    Raises:
        click.UsageError: there is no such file, and none of that name has run.
    """
    known = state.journal.pipelines()
    if not pipelines:
        return known
    return tuple(record for pipeline in pipelines for record in _meant(state, known, pipeline))


def _meant(
    state: StateDirectory, known: Sequence[PipelineRecord], pipeline: str
) -> tuple[PipelineRecord, ...]:
    file = Path(pipeline).absolute()
    place = state.place(file)
    found = tuple(record for record in known if record.place == place)
    found = found or tuple(record for record in known if record.name == pipeline)
    if found:
        return found
    if not file.is_file():
        raise click.UsageError(
            f"{pipeline} is no file, and no pipeline of that name has run in {state.path}."
        )
    return (PipelineRecord(place=place, name=file.stem, file=str(file)),)
