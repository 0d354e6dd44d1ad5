"""What is the same in every PKIOperation: seal and sign a request, check and open its reply.

Must never hold: what a message type means, or state from one message to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.engine import algorithms, certificates, cms, envelopes, messages, password
from scepflow.engine.algorithms import Security
from scepflow.engine.checks import Checks
from scepflow.engine.exchange import HttpRequest, check_size, cms_body
from scepflow.engine.urls import operation_url
from scepflow.errors import ProtocolError, TransportError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from scepflow.engine.algorithms import Choice
    from scepflow.engine.exchange import HttpResponse
    from scepflow.engine.identity import SigningIdentity
    from scepflow.engine.messages import CertRep, MessageType
    from scepflow.engine.trust import Bundle

__all__ = ["Channel", "Message"]

MAX_REPLY_BYTES = 1 << 20  # S-031: 64 certificates of 4 KiB, encoded as text, are a third of it
MAX_CRL_REPLY_BYTES = 16 << 20  # S-031: some 400 000 entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Names one message of a transaction.

    Attributes:
        type: what is asked.
        transaction_id: printable text.
        sender_nonce: 16 fresh random bytes.
    """

    type: MessageType
    transaction_id: str
    sender_nonce: bytes

    @property
    def max_reply_bytes(self) -> int:
        """The longest answer that is read."""
        return MAX_CRL_REPLY_BYTES if self.type is messages.MessageType.GET_CRL else MAX_REPLY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Everything that the messages to one CA have in common.

    Attributes:
        url: the configured address.
        bundle: the authenticated CA.
        identity: who signs requests and decrypts replies.
        choice: the algorithms of requests.
        random_bytes: source of content keys.
        security: the policy on replies.
        relaxed: checks that are turned off.
        challenge_password: keys envelopes where a certificate's key cannot.
        password_envelope: that is allowed (S-093: who records such an envelope can guess the challenge).
    """

    url: str
    bundle: Bundle
    identity: SigningIdentity
    choice: Choice
    random_bytes: Callable[[int], bytes]
    security: Security = Security.DEFAULT
    relaxed: frozenset[str] = frozenset()
    challenge_password: str | None = None
    password_envelope: bool = False

    def __post_init__(self) -> None:
        """Leave out what came with the CA's certificates and is for our key (S-010)."""
        object.__setattr__(self, "bundle", self.bundle.without(self.identity.key.public_key()))

    def _check_password_envelope(self) -> None:
        """Refuse a password envelope that nobody has asked for, in this request or its reply.

        Raises:
            TrustError: it is not allowed, or the challenge is too short.
        """
        if not certificates.can_decrypt(self.bundle.recipient):
            why = "the CA offers no certificate that can decrypt: none is RSA, or it was taken out on the way"
        elif self.challenge_password and not isinstance(self.identity.key, rsa.RSAPrivateKey):
            why = (
                "our signing key is EC and cannot decrypt, so the reply would be encrypted with the challenge"
            )
        else:
            return
        password.check_password(self.challenge_password, allowed=self.password_envelope, why=why)

    def request(self, message: Message, content: bytes, *, now: datetime) -> HttpRequest:
        """Return the PKIOperation that carries the content, encrypted and signed (RFC 8894 §4.1, §4.3).

        Raises:
            TrustError: the CA's certificate cannot receive, see `envelopes.build_envelope`,
                or only with the challenge, and that is not allowed.
        """
        self._check_password_envelope()
        envelope = envelopes.build_envelope(
            content,
            recipient=self.bundle.recipient,
            cipher=self.choice.cipher,
            random_bytes=self.random_bytes,
            challenge_password=self.challenge_password,
        )
        body = messages.build_request(
            message.type,
            envelope,
            transaction_id=message.transaction_id,
            sender_nonce=message.sender_nonce,
            identity=self.identity,
            digest=self.choice.digest,
            signing_time=now,
        )
        post = self.choice.method == "POST"
        return HttpRequest(
            method=self.choice.method,
            operation="PKIOperation",
            url=operation_url(self.url, "PKIOperation", message=None if post else body),
            headers={"Content-Type": "application/x-pki-message"} if post else {},
            body=body if post else b"",
            max_response_bytes=message.max_reply_bytes,
        )

    def reply(self, message: Message, response: HttpResponse) -> tuple[CertRep, Checks]:
        """Return the reply to a message once it passed every check short of decryption.

        Raises:
            TransportError: an HTTP error without a reply in it.
            TrustError, ProtocolError: see `messages.parse_cert_rep`.
        """
        check_size(response, message.max_reply_bytes)
        checks = Checks(self.relaxed)
        try:
            body = cms_body(response)
        except TransportError as error:
            self._name_recipient(error)
            self._name_method(error)
            raise
        cert_rep = messages.parse_cert_rep(
            body,
            trusted=self.bundle.signers,
            transaction_id=message.transaction_id,
            sender_nonce=message.sender_nonce,
            security=self.security,
            checks=checks,
        )
        return cert_rep, checks

    def _name_recipient(self, error: TransportError) -> None:
        """Say for whom the request was encrypted, where there was a choice: NDES answers a wrong one like this (Q-005)."""
        if len(self.bundle.certificates) > 1 and error.status in (400, 500):
            recipient = self.bundle.recipient
            error.hint = (
                f"the request was encrypted for {sanitise(recipient.subject.rfc4514_string())}, "
                f"serial {certificates.serial_number(recipient):x}; encryption_certificate in [ca] chooses another\n{error.hint or ''}"
            ).rstrip()

    def _name_method(self, error: TransportError) -> None:
        """Say that a request went in the URL, which IIS answers like a wrong path when it is long (Q-009)."""
        if self.choice.method == "GET" and error.status in (400, 404):
            error.hint = (
                'the request went by GET, in a URL that may be too long; method = "POST" in [ca] may help'
                f"\n{error.hint or ''}"
            ).rstrip()

    def open(self, cert_rep: CertRep, checks: Checks) -> cms.SignedData:
        """Return the certs-only answer in a SUCCESS, decrypted.

        Raises:
            TrustError: the policy refuses its cipher.
            ProtocolError: it does not open, or holds something else.
        """
        envelope = envelopes.parse_envelope(cert_rep.envelope or b"")
        said = ("weak-reply", "relaxed-algorithms")  # of the digest alone; now of both
        checks.findings[:] = [finding for finding in checks.findings if finding.code not in said]
        algorithms.check_reply(cert_rep.digest, envelope.cipher, self.security, checks)
        content = envelopes.open_envelope(
            envelope,
            self.identity,
            challenge_password=self.challenge_password if self.password_envelope else None,
            judge=partial(algorithms.check_reply, security=self.security, checks=checks),
        )
        try:
            answer = cms.parse_signed_data(content)
            answer.certificates()
        except ProtocolError:
            raise envelopes.not_opened() from None  # S-050: not even this tells how far decryption came
        return answer
