"""Certificates, requests and CRLs described in JSON-able values, for whoever looks at them.

Must never hold: trust, or text of theirs that did not go through `scepflow.text.sanitise`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepflow.engine import asn1, certificates, oids
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.certificates import is_ca, key_usage
from scepflow.engine.trust import fingerprint
from scepflow.errors import ProtocolError
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

__all__ = [
    "UNREADABLE",
    "describe_certificate",
    "describe_crl",
    "describe_request",
    "described_key",
    "hex_text",
    "name_of_der",
    "name_text",
    "number_text",
    "oid_name",
    "serial_text",
    "timestamp",
    "usages",
    "value_text",
    "verifies",
]

UNREADABLE = (
    ProtocolError,
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading raises where something in a certificate, request or CRL is broken."""
MAX_NAME_CHARS = 500
MAX_REVOKED = 20
_MAX_HEX_BYTES = 64
_MAX_NUMBER_BITS = 8 * _MAX_HEX_BYTES  # Python itself refuses to write more than 4300 digits

_NAMES = {
    oids.DATA: "data",
    oids.SIGNED_DATA: "signedData",
    oids.ENVELOPED_DATA: "envelopedData",
    oids.CONTENT_TYPE: "contentType",
    oids.MESSAGE_DIGEST: "messageDigest",
    oids.SIGNING_TIME: "signingTime",
    oids.MESSAGE_TYPE: "messageType",
    oids.PKI_STATUS: "pkiStatus",
    oids.FAIL_INFO: "failInfo",
    oids.SENDER_NONCE: "senderNonce",
    oids.RECIPIENT_NONCE: "recipientNonce",
    oids.TRANSACTION_ID: "transactionID",
    oids.FAIL_INFO_TEXT: "failInfoText",
    oids.CHALLENGE_PASSWORD: "challengePassword",
    oids.RSA_ENCRYPTION: "rsaEncryption",
    oids.MD5_WITH_RSA: "md5WithRSA",
    oids.SHA1_WITH_RSA: "sha1WithRSA",
    oids.SHA224_WITH_RSA: "sha224WithRSA",
    oids.SHA256_WITH_RSA: "sha256WithRSA",
    oids.SHA384_WITH_RSA: "sha384WithRSA",
    oids.SHA512_WITH_RSA: "sha512WithRSA",
    oids.RSAES_OAEP: "RSAES-OAEP",
    oids.MGF1: "MGF1",
    oids.RSASSA_PSS: "RSASSA-PSS",
    oids.ECDSA_WITH_SHA1: "ecdsaWithSHA1",
    oids.ECDSA_WITH_SHA224: "ecdsaWithSHA224",
    oids.ECDSA_WITH_SHA256: "ecdsaWithSHA256",
    oids.ECDSA_WITH_SHA384: "ecdsaWithSHA384",
    oids.ECDSA_WITH_SHA512: "ecdsaWithSHA512",
    **{digest.oid: digest.value for digest in Digest},
    **{cipher.oid: cipher.value for cipher in Cipher},
    oids.PBKDF2: "PBKDF2",
    oids.HMAC_SHA1: "hmacWithSHA1",
    oids.HMAC_SHA256: "hmacWithSHA256",
    oids.HMAC_SHA384: "hmacWithSHA384",
    oids.HMAC_SHA512: "hmacWithSHA512",
    oids.PWRI_KEK: "PWRI-KEK",
}
_OTHER_NAMES = {
    # signed attributes that are seen beside SCEP's
    "1.2.840.113549.1.9.15": "sMIMECapabilities",
    "1.2.840.113549.1.9.25.3": "randomNonce",
    "1.2.840.113549.1.9.52": "CMSAlgorithmProtection",
    "1.2.840.113549.1.9.16.2.12": "signingCertificate",
    "1.2.840.113549.1.9.16.2.47": "signingCertificateV2",
    "1.3.6.1.4.1.311.21.33": "microsoftErrorCode",
    "1.3.6.1.4.1.311.21.38": "microsoftDisposition",
    # attributes of a certification request
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.2.840.113549.1.9.14": "extensionRequest",
    "2.16.840.1.113733.1.9.8": "extensionReq",
    "1.3.6.1.4.1.311.2.1.14": "microsoftExtensionRequest",
    "1.3.6.1.4.1.311.13.2.3": "microsoftOsVersion",
    "1.3.6.1.4.1.311.21.20": "microsoftClientInformation",
    # extensions
    "2.5.29.14": "subjectKeyIdentifier",
    "2.5.29.15": "keyUsage",
    "2.5.29.17": "subjectAltName",
    "2.5.29.18": "issuerAltName",
    "2.5.29.19": "basicConstraints",
    "2.5.29.20": "cRLNumber",
    "2.5.29.27": "deltaCRLIndicator",
    "2.5.29.28": "issuingDistributionPoint",
    "2.5.29.30": "nameConstraints",
    "2.5.29.31": "cRLDistributionPoints",
    "2.5.29.32": "certificatePolicies",
    "2.5.29.35": "authorityKeyIdentifier",
    "2.5.29.36": "policyConstraints",
    "2.5.29.37": "extendedKeyUsage",
    "2.5.29.46": "freshestCRL",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess",
    "1.3.6.1.4.1.311.20.2": "microsoftTemplateName",
    "1.3.6.1.4.1.311.20.2.3": "userPrincipalName",
    "1.3.6.1.4.1.311.21.1": "microsoftCAVersion",
    "1.3.6.1.4.1.311.21.7": "microsoftTemplate",
    "1.3.6.1.4.1.311.21.10": "microsoftApplicationPolicies",
    # extended key usages
    "1.3.6.1.5.5.7.3.1": "serverAuth",
    "1.3.6.1.5.5.7.3.2": "clientAuth",
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.5": "ipsecEndSystem",
    "1.3.6.1.5.5.7.3.6": "ipsecTunnel",
    "1.3.6.1.5.5.7.3.7": "ipsecUser",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.9": "OCSPSigning",
    "1.3.6.1.5.5.7.3.17": "ipsecIKE",
    "1.3.6.1.5.5.7.3.28": "cmcRA",
    "2.5.29.37.0": "anyExtendedKeyUsage",
    "1.3.6.1.4.1.311.20.2.2": "smartcardLogon",
    "1.3.6.1.4.1.311.20.2.1": "certificateRequestAgent",
    # signatures and content ciphers that we do not read
    "1.3.101.112": "ed25519",
    "1.3.101.113": "ed448",
    "1.2.840.113549.3.2": "rc2-cbc",
    "2.16.840.1.101.3.4.1.6": "aes-128-gcm",
    "2.16.840.1.101.3.4.1.26": "aes-192-gcm",
    "2.16.840.1.101.3.4.1.46": "aes-256-gcm",
}
_NAME_BY_NUMBER = {oid.dotted_string: name for oid, name in _NAMES.items()} | _OTHER_NAMES
_USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}
_TEXT_ENCODINGS = {
    b"\x0c": "utf-8",
    b"\x12": "ascii",
    b"\x13": "ascii",
    b"\x14": "latin-1",
    b"\x16": "ascii",
    b"\x17": "ascii",
    b"\x18": "ascii",
    b"\x1a": "ascii",
    b"\x1c": "utf-32-be",
    b"\x1e": "utf-16-be",
}


