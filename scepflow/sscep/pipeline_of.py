"""sscep's settings as a pipeline in TOML: what the front-end runs, and what ``scepflow import sscep`` prints.

Must never hold: a secret; one that was typed is left to whoever runs the pipeline.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from scepflow.sscep.settings import QUESTIONS, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.options import Secret
    from scepflow.sscep.ca_files import CaFiles
    from scepflow.sscep.engine import Token
    from scepflow.sscep.settings import Settings

__all__ = ["DEFAULT_IDENTIFIER", "SHORTEST_KEY_BITS", "pipeline_text", "polls"]

DEFAULT_IDENTIFIER = "CAIdentifier"
"""What sscep says in GetCACert when it is not told."""

SHORTEST_KEY_BITS = 1024
"""Of the RSA keys that a command takes: sscep took any, and a device must be able to renew away from a short one."""

_LEGACY = frozenset({"des-cbc", "blowfish-cbc", "md5"})
_SIGNER_DIGESTS = ("sha-224", "sha-384", "sha-512")
"""What the signer's own certificate may have but SHA-256; in MD5 or SHA-1 the library signs no certificate."""
_DEFAULT_INTERVAL_S = 300
_SILENCE = "120s"
"""How long sscep waits for a server that says nothing."""

_Table = dict[str, object]


def pipeline_text(
    settings: Settings,
    files: CaFiles | None = None,
    *,
    token: Token | None = None,
    min_bits: int | None = None,
) -> str:
    """Return the pipeline that does what the settings ask for.

    Args:
        settings: the command; what it lacks is lacking in the pipeline too, or has its default.
        files: the CA's certificate files; None takes ``-c`` and ``-e`` as they are written.
        token: the key on a token that ``-k`` names; None takes ``-k`` for a file.
        min_bits: the least that the RSA key in the file may have; None leaves it to the key source.
    """
    tables = {
        "ca": _ca(settings, files),
        "transport": _transport(settings),
        "key": _token_key(token) if token else _key(settings, min_bits),
        "csr": _csr(settings),
        "signer": _signer(settings, token),
        "poller": _poller(settings),
        "sink.file": _sink(settings),
    }
    return "\n".join(_lines({name: table for name, table in tables.items() if table}))


