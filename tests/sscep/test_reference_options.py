"""Appendix B of sscep's reference: what each operation must be given, reads, sends and writes."""

import pytest
from reference_fixtures import NEEDED, new_key, new_request

MISSING = {
    "-u": "missing URL (-u)",
    "-c": "missing CA certificate (-c)",
    "-C": "missing nextCA certificate chain filename (-C)",
    "-k": "missing private key (-k)",
    "-r": "missing request (-r)",
    "-l": "missing local cert (-l)",
    "-s": "missing serial no (-s)",
    "-w": "missing cert file (-w)",
    ("getca", "-c"): "missing CA certificate filename (-c)",
    ("getcrl", "-w"): "missing crl file (-w)",
}
"""Option → what sscep says without it, for any operation or for one."""

REQUIRED = [(operation, option) for operation, needed in NEEDED.items() for option in needed.split()]
ASKING = ("getcert", "getcrl")


def complaint(operation, option):
    return f"sscep: {MISSING.get((operation, option), MISSING[option])}\n"


# -- what must be given


@pytest.mark.parametrize(("operation", "option"), REQUIRED)
def test_a_missing_option_is_named_and_nothing_is_sent_or_written(operation, option, script):
    before = script.files()
    said = script(operation, *script.words(operation, without=(option,)))
    assert said == (1, "", complaint(operation, option))
    assert script.ca.seen == []
    assert script.files() == before


@pytest.mark.parametrize(("operation", "option"), REQUIRED)
def test_of_several_missing_options_the_first_in_sscep_s_order_is_named(operation, option, script):
    order = NEEDED[operation].split()
    without = tuple(order[order.index(option) :])
    assert script(operation, *script.words(operation, without=without)).err == complaint(operation, option)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("-u ftp://h/", "illegal URL ftp://h/"),
        ("-u http://", "illegal URL http://"),
        ("-u http://127.0.0.1:0/x", "illegal port number 0"),
        ("-u http://127.0.0.1:65551/x", "illegal port number 65551"),
        ("-u http://127.0.0.1:/x", "illegal port number 0"),
        ("-E rc4", "unsupported algorithm: rc4"),
        ("-E AES", "unsupported algorithm: AES"),
        ("-S SHA256", "unsupported algorithm: SHA256"),
        ("-S sha", "unsupported algorithm: sha"),
        ("-F sha-256", "unsupported algorithm: sha-256"),
    ],
)
@pytest.mark.parametrize("operation", NEEDED)
def test_a_value_that_cannot_be_used_is_named_and_nothing_is_sent(operation, words, complaint, script):
    """The real one asked for the capabilities before it looked at algorithms."""
    said = script(operation, *script.words(operation), *words.split())
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[0] == f"sscep: {complaint}"
    assert script.ca.seen == []


# -- what is sent, and what is written


@pytest.mark.parametrize(
    ("operation", "more", "sent", "written"),
    [
        ("getcaps", "", "GetCACaps", ""),
        ("getca", "", "GetCACaps GetCACert", "new.crt"),
        # The present CA is asked for as well: who signs may be below what -C has.
        ("getnextca", "", "GetCACaps GetCACert GetNextCACert", "next-0"),
        ("getnextca", "-w signer.crt", "GetCACaps GetCACert GetNextCACert", "next-0 signer.crt"),
        ("enroll", "", "GetCACaps 19", "local.crt"),
        ("enroll", "-L self.crt", "GetCACaps 19", "local.crt self.crt"),
        ("getcert", "", "GetCACaps 21", "out.pem"),
        ("getcrl", "", "GetCACaps 22", "out.pem"),
    ],
)
def test_an_operation_sends_and_writes_what_sscep_does(operation, more, sent, written, script):
    if operation in ASKING:
        script.enrolled()
    before = script.files()
    said = script(operation, *script.words(operation), *more.split())
    assert (said.code, said.err) == (0, "")
    assert script.ca.operations == sent.split()
    assert script.files() - before == set(written.split())


def test_a_pending_enrollment_sends_one_poll_for_each_pending(start, plain_authority):
    script = start(plain_authority, pending=2)
    script.write("ca.crt", plain_authority.ca.certificate)
    assert script.enroll("-t", "0").code == 0
    assert script.ca.operations == ["GetCACaps", "19", "20", "20"]


