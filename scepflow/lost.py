"""A request that was sent and never heard of again: whether it may be sent once more, and as what.

Must never hold: a message, or a file.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from scepflow.engine.messages import FailInfo, MessageType
from scepflow.errors import ProtocolError, RejectedError, TransportError

if TYPE_CHECKING:
    from datetime import datetime

    from scepflow.engine.enrollment import Enrollment
    from scepflow.errors import ScepflowError
    from scepflow.records import AttemptRecord

__all__ = ["is_refused", "judge"]

_BUSY_OR_ELSEWHERE = (401, 407, 408, 425, 429)
"""HTTP statuses below 500 of a server that may well know the message, or of something in front of it."""

_MOST_RESENT = 3
_RESENT_APART = timedelta(hours=1)
"""A request that the CA does not know is sent again at once, then an hour after the first time, then two."""


def is_refused(error: ScepflowError) -> bool:
    """Return whether a server answered in HTTP as one that does not know the message; a gateway is no server, nor is a portal."""
    status = error.status if isinstance(error, TransportError) else None
    if status is None:
        return False
    return status in (500, 501) or (400 <= status < 500 and status not in _BUSY_OR_ELSEWHERE)


def judge(
    attempt: AttemptRecord,
    enrollment: Enrollment,
    error: RejectedError | ProtocolError | TransportError,
    *,
    message: str,
    now: datetime,
) -> Literal["again", "plain"]:
    """Return what follows when the first poll for a request, which the CA never called pending, has failed.

    A challenge may be spent with the first request: one that brings it is sent again only where the CA says that
    it does not know the transaction, and once. Any other is sent again as well where the CA knows no polls.

    Args:
        attempt: the request.
        enrollment: the engine's side of it.
        error: what came of the poll.
        message: ``[renew] message``, or ``renewal`` where no certificate of ours is renewed.
        now: current time, aware UTC.

    Returns:
        ``again`` to send it under its name, or ``plain`` to renew by PKCSReq instead.

    Raises:
        RejectedError: the CA has decided.
        ProtocolError: it was sent often enough, or must not be sent again; a person must look.
        TransportError: nothing is known, or it was sent a short time ago.
    """
    challenge = enrollment.channel.challenge_password is not None
    renewal = enrollment.message_type is MessageType.RENEWAL_REQ
    unknown = isinstance(error, RejectedError) and error.fail_info == FailInfo.BAD_CERT_ID
    if isinstance(error, RejectedError) and not unknown:
        raise error
    if renewal and message == "pkcsreq" and (unknown or not challenge):
        return "plain"  # as a person has decided since
    if not (unknown or is_refused(error)):
        raise error
    if challenge and not unknown:
        raise _no_polls(attempt, error) from None
    if renewal and message == "auto" and attempt.resent and not challenge:
        return "plain"
    _limit(attempt, error, most=1 if challenge else _MOST_RESENT, now=now)
    return "again"


def _limit(attempt: AttemptRecord, error: ScepflowError, *, most: int, now: datetime) -> None:
    """Raise if a request was sent again as often as it may be, or a short time ago."""
    name = attempt.transaction_id
    if attempt.resent >= most:
        raise ProtocolError(
            f"the CA does not know transaction {name}, though its request was sent {attempt.resent + 1} times: "
            f"{error.message}",
            hint="it is not sent again: ask the CA's operator what becomes of it; `scepflow run --again` asks "
            "anew, with a new challenge where each is good for one request",
        ) from None
    next_at = attempt.begun_at + attempt.resent * _RESENT_APART
    if attempt.begun_at <= now < next_at:
        raise TransportError(
            f"the CA does not know transaction {name}, though its request was sent again: {error.message}",
            retryable=True,
            hint=f"it is sent once more after {next_at:%Y-%m-%d %H:%M} UTC",
        ) from None


def _no_polls(attempt: AttemptRecord, error: ScepflowError) -> ProtocolError:
    return ProtocolError(
        f"the answer to transaction {attempt.transaction_id} was lost, and the CA knows no polls to ask for it: "
        f"{error.message}",
        section="RFC 8894 §3.3.3 CertPoll (GetCertInitial)",
        hint="the certificate may have been issued and the challenge be spent, so that the request is not sent again; "
        "`scepflow run --again` asks anew, with a new challenge where each is good for one request",
    )
