"""When a certificate is due for renewal: arithmetic on dates, the same on every machine and at every run.

Must never hold: a clock, or what is done when it is due.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from scepflow.options import Duration
from scepflow.pipeline.model import SHARE

if TYPE_CHECKING:
    from datetime import datetime

    from scepflow.pipeline.model import Pipeline
    from scepflow.records import CertificateFacts

__all__ = ["RENEWAL_RETRY", "due_at", "renewal_of"]

RENEWAL_RETRY = timedelta(days=1)
"""How long after a rejected renewal the CA is asked again: it may have been too early, or an outage of its own."""

_USUAL_SHARE, _SHORT_LIVED_SHARE = 0.33, 0.5
_SHORT_LIFE = timedelta(days=10)
"""A certificate that lives no longer is renewed at half of its life: a third of it may be one weekend."""

_LARGEST_OFFSET = 0.05
"""Share of the lifetime over which certificates of one hour are spread."""

_SHORTEST_TIME = timedelta(hours=1)
"""How long a certificate is in use at least, or half of its life: a CA is not asked at every run, whatever it issues."""


def due_at(
    *,
    not_before: datetime,
    not_after: datetime,
    before: str,
    name: str,
    serial: int,
    issued_at: datetime | None = None,
) -> datetime:
    """Return when a certificate is due for renewal, aware UTC.

    Certificates that were issued together are not renewed together: each has an
    offset of its own, from its pipeline's name and its serial number, of up to 5 %
    of its lifetime and never more than half of what ``before`` leaves.

    Args:
        not_before: begin of the lifetime, aware UTC.
        not_after: its end, aware UTC.
        before: ``[renew] before``: a share of the lifetime such as ``33%``, or a duration such
            as ``30d``; ``auto`` is 33 %, or 50 % of a lifetime of ten days or less. A duration as long
            as the lifetime is half of it, else renewal would never end.
        name: the pipeline's name.
        serial: the certificate's serial number.
        issued_at: when it came, aware UTC, or None. Its life counts from here where it is said to have begun before:
            CAs date back, by more than a short life is long. It is not due in the first hour, or half of that life.
    """
    known = issued_at is not None and issued_at < not_after  # else the clock was wrong then
    begin = max(not_before, issued_at) if known and issued_at else not_before
    life = not_after - begin
    left = _left(life, before)
    largest = min(life * _LARGEST_OFFSET, left / 2)
    due = not_after - left + largest * _fraction(name, serial)
    return max(due, begin + min(_SHORTEST_TIME, life / 2)) if known else due


def _left(life: timedelta, before: str) -> timedelta:
    if before == "auto":
        return life * (_SHORT_LIVED_SHARE if life <= _SHORT_LIFE else _USUAL_SHARE)
    share = SHARE.fullmatch(before)
    left = life * (float(share[1]) / 100) if share else timedelta(seconds=Duration(before))
    return left if left < life else life / 2


def _fraction(name: str, serial: int) -> float:
    """Return 0 to 1, not 1 itself, the same for the same certificate."""
    digest = hashlib.sha256(f"{name}\0{serial:x}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def renewal_of(pipeline: Pipeline, certificate: CertificateFacts, issued_at: datetime | None) -> datetime:
    """Return when a pipeline's certificate is due, aware UTC; as `due_at`."""
    return due_at(
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        before=pipeline.renew.before,
        name=pipeline.name,
        serial=int(certificate.serial, 16),
        issued_at=issued_at,
    )
