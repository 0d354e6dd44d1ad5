"""A SignedData as it stands: SCEP's attributes and what deviates (RFC 8894 §3 SCEP Secure Message Objects).

Everything is shown, whether or not the engine would take it. Must never hold:
what is inside the envelope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509

from scepflow.decoding.attributes import Attributes
from scepflow.decoding.envelopes import read_envelope
from scepflow.decoding.signatures import read_signature
from scepflow.descriptions import UNREADABLE, describe_certificate, describe_crl, oid_name
from scepflow.engine import asn1, certificates, cms, oids
from scepflow.engine.messages import FailInfo, MessageType, PkiStatus, fail_info_name
from scepflow.errors import ProtocolError

if TYPE_CHECKING:
    from scepflow.decoding.reading import Reading

__all__ = ["read_signed"]

_MAX_NONCE_BYTES = 64
_REPLY = str(MessageType.CERT_REP.value)
_TYPES = {str(kind.value): kind.title for kind in MessageType}
_STATUSES = {str(status.value): status.name for status in PkiStatus}
_FAIL_INFOS = {str(number): fail_info_name(number) for number in range(13)}
_DEFINED_FAIL_INFOS = frozenset(str(number.value) for number in FailInfo)
_PURPOSES = {
    MessageType.PKCS_REQ: "a request for a certificate",
    MessageType.RENEWAL_REQ: "a request for a renewal",
    MessageType.CERT_POLL: "a question after a pending request",
    MessageType.GET_CERT: "a question for a certificate",
    MessageType.GET_CRL: "a question for a CRL",
    MessageType.CERT_REP: "a reply",
}
_TITLES = {str(kind.value): f"{kind.title}, {purpose}" for kind, purpose in _PURPOSES.items()}


def read_signed(data: bytes, reading: Reading) -> tuple[dict[str, Any], bytes | None]:
    """Return what stands in a SignedData, and the content that can be read further, if any.

    Args:
        data: a ContentInfo with a SignedData, in DER.
        reading: its means, and where notes go.

    Raises:
        ProtocolError: it is not that.
    """
    signed = asn1.parse(cms.content_info(data, oids.SIGNED_DATA, "SignedData"), asn1.SignedData, "SignedData")
    signers = asn1.members(signed.signer_infos, "signerInfos")
    carried = {
        "certificates": [_certificate(asn1.encode(value), reading) for value in signed.certificates or []],
        "crls": [_crl(asn1.encode(value), reading) for value in signed.crls or []],
    }
    if not signers:
        return _certificates_only(signed, carried, reading), None
    if len(signers) > 1:
        reading.note(
            "several-signers",
            f"{len(signers)} signatures; clients take one alone, and only the first is shown",
        )
    info = asn1.parse(signers[0], asn1.SignerInfo, "SignerInfo")
    attributes = Attributes(info, reading)
    document = _meaning(attributes, reading)
    from_ca = document["kind"] != "request"
    document["signature"] = read_signature(
        data, info, attributes=attributes, from_ca=from_ca, reading=reading
    )
    content = _read_content(signed.encapsulated.content, document, reading)
    _remark_on_content(signed, attributes, reading)
    if not carried["certificates"]:
        reading.note(
            "no-certificates",
            "the message carries no certificate (as NDES and Dogtag reply): only GetCACert's answer can verify it",
        )
    return document | carried | {"attributes": attributes.listed()}, content


def _certificates_only(signed: asn1.SignedData, carried: dict[str, Any], reading: Reading) -> dict[str, Any]:
    if signed.encapsulated.content is not None:
        reading.note("empty-content", "certs-only with a content, where RFC 8894 §3.4 has none")
    return {
        "kind": "certificates",
        "title": "certificates and CRLs without a signature (certs-only), as GetCACert answers and envelopes hold",
        **carried,
    }


def _certificate(der: bytes, reading: Reading) -> dict[str, Any]:
    try:
        (certificate,) = certificates.load_certificates([der])
        return describe_certificate(certificate)
    except UNREADABLE:
        reading.note("certificate", "a certificate in it cannot be read")
        return {"subject": "not a certificate"}


def _crl(der: bytes, reading: Reading) -> dict[str, Any]:
    try:
        return describe_crl(x509.load_der_x509_crl(der))
    except UNREADABLE:
        reading.note("crl", "a CRL in it cannot be read")
        return {"issuer": "not a CRL"}


def _meaning(attributes: Attributes, reading: Reading) -> dict[str, Any]:
    """Return SCEP's attributes by their names; those that are not there are None."""
    if not attributes.scep:
        return {"kind": "signed", "title": "signed data that is no message of SCEP"}
    message_type = attributes.text(oids.MESSAGE_TYPE)
    status = attributes.text(oids.PKI_STATUS)
    reply = message_type == _REPLY or status is not None
    _remark_on_meaning(attributes, reply=reply, reading=reading)
    title = _TITLES.get(message_type or "", "a message of SCEP whose type is not defined")
    document = {
        "kind": "reply" if reply else "request",
        "title": f"{title}: {_STATUSES.get(status, 'undefined status')}" if status else title,
        "message_type": _named(message_type, _TYPES),
        "transaction_id": attributes.text(oids.TRANSACTION_ID),
        "sender_nonce": _hex(attributes.octets(oids.SENDER_NONCE)),
    }
    if reply:
        document |= {
            "recipient_nonce": _hex(attributes.octets(oids.RECIPIENT_NONCE)),
            "pki_status": _named(status, _STATUSES),
            "fail_info": _named(attributes.text(oids.FAIL_INFO), _FAIL_INFOS),
            "fail_info_text": attributes.text(oids.FAIL_INFO_TEXT),
        }
    return document | {"signing_time": attributes.signing_time()}


