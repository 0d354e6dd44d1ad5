"""One sscep command as a script sees it: exit code, both streams, files; against a CA on a loopback port."""

from __future__ import annotations

import io
import os
import re
from base64 import b64decode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from issuing import certify

from scepflow.engine import cms
from scepflow.engine.algorithms import Digest
from scepflow.engine.messages import FailInfo
from scepflow.registry import Registry
from scepflow.sscep.algorithms import algorithms_of
from scepflow.sscep.front import run_sscep
from scepflow.sscep.lines import oneline
from scepflow.sscep.mkrequest import make_request
from scepflow.state import StateDirectory
from scepflow.system import System
from scepflow.testca import Authority, Knobs, Responder, replying, serve

REASONS = {
    70: "Unrecognized",
    71: "Integrity check failed",
    72: "Transaction not",
    73: "Message time",
    74: "No cert",
}


@pytest.fixture(scope="session")
def authorities():
    """A CA, and one with an RA, that are valid now."""
    now = datetime.now(UTC) - timedelta(days=1)
    return Authority.create(now=now), Authority.create(now=now, ra=True)


@pytest.fixture(scope="session")
def request_files(tmp_path_factory):
    """A key and its request, as mkrequest makes them."""
    directory = tmp_path_factory.mktemp("request")
    make_request(
        ["-dns", "gw.example.com", "secret"],
        program="mkrequest",
        registry=Registry.discover(),
        environment={},
        directory=directory,
    )
    return directory


@dataclass
class Shell:
    """A folder with a request in it, and a CA to send it to."""

    directory: object
    responder: Responder
    url: str
    slept_s: list[float] = field(default_factory=list)
    asked: int = 0

    def ask(self):
        self.asked += 1
        return "sesame"

    def __call__(self, *arguments):
        """Run a command; gives its exit code and what it printed."""
        stdout, stderr = io.StringIO(), io.StringIO()
        code = run_sscep(
            [str(word) for word in arguments],
            program="sscep",
            environment={},
            registry=Registry.discover(),
            state=StateDirectory(self.directory / "state"),
            system=System(sleep=self.slept_s.append),
            stdout=stdout,
            stderr=stderr,
            ask=self.ask,
        )
        return code, stdout.getvalue(), stderr.getvalue()

    def enroll(self, *more):
        given = ("-c", "ca.crt", "-k", "local.key", "-r", "local.csr", "-l", "local.crt", "-u", self.url)
        return self("enroll", *given, *more)

    @property
    def types(self):
        return [int(request.message_type) for request in self.responder.requests]

    def read(self, name):
        return x509.load_pem_x509_certificate((self.directory / name).read_bytes())


def start(tmp_path, monkeypatch, authority, request_files):
    monkeypatch.chdir(tmp_path)
    for name in ("local.key", "local.csr"):
        (tmp_path / name).write_bytes((request_files / name).read_bytes())
    (tmp_path / "local.key").chmod(0o600)
    return Responder(Authority(authority.ca, ra=authority.ra))


@pytest.fixture
def shell(tmp_path, monkeypatch, authorities, request_files):
    responder = start(tmp_path, monkeypatch, authorities[0], request_files)
    (tmp_path / "ca.crt").write_bytes(authorities[0].ca.certificate.public_bytes(Encoding.PEM))
    with serve(responder) as server:
        yield Shell(tmp_path, responder, server.url)


@pytest.fixture
def ra_shell(tmp_path, monkeypatch, authorities, request_files):
    """A CA with an RA; no certificate is in the folder yet."""
    responder = start(tmp_path, monkeypatch, authorities[1], request_files)
    with serve(responder) as server:
        yield Shell(tmp_path, responder, server.url)


# -- getcaps, getca, getnextca


def test_capabilities_are_printed_in_sscep_s_order_and_unknown_ones_are_named(shell):
    shell.responder.knobs = Knobs(capabilities="SHA-512\nAES\nFrob\n")
    assert shell("getcaps", "-u", shell.url) == (
        0,
        "sscep: scep capabilities: AES, SHA-512\n",
        "sscep: unknown capability Frob\n",
    )


