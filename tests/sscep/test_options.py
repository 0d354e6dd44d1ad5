import re
from collections import Counter

import pytest

from scepflow.sscep.options import address_lines, opening_lines, parse_arguments, parse_serial
from scepflow.sscep.settings import Engine, Operation, SscepExit

URL = "http://pki.example.com/scep"
NEEDED = {
    "getcaps": "-u",
    "getca": "-c -u",
    "getnextca": "-c -C -u",
    "enroll": "-c -k -r -l -u",
    "getcert": "-c -l -s -w -k -u",
    "getcrl": "-c -l -w -k -u",
}
VALUES = {"-u": URL, "-s": "7"}


def complete(operation, *more, without=()):
    """A command line that has all the operation needs."""
    words = [operation]
    for option in NEEDED[operation].split():
        if option not in without:
            words += [option, VALUES.get(option, f"file{option}")]
    return [*words, *more]


def parse(*arguments, **options):
    return parse_arguments(arguments, program="sscep", **options)


def ended(*arguments, **options):
    with pytest.raises(SscepExit) as caught:
        parse(*arguments, **options)
    return caught.value


# -- operations and usage


@pytest.mark.parametrize(
    ("word", "operation"),
    [
        ("getca", "getca"),
        ("getcafoo", "getca"),
        ("getcaps", "getcaps"),
        ("getcapsx", "getcaps"),
        ("getnextca", "getnextca"),
        ("enroll", "enroll"),
        ("enrollment", "enroll"),
        ("getcert", "getcert"),
        ("getcertificate", "getcert"),
        ("getcrl", "getcrl"),
        ("getcrls", "getcrl"),
    ],
)
def test_an_operation_is_known_by_its_prefix(word, operation):
    assert parse(word, *complete(operation)[1:]).operation is Operation(operation)


def test_no_operation_prints_the_usage_and_succeeds():
    end = ended()
    assert end.code == 0
    assert end.stderr_lines == ()
    assert end.stdout_lines[:4] == ("", "sscep version 0.10.0", "", "Usage: sscep OPERATION [OPTIONS]")


@pytest.mark.parametrize("word", ["-u", "get", "GETCA", "", "enrolx", "--help"])
def test_another_word_is_an_illegal_operation(word):
    end = ended(word, "-u", URL)
    assert end.code == 0
    assert end.stderr_lines == ("sscep: missing or illegal operation parameter",)
    assert "Usage: sscep OPERATION [OPTIONS]" in end.stdout_lines


def test_the_usage_has_a_line_in_column_20_for_each_option_but_the_idle_ones():
    lines = [line for line in ended().stdout_lines if re.match(r"  -", line)]
    assert all(re.match(r"  -\w( <[a-z:]+>)? +\S", line) and line[19] == " " != line[20] for line in lines)
    assert {line[3] for line in lines} == set("upfcESWMmgPvdiFCwkrlKOeLtTnRs")
    assert Counter(line for line in ended().stdout_lines if line.startswith("OPTIONS")).keys() == {
        f"OPTIONS for OPERATION {operation} are" for operation in NEEDED if operation != "getcaps"
    }


# -- getopt


@pytest.mark.parametrize(
    ("words", "message", "argv"),
    [
        (["-Z"], "invalid option -- 'Z'", "(null)"),
        (["-Z", "next"], "invalid option -- 'Z'", "next"),
        (["-vZ", "next"], "invalid option -- 'Z'", "next"),
        (["-Zv", "next"], "invalid option -- 'Z'", "-Zv"),
        (["--verbose"], "invalid option -- '-'", "--verbose"),
        (["-:"], "invalid option -- ':'", "(null)"),
        (["-u"], "option requires an argument -- 'u'", "(null)"),
        (["operand", "-v", "-vu"], "option requires an argument -- 'u'", "(null)"),
    ],
)
def test_a_wrong_option_prints_getopts_line_and_the_usage_and_succeeds(words, message, argv):
    end = ended("getca", *words)
    assert end.code == 0
    assert end.stderr_lines == (f"sscep: {message}",)
    assert end.stdout_lines[0] == f"argv: {argv}"
    assert end.stdout_lines[1:] == ended().stdout_lines


