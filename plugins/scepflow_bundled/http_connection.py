"""HTTP/1.1 exchanges with a SCEP server: one new connection for each, bounded in time, bytes and redirects.

`Connection: close` costs about 0.1 ms, and in return no POST, which must
never be sent twice, can meet a connection that the server has just dropped
(IIS closes after errors, Q-088), and no reply can be mistaken for another's (S-073).
Must never hold: an option of a stage, or a decision about what a status means for SCEP.
"""

from __future__ import annotations

import http.client
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from urllib3.connection import HTTPConnection
from urllib3.exceptions import InvalidHeader, ProtocolError
from urllib3.util import Retry

from scepflow import __version__
from scepflow.engine.exchange import HttpResponse
from scepflow.errors import TransportError
from scepflow.text import sanitise
from scepflow_bundled.http_errors import explained, proxy_refusal
from scepflow_bundled.timed_sockets import Limits, dial, start_tls
from scepflow_bundled.web_addresses import BadAddressError, Origin, WebAddress, is_exempt, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from urllib3.response import HTTPResponse

    from scepflow.engine.exchange import HttpRequest
    from scepflow_bundled.timed_sockets import TimedSocket
    from scepflow_bundled.tls import TlsFiles

__all__ = ["HttpConnection", "Proxy"]

MOST_REDIRECTS = 3
GET_RETRIES = 1
RETRY_PAUSE_S = 0.2
LONGEST_RETRY_AFTER_S = 10  # S-072: a longer wait is the runner's business
HEADER_BYTES = 64 * 1024  # S-033; http.client itself allows 100 fields
MOST_INTERIM_REPLIES = 5  # S-033
CHUNKING_FACTOR = 8  # bytes on the wire for each byte of a body, at most: one-byte chunks take six

