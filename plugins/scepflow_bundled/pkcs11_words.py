"""A PKCS#11 token's errors, keys and choices in words; the texts of its errors are mostly empty.

Must never hold: a PIN, or a label that is not sanitised.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from pkcs11 import Attribute, PKCS11Error

from scepflow.errors import KeySourceError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["error_text", "explained", "first_of", "key_text", "match_text", "read_attribute"]

_LISTED = 10


@contextmanager
def explained(
    what: str,
    *,
    only: tuple[type[PKCS11Error], ...] = (PKCS11Error,),
    but: tuple[type[PKCS11Error], ...] = (),
) -> Iterator[None]:
    """Turn a token's error into ours; those of ``but``, and all that are not of ``only``, pass."""
    try:
        yield
    except but:
        raise
    except only as error:
        raise KeySourceError(f"{what}: {error_text(error)}", kind="key source", name="pkcs11") from None


def error_text(error: PKCS11Error) -> str:
    """Return such as ``device removed``; the texts of these errors are mostly empty."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


def match_text(**options: object) -> str:
    """Return such as `` label "gw1" and id "01"`` for the options that are given; else nothing."""
    named = [f'{option} "{value}"' for option, value in options.items() if value is not None]
    return f" {' and '.join(named)}" if named else ""


def key_text(key: Any) -> str:
    """Return such as ``"gw1" (id 01, RSA)``."""
    label, key_id = read_attribute(key, Attribute.LABEL), read_attribute(key, Attribute.ID)
    kind = read_attribute(key, Attribute.KEY_TYPE)
    return f'"{sanitise(label or "")}" (id {(key_id or b"").hex() or "none"}, {"another kind" if kind is None else kind.name})'


def read_attribute(key: Any, attribute: Attribute) -> Any:
    """Return an attribute, or None where the token has none or none that can be read."""
    try:
        return key[attribute]
    except (PKCS11Error, ValueError, KeyError):
        return None


def first_of(items: Iterable[str]) -> str:
    """Return the items behind one another, of many the first."""
    first = list(islice(items, _LISTED + 1))
    return ", ".join(first[:_LISTED]) + (", …" if len(first) > _LISTED else "")
