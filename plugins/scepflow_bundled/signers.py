"""Signers: the certificate and key that sign the request and open the reply.

Must never hold: an engine's decision; which message an identity goes with is not its concern.
cryptography is imported by the functions that need it, since validating a pipeline does not.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from scepflow.engine.identity import SigningIdentity
from scepflow.errors import KeySourceError, SignerError
from scepflow.options import PathTemplate, Secret
from scepflow.stages import Run, Signer
from scepflow_bundled.input_files import describe_content, is_pem, read_input
from scepflow_bundled.keys import load_private_key

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from scepflow.engine.identity import Credential
    from scepflow.stages import PrivateKey

__all__ = ["AutoSigner", "ExistingSigner", "SelfSignedSigner"]

_COMMON_NAME = "2.5.4.3"
_CLOCK_SKEW = timedelta(hours=24)


class SelfSignedSigner(Signer, frozen=True, kw_only=True, tag="self-signed"):
    """A self-signed certificate with the request's subject and key, made for this enrollment.

        [signer]
        use = "self-signed"
        days = 365

    Attributes:
        days: how long it is valid; a pending request is answered to it, so it must outlast the CA's decision.
        transport_key: who signs and decrypts for an EC key: ``rsa`` a temporary RSA-2048 key, ``auto`` the same with a warning, ``csr`` the EC key itself (the challenge then encrypts, RFC 8894 §3.1). An RSA key always does it itself.
        digest: what its signature is made with.
    """

    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 365
    transport_key: Literal["auto", "rsa", "csr"] = "auto"
    digest: Literal["sha-256", "sha-384", "sha-512", "sha-224"] = "sha-256"

    def identity(self, key: PrivateKey, csr: x509.CertificateSigningRequest, run: Run) -> SigningIdentity:
        """Return a new self-signed identity (RFC 8894 §2.3 Client Authentication, first case)."""
        signing_key = self._signing_key(key, run)
        return SigningIdentity(self._certificate(signing_key, csr, run), signing_key)

    def _signing_key(self, key: PrivateKey, run: Run) -> PrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        if isinstance(key, rsa.RSAPrivateKey) or self.transport_key == "csr":
            return key
        if self.transport_key == "auto":
            run.warn(
                "rsa-transport-key",
                "the key is EC and cannot decrypt: a temporary RSA key signs the request and opens the reply;"
                " a CA that wants both keys to be the same refuses that",
            )
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def _certificate(
        self, key: PrivateKey, csr: x509.CertificateSigningRequest, run: Run
    ) -> x509.Certificate:
        """Return the certificate: subject of the request (C-022), usages that the key is good for (C-021)."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import rsa

        from scepflow_bundled.csr_extensions import key_usage

        subject, now = _subject(csr), run.now().replace(microsecond=0)
        is_rsa = isinstance(key, rsa.RSAPrivateKey)
        usage = key_usage(("digitalSignature", "keyEncipherment") if is_rsa else ("digitalSignature",))
        digest = getattr(hashes, self.digest.replace("-", "").upper())()
        # Clocks differ: a server refuses what is "not yet valid".
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(run.random_bytes(16), "big") | 1)
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + timedelta(days=self.days))
            .add_extension(usage, critical=True)
            .sign(key, digest)
        )


class AutoSigner(SelfSignedSigner, frozen=True, kw_only=True, tag="auto"):
    """Self-signed for the first certificate, the existing certificate for a renewal.

        [signer]
        use = "auto"

    Attributes:
        days: how long a self-signed certificate is valid; it must outlast the CA's decision.
        digest: as in ``self-signed``.
        transport_key: as in ``self-signed``. The existing certificate's key signs a renewal; but an EC key only with ``csr``, otherwise the certificate is asked for as the first one was, challenge and all.
    """

    takes_previous: ClassVar[bool] = True

    def renews_with(self, previous: Credential) -> bool:
        """Tell whether the old key can read the reply: RSA, or EC where the challenge may encrypt."""
        from cryptography.hazmat.primitives.asymmetric import rsa

        return isinstance(previous.key, rsa.RSAPrivateKey) or self.transport_key == "csr"

    def identity(self, key: PrivateKey, csr: x509.CertificateSigningRequest, run: Run) -> SigningIdentity:
        """Return the credential that is being renewed, or a new self-signed identity."""
        if run.previous is not None and self.renews_with(run.previous):
            return SigningIdentity(run.previous.certificate, run.previous.key)
        if run.previous is not None:
            run.warn(
                "ec-renewal",
                "the certificate's EC key cannot decrypt: the new certificate is asked for as the first one was, challenge and all",
            )
        return super().identity(key, csr, run)


