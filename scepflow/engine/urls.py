"""The addresses of SCEP operations (RFC 8894 §4.1 HTTP POST and GET Message Formats).

Must never hold: urllib, which opens sockets when asked to; or an error that
shows the address, which may have a password in it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from string import ascii_letters, digits

from scepflow.errors import OptionError

__all__ = ["DEFAULT_PATH", "check_url", "operation_url"]

DEFAULT_PATH = "/cgi-bin/pkiclient.exe"  # RFC 8894 §4.1

_UNRESERVED = frozenset((ascii_letters + digits + "-._~").encode())  # RFC 3986 §2.3 Unreserved Characters
_PARTS = re.compile(
    r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?",
    re.DOTALL,
)
_AUTHORITY = re.compile(r"(?:\[(?P<ipv6>[^\[\]]*)\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LEGAL = re.compile(r"(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9._~:/?@!$&'()*+,;=-])*")
_RESERVED_KEYS = ("operation", "message")


def check_url(base: str) -> None:
    """Refuse a configured CA address that no operation can be added to.

    Args:
        base: the address as configured, absolute, http or https.

    Raises:
        OptionError: not such an address; the text never shows it.
    """
    _split(base)


def operation_url(base: str, operation: str, *, message: str | bytes | None = None) -> str:
    """Return the address of one operation at the configured address.

    A path is kept as it is written, its trailing slash too (Q-013); without a
    path, or with "/" alone, it is ``/cgi-bin/pkiclient.exe`` (C-090). A query
    is kept and added to (C-100).

    Args:
        base: the address as configured, absolute, http or https.
        operation: the operation's name, such as ``GetCACert``.
        message: a pki_message in DER, sent as base64 (RFC 4648 §4 Base 64 Encoding); or a
            CA identifier, sent as UTF-8; both percent-encoded. None leaves ``message`` out (Q-035).

    Returns:
        The absolute URL in ASCII.

    Raises:
        OptionError: the address cannot be used, or the identifier is not valid text.
    """
    origin, path, query = _split(base)
    parts = [*filter(None, [query.rstrip("&")]), f"operation={operation}"]
    if message is not None:
        parts.append(
            f"message={_base64(message) if isinstance(message, bytes) else _percent_encode(message)}"
        )
    return f"{origin}{DEFAULT_PATH if path in ('', '/') else path}?{'&'.join(parts)}"


def _split(base: str) -> tuple[str, str, str]:
    """Check the address; return scheme with authority, path and query as written."""
    parts = _PARTS.fullmatch(base)
    if parts is None or parts["scheme"].lower() not in ("http", "https"):
        raise OptionError("not an http or https address", hint='write "http://HOST/PATH"')
    _check_authority(parts["authority"])
    path, query = parts["path"], parts["query"] or ""
    if parts["fragment"] is not None:
        raise OptionError(
            'the address has a fragment ("#…")', hint="leave it out, or write %23 for the character"
        )
    if not _LEGAL.fullmatch(path + query):
        raise OptionError(
            "the address has a character that no URL may have", hint="percent-encode it: %20 is a blank"
        )
    for key in _RESERVED_KEYS:
        if key in (pair.partition("=")[0] for pair in query.split("&")):
            raise OptionError(
                f'the address already has "{key}="', hint="leave it out, it is added for each request"
            )
    return f"{parts['scheme'].lower()}://{parts['authority']}", path, query


def _check_authority(authority: str) -> None:
    if "@" in authority:
        raise OptionError(
            "the address has a user name", hint="leave it out; SCEP has no login, it has a challenge"
        )
    match = _AUTHORITY.fullmatch(authority)
    if match is None or (match["ipv6"] is not None and not _is_ipv6(match["ipv6"])):
        raise OptionError(
            "the address has no usable host",
            hint="a name in ASCII (xn--… if international), an IPv4 address or [IPv6]",
        )
    if match["port"] is not None and not 1 <= int(match["port"]) <= 65535:
        raise OptionError(f"the address has port {match['port']}", hint="ports go from 1 to 65535")


def _is_ipv6(text: str) -> bool:
    from ipaddress import AddressValueError, IPv6Address

    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return "%" not in text  # a zone is written in more than one way, and means nothing elsewhere


def _base64(der: bytes) -> str:
    """Encode a pki_message; "+" left as it is would become a blank (C-094, Q-031)."""
    return b64encode(der).decode("ascii").replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


def _percent_encode(text: str) -> str:
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        raise OptionError("the CA identifier is not valid Unicode text") from None
    return "".join(chr(octet) if octet in _UNRESERVED else f"%{octet:02X}" for octet in octets)