def oid_name(oid: asn1.Oid) -> str:
    """Return the name of a number, or the number with dots where we know none."""
    return _NAME_BY_NUMBER.get(oid.dotted_string, oid.dotted_string)


def timestamp(moment: datetime) -> str:
    """Return a time as ``2026-11-20T12:00:00Z``."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def name_of_der(der: bytes) -> str:
    """Return a Name as text (RFC 4514), or its bytes in hex where it cannot be read."""
    try:
        return name_text(x509.Name.from_bytes(der))
    except UNREADABLE:
        return hex_text(der)


def name_text(name: x509.Name) -> str:
    """Return a Name as text (RFC 4514), sanitised."""
    return sanitise(name.rfc4514_string(), limit=MAX_NAME_CHARS) or "(empty)"


def hex_text(data: bytes) -> str:
    """Return bytes in hex, of many the first."""
    shown = data[:_MAX_HEX_BYTES].hex()
    return f"{shown}… ({len(data)} bytes)" if len(data) > _MAX_HEX_BYTES else shown


def number_text(number: int) -> str:
    """Return a number in decimal, or the first of its bytes in hex where it has too many digits."""
    if number.bit_length() <= _MAX_NUMBER_BITS:
        return str(number)
    return hex_text(number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def serial_text(serial_number: int) -> str:
    """Return a serial number in hex, or its first bytes where it is longer than any may be."""
    if serial_number.bit_length() <= _MAX_NUMBER_BITS:
        return f"{serial_number:x}"
    return number_text(serial_number)


def value_text(value: asn1.TLV) -> str:
    """Return any value for people: texts sanitised, numbers and names as such, all else in hex."""
    data = bytes(value.data)
    encoding = _TEXT_ENCODINGS.get(value.tag_bytes)
    if encoding:
        return sanitise(data.decode(encoding, "backslashreplace"))
    if value.tag_bytes == b"\x04":
        return hex_text(data)
    try:
        if value.tag_bytes == b"\x06":
            return oid_name(asn1.parse(value, asn1.Oid, "OBJECT IDENTIFIER"))
        if value.tag_bytes == b"\x02":
            return number_text(asn1.parse(value, int, "INTEGER"))
    except ProtocolError:
        pass
    return hex_text(asn1.encode(value))


def described_key(key: object) -> str:
    """Return such as ``RSA-2048`` or ``EC secp256r1``."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return "of a kind that cannot be read" if key is None else type(key).__name__.removesuffix("PublicKey")


