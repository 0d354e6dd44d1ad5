"""What is said of certificates, requests, capabilities and messages."""

import io
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from scepflow.engine import oids
from scepflow.engine.algorithms import Digest
from scepflow.engine.capabilities import parse_capabilities
from scepflow.engine.exchange import HttpRequest, HttpResponse
from scepflow.engine.messages import PkiStatus, build_cert_rep
from scepflow.inquiry import CapabilitiesAnswer
from scepflow.sscep.exchanges import nonce_lines, tell_received, tell_sent
from scepflow.sscep.lines import (
    certificate_lines,
    fingerprint_line,
    oneline,
    pem_lines,
    tell_capabilities,
    tell_pem,
    tell_request,
)
from scepflow.sscep.output import Screen

KEY = ec.generate_private_key(ec.SECP256R1())
BEGINS, ENDS = datetime(2024, 1, 1, tzinfo=UTC), datetime(2034, 1, 1, tzinfo=UTC)


@pytest.fixture
def printed():
    """Call a function with a screen; gives what it printed on both streams."""

    def printed(tell, *arguments, verbose=False, debug=False, **named):
        out, err = io.StringIO(), io.StringIO()
        tell(Screen("sscep", stdout=out, stderr=err, verbose=verbose, debug=debug), *arguments, **named)
        return out.getvalue(), err.getvalue()

    return printed


# -- certificates


def certificate(*extensions):
    name = x509.Name.from_rfc4514_string("CN=gw,O=Example,C=FI")
    builder = x509.CertificateBuilder(issuer_name=name, subject_name=name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(BEGINS).not_valid_after(ENDS)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(KEY, hashes.SHA256())


def test_a_certificate_is_described_as_openssl_does():
    assert list(certificate_lines(certificate())) == [
        "  subject: /C=FI/O=Example/CN=gw",
        "  issuer: /C=FI/O=Example/CN=gw",
        "  basic constraints: (not included)",
        "  usage: (not included)",
    ]


@pytest.mark.parametrize(
    ("constraints", "line"),
    [
        (x509.BasicConstraints(ca=True, path_length=0), "CA:TRUE, pathlen:0"),
        (x509.BasicConstraints(ca=False, path_length=None), "CA:FALSE"),
    ],
)
def test_basic_constraints(constraints, line):
    assert f"  basic constraints: {line}" in list(certificate_lines(certificate(constraints)))


def test_key_usages_have_openssl_s_names():
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    assert "  usage: Digital Signature, Key Encipherment" in list(certificate_lines(certificate(usage)))


def test_a_fingerprint_is_upper_case_hex_with_colons():
    found = certificate()
    expected = found.fingerprint(hashes.SHA256()).hex(":").upper()
    assert fingerprint_line(found, "sha-256") == f"SHA256 fingerprint: {expected}"


def test_key_usages_of_an_agreement_are_among_them():
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=True,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=True,
        decipher_only=False,
    )
    assert "  usage: Key Agreement, Encipher Only" in list(certificate_lines(certificate(usage)))


def test_a_name_has_openssl_s_short_names_and_no_control_characters():
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "gw\x1b[31m"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.com"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "7"),
            x509.NameAttribute(
                NameOID.X500_UNIQUE_IDENTIFIER, b"\x01\x02", _type=x509.name._ASN1Type.BitString
            ),
        ]
    )
    assert oneline(name) == "/CN=gw\\x1b[31m/emailAddress=a@example.com/serialNumber=7/2.5.4.45=0102"


def test_a_certificate_is_printed_in_pem_with_d_only(printed):
    found = certificate()
    assert printed(tell_pem, found, verbose=True) == ("", "")
    assert printed(tell_pem, found, debug=True) == (found.public_bytes(Encoding.PEM).decode(), "")


def test_pem_is_what_openssl_writes():
    found = certificate()
    lines = pem_lines("CERTIFICATE", found.public_bytes(Encoding.DER))
    assert [*lines, ""] == found.public_bytes(Encoding.PEM).decode().split("\n")


# -- requests


def request(*attributes):
    builder = x509.CertificateSigningRequestBuilder(x509.Name.from_rfc4514_string("CN=gw"))
    for oid, value in attributes:
        builder = builder.add_attribute(oid, value)
    return builder.sign(KEY, hashes.SHA256())


