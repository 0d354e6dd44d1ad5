import contextlib
import os
import socket
import ssl
import threading
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from loopback import Pki, relay, reply, serving

from scepflow import __version__
from scepflow.engine.exchange import HttpRequest
from scepflow.errors import OptionError, TransportError
from scepflow.options import Duration, PathTemplate, Secret, Template
from scepflow.stages import Run
from scepflow_bundled import scepflow_transports
from scepflow_bundled.http_connection import HttpConnection, Proxy
from scepflow_bundled.tls import TlsFiles
from scepflow_bundled.transports import DirectTransport, ProxyTransport
from scepflow_bundled.web_addresses import parse_address

MESSAGE = b"\x30\x82" + bytes(range(256)) * 10


def make_run(directory=Path()):
    return Run(
        pipeline="test",
        directory=directory,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        random_bytes=os.urandom,
        emit=lambda event: None,
    )


def get(server, target="/scep?operation=GetCACaps", *, url=None, **fields):
    fields = {"max_response_bytes": 65536, **fields}
    return HttpRequest(method="GET", operation="GetCACaps", url=url or server.url + target, **fields)


def post(server, target="/scep?operation=PKIOperation", *, url=None, **fields):
    fields = {"max_response_bytes": 65536, "headers": {"Content-Type": "application/x-pki-message"}, **fields}
    return HttpRequest(
        method="POST", operation="PKIOperation", url=url or server.url + target, body=MESSAGE, **fields
    )


def send(request, transport=None, directory=Path()):
    with (transport or DirectTransport()).connect(make_run(directory)) as connection:
        return connection.send(request)


def failure(request, transport=None, directory=Path()) -> TransportError:
    with pytest.raises(TransportError) as caught:
        send(request, transport, directory)
    return caught.value


def quick(**options) -> DirectTransport:
    return DirectTransport(
        **{"timeout": Duration("0.4s"), "idle_timeout": Duration("5s"), **options},
    )


def make_connection(*, sleep=None, proxy=None, timeout_s=10):
    pauses: list[float] = []
    connection = HttpConnection(
        timeout_s=timeout_s,
        connect_s=2,
        idle_s=2,
        tls=TlsFiles(),
        proxy=proxy,
        sleep=sleep or pauses.append,
    )
    return connection, pauses


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


# What is sent


def test_a_post_is_sent_with_the_headers_of_the_request_and_a_length():
    with serving(reply(b"ok", Content_Type="application/x-pki-message")) as server:
        send(post(server, "/certsrv/mscep/?x=%2f&operation=PKIOperation"))
    assert server.received[0].line == "POST /certsrv/mscep/?x=%2f&operation=PKIOperation HTTP/1.1"
    assert server.received[0].fields == {
        "Host": f"127.0.0.1:{server.port}",
        "User-Agent": f"scepflow/{__version__}",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Type": "application/x-pki-message",
        "Content-Length": str(len(MESSAGE)),
    }
    assert server.received[0].body == MESSAGE


def test_a_get_is_sent_without_a_body():
    with serving(reply(b"AES")) as server:
        assert send(get(server)).body == b"AES"
    assert server.received[0].line == "GET /scep?operation=GetCACaps HTTP/1.1"
    assert "Content-Length" not in server.received[0].fields


def test_an_ipv6_address_is_reached_and_written_in_brackets():
    with serving(reply(b"ok"), host="::1") as server:
        assert send(get(server)).body == b"ok"
    assert server.received[0].fields["Host"] == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    "url",
    [
        "http://ca/sc\rep",
        "http://ca/sc\x00ep",
        "http://ca/über",
        "ftp://ca/scep",
        "file:///etc/passwd",
        "http://admin:hunter2@ca/scep",
        "ca/scep",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_before_anything_is_sent(url):
    error = failure(get(None, url=url))
    assert "cannot be used" in error.message
    assert "hunter2" not in str(error)


def test_direct_does_not_look_at_the_environment(monkeypatch, closed_port):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    with serving(reply(b"ok")) as server:
        assert send(get(server)).body == b"ok"


# What comes back


@pytest.mark.parametrize("status", [200, 202, 400, 401, 403, 404, 413, 429, 500, 503])
def test_every_status_is_returned_with_its_body(status):
    with serving(reply(b"\x30\x03cms", status=status)) as server:
        response = send(post(server))
    assert (response.status, response.body) == (status, b"\x30\x03cms")


def test_header_names_come_in_lower_case():
    with serving(reply(b"ok", Content_Type="Application/X-PKI-Message; a=b")) as server:
        response = send(get(server))
    assert response.headers["content-type"] == "Application/X-PKI-Message; a=b"
    assert response.content_type == "application/x-pki-message"


@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_reply_has_an_empty_body(status):
    with serving(reply(status=status)) as server:
        assert send(get(server)).body == b""


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: x\r\n\r\n", Transfer_Encoding="chunked"),
        b"HTTP/1.0 200 OK\r\n\r\nhello world",
        b"HTTP/1.1 200\r\nContent-Length: 11\r\n\r\nhello worldEXCESS",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 11\r\n\r\nhello world",
    ],
    ids=["chunked", "until-close", "excess", "100-continue", "identity"],
)
def test_a_body_is_read_however_it_is_framed(answer):
    with serving(answer) as server:
        assert send(post(server)).body == b"hello world"


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"short", Content_Length="100"),
        reply(b"64\r\nshort", Transfer_Encoding="chunked"),
        reply(b"5\r\nhello\r\n", Transfer_Encoding="chunked"),
        reply(b"", Content_Length="1"),
    ],
)
def test_a_reply_that_is_cut_short_is_an_error_that_may_pass(answer):
    with serving(answer) as server:
        error = failure(post(server))
    assert "ended early" in error.message
    assert error.retryable


