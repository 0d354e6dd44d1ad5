"""``scepflow getca``, ``getcaps``, ``getnextca``, ``getcert`` and ``getcrl``: questions that issue nothing.

Must never hold: how an answer is got or verified.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.cli import problems
from scepflow.cli.certificates import (
    ca_certificate_lines,
    certificate_lines,
    certificates_pem,
    crl_lines,
    described_ca_certificate,
    pin_line,
)
from scepflow.cli.invocation import Invocation, common_options, plugin_option, terminal_width
from scepflow.cli.passphrases import key_passphrase, passphrase_option
from scepflow.cli.progress import progress_for
from scepflow.cli.results import delivery_as_dict, error_as_dict
from scepflow.cli.words import plain_url, shout, with_exit_code
from scepflow.delivery import deliver_crl
from scepflow.descriptions import describe_certificate, describe_crl
from scepflow.errors import PipelineError, ScepflowError, SinkError, TrustError
from scepflow.faults import working
from scepflow.inquiry import get_ca, get_capabilities, get_certificate, get_crl, get_next_ca
from scepflow.options import PathTemplate, Secret
from scepflow.output_files import write_output
from scepflow.pipeline import InvalidPipelineError, check_pipeline
from scepflow.system import System, make_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptography import x509

    from scepflow.delivery import Delivery
    from scepflow.engine.queries import NextCa
    from scepflow.events import Event
    from scepflow.pipeline import Pipeline
    from scepflow.registry import Registry

__all__ = ["getca", "getcaps", "getcert", "getcrl", "getnextca"]

_NOT_TAKEN = "no sink of the pipeline takes a CRL"
_HOW_TO_TAKE = 'name a file: crl = "ca.crl" in a sink of the kind file; or write one with --output'
_Command = TypeVar("_Command", bound="Callable[..., Any]")

_json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON document.")
_output_option = click.option(
    "--output",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    metavar="FILE",
    help="Write what was verified to FILE in PEM, whole or not at all; - is stdout.",
)


def _query(command: _Command) -> _Command:
    """Add what all questions have in common."""
    asked: Any = click.pass_obj(command)
    for decorate in (plugin_option, common_options, _json_option, click.argument("pipeline")):
        asked = decorate(asked)
    return cast("_Command", asked)


def _signer_options(command: _Command) -> _Command:
    for option in (
        passphrase_option,
        click.option(
            "--key",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Its private key; otherwise the key of [key].",
        ),
        click.option(
            "--certificate",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="The certificate that signs the question, instead of the pipeline's [signer].",
        ),
    ):
        command = option(command)
    return command


def _signed_query(command: Callable[..., int]) -> Callable[..., int]:
    """Add what the questions that are signed have in common; the command gets the pipeline with who signs them."""

    @wraps(command)
    def ask(
        invocation: Invocation,
        *,
        pipeline: str,
        certificate: Path | None,
        key: Path | None,
        passphrase_file: str | None,
        as_json: bool,
        **options: Any,
    ) -> int:
        asked = _open(invocation, pipeline, as_json=as_json)
        asked = _signed_by(asked, certificate, key, passphrase_file=passphrase_file)
        return command(asked, as_json=as_json, **options)

    return _signer_options(_output_option(_query(ask)))


def _serial_number(_ctx: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """Read a serial number in hex, with or without colons and ``0x``."""
    if value is None:
        return None
    text = value.replace(":", "").lower().removeprefix("0x")
    if not 1 <= len(text) <= 64 or text.strip("0123456789abcdef"):
        raise click.BadParameter(f"{value!r} is not a serial number in hex, such as 4f:11:0a.")
    return int(text, 16)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A pipeline that is asked about, and who is told what happens."""

    pipeline: Pipeline
    registry: Registry
    invocation: Invocation

    def emit(self, event: Event) -> None:
        self.registry.emit(event)

    @property
    def context(self) -> list[str]:
        """Where an error happened."""
        return [f"pipeline {self.pipeline.name}", plain_url(self.pipeline.ca.url)]


def _open(invocation: Invocation, file: str, *, as_json: bool) -> _Asked:
    registry = invocation.registry()
    report = check_pipeline(file, registry)
    problems.show(invocation, report)
    if report.pipeline is None:
        invalid = InvalidPipelineError(report)
        if as_json:
            _print_document(Path(file).stem, invalid.exit_code, error=error_as_dict(invalid))
        raise click.exceptions.Exit(invalid.exit_code)
    registry.register(progress_for(invocation), "progress")
    return _Asked(report.pipeline, registry, invocation)


def _fail(asked: _Asked, error: ScepflowError, *, as_json: bool) -> int:
    """Show an error; a script that wants JSON gets it in the document as well."""
    asked.invocation.show_error(error, context=asked.context)
    if as_json:
        _print_json(asked, error.exit_code, error=error_as_dict(error))
    return error.exit_code


