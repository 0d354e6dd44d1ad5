"""What happens in a run, told on stderr: a plugin on ``scepflow_event`` like anyone else's.

Must never hold: a decision; a run is the same without it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from scepflow import events as told
from scepflow.cli.invocation import is_dumb
from scepflow.cli.words import digits, duration, until
from scepflow.errors import PendingError
from scepflow.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.cli.invocation import Invocation
    from scepflow.events import Event

__all__ = ["JsonProgress", "TextProgress", "progress_for"]

_TROUBLE = (told.Warned, told.SinkFailed)


def progress_for(invocation: Invocation) -> TextProgress | JsonProgress:
    """Return the display that the command line asked for and the terminal can show."""
    if invocation.json_log:
        return JsonProgress(invocation)
    if invocation.verbosity >= 0 and sys.stderr.isatty() and not is_dumb():
        try:
            from scepflow.cli.live import LiveProgress
        except ImportError:  # rich is an extra
            pass
        else:
            return LiveProgress(invocation)
    return TextProgress(invocation)


class JsonProgress:
    """Each event as a JSON object on a line; when quiet, only what went wrong."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    @hookimpl
    def scepflow_event(self, event: Event) -> None:
        """Write the event."""
        failed = isinstance(event, told.RunFinished) and event.exit_code not in (0, PendingError.exit_code)
        if self._invocation.verbosity >= 0 or failed or isinstance(event, _TROUBLE):
            self._invocation.say(msgspec.json.encode(event).decode())

    def stop(self) -> None:
        """Leave stderr as it is."""


class TextProgress:
    """Each event as a line: what, in a column of its own, then how."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    @hookimpl
    def scepflow_event(self, event: Event) -> None:
        """Write the event."""
        verbosity = self._invocation.verbosity
        if verbosity < 0 and not isinstance(event, _TROUBLE):
            return
        line = describe(event, details=verbosity > 0)
        if line:
            prefix = f"{event.pipeline}: " if verbosity < 0 else ""
            self._invocation.say(prefix + line.lstrip() if prefix else line)

    def stop(self) -> None:
        """Leave the screen as it is: nothing moves on it."""


def describe(event: Event, *, details: bool = False) -> str:
    """Return what to tell people of an event, one line, or "".

    Args:
        event: what happened.
        details: whether to tell everything.
    """
    if isinstance(event, told.RunStarted):
        return "" if event.dry_run else click.style(event.pipeline, bold=True) + (f"  {event.file}" * details)
    if isinstance(event, told.Warned):
        return _line("warning", event.text + f" ({event.code})" * details, "yellow")
    if isinstance(event, told.SinkFailed):
        return _line("FAILED", f"sink {event.sink}: {event.error}", "red")
    say = (_DETAILS if details else {}).get(type(event)) or _WORDS.get(type(event))
    return say(event) if say else ""


def _line(label: str, text: str, color: str = "") -> str:
    return f"  {click.style(f'{label:10}', fg=color, bold=True) if color else f'{label:10}'} {text}"


def _key(event: told.KeyReady) -> str:
    return _line("key", f"{event.description} ({event.stage})")


def _csr(event: told.CsrReady) -> str:
    return _line("CSR", f"{event.subject or 'an empty subject'} ({event.stage})")


def _signer(event: told.SignerReady) -> str:
    return _line("signer", f"{event.description} ({event.stage})")


def _ca(event: told.CaAuthenticated) -> str:
    name, _, pin = event.by.partition(" ")
    by = f"{name} {pin[:19]}…" if name == "fingerprint" else event.by
    return _line("CA", f"{event.subject}, authenticated by {by}")


def _ca_in_full(event: told.CaAuthenticated) -> str:
    offers = " ".join(event.capabilities) or "nothing"
    return "\n".join(
        [
            _line("CA", f"{event.subject}, authenticated by {event.by}"),
            _line("", f"encrypts for {event.recipient}; offers {offers}"),
        ]
    )


def _message(event: told.RequestSent) -> str:
    algorithms = f"{event.cipher.upper()}, {event.digest.upper()}"
    return f"{event.message_type} by {event.method}, {algorithms}, {digits(event.size_bytes)} bytes"


def _sent(event: told.RequestSent) -> str:
    return "" if event.poll else _line("sent", _message(event))


def _sent_in_full(event: told.RequestSent) -> str:
    poll = f"poll {event.poll}: " if event.poll else ""
    return _line("sent", f"{poll}{_message(event)}, transaction {event.transaction_id}")


def _reply(event: told.ReplyReceived) -> str:
    return _line("reply", f"{event.pki_status} after {duration(event.elapsed_s)}, HTTP {event.http_status}")


def _pending(event: told.PollScheduled) -> str:
    waited = f" (waited {duration(event.waited_s)})" if event.waited_s >= 1 else ""
    return _line("pending", f"poll {event.poll} in {duration(event.delay_s)}{waited}", "yellow")


def _issued(event: told.CertificateIssued) -> str:
    return _line("issued", f"{event.subject} by {event.issuer}", "green")


def _issued_in_full(event: told.CertificateIssued) -> str:
    valid = f"valid until {until(event.not_after, event.at)}"
    return "\n".join([_issued(event), _line("", f"serial {event.serial}, {valid}, {event.fingerprint}")])


def _delivered(event: told.SinkDelivered) -> str:
    took = f" ({duration(event.elapsed_s)})" if event.elapsed_s >= 0.1 else ""
    return _line("delivered", f"{event.sink}: {event.detail}{took}", "green")


_WORDS: dict[type[Event], Callable[..., str]] = {
    told.KeyReady: _key,
    told.CsrReady: _csr,
    told.SignerReady: _signer,
    told.CaAuthenticated: _ca,
    told.RequestSent: _sent,
    told.PollScheduled: _pending,
    told.CertificateIssued: _issued,
    told.SinkDelivered: _delivered,
}
_DETAILS: dict[type[Event], Callable[..., str]] = {
    told.CaAuthenticated: _ca_in_full,
    told.RequestSent: _sent_in_full,
    told.ReplyReceived: _reply,
    told.CertificateIssued: _issued_in_full,
}
