"""What a stage raises, made into an error that names the stage and, where it is a bug, the plugin.

Must never hold: knowledge of a stage.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from scepflow import errors
from scepflow.errors import OptionError, ScepflowError, StageError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.stages import Connection, Run, Stage, Transport

__all__ = ["connected", "working"]

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


@contextmanager
def connected(transport: Transport, run: Run) -> Iterator[Connection]:
    """Open a transport's connection; whatever it does wrong comes out as a TransportError.

    A connection that cannot be closed is a warning: what it carried has arrived.
    """
    with ExitStack() as stack:
        with working(transport):
            connection = stack.enter_context(transport.connect(run))
        yield _GuardedConnection(connection, transport)
        try:
            stack.close()
        except Exception as error:  # noqa: BLE001  # whatever a stranger's transport raises
            run.warn("transport-close", f"the connection did not close: {type(error).__name__}")


class _GuardedConnection:
    def __init__(self, connection: Connection, transport: Transport) -> None:
        self._connection = connection
        self._transport = transport

    def send(self, request: HttpRequest) -> HttpResponse:
        with working(self._transport):
            return self._connection.send(request)


def _origin(stage: Stage) -> str:
    """Return the module a stage comes from, and the distribution whose plugin that is, with its version."""
    from importlib.metadata import entry_points

    module = type(stage).__module__
    for point in entry_points(group="scepflow"):
        if point.dist and point.module.partition(".")[0] == module.partition(".")[0]:
            return f"{point.dist.name} {point.dist.version} ({module})"
    return module
