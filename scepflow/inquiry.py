"""Questions on a pipeline that issue nothing: what the CA offers, who it is, its next certificates, one certificate, a CRL.

They use the pipeline's ``[ca]``, ``[transport]`` and ``[signer]`` as a run does.
Must never hold: a request that could issue a certificate or spend a challenge,
or an answer handed on before it is verified, but for what `get_ca` says is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scepflow.ca import ask_next_ca, authenticate_ca, authenticate_certificates, fetch_certificates
from scepflow.engine import queries
from scepflow.engine.algorithms import Security
from scepflow.engine.certificates import serial_number as serial_of
from scepflow.engine.channel import Channel
from scepflow.errors import SignerError, TrustError
from scepflow.events import ReplyReceived, RequestSent, SignerReady
from scepflow.faults import connected, working
from scepflow.system import System, make_run
from scepflow.transaction import describe_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scepflow.ca import AuthenticatedCa
    from scepflow.engine.capabilities import Capabilities
    from scepflow.engine.channel import Message
    from scepflow.engine.checks import Finding
    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.engine.identity import SigningIdentity
    from scepflow.engine.trust import Bundle
    from scepflow.events import Event
    from scepflow.pipeline import Pipeline
    from scepflow.stages import Connection, Run

__all__ = [
    "CaAnswer",
    "CapabilitiesAnswer",
    "get_ca",
    "get_capabilities",
    "get_certificate",
    "get_crl",
    "get_next_ca",
]

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class CapabilitiesAnswer:
    """What the CA says it can do.

    Attributes:
        capabilities: what is understood of it.
        response: the answer itself; an HTTP error means no capabilities.
    """

    capabilities: Capabilities
    response: HttpResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class CaAnswer:
    """What GetCACert gave, and whether it is the CA that the pipeline pins.

    Attributes:
        certificates: what came, in its order; nothing about them is verified.
        bundle: the authenticated CA, or None.
        error: why it is not authenticated, or None.
    """

    certificates: tuple[x509.Certificate, ...]
    bundle: Bundle | None = None
    error: TrustError | None = None


def get_capabilities(
    pipeline: Pipeline, *, emit: Callable[[Event], None], system: System | None = None
) -> CapabilitiesAnswer:
    """Ask what the CA offers (RFC 8894 §3.5.1 GetCACaps). The answer is not authenticated.

    Args:
        pipeline: whose CA to ask.
        emit: is told every event.
        system: clock and randomness; the real ones when None.

    Raises:
        TransportError: the CA cannot be reached.
    """
    run = make_run(pipeline, emit, system or System())
    with connected(pipeline.transport, run) as connection:
        response = connection.send(queries.ca_caps_request(pipeline.ca.url, pipeline.ca.identifier))
    capabilities = queries.parse_ca_caps(response)
    unknown = tuple(map(run.masks.hide, capabilities.unknown))  # a proxy may quote its login
    return CapabilitiesAnswer(replace(capabilities, unknown=unknown), response)


def get_ca(pipeline: Pipeline, *, emit: Callable[[Event], None], system: System | None = None) -> CaAnswer:
    """Ask for the CA's certificates (RFC 8894 §4.2 Get CA Certificate) and compare them with what is pinned.

    Args:
        pipeline: whose CA to ask.
        emit: is told every event.
        system: clock and randomness; the real ones when None.

    Raises:
        TransportError: the CA cannot be reached.
        ProtocolError: no certificate came.
        OptionError: a file or fingerprint in ``[ca]`` cannot be used.
    """
    run = make_run(pipeline, emit, system or System())
    with connected(pipeline.transport, run) as connection:
        certificates = fetch_certificates(pipeline.ca, connection)
    try:
        bundle = authenticate_certificates(pipeline.ca, certificates, run)
    except TrustError as error:
        return CaAnswer(certificates=certificates, error=error)
    _warn(run, bundle.findings)
    return CaAnswer(certificates=certificates, bundle=bundle)


def get_next_ca(
    pipeline: Pipeline, *, emit: Callable[[Event], None], system: System | None = None
) -> queries.NextCa:
    """Ask for the certificates that will follow the CA's (RFC 8894 §4.7 Get Next Certificate Authority Certificate).

    The answer is signed by the current CA, which is authenticated first (S-084).

    Args:
        pipeline: whose CA to ask.
        emit: is told every event.
        system: clock and randomness; the real ones when None.

    Raises:
        TransportError: the CA cannot be reached, or has no next certificate.
        TrustError: a check failed.
        ProtocolError: not the answer to the question.
    """
    options = pipeline.ca
    run = make_run(pipeline, emit, system or System())
    with connected(pipeline.transport, run) as connection:
        bundle = authenticate_ca(options, connection, run).bundle
        answer = ask_next_ca(options, connection, bundle)
    _warn(run, answer.findings)
    return answer.value


def get_certificate(
    pipeline: Pipeline,
    serial_number: int,
    *,
    emit: Callable[[Event], None],
    issuer_der: bytes | None = None,
    transaction_id: str | None = None,
    system: System | None = None,
) -> x509.Certificate:
    """Ask for a certificate that the CA has issued (RFC 8894 §3.3.4 GetCert and GetCRL).

    Args:
        pipeline: whose CA to ask; its ``[signer]`` must have a certificate already.
        serial_number: the certificate's.
        emit: is told every event.
        issuer_der: DER of its issuer's Name; the CA's own when None.
        transaction_id: printable text; a random one when None.
        system: clock and randomness; the real ones when None.

    Raises:
        SignerError: there is no certificate to sign the question with.
        RejectedError, PendingError: the CA said no, or has not decided.
        TransportError, TrustError, ProtocolError: no answer that passes every check.
    """

    def exchange(line: _Line) -> queries.Answer[x509.Certificate]:
        message, request = queries.certificate_request(
            line.channel, serial_number, issuer_der=issuer_der, **line.label()
        )
        response = line.send(message, request)
        return queries.parse_certificate(
            line.channel,
            message,
            response,
            serial_number=serial_number,
            issuer_der=issuer_der,
            now=line.run.now(),
        )

    return _ask(pipeline, exchange, emit=emit, transaction_id=transaction_id, system=system or System())


def get_crl(
    pipeline: Pipeline,
    serial_number: int | None = None,
    *,
    emit: Callable[[Event], None],
    issuer_der: bytes | None = None,
    transaction_id: str | None = None,
    system: System | None = None,
) -> x509.CertificateRevocationList:
    """Ask for the CRL that covers a certificate (RFC 8894 §3.3.4 GetCert and GetCRL).

    Arguments and errors are those of `get_certificate`; the serial number is that of
    the signer's own certificate when None. A CRL that is not current is a warning.
    """

    def exchange(line: _Line) -> queries.Answer[x509.CertificateRevocationList]:
        own = serial_of(line.channel.identity.certificate)
        number = own if serial_number is None else serial_number
        message, request = queries.crl_request(line.channel, number, issuer_der=issuer_der, **line.label())
        response = line.send(message, request)
        return queries.parse_crl(line.channel, message, response, issuer_der=issuer_der, now=line.run.now())

    return _ask(pipeline, exchange, emit=emit, transaction_id=transaction_id, system=system or System())


@dataclass(slots=True, kw_only=True)
class _Line:
    """The way to the CA for one question."""

    channel: Channel
    connection: Connection
    run: Run
    system: System
    transaction_id: str
    replied: Callable[[], None] = lambda: None

    def label(self) -> dict[str, Any]:
        """Return what makes a message this one and no other."""
        nonce = self.system.random_bytes(16)
        return {"transaction_id": self.transaction_id, "sender_nonce": nonce, "now": self.run.now()}

    def send(self, message: Message, request: HttpRequest) -> HttpResponse:
        """Send the question; what `replied` tells counts once the answer has passed every check."""
        named: dict[str, Any] = {"pipeline": self.run.pipeline, "transaction_id": self.transaction_id}
        self.run.emit(
            RequestSent(
                **named,
                at=self.run.now(),
                message_type=message.type.title,
                poll=0,
                method=request.method,
                cipher=self.channel.choice.cipher.value,
                digest=self.channel.choice.digest.value,
                size_bytes=len(request.body or request.url),
            )
        )
        sent_s = self.system.monotonic_s()
        response = self.connection.send(request)
        elapsed_s = self.system.monotonic_s() - sent_s
        self.replied = lambda: self.run.emit(
            ReplyReceived(
                **named,
                at=self.run.now(),
                pki_status="SUCCESS",
                http_status=response.status,
                elapsed_s=elapsed_s,
            )
        )
        return response


def _ask(
    pipeline: Pipeline,
    exchange: Callable[[_Line], queries.Answer[_Value]],
    *,
    emit: Callable[[Event], None],
    transaction_id: str | None,
    system: System,
) -> _Value:
    """Authenticate the CA, ask it one question, and say what is to be said about its answer."""
    run = make_run(pipeline, emit, system)
    identity = _identity(pipeline, run)
    with connected(pipeline.transport, run) as connection:
        line = _Line(
            channel=_channel(pipeline, authenticate_ca(pipeline.ca, connection, run), identity, system),
            connection=connection,
            run=run,
            system=system,
            transaction_id=transaction_id or system.random_bytes(16).hex(),
        )
        answer = exchange(line)
        _warn(run, answer.findings)
        line.replied()
    return answer.value


def _channel(pipeline: Pipeline, ca: AuthenticatedCa, identity: SigningIdentity, system: System) -> Channel:
    return Channel(
        url=pipeline.ca.url,
        bundle=ca.bundle,
        identity=identity,
        choice=ca.choice,
        random_bytes=system.random_bytes,
        security=Security(pipeline.ca.security),
        relaxed=frozenset(pipeline.ca.relax),
    )


def _identity(pipeline: Pipeline, run: Run) -> SigningIdentity:
    """Return the existing certificate and its key; the challenge is not touched."""
    stage = pipeline.signer
    if stage.stage_name() in ("auto", "self-signed"):
        raise SignerError(
            "the question must be signed with a certificate that the CA has issued",
            kind=stage.kind,
            name=stage.stage_name(),
            hint='name it and its key: [signer] use = "existing", or --certificate and --key',
        )
    with working(pipeline.key):
        key = pipeline.key.obtain(run)
    with working(stage):
        # A signer may look at the request; the pipeline's own would spend its challenge.
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        identity = stage.identity(key, csr, run)
    described = describe_certificate(identity.certificate)
    run.emit(
        SignerReady(pipeline=run.pipeline, at=run.now(), stage=stage.stage_name(), description=described)
    )
    return identity


def _warn(run: Run, findings: Sequence[Finding]) -> None:
    for finding in findings:
        run.warn(finding.code, finding.text)
