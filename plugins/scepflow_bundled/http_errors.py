"""What goes wrong between a client and a server, in words that say where and what to do.

Must never hold: a query, a user name or a password; text from the other side that is not sanitised.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from urllib3.exceptions import HTTPError

from scepflow.errors import TransportError
from scepflow.text import sanitise
from scepflow_bundled.timed_sockets import DeadlineError, TooLongError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow_bundled.timed_sockets import Limits
    from scepflow_bundled.web_addresses import Origin, WebAddress

__all__ = ["explained", "proxy_refusal"]

_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


class _Explanation(NamedTuple):
    """What to say; ``retryable`` is whether the same request may succeed later."""

    message: str
    retryable: bool = False
    hint: str | None = None


_PLAIN: tuple[tuple[type[BaseException], _Explanation], ...] = (
    (TooLongError, _Explanation("{peer} sent more than an HTTP reply may have")),
    (http.client.IncompleteRead, _Explanation("the reply of {peer} ended early", retryable=True)),
    (
        ConnectionRefusedError,
        _Explanation(
            "cannot reach {peer}: connection refused", True, "is it running, and is the port right?"
        ),
    ),
    (
        ConnectionError,  # http.client.RemoteDisconnected is one
        _Explanation("{peer} closed the connection without a complete reply", retryable=True),
    ),
)


@contextmanager
def explained(address: WebAddress, *, limits: Limits, proxy: Origin | None = None) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise inside into a TransportError.

    Args:
        address: what the exchange is for.
        limits: the exchange's limits.
        proxy: the proxy, while it is the one being talked to.

    Raises:
        TransportError: names the side that failed and the reason.
    """
    try:
        yield
    except (OSError, http.client.HTTPException, HTTPError, TooLongError) as error:
        cause = error.__cause__ if isinstance(error, HTTPError) and error.__cause__ else error
        why = _explain(cause, f"the proxy {proxy}" if proxy else str(address.origin), limits)
        hint = why.hint or ("it is the url of [transport]" if proxy else None)
        raise TransportError(why.message, url=address.shown, retryable=why.retryable, hint=hint) from None


def _explain(error: BaseException, peer: str, limits: Limits) -> _Explanation:
    for kind, why in _PLAIN:
        if isinstance(error, kind):
            return why._replace(message=why.message.format(peer=peer))
    if isinstance(error, TimeoutError):
        return _explain_timeout(error, peer, limits)
    if isinstance(error, ssl.SSLError):
        return _explain_tls(error, peer)
    if isinstance(error, OSError):
        return _explain_system(error, peer)
    words = f"it starts with {error.args[0]}" if isinstance(error, http.client.BadStatusLine) else str(error)
    return _Explanation(f"the reply of {peer} is not HTTP that can be used: {sanitise(words)}")


def _explain_timeout(error: TimeoutError, peer: str, limits: Limits) -> _Explanation:
    if isinstance(error, DeadlineError) or limits.left_s <= 0:
        hint = "if it needs longer, set timeout in [transport]"
        return _Explanation(f"{peer} was not done after {limits.timeout_s:g} s", True, hint)
    return _Explanation(f"no answer from {peer} within {limits.last_wait_s:g} s", retryable=True)


def _explain_system(error: OSError, peer: str) -> _Explanation:
    reason = (error.strerror or "it failed").lower()
    if isinstance(error, socket.gaierror):
        return _Explanation(f"cannot find {peer}: {reason}", error.errno == socket.EAI_AGAIN)
    return _Explanation(f"cannot reach {peer}: {reason}", retryable=True)


def _explain_tls(error: ssl.SSLError, peer: str) -> _Explanation:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, peer)
    reason = (error.reason or "the connection was closed").replace("_", " ").lower()
    hint = None
    if "certificate required" in reason or "handshake failure" in reason:
        hint = "the server may want client_certificate and client_key in [transport]"
    elif "wrong version number" in reason or "record layer" in reason:
        hint = "that port may speak plain http"
    return _Explanation(f"TLS with {peer} failed: {reason}", isinstance(error, ssl.SSLEOFError), hint)


def _explain_certificate(error: ssl.SSLCertVerificationError, peer: str) -> _Explanation:
    hint = 'for a private CA set ca_file = "roots.pem" in [transport]'
    if error.verify_code in _WRONG_NAME:
        hint = "write the name that the certificate has in the url"
    return _Explanation(
        f"the TLS certificate of {peer} is not accepted: {sanitise(error.verify_message)}", hint=hint
    )


def proxy_refusal(status: int, *, proxy: Origin, address: WebAddress, login_sent: bool) -> TransportError:
    """Return the error for a proxy that answered instead of passing on.

    Args:
        status: its HTTP status; 407, or 401 from tinyproxy, is about the login.
        proxy: the proxy.
        address: what the request was for.
        login_sent: whether it got a login.
    """
    message = f"the proxy {proxy} does not connect to {address.origin.host_and_port} (HTTP {status})"
    hint = "it may allow some ports only (tinyproxy: ConnectPort), or cannot reach the host"
    if status in (401, 407) and login_sent:
        message = f"the proxy {proxy} does not accept the login ({status})"
        hint = "look at user and password in [transport]"
    elif status in (401, 407):
        message = f"the proxy {proxy} wants a login ({status})"
        hint = "set user and password in [transport]"
    return TransportError(
        message, url=address.shown, status=status, retryable=status in (502, 503, 504), hint=hint
    )
