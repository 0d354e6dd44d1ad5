"""What the journal knows, as values: of a pipeline, its attempts, its certificate and what became of its sinks.

Must never hold: how it is stored, or what follows from it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec

__all__ = [
    "AttemptRecord",
    "CertificateFacts",
    "DeliveryRecord",
    "Happening",
    "PipelineRecord",
    "RefusalRecord",
]

_Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]


class CertificateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal knows of a certificate.

    Attributes:
        subject: RFC 4514 text, sanitised.
        issuer: RFC 4514 text, sanitised.
        serial: lower-case hex digits.
        fingerprint: ``sha256:`` and 64 hex digits.
        not_before: begin of its life, aware UTC.
        not_after: end of its life, aware UTC.
    """

    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before: _Moment
    not_after: _Moment


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction with the CA, or a certificate that was adopted.

    Attributes:
        transaction_id: names it, and its folder.
        purpose: ``enrollment``, ``renewal`` or ``adoption``.
        status: ``sent``, ``issued``, ``rejected``, ``abandoned`` or ``superseded``; folders
            live while it is ``sent`` or ``issued``.
        begun_at: when the request was about to leave, aware UTC.
        asked_at: when the latest message left, aware UTC.
        polls: polls sent so far.
        pending: whether the CA has said that it will decide.
        message_type: such as ``PKCSReq``.
        certificate: what was issued, or None.
        ended_at: when it was issued, rejected or given up, aware UTC, or None.
        resent: how often its request was sent once more, 0 or more.
    """

    transaction_id: str
    purpose: str
    status: str
    begun_at: _Moment
    asked_at: _Moment
    polls: int
    pending: bool
    message_type: str
    certificate: CertificateFacts | None
    ended_at: _Moment | None = None
    resent: int = 0

    @property
    def issued_at(self) -> datetime | None:
        """When the CA issued the certificate, as far as it is known: of one that was adopted it is not."""
        return None if self.purpose == "adoption" else self.ended_at


class DeliveryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a sink's latest try with the current certificate.

    Attributes:
        sink: name of its table.
        options: digest of its options at that time.
        at: when, aware UTC.
        error: why it failed, or that it has not got it yet, or None when it delivered.
        tries: how often it was tried, 0 or more.
    """

    sink: str
    options: str
    at: _Moment
    error: str | None
    tries: int


class RefusalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the CA has rejected, and shall not be asked again as long as nothing changes.

    Attributes:
        asked: digest of all that made the request.
        purpose: ``enrollment`` or ``renewal``; the one does not stand in the way of the other.
        at: when, aware UTC.
        exit_code: of the run that was told.
        fail_info: the failInfo number, 0 or more, or None when the CA gave none.
        fail_info_text: the CA's own words, sanitised, or "".
        message: the rejection in words.
        hint: what to do about it, or "".
    """

    asked: str
    purpose: str
    at: _Moment
    exit_code: int
    fail_info: int | None
    fail_info_text: str
    message: str
    hint: str


class PipelineRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a pipeline stands.

    Attributes:
        place: folder of its files under the state directory.
        name: the pipeline's name.
        file: its file, absolute.
        current: the attempt whose certificate is in use, or None.
        renew_at: when that is due, aware UTC, or None.
        open: the attempt that the CA has not decided, or None.
        deliveries: of the current certificate, by sink.
        outcome: of the latest run that did anything: issued, renewed, delivered, degraded, rolled-back, unchanged
            (after one that failed), pending, rejected, failed; or "".
        exit_code: of that run.
        message: its error, or "".
        hint: what to do about it, or "".
        ended_at: when it ended, aware UTC, or None.
        refused: what the CA has rejected since the current certificate was issued, or None.
    """

    place: str
    name: str
    file: str
    current: AttemptRecord | None = None
    renew_at: _Moment | None = None
    open: AttemptRecord | None = None
    deliveries: dict[str, DeliveryRecord] = {}  # msgspec makes a new one each time
    outcome: str = ""
    exit_code: int = 0
    message: str = ""
    hint: str = ""
    ended_at: _Moment | None = None
    refused: RefusalRecord | None = None


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a pipeline's history.

    Attributes:
        at: when, aware UTC.
        pipeline: its name.
        kind: such as ``issued``, ``pending``, ``sink-failed``.
        text: in words, sanitised.
    """

    at: _Moment
    pipeline: str
    kind: str
    text: str
