"""CSR builders: a request made from options, or one from a file (RFC 2986).

Must never hold: the challenge in an error or a warning.
cryptography is imported by the functions that need it, since validating a pipeline does not.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from scepflow.errors import CsrError, OptionError
from scepflow.options import NameTemplate, PathTemplate, Secret, Template
from scepflow.stages import CsrBuilder, Run
from scepflow_bundled.csr_extensions import (
    KeyUsageName,
    SanTemplate,
    der_value,
    extended_key_usage,
    extended_key_usage_oid,
    key_usage,
    parse_der,
    parse_san,
    subject_alternative_name,
    template_name,
)
from scepflow_bundled.csr_names import build_name, is_oid, is_printable_string, name_attribute, parse_name
from scepflow_bundled.input_files import describe_content, is_pem, read_input

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography import x509

    from scepflow.stages import PrivateKey
    from scepflow_bundled.csr_names import NameAttribute

__all__ = ["FileCsrBuilder", "RawExtension", "SubjectCsrBuilder"]

_SERIAL_NUMBER = "2.5.4.5"
_UNSTRUCTURED_NAME, _UNSTRUCTURED_ADDRESS = "1.2.840.113549.1.9.2", "1.2.840.113549.1.9.8"
_CHALLENGE_PASSWORD, _EXTENSION_REQUEST = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14"
_SAN, _KEY_USAGE, _EXTENDED_KEY_USAGE = "2.5.29.17", "2.5.29.15", "2.5.29.37"
_TEMPLATE_NAME = "1.3.6.1.4.1.311.20.2"


class RawExtension(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An extension as bytes.

    Attributes:
        der: its value in DER, as hex digits; spaces and colons do not count.
        critical: whether a certificate user that does not know it must refuse the certificate.
    """

    der: str
    critical: bool = False


