"""The named checks on a reply: each can be turned off by its name, loudly, and none by accident.

Must never hold: a switch that turns off more than one check.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scepflow.errors import TrustError

__all__ = ["CHECKS", "Checks", "Finding"]

CHECKS = (
    "signer",
    "algorithms",
    "content-type",
    "message-digest",
    "signature",
    "message-type",
    "transaction-id",
    "recipient-nonce",
    "certificate-key",
    "new-certificate",
    "chain",
)
"""The checks on a reply, in the order they are made."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that works and should be looked at; ``code`` is stable, ``text`` is for humans."""

    code: str
    text: str


@dataclass(slots=True)
class Checks:
    """Makes the checks of one exchange and keeps what was found.

    Attributes:
        relaxed: names of checks that are turned off.
        findings: what was noticed, in order.
    """

    relaxed: frozenset[str] = frozenset()
    findings: list[Finding] = field(default_factory=list)

    def require(self, passed: object, check: str, message: str, *, hint: str | None = None) -> None:
        """Raise `TrustError` unless the check passed or is turned off.

        Args:
            passed: the check's outcome, taken as true or false.
            check: the check's name, one of `CHECKS`.
            message: what was seen, safe to show.
            hint: what to do about it.

        Raises:
            TrustError: the check failed and is not relaxed.
        """
        if passed:
            return
        if check not in self.relaxed:
            raise TrustError(message, check=check, hint=hint)
        self.note(f"relaxed-{check}", f"check {check} is turned off and would have failed: {message}")

    @property
    def unbroken(self) -> bool:
        """Whether every check so far has passed by itself, none because it is turned off."""
        return not any(finding.code.startswith("relaxed-") for finding in self.findings)

    def note(self, code: str, text: str) -> None:
        """Keep a finding."""
        self.findings.append(Finding(code, text))
