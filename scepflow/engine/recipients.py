"""Which of the CA's certificates requests are encrypted for, and what a certificate is fit for.

Must never hold: trust; who is asked about has been authenticated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.engine.algorithms import in_bounds
from scepflow.engine.certificates import is_ca, key_usage, public_key
from scepflow.errors import TrustError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509

__all__ = ["can_receive", "can_sign", "choose_recipient", "is_unfit", "preference", "recipient_reason"]


def choose_recipient(certificates: Sequence[x509.Certificate], now: datetime) -> x509.Certificate:
    """Choose the certificate that requests are encrypted for (Q-004, Q-011, Q-125).

    RSA keys that are valid now, ranked: RA with keyEncipherment, CA with it, RA
    without a key usage or with only dataEncipherment, CA without a key usage, any. Ties: an RA's, the newest.
    Without an RSA key the first in that order is taken, and a challenge is needed to encrypt with.

    Raises:
        TrustError: no certificate is valid now.
    """
    valid = [c for c in certificates if c.not_valid_before_utc <= now <= c.not_valid_after_utc]
    if not valid:
        raise TrustError(
            "every certificate of the CA has expired or is not valid yet", check="ca-authentication"
        )
    return min(valid, key=preference)


def preference(certificate: x509.Certificate) -> tuple[bool, int, bool, float]:
    """Return where a certificate stands in the order of `choose_recipient`, the first least."""
    begins_s = certificate.not_valid_before_utc.timestamp()
    return not can_receive(certificate), _recipient_rank(certificate), is_ca(certificate), -begins_s


def can_sign(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate's key usage lets it sign messages."""
    usage = key_usage(certificate)
    return usage is None or usage.digital_signature


def can_receive(certificate: x509.Certificate) -> bool:
    """Tell whether something can be encrypted for a certificate's key: an RSA key that can be used (S-007, S-026)."""
    key = public_key(certificate)
    return isinstance(key, rsa.RSAPublicKey) and in_bounds(key)


_UNFIT = 5  # the rank of a certificate whose key usage forbids it


def _recipient_rank(certificate: x509.Certificate) -> int:
    usage, ca = key_usage(certificate), is_ca(certificate)
    if usage is not None and usage.key_encipherment:
        return 2 if ca else 1
    if not ca and (usage is None or usage.data_encipherment):
        return 3
    return 4 if ca and usage is None else _UNFIT


def is_unfit(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate could receive, but its key usage does not allow it."""
    return can_receive(certificate) and _recipient_rank(certificate) == _UNFIT


_REASONS = {
    1: "an RA's certificate whose key usage has keyEncipherment, the first choice of five",
    2: "a CA's certificate whose key usage has keyEncipherment, the second choice of five",
    3: "an RA's certificate whose key usage says nothing against it, the third choice of five",
    4: "a CA's certificate without a key usage, the fourth choice of five",
    _UNFIT: "its key usage does not allow it, so it is taken only where nothing better came",
}


def recipient_reason(certificate: x509.Certificate) -> str:
    """Return in words where a certificate stands in the order of `choose_recipient`."""
    if not can_receive(certificate):
        return "its key cannot decrypt; only a challenge could encrypt"
    return _REASONS[_recipient_rank(certificate)]
