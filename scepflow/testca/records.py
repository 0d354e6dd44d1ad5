"""What a test CA remembers: certificates, revocations, spent challenges and transactions.

In memory, or as one small file per fact in a directory, so that runs in other
processes see them. Must never hold: private keys, challenges, or decisions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Records", "Transaction", "write_file"]


def write_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file whole, or leave it as it was.

    Args:
        path: the file; its folder is made when it is missing.
        content: all of the file.
        mode: permission bits, 0 to 0o777, in force before the first byte is written.

    Raises:
        OSError: the file could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(beside, path)  # noqa: PTH105  # mkstemp gives text
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)  # noqa: PTH108  # mkstemp gives text
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """Where one enrollment stands.

    Attributes:
        transaction_id: as the client sent it.
        status: what the next reply says.
        csr_pem: the request; another one may not use this transaction_id (C-133).
        signer_sha256: lower-case hex over the signer's SubjectPublicKeyInfo; only that key may poll.
        polls_left: polls until the decision, 0 or more.
        serial: the issued certificate's serial number, or None.
        fail_info: the rejection's failInfo, or None.
    """

    transaction_id: str
    status: Literal["pending", "issued", "rejected"]
    csr_pem: str
    signer_sha256: str
    polls_left: int = 0
    serial: int | None = None
    fail_info: int | None = None


class Records:
    """The memory of a test CA.

    Args:
        directory: where it is kept, or None for as long as this object lives.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._memory: dict[str, bytes] = {}

    def keep_in(self, directory: Path) -> None:
        """Move to a directory what was in memory, and stay there."""
        self._directory = directory
        for name, content in self._memory.items():
            self._put(name, content)
        self._memory = {}

    def add(self, certificate: x509.Certificate) -> None:
        """Remember a certificate that the CA has issued."""
        self._put(_certificate_name(certificate.serial_number), certificate.public_bytes(Encoding.PEM))

    def certificate(self, serial: int) -> x509.Certificate | None:
        """Return the issued certificate with this serial number, or None."""
        pem = self._get(_certificate_name(serial))
        return x509.load_pem_x509_certificate(pem) if pem else None

    def revoke(self, serial: int, at: datetime) -> None:
        """Remember that a serial number was revoked; the first time counts."""
        revoked = {f"{number:x}": when.isoformat() for number, when in self.revoked().items()}
        revoked.setdefault(f"{serial:x}", at.isoformat())
        self._put("revoked.json", json.dumps(revoked, indent=1).encode())

    def revoked(self) -> dict[int, datetime]:
        """Return revoked serial numbers and when they were revoked."""
        stored = json.loads(self._get("revoked.json") or b"{}")
        return {int(serial, 16): datetime.fromisoformat(when) for serial, when in stored.items()}

    def spend(self, challenge: str) -> bool:
        """Mark a challenge as used; return whether it was still unused. Only its hash is kept."""
        name = f"spent/{_sha256(challenge)}"
        if self._get(name) is not None:
            return False
        self._put(name, b"spent\n")
        return True

    def remember(self, transaction: Transaction) -> None:
        """Store a transaction in place of what was known of it."""
        self._put(_transaction_name(transaction.transaction_id), json.dumps(asdict(transaction)).encode())

    def transaction(self, transaction_id: str) -> Transaction | None:
        """Return what is known of a transaction, or None."""
        stored = self._get(_transaction_name(transaction_id))
        return Transaction(**json.loads(stored)) if stored else None

    def _get(self, name: str) -> bytes | None:
        if self._directory is None:
            return self._memory.get(name)
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def _put(self, name: str, content: bytes) -> None:
        if self._directory is None:
            self._memory[name] = content
        else:
            # A CSR carries its challenge: for the owner only.
            write_file(self._directory / name, content, mode=0o600)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _certificate_name(serial: int) -> str:
    return f"issued/{serial:x}.pem"


def _transaction_name(transaction_id: str) -> str:
    """The id is the client's text: hashed, it cannot name another file."""
    return f"transactions/{_sha256(transaction_id)}.json"
