import socket
import ssl

import pytest

from scepflow.errors import TransportError
from scepflow_bundled.http_errors import explained
from scepflow_bundled.timed_sockets import Limits, TimedSocket
from scepflow_bundled.web_addresses import parse_address


def make_limits():
    return Limits(timeout_s=60, connect_s=10, idle_s=15)


def test_a_socket_without_limits_is_an_ordinary_one():
    near, far = socket.socketpair()
    with far, TimedSocket(fileno=near.detach()) as sock:
        far.sendall(b"abcd")
        buffer = bytearray(2)
        assert sock.recv(2) == b"ab"
        assert sock.recv_into(buffer) == 2
        assert buffer == b"cd"
        assert sock.gettimeout() is None


def test_hanging_up_twice_closes_once():
    near, far = socket.socketpair()
    sock = TimedSocket(fileno=near.detach())
    file = sock.makefile("rb")
    sock.hang_up()
    sock.hang_up()
    assert far.recv(1) == b""
    far.close()
    file.close()


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "client_certificate"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "client_certificate"),
        ("WRONG_VERSION_NUMBER", "plain http"),
        ("RECORD_LAYER_FAILURE", "plain http"),
        (None, None),
    ],
)
def test_what_tls_says_comes_with_a_hint(reason, hint):
    error = ssl.SSLError(1, "x")
    error.reason = reason
    with (
        pytest.raises(TransportError) as caught,
        explained(parse_address("https://ca/"), limits=make_limits()),
    ):
        raise error
    assert (caught.value.hint is None) if hint is None else (hint in caught.value.hint)
