"""A pipeline as a value: what a TOML file means once every check has passed.

Must never hold: reading of files, or anything that a run changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from scepflow.errors import OptionError
from scepflow.options import Duration, PathTemplate, Template, UrlTemplate
from scepflow.pipeline.fields import near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepflow.stages import CsrBuilder, KeySource, OutputSink, Poller, Signer, Transport

__all__ = ["SHARE", "CaOptions", "Pipeline", "RenewOptions"]

SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
"""How a share of the lifetime is written."""

_PINS = ("signing_certificate", "encryption_certificate")
_FINGERPRINT = re.compile(r"\s*sha-?(1|256|512)\s*:", re.IGNORECASE)
_FINGERPRINT_HINT = 'write "sha256:" and 64 hex digits'
_BROKEN = ("des-cbc", "blowfish-cbc", "md5")
_WEAK = ("3des-cbc", "sha-1")


class CaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ca]``: the CA, how it is authenticated, and what is asked of the algorithms.

    Attributes:
        url: address of the SCEP service; without a path ``/cgi-bin/pkiclient.exe`` is used.
        fingerprint: digest of a CA certificate's DER, ``sha256:`` and 64 hex digits (or several); ``sha1:`` needs ``security = "legacy"``.
        certificate: file with trusted CA certificates, PEM or DER, instead of or beside a fingerprint.
        fetch_certificates: ``false`` never asks GetCACert: the files named here are all that is known of the CA, and a ``signing_certificate`` from a file is trusted by itself.
        identifier: CA identifier sent with GetCACert, for a server with several CAs.
        signing_certificate: fingerprint or file of the certificate that must sign replies.
        encryption_certificate: fingerprint or file of the certificate that requests are encrypted for.
        cipher: content cipher of requests; ``auto`` follows the CA's capabilities.
        digest: digest of requests; ``auto`` follows the CA's capabilities.
        method: how pki_messages are sent; ``auto`` follows the CA's capabilities.
        security: ``strict`` refuses SHA-1 and DES, ``default`` reads them in replies, ``legacy`` also sends MD5, DES and Blowfish when told to.
        password_envelope: encrypt with the challenge where the CA, or our EC signing key, has no RSA key; whoever records that can guess the challenge offline, so it must be random and of 14 characters (80 bits) or more.
        relax: names of single checks on replies to turn off, loudly.
    """

    url: UrlTemplate
    fingerprint: str | list[str] | None = None
    certificate: PathTemplate | None = None
    fetch_certificates: bool = True
    identifier: Template | None = None
    signing_certificate: str | None = None
    encryption_certificate: str | None = None
    cipher: Literal[
        "auto", "aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "3des-cbc", "des-cbc", "blowfish-cbc"
    ] = "auto"
    digest: Literal["auto", "sha-256", "sha-384", "sha-512", "sha-224", "sha-1", "md5"] = "auto"
    method: Literal["auto", "POST", "GET"] = "auto"
    security: Literal["strict", "default", "legacy"] = "default"
    password_envelope: bool = False
    relax: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no run could use.

        Raises:
            OptionError: ``where`` names the option.
        """
        for number, text in enumerate(self.fingerprints):
            is_one = isinstance(self.fingerprint, str)
            self._check_fingerprint(text, "fingerprint" if is_one else f"fingerprint[{number}]")
        self._check_pins()
        self._check_algorithms()
        if self.relax:
            self._check_relax()
        if not self.fetch_certificates:
            self._check_files()
        from scepflow.engine.urls import check_url

        try:
            check_url(self.url)
        except OptionError as error:
            error.where = "url"
            raise

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The fingerprints as written, however many there are."""
        if isinstance(self.fingerprint, str):
            return (self.fingerprint,)
        return tuple(self.fingerprint or ())

    @property
    def pinned_files(self) -> Mapping[str, str]:
        """The options that name a file with a certificate, and the files."""
        from scepflow.engine.fingerprints import parse_fingerprint

        files = {} if self.certificate is None else {"certificate": str(self.certificate)}
        for option in _PINS:
            text = getattr(self, option)
            try:
                parse_fingerprint(text or "")
            except ValueError:
                files |= {option: text} if text else {}
        return files

    def _check_pins(self) -> None:
        """Refuse a fingerprint that can be forged, or with a mistake in it, which would pass for a file's name."""
        files = self.pinned_files
        for option in _PINS:
            text = getattr(self, option)
            if text and option not in files:
                self._check_fingerprint(text, option)
            elif text and _FINGERPRINT.match(text):
                raise OptionError(f"not a fingerprint: {text[:140]!r}", where=option, hint=_FINGERPRINT_HINT)

    def _check_algorithms(self) -> None:
        """Refuse what `scepflow.engine.algorithms.choose` would refuse after the CA has been asked."""
        refused = {"strict": _BROKEN + _WEAK, "default": _BROKEN, "legacy": ()}[self.security]
        for option in ("cipher", "digest"):
            name = getattr(self, option)
            if name in refused:
                hint = "leave it on auto" + ', or set security = "legacy"' * (name in _BROKEN)
                raise OptionError(
                    f'{option} {name} is refused by security = "{self.security}"', where=option, hint=hint
                )

    def _check_fingerprint(self, text: str, where: str) -> None:
        from scepflow.engine.fingerprints import parse_fingerprint

        try:
            parsed = parse_fingerprint(text)
        except ValueError as error:
            raise OptionError(str(error), where=where, hint=_FINGERPRINT_HINT) from None
        if parsed.startswith("sha1:") and self.security != "legacy":
            raise OptionError(
                "a SHA-1 fingerprint can be forged",
                where=where,
                hint='use "sha256:" and 64 hex digits, or security = "legacy"',
            )

    def _check_files(self) -> None:
        if self.fingerprint:
            raise OptionError(
                "a fingerprint is compared with what GetCACert gives, and that is not asked",
                where="fingerprint",
                hint='name the file: certificate = "ca.pem"; or leave out fetch_certificates = false',
            )
        if not (self.certificate or self.signing_certificate):
            raise OptionError(
                "without GetCACert, the CA's certificates must come from a file",
                where="fetch_certificates",
                hint='name one: certificate = "ca.pem", or signing_certificate = "ra.pem"',
            )

    def _check_relax(self) -> None:
        from scepflow.engine.checks import CHECKS

        for number, name in enumerate(self.relax):
            if name not in CHECKS:
                hint = f"{near(name, CHECKS)}known: {', '.join(CHECKS)}"
                raise OptionError(f"no check is named {name!r}", where=f"relax[{number}]", hint=hint)


class RenewOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[renew]``: when a certificate is renewed, and how.

    Attributes:
        before: share of the lifetime such as ``33%``, or a duration such as ``30d``, left when renewal is due; ``auto`` is ``33%``, or ``50%`` of a lifetime of ten days or less.
        key: ``new`` makes a new key for each certificate, ``reuse`` keeps it.
        message: ``renewal`` sends RenewalReq, ``pkcsreq`` PKCSReq signed by the old certificate, ``auto`` follows the CA's capabilities and falls back to PKCSReq where RenewalReq is refused.
        expired: what to do once the certificate has expired: ``enroll`` asks as for the first one, challenge and all, ``renew`` signs with it nevertheless.
        keep: how many earlier keys and certificates stay in the state directory, for ``scepflow rollback``.
    """

    before: str = "auto"
    key: Literal["new", "reuse"] = "new"
    message: Literal["auto", "renewal", "pkcsreq"] = "auto"
    expired: Literal["enroll", "renew"] = "enroll"
    keep: Annotated[int, msgspec.Meta(ge=0, le=100)] = 1

    def __post_init__(self) -> None:
        """Refuse a ``before`` that is no share and no time.

        Raises:
            OptionError: ``where`` names the option.
        """
        if self.before == "auto":
            return
        share = SHARE.fullmatch(self.before)
        try:
            fits = 0 < float(share[1]) < 100 if share else Duration(self.before) > 0
        except OptionError:
            fits = False
        if not fits:
            raise OptionError(
                f"neither a share of the lifetime nor a time: {self.before!r}",
                where="before",
                hint='write "33%" (more than 0, less than 100) or "30d"',
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
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
