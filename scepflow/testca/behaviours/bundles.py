"""The certificates that GetCACert gives: those of odd CAs and RAs, and what attackers add to them.

Must never hold: which of them a client accepts; or how they are encoded (`scepflow.testca.behaviours.ca`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

from scepflow.engine.identity import SigningIdentity
from scepflow.testca.authority import RaPair
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.behaviours.statuses import ESCAPES
from scepflow.testca.certificates import LEAF, build_certificate, key_usage, new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from typing import Any

    from scepflow.engine.exchange import HttpResponse
    from scepflow.testca.authority import Authority
    from scepflow.testca.behaviour import Scene

    Change = Callable[[tuple[x509.Certificate, ...], Scene], Iterable[x509.Certificate]]
    Extensions = list[tuple[x509.ExtensionType, bool]]

__all__ = ["BEHAVIOURS", "certified", "signing_client"]

_YEAR = timedelta(days=365)
_CA = (x509.BasicConstraints(ca=True, path_length=None), True)
_ENCIPHERS = (key_usage(digital_signature=True, key_encipherment=True), True)
_ISSUES = (key_usage(digital_signature=True, key_cert_sign=True, crl_sign=True), True)
_LOUD = ESCAPES.replace("\0", "")
_SIGNS = (key_usage(digital_signature=True), True)
_HUGE_RSA = rsa.RSAPublicNumbers(65537, (1 << 16385) - 1)
_SMALL_RSA = rsa.RSAPublicNumbers(65537, (1 << 767) | 1)


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _issue(
    issuer: SigningIdentity,
    now: datetime,
    *,
    subject: x509.Name,
    public_key: Any,
    extensions: Extensions,
    serial: int | None = None,
) -> x509.Certificate:
    return build_certificate(
        subject=subject,
        public_key=public_key,
        issuer=issuer.certificate,
        issuer_key=issuer.key,
        serial=serial or x509.random_serial_number(),
        valid=(now, now + _YEAR),
        extensions=extensions,
    )


def certified(
    identity: SigningIdentity,
    now: datetime,
    *,
    issuer: SigningIdentity | None = None,
    extensions: Extensions | None = None,
    ended: bool = False,
    subject: x509.Name | None = None,
) -> SigningIdentity:
    """Return the same key with another certificate.

    Args:
        identity: the key and the certificate it has.
        now: the current time, aware UTC.
        issuer: who issues the new certificate, or None to sign it with its own key.
        extensions: what it says, or None for what a CA's certificate says.
        ended: whether its time is over.
        subject: its subject, or None for that of the old one.
    """
    valid = (now - 2 * _YEAR, now - _YEAR) if ended else (now, now + _YEAR)
    certificate = build_certificate(
        subject=subject or identity.certificate.subject,
        public_key=identity.key.public_key(),
        issuer=issuer.certificate if issuer else None,
        issuer_key=issuer.key if issuer else identity.key,
        serial=x509.random_serial_number(),
        valid=valid,
        extensions=[_CA, _ISSUES] if extensions is None else extensions,
    )
    return SigningIdentity(certificate, identity.key)


# -- what the CA's own certificates say: these change the CA


def _usages(authority: Authority, now: datetime, **usages: bool) -> None:
    """Give the CA a key usage with these and what a CA needs, or none at all."""
    usage: Extensions = [(key_usage(key_cert_sign=True, **usages), True)] if usages else []
    authority.ca = certified(authority.ca, now, extensions=[_CA, *usage])


def _single_ra(authority: Authority, now: datetime, **usages: bool) -> None:
    """Let one RA certificate do both, with these key usages or none at all."""
    usage: Extensions = [(key_usage(**usages), True)] if usages else []
    key = authority.signing if authority.ra else SigningIdentity(authority.certificate, new_key("rsa-2048"))
    ra = certified(key, now, issuer=authority.ca, extensions=[LEAF, *usage], subject=_named("test RA"))
    authority.ra = RaPair(ra, ra)


def _loud_ca(authority: Authority, now: datetime) -> None:
    authority.ca = certified(authority.ca, now, extensions=[_CA], subject=_named(_LOUD))


def _loud_ra(authority: Authority, now: datetime) -> None:
    key = SigningIdentity(authority.certificate, new_key("rsa-2048"))
    ra = certified(key, now, issuer=authority.ca, extensions=[LEAF, _ENCIPHERS], subject=_named(_LOUD))
    authority.ra = RaPair(ra, ra)


def _expired_ra(authority: Authority, now: datetime) -> None:
    if authority.ra is None:
        authority.add_ra(now)
    assert authority.ra is not None
    pair = (authority.ra.signing, authority.ra.encryption)
    authority.ra = RaPair(
        *(certified(one, now, issuer=authority.ca, extensions=[LEAF, _ENCIPHERS], ended=True) for one in pair)
    )


def _expired_ca(authority: Authority, now: datetime) -> None:
    authority.ca = certified(authority.ca, now, ended=True, extensions=[_CA])


def _under_root(authority: Authority, now: datetime, *, ended: bool = False) -> None:
    """Put a root above the CA."""
    key = SigningIdentity(authority.certificate, new_key("ec-p256"))
    root = certified(key, now, subject=_named("test root CA"))
    authority.ca = certified(authority.ca, now, issuer=root, ended=ended, extensions=[_CA])
    authority.above = (root.certificate,)


def _changing_ca(name: str, summary: str, prepare: Callable[[Authority, datetime], None]) -> Behaviour:
    return Behaviour(name=name, summary=summary, prepare=prepare)


# -- what GetCACert gives: these change the answer


def _giving(
    name: str, summary: str, change: Change, *, needs_ra: bool = False, needs_root: bool = False
) -> Behaviour:
    def answer(response: HttpResponse, scene: Scene) -> HttpResponse:
        certificates = tuple(change(scene.authority.bundle(), scene))
        if len(certificates) == 1:
            headers = {"content-type": "application/x-x509-ca-cert"}
            return replace(response, headers=headers, body=certificates[0].public_bytes(Encoding.DER))
        headers = {"content-type": "application/x-x509-ca-ra-cert"}
        return replace(response, headers=headers, body=_certs_only(certificates))

    return Behaviour(
        name=name,
        summary=summary,
        operations=("GetCACert",),
        answer=answer,
        needs_ra=needs_ra,
        needs_root=needs_root,
    )


def _certs_only(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return a certs-only message in the order given; that of a SET is no matter of servers'."""
    from scepflow.engine.asn1 import wrap
    from scepflow.testca.shapes import signed_data

    ders = b"".join(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    return signed_data(certificates=wrap(0xA0, ders))


def _ordered(order: tuple[int, ...]) -> Behaviour:
    words = ("ca", "signing", "encryption")
    named = [words[place] for place in order]
    return _giving(
        f"order-{'-'.join(named)}",
        f"sends the certificates of its CA and RA in the order {', '.join(named)}",
        lambda bundle, _: [bundle[place] for place in order],
        needs_ra=True,
    )


def _adding(name: str, summary: str, extra: Callable[[Scene], Iterable[x509.Certificate]]) -> Behaviour:
    return _giving(name, summary, lambda bundle, scene: (*extra(scene), *bundle))


def _client(scene: Scene, **purposes: Any) -> Iterable[x509.Certificate]:
    """Return what any client of the CA may hold; the attacker has its key."""
    usage: Extensions = [(x509.ExtendedKeyUsage([purposes["eku"]]), False)] if purposes else []
    yield _issue(
        scene.authority.ca,
        scene.now,
        subject=_named("a client"),
        public_key=scene.stranger.ca.key.public_key(),
        extensions=[LEAF, _ENCIPHERS, *usage],
    )


def signing_client(scene: Scene) -> SigningIdentity:
    """Return what a client of the CA signs with, which names no purpose; the attacker is that client."""
    certificate = _issue(
        scene.authority.ca,
        scene.now,
        subject=_named("a client"),
        public_key=scene.stranger.ca.key.public_key(),
        extensions=[LEAF, _SIGNS],
        serial=0xC11E47,  # the same in the CA's answer and in a reply
    )
    return SigningIdentity(certificate, scene.stranger.ca.key)


def _client_of_sub_ca(scene: Scene) -> Iterable[x509.Certificate]:
    """Return a client's certificate, which names no purpose, and the CA for TLS clients that issued it."""
    tls_only = (x509.ExtendedKeyUsage([Eku.CLIENT_AUTH]), False)
    stranger = scene.stranger.ca
    below = certified(
        stranger,
        scene.now,
        issuer=scene.authority.ca,
        extensions=[_CA, _ISSUES, tls_only],
        subject=_named("sub CA"),
    )
    key = new_key("rsa-2048")
    client = _issue(
        below,
        scene.now,
        subject=_named("a client"),
        public_key=key.public_key(),
        extensions=[LEAF, _ENCIPHERS],
    )
    return client, below.certificate


def _rogue_ra(scene: Scene) -> Iterable[x509.Certificate]:
    """Return an RA certificate of the attacker's own CA, and that CA."""
    stranger = scene.stranger
    ra = certified(
        stranger.ca, scene.now, issuer=stranger.ca, extensions=[LEAF, _ENCIPHERS], subject=_named("test RA")
    )
    return ra.certificate, stranger.certificate


def _rogue_ra_in_our_name(scene: Scene) -> Iterable[x509.Certificate]:
    """Return an RA certificate that names the CA as its issuer, and is signed by somebody else."""
    forger = SigningIdentity(scene.authority.certificate, scene.stranger.ca.key)
    ra = certified(
        scene.stranger.ca, scene.now, issuer=forger, extensions=[LEAF, _ENCIPHERS], subject=_named("test RA")
    )
    return (ra.certificate,)


def _odd_ra(scene: Scene, *, numbers: rsa.RSAPublicNumbers) -> Iterable[x509.Certificate]:
    yield _issue(
        scene.authority.ca,
        scene.now,
        subject=_named("RA with an odd key"),
        public_key=numbers.public_key(),
        extensions=[LEAF, _ENCIPHERS],
    )


def _cross_certificates(scene: Scene) -> Iterable[x509.Certificate]:
    """Return the CA as another CA certified it, and that other CA as this one certified it."""
    ours, other = scene.authority.ca, scene.stranger.ca
    crossed = certified(ours, scene.now, issuer=other), certified(other, scene.now, issuer=ours)
    return [identity.certificate for identity in crossed]


def _old_ca(scene: Scene) -> Iterable[x509.Certificate]:
    """Return the CA as it was before its last rollover: same name, another key, expired."""
    subject = scene.authority.certificate.subject
    return (certified(scene.stranger.ca, scene.now, subject=subject, ended=True).certificate,)


def _next_ca(scene: Scene) -> Iterable[x509.Certificate]:
    return (scene.authority.next_ca(scene.now).certificate,)


BEHAVIOURS = (
    *(_ordered(order) for order in permutations(range(3)) if order != (0, 1, 2)),
    _changing_ca("ca-without-usage", "has a CA certificate without a key usage", _usages),
    _changing_ca(
        "ca-only-signs",
        "has a CA certificate that may not encipher keys",
        partial(_usages, digital_signature=True),
    ),
    _changing_ca(
        "ca-only-enciphers",
        "has a CA certificate that may not sign messages",
        partial(_usages, key_encipherment=True),
    ),
    _changing_ca("ra-without-usage", "has one RA certificate, without a key usage", _single_ra),
    _changing_ca(
        "ra-only-signs",
        "has one RA certificate, which may not encipher keys",
        partial(_single_ra, digital_signature=True),
    ),
    _changing_ca(
        "ra-only-enciphers",
        "has one RA certificate, which may not sign messages",
        partial(_single_ra, key_encipherment=True),
    ),
    _changing_ca(
        "ra-for-both",
        "has one RA certificate that may do both",
        partial(_single_ra, digital_signature=True, key_encipherment=True),
    ),
    _changing_ca("expired-ra", "has an RA whose certificates have expired", _expired_ra),
    _changing_ca("expired-ca", "has a CA whose certificate has expired", _expired_ca),
    _changing_ca("escapes-for-the-ca", "names its CA in control sequences", _loud_ca),
    _changing_ca("escapes-for-the-ra", "has an RA, named in control sequences", _loud_ra),
    _changing_ca("intermediate", "has a root above its CA", _under_root),
    _changing_ca(
        "expired-intermediate",
        "has a root above its CA, whose certificate has expired",
        partial(_under_root, ended=True),
    ),
    _giving(
        "no-root",
        "leaves its root out",
        lambda bundle, scene: set(bundle) - set(scene.authority.above),
        needs_root=True,
    ),
    _giving(
        "ra-alone",
        "sends the certificate of its RA alone, as Dogtag and step-ca can",
        lambda _, scene: (scene.authority.encryption.certificate,),
        needs_ra=True,
    ),
    _giving("duplicates", "sends each of its certificates three times", lambda bundle, _: bundle * 3),
    _giving(
        "crowd-of-certificates", "sends a certificate 65 times", lambda bundle, _: (*bundle, *bundle[:1] * 64)
    ),
    _giving("stranger-ca", "sends the certificates of another CA", lambda _, scene: scene.stranger.bundle()),
    _giving(
        "stranger-of-that-name",
        "sends a CA certificate with the name of its own, and an attacker's key",
        lambda _, scene: [
            certified(scene.stranger.ca, scene.now, subject=scene.authority.certificate.subject).certificate
        ],
    ),
    _adding("rogue-client", "sends the certificate of a client for that of an RA", _client),
    _adding(
        "rogue-tls-client",
        "sends the certificate of a client for that of an RA, one made for TLS",
        partial(_client, eku=Eku.CLIENT_AUTH),
    ),
    _adding(
        "rogue-any-client",
        "sends the certificate of a client for that of an RA, one made for any purpose",
        partial(_client, eku=Eku.ANY_EXTENDED_KEY_USAGE),
    ),
    _adding(
        "rogue-client-below",
        "sends the certificate of a client for that of an RA, one that a CA for TLS clients issued",
        _client_of_sub_ca,
    ),
    _adding(
        "rogue-signing-client",
        "sends the certificate of a client that only signs for that of an RA",
        lambda scene: [signing_client(scene).certificate],
    ),
    _adding("rogue-ra", "adds the RA of another CA", _rogue_ra),
    _adding("rogue-ra-in-its-name", "adds an RA that it has not certified", _rogue_ra_in_our_name),
    _adding("huge-ra-key", "adds an RA with an RSA key of 16385 bits", partial(_odd_ra, numbers=_HUGE_RSA)),
    _adding("small-ra-key", "adds an RA with an RSA key of 768 bits", partial(_odd_ra, numbers=_SMALL_RSA)),
    _adding("cross-certificates", "sends cross certificates too", _cross_certificates),
    _adding("old-ca-too", "sends the expired certificate of its earlier key too", _old_ca),
    _adding("next-ca-too", "sends the certificate of its next key too", _next_ca),
)
