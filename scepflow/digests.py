"""Whether the options of stages, and the files and secrets they name, are the same as at an earlier run.

Must never hold: anything from which a secret could be had back without the salt, which is kept like a key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from scepflow.errors import ScepflowError
from scepflow.options import PathTemplate, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scepflow.pipeline.model import Pipeline
    from scepflow.stages import OutputSink

__all__ = ["asked_digest", "sink_digest"]

_LARGEST_BYTES = 1 << 20


def sink_digest(sink: OutputSink) -> str:
    """Return a digest of a sink's options, 16 hex digits; of a secret only where it comes from counts."""
    return hashlib.sha256(_canonical(sink)).hexdigest()[:16]


def asked_digest(pipeline: Pipeline, *, salt: bytes) -> str:
    """Return a digest of all that makes a request, 64 hex digits.

    Options count, and the content of the files and secrets that they name; a secret that a command
    gives counts by its command, since to ask for it may use one up.

    Args:
        pipeline: whose request.
        salt: 32 random bytes; without them the challenge cannot be guessed from the digest.
    """
    mac = hmac.new(salt, digestmod="sha256")
    for part in (
        pipeline.ca,
        pipeline.key,
        pipeline.csr,
        pipeline.signer,
        pipeline.transport,
        pipeline.renew,
    ):
        mac.update(hashlib.sha256(_canonical(part)).digest())
        for content in _contents(part, pipeline.directory):
            mac.update(hashlib.sha256(content).digest())
    for file in pipeline.ca.pinned_files.values():  # some of them are a file or a fingerprint
        mac.update(hashlib.sha256(_content(pipeline.directory / file)).digest())
    return mac.hexdigest()


def _canonical(value: Any) -> bytes:
    """Return the same bytes for the same value in every process, which the order of a set is not."""
    return json.dumps(value, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Return what JSON has no word for in another way; what no TOML file can say is written as Python shows it."""
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {"struct": type(value).__name__, "fields": fields}
    if isinstance(value, Secret):
        return {"secret": value.origin}
    if isinstance(value, set | frozenset):
        return {"set": sorted(_canonical(inner).decode() for inner in value)}
    return {"other": repr(value)}


def _contents(value: Any, directory: Path) -> Iterator[bytes]:
    """Yield what the secrets and files hold that are named somewhere in a value."""
    match value:
        case Secret():
            if not value.origin.startswith("command "):
                yield _revealed(value, directory)
        case PathTemplate():
            yield _content(directory / value)
        case msgspec.Struct():
            for name in value.__struct_fields__:
                yield from _contents(getattr(value, name), directory)
        case list() | tuple():
            for inner in value:
                yield from _contents(inner, directory)
        case Mapping():
            yield from _contents(list(value.values()), directory)


def _revealed(secret: Secret, directory: Path) -> bytes:
    if secret.file is not None and _is_stream(directory / secret.file):
        return b"a stream"
    try:
        return secret.reveal(directory).encode()
    except ScepflowError:
        return b"unreadable"


def _is_stream(path: Path) -> bool:
    """Return whether reading a file would take away what is in it, or wait for it: a FIFO, a terminal, /dev/stdin."""
    return path.exists() and not path.is_file()


def _content(path: Path) -> bytes:
    if _is_stream(path):
        return b"a stream"
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError:
        return b"unreadable"