@pytest.mark.parametrize(
    "words",
    [
        ["-u", URL, "-c", "ca.crt", "-v"],
        [f"-u{URL}", "-cca.crt", "-v"],
        ["-vu", URL, "-vcca.crt"],
        ["operand", "-v", "-", "-u", URL, "another", "-c", "ca.crt", "last"],
        ["-vhHc", "ca.crt", "-u", URL, "--", "-Z"],
        ["-c", "old", "-u", "old", "-v", "-u", URL, "-c", "ca.crt"],
    ],
)
def test_options_are_read_as_getopt_reads_them(words):
    settings = parse("getca", *words)
    assert (settings.url, settings.ca_file, settings.verbose, settings.debug) == (URL, "ca.crt", True, False)


def test_a_value_may_look_like_an_option():
    assert parse("getca", "-u", URL, "-c", "--", "-i", "-v").ca_file == "--"
    assert parse("getca", "-u", URL, "-c", "--", "-i", "-v").identifier == "-v"
    assert not parse("getca", "-u", URL, "-c", "--", "-i", "-v").verbose


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("-p", "proxy"),
        ("-c", "ca_file"),
        ("-C", "chain_root"),
        ("-e", "encryption_file"),
        ("-i", "identifier"),
        ("-k", "key"),
        ("-r", "request"),
        ("-l", "local_certificate"),
        ("-L", "signer_output"),
        ("-w", "output"),
        ("-M", "monitor"),
        ("-m", "message_file"),
    ],
)
@pytest.mark.parametrize("value", ["x y", ""])
def test_a_text_option_arrives_as_it_is(option, field, value):
    assert getattr(parse(*complete("enroll", option, value)), field) == value


def test_an_identifier_that_is_not_given_is_not_an_empty_one():
    assert parse(*complete("getca")).identifier is None
    assert parse(*complete("getca", "-i", "")).identifier == ""


def test_monitor_strings_are_joined():
    assert parse(*complete("getca", "-M", "a=1", "-Mb=2")).monitor == "a=1&b=2"


def test_debug_means_verbose():
    settings = parse(*complete("getca", "-d"))
    assert settings.debug
    assert settings.verbose


def test_resume_and_engine():
    settings = parse(*complete("enroll", "-R", "-g", "pkcs11"))
    assert settings.resume
    assert settings.engine == Engine(id="pkcs11")
    assert not parse(*complete("enroll")).resume
    assert parse(*complete("enroll")).engine is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", 10),
        ("5s", 5),
        ("x", 0),
        ("", 0),
        (" \t+7", 7),
        ("-1", -1),
        ("- 1", 0),
        ("99999999999", 2**31 - 1),
        ("٣", 0),
    ],
)
@pytest.mark.parametrize(
    ("option", "field"),
    [("-t", "poll_interval_s"), ("-T", "max_poll_s"), ("-n", "max_polls"), ("-W", "wait_s")],
)
def test_numbers_are_read_as_atoi_reads_them(option, field, text, number):
    assert getattr(parse(*complete("enroll", option, text)), field) == number


def test_polling_has_sscep_s_defaults():
    settings = parse(*complete("enroll"))
    assert (settings.poll_interval_s, settings.max_poll_s, settings.max_polls) == (300, 28800, 256)
    assert settings.wait_s == 0


# -- what must be there (each option: test_reference_options.py)


def test_what_is_missing_may_be_left_out_when_asked_for():
    settings = parse("enroll", "-c", "ca.crt", complete=False)
    assert (settings.ca_file, settings.url, settings.key) == ("ca.crt", None, None)


def test_an_empty_value_is_a_value():
    assert parse(*complete("enroll", "-k", "")).key == ""


# -- addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://h/x",
        "https://h/x",
        "HTTP://h/x",
        "http://h:8080/x",
        "http://[::1]:8080/x",
        "http://[::1]/x",
        "http://h",
        "http://h/certsrv/mscep.dll?",
        "http://h:65535/",
    ],
)
def test_http_and_https_addresses_are_taken(url):
    assert parse("getcaps", "-u", url).url == url


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://h/", "http://", "http:/h", "http://h/#x", "http://h /x", "http://[::1/scep", "http://["],
)
def test_another_address_is_illegal(url):
    end = ended("getcaps", "-u", url)
    assert end.code == 1
    assert end.stderr_lines[0] == f"sscep: illegal URL {url}"


def test_an_illegal_address_does_not_show_its_password():
    end = ended("getcaps", "-u", "http://me:hunter2@h/x")
    assert end.code == 1
    assert end.stderr_lines[0] == "sscep: illegal URL http://…@h/x"
    assert "hunter2" not in str(end)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://h:0/x", 0),
        ("http://h:/x", 0),
        ("http://h:x/x", 0),
        ("http://h:65536/x", 65536),
        ("http://h:-1", -1),
        ("http://[::1]:0/x", 0),
    ],
)
def test_an_illegal_port_is_named(url, port):
    end = ended("getcaps", "-u", url)
    assert (end.code, end.stderr_lines) == (1, (f"sscep: illegal port number {port}",))


