"""http and https addresses, taken apart and shown without what must stay private.

Must never hold: a socket; or a way to show a query, which may have a whole message in it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BadAddressError", "Origin", "WebAddress", "check_no_proxy", "is_exempt", "parse_address"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")


class BadAddressError(ValueError):
    """An address that nothing can be sent to; the text never shows the address."""


class Origin(NamedTuple):
    """Scheme, host and port: what credentials belong to (RFC 6454 §4 Origin of a URI)."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host, in brackets if it is IPv6, and the port unless it is the scheme's own."""
        return self.host_in_url if self.port == _DEFAULT_PORTS[self.scheme] else self.host_and_port

    @property
    def host_and_port(self) -> str:
        """The same with the port always, as CONNECT wants it (RFC 9110 §9.3.6 CONNECT)."""
        return f"{self.host_in_url}:{self.port}"

    @property
    def host_in_url(self) -> str:
        """The host, in brackets if it is IPv6."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class WebAddress:
    """One absolute address.

    Attributes:
        origin: where it is.
        target: path and query as written, at least "/".
    """

    origin: Origin
    target: str

    @property
    def shown(self) -> str:
        """The address without its query, fit for a message."""
        return sanitise(f"{self.origin}{self.target.partition('?')[0]}")

    def resolve(self, location: str) -> WebAddress:
        """Return the address that a Location field means (RFC 9110 §10.2.2 Location).

        Raises:
            BadAddressError: nothing can be sent there.
        """
        _check_characters(location)  # urljoin would drop some
        try:
            return parse_address(urljoin(f"{self.origin}{self.target}", location))
        except ValueError as error:
            raise BadAddressError(str(error)) from None


def parse_address(url: str) -> WebAddress:
    """Take an absolute http or https URL apart; path and query stay as written (Q-013).

    Raises:
        BadAddressError: control characters, blanks, non-ASCII (S-076), another scheme, a user name, no host.
    """
    _check_characters(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadAddressError("its host or port cannot be read") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise BadAddressError("it is neither http nor https")
    if "@" in parts.netloc:
        raise BadAddressError("it has a user name")
    host = parts.hostname or ""
    if port == 0 or not (_HOST_NAME.fullmatch(host) or _is_ip(host)):
        raise BadAddressError("its host or port cannot be used")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress(Origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme]), target)


def _check_characters(text: str) -> None:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise BadAddressError("it has characters that no URL may have")


def check_no_proxy(entries: Iterable[str]) -> None:
    """Refuse an entry of ``no_proxy`` that could never match.

    Raises:
        ValueError: names the entry.
    """
    for entry in entries:
        name = entry.removeprefix(".")
        if "/" in entry:
            ipaddress.ip_network(entry, strict=False)
        elif entry != "*" and not (_HOST_NAME.fullmatch(name) or _is_ip(name)):
            raise ValueError(f"{entry!r} is not a host, a domain, an IP address or a network")


def is_exempt(host: str, no_proxy: Iterable[str]) -> bool:
    """Tell whether a host is to be reached without the proxy.

    Args:
        host: a name, or an IP address; names are not looked up.
        no_proxy: hosts, domains (with all below them, a leading dot changes nothing),
            IP addresses, networks such as ``10.0.0.0/8``, or ``*``.
    """
    name = host.rstrip(".").lower()
    if _is_ip(name):
        address = ipaddress.ip_address(name)
        return any(
            entry == "*" or any(address in network for network in _networks(entry)) for entry in no_proxy
        )
    domains = (entry.strip(".").lower() for entry in no_proxy)
    return any(domain == "*" or f".{name}".endswith(f".{domain}") for domain in domains)


def _networks(entry: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the network that an entry is, or none if it is a name."""
    try:
        return [ipaddress.ip_network(entry, strict=False)]
    except ValueError:
        return []


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
