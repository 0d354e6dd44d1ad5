"""Section 3 of sscep's reference: each exit code a command can end with, when, and the line that goes with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import replies
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import certify, ec_key
from reference_fixtures import (
    NEEDED,
    Said,
    answer,
    in_bad_chunks,
    new_key,
    new_request,
    raw_server,
)

from scepflow.engine import cms, envelopes
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.messages import FailInfo

ASKING = ("getcert", "getcrl")
NO_MESSAGE = "sscep: error while sending message\n"


def never_asked(script):
    return script.ca.types == []


# -- 0


def test_success_is_0_and_tells_what_was_written(script):
    said = script.enroll()
    transaction_id = script.ca.responder.requests[0].transaction_id
    assert said == Said(
        0,
        "sscep: sending certificate request\n"
        "sscep: valid response from server\n"
        f"sscep: reply transaction id: {transaction_id}\n"
        "sscep: pkistatus: SUCCESS\n"
        "sscep: certificate written as local.crt\n",
        "",
    )


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        ("", "\nsscep version ", ""),
        ("frobnicate", "\nsscep version ", "sscep: missing or illegal operation parameter\n"),
        ("-u x", "\nsscep version ", "sscep: missing or illegal operation parameter\n"),
        ("getca -Z", "argv: (null)\n\nsscep version ", "sscep: invalid option -- 'Z'\n"),
        ("getca -u", "argv: (null)\n\nsscep version ", "sscep: option requires an argument -- 'u'\n"),
    ],
)
def test_usage_is_0_for_whatever_reason_it_is_shown(words, out, err, script):
    said = script(*words.split())
    assert (said.code, said.err) == (0, err)
    assert said.out.startswith(out)
    assert "Usage: sscep OPERATION [OPTIONS]\n" in said.out
    assert script.ca.seen == []


@pytest.mark.parametrize("status", [200, 404, 500])
def test_getcaps_is_0_after_any_answer(status, script):
    script.ca.changes["GetCACaps"] = lambda _: answer(b"no such page\n", "text/html", status=status)
    said = script("getcaps", "-u", script.url)
    assert (said.code, said.out) == (0, "sscep: scep capabilities: \n")


@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_a_message_that_is_only_written_is_0(operation, script):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    said = script.ask(operation, "-m", "message.pem")
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("sscep: writing PEM fomatted PKCS#7\n")
    assert never_asked(script)
    assert script.files() - before == {"message.pem"}


def test_resuming_without_a_poll_is_0_and_silent(script):
    assert script.enroll("-R", "-n", "0") == Said(0, "", "")
    assert script.ca.operations == ["GetCACaps"]


# -- 1


@pytest.mark.parametrize(
    ("words", "err"),
    [
        ("enroll", "sscep: missing CA certificate (-c)\n"),
        ("getcaps -u gopher://h", "sscep: illegal URL gopher://h\n"),
        ("getcaps -u http://127.0.0.1:99999/", "sscep: illegal port number 99999\n"),
        ("getca -c x -u http://127.0.0.1/ -F sha3", "sscep: unsupported algorithm: sha3\n"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_1(words, err, script):
    said = script(*words.split())
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(err)


def test_a_ca_certificate_that_cannot_be_written_is_1(script):
    said = script("getca", "-u", script.url, "-c", "none/ca.crt")
    assert said.code == 1
    assert "sscep: cannot open CA file for writing\n" in said.err


def test_a_signer_that_cannot_be_written_is_1_and_nothing_is_sent(script):
    said = script.enroll("-L", "none/self.crt")
    assert said.code == 1
    assert "sscep: cannot open file for writing\n" in said.err
    assert never_asked(script)
    assert not script.has("local.crt")


def test_an_engine_that_openssl_has_no_more_is_1(script):
    said = script.enroll("-g", "capi")
    assert said.code == 1
    assert "engine" in said.err
    assert never_asked(script)


# -- 3, and never 2


def test_pending_is_3(start, plain_authority):
    script = start(plain_authority, pending=9)
    script.write("ca.crt", plain_authority.ca.certificate)
    said = script.enroll("-t", "1", "-n", "1")
    assert said.code == 3
    assert said.out.endswith("sscep: pkistatus: PENDING\n")
    assert not script.has("local.crt")


@pytest.mark.parametrize("operation", ASKING)
def test_a_question_that_is_pending_is_3(operation, script):
    script.enrolled()
    script.ca.alter(lambda reply: reply.but(status="3", content=None))
    said = script.ask(operation)
    assert said.code == 3
    assert said.out.endswith("sscep: pkistatus: PENDING\n")
    assert not script.has("out.pem")


# -- 70 to 74

REASONS = {
    FailInfo.BAD_ALG: "Unrecognized or unsupported algorithm ident",
    FailInfo.BAD_MESSAGE_CHECK: "Integrity check failed",
    FailInfo.BAD_REQUEST: "Transaction not permitted or supported",
    FailInfo.BAD_TIME: "Message time field was not sufficiently close to the system time",
    FailInfo.BAD_CERT_ID: "No certificate could be identified matching",
}


@pytest.mark.parametrize("fail_info", REASONS)
@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_a_rejection_is_70_and_failinfo_and_tells_the_reason(operation, fail_info, script):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    script.ca.alter(lambda reply: reply.but(status="2", content=None, fail_info=str(int(fail_info))))
    said = script.ask(operation)
    assert said.code == 70 + fail_info
    assert said.out.endswith(f"sscep: pkistatus: FAILURE\nsscep: reason: {REASONS[fail_info]}\n")
    assert script.files() == before


@pytest.mark.parametrize("fail_info", [None, "", "5", "9", "-1", "x", "2x"])
@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_a_rejection_without_a_reason_that_is_one_is_97_and_never_2(operation, fail_info, script):
    if operation in ASKING:
        script.enrolled()
    script.ca.alter(lambda reply: reply.but(status="2", content=None, fail_info=fail_info))
    said = script.ask(operation)
    assert said.code == 97
    assert "sscep: pkistatus: FAILURE\n" in said.out


# -- 91


@pytest.mark.parametrize("serial", ["0x1f", "1f2", "abc", "x"])
@pytest.mark.parametrize("operation", ASKING)
def test_a_serial_number_that_is_none_is_91(operation, serial, script):
    assert script(operation, *script.words(operation), "-s", serial) == Said(
        91, "", "sscep: error converting serial\n"
    )


# -- 93


@pytest.mark.parametrize("text", ["[sscep\n", "URL = $nowhere\n", 'URL = "open\n[x\n', "nothing\n[sscep]\n"])
def test_a_configuration_that_cannot_be_read_is_93(text, script):
    (script.folder / "sscep.conf").write_text(text)
    said = script("getcaps", "-f", "sscep.conf")
    assert (said.code, said.out) == (93, "")
    assert "sscep: Error in sscep.conf on line " in said.err


def test_a_configuration_that_is_missing_is_93(script):
    said = script("getcaps", "-f", "none.conf", "-u", script.url)
    assert said.code == 93
    assert "none.conf" in said.err


def test_an_engine_section_that_is_missing_is_93(script):
    (script.folder / "sscep.conf").write_text(f"[sscep]\nURL = {script.url}\nengine = gone\n")
    said = script("getcaps", "-f", "sscep.conf")
    assert said.code == 93
    assert "gone" in said.err


def test_half_a_renewal_is_93(script):
    said = script.enroll("-O", "ca.crt")
    assert said == Said(93, "", "sscep: -O also requires -K (and vice-versa)\n")


@pytest.mark.parametrize(("operation", "option"), [("enroll", "-l"), ("getcert", "-w"), ("getcrl", "-w")])
def test_an_output_that_cannot_be_written_is_93(operation, option, script):
    if operation in ASKING:
        script.enrolled()
    said = script.ask(operation, option, "none/out.pem")
    assert said.code == 93
    kind = "CRL" if operation == "getcrl" else "cert"
    assert f"sscep: cannot open {kind} file for writing\n" in said.err
    assert never_asked(script)


def test_numbered_certificates_that_cannot_be_written_are_93(ra_script):
    said = ra_script("getca", "-u", ra_script.url, "-c", "none/ca.crt")
    assert said.code == 93
    assert "sscep: cannot open cert file for writing\n" in said.err


@pytest.mark.parametrize("option", ["-C", "-w"])
def test_what_getnextca_cannot_read_or_write_is_93(option, script):
    said = script("getnextca", *script.words("getnextca"), option, "none/x.crt")
    assert said.code == 93
    assert not script.has("next-0")


@pytest.mark.parametrize("content_type", ["application/x-x509-ca-ra-cert", "application/x-x509-ra-ca-certs"])
@pytest.mark.parametrize("body", [b"\x30\x03junk", b"junk", b""], ids=["asn1", "text", "nothing"])
def test_a_bundle_that_is_no_pkcs7_is_93(body, content_type, script):
    script.ca.changes["GetCACert"] = lambda _: answer(body, content_type)
    before = script.files()
    assert script("getca", *script.words("getca")).code == 93
    assert script.files() == before


def test_a_bundle_without_certificates_is_93(script):
    empty = cms.build_certs_only([])
    script.ca.changes["GetCACert"] = lambda _: answer(empty, "application/x-x509-ca-ra-cert")
    assert script("getca", *script.words("getca")).code == 93


def sealed(script, content):
    """Return an answer with a content of its own, encrypted to whoever asked."""
    request = script.ca.responder.requests[-1]
    return envelopes.build_envelope(
        content,
        recipient=request.certificate,
        cipher=Cipher.AES128,
        random_bytes=replies.random_bytes(),
    )


def answer_with(script, content):
    script.ca.alter(lambda reply: reply.but(content=sealed(script, content)))


@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_an_answer_without_what_was_asked_for_is_93(operation, script):
    """A certs-only message that is empty: cannot find requested certificate, certificate, CRL."""
    if operation in ASKING:
        script.enrolled()
    answer_with(script, cms.build_certs_only([]))
    said = script.ask(operation)
    assert said.code == 93
    assert "sscep: cannot find " in said.err


@pytest.mark.parametrize("operation", ["enroll", "getcert"])
def test_an_answer_with_another_certificate_only_is_93(operation, script):
    """The real one took whatever was not self-signed, whosever key it had."""
    if operation == "getcert":
        script.enrolled()
    before = script.files()
    key = new_key()
    other = script.ca.responder.authority.issue(new_request(key), now=datetime.now(UTC), days=1)
    answer_with(script, cms.build_certs_only([other]))
    assert script.ask(operation).code == 93
    assert script.files() == before


# -- 95


@pytest.mark.parametrize("operation", NEEDED)
def test_a_server_that_is_down_is_95(operation, script):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    script.url = "http://127.0.0.1:1/scep"
    said = script(operation, *script.words(operation))
    assert (said.code, said.out) == (95, "")
    assert "connection refused" in said.err
    assert NO_MESSAGE in said.err
    assert script.files() == before


def test_connecting_is_tried_again_for_as_long_as_w_says(script):
    """After 1, 2, 3… seconds, the last wait shortened."""
    assert script("getcaps", "-u", "http://127.0.0.1:1/x", "-W", "4").code == 95
    assert script.slept_s == [1, 2, 1]


def nonsense(_response):
    return b"nonsense\r\n\r\n"


def nothing(_response):
    return b""


def cut_short(response):
    return b"HTTP/1.1 200 OK\r\nContent-Type: x/y\r\nContent-Length: 9999\r\n\r\n" + response.body[:9]


WRITERS = (nonsense, nothing, cut_short, in_bad_chunks)
GETS = [
    ("getcaps", "GetCACaps"),
    ("getca", "GetCACaps"),
    ("getca", "GetCACert"),
    ("getnextca", "GetNextCACert"),
]
MESSAGES = [(operation, "PKIOperation") for operation in ("enroll", *ASKING)]


@pytest.mark.parametrize(
    ("operation", "wire", "write"),
    [
        *((*message, write) for message in MESSAGES for write in WRITERS),
        *((*get, nonsense) for get in GETS),  # the others are asked for again, after a short while
        ("getca", "GetCACert", cut_short),
    ],
)
def test_an_answer_that_is_no_http_is_95(operation, wire, write, script):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    with raw_server(script.ca.handle, **{wire: write}) as url:
        script.url = url
        said = script(operation, *script.words(operation))
    assert said.code == 95
    assert NO_MESSAGE in said.err
    assert script.files() == before


@pytest.mark.parametrize("status", [403, 404, 500, 503])
@pytest.mark.parametrize(("operation", "wire"), [*GETS[2:], *MESSAGES])
def test_an_error_page_is_95(operation, wire, status, script):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    script.ca.changes[wire] = lambda _: answer(b"<h1>no</h1>", "text/html", status=status)
    said = script(operation, *script.words(operation))
    assert said.code == 95
    assert NO_MESSAGE in said.err
    assert script.files() == before


@pytest.mark.parametrize(("operation", "wire"), [*GETS[2:], *MESSAGES])
def test_a_page_of_the_wrong_type_is_95_although_http_says_200(operation, wire, script):
    """What stands at the wrong address, or before the right one: a portal's login."""
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    script.ca.changes[wire] = lambda _: answer(b"<h1>welcome</h1>", "text/html")
    said = script(operation, *script.words(operation))
    assert said.code == 95
    assert "sscep: wrong (or missing) MIME content type\n" in said.err
    assert NO_MESSAGE in said.err
    assert script.files() == before


