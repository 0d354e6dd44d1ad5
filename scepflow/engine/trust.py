"""The CA's certificates: reading GetCACert, authenticating it, and saying who may sign and receive.

Must never hold: trust in a certificate because it came with a message.
"""

from __future__ import annotations

import binascii
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scepflow.engine import ber, certificates, cms, oids, strength
from scepflow.engine.algorithms import Security
from scepflow.engine.certificates import is_ca, key_usage
from scepflow.engine.chains import ChainVerifier
from scepflow.engine.checks import Finding
from scepflow.engine.recipients import can_sign, choose_recipient, is_unfit, preference
from scepflow.errors import ProtocolError, TrustError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = ["Bundle", "authenticate", "fingerprint", "parse_certificates", "pinned"]

MAX_SHOWN = 10  # certificates in an error
_NAMED = 3  # certificates in a warning

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s([^-]*)-----END \1-----")
_PEM_LABELS = (b"CERTIFICATE", b"PKCS7", b"CMS", b"TRUSTED CERTIFICATE")
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha512": hashes.SHA512,
}


def parse_certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """Read certificates from DER, certs-only CMS, PEM or base64; what it is shows in the bytes (Q-100 to Q-103).

    Args:
        data: the answer to GetCACert, or a file.

    Returns:
        The certificates without duplicates, in the order they came, at least one (Q-104).

    Raises:
        ProtocolError: none of these, or no certificate in it.
    """
    certificates = tuple(dict.fromkeys(_parse(data.lstrip(b" \t\r\n"))))
    if not certificates:
        raise ProtocolError("no certificate in it", section="RFC 8894 §4.2.1 Get CA Certificate")
    return certificates


def _parse(data: bytes) -> tuple[x509.Certificate, ...]:
    if data.startswith(b"\x30"):
        return _parse_der(data)
    if b"-----BEGIN " in data:
        blocks = (match[2] for match in _PEM.finditer(data) if match[1] in _PEM_LABELS)
        return _bounded(certificate for block in blocks for certificate in _parse_der(_base64(block)))
    return _parse_der(_base64(data))


