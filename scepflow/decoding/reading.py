"""What one reading of a file knows, and what it notices.

Must never hold: a shape of ASN.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scepflow.engine import ber
from scepflow.engine.checks import Finding
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from scepflow.errors import ScepflowError

__all__ = ["Decoded", "Means", "Reading"]

_MAX_BYTES = 64 << 20
_MAX_ELEMENTS = 2_000_000  # a CRL of 300 000 entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the user gave to see more.

    Attributes:
        key: the private key that an envelope is for.
        challenge: the challenge that an envelope for a password is for.
        certificate: its certificate, which says which recipient of several it is.
        ca: certificates that may have signed a reply, such as GetCACert's answer.
        show_secrets: whether challenges are shown.
    """

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None
    challenge: str | None = field(default=None, repr=False)
    certificate: x509.Certificate | None = None
    ca: tuple[x509.Certificate, ...] = ()
    show_secrets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A file, read.

    Attributes:
        document: JSON-able values; every text in it is safe to show.
        error: what the user asked for and cannot be had: a signature by the CA, or the inside of an envelope.
    """

    document: dict[str, Any]
    error: ScepflowError | None = None


@dataclass(slots=True)
class Reading:
    """One reading: its means, and what it noticed.

    Attributes:
        means: what the user gave.
        notes: deviations from RFC 8894 and from DER, and weak algorithms, in the order they were met.
        error: see `Decoded`.
        enveloped: whether something encrypted was met.
    """

    means: Means
    notes: list[Finding] = field(default_factory=list)
    error: ScepflowError | None = None
    enveloped: bool = False

    def note(self, code: str, text: str) -> None:
        """Keep a finding, once."""
        finding = Finding(code, text)
        if finding not in self.notes:
            self.notes.append(finding)

    def fail(self, error: ScepflowError) -> None:
        """Keep the first thing that was asked for and cannot be had."""
        self.error = self.error or error

    def der(self, data: bytes, what: str) -> bytes:
        """Return the DER of a value, and note where it was not DER (Q-042, Q-103).

        Raises:
            ProtocolError: the bytes are no value at all.
        """
        der = ber.normalise(data, max_bytes=_MAX_BYTES, max_elements=_MAX_ELEMENTS)
        if not data.startswith(der):
            self.note(
                "ber",
                f"{what} is BER, not DER: indefinite or overlong lengths, or strings in pieces (as EJBCA and BouncyCastle send)",
            )
        elif len(data) > len(der):
            self.note("trailing-bytes", f"{what} is followed by blanks or zero bytes")
        return der

    def attempt_der(self, data: bytes, what: str) -> bytes:
        """Return the DER of a value, or the bytes as they are where they are no value at all."""
        try:
            return self.der(data, what)
        except ProtocolError:
            return data
