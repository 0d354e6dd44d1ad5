import os
import shutil
import subprocess
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scepflow.sscep.conffile import is_ini, load_configuration
from scepflow.sscep.settings import Engine, Operation, SscepExit

OPERATIONS = [operation.value for operation in Operation]
MESSAGES = ["enroll", "getcert", "getcrl"]


@pytest.fixture
def load(tmp_path):
    def load(text, operation="enroll", **options):
        file = tmp_path / "sscep.conf"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        environment = options.pop("environment", {})
        return load_configuration(
            str(file), operation=Operation(operation), program="sscep", environment=environment, **options
        )

    return load


@pytest.fixture
def fails(load, tmp_path):
    def fails(text, **options):
        with pytest.raises(SscepExit) as caught:
            load(text, **options)
        assert caught.value.code == 93
        assert caught.value.stdout_lines == ()
        return [line.replace(str(tmp_path / "sscep.conf"), "FILE") for line in caught.value.stderr_lines]

    return fails


# -- which syntax


@pytest.mark.parametrize(
    "text",
    [
        "[sscep]\n",
        "# x\n\n  [ sscep ]\n",
        "URL=http://h/",
        "URL = http://h/",
        "\tURL\t=",
        "a::b = c",
        ".include x",
    ],
)
def test_sections_and_equal_signs_make_it_ini(text):
    assert is_ini(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "URL http://h/x?a=b\n",
        "# [sscep]\n# URL = x\n",
        'CAIdentifier "a = b"',
        '"URL" "x"',
        "CAIdentifier a=b",
    ],
)
def test_words_with_blanks_between_are_classic(text):
    assert not is_ini(text)


# -- every key, in both syntaxes

KEYS = [
    ("URL", "u", "sscep", OPERATIONS),
    ("Proxy", "p", "sscep", OPERATIONS),
    ("CACertFile", "c", "sscep", OPERATIONS),
    ("CAIdentifier", "i", "sscep", OPERATIONS),
    ("CAIdentifier", "i", "sscep_getca", ["getca"]),
    ("CAIdentifier", "i", "sscep_getnextca", ["getnextca"]),
    ("EncAlgorithm", "E", "sscep", OPERATIONS),
    ("SigAlgorithm", "S", "sscep", OPERATIONS),
    ("MonitorInformation", "M", "sscep", OPERATIONS),
    ("FingerPrint", "F", "sscep_getca", ["getca"]),
    ("FingerPrint", "F", "sscep_getnextca", ["getnextca"]),
    ("ChainRootCACertFile", "C", "sscep_getnextca", ["getnextca"]),
    ("SignerCertificateFile", "w", "sscep_getnextca", ["getnextca"]),
    *(("PrivateKeyFile", "k", f"sscep_{operation}", [operation]) for operation in MESSAGES),
    *(("LocalCertFile", "l", f"sscep_{operation}", [operation]) for operation in MESSAGES),
    ("CertReqFile", "r", "sscep_enroll", ["enroll"]),
    ("SignKeyFile", "K", "sscep_enroll", ["enroll"]),
    *(("SignCertFile", "O", f"sscep_{operation}", [operation]) for operation in MESSAGES),
    *(("EncCertFile", "e", f"sscep_{operation}", [operation]) for operation in MESSAGES),
    ("SelfSignedFile", "L", "sscep_enroll", ["enroll"]),
    ("PollInterval", "t", "sscep_enroll", ["enroll"]),
    ("MaxPollTime", "T", "sscep_enroll", ["enroll"]),
    ("MaxPollCount", "n", "sscep_enroll", ["enroll"]),
    ("GetCertSerial", "s", "sscep_getcert", ["getcert"]),
    ("GetCertSerial", "s", "sscep_getcrl", ["getcrl"]),
    ("GetCertFile", "w", "sscep_getcert", ["getcert"]),
    ("GetCrlFile", "w", "sscep_getcrl", ["getcrl"]),
]
CLASSIC_ONLY = {
    "SignerCertificateFile": ["getnextca"],
    "GetCertFile": ["getcert"],
    "GetCertSerial": ["getcert"],
    "GetCrlFile": ["getcrl"],
}