@pytest.mark.parametrize(
    "fields",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Encoding": "br, identity"},
        {"Transfer_Encoding": "gzip, chunked"},
    ],
)
def test_a_coded_reply_is_refused_undecoded(fields):
    with serving(reply(b"\x1f\x8b", **fields)) as server:
        error = failure(post(server))
    assert "which was not asked for" in error.message
    assert error.status == 200


# Bytes


@pytest.mark.parametrize("length", ["101", "99999999999"])
def test_a_reply_that_announces_too_much_is_refused(length):
    with serving(reply(b"x" * 101, Content_Length=length)) as server:
        error = failure(post(server, max_response_bytes=100))
    assert "longer than 100 bytes" in error.message
    assert not error.retryable


def test_a_reply_of_exactly_the_limit_is_read():
    with serving(reply(b"x" * 100)) as server:
        assert len(send(post(server, max_response_bytes=100)).body) == 100


def endless(start: bytes, more: bytes):
    def answer(sock, server):
        sock.sendall(start)
        for _ in range(1000):
            sock.sendall(more)

    return answer


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 65536),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 60000 + b"\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X: " + b"h" * 65000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (b"HTTP/1.1 ", b"x" * 65536),
    ],
    ids=[
        "body",
        "chunks",
        "chunk-extensions",
        "long-headers",
        "many-headers",
        "interim-replies",
        "status-line",
    ],
)
def test_an_endless_reply_is_cut_off(start, more):
    with serving(endless(start, more)) as server:
        error = failure(post(server, max_response_bytes=20_000))
    assert any(
        words in error.message for words in ("longer than 20000 bytes", "sent more than", "not HTTP")
    ), error.message
    assert not error.retryable


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\x1b[31m\r\n", "not HTTP that can be used: it starts with"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "not HTTP"),
        (reply(b"-5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked"), "negative size"),
        (reply(b"x", Content_Length="1, 2"), "not HTTP"),
        (b"", "closed the connection without a complete reply"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "unexpected HTTP status 101"),
        (reply(status=999), "unexpected HTTP status 999"),
        (reply(status=407), "407"),
    ],
)
def test_a_reply_that_is_no_use_is_named(answer, words):
    with serving(answer) as server:
        error = failure(post(server))
    assert words in error.message
    assert "\x1b" not in error.message
    assert error.url == f"{server.url}/scep"


def test_a_reply_that_comes_before_the_request_is_read_is_seen():
    def refuse(listener):
        sock, _ = listener.accept()
        with sock:
            sock.recv(1000)
            sock.sendall(reply(b"too large", status=413))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/scep"
        large = HttpRequest(
            method="POST", operation="PKIOperation", url=url, body=bytes(20_000_000), max_response_bytes=100
        )
        assert send(large).status == 413
        thread.join(10)


def resetting(*first: bytes):
    """Answer with a reset behind these bytes."""

    def answer(sock, server):
        for data in first:
            sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        sock.close()

    return answer


def test_the_status_of_a_refusal_outlives_a_reset_behind_it():
    with serving(resetting(b"HTTP/1.0 500 Unable to connect\r\n\r\n<html>")) as server:
        assert send(post(server)).status == 500


@pytest.mark.parametrize("first", [b"", b"HTTP/1.0 200 OK\r\n\r\n0"])
def test_a_server_that_resets_the_connection_is_named(first):
    with serving(resetting(first)) as server:
        error = failure(post(server))
    assert error.message == f"{server.url} closed the connection without a complete reply"
    assert error.retryable


