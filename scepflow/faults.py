"""What a stage raises, made into an error that names the stage and, where it is a bug, the plugin.

Must never hold: knowledge of a stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scepflow import errors
from scepflow.engine.exchange import HttpResponse
from scepflow.errors import OptionError, ScepflowError, StageError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from scepflow.engine.exchange import HttpRequest
    from scepflow.stages import Connection, Run, Stage, Transport

__all__ = ["connected", "masked", "working"]

_ERRORS: dict[str, type[StageError]] = {
    "key source": errors.KeySourceError,
    "CSR builder": errors.CsrError,
    "signer": errors.SignerError,
    "transport": errors.TransportError,
    "sink": errors.SinkError,
}


_LONGEST_MESSAGE = 2000


@contextmanager
def working(stage: Stage) -> Iterator[None]:
    """Run a stage's code; what it raises comes out as an error of its kind, fit to be shown.

    Not even ``sys.exit`` gets past it; only what ends this process from outside does.

    Raises:
        StageError: whatever went wrong; a foreign exception is named with plugin and version.
        ScepflowError: errors of other kinds pass through.
        KeyboardInterrupt: Ctrl-C, or SIGTERM.
    """
    kind_error = _ERRORS.get(stage.kind, StageError)
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except ScepflowError as error:
        _make_safe(error)
        if isinstance(error, OptionError):  # a secret that cannot be read, found only now
            raise _option_error(error, stage) from None
        if isinstance(error, StageError):
            error.kind = error.kind or stage.kind
            error.name = error.name or stage.stage_name()
        raise
    except BaseException as error:
        raise kind_error(
            f"{stage.kind} {stage.stage_name()} broke: {type(error).__name__}: {sanitise(str(error))}",
            kind=stage.kind,
            name=stage.stage_name(),
            hint=f"this is a bug in {_origin(stage)}",
        ) from error


def _make_safe(error: ScepflowError) -> None:
    """Escape what a stranger's error may do to a terminal; a hint may have several lines."""
    error.message = sanitise(str(error.message), limit=_LONGEST_MESSAGE)
    error.args = (error.message,)
    if error.hint is not None:
        lines = str(error.hint).split("\n")
        error.hint = "\n".join(sanitise(line, limit=_LONGEST_MESSAGE) for line in lines)


def _option_error(error: OptionError, stage: Stage) -> ScepflowError:
    """Return the error of an option with its stage's name: a sink's own, so that it stops no other sink."""
    where = f" ({sanitise(error.where)})" if error.where else ""
    message = f"{stage.kind} {stage.stage_name()}{where}: {error.message}"
    if stage.kind == "sink":
        return errors.SinkError(message, kind=stage.kind, name=stage.stage_name(), hint=error.hint)
    return OptionError(message, where=error.where, hint=error.hint)


@contextmanager
def masked(run: Run) -> Iterator[None]:
    """Take the secrets of a run out of whatever is raised inside."""
    try:
        yield
    except Exception as error:
        run.masks.hide_in_error(error)
        raise


@contextmanager
def connected(transport: Transport, run: Run) -> Iterator[Connection]:
    """Open a transport's connection; whatever it does wrong comes out as a TransportError.

    A connection that cannot be closed is a warning: what it carried has arrived,
    or the error inside says why it has not. That error is never swallowed; whatever
    secret of the run the other side has put into it is taken out.
    """
    with masked(run), working(transport):
        context = transport.connect(run)
        connection = context.__enter__()
    try:
        with masked(run):
            yield _GuardedConnection(connection, transport)
    except BaseException as error:
        _close(context, run, error)
        raise
    _close(context, run, None)


def _close(context: AbstractContextManager[Connection], run: Run, inside: BaseException | None) -> None:
    try:
        context.__exit__(type(inside) if inside else None, inside, inside.__traceback__ if inside else None)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  # whatever a stranger's transport raises
        run.warn("transport-close", f"the connection did not close: {type(error).__name__}")


class _GuardedConnection:
    def __init__(self, connection: Connection, transport: Transport) -> None:
        self._connection = connection
        self._transport = transport

    def send(self, request: HttpRequest) -> HttpResponse:
        with working(self._transport):
            return _checked(self._connection.send(request))


def _checked(response: object) -> HttpResponse:
    match response:
        case HttpResponse(status=int(), headers=Mapping(), body=bytes()):
            return response
        case HttpResponse():
            raise TypeError("send returned an HttpResponse whose status, headers or body has a wrong type")
        case _:
            raise TypeError(f"send returned {type(response).__name__}, not an HttpResponse")


def _origin(stage: Stage) -> str:
    """Return the module a stage comes from, and the distribution whose plugin that is, with its version."""
    from importlib.metadata import entry_points

    module = type(stage).__module__
    for point in entry_points(group="scepflow"):
        if point.dist and point.module.partition(".")[0] == module.partition(".")[0]:
            return f"{point.dist.name} {point.dist.version} ({module})"
    return module