def test_getca_writes_one_certificate_and_prints_its_fingerprint(shell, authorities):
    code, stdout, stderr = shell("getca", "-u", shell.url, "-c", "new.crt", "-F", "sha1")
    printed = authorities[0].ca.certificate.fingerprint(Digest.SHA1.hash()).hex(":").upper()
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == [
        "sscep: requesting CA certificate",
        "sscep: valid response from server",
        f"sscep: SHA1 fingerprint: {printed}",
        "sscep: CA certificate written as new.crt",
    ]
    assert shell.read("new.crt") == authorities[0].ca.certificate


def test_getca_of_a_ca_with_an_ra_writes_numbered_files_that_enroll_and_the_queries_choose_from(ra_shell):
    (ra_shell.directory / "ca.crt-3").write_text("old")
    code, stdout, stderr = ra_shell("getca", "-u", ra_shell.url, "-c", "ca.crt")
    assert code == 0
    assert "sscep: certificate written as ca.crt-1\n" in stdout
    assert "  basic constraints: CA:TRUE" in stdout
    assert stderr == "sscep: ca.crt-3 is older than these, remove it\n"
    assert not (ra_shell.directory / "ca.crt").exists()
    (ra_shell.directory / "ca.crt-3").unlink()
    code, stdout, _ = ra_shell.enroll("-v")
    assert code == 0
    assert "sscep: using RA certificate: " in stdout
    local = ra_shell.read("local.crt")
    words = ("-u", ra_shell.url, "-c", "ca.crt", "-l", "local.crt", "-k", "local.key", "-w", "out.pem")
    assert ra_shell("getcrl", *words)[0] == 0
    assert ra_shell("getcert", *words, "-s", local.serial_number)[0] == 0
    assert ra_shell.read("out.pem") == local


def test_a_single_certificate_of_before_is_in_the_way_of_numbered_ones(ra_shell, authorities):
    """As with sscep it is taken before them; that is said when they are written, and when it has failed."""
    stale = ra_shell.directory / "ca.crt"
    stale.write_bytes(authorities[0].ca.certificate.public_bytes(Encoding.PEM))
    os.utime(stale, (1, 1))
    code, _, stderr = ra_shell("getca", "-u", ra_shell.url, "-c", "ca.crt")
    assert code == 0
    assert stderr == "sscep: ca.crt is older than these and would be taken instead of them, remove it\n"
    code, _, stderr = ra_shell.enroll()
    hint = "sscep: ca.crt was used, which is older than ca.crt-0: remove it to use the numbered ones\n"
    assert (code, stderr.count(hint)) == (97, 1)
    os.utime(ra_shell.directory / "ca.crt-0", (0, 0))
    assert hint not in ra_shell.enroll()[2]
    stale.unlink()
    assert ra_shell.enroll()[0] == 0


def test_an_ra_certificate_alone_is_enough_and_says_that_the_issuer_is_not_verified(ra_shell, authorities):
    ra = authorities[1].ra
    (ra_shell.directory / "ca.crt").write_bytes(ra.signing.certificate.public_bytes(Encoding.PEM))
    (ra_shell.directory / "enc.crt").write_bytes(ra.encryption.certificate.public_bytes(Encoding.PEM))
    code, stdout, _ = ra_shell.enroll("-v", "-e", "enc.crt")
    assert code == 0
    assert "no CA certificate is known" in stdout


@pytest.mark.parametrize(("operation", "code"), [("getca", 1), ("getnextca", 93)])
def test_an_unwritable_file_has_the_code_of_its_operation(operation, code, shell):
    (shell.directory / "dir").mkdir()
    found = shell(operation, "-u", shell.url, "-c", "none/x.crt", "-C", "ca.crt")
    assert found[0] == code
    assert "for writing\n" in found[2]


def test_getnextca_writes_the_next_certificates_and_who_signed(shell, authorities):
    code, stdout, stderr = shell(
        "getnextca", "-u", shell.url, "-c", "next", "-C", "ca.crt", "-w", "signer.crt"
    )
    assert (code, stderr) == (0, "")
    assert "certificate written as next-0" in stdout
    assert shell.read("signer.crt") == authorities[0].ca.certificate


