"""A pipeline's CA: what it offers, and whether it is the one that the pipeline pins.

Must never hold: a PKIOperation; nothing here can issue a certificate or spend
a challenge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from scepflow.engine import algorithms, queries, trust
from scepflow.engine.algorithms import Cipher, Digest, Security
from scepflow.engine.capabilities import NONE
from scepflow.engine.certificates import can_decrypt
from scepflow.engine.fingerprints import parse_fingerprint
from scepflow.errors import OptionError, ProtocolError, ScepflowError, TransportError, TrustError
from scepflow.events import CaAuthenticated
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cryptography import x509

    from scepflow.engine.algorithms import Choice
    from scepflow.engine.capabilities import Capabilities
    from scepflow.engine.trust import Bundle
    from scepflow.pipeline.model import CaOptions
    from scepflow.stages import Connection, Run

__all__ = [
    "AuthenticatedCa",
    "KnownCa",
    "are_pinned",
    "ask_next_ca",
    "authenticate_ca",
    "authenticate_certificates",
    "fetch_certificates",
    "recognise_ca",
]

_LARGEST_BYTES = 1 << 20
_KEYED_BY_CHALLENGE = (
    "the CA offers no RSA certificate, so requests are encrypted with the challenge (password_envelope): "
    "whoever records one can guess the challenge offline"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCa:
    """A CA that passed.

    Attributes:
        capabilities: what it offers, or nothing where it does not say.
        bundle: who it is.
        certificates: what passed of GetCACert's answer, or stood in for it; in place of the answer, they lead to this bundle.
    """

    capabilities: Capabilities
    bundle: Bundle
    certificates: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatedCa(KnownCa):
    """A CA that passed, and the algorithms to speak to it with."""

    choice: Choice


def authenticate_ca(
    options: CaOptions,
    connection: Connection,
    run: Run,
    *,
    successors: Sequence[x509.Certificate] = (),
) -> AuthenticatedCa:
    """Ask the CA what it offers and who it is, and compare with what is pinned.

    Args:
        options: ``[ca]``.
        connection: the way to it.
        run: the run; it is told what was found.
        successors: the certificates that a CA which fitted the pins has announced with GetNextCACert; a
            CA that fits the pins no more may be theirs.

    Raises:
        TransportError: the CA cannot be reached.
        TrustError: it is not the one that is pinned, or too weak for the policy.
        ProtocolError: it does not speak SCEP.
        OptionError: a file or fingerprint in ``[ca]`` cannot be used.
    """
    ca = recognise_ca(options, connection, run, successors=successors)
    choice = _choice(options, ca.capabilities)
    for finding in choice.findings:
        run.warn(finding.code, finding.text)
    return AuthenticatedCa(
        capabilities=ca.capabilities, bundle=ca.bundle, certificates=ca.certificates, choice=choice
    )


def recognise_ca(
    options: CaOptions,
    connection: Connection,
    run: Run,
    *,
    successors: Sequence[x509.Certificate] = (),
    kept: tuple[x509.Certificate, ...] = (),
) -> KnownCa:
    """Do as `authenticate_ca`, for a request that has been sent: its algorithms are chosen.

    Args:
        options: ``[ca]``.
        connection: the way to the CA.
        run: the run; it is told what was found.
        successors: the certificates that the CA has announced.
        kept: the CA's certificates from the time of the request. They stand in for an answer to GetCACert that
            does not come, as long as the pins of today fit them; an answer that comes is what counts.

    Raises:
        TransportError, TrustError, ProtocolError, OptionError: as `authenticate_ca`.
    """
    pins = _read_pins(options, run)
    capabilities, unanswered = _capabilities(options, connection)
    authenticate = partial(_followed, options, pins=pins, run=run, successors=successors)
    certificates: tuple[x509.Certificate, ...] = ()
    bundle: Bundle | None = None
    try:
        if options.fetch_certificates:
            certificates = fetch_certificates(options, connection)
    except (TransportError, ProtocolError) as error:
        bundle = _as_kept(kept, authenticate, run, error)
        certificates = kept if bundle else _in_file(pins, run, error)
    if bundle is None:
        if unanswered:
            run.warn("no-capabilities", f"GetCACaps failed: {unanswered}")
        bundle = authenticate(certificates)
        certificates = tuple(
            certificate for certificate in certificates if certificate in bundle.certificates
        )
    for finding in bundle.findings:
        run.warn(finding.code, finding.text)
    if options.password_envelope and not can_decrypt(bundle.recipient):
        run.warn("password-envelope", _KEYED_BY_CHALLENGE)
    run.emit(
        CaAuthenticated(
            pipeline=run.pipeline,
            at=run.now(),
            subject=_subject(bundle.ca_certificate),
            recipient=_subject(bundle.recipient),
            by=bundle.by,
            capabilities=tuple(sorted(capabilities.names)),
        )
    )
    return KnownCa(capabilities=capabilities, bundle=bundle, certificates=certificates)


def ask_next_ca(options: CaOptions, connection: Connection, bundle: Bundle) -> queries.Answer[queries.NextCa]:
    """Ask the CA for its next certificates (RFC 8894 §4.7 Get Next Certificate Authority Certificate).

    Args:
        options: ``[ca]``.
        connection: the way to it.
        bundle: the CA as it is now, who must have signed the answer.

    Raises:
        TransportError: the CA cannot be reached, or has no next certificate.
        TrustError: the signature is not the current CA's.
        ProtocolError: not the answer to the question.
    """
    response = connection.send(queries.next_ca_request(options.url, options.identifier))
    return queries.parse_next_ca(
        response, bundle=bundle, security=Security(options.security), relaxed=frozenset(options.relax)
    )


def authenticate_certificates(
    options: CaOptions, certificates: Sequence[x509.Certificate], run: Run
) -> Bundle:
    """Compare the CA's certificates with what is pinned, or take the files where it is not asked.

    Args:
        options: ``[ca]``.
        certificates: what GetCACert gave.
        run: the run.

    Raises:
        TrustError: they are not those of the CA that is pinned.
        OptionError: a file or fingerprint in ``[ca]`` cannot be used.
    """
    return _authenticate(options, certificates, _read_pins(options, run), run)


def are_pinned(options: CaOptions, anchors: Sequence[x509.Certificate], run: Run) -> bool:
    """Return whether ``[ca]`` pins each of some trust anchors, by fingerprint or file.

    Raises:
        OptionError: a file in ``[ca]`` cannot be used.
    """
    trusted = _read_pins(options, run).anchors
    fingerprints = [parse_fingerprint(text) for text in options.fingerprints]
    return all(
        anchor in trusted
        or any(trust.fingerprint(anchor, pin.partition(":")[0]) == pin for pin in fingerprints)
        for anchor in anchors
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pins:
    """What ``[ca]`` says of certificates: those in files, and the fingerprints of signer and recipient."""

    anchors: tuple[x509.Certificate, ...]
    files: tuple[x509.Certificate, ...]
    signer: str | None
    recipient: str | None


def _read_pins(options: CaOptions, run: Run) -> _Pins:
    anchors = _read_certificates(run.path(options.certificate), "certificate") if options.certificate else ()
    signer, signer_file = _pin(options.signing_certificate, run, "signing_certificate")
    recipient, recipient_file = _pin(options.encryption_certificate, run, "encryption_certificate")
    return _Pins(anchors=anchors, files=(*signer_file, *recipient_file), signer=signer, recipient=recipient)


def _authenticate(
    options: CaOptions, certificates: Sequence[x509.Certificate], pins: _Pins, run: Run
) -> Bundle:
    if not options.fetch_certificates:
        return trust.pinned(
            pins.anchors,
            signer=_in_files(pins.signer, pins, "signing_certificate"),
            recipient=_in_files(pins.recipient, pins, "encryption_certificate"),
            now=run.now(),
            security=Security(options.security),
        )
    return trust.authenticate(
        (*certificates, *pins.files),
        fingerprints=[parse_fingerprint(text) for text in options.fingerprints],
        anchors=pins.anchors,
        recipient=pins.recipient,
        signer=pins.signer,
        now=run.now(),
        security=Security(options.security),
    )


def _followed(
    options: CaOptions,
    certificates: Sequence[x509.Certificate],
    *,
    pins: _Pins,
    run: Run,
    successors: Sequence[x509.Certificate],
) -> Bundle:
    """Compare with the pins, or where they do not fit, with what the CA that fitted has announced (RFC 8894 §4.7)."""
    try:
        return _authenticate(options, certificates, pins, run)
    except TrustError as error:
        if not (successors and certificates):
            raise
        try:
            bundle = _authenticate(options, certificates, replace(pins, anchors=tuple(successors)), run)
        except TrustError:
            raise error from None
    pin = trust.fingerprint(bundle.ca_certificate)
    run.warn("ca-followed", f'the CA has changed as it announced: pin the new one, fingerprint = "{pin}"')
    return bundle


def _in_files(wanted: str | None, pins: _Pins, option: str) -> x509.Certificate | None:
    """Return the certificate with a fingerprint; without one, None."""
    if wanted is None:
        return None
    for certificate in (*pins.files, *pins.anchors):
        if trust.fingerprint(certificate, wanted.partition(":")[0]) == wanted:
            return certificate
    raise OptionError(
        "no certificate in the files has this fingerprint",
        where=f"ca.{option}",
        hint="GetCACert is not asked (fetch_certificates = false): name the certificate's file",
    )


def _subject(certificate: x509.Certificate) -> str:
    return sanitise(certificate.subject.rfc4514_string())


def _capabilities(options: CaOptions, connection: Connection) -> tuple[Capabilities, str]:
    """Return the capabilities, or none and why: some servers only hang up on the question (Q-010, C-076)."""
    request = queries.ca_caps_request(options.url, options.identifier)
    try:
        return queries.parse_ca_caps(connection.send(request)), ""
    except TransportError as error:
        if not options.fetch_certificates:  # no other question will tell whether the server is there
            raise
        return NONE, error.message


def fetch_certificates(options: CaOptions, connection: Connection) -> tuple[x509.Certificate, ...]:
    """Return what GetCACert gives; nothing about it is verified.

    Raises:
        TransportError, ProtocolError: no certificate came.
    """
    return queries.parse_ca_cert(connection.send(queries.ca_cert_request(options.url, options.identifier)))


def _as_kept(
    kept: tuple[x509.Certificate, ...],
    authenticate: Callable[[tuple[x509.Certificate, ...]], Bundle],
    run: Run,
    error: ScepflowError,
) -> Bundle | None:
    """Return the CA as it was at the request, or None if that is not kept or the pins of today do not fit it."""
    if not kept:
        return None
    try:
        bundle = authenticate(kept)
    except TrustError:
        return None
    run.warn("ca-kept", f"GetCACert failed, the CA is taken as it was at the request: {error.message}")
    return bundle


def _in_file(pins: _Pins, run: Run, error: TransportError | ProtocolError) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a file, which do where the server answers and gives none (C-005)."""
    is_silent = isinstance(error, TransportError) and error.status is None
    if is_silent or not pins.anchors:
        raise error
    run.warn("no-ca-certificate", f"GetCACert failed, the certificate file is used: {error.message}")
    return pins.anchors


