"""The flows that are interrupted: a CA in a process of its own, a pipeline with every kind of sink, and what must hold at last.

Must never hold: how a run is interrupted.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from nursery import Job, Nursery, Report
from power_loss import put

from scepflow.state import StateDirectory

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from power_loss import Nodes
    from power_loss_recorder import Step

    from scepflow.records import PipelineRecord

__all__ = ["FLOWS", "Flow", "exchange"]

_CHALLENGE = "only-once"
_NAME = "gw1.example.com"
_PIPELINE = f"""\
[ca]
url = "%s"
fingerprint = "%s"
[key]
use = "pool"
[csr]
subject = "CN={_NAME}"
challenge = {{ file = "challenge" }}
[poller]
use = "fixed"
interval = "0s"
max_count = 4
[renew]
before = "30d"
[sink.files]
use = "file"
key = "tls/gw1.key"
cert = "tls/gw1.crt"
chain = "tls/chain.crt"
make_directories = true
[sink.isakmpd]
base = "isakmpd"
[sink.phone]
use = "pkcs12"
path = "gw1.p12"
password = {{ file = "p12.pass" }}
[sink.reload]
use = "command"
run = ["/bin/sh", "reload.sh"]
"""
_OTHER_FILES = {
    "challenge": _CHALLENGE,
    "p12.pass": "secret",
    "reload.sh": f"cat tls/gw1.crt isakmpd/certs/{_NAME}.crt >> reloaded\n",
}
_CA = "scepflow-test-CA"
_CA_MEMORY = ("transactions", "issued", "spent")
_END = b"-----END CERTIFICATE-----\n"
_PASSWORD = b"secret"
_SHROUDED_KEY_BAG = bytes.fromhex("060b2a864886f70d010c0a0102")
_TRANSACTION_ID = re.compile(r"\b[0-9a-f]{32}\b")
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_POLLS = 2
_MOST_RUNS = 3 + _POLLS
"""Until a pending request is decided and no more is to be done: one after the kill, one for each poll, one for nothing."""


@dataclass(frozen=True)
class Ca:
    """A test CA that is listening, and the folder in which it remembers."""

    folder: Path
    url: str
    fingerprint: str


@contextmanager
def _served(
    folder: Path,
    *,
    days: float,
    pending: int = 0,
    more: Sequence[str] = (),
) -> Iterator[Ca]:
    """Start ``scepflow testca``; its challenge is good for one certificate."""
    orders = ["--directory", folder, "--challenge", _CHALLENGE, "--one-time"]
    command = [
        sys.executable,
        "-m",
        "scepflow",
        "testca",
        *orders,
        "--days",
        str(days),
        "--pending",
        str(pending),
        *more,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            told = {}
            while "fingerprint" not in told:
                line = process.stdout.readline()
                assert line, "the CA has ended"
                if found := re.match(r'(\w+) = "(.*)"', line):
                    told[found[1]] = found[2]
            yield Ca(folder, told["url"], told["fingerprint"])
        finally:
            process.terminate()


def exchange(points: Sequence[str]) -> slice:
    """Return where the exchange with the CA is among the points of a run."""
    return slice(points.index("connect"), -points[::-1].index("received"))


class Flow:
    """One flow, which can be had again and again from the same beginning.

    Args:
        directory: an empty folder.
        nursery: where its runs live.

    Attributes:
        later_days: how far the clock of its runs is ahead.
        asks: whether it asks the CA for a certificate.
        counted: the messages of which there may be those of one transaction only.
        may_pend: whether a run may end because the CA has not decided.
        usual: a run that nothing interrupts.
        own_exchange: whether nothing happens that happens in no other flow, but for its exchange with the CA.
    """

    later_days = 0
    asks = True
    counted: Container[str] = ("PKCSReq", "RenewalReq", "CertPoll")
    may_pend = False
    usual: Report
    own_exchange = False

    def __init__(self, directory: Path, nursery: Nursery) -> None:
        self.disk = directory / "disk"
        self.root = self.disk / "machine"
        self.folder = self.root / "etc"
        self.state = StateDirectory(self.root / "state")
        self.saved = directory / "saved"
        self._nursery = nursery
        self._reports: list[Report] = []
        self.folder.mkdir(parents=True)
        for name, content in _OTHER_FILES.items():
            (self.folder / name).write_text(content)

    def run(self, **orders: object) -> Report:
        job = Job(
            pipeline=str(self.folder / "gw1.toml"),
            state=str(self.state.path),
            root=str(self.root),
            later_days=self.later_days,
            **orders,
        )
        report = self._nursery.run(job)
        assert not report.bug, report.bug
        self._reports.append(report)
        return report

    @property
    def record(self) -> PipelineRecord:
        (record,) = self.state.journal.pipelines()
        return record

    # -- the beginning

    def ask(self, ca: Ca) -> None:
        self.ca = ca
        (self.folder / "gw1.toml").write_text(_PIPELINE % (ca.url, ca.fingerprint))

    def begin_here(self) -> None:
        """Save the beginning, and learn what comes of it when nothing happens."""
        (self.folder / "reloaded").unlink(missing_ok=True)
        for name, folder in (("machine", self.root), ("ca", self.ca.folder)):
            shutil.copytree(folder, self.saved / name)
        self.restore()
        self.usual = self.run()
        self.settle()
        self._usual_files = self._files()
        self.check()
        self.check_phone()

    def check_phone(self) -> None:
        """Assert that the PKCS#12 file holds the pair and the CA."""
        key, certificate, chain = load_key_and_certificates((self.folder / "gw1.p12").read_bytes(), _PASSWORD)
        assert key.public_key() == certificate.public_key()
        assert certificate.serial_number == int(self.record.current.certificate.serial, 16)
        assert [ca.subject for ca in chain] == [certificate.issuer]

    def restore(self) -> None:
        """Go back to the beginning, the CA's memory included."""
        self._clear()
        shutil.copytree(self.saved / "machine", self.root)
        for name in _CA_MEMORY:
            if (self.saved / "ca" / name).exists():
                shutil.copytree(self.saved / "ca" / name, self.ca.folder / name)

    def _clear(self) -> None:
        self._reports = []
        shutil.rmtree(self.root, ignore_errors=True)
        for name in _CA_MEMORY:
            shutil.rmtree(self.ca.folder / name, ignore_errors=True)

    # -- a run that is recorded, and what comes after a part of it

    def record_steps(self) -> list[Step]:
        """Run from the beginning, and return all steps; what the CA and the command have seen is recorded apart."""
        self.restore()
        outside = [*(self.ca.folder / name for name in _CA_MEMORY), self.folder / "reloaded"]
        report = self.run(what="record", outside=[str(path) for path in outside])
        assert report.ends == self.usual.ends[:1], report.ends
        self.sent = report.sent
        return report.steps

    def go_to(self, step: Step, nodes: Nodes, outside: Mapping[str, bytes]) -> None:
        """Be where a recorded run was at a step, but for the disk, of which something else is left."""
        self._clear()
        put(nodes, self.root)
        for name, content in outside.items():
            path = Path(name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        self._reports = [Report(sent=self.sent[: step.sent])]

    # -- the end

    def check_order(self) -> None:
        """Assert that no sink has a certificate that is not kept, or part of one."""
        files = self.state.path.glob("*/*/certificate.pem")
        kept = [b"".join(file.read_bytes().partition(_END)[:2]) for file in files]
        for file in (self.folder / "tls" / "gw1.crt", self.folder / "isakmpd" / "certs" / f"{_NAME}.crt"):
            assert not file.exists() or file.read_bytes() in kept

    def finish(self, interruption: str) -> None:
        """Let the next run finish, and assert that it has.

        Args:
            interruption: what had happened before, in words.
        """
        try:
            self.settle()
            self.check()
        except (AssertionError, OSError) as error:
            ends = [(report.ends, report.sent, report.warned) for report in self._reports]
            error.add_note(f"{interruption}; the runs since the beginning: {ends}")
            raise

    def settle(self) -> None:
        """Run as a timer does until there is a certificate: once, but for a CA that takes its time; then there is nothing to do."""
        ends = [(said, code) for said, code in self.run(runs=_MOST_RUNS if self.may_pend else 2).ends]
        while ends[0][1] == 3 and self.may_pend:
            ends = ends[1:]
        (said, code), *rest = ends
        assert code == 0, said
        assert rest
        assert rest == [("unchanged", 0)] * len(rest)

    def check(self) -> None:
        """Assert that nothing is lost, nothing was asked for twice and nothing was left lying about."""
        record = self.record
        certificate = self._issued(record)
        fingerprint = _fingerprint(certificate)
        assert record.open is None
        assert record.current.certificate.fingerprint == f"sha256:{fingerprint}"
        self._check_state(record, fingerprint)
        self._check_sinks(fingerprint)
        pem = certificate.public_bytes(Encoding.PEM)
        assert (self.folder / "reloaded").read_bytes().count(pem) >= 2, "not reloaded with its files there"
        if self.state.path.joinpath(f"{self.state.journal.path.name}-journal").exists():
            self.state.journal.tell(record.place, "checked", "a write, with which SQLite removes it", at=_NOW)
        assert self._files() == self._usual_files

    def _issued(self, record: PipelineRecord) -> x509.Certificate:
        """Return the CA's certificate: of the one transaction that there was, or in a redelivery of none."""
        current = record.current
        assert current.certificate, "no certificate"
        transactions = [msgspec.json.decode(file.read_bytes()) for file in self._new_at_ca("transactions")]
        issued = [file.stem for file in self._new_at_ca("issued")]
        asked = [(transaction["transaction_id"], transaction["status"]) for transaction in transactions]
        expected = [current.transaction_id] if self.asks else []
        assert asked == [(name, "issued") for name in expected]
        assert issued == [f"{transaction['serial']:x}" for transaction in transactions]
        sent = {name for report in self._reports for kind, name in report.sent if kind in self.counted}
        assert sent == set(expected)
        pem = (self.ca.folder / "issued" / f"{current.certificate.serial}.pem").read_bytes()
        return x509.load_pem_x509_certificate(pem)

    def _new_at_ca(self, what: str) -> list[Path]:
        before = {file.name for file in (self.saved / "ca" / what).glob("*")}
        return [file for file in (self.ca.folder / what).glob("*") if file.name not in before]

    def _check_state(self, record: PipelineRecord, fingerprint: str) -> None:
        with closing(sqlite3.connect(self.state.journal.path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert sorted(record.deliveries) == ["files", "isakmpd", "phone", "reload"]
        assert not [delivery for delivery in record.deliveries.values() if delivery.error]
        attempts = {
            attempt.transaction_id: attempt.status for attempt in self.state.journal.attempts(record.place)
        }
        kept = [path for path in (self.state.path / record.place).iterdir() if path.is_dir()]
        assert {path.name: "issued" for path in kept} == {
            name: status for name, status in attempts.items() if status in ("issued", "sent")
        }
        assert {file.name for folder in kept for file in folder.iterdir()} == {"key.pem", "certificate.pem"}
        folder = self.state.path / record.place / record.current.transaction_id
        assert _pair(folder / "key.pem", folder / "certificate.pem") == fingerprint

    def _check_sinks(self, fingerprint: str) -> None:
        assert self.pairs() == [fingerprint, fingerprint]
        isakmpd = self.folder / "isakmpd"
        assert (self.folder / "tls" / "chain.crt").read_bytes() == (
            isakmpd / "ca" / f"{_CA}.crt"
        ).read_bytes()
        phone = _pkcs12_key((self.folder / "gw1.p12").read_bytes())
        assert phone == _key((self.folder / "tls" / "gw1.key").read_bytes())

    def pairs(self) -> list[str]:
        """Return the fingerprints of the certificates in the sinks of several files, whose keys are theirs."""
        tls, isakmpd = self.folder / "tls", self.folder / "isakmpd"
        return [
            _pair(tls / "gw1.key", tls / "gw1.crt"),
            _pair(isakmpd / "private" / "local.key", isakmpd / "certs" / f"{_NAME}.crt"),
        ]

    def _files(self) -> list[tuple[str, str]]:
        """Return every name below, and its mode."""
        return sorted(
            (_TRANSACTION_ID.sub("ID", str(path.relative_to(self.root))), oct(path.lstat().st_mode))
            for path in self.root.rglob("*")
        )


class Rejection(Flow):
    """One of which nothing comes but the reason."""

    def settle(self) -> None:
        """Run as a timer does until the CA has said no; from then on it is not asked."""
        (_, code), (said, later) = self.run(runs=2).ends
        assert (code, later) == (72, 72)
        assert "not asked again, since nothing has changed: the CA rejected the request: badRequest" in said

    def check(self) -> None:
        """Assert that the CA was asked in one transaction, and that the journal knows why it said no."""
        record = self.record
        assert len({name for report in self._reports for _, name in report.sent}) == 1
        assert (record.open, record.current, record.outcome, record.exit_code) == (None, None, "rejected", 72)
        assert record.message == record.refused.message
        assert [told.kind for told in self.state.journal.history()].count("rejected") == 1
        assert not [path for path in (self.state.path / record.place).iterdir() if path.is_dir()]
        if self.state.path.joinpath(f"{self.state.journal.path.name}-journal").exists():
            self.state.journal.tell(record.place, "checked", "a write, with which SQLite removes it", at=_NOW)
        assert self._files() == self._usual_files

    def check_phone(self) -> None:
        """Nothing was delivered."""


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


def _pair(key: Path, certificates: Path) -> str:
    """Return the fingerprint of the first certificate in a file; the key in the other is its."""
    certificate = x509.load_pem_x509_certificates(certificates.read_bytes())[0]
    assert _key(key.read_bytes()) == certificate.public_key()
    return _fingerprint(certificate)


def _key(pem: bytes) -> PublicKeyTypes:
    """Return a key's public half; to prove its primes at each look would take half of a test's time."""
    return load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True).public_key()


def _pkcs12_key(pfx: bytes) -> PublicKeyTypes:
    """Return the public half of the key in a PKCS#12 file; its bag is an encrypted PKCS#8 (RFC 7292 §4.2.2 The PKCS8ShroudedKeyBag Type)."""
    _, _, bag = pfx.partition(_SHROUDED_KEY_BAG)
    der = bag[4 : 8 + int.from_bytes(bag[6:8])]  # after [0] and its length: SEQUENCE and its length
    return load_der_private_key(der, _PASSWORD, unsafe_skip_rsa_key_validation=True).public_key()


# -- the flows


@contextmanager
def _enrollment(directory: Path, nursery: Nursery, *, pending: int = 0) -> Iterator[Flow]:
    flow = Flow(directory, nursery)
    flow.may_pend = pending > 0
    with _served(directory / "ca", days=365, pending=pending) as ca:
        flow.ask(ca)
        flow.begin_here()
        yield flow


@contextmanager
def _renewal(directory: Path, nursery: Nursery, *, pending: int = 0, is_old: bool = False) -> Iterator[Flow]:
    """What was issued for 40 days is due 30 before their end; what replaces it lives longer.

    Args:
        directory: an empty folder.
        nursery: where its runs live.
        pending: how often the CA answers PENDING.
        is_old: whether the CA refuses RenewalReq, so that PKCSReq is sent after it.
    """
    flow = Flow(directory, nursery)
    with _served(directory / "ca", days=40) as ca:
        flow.ask(ca)
        assert flow.run().ends == [("issued", 0)]
    flow.may_pend = pending > 0
    flow.later_days = 15
    flow.counted = ("PKCSReq",) if is_old else Flow.counted
    old = ("--refuse-renewal-req",) if is_old else ()
    with _served(directory / "ca", days=365, pending=pending, more=old) as ca:
        flow.ask(ca)
        flow.begin_here()
        kinds = {kind for kind, _ in flow.usual.sent}
        assert kinds == {"RenewalReq", "PKCSReq"} if is_old else kinds <= {"RenewalReq", "CertPoll"}
        flow.own_exchange = is_old  # before and after it, it is a renewal like any other
        yield flow


@contextmanager
def _redelivery(directory: Path, nursery: Nursery) -> Iterator[Flow]:
    """The sinks have another pair than the one that is current; the command was told of that while they could not be written."""
    flow = Flow(directory, nursery)
    flow.asks = False
    with _served(directory / "ca", days=365) as ca:
        flow.ask(ca)
        assert flow.run().ends == [("issued", 0)]
        first = flow.record
        assert flow.run(renew=True).ends == [("renewed", 0)]
        journal, name = flow.state.journal, first.current.transaction_id
        sinks = first.deliveries
        journal.select(first.place, name, at=_NOW, renew_at=first.renew_at, sinks=sinks)
        told = sinks["reload"]
        journal.deliver(first.place, name, "reload", options=told.options, at=told.at, error=None)
        flow.begin_here()
        yield flow


@contextmanager
def _rejection(directory: Path, nursery: Nursery) -> Iterator[Flow]:
    flow = Rejection(directory, nursery)
    with _served(directory / "ca", days=365, more=["--reject", "badRequest"]) as ca:
        flow.ask(ca)
        flow.begin_here()
        yield flow


FLOWS = {
    "enrollment": _enrollment,
    "pending enrollment": lambda *where: _enrollment(*where, pending=_POLLS),
    "renewal": _renewal,
    "pending renewal": lambda *where: _renewal(*where, pending=_POLLS),
    "refused renewal": lambda *where: _renewal(*where, is_old=True),
    "redelivery": _redelivery,
    "rejection": _rejection,
}
