"""Transports over HTTP: ``direct`` and ``proxy``.

Must never hold: HTTP itself (`scepflow_bundled.http_connection`), or a look at
``http_proxy`` and its like in the environment: what a run does stands in its pipeline.
urllib3 comes in only when a connection is made: validating a pipeline needs none.
"""

from __future__ import annotations

from base64 import b64encode
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

from scepflow.errors import OptionError
from scepflow.options import Duration, PathTemplate, Secret, Template
from scepflow.stages import Transport
from scepflow_bundled.web_addresses import (
    BadAddressError,
    WebAddress,
    check_no_proxy,
    parse_address,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from scepflow.stages import Connection, Run
    from scepflow_bundled.http_connection import Proxy
    from scepflow_bundled.tls import TlsFiles

__all__ = ["DirectTransport", "HttpTransport", "ProxyTransport"]


class HttpTransport(Transport, frozen=True, kw_only=True):
    """Base of the transports that speak HTTP and HTTPS.

    Attributes:
        timeout: for one exchange as a whole: looking up the name (which cannot be cut short), connecting,
            TLS, redirects, the whole reply, and the one repetition that a GET may have.
        connect_timeout: for each address of the host, and for each TLS handshake.
        idle_timeout: for each silence of the server.
        ca_file: PEM file of the roots that TLS trusts, instead of the system's.
        client_certificate: PEM file of the certificate, and its chain, to show to a server that asks.
        client_key: PEM file of its key; left out when the key is in ``client_certificate``.
        client_key_passphrase: opens an encrypted key.
        tls_minimum: lowest version of TLS, "1.2" or "1.3".
    """

    timeout: Duration = Duration("60s")
    connect_timeout: Duration = Duration("10s")
    idle_timeout: Duration = Duration("15s")
    ca_file: PathTemplate | None = None
    client_certificate: PathTemplate | None = None
    client_key: PathTemplate | None = None
    client_key_passphrase: Secret | None = None
    tls_minimum: Literal["1.2", "1.3"] = "1.2"

    def __post_init__(self) -> None:
        """Refuse times of zero and a key without its certificate."""
        for option in ("timeout", "connect_timeout", "idle_timeout"):
            if getattr(self, option) <= 0:
                raise OptionError(f"{option} must be more than 0 s", where=option)
        if self.client_certificate is None and (self.client_key or self.client_key_passphrase):
            raise OptionError("a client key needs client_certificate", where="client_key")

    def connect(self, run: Run) -> AbstractContextManager[Connection]:
        """Return the way to the server; secrets are read now, nothing is sent yet.

        Raises:
            OptionError: a secret cannot be read.
        """
        from scepflow_bundled.http_connection import HttpConnection

        return nullcontext(
            HttpConnection(
                timeout_s=self.timeout,
                connect_s=self.connect_timeout,
                idle_s=self.idle_timeout,
                tls=self._tls(run),
                proxy=self._proxy(run),
            )
        )

    def check(self, run: Run) -> None:
        """Read every file and secret, and send nothing.

        Raises:
            OptionError: one of them cannot be used.
        """
        if self.ca_file or self.client_certificate:
            _ = self._tls(run).for_server
        self._proxy(run)

    def _tls(self, run: Run) -> TlsFiles:
        from scepflow_bundled.tls import TlsFiles

        passphrase = self.client_key_passphrase
        return TlsFiles(
            roots=run.path(self.ca_file) if self.ca_file else None,
            certificate=run.path(self.client_certificate) if self.client_certificate else None,
            key=run.path(self.client_key) if self.client_key else None,
            passphrase=run.reveal(passphrase) if passphrase else None,
            minimum=self.tls_minimum,
        )

    def _proxy(self, run: Run) -> Proxy | None:  # noqa: ARG002  # one kind of transport needs it
        return None


class DirectTransport(HttpTransport, frozen=True, kw_only=True, tag="direct"):
    """Reach the CA without a proxy.

        [transport]
        use = "direct"
        ca_file = "roots.pem"          # only for https with a private root

    Direct means direct: ``http_proxy`` and its like in the environment are not looked at.
    """


class ProxyTransport(HttpTransport, frozen=True, kw_only=True, tag="proxy"):
    """Reach the CA through an HTTP proxy, with a login if it wants one.

        [transport]
        use = "proxy"
        url = "http://proxy.example.com:3128"
        user = "svc"
        password = { env = "PROXY_PASSWORD" }
        no_proxy = ["intranet.example.com", "10.0.0.0/8"]

    The login is sent in the Basic scheme, to the proxy only. ``ca_file`` holds for an https proxy too.

    Attributes:
        url: the proxy, http or https, without user name and path.
        user: name for its login.
        password: password for its login.
        no_proxy: hosts, domains (with all below them), IP addresses, networks, or "*", to reach
            without the proxy. Names are not looked up.
        tunnel: "auto" uses CONNECT for https, "always" for http too.
    """

    url: Template
    user: Template | None = None
    password: Secret | None = None
    no_proxy: tuple[str, ...] = ()
    tunnel: Literal["auto", "always"] = "auto"

    def __post_init__(self) -> None:
        """Refuse what can be seen to be wrong before anything is sent."""
        super().__post_init__()
        self._address()
        if self.password and not self.user:
            raise OptionError("a password needs user", where="password")
        if self.user and (":" in self.user or not self.user.isprintable()):
            raise OptionError(
                "a user name for a proxy cannot have a colon or control characters", where="user"
            )
        try:
            check_no_proxy(self.no_proxy)
        except ValueError as error:
            raise OptionError(str(error), where="no_proxy") from None

    def _address(self) -> WebAddress:
        where = "url"
        try:
            address = parse_address(self.url)
        except BadAddressError as error:
            hint = 'write "http://HOST:PORT", and the login in user and password'
            raise OptionError(f"not the address of a proxy: {error}", where=where, hint=hint) from None
        if address.target != "/":
            raise OptionError("the address of a proxy has no path", where=where)
        return address

    def _proxy(self, run: Run) -> Proxy:
        from scepflow_bundled.http_connection import Proxy

        return Proxy(
            origin=self._address().origin,
            authorization=self._login(run) if self.user else None,
            no_proxy=self.no_proxy,
            tunnel_http=self.tunnel == "always",
        )

    def _login(self, run: Run) -> str:
        """Return the credentials in UTF-8 (RFC 7617 §2 The 'Basic' Authentication Scheme)."""
        password = run.reveal(self.password) if self.password else ""
        login = b64encode(f"{self.user}:{password}".encode()).decode("ascii")
        run.hide(login)  # a proxy may quote it
        return f"Basic {login}"
