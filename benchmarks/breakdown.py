"""Where the CPU of one enrollment goes: ``python -m benchmarks --profile``.

Each part is taken twice: once a round, as in an enrollment, and again at once,
the best of several in a row. The difference is no work: after a wait of some
milliseconds, as for a server, the same code takes up to twice as long and an RSA
operation does not. Cold caches would explain that; it was not measured how.
"""

from __future__ import annotations

import copy
import socket
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from benchmarks import enrollment

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.enrollment import Client
    from scepflow.engine.exchange import HttpRequest

ROUNDS = 100
REPEATS = 5

IDENTITY, REQUEST, POST, RECEIVE = "self-signed certificate", "request", "POST", "reply"
SIGN, ENCRYPT, DECRYPT = "RSA signature", "RSA encryption", "RSA decryption"
SOCKET, CHECKED, OPENED, CHAIN = "bare socket", "signature and attributes", "decryption", "chain"

RSA = {IDENTITY: (SIGN,), REQUEST: (ENCRYPT, SIGN), POST: (), RECEIVE: (DECRYPT,)}
"""The parts of an enrollment, and the RSA operations in each that no client can avoid."""

WITHIN = {POST: (SOCKET,), RECEIVE: (CHECKED, OPENED, CHAIN)}

_T = TypeVar("_T")


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    started_s = time.process_time()
    result = work()
    return result, (time.process_time() - started_s) * 1e6


class Clock:
    """Keeps the CPU time of each part, in microseconds: once a round, and the best of several in a row."""

    def __init__(self) -> None:
        self._once: defaultdict[str, list[float]] = defaultdict(list)
        self._repeated: defaultdict[str, list[float]] = defaultdict(list)

    def take(self, part: str, work: Callable[[], _T]) -> _T:
        result, us = _timed(work)
        self._once[part].append(us)
        return result

    def repeat(self, part: str, work: Callable[[], object]) -> None:
        self._repeated[part].append(min(_timed(work)[1] for _ in range(REPEATS)))

    def us(self, *parts: str) -> tuple[float, float]:
        """Return the medians of these parts together."""
        return (
            sum(statistics.median(self._once[part]) for part in parts),
            sum(statistics.median(self._repeated[part]) for part in parts),
        )


def measure() -> None:
    """Print the figures."""
    clock = Clock()
    with enrollment.client() as ready:
        ready.enroll()
        for _ in range(ROUNDS):
            _round(ready, clock)
    _report(clock)


def _round(ready: Client, clock: Clock) -> None:
    """Take one enrollment as it is, then its parts one by one."""
    identity = clock.take(IDENTITY, ready.identity)
    fresh = ready.enrollment(identity)
    sent = copy.copy(fresh)
    request = clock.take(REQUEST, lambda: ready.request(sent))
    response = clock.take(POST, lambda: ready.connection.send(request))
    asked = copy.copy(sent)
    issued = clock.take(RECEIVE, lambda: ready.receive(sent, response))

    assert asked.sent is not None
    message, channel = asked.sent, asked.channel
    cert_rep, checks = channel.reply(message, response)
    encrypted = ready.key.public_key().encrypt(bytes(16), padding.PKCS1v15())
    parts: dict[str, Callable[[], object]] = {
        IDENTITY: ready.identity,
        REQUEST: lambda: ready.request(copy.copy(fresh)),
        POST: lambda: ready.connection.send(request),
        SOCKET: lambda: _exchange(request),
        RECEIVE: lambda: ready.receive(copy.copy(asked), response),
        CHECKED: lambda: channel.reply(message, response),
        OPENED: lambda: channel.open(cert_rep, checks),
        CHAIN: lambda: channel.bundle.verifier.chain(issued.certificate, ready.run.now()),
        SIGN: lambda: ready.key.sign(bytes(16), padding.PKCS1v15(), hashes.SHA256()),
        ENCRYPT: lambda: ready.key.public_key().encrypt(bytes(16), padding.PKCS1v15()),
        DECRYPT: lambda: ready.key.decrypt(encrypted, padding.PKCS1v15()),
    }
    for part, work in parts.items():
        if part not in RSA:
            clock.take(part, work)
        clock.repeat(part, work)


def _exchange(request: HttpRequest) -> None:
    """Send the same bytes without a library, and read what comes."""
    url = urlsplit(request.url)
    head = f"POST {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
    with socket.create_connection((url.hostname, url.port)) as sock:
        sock.sendall(f"{head}Content-Length: {len(request.body)}\r\n\r\n".encode() + request.body)
        while sock.recv(1 << 16):
            pass


def _report(clock: Clock) -> None:
    print("\nclient CPU of one enrollment, microseconds, median of rounds")
    print(f"  {'':<40}{'once a round':^24}{'again at once':^24}")
    print(f"  {'':<40}{'all     RSA     own':>24}{'all     RSA     own':>24}")
    for part, operations in RSA.items():
        _row(part, clock.us(part), clock.us(*operations))
        for inner in WITHIN.get(part, ()):
            _row(
                f"  of it, alone: {inner}",
                clock.us(inner),
                clock.us(*((DECRYPT,) if inner == OPENED else ())),
            )
    whole = clock.us(*RSA)
    unavoidable = clock.us(*(operation for operations in RSA.values() for operation in operations))
    _row("together", whole, unavoidable)
    ratios = [all_us / rsa_us for all_us, rsa_us in zip(whole, unavoidable, strict=True)]
    print(f"  {'all / RSA':<40}{ratios[0]:>8.2f}{'':16}{ratios[1]:>8.2f}")


def _row(name: str, whole: tuple[float, float], rsa: tuple[float, float]) -> None:
    cells = "".join(
        f"{us:8.0f}{rsa_us:8.0f}{us - rsa_us:8.0f}" for us, rsa_us in zip(whole, rsa, strict=True)
    )
    print(f"  {name:<40}{cells}")
