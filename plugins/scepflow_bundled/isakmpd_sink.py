"""The ``isakmpd`` sink: the directories that OpenBSD's isakmpd(8) and iked(8) read.

Must never hold: how files are replaced (``outputs``).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scepflow.errors import OptionError, SinkError

# Field types: msgspec resolves them when options are read.
from scepflow.options import PathTemplate, Template
from scepflow_bundled.outputs import FileSetSink, Output, check_directory, check_target, prepare_outputs
from scepflow_bundled.rendering import certificates_pem, common_name, key_bytes, sha256_hex

if TYPE_CHECKING:
    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["IsakmpdSink"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._:-]+")
# isakmpd refuses a key that others can read; the directories are those of OpenBSD's base system.
_MODES = {"private": 0o700, "certs": 0o755, "ca": 0o755, "crls": 0o755}
# None there, or one of a kind that cryptography does not read, such as an ediPartyName.
_UNREADABLE = (
    ValueError,
    TypeError,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class IsakmpdSink(FileSetSink, frozen=True, kw_only=True, tag="isakmpd"):
    """The directory tree of OpenBSD's isakmpd or iked: key, certificate, issuing CA and its CRL.

    Writes private/local.key (0600), certs/ID.crt and ca/ISSUER.crt, and makes
    directories that are missing. ``scepflow getcrl --deliver`` writes crls/ISSUER.crl.

        [sink.isakmpd]
        base = "/etc/isakmpd"

    Attributes:
        base: top directory; without it /etc/isakmpd or /etc/iked, by ``layout``.
        layout: the daemon, ``isakmpd`` or ``iked``.
        id: file name under certs/ without .crt; without it the certificate's first IP address, else DNS name, else common name.
        chain: also put the CAs above the issuer into ca/, which makes the daemon trust what they issue.
    """

    base: PathTemplate | None = None
    layout: Literal["isakmpd", "iked"] = "isakmpd"
    id: Template | None = None
    chain: bool = False

    def __post_init__(self) -> None:
        """Refuse an id that is no plain file name."""
        if self.id is not None and self.id != (_file_name(self.id) or None):
            raise OptionError(
                f"id is no plain file name: {str(self.id)!r}",
                where="id",
                hint="use letters, digits and . _ : - and do not begin with a dot or a hyphen",
            )

    def outputs_at(self) -> tuple[str, ...]:
        """Return the key's file; the names of the others come from the certificates."""
        return (f"{self._base()}/private/local.key",)

    def writes_key(self) -> bool:
        """Return that it does."""
        return True

    def describe(self) -> str:
        """Return the top directory."""
        return self._base()

    def _base(self) -> str:
        return self.base or f"/etc/{self.layout}"

    def directories(self, run: Run) -> dict[Path, int]:
        """Return the top directory and the four below it."""
        base = run.path(self._base())
        return {base: 0o755, **{base / name: mode for name, mode in _MODES.items()}}

    def check(self, run: Run) -> None:
        """Look at the directories, or where they will be made, and at the key's place."""
        base, *below = self.directories(run)
        for directory in below:
            present = next((d for d in (directory, base) if d.exists()), base.parent)
            check_directory(present)
        key = base / "private" / "local.key"
        if key.parent.exists():
            check_target(key)

    def outputs(self, issued: Credential, run: Run) -> list[Output]:
        """Return key, certificate and the CA that issued it (not the RA that answered)."""
        if not issued.chain:
            raise SinkError("there is no CA certificate to write")
        base = run.path(self._base())
        name = self.id or _identity(issued.certificate)
        authorities = issued.chain if self.chain else issued.chain[:1]
        return [
            Output(
                path=base / "private" / "local.key",
                content=key_bytes(issued.key, key_format="traditional"),
                mode=0o600,
            ),
            _public(base / "certs" / f"{name}.crt", issued.certificate),
            *(_public(_authority_path(base / "ca", ca), ca) for ca in authorities),
        ]

    def write_crl(self, crl: x509.CertificateRevocationList, run: Run) -> str:
        """Put the CRL into crls/ under its issuer's name, which tells the CRLs of several CAs apart."""
        path = _crl_path(run.path(self._base()) / "crls", crl)
        output = Output(path=path, content=crl.public_bytes(Encoding.PEM), mode=0o644)
        prepare_outputs([output], directories=self.directories(run)).commit()
        return f"{self._base()}/crls/{path.name}"


def _public(path: Path, certificate: x509.Certificate) -> Output:
    return Output(path=path, content=certificates_pem([certificate]), mode=0o644)


def _file_name(text: str) -> str:
    """Return text from a certificate as a plain file name, or "" (S-061)."""
    return _UNSAFE.sub("-", text).lstrip(".-")[:120]


def _identity(certificate: x509.Certificate) -> str:
    """Return what the peers know this host by, as a file name."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = names.get_values_for_type(x509.IPAddress)
        known = [*map(str, addresses), *names.get_values_for_type(x509.DNSName)]
    except _UNREADABLE:
        known = []
    candidates = (_file_name(text) for text in [*known, common_name(certificate)])
    return next(filter(None, candidates), sha256_hex(certificate)[:16])


def _authority_path(directory: Path, certificate: x509.Certificate) -> Path:
    """Return the CA's file: its common name, and its fingerprint where that name is another CA's."""
    fingerprint = sha256_hex(certificate)
    name = _file_name(common_name(certificate)) or fingerprint[:16]
    path = directory / f"{name}.crt"
    return directory / f"{name}-{fingerprint[:8]}.crt" if _holds_another(path, certificate) else path


def _crl_path(directory: Path, crl: x509.CertificateRevocationList) -> Path:
    """Return the CRL's file: its issuer's common name, and a digest where that name is another issuer's."""
    names = crl.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    digest = hashlib.sha256(crl.issuer.public_bytes()).hexdigest()
    name = (_file_name(str(names[0].value)) if names else "") or digest[:16]
    path = directory / f"{name}.crl"
    try:
        other = x509.load_pem_x509_crl(path.read_bytes()).issuer != crl.issuer
    except OSError:
        other = False  # nothing there, or a problem that staging will report
    except ValueError:
        other = True
    return directory / f"{name}-{digest[:8]}.crl" if other else path


def _holds_another(path: Path, certificate: x509.Certificate) -> bool:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()) != certificate
    except OSError:
        return False  # nothing there, or a problem that staging will report
    except ValueError:
        return True
