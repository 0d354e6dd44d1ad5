"""Every exception scepflow raises on purpose, with the exit code it leads to.

Must never hold: imports of other scepflow modules, secrets in a message, or
server text that has not been through ``scepflow.text.sanitise``.

    ScepflowError                            message = what, where, what to do
    ├─ PipelineError                    78   a pipeline file is wrong
    │  ├─ UnknownStageError                  no such stage is installed
    │  └─ OptionError                        an option's value cannot be used
    ├─ PluginError                      78   a plugin cannot be loaded or clashes
    ├─ StageError                       78   a stage could not do its work
    │  ├─ KeySourceError
    │  ├─ CsrError
    │  ├─ SignerError
    │  ├─ TransportError                 4   unreachable, HTTP error, timeout
    │  └─ SinkError                      6   the certificate exists, an output failed
    ├─ TrustError                        5   a check on the CA or on a reply failed
    ├─ ProtocolError                     5   a reply that is not SCEP
    ├─ RejectedError                 70-74   the CA said no, and proved it is the CA (2 without failInfo)
    ├─ PendingError                      3   the CA has not decided yet
    ├─ StateError                       78   the state directory cannot be used
    └─ LockedError                      75   another run holds this pipeline

Anything else that escapes is a bug (exit code 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "CsrError",
    "KeySourceError",
    "LockedError",
    "OptionError",
    "PendingError",
    "PipelineError",
    "PluginError",
    "ProtocolError",
    "RejectedError",
    "ScepflowError",
    "SignerError",
    "SinkError",
    "StageError",
    "StateError",
    "TransportError",
    "TrustError",
    "UnknownStageError",
]


class ScepflowError(Exception):
    """Base of every error scepflow raises on purpose.

    Args:
        message: what went wrong and where, one line, without a final stop.
        hint: what to do about it, or None.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class PipelineError(ScepflowError):
    """A pipeline file is wrong at a place that can be pointed at.

    Args:
        message: what is wrong, one line.
        file: the file as the user named it, or None.
        line: line of the mistake, 1 or more, or None when there is no place.
        column: column of the mistake in characters, 1 or more, or None.
        where: dotted path of the option, such as ``sink.phone.path``.
        hint: what to do about it.
    """

    exit_code = 78

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        where: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line
        self.column = column
        self.where = where


class UnknownStageError(PipelineError):
    """No installed plugin offers the stage that ``use`` names.

    Args:
        kind: the stage's kind, such as ``sink``.
        name: the name that was asked for.
        known: the names that are installed, sorted.
        close_match: the nearest known name, or None.
    """

    def __init__(self, *, kind: str, name: str, known: Sequence[str], close_match: str | None) -> None:
        guess = f'; did you mean "{close_match}"?' if close_match else ""
        super().__init__(
            f'no {kind} named "{name}"{guess}',
            hint=f"installed: {', '.join(known) or 'none'} (`scepflow plugins`)",
        )
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        self.close_match = close_match


class OptionError(PipelineError):
    """An option's value has the right place and the wrong content."""


class PluginError(ScepflowError):
    """A plugin cannot be imported, offers something unusable, or clashes.

    Args:
        message: what is wrong.
        plugin: the plugin's entry point name, module or file.
        distribution: the installed distribution it came from, or None.
        version: that distribution's version, or None.
        hint: what to do about it.
    """

    exit_code = 78

    def __init__(
        self,
        message: str,
        *,
        plugin: str,
        distribution: str | None = None,
        version: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.plugin = plugin
        self.distribution = distribution
        self.version = version


class StageError(ScepflowError):
    """A stage could not do its work.

    Args:
        message: what went wrong, one line.
        kind: the stage's kind, such as ``sink``; filled in by the runner if empty.
        name: the stage's name, such as ``pkcs12``; filled in by the runner if empty.
        hint: what to do about it.
    """

    exit_code = 78

    def __init__(self, message: str, *, kind: str = "", name: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.name = name


class KeySourceError(StageError):
    """The private key could not be made, read or unlocked."""


class CsrError(StageError):
    """The certification request could not be built or read."""


class SignerError(StageError):
    """The identity that signs the request could not be made or read."""


class TransportError(StageError):
    """The server could not be reached, or answered in HTTP with an error.

    Args:
        message: what went wrong.
        url: the address without user name, password and query, or "".
        status: the HTTP status, 100 to 599, or None when none arrived.
        retryable: whether the same request may succeed later.
        hint: what to do about it.
        kind: the stage's kind, ``transport``.
        name: the stage's name.
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        status: int | None = None,
        retryable: bool = False,
        hint: str | None = None,
        kind: str = "transport",
        name: str = "",
    ) -> None:
        super().__init__(message, kind=kind, name=name, hint=hint)
        self.url = url
        self.status = status
        self.retryable = retryable


class SinkError(StageError):
    """The certificate was issued, but an output could not be written."""

    exit_code = 6


class TrustError(ScepflowError):
    """A check on the CA's certificates or on a reply failed; nothing was changed.

    Args:
        message: which check failed and what was seen.
        check: the check's stable name, such as ``recipient-nonce`` (see ``scepflow.engine.checks``).
        hint: what to do about it.
    """

    exit_code = 5

    def __init__(self, message: str, *, check: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.check = check


class ProtocolError(ScepflowError):
    """A message that is not what SCEP, CMS or HTTP says it must be.

    Args:
        message: what is wrong with it.
        section: the rule it breaks, such as ``RFC 8894 §3.2.1.3 pkiStatus``, or "".
        hint: what to do about it.
    """

    exit_code = 5

    def __init__(self, message: str, *, section: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.section = section


class RejectedError(ScepflowError):
    """The CA rejected the request in a reply that passed every check.

    Args:
        message: the rejection in words.
        fail_info: the failInfo number, 0 or more, or None when the CA gave none.
        fail_info_text: the CA's own words, sanitised, or "".
        transaction_id: the transaction it ended.
        hint: what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        fail_info: int | None,
        fail_info_text: str = "",
        transaction_id: str,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.fail_info = fail_info
        self.fail_info_text = fail_info_text
        self.transaction_id = transaction_id

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # the one error whose code depends on what it carries
        """70 + failInfo for the five defined values, else 2."""
        if self.fail_info is not None and self.fail_info <= 4:
            return 70 + self.fail_info
        return 2


class PendingError(ScepflowError):
    """The CA has the request and has not decided; polling stopped.

    Args:
        message: how far polling came.
        transaction_id: the transaction to go on with.
        polls: polls sent since the request, 0 or more.
        waited_s: time since the request, in seconds, 0 or more.
        hint: what happens next.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        transaction_id: str,
        polls: int,
        waited_s: float,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.transaction_id = transaction_id
        self.polls = polls
        self.waited_s = waited_s


class StateError(ScepflowError):
    """The state directory cannot be used, so nothing may be sent."""

    exit_code = 78


class LockedError(ScepflowError):
    """Another run is working on the same pipeline."""

    exit_code = 75