@pytest.mark.parametrize(("key", "letter", "section", "operations"), KEYS)
def test_an_ini_key_counts_for_the_operations_of_its_section(load, key, letter, section, operations):
    """So a setting of one operation never leaks into another."""
    text = f"[{section}]\n{key} = value\n"
    found = {o: dict(load(text, o).values) for o in OPERATIONS}
    assert found == {o: ({letter: "value"} if o in operations else {}) for o in OPERATIONS}


@pytest.mark.parametrize(("key", "letter"), {(row[0], row[1]): None for row in KEYS})
def test_a_classic_key_counts_for_every_operation_but_four(load, key, letter):
    found = {o: dict(load(f"{key} value\n", o).values) for o in OPERATIONS}
    operations = CLASSIC_ONLY.get(key, OPERATIONS)
    assert found == {o: ({letter: "value"} if o in operations else {}) for o in OPERATIONS}


@pytest.mark.parametrize(("key", "letter"), [("Verbose", "v"), ("Debug", "d"), ("Resume", "R")])
@pytest.mark.parametrize("line", ["{} {}", "{} = {}"])
@pytest.mark.parametrize(
    ("value", "on"),
    [
        *((word, True) for word in ("yes", "true", "on", "1", "Yes", "TRUE", "yesno", "truly")),
        *((word, False) for word in ("no", "false", "off", "0", "maybe", "only", "10", '""')),
    ],
)
def test_a_flag_takes_every_usual_word(load, key, letter, line, value, on):
    assert load(line.format(key, value)).flags == (frozenset(letter) if on else frozenset())


def test_keys_of_the_source_that_nobody_reads_do_nothing(load):
    assert load("NextCACertFile = x\nFoo = y\n[other]\nURL = z\n").values == {}
    assert load("NextCACertFile x\nFoo y\n").values == {}


# -- INI


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_file_without_sections_works_for_every_operation(load, operation):
    values = load("URL = http://h/\nPrivateKeyFile = k\n", operation).values
    assert values.get("u") == "http://h/"
    assert values.get("k") == ("k" if operation in MESSAGES else None)


def test_a_section_wins_over_what_stands_before_it(load):
    text = "URL = outer\nCACertFile = outer\n[sscep]\nURL = inner\n[default]\nEncAlgorithm = des\n"
    assert load(text).values == {"u": "inner", "c": "outer", "E": "des"}


def test_the_general_identifier_wins_over_the_operation_s(load):
    text = "[sscep_getca]\nCAIdentifier = own\n[sscep]\nCAIdentifier = general\n"
    assert load(text, "getca").values == {"i": "general"}


def test_enroll_keys_in_the_general_section_are_not_found(load):
    assert load("[sscep]\nPrivateKeyFile = k\n").values == {}


VALUES = [
    ("My CA", "My CA"),
    ("  My CA \t", "My CA"),
    ("", ""),
    ('"My CA"', "My CA"),
    ("'My CA'", "My CA"),
    ("`My CA`", "My CA"),
    ("a\"b c\"'d'e", "ab cde"),
    ('" x "', " x "),
    (r'"a\"b"', 'a"b'),
    (r'"a\nb"', "anb"),
    (r"a\nb\tc", "a\nb\tc"),
    (r"C:\\keys\\k", r"C:\keys\k"),
    (r"C:\keys", "C:keys"),
    ("http://h/a#b", "http://h/a"),
    ('"http://h/a#b"', "http://h/a#b"),
    ("'a#b' # c", "a#b"),
    (r"a\#b", "a#b"),
    ("a;b", "a;b"),
    ("a=b", "a=b"),
    ('"open', "open"),
    ('"open\\', "open"),
    ("'it', \"is\"", "it, is"),
    ("first\\\nsecond", "firstsecond"),
    ("one\\\\\n", "one\\"),
    ("last\\", "last"),
    ("\\\n  x", "x"),
]


