"""A CA's certificates appraised: who would encrypt and sign, why, what is worrying, and how to pin it.

Must never hold: I/O, or a change to the choice that `scepflow.engine.trust` makes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.descriptions import described_key, name_text, oid_name, serial_text, timestamp, usages
from scepflow.engine import certificates as engine_certificates
from scepflow.engine import oids, trust
from scepflow.engine.certificates import is_ca
from scepflow.engine.checks import Finding
from scepflow.engine.recipients import can_receive, recipient_reason
from scepflow.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cryptography import x509

    from scepflow.engine.trust import Bundle
    from scepflow.pipeline.model import CaOptions

__all__ = ["certificate_warnings", "describe", "pin_lines", "presumed", "risks"]

_SOON_DAYS = 30
_MIN_RSA_BITS = 2048
_WEAK_SIGNATURES = frozenset({oids.MD5_WITH_RSA, oids.SHA1_WITH_RSA, oids.ECDSA_WITH_SHA1})


def presumed(certificates: Sequence[x509.Certificate], now: datetime) -> Bundle:
    """Return what a run would make of these certificates if their topmost CA were pinned.

    Args:
        certificates: what GetCACert gave; nothing vouches for it.
        now: current time, aware UTC.

    Raises:
        TrustError: there is no CA certificate in it, or none that is valid.
    """
    authorities = [c for c in certificates if is_ca(c)]
    if not authorities:
        raise TrustError(
            "no CA certificate is in the answer, only an RA's: nothing in it can be pinned",
            check="ca-authentication",
            hint='get the CA\'s certificate from its operator, and set certificate = "ca.pem" in [ca]',
        )
    subjects = {c.subject for c in authorities}
    topmost = [c for c in authorities if c.issuer == c.subject or c.issuer not in subjects]
    return trust.authenticate(certificates, anchors=topmost or authorities, now=now)


def describe(
    certificate: x509.Certificate, bundle: Bundle | None, *, pinned: CaOptions, now: datetime
) -> dict[str, Any]:
    """Return a certificate's part in SCEP as JSON-able values.

    Args:
        certificate: one that the CA sent.
        bundle: what a run makes of them all, or None if it makes nothing.
        pinned: ``[ca]``, for what it pins.
        now: current time, aware UTC.
    """
    usage = usages(certificate)
    return {
        "title": f"{_role(certificate)} {name_text(certificate.subject)}",
        "subject": name_text(certificate.subject),
        "role": _role(certificate),
        "issuer": name_text(certificate.issuer),
        "serial_number": serial_text(engine_certificates.serial_number(certificate)),
        "not_before": timestamp(certificate.not_valid_before_utc),
        "not_after": timestamp(certificate.not_valid_after_utc),
        "validity": _validity(certificate, now),
        "key": described_key(engine_certificates.public_key(certificate)),
        "key_usage": "no such extension: anything" if usage is None else ", ".join(usage) or "none",
        "signature_algorithm": oid_name(certificate.signature_algorithm_oid),
        "fingerprint": trust.fingerprint(certificate),
        "encrypts": bundle is not None and certificate == bundle.recipient,
        "encryption": _encryption(certificate, bundle, by_pin=pinned.encryption_certificate is not None),
        "signs": bundle is not None and certificate in bundle.signers,
        "signing": _signing(certificate, bundle, by_pin=pinned.signing_certificate is not None),
    }


def _role(certificate: x509.Certificate) -> str:
    return "CA" if is_ca(certificate) else "RA"


def _validity(certificate: x509.Certificate, now: datetime) -> str:
    if now < certificate.not_valid_before_utc:
        return "NOT YET VALID"
    left = certificate.not_valid_after_utc - now
    return f"{left.days} d left" if left.total_seconds() >= 0 else "EXPIRED"


def _encryption(certificate: x509.Certificate, bundle: Bundle | None, *, by_pin: bool) -> str:
    reason = recipient_reason(certificate)
    if bundle is None or certificate not in bundle.certificates:
        return f"not for it: it is left out, because it does not chain to the CA, is not valid now or is no RA's ({reason})"
    if certificate != bundle.recipient:
        return f"not for it ({reason})"
    if by_pin:
        return f"requests would be encrypted for it, because encryption_certificate pins it ({reason})"
    equals = any(c != certificate and recipient_reason(c) == reason for c in bundle.certificates)
    return f"requests would be encrypted for it: {reason}{'; the newest of several' if equals else ''}"


def _signing(certificate: x509.Certificate, bundle: Bundle | None, *, by_pin: bool) -> str:
    if bundle is None or certificate not in bundle.certificates:
        return "its replies are refused: it is left out"
    if certificate not in bundle.signers:
        return "its replies are refused: signing_certificate pins another"
    if by_pin:
        return "it alone may sign replies, because signing_certificate pins it"
    usage = usages(certificate)
    if usage is None:
        return "may sign replies: it came with the CA's answer and chains to it, and has no key usage that says otherwise"
    if "digitalSignature" in usage:
        return "may sign replies: it came with the CA's answer and chains to it, and its key usage has digitalSignature"
    return "would be taken as signer, because it chains to the CA, but its key usage has no digitalSignature"


def certificate_warnings(certificates: Sequence[x509.Certificate], now: datetime) -> Iterator[Finding]:
    """Yield what is worrying about single certificates."""
    for certificate in certificates:
        subject = f"{_role(certificate)} {name_text(certificate.subject)}"
        left = certificate.not_valid_after_utc - now
        if left.total_seconds() < 0:
            yield Finding("expired", f"{subject} expired {-left.days} d ago")
        elif certificate.not_valid_before_utc > now:
            yield Finding("not-yet-valid", f"{subject} is not valid yet; is this machine's clock right?")
        elif left.days < _SOON_DAYS:
            yield Finding(
                "expires-soon", f"{subject} expires in {left.days} d; ask the operator what follows it"
            )
        key = engine_certificates.public_key(certificate)
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
            yield Finding(
                "weak-key", f"{subject} has an RSA key of {key.key_size} bits, fewer than {_MIN_RSA_BITS}"
            )
        if (
            certificate.signature_algorithm_oid in _WEAK_SIGNATURES
            and certificate.issuer != certificate.subject
        ):
            name = oid_name(certificate.signature_algorithm_oid)
            yield Finding("weak-signature", f"{subject} is signed with {name}")


def risks(bundle: Bundle, pinned: CaOptions) -> Iterator[Finding]:
    """Yield what may go wrong with the choice among these certificates."""
    if not can_receive(bundle.recipient):
        yield Finding(
            "no-rsa-recipient",
            f"no certificate of the CA has an RSA key to encrypt for ({described_key(engine_certificates.public_key(bundle.recipient))}): "
            "a request needs a challenge to be encrypted with, which few CAs read",
        )
    several = sum(can_receive(c) for c in bundle.certificates) > 1 or any(
        not is_ca(c) for c in bundle.certificates
    )
    if several and not (pinned.encryption_certificate and pinned.signing_certificate):
        yield Finding(
            "several-candidates",
            "several certificates could be the one to encrypt for or to sign replies, and every certificate of this CA could "
            "pose as an RA's: who can change its answers can put in his own; encryption_certificate and signing_certificate "
            "in [ca] shut that out",
        )


def pin_lines(url: str, identifier: str | None, bundle: Bundle) -> list[str]:
    """Return the lines of TOML that pin what was seen.

    Args:
        url: the CA's address.
        identifier: the CA identifier that was sent, or None.
        bundle: what a run makes of the CA's answer.
    """
    lines = ["[ca]", f"url = {json.dumps(url)}"]
    if identifier is not None:
        lines.append(f"identifier = {json.dumps(identifier)}")
    anchors = bundle.anchors
    if len(anchors) == 1:
        lines.append(_pin("fingerprint", anchors[0]))
    else:
        lines.append("fingerprint = [")
        lines += [f'  "{trust.fingerprint(c)}",  # {name_text(c.subject)}' for c in anchors]
        lines.append("]")
    signer = _signing_ra(bundle)
    if signer is not None:
        lines.append(_pin("signing_certificate", signer))
    if not is_ca(bundle.recipient):
        lines.append(_pin("encryption_certificate", bundle.recipient))
    return lines


def _pin(option: str, certificate: x509.Certificate) -> str:
    return f'{option} = "{trust.fingerprint(certificate)}"  # {name_text(certificate.subject)}'


def _signing_ra(bundle: Bundle) -> x509.Certificate | None:
    """Return the RA's certificate that is there to sign and for nothing else; only then it is certain who signs."""
    found = [
        c
        for c in bundle.certificates
        if not is_ca(c)
        and (usage := usages(c))
        and "digitalSignature" in usage
        and "keyEncipherment" not in usage
    ]
    return found[0] if len(found) == 1 else None