def _bounded(certificates: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Return them, reading no further than a bundle may go (S-030)."""
    found = tuple(islice(certificates, cms.MAX_CERTIFICATES + 1))
    if len(found) > cms.MAX_CERTIFICATES:
        raise ProtocolError(f"more than {cms.MAX_CERTIFICATES} certificates in one bundle")
    return found


def _base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(text.split()), strict_mode=True)
    except binascii.Error:
        raise ProtocolError(
            f'neither a certificate nor a CMS bundle: "{sanitise(text, limit=60)}"',
            section="RFC 8894 §4.2.1 Get CA Certificate",
            hint="is this the address of the SCEP service, or of a web page?",
        ) from None


def _parse_der(der: bytes) -> tuple[x509.Certificate, ...]:
    """Read a certificate or a certs-only CMS; blanks and NULs may follow it (Q-103)."""
    for read in (bytes, ber.normalise):
        with suppress(ProtocolError):
            return certificates.load_certificates([read(der)])
    return cms.parse_signed_data(der).certificates()


def fingerprint(certificate: x509.Certificate, algorithm: str = "sha256") -> str:
    """Return ``sha256:`` and the digest of the certificate's DER in lower-case hex (RFC 8894 §2.2)."""
    return f"{algorithm}:{certificate.fingerprint(_HASHES[algorithm]()).hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What GetCACert gave, authenticated; or what files say instead.

    Attributes:
        certificates: those that chain to an anchor, in the order they came.
        anchors: the CA certificates that were pinned, by fingerprint or file; empty only if `pinned` got none.
        ca_certificate: the CA certificate that issues; the pinned signer where no CA certificate is known.
        recipient: the certificate that requests are encrypted for.
        signers: the certificates that may sign replies.
        by: how it was authenticated, for humans.
        verifier: verifies what this CA issues.
        findings: what should be said about it.
    """

    certificates: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    ca_certificate: x509.Certificate
    recipient: x509.Certificate
    signers: tuple[x509.Certificate, ...]
    by: str
    verifier: ChainVerifier
    findings: tuple[Finding, ...] = ()

    def without(self, key: CertificatePublicKeyTypes) -> Bundle:
        """Return the CA without what has a key of ours, in whatever it sent (S-002, S-010).

        What that key signs comes from us, and nobody else decrypts what is encrypted for it.

        Raises:
            TrustError: nothing is left to encrypt for, or nobody to sign replies.
        """
        signers, certificates = _foreign(self.signers, key), _foreign(self.certificates, key)
        receivers = _foreign((self.recipient,), key) or certificates
        if not (signers and receivers):
            raise TrustError(
                "the only certificate that the CA has for this is for our own key", check="recipient"
            )
        recipient = min(receivers, key=preference)
        return replace(self, certificates=certificates, signers=signers, recipient=recipient)


def authenticate(
    certificates: Sequence[x509.Certificate],
    *,
    fingerprints: Sequence[str] = (),
    anchors: Sequence[x509.Certificate] = (),
    recipient: str | None = None,
    signer: str | None = None,
    now: datetime,
    security: Security = Security.DEFAULT,
) -> Bundle:
    """Authenticate a CA's answer to GetCACert (RFC 8894 §2.2 CA Certificate Distribution).

    A fingerprint may be that of any CA certificate in the answer; every other
    certificate must chain to it, or it is left out (C-009, S-081). What a client of
    this CA holds chains to it as well: who can change the answer can add theirs. It is
    left out if its extended key usage, or that of a CA between, names other purposes than
    an RA's, and if nobody needs it: the CA itself is the recipient, and its key usage lets
    it sign. Pinning ``recipient`` and ``signer`` keeps out the rest (S-082).

    Args:
        certificates: what came.
        fingerprints: pins, as `fingerprints.parse_fingerprint` gives them.
        anchors: trusted CA certificates from a file.
        recipient: fingerprint of the certificate to encrypt for, instead of the choice by key usage.
        signer: fingerprint of the only certificate that may sign replies.
        now: current time, aware UTC.
        security: the policy on the signatures and keys of the certificates.

    Raises:
        TrustError: nothing was pinned, or nothing that came fits what was pinned.
    """
    found = _named_by(fingerprints, certificates)
    printed = [c for c in found if is_ca(c)]
    trusted_roots = (*(c for c in anchors if is_ca(c)), *printed)
    if not trusted_roots:
        raise _not_authenticated(certificates, fingerprints=fingerprints, found=[*anchors, *found])
    verifier = ChainVerifier(trusted_roots, [c for c in certificates if is_ca(c) and c not in trusted_roots])
    kept: list[x509.Certificate] = []
    findings: list[Finding] = []
    pins = {*found, *anchors, *_named_by((recipient, signer), certificates)}
    for certificate in dict.fromkeys((*certificates, *anchors)):
        try:
            chain = verifier.chain(certificate, now)
            _refuse_client((certificate, *chain), pins=pins, anchors=trusted_roots)
            findings += _judged((certificate, *chain), trusted_roots, security)
        except TrustError as error:
            findings.append(Finding("untrusted-certificate", f"left out of the CA's answer: {error.message}"))
        else:
            kept.append(certificate)
    findings = list(dict.fromkeys(findings))
    delivered = [c for c in kept if c in certificates]
    if not delivered:
        reason = findings[0].text if findings else "it is empty"
        raise TrustError(
            f"nothing in the CA's answer is valid under the trusted CA: {reason}",
            check="ca-authentication",
            hint=_seen(certificates),
        )
    receiver = _named(delivered, recipient, "encryption") if recipient else choose_recipient(delivered, now)
    needless = _needless(kept, receiver, pins)
    kept = [c for c in kept if c not in needless]
    findings += map(_left_out, needless)
    signers = (_named(delivered, signer, "signing"),) if signer else tuple(kept)
    findings += _not_pinned(receiver, signers, pins)
    if not recipient:
        findings += _unfit(receiver)
    return Bundle(
        certificates=tuple(kept),
        anchors=trusted_roots,
        ca_certificate=_issuing_ca(kept),
        recipient=receiver,
        signers=signers,
        by=f"fingerprint {fingerprint(printed[0])}" if printed else "CA certificate file",
        verifier=verifier,
        findings=tuple(findings),
    )


def _unfit(recipient: x509.Certificate) -> list[Finding]:
    """Return what should be said about the choice of a recipient that nobody pinned."""
    if not is_unfit(recipient):
        return []
    subject = sanitise(recipient.subject.rfc4514_string())
    text = f"the key usage of {subject} does not allow what it is used for: encryption"
    return [Finding("recipient-usage", text)]


def pinned(
    certificates: Sequence[x509.Certificate],
    *,
    signer: x509.Certificate | None = None,
    recipient: x509.Certificate | None = None,
    now: datetime,
    security: Security = Security.DEFAULT,
) -> Bundle:
    """Return the CA as its user knows it, from files: no server was asked.

    Each certificate is trusted exactly for what it was named for. The issuer of ``signer`` need
    not be known, and being named ``signer`` or ``recipient`` makes nothing else trusted: where no CA
    certificate is known, no certificate that is issued passes the check ``chain``.

    Args:
        certificates: the trust anchors; of them the CA certificates count.
        signer: the only certificate that may sign replies; one of a CA is a trust anchor, too.
        recipient: the certificate that requests are encrypted for; otherwise ``signer``.
        now: current time, aware UTC.
        security: the policy on RA certificates among ``certificates``.

    Raises:
        TrustError: there is neither a signer nor a valid CA certificate.
    """
    if signer is None:
        bundle = authenticate(certificates, anchors=certificates, now=now, security=security)
        return bundle if recipient is None else replace(bundle, recipient=recipient)
    anchors = tuple(dict.fromkeys(c for c in (*certificates, signer) if is_ca(c)))
    known = tuple(dict.fromkeys((*anchors, signer)))
    used = dict.fromkeys((signer, recipient or signer))
    return Bundle(
        certificates=known,
        anchors=anchors,
        ca_certificate=_issuing_ca(known) if anchors else signer,
        recipient=recipient or signer,
        signers=(signer,),
        by="certificate file",
        verifier=ChainVerifier(anchors, ()),
        findings=(*_outside(used, now), *([] if recipient else _unfit(signer))),
    )


def _outside(used: Iterable[x509.Certificate], now: datetime) -> list[Finding]:
    """Return which certificates are used outside their time: whoever pins one has seen it, and is told."""
    return [
        Finding("pinned-validity", f"{sanitise(c.subject.rfc4514_string())} is not valid now, and used")
        for c in used
        if not c.not_valid_before_utc <= now <= c.not_valid_after_utc
    ]


def _named_by(pins: Iterable[str | None], certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return the certificates that fingerprints name."""
    wanted = [pin for pin in pins if pin]
    return [c for c in certificates if any(fingerprint(c, p.partition(":")[0]) == p for p in wanted)]


def _refuse_client(
    path: Sequence[x509.Certificate],
    *,
    pins: Collection[x509.Certificate],
    anchors: Collection[x509.Certificate],
) -> None:
    """Refuse a certificate made for other purposes than an RA's; one without purposes may be an RA's (S-082)."""
    certificate = path[0]
    if certificate in pins or is_ca(certificate):
        return
    readable = certificates.has_readable_extensions(certificate)
    purposes = _purposes(path, anchors)
    if not readable or (purposes is not None and purposes.isdisjoint(oids.RA_PURPOSES)):
        subject = sanitise(certificate.subject.rfc4514_string())
        why = "is not an RA's" if readable else "cannot be read"
        raise TrustError(
            f"the extended key usage of {subject} {why}, and it is not pinned", check="ca-authentication"
        )


def _purposes(
    path: Sequence[x509.Certificate], anchors: Collection[x509.Certificate]
) -> frozenset[x509.ObjectIdentifier] | None:
    """Return a certificate's purposes; where it names none, those that the nearest CA which names some leaves it."""
    own = certificates.find_extension(path[0], x509.ExtendedKeyUsage)
    if own is not None:
        return frozenset(own)
    for issuer in path[1:]:
        left = frozenset(certificates.find_extension(issuer, x509.ExtendedKeyUsage) or ())
        if left and oids.ANY_PURPOSE not in left and issuer not in anchors:
            return left
    return None


def _needless(
    kept: Sequence[x509.Certificate], receiver: x509.Certificate, pins: Collection[x509.Certificate]
) -> list[x509.Certificate]:
    """Return what nothing says is an RA's where the CA needs none: it decrypts, and may sign by its key usage (S-082)."""
    usage = key_usage(receiver)
    if not (is_ca(receiver) and usage and usage.key_encipherment and usage.digital_signature):
        return []
    return [
        c
        for c in kept
        if c not in pins
        and not is_ca(c)
        and certificates.find_extension(c, x509.ExtendedKeyUsage) is None  # or it has an RA's
    ]


def _left_out(certificate: x509.Certificate) -> Finding:
    subject = sanitise(certificate.subject.rfc4514_string())
    return Finding(
        "untrusted-certificate",
        f"left out of the CA's answer: nothing pins {subject} or calls it an RA's, and the CA decrypts and signs itself; "
        f'if its operator says that it signs replies, set signing_certificate = "{fingerprint(certificate)}"',
    )


def _judged(
    path: Sequence[x509.Certificate], anchors: Collection[x509.Certificate], security: Security
) -> list[Finding]:
    """Return what is weak in a verified path; raises TrustError for what the policy refuses."""
    weak = strength.weaknesses(path, anchors=anchors)
    for weakness in weak:
        if security in weakness.refused_by:
            raise TrustError(f"{weakness.text}, which security = {security} refuses", check="algorithms")
    return [Finding("weak-certificate", weakness.text) for weakness in weak]


def _not_pinned(
    receiver: x509.Certificate,
    signers: Sequence[x509.Certificate],
    pins: Collection[x509.Certificate],
) -> list[Finding]:
    """Return what should be said of certificates that are trusted only for coming with the CA's (S-082)."""
    open_receiver, open_signers = (
        [c for c in found if c not in pins and not is_ca(c)] for found in ((receiver,), signers)
    )
    if not (open_receiver or open_signers):
        return []
    able = [c for c in open_signers if can_sign(c)] or open_signers
    used = [
        *(f"requests are encrypted for {_subject(c)}" for c in open_receiver),
        *([f"replies may be signed by {' or '.join(map(_subject, able[:_NAMED]))}"] if able else []),
    ]
    lines = [
        *(f'encryption_certificate = "{fingerprint(c)}"' for c in open_receiver),
        *([" or ".join(f'signing_certificate = "{fingerprint(c)}"' for c in able[:_NAMED])] if able else []),
    ]
    more = f" ({len(able) - _NAMED} more may sign)" if len(able) > _NAMED else ""
    return [
        Finding(
            "ra-not-pinned",
            f"{' and '.join(used)}{more}, which the CA issued and nothing pins; any client of the CA could pose so: "
            f"compare with its operator, then set {' and '.join(lines)}",
        )
    ]


def _subject(certificate: x509.Certificate) -> str:
    return sanitise(certificate.subject.rfc4514_string(), limit=80)


def _foreign(
    found: Iterable[x509.Certificate], key: CertificatePublicKeyTypes
) -> tuple[x509.Certificate, ...]:
    """Return the certificates that are for other keys."""
    return tuple(c for c in found if certificates.public_key(c) != key)


def _not_authenticated(
    certificates: Sequence[x509.Certificate],
    *,
    fingerprints: Sequence[str],
    found: Sequence[x509.Certificate],
) -> TrustError:
    if found:
        message = "what is pinned is a certificate which is not a CA's"
    elif fingerprints:
        message = "no certificate of the CA has the fingerprint that is pinned"
    else:
        message = "the CA is not authenticated: neither fingerprint nor certificate is set in [ca]"
    return TrustError(message, check="ca-authentication", hint=_seen(certificates))


def _seen(certificates: Sequence[x509.Certificate]) -> str:
    lines = ["the CA sent the following; compare with what its operator tells you, not with this:"]
    for certificate in certificates[:MAX_SHOWN]:
        role = "CA" if is_ca(certificate) else "RA"
        subject = sanitise(certificate.subject.rfc4514_string(), limit=80)
        lines.append(f'  {role} {subject}\n     fingerprint = "{fingerprint(certificate)}"')
    if len(certificates) > MAX_SHOWN:
        lines.append(f"  … and {len(certificates) - MAX_SHOWN} more")
    return "\n".join(lines)


def _issuing_ca(certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the CA certificate that issued the RA's, else the lowest CA certificate."""
    authorities = [c for c in certificates if is_ca(c)]
    ra_issuers = {c.issuer for c in certificates if not is_ca(c)}
    issuing = [c for c in authorities if c.subject in ra_issuers]
    lowest = [c for c in authorities if not any(c.subject == o.issuer for o in authorities if o is not c)]
    return (issuing or lowest or authorities)[0]


def _named(certificates: Sequence[x509.Certificate], wanted: str, purpose: str) -> x509.Certificate:
    for certificate in certificates:
        if fingerprint(certificate, wanted.partition(":")[0]) == wanted:
            return certificate
    raise TrustError(
        f"the CA did not send the {purpose} certificate that is pinned",
        check="ca-authentication",
        hint=_seen(certificates),
    )
