"""The CA certificates that ``-c`` and ``-e`` name: which one signs replies, and which one receives requests.

Must never hold: a request to the CA; the files are all that is known of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.sscep.settings import Exit, SscepExit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from scepflow.sscep.settings import Settings

__all__ = ["CaFiles", "find_ca_files"]

_MOST_FILES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CaFiles:
    """The files of the CA's certificates.

    Attributes:
        signing: its certificate verifies replies.
        encryption: its certificate receives requests.
        anchor: file of the CA certificate that issues, or None when none is known.
        guessed: whether they were chosen among ``FILE-0``, ``FILE-1``, ….
        subjects: subject of the certificate in each of these files, in OpenSSL's one-line form.
    """

    signing: str
    encryption: str
    anchor: str | None
    guessed: bool = False
    subjects: tuple[tuple[str, str], ...] = ()


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
        subjects=tuple((file, oneline(certificate.subject)) for file, certificate in found),
    )


def choose(certificates: Sequence[x509.Certificate]) -> tuple[int, int]:
    """Return the places of the signing and the encryption certificate, by sscep's rule.

    What issued another one of them is no candidate; the key usage decides among the rest, the last wins.
    """
    from scepflow.engine.trust import key_usage

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
    from scepflow.engine.trust import is_ca

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
    """Return the first certificate in a file, or None."""
    from scepflow.engine.trust import parse_certificates
    from scepflow.errors import ProtocolError

    try:
        return parse_certificates(Path(name).read_bytes())[0]
    except (OSError, ValueError, ProtocolError):
        return None


def _unreadable(settings: Settings, what: str, name: str) -> SscepExit:
    return SscepExit(Exit.FILE, stderr=(f"{settings.program}: cannot read {what} file {name}",))


def oneline(name: x509.Name) -> str:
    """Return a name as OpenSSL writes it in one line, such as ``/C=FI/O=Example/CN=CA``."""
    from scepflow.text import sanitise

    return sanitise("".join(f"/{part.rfc4514_attribute_name}={part.value!s}" for part in name))
