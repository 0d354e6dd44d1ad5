"""One sscep command as a script sees it: exit code, both streams, files; against a CA on a loopback port."""

from __future__ import annotations

import io
from base64 import b64decode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from scepflow.engine.algorithms import Digest
from scepflow.engine.messages import FailInfo, PkiStatus
from scepflow.registry import Registry
from scepflow.runner import System
from scepflow.sscep.front import algorithms_of, run_sscep
from scepflow.sscep.mkrequest import make_request
from scepflow.state import StateDirectory
from scepflow.testca import Authority, Knobs, Responder, serve

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
    code, stdout, _ = ra_shell.enroll("-v")
    assert code == 0
    assert "sscep: using RA certificate: " in stdout
    local = ra_shell.read("local.crt")
    words = ("-u", ra_shell.url, "-c", "ca.crt", "-l", "local.crt", "-k", "local.key", "-w", "out.pem")
    assert ra_shell("getcrl", *words)[0] == 0
    assert ra_shell("getcert", *words, "-s", local.serial_number)[0] == 0
    assert ra_shell.read("out.pem") == local


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


def test_getnextca_signed_by_another_ca_is_97(shell, authorities):
    (shell.directory / "root.crt").write_bytes(authorities[1].ca.certificate.public_bytes(Encoding.PEM))
    assert shell("getnextca", "-u", shell.url, "-c", "next", "-C", "root.crt")[0] == 97
    assert not (shell.directory / "next-0").exists()


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


def test_the_certificate_has_the_permissions_that_the_umask_leaves(shell, monkeypatch):
    monkeypatch.setattr("scepflow.sscep.front.umask", lambda: 0o027)
    assert shell.enroll()[0] == 0
    assert (shell.directory / "local.crt").stat().st_mode & 0o777 == 0o640


def test_verbose_tells_the_exchange(shell):
    code, stdout, stderr = shell.enroll("-d")
    assert code == 0
    assert "sscep: starting sscep, version 0.10.0\n" in stdout
    assert f"sscep: connecting to {shell.url.split('/')[2]}\n" in stdout
    assert "server response status code: 200, MIME header: application/x-pki-message\n" in stdout
    assert "sscep: generating selfsigned certificate\n" in stdout
    assert stderr == ""


@pytest.mark.parametrize(
    ("words", "types", "code"),
    [
        ("-t 1 -n 2", [19, 20, 20], 3),
        ("-t 1 -T 2", [19, 20], 3),
        ("-t 1 -T 1", [19], 3),
        ("-n 0", [19], 3),
        ("-t 0 -n 3", [19, 20, 20, 20], 3),
        ("-R -t 1 -T 3", [20, 20], 3),
        ("-R -n 1", [20], 3),
        ("-R -n 2", [20, 20], 3),
        ("-R -n 0", [], 0),
    ],
)
def test_a_pending_request_is_polled_as_often_as_sscep_polls(words, types, code, shell):
    """Appendix C.8."""
    shell.responder.knobs = Knobs(pending=99)
    if "-R" in words:
        assert shell.enroll("-n", "0")[0] == 3
        shell.responder.requests.clear()
    found, stdout, _ = shell.enroll(*words.split())
    assert (found, shell.types) == (code, types)
    assert stdout.count("pkistatus: PENDING") == len(types)
    assert [f"requesting certificate (#{n + 1})" in stdout for n in range(types.count(20))] == [
        True
    ] * types.count(20)


def test_the_waits_are_those_of_t(shell):
    shell.responder.knobs = Knobs(pending=3)
    assert shell.enroll("-t", "7")[0] == 0
    assert shell.slept_s == [7, 7, 7]


@pytest.mark.parametrize("fail_info", list(FailInfo))
def test_a_rejection_is_70_and_failinfo_with_its_reason(fail_info, shell):
    shell.responder.knobs = Knobs(reject=fail_info)
    code, stdout, _ = shell.enroll()
    assert code == 70 + fail_info
    assert f"sscep: pkistatus: FAILURE\nsscep: reason: {REASONS[code]}" in stdout
    assert not (shell.directory / "local.crt").exists()


