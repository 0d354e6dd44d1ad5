"""The SCEP responder of the test CA: bytes in, bytes out. For tests and demos only.

It speaks through the client's own message code (`scepflow.engine.messages`),
checks every request as a careful CA would, and answers as its `Knobs` say.
Must never hold: a socket, or messages built in any other way.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepflow.engine import asn1, ber, cms, envelopes
from scepflow.engine.algorithms import Digest
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import FailInfo, MessageType, PkiStatus, build_cert_rep, parse_request
from scepflow.errors import ProtocolError, TrustError
from scepflow.testca.behaviour import Memory, Scene, WireResponse
from scepflow.testca.csr import challenge, is_proven, load_csr
from scepflow.testca.knobs import Knobs, Reply
from scepflow.testca.records import Transaction
from scepflow.testca.shapes import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from scepflow.engine.exchange import HttpRequest
    from scepflow.engine.messages import PkiRequest
    from scepflow.testca.authority import Authority

__all__ = ["Responder"]

_KEPT_REQUESTS = 1000


class _RefusedError(Exception):
    """A request that ends in FAILURE."""

    def __init__(self, fail_info: FailInfo, text: str) -> None:
        super().__init__(text)
        self.fail_info = fail_info
        self.text = text


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Responder:
    """Answers SCEP requests for one authority; safe to use from several threads.

    Args:
        authority: keys, certificates and memory.
        knobs: how to behave.
        now: returns the current time, aware UTC.
        random_bytes: source of nonces, content keys and vectors.

    Raises:
        ValueError: see `behave`.

    Attributes:
        authority: as given.
        knobs: as given.
        issued: transaction_id and certificate of all that was issued since the start.
        requests: the last 1000 pki_messages that could be parsed, with all certificates they carried (C-134).
    """

    def __init__(
        self,
        authority: Authority,
        knobs: Knobs | None = None,
        *,
        now: Callable[[], datetime] = _utc_now,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.authority = authority
        self.issued: list[tuple[str, x509.Certificate]] = []
        self.requests: deque[PkiRequest] = deque(maxlen=_KEPT_REQUESTS)
        self._now = now
        self._random_bytes = random_bytes
        self._lock = threading.Lock()
        self._memory = Memory()
        self.behave(knobs or Knobs())

    def behave(self, knobs: Knobs) -> None:
        """Answer from now on as knobs say.

        Raises:
            ValueError: a behaviour would not show with this authority.
        """
        self.knobs = knobs
        for behaviour in knobs.behave:
            if behaviour.prepare:
                behaviour.prepare(self.authority, self._now())
        for behaviour in knobs.behave:  # one may give what another needs
            if lacks := behaviour.lacks(self.authority):
                raise ValueError(f'"{behaviour.name}" needs {lacks}')

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer one HTTP request, whatever its path (RFC 8894 §4 SCEP Transactions)."""
        operation = _query(request.url).get("operation", "")
        served = self._memory.served
        served[operation] = served.get(operation, 0) + 1
        response = self._respond(request, operation)
        for behaviour in self.knobs.behave:
            if behaviour.answer and behaviour.concerns(operation):
                response = behaviour.answer(response, self._scene(request))
        return self._wired(response, operation)

    def _wired(self, response: HttpResponse, operation: str) -> HttpResponse:
        """Let a behaviour write the response's bytes, unless its answer has said how already."""
        for behaviour in self.knobs.behave:
            if behaviour.wire and behaviour.concerns(operation) and not isinstance(response, WireResponse):
                return WireResponse(
                    status=response.status,
                    headers=response.headers,
                    body=response.body,
                    pieces=behaviour.wire,
                )
        return response

    def _scene(self, http: HttpRequest, request: PkiRequest | None = None) -> Scene:
        return Scene(
            authority=self.authority,
            now=self._now(),
            http=http,
            request=request,
            random_bytes=self._random_bytes,
            memory=self._memory,
        )

    def _respond(self, request: HttpRequest, operation: str) -> HttpResponse:
        if operation == "PKIOperation":
            return self._pki_operation(request, _query(request.url).get("message", ""))
        answers = {
            "GetCACaps": self._get_ca_caps,
            "GetCACert": self._get_ca_cert,
            "GetNextCACert": self._get_next_ca_cert,
        }
        if operation not in answers:
            return _plain(404, "unknown operation")
        return answers[operation]() if request.method == "GET" else _plain(405, "GET only")

    def _get_ca_caps(self) -> HttpResponse:
        return _response("text/plain", self.knobs.capabilities.encode())

    def _get_ca_cert(self) -> HttpResponse:
        bundle = self.authority.bundle()
        if len(bundle) == 1:
            return _response("application/x-x509-ca-cert", bundle[0].public_bytes(Encoding.DER))
        return _response("application/x-x509-ca-ra-cert", cms.build_certs_only(bundle))

    def _get_next_ca_cert(self) -> HttpResponse:
        """Signed by the current CA, inside a certs-only message (C-120)."""
        with self._lock:
            following = self.authority.next_ca(self._now())
        body = cms.build_signed_data(
            cms.build_certs_only(following.bundle()),
            attributes=[],
            identity=self.authority.ca,
            digest=self.knobs.digest or Digest.SHA256,
            certificates=self.authority.bundle(),
        )
        return _response("application/x-x509-next-ca-cert", body)

    def _pki_operation(self, http: HttpRequest, message: str) -> HttpResponse:
        media_type = http.headers.get("content-type", http.headers.get("Content-Type", ""))
        if http.method == "POST" and media_type.startswith("application/x-www-form-urlencoded"):
            return _plain(415, "a pki_message is no form; send application/x-pki-message")
        try:
            body = http.body if http.method == "POST" else base64.b64decode(message, validate=True)
            if self.knobs.der_only:
                _check_der(body)
            request = parse_request(body)
        except binascii.Error:
            return _plain(400, "not base64 (RFC 4648 §4, without line ends)")
        except (ProtocolError, TrustError) as error:
            return _plain(400, error.message)
        self.requests.append(request)
        body = self._build(self._answer(request), self._scene(http, request))
        self._memory.replies.append(body)
        return _response("application/x-pki-message", body)

    def _build(self, reply: Reply, scene: Scene) -> bytes:
        for behaviour in self.knobs.behave:
            if behaviour.reply:
                reply = behaviour.reply(reply, scene)
        scene = replace(scene, reply=reply)
        body = build_cert_rep(
            reply.pki_status,
            self._envelope(reply, scene) if reply.pki_status is PkiStatus.SUCCESS else None,
            transaction_id=reply.transaction_id,
            recipient_nonce=reply.recipient_nonce,
            sender_nonce=reply.sender_nonce,
            identity=reply.signer,
            digest=reply.digest,
            signing_time=self._now(),
            certificates=[reply.signer.certificate],
            fail_info=reply.fail_info,
            fail_info_text=reply.fail_info_text,
        )
        return self._shaped(body, reply, scene)

    def _envelope(self, reply: Reply, scene: Scene) -> bytes:
        content = cms.build_certs_only(reply.certificates, reply.crls_der)
        for behaviour in self.knobs.behave:
            if behaviour.content:
                content = behaviour.content(content, scene)
        for behaviour in self.knobs.behave:
            if behaviour.seal and (sealed := behaviour.seal(content, reply, scene)) is not None:
                return sealed
        return envelopes.build_envelope(
            content,
            recipient=reply.recipient,
            cipher=reply.cipher,
            random_bytes=self._random_bytes,
            challenge_password=self.knobs.challenge,
        )

    def _shaped(self, body: bytes, reply: Reply, scene: Scene) -> bytes:
        """Build the message anew, by hand, if it is to look otherwise."""
        made: Shape | bytes = body
        for behaviour in self.knobs.behave:
            if behaviour.message:
                shape = shape_of(made, reply.signer) if isinstance(made, bytes) else made
                made = behaviour.message(shape, scene)
                if isinstance(made, bytes):
                    return made
        return made if isinstance(made, bytes) else made.der()

    def _answer(self, request: PkiRequest) -> Reply:
        reply = Reply(
            pki_status=PkiStatus.SUCCESS,
            transaction_id=request.transaction_id,
            recipient_nonce=request.sender_nonce,
            sender_nonce=self._random_bytes(16),
            signer=self.authority.signing,
            recipient=request.certificate,
            digest=self.knobs.digest or request.digest,
            cipher=self.knobs.content_cipher or request.envelope.cipher,
        )
        try:
            return self._dispatch(request, reply)
        except _RefusedError as refused:
            return replace(
                reply, pki_status=PkiStatus.FAILURE, fail_info=refused.fail_info, fail_info_text=refused.text
            )

    def _dispatch(self, request: PkiRequest, reply: Reply) -> Reply:
        if not request.verified:
            raise _RefusedError(FailInfo.BAD_MESSAGE_CHECK, "the signature is wrong")
        answers: dict[int, Callable[[PkiRequest, bytes, Reply], Reply]] = {
            MessageType.PKCS_REQ: self._enroll,
            MessageType.RENEWAL_REQ: self._enroll,
            MessageType.CERT_POLL: self._poll,
            MessageType.GET_CERT: self._get_cert,
            MessageType.GET_CRL: self._get_crl,
        }
        answer = answers.get(request.message_type)
        if answer is None or request.message_type in self.knobs.unknown:  # S-092
            raise _RefusedError(FailInfo.BAD_REQUEST, f"messageType {request.message_type} is not defined")
        if not isinstance(request.certificate.public_key(), rsa.RSAPublicKey) and not self.knobs.challenge:
            raise _RefusedError(
                FailInfo.BAD_ALG, "the signer's key cannot decrypt, and there is no challenge"
            )
        try:
            content = envelopes.open_envelope(
                request.envelope, self.authority.encryption, challenge_password=self.knobs.challenge
            )
            return answer(request, content, reply)
        except ProtocolError as error:
            raise _RefusedError(FailInfo.BAD_MESSAGE_CHECK, error.message) from None

    def _enroll(self, request: PkiRequest, content: bytes, reply: Reply) -> Reply:
        """Answer PKCSReq and RenewalReq (RFC 8894 §3.3.1 PKCSReq/RenewalReq)."""
        csr = _load_csr(content)
        with self._lock:
            known = self.authority.records.transaction(request.transaction_id)
            if known is None:
                self._authenticate(request, csr)
                known = self._settle(_opened(request, csr, polls=self.knobs.pending), csr)
            elif (known.csr_pem, known.signer_sha256) != (_pem(csr), _signer_sha256(request)):
                raise _RefusedError(FailInfo.BAD_REQUEST, "this transactionID belongs to another request")
        return self._report(known, reply)

    def _authenticate(self, request: PkiRequest, csr: x509.CertificateSigningRequest) -> None:
        """Tell by whom a request is made, or refuse it; a self-signed certificate alone says nothing (C-031)."""
        objection = self.authority.objection(request.certificate, now=self._now())
        if not objection:
            if asn1.certificate_names(request.certificate)[2] != asn1.csr_subject(csr):
                raise _RefusedError(FailInfo.BAD_REQUEST, "a renewal keeps its subject")
            return
        if request.message_type == MessageType.RENEWAL_REQ:
            raise _RefusedError(FailInfo.BAD_REQUEST, f"the signer's certificate is {objection}")
        if not self._may_sign(request.certificate.public_key(), csr.public_key()):
            raise _RefusedError(FailInfo.BAD_REQUEST, "the request is signed with another key than its CSR's")
        self._check_challenge(csr)

    def _may_sign(self, signer: PublicKeyTypes, requested: PublicKeyTypes) -> bool:
        transport = isinstance(signer, rsa.RSAPublicKey) and isinstance(requested, ec.EllipticCurvePublicKey)
        return signer == requested or (transport and self.knobs.rsa_for_ec)

    def _check_challenge(self, csr: x509.CertificateSigningRequest) -> None:
        wanted = self.knobs.challenge
        if wanted is None:
            return
        brought = challenge(csr)
        if not brought:
            raise _RefusedError(FailInfo.BAD_REQUEST, "a challenge password is required")
        if not hmac.compare_digest(brought, wanted.encode()):
            raise _RefusedError(FailInfo.BAD_REQUEST, "wrong challenge password")
        if self.knobs.one_time_challenge and not self.authority.records.spend(wanted):
            raise _RefusedError(FailInfo.BAD_REQUEST, "the challenge password was used before")

    def _settle(self, transaction: Transaction, csr: x509.CertificateSigningRequest) -> Transaction:
        """Decide once no more polls are due, and remember how things stand."""
        if transaction.polls_left == 0:
            transaction = self._decide(transaction, csr)
        self.authority.records.remember(transaction)
        return transaction

    def _decide(self, transaction: Transaction, csr: x509.CertificateSigningRequest) -> Transaction:
        if self.knobs.reject is not None:
            return replace(transaction, status="rejected", fail_info=int(self.knobs.reject))
        certificate = self.authority.issue(csr, now=self._now(), days=self.knobs.days)
        self.issued.append((transaction.transaction_id, certificate))
        return replace(transaction, status="issued", serial=certificate.serial_number)

    def _report(self, transaction: Transaction, reply: Reply) -> Reply:
        """Say where a transaction stands (RFC 8894 §3.3.2 CertRep)."""
        if transaction.status == "pending":
            return replace(reply, pki_status=PkiStatus.PENDING)
        if transaction.serial is not None:
            return replace(reply, certificates=self._find(transaction.serial))
        return replace(
            reply,
            pki_status=PkiStatus.FAILURE,
            fail_info=transaction.fail_info,
            fail_info_text=self.knobs.reject_text,
        )

    def _find(self, serial: int) -> tuple[x509.Certificate]:
        certificate = self.authority.records.certificate(serial)
        if certificate is None:
            raise _RefusedError(FailInfo.BAD_CERT_ID, "no such certificate")
        return (certificate,)

    def _poll(self, request: PkiRequest, content: bytes, reply: Reply) -> Reply:
        """Answer CertPoll (RFC 8894 §3.3.3 CertPoll (GetCertInitial))."""
        names = asn1.decode(asn1.IssuerAndSubject, content, "IssuerAndSubject")
        with self._lock:
            known = self.authority.records.transaction(request.transaction_id)
            if known is None:
                raise _RefusedError(FailInfo.BAD_CERT_ID, "unknown transactionID")
            if known.signer_sha256 != _signer_sha256(request):
                raise _RefusedError(
                    FailInfo.BAD_REQUEST, "the poll is signed with another key than the request"
                )
            csr = x509.load_pem_x509_csr(known.csr_pem.encode())
            # strongSwan names the RA where the CA should stand.
            self._check_issuer(names.issuer, self.authority.bundle())
            if asn1.encode(names.subject) != asn1.csr_subject(csr):
                raise _RefusedError(FailInfo.BAD_CERT_ID, "the poll names another subject than the request")
            if known.status == "pending":
                known = self._settle(replace(known, polls_left=known.polls_left - 1), csr)
        return self._report(known, reply)

    def _get_cert(self, _request: PkiRequest, content: bytes, reply: Reply) -> Reply:
        """Answer GetCert (RFC 8894 §3.3.4 GetCert and GetCRL)."""
        wanted = asn1.decode(asn1.IssuerAndSerialNumber, content, "IssuerAndSerialNumber")
        self._check_issuer(wanted.issuer, [self.authority.certificate])
        return replace(reply, certificates=self._find(wanted.serial_number))

    def _get_crl(self, _request: PkiRequest, content: bytes, reply: Reply) -> Reply:
        """Answer GetCRL (RFC 8894 §3.3.4 GetCert and GetCRL)."""
        wanted = asn1.decode(asn1.IssuerAndSerialNumber, content, "IssuerAndSerialNumber")
        self._check_issuer(wanted.issuer, [self.authority.certificate])
        return replace(reply, crls_der=(self.authority.crl(self._now()).public_bytes(Encoding.DER),))

    def _check_issuer(self, issuer: asn1.TLV, known: Iterable[x509.Certificate]) -> None:
        if asn1.encode(issuer) not in {asn1.certificate_names(certificate)[2] for certificate in known}:
            raise _RefusedError(FailInfo.BAD_CERT_ID, "that issuer is not this CA")