def usages(certificate: x509.Certificate) -> list[str] | None:
    """Return the names of a certificate's key usages, or None where it has no such extension."""
    usage = key_usage(certificate)
    return None if usage is None else _usages(usage)


def _usages(usage: x509.KeyUsage) -> list[str]:
    return [name for attribute, name in _USAGES.items() if getattr(usage, attribute)]


def describe_certificate(certificate: x509.Certificate) -> dict[str, Any]:
    """Return what stands in a certificate; nothing of it is verified."""
    return {
        "subject": name_text(certificate.subject),
        "issuer": name_text(certificate.issuer),
        "serial_number": serial_text(certificates.serial_number(certificate)),
        "not_before": timestamp(certificate.not_valid_before_utc),
        "not_after": timestamp(certificate.not_valid_after_utc),
        "key": described_key(certificates.public_key(certificate)),
        "signature_algorithm": oid_name(certificate.signature_algorithm_oid),
        "ca": is_ca(certificate),
        "self_issued": certificate.subject == certificate.issuer,
        "extensions": _extensions(lambda: certificate.extensions),
        "fingerprint": fingerprint(certificate),
    }


def describe_crl(crl: x509.CertificateRevocationList) -> dict[str, Any]:
    """Return what stands in a CRL, of its entries the first twenty."""
    return {
        "issuer": name_text(crl.issuer),
        "this_update": timestamp(crl.last_update_utc),
        "next_update": timestamp(crl.next_update_utc) if crl.next_update_utc else None,
        "signature_algorithm": oid_name(crl.signature_algorithm_oid),
        "extensions": _extensions(lambda: crl.extensions),
        "revoked_count": len(crl),
        "revoked": [
            {
                "serial_number": serial_text(entry.serial_number),
                "revoked_at": _revoked_at(entry),
            }
            for entry, _ in zip(crl, range(MAX_REVOKED), strict=False)
        ],
    }


def _revoked_at(entry: x509.RevokedCertificate) -> str:
    try:
        return timestamp(entry.revocation_date_utc)
    except ValueError:  # a year 0
        return "cannot be read"


