"""One run of a pipeline that remembers nothing: for a caller that has key and request in files of its own, as sscep's have.

Must never hold: a decision about an earlier certificate or request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scepflow.ca import authenticate_ca
from scepflow.delivery import deliver
from scepflow.engine.identity import Credential
from scepflow.faults import connected
from scepflow.system import make_run, warn_relaxed
from scepflow.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.delivery import Delivery
    from scepflow.engine.enrollment import Enrollment
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.stages import PrivateKey
    from scepflow.system import System

__all__ = ["NothingKept", "run_once"]


@dataclass(frozen=True, slots=True)
class NothingKept:
    """A keeper for a transaction whose key and request are safe where they come from."""

    def keep_key(self, name: str, key: PrivateKey) -> None:
        """Do nothing."""

    def sending(self, enrollment: Enrollment) -> None:
        """Do nothing."""

    def polling(self) -> None:
        """Do nothing."""

    def pending(self) -> None:
        """Do nothing."""


def run_once(
    pipeline: Pipeline,
    *,
    emit: Callable[[Event], None],
    system: System,
    transaction_id: str,
    resume: bool = False,
) -> tuple[Credential, tuple[Delivery, ...]]:
    """Get a certificate and deliver it.

    Args:
        pipeline: what to do.
        emit: is told every event.
        system: clock, sleep and randomness.
        transaction_id: names the transaction to the CA.
        resume: whether the request was sent before: the first message is a CertPoll, sent at once.

    Returns:
        Key, certificate and chain, and what became of each sink.

    Raises:
        ScepflowError: no certificate came of it; its ``exit_code`` says why.
    """
    run = make_run(pipeline, emit, system)
    warn_relaxed(pipeline, run)
    transaction = Transaction(
        pipeline, run, keeper=NothingKept(), system=system, transaction_id=transaction_id
    )
    request = transaction.request()
    with connected(pipeline.transport, run) as connection:
        ca = authenticate_ca(pipeline.ca, connection, run)
        enrollment = transaction.enrollment(ca, request, resumed=resume)
        issued = transaction.carry_through(enrollment, connection)
    credential = Credential(key=request.key, certificate=issued.certificate, chain=issued.chain)
    return credential, deliver(pipeline.sinks, credential, run, monotonic_s=system.monotonic_s)
