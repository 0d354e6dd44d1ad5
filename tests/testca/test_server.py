from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import threading
import tomllib
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine.exchange import HttpResponse
from scepflow.testca.server import announcement, serve, serve_forever


@dataclass
class FakeResponder:
    """Answers with what it was sent, and remembers it."""

    authority: object = None
    knobs: object = field(default_factory=lambda: SimpleNamespace(challenge=None, behave=()))
    status: int = 200
    seen: list = field(default_factory=list)

    def handle(self, request):
        self.seen.append(request)
        return HttpResponse(
            status=self.status, headers={"content-type": "text/plain"}, body=request.body or b"hello"
        )


@pytest.fixture
def responder():
    return FakeResponder()


@pytest.fixture
def server(responder):
    with serve(responder) as listening:
        yield listening


def raw(server, *pieces, end=True):
    """Send bytes as they are; return all that comes back until the server closes."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_get_and_post_reach_the_responder_on_any_path(server, responder):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", "/any/path?operation=GetCACaps")
        assert connection.getresponse().read() == b"hello"
        connection.request("POST", "/scep?operation=PKIOperation", body=b"\x00\xff", headers={"X-Id": " 7 "})
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"\x00\xff")
    get, post = responder.seen
    assert (get.method, get.operation) == ("GET", "GetCACaps")
    assert get.url == f"http://127.0.0.1:{server.port}/any/path?operation=GetCACaps"
    assert (post.method, post.operation, post.body, post.headers["x-id"]) == (
        "POST",
        "PKIOperation",
        b"\x00\xff",
        "7",
    )


def test_the_url_names_the_port_and_a_path(server):
    assert server.url == f"http://127.0.0.1:{server.port}/scep"


def test_a_request_without_operation_is_passed_on_as_it_is(server, responder):
    raw(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert responder.seen[0].operation == ""


def test_an_old_client_gets_its_answer_and_the_end_of_the_connection(server):
    answer = raw(server, b"GET /?operation=GetCACaps HTTP/1.0\r\n\r\n", end=False)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, id="chunked body"
        ),
        pytest.param(b"POST / HTTP/1.1\r\n\r\n", 411, id="no Content-Length"),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", 411, id="both"
        ),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, id="negative length"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", 413, id="too long"),
        pytest.param(
            b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", 417, id="expect"
        ),
        pytest.param(b"PUT / HTTP/1.1\r\n\r\n", 405, id="method"),
        pytest.param(b"GET / HTTP/2\r\n\r\n", 505, id="version"),
        pytest.param(b"nonsense\r\n\r\n", 505, id="nonsense"),
        pytest.param(b"GET /" + b"a" * 65536, 414, id="long line"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431, id="many headers"),
    ],
)
def test_what_a_careful_client_never_sends_is_refused(server, responder, request_bytes, status):
    """C-132: a client that starts to send it is noticed."""
    answer = raw(server, request_bytes)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert not responder.seen


def test_a_body_that_ends_early_is_not_answered(server, responder):
    assert raw(server, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort") == b""
    assert not responder.seen


def test_a_status_without_a_name_is_sent_all_the_same(responder):
    responder.status = 299
    with serve(responder) as server:
        assert raw(server, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 299 -\r\n")


def test_leaving_the_context_ends_idle_connections_and_frees_the_port(responder):
    with serve(responder) as server:
        idle = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
    with closing(idle):
        assert idle.recv(1) == b""
    with serve(responder, port=server.port) as again:
        assert again.port == server.port


def test_a_taken_port_is_an_error(server, responder):
    with pytest.raises(OSError, match="in use"), serve(responder, port=server.port):
        pass


def test_https_shows_the_certificate_that_the_test_ca_issued(responder, authority, now):
    """A client that trusts ca.pem alone gets through, one that does not is turned away."""
    credential = authority.tls_credential("127.0.0.1", now=datetime.now(UTC))
    trusting = ssl.create_default_context(cadata=authority.certificate.public_bytes(Encoding.PEM).decode())
    with serve(responder, tls=credential) as server:
        assert server.url.startswith("https://127.0.0.1:")
        with closing(
            http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=trusting)
        ) as connection:
            connection.request("GET", "/?operation=GetCACaps")
            assert connection.getresponse().read() == b"hello"
        stranger = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10)
        with closing(stranger), pytest.raises(ssl.SSLCertVerificationError):
            stranger.request("GET", "/")


def test_serving_forever_announces_once_the_port_listens(authority, responder):
    """The announcement arrives when a client can already connect; an interruption frees the port."""
    responder.authority = authority
    heard = []

    def announce(text):
        heard.append(text)
        url = next(line for line in text.splitlines() if line.startswith("url ="))
        port = int(url.rpartition(":")[2].partition("/")[0])
        with closing(socket.create_connection(("127.0.0.1", port), timeout=10)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serve_forever(responder, announce=announce)
    assert len(heard) == 1


def test_serving_forever_answers_until_interrupted(authority, responder):
    responder.authority = authority
    answers = []

    def visit(port):
        answers.append(raw(SimpleNamespace(port=port), b"GET / HTTP/1.0\r\n\r\n"))
        os.kill(os.getpid(), signal.SIGINT)

    def announce(text):
        port = int(text.rpartition("http://127.0.0.1:")[2].partition("/")[0])
        threading.Thread(target=visit, args=(port,)).start()

    with pytest.raises(KeyboardInterrupt):
        serve_forever(responder, announce=announce)
    assert answers[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("challenge", ['say "hi" \\ grüße 🔑', None])
def test_the_announcement_holds_a_pipeline_that_parses(authority, challenge):
    text = announcement("http://127.0.0.1:1/scep", authority, SimpleNamespace(challenge=challenge, behave=()))
    pipeline = tomllib.loads(text[text.index("[ca]") :])
    assert pipeline["ca"] == {
        "url": "http://127.0.0.1:1/scep",
        "fingerprint": f"sha256:{authority.fingerprint}",
    }
    assert pipeline["csr"].get("challenge") == challenge
    assert "transport" not in pipeline
    assert "NEVER FOR PRODUCTION" in text
    assert ("ANYONE" in text) == (challenge is None)