def test_the_certificates_of_an_ra_are_numbered_and_enough_for_every_operation(ra_script):
    script = ra_script
    before = script.files()
    assert script("getca", "-u", script.url, "-c", "ca.crt").code == 0
    assert script.files() - before == {"ca.crt-0", "ca.crt-1", "ca.crt-2"}
    assert script.enroll().code == 0
    assert script.ask("getcert").code == 0
    assert script.certificate("out.pem") == script.certificate("local.crt")
    assert script.ask("getcrl").code == 0
    assert script.crl("out.pem").issuer == script.certificate("local.crt").issuer


def test_the_signer_is_written_before_anything_is_sent_and_the_certificate_at_the_end(script):
    there = []

    def look(response):
        there.append([script.has(name) for name in ("self.crt", "local.crt")])
        return response

    script.ca.changes["PKIOperation"] = look
    assert script.enroll("-L", "self.crt").code == 0
    assert there == [[True, False]]
    assert script.has("local.crt")


# -- what is read


def renew(script):
    """Make what a renewal reads: the old pair, and a new key with its request."""
    script.enrolled()
    (script.folder / "local.key").rename(script.folder / "old.key")
    (script.folder / "local.crt").rename(script.folder / "old.crt")
    key = new_key()
    script.write("local.key", key)
    script.write("local.csr", new_request(key))


RENEWAL = ("-K", "old.key", "-O", "old.crt")
READ = [
    ("enroll", "ca.crt", "cannot read CA cert (-c) file ca.crt"),
    ("enroll", "enc.crt", "cannot read enc CA cert (-e) file enc.crt"),
    ("enroll", "local.key", "local.key"),
    ("enroll", "old.key", "old.key"),
    ("enroll", "old.crt", "old.crt"),
    ("enroll", "local.csr", "local.csr"),
    ("getcert", "local.crt", "local.crt"),
    ("getcert", "ca.crt", "cannot read CA cert (-c) file ca.crt"),
    ("getcert", "enc.crt", "cannot read enc CA cert (-e) file enc.crt"),
    ("getcert", "local.key", "local.key"),
    ("getcert", "old.crt", "cannot read renewal cert (-O) old.crt"),
    ("getcrl", "local.crt", "local.crt"),
    ("getcrl", "ca.crt", "cannot read CA cert (-c) file ca.crt"),
    ("getcrl", "enc.crt", "cannot read enc CA cert (-e) file enc.crt"),
    ("getcrl", "local.key", "local.key"),
    ("getcrl", "old.crt", "cannot read renewal cert (-O) old.crt"),
    ("getnextca", "ca.crt", "ca.crt"),
]
"""Operation, a file that it reads, and what it says without it."""


@pytest.fixture
def full(script):
    """A folder in which every file is there that an option can name."""

    def full(operation):
        if operation == "enroll":
            renew(script)
            return (*script.words(operation), "-e", "enc.crt", *RENEWAL)
        certificate = script.enrolled()
        script.write("old.crt", script.certificate("ca.crt") if operation == "getcert" else certificate)
        return (
            *script.words(operation),
            *(("-e", "enc.crt", "-O", "old.crt") if operation in ASKING else ()),
        )

    script.write("enc.crt", script.certificate("ca.crt"))
    return full


@pytest.mark.parametrize("operation", ["enroll", "getcert", "getcrl", "getnextca"])
def test_with_every_file_an_operation_succeeds(operation, full, script):
    said = script(operation, *full(operation))
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("spoilt", [False, True], ids=["missing", "no-pem"])
@pytest.mark.parametrize(("operation", "name", "complaint"), READ)
def test_a_file_that_cannot_be_read_is_93_and_no_message_is_sent(
    operation, name, complaint, spoilt, full, script
):
    words = full(operation)
    (script.folder / name).unlink()
    if spoilt:
        script.write(name, b"-----BEGIN NONSENSE-----\n")
    before = script.files()
    said = script(operation, *words)
    assert said.code == 93
    assert complaint in said.err
    assert said.err.startswith("sscep: ")
    assert script.ca.types == []
    assert script.files() == before


@pytest.mark.parametrize(
    ("operation", "more"),
    [("enroll", ("-K", "old.key")), ("enroll", ("-O", "old.crt")), ("getcert", ("-K", "old.key"))],
)
def test_half_a_renewal_is_93(operation, more, full, script):
    words = [word for word in full(operation) if word not in RENEWAL]
    said = script(operation, *words, *more)
    assert said == (93, "", "sscep: -O also requires -K (and vice-versa)\n")
    assert script.ca.seen == []
