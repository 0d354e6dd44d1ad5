"""A folder with a key and a request, and a CA on loopback whose every answer a test may write itself.

What the tests of the reference (sscep's own behaviour, row by row) share.
"""

from __future__ import annotations

import base64
import io
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.engine.algorithms import Digest
from scepflow.engine.envelopes import open_envelope
from scepflow.engine.exchange import HttpRequest, HttpResponse
from scepflow.engine.messages import parse_request
from scepflow.registry import Registry
from scepflow.sscep.front import run_sscep
from scepflow.state import StateDirectory
from scepflow.system import System
from scepflow.testca import Authority, Knobs, Responder
from scepflow.testca.shapes import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


LONG_AGO = datetime.now(UTC) - timedelta(days=1)
NEEDED = {
    "getcaps": "-u",
    "getca": "-c -u",
    "getnextca": "-c -C -u",
    "enroll": "-c -k -r -l -u",
    "getcert": "-c -l -s -w -k -u",
    "getcrl": "-c -l -w -k -u",
}
"""Operation → its required options in the order in which sscep reports a missing one (Appendix B)."""


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(thing) -> bytes:
    """Return a key, certificate or request in PEM."""
    if isinstance(thing, rsa.RSAPrivateKey):
        return thing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return thing.public_bytes(Encoding.PEM)


def new_request(key: rsa.RSAPrivateKey, subject: str = "CN=gw.example.com") -> x509.CertificateSigningRequest:
    name = x509.Name.from_rfc4514_string(subject)
    return x509.CertificateSigningRequestBuilder(name).sign(key, Digest.SHA256.hash())


@dataclass
class Ca:
    """The test CA, except for the operations of which a test changes the answer; remembers what it was asked."""

    responder: Responder
    changes: dict[str, Callable[[HttpResponse], HttpResponse]] = field(default_factory=dict)
    seen: list[HttpRequest] = field(default_factory=list)

    def handle(self, request: HttpRequest) -> HttpResponse:
        self.seen.append(request)
        response = self.responder.handle(request)
        return self.changes.get(request.operation, lambda unchanged: unchanged)(response)

    def forget(self) -> None:
        self.seen.clear()
        self.responder.requests.clear()

    @property
    def operations(self) -> list[str]:
        """What it was asked, in order; a pki_message by the number of its type."""
        return [
            str(int(parse_request(message_of(request)).message_type))
            if request.operation == "PKIOperation"
            else request.operation
            for request in self.seen
        ]

    @property
    def types(self) -> list[int]:
        return [int(request.message_type) for request in self.responder.requests]

    def contents(self) -> list[bytes]:
        """Return what was inside each pki_message."""
        encryption = self.responder.authority.encryption
        return [open_envelope(request.envelope, encryption) for request in self.responder.requests]

    def alter(self, change: Callable[[Shape], Shape | bytes]) -> None:
        """Change each reply to a pki_message: its attributes, its signer, or all of it."""

        def changed(response: HttpResponse) -> HttpResponse:
            made = change(shape_of(response.body, self.responder.authority.signing))
            return answer(made if isinstance(made, bytes) else made.der())

        self.changes["PKIOperation"] = changed


def message_of(request: HttpRequest) -> bytes:
    """Return the pki_message in a POST, or in a GET's base64, which must be one without line ends."""
    if request.method == "POST":
        return request.body
    return base64.b64decode(query_of(request.url)["message"], validate=True)


def query_of(url: str) -> dict[str, str]:
    """Return the query as a server decodes it."""
    pairs = (part.partition("=") for part in urlsplit(url).query.split("&"))
    return {name: unquote(value) for name, _, value in pairs}


def answer(body: bytes, content_type: str = "application/x-pki-message", *, status: int = 200):
    return HttpResponse(status=status, headers={"content-type": content_type}, body=body)


class Said(NamedTuple):
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str