def describe_request(csr: x509.CertificateSigningRequest, *, show_secrets: bool = False) -> dict[str, Any]:
    """Return what stands in a certification request.

    Args:
        csr: the request.
        show_secrets: whether the text of its challenge is shown too.
    """
    attributes = _request_attributes(csr)
    challenge = attributes.pop(oids.CHALLENGE_PASSWORD, None)
    shown = ", ".join(map(value_text, challenge or [])) if show_secrets else "present, not shown"
    return {
        "subject": name_text(csr.subject),
        "key": _public_key(csr),
        "signature_algorithm": oid_name(csr.signature_algorithm_oid),
        "signature": "right" if verifies(lambda: csr.is_signature_valid) else "WRONG",
        "challenge": "none" if challenge is None else shown,
        "extensions": _extensions(lambda: csr.extensions),
        "attributes": [
            {"name": oid_name(oid), "value": ", ".join(map(value_text, values))}
            for oid, values in attributes.items()
            if "extension" not in oid_name(oid).lower()
        ],
    }


def verifies(check: Callable[[], bool]) -> bool:
    """Tell whether a check of a signature says yes; one that cannot be made does not."""
    try:
        return check()
    except UNREADABLE:
        return False


def _public_key(csr: x509.CertificateSigningRequest) -> str:
    try:
        return described_key(csr.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return described_key(None)


def _request_attributes(csr: x509.CertificateSigningRequest) -> dict[asn1.Oid, list[asn1.TLV]]:
    info = asn1.decode(asn1.CertificationRequestInfo, csr.tbs_certrequest_bytes, "certification request")
    found = [asn1.parse(value, asn1.Attribute, "attribute") for value in info.attributes or []]
    return {attribute.type: asn1.members(attribute.values, "attribute values") for attribute in found}


def _extensions(read: Callable[[], x509.Extensions]) -> list[dict[str, Any]]:
    """Return the extensions in order; those that cannot be read at all are said to be so."""
    try:
        extensions = list(read())
    except UNREADABLE as error:
        return [{"name": "extensions", "value": f"cannot be read: {sanitise(str(error))}"}]
    return [
        {
            "name": oid_name(extension.oid),
            "value": _extension_value(extension.value),
            **({"critical": True} if extension.critical else {}),
        }
        for extension in extensions
    ]


def _extension_value(value: x509.ExtensionType) -> str:
    shown = _SHOWN_EXTENSIONS.get(type(value))
    return shown(value) if shown else hex_text(value.public_bytes())


def _basic_constraints(value: x509.BasicConstraints) -> str:
    limit = "" if value.path_length is None else f", path length {value.path_length}"
    return f"CA{limit}" if value.ca else "not a CA"


def _authority_key(value: x509.AuthorityKeyIdentifier) -> str:
    return value.key_identifier.hex() if value.key_identifier else "no key identifier"


def _general_names(names: Iterable[x509.GeneralName]) -> str:
    return ", ".join(map(_general_name, names))


_SHOWN_EXTENSIONS: dict[type[x509.ExtensionType], Callable[[Any], str]] = {
    x509.BasicConstraints: _basic_constraints,
    x509.KeyUsage: lambda value: ", ".join(_usages(value)) or "none",
    x509.ExtendedKeyUsage: lambda value: ", ".join(map(oid_name, value)),
    x509.SubjectKeyIdentifier: lambda value: value.digest.hex(),
    x509.AuthorityKeyIdentifier: _authority_key,
    x509.SubjectAlternativeName: _general_names,
    x509.IssuerAlternativeName: _general_names,
    x509.CRLDistributionPoints: lambda value: ", ".join(
        _general_names(point.full_name or []) for point in value
    ),
    x509.CRLNumber: lambda value: number_text(value.crl_number),
}
_GENERAL_NAMES: dict[type, str] = {
    x509.DNSName: "dns",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "uri",
    x509.IPAddress: "ip",
}


def _general_name(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DirectoryName):
        return f"name:{name_text(name.value)}"
    if isinstance(name, x509.RegisteredID):
        return f"id:{oid_name(name.value)}"
    if isinstance(name, x509.OtherName):
        return f"other:{oid_name(name.type_id)}:{_any_value(name.value)}"
    return f"{_GENERAL_NAMES[type(name)]}:{sanitise(str(name.value))}"


def _any_value(der: bytes) -> str:
    try:
        return value_text(asn1.decode(asn1.TLV, der, "value"))
    except ProtocolError:
        return hex_text(der)
