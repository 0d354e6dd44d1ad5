"""sscep's enroll: one run of the pipeline, under the transaction id that sscep gives it.

Must never hold: a message, a poll or a check of its own; the runner has them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from scepflow.sscep.lines import tell_issued, tell_pem, tell_request
from scepflow.sscep.settings import Exit, SscepExit
from scepflow.sscep.wire import CertificateFile, CommandEnded, SteadySigner

if TYPE_CHECKING:
    from cryptography import x509

    from scepflow.engine.identity import Credential
    from scepflow.pipeline import Pipeline
    from scepflow.sscep.command import Command

__all__ = ["enroll"]


def enroll(command: Command, names: frozenset[str]) -> int:
    """Get a certificate and write it as ``-l``."""
    from scepflow.engine.enrollment import key_transaction_id
    from scepflow.once import run_once

    settings = command.settings
    if settings.resume and settings.max_polls <= 0:
        return Exit.SUCCESS
    pipeline = command.message_pipeline(names)
    assert settings.local_certificate is not None, "the command line has it"
    command.check_output(settings.local_certificate, complaint="cannot open cert file for writing")
    csr = _request(command, pipeline)
    transaction_id = key_transaction_id(csr)
    command.screen.verbose(f" Read request with transaction id: {transaction_id}")
    tell_request(command.screen, csr)
    serial, ready = bytes.fromhex(transaction_id), partial(_signer_ready, command)
    issued = partial(tell_issued, command.screen, csr=csr)
    sink = CertificateFile(name=settings.local_certificate, ready=issued)
    signer = SteadySigner(inner=pipeline.signer, serial=serial, ready=ready)
    credential, deliveries = run_once(
        replace(pipeline, signer=signer, sinks={"file": sink}),
        emit=command.registry.emit,
        system=command.system,
        transaction_id=transaction_id,
        resume=settings.resume,
    )
    if any(delivery.error for delivery in deliveries):
        _keep(command, transaction_id, credential)
        return Exit.FILE
    tell_pem(command.screen, credential.certificate)
    return Exit.SUCCESS


def _keep(command: Command, transaction_id: str, credential: Credential) -> None:
    """Save a certificate that has no place: the CA may not give it a second time."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from scepflow.private_files import explained, make_folders, write_private

    path = command.state.path / "unplaced" / f"{transaction_id}.pem"
    with explained(path):
        make_folders(path.parent)
        write_private(path, credential.certificate.public_bytes(Encoding.PEM))
    command.screen.complain(f"the certificate is kept as {path}")


def _request(command: Command, pipeline: Pipeline) -> x509.CertificateSigningRequest:
    """Return the request, whose key names the transaction."""
    from scepflow.faults import working
    from scepflow.system import make_run

    run = make_run(pipeline, lambda _event: None, command.system)
    with working(pipeline.key):
        key = pipeline.key.obtain(run)
    with working(pipeline.csr):
        return pipeline.csr.build(key, run)


def _signer_ready(command: Command, certificate: x509.Certificate) -> None:
    """Write the certificate that signs, if ``-L`` asks for it."""
    name = command.settings.signer_output
    if name is None:
        return
    try:
        command.write(name, certificate, complaint="cannot open file for writing", code=Exit.ERROR)
    except SscepExit as end:
        raise CommandEnded(end) from None
    command.screen.say(f"selfsigned certificate written as {name}")
