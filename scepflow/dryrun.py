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
from scepflow.renewal import renewal_of
from scepflow.runner import Runner
from scepflow.state import PipelineState
from scepflow.system import make_run
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scepflow.ca import AuthenticatedCa
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.records import PipelineRecord
    from scepflow.runner import Decision
    from scepflow.stages import Run, Stage
    from scepflow.state import StateDirectory
    from scepflow.system import System

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


def rehearse(
    pipeline: Pipeline,
    *,
    emit: Callable[[Event], None],
    system: System,
    state: StateDirectory,
    again: bool = False,
    renew: bool = False,
    enroll: bool = False,
) -> tuple[Line, ...]:
    """Tell what a run would do now, and try every part of it that can be tried without a request.

    The CA is asked for its capabilities and certificates, secrets are read (except
    those that a command or a stream gives, which may use one up), and every stage checks itself.

    Args:
        pipeline: what would be run.
        emit: is told that a dry run began and ended, what the CA is, and every warning.
        system: clock and randomness.
        state: what earlier runs have left.
        again: as a run that gives up a pending request, and asks again for what was rejected.
        renew: as a run that renews the certificate though it is not due.
        enroll: as a run that enrolls though there is a valid certificate.

    Returns:
        What was tried, in the order of a run; one that fails stops no other.
    """
    run = replace(make_run(pipeline, emit, system), rehearsal=True)
    started_s = system.monotonic_s()
    run.emit(RunStarted(pipeline=pipeline.name, at=run.now(), file=str(pipeline.file), dry_run=True))
    plan = _Plan(pipeline, run, system=system, state=state, again=again, renew=renew, enroll=enroll)
    lines = tuple(_lines(pipeline, run, plan))
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


def _lines(pipeline: Pipeline, run: Run, plan: _Plan) -> Iterator[Line]:
    yield Line(topic="config", text=str(pipeline.file))
    yield _tried("this run", plan.text)
    yield from _stages_to_the_ca(pipeline, run)
    yield from _ca(pipeline, run, renewal=plan.renewal)
    yield from _stages_after_the_ca(pipeline, run)


class _Plan:
    """What a run would do now; nothing of it is done, and no lock is taken."""

    def __init__(
        self,
        pipeline: Pipeline,
        run: Run,
        *,
        system: System,
        state: StateDirectory,
        again: bool,
        renew: bool,
        enroll: bool,
    ) -> None:
        self._place = state.place(pipeline.file)
        self._journal = state.journal
        self._runner = Runner(
            pipeline, PipelineState(state.journal, state.path / self._place), emit=run.emit, system=system
        )
        self._now = system.now()
        self._again = again
        self._renew = renew
        self._enroll = enroll
        self.renewal = False

    def text(self) -> str:
        """Return what a run would do, in words.

        Raises:
            RejectedError: the CA has rejected it before, and would not be asked.
            StateError: the state cannot be read.
        """
        record = self._record()
        if not (self._again or self._enroll):
            self._runner.refuse_to_pass_over(record)
        if record is None:
            return "enrolls, for the first time"
        facts = record.current.certificate if record.current else None
        missed = self._runner.sinks.missed(record) if facts and facts.not_after > self._now else {}
        first = f"delivers to {', '.join(missed)}, and " if missed else ""
        decision = self._runner.decide(record, renew=self._renew, enroll=self._enroll)
        self.renewal = decision in ("renew", "nothing")
        return first + self._words(record, decision)

    def _record(self) -> PipelineRecord | None:
        record = self._journal.pipeline(self._place)
        if record and self._again:
            record = msgspec.structs.replace(record, open=None)
        if record and (self._again or self._renew or self._enroll):
            record = msgspec.structs.replace(record, refused=None)
        return record

    def _words(self, record: PipelineRecord, decision: Decision) -> str:
        if decision == "resume":
            assert record.open is not None, "what can be resumed is open"
            since = f"{record.open.begun_at:%Y-%m-%d %H:%M} UTC"
            return f"goes on with transaction {record.open.transaction_id}, sent {since}"
        current = record.current
        facts, issued_at = (current.certificate, current.issued_at) if current else (None, None)
        if decision == "enroll" and facts and facts.not_after > self._now:
            return f"enrolls, as --enroll says; the certificate expires on {facts.not_after:%Y-%m-%d}"
        if decision == "enroll" or facts is None:
            return (
                f"enrolls: the certificate expired on {facts.not_after:%Y-%m-%d}"
                if facts
                else "enrolls: there is no certificate yet"
            )
        renew_at = renewal_of(self._runner.pipeline, facts, issued_at)
        expires = f"the certificate expires on {facts.not_after:%Y-%m-%d}"
        if decision == "nothing":
            return f"asks nothing of the CA: {expires} and is due on {renew_at:%Y-%m-%d}"
        due = f"due since {renew_at:%Y-%m-%d %H:%M} UTC" if renew_at <= self._now else "as --renew says"
        return f"renews, {due}; {expires}"


def rehearse_stages(pipeline: Pipeline, run: Run) -> Iterator[Line]:
    """Try every stage as far as it can be tried without the CA; secrets are read, except those of commands and streams.

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


def _ca(pipeline: Pipeline, run: Run, *, renewal: bool) -> Iterator[Line]:
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
    yield Line(topic="message", text=_message(pipeline, ca, renewal=renewal))


def _message(pipeline: Pipeline, ca: AuthenticatedCa, *, renewal: bool) -> str:
    """Describe the request that a run would send, now or when the certificate is due."""
    wanted = pipeline.renew.message
    kind = "PKCSReq"
    if wanted == "renewal" or (wanted == "auto" and ca.capabilities.renewal):
        first = pipeline.signer.stage_name() in ("auto", "self-signed")
        kind = "PKCSReq" if first else "RenewalReq, or PKCSReq if the signer's certificate is self-signed"
        kind = "RenewalReq" if renewal else kind
    cipher, digest = ca.choice.cipher.value.upper(), ca.choice.digest.value.upper()
    recipient = sanitise(ca.bundle.recipient.subject.rfc4514_string())
    signed = ", signed by the current certificate" if renewal else ""
    return f"{kind} by {ca.choice.method}, {cipher}, {digest}, encrypted for {recipient}{signed}"


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
    if secret.gives_once(run.directory):
        return f"{where} from {secret.origin} (not read: a stream gives it once)"
    try:
        run.reveal(secret)
    except OptionError as error:
        raise OptionError(f"{where}: {error.message}", where=where, hint=error.hint) from None
    return f"{where} from {secret.origin}" + (" (it stands in the file)" if secret.is_literal else "")
