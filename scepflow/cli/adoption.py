"""``scepflow run --adopt``: a certificate that came from elsewhere, read from files.

Must never hold: what adopting means; that is `scepflow.upkeep`. Or a pass phrase in a message.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cryptography import x509

from scepflow.cli.passphrases import key_passphrase
from scepflow.faults import working
from scepflow.options import PathTemplate, Secret
from scepflow.system import System, make_run
from scepflow.upkeep import adopt

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.cli.invocation import Invocation
    from scepflow.cli.runs import Work
    from scepflow.events import Event
    from scepflow.pipeline import Pipeline
    from scepflow.registry import Registry
    from scepflow.runner import Outcome
    from scepflow.stages import PrivateKey, Run
    from scepflow.state import StateDirectory

__all__ = ["adopting"]


def adopting(
    invocation: Invocation,
    registry: Registry,
    files: tuple[str, str],
    *,
    passphrase_file: str | None,
    state: StateDirectory,
    work: Work,
) -> Work:
    """Return work that takes in a certificate before it does what it did.

    Args:
        invocation: is told what was adopted.
        registry: knows how a key file is read.
        files: the certificate, which others may surround, and its private key; PEM or DER.
        passphrase_file: file with the key's pass phrase; the terminal is asked when None.
        state: where the certificate is kept from then on.
        work: what comes next.

    Raises:
        click.UsageError: a file cannot be read, holds no certificate, or a pass phrase is missing.
    """
    certificate_file, key_file = files
    certificates = _certificates(Path(certificate_file))
    passphrase = key_passphrase(key_file, passphrase_file, data=_content(Path(key_file)), option="--adopt")

    def adopt_first(pipeline: Pipeline, emit: Callable[[Event], None]) -> Outcome:
        system = System()
        key = _key(Path(key_file), passphrase, registry, make_run(pipeline, emit, system))
        facts = adopt(pipeline, key, certificates, emit=emit, state=state, system=system)
        if facts:
            invocation.note(
                f"adopted {facts.subject}, serial {facts.serial}; `scepflow deliver` hands it to the sinks"
            )
        return work(pipeline, emit)

    return adopt_first


def _key(file: Path, passphrase: str | None, registry: Registry, run: Run) -> PrivateKey:
    options: dict[str, Any] = {"path": PathTemplate(file.absolute())}
    if passphrase is not None:
        options["passphrase"] = Secret(passphrase)
    source: Any = registry.stage("key", "file")(**options)
    with working(source):
        key: PrivateKey = source.obtain(run)
    return key


def _certificates(file: Path) -> list[x509.Certificate]:
    data = _content(file)
    try:
        if b"-----BEGIN " in data:
            return x509.load_pem_x509_certificates(data)
        return [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise click.UsageError(f"--adopt: {file} holds no certificate") from None


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"--adopt: cannot read {file}: {error.strerror}") from None