# Time


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"],
    ids=["header", "body"],
)
def test_a_server_that_drips_is_left_at_the_deadline(data):
    def answer(sock, server):
        sock.sendall(data[:20])
        server.drip(sock, data[20:])

    with serving(answer) as server:
        error = failure(post(server), quick())
    assert error.message == f"{server.url} was not done after 0.4 s"
    assert error.retryable


def test_a_silent_server_is_left_after_the_idle_timeout():
    with serving(lambda sock, server: server.stopping.wait(5)) as server:
        error = failure(post(server), DirectTransport(idle_timeout=Duration("0.2s")))
    assert error.message == f"no answer from {server.url} within 0.2 s"
    assert error.retryable


def test_the_deadline_covers_redirects():
    def answer(sock, server):
        server.stopping.wait(0.15)
        sock.sendall(reply(status=302, Location="/again"))

    with serving(answer) as server:
        error = failure(get(server), quick())
    assert "was not done after 0.4 s" in error.message
    assert len(server.received) <= 3


@contextlib.contextmanager
def full_backlog():
    """Give a port whose connections are never completed."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_connecting_has_its_own_timeout():
    with full_backlog() as port:
        error = failure(
            post(None, url=f"http://127.0.0.1:{port}/scep"), DirectTransport(connect_timeout=Duration("0.1s"))
        )
    assert error.message == f"no answer from http://127.0.0.1:{port} within 0.1 s"


def resolving_to(monkeypatch, *ports):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)) for port in ports
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)


def test_the_deadline_covers_all_addresses_of_a_host(monkeypatch):
    with full_backlog() as port:
        resolving_to(monkeypatch, *[port] * 50)
        error = failure(post(None, url="http://ca.test/scep"), quick(connect_timeout=Duration("0.15s")))
    assert error.message == "http://ca.test was not done after 0.4 s"


def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch, closed_port):
    with serving(reply(b"ok")) as server:
        resolving_to(monkeypatch, closed_port, server.port)
        assert send(post(None, url="http://ca.test/scep")).body == b"ok"
    assert server.received[0].fields["Host"] == "ca.test"


@pytest.mark.parametrize(("number", "retryable"), [(socket.EAI_NONAME, False), (socket.EAI_AGAIN, True)])
def test_a_name_without_an_address_is_named(monkeypatch, number, retryable):
    def fail(*args, **kwargs):
        raise socket.gaierror(number, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = failure(post(None, url="http://ca.test/scep?operation=PKIOperation&message=MIIB"))
    assert error.message == "cannot find http://ca.test: name or service not known"
    assert error.retryable is retryable
    assert error.url == "http://ca.test/scep"


def test_a_dead_server_is_named(closed_port):
    error = failure(post(None, url=f"http://127.0.0.1:{closed_port}/scep"))
    assert error.message == f"cannot reach http://127.0.0.1:{closed_port}: connection refused"
    assert error.exit_code == 4
    assert error.retryable


def test_an_unreachable_network_is_named(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [])
    assert failure(post(None, url="http://ca.test/scep")).message == "cannot reach http://ca.test: it failed"


# Once or twice


def test_a_get_is_repeated_once():
    connection, pauses = make_connection()
    with serving([b"", reply(b"ok")]) as server:
        assert connection.send(get(server)).body == b"ok"
    assert pauses == [0.2]


def test_a_get_is_not_repeated_twice():
    connection, _ = make_connection()
    with serving(b"") as server, pytest.raises(TransportError):
        connection.send(get(server))
    assert len(server.received) == 2


def test_a_get_is_not_repeated_when_the_time_is_up():
    connection, pauses = make_connection(timeout_s=0.15)
    with serving(lambda sock, server: None) as server, pytest.raises(TransportError):
        connection.send(get(server))
    assert not pauses


def test_a_get_is_not_repeated_after_an_error_that_stays():
    connection, _ = make_connection()
    with serving(reply(b"x" * 9)) as server, pytest.raises(TransportError):
        connection.send(get(server, max_response_bytes=8))
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "answer", [b"", reply(b"busy", status=503, Retry_After="0"), reply(b"x", Content_Length="9")]
)
def test_a_post_is_sent_once_whatever_happens(answer):
    connection, pauses = make_connection()
    with serving(answer) as server, contextlib.suppress(TransportError):
        connection.send(post(server))
    assert len(server.received) == 1
    assert not pauses


@pytest.mark.parametrize("answer", [b"", reply(b"busy", status=503, Retry_After="0")])
def test_a_pki_operation_is_sent_once_even_by_get(answer):
    """The CA may have issued, or spent the challenge, before its answer was lost."""
    connection, pauses = make_connection()
    with serving(answer) as server, contextlib.suppress(TransportError):
        url = f"{server.url}/scep?operation=PKIOperation&message=MII"
        connection.send(
            HttpRequest(method="GET", operation="PKIOperation", url=url, max_response_bytes=65536)
        )
    assert len(server.received) == 1
    assert not pauses


@pytest.mark.parametrize(
    ("status", "after", "pause_s"), [(503, "3", 3), (429, "0", 0), (503, "Tue, 01 Jan 2019 00:00:00 GMT", 0)]
)
def test_a_get_waits_as_long_as_a_busy_server_asks(status, after, pause_s):
    connection, pauses = make_connection()
    with serving([reply(b"busy", status=status, Retry_After=after), reply(b"ok")]) as server:
        assert connection.send(get(server)).body == b"ok"
    assert pauses == [pause_s]


@pytest.mark.parametrize(
    "after", ["11", "1000000000", "9" * 5000, "-1", "soon", "Tue, 01 Jan 2999 00:00:00 GMT"]
)
def test_a_retry_after_that_is_long_or_senseless_is_left_to_the_caller(after):
    connection, pauses = make_connection()
    with serving(reply(b"busy", status=503, Retry_After=after)) as server:
        assert connection.send(get(server)).status == 503
    assert not pauses


def test_a_retry_after_beyond_the_deadline_is_left_to_the_caller():
    connection, pauses = make_connection(timeout_s=2)
    with serving(reply(b"busy", status=503, Retry_After="5")) as server:
        assert connection.send(get(server)).status == 503
    assert not pauses


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/scep/", "{url}/scep/"])
def test_a_get_follows_a_redirect_on_its_host(status, location):
    def answer(sock, server):
        first = len(server.received) == 1
        sock.sendall(
            reply(b"moved", status=status, Location=location.format(url=server.url))
            if first
            else reply(b"ok")
        )

    with serving(answer) as server:
        assert send(get(server)).body == b"ok"
    assert [request.line for request in server.received] == [
        "GET /scep?operation=GetCACaps HTTP/1.1",
        "GET /scep/ HTTP/1.1",
    ]


def test_three_redirects_are_followed_and_a_fourth_is_not():
    moved = reply(status=302, Location="/next")
    with serving([moved, moved, moved, reply(b"ok")]) as server:
        assert send(get(server)).body == b"ok"
    with serving(moved) as server:
        assert failure(get(server)).message == "more than 3 redirects"
    assert len(server.received) == 4


@pytest.mark.parametrize("status", [307, 308])
def test_a_post_follows_a_redirect_that_keeps_it_a_post_on_its_origin(status):
    with serving([reply(status=status, Location="/scep/"), reply(b"ok")]) as server:
        assert send(post(server)).body == b"ok"
    assert server.received[1].line == "POST /scep/ HTTP/1.1"
    assert server.received[1].body == MESSAGE


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_post_does_not_become_a_get(status):
    with serving(reply(status=status, Location="/scep/?operation=PKIOperation")) as server:
        error = failure(post(server))
    assert error.hint == f'if that is the CA, use url = "{server.url}/scep/"'
    assert error.status == status
    assert len(server.received) == 1


@pytest.mark.parametrize("make", [get, post])
def test_a_redirect_to_another_host_is_not_followed(make):
    with serving(reply(status=307, Location="http://localhost:9/scep?token=hunter2")) as server:
        error = failure(make(server))
    assert "to http://localhost:9/scep, which is not followed" in error.message
    assert 'use url = "http://localhost:9/scep"' in error.hint
    assert "hunter2" not in f"{error.message}{error.hint}"


def test_a_post_does_not_follow_to_another_port():
    with serving(reply(b"ok")) as other, serving(reply(status=307, Location=f"{other.url}/scep")) as server:
        assert "is not followed" in failure(post(server)).message
    assert not other.received


def test_an_authorization_stays_with_its_origin():
    with serving(reply(b"ok")) as other, serving(reply(status=302, Location=f"{other.url}/")) as server:
        send(get(server, headers={"Authorization": "Bearer hunter2", "X-Tenant": "a"}))
    assert server.received[0].fields["Authorization"] == "Bearer hunter2"
    assert "Authorization" not in other.received[0].fields
    assert other.received[0].fields["X-Tenant"] == "a"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "without saying where to"),
        ({"Location": ""}, "without saying where to"),
        ({"Location": "file:///etc/passwd"}, "neither http nor https"),
        ({"Location": "http://evil\x1b[31m/"}, "characters that no URL may have"),
        ({"Location": "http://user:hunter2@ca/"}, "user name"),
    ],
)
def test_a_redirect_to_nowhere_is_an_error(fields, words):
    with serving(reply(status=302, **fields)) as server:
        error = failure(get(server))
    assert words in error.message
    assert "hunter2" not in error.message
    assert "\x1b" not in error.message


def test_not_modified_is_no_redirect():
    with serving(reply(status=304, Location="/x")) as server:
        assert "without saying where to" in failure(get(server)).message


@pytest.mark.parametrize("make", [get, post])
def test_an_upgrade_to_https_on_the_same_host_is_followed(pki, make):
    with (
        serving(reply(b"ok"), tls=pki.server_context()) as secure,
        serving(reply(status=308, Location=f"{secure.url}/scep")) as server,
    ):
        assert send(make(server), DirectTransport(ca_file=PathTemplate(str(pki.roots)))).body == b"ok"
    assert len(secure.received) == 1


def test_a_redirect_from_https_to_http_is_not_followed(pki):
    with (
        serving(reply(b"ok")) as plain,
        serving(reply(status=302, Location=f"{plain.url}/"), tls=pki.server_context()) as server,
    ):
        error = failure(get(server), DirectTransport(ca_file=PathTemplate(str(pki.roots))))
    assert "from https to http" in error.message
    assert not plain.received


# TLS


def trusting(pki, **options) -> DirectTransport:
    return DirectTransport(ca_file=PathTemplate("roots.pem"), **options)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_https_with_a_private_root(pki, host):
    with serving(reply(b"ok"), tls=pki.server_context()) as server:
        url = f"https://{host}:{server.port}/scep"
        assert send(post(None, url=url), trusting(pki), pki.directory).body == b"ok"
    assert server.received[0].fields["Host"] == f"{host}:{server.port}"


def test_a_host_with_a_final_dot_is_looked_up_with_it_and_verified_without(pki, monkeypatch):
    with serving(reply(b"ok"), tls=pki.server_context(names=["ca.test"])) as server:
        resolving_to(monkeypatch, server.port)
        assert send(post(None, url="https://ca.test./scep"), trusting(pki), pki.directory).body == b"ok"


def test_a_certificate_from_an_unknown_root_is_refused(pki):
    with serving(reply(b"ok"), tls=pki.server_context()) as server:
        error = failure(post(server))
    assert f"the TLS certificate of {server.url} is not accepted: " in error.message
    assert "ca_file" in error.hint
    assert not error.retryable
    assert not server.received


def test_a_certificate_for_another_name_is_refused(pki):
    with serving(reply(b"ok"), tls=pki.server_context(names=["other.test"], addresses=[])) as server:
        error = failure(post(server), trusting(pki), pki.directory)
    assert "IP address mismatch" in error.message
    assert "name" in error.hint
    assert not server.received


@pytest.fixture(scope="module")
def client(pki):
    return pki.issue("client", passphrase="correct horse")


def client_options(**changes):
    options = {
        "client_certificate": PathTemplate("client.pem"),
        "client_key": PathTemplate("client.key"),
        "client_key_passphrase": Secret("correct horse"),
    }
    return options | changes


@pytest.mark.usefixtures("client")
def test_a_client_certificate_with_an_encrypted_key_is_shown(pki):
    with serving(reply(b"ok"), tls=pki.server_context(ask_client=True)) as server:
        assert send(post(server), trusting(pki, **client_options()), pki.directory).body == b"ok"


def test_a_client_certificate_may_have_its_key_in_the_same_file(pki):
    paths = pki.issue("both")
    (pki.directory / "together.pem").write_bytes(b"".join(path.read_bytes() for path in paths))
    with serving(reply(b"ok"), tls=pki.server_context(ask_client=True)) as server:
        transport = trusting(pki, client_certificate=PathTemplate("together.pem"))
        assert send(post(server), transport, pki.directory).body == b"ok"


def test_a_server_that_wants_a_client_certificate_is_named(pki):
    with serving(reply(b"ok"), tls=pki.server_context(ask_client=True)) as server:
        error = failure(post(server), trusting(pki), pki.directory)
    assert f"TLS with {server.url} failed" in error.message or "closed the connection" in error.message
    assert not server.received


def test_a_port_that_speaks_plain_http_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def talk():
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(reply(b"plain", status=400))

        thread = threading.Thread(target=talk)
        thread.start()
        error = failure(post(None, url=f"https://127.0.0.1:{port}/scep"))
        thread.join(10)
    assert "TLS with" in error.message
    assert error.hint == "that port may speak plain http"


def test_a_server_with_an_old_tls_is_refused(pki):
    context = pki.server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(reply(b"ok"), tls=context) as server:
        assert send(post(server), trusting(pki), pki.directory).body == b"ok"
        error = failure(post(server), trusting(pki, tls_minimum="1.3"), pki.directory)
    assert "TLS with" in error.message


def test_a_server_that_is_silent_in_the_handshake_is_left():
    with silence() as port:
        error = failure(
            post(None, url=f"https://127.0.0.1:{port}/scep"),
            DirectTransport(connect_timeout=Duration("0.2s")),
        )
    assert error.message == f"no answer from https://127.0.0.1:{port} within 0.2 s"


@contextlib.contextmanager
def silence():
    """Give a port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=5) as listener:
        yield listener.getsockname()[1]