# -- algorithms (reference: -E spellings)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("des", "des-cbc"),
        ("des3", "des-cbc"),
        ("des-ede3-cbc", "des-cbc"),
        ("des-cbc", "des-cbc"),
        ("3des", "3des-cbc"),
        ("blowfish", "blowfish-cbc"),
        ("aes", "aes-128-cbc"),
        ("aes128", "aes-128-cbc"),
        ("aes-256-cbc", "aes-128-cbc"),
        ("aes192", "aes-192-cbc"),
        ("aes256", "aes-256-cbc"),
    ],
)
def test_a_cipher_is_what_sscep_makes_of_its_name(spelling, name):
    assert parse(*complete("enroll", "-E", spelling)).cipher == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("md5", "md5"),
        ("sha1", "sha-1"),
        ("sha1foo", "sha-1"),
        ("sha224", "sha-224"),
        ("sha256", "sha-256"),
        ("sha384", "sha-384"),
        ("sha512", "sha-512"),
    ],
)
def test_a_digest_is_what_sscep_makes_of_its_name(spelling, name):
    settings = parse(*complete("getca", "-S", spelling, "-F", spelling))
    assert (settings.digest, settings.fingerprint_digest) == (name, name)


@pytest.mark.parametrize(
    ("option", "spelling"),
    [("-E", "AES"), ("-E", ""), ("-E", "rc4"), *(("-S", s) for s in ("SHA256", "sha", "sha-256", "MD5"))],
)
@pytest.mark.parametrize("operation", NEEDED)
def test_another_algorithm_is_unsupported(operation, option, spelling):
    end = ended(*complete(operation, option, spelling))
    assert (end.code, end.stderr_lines) == (1, (f"sscep: unsupported algorithm: {spelling}",))


def test_the_fingerprint_has_the_digests_names():
    assert ended(*complete("getca", "-F", "SHA1")).stderr_lines == ("sscep: unsupported algorithm: SHA1",)


def test_a_spelling_that_misleads_is_said_to():
    assert parse(*complete("enroll", "-E", "aes-256-cbc", "-S", "sha1")).notes == (
        "sscep: -E aes-256-cbc means aes-128-cbc, as sscep reads it",
    )
    assert parse(*complete("enroll", "-E", "aes-128-cbc")).notes == ()


def test_no_algorithm_leaves_the_choice_to_the_capabilities():
    settings = parse(*complete("enroll"))
    assert (settings.cipher, settings.digest, settings.fingerprint_digest) == (None, None, None)


# -- serial numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12:34", 4660),
        ("1:2", 0x12),
        ("0a:0B", 0x0A0B),
        ("1f2e", 7982),
        ("1F2E", 7982),
        ("Ab", 0xAB),
        ("7982", 7982),
        ("007", 7),
        ("12 34", 12),
        ("-5", -5),
        ("9" * 60, int("9" * 60)),
        ("1f2", None),
        ("0x1f", None),
        ("abc", None),
        ("1:2:3", None),
        (":", None),
        ("12:zz", None),
        ("", None),
        ("-", None),
        ("xyz", None),
    ],
)
def test_a_serial_number_is_read_as_sscep_means_it(text, number):
    assert parse_serial(text) == number


@pytest.mark.parametrize("operation", ["getcert", "getcrl"])
def test_a_serial_number_that_is_none_ends_with_91(operation):
    end = ended(*complete(operation, "-s", "1f2"))
    assert (end.code, end.stderr_lines) == (91, ("sscep: error converting serial",))
    assert parse(*complete(operation, "-s", "0a:0b")).serial == 0x0A0B


def test_a_serial_number_counts_for_queries_only():
    assert parse(*complete("enroll", "-s", "1f2")).serial is None
    assert parse(*complete("enroll", "-s", "7")).serial is None
    assert parse(*complete("getcrl", "-s", "7")).serial == 7
    assert parse(*complete("getcrl")).serial is None


# -- renewal pair, pass phrase


