"""sscep's questions that are signed with a certificate of ours: getcert, getcrl.

Must never hold: a request that could issue a certificate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepflow.sscep.lines import oneline, tell_certificate, tell_pem
from scepflow.sscep.settings import Exit

if TYPE_CHECKING:
    from cryptography import x509

    from scepflow.sscep.command import Command

__all__ = ["getcert", "getcrl"]

_TRANSACTION_ID = "SSCEP transactionId"
"""What sscep calls every question for a certificate or a CRL."""


def getcert(command: Command, names: frozenset[str]) -> int:
    """Write the certificate that has a serial number; its issuer is the CA, or ``-O``."""
    from scepflow.inquiry import get_certificate

    settings, screen = command.settings, command.screen
    assert settings.serial is not None, "the command line has it"
    assert settings.output is not None, "the command line has it"
    complaint = "cannot open cert file for writing"
    pipeline = command.message_pipeline(names)
    command.check_output(settings.output, complaint=complaint)
    issuer = command.inputs.named.subject if command.inputs.named else command.inputs.ca.issuer
    screen.verbose(
        f"requesting certificate with serial number {settings.serial} and issuer {oneline(issuer)}"
    )
    certificate = get_certificate(
        pipeline,
        settings.serial,
        emit=command.registry.emit,
        issuer_der=_unless_ca(command, issuer),
        transaction_id=_TRANSACTION_ID,
        system=command.system,
    )
    tell_certificate(screen, certificate)
    command.write(settings.output, certificate, complaint=complaint)
    screen.say(f"certificate written as {settings.output}")
    tell_pem(screen, certificate)
    return Exit.SUCCESS


def getcrl(command: Command, names: frozenset[str]) -> int:
    """Write the CRL that covers the certificate ``-O``, or our own."""
    from scepflow.inquiry import get_crl

    settings, screen = command.settings, command.screen
    assert settings.output is not None, "the command line has it"
    complaint = "cannot open CRL file for writing"
    pipeline = command.message_pipeline(names)
    command.check_output(settings.output, complaint=complaint)
    covered = command.inputs.named or command.inputs.own
    assert covered is not None, "the command line has it"
    serial = settings.serial
    if serial is None and command.inputs.named is not None:
        serial = covered.serial_number
    whose = "our own certificate" if serial is None else f"serial number {serial}"
    screen.verbose(f"requesting crl for {whose} and issuer {oneline(covered.issuer)}")
    crl = get_crl(
        pipeline,
        serial,
        emit=command.registry.emit,
        issuer_der=_unless_ca(command, covered.issuer),
        transaction_id=_TRANSACTION_ID,
        system=command.system,
    )
    command.write(settings.output, crl, complaint=complaint)
    screen.say(f"CRL written as {settings.output}")
    tell_pem(screen, crl)
    return Exit.SUCCESS


def _unless_ca(command: Command, issuer: x509.Name) -> bytes | None:
    """Return the Name's DER, or None for the CA's own name, which is sent as its certificate has it."""
    return None if issuer == command.inputs.ca.issuer else issuer.public_bytes()
