"""Whether a certificate is what a pipeline would ask for, found out without the CA, the pipeline's key or a challenge.

Must never hold: what follows from that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from scepflow.errors import ScepflowError
from scepflow.faults import working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepflow.engine.identity import Credential
    from scepflow.pipeline.model import Pipeline
    from scepflow.stages import Run

__all__ = ["asked_subject", "is_issued_by_pin"]


def asked_subject(pipeline: Pipeline, run: Run) -> x509.Name | None:
    """Return the subject that ``[csr]`` asks for, or None where that cannot be told.

    Args:
        pipeline: whose.
        run: nobody is told what the stage says meanwhile.
    """
    # As in a renewal, so that no challenge is used up; the key is for this alone.
    quiet = replace(run, emit=lambda _event: None, renewal=True)
    try:
        with working(pipeline.csr):
            return pipeline.csr.build(ec.generate_private_key(ec.SECP256R1()), quiet).subject
    except ScepflowError:  # such as a request from a file, which is for another key
        return None


def is_issued_by_pin(pipeline: Pipeline, credential: Credential) -> bool | None:
    """Return whether the file of ``[ca] certificate`` has a certificate above this one; None where there is no such file."""
    pinned = _certificates(pipeline.directory / pipeline.ca.certificate) if pipeline.ca.certificate else []
    if not pinned:
        return None
    below, reached = credential.certificate, [credential.certificate]
    while above := _issuer(below, (*pinned, *credential.chain)):
        if above in pinned:
            return True
        if above in reached:
            break
        below = above
        reached.append(above)
    return False


def _issuer(certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> x509.Certificate | None:
    for other in others:
        try:
            certificate.verify_directly_issued_by(other)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return other
    return None


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        data = file.read_bytes()
        if b"-----BEGIN " in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except (OSError, ValueError):  # the first message to the CA says what is wrong with it
        return []