def test_a_request_of_any_length_is_sent(start, plain_authority, device_key):
    """The real one had room for 16383 bytes, and ended with 95 or a crash."""
    script = start(plain_authority, capabilities="AES\nSHA-256\n")
    script.write("ca.crt", plain_authority.ca.certificate)
    subject = ",".join(f"OU={number:060}" for number in range(80))
    script.write("local.csr", new_request(device_key, f"CN=gw,{subject}"))
    assert script.enroll().code == 0
    assert len(script.ca.seen[-1].url) > 16383


# -- 97


@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_an_answer_that_was_encrypted_to_someone_else_is_97(operation, script):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    ca = script.ca.responder.authority.certificate
    other = envelopes.build_envelope(
        cms.build_certs_only([ca]), recipient=ca, cipher=Cipher.AES128, random_bytes=replies.random_bytes()
    )
    script.ca.alter(lambda reply: reply.but(content=other))
    said = script.ask(operation)
    assert said.code == 97
    assert script.files() == before


@pytest.mark.parametrize(
    "content", [b"junk", b"", b"\x30\x00", b"\x30\x80" * 30], ids=["text", "nothing", "empty", "open"]
)
@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_an_answer_that_is_no_pkcs7_once_decrypted_is_97(operation, content, script):
    """The real one crashed."""
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    answer_with(script, content)
    assert script.ask(operation).code == 97
    assert script.files() == before