def test_a_request_is_shown_with_v(printed):
    csr = request((x509.ObjectIdentifier("1.2.840.113549.1.9.2"), b"name"))
    size = len(csr.public_bytes(Encoding.DER))
    assert printed(tell_request, csr) == ("", "")
    out, _ = printed(tell_request, csr, verbose=True)
    shown = csr.public_bytes(Encoding.PEM).decode()
    assert out == f"sscep: request data dump\n{shown}sscep: data payload size: {size} bytes\n"


def test_a_request_with_a_challenge_is_not(printed):
    out, _ = printed(tell_request, request((oids.CHALLENGE_PASSWORD, b"secret")), verbose=True)
    assert "BEGIN" not in out
    assert "there is a challenge password in it" in out


def test_a_request_whose_attributes_cannot_be_read_is_not_shown(printed):
    csr_der = request((oids.CHALLENGE_PASSWORD, b"secret")).public_bytes(Encoding.DER)
    broken = csr_der.replace(b"\x0c\x06secret", b"\x0c\x02cr\x0c\x02se")  # two values
    assert broken != csr_der
    out, _ = printed(tell_request, x509.load_der_x509_csr(broken), verbose=True)
    assert "BEGIN" not in out


# -- capabilities


def capabilities(body):
    return CapabilitiesAnswer(parse_capabilities(body), HttpResponse(status=200, body=body))


def test_capabilities_are_shown_with_v_and_unknown_ones_always(printed):
    answer = capabilities(b"AES\r\nFrob\x1b\nSCEPStandard\n")
    unknown = "sscep: unknown capability Frob\\x1b\n"
    assert printed(tell_capabilities, answer) == ("", unknown)
    assert printed(tell_capabilities, answer, verbose=True, debug=True) == (
        "AES\nFrob\\x1b\nSCEPStandard\nsscep: scep caps bitmask: 0x0401\n",
        unknown,
    )


def test_the_bits_are_sscep_s(printed):
    names = b"Renewal SHA-1 SHA-256 AES DES3 SCEPStandard POSTPKIOperation".replace(b" ", b"\n")
    out, _ = printed(tell_capabilities, capabilities(names), debug=True)
    assert out == "sscep: scep caps bitmask: 0x04bb\n"  # Appendix C.2


def test_a_web_page_is_no_capability(printed):
    assert printed(tell_capabilities, capabilities(b"<html>\n<p>no"), verbose=True) == ("", "")


# -- messages


def http(operation, **fields):
    given = {"method": "GET", "url": f"http://h:8080/x?operation={operation}", "max_response_bytes": 9}
    return HttpRequest(operation=operation, **given | fields)


def test_nothing_is_said_of_a_message_without_v(printed):
    assert printed(tell_sent, http("PKIOperation", method="POST", body=b"\x30\x00")) == ("", "")


def test_d_alone_as_a_file_can_ask_for_it_shows_the_request(printed):
    assert printed(tell_sent, http("GetCACert"), debug=True) == (
        "sscep: scep request:\nGET /x?operation=GetCACert HTTP/1.1\nHost: h:8080\n\n",
        "",
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"\x30\x00", b"\x30\x80" * 40])
def test_an_answer_that_is_no_message_is_only_counted(body, printed):
    response = HttpResponse(status=500, headers={"content-type": "text/\x1bhtml"}, body=body)
    assert printed(tell_received, http("PKIOperation"), response, verbose=True, debug=True) == (
        "sscep: server response status code: 500, MIME header: text/\\x1bhtml\n",
        "",
    )


def test_an_answer_without_a_type_is_missing_one(printed):
    out, _ = printed(tell_received, http("GetCACaps"), HttpResponse(status=404), verbose=True)
    assert out == "sscep: server response status code: 404, MIME header: missing\n"


def test_a_reply_without_a_sender_nonce_says_so(reply_without_sender_nonce):
    assert list(nonce_lines(reply_without_sender_nonce)) == [
        "senderNonce in reply: none",
        f"recipientNonce in reply: {'5A' * 16}",
    ]


@pytest.fixture
def reply_without_sender_nonce(plain_authority):
    body = build_cert_rep(
        PkiStatus.PENDING,
        None,
        transaction_id="T",
        recipient_nonce=b"Z" * 16,
        sender_nonce=None,
        identity=plain_authority.ca,
        digest=Digest.SHA256,
        signing_time=BEGINS,
    )
    return HttpResponse(status=200, body=body)