_FIXED_HEADERS = {
    "User-Agent": f"scepflow/{__version__}",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        origin: where it is.
        authorization: value of Proxy-Authorization, or None.
        no_proxy: what it is not used for (`web_addresses.is_exempt`).
        tunnel_http: whether CONNECT is used for http too.
    """

    origin: Origin
    authorization: str | None = field(default=None, repr=False)
    no_proxy: Sequence[str] = ()
    tunnel_http: bool = False

    @property
    def login(self) -> dict[str, str]:
        """Header fields that only the proxy may see."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def tunnels(self, origin: Origin) -> bool:
        """Tell whether requests to an origin go through CONNECT."""
        return self.tunnel_http or origin.scheme == "https"

    def refusal(self, status: int, address: WebAddress) -> TransportError:
        """Return the error for this proxy's own answer, instead of the server's."""
        return proxy_refusal(
            status, proxy=self.origin, address=address, login_sent=self.authorization is not None
        )


class _FinalReply(http.client.HTTPResponse):
    """A reply behind the interim ones, which say nothing that is needed (RFC 9110 §15.2 Informational 1xx).

    The base class passes over 100 alone, for as many bytes as a head may have.
    """

    def begin(self) -> None:
        """Read the head of the final reply, or of 101, which nothing has asked for."""
        for _ in range(MOST_INTERIM_REPLIES + 1):
            super().begin()
            if not 102 <= self.status < 200:
                return
            self.headers = None  # type: ignore[assignment]  # as it was before the first head
        raise http.client.HTTPException(f"more than {MOST_INTERIM_REPLIES} interim replies")


class HttpConnection:
    """Sends requests for one run. Not for several threads at once.

    Args:
        timeout_s: seconds for one `send`, everything in it, more than 0.
        connect_s: seconds for each attempt to connect, and for each TLS handshake, more than 0.
        idle_s: seconds of silence, more than 0.
        tls: trust roots and client certificate.
        proxy: the proxy, or None.
        sleep: waits that many seconds before a GET is repeated.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        connect_s: float,
        idle_s: float,
        tls: TlsFiles,
        proxy: Proxy | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timeouts = {"timeout_s": timeout_s, "connect_s": connect_s, "idle_s": idle_s}
        self._tls = tls
        self._proxy = proxy
        self._sleep = sleep

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request; return the response whatever its status, redirects followed by Q-118.

        A GET is repeated once after a failure that may pass, and after 429 or 503
        with a short Retry-After. A PKIOperation is sent once, by POST or GET: it may have
        spent a challenge.

        Raises:
            TransportError: no complete response arrived, or it is one that must not be used.
        """
        limits = Limits(**self._timeouts)
        repeatable = request.method == "GET" and request.operation != "PKIOperation"
        for _ in range(GET_RETRIES if repeatable else 0):
            try:
                response = self._follow(request, limits)
            except TransportError as error:
                if not error.retryable or limits.left_s <= RETRY_PAUSE_S:
                    raise
                self._sleep(RETRY_PAUSE_S)
            else:
                pause_s = _retry_after_s(response)
                if pause_s is None or limits.left_s <= pause_s:
                    return response
                self._sleep(pause_s)
        return self._follow(request, limits)

    def _follow(self, request: HttpRequest, limits: Limits) -> HttpResponse:
        try:
            address = parse_address(request.url)
        except BadAddressError as error:
            raise TransportError(f"the address of the server cannot be used: {error}") from None
        headers = dict(request.headers)
        for _ in range(1 + MOST_REDIRECTS):
            response = self._exchange(request, address, headers, limits)
            if not 300 <= response.status < 400:
                return response
            before, address = address, _redirected(request, address, response)
            if before.origin != address.origin:  # S-071
                headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        raise TransportError(
            f"more than {MOST_REDIRECTS} redirects", url=address.shown, status=response.status
        )

    def _exchange(
        self, request: HttpRequest, address: WebAddress, headers: dict[str, str], limits: Limits
    ) -> HttpResponse:
        origin, proxy = address.origin, self._proxy_for(address.origin)
        forwarder = proxy if proxy and not proxy.tunnels(origin) else None
        fields = {
            "Host": origin.authority,
            **_FIXED_HEADERS,
            **headers,
            **(forwarder.login if forwarder else {}),
        }
        spoken_to = forwarder.origin if forwarder else None
        with self._open(address, proxy, limits) as sock, explained(address, limits=limits, proxy=spoken_to):
            limits.allow_bytes(HEADER_BYTES)
            connection = HTTPConnection(origin.host, origin.port, timeout=limits.wait_s(limits.idle_s))
            connection.sock = sock
            connection.response_class = _FinalReply
            with suppress(BrokenPipeError, ConnectionResetError):  # its answer may have come before
                connection.request(
                    request.method,
                    f"{origin}{address.target}" if forwarder else address.target,
                    body=request.body if request.method == "POST" else None,
                    headers=fields,
                    preload_content=False,
                    decode_content=False,
                )
            reply = connection.getresponse()
            if limits.ended:  # http.client takes a head that is cut for a whole one
                raise http.client.IncompleteRead(b"")
            if forwarder and _wants_proxy_login(reply):
                raise forwarder.refusal(reply.status, address)
            limits.allow_bytes(HEADER_BYTES + CHUNKING_FACTOR * request.max_response_bytes)
            return _read(reply, address, request.max_response_bytes)

    def _proxy_for(self, origin: Origin) -> Proxy | None:
        if self._proxy is None or is_exempt(origin.host, self._proxy.no_proxy):
            return None
        return self._proxy

    @contextmanager
    def _open(self, address: WebAddress, proxy: Proxy | None, limits: Limits) -> Iterator[TimedSocket]:
        """Give a socket on which the request can be written: connected, tunnelled, with TLS."""
        first = proxy.origin if proxy else address.origin
        limits.allow_bytes(HEADER_BYTES)
        with explained(address, limits=limits, proxy=proxy.origin if proxy else None):
            sock = dial(first.host, first.port, limits)
        try:
            if proxy is not None:
                with explained(address, limits=limits, proxy=proxy.origin):
                    if first.scheme == "https":
                        sock = start_tls(sock, first.host, self._tls.for_proxy)
                    if proxy.tunnels(address.origin):
                        _tunnel(sock, address, proxy)
            if address.origin.scheme == "https":
                with explained(address, limits=limits):
                    sock = start_tls(sock, address.origin.host, self._tls.for_server)
            yield sock
        finally:
            sock.hang_up()


def _tunnel(sock: TimedSocket, address: WebAddress, proxy: Proxy) -> None:
    """Ask a proxy to connect us through (RFC 9110 §9.3.6 CONNECT)."""
    place = address.origin.host_and_port
    fields = {"Host": place, "User-Agent": _FIXED_HEADERS["User-Agent"], **proxy.login}
    lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    reply = _FinalReply(sock, method="CONNECT")
    with closing(reply):
        reply.begin()
        if not 200 <= reply.status < 300:
            raise proxy.refusal(reply.status, address)


def _read(reply: HTTPResponse, address: WebAddress, most_bytes: int) -> HttpResponse:
    """Return the reply with its body; refuse one that is coded, too long or cut short."""
    headers = {name.lower(): value for name, value in reply.headers.itermerged()}
    if 300 <= reply.status < 400:
        return HttpResponse(status=reply.status, headers=headers)
    problem = _refuse(reply.status, headers)
    body = b"" if problem else _read_body(reply, most_bytes)
    if len(body) > most_bytes:
        problem = f"its reply is longer than {most_bytes} bytes"
    elif not problem and reply.length_remaining:
        raise http.client.IncompleteRead(body, reply.length_remaining)
    if problem:
        raise TransportError(f"{address.origin}: {problem}", url=address.shown, status=reply.status)
    return HttpResponse(status=reply.status, headers=headers, body=body)


def _read_body(reply: HTTPResponse, most_bytes: int) -> bytes:
    """Return the body, or one byte more than allowed."""
    try:
        return reply.read(most_bytes + 1, decode_content=False)
    except ValueError:
        raise http.client.HTTPException("a chunk has a negative size") from None
    except ProtocolError as error:
        # Who refuses a POST without reading its body resets the connection behind the
        # answer (tinyproxy 1.11 does). The status is the news, its page may be lost.
        if reply.status >= 400 and isinstance(error.__cause__, ConnectionResetError):
            return b""
        raise


def _wants_proxy_login(reply: HTTPResponse) -> bool:
    """Tell whether a proxy refused its login; tinyproxy says 401 to a wrong one, as servers do."""
    ours = reply.headers.get("server", "").lower().startswith("tinyproxy")
    return reply.status == http.client.PROXY_AUTHENTICATION_REQUIRED or (
        reply.status == http.client.UNAUTHORIZED and ours
    )


def _refuse(status: int, headers: dict[str, str]) -> str | None:
    """Say what forbids to read a body, if anything does."""
    if status < 200 or status > 599:
        return f"unexpected HTTP status {status}"
    if status == http.client.PROXY_AUTHENTICATION_REQUIRED:
        return "a proxy on the way wants a login (407)"
    for name, plain in (
        ("content-encoding", ("identity", "")),
        ("transfer-encoding", ("chunked", "identity", "")),
    ):
        if headers.get(name, "").strip().lower() not in plain:  # S-032: nothing is decompressed
            return f"its reply has {name} {sanitise(headers[name], limit=40)}, which was not asked for"
    length = headers.get("content-length", "0")
    if not length.replace(",", "").replace(" ", "").isdecimal():  # S-073: http.client would read to the end
        return f"its reply has content-length {sanitise(length, limit=40)}, which is no length"
    return None


def _redirected(request: HttpRequest, here: WebAddress, response: HttpResponse) -> WebAddress:
    """Return where a redirect leads, if this request may go there (S-071).

    Raises:
        TransportError: it may not.
    """

    def refuse(reason: str, hint: str | None = None) -> TransportError:
        return TransportError(
            f"{here.origin} redirects the {request.method} ({response.status}) {reason}",
            url=here.shown,
            status=response.status,
            hint=hint,
        )

    location = response.headers.get("location")
    if response.status not in (301, 302, 303, 307, 308) or not location:
        raise refuse("without saying where to")
    try:
        there = here.resolve(location)
    except BadAddressError as error:
        raise refuse(f"to an address that cannot be used: {error}") from None
    if here.origin.scheme == "https" and there.origin.scheme == "http":
        raise refuse(f"from https to {there.shown}, which is not followed")
    upgrade = (here.origin.scheme, there.origin.scheme) == ("http", "https")
    same_host = here.origin.host == there.origin.host
    may_follow = same_host and (
        request.method == "GET"
        or (response.status in (307, 308) and (upgrade or here.origin == there.origin))
    )
    if not may_follow:
        raise refuse(
            f"to {there.shown}, which is not followed", f'if that is the CA, use url = "{there.shown}"'
        )
    return there


def _retry_after_s(response: HttpResponse) -> float | None:
    """Return how long a busy server wants a GET to wait, in seconds, or None to give its answer as it is."""
    if response.status not in (429, 503) or "retry-after" not in response.headers:
        return None
    try:
        pause_s = Retry().parse_retry_after(response.headers["retry-after"])
    except (InvalidHeader, ValueError, OverflowError):
        return None
    return pause_s if pause_s <= LONGEST_RETRY_AFTER_S else None