def test_a_server_that_drips_over_tls_is_left_at_the_deadline(pki):
    with serving(
        lambda sock, server: server.drip(sock, b"HTTP/1.1 200 OK\r\n"), tls=pki.server_context()
    ) as server:
        error = failure(post(server), quick(ca_file=PathTemplate(str(pki.roots))))
    assert "was not done after 0.4 s" in error.message


# Files and secrets


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("options", "where", "words"),
    [
        ({"ca_file": PathTemplate("missing.pem")}, "ca_file", "No such file"),
        ({"ca_file": PathTemplate("empty.pem")}, "ca_file", "no PEM certificate"),
        (
            client_options(client_certificate=PathTemplate("missing.pem")),
            "client_certificate",
            "No such file",
        ),
        (client_options(client_key=PathTemplate("missing.key")), "client_key", "No such file"),
        (client_options(client_key=PathTemplate("stranger.key")), "client_key", "not the certificate's"),
        (client_options(client_certificate=PathTemplate("empty.pem")), "client_key", "must be in PEM"),
        (client_options(client_key=None, client_key_passphrase=None), "client_certificate", "must be in PEM"),
        (client_options(client_key_passphrase=None), "client_key", "the client key is encrypted"),
        (client_options(client_key_passphrase=Secret("hunter2")), "client_key", "does not open the key"),
        (client_options(client_key_passphrase=Secret("hunter2" * 1000)), "client_key_passphrase", "too long"),
        (client_options(client_key_passphrase=Secret({"file": "nothing"})), "", "cannot read the secret"),
    ],
)
def test_check_finds_files_that_cannot_be_used(pki, options, where, words):
    (pki.directory / "empty.pem").write_bytes(b"")
    if not (pki.directory / "stranger.key").exists():
        pki.issue("stranger")
    with pytest.raises(OptionError) as caught:
        DirectTransport(**options).check(make_run(pki.directory))
    assert words in caught.value.message
    assert caught.value.where == where
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.usefixtures("client")
def test_check_accepts_what_works_and_sends_nothing(pki):
    trusting(pki, **client_options()).check(make_run(pki.directory))
    DirectTransport().check(make_run())
    proxy(8888, password=Secret("x")).check(make_run())