def _print_json(asked: _Asked, code: int, **answer: Any) -> None:
    _print_document(asked.pipeline.name, code, **answer)


def _print_document(pipeline: str, code: int, **answer: Any) -> None:
    document = {"pipeline": pipeline, "exit_code": code, "error": None} | answer
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print(asked: _Asked, lines: Sequence[str], *, output: Path | None, code: int = 0) -> None:
    """Print the screen, unless the command is quiet or stdout has the PEM."""
    if asked.invocation.verbosity < 0 or str(output) == "-":
        return
    lines = [*lines, *([f"  {'written':11}  {output}"] if output else [])]
    for line in with_exit_code(lines, code, terminal_width(sys.stdout) if code else 0):
        click.echo(line)


@click.command()
@_query
def getcaps(invocation: Invocation, *, pipeline: str, as_json: bool) -> int:
    """Show what the CA says it can do.

    GetCACaps is asked. The answer is not authenticated: anybody on the way can change it.
    """
    asked = _open(invocation, pipeline, as_json=as_json)
    try:
        answer = get_capabilities(asked.pipeline, emit=asked.emit)
    except ScepflowError as error:
        return _fail(asked, error, as_json=as_json)
    names, unknown = sorted(answer.capabilities.names), answer.capabilities.unknown
    if as_json:
        status = answer.response.status
        _print_json(asked, 0, http_status=status, capabilities=names, unknown=list(unknown))
        return 0
    if not names:
        why = "" if answer.response.status == 200 else f": it answered HTTP {answer.response.status}"
        invocation.error_line(f"{shout('warning:', 'yellow')} the CA lists no capabilities{why}")
    _print(asked, [*names, *(f"{word} (unknown)" for word in unknown)], output=None)
    return 0


@click.command()
@_output_option
@_query
def getca(invocation: Invocation, *, pipeline: str, as_json: bool, output: Path | None) -> int:
    """Show the CA's certificates, and which would be used.

    What is not authenticated by [ca] is shown, with the line that would pin it, and not written; the exit code is then 5.
    """
    asked = _open(invocation, pipeline, as_json=as_json)
    try:
        answer = get_ca(asked.pipeline, emit=asked.emit)
        if output and answer.bundle:
            _write(output, certificates_pem(answer.bundle.certificates))
    except ScepflowError as error:
        return _fail(asked, error, as_json=as_json)
    code = answer.error.exit_code if answer.error else 0
    if as_json:
        _print_json(
            asked,
            code,
            authenticated_by=answer.bundle.by if answer.bundle else None,
            certificates=[
                described_ca_certificate(certificate, answer) for certificate in answer.certificates
            ],
            error=error_as_dict(answer.error),
        )
    else:
        lines = [line for c in answer.certificates for line in ca_certificate_lines(c, answer)]
        _print(asked, lines, output=output if answer.bundle else None, code=code)
    if answer.error:
        answer.error.hint = (
            f"compare with what its operator tells you, then write into [ca]:  {pin_line(answer)}"
        )
        invocation.show_error(answer.error, context=asked.context)
    return code


@click.command()
@_output_option
@_query
def getnextca(invocation: Invocation, *, pipeline: str, as_json: bool, output: Path | None) -> int:
    """Get the certificates that will follow the CA's.

    The answer must be signed by the current CA. It is stored where --output says and nowhere else: trust begins when you pin it.
    What only a relaxed check lets through is shown, and not written; the exit code is then 5.
    """
    asked = _open(invocation, pipeline, as_json=as_json)
    try:
        following = get_next_ca(asked.pipeline, emit=asked.emit)
        doubt = _doubt(following)
        if output and not doubt:
            _write(output, certificates_pem(following.certificates))
    except ScepflowError as error:
        return _fail(asked, error, as_json=as_json)
    written = output if not doubt or str(output) == "-" else None  # stdout is for PEM, or for nothing
    _print_certificates(
        asked, following.certificates, "next CA", output=written, as_json=as_json, error=doubt
    )
    if doubt:
        invocation.show_error(doubt, context=asked.context)
    return doubt.exit_code if doubt else 0


def _doubt(following: NextCa) -> TrustError | None:
    """Return why what came must not be kept, though [ca] lets it be seen."""
    if following.signer is not None:
        return None
    return TrustError(
        f"not verified, so shown and not written: {'; '.join(following.doubts)}",
        check="ca-authentication",
        hint="take the check out of relax, or ask the CA's operator for its next certificate",
    )


@click.command()
@click.option(
    "--serial",
    metavar="HEX",
    callback=_serial_number,
    required=True,
    help="Serial number of the certificate, in hex.",
)
@_signed_query
def getcert(asked: _Asked, *, serial: int, as_json: bool, output: Path | None) -> int:
    """Get a certificate that the CA has issued."""
    try:
        found = get_certificate(asked.pipeline, serial, emit=asked.emit)
        if output:
            _write(output, certificates_pem([found]))
    except ScepflowError as error:
        return _fail(asked, error, as_json=as_json)
    _print_certificates(asked, [found], "certificate", output=output, as_json=as_json)
    return 0