@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_an_answer_that_is_not_encrypted_is_97(operation, script):
    if operation in ASKING:
        script.enrolled()
    script.ca.alter(lambda reply: reply.but(content=cms.build_certs_only(reply.certificates)))
    assert script.ask(operation).code == 97


@pytest.mark.parametrize("operation", ["enroll", *ASKING])
def test_a_reply_that_another_ca_signed_is_97(operation, script, ra_authority):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    script.ca.alter(lambda reply: reply.but(signer=ra_authority.ca, certificates=(ra_authority.certificate,)))
    said = script.ask(operation)
    assert said.code == 97
    assert said.err.startswith("sscep: error verifying signature\n")
    assert script.files() == before


def test_a_ca_that_is_not_the_one_of_c_is_97(script, ra_authority):
    script.write("ca.crt", ra_authority.ca.certificate)
    said = script.enroll()
    assert said.code == 97
    assert said.err.startswith("sscep: error verifying signature\n")


def test_a_certificate_that_cannot_receive_is_97_and_nothing_is_sent(script):
    """There is no way to encrypt for an EC key with a message of sscep's."""
    script.write("enc.crt", certify("EC", ec_key()))
    assert script.enroll("-e", "enc.crt").code == 97
    assert never_asked(script)


def test_a_key_that_is_not_the_request_s_is_refused_before_anything_is_sent(script):
    """The real one noticed when it could not decrypt the reply (97): the certificate was issued and lost."""
    script.write("local.key", new_key())
    said = script.enroll()
    assert said.code == 93
    assert said.err.startswith("sscep: ")
    assert never_asked(script)