@pytest.mark.parametrize(("written", "value"), VALUES)
def test_an_ini_value_is_read_as_openssl_reads_it(load, written, value):
    assert load(f"URL = u\nCAIdentifier = {written}", "getca").values == {"u": "u", "i": value}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="apt-get install openssl")
def test_openssl_itself_reads_these_values_so(tmp_path):
    for written, value in VALUES:
        (tmp_path / "value.cnf").write_text(f"value = {written}\n\nasn1 = UTF8:|$value\n")
        command = ["openssl", "asn1parse", "-genconf", "value.cnf", "-noout", "-out", "value.der"]
        subprocess.run(command, cwd=tmp_path, check=True)
        # A tag, a byte of length, and the bar that lets a value be empty.
        assert (tmp_path / "value.der").read_bytes()[3:].decode() == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("$dir/x", "d/x"),
        ("${dir}x", "dx"),
        ("$(dir)x", "dx"),
        ("$other::name", "n"),
        ("${other::name}!", "n!"),
        ("$other::dir", "d"),
        ("$ENV::HOME", "/root"),
        ("'$dir'", "$dir"),
        (r"\$dir", "$dir"),
        ("$empty.", "."),
    ],
)
def test_variables_are_filled_in(load, written, value):
    text = f"dir = d\nempty =\n[other]\nname = n\n[sscep]\nCAIdentifier = {written}\n"
    assert load(text, "getca", environment={"HOME": "/root"}).values == {"i": value}


def test_the_last_of_a_key_wins_and_line_ends_do_not_matter(load):
    assert load("\ufeff[sscep]\r\nURL = a\r\n; = x\r\n# c\r\n\r\nURL = b\r\n").values == {"u": "b"}


def test_a_section_may_be_named_at_the_key_and_have_blanks(load):
    assert load("[ my section ]\nsscep::URL = u\n[\tsscep ] rest\nProxy = p\n").values == {"u": "u", "p": "p"}


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[sscep]\nURL http://h/\n", 2, "missing equal sign after URL"),
        ("[sscep]\n: x\n", 2, "missing equal sign after nothing"),
        ("A = b\n\n[sscep\n", 3, "missing close square bracket"),
        ("[ss{cep]\n", 1, "missing close square bracket"),
        ("URL = $nowhere\n", 1, "variable has no value: nowhere"),
        ("URL = $\n", 1, "variable has no value: "),
        ("URL = ${dir\n", 1, "no close brace"),
        ("dir = x\nURL = ${dir)\n", 2, "no close brace"),
        ("URL = a\\\nb $c\n", 2, "variable has no value: c"),
        ("[$x]\nA=b\n", 1, "missing close square bracket"),
        ("a = " + "x" * 40000 + "\nb = $a$a\n", 2, "variable expansion too long"),
    ],
)
def test_an_ini_line_that_cannot_be_read_ends_with_93_and_its_number(fails, text, line, why):
    assert fails(text) == [f"sscep: Error in FILE on line {line}", f"sscep: {why}"]


def test_an_error_shows_no_value(fails):
    assert "hunter2" not in str(fails("[sscep_engine_pkcs11]\nPIN hunter2\n"))


def test_a_file_that_doubles_its_variables_is_stopped(fails):
    text = "v0 = 0123456789\n" + "".join(f"v{n + 1} = $v{n}$v{n}\n" for n in range(60))
    assert fails(text)[1] == "sscep: variable expansion too long"


def test_an_included_file_is_read_in_place(load, tmp_path):
    (tmp_path / "more.cnf").write_text("Proxy = p\n[sscep_enroll]\nCertReqFile = r\n")
    text = f"[sscep]\nURL = u\n.include {tmp_path}/more.cnf\nPrivateKeyFile = k\n"
    assert load(text).values == {"u": "u", "p": "p", "r": "r", "k": "k"}


