"""A pipeline's keys, requests and certificates in its state: kept before they are needed, found again later.

Must never hold: what is asked of the CA, or when.
"""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from scepflow.engine.certificates import serial_number
from scepflow.engine.identity import Credential
from scepflow.engine.trust import fingerprint
from scepflow.errors import StateError
from scepflow.faults import working
from scepflow.records import CertificateFacts
from scepflow.state import Folder
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from scepflow.engine.enrollment import Enrollment
    from scepflow.pipeline.model import Pipeline
    from scepflow.records import AttemptRecord
    from scepflow.stages import PrivateKey, Run
    from scepflow.state import PipelineState

__all__ = ["Announcement", "Custody", "JournalKeeper", "facts_of"]

_AGAIN = "`scepflow run --again` gives the attempt up and asks anew"

_NEXT_CA = "next-ca.pem"
_ANNOUNCED_BY, _SUCCESSORS = b"This CA, which [ca] pins:\n", b"has announced as its next one:\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a CA has announced with GetNextCACert.

    Attributes:
        by: the trust anchors that were pinned then; whoever does not trust them does not trust what was announced.
        successors: trust anchors from then on, too.
    """

    by: tuple[x509.Certificate, ...] = ()
    successors: tuple[x509.Certificate, ...] = ()


@dataclass
class JournalKeeper:
    """Keeps one transaction in its folder and the journal.

    Attributes:
        state: the pipeline's.
        transaction_id: the transaction.
        purpose: ``enrollment`` or ``renewal``.
        run: for the time.
        sent: whether the request has left, or is about to.
    """

    state: PipelineState
    transaction_id: str
    purpose: str
    run: Run
    sent: bool = False

    @property
    def folder(self) -> Folder:
        """The folder of its files."""
        return self.state.folder(self.transaction_id)

    def keep_key(self, name: str, key: PrivateKey) -> None:
        """Write a private key, PKCS#8 in PEM."""
        self.folder.keep(name, _key_pem(key))

    def keep_ca(self, certificates: tuple[x509.Certificate, ...]) -> None:
        """Write the CA's certificates, unless they are kept or its files are named in ``[ca]``."""
        content = _pem(certificates)
        if content and content != self.folder.read("ca.pem"):
            self.folder.keep("ca.pem", content)

    def take_files(self, other: JournalKeeper) -> None:
        """Keep the keys and the CA that another transaction has kept."""
        for name in ("key.pem", "signer-key.pem", "ca.pem"):
            content = other.folder.read(name)
            if content:
                self.folder.keep(name, content)

    def sending(self, enrollment: Enrollment) -> None:
        """Write the request; from here on the attempt is never forgotten."""
        if self.sent:  # under the same name, because the CA does not know it
            self.state.journal.resent(self.state.place, self.transaction_id, at=self.run.now())
            return
        self.folder.keep_unsent(json.dumps(enrollment.snapshot(), indent=1).encode())
        self.state.journal.begin(
            self.state.place,
            self.transaction_id,
            purpose=self.purpose,
            message_type=enrollment.message_type.title,
            at=self.run.now(),
        )
        self.sent = True
        self.folder.confirm()

    def polling(self) -> None:
        """Count a poll."""
        self.state.journal.asked(self.state.place, self.transaction_id, at=self.run.now())

    def pending(self) -> None:
        """Note that the CA will decide."""
        self.state.journal.pending(self.state.place, self.transaction_id)


