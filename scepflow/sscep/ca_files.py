"""The CA certificates that ``-c`` and ``-e`` name: which one signs replies, and which one receives requests.

Must never hold: a request to the CA; the files are all that is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.sscep.lines import oneline
from scepflow.sscep.settings import Exit, SscepExit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cryptography import x509

    from scepflow.sscep.settings import Settings

__all__ = ["CaFiles", "find_ca_files", "is_older"]

_MOST_FILES = 20
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CaFiles:
    """The files of the CA's certificates.

    Attributes:
        signing: its certificate verifies replies.
        encryption: its certificate receives requests.
        anchor: file of the CA certificate that issues, or None when none is known.
        guessed: whether they were chosen among ``FILE-0``, ``FILE-1``, ….
        certificates: file → the certificate in it.
    """

    signing: str
    encryption: str
    anchor: str | None
    guessed: bool = False
    certificates: Mapping[str, x509.Certificate] = field(default_factory=dict)

    @property
    def issuer(self) -> x509.Name:
        """Name of the CA that issues; of who signs replies when none is known."""
        return self.certificates[self.anchor or self.signing].subject

    def for_issuer(
        self, name: x509.Name, named: x509.Certificate | None = None, *, file: str = ""
    ) -> CaFiles:
        """Return the same files with the CA of that name as the one that issues, if it is among them.

        Args:
            name: the CA's.
            named: one more certificate that the user has named, or None.
            file: its file.
        """
        from scepflow.engine.certificates import is_ca

        known = {**self.certificates, **({file: named} if named else {})}
        fitting = [file for file, found in known.items() if found.subject == name and is_ca(found)]
        return replace(self, certificates=known, anchor=fitting[0]) if fitting else self

    def lines(self) -> Iterator[str]:
        """Yield what ``-v`` says of the choice."""
        if self.guessed:
            yield f"using RA certificate: {self._subject(self.signing)}"
            yield f"using RA encryption certificate: {self._subject(self.encryption)}"
            if self.anchor is not None:
                yield f"using issuer certificate: {self._subject(self.anchor)}"
        if self.anchor is None:
            yield "no CA certificate is known: the new certificate's issuer is not verified"

    def _subject(self, file: str) -> str:
        return oneline(self.certificates[file].subject)


def find_ca_files(settings: Settings) -> CaFiles:
    """Return the CA's certificate files: ``-c`` itself, or else the choice among ``FILE-n``.

    Raises:
        SscepExit: code 93; there is no certificate, or ``-e`` cannot be read.
    """
    name = settings.ca_file or ""
    own = _read(name)
    found = [(name, own)] if own else _numbered(name)
    if not found:
        raise _unreadable(settings, "CA cert (-c)", name)
    signing, encryption = choose([certificate for _, certificate in found])
    signing_file, encryption_file = found[signing][0], found[encryption][0]
    if settings.encryption_file is not None:
        receiver = _read(settings.encryption_file)
        if receiver is None:
            raise _unreadable(settings, "enc CA cert (-e)", settings.encryption_file)
        encryption_file = settings.encryption_file
        found.append((encryption_file, receiver))
    return CaFiles(
        signing=signing_file,
        encryption=encryption_file,
        anchor=_anchor(found, found[signing][1]),
        guessed=own is None,
        certificates=dict(found),
    )


def is_older(name: str, than: str) -> bool:
    """Tell whether a file was written before another one; False when one of them is not there."""
    try:
        return Path(name).stat().st_mtime_ns <= Path(than).stat().st_mtime_ns
    except (OSError, ValueError):
        return False


def choose(certificates: Sequence[x509.Certificate]) -> tuple[int, int]:
    """Return the places of the signing and the encryption certificate, by sscep's rule.

    What issued another one of them is no candidate; the key usage decides among the rest, the last wins.
    """
    from scepflow.engine.certificates import key_usage

    signing = encryption = 0
    issuers = {certificate.issuer for certificate in certificates}
    for place, certificate in enumerate(certificates):
        if certificate.subject in issuers:
            continue
        usage = key_usage(certificate)
        if usage is None or usage.digital_signature:
            signing = place
        if usage is None or usage.key_encipherment:
            encryption = place
    return signing, encryption


def _anchor(found: Sequence[tuple[str, x509.Certificate]], signer: x509.Certificate) -> str | None:
    """Return the file of the CA that issues: the signer if it is one, else its issuer, else any."""
    from scepflow.engine.certificates import is_ca

    authorities = [(file, certificate) for file, certificate in found if is_ca(certificate)]
    own = [file for file, certificate in authorities if certificate == signer]
    issuing = [file for file, certificate in authorities if certificate.subject == signer.issuer]
    return next(iter([*own, *issuing, *(file for file, _ in authorities)]), None)


def _numbered(base: str) -> list[tuple[str, x509.Certificate]]:
    found = []
    for number in range(_MOST_FILES):
        certificate = _read(f"{base}-{number}")
        if certificate is None:
            break
        found.append((f"{base}-{number}", certificate))
    return found


def _read(name: str) -> x509.Certificate | None:
    """Return the first certificate in a file, or None; no file is read that is larger than any chain."""
    from scepflow.engine.trust import parse_certificates
    from scepflow.errors import ProtocolError

    try:
        with Path(name).open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        return None if len(data) > _LARGEST_BYTES else parse_certificates(data)[0]
    except (OSError, ValueError, ProtocolError):
        return None


def _unreadable(settings: Settings, what: str, name: str) -> SscepExit:
    return SscepExit(Exit.FILE, stderr=(f"{settings.program}: cannot read {what} file {name}",))
