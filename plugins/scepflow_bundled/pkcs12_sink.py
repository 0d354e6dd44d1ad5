"""The ``pkcs12`` sink: key and certificates in one password-protected file.

Must never hold: how files are replaced (``outputs``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PBES,
    PKCS12Certificate,
    serialize_java_truststore,
    serialize_key_and_certificates,
)

from scepflow.errors import OptionError, SinkError

# Field types: msgspec resolves them when options are read.
from scepflow.options import FileMode, PathTemplate, Secret, Template
from scepflow.text import sanitise
from scepflow_bundled.outputs import FileSetSink, Output, check_owner, check_target, owner_ids
from scepflow_bundled.rendering import common_name, reveal, sha256_hex

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption

    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["Pkcs12Sink"]


class Pkcs12Sink(FileSetSink, frozen=True, kw_only=True, tag="pkcs12"):
    """Key, certificate and chain as a PKCS#12 file for a phone or a key store, or a Java trust store.

        [sink.phone]
        use = "pkcs12"
        path = "gw1.p12"
        password = { file = "p12.pass" }
        encryption = "legacy"

    Attributes:
        path: the file, mostly .p12 or .pfx.
        password: secret that protects the file.
        encryption: ``modern`` (AES-256, SHA-256), or ``legacy`` (3DES, SHA-1) for the macOS keychain, Windows up to 2016 and Android up to 12.
        contents: ``credential``, or ``truststore`` for the CA certificates alone as Java trusts them.
        friendly_name: name shown in key stores; without it the subject's common name.
        chain: whether the CA certificates go into a credential.
        mode: permissions of the file, whatever the umask.
        owner: user name or number that owns the file; giving files away needs root.
        group: group name or number of the file.
    """

    path: PathTemplate
    password: Secret
    encryption: Literal["modern", "legacy"] = "modern"
    contents: Literal["credential", "truststore"] = "credential"
    friendly_name: Template | None = None
    chain: bool = True
    mode: FileMode = FileMode("0600")
    owner: str | int | None = None
    group: str | int | None = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense together."""
        if self.contents == "truststore" and (self.friendly_name is not None or not self.chain):
            raise OptionError(
                "a truststore has no friendly_name of its own and is all chain",
                where="contents",
                hint="leave out friendly_name and chain",
            )

    def outputs_at(self) -> tuple[str, ...]:
        """Return the file name."""
        return (self.path,)

    def writes_key(self) -> bool:
        """Return whether it is no trust store."""
        return self.contents == "credential"

    def describe(self) -> str:
        """Return the file name."""
        return self.path

    def check(self, run: Run) -> None:
        """Look at the target, the owner and the password, unless reading it may use it up."""
        check_target(run.path(self.path))
        check_owner(*owner_ids(self.owner, self.group))
        if not self.password.gives_once(run.directory):
            reveal(self.password, option="password", run=run)

    def outputs(self, issued: Credential, run: Run) -> list[Output]:
        """Return the one file."""
        uid, gid = owner_ids(self.owner, self.group)
        protection = self._protection(reveal(self.password, option="password", run=run))
        try:
            content = (
                self._truststore(issued, protection)
                if self.contents == "truststore"
                else self._credential(issued, protection)
            )
        except ValueError as error:
            raise SinkError(f"{self.path}: PKCS#12 cannot hold this: {error}") from None
        return [Output(path=run.path(self.path), content=content, mode=self.mode, uid=uid, gid=gid)]

    def _protection(self, password: str) -> KeySerializationEncryption:
        builder = PrivateFormat.PKCS12.encryption_builder()
        if self.encryption == "legacy":
            builder = builder.key_cert_algorithm(PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(SHA1())  # noqa: S303  # all that old key stores read
        else:
            builder = builder.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(SHA256())
        return builder.build(password.encode())

    def _credential(self, issued: Credential, protection: KeySerializationEncryption) -> bytes:
        name = self.friendly_name or sanitise(common_name(issued.certificate))
        return serialize_key_and_certificates(
            name.encode() or None,
            issued.key,
            issued.certificate,
            issued.chain if self.chain else None,
            protection,
        )

    def _truststore(self, issued: Credential, protection: KeySerializationEncryption) -> bytes:
        # Java's aliases must differ, common names need not.
        entries = [
            PKCS12Certificate(ca, f"{sanitise(common_name(ca)) or 'ca'}-{sha256_hex(ca)[:8]}".encode())
            for ca in issued.chain
        ]
        if not entries:
            raise SinkError(f"{self.path}: there is no CA certificate to trust")
        return serialize_java_truststore(entries, protection)
