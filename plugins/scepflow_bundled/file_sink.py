"""The ``file`` sink: PEM or DER files.

Must never hold: how files are replaced (``outputs``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.errors import OptionError, SinkError

# Field types: msgspec resolves them when options are read.
from scepflow.options import FileMode, PathTemplate, Secret
from scepflow_bundled.outputs import (
    FileSetSink,
    Output,
    check_owner,
    check_target,
    missing_directories,
    owner_ids,
    prepare_outputs,
)
from scepflow_bundled.rendering import certificates_pem, key_bytes, reveal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cryptography import x509

    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["FileSink"]

_OPTIONS = ("key", "cert", "chain", "fullchain", "combined", "ca")
_SECRET = ("key", "combined")
_ONE_OBJECT = ("key", "cert", "ca", "crl")


class FileSink(FileSetSink, frozen=True, kw_only=True, tag="file"):
    """Key and certificates as PEM or DER files, each with the mode and owner you choose.

    At least one of them must be named; they switch together. ``scepflow getcrl --deliver``
    writes ``crl``, and nothing else does.

        [sink.file]
        key = "gw1.key"
        cert = "gw1.crt"
        chain = "gw1-chain.pem"
        owner = "www"

    Attributes:
        key: file for the private key.
        cert: file for the certificate alone.
        chain: file for the CA certificates, the issuer first, PEM.
        fullchain: file for the certificate and then its chain, PEM.
        combined: file for key, certificate and chain in one, PEM; it has the key's mode.
        ca: file for the trust anchor alone, the last certificate of the chain.
        crl: file for the CA's revocation list.
        format: ``pem``, or ``der`` for ``key``, ``cert``, ``ca`` and ``crl``.
        mode: permissions of files without a key, whatever the umask.
        key_mode: permissions of files with the key, whatever the umask.
        owner: user name or number that owns the files; giving files away needs root.
        group: group name or number of the files.
        key_format: ``pkcs8``, or ``traditional`` for PKCS#1 (RSA) and SEC 1 (EC).
        key_passphrase: secret that encrypts the key (PKCS#8, AES-256-CBC).
        make_directories: make missing directories (mode 0755).
    """

    key: PathTemplate | None = None
    cert: PathTemplate | None = None
    chain: PathTemplate | None = None
    fullchain: PathTemplate | None = None
    combined: PathTemplate | None = None
    ca: PathTemplate | None = None
    crl: PathTemplate | None = None
    format: Literal["pem", "der"] = "pem"
    mode: FileMode = FileMode("0644")
    key_mode: FileMode = FileMode("0600")
    owner: str | int | None = None
    group: str | int | None = None
    key_format: Literal["pkcs8", "traditional"] = "pkcs8"
    key_passphrase: Secret | None = None
    make_directories: bool = False

    def __post_init__(self) -> None:
        """Refuse options that make no sense together."""
        names = self._names()
        if not names:
            nothing = "nothing of a new certificate" if self.crl else "nothing"
            raise OptionError(
                f"the file sink writes {nothing}", hint=f"name at least one of {', '.join(_OPTIONS)}"
            )
        _refuse_same_file(self._all_names())
        several = [option for option in names if option not in _ONE_OBJECT]
        if self.format == "der" and several:
            raise OptionError(
                f"{several[0]} cannot be DER, which holds one object",
                where="format",
                hint='use a second sink with format = "pem"',
            )
        if self.key_passphrase and self.key_format != "pkcs8":
            raise OptionError(
                "key_passphrase needs key_format pkcs8",
                where="key_format",
                hint='leave out key_format = "traditional"',
            )
        if self.key_passphrase and not {"key", "combined"} & set(names):
            raise OptionError(
                "key_passphrase without a key to encrypt",
                where="key_passphrase",
                hint="name key or combined",
            )

    def _names(self) -> dict[str, PathTemplate]:
        return {option: name for option in _OPTIONS if (name := getattr(self, option)) is not None}

    def _all_names(self) -> dict[str, PathTemplate]:
        return self._names() | ({"crl": self.crl} if self.crl is not None else {})

    def outputs_at(self) -> tuple[str, ...]:
        """Return the file names."""
        return tuple(self._all_names().values())

    def is_in_place(self, run: Run) -> bool:
        """Look for every file but the CRL's, which a run does not write."""
        return all(run.path(name).exists() for name in self._names().values())

    def writes_key(self) -> bool:
        """Return whether a file with the key is named."""
        return bool(self._names().keys() & set(_SECRET))

    def describe(self) -> str:
        """Return the file names."""
        return ", ".join(self._names().values())

    def check(self, run: Run) -> None:
        """Look at every target, the owner and the passphrase, unless reading it may use it up."""
        for name in self._all_names().values():
            check_target(run.path(name), make_directories=self.make_directories)
        check_owner(*owner_ids(self.owner, self.group))
        if self.key_passphrase and not self.key_passphrase.gives_once(run.directory):
            self._passphrase(run)

    def directories(self, run: Run) -> Mapping[Path, int]:
        """Return the missing directories if they may be made."""
        return self._missing_above(self._names().values(), run)

    def _missing_above(self, names: Iterable[str], run: Run) -> dict[Path, int]:
        if not self.make_directories:
            return {}
        return {directory: 0o755 for name in names for directory in missing_directories(run.path(name))}

    def outputs(self, issued: Credential, run: Run) -> list[Output]:
        """Return the named files, those with the key first."""
        if self.writes_key() and self.key_mode & 0o007:
            run.warn(
                "key-mode", f"key_mode {self.key_mode:04o} lets every user of this machine at the private key"
            )
        uid, gid = owner_ids(self.owner, self.group)
        contents = self._contents(issued, self._passphrase(run))
        return [
            Output(
                path=run.path(name),
                content=contents[option](),
                mode=self.key_mode if option in _SECRET else self.mode,
                uid=uid,
                gid=gid,
            )
            for option, name in sorted(self._names().items(), key=lambda item: item[0] not in _SECRET)
        ]

    def takes_crl(self) -> bool:
        """Only with ``crl``."""
        return self.crl is not None

    def write_crl(self, crl: x509.CertificateRevocationList, run: Run) -> str | None:
        """Replace the file that ``crl`` names, if it names one."""
        if self.crl is None:
            return None
        uid, gid = owner_ids(self.owner, self.group)
        content = crl.public_bytes(self._encoding())
        output = Output(path=run.path(self.crl), content=content, mode=self.mode, uid=uid, gid=gid)
        prepare_outputs([output], directories=self._missing_above([self.crl], run)).commit()
        return self.crl

    def _encoding(self) -> Encoding:
        return Encoding.DER if self.format == "der" else Encoding.PEM

    def _passphrase(self, run: Run) -> str | None:
        return reveal(self.key_passphrase, option="key_passphrase", run=run) if self.key_passphrase else None

    def _contents(self, issued: Credential, passphrase: str | None) -> dict[str, Callable[[], bytes]]:
        encoding = self._encoding()
        cert, chain = issued.certificate, issued.chain

        def key() -> bytes:
            return key_bytes(issued.key, encoding=encoding, key_format=self.key_format, passphrase=passphrase)

        return {
            "key": key,
            "cert": lambda: cert.public_bytes(encoding),
            "chain": lambda: certificates_pem(_present(chain)),
            "fullchain": lambda: certificates_pem([cert, *chain]),
            "combined": lambda: key() + certificates_pem([cert, *chain]),
            "ca": lambda: _present(chain)[-1].public_bytes(encoding),
        }


def _present(chain: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
    if not chain:
        raise SinkError("there is no CA certificate to write", hint="leave out chain and ca")
    return chain


def _refuse_same_file(names: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for option, name in names.items():
        other = seen.setdefault(os.path.normpath(name), option)
        if other != option:
            raise OptionError(
                f"{other} and {option} name the same file: {name}",
                where=option,
                hint="combined holds key, certificate and chain",
            )