def _named(number: str | None, names: dict[str, str]) -> dict[str, str] | None:
    return None if number is None else {"number": number, "name": names.get(number, "not defined")}


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data[:_MAX_NONCE_BYTES].hex()


def _remark_on_meaning(attributes: Attributes, *, reply: bool, reading: Reading) -> None:
    """Note what is missing, undefined or contradicts itself (RFC 8894 §3.2.1 Signed Transaction Attributes)."""
    status, fail_info = attributes.text(oids.PKI_STATUS), attributes.text(oids.FAIL_INFO)
    failed = status == str(PkiStatus.FAILURE.value)
    required = [oids.MESSAGE_TYPE, oids.TRANSACTION_ID, oids.SENDER_NONCE]
    required += [oids.PKI_STATUS, oids.RECIPIENT_NONCE] if reply else []
    for oid in required:
        if oid not in attributes:
            usual = " (as old micromdm and cryptlib reply)" if oid == oids.SENDER_NONCE and reply else ""
            reading.note("missing-attribute", f"{oid_name(oid)} is missing{usual}")
    for oid, names in ((oids.MESSAGE_TYPE, _TYPES), (oids.PKI_STATUS, _STATUSES)):
        text = attributes.text(oid)
        if text is not None and text not in names:
            reading.note("undefined-value", f'{oid_name(oid)} "{text}" is not defined')
    if fail_info is not None and fail_info not in _DEFINED_FAIL_INFOS:
        reading.note(
            "undefined-value", f'failInfo "{fail_info}" is not one of RFC 8894 (Dogtag has values of its own)'
        )
    if failed and fail_info is None:
        reading.note("no-fail-info", "a FAILURE without failInfo: the reason is not given")
    if fail_info is not None and reply and not failed:
        reading.note("fail-info", "a failInfo without FAILURE: the reply contradicts itself")


def _remark_on_content(signed: asn1.SignedData, attributes: Attributes, reading: Reading) -> None:
    content, content_type = signed.encapsulated.content, signed.encapsulated.content_type
    if content_type != oids.DATA:
        reading.note(
            "content-type",
            f"the content's type is {oid_name(content_type)}, not data (as XiPKI sends envelopedData)",
        )
    if attributes.oid(oids.CONTENT_TYPE) != content_type:
        reading.note("content-type", "the signed contentType is missing, or not the content's")
    if content == b"":
        reading.note(
            "empty-content",
            "the content is there and empty, where RFC 8894 leaves it out (step-ca, Dogtag, EJBCA)",
        )
    if content == b"\0":
        reading.note("empty-content", "the content is one byte 00, where RFC 8894 leaves it out (NDES)")


def _read_content(content: bytes | None, document: dict[str, Any], reading: Reading) -> bytes | None:
    """Add what stands on the envelope; return what can be read further: its inside, or a content that is none."""
    succeeded = (document.get("pki_status") or {}).get("name") == PkiStatus.SUCCESS.name
    if not content or content == b"\0":
        if succeeded or document["kind"] == "request":
            reading.note("no-envelope", "there is no envelope, so nothing was asked or given")
        return None
    try:
        document["envelope"], inside = read_envelope(content, reading)
    except ProtocolError as error:
        if document["kind"] != "signed":
            reading.note("envelope", f"the content is no envelope that can be read: {error.message}")
        return content
    return inside
