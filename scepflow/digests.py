"""Whether the options of stages, and the files and secrets they name, are the same as at an earlier run.

Must never hold: anything from which a secret could be had back without the salt, which is kept like a key.
"""

from __future__ import annotations

import hashlib
import hmac
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
    return hashlib.sha256(repr(_plain(sink)).encode()).hexdigest()[:16]


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
        mac.update(repr(_plain(part)).encode())
        for content in _contents(part, pipeline.directory):
            mac.update(hashlib.sha256(content).digest())
    return mac.hexdigest()


def _plain(part: Any) -> Any:
    if isinstance(part, msgspec.Struct):
        values = {name: _plain(getattr(part, name)) for name in part.__struct_fields__}
        return (type(part).__name__, values)
    return part.origin if isinstance(part, Secret) else part


def _contents(part: msgspec.Struct, directory: Path) -> Iterator[bytes]:
    for name in part.__struct_fields__:
        value = getattr(part, name)
        if isinstance(value, Secret) and not value.origin.startswith("command "):
            try:
                yield value.reveal(directory).encode()
            except ScepflowError:
                yield b"unreadable"
        elif isinstance(value, PathTemplate):
            yield _content(directory / value)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError:
        return b"unreadable"
