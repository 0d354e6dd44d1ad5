"""The files that a message needs, looked at in sscep's order, before anything but GetCACaps is asked.

Must never hold: what is in a key; the stages read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.errors import ProtocolError
from scepflow.sscep.ca_files import find_ca_files
from scepflow.sscep.engine import is_same_key, without_pin
from scepflow.sscep.settings import QUESTIONS, Exit, Operation, SscepExit

if TYPE_CHECKING:
    from cryptography import x509

    from scepflow.sscep.ca_files import CaFiles
    from scepflow.sscep.settings import Settings

__all__ = ["Inputs", "read_inputs"]

_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What was found.

    Attributes:
        ca: the CA's certificate files.
        own: the certificate that signs a question (``-l``), else None.
        named: the certificate that ``-O`` names, or None.
        encrypted: the first key file that has a pass phrase, or None.
    """

    ca: CaFiles
    own: x509.Certificate | None = None
    named: x509.Certificate | None = None
    encrypted: str | None = None


def read_inputs(settings: Settings, *, key_is_file: bool) -> Inputs:
    """Return the certificates that an operation needs, and whether its keys have a pass phrase.

    Args:
        settings: the command.
        key_is_file: whether ``-k`` names a file, not a key on a token.

    Raises:
        SscepExit: code 93; one of them cannot be read.
    """
    question = settings.operation in QUESTIONS
    own = _certificate(settings, settings.local_certificate, "local cert (-l)") if question else None
    ca = find_ca_files(settings)
    # sscep reads -K for a question too, and does nothing with it; on a token it is -k again.
    old_key = None if question or (is_same_key(settings) and not key_is_file) else settings.old_key
    names = [name for name in (settings.key if key_is_file else None, old_key) if name is not None]
    keys = {
        name: _read(settings, name, f"cannot open private key file {without_pin(name)}") for name in names
    }
    named = _certificate(settings, settings.old_certificate, "renewal cert (-O)")
    if not question and settings.request is not None:
        _read(settings, settings.request, "cannot open certificate request")
    return Inputs(
        ca=_with_issuer(settings, ca, own=own, named=named),
        own=own,
        named=named,
        encrypted=next((name for name, key in keys.items() if b"ENCRYPTED" in key), None),
    )


def _with_issuer(
    settings: Settings, ca: CaFiles, *, own: x509.Certificate | None, named: x509.Certificate | None
) -> CaFiles:
    """Return the files with the CA that a question is about: getcert's ``-O``, or who issued what getcrl shall cover."""
    if settings.operation == Operation.GETCERT and named is not None:
        return ca.for_issuer(named.subject, named, file=settings.old_certificate or "")
    covered = named or own
    if settings.operation == Operation.GETCRL and covered is not None:
        return ca.for_issuer(covered.issuer)
    return ca


def _read(settings: Settings, name: str, complaint: str) -> bytes:
    """Return what is in a file, as far as it can be a key or request."""
    try:
        with Path(name).open("rb") as file:
            return file.read(_LARGEST_BYTES)
    except OSError as error:
        raise _unreadable(settings, complaint, f"{without_pin(name)}: {error.strerror}") from None


def _certificate(settings: Settings, name: str | None, what: str) -> x509.Certificate | None:
    """Return the first certificate in a file, or None without a file."""
    if name is None:
        return None
    from scepflow.engine.trust import parse_certificates

    complaint = f"cannot read {what} {name}"
    data = _read(settings, name, complaint)
    try:
        return parse_certificates(data)[0]
    except ProtocolError:  # its words may quote the file
        raise _unreadable(settings, complaint, f"{name}: there is no certificate in it") from None


def _unreadable(settings: Settings, *lines: str) -> SscepExit:
    return SscepExit(Exit.FILE, stderr=tuple(f"{settings.program}: {line}" for line in lines))