class ExistingSigner(Signer, frozen=True, kw_only=True, tag="existing"):
    """A certificate that you have already, such as a device's birth certificate or one of another CA.

        [signer]
        use = "existing"
        certificate = "birth.pem"
        key = "birth.key"

    Attributes:
        certificate: its file, PEM or DER; of several certificates in it the one that fits the key is taken.
        key: the file of its private key, RSA of 1024 bits or more, or EC; left out: the key of ``[key]``.
        passphrase: secret that decrypts the key file.
        allow_expired: ``true`` signs with an expired certificate, if the CA takes it.
    """

    durable: ClassVar[bool] = True
    renews: ClassVar[bool] = True

    certificate: PathTemplate
    key: PathTemplate | None = None
    passphrase: Secret | None = None
    allow_expired: bool = False

    def identity(self, key: PrivateKey, csr: x509.CertificateSigningRequest, run: Run) -> SigningIdentity:  # noqa: ARG002  # the request may be for another subject
        """Return the existing identity (RFC 8894 §2.3 Client Authentication, second and third case).

        Raises:
            SignerError: a file cannot be read, the key does not fit, or the certificate has expired.
            OptionError: the passphrase cannot be read.
        """
        own_key = self._own_key(run)
        return self._matching(key if own_key is None else own_key, run)

    def check(self, run: Run) -> None:
        """Load what is there; without ``key`` only the certificate can be looked at."""
        own_key = self._own_key(run)
        if own_key is None:
            _load_certificates(run.path(self.certificate))
        else:
            self._matching(own_key, run)

    def _own_key(self, run: Run) -> PrivateKey | None:
        if self.key is None:
            return None
        passphrase = None if self.passphrase is None else run.reveal(self.passphrase)
        try:
            # A device must be able to renew away from a short key; the certificate on it exists already.
            return load_private_key(run.path(self.key), passphrase, min_bits=1024, warn=run.warn)
        except KeySourceError as error:
            raise SignerError(error.message, hint=error.hint) from None

    def _matching(self, key: PrivateKey, run: Run) -> SigningIdentity:
        path = run.path(self.certificate)
        public_key = key.public_key()
        for certificate in _load_certificates(path):
            if _has_key(certificate, public_key):
                self._check_dates(certificate, path, run)
                return SigningIdentity(certificate, key)
        whose = "of [key]" if self.key is None else f"in {run.path(self.key)}"
        raise SignerError(
            f"no certificate in {path} fits the key {whose}",
            hint="give the certificate's own key: key = …" if self.key is None else None,
        )

    def _check_dates(self, certificate: x509.Certificate, path: Path, run: Run) -> None:
        now = run.now()
        if certificate.not_valid_before_utc > now:
            run.warn(
                "signer-not-yet-valid",
                f"the certificate {path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; check the clock",
            )
        if certificate.not_valid_after_utc < now and not self.allow_expired:
            raise SignerError(
                f"the certificate {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
                hint='enroll anew with use = "self-signed", or allow_expired = true if the CA takes it',
            )


def _has_key(certificate: x509.Certificate, public_key: PublicKeyTypes) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return certificate.public_key() == public_key
    except (UnsupportedAlgorithm, ValueError):
        return False  # a kind of key that we do not know is not ours


def _load_certificates(path: Path) -> list[x509.Certificate]:
    from cryptography import x509

    data = read_input(path, what="certificate", error=SignerError)
    try:
        return (
            x509.load_pem_x509_certificates(data) if is_pem(data) else [x509.load_der_x509_certificate(data)]
        )
    except ValueError:
        raise SignerError(
            f"no certificate can be read from {path} ({describe_content(data)})",
            hint="PEM (CERTIFICATE) or DER is wanted",
        ) from None


def _subject(csr: x509.CertificateSigningRequest) -> x509.Name:
    """Return the request's subject, or one made of its first DNS name: an issuer cannot be empty (RFC 5280 §4.1.2.4)."""
    if csr.subject.rdns:
        return csr.subject
    from cryptography import x509

    from scepflow_bundled.csr_names import build_name, name_attribute

    try:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        common_name = names.get_values_for_type(x509.DNSName)[0]
    except (
        ValueError,
        TypeError,
        IndexError,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        common_name = "scepflow"
    # A common name holds 64 bytes, a DNS name up to 253.
    return build_name(((name_attribute(_COMMON_NAME, common_name[:64], where="subject"),),))