def test_check_reads_the_password_of_the_proxy(tmp_path):
    with pytest.raises(OptionError, match="file nothing"):
        proxy(8888, password=Secret({"file": "nothing"})).check(make_run(tmp_path))


# Proxies


def proxy(port, *, scheme="http", **options) -> ProxyTransport:
    fields = {"user": Template("svc"), "password": Secret("pa:ss wörd"), **options}
    return ProxyTransport(url=Template(f"{scheme}://127.0.0.1:{port}"), **fields)


LOGIN = "Basic c3ZjOnBhOnNzIHfDtnJk"  # svc:pa:ss wörd in UTF-8


def test_a_proxy_gets_the_whole_address_and_the_login():
    with serving(reply(b"ok")) as server:
        assert send(post(None, url="http://ca.test:8080/scep?x=1"), proxy(server.port)).body == b"ok"
    assert server.received[0].line == "POST http://ca.test:8080/scep?x=1 HTTP/1.1"
    assert server.received[0].fields["Host"] == "ca.test:8080"
    assert server.received[0].fields["Proxy-Authorization"] == LOGIN
    assert server.received[0].body == MESSAGE


def test_a_proxy_without_a_login_gets_none():
    with serving(reply(b"ok")) as server:
        send(get(None, url="http://ca.test/"), proxy(server.port, user=None, password=None))
    assert "Proxy-Authorization" not in server.received[0].fields