class SubjectCsrBuilder(CsrBuilder, frozen=True, kw_only=True, tag="subject"):
    """A new request for the subject and the names given here.

        [csr]
        use = "subject"
        subject = "CN=gw1.example.com,O=Example"
        san = ["dns:gw1.example.com", "ip:192.0.2.7"]
        extended_key_usage = ["serverAuth", "ipsecIKE"]
        challenge = { file = "challenge" }

    Attributes:
        subject: distinguished name in RFC 4514 text, most specific part first; attributes by name or dotted OID.
        serial_number: device serial number (2.5.4.5), appended to the subject, as routers have it.
        unstructured_name: unstructuredName (PKCS #9), such as a router's host name, appended to the subject.
        unstructured_address: unstructuredAddress (PKCS #9), such as a router's IP address, appended to the subject.
        allow_empty_subject: ``true`` allows a request with ``san`` only.
        san: subjectAltNames: ``dns:``, ``ip:``, ``email:``, ``uri:``, ``upn:``, ``rid:1.2.3``, ``dirname:CN=…``, ``other:OID:TEXT``.
        key_usage: key usages; left out: digitalSignature, and keyEncipherment for an RSA key; ``[]`` asks for none.
        extended_key_usage: extended key usages by name, such as ``serverAuth``, or dotted OID.
        template: name of a Microsoft certificate template.
        extensions: other extensions: OID = hex of the DER value, or ``{ der = "…", critical = true }``.
        attributes: other attributes of the request: OID = text.
        challenge: secret that the CA wants to see (challengePassword); left out in a renewal.
        challenge_in_renewal: ``true`` sends the challenge in a renewal as well (step-ca wants it).
        digest: hash of the request's own signature.
    """

    subject: NameTemplate | None = None
    serial_number: Template | None = None
    unstructured_name: Template | None = None
    unstructured_address: Template | None = None
    allow_empty_subject: bool = False
    san: tuple[SanTemplate, ...] = ()
    key_usage: tuple[KeyUsageName, ...] | None = None
    extended_key_usage: tuple[str, ...] = ()
    template: Template | None = None
    extensions: dict[str, str | RawExtension] = msgspec.field(default_factory=dict)
    attributes: dict[str, Template] = msgspec.field(default_factory=dict)
    challenge: Secret | None = None
    challenge_in_renewal: bool = False
    digest: Literal["sha-256", "sha-384", "sha-512", "sha-224", "sha-1"] = "sha-256"

    def __post_init__(self) -> None:
        """Check all that can be checked without a key.

        Raises:
            OptionError: ``where`` names the option.
        """
        for number, text in enumerate(self.san):
            _check_san(text, where=f"san[{number}]")
        if not self._rdns() and not (self.san and self.allow_empty_subject):
            raise OptionError(
                "the subject is empty",
                where="subject",
                hint='subject = "CN=…"; or allow_empty_subject = true together with san',
            )
        self._check_usages()
        self._check_extensions()
        for oid in self.attributes:
            if not is_oid(oid) or oid in {_CHALLENGE_PASSWORD, _EXTENSION_REQUEST}:
                raise OptionError(
                    f"{oid!r} is no OID that can be set here",
                    where="attributes",
                    hint="the challenge and extensions have options of their own",
                )

    def build(self, key: PrivateKey, run: Run) -> x509.CertificateSigningRequest:
        """Return the request, signed with the key.

        Raises:
            CsrError: the challenge cannot stand in a request.
            OptionError: the challenge cannot be read.
        """
        from cryptography import x509
        from cryptography.x509.name import _ASN1Type

        builder = x509.CertificateSigningRequestBuilder().subject_name(build_name(self._rdns()))
        for extension, critical in self._extensions(key):
            builder = builder.add_extension(extension, critical)
        for oid, text in self._attributes(run):
            # The one way to choose a string type: without _tag every value is a UTF8String.
            tag = _ASN1Type.PrintableString if is_printable_string(text) else _ASN1Type.UTF8String
            builder = builder.add_attribute(x509.ObjectIdentifier(oid), text.encode(), _tag=tag)
        return self._signed(builder, key, run)

    def check(self, run: Run) -> None:
        """Read the challenge, unless that may use it up."""
        if self.challenge is not None and not self.challenge.gives_once(run.directory):
            self._challenge(run)

    def _rdns(self) -> tuple[tuple[NameAttribute, ...], ...]:
        """Return the subject in DER order, what routers expect at its end (as mkrequest has it)."""
        appended = (
            (_UNSTRUCTURED_NAME, self.unstructured_name, "unstructured_name"),
            (_UNSTRUCTURED_ADDRESS, self.unstructured_address, "unstructured_address"),
            (_SERIAL_NUMBER, self.serial_number, "serial_number"),
        )
        return (
            *parse_name(self.subject or "", where="subject"),
            *((name_attribute(oid, text, where=where),) for oid, text, where in appended if text is not None),
        )

    def _check_usages(self) -> None:
        usages = frozenset(self.key_usage or ())
        if usages & {"encipherOnly", "decipherOnly"} and "keyAgreement" not in usages:
            raise OptionError("encipherOnly and decipherOnly need keyAgreement", where="key_usage")
        counted = Counter(extended_key_usage_oid(name) for name in self.extended_key_usage)
        if counted and max(counted.values()) > 1:
            raise OptionError("an extended key usage is listed twice", where="extended_key_usage")

    def _check_extensions(self) -> None:
        made_here = {
            _SAN: "san" if self.san else "",
            _KEY_USAGE: "" if self.key_usage == () else "key_usage",
            _EXTENDED_KEY_USAGE: "extended_key_usage" if self.extended_key_usage else "",
            _TEMPLATE_NAME: "template" if self.template else "",
        }
        for oid, value in self.extensions.items():
            if not is_oid(oid):
                raise OptionError(f"{oid!r} is not a dotted OID", where="extensions")
            if option := made_here.get(oid):
                raise OptionError(f"{oid} is already asked for by {option}", where="extensions")
            parse_der(value if isinstance(value, str) else value.der, where="extensions")
        if self.template is not None:
            template_name(self.template)

    def _extensions(self, key: PrivateKey) -> Iterator[tuple[x509.ExtensionType, bool]]:
        """Yield each extension and whether it is critical, as RFC 5280 §4.2.1 has it."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa

        usages = self.key_usage
        if usages is None:
            is_rsa = isinstance(key, rsa.RSAPrivateKey)
            usages = ("digitalSignature", "keyEncipherment") if is_rsa else ("digitalSignature",)
        if usages:
            yield key_usage(usages), True
        if self.extended_key_usage:
            yield extended_key_usage(self.extended_key_usage), False
        if self.san:
            yield subject_alternative_name([parse_san(text) for text in self.san]), not self._rdns()
        if self.template is not None:
            oid = x509.ObjectIdentifier(_TEMPLATE_NAME)
            yield x509.UnrecognizedExtension(oid, template_name(self.template)), False
        for name, raw in self.extensions.items():
            value = RawExtension(der=raw) if isinstance(raw, str) else raw
            der = parse_der(value.der, where="extensions")
            yield x509.UnrecognizedExtension(x509.ObjectIdentifier(name), der), value.critical

    def _attributes(self, run: Run) -> Iterator[tuple[str, str]]:
        yield from self.attributes.items()
        # RFC 8894 §2.4 Client Authentication using a Shared Secret: a renewal SHOULD omit it (C-030).
        if self.challenge is not None and (self.challenge_in_renewal or not run.renewal):
            yield _CHALLENGE_PASSWORD, self._challenge(run)

    def _challenge(self, run: Run) -> str:
        """Return the challenge, checked against RFC 2985 §5.4.1 Challenge password (Q-122)."""
        assert self.challenge is not None, "callers look first"
        text = run.reveal(self.challenge)
        where = f"the challenge ({self.challenge.origin})"
        if not text or len(text) > 255:
            raise CsrError(f"{where} has {len(text)} characters; 1 to 255 can be sent")
        if set(text) & {"\0", "\r", "\n"}:
            raise CsrError(f"{where} has a line end or a NUL inside", hint="it must be one line")
        if not is_printable_string(text):
            run.warn(
                "challenge-not-printable",
                f"{where} has characters outside PrintableString; it goes out as UTF8String, which a CA may not match",
            )
        return text

    def _signed(
        self, builder: x509.CertificateSigningRequestBuilder, key: PrivateKey, run: Run
    ) -> x509.CertificateSigningRequest:
        from cryptography.hazmat.primitives import hashes

        if self.digest == "sha-1":
            run.warn("csr-sha-1", "the request is signed with SHA-1, which many CAs refuse")
            return _signed_with_sha1(builder, key)
        return builder.sign(key, getattr(hashes, self.digest.replace("-", "").upper())())


def _check_san(text: str, *, where: str) -> None:
    try:
        parse_san(text)
    except OptionError as error:
        error.where = where
        raise


def _signed_with_sha1(
    builder: x509.CertificateSigningRequestBuilder, key: PrivateKey
) -> x509.CertificateSigningRequest:
    """Sign what cryptography would sign; its builder itself refuses SHA-1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    content = builder.sign(key, hashes.SHA256()).tbs_certrequest_bytes
    if isinstance(key, rsa.RSAPrivateKey):
        algorithm = bytes.fromhex("300d06092a864886f70d0101050500")  # sha1WithRSAEncryption, NULL
        signature = key.sign(content, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303  # asked for by name
    else:
        algorithm = bytes.fromhex("300906072a8648ce3d0401")  # ecdsa-with-SHA1
        signature = key.sign(content, ec.ECDSA(hashes.SHA1()))  # noqa: S303  # asked for by name
    return x509.load_der_x509_csr(der_value(0x30, content + algorithm + der_value(0x03, b"\0" + signature)))


class FileCsrBuilder(CsrBuilder, frozen=True, kw_only=True, tag="file"):
    """A request that exists already, PEM or DER, for the key of this run.

        [csr]
        use = "file"
        path = "gw1.csr"

    Attributes:
        path: the request's file, relative to the pipeline file; it goes out unchanged, its challenge included.
    """

    path: PathTemplate

    def build(self, key: PrivateKey, run: Run) -> x509.CertificateSigningRequest:
        """Return the request, once its signature and its key are checked.

        Raises:
            CsrError: not a request, a signature that is wrong, or another key.
        """
        path = run.path(self.path)
        csr = _load_request(path)
        if csr.public_key() != key.public_key():
            raise CsrError(
                f"the request {path} is for another key",
                hint='make it with the key of [key], or let scepflow make it: use = "subject"',
            )
        return csr

    def check(self, run: Run) -> None:
        """Load the request and verify its signature."""
        _load_request(run.path(self.path))


def _load_request(path: Path) -> x509.CertificateSigningRequest:
    """Return the request in a file, its signature verified (RFC 2986 §4.2, proof of possession)."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    data = read_input(path, what="request", error=CsrError)
    try:
        csr = x509.load_pem_x509_csr(data) if is_pem(data) else x509.load_der_x509_csr(data)
        csr.subject, csr.extensions, csr.public_key()  # parsed when first asked for: ask now
    except (
        UnsupportedAlgorithm,
        ValueError,
        TypeError,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        raise CsrError(
            f"no certification request can be read from {path} ({describe_content(data)})",
            hint="PEM (CERTIFICATE REQUEST) or DER is wanted",
        ) from None
    if not (csr.is_signature_valid or _has_valid_sha1_signature(csr)):
        raise CsrError(f"the signature of the request {path} is not valid", hint="make the request again")
    return csr


def _has_valid_sha1_signature(csr: x509.CertificateSigningRequest) -> bool:
    """Verify what cryptography calls invalid because it is SHA-1; whether the CA takes it is the CA's matter."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    key = csr.public_key()
    try:
        if not isinstance(csr.signature_hash_algorithm, hashes.SHA1):
            return False
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(csr.signature, csr.tbs_certrequest_bytes, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303  # read, not chosen
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(csr.signature, csr.tbs_certrequest_bytes, ec.ECDSA(hashes.SHA1()))  # noqa: S303  # read, not chosen
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