@dataclass
class Script:
    """Runs sscep commands in a folder, against a CA."""

    folder: Path
    ca: Ca
    url: str
    slept_s: list[float] = field(default_factory=list)

    def __call__(self, *words) -> Said:
        stdout, stderr = io.StringIO(), io.StringIO()
        code = run_sscep(
            [str(word) for word in words],
            program="sscep",
            environment={},
            registry=Registry.discover(),
            state=StateDirectory(self.folder / "state"),
            system=System(sleep=self.slept_s.append),
            stdout=stdout,
            stderr=stderr,
        )
        return Said(code, stdout.getvalue(), stderr.getvalue())

    def enroll(self, *more) -> Said:
        return self("enroll", *self.words("enroll"), *more)

    def ask(self, operation: str, *more) -> Said:
        """Ask for the certificate that was enrolled (getcert), or for the CRL that covers it (getcrl)."""
        return self(operation, *self.words(operation), *more)

    def words(self, operation: str, without: tuple[str, ...] = ()) -> list[str]:
        """Return the options that an operation needs, but for some."""
        values = {
            "-u": self.url,
            "-c": {"getca": "new.crt", "getnextca": "next"}.get(operation, "ca.crt"),
            "-C": "ca.crt",
            "-k": "local.key",
            "-r": "local.csr",
            "-l": "local.crt",
            "-s": "1",
            "-w": "out.pem",
        }
        if operation == "getcert" and self.has("local.crt"):
            values["-s"] = str(self.certificate("local.crt").serial_number)
        needed = (option for option in NEEDED[operation].split() if option not in without)
        return [word for option in needed for word in (option, values[option])]

    def enrolled(self) -> x509.Certificate:
        """Enroll, and let the CA forget that; returns the certificate, which is in local.crt."""
        assert self.enroll().code == 0
        self.ca.forget()
        return self.certificate("local.crt")

    def write(self, name: str, content) -> None:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else pem(content))
        path.chmod(0o600)

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def files(self) -> set[str]:
        """Return the names of the files in the folder; the state is not a script's business."""
        return {path.name for path in self.folder.iterdir() if path.is_file()}

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / name).read_bytes())

    def crl(self, name: str) -> x509.CertificateRevocationList:
        return x509.load_pem_x509_crl((self.folder / name).read_bytes())


class Exchange:
    """What a server hands requests to; each test puts its own CA in."""

    ca: Ca

    def handle(self, request: HttpRequest) -> HttpResponse:
        return self.ca.handle(request)


def new_ca(authority: Authority, **knobs) -> Ca:
    """Return a CA with a known authority's keys and nothing issued yet."""
    return Ca(Responder(Authority(authority.ca, ra=authority.ra), Knobs(**knobs)))


class _Raw(BaseHTTPRequestHandler):
    """Writes what a careful server never would: chunks, nonsense, nothing."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        request = HttpRequest(
            method=self.command,
            operation=query_of(self.path)["operation"],
            url=self.path,
            headers=dict(self.headers),
            body=body,
            max_response_bytes=1 << 20,
        )
        response = self.server.handle(request)
        write = self.server.writers.get(request.operation, plainly)
        self.wfile.write(write(response))
        self.close_connection = True

    def log_message(self, *_) -> None:
        pass


def _head(response: HttpResponse, *more: str) -> bytes:
    kind = f"Content-Type: {response.headers['content-type']}"
    return "\r\n".join([f"HTTP/1.1 {response.status} -", kind, *more, "", ""]).encode()


def plainly(response: HttpResponse) -> bytes:
    return _head(response, f"Content-Length: {len(response.body)}") + response.body


def in_chunks(response: HttpResponse) -> bytes:
    pieces = [response.body[at : at + 700] for at in range(0, len(response.body), 700)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return _head(response, "Transfer-Encoding: chunked") + chunks


def in_bad_chunks(response: HttpResponse) -> bytes:
    return _head(response, "Transfer-Encoding: chunked") + b"zz\r\n" + response.body


@contextmanager
def raw_server(handle: Callable[[HttpRequest], HttpResponse], **writers) -> Iterator[str]:
    """Serve answers in the bytes that a writer gives for an operation; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Raw)
    server.handle, server.writers = handle, writers
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/scep"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
