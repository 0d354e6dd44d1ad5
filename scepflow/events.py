"""What happens in a run, told to ``scepflow_event`` as frozen values.

Must never hold: secrets, private keys, or server text that is not sanitised.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

__all__ = [
    "CaAuthenticated",
    "CertificateIssued",
    "CsrReady",
    "Event",
    "KeyReady",
    "PollScheduled",
    "ReplyReceived",
    "RequestSent",
    "RunFinished",
    "RunStarted",
    "SignerReady",
    "SinkDelivered",
    "SinkFailed",
    "Warned",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="event"):
    """Something that happened in a run.

    Attributes:
        pipeline: the pipeline's name.
        at: when, aware UTC.
    """

    pipeline: str
    at: datetime


class RunStarted(Event, frozen=True, kw_only=True):
    """A run began; ``file`` is the pipeline file."""

    file: str
    dry_run: bool


class KeyReady(Event, frozen=True, kw_only=True):
    """The private key is there, and on disk; ``description`` is such as ``RSA-2048``."""

    stage: str
    description: str


class CsrReady(Event, frozen=True, kw_only=True):
    """The certification request is built; ``subject`` is RFC 4514 text."""

    stage: str
    subject: str


class SignerReady(Event, frozen=True, kw_only=True):
    """The identity that signs the request is there; ``description`` says what certificate it has."""

    stage: str
    description: str


class CaAuthenticated(Event, frozen=True, kw_only=True):
    """The CA's certificates passed; ``by`` is such as ``fingerprint sha256:9f2c…``.

    Attributes:
        subject: the CA certificate's subject, RFC 4514 text.
        recipient: subject of the certificate that requests are encrypted for.
        capabilities: the keywords that we know, sorted.
    """

    subject: str
    recipient: str
    by: str
    capabilities: tuple[str, ...]


class RequestSent(Event, frozen=True, kw_only=True):
    """A pki_message is about to leave.

    Attributes:
        message_type: such as ``PKCSReq``.
        poll: 0 for the request itself, then 1, 2, …
        size_bytes: size of the pki_message in DER.
    """

    message_type: str
    transaction_id: str
    poll: int
    method: Literal["GET", "POST"]
    cipher: str
    digest: str
    size_bytes: int


class ReplyReceived(Event, frozen=True, kw_only=True):
    """A reply passed every check; ``pki_status`` is SUCCESS, FAILURE or PENDING."""

    transaction_id: str
    pki_status: str
    http_status: int
    elapsed_s: float


class PollScheduled(Event, frozen=True, kw_only=True):
    """The CA has not decided; poll number ``poll`` follows in ``delay_s`` seconds."""

    transaction_id: str
    poll: int
    delay_s: float
    waited_s: float


class CertificateIssued(Event, frozen=True, kw_only=True):
    """The CA issued a certificate for our key and it chains to the CA; ``serial`` is lower-case hex."""

    transaction_id: str
    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    fingerprint: str


class SinkDelivered(Event, frozen=True, kw_only=True):
    """A sink has written its output; ``detail`` names it."""

    sink: str
    detail: str
    elapsed_s: float


class SinkFailed(Event, frozen=True, kw_only=True):
    """A sink could not write its output; the others are not affected."""

    sink: str
    error: str


class Warned(Event, frozen=True, kw_only=True):
    """Something that works today and should be looked at; ``code`` is stable."""

    code: str
    text: str


class RunFinished(Event, frozen=True, kw_only=True):
    """A run ended.

    Attributes:
        outcome: issued, renewed, delivered, rolled-back, unchanged, degraded, pending, rejected, locked or failed;
            rehearsed after a dry run.
        exit_code: what a run of this pipeline alone exits with.
        elapsed_s: how long it took, in seconds, 0 or more.
        error: what went wrong, or "".
    """

    outcome: str
    exit_code: int
    elapsed_s: float
    error: str = ""