def test_a_user_may_have_no_password():
    with serving(reply(b"ok")) as server:
        send(get(None, url="http://ca.test/"), proxy(server.port, password=None))
    assert server.received[0].fields["Proxy-Authorization"] == "Basic c3ZjOg=="


def test_https_goes_through_connect_and_the_login_stays_with_the_proxy(pki):
    with (
        serving(b"", answer_connect=relay) as middle,
        serving(reply(b"ok"), tls=pki.server_context()) as server,
    ):
        transport = proxy(middle.port, ca_file=PathTemplate("roots.pem"))
        assert send(post(server), transport, pki.directory).body == b"ok"
    assert middle.received[0].line == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    assert middle.received[0].fields["Proxy-Authorization"] == LOGIN
    assert middle.received[0].fields["Host"] == f"127.0.0.1:{server.port}"
    assert "Proxy-Authorization" not in server.received[0].fields


def test_tunnel_always_uses_connect_for_http_too():
    with serving(b"", answer_connect=relay) as middle, serving(reply(b"ok")) as server:
        assert send(post(server), proxy(middle.port, tunnel="always")).body == b"ok"
    assert middle.received[0].line.startswith("CONNECT ")
    assert server.received[0].line == "POST /scep?operation=PKIOperation HTTP/1.1"
    assert "Proxy-Authorization" not in server.received[0].fields


