"""The lines that sscep prints: events of a run as both of its generations say them.

Must never hold: what happens; only how it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from scepflow.engine.messages import MessageType
from scepflow.events import (
    CaAuthenticated,
    CertificateIssued,
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
from scepflow.sscep.ca_files import oneline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from scepflow.errors import RejectedError, ScepflowError
    from scepflow.sscep.settings import SscepExit

__all__ = ["REASONS", "Screen", "certificate_lines", "fingerprint_line"]

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
    """

    def __init__(
        self, program: str, *, stdout: TextIO, stderr: TextIO, verbose: bool = False, debug: bool = False
    ) -> None:
        self._program = program
        self._stdout = stdout
        self._stderr = stderr
        self.is_verbose = verbose
        self.is_debug = debug
        self.transaction_id = ""
        self._waiting = False  # for an answer that has not been told

    def say(self, text: str) -> None:
        """Print a line."""
        self.raw(f"{self._program}: {text}")

    def raw(self, line: str) -> None:
        """Print a line without the program's name."""
        self._stdout.write(f"{line}\n")
        self._stdout.flush()

    def verbose(self, text: str) -> None:
        """Print a line with ``-v`` only."""
        if self.is_verbose:
            self.say(text)

    def complain(self, text: str) -> None:
        """Print an error."""
        self._stderr.write(f"{self._program}: {text}\n")
        self._stderr.flush()

    def ended(self, end: SscepExit) -> int:
        """Print the lines that a command ends with; return its code."""
        self._stdout.write("".join(f"{line}\n" for line in end.stdout_lines))
        self._stdout.flush()
        self._stderr.write("".join(f"{line}\n" for line in end.stderr_lines))
        return end.code

    @hookimpl
    def scepflow_event(self, event: Event) -> None:
        """Say what happened."""
        for line in self._lines(event):
            self.say(line)
        if not self.is_verbose:
            return
        if isinstance(event, Warned):
            self.complain(f"{event.text} ({event.code})")
        for line in _details(event, self.transaction_id):
            self.say(line)

    def _lines(self, event: Event) -> Iterator[str]:
        if isinstance(event, RequestSent):
            self._waiting, self.transaction_id = True, event.transaction_id
            yield _SENDING.get(event.message_type, f"requesting certificate (#{event.poll})")
        elif isinstance(event, ReplyReceived):
            yield from self._reply(event.pki_status)
        elif isinstance(event, SinkDelivered):
            yield f"certificate written as {event.detail}"
        elif isinstance(event, SinkFailed):
            self.complain("cannot open cert file for writing")
            self.complain(event.error)

    def _reply(self, pki_status: str) -> Iterator[str]:
        self._waiting = False
        yield "valid response from server"
        yield f"reply transaction id: {self.transaction_id}"
        yield f"pkistatus: {pki_status}"

    def replied(self, pki_status: str) -> None:
        """Tell a verified answer that no event has told: the CA said no, or not yet, to a question."""
        if self._waiting:
            for line in self._reply(pki_status):
                self.say(line)

    def rejected(self, error: RejectedError) -> None:
        """Tell a rejection."""
        self.replied("FAILURE")
        number = error.fail_info
        known = number is not None and number < len(REASONS)
        self.say(f"reason: {REASONS[number] if number is not None and known else error.message}")
        if error.fail_info_text:
            self.say(f"reason of the CA: {error.fail_info_text}")

    def failed(self, error: ScepflowError) -> None:
        """Tell an error, and what to do about it."""
        self.complain(error.message)
        if error.hint:
            self.complain(error.hint)


def _details(event: Event, transaction_id: str) -> Iterator[str]:
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
        yield f"transaction id: {transaction_id}"
        yield f"{event.message_type} by {event.method}, {event.cipher}, {event.digest}"
        yield f"payload size: {event.size_bytes} bytes"
    elif isinstance(event, PollScheduled):
        yield f"waiting for {event.delay_s:.0f} secs"
    elif isinstance(event, CertificateIssued):
        yield "found certificate with"
        yield f"  subject: '{event.subject}'"
        yield f"  issuer: {event.issuer}"


def fingerprint_line(certificate: x509.Certificate, digest: str) -> str:
    """Return such as ``SHA256 fingerprint: AA:BB``.

    Args:
        certificate: whose DER is digested.
        digest: scepflow's name, such as ``sha-256``.
    """
    from scepflow.engine.algorithms import Digest

    printed = certificate.fingerprint(Digest(digest).hash()).hex(":").upper()
    return f"{digest.replace('-', '').upper()} fingerprint: {printed}"


def certificate_lines(certificate: x509.Certificate) -> Iterator[str]:
    """Yield what sscep says of one certificate among several."""
    yield f"  subject: {oneline(certificate.subject)}"
    yield f"  issuer: {oneline(certificate.issuer)}"
    yield f"  basic constraints: {_constraints(certificate)}"
    yield f"  usage: {_usage(certificate)}"


def _constraints(certificate: x509.Certificate) -> str:
    from cryptography import x509

    from scepflow.engine.certificates import find_extension

    found = find_extension(certificate, x509.BasicConstraints)
    if found is None:
        return "(not included)"
    length = "" if found.path_length is None else f", pathlen:{found.path_length}"
    return f"CA:{str(found.ca).upper()}{length}"


_USAGES = {
    "digital_signature": "Digital Signature",
    "content_commitment": "Non Repudiation",
    "key_encipherment": "Key Encipherment",
    "data_encipherment": "Data Encipherment",
    "key_agreement": "Key Agreement",
    "key_cert_sign": "Certificate Sign",
    "crl_sign": "CRL Sign",
}


def _usage(certificate: x509.Certificate) -> str:
    from scepflow.engine.trust import key_usage

    usage = key_usage(certificate)
    if usage is None:
        return "(not included)"
    return ", ".join(words for name, words in _USAGES.items() if getattr(usage, name))
