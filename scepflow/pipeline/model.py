"""A pipeline as a value: what a TOML file means once every check has passed.

Must never hold: parsing, or anything that a run changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

# Field types: msgspec resolves them when the class is made.
from scepflow.options import PathTemplate, Template

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scepflow.stages import CsrBuilder, KeySource, OutputSink, Poller, Signer, Transport

__all__ = ["CaOptions", "Pipeline", "RenewOptions"]


class CaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ca]``: the CA, how it is authenticated, and what is asked of the algorithms.

    Attributes:
        url: address of the SCEP service; without a path ``/cgi-bin/pkiclient.exe`` is used.
        fingerprint: digest of a CA certificate's DER, ``sha256:`` and 64 hex digits (or several); ``sha1:`` needs ``security = "legacy"``.
        certificate: file with trusted CA certificates, PEM or DER, instead of or beside a fingerprint.
        identifier: CA identifier sent with GetCACert, for a server with several CAs.
        signing_certificate: fingerprint or file of the certificate that must sign replies.
        encryption_certificate: fingerprint or file of the certificate that requests are encrypted for.
        cipher: content cipher of requests; ``auto`` follows the CA's capabilities.
        digest: digest of requests; ``auto`` follows the CA's capabilities.
        method: how pki_messages are sent; ``auto`` follows the CA's capabilities.
        security: ``strict`` refuses SHA-1 and DES, ``default`` reads them in replies, ``legacy`` also sends MD5 and DES when told to.
        relax: names of single checks on replies to turn off, loudly.
    """

    url: Template
    fingerprint: str | list[str] | None = None
    certificate: PathTemplate | None = None
    identifier: Template | None = None
    signing_certificate: str | None = None
    encryption_certificate: str | None = None
    cipher: Literal["auto", "aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "3des-cbc", "des-cbc"] = "auto"
    digest: Literal["auto", "sha-256", "sha-384", "sha-512", "sha-1", "md5"] = "auto"
    method: Literal["auto", "POST", "GET"] = "auto"
    security: Literal["strict", "default", "legacy"] = "default"
    relax: tuple[str, ...] = ()


class RenewOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[renew]``: when a certificate is renewed, and how.

    Attributes:
        before: share of the lifetime such as ``33%``, or a duration such as ``30d``, left when renewal is due.
        key: ``new`` makes a new key for each certificate, ``reuse`` keeps it.
        message: ``renewal`` sends RenewalReq, ``pkcsreq`` PKCSReq signed by the old certificate, ``auto`` follows the CA's capabilities.
    """

    before: str = "33%"
    key: Literal["new", "reuse"] = "new"
    message: Literal["auto", "renewal", "pkcsreq"] = "auto"


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """Six kinds of stages around the engine.

    Attributes:
        name: the file's name without ``.toml``.
        file: the file, absolute.
        sinks: ``[sink.NAME]`` tables by NAME, in the file's order.
    """

    name: str
    file: Path
    ca: CaOptions
    key: KeySource
    csr: CsrBuilder
    signer: Signer
    transport: Transport
    poller: Poller
    renew: RenewOptions
    sinks: Mapping[str, OutputSink]

    @property
    def directory(self) -> Path:
        """Folder of the file, where relative paths start."""
        return self.file.parent
