"""The ``webhook`` sink: POSTs a certificate to a web service.

Must never hold: a way for the private key to leave.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec
import urllib3
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.errors import OptionError, SinkError

# Field types: msgspec resolves them when options are read, so they cannot hide under TYPE_CHECKING.
from scepflow.options import Duration, PathTemplate, Secret, UrlTemplate
from scepflow.stages import OutputSink
from scepflow.text import sanitise

if TYPE_CHECKING:
    from cryptography import x509

    from scepflow.engine.identity import Credential
    from scepflow.stages import Run

__all__ = ["WebhookSink"]

_SHOWN_BYTES = 500


class WebhookSink(OutputSink, frozen=True, kw_only=True, tag="webhook"):
    """The certificate, POSTed to a web service; the private key never leaves.

        [sink.webhook]
        url = "https://inventory.example.com/certificates"
        token = { env = "INVENTORY_TOKEN" }

    Attributes:
        url: address that receives the certificate, ``https`` or ``http``.
        token: secret sent as ``Authorization: Bearer``.
        format: ``json`` with the certificate's names and dates, or ``pem`` with the certificate and its chain.
        timeout: longest wait for the connection, and for the answer.
        ca_file: PEM file of trust roots instead of the system's.
    """

    url: UrlTemplate
    token: Secret | None = None
    format: Literal["json", "pem"] = "json"
    timeout: Duration = Duration("30s")
    ca_file: PathTemplate | None = None

    def __post_init__(self) -> None:
        """Refuse an address that cannot work.

        Raises:
            OptionError: ``where`` names the option.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise OptionError("not a web address", where="url", hint='write "https://host/path"')
        if parts.username is not None:
            raise OptionError("the address holds a login", where="url", hint="use token")

    def check(self, run: Run) -> None:
        """Read the token and the trust roots, and open no connection."""
        self._headers(run)
        self._trust_roots(run)

    def write(self, issued: Credential, run: Run) -> None:
        """POST the certificate; any answer from 200 to 299 counts as delivered.

        Raises:
            SinkError: the token or a file cannot be used, no answer came, or it was no success.
        """
        if self.token and urlsplit(self.url).scheme == "http":
            run.warn("webhook-token-in-clear", f"the token travels unencrypted to {self.describe()}")
        with urllib3.PoolManager(ssl_context=self._trust_roots(run), timeout=float(self.timeout)) as pool:
            try:
                response = pool.request(
                    "POST",
                    self.url,
                    body=self._body(issued, run),
                    headers=self._headers(run),
                    retries=False,  # a POST is not repeated, and a redirect would carry the token elsewhere
                    preload_content=False,
                )
                said = response.read(_SHOWN_BYTES)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise SinkError(f"{self.describe()}: no answer: {sanitise(str(error))}") from None
        if not 200 <= response.status < 300:
            raise SinkError(f'{self.describe()} answered HTTP {response.status}: "{sanitise(said)}"')

    def describe(self) -> str:
        """Return the address without its query, which may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def _headers(self, run: Run) -> dict[str, str]:
        kind = "application/json" if self.format == "json" else "application/pem-certificate-chain"
        headers = {"Content-Type": kind, "User-Agent": "scepflow-webhook"}
        if self.token:
            try:
                token = run.reveal(self.token)
            except OptionError as error:
                raise SinkError(f"token: {error.message}", hint=error.hint) from None
            if not (token.isascii() and token.isprintable()):
                raise SinkError("token: it has characters that cannot stand in a header")
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _trust_roots(self, run: Run) -> ssl.SSLContext:
        path = run.path(self.ca_file) if self.ca_file else None
        try:
            return ssl.create_default_context(cafile=path)
        except OSError as error:  # ssl.SSLError, "no PEM in it", is one as well
            raise SinkError(f"ca_file: cannot read {path}: {error.strerror}") from None

    def _body(self, issued: Credential, run: Run) -> bytes:
        pems = [_pem(certificate) for certificate in (issued.certificate, *issued.chain)]
        if self.format == "pem":
            return "".join(pems).encode()
        certificate = issued.certificate
        return msgspec.json.encode(
            {
                "pipeline": run.pipeline,
                "subject": certificate.subject.rfc4514_string(),
                "issuer": certificate.issuer.rfc4514_string(),
                "serial": f"{certificate.serial_number:x}",
                "not_before": certificate.not_valid_before_utc,
                "not_after": certificate.not_valid_after_utc,
                "certificate": pems[0],
                "chain": pems[1:],
            }
        )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
