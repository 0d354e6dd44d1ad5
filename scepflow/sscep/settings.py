"""What an sscep command asks for once command line and configuration file are read, and how one ends early.

Must never hold: I/O, or a pass phrase or PIN in a repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepflow.options import Secret

__all__ = [
    "MAX_POLLS",
    "MAX_POLL_S",
    "POLL_INTERVAL_S",
    "QUESTIONS",
    "VERSION",
    "Engine",
    "Exit",
    "Operation",
    "Settings",
    "SscepExit",
]

VERSION = "0.10.0"
"""The sscep that is spoken; scripts compare it."""

POLL_INTERVAL_S = 300
MAX_POLL_S = 28800
MAX_POLLS = 256


class Operation(StrEnum):
    """What is asked of the server, in the order in which sscep compares the words."""

    GETCAPS = "getcaps"
    GETCA = "getca"
    ENROLL = "enroll"
    GETCERT = "getcert"
    GETCRL = "getcrl"
    GETNEXTCA = "getnextca"


QUESTIONS = (Operation.GETCERT, Operation.GETCRL)
"""What a certificate of ours signs, and issues nothing."""


class Exit:
    """sscep's exit codes that have no place in `scepflow.errors`; failures are 70 + failInfo."""

    SUCCESS = 0
    ERROR = 1
    PENDING = 3
    SELF_SIGNED = 91
    FILE = 93
    NETWORK = 95
    MESSAGE = 97


class SscepExit(Exception):  # noqa: N818  # an end, which may be a success such as the usage text
    """The command ends here.

    Args:
        code: exit code, 0 to 125.
        stdout: lines for standard output, without line ends.
        stderr: lines for standard error, without line ends.
    """

    def __init__(self, code: int, *, stdout: Iterable[str] = (), stderr: Iterable[str] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.stdout_lines = tuple(stdout)
        self.stderr_lines = tuple(stderr)

    def __str__(self) -> str:
        return "\n".join(self.stderr_lines or self.stdout_lines)

    def after(self, *, stdout: Iterable[str], stderr: Iterable[str]) -> SscepExit:
        """Return the same end with lines before its own."""
        return SscepExit(
            self.code, stdout=(*stdout, *self.stdout_lines), stderr=(*stderr, *self.stderr_lines)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An OpenSSL engine that was asked for, by ``-g`` or a section of the configuration.

    Attributes:
        id: the engine's name, such as ``pkcs11``.
        module_path: the module that it loads (``MODULE_PATH``), or None.
        pin: the token's PIN, or None.
        commands: control commands and their values, in order; a value may be a PIN.
    """

    id: str
    module_path: str | None = None
    pin: str | None = field(default=None, repr=False)
    commands: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that one sscep command asks for. File names are as written, relative to where it runs.

    Attributes:
        program: the name that lines on the screen begin with.
        operation: what is asked of the server.
        url: ``-u``, checked: http or https.
        proxy: ``-p``, host or host:port, port 80 unless it is there; the login is taken out.
        proxy_user: name of the proxy's login, or None.
        proxy_password: its password, or None.
        ca_file: ``-c``, the CA's certificate, or the base of ``FILE-0``, ``FILE-1``, ….
        chain_root: ``-C``, PEM file that the signer of GetNextCACert must lead to.
        encryption_file: ``-e``, the certificate to encrypt for.
        cipher: ``-E`` by scepflow's name, such as ``3des-cbc``; None leaves it to the capabilities.
        digest: ``-S`` by scepflow's name, such as ``sha-256``; None leaves it to the capabilities.
        fingerprint_digest: ``-F``, likewise.
        identifier: ``-i``; None when it is not given (sscep then says ``CAIdentifier``), "" for no identifier at all.
        key: ``-k``, private key file, or a key on a token; not in the repr, since a PIN may stand in it.
        request: ``-r``, PKCS#10 file.
        old_key: ``-K``, key of the certificate that signs a renewal; not in the repr either.
        old_certificate: ``-O``, the certificate that signs a renewal; getcert: its issuer; getcrl: the one to check.
        local_certificate: ``-l``; enroll writes it, getcert and getcrl read it.
        signer_output: ``-L``, where the certificate that signs the request is written.
        output: ``-w``, where getcert, getcrl and getnextca (the signer) write.
        poll_interval_s: ``-t`` in seconds, as written: it may be negative.
        max_poll_s: ``-T`` in seconds, likewise.
        max_polls: ``-n``, GetCertInitial requests at most, likewise.
        resume: ``-R``, begin with GetCertInitial.
        serial: ``-s``, for getcert and getcrl only.
        wait_s: ``-W``, seconds in all to try to connect again; 0 does not.
        monitor: ``-M`` joined by "&", appended to each request's query but GetCACaps's; None without.
        message_file: ``-m``, write the message here and send nothing.
        engine: ``-g``, or the engine section of the configuration.
        passphrase: ``-P``, decrypts the key files; None asks on the terminal when one is encrypted.
        verbose: ``-v``, or ``-d`` on the command line.
        debug: ``-d``.
        notes: lines for standard error that the reading led to.
    """

    program: str
    operation: Operation
    url: str | None = None
    proxy: str | None = None
    proxy_user: str | None = None
    proxy_password: Secret | None = None
    ca_file: str | None = None
    chain_root: str | None = None
    encryption_file: str | None = None
    cipher: str | None = None
    digest: str | None = None
    fingerprint_digest: str | None = None
    identifier: str | None = None
    key: str | None = field(default=None, repr=False)
    request: str | None = None
    old_key: str | None = field(default=None, repr=False)
    old_certificate: str | None = None
    local_certificate: str | None = None
    signer_output: str | None = None
    output: str | None = None
    poll_interval_s: int = POLL_INTERVAL_S
    max_poll_s: int = MAX_POLL_S
    max_polls: int = MAX_POLLS
    resume: bool = False
    serial: int | None = None
    wait_s: int = 0
    monitor: str | None = None
    message_file: str | None = None
    engine: Engine | None = None
    passphrase: Secret | None = None
    verbose: bool = False
    debug: bool = False
    notes: tuple[str, ...] = ()
