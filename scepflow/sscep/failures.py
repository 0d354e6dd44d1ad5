"""What an error is in sscep's words, and its exit code (reference §3).

Must never hold: a decision by an error's text; only its kind and the stable name of its check count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepflow.errors import (
    CsrError,
    KeySourceError,
    OptionError,
    PendingError,
    PipelineError,
    ProtocolError,
    RejectedError,
    TransportError,
    TrustError,
)
from scepflow.sscep.ca_files import is_older
from scepflow.sscep.exchanges import REPLY_TYPES
from scepflow.sscep.settings import Exit, Operation

if TYPE_CHECKING:
    from scepflow.errors import ScepflowError
    from scepflow.sscep.command import Command

__all__ = ["tell_failure"]

_MISSING = {
    Operation.ENROLL: "cannot find requested certificate",
    Operation.GETCERT: "cannot find certificate",
    Operation.GETCRL: "cannot find CRL in reply",
}
"""A verified reply without what was asked for; a certificate for another key is none of ours."""

_ISSUED = ("new-certificate", "chain")
"""Checks of what a verified reply brings."""

_NO_CRL = "RFC 8894 §3.3.4 GetCert and GetCRL"

_CHECKS = {
    "signer": "error verifying signature",
    "message-digest": "error verifying signature",
    "signature": "error verifying signature",
    "message-type": "wrong message type in reply",
    "transaction-id": "transaction id mismatch",
    "recipient-nonce": "corrupted nonce received",
}
_SECTIONS = {
    "RFC 8894 §3.2.1 Signed Transaction Attributes": "no attributes found",
    "RFC 8894 §3.2.1.3 pkiStatus": "wrong pkistatus in reply",
    "RFC 8894 §3.2.2 pkcsPKIEnvelope": "error decrypting inner PKCS#7",
    "RFC 8894 §3.3.2.1 CertRep SUCCESS": "illegal size of payload",
}
"""The check, or the rule, that a reply fails → sscep's words; where it has none it crashed, or did not check."""

_OPERATIONS = {Operation.GETCA: "GetCACert", Operation.GETNEXTCA: "GetNextCACert"}


_KINDS = (
    (TransportError, Exit.NETWORK, ""),
    (KeySourceError, Exit.FILE, "error while reading private key {key}"),
    (CsrError, Exit.FILE, "error while reading request file"),
    (OptionError, Exit.FILE, ""),
    (PipelineError, Exit.ERROR, ""),
)
"""The first that another error is, its code, and sscep's words before ours."""


def tell_failure(command: Command, error: ScepflowError) -> int:
    """Say what went wrong; return sscep's code for it."""
    screen = command.screen
    if isinstance(error, RejectedError):
        screen.rejected(error)
        return error.exit_code if error.exit_code >= 70 else Exit.MESSAGE
    if isinstance(error, PendingError):
        screen.replied("PENDING")
        return Exit.PENDING
    if _is_missing(command, error) or (isinstance(error, TrustError) and error.check in _ISSUED):
        screen.replied("SUCCESS")
    code, line = _meaning(command, error)
    if line:
        screen.complain(line)
    screen.failed(error)
    if code == Exit.MESSAGE:
        _tell_stale(command)
    if code == Exit.NETWORK:
        screen.complain("error while sending message")
        if command.settings.operation == Operation.GETNEXTCA and screen.is_verbose:
            screen.complain("getnextCA might be not available")
    return code


def _tell_stale(command: Command) -> None:
    """Point at a single CA certificate that was taken though numbered ones are newer."""
    name = command.settings.ca_file or ""
    if command.settings.operation in _MISSING and is_older(name, f"{name}-0"):
        command.screen.complain(
            f"{name} was used, which is older than {name}-0: remove it to use the numbered ones"
        )


def _meaning(command: Command, error: ScepflowError) -> tuple[int, str | None]:
    """Return code and line; what is not known here is about a file."""
    settings = command.settings
    if _is_missing(command, error):
        return Exit.FILE, _MISSING[settings.operation]
    if isinstance(error, TrustError):
        return Exit.MESSAGE, _CHECKS.get(error.check)
    if isinstance(error, ProtocolError):
        return _unreadable(command, error)
    if isinstance(error, KeySourceError) and command.token:
        return Exit.ERROR, "Could not load private key!"
    code, line = next(
        ((code, line) for kind, code, line in _KINDS if isinstance(error, kind)), (Exit.FILE, "")
    )
    return code, line.format(key=settings.key)


def _is_missing(command: Command, error: ScepflowError) -> bool:
    if isinstance(error, TrustError):
        return error.check == "certificate-key" and command.settings.operation in _MISSING
    return isinstance(error, ProtocolError) and error.section == _NO_CRL


def _unreadable(command: Command, error: ProtocolError) -> tuple[int, str | None]:
    """Tell an answer of another type, which is no SCEP at all, from one that is broken."""
    operation = command.settings.operation
    asked = _OPERATIONS.get(operation, "PKIOperation")
    answer = command.wire.answers.get(asked)
    if answer is not None and answer.content_type not in REPLY_TYPES[asked]:
        return Exit.NETWORK, "wrong (or missing) MIME content type"
    if operation == Operation.GETCA:
        return Exit.FILE, "error reading PKCS#7 data"
    return Exit.MESSAGE, _SECTIONS.get(error.section, "error reading PKCS#7 data")
