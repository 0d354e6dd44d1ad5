"""What a person does to a pipeline's state between runs: deliver once more, go back, take in a certificate from elsewhere.

Must never hold: a message to the CA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepflow.custody import Custody, facts_of
from scepflow.digests import sink_digest
from scepflow.engine.identity import Credential
from scepflow.errors import OptionError, StateError
from scepflow.renewal import renewal_of
from scepflow.runner import Outcome, at_work, tell_run
from scepflow.subjects import asked_subject, is_issued_by_pin
from scepflow.system import make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography import x509

    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.records import AttemptRecord, CertificateFacts
    from scepflow.runner import Runner
    from scepflow.stages import PrivateKey, Run
    from scepflow.state import StateDirectory
    from scepflow.system import System

__all__ = ["adopt", "deliver_again", "roll_back"]


def deliver_again(
    pipeline: Pipeline,
    sinks: Sequence[str],
    *,
    emit: Callable[[Event], None],
    state: StateDirectory,
    system: System,
) -> Outcome:
    """Deliver the current certificate once more, whoever has it already.

    Args:
        pipeline: whose certificate.
        sinks: names of the sinks, and whoever was waiting for one of them follows; all when empty.
        emit: is told every event.
        state: where it is kept.
        system: the clock.

    Raises:
        StateError: there is no certificate, or it is lost, or it has expired.
        OptionError: no sink has that name.
        LockedError: a run works on the pipeline.
    """
    for name in sinks:
        if name not in pipeline.sinks:
            raise OptionError(f"no sink is named {name!r}", hint=f"known: {', '.join(pipeline.sinks)}")

    def work() -> Outcome:
        with at_work(pipeline, emit=emit, state=state, system=system) as runner:
            current = runner.record().current
            if current is None:
                raise StateError(f"{pipeline.name} has no certificate yet", hint="`scepflow run` gets one")
            _refuse_expired(pipeline.name, current, system)
            # Who has been told of this certificate is not told again, unless all sinks are to get it.
            return _deliver(
                runner, current, sinks or tuple(pipeline.sinks), action="delivered", tell_again=False
            )

    return tell_run(pipeline, work, emit=emit, system=system)


def roll_back(
    pipeline: Pipeline, *, emit: Callable[[Event], None], state: StateDirectory, system: System
) -> Outcome:
    """Make the certificate before the current one the current one, and deliver it.

    It was renewed because it was due, mostly, so that the next run renews it again.

    Args:
        pipeline: whose certificate.
        emit: is told every event.
        state: where both are kept.
        system: the clock.

    Raises:
        StateError: none is kept, it has expired, or a request is open, which the later one may have signed.
        LockedError: a run works on the pipeline.
    """

    def work() -> Outcome:
        with at_work(pipeline, emit=emit, state=state, system=system) as runner:
            record = runner.record()
            if record.open:
                raise StateError(
                    f"{pipeline.name} has asked for a certificate, and the CA has not decided",
                    hint="wait for it, or give the request up with `scepflow run --again`",
                )
            outcome = _go_back(runner, _before_current(runner))
            runner.end(outcome)
            return outcome

    return tell_run(pipeline, work, emit=emit, system=system)


def _go_back(runner: Runner, earlier: AttemptRecord) -> Outcome:
    facts, now = earlier.certificate, runner.system.now()
    assert facts is not None, "an issued attempt has one"
    if facts.not_after <= now:
        raise StateError(
            f"the earlier certificate expired on {facts.not_after:%Y-%m-%d}",
            hint="`scepflow run --renew` gets a new one",
        )
    runner.obtaining().credential(earlier)  # its files are there
    renew_at, sinks = renewal_of(runner.pipeline, facts, earlier.issued_at), runner.pipeline.sinks
    runner.journal.select(runner.place, earlier.transaction_id, at=now, renew_at=renew_at, sinks=sinks)
    return _deliver(runner, earlier, tuple(runner.pipeline.sinks), action="rolled-back")


def _before_current(runner: Runner) -> AttemptRecord:
    earlier = runner.journal.before_current(runner.place)
    if earlier is None:
        raise StateError(
            "no earlier certificate is kept", hint="[renew] keep says how many stay, 1 unless told otherwise"
        )
    return earlier


def _refuse_expired(name: str, current: AttemptRecord, system: System) -> None:
    facts = current.certificate
    assert facts is not None, "an issued attempt has one"
    if facts.not_after <= system.now():
        raise StateError(
            f"the certificate of {name} expired on {facts.not_after:%Y-%m-%d}",
            hint="`scepflow run` gets a new one and delivers it",
        )


def _deliver(
    runner: Runner, attempt: AttemptRecord, sinks: Sequence[str], *, action: str, tell_again: bool = True
) -> Outcome:
    credential = runner.obtaining().credential(attempt)
    chosen = {name: runner.pipeline.sinks[name] for name in sinks}
    deliveries = runner.sinks.deliver(attempt.transaction_id, credential, chosen, tell_again=tell_again)
    assert attempt.certificate is not None, "an issued attempt has one"
    return Outcome(
        action=action,
        certificate=attempt.certificate,
        renew_at=renewal_of(runner.pipeline, attempt.certificate, attempt.issued_at),
        deliveries=deliveries,
        credential=credential,
    )


def adopt(
    pipeline: Pipeline,
    key: PrivateKey,
    certificates: Sequence[x509.Certificate],
    *,
    emit: Callable[[Event], None],
    state: StateDirectory,
    system: System,
) -> CertificateFacts | None:
    """Take in a certificate that came from elsewhere, as if it had been issued and delivered by the last run.

    What would be in the way of its renewal, another subject or issuer, is warned of as far as it can be known without
    asking the CA.

    Args:
        pipeline: which is to renew it.
        key: its private key.
        certificates: it and those above it, in any order.
        emit: is told every event.
        state: where it is kept from now on.
        system: clock and randomness.

    Returns:
        What was adopted, or None when it is the current certificate already.

    Raises:
        StateError: no certificate fits the key, it has expired or is self-signed, ``[key]`` has another key, or
            there is a certificate or a request already.
        LockedError: a run works on the pipeline.
    """
    credential = _credential(key, certificates)
    facts = facts_of(credential.certificate)
    if facts.not_after <= system.now():
        raise StateError("the certificate to adopt has expired", hint="`scepflow run` gets a new one")
    with at_work(pipeline, emit=emit, state=state, system=system) as runner:
        record = runner.record()
        if record.current and record.current.certificate == facts:
            return None
        if record.current or record.open:
            raise StateError(
                f"{pipeline.name} has a certificate or a request already", hint="`scepflow status` shows it"
            )
        _warn_of_misfits(pipeline, credential, make_run(pipeline, emit, system))
        _take_in(runner, credential, facts)
        return facts


def _warn_of_misfits(pipeline: Pipeline, credential: Credential, run: Run) -> None:
    """Tell what will be in the way of a renewal, as far as that can be known without asking the CA."""
    subject, certificate = asked_subject(pipeline, run), credential.certificate
    if subject is not None and subject != certificate.subject:
        run.warn(
            "adopted-subject",
            f"the certificate is for {certificate.subject.rfc4514_string()}, and [csr] asks for"
            f" {subject.rfc4514_string()}: most CAs refuse a renewal that changes the subject",
        )
    if is_issued_by_pin(pipeline, credential) is False:
        run.warn(
            "adopted-issuer",
            f"the certificate was issued by {certificate.issuer.rfc4514_string()}, and nothing leads from there to"
            " [ca] certificate: a CA renews its own certificates alone",
        )


def _take_in(runner: Runner, credential: Credential, facts: CertificateFacts) -> None:
    pipeline, place, now = runner.pipeline, runner.place, runner.system.now()
    transaction_id = f"adopted-{runner.system.random_bytes(8).hex()}"
    custody = Custody(pipeline, runner.state)
    custody.keep_key(transaction_id, credential.key)
    own_key = custody.key(transaction_id, make_run(pipeline, runner.emit, runner.system))
    if own_key.public_key() != credential.key.public_key():
        raise StateError(
            "the key of [key] is not the one of the certificate to adopt",
            hint="name that key in [key], or let scepflow keep it, with a key source such as generate",
        )
    custody.keep(transaction_id, (credential.certificate, *credential.chain))
    renew_at, keep = renewal_of(pipeline, facts, None), pipeline.renew.keep
    # What came from where the sinks write is where it belongs.
    delivered = {name: sink_digest(sink) for name, sink in pipeline.sinks.items()}
    runner.journal.adopt(
        place, transaction_id, facts, at=now, renew_at=renew_at, keep=keep, delivered=delivered
    )


def _credential(key: PrivateKey, certificates: Sequence[x509.Certificate]) -> Credential:
    ours = [certificate for certificate in certificates if certificate.public_key() == key.public_key()]
    if not ours:
        raise StateError("no certificate in the file fits the key", hint="name the key that belongs to it")
    newest = max(ours, key=lambda certificate: certificate.not_valid_before_utc)
    if newest.issuer == newest.subject:
        raise StateError(
            "the certificate to adopt is self-signed", hint="no CA renews it; `scepflow run` enrolls"
        )
    return Credential(key=key, certificate=newest, chain=tuple(c for c in certificates if c != newest))
