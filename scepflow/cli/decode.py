"""``scepflow decode``: any SCEP message, offline, as a tree or JSON.

Must never hold: how it is read; that is `scepflow.decoding`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli.invocation import Invocation, common_options, terminal_width
from scepflow.cli.passphrases import key_passphrase, passphrase_option, secret_in
from scepflow.cli.results import error_as_dict
from scepflow.cli.trees import tree_lines
from scepflow.cli.words import digits, shout, with_exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from scepflow.decoding import Decoded
    from scepflow.errors import ScepflowError

__all__ = ["decode"]

_MAX_BYTES = 64 << 20
_IN_THE_HEADING = ("kind", "title", "form", "size_bytes", "notes")


@click.command()
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--key", metavar="FILE", help="Private key that opens the envelope, PEM or DER.")
@passphrase_option
@click.option(
    "--challenge-file",
    metavar="FILE",
    help="File with the challenge, which opens an envelope made for a password.",
)
@click.option("--certificate", metavar="FILE", help="The key's certificate; picks one of several recipients.")
@click.option(
    "--ca", metavar="FILE", help="Verify a reply by these certificates: GetCACert's answer, or PEM."
)
@click.option("--show-secrets", is_flag=True, help="Show the text of a challenge too.")
@click.option("--json", "as_json", is_flag=True, help="Print what was read as one JSON document.")
@common_options
@click.pass_obj
def decode(
    invocation: Invocation,
    *,
    file: str,
    key: str | None,
    passphrase_file: str | None,
    challenge_file: str | None,
    certificate: str | None,
    ca: str | None,
    show_secrets: bool,
    as_json: bool,
) -> int:
    """Show what is in any SCEP message, request or answer.

    FILE is a pki_message, an answer to GetCACaps, GetCACert or GetNextCACert, a certification request, a
    certificate or a CRL, in DER, BER, PEM or base64; - is standard input. Nothing is sent.
    """
    from scepflow.decoding import Means
    from scepflow.decoding import decode as decoded_by
    from scepflow.errors import ProtocolError

    if passphrase_file and not key:
        raise click.UsageError("--passphrase-file needs --key.")
    data = _read(file)
    means = Means(
        key=_key(key, passphrase_file) if key else None,
        challenge=secret_in(challenge_file, "--challenge-file") if challenge_file else None,
        certificate=_certificates(certificate, "--certificate")[0] if certificate else None,
        ca=_certificates(ca, "--ca") if ca else (),
        show_secrets=show_secrets,
    )
    try:
        decoded = decoded_by(data, means)
    except ProtocolError as error:
        if as_json:
            _print_json(error, {})
        raise
    code = decoded.error.exit_code if decoded.error else 0
    if as_json:
        _print_json(decoded.error, decoded.document)
    else:
        for line in with_exit_code(
            list(_screen(file, decoded)), code, terminal_width(sys.stdout) if code else 0
        ):
            click.echo(line)
    if decoded.error:
        invocation.show_error(decoded.error)
    return code


def _print_json(error: ScepflowError | None, document: dict[str, Any]) -> None:
    code = error.exit_code if error else 0
    told = {"exit_code": code, "error": error_as_dict(error)}
    click.echo(json.dumps(told | document, indent=2, ensure_ascii=False))


def _screen(file: str, decoded: Decoded) -> Iterator[str]:
    document = decoded.document
    name = "standard input" if file == "-" else file
    size = f", {digits(document['size_bytes'])} bytes, {document['form']}" if "form" in document else ""
    yield f"{click.style(name, bold=True)}: {document['title']}{size}"
    yield from tree_lines(_without_heading(document))
    for note in document["notes"]:
        yield f"  {shout('note', 'yellow')}  {note['text']}"


def _without_heading(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in _IN_THE_HEADING}


def _read(file: str) -> bytes:
    """Return a file's bytes, or those of standard input."""
    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as opened:
            data: bytes = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"cannot read {file}: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise click.UsageError(f"{file} is larger than {_MAX_BYTES} bytes")
    return data


def _certificates(file: str, option: str) -> tuple[x509.Certificate, ...]:
    from scepflow.engine.trust import parse_certificates
    from scepflow.errors import ProtocolError

    try:
        return parse_certificates(_read(file))
    except ProtocolError as error:
        raise click.UsageError(f"{option}: {file}: {error.message}") from None


def _key(file: str, passphrase_file: str | None) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """Return the private key; what is wrong with it is said without a word of its text."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    data = _read(file)
    passphrase = key_passphrase(file, passphrase_file, data=data)
    load = load_pem_private_key if b"-----BEGIN " in data else load_der_private_key
    try:
        key = load(data, passphrase.encode() if passphrase else None)
    except TypeError:
        raise click.UsageError(f"--key: {file}: it has no pass phrase; leave out --passphrase-file") from None
    except (ValueError, UnsupportedAlgorithm):
        wrong = ", or the pass phrase is wrong" if passphrase else ""
        raise click.UsageError(f"--key: {file} is no private key that can be read{wrong}") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise click.UsageError(f"--key: {file} is neither an RSA nor an EC key")
    return key
