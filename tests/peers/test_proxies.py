"""The proxy transport through tinyproxy, with a login, as a forwarder and through CONNECT."""

import os
import shutil
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from starting import free_port, started

from scepflow.engine.exchange import HttpRequest
from scepflow.errors import TransportError
from scepflow.options import PathTemplate, Secret, Template
from scepflow.stages import Run
from scepflow_bundled.transports import ProxyTransport

TINYPROXY = shutil.which("tinyproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
MESSAGE = b"\x30\x82" + bytes(range(256)) * 10

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(TINYPROXY is None, reason="apt-get install tinyproxy"),
]


class Echo(BaseHTTPRequestHandler):
    """Answers with the body it got, and remembers the headers."""

    def do_POST(self):
        self.server.seen.append(dict(self.headers))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-pki-message")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def serve(tls=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.seen = []
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def plain():
    yield from serve()


@pytest.fixture
def secure(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_certificate(tmp_path))
    yield from serve(context)


def write_certificate(directory):
    """Write a self-signed certificate for 127.0.0.1 with its key; it is its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    path = directory / "server.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    (directory / "roots.pem").write_bytes(certificate.public_bytes(pem))
    return path


@pytest.fixture(scope="module")
def tinyproxy(tmp_path_factory):
    """Give the port of a tinyproxy that wants a login."""
    directory = tmp_path_factory.mktemp("tinyproxy")
    port = free_port()
    (directory / "tinyproxy.conf").write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 20\nMaxClients 10\nAllow 127.0.0.1\n"
        f'BasicAuth svc secret\nLogFile "{directory / "log"}"\nPidFile "{directory / "pid"}"\n'
    )
    command = [TINYPROXY, "-d", "-c", directory / "tinyproxy.conf"]
    with started(command, port, directory=directory, log=directory / "out"):
        yield port


def send(url, port, directory, *, password="secret", **options):
    transport = ProxyTransport(
        url=Template(f"http://127.0.0.1:{port}"), user=Template("svc"), password=Secret(password), **options
    )
    run = Run(
        pipeline="test",
        directory=directory,
        now=lambda: datetime.now(UTC),
        random_bytes=os.urandom,
        emit=lambda event: None,
    )
    request = HttpRequest(
        method="POST",
        operation="PKIOperation",
        url=f"{url}/scep?operation=PKIOperation",
        headers={"Content-Type": "application/x-pki-message"},
        body=MESSAGE,
        max_response_bytes=65536,
    )
    with transport.connect(run) as connection:
        return connection.send(request)


@pytest.mark.parametrize("tunnel", ["auto", "always"])
def test_http_goes_through_tinyproxy_with_a_login(tinyproxy, plain, tmp_path, tunnel):
    response = send(f"http://127.0.0.1:{plain.server_port}", tinyproxy, tmp_path, tunnel=tunnel)
    assert (response.status, response.body) == (200, MESSAGE)
    assert response.content_type == "application/x-pki-message"
    assert "Proxy-Authorization" not in plain.seen[0]
    assert ("Via" in plain.seen[0]) is (tunnel == "auto")


def test_https_goes_through_tinyproxy_with_a_login_and_a_private_root(tinyproxy, secure, tmp_path):
    url = f"https://127.0.0.1:{secure.server_port}"
    response = send(url, tinyproxy, tmp_path, ca_file=PathTemplate("roots.pem"))
    assert (response.status, response.body) == (200, MESSAGE)
    assert "Proxy-Authorization" not in secure.seen[0]


@pytest.mark.parametrize("tunnel", ["auto", "always"])
def test_tinyproxy_refuses_a_wrong_login(tinyproxy, plain, tmp_path, tunnel):
    with pytest.raises(TransportError) as caught:
        send(f"http://127.0.0.1:{plain.server_port}", tinyproxy, tmp_path, password="wrong", tunnel=tunnel)
    assert caught.value.message.startswith(
        f"the proxy http://127.0.0.1:{tinyproxy} does not accept the login"
    )
    assert caught.value.status in (401, 407)
    assert not plain.seen


@pytest.mark.parametrize("tunnel", ["auto", "always"])
def test_a_server_that_is_dead_behind_tinyproxy_is_an_error_of_the_proxy(tinyproxy, tmp_path, tunnel):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    if tunnel == "auto":
        assert send(url, tinyproxy, tmp_path).status >= 500
        return
    with pytest.raises(TransportError, match="does not connect to"):
        send(url, tinyproxy, tmp_path, tunnel=tunnel)