def test_getnextca_writes_the_certificate_that_verified_and_none_that_claims_to_be_it(
    shell, authorities, monkeypatch
):
    """Certificates beside a signature are not signed: anyone can put a namesake before and behind the real one."""
    real = authorities[0].ca
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = certify("x", key, issuer=real, serial_number=real.certificate.serial_number)
    long = x509.SubjectAlternativeName([x509.DNSName("y" * 1000)])
    last = certify("x", key, issuer=real, extensions=[long])
    assert (forged.issuer, forged.serial_number) == (real.certificate.issuer, real.certificate.serial_number)
    handle = shell.responder.handle

    def answer(request):
        found = handle(request)
        if request.operation != "GetNextCACert":
            return found
        content = cms.parse_signed_data(found.body).content
        body = cms.build_signed_data(
            content,
            attributes=[],
            identity=real,
            digest=Digest.SHA256,
            certificates=(forged, real.certificate, last),
        )
        assert [forged, last] == [cms.parse_signed_data(body).certificates()[place] for place in (0, -1)]
        return replace(found, body=body)

    monkeypatch.setattr(shell.responder, "handle", answer)
    words = ("-u", shell.url, "-c", "next", "-C", "ca.crt", "-w", "signer.crt")
    assert shell("getnextca", *words)[0] == 0
    assert shell.read("signer.crt") == real.certificate


# -- enroll


def test_enroll_prints_what_both_generations_print(shell):
    code, stdout, stderr = shell.enroll("-L", "self.crt")
    transaction_id = shell.responder.requests[0].transaction_id
    assert (code, stderr) == (0, "")
    assert stdout.splitlines() == [
        "sscep: selfsigned certificate written as self.crt",
        "sscep: sending certificate request",
        "sscep: valid response from server",
        f"sscep: reply transaction id: {transaction_id}",
        "sscep: pkistatus: SUCCESS",
        "sscep: certificate written as local.crt",
    ]
    assert transaction_id == transaction_id.upper()
    assert f"{shell.read('self.crt').serial_number | 1:X}" == f"{int(transaction_id, 16) | 1:X}"
    assert not list((shell.directory / "state").rglob("*.pem"))


def test_the_certificate_has_the_permissions_that_the_umask_leaves(shell):
    before = os.umask(0o027)
    try:
        assert shell.enroll()[0] == 0
    finally:
        os.umask(before)
    assert (shell.directory / "local.crt").stat().st_mode & 0o777 == 0o640


def test_verbose_tells_the_exchange(shell):
    code, stdout, stderr = shell.enroll("-d")
    assert code == 0
    assert "sscep: starting sscep, version 0.10.0\n" in stdout
    assert f"sscep: connecting to {shell.url.split('/')[2]}\n" in stdout
    assert "server response status code: 200, MIME header: application/x-pki-message\n" in stdout
    assert "sscep: generating selfsigned certificate\n" in stdout
    assert (shell.directory / "local.crt").read_text() in stdout
    assert stderr == ""


@pytest.mark.parametrize(
    ("capabilities", "sizes"),
    [
        ("AES\nSHA-256\nPOSTPKIOperation\n", ["payload size: N bytes"]),
        ("AES\nSHA-256\n", ["applying base64 encoding", "base64 encoded payload size: N bytes"]),
    ],
)
def test_verbose_tells_how_a_message_is_made_in_sscep_s_order(capabilities, sizes, shell):
    shell.responder.knobs = Knobs(capabilities=capabilities)
    _, stdout, _ = shell.enroll("-v")
    lines = re.sub(r"\d+ bytes", "N bytes", stdout).replace("sscep: ", "").splitlines()
    begin = lines.index("successfully encrypted payload")
    assert "payload size: N bytes" not in lines[:begin]
    assert lines[begin : begin + 4 + len(sizes)] == [
        "successfully encrypted payload",
        "envelope size: N bytes",
        "creating outer PKCS#7",
        "PKCS#7 data written successfully",
        *sizes,
    ]


