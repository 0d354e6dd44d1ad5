"""Secrets for a command: from a file, or asked of whoever sits at the terminal.

Must never hold: a secret in an argv, an error, a log line or a repr.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scepflow.errors import OptionError
from scepflow.options import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["key_passphrase", "passphrase_option", "secret_in"]

passphrase_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    help="File with the pass phrase of --key; a terminal is asked for it otherwise.",
)


def secret_in(file: str, option: str) -> str:
    """Return the secret in a file, one line end at its end removed.

    Args:
        file: its name, relative to where the command runs.
        option: the option that names it, for the error.

    Raises:
        click.UsageError: it cannot be read, is empty or is no text.
    """
    try:
        return Secret({"file": file}).reveal(Path.cwd())
    except OptionError as error:
        raise click.UsageError(f"{option}: {error.message}") from None


def key_passphrase(
    key_file: str,
    passphrase_file: str | None,
    *,
    data: bytes | None = None,
    option: str = "--key",
    ask: Callable[[str], str | None] | None = None,
) -> str | None:
    """Return the pass phrase of a key file, or None where it needs none or cannot be read at all.

    Args:
        key_file: the private key, PEM or DER, as ``--key`` names it.
        passphrase_file: what ``--passphrase-file`` names; None asks, if the key is encrypted.
        data: the key file's content; None reads it.
        option: what names the key, for the error.
        ask: shows a text and returns what is typed, None where nobody can be asked; the terminal when None.

    Raises:
        click.UsageError: the key is encrypted and there is no pass phrase.
    """
    if passphrase_file is not None:
        return secret_in(passphrase_file, "--passphrase-file")
    if not _is_encrypted(_content(Path(key_file)) if data is None else data):
        return None
    passphrase = (ask or _ask)(f"Pass phrase of {key_file}: ")
    if not passphrase:
        raise click.UsageError(f"{option}: {key_file}: its pass phrase is needed: --passphrase-file")
    return passphrase


def _content(file: Path) -> bytes:
    """Return a file's bytes, none of a pipe's: whoever wants the key can read that only once."""
    with suppress(OSError):  # said when the key is wanted
        if file.is_file():
            return file.read_bytes()
    return b""


def _is_encrypted(data: bytes) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    load = load_pem_private_key if b"-----BEGIN " in data else load_der_private_key
    try:
        load(data, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:  # so the library says that it needs a pass phrase
        return True
    except (ValueError, UnsupportedAlgorithm):  # said when the key is wanted
        return False
    return False


def _ask(text: str) -> str | None:
    """Ask at the terminal, which shows nothing of what is typed."""
    if not (sys.stdin.isatty() or sys.stderr.isatty()):
        return None
    from getpass import getpass

    try:
        return getpass(text)
    except EOFError:
        return None
