"""Verifying certificates up to trust anchors, with OpenSSL.

Must never hold: a policy on algorithms, or which certificates are anchors.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from OpenSSL import crypto

from scepflow.engine.certificates import load_certificates
from scepflow.errors import ProtocolError, TrustError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography import x509

__all__ = ["ChainVerifier"]


class ChainVerifier:
    """Verifies certificates up to trust anchors, which need not be self-signed.

    Args:
        anchors: certificates trusted by themselves.
        intermediates: CA certificates that may stand between.
    """

    def __init__(
        self, anchors: Iterable[x509.Certificate], intermediates: Iterable[x509.Certificate]
    ) -> None:
        self._anchors = _for_openssl(anchors)
        self._intermediates = _for_openssl(intermediates)

    def chain(
        self, certificate: x509.Certificate, at: datetime, *, between: Iterable[x509.Certificate] = ()
    ) -> tuple[x509.Certificate, ...]:
        """Return the verified chain above a certificate, its issuer first, an anchor last.

        Args:
            certificate: the certificate to verify.
            at: the time for which it must be valid, aware UTC.
            between: more CA certificates that may stand between; they are not trusted by this.

        Raises:
            TrustError: it does not chain to an anchor, or something on the way is not valid.
        """
        if not self._anchors:
            raise TrustError("no CA certificate is known to verify it with", check="chain")
        target = _for_openssl([certificate])
        if not target:
            raise TrustError("OpenSSL cannot read the certificate", check="chain")
        untrusted = [*self._intermediates, *_for_openssl(between)]
        try:
            verified = crypto.X509StoreContext(self._store(at), target[0], untrusted).get_verified_chain()
        except crypto.X509StoreContextError as error:
            raise TrustError(f"{error}: {_at_fault(error)}", check="chain") from None
        return load_certificates(map(_der_of, verified[1:]))

    def _store(self, at: datetime) -> crypto.X509Store:
        """Return a new store: OpenSSL keeps the first time that a store is given, whatever is set later."""
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for anchor in self._anchors:
            store.add_cert(anchor)
        store.set_time(at)
        return store


def _for_openssl(certificates: Iterable[x509.Certificate]) -> list[crypto.X509]:
    """Return the certificates that OpenSSL reads as well: it is stricter in places."""
    converted = []
    for certificate in certificates:
        with suppress(crypto.Error):
            converted.append(crypto.X509.from_cryptography(certificate))
    return converted


def _der_of(certificate: crypto.X509) -> bytes:
    """Return its DER, for `load_certificates`: what pyOpenSSL converts makes the library warn on stderr."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _at_fault(error: crypto.X509StoreContextError) -> str:
    try:
        (certificate,) = load_certificates([_der_of(error.certificate)])
        return sanitise(certificate.subject.rfc4514_string())
    except (crypto.Error, ProtocolError):
        return "a certificate that cannot be read"  # pyOpenSSL gives an empty one where OpenSSL names none