@click.command()
@click.option(
    "--serial",
    metavar="HEX",
    callback=_serial_number,
    help="Serial number of a certificate that the CRL covers, in hex; otherwise that of the signing certificate.",
)
@click.option("--deliver", is_flag=True, help="Hand the CRL to the pipeline's sinks that take one.")
@_signed_query
def getcrl(asked: _Asked, *, serial: int | None, deliver: bool, as_json: bool, output: Path | None) -> int:
    """Get the CA's certificate revocation list.

    Its issuer and signature are checked before it is written or delivered. SCEP cannot revoke a certificate: ask the CA's operator.
    """
    try:
        if deliver:
            _check_delivery(asked)
        crl = get_crl(asked.pipeline, serial, emit=asked.emit)
        if output:
            _write(output, crl.public_bytes(Encoding.PEM))
        deliveries = _deliver(asked, crl) if deliver else ()
    except ScepflowError as error:
        return _fail(asked, error, as_json=as_json)
    code = SinkError.exit_code if any(delivery.error for delivery in deliveries) else 0
    if as_json:
        _print_crl_json(asked, crl, deliveries, code)
    else:
        _print(asked, [*crl_lines(crl), *_delivery_lines(deliveries)], output=output, code=code)
    return code


def _signed_by(
    asked: _Asked, certificate: Path | None, key: Path | None, *, passphrase_file: str | None
) -> _Asked:
    """Return the pipeline with the signer that the command line names."""
    if passphrase_file is not None and key is None:
        raise click.UsageError("--passphrase-file needs --key.")
    if certificate is None:
        if key is not None:
            raise click.UsageError("--key needs --certificate.")
        return asked
    existing: Any = asked.registry.stage("signer", "existing")
    passphrase = key_passphrase(str(key), passphrase_file) if key else None
    stage = existing(
        certificate=PathTemplate(certificate.absolute()),
        key=PathTemplate(key.absolute()) if key else None,
        passphrase=Secret(passphrase) if passphrase else None,
    )
    return replace(asked, pipeline=replace(asked.pipeline, signer=stage))


def _check_delivery(asked: _Asked) -> None:
    """Refuse to ask for a CRL that nobody takes."""
    for sink in asked.pipeline.sinks.values():
        with working(sink):
            if sink.takes_crl():
                return
    raise PipelineError(_NOT_TAKEN, hint=_HOW_TO_TAKE)


def _deliver(asked: _Asked, crl: x509.CertificateRevocationList) -> Sequence[Delivery]:
    system = System()
    run = make_run(asked.pipeline, asked.emit, system)
    deliveries = deliver_crl(asked.pipeline.sinks, crl, run, monotonic_s=system.monotonic_s)
    if not deliveries:  # whatever they had said
        raise SinkError(_NOT_TAKEN, hint=_HOW_TO_TAKE)
    return deliveries


def _print_certificates(
    asked: _Asked,
    certificates: Sequence[x509.Certificate],
    heading: str,
    *,
    output: Path | None,
    as_json: bool,
    error: ScepflowError | None = None,
) -> None:
    code = error.exit_code if error else 0
    if as_json:
        described = [{**describe_certificate(c), "pem": certificates_pem([c]).decode()} for c in certificates]
        _print_json(asked, code, certificates=described, error=error_as_dict(error))
    else:
        lines = [line for c in certificates for line in certificate_lines(c, heading)]
        _print(asked, lines, output=output, code=code)


def _print_crl_json(
    asked: _Asked, crl: x509.CertificateRevocationList, deliveries: Sequence[Delivery], code: int
) -> None:
    described = {**describe_crl(crl), "pem": crl.public_bytes(Encoding.PEM).decode()}
    _print_json(asked, code, crl=described, deliveries=[delivery_as_dict(d) for d in deliveries])


def _delivery_lines(deliveries: Sequence[Delivery]) -> Iterator[str]:
    for delivery in deliveries:
        if delivery.error is None:
            yield f"  {'delivered':11}  {delivery.sink}: {delivery.detail}"
        else:
            yield f"  {shout('NOT delivered', 'red')}  {delivery.sink}: {delivery.error.message}"


def _write(path: Path, content: bytes) -> None:
    """Replace a file whole or not at all; a link, a FIFO or a device is written to, and ``-`` is stdout.

    Raises:
        SinkError: it cannot be written; a file that was there before still is.
    """
    if str(path) == "-":
        click.echo(content.decode("ascii"), nl=False)
        return
    try:
        write_output(str(path), content)
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}", hint="name another file with --output") from None