def test_an_included_directory_is_read_by_name_and_a_missing_file_is_none(load, tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "2.cnf").write_text("URL = two\n")
    (folder / "3.conf").write_text("URL = three\n")
    (folder / "1.cnf").write_text("URL = one\nProxy = p\n")
    (folder / "4.txt").write_text("URL = four\n")
    assert load(f".include = {folder}\n.include {tmp_path}/none.cnf\n").values == {"u": "three", "p": "p"}


def test_an_error_in_an_included_file_names_that_file(fails, tmp_path):
    more = tmp_path / "more.cnf"
    more.write_text("\nURL\n")
    assert fails(f"\n\n.include {more}\n") == [
        f"sscep: Error in {more} on line 2",
        "sscep: missing equal sign after URL",
    ]
    more.write_bytes(b"\0")
    assert fails(f"\n\n.include {more}\n")[0] == "sscep: Error in FILE on line 3"


def test_a_file_that_includes_itself_is_stopped(fails, tmp_path):
    assert fails(f".include {tmp_path}/sscep.conf\n")[1] == "sscep: files are included too deep"


def test_files_may_be_included_ten_deep_and_no_deeper(load, fails, tmp_path):
    for depth in range(1, 11):
        (tmp_path / f"{depth}.cnf").write_text(f".include {tmp_path}/{depth + 1}.cnf\n")
    (tmp_path / "11.cnf").write_text("URL = deeper\n")
    assert fails(f".include {tmp_path}/1.cnf\n")[1] == "sscep: files are included too deep"
    (tmp_path / "10.cnf").write_text("URL = deep\n")
    assert load(f".include {tmp_path}/1.cnf\n").values == {"u": "deep"}


@pytest.mark.parametrize(("count", "most"), [(99, True), (100, False)])
def test_a_hundred_files_are_read_and_no_more(count, most, load, fails, tmp_path):
    (tmp_path / "more.cnf").write_text("URL = u\n")
    text = f".include {tmp_path}/more.cnf\n" * count
    if most:
        assert load(text).values == {"u": "u"}
    else:
        assert fails(text)[1] == "sscep: too much is included"


def test_what_includes_itself_twice_is_stopped(fails, tmp_path):
    """Each level would double the files: depth alone stops no such tree in time."""
    (tmp_path / "more.cnf").write_text("")
    for depth in range(1, 10):
        (tmp_path / f"{depth}.cnf").write_text(f".include {tmp_path}/{depth + 1}.cnf\n" * 3)
    assert fails(f".include {tmp_path}/1.cnf\n")[1] == "sscep: too much is included"


def test_the_files_together_are_no_larger_than_four_mebibytes(load, fails, tmp_path):
    (tmp_path / "more.cnf").write_text("# " + "x" * ((1 << 20) - 2))
    line = f".include {tmp_path}/more.cnf\n"
    assert load(line * 3).values == {}
    assert fails(line * 4)[1] == "sscep: too much is included"


def test_a_name_that_no_file_can_have_is_no_crash(fails):
    assert fails(f".include {'x' * 300}\n")[1].endswith(": File name too long")


@pytest.mark.parametrize("blanks", ["", "a ", "a\t\r "])
def test_a_section_of_blanks_is_refused_at_once(fails, blanks):
    """A pattern that tries each way to share the blanks would take years."""
    assert fails(f"[{blanks}{' ' * 500_000}{{\n")[1] == "sscep: missing close square bracket"


# -- engines

ENGINE = """
[sscep]
engine = token
[token]
engine_id = pkcs11
dynamic_path = /usr/lib/engines/pkcs11.so
MODULE_PATH = /usr/lib/softhsm.so
cmds = token_cmds
[token_cmds]
PIN = hunter2
VERBOSE = EMPTY
[sscep_engine_pkcs11]
PIN = 1234
"""


def test_an_engine_has_its_section_s_settings_and_hides_its_pin(load):
    engine = load(ENGINE).engine
    assert engine == Engine(
        id="pkcs11",
        module_path="/usr/lib/softhsm.so",
        pin="1234",
        commands=(("PIN", "hunter2"), ("VERBOSE", "EMPTY")),
    )
    assert "1234" not in repr(engine)
    assert "hunter2" not in repr(engine)