@pytest.mark.parametrize("tunnel", ["auto", "always"])
def test_an_https_proxy_takes_http(pki, tunnel):
    with (
        serving(reply(b"ok")) as server,
        serving(reply(b"ok"), tls=pki.server_context(), answer_connect=relay) as middle,
    ):
        transport = proxy(middle.port, scheme="https", tunnel=tunnel, ca_file=PathTemplate("roots.pem"))
        assert send(post(server), transport, pki.directory).body == b"ok"
    assert len(middle.received) == 1
    assert len(server.received) == (1 if tunnel == "always" else 0)


@pytest.mark.usefixtures("client")
def test_an_https_proxy_takes_https_and_does_not_see_the_client_certificate(pki):
    with serving(reply(b"x" * 40_000), tls=pki.server_context(ask_client=True)) as server:
        middle_context = pki.server_context()
        middle_context.verify_mode = ssl.CERT_OPTIONAL
        middle_context.load_verify_locations(pki.roots)
        shown = []

        def connect(sock, request, middle):
            shown.append(sock.getpeercert())
            relay(sock, request, middle)

        with serving(b"", tls=middle_context, answer_connect=connect) as middle:
            transport = proxy(
                middle.port, scheme="https", ca_file=PathTemplate("roots.pem"), **client_options()
            )
            assert len(send(post(server), transport, pki.directory).body) == 40_000
    assert shown in ([None], [{}])


def test_a_server_that_drips_in_tls_inside_tls_is_left_at_the_deadline(pki):
    def drip(sock, request, middle):
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        middle.drip(sock, b"\x16\x03\x03\x3f\xff" + b"\x02" * 500)

    with serving(b"", tls=pki.server_context(), answer_connect=drip) as middle:
        transport = proxy(
            middle.port, scheme="https", ca_file=PathTemplate("roots.pem"), timeout=Duration("0.4s")
        )
        error = failure(post(None, url="https://ca.test/scep"), transport, pki.directory)
    assert error.message == "https://ca.test was not done after 0.4 s"


def test_an_https_proxy_with_an_unknown_certificate_is_named(pki):
    with serving(b"", tls=pki.server_context()) as middle:
        error = failure(post(None, url="http://ca.test/scep"), proxy(middle.port, scheme="https"))
    assert (
        f"the TLS certificate of the proxy https://127.0.0.1:{middle.port} is not accepted" in error.message
    )
    assert not middle.received


@pytest.mark.parametrize("url", ["http://ca.test/scep", "https://ca.test/scep"])
def test_a_proxy_that_wants_another_login_is_named(url):
    refused = reply(b"<html>", status=407, Proxy_Authenticate="Basic realm=x")
    with serving(refused) as middle:
        error = failure(post(None, url=url), proxy(middle.port, password=Secret("hunter2")))
    assert error.message == f"the proxy http://127.0.0.1:{middle.port} does not accept the login (407)"
    assert error.hint == "look at user and password in [transport]"
    assert error.status == 407
    assert not error.retryable
    assert "hunter2" not in f"{error.message}{error.hint}{error.url}"


@pytest.mark.parametrize("url", ["http://ca.test/scep", "https://ca.test/scep"])
def test_a_proxy_that_wants_a_login_is_named(url):
    with serving(reply(b"<html>", status=407)) as middle:
        error = failure(post(None, url=url), proxy(middle.port, user=None, password=None))
    assert error.message == f"the proxy http://127.0.0.1:{middle.port} wants a login (407)"
    assert error.hint == "set user and password in [transport]"


def test_a_401_of_tinyproxy_is_about_its_login_and_a_401_of_the_ca_is_returned():
    with serving(reply(status=401, Server="tinyproxy/1.11.1")) as middle:
        error = failure(post(None, url="http://ca.test/"), proxy(middle.port))
    assert "does not accept the login (401)" in error.message
    with serving(reply(status=401, Server="EJBCA")) as middle:
        assert send(post(None, url="http://ca.test/"), proxy(middle.port)).status == 401


