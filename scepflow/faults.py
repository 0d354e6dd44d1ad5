"""What a stage raises, made into an error that names the stage and, where it is a bug, the plugin.

Must never hold: knowledge of a stage.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepflow import errors
from scepflow.errors import OptionError, ScepflowError, StageError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.stages import Stage

__all__ = ["working"]

_ERRORS: dict[str, type[StageError]] = {
    "key source": errors.KeySourceError,
    "CSR builder": errors.CsrError,
    "signer": errors.SignerError,
    "transport": errors.TransportError,
    "sink": errors.SinkError,
}


@contextmanager
def working(stage: Stage) -> Iterator[None]:
    """Run a stage's code; what it raises comes out as an error of its kind.

    Raises:
        StageError: whatever went wrong; a foreign exception is named with plugin and version.
        ScepflowError: errors of other kinds pass through.
    """
    kind_error = _ERRORS.get(stage.kind, StageError)
    try:
        yield
    except StageError as error:
        error.kind = error.kind or stage.kind
        error.name = error.name or stage.stage_name()
        raise
    except OptionError as error:  # a secret that cannot be read, found only now
        raise kind_error(error.message, kind=stage.kind, name=stage.stage_name(), hint=error.hint) from None
    except ScepflowError:
        raise
    except Exception as error:
        raise kind_error(
            f"{stage.kind} {stage.stage_name()} broke: {type(error).__name__}: {sanitise(str(error))}",
            kind=stage.kind,
            name=stage.stage_name(),
            hint=f"this is a bug in {_origin(stage)}",
        ) from error


def _origin(stage: Stage) -> str:
    """Return which distribution a stage comes from, with its version."""
    from importlib.metadata import packages_distributions, version

    module = type(stage).__module__
    for distribution in packages_distributions().get(module.partition(".")[0], []):
        return f"{distribution} {version(distribution)} ({module})"
    return module
