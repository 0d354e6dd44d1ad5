"""Certificates and CRLs on the screen: what they are, and what a pipeline would use them for.

Must never hold: I/O, or trust; `scepflow.engine.trust` has judged before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.cli.words import counted, shout, until
from scepflow.descriptions import describe_certificate, described_key, name_text, usages
from scepflow.engine.certificates import is_ca, key_usage, public_key, serial_number
from scepflow.engine.recipients import recipient_reason
from scepflow.engine.trust import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography import x509

    from scepflow.inquiry import CaAnswer

__all__ = [
    "ca_certificate_lines",
    "certificate_lines",
    "certificates_pem",
    "crl_lines",
    "described_ca_certificate",
    "pin_line",
]


def certificates_pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return certificates in PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def pin_line(answer: CaAnswer) -> str:
    """Return the line that pins the CA; the topmost CA certificate, for it lasts the longest."""
    authorities = [c for c in answer.certificates if is_ca(c)] or list(answer.certificates)
    top = next((c for c in authorities if c.subject == c.issuer), authorities[0])
    return f'fingerprint = "{fingerprint(top)}"'


def ca_certificate_lines(certificate: x509.Certificate, answer: CaAnswer) -> Iterator[str]:
    """Yield the lines of a certificate of the CA, with what it would be used for and why."""
    yield from certificate_lines(certificate, _role(certificate))
    for use in _uses(certificate, answer):
        word, _, why = use.partition(": ")
        yield f"  {shout(f'{word:11}', 'yellow' if word == 'not used' else 'green')}  {why}"


def _uses(certificate: x509.Certificate, answer: CaAnswer) -> list[str]:
    bundle = answer.bundle
    if bundle is None:
        return []
    if certificate not in bundle.certificates and certificate not in (*bundle.signers, bundle.recipient):
        return ["not used: it does not chain to the trusted CA"]
    uses = []
    if certificate in bundle.anchors:
        uses.append(f"trusted: {bundle.by}")
    if certificate == bundle.ca_certificate:
        uses.append("issues: new certificates are expected from it")
    if certificate == bundle.recipient:
        uses.append(f"encrypts: requests are for its key; {recipient_reason(certificate)}")
    if certificate in bundle.signers:
        only = len(bundle.signers) == 1 < len(bundle.certificates)
        uses.append(f"signs: it may sign replies{', and no other' if only else ''}")
    return uses


def _role(certificate: x509.Certificate) -> str:
    if is_ca(certificate):
        return "CA"
    usage = key_usage(certificate)
    if usage is None or usage.digital_signature == usage.key_encipherment:
        return "RA"
    return "RA signing" if usage.digital_signature else "RA encryption"


def described_ca_certificate(certificate: x509.Certificate, answer: CaAnswer) -> dict[str, Any]:
    """Return a certificate of the CA as JSON-able values."""
    bundle = answer.bundle
    return {
        "role": _role(certificate),
        **describe_certificate(certificate),
        "trusted": bool(bundle and certificate in bundle.anchors),
        "recipient": bool(bundle and certificate == bundle.recipient),
        "signer": bool(bundle and certificate in bundle.signers),
        "pem": certificates_pem([certificate]).decode(),
    }


def certificate_lines(certificate: x509.Certificate, heading: str) -> Iterator[str]:
    """Yield a certificate's lines; the heading says what it is."""
    yield f"{click.style(f'{heading:13}', bold=True)}  {name_text(certificate.subject)}"
    usage = usages(certificate)
    rows = [
        ("issuer", name_text(certificate.issuer)) if certificate.issuer != certificate.subject else None,
        ("serial", f"{serial_number(certificate):x}"),
        ("valid", _validity(certificate, datetime.now(UTC))),
        ("key", described_key(public_key(certificate)) + (f", for {', '.join(usage)}" if usage else "")),
        ("fingerprint", fingerprint(certificate)),
    ]
    yield from (f"  {row[0]:11}  {row[1]}" for row in rows if row)


def _validity(certificate: x509.Certificate, now: datetime) -> str:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return f"from {begins:%Y-%m-%d}{' (not yet)' * (begins > now)} until {until(ends, now)}"


def crl_lines(crl: x509.CertificateRevocationList) -> Iterator[str]:
    """Yield a CRL's lines."""
    yield f"{click.style('CRL'.ljust(13), bold=True)}  {name_text(crl.issuer)}"
    yield f"  {'issued':11}  {crl.last_update_utc:%Y-%m-%d %H:%M} UTC"
    if crl.next_update_utc:
        yield f"  {'next':11}  {until(crl.next_update_utc, datetime.now(UTC))}"
    yield f"  {'revoked':11}  {counted(len(crl), 'certificate')}"