def test_an_engine_named_on_the_command_line_needs_no_section(load):
    assert load(ENGINE, engine="capi").engine == Engine(id="capi")


def test_an_engine_named_on_the_command_line_has_the_section_that_is_about_it(load):
    assert load(ENGINE, engine="pkcs11") == load(ENGINE)
    assert load(ENGINE, engine="token").engine.module_path == "/usr/lib/softhsm.so"
    assert load("URL = u\n").engine is None


def test_an_engine_without_section_or_id_ends_with_93(fails):
    assert fails("[sscep]\nengine = none\n") == ["sscep: Section none defined but not found!"]
    assert fails("[sscep]\nengine = e\n[e]\nMODULE_PATH = x\n")[0] == (
        "sscep: Engine ID not specified, cannot continue. Please provide an eninge ID"
    )


def test_a_classic_file_may_name_an_engine(load):
    assert load("engine pkcs11\n").engine == Engine(id="pkcs11")
    assert load("engine pkcs11\n", engine="capi").engine == Engine(id="capi")


# -- classic


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("CAIdentifier value", "value"),
        ("  \tCAIdentifier\t value # comment", "value"),
        ("CAIdentifier a=b", "a=b"),
        ('CAIdentifier "two words" rest', "two words"),
        (r'CAIdentifier "a\"b"', 'a"b'),
        (r'CAIdentifier "C:\keys\n"', r"C:\keys\n"),
        ('"CAIdentifier" value', "value"),
        ('"CAIdentifier" "value"', "value"),
        ('CAIdentifier ""', ""),
        ('CAIdentifier "open end', "open end"),
        ("CAIdentifierfoo value", "value"),
        ("CAIdentifier value\r", "value"),
        ("CAIdentifier first\nCAIdentifier second", "first"),
        ("#CAIdentifier no\n  # CAIdentifier no\n\nCAIdentifier value", "value"),
        ("CAIdentifier", ""),
        ("CAIdentifier a#b", "a#b"),
    ],
)
def test_a_classic_line_is_key_value_and_what_does_not_matter(load, line, value):
    assert load(line, "getca").values == {"i": value}


@pytest.mark.parametrize("line", ["caidentifier x", "PrivateKeyFile2 x", "SelfSignedFiles x", '"" x', " x"])
def test_another_classic_key_is_ignored(load, line):
    assert load(line).values == {}


def test_a_classic_flag_once_on_stays_on(load):
    assert load("Verbose no\nVerbose yes\nVerbose no\nDebug no\n").flags == {"v"}


def test_a_classic_line_without_value_is_a_problem_to_tell(load):
    assert load("URL u\n\nProxy\n").problems == ("config file parse error, line 3",)


# -- files


def test_a_file_that_cannot_be_opened_ends_with_93_in_both_generations_words(tmp_path):
    with pytest.raises(SscepExit) as caught:
        load_configuration(
            str(tmp_path / "none"), operation=Operation.GETCA, program="./sscep", environment={}
        )
    assert caught.value.code == 93
    assert caught.value.stderr_lines == (
        "./sscep: Error opening configuration file",
        f"./sscep: cannot open {tmp_path}/none: No such file or directory",
    )


@pytest.mark.parametrize("content", [b"URL u\n\0", b"#" * (1 << 20) + b"##"])
def test_a_file_that_is_no_text_or_too_large_ends_with_93(fails, content):
    assert fails(content)[0] == "sscep: Error opening configuration file"


@pytest.mark.parametrize("line", ["CACertFile {}", "CACertFile = {}"])
def test_a_file_name_that_is_not_utf_8_survives(load, line):
    name = b"ca-\xe9.crt"
    written = line.encode().replace(b"{}", name)
    assert os.fsencode(load(written).values["c"]) == name


@given(text=st.text(alphabet="[]=$#\"'`\\ \nab:{}().include", max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused(load, text):
    with suppress(SscepExit):
        load(text)
