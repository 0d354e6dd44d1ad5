"""A dry run: everything of a run that issues nothing, uses up nothing and changes nothing.

Must never hold: a PKIOperation, or a call that makes a key or writes an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from scepflow.ca import authenticate_ca
from scepflow.delivery import describe
from scepflow.errors import OptionError, ScepflowError
from scepflow.events import RunFinished, RunStarted
from scepflow.faults import connected, working
from scepflow.options import Secret
from scepflow.runner import make_run
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scepflow.ca import AuthenticatedCa
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.runner import System
    from scepflow.stages import Run, Stage

__all__ = ["Line", "exit_code", "rehearse", "rehearse_stages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One part of a run, and how it would go.

    Attributes:
        topic: such as ``CA`` or ``sink phone``.
        text: what was found, or what failed.
        error: why it would fail, or None.
        skipped: whether it could not be looked at, because something before it failed.
    """

    topic: str
    text: str
    error: ScepflowError | None = None
    skipped: bool = False

    @property
    def status(self) -> Literal["ok", "FAIL", "-"]:
        """How it went, in a word."""
        return "FAIL" if self.error else "-" if self.skipped else "ok"


def rehearse(pipeline: Pipeline, *, emit: Callable[[Event], None], system: System) -> tuple[Line, ...]:
    """Try every part of a run that can be tried without a request.

    The CA is asked for its capabilities and certificates, secrets are read (except
    those that a command gives, which may use one up), and every stage checks itself.

    Args:
        pipeline: what would be run.
        emit: is told that a dry run began and ended, what the CA is, and every warning.
        system: clock and randomness.

    Returns:
        What was tried, in the order of a run; one that fails stops no other.
    """
    run = replace(make_run(pipeline, emit, system), rehearsal=True)
    started_s = system.monotonic_s()
    run.emit(RunStarted(pipeline=pipeline.name, at=run.now(), file=str(pipeline.file), dry_run=True))
    lines = tuple(_lines(pipeline, run))
    code = exit_code(lines)
    run.emit(
        RunFinished(
            pipeline=pipeline.name,
            at=run.now(),
            outcome="failed" if code else "rehearsed",
            exit_code=code,
            elapsed_s=system.monotonic_s() - started_s,
            error=next((line.text for line in lines if line.error), ""),
        )
    )
    return lines


def exit_code(lines: tuple[Line, ...]) -> int:
    """Return the exit code of the first failure, or 0."""
    return next((line.error.exit_code for line in lines if line.error), 0)


def _lines(pipeline: Pipeline, run: Run) -> Iterator[Line]:
    yield Line(topic="config", text=str(pipeline.file))
    yield from _stages_to_the_ca(pipeline, run)
    yield from _ca(pipeline, run)
    yield from _stages_after_the_ca(pipeline, run)


def rehearse_stages(pipeline: Pipeline, run: Run) -> Iterator[Line]:
    """Try every stage as far as it can be tried without the CA; secrets are read, except those of commands.

    Args:
        pipeline: what would be run.
        run: the run; it is told warnings.

    Returns:
        What was tried, in the order of a run.
    """
    yield from _stages_to_the_ca(pipeline, run)
    yield from _stages_after_the_ca(pipeline, run)


def _stages_to_the_ca(pipeline: Pipeline, run: Run) -> Iterator[Line]:
    for where, secret in _secrets(pipeline):
        yield _tried("secret", lambda: _look_at(secret, where, run))  # noqa: B023  # called at once
    for topic, stage in (
        ("key", pipeline.key),
        ("CSR", pipeline.csr),
        ("signer", pipeline.signer),
        ("transport", pipeline.transport),
    ):
        yield _tried(topic, lambda: _checked(stage, run))  # noqa: B023  # called at once


def _stages_after_the_ca(pipeline: Pipeline, run: Run) -> Iterator[Line]:
    yield _tried("poller", lambda: _checked(pipeline.poller, run))
    for name, sink in pipeline.sinks.items():
        yield _tried(f"sink {name}", lambda: _checked(sink, run) and describe(sink))  # noqa: B023  # called at once


def _tried(topic: str, step: Callable[[], str]) -> Line:
    try:
        return Line(topic=topic, text=step())
    except ScepflowError as error:
        return Line(topic=topic, text=error.message, error=error)


def _checked(stage: Stage, run: Run) -> str:
    with working(stage):
        stage.check(run)
    return stage.stage_name()


def _ca(pipeline: Pipeline, run: Run) -> Iterator[Line]:
    """Ask the CA what it offers and who it is."""
    try:
        with connected(pipeline.transport, run) as connection:
            ca = authenticate_ca(pipeline.ca, connection, run)
    except ScepflowError as error:
        yield Line(topic="CA", text=error.message, error=error)
        yield Line(topic="message", text="not known without the CA", skipped=True)
        return
    offers = " ".join(sorted(ca.capabilities.names)) or "nothing"
    subject = sanitise(ca.bundle.ca_certificate.subject.rfc4514_string())
    pin = (
        "fingerprint matches"
        if ca.bundle.by.startswith("fingerprint")
        else f"authenticated by {ca.bundle.by}"
    )
    yield Line(topic="CA", text=f"{subject}, {pin}; offers {offers}")
    yield Line(topic="message", text=_message(pipeline, ca))


def _message(pipeline: Pipeline, ca: AuthenticatedCa) -> str:
    """Describe the request that a run would send."""
    wanted = pipeline.renew.message
    kind = "PKCSReq"
    if wanted == "renewal" or (wanted == "auto" and ca.capabilities.renewal):
        first = pipeline.signer.stage_name() in ("auto", "self-signed")
        kind = "PKCSReq" if first else "RenewalReq, or PKCSReq if the signer's certificate is self-signed"
    cipher, digest = ca.choice.cipher.value.upper(), ca.choice.digest.value.upper()
    recipient = sanitise(ca.bundle.recipient.subject.rfc4514_string())
    return f"{kind} by {ca.choice.method}, {cipher}, {digest}, encrypted for {recipient}"


def _secrets(pipeline: Pipeline) -> Iterator[tuple[str, Secret]]:
    for kind in ("key", "csr", "signer", "transport", "poller"):
        yield from _secrets_in(getattr(pipeline, kind), kind)
    for name, sink in pipeline.sinks.items():
        yield from _secrets_in(sink, f"sink.{name}")


def _secrets_in(value: Any, where: str) -> Iterator[tuple[str, Secret]]:
    if isinstance(value, Secret):
        yield where, value
    elif isinstance(value, msgspec.Struct):
        for name, option in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield from _secrets_in(getattr(value, name), f"{where}.{option}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets_in(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _secrets_in(inner, f"{where}[{index}]")


def _look_at(secret: Secret, where: str, run: Run) -> str:
    """Read a secret and forget it; only its origin is shown."""
    if secret.origin.startswith("command "):
        return f"{where} from {secret.origin} (not run: it may use one up)"
    try:
        run.reveal(secret)
    except OptionError as error:
        raise OptionError(f"{where}: {error.message}", where=where, hint=error.hint) from None
    return f"{where} from {secret.origin}" + (" (it stands in the file)" if secret.is_literal else "")