def test_a_next_ca_that_another_ca_signed_is_97_and_not_written(script, ra_authority):
    """The real one complained, wrote it and ended with 0."""
    script.write("root.crt", ra_authority.ca.certificate)
    said = script("getnextca", *script.words("getnextca"), "-C", "root.crt")
    assert said.code == 97
    assert not script.has("next-0")


@pytest.mark.parametrize("body", [b"", b"junk", b"\x30\x03junk"], ids=["nothing", "text", "asn1"])
def test_a_next_ca_that_is_no_pkcs7_is_97(body, script):
    script.ca.changes["GetNextCACert"] = lambda _: answer(body, "application/x-x509-next-ca-cert")
    assert script("getnextca", *script.words("getnextca")).code == 97
    assert not script.has("next-0")


def test_a_next_ca_whose_signature_is_wrong_is_97(script):
    def flipped(good):
        return answer(good.body[:-1] + bytes([good.body[-1] ^ 1]), "application/x-x509-next-ca-cert")

    script.ca.changes["GetNextCACert"] = flipped
    assert script("getnextca", *script.words("getnextca")).code == 97
    assert not script.has("next-0")


def test_a_next_ca_that_is_not_signed_at_all_is_97(script):
    """The real one crashed on a message without inner data."""
    bare = cms.build_certs_only([script.certificate("ca.crt")])
    script.ca.changes["GetNextCACert"] = lambda _: answer(bare, "application/x-x509-next-ca-cert")
    assert script("getnextca", *script.words("getnextca")).code == 97
    assert not script.has("next-0")


