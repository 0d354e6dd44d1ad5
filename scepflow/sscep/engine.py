"""sscep's OpenSSL engines: of them only ``pkcs11`` has a successor, the key source of that name.

What ``-k`` names on a token becomes that key source's options.
Must never hold: a PIN in a line or an error; the text of ``-k`` may have one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from scepflow.errors import OptionError
from scepflow.options import Secret
from scepflow.sscep.settings import Exit, Operation, SscepExit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepflow.sscep.settings import Settings

__all__ = [
    "Token",
    "find_token",
    "is_same_key",
    "names_token",
    "parse_key_id",
    "refuse_engine",
    "token_of",
    "without_pin",
]

_ENGINE = "pkcs11"
_KEYLESS = (Operation.GETCAPS, Operation.GETCA, Operation.GETNEXTCA)

_HEX = r"[0-9A-Fa-f]+"
_FORMS = tuple(
    re.compile(form, re.DOTALL)
    for form in (
        r"slot_(?P<slot>[0-9]{1,10})",
        rf"(?:slot_(?P<slot>[0-9]{{1,10}})-)?id_(?P<id>{_HEX})",
        r"(?:slot_(?P<slot>[0-9]{1,10})-)?label_(?P<label>.+)",
        rf"(?:(?P<slot>[0-9]{{1,10}}):)?(?P<id>{_HEX})",
    )
)
"""The key ids that engine_pkcs11 took, besides RFC 7512's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A key on a token.

    Attributes:
        module: path of the token's PKCS#11 library; None when nothing names one.
        token: label of the token, or None.
        slot: its slot, or None.
        label: label of the key, or None.
        id: id of the key in hex, an even number of digits, or None.
        pin: logs in, or None.
    """

    module: str | None = None
    token: str | None = None
    slot: int | None = None
    label: str | None = None
    id: str | None = None
    pin: Secret | None = None


def refuse_engine(settings: Settings) -> None:
    """Refuse an engine that has no successor.

    Raises:
        SscepExit: code 1.
    """
    engine = settings.engine
    if engine is not None and engine.id != _ENGINE:
        raise _refused(
            settings,
            f"OpenSSL has no engines any more, so engine {engine.id} cannot be loaded",
            "write a pipeline (`scepflow import`) whose [key] uses a key source for the token",
            "`scepflow plugins` lists the key sources that are installed",
        )


def find_token(settings: Settings) -> Token | None:
    """Return the key on a token that ``-k`` names, or None when there is no engine, or ``-k`` is a file.

    Raises:
        SscepExit: code 1; the key source is not installed, or what it needs is missing.
    """
    if not names_token(settings):
        return None
    token = token_of(settings)
    if token.module is None:
        raise _refused(
            settings,
            "engine section has no MODULE_PATH",
            f"write MODULE_PATH = … with the token's PKCS#11 library in the section of engine {_ENGINE}",
        )
    if settings.old_key is not None and not is_same_key(settings) and not _is_file(settings.old_key):
        raise _refused(
            settings,
            "the old key (-K) is not a file, and a token is asked for the new one (-k) only",
            "renew with the same key (-K as -k), or enroll without -K and -O",
        )
    if not _is_installed():
        raise _refused(
            settings,
            f"engine {_ENGINE}: the key source for tokens needs python-pkcs11, which is not installed",
            "pip install 'scepflow[pkcs11]'",
        )
    return token


def names_token(settings: Settings) -> bool:
    """Tell whether ``-k`` names a key on a token; a file of that name is used, as sscep did."""
    engine, key = settings.engine, settings.key
    if engine is None or engine.id != _ENGINE or key is None or settings.operation in _KEYLESS:
        return False
    return not _is_file(key)


def _is_file(name: str) -> bool:
    """Tell whether there is a file of that name; a URI may be longer than any."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def is_same_key(settings: Settings) -> bool:
    """Tell whether a renewal is signed with the key that it is for."""
    return settings.old_key == settings.key


def token_of(settings: Settings) -> Token:
    """Return what ``-k`` and the engine's section say, whether it is enough or not.

    Raises:
        SscepExit: code 1; ``-k`` is in no form that engine_pkcs11 took.
    """
    engine = settings.engine
    assert engine is not None, "names_token has said so"
    commands = dict(engine.commands)
    pin = engine.pin or commands.get("PIN")
    try:
        named = parse_key_id(settings.key or "")
        secret = named.pin or (Secret(pin) if pin else settings.passphrase)
    except (ValueError, OptionError):
        raise _refused(
            settings,
            "Could not load private key!",
            "the key id (-k) is none of pkcs11:token=…;object=…;id=…, slot_N-id_HEX, slot_N-label_TEXT, id_HEX,"
            " label_TEXT, N:HEX, HEX",
        ) from None
    return replace(
        named, module=engine.module_path or commands.get("MODULE_PATH") or named.module, pin=secret
    )


def parse_key_id(text: str) -> Token:
    """Return the key that an id names, in one of the forms that engine_pkcs11 took.

    Args:
        text: ``pkcs11:…`` (RFC 7512 §2.3 PKCS #11 URI Scheme Syntax), or an older form such as ``slot_0-id_45``.

    Raises:
        ValueError: it is in none of them; the text is not shown.
        OptionError: the source of the PIN cannot be used.
    """
    if text[:7].lower() == "pkcs11:":
        return _from_uri(text[7:])
    for form in _FORMS:
        if match := form.fullmatch(text):
            found = match.groupdict()
            slot = found.get("slot")
            return Token(
                slot=None if slot is None else int(slot), id=_hex(found.get("id")), label=found.get("label")
            )
    raise ValueError("not a key id")


def _hex(digits: str | None) -> str | None:
    if digits is None:
        return None
    return bytes.fromhex(digits.zfill(2)).hex()


def _from_uri(text: str) -> Token:
    """Read what comes after the scheme; what only describes token or library tells no more than the label does."""
    path, _, query = text.partition("?")
    found, asked = _attributes(path.split(";")), _attributes(query.split("&"))
    slot, key_id = found.get("slot-id"), found.get("id")
    return Token(
        module=_text(asked.get("module-path")),
        token=_text(found.get("token")),
        slot=None if slot is None else int(slot),
        label=_text(found.get("object")),
        id=key_id.hex() if key_id else None,
        pin=_pin(asked),
    )


def _attributes(parts: Iterable[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in filter(None, parts):
        name, equals, value = part.partition("=")
        if not equals or name in found:
            raise ValueError("not an attribute")
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes | None) -> str | None:
    return value.decode() if value else None


def _pin(asked: dict[str, bytes]) -> Secret | None:
    """Return the PIN; ``pin-source`` is a file, its path or its ``file:`` URI."""
    value, source = _text(asked.get("pin-value")), _text(asked.get("pin-source"))
    if value is not None:
        return Secret(value)
    if source is None:
        return None
    return Secret({"file": re.sub(r"^file:(?://(?=/))?", "", source)})


def without_pin(key: str) -> str:
    """Return ``-k`` or ``-K`` fit to be shown: a URI may have a PIN in its query, or where it should have none."""
    if key[:7].lower() != "pkcs11:":
        return key
    return re.split(r"\?|[:;&]\s*pin-", key, maxsplit=1, flags=re.IGNORECASE)[0]


def _is_installed() -> bool:
    from importlib.util import find_spec

    return find_spec("pkcs11") is not None


def _refused(settings: Settings, *lines: str) -> SscepExit:
    return SscepExit(Exit.ERROR, stderr=tuple(f"{settings.program}: {line}" for line in lines))
