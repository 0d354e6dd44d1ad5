"""TLS for transports: trust roots, client certificate, lowest version.

Must never hold: a way to switch verification off.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scepflow.errors import OptionError
from scepflow_bundled.timed_sockets import TimedTlsSocket

__all__ = ["TlsFiles"]

_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Where TLS finds its files. Contexts are made when they are first needed.

    Attributes:
        roots: PEM file of trust roots, or None for the system's.
        certificate: PEM file of the client certificate and its chain, or None.
        key: PEM file of its private key, or None when it is in the same file.
        passphrase: opens the key, or None.
        minimum: lowest version, "1.2" or "1.3".
    """

    roots: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    passphrase: str | None = field(default=None, repr=False)
    minimum: str = "1.2"

    @cached_property
    def for_server(self) -> ssl.SSLContext:
        """Context for the server, with the client certificate.

        Raises:
            OptionError: a file cannot be used.
        """
        context = self._with_roots()
        if self.certificate is not None:
            self._load_certificate(context, self.certificate)
        return context

    @cached_property
    def for_proxy(self) -> ssl.SSLContext:
        """Context for a proxy; the client certificate is not its business.

        Raises:
            OptionError: a file cannot be used.
        """
        return self._with_roots()

    def _with_roots(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.roots)
        except ssl.SSLError:
            raise _unusable("ca_file", self.roots, "it has no PEM certificate") from None
        except OSError as error:
            raise _unusable("ca_file", self.roots, error.strerror) from None
        context.minimum_version = _MINIMUM[self.minimum]
        context.sslsocket_class = TimedTlsSocket
        return context

    def _load_certificate(self, context: ssl.SSLContext, certificate: Path) -> None:
        files = [("client_certificate", certificate), *([("client_key", self.key)] if self.key else [])]
        for option, path in files:  # OpenSSL does not say which of the two it could not read
            try:
                path.open("rb").close()
            except OSError as error:
                raise _unusable(option, path, error.strerror) from None
        asked = False

        def passphrase() -> str:  # without it OpenSSL would ask on the terminal
            nonlocal asked
            asked = True
            return self._reveal_passphrase()

        try:
            context.load_cert_chain(certificate, self.key, password=passphrase)
        except ssl.SSLError as error:
            raise _unusable(*files[-1], _reason(error, encrypted=asked)) from None
        except ValueError:  # longer than OpenSSL takes
            raise OptionError(
                "the passphrase of the client key is too long", where="client_key_passphrase"
            ) from None

    def _reveal_passphrase(self) -> str:
        if self.passphrase is None:
            raise OptionError(
                "the client key is encrypted",
                where="client_key",
                hint='set client_key_passphrase = { file = "…" } in [transport]',
            )
        return self.passphrase


def _reason(error: ssl.SSLError, *, encrypted: bool) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    if encrypted:
        return "the passphrase does not open the key"
    return "certificate and key must be in PEM, the key in client_key or behind the certificate"


def _unusable(option: str, path: Path | None, reason: str | None) -> OptionError:
    return OptionError(f"cannot use {option} {path}: {reason}", where=option)
