"""The test CA on a loopback port. For tests and demos only.

A small, strict HTTP/1.1 server: what a careful client never sends (chunked
bodies, no Content-Length, Expect) is refused, so that a client that starts to
send it is noticed (C-132). Must never hold: SCEP, or an address beyond loopback.
"""

from __future__ import annotations

import contextlib
import json
import re
import socketserver
import ssl
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.engine.exchange import HttpRequest, HttpResponse
from scepflow.testca.behaviour import WireResponse

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from scepflow.engine.identity import Credential
    from scepflow.testca.authority import Authority
    from scepflow.testca.knobs import Knobs
    from scepflow.testca.responder import Responder

__all__ = ["Server", "announcement", "serve", "serve_forever"]

_HOST = "127.0.0.1"
_MAX_LINE_BYTES = 64 * 1024
_MAX_HEADERS = 100
_MAX_BODY_BYTES = 1024 * 1024
_IDLE_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A test CA that is listening.

    Attributes:
        url: where clients find it, such as ``http://127.0.0.1:40001/scep``; any other path does as well.
        port: its TCP port, 1 to 65535.
    """

    url: str
    port: int


@contextmanager
def serve(
    responder: Responder, *, port: int = 0, path: str = "/scep", tls: Credential | None = None
) -> Iterator[Server]:
    """Serve a responder on loopback, in threads, until the context ends.

    Args:
        responder: answers the requests.
        port: TCP port, 0 for a free one.
        path: the path in the url that is given out.
        tls: key and certificate for HTTPS (`Authority.tls_credential`), or None for HTTP.

    Raises:
        OSError: the port cannot be had.
    """
    with _LoopbackServer(responder, port=port, tls=tls) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Server(url=listening.origin + path, port=listening.server_address[1])
        finally:
            listening.shutdown()
            thread.join()


def serve_forever(
    responder: Responder,
    *,
    port: int = 0,
    path: str = "/scep",
    tls: Credential | None = None,
    ca_file: Path | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve a responder on loopback until interrupted.

    Args:
        responder: answers the requests.
        port: TCP port, 0 for a free one.
        path: the path in the url that is announced.
        tls: key and certificate for HTTPS, or None for HTTP.
        ca_file: where clients find the certificate that HTTPS is trusted by; announced, not read.
        announce: told the `announcement` as soon as the port listens.

    Raises:
        OSError: the port cannot be had.
    """
    with _LoopbackServer(responder, port=port, tls=tls) as listening:
        url = listening.origin + path
        announce(announcement(url, responder.authority, responder.knobs, ca_file=ca_file))
        listening.serve_forever()


def announcement(server_url: str, authority: Authority, knobs: Knobs, *, ca_file: Path | None = None) -> str:
    """Return what a test CA says of itself: its fingerprint and a pipeline to paste.

    Args:
        server_url: where it listens.
        authority: its keys and certificates.
        knobs: how it behaves; its challenge is shown, for it protects nothing.
        ca_file: where clients find the certificate that HTTPS is trusted by, or None for HTTP.
    """
    challenge = f"challenge = {_toml(knobs.challenge)}\n" if knobs.challenge else ""
    transport = f"\n[transport]\nca_file = {_toml(str(ca_file.absolute()))}\n" if ca_file else ""
    strange = "".join(f"It {behaviour.summary}.\n" for behaviour in knobs.behave)
    envelope = "" if authority.can_decrypt else "password_envelope = true\n"
    who = "whoever knows the challenge" if knobs.challenge else "ANYONE who asks (there is no challenge)"
    return f"""\
scepflow test CA: for tests and demos only, NEVER FOR PRODUCTION
It issues certificates to {who} and keeps its keys unencrypted.
{strange}
  url          {server_url}
  fingerprint  sha256:{authority.fingerprint}

A pipeline to paste into demo.toml; then run: scepflow run demo.toml

[ca]
url = "{server_url}"
fingerprint = "sha256:{authority.fingerprint}"
{envelope}{transport}
[csr]
subject = "CN=demo.example.com"
{challenge}
[sink.file]
key = "demo.key"
cert = "demo.pem"
"""


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class _LoopbackServer(socketserver.ThreadingTCPServer):
    """Accepts connections and remembers them, so that closing it ends them all."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, responder: Responder, *, port: int, tls: Credential | None) -> None:
        self.responder = responder
        self._tls = _tls_context(tls) if tls else None
        self._connections: set[socket.socket] = set()
        super().__init__((_HOST, port), _Handler)
        self.origin = f"{'https' if tls else 'http'}://{_HOST}:{self.server_address[1]}"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls:  # the handshake happens at the first read, in the connection's own thread
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        import socket

        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


def _tls_context(credential: Credential) -> ssl.SSLContext:
    """OpenSSL reads files only: they exist for a moment, in a directory of our own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "both.pem"
        both.write_bytes(
            credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + credential.certificate.public_bytes(Encoding.PEM)
        )
        context.load_cert_chain(both)
    return context