MUTATIONS = {
    "recipient-nonce": (lambda reply: replace(reply, recipient_nonce=b"x" * 16), 97),
    "sender-nonce-missing": (lambda reply: replace(reply, sender_nonce=None), 0),
    "transaction-id-prefix": (lambda reply: replace(reply, transaction_id=reply.transaction_id[:4]), 97),
    "transaction-id": (lambda reply: replace(reply, transaction_id="OTHER"), 97),
    "failure-5": (lambda reply: replace(reply, pki_status=PkiStatus.FAILURE, fail_info=5), 97),
    "failure-without-reason": (lambda reply: replace(reply, pki_status=PkiStatus.FAILURE), 97),
    "no-certificate": (lambda reply: replace(reply, certificates=()), 97),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_reply_that_is_not_right_has_the_code_of_a_client_that_checks(name, shell):
    """Appendix C.9, as far as a signed reply can be altered."""
    alter, expected = MUTATIONS[name]
    shell.responder.knobs = Knobs(alter=alter)
    code, _, _ = shell.enroll()
    assert code == expected
    assert (shell.directory / "local.crt").exists() == (expected == 0)


@pytest.mark.parametrize("body", [b"", b"\x30\x00", b"<html>", b"\x30\x80" * 40])
def test_a_reply_that_is_no_message_is_97(body, shell, monkeypatch):
    handle = shell.responder.handle

    def answer(request):
        found = handle(request)
        return replace(found, body=body) if request.operation == "PKIOperation" else found

    monkeypatch.setattr(shell.responder, "handle", answer)
    assert shell.enroll()[0] == 97


def test_a_reply_of_another_ca_is_97(shell, authorities):
    (shell.directory / "ca.crt").write_bytes(authorities[1].ca.certificate.public_bytes(Encoding.PEM))
    assert shell.enroll()[0] == 97


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


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("ca.crt", "cannot read CA cert (-c) file ca.crt"),
        ("local.key", "local.key"),
        ("local.csr", "local.csr"),
    ],
)
def test_a_file_that_is_missing_is_93(name, complaint, shell):
    (shell.directory / name).unlink()
    code, _, stderr = shell.enroll()
    assert code == 93
    assert complaint in stderr
    assert shell.types == []


def test_outputs_that_cannot_be_written(shell):
    assert shell.enroll("-L", "none/self.crt")[0] == 1
    assert shell.types == []
    code, _, stderr = shell.enroll("-l", "none/local.crt")
    assert code == 93
    assert "sscep: cannot open cert file for writing\n" in stderr
    assert "the certificate is kept in " in stderr


def test_e_and_big_o_that_cannot_be_read_are_93(shell):
    assert "(-e) file none" in shell.enroll("-e", "none")[2]
    words = ("-u", shell.url, "-c", "ca.crt", "-l", "ca.crt", "-k", "local.key", "-w", "x", "-O", "none")
    assert shell("getcrl", *words)[::2] == (93, "sscep: cannot read renewal cert (-O) none\n")


def test_a_server_that_is_down_is_95_and_w_tries_again_for_as_long_as_it_says(shell):
    code, _, stderr = shell("getcaps", "-u", "http://127.0.0.1:1/x", "-W", "4")
    assert code == 95
    assert stderr.endswith("sscep: error while sending message\n")
    assert shell.slept_s == [1, 2, 1]


def test_a_proxy_is_asked_and_not_the_server(shell):
    proxy = shell.url.split("/")[2]
    assert shell("getca", "-u", "http://pki.invalid/scep", "-p", proxy, "-c", "new.crt")[0] == 0
    assert shell("getcaps", "-u", "http://pki.invalid/scep", "-p", "127.0.0.1:1")[0] == 95


def test_an_engine_is_refused_with_the_way_out(shell):
    code, _, stderr = shell.enroll("-g", "pkcs11")
    assert code == 1
    assert "scepflow plugins" in stderr


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


def test_a_question_that_is_pending_is_3(shell, question):
    shell.responder.knobs = Knobs(alter=lambda reply: replace(reply, pki_status=PkiStatus.PENDING))
    code, stdout, _ = shell("getcrl", *question)
    assert code == 3
    assert stdout.endswith("pkistatus: PENDING\n")
