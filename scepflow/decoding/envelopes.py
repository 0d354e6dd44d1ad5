"""An EnvelopedData as it stands, and opened where the user's key or challenge fits (RFC 5652 §6 Enveloped-data Content Type).

Opening tells what went wrong no better than the engine does. Must never hold:
a use of either that is not on the user's own machine and for the user's eyes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa

from scepflow.descriptions import hex_text, name_of_der, number_text, oid_name, serial_text
from scepflow.engine import algorithms, asn1, ber, cms, envelopes, oids, password
from scepflow.engine.certificates import names_certificate
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from scepflow.decoding.reading import Means, Reading
    from scepflow.engine.asn1 import TLV

__all__ = ["identifier_of", "read_envelope"]

_MAX_COUNT_BITS = 53  # what readers of JSON take for an exact number (RFC 8259 §6 Numbers)
_KEY_TRANSPORT, _PASSWORD = b"\x30", b"\xa3"
_RECIPIENT_KINDS = {
    _KEY_TRANSPORT: "key transport",
    b"\xa1": "key agreement",
    b"\xa2": "shared key",
    _PASSWORD: "password (the challenge)",
    b"\xa4": "other",
}


def read_envelope(data: bytes, reading: Reading) -> tuple[dict[str, Any], bytes | None]:
    """Return what stands on an envelope, and what is in it if it opens.

    Args:
        data: a ContentInfo with an EnvelopedData.
        reading: its means, and where notes go.

    Raises:
        ProtocolError: it is not that.
    """
    content = cms.content_info(data, oids.ENVELOPED_DATA, "EnvelopedData")
    enveloped = asn1.parse(content, asn1.EnvelopedData, "EnvelopedData")
    reading.enveloped = True
    reading.attempt_der(data, "the envelope")
    recipients = asn1.members(enveloped.recipient_infos, "recipientInfos")
    document = {
        "cipher": _cipher(enveloped.encrypted.algorithm, reading),
        "recipients": [_recipient(value, reading) for value in recipients],
        "encrypted_bytes": _size_of(enveloped.encrypted.encrypted_content, reading),
    }
    if enveloped.encrypted.content_type != oids.DATA:
        reading.note(
            "encrypted-type",
            f"the encrypted content's type is {oid_name(enveloped.encrypted.content_type)}, not data",
        )
    if len(recipients) > 1:
        reading.note(
            "several-recipients",
            "the envelope is for more than one recipient (step-ca and micromdm encrypt for every certificate of the request)",
        )
    opened = _open(data, reading)
    document["opened"] = opened is not None
    return document, opened


def identifier_of(sid: asn1.IssuerAndSerialNumber | bytes) -> dict[str, str]:
    """Return how a signer or recipient is named."""
    if isinstance(sid, bytes):
        return {"key_identifier": hex_text(sid)}
    return {
        "issuer": name_of_der(asn1.encode(sid.issuer)),
        "serial_number": serial_text(sid.serial_number),
    }


def _cipher(identifier: list[TLV], reading: Reading) -> str:
    oid, _ = asn1.algorithm_parts(identifier)
    if oid == oids.DES_CBC:
        reading.note(
            "weak-cipher",
            "encrypted with single DES, which RFC 8894 forbids (micromdm, step-ca and old EJBCA answer so by default)",
        )
    elif oid == oids.DES_EDE3_CBC:
        reading.note(
            "weak-cipher", "encrypted with triple DES, which is outdated; RFC 8894 wants AES-128-CBC"
        )
    try:
        algorithms.cipher_of(identifier)
    except ProtocolError as error:
        reading.note("cipher", f"{error.message}: scepflow does not read it")
    return oid_name(oid)


def _size_of(content: TLV, reading: Reading) -> int:
    if content.tag_bytes == b"\xa0":
        reading.note(
            "constructed-ciphertext",
            "the ciphertext comes in pieces (a constructed string, as old micromdm sends)",
        )
        return len(ber.join_octets(0xA0, content.data))
    return len(content.data)


def _recipient(value: TLV, reading: Reading) -> dict[str, Any]:
    kind = _RECIPIENT_KINDS.get(value.tag_bytes, f"unknown (tag {value.tag_bytes.hex()})")
    if value.tag_bytes == _KEY_TRANSPORT:
        return {"kind": kind} | _key_transport(value, reading)
    if value.tag_bytes == _PASSWORD:
        return {"kind": kind} | _password(value)
    return {"kind": kind}


def _password(value: TLV) -> dict[str, Any]:
    info = asn1.decode(asn1.PasswordRecipientInfo, b"\x30" + asn1.encode(value)[1:], "PasswordRecipientInfo")
    derivation = info.key_derivation
    return {
        **(_derivation(derivation) if derivation else {"key_derivation": "none"}),
        "key_encryption": oid_name(asn1.algorithm_parts(info.key_encryption)[0]),
    }


def _derivation(identifier: list[TLV]) -> dict[str, Any]:
    """Return how the challenge becomes a key, which says what a guess costs."""
    oid, parameters = asn1.algorithm_parts(identifier)
    shown: dict[str, Any] = {"key_derivation": oid_name(oid)}
    if oid != oids.PBKDF2 or parameters is None:
        return shown
    with suppress(ProtocolError):
        pbkdf2 = asn1.parse(parameters, asn1.Pbkdf2Params, "PBKDF2 parameters")
        prf = asn1.algorithm_parts(pbkdf2.prf)[0] if pbkdf2.prf else oids.HMAC_SHA1
        shown |= {"function": oid_name(prf), "iterations": _count(pbkdf2.iterations)}
    return shown


def _count(number: int) -> int | str:
    """Return a number as JSON has it, or as text where it is beyond all reason."""
    return number if number.bit_length() <= _MAX_COUNT_BITS else number_text(number)


def _key_transport(value: TLV, reading: Reading) -> dict[str, Any]:
    info = asn1.parse(value, asn1.KeyTransRecipientInfo, "KeyTransRecipientInfo")
    oid, parameters = asn1.algorithm_parts(info.algorithm)
    if isinstance(info.rid, bytes):
        reading.note("key-identifier", "the recipient is named by key identifier, which EJBCA does not read")
    if oid == oids.RSA_ENCRYPTION and parameters is None:
        reading.note(
            "missing-parameters",
            "rsaEncryption without its NULL parameters (as Go's libraries send; RFC 3370 §4.2.1)",
        )
    if oid == oids.RSAES_OAEP:
        reading.note(
            "oaep", "the content key is wrapped with RSAES-OAEP (as NDES may do), not with PKCS#1 v1.5"
        )
    return {**identifier_of(info.rid), "algorithm": oid_name(oid)}


def _open(data: bytes, reading: Reading) -> bytes | None:
    """Return the content; failing that is an error of the reading, if a key or a challenge was given."""
    means = reading.means
    if means.key is None and means.challenge is None:
        return None
    try:
        envelope = envelopes.parse_envelope(data)
    except ProtocolError as error:
        reading.fail(ProtocolError(f"the envelope was not opened: {error.message}", hint=error.hint))
        return None
    for content_key in _content_keys(envelope, means):
        content = algorithms.decrypt(envelope.cipher, content_key, envelope.iv, envelope.encrypted)
        # A key that does not fit gives random bytes, whose padding is right once in 256 times.
        if content is not None and content.startswith(b"\x30"):
            return content
    reading.fail(_not_opened(envelope, means))
    return None


def _not_opened(envelope: envelopes.Envelope, means: Means) -> ProtocolError:
    """Return the error, with what to try instead."""
    kinds = {value.tag_bytes for value in envelope.recipients}
    given = " or ".join(name for name, what in (("key", means.key), ("challenge", means.challenge)) if what)
    if means.challenge is None and _PASSWORD in kinds:
        hint = "it opens with the challenge: --challenge-file"
    elif means.key is None and _PASSWORD not in kinds:
        hint = "it is for a key, not for a challenge: --key"
    elif means.key is None:
        hint = "the challenge of the request opens both the request and its reply"
    else:
        hint = (
            "a request opens with the key of the CA or RA that receives it, "
            "a reply with the key that signed the request"
        )
    return ProtocolError(f"the envelope does not open with this {given}", hint=hint)


def _content_keys(envelope: envelopes.Envelope, means: Means) -> Iterator[bytes]:
    """Yield what the recipients' infos open: those for the certificate, or all where none is given."""
    for value in envelope.recipients:
        if value.tag_bytes == _KEY_TRANSPORT and isinstance(means.key, rsa.RSAPrivateKey):
            yield from _transported(value, means.key, means.certificate)
        elif value.tag_bytes == _PASSWORD and means.challenge:
            with suppress(ProtocolError):
                found = password.open_recipient(value, means.challenge)
                if found is not None:
                    yield found


def _transported(value: TLV, key: rsa.RSAPrivateKey, certificate: x509.Certificate | None) -> Iterator[bytes]:
    info = asn1.parse(value, asn1.KeyTransRecipientInfo, "KeyTransRecipientInfo")
    if certificate and not _is_for(info, certificate):
        return
    with suppress(ValueError, UnsupportedAlgorithm, ProtocolError):
        yield key.decrypt(info.encrypted_key, algorithms.key_transport_padding(info.algorithm))


def _is_for(info: asn1.KeyTransRecipientInfo, certificate: x509.Certificate) -> bool:
    rid = info.rid
    if isinstance(rid, bytes):
        return names_certificate(certificate, issuer_der=None, serial_number=None, key_identifier=rid)
    return names_certificate(
        certificate, issuer_der=asn1.encode(rid.issuer), serial_number=rid.serial_number, key_identifier=None
    )