def polls(settings: Settings) -> int:
    """Return how many GetCertInitial may follow the first message: k of them while t*k < T and k <= n (Appendix C.8)."""
    count = settings.max_polls
    if settings.poll_interval_s > 0:
        count = min(count, (settings.max_poll_s - 1) // settings.poll_interval_s)
    elif settings.max_poll_s <= 0:
        count = 0
    return max(count - int(settings.resume), 0)


def _ca(settings: Settings, files: CaFiles | None) -> _Table:
    table: _Table = {"url": _url(settings)}
    if settings.operation in (Operation.GETCA, Operation.GETNEXTCA):
        identifier = DEFAULT_IDENTIFIER if settings.identifier is None else settings.identifier
        table |= {"identifier": _literal(identifier)} if identifier else {}
        if settings.operation == Operation.GETNEXTCA and settings.chain_root:
            table["certificate"] = _literal(settings.chain_root)
        return table
    if settings.operation != Operation.GETCAPS:
        table |= _certificates(settings, files)
    if settings.cipher:
        table["cipher"] = settings.cipher
    if settings.digest:
        table["digest"] = settings.digest
    if _LEGACY & {settings.cipher, settings.digest}:
        table["security"] = "legacy"
    return table


def _certificates(settings: Settings, files: CaFiles | None) -> _Table:
    signing = files.signing if files else settings.ca_file
    encryption = files.encryption if files else settings.encryption_file
    anchor = files.anchor if files else settings.ca_file
    if signing is None:
        return {}
    table: _Table = {"fetch_certificates": False}
    if anchor:
        table["certificate"] = _literal(anchor)
    table["signing_certificate"] = _path(signing)
    if encryption and encryption != signing:
        table["encryption_certificate"] = _path(encryption)
    if not anchor:
        table["relax"] = ["chain"]
    return table


def _path(name: str) -> str:
    """Return a file name that cannot be taken for a fingerprint."""
    return name if "/" in name or not re.fullmatch(r"[\sA-Fa-f0-9:shaSHA-]+", name) else f"./{name}"


def _url(settings: Settings) -> str:
    """Return the address; monitor information (-M) joins its query, which each request has."""
    url = settings.url or ""
    if settings.monitor:
        url += ("&" if "?" in url else "?") + _encoded(settings.monitor)
    return _literal(url)


def _encoded(text: str) -> str:
    """Percent-encode what no URL may have; sscep sent it as it was."""
    from urllib.parse import quote

    return quote(text, safe="%~:/?@!$&'()*+,;=-._", errors="surrogateescape")


def _transport(settings: Settings) -> _Table:
    times = {"timeout": _SILENCE, "idle_timeout": _SILENCE}
    if not settings.proxy:
        return {"use": "direct", **times}
    proxy = settings.proxy
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if not re.search(r"://[^/]*:[0-9]+/?$", proxy):
        proxy = f"{proxy.rstrip('/')}:80"
    user = {} if settings.proxy_user is None else {"user": _literal(settings.proxy_user)}
    password = _secret("password", settings.proxy_password)
    return {"use": "proxy", "url": _literal(proxy), **user, **password, **times}


def _secret(option: str, secret: Secret | None) -> _Table:
    if secret is None or secret.is_literal:
        return {}
    kind, _, value = secret.origin.partition(" ")
    return {option: {kind: value}}


def _key(settings: Settings, min_bits: int | None) -> _Table:
    if not settings.key:
        return {}
    key = {"use": "file", "path": _literal(settings.key), **_secret("passphrase", settings.passphrase)}
    return key if min_bits is None else {**key, "min_bits": min_bits}


def _token_key(token: Token) -> _Table:
    named = {"token": token.token, "slot": token.slot, "label": token.label, "id": token.id}
    return {
        "use": "pkcs11",
        "module": _literal(token.module or ""),
        **{option: value for option, value in named.items() if value is not None},
        **_secret("pin", token.pin),
    }


def _csr(settings: Settings) -> _Table:
    if settings.request:
        return {"use": "file", "path": _literal(settings.request)}
    return {
        "use": "subject",
        "subject": "CN={host.fqdn}" if settings.operation == Operation.ENROLL else "CN=-",
    }


def _signer(settings: Settings, token: Token | None) -> _Table:
    """Return whose certificate signs; sscep takes one that has expired as well."""
    passphrase = _secret("passphrase", settings.passphrase)
    if settings.operation in QUESTIONS and settings.local_certificate:
        own = _literal(settings.local_certificate)
        return {"use": "existing", "certificate": own, "allow_expired": True}
    if settings.operation == Operation.ENROLL and settings.old_certificate and settings.old_key:
        old: _Table = {"use": "existing", "certificate": _literal(settings.old_certificate)}
        if not (token and settings.old_key == settings.key):  # which is the key of [key]
            old |= {"key": _literal(settings.old_key), **passphrase}
        return old | {"allow_expired": True}
    if settings.operation != Operation.ENROLL:
        return {}
    digest = {"digest": settings.digest} if settings.digest in _SIGNER_DIGESTS else {}
    return {"use": "self-signed", **digest}


def _poller(settings: Settings) -> _Table:
    if settings.operation != Operation.ENROLL:
        return {}
    interval_s = settings.poll_interval_s if settings.poll_interval_s >= 0 else _DEFAULT_INTERVAL_S
    return {
        "use": "fixed",
        "interval": f"{interval_s}s",
        "max_time": f"{max(settings.max_poll_s, 0)}s",
        "max_count": polls(settings),
    }


def _sink(settings: Settings) -> _Table:
    """Return where the certificate goes; a question writes its answer itself, but every pipeline has a sink."""
    enrolled = settings.operation == Operation.ENROLL
    name = settings.local_certificate if enrolled else settings.output
    return {"cert": _literal(name or "certificate.pem")}


def _literal(text: str) -> str:
    """Return text in which braces stand for themselves, not for a template's field."""
    return text.replace("{", "{{").replace("}", "}}")


def _lines(tables: dict[str, _Table]) -> Iterator[str]:
    for name, table in tables.items():
        yield f"[{name}]"
        yield from (f"{key} = {_toml(value)}" for key, value in table.items())
        yield ""


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