class Custody:
    """What a pipeline's state holds.

    Args:
        pipeline: the pipeline.
        state: its state.
    """

    def __init__(self, pipeline: Pipeline, state: PipelineState) -> None:
        self.pipeline = pipeline
        self.state = state

    def credential(self, attempt: AttemptRecord, run: Run) -> Credential:
        """Return an issued key, certificate and chain.

        Raises:
            StateError: a file is missing or damaged, or the key of ``[key]`` is another one now.
        """
        certificates = self.certificates(attempt.transaction_id)
        if certificates is None:
            raise self._lost(attempt.transaction_id, "certificate.pem")
        key = self.key(attempt.transaction_id, run)
        if key.public_key() != certificates[0].public_key():
            raise StateError(
                f"the key of [key] is not the one of the certificate with serial {certificates[0].serial_number:x}",
                hint="put its key back, or run with --again to get a certificate for the new one",
            )
        return Credential(key=key, certificate=certificates[0], chain=certificates[1:])

    def certificates(self, transaction_id: str) -> tuple[x509.Certificate, ...] | None:
        """Return the issued certificate and its chain, or None when none has come.

        Raises:
            StateError: the file is damaged.
        """
        try:
            return _certificates_in(self.state.folder(transaction_id), "certificate.pem")
        except ValueError:
            raise self._lost(transaction_id, "certificate.pem") from None

    def ca(self, transaction_id: str) -> tuple[x509.Certificate, ...]:
        """Return the CA's certificates from the time of a request; none when they are missing or damaged.

        They passed then. Whether they pass now is for `scepflow.ca` to say: the pins may have changed.

        Raises:
            StateError: the file cannot be read.
        """
        try:
            return _certificates_in(self.state.folder(transaction_id), "ca.pem") or ()
        except ValueError:  # they only stand in for an answer of the CA
            return ()

    def key(self, transaction_id: str, run: Run) -> PrivateKey:
        """Return the private key of an attempt; one that can be had again comes from its source.

        Raises:
            StateError: its file is missing or damaged.
        """
        kept = self._kept_key(transaction_id, "key.pem")
        if kept:
            return kept
        stage = self.pipeline.key
        if not stage.durable:
            raise self._lost(transaction_id, "key.pem")
        with working(stage):
            return stage.obtain(run)

    def requested_key(self, transaction_id: str, run: Run) -> PrivateKey:
        """Return the private key for which an attempt asks a certificate.

        Raises:
            StateError: its file is missing or damaged, or ``[key]`` has another one now.
        """
        key = self.key(transaction_id, run)
        if self.csr(transaction_id).public_key() != key.public_key():
            raise StateError(
                f"the key of [key] is not the one for which transaction {transaction_id} asks a certificate",
                hint=f"put the old key back; {_AGAIN}, for the key that is there now",
            )
        return key

    def csr(self, transaction_id: str) -> x509.CertificateSigningRequest:
        """Return what an attempt that the CA has not answered asks for.

        Raises:
            StateError: it is missing or damaged.
        """
        try:
            return x509.load_der_x509_csr(b64decode(self.snapshot(transaction_id)["csr"]))
        except (KeyError, TypeError, ValueError):
            raise self._lost(transaction_id, "enrollment.json") from None

    def snapshot(self, transaction_id: str) -> Mapping[str, Any]:
        """Return the request of an attempt, as it was kept before it left.

        Raises:
            StateError: it is missing or damaged.
        """
        content = self.state.folder(transaction_id).read("enrollment.json")
        try:
            snapshot = json.loads(content or b"")
        except ValueError:
            snapshot = None
        if not isinstance(snapshot, dict):
            raise self._lost(transaction_id, "enrollment.json")
        return snapshot

    def signing_key(self, transaction_id: str, snapshot: Mapping[str, Any], run: Run) -> PrivateKey:
        """Return the key that signed a request, which opens its reply.

        Raises:
            StateError: it is not here any more, or the request is damaged.
        """
        try:
            wanted = x509.load_der_x509_certificate(b64decode(snapshot["signer"])).public_key()
        except (KeyError, TypeError, ValueError):
            raise self._lost(transaction_id, "enrollment.json") from None
        for key in self._candidates(transaction_id, run):
            if key.public_key() == wanted:
                return key
        raise StateError(
            f"the key that signed transaction {transaction_id} is not here any more",
            hint=f"put it back where [signer] names it; {_AGAIN}",
        )

    def _candidates(self, transaction_id: str, run: Run) -> Iterator[PrivateKey]:
        kept = self._kept_key(transaction_id, "signer-key.pem")
        if kept:
            yield kept
        if run.previous:
            yield run.previous.key
        key = self.key(transaction_id, run)
        yield key
        signer = self.pipeline.signer
        if signer.durable:
            with working(signer):
                yield signer.identity(key, self.csr(transaction_id), run).key

    def keep(self, transaction_id: str, certificates: tuple[x509.Certificate, ...]) -> None:
        """Write what was issued.

        Raises:
            StateError: it cannot be written.
        """
        self.state.folder(transaction_id).keep("certificate.pem", _pem(certificates))

    def keep_key(self, transaction_id: str, key: PrivateKey) -> None:
        """Write a private key, unless its source has it.

        Raises:
            StateError: it cannot be written.
        """
        if not self.pipeline.key.durable:
            self.state.folder(transaction_id).keep("key.pem", _key_pem(key))

    def announcement(self) -> Announcement:
        """Return what the CA has announced as its next one; whether the pins still lead to it is for `scepflow.ca` to say.

        Raises:
            StateError: the file is damaged.
        """
        content = Folder(self.state.path).read(_NEXT_CA)
        if content is None:
            return Announcement()
        by, _, successors = content.partition(_SUCCESSORS)
        try:
            return Announcement(by=_parse_pem(by), successors=_parse_pem(successors))
        except ValueError:
            raise StateError(f"{self.state.path / _NEXT_CA} is damaged", hint="remove it") from None

    def keep_announcement(self, announcement: Announcement) -> None:
        """Write what the CA has announced, and by whom that is believed; nothing announced is no file.

        Raises:
            StateError: it cannot be written.
        """
        folder = Folder(self.state.path)
        if announcement.successors:
            content = _ANNOUNCED_BY + _pem(announcement.by) + _SUCCESSORS + _pem(announcement.successors)
            folder.keep(_NEXT_CA, content)
        else:
            folder.forget(_NEXT_CA)

    def _kept_key(self, transaction_id: str, name: str) -> PrivateKey | None:
        content = self.state.folder(transaction_id).read(name)
        try:
            # It is as it was kept: to prove its primes again would take as long as 100 signatures.
            return content and load_pem_private_key(content, None, unsafe_skip_rsa_key_validation=True)  # type: ignore[return-value]  # what was kept was one
        except (ValueError, TypeError):
            raise self._lost(transaction_id, name) from None

    def _lost(self, transaction_id: str, name: str) -> StateError:
        path = self.state.folder(transaction_id).path / name
        return StateError(f"{path} is missing or damaged", hint=f"restore it from a backup; {_AGAIN}")


def _certificates_in(folder: Folder, name: str) -> tuple[x509.Certificate, ...] | None:
    """Return the certificates in a file, or None when it is not there; raises ValueError for a damaged one."""
    content = folder.read(name)
    return None if content is None else _parse_pem(content)


def _parse_pem(content: bytes) -> tuple[x509.Certificate, ...]:
    """Return one certificate or more; raises ValueError for less."""
    return tuple(x509.load_pem_x509_certificates(content))


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def facts_of(certificate: x509.Certificate) -> CertificateFacts:
    """Return what the journal shall know of a certificate."""
    return CertificateFacts(
        subject=sanitise(certificate.subject.rfc4514_string()),
        issuer=sanitise(certificate.issuer.rfc4514_string()),
        serial=f"{serial_number(certificate):x}",
        fingerprint=fingerprint(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )
