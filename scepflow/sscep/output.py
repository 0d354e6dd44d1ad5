"""The lines that sscep prints: events of a run as both of its generations say them.

Must never hold: what happens; only how it is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TextIO

from scepflow.engine.messages import MessageType
from scepflow.errors import ScepflowError
from scepflow.events import (
    CaAuthenticated,
    CsrReady,
    Event,
    PollScheduled,
    ReplyReceived,
    RequestSent,
    SignerReady,
    SinkDelivered,
    SinkFailed,
    Warned,
)
from scepflow.hookspecs import hookimpl
from scepflow.masks import Masks
from scepflow.sscep.exchanges import nonce_lines
from scepflow.sscep.hints import hint_in_options, message_in_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scepflow.engine.exchange import HttpResponse
    from scepflow.errors import RejectedError
    from scepflow.sscep.settings import SscepExit

__all__ = ["REASONS", "Screen"]

REASONS = (
    "Unrecognized or unsupported algorithm ident",
    "Integrity check failed",
    "Transaction not permitted or supported",
    "Message time field was not sufficiently close to the system time",
    "No certificate could be identified matching",
)
"""failInfo → sscep's words."""

_SENDING = {
    MessageType.PKCS_REQ.title: "sending certificate request",
    MessageType.RENEWAL_REQ.title: "sending certificate request",
    MessageType.GET_CERT.title: "requesting certificate",
    MessageType.GET_CRL.title: "requesting crl",
}


class Screen:
    """Prints sscep's lines.

    Args:
        program: begins each line.
        stdout: for progress.
        stderr: for errors.
        verbose: whether ``-v`` is on.
        debug: whether ``-d`` is on.

    Attributes:
        names: files of ours → what a line calls them.
        masks: hides the secrets of the run that is under way.
    """

    def __init__(
        self, program: str, *, stdout: TextIO, stderr: TextIO, verbose: bool = False, debug: bool = False
    ) -> None:
        self._program = program
        self._stdout = stdout
        self._stderr = stderr
        self._lost: list[TextIO] = []  # those that could not be written
        self.names: Mapping[str, str] = {}
        self.masks = Masks()
        self._warned: set[str] = set()
        self.is_verbose = verbose
        self.is_debug = debug
        self.transaction_id = ""
        self.reply: HttpResponse | None = None  # the latest, verified or not
        self._unanswered = False  # a message has left, and no answer has been told
        self._undecided = False  # nor what the CA has decided

    def say(self, text: str) -> None:
        """Print a line."""
        self.raw(f"{self._program}: {text}")

    def raw(self, line: str) -> None:
        """Print a line without the program's name."""
        self._print(self._stdout, f"{line}\n")

    def _print(self, stream: TextIO, text: str) -> None:
        """Write to a stream; one that cannot be written gets nothing more, and no exchange ends for a line."""
        if stream in self._lost:
            return
        text = self.masks.hide(text)
        for copy, name in self.names.items():
            text = re.sub(rf"{re.escape(copy)}(?![0-9])", name.replace("\\", r"\\"), text)
        try:
            stream.write(text)
            stream.flush()
        # Full, or nobody reads it any more; closed; or as our own streams say so.
        except (OSError, ValueError, ScepflowError):
            self._lost.append(stream)

    @property
    def tells_more(self) -> bool:
        """Whether ``-v`` or ``-d`` is on; a configuration file can turn ``-d`` on alone."""
        return self.is_verbose or self.is_debug

    def verbose(self, text: str, *, prefix: bool = True) -> None:
        """Print a line with ``-v`` only."""
        if self.is_verbose:
            (self.say if prefix else self.raw)(text)

    def debug(self, text: str) -> None:
        """Print a line with ``-d`` only."""
        if self.is_debug:
            self.say(text)

    def complain(self, text: str) -> None:
        """Print an error."""
        self._print(self._stderr, f"{self._program}: {text}\n")

    def ended(self, end: SscepExit) -> int:
        """Print the lines that a command ends with; return its code."""
        self._print(self._stdout, "".join(f"{line}\n" for line in end.stdout_lines))
        self._print(self._stderr, "".join(f"{line}\n" for line in end.stderr_lines))
        return end.code

    @hookimpl
    def scepflow_event(self, event: Event) -> None:
        """Say what happened."""
        match event:
            case RequestSent():
                self._unanswered = self._undecided = True
                self.transaction_id = event.transaction_id
                self.say(_SENDING.get(event.message_type, f"requesting certificate (#{event.poll})"))
            case ReplyReceived():
                self.replied(event.pki_status)
            case SinkDelivered():
                self.say(f"certificate written as {event.detail}")
            case SinkFailed():
                self.complain("cannot open cert file for writing")
                self.complain(event.error)
            case Warned(code="short-key"):  # a key that signs and is signed for is read twice
                if event.text not in self._warned:
                    self._warned.add(event.text)
                    self.complain(event.text)
            case Warned() if self.is_verbose:
                self.complain(f"{event.text} ({event.code})")
        for line in _details(event):
            self.verbose(line)

    def answered(self) -> None:
        """Say once that an answer has come, which sscep says before it reads it."""
        if self._unanswered:
            self._unanswered = False
            self.say("valid response from server")

    def replied(self, pki_status: str) -> None:
        """Say once what the CA has decided, in an answer that passed every check."""
        if not self._undecided:
            return
        self.answered()
        self._undecided = False
        self.verbose("signature ok")
        self.say(f"reply transaction id: {self.transaction_id}")
        if self.is_verbose and self.reply is not None:
            for line in nonce_lines(self.reply):
                self.say(line)
        self.say(f"pkistatus: {pki_status}")

    def rejected(self, error: RejectedError) -> None:
        """Tell a rejection."""
        self.replied("FAILURE")
        number = error.fail_info
        if number is not None and number < len(REASONS):
            self.say(f"reason: {REASONS[number]}")
        else:
            self.say(f"reason: {error.message}")
            self.complain("cannot find failInfo" if number is None else "wrong failInfo in reply")
        if error.fail_info_text:
            self.say(f"reason of the CA: {error.fail_info_text}")

    def failed(self, error: ScepflowError) -> None:
        """Tell an error, and what to do about it."""
        self.complain(message_in_options(error.message))
        if hint := hint_in_options(error.hint):
            self.complain(hint)


def _details(event: Event) -> Iterator[str]:
    """Yield what ``-v`` adds."""
    if isinstance(event, CsrReady):
        yield f"Read request for {event.subject or 'an empty subject'}"
    elif isinstance(event, SignerReady):
        made = event.description == "self-signed"
        yield "generating selfsigned certificate" if made else f"signing with the {event.description}"
    elif isinstance(event, CaAuthenticated):
        yield f"CA certificate: {event.subject}, by {event.by}"
        yield f"encrypting for: {event.recipient}"
    elif isinstance(event, RequestSent):
        yield f"transaction id: {event.transaction_id}"
        yield f"{event.message_type} by {event.method}, {event.cipher}, {event.digest}"
    elif isinstance(event, PollScheduled):
        yield f"waiting for {event.delay_s:.0f} secs"