@pytest.mark.parametrize(
    ("operation", "more", "allowed"),
    [
        ("enroll", ["-K", "k", "-O", "o"], True),
        ("enroll", ["-K", "k"], False),
        ("enroll", ["-O", "o"], False),
        ("getcert", ["-O", "o"], True),
        ("getcrl", ["-O", "o"], True),
        ("getcert", ["-K", "k"], False),
        ("getcrl", ["-K", "k"], False),
        ("getcrl", ["-K", "k", "-O", "o"], True),
        ("getca", ["-K", "k"], True),
        ("getnextca", ["-O", "o"], True),
    ],
)
def test_half_a_renewal_ends_with_93(operation, more, allowed):
    if allowed:
        settings = parse(*complete(operation, *more))
        assert settings.old_key == ("k" if "-K" in more else None)
        assert settings.old_certificate == ("o" if "-O" in more else None)
    else:
        end = ended(*complete(operation, *more))
        assert (end.code, end.stderr_lines) == (93, ("sscep: -O also requires -K (and vice-versa)",))


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("pass:hunter2", "literal"),
        ("env:KEYPASS", "env KEYPASS"),
        ("file:dir/pass", "file dir/pass"),
        ("fd:3", "file /dev/fd/3"),
    ],
)
def test_a_pass_phrase_comes_from_where_openssl_has_it(source, origin):
    settings = parse(*complete("enroll", "-P", source))
    assert settings.passphrase.origin == origin
    assert "hunter2" not in repr(settings)


def test_a_literal_pass_phrase_may_hold_a_colon(tmp_path):
    assert parse(*complete("enroll", "-P", "pass:a:b")).passphrase.reveal(tmp_path) == "a:b"


@pytest.mark.parametrize("source", ["hunter2", "pass:", "stdin:hunter2", "fd:hunter2", "file:", "env:"])
def test_another_pass_phrase_source_is_refused_unseen(source):
    end = ended(*complete("enroll", "-P", source))
    assert end.code == 1
    assert end.stderr_lines[0].startswith("sscep: illegal pass phrase source (-P): ")
    assert "hunter2" not in str(end)


# -- order, and lines of -v


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["getcaps", "-E", "x"], 1, "missing URL (-u)"),
        (["getcaps", "-u", "x", "-E", "x"], 1, "illegal URL x"),
        (complete("getcert", "-s", "1f2", "-E", "x", "-K", "k"), 1, "unsupported algorithm: x"),
        (complete("getcert", "-s", "1f2", "-K", "k"), 91, "error converting serial"),
    ],
)
def test_the_first_mistake_in_sscep_s_order_is_reported(arguments, code, message):
    end = ended(*arguments)
    assert (end.code, end.stderr_lines[0]) == (code, f"sscep: {message}")


def test_verbose_begins_before_the_options_are_checked():
    opening = ("sscep: starting sscep, version 0.10.0", "sscep: new transaction")
    transaction = "sscep: transaction id: SSCEP transactionId"
    assert ended("getca", "-v").stdout_lines == (*opening, transaction)
    assert ended("enroll", "-v").stdout_lines == opening
    assert opening_lines(parse(*complete("getcrl", "-v"))) == (*opening, transaction)
    assert opening_lines(parse(*complete("getcrl"))) == ()


@pytest.mark.parametrize(
    ("words", "host", "directory", "port"),
    [
        (["-u", URL], "pki.example.com", "scep", "80"),
        (["-u", "http://h:8080/a/b.exe"], "h", "a/b.exe", "8080"),
        (["-u", "https://h/x"], "h", "x", "443"),
        (["-u", "http://[::1]/x"], "[::1]", "x", "80"),
        (["-u", "http://h"], "h", "cgi-bin/pkiclient.exe", "80"),
        (["-u", URL, "-p", "proxy:3128"], "proxy", URL, "3128"),
        (["-u", "https://h/x", "-p", "proxy"], "proxy", "https://h/x", "80"),
        (["-u", URL, "-p", "http://me:hunter2@proxy:1"], "proxy", URL, "1"),
    ],
)
def test_verbose_shows_where_it_connects_to(words, host, directory, port):
    assert address_lines(parse("getcaps", "-v", *words)) == (
        f"sscep: hostname: {host}",
        f"sscep: directory: {directory}",
        f"sscep: port: {port}",
    )
    assert address_lines(parse("getcaps", *words)) == ()