class _RefusedError(Exception):
    """A request that the responder never sees."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.response = HttpResponse(
            status=status, headers={"content-type": "text/plain"}, body=text.encode() + b"\n"
        )


class _Handler(socketserver.StreamRequestHandler):
    """One connection: requests one after the other."""

    disable_nagle_algorithm = True
    timeout = _IDLE_S
    server: _LoopbackServer

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client went away, or never came
            while self._exchange():
                pass

    def _exchange(self) -> bool:
        """Answer one request; say whether the connection stays open."""
        try:
            request = self._read_request()
        except _RefusedError as refused:
            self.wfile.write(_encoded(refused.response, keep=False))
            return False
        if request is None:
            return False
        keep = request.headers.get("connection", "").lower() != "close"
        response = self.server.responder.handle(request)
        raw = _encoded(response, keep=keep)
        if not isinstance(response, WireResponse):
            self.wfile.write(raw)
            return keep
        for piece in response.pieces(raw):
            self.wfile.write(piece)
        return False

    def _read_request(self) -> HttpRequest | None:
        start = self._read_line()
        if not start:
            return None
        method, _, rest = start.partition(" ")
        target, _, version = rest.partition(" ")
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            raise _RefusedError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 only")
        headers = self._read_headers()
        if version == "HTTP/1.0":
            headers["connection"] = "close"
        if method not in ("GET", "POST"):
            raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "GET and POST only")
        body = self._read_body(headers) if method == "POST" else b""
        url = self.server.origin + target
        return HttpRequest(
            method="POST" if method == "POST" else "GET",
            operation=parse_qs(urlsplit(url).query).get("operation", [""])[0],
            url=url,
            headers=headers,
            body=body,
            max_response_bytes=_MAX_BODY_BYTES,
        )

    def _read_line(self) -> str:
        line = self.rfile.readline(_MAX_LINE_BYTES + 1)
        if len(line) > _MAX_LINE_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_URI_TOO_LONG, "line too long; use POST")
        return line.decode("latin-1").rstrip("\r\n")

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(_MAX_HEADERS):
            line = self._read_line()
            if not line:
                return headers
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header fields")

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if "expect" in headers:
            raise _RefusedError(HTTPStatus.EXPECTATION_FAILED, "Expect is not supported")
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers or not length:
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is required; no chunked bodies")
        if not re.fullmatch(r"[0-9]{1,18}", length):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "not a Content-Length")
        if int(length) > _MAX_BODY_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body too long")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the body ended early")
        return body


def _encoded(response: HttpResponse, *, keep: bool) -> bytes:
    """Return all in one piece: a second segment would wait for an acknowledgement."""
    headers = {
        "content-length": str(len(response.body)),
        "connection": "keep-alive" if keep else "close",
        **response.headers,
    }
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body


def _phrase(status: int) -> str:
    with contextlib.suppress(ValueError):
        return HTTPStatus(status).phrase
    return "-"
