"""Sockets that keep to one deadline and one byte count, however slowly or endlessly the other side sends.

A socket's own timeout starts again with every byte, so a server that drips
one byte at a time holds a client for days (S-070). These sockets ask, before
each read, how much of the exchange's time is left. That costs microseconds;
a watchdog thread would cost a third of the whole request.
Must never hold: HTTP.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, cast

from urllib3.util.ssltransport import SSLTransport

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "DeadlineError",
    "Limits",
    "TimedSocket",
    "TimedTlsSocket",
    "TlsInTls",
    "TooLongError",
    "dial",
    "start_tls",
]


class DeadlineError(TimeoutError):
    """The exchange as a whole has used up its time."""


class TooLongError(Exception):
    """The other side sent more bytes than this part of the exchange may have."""


class Limits:
    """What one exchange may still use.

    Args:
        timeout_s: seconds for the exchange as a whole, starting now, more than 0.
        connect_s: seconds for each attempt to connect, TLS included, more than 0.
        idle_s: seconds of silence, more than 0.

    Attributes:
        ended: whether the other side has closed the connection before this part was read.
    """

    def __init__(self, *, timeout_s: float, connect_s: float, idle_s: float) -> None:
        self._ends_at_s = time.monotonic() + timeout_s
        self.timeout_s = timeout_s
        self.connect_s = connect_s
        self.idle_s = idle_s
        self.last_wait_s = 0.0
        self._bytes_left = 0
        self.ended = False

    @property
    def left_s(self) -> float:
        """Seconds that are left, negative when none are."""
        return self._ends_at_s - time.monotonic()

    def wait_s(self, at_most_s: float) -> float:
        """Return how long one step may wait, in seconds, more than 0.

        Raises:
            DeadlineError: no time is left.
        """
        left_s = self.left_s
        if left_s <= 0:
            raise DeadlineError
        self.last_wait_s = min(left_s, at_most_s)
        return self.last_wait_s

    def allow_bytes(self, count: int) -> None:
        """Start a part of the exchange that may receive this many bytes."""
        self._bytes_left = count
        self.ended = False

    def spend_bytes(self, count: int) -> None:
        """Count what was received.

        Raises:
            TooLongError: it was too much.
        """
        self.ended = count == 0
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise TooLongError


class TimedSocket(socket.socket):
    """A socket whose reads end with the exchange. Without limits it is an ordinary one."""

    limits: Limits | None = None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read as `socket.socket.recv` does; TLS inside TLS comes this way."""
        self._before_read()
        data = super().recv(buflen, flags)
        self._after_read(len(data))
        return data

    def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Read as `socket.socket.recv_into` does; file objects come this way."""
        self._before_read()
        count = super().recv_into(buffer, nbytes or memoryview(buffer).nbytes, flags)
        self._after_read(count)
        return count

    def hang_up(self) -> None:
        """Close at once; `close` waits for file objects, which a library may have lost."""
        number = self.detach()
        if number >= 0:
            os.close(number)

    def _before_read(self) -> None:
        if self.limits is not None:
            self.settimeout(self.limits.wait_s(self.limits.idle_s))

    def _after_read(self, count: int) -> None:
        if self.limits is not None:
            self.limits.spend_bytes(count)


class TimedTlsSocket(TimedSocket, ssl.SSLSocket):
    """The same over TLS; made by an SSLContext whose ``sslsocket_class`` it is."""


class TlsInTls(SSLTransport):
    """TLS on a socket that has TLS already."""

    def hang_up(self) -> None:
        """Close at once."""
        cast("TimedTlsSocket", self.socket).hang_up()


def dial(host: str, port: int, limits: Limits) -> TimedSocket:
    """Connect to the first address of a host that answers.

    Looking the name up cannot be interrupted; the time it takes still counts.

    Args:
        host: a name or an IP address.
        port: TCP port, 1 to 65535.
        limits: each address gets ``connect_s`` at most, all together what is left.

    Raises:
        OSError: no address answers; the last address's reason.
    """
    problem: OSError = OSError("no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = TimedSocket(family, kind, protocol)
        try:
            sock.settimeout(limits.wait_s(limits.connect_s))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.hang_up()
            problem = error
        else:
            sock.limits = limits
            return sock
    raise problem


def start_tls(sock: TimedSocket, host: str, context: ssl.SSLContext) -> TimedSocket:
    """Return the socket with TLS on it; the one given must not be used any more.

    Args:
        sock: from `dial`, perhaps with TLS already; then TLS runs inside TLS.
        host: the name or IP address that the server's certificate must be for.
        context: its ``sslsocket_class`` is `TimedTlsSocket`.

    Raises:
        OSError: the handshake failed; ssl.SSLError if TLS itself was the reason.
    """
    limits = cast("Limits", sock.limits)
    sock.settimeout(limits.wait_s(limits.connect_s))
    name = host.rstrip(".")
    if isinstance(sock, TimedTlsSocket):
        # It has the methods of a socket that are used, not its type.
        return cast("TimedSocket", TlsInTls(sock, context, server_hostname=name))
    secured = cast("TimedTlsSocket", context.wrap_socket(sock, server_hostname=name))
    secured.limits = limits
    return secured
