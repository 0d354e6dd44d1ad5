"""sscep's questions about the CA itself: getcaps, getca, getnextca.

Must never hold: a message that is signed; none of these needs a key of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.sscep.algorithms import fingerprint_digest
from scepflow.sscep.lines import CAPABILITIES, certificate_lines, fingerprint_line, tell_pem
from scepflow.sscep.settings import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from scepflow.sscep.command import Command

__all__ = ["getca", "getcaps", "getnextca"]

_RA_TYPES = ("application/x-x509-ca-ra-cert", "application/x-x509-ra-ca-certs")


def getcaps(command: Command, names: frozenset[str]) -> int:
    """Print what the CA offers."""
    command.screen.say(f"scep capabilities: {', '.join(name for name in CAPABILITIES if name in names)}")
    return Exit.SUCCESS


def getca(command: Command, names: frozenset[str]) -> int:
    """Write the CA's certificate as ``-c``, or a bundle as ``-c``-0, ``-c``-1, …; nothing about it is verified."""
    from scepflow.inquiry import get_ca

    screen, base = command.screen, command.settings.ca_file or ""
    screen.say("requesting CA certificate")
    answer = get_ca(command.pipeline(), emit=command.registry.emit, system=command.system)
    screen.say("valid response from server")
    digest = fingerprint_digest(command.settings.fingerprint_digest, names)
    kind = command.wire.answers["GetCACert"].content_type
    if len(answer.certificates) > 1 or kind in _RA_TYPES:
        _write_numbered(command, answer.certificates, digest)
        return Exit.SUCCESS
    (certificate,) = answer.certificates
    screen.say(fingerprint_line(certificate, digest))
    command.write(base, certificate, complaint="cannot open CA file for writing", code=Exit.ERROR)
    screen.say(f"CA certificate written as {base}")
    tell_pem(screen, certificate)
    return Exit.SUCCESS


def getnextca(command: Command, names: frozenset[str]) -> int:
    """Write the certificates that follow the CA's, and with ``-w`` who signed them; the signature is verified with ``-C``."""
    from scepflow.inquiry import get_next_ca

    settings, screen = command.settings, command.screen
    screen.say("requesting next CA certificate")
    answer = get_next_ca(command.pipeline(), emit=command.registry.emit, system=command.system)
    screen.say("valid response from server")
    screen.verbose("signature ok")
    screen.verbose(f"verify and unwrap: found {len(answer.certificates)} cert(s)", prefix=False)
    if settings.output:
        command.write(settings.output, answer.signer, complaint="cannot open cert file for writing")
        screen.say(f"certificate written as {settings.output}")
    _write_numbered(command, answer.certificates, fingerprint_digest(settings.fingerprint_digest, names))
    return Exit.SUCCESS


def _write_numbered(command: Command, certificates: Sequence[x509.Certificate], digest: str) -> None:
    """Write ``FILE-0``, ``FILE-1``, …; those of a longer chain before would be taken for this one's."""
    screen, base = command.screen, command.settings.ca_file or ""
    for number, certificate in enumerate(certificates):
        screen.raw("")
        screen.say("found certificate with")
        for line in certificate_lines(certificate):
            screen.raw(line)
        screen.raw(f"  {fingerprint_line(certificate, digest)}")
        command.write(f"{base}-{number}", certificate, complaint="cannot open cert file for writing")
        screen.say(f"certificate written as {base}-{number}")
        tell_pem(screen, certificate)
    if Path(f"{base}-{len(certificates)}").exists():
        screen.complain(f"{base}-{len(certificates)} is older than these, remove it")
    if Path(base).exists():
        screen.complain(f"{base} is older than these and would be taken instead of them, remove it")
