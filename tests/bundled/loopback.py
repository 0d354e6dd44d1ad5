"""Servers on loopback that answer as badly as a test wants, a small proxy, and certificates for TLS."""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


@dataclass
class Received:
    """A request as it came over the wire."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def fields(self) -> dict[str, str]:
        pairs = (line.decode().partition(": ") for line in self.head.split(b"\r\n")[1:] if line)
        return {name: value for name, _, value in pairs}


@dataclass
class Server:
    """What a test knows of its server."""

    port: int
    host: str = "127.0.0.1"
    scheme: str = "http"
    received: list[Received] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def drip(self, sock, data: bytes, *, every_s: float = 0.02, most: int = 500) -> None:
        """Send one byte at a time until the client leaves."""
        for number in range(most):
            if self.stopping.wait(every_s):
                return
            sock.sendall(data[number % len(data)].to_bytes())


def reply(body: bytes = b"", *, status: int = 200, **fields: str) -> bytes:
    """Build a response; underscores in field names are hyphens."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {v}" for name, v in fields.items())]
    if "Content_Length" not in fields and "Transfer_Encoding" not in fields:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextlib.contextmanager
def serving(answer, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", answer_connect=None):
    """Run a server for a test.

    ``answer`` is bytes to send, a list of them (one for each request, the last
    one again and again), or a function that gets the socket and the Server.
    ``answer_connect`` gets the socket, the CONNECT request and the Server.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        server = Server(listener.getsockname()[1], host, "https" if tls else "http")
        workers: list[threading.Thread] = []

        def accept() -> None:
            with contextlib.suppress(OSError):  # the listener's end
                while True:
                    sock, _ = listener.accept()
                    workers.append(threading.Thread(target=handle, args=(sock,)))
                    workers[-1].start()

        def handle(sock) -> None:
            with contextlib.suppress(OSError), sock:
                sock.settimeout(5)
                with tls.wrap_socket(sock, server_side=True) if tls else sock as talking:
                    _talk(talking, server, answer, answer_connect)

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield server
        finally:
            server.stopping.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *workers):
                thread.join(10)


def _talk(sock, server: Server, answer, answer_connect) -> None:
    request = read_request(sock)
    if request is None:
        return
    server.received.append(request)
    if answer_connect is not None and request.line.startswith("CONNECT "):
        answer_connect(sock, request, server)
    elif callable(answer):
        answer(sock, server)
    else:
        answers = [answer] if isinstance(answer, bytes) else answer
        sock.sendall(answers[min(len(server.received), len(answers)) - 1])


def read_request(sock) -> Received | None:
    """Read one request; None if the client left before its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(Received(head, b"").fields.get("Content-Length", 0))
    while len(body) < length:
        body += sock.recv(65536)
    return Received(head, body)


def relay(sock, request: Received, server: Server) -> None:
    """Be a proxy that connects through, as CONNECT asks."""
    host, _, port = request.line.split()[1].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as target:
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        ways = {sock: target, target: sock}
        while not server.stopping.is_set():
            pending = getattr(sock, "pending", lambda: 0)()
            ready = [sock] if pending else select.select(list(ways), [], [], 0.05)[0]
            for side in ready:
                data = side.recv(65536)
                if not data:
                    return
                ways[side].sendall(data)


class Pki:
    """A private root, and certificates from it."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Loopback Root")])
        root = self._build(self._name, self._key, ca=True)
        self.roots = directory / "roots.pem"
        self.roots.write_bytes(root.public_bytes(PEM))

    def _build(self, subject, key, *, san=(), ca=False):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=ca,
                    crl_sign=ca,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        return builder.sign(self._key, SHA256())

    def issue(self, name: str, *, san=(), passphrase: str | None = None):
        """Write NAME.pem and NAME.key; return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(subject, key, san=san)
        protection = (
            serialization.BestAvailableEncryption(passphrase.encode())
            if passphrase
            else serialization.NoEncryption()
        )
        paths = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(PEM))
        paths[1].write_bytes(key.private_bytes(PEM, PKCS8, protection))
        return paths

    def server_context(self, *, names=("localhost",), addresses=("127.0.0.1",), ask_client=False):
        """Return a context for a server with a certificate for these names."""
        san = [
            *map(x509.DNSName, names),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
        ]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(f"server-{'-'.join([*names, *addresses])}", san=san))
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.roots)
        return context