def test_neither_v_nor_d_shows_the_challenge_or_what_was_decrypted(shell):
    """The request that mkrequest makes has the challenge ``secret``; sscep printed it in base64."""
    challenge = b64decode("".join((shell.directory / "local.csr").read_text().splitlines()[1:-1]))
    assert b"secret" in challenge
    _, stdout, _ = shell.enroll("-d")
    assert "not shown: there is a challenge password in it\n" in stdout
    blocks = re.findall(r"-----BEGIN [A-Z0-9 ]+-----\n(.*?)-----END", stdout, re.DOTALL)
    assert len(blocks) == 4  # the envelope, the message around it, the reply, the certificate
    assert not any(b"secret" in b64decode(block) for block in blocks)
    assert "secret" not in stdout


def test_a_request_without_a_challenge_is_shown(shell):
    make_request(
        ["-dns", "gw.example.com"],
        program="mkrequest",
        registry=Registry.discover(),
        environment={},
        directory=shell.directory,
    )
    _, stdout, _ = shell.enroll("-v")
    assert f"request data dump\n{(shell.directory / 'local.csr').read_text()}" in stdout


def test_d_shows_the_requests_as_they_leave_and_the_nonces_that_come(shell):
    _, stdout, _ = shell.enroll("-d")
    host = shell.url.split("/")[2]
    assert f"sscep: scep request:\nGET /scep?operation=GetCACaps HTTP/1.1\nHost: {host}\n\n" in stdout
    assert f"POST /scep?operation=PKIOperation HTTP/1.1\nHost: {host}\nContent-Type: " in stdout
    assert "sscep: scep caps bitmask: 0x" in stdout
    nonce = shell.responder.requests[0].sender_nonce.hex().upper()
    assert f"sscep: recipientNonce in reply: {nonce}\n" in stdout


def issued_by(authority, shell, subject, key=None):
    """Return a certificate of the CA, for the key of local.key if no other is given."""
    key = key or load_pem_private_key((shell.directory / "local.key").read_bytes(), None)
    now = datetime.now(UTC)
    valid = {"begins": now - timedelta(hours=1), "ends": now + timedelta(days=1)}
    return certify(subject, key, issuer=authority.ca, ca=False, **valid)


def test_a_certificate_with_another_subject_is_pointed_out(shell, authorities):
    other = issued_by(authorities[0], shell, "other")
    shell.responder.knobs = Knobs(behave=(replying(lambda reply: replace(reply, certificates=(other,))),))
    code, _, stderr = shell.enroll()
    assert code == 0
    assert stderr == "sscep: Subject of our request does not match that of the returned Certificate!\n"
    assert shell.read("local.crt") == other


def test_a_certificate_for_another_key_is_not_the_one_that_was_requested(shell, authorities):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    stranger = issued_by(authorities[0], shell, "gw.example.com", key)
    shell.responder.knobs = Knobs(behave=(replying(lambda reply: replace(reply, certificates=(stranger,))),))
    code, stdout, stderr = shell.enroll()
    assert code == 93
    assert stdout.endswith("sscep: pkistatus: SUCCESS\n")
    assert stderr.startswith("sscep: cannot find requested certificate\n")
    assert not (shell.directory / "local.crt").exists()


