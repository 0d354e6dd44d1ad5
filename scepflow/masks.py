"""The secrets that a run has in its hands, hidden wherever it tells what a peer has said.

A CA may quote the challenge in a rejection, a proxy the login in a web page, and
what they say is shown, logged and kept.
Must never hold: a secret beyond the run that revealed it; or a decision.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.events import Event

    _Event = TypeVar("_Event", bound=Event)

__all__ = ["Masks"]

MASK = "***"

SHORTEST = 6
"""Characters of the shortest secret that is hidden.

A shorter one is part of ordinary words, serial numbers and fingerprints: to hide it would
spoil those, and tell the secret, for the text around a mask says what stood there.
"""

_LONGEST_SHOWN = 2000
"""Characters of the longest text that is shown of a peer's, so that no more of a secret is looked for."""

_OURS = frozenset({"pipeline", "file", "stage", "sink"})
"""Fields of events that name what the pipeline file names; no peer has a say in them."""

_TEXTS = ("message", "hint", "fail_info_text", "url")
"""Attributes of errors that may quote a peer."""


class Masks:
    """Hides the secrets it was given, in any form that a peer may send back."""

    __slots__ = ("_pattern", "_words")

    def __init__(self) -> None:
        self._words: dict[str, str] = {}  # a form, in small letters → the expression that finds it
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Hide a secret from now on, unless it has fewer than `SHORTEST` characters."""
        if len(secret) < SHORTEST:
            return
        secret = secret[:_LONGEST_SHOWN]
        found = {form.lower(): re.escape(form) for form in _forms(secret)}
        # The whole word of base64: what is before the secret in it, as in a login, shifts its letters.
        found |= {core.lower(): rf"[\w+/-]*{re.escape(core)}[\w+/=-]*" for core in _base64_cores(secret)}
        self._words |= {form: found[form] for form in found if len(form) >= SHORTEST}
        longest_first = sorted(self._words.values(), key=len, reverse=True)
        self._pattern = re.compile("|".join(longest_first), re.IGNORECASE)

    def hide(self, text: str) -> str:
        """Return text that has been through `scepflow.text.sanitise`, without the secrets.

        A secret whose end is cut off, which an ellipsis shows, is hidden as well.
        """
        if self._pattern is None:
            return text
        *parts, last = self._pattern.sub(MASK, text).split("…")
        return "…".join([*map(self._without_start, parts), last])

    def is_in(self, data: bytes) -> bool:
        """Tell whether bytes of any encoding hold a secret."""
        texts = (
            raw.decode(encoding, "backslashreplace")
            for raw in (data, data.replace(b"\0", b""))  # UTF-16
            for encoding in ("utf-8", "latin-1")
        )
        return self._pattern is not None and any(map(self._pattern.search, texts))

    def hide_in_event(self, event: _Event) -> _Event:
        """Return an event without the secrets."""
        told = {name: getattr(event, name) for name in event.__struct_fields__ if name not in _OURS}
        changed = {
            name: hidden
            for name, text in told.items()
            if isinstance(text, str) and (hidden := self.hide(text)) != text
        }
        return msgspec.structs.replace(event, **changed) if changed else event

    def hide_in_error(self, error: BaseException) -> None:
        """Take the secrets out of an error and of what led to it, which a traceback shows."""
        seen: set[int] = set()
        inside: BaseException | None = error
        while inside is not None and id(inside) not in seen:
            seen.add(id(inside))
            inside.args = tuple(
                self.hide(value) if isinstance(value, str) else value for value in inside.args
            )
            for name in _TEXTS:
                if isinstance(text := inside.__dict__.get(name), str):
                    setattr(inside, name, self.hide(text))
            inside = inside.__cause__ or inside.__context__

    def _without_start(self, text: str) -> str:
        """Return text that an ellipsis follows, without the start of a secret at its end."""
        small = text.lower()
        most = max(
            (
                size
                for form in self._words
                for size in range(min(len(form), len(small)), SHORTEST - 1, -1)
                if small.endswith(form[:size])
            ),
            default=0,
        )
        return text[: len(text) - most] + MASK if most else text


def _forms(secret: str) -> Iterator[str]:
    """Yield what a secret may look like in a line of text, but for base64."""
    import html
    import json
    from urllib.parse import quote, quote_plus

    plain = _bytes(secret)
    whole = sanitise(secret, limit=len(secret) * 10)
    yield from (secret, whole, " ".join(secret.split()))
    yield " ".join(re.sub(r"<[^>]*>", " ", secret).split())  # as a web page is shown
    yield plain.decode("latin-1")
    yield secret.encode("latin-1", "ignore").decode("utf-8", "backslashreplace")
    yield secret.encode("unicode_escape").decode()
    yield from (repr(secret)[1:-1], repr(plain)[2:-1])
    yield from (html.escape(secret), html.escape(secret, quote=False))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield from (quote(plain, safe=""), quote(plain), quote_plus(plain))
    yield from (plain.hex(), plain.hex(":"), plain.hex(" "))


def _bytes(secret: str) -> bytes:
    """Return a secret in UTF-8; one from the environment may have bytes that are none."""
    return secret.encode("utf-8", "backslashreplace")


def _base64_cores(secret: str) -> Iterator[str]:
    """Yield the letters of base64 that the secret alone decides, whatever is before and after it."""
    from base64 import b64encode, urlsafe_b64encode

    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            letters = encode(bytes(before) + _bytes(secret)).decode("ascii").rstrip("=")
            yield letters[(before * 4 + 2) // 3 : -1]
