"""What a CA says it can do: the answer to GetCACaps (RFC 8894 §3.5.2 CA Capabilities Response Format).

The answer is unauthenticated (RFC 8894 §7.5). Must never hold: a choice made
from it; ``scepflow.engine.algorithms`` weighs it against the policy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scepflow.text import sanitise

__all__ = ["KEYWORDS", "MAX_BYTES", "MAX_LINES", "NONE", "Capabilities", "parse_capabilities"]

MAX_BYTES = 64 << 10  # Q-094, S-031: the eleven keywords have a hundred bytes, a web page more
MAX_LINES = 1000  # S-034: no CA has more than twenty
_SHOWN_CHARS = 80

# RFC 8894 §3.5.2 Table 5, and the two digests that sscep reads as well.
KEYWORDS = (
    "AES",
    "DES3",
    "GetNextCACert",
    "POSTPKIOperation",
    "Renewal",
    "SCEPStandard",
    "SHA-1",
    "SHA-224",
    "SHA-256",
    "SHA-384",
    "SHA-512",
)
_CANONICAL = {keyword.lower(): keyword for keyword in KEYWORDS}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The keywords a CA sent; the properties say what follows from them.

    Attributes:
        names: the known keywords, spelt as in `KEYWORDS`.
        unknown: the other lines in the order they came, sanitised, at most 80 characters each.
    """

    names: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()

    @property
    def standard(self) -> bool:
        """SCEPStandard: everything that RFC 8894 makes mandatory (§3.5.2): AES, SHA-256 and POST."""
        return "SCEPStandard" in self.names

    @property
    def post(self) -> bool:
        """Whether PKIOperation may be sent by POST."""
        return self.standard or "POSTPKIOperation" in self.names

    @property
    def aes(self) -> bool:
        """AES-128-CBC."""
        return self.standard or "AES" in self.names

    @property
    def sha256(self) -> bool:
        """SHA-256."""
        return self.standard or "SHA-256" in self.names

    @property
    def sha512(self) -> bool:
        """SHA-512."""
        return "SHA-512" in self.names

    @property
    def renewal(self) -> bool:
        """Whether RenewalReq is understood."""
        return "Renewal" in self.names

    @property
    def next_ca(self) -> bool:
        """Whether GetNextCACert is answered."""
        return "GetNextCACert" in self.names


NONE = Capabilities()


def parse_capabilities(body: bytes) -> Capabilities:
    """Read the body of a GetCACaps answer, whatever it is; never raises.

    One keyword stands on a line; CRLF, LF and CR end one; blanks around it and
    letter case do not matter (C-072, C-073). A keyword matches whole (C-074).
    An empty body, a web page (Q-070), binary data, more than 64 KiB or more
    than 1000 lines are no capabilities (C-076, C-077, S-034).

    Args:
        body: the body as received, of any length.
    """
    if len(body) > MAX_BYTES or b"\0" in body:
        return NONE
    text = body.decode("utf-8-sig", "backslashreplace").strip(" \t\r\n")
    lines = [line.strip(" \t") for line in re.split(r"[\r\n]+", text)]
    if text.startswith("<") or len(lines) > MAX_LINES:
        return NONE
    found = [_CANONICAL.get(line.lower()) if line.isascii() else None for line in lines]
    return Capabilities(
        names=frozenset(name for name in found if name),
        unknown=tuple(
            sanitise(line, limit=_SHOWN_CHARS)
            for line, name in zip(lines, found, strict=True)
            if line and not name
        ),
    )