def _pin(written: str | None, run: Run, option: str) -> tuple[str | None, tuple[x509.Certificate, ...]]:
    """Return a pinned certificate's fingerprint, and the certificate itself where a file was named."""
    if written is None:
        return None, ()
    try:
        return parse_fingerprint(written), ()
    except ValueError:
        certificates = _read_certificates(run.path(written), option)
        return trust.fingerprint(certificates[0]), certificates[:1]


def _read_certificates(path: Path, option: str) -> tuple[x509.Certificate, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}", where=f"ca.{option}") from None
    if len(data) > _LARGEST_BYTES:
        raise OptionError(f"{path} is larger than 1 MiB", where=f"ca.{option}")
    try:
        return trust.parse_certificates(data)
    except ProtocolError:  # its words may quote the file, which may be a secret
        raise OptionError(
            f"no certificate can be read from {path}",
            where=f"ca.{option}",
            hint="PEM, DER or a certs-only CMS (.p7b) is wanted",
        ) from None


def _choice(options: CaOptions, capabilities: Capabilities) -> Choice:
    method: Literal["GET", "POST"] | None = None if options.method == "auto" else options.method
    return algorithms.choose(
        capabilities,
        security=Security(options.security),
        digest=None if options.digest == "auto" else Digest(options.digest),
        cipher=None if options.cipher == "auto" else Cipher(options.cipher),
        method=method,
    )