def short_key(shell, name):
    """Write a key of 1024 bits and a request for it, with the subject of local.csr."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    path = shell.directory / f"{name}.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    subject = x509.load_pem_x509_csr((shell.directory / "local.csr").read_bytes()).subject
    builder = x509.CertificateSigningRequestBuilder(subject)
    (shell.directory / f"{name}.csr").write_bytes(
        builder.sign(key, Digest.SHA256.hash()).public_bytes(Encoding.PEM)
    )
    return key


def test_a_device_can_renew_away_from_a_key_of_1024_bits(shell):
    old = short_key(shell, "old")
    warning = f"sscep: the RSA key in {shell.directory}/old.key has 1024 bits, too few to be safe\n"
    assert shell.enroll("-k", "old.key", "-r", "old.csr", "-l", "old.crt")[::2] == (0, warning)
    assert shell.enroll("-K", "old.key", "-O", "old.crt")[::2] == (0, warning)
    assert shell.read("local.crt").public_key() != old.public_key()
    question = ("-u", shell.url, "-c", "ca.crt", "-l", "old.crt", "-k", "old.key", "-w", "out.pem")
    assert shell("getcrl", *question)[::2] == (0, warning)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"pending": 9}, 3),
        ({"reject": FailInfo.BAD_REQUEST}, 72),
        ({"behave": (replying(lambda reply: replace(reply, recipient_nonce=b"0" * 16)),)}, 97),
    ],
)
def test_no_key_of_a_file_is_left_behind_by_a_renewal_that_does_not_end(knobs, expected, shell):
    """Neither the new one nor the old one, which may have had a pass phrase."""
    short_key(shell, "old")
    assert shell.enroll("-k", "old.key", "-r", "old.csr", "-l", "old.crt")[0] == 0
    shell.responder.knobs = Knobs(**knobs)
    assert shell.enroll("-K", "old.key", "-O", "old.crt", "-n", "1")[0] == expected
    kept = [path.read_bytes() for path in (shell.directory / "state").rglob("*") if path.is_file()]
    assert not any(b"PRIVATE KEY" in content for content in kept)


def test_a_renewal_that_brings_the_old_certificate_is_97_after_what_sscep_says_of_the_reply(
    shell, authorities
):
    old = issued_by(authorities[0], shell, "gw.example.com")
    (shell.directory / "old.crt").write_bytes(old.public_bytes(Encoding.PEM))
    shell.responder.knobs = Knobs(
        capabilities="AES\nSHA-256\nPOSTPKIOperation\n",
        behave=(replying(lambda reply: replace(reply, certificates=(old,))),),
    )
    code, stdout, stderr = shell.enroll("-K", "local.key", "-O", "old.crt")
    assert code == 97
    assert stdout.splitlines()[-2].startswith("sscep: reply transaction id: ")
    assert stdout.endswith("sscep: pkistatus: SUCCESS\n")
    assert "sscep: the CA sent the certificate that is being renewed, not a new one\n" in stderr
    assert not (shell.directory / "local.crt").exists()


def test_what_a_key_or_request_is_wrong_with_is_said_without_a_pipeline(shell):
    short_key(shell, "old")
    _, _, stderr = shell.enroll("-k", "old.key")
    assert stderr.endswith("name the key of that request with -k\n")
    _, _, stderr = shell.enroll("-K", "old.key", "-O", "ca.crt")
    assert stderr.endswith("old.key\n")  # fits no certificate in ca.crt
    assert "[" not in stderr


def test_the_waits_are_those_of_t(shell):
    shell.responder.knobs = Knobs(pending=3)
    assert shell.enroll("-t", "7")[0] == 0
    assert shell.slept_s == [7, 7, 7]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("", (None, None)),
        ("SHA-1", (None, "sha-1")),
        ("SHA-1 SHA-256 DES3", (None, "sha-256")),
        ("SCEPStandard", ("aes-128-cbc", "sha-256")),
        ("SHA-512 SHA-256 AES", ("aes-128-cbc", "sha-512")),
        ("SHA-384 AES", ("aes-128-cbc", "sha-384")),
        ("AES SHA-224", ("aes-128-cbc", "sha-224")),
    ],
)
def test_algorithms_follow_the_capabilities(names, expected):
    """Appendix C.2, except that nothing leads to single DES and MD5."""
    assert algorithms_of(frozenset(names.split())) == expected


@pytest.mark.parametrize("cipher", ["des", "3des", "blowfish", "aes", "aes192", "aes256"])
@pytest.mark.parametrize("digest", ["md5", "sha512"])
def test_every_algorithm_works_that_is_typed(cipher, digest, shell):
    assert shell.enroll("-E", cipher, "-S", digest)[0] == 0


def test_the_message_is_written_and_not_sent(shell):
    code, stdout, stderr = shell.enroll("-m", "message.pem", "-S", "sha384")
    assert (code, stderr) == (0, "")
    assert stdout.endswith("sscep: writing PEM fomatted PKCS#7\n")
    assert shell.types == []
    assert (shell.directory / "message.pem").read_text().startswith("-----BEGIN PKCS7-----\n")
    assert not (shell.directory / "local.crt").exists()
    assert not list((shell.directory / "state").rglob("*.pem"))
    assert shell.enroll("-m", "none/message.pem")[0] == 93
    assert shell.enroll("-m", "message.pem", "-l", "none/local.crt")[0] == 0


def test_a_message_that_would_travel_in_an_address_is_written_as_well(shell):
    shell.responder.knobs = Knobs(capabilities="AES\nSHA-256\n")
    assert shell.enroll("-m", "message.pem")[0] == 0
    lines = (shell.directory / "message.pem").read_text().splitlines()
    assert b64decode("".join(lines[1:-1])).startswith(b"\x30\x82")


def test_an_encrypted_key_is_asked_for_once_or_takes_a_source(shell):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string("CN=gw"))
    (shell.directory / "local.csr").write_bytes(
        request.sign(key, Digest.SHA256.hash()).public_bytes(Encoding.PEM)
    )
    (shell.directory / "local.key").write_bytes(sealed)
    assert shell.enroll()[0] == 0
    assert shell.asked == 1
    (shell.directory / "pass").write_text("sesame\n")
    assert shell.enroll("-P", "file:pass")[0] == 0
    code, stdout, stderr = shell.enroll("-P", "pass:hush")
    assert (code, shell.asked) == (93, 1)
    assert "hush" not in stdout + stderr


@pytest.mark.parametrize("answer", [EOFError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ""])
def test_a_pass_phrase_that_is_not_given_is_93(answer, shell):
    (shell.directory / "local.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")

    def ask():
        if isinstance(answer, Exception):
            raise answer
        return answer

    shell.ask = ask
    code, _, stderr = shell.enroll()
    assert code == 93
    assert stderr.startswith("sscep: error while reading private key local.key\n")
    assert "-P" in stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_pass_phrase_is_asked_for_on_the_terminal(shell, monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin", Terminal("not read\n"))
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "wrong")
    (shell.directory / "local.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    shell.ask = None
    assert shell.enroll()[0] == 93
    assert asked == ["Enter PEM pass phrase:"]


def test_monitor_information_is_in_the_query_of_the_messages(shell, monkeypatch):
    urls = []
    handle = shell.responder.handle
    monkeypatch.setattr(
        shell.responder, "handle", lambda request: (urls.append(request.url), handle(request))[1]
    )
    assert shell.enroll("-M", "a=1", "-M", "b=x y")[0] == 0
    caps, message = (url.partition("?")[2] for url in urls)
    assert caps == "operation=GetCACaps"
    assert message == "a=1&b=x%20y&operation=PKIOperation"


# -- files and addresses that are wrong


@pytest.mark.parametrize(("option", "code"), [("-L", 1), ("-l", 93)])
@pytest.mark.parametrize("name", ["none/x.crt", "", "."])
def test_an_output_that_cannot_be_written_is_found_before_anything_is_issued(option, code, name, shell):
    found, _, stderr = shell.enroll(option, name)
    assert found == code
    assert "for writing\n" in stderr
    assert shell.types == []
    assert not list((shell.directory / "state").rglob("*.pem"))


def test_a_certificate_whose_file_cannot_be_written_after_all_is_kept(shell, monkeypatch):
    (shell.directory / "out").mkdir()
    handle = shell.responder.handle

    def answer(request):
        if request.operation == "PKIOperation":
            (shell.directory / "out").rmdir()
        return handle(request)

    monkeypatch.setattr(shell.responder, "handle", answer)
    code, _, stderr = shell.enroll("-l", "out/local.crt")
    assert code == 93
    assert stderr.startswith("sscep: cannot open cert file for writing\n")
    kept = stderr.rpartition("the certificate is kept as ")[2].strip()
    assert "BEGIN CERTIFICATE" in Path(kept).read_text()


def test_the_certificate_goes_through_a_link_and_to_a_device(shell):
    (shell.directory / "link.crt").symlink_to("real.crt")
    assert shell.enroll("-l", "link.crt")[0] == 0
    assert (shell.directory / "link.crt").is_symlink()
    assert shell.read("real.crt")
    assert shell.enroll("-l", "/dev/null")[0] == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("-e none", "cannot read enc CA cert (-e) file none\n"),
        ("-O none -K local.key", "cannot read renewal cert (-O) none\n"),
        ("-O local.csr -K local.key", "cannot read renewal cert (-O) local.csr\n"),
        ("-O ca.crt -K none", "cannot open private key file none\n"),
        ("-k none", "cannot open private key file none\n"),
        ("-k ca.crt", "error while reading private key ca.crt\n"),
        ("-r none", "cannot open certificate request\n"),
        ("-r ca.crt", "error while reading request file\n"),
    ],
)
def test_an_input_that_cannot_be_read_is_93_in_sscep_s_words(words, complaint, shell):
    code, _, stderr = shell.enroll(*words.split())
    assert code == 93
    assert stderr.startswith(f"sscep: {complaint}")
    assert shell.types == []


def test_a_server_that_is_down_is_95_and_w_tries_again_for_as_long_as_it_says(shell):
    code, _, stderr = shell("getcaps", "-u", "http://127.0.0.1:1/x", "-W", "4")
    assert code == 95
    assert stderr.endswith("sscep: error while sending message\n")
    assert shell.slept_s == [1, 2, 1]


def test_a_proxy_is_asked_and_not_the_server(shell):
    proxy = shell.url.split("/")[2]
    assert shell("getca", "-u", "http://pki.invalid/scep", "-p", proxy, "-c", "new.crt")[0] == 0
    assert shell("getcaps", "-u", "http://pki.invalid/scep", "-p", "127.0.0.1:1")[0] == 95


def test_a_proxy_is_given_its_login_which_is_never_shown(shell, monkeypatch):
    logins = []
    handle = shell.responder.handle
    monkeypatch.setattr(
        shell.responder,
        "handle",
        lambda request: (logins.append(request.headers["proxy-authorization"]), handle(request))[1],
    )
    place = shell.url.split("/")[2]
    words = ("-u", "http://pki.invalid/scep", "-p", f"http://me:s3%3Acret@{place}", "-c", "new.crt")
    code, stdout, stderr = shell("getca", *words, "-d")
    assert code == 0
    assert {b64decode(login.partition(" ")[2]) for login in logins} == {b"me:s3:cret"}
    assert "cret" not in stdout + stderr


def test_usage_and_a_missing_option(shell):
    assert shell()[0] == 0
    assert shell("enroll") == (1, "", "sscep: missing CA certificate (-c)\n")


# -- getcert, getcrl


@pytest.fixture
def question(shell):
    assert shell.enroll()[0] == 0
    shell.responder.requests.clear()
    return ("-u", shell.url, "-c", "ca.crt", "-l", "local.crt", "-k", "local.key", "-w", "out.pem")


def test_getcert_takes_its_issuer_from_big_o(shell, question):
    serial = shell.read("local.crt").serial_number
    code, stdout, _ = shell("getcert", *question, "-s", serial, "-O", "ca.crt", "-v")
    assert code == 0
    assert "  subject: /CN=gw.example.com\n" in stdout
    assert shell.responder.requests[-1].transaction_id == "SSCEP transactionId"


def test_a_serial_number_that_the_ca_does_not_know_is_74(shell, question):
    code, stdout, _ = shell("getcert", *question, "-s", "12345")
    assert code == 74
    assert stdout.splitlines()[1:4] == [
        "sscep: valid response from server",
        "sscep: reply transaction id: SSCEP transactionId",
        "sscep: pkistatus: FAILURE",
    ]


def test_getcrl_covers_the_certificate_of_big_o(shell, question):
    assert shell("getcrl", *question, "-O", "local.crt")[0] == 0
    x509.load_pem_x509_crl((shell.directory / "out.pem").read_bytes())


@pytest.mark.parametrize(
    ("operation", "complaint"),
    [("getcert", "cannot find certificate"), ("getcrl", "cannot find CRL in reply")],
)
def test_an_answer_without_what_was_asked_for_is_93(operation, complaint, shell, question):
    shell.responder.knobs = Knobs(
        behave=(replying(lambda reply: replace(reply, certificates=(), crls_der=())),)
    )
    more = ("-s", shell.read("local.crt").serial_number) if operation == "getcert" else ()
    code, stdout, stderr = shell(operation, *question, *more)
    assert code == 93
    assert stdout.endswith("sscep: pkistatus: SUCCESS\n")
    assert stderr.startswith(f"sscep: {complaint}\n")
    assert not (shell.directory / "out.pem").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("getcert -s 1", "cannot open cert file for writing\n"),
        ("getcrl", "cannot open CRL file for writing\n"),
    ],
)
def test_a_question_is_not_asked_when_its_answer_cannot_be_written(words, complaint, shell, question):
    operation, *more = words.split()
    code, _, stderr = shell(operation, *question, *more, "-w", "none/out.pem")
    assert code == 93
    assert stderr.startswith(f"sscep: {complaint}")
    assert shell.types == []


@pytest.mark.parametrize("operation", ["getcert", "getcrl"])
def test_the_certificate_that_signs_a_question_is_looked_at_first(operation, shell, question):
    (shell.directory / "ca.crt").unlink()
    code, _, stderr = shell(operation, *question, "-s", "1", "-l", "none")
    assert (code, stderr.splitlines()[0]) == (93, "sscep: cannot read local cert (-l) none")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("getcrl", "requesting crl for our own certificate and issuer "),
        ("getcrl -s 7", "requesting crl for serial number 7 and issuer "),
        ("getcert -s 7", "requesting certificate with serial number 7 and issuer "),
    ],
)
def test_verbose_tells_what_is_asked(words, line, shell, question, authorities):
    operation, *more = words.split()
    _, stdout, _ = shell(operation, *question, *more, "-v")
    assert f"sscep: {line}{oneline(authorities[0].ca.certificate.subject)}\n" in stdout


# -- answers of another type


@pytest.mark.parametrize(
    ("operation", "wire"),
    [("getca", "GetCACert"), ("getnextca", "GetNextCACert"), ("enroll", "PKIOperation")],
)
def test_a_page_that_is_no_scep_is_95(operation, wire, shell, monkeypatch):
    handle = shell.responder.handle

    def answer(request):
        found = handle(request)
        page = replace(found, body=b"<html>", headers={"content-type": "text/html"})
        return page if request.operation == wire else found

    monkeypatch.setattr(shell.responder, "handle", answer)
    words = ("-u", shell.url, "-c", "next", "-C", "ca.crt", "-v")
    code, stdout, stderr = shell.enroll() if operation == "enroll" else shell(operation, *words)
    assert code == 95
    assert stderr.startswith("sscep: wrong (or missing) MIME content type\n")
    assert "sscep: error while sending message\n" in stderr
    assert ("getnextCA might be not available" in stderr) == (operation == "getnextca")
    assert "valid response" not in stdout


def test_a_verified_reply_counts_whatever_its_type(shell, monkeypatch):
    handle = shell.responder.handle
    monkeypatch.setattr(
        shell.responder,
        "handle",
        lambda request: replace(handle(request), headers={"content-type": "text/plain"}),
    )
    code, stdout, _ = shell.enroll()
    assert code == 0
    assert stdout.count("sscep: valid response from server\n") == 1


def test_a_ca_certificate_that_is_none_is_93(shell, monkeypatch):
    handle = shell.responder.handle
    monkeypatch.setattr(shell.responder, "handle", lambda request: replace(handle(request), body=b"0\x00"))
    code, _, stderr = shell("getca", "-u", shell.url, "-c", "new.crt")
    assert code == 93
    assert stderr.startswith("sscep: error reading PKCS#7 data\n")


def test_a_pipeline_that_cannot_be_is_1(shell):
    """Validation refuses what would overwrite the key."""
    code, _, stderr = shell.enroll("-l", "local.key")
    assert code == 1
    assert "local.key" in stderr
