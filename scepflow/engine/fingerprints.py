"""Fingerprints of certificates as people write them; needs no cryptography, so that validation does not either.

Must never hold: a certificate.
"""

from __future__ import annotations

import re

__all__ = ["parse_fingerprint"]

_HEX_DIGITS = {"sha1": 40, "sha256": 64, "sha512": 128}


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint in the form that `trust.fingerprint` gives, such as ``sha256:`` and 64 hex digits.

    Accepts colons, spaces and both cases, with or without ``sha256:`` (C-006).

    Raises:
        ValueError: another algorithm, or not all of its hex digits (S-080: truncated prints are refused).
    """
    head, colon, tail = text.strip().lower().partition(":")
    named = head.replace("-", "") if colon else ""
    digits = re.sub(r"[\s:]", "", tail if named in _HEX_DIGITS else text.lower())
    by_length = {size: name for name, size in _HEX_DIGITS.items()}
    algorithm = named if named in _HEX_DIGITS else by_length.get(len(digits), "")
    if len(digits) != _HEX_DIGITS.get(algorithm) or not re.fullmatch(r"[0-9a-f]+", digits):
        raise ValueError(f"not a fingerprint: {text[:140]!r}")
    return f"{algorithm}:{digits}"
