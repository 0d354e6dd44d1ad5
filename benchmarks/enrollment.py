"""CPU of the client per enrollment, beside the RSA operations that no client can avoid.

Both are taken in turns in one process, against a server in another, so that
whatever else the machine does weighs on both alike.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from benchmarks import server
from scepflow.ca import authenticate_ca
from scepflow.engine import queries, trust
from scepflow.engine.channel import Channel
from scepflow.engine.enrollment import Enrollment, Issued
from scepflow.engine.exchange import HttpRequest
from scepflow.pipeline import load_pipeline
from scepflow.registry import Registry
from scepflow.runner import run_pipeline
from scepflow.stages import Run
from scepflow.state import StateDirectory
from scepflow.system import System, make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography import x509

    from scepflow.engine.exchange import HttpResponse
    from scepflow.engine.identity import SigningIdentity

ROUNDS = 40
PER_ROUND = 10

PIPELINE = """
[ca]
url = "{url}"
fingerprint = "{fingerprint}"
[key]
use = "file"
path = "key.pem"
[csr]
subject = "CN=benchmark.example.com"
san = ["dns:benchmark.example.com"]
[sink.file]
key = "out.key"
fullchain = "out.crt"
"""


def _cpu_ms(work: Callable[[], object]) -> float:
    started_s = time.process_time()
    for _ in range(PER_ROUND):
        work()
    return (time.process_time() - started_s) / PER_ROUND * 1000


def _rsa_operations(key: rsa.RSAPrivateKey, signatures: int) -> Callable[[], object]:
    public_key = key.public_key()

    def work() -> None:
        for _ in range(signatures):
            key.sign(b"message", padding.PKCS1v15(), hashes.SHA256())
        key.decrypt(public_key.encrypt(bytes(16), padding.PKCS1v15()), padding.PKCS1v15())

    return work


def _side_by_side(names: list[str], works: list[Callable[[], object]]) -> dict[str, float]:
    for work in works:
        work()
    rows = [[_cpu_ms(work) for work in works] for _ in range(ROUNDS)]
    return {name: statistics.median(row[i] for row in rows) for i, name in enumerate(names)}


@dataclass(frozen=True)
class Client:
    """What an enrollment needs, made once: the steps of one are its methods."""

    pipeline: Any
    run: Run
    connection: Any
    ca: Any
    key: rsa.RSAPrivateKey
    csr: x509.CertificateSigningRequest

    def identity(self) -> SigningIdentity:
        return self.pipeline.signer.identity(self.key, self.csr, self.run)

    def enrollment(self, identity: SigningIdentity) -> Enrollment:
        channel = Channel(
            url=self.pipeline.ca.url,
            bundle=self.ca.bundle,
            identity=identity,
            choice=self.ca.choice,
            random_bytes=secrets.token_bytes,
        )
        return Enrollment(channel, self.csr, transaction_id=secrets.token_hex(16))

    def request(self, enrollment: Enrollment) -> HttpRequest:
        return enrollment.next_request(now=self.run.now(), sender_nonce=secrets.token_bytes(16))

    def receive(self, enrollment: Enrollment, response: HttpResponse) -> Issued:
        issued = enrollment.receive(response, now=self.run.now())
        assert isinstance(issued, Issued)
        return issued

    def enroll(self) -> None:
        enrollment = self.enrollment(self.identity())
        self.receive(enrollment, self.connection.send(self.request(enrollment)))


@contextmanager
def client() -> Iterator[Client]:
    """Give a client of a test CA that runs in another process."""
    with server.running() as url, tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        key = rsa.generate_private_key(65537, 2048)
        (directory / "key.pem").write_bytes(key_pem(key))
        (directory / "key.pem").chmod(0o600)
        pipeline = _pipeline(directory, url)
        run = make_run(pipeline, lambda _event: None, System())
        with pipeline.transport.connect(run) as connection:
            ca = authenticate_ca(pipeline.ca, connection, run)
            yield Client(pipeline, run, connection, ca, key, pipeline.csr.build(key, run))


def measure() -> None:
    """Print the figures."""
    with client() as ready:
        works = _works(ready)
        ms = _side_by_side(list(works), list(works.values()))
    enroll, whole = ms["one enrollment, key and CSR given"], ms["whole pipeline, CSR built, files written"]
    four, five = ms["its 4 RSA operations"], ms["its 5 RSA operations"]
    print("\nclient CPU in one process against a running server, RSA-2048, median of rounds taken in turns")
    for name, value in ms.items():
        print(f"  {name:<44}{value:8.3f} ms")
    print(f"  {'enrollment / its 4 RSA operations':<44}{enroll / four:8.2f}    (must be <= 2.0)")
    print(f"  {'whole pipeline / its 5 RSA operations':<44}{whole / five:8.2f}    (must be <= 2.5)")


def _pipeline(directory: Path, url: str) -> Any:
    file = directory / "benchmark.toml"
    file.write_text(PIPELINE.format(url=url, fingerprint=ca_fingerprint(directory, url)))
    return load_pipeline(file, Registry.discover())


def ca_fingerprint(directory: Path, url: str) -> str:
    """Return the fingerprint of whatever CA answers: good enough for a benchmark only."""
    from scepflow_bundled.transports import DirectTransport

    run = Run(
        pipeline="benchmark",
        directory=directory,
        now=lambda: datetime.now(UTC),
        random_bytes=secrets.token_bytes,
        emit=lambda _event: None,
    )
    with DirectTransport().connect(run) as connection:
        certificates = queries.parse_ca_cert(connection.send(queries.ca_cert_request(url)))
    return trust.fingerprint(certificates[0])


def _works(ready: Client) -> dict[str, Callable[[], object]]:
    pipeline, key, connection = ready.pipeline, ready.key, ready.connection
    state = StateDirectory(pipeline.directory / "state")

    def post() -> None:
        connection.send(
            HttpRequest(
                method="POST",
                operation="PKIOperation",
                url=f"{pipeline.ca.url}?operation=PKIOperation",
                headers={"Content-Type": "application/x-pki-message"},
                body=bytes(2500),
                max_response_bytes=1 << 20,
            )
        )

    return {
        "one enrollment, key and CSR given": ready.enroll,
        "its 4 RSA operations": _rsa_operations(key, signatures=2),
        "one POST of 2500 bytes": post,
        "whole pipeline, CSR built, files written": lambda: run_pipeline(
            pipeline, emit=lambda _event: None, state=state
        ),
        "its 5 RSA operations": _rsa_operations(key, signatures=3),
    }


def key_pem(key: rsa.RSAPrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