# -- and no crash (134, 139)


def test_a_certificate_is_read_wherever_a_server_calls_it_a_bundle_and_the_other_way_round(script):
    """The real one crashed on a bundle that was called a certificate."""
    certificate = script.certificate("ca.crt")
    for body, content_type, name in (
        (cms.build_certs_only([certificate]), "application/x-x509-ca-cert", "new.crt"),
        (certificate.public_bytes(Encoding.DER), "application/x-x509-ca-ra-cert", "new.crt-0"),
    ):
        script.ca.changes["GetCACert"] = lambda _, found=(body, content_type): answer(*found)
        assert script("getca", *script.words("getca")).code == 0
        assert script.certificate(name) == certificate


@pytest.mark.parametrize("body", [b"junk", b"\x30\x00", b""], ids=["text", "asn1", "nothing"])
def test_what_is_called_a_certificate_and_is_none_is_refused(body, script):
    """The real one crashed."""
    script.ca.changes["GetCACert"] = lambda _: answer(body, "application/x-x509-ca-cert")
    assert script("getca", *script.words("getca")).code == 93
    assert not script.has("new.crt")


def test_a_fingerprint_in_every_digest_is_printed(script):
    certificate = script.certificate("ca.crt")
    for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
        said = script("getca", *script.words("getca"), "-F", name)
        digest = Digest(name if name == "md5" else f"sha-{name[3:]}")
        assert (
            f"{name.upper()} fingerprint: {certificate.fingerprint(digest.hash()).hex(':').upper()}\n"
            in said.out
        )