@pytest.mark.parametrize(
    ("text", "proxy", "user", "password"),
    [
        ("me:hunter2@proxy:1", "proxy:1", "me", "hunter2"),
        ("https://me:hunter2@proxy", "https://proxy", "me", "hunter2"),
        ("d%5Cme:p%40ss@[::1]:8080", "[::1]:8080", "d\\me", "p@ss"),
        ("me:hunt/er@2@proxy", "proxy", "me", "hunt/er@2"),
        ("me@proxy", "proxy", "me", None),
        ("me:@proxy", "proxy", "me", None),
        ("proxy:3128", "proxy:3128", None, None),
    ],
)
def test_a_proxy_s_login_is_taken_apart_and_not_shown(text, proxy, user, password, tmp_path):
    settings = parse("getcaps", "-u", URL, "-p", text)
    found = settings.proxy_password
    assert (settings.proxy, settings.proxy_user) == (proxy, user)
    assert (found and found.reveal(tmp_path)) == password
    assert "hunt" not in repr(settings)


def test_a_proxy_s_login_needs_a_name():
    end = ended("getcaps", "-u", URL, "-p", ":hunter2@proxy:1")
    assert (end.code, str(end)) == (1, "sscep: illegal proxy (-p): a login needs a user name")


def test_the_pin_of_a_key_is_not_in_the_repr():
    keys = ("-k", "pkcs11:a=b?pin-value=271828", "-K", "pkcs11:c=d?pin-value=314159", "-O", "o.crt")
    shown = repr(parse(*complete("enroll", *keys, without=("-k",))))
    assert not re.search("271828|314159", shown)


def test_an_end_speaks_by_its_errors_first():
    assert str(SscepExit(1, stdout=["out"], stderr=["error"])) == "error"
    assert str(SscepExit(0, stdout=["out"])) == "out"


# -- the configuration file


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "sscep.conf"
    file.write_text(f"URL {URL}\nCACertFile file.crt\nCAIdentifier file\nPollInterval 7\nVerbose yes\n")
    settings = parse("getca", "-f", str(file), "-c", "ca.crt", "-i", "", "-t", "9")
    assert (settings.url, settings.ca_file, settings.identifier) == (URL, "ca.crt", "")
    assert settings.poll_interval_s == 9
    assert settings.verbose
    assert parse("getca", "-f", str(file)).poll_interval_s == 7


def test_the_file_never_takes_a_flag_back(tmp_path):
    file = tmp_path / "sscep.cnf"
    file.write_text(f"URL = {URL}\nVerbose = false\nDebug = no\nResume = off\n")
    settings = parse(*complete("enroll", "-f", str(file), "-vdR"))
    assert (settings.verbose, settings.debug, settings.resume) == (True, True, True)


def test_debug_in_a_file_is_not_verbose(tmp_path):
    file = tmp_path / "sscep.cnf"
    file.write_text(f"URL = {URL}\nDebug = true\n")
    settings = parse("getcaps", "-f", str(file))
    assert (settings.debug, settings.verbose) == (True, False)


def test_a_file_s_values_are_read_as_the_options_are(tmp_path):
    """That of sscep took GetCertSerial for decimal whatever it was."""
    file = tmp_path / "sscep.conf"
    file.write_text("GetCertSerial 0a:0b\nEncAlgorithm aes-256-cbc\nMaxPollCount 3x\n")
    settings = parse("getcert", *complete("getcert", without=["-s"])[1:], "-f", str(file))
    assert (settings.serial, settings.cipher, settings.max_polls) == (0x0A0B, "aes-128-cbc", 3)


def test_a_file_s_odd_lines_are_told_when_verbose(tmp_path):
    file = tmp_path / "sscep.conf"
    file.write_text(f"URL {URL}\nCAIdentifier\n")
    words = ["getca", "-c", "ca.crt", "-f", str(file)]
    assert parse(*words, "-v").notes == ("sscep: config file parse error, line 2",)
    assert parse(*words).notes == ()
    assert ended("enroll", "-f", str(file), "-v").stderr_lines == (
        "sscep: config file parse error, line 2",
        "sscep: missing CA certificate (-c)",
    )


def test_the_environment_reaches_the_file(tmp_path):
    file = tmp_path / "sscep.cnf"
    file.write_text("URL = http://$ENV::CA_HOST/scep\n")
    settings = parse("getcaps", "-f", str(file), environment={"CA_HOST": "h"})
    assert settings.url == "http://h/scep"


def test_an_engine_of_the_command_line_wins_over_the_file_s(tmp_path):
    file = tmp_path / "sscep.cnf"
    file.write_text(
        f"[sscep]\nURL = {URL}\nengine = one\n[one]\nengine_id = pkcs11\n[two]\nengine_id = capi\n"
    )
    assert parse("getcaps", "-f", str(file)).engine.id == "pkcs11"
    assert parse("getcaps", "-f", str(file), "-g", "two").engine.id == "capi"
    assert parse("getcaps", "-f", str(file), "-g", "three").engine.id == "three"