@pytest.mark.parametrize(("status", "retryable"), [(403, False), (502, True), (503, True)])
def test_a_proxy_that_does_not_connect_is_named(status, retryable):
    with serving(reply(b"<html>", status=status)) as middle:
        error = failure(post(None, url="https://ca.test/scep"), proxy(middle.port))
    assert error.message == (
        f"the proxy http://127.0.0.1:{middle.port} does not connect to ca.test:443 (HTTP {status})"
    )
    assert (error.status, error.retryable) == (status, retryable)


@pytest.mark.parametrize("url", ["http://ca.test/scep", "https://ca.test/scep"])
def test_a_dead_proxy_is_named_as_the_proxy(closed_port, url):
    error = failure(post(None, url=url), proxy(closed_port))
    assert error.message == f"cannot reach the proxy http://127.0.0.1:{closed_port}: connection refused"
    assert error.url == url


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection"),
        (b"SSH-2.0\r\n", "not HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, "sent more than"),
    ],
)
@pytest.mark.parametrize("url", ["http://ca.test/scep", "https://ca.test/scep"])
def test_a_proxy_that_answers_nonsense_is_named(answer, words, url):
    with serving(answer) as middle:
        error = failure(post(None, url=url), proxy(middle.port))
    assert f"the proxy http://127.0.0.1:{middle.port}" in error.message
    assert words in error.message


def test_a_proxy_that_drips_is_left_at_the_deadline():
    with serving(lambda sock, server: server.drip(sock, b"HTTP/1.1 200 OK\r\nX: y")) as middle:
        error = failure(post(None, url="https://ca.test/scep"), proxy(middle.port, timeout=Duration("0.3s")))
    assert error.message == f"the proxy http://127.0.0.1:{middle.port} was not done after 0.3 s"


def test_hosts_of_no_proxy_are_reached_directly(closed_port):
    with serving(reply(b"ok")) as server:
        assert send(get(server), proxy(closed_port, no_proxy=("127.0.0.0/8",))).body == b"ok"
    assert "Proxy-Authorization" not in server.received[0].fields


def test_secrets_are_not_in_what_can_be_printed():
    told = Proxy(origin=parse_address("http://p").origin, authorization="Basic hunter2")
    assert "hunter2" not in repr(told)
    assert "hunter2" not in repr(TlsFiles(passphrase="hunter2"))


# Options


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"url": Template("proxy:3128")}, "url"),
        ({"url": Template("socks5://proxy")}, "url"),
        ({"url": Template("http://svc:hunter2@proxy:3128")}, "url"),
        ({"url": Template("http://proxy/hunter2")}, "url"),
        ({"password": Secret("x")}, "password"),
        ({"user": Template("a:b")}, "user"),
        ({"user": Template("a\nb")}, "user"),
        ({"no_proxy": ("10.0.0.0/99",)}, "no_proxy"),
        ({"timeout": Duration("0s")}, "timeout"),
        ({"connect_timeout": Duration("0s")}, "connect_timeout"),
        ({"idle_timeout": Duration("0s")}, "idle_timeout"),
        ({"client_key": PathTemplate("x.key")}, "client_key"),
        ({"client_key_passphrase": Secret("x")}, "client_key"),
    ],
)
def test_options_that_cannot_work_are_refused(options, where):
    with pytest.raises(OptionError) as caught:
        ProxyTransport(**{"url": Template("http://proxy:3128"), **options})
    assert caught.value.where == where
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


def test_options_come_from_toml_values():
    def convert(kind, value):
        return kind(value)

    table = {
        "use": "proxy",
        "url": "http://proxy.example.com:3128",
        "user": "svc",
        "password": {"env": "PROXY_PASSWORD"},
        "no_proxy": ["example.com"],
        "timeout": "30s",
        "tunnel": "always",
    }
    stage = msgspec.convert(table, ProxyTransport, dec_hook=convert)
    assert (stage.timeout, stage.no_proxy, stage.tunnel) == (30, ("example.com",), "always")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**table, "tunnel": "never"}, ProxyTransport, dec_hook=convert)


def test_the_transports_are_offered_by_name():
    try:
        offered = scepflow_transports()
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not there yet")
    assert {"direct", "proxy"} <= {stage.stage_name() for stage in offered}


def test_a_login_with_a_short_password_is_hidden_as_it_is_sent():
    run = make_run()
    options = {"url": "http://proxy.test:3128", "user": "svc", "password": Secret("abc")}
    with ProxyTransport(**options).connect(run):
        assert run.masks.hide(f"you sent {b64encode(b'svc:abc').decode()}") == "you sent ***"