def _query(url: str) -> dict[str, str]:
    """Percent-decode the query; unlike a form's, its ``+`` is a plus (Q-031)."""
    pairs = (part.partition("=") for part in urlsplit(url).query.split("&"))
    return {name: unquote(value) for name, _, value in pairs}


def _response(media_type: str, body: bytes) -> HttpResponse:
    return HttpResponse(status=200, headers={"content-type": media_type}, body=body)


def _plain(status: int, text: str) -> HttpResponse:
    return HttpResponse(status=status, headers={"content-type": "text/plain"}, body=text.encode() + b"\n")


def _check_der(body: bytes) -> None:
    content = cms.parse_signed_data(body).content or b""
    if ber.normalise(body) != body or ber.normalise(content) != content:
        raise ProtocolError("a request must be DER")


def _load_csr(content: bytes) -> x509.CertificateSigningRequest:
    """Read the CSR, or refuse it."""
    try:
        csr = load_csr(content)
    except ProtocolError as error:
        raise _RefusedError(FailInfo.BAD_REQUEST, error.message) from None
    if not isinstance(csr.public_key(), rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise _RefusedError(FailInfo.BAD_ALG, "only RSA and EC keys are certified")
    if not is_proven(csr, content):
        raise _RefusedError(FailInfo.BAD_MESSAGE_CHECK, "the CSR's signature is wrong")
    return csr


def _opened(request: PkiRequest, csr: x509.CertificateSigningRequest, *, polls: int) -> Transaction:
    return Transaction(
        transaction_id=request.transaction_id,
        status="pending",
        csr_pem=_pem(csr),
        signer_sha256=_signer_sha256(request),
        polls_left=polls,
    )


def _pem(csr: x509.CertificateSigningRequest) -> str:
    return csr.public_bytes(Encoding.PEM).decode()


def _signer_sha256(request: PkiRequest) -> str:
    key = request.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()
