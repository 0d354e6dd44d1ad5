"""The bytes of HTTP answers, framed, cut, drawn out and flooded as no careful server does.

Only a server on a port sends them. Must never hold: an answer's meaning; or an end of
what is endless, which is the connection's: the client must leave.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING

from scepflow.testca.behaviour import Behaviour, WireResponse
from scepflow.testca.behaviours.statuses import ESCAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from scepflow.engine.exchange import HttpResponse
    from scepflow.testca.behaviour import Scene

__all__ = ["BEHAVIOURS"]

_ENROLLING = ("PKIOperation",)
_MUCH = bytes(64 << 10)
_TEN_GIGABYTES = 10 * 10**9
_PAUSE_S = 1.0
_END = b"\r\n\r\n"


def _parts(raw: bytes) -> tuple[bytes, bytes]:
    """Return head and body; the head ends with its empty line."""
    head, end, body = raw.partition(_END)
    return head + end, body


def _reframed(raw: bytes, *fields: str, without: str = "content-length") -> bytes:
    """Return the head with other framing fields."""
    head, _ = _parts(raw)
    lines = head.removesuffix(_END).split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(without.encode() + b":")]
    return b"\r\n".join([*kept, *(field.encode("latin-1") for field in fields), b"", b""])


def _chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


def _chunked(raw: bytes, *, size: int, extension: bytes = b"", end: bytes = b"0\r\n\r\n") -> Iterator[bytes]:
    body = _parts(raw)[1]
    yield _reframed(raw, "transfer-encoding: chunked")
    yield b"".join(_chunk(body[at : at + size], extension) for at in range(0, len(body), size))
    yield end


def _until_close(raw: bytes) -> Iterator[bytes]:
    yield _reframed(raw)
    yield _parts(raw)[1]


def _old(raw: bytes) -> Iterator[bytes]:
    yield from _until_close(raw.replace(b"HTTP/1.1", b"HTTP/1.0", 1))


def _announcing(raw: bytes, *, more: int) -> Iterator[bytes]:
    body = _parts(raw)[1]
    yield _reframed(raw, f"content-length: {len(body) + more}") + body


def _announced(raw: bytes, length: str) -> Iterator[bytes]:
    yield _reframed(raw, f"content-length: {length}") + _parts(raw)[1]


def _interim(raw: bytes, *, statuses: Iterable[int]) -> Iterator[bytes]:
    for status in statuses:
        yield b"HTTP/1.1 %d Wait\r\nLink: </style.css>; rel=preload\r\n\r\n" % status
    yield raw


def _started(raw: bytes, start: bytes, more: bytes) -> Iterator[bytes]:
    """Send the status line and what follows it without end."""
    return chain([raw.partition(b"\r\n")[0] + b"\r\n" + start], repeat(more))


def _endless_body(raw: bytes) -> Iterator[bytes]:
    return chain([_reframed(raw)], repeat(_MUCH))


def _ten_gigabytes(raw: bytes) -> Iterator[bytes]:
    pieces = repeat(_MUCH, _TEN_GIGABYTES // len(_MUCH) + 1)
    return chain([_reframed(raw, f"content-length: {_TEN_GIGABYTES}")], pieces)


def _dripping(data: bytes) -> Iterator[bytes]:
    for number in data:
        yield bytes([number])
        time.sleep(_PAUSE_S)


def _drip(raw: bytes) -> Iterator[bytes]:
    head, body = _parts(raw)
    yield head
    yield from _dripping(body)


def _with_reason(raw: bytes) -> Iterator[bytes]:
    reason = ESCAPES.replace("\r", "").replace("\n", "").encode()
    yield b"HTTP/1.1 500 " + reason + b"\r\ncontent-length: 0\r\nx-" + reason + b": " + reason + _END
    del raw


def _loses_first(response: HttpResponse, scene: Scene) -> HttpResponse:
    """Answer a message once as if the line were cut behind the server: it has done what was asked for."""
    if scene.memory.served["PKIOperation"] > 1:
        return response
    return WireResponse(status=response.status, pieces=lambda _: ())


def _dropping_first(response: HttpResponse, scene: Scene) -> HttpResponse:
    if scene.memory.served["GetCACert"] > 1:
        return response
    return WireResponse(status=response.status, pieces=lambda _: ())


def _wired(
    name: str,
    summary: str,
    wire: Callable[[bytes], Iterable[bytes]],
    operations: tuple[str, ...] = _ENROLLING,
) -> Behaviour:
    return Behaviour(name=name, summary=summary, operations=operations, wire=wire)


FRAMES = (
    _wired("chunked", "sends everything in chunks", partial(_chunked, size=1000), ()),
    _wired("chunked-bytewise", "sends its replies in chunks of one byte", partial(_chunked, size=1)),
    _wired(
        "chunked-without-end",
        "sends its replies in chunks without the last one",
        partial(_chunked, size=1000, end=b""),
    ),
    _wired(
        "chunked-excess",
        "sends another reply behind the last chunk",
        partial(_chunked, size=1000, end=b"0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ),
    _wired("until-close", "sends everything without a length, until the connection ends", _until_close, ()),
    _wired("http-1-0", "sends everything as HTTP/1.0 without a length", _old, ()),
    _wired("short-length", "announces ten bytes too few", partial(_announcing, more=-10)),
    _wired("long-length", "announces ten bytes too many", partial(_announcing, more=10)),
    _wired(
        "two-replies",
        "sends another reply behind everything it sends",
        lambda raw: [raw + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
        (),
    ),
    _wired("two-lengths", "announces two lengths", lambda raw: [_reframed(raw, "content-length: 5, 6")]),
    _wired("negative-length", "announces a negative length", lambda raw: _announced(raw, "-5")),
    _wired("worded-length", "announces a length that is no number", lambda raw: _announced(raw, "ten")),
    _wired(
        "negative-chunk",
        "sends a chunk of negative size",
        lambda raw: [_reframed(raw, "transfer-encoding: chunked") + b"-5\r\nhello\r\n0\r\n\r\n"],
    ),
    _wired("cut-body", "closes the connection in the middle of its replies", lambda raw: [raw[:-100]]),
    _wired("cut-head", "closes the connection in the head of its replies", lambda raw: [raw[:20]]),
    _wired("hang-up", "closes the connection instead of replying", lambda _: ()),
    _wired(
        "caps-hang-up", "closes the connection instead of answering GetCACaps", lambda _: (), ("GetCACaps",)
    ),
    Behaviour(
        name="loses-first",
        summary="closes the connection instead of sending its first reply, and does what was asked for",
        operations=_ENROLLING,
        answer=_loses_first,
    ),
    Behaviour(
        name="drops-first",
        summary="closes the connection instead of answering the first GetCACert",
        operations=("GetCACert",),
        answer=_dropping_first,
    ),
    _wired(
        "interim-replies",
        "sends HTTP 100, 102 and 103 before everything",
        partial(_interim, statuses=(100, 102, 103)),
        (),
    ),
    _wired(
        "many-interim-replies",
        "sends HTTP 103 six times before its replies",
        partial(_interim, statuses=[103] * 6),
    ),
    _wired(
        "switches", "answers requests with HTTP 101", lambda _: [b"HTTP/1.1 101 Switching Protocols\r\n\r\n"]
    ),
    _wired(
        "status-999",
        "answers requests with HTTP 999",
        lambda _: [b"HTTP/1.1 999 -\r\ncontent-length: 0\r\n\r\n"],
    ),
    _wired("not-http", "answers requests as an SSH server does", lambda _: [b"SSH-2.0-x\x1b[31m\r\n"]),
    _wired("escapes-in-head", "answers requests with control sequences in the head", _with_reason),
)

FLOODS = (
    _wired(
        "too-long",
        "sends replies of 1 MiB and one byte",
        lambda raw: [_reframed(raw, f"content-length: {(1 << 20) + 1}"), bytes((1 << 20) + 1)],
    ),
    _wired(
        "announces-much",
        "announces replies of 100 GB",
        lambda raw: [_reframed(raw, "content-length: 100000000000")],
    ),
    _wired("ten-gigabytes", "sends replies of 10 GB", _ten_gigabytes),
    _wired("endless", "sends replies without end", _endless_body),
    _wired(
        "endless-chunks",
        "sends chunks without end",
        lambda raw: chain([_reframed(raw, "transfer-encoding: chunked")], repeat(_chunk(_MUCH))),
    ),
    _wired(
        "endless-extensions",
        "sends chunks of one byte with long extensions, without end",
        lambda raw: chain(
            [_reframed(raw, "transfer-encoding: chunked")], repeat(_chunk(b"x", b";" + b"e" * 60_000))
        ),
    ),
    _wired(
        "endless-head",
        "sends header fields without end",
        partial(_started, start=b"", more=b"x: y\r\n" * 1000),
    ),
    _wired(
        "endless-field",
        "sends a header field without end",
        partial(_started, start=b"x: ", more=b"y" * 65536),
    ),
    _wired(
        "endless-status-line",
        "sends a status line without end",
        lambda _: chain([b"HTTP/1.1 200 "], repeat(b"x" * 65536)),
    ),
    _wired(
        "endless-interim-replies",
        "sends HTTP 100 without end",
        lambda _: repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    ),
    _wired(
        "many-fields",
        "sends replies with 200 header fields",
        lambda raw: [
            _reframed(raw, *(f"x-{number}: y" for number in range(200)), without="x") + _parts(raw)[1]
        ],
    ),
    _wired("drip", "sends the body of its replies at a byte a second", _drip),
    _wired("drip-head", "sends its replies at a byte a second, from the first", _dripping),
)

BEHAVIOURS = (*FRAMES, *FLOODS)
