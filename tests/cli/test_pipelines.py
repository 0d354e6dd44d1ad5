"""``validate``, ``explain`` and ``schema``."""

import json

import pytest
from jsonschema import Draft7Validator

FIVE_MISTAKES = """\
[ca]
url = "ftp://pki.example.com"
certificate = "ca.pem"
[poller]
intervl = "60s"
max_count = -3
[csr]
subject = "CN=x"
challenge = "hush-hush"
[sink.x]
use = "pkcs21"
[renw]
"""


def test_every_mistake_is_shown_at_once_with_its_place(scepflow, folder):
    (folder / "bad.toml").write_text(FIVE_MISTAKES)
    said = scepflow("validate", "bad.toml")
    assert said.exit_code == 78
    assert said.stderr == ""
    places = [line.split(": ")[0] for line in said.stdout.splitlines() if ": error: " in line]
    assert places == ["bad.toml:2:7", "bad.toml:5:1", "bad.toml:6:13", "bad.toml:11:7", "bad.toml:12:2"]
    assert said.stdout.splitlines()[-1] == "5 errors, 1 warning in 1 file"
    assert "hush-hush" not in said.output


def test_a_good_file_is_ok(scepflow, write):
    said = scepflow("validate", write())
    assert (said.exit_code, said.stdout) == (0, "gw1.toml: ok\n")
    assert scepflow("-q", "validate", "gw1.toml").output == ""


def test_warnings_are_no_failure(scepflow, write):
    write("lit.toml", subject='"CN=x"\nchallenge = "hush"')
    said = scepflow("validate", "lit.toml")
    assert said.exit_code == 0
    assert "1 warning in 1 file" in said.stdout


def test_several_files_are_counted_together(scepflow, write, folder):
    (folder / "bad.toml").write_text("[renw]\n")
    said = scepflow("validate", write(), "bad.toml")
    assert said.exit_code == 78
    assert said.stdout.splitlines()[-1].endswith(" in 2 files")


def test_what_was_found_is_one_json_document(scepflow, write, folder):
    (folder / "bad.toml").write_text(FIVE_MISTAKES)
    said = scepflow("validate", "--json", write(), "bad.toml")
    document = json.loads(said.stdout)
    assert said.exit_code == document["exit_code"] == 78
    good, bad = document["files"]
    assert (good["valid"], good["errors"]) == (True, [])
    assert bad["errors"][1]["line"] == 5


def test_validating_makes_nothing(scepflow, write, folder):
    before = sorted(path.name for path in folder.iterdir())
    scepflow("validate", write())
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "gw1.toml"])


def test_explain_shows_values_with_their_origin_and_no_secret(scepflow, write):
    write("lit.toml", subject='"CN=x"\nchallenge = "hush-hush"')
    said = scepflow("explain", "lit.toml")
    assert said.exit_code == 0
    lines = [line.split() for line in said.stdout.splitlines()]
    assert ["path", '"device.key"', "lit.toml:6"] in lines
    assert ["interval", '"1m"', "default"] in lines
    assert "hush-hush" not in said.output


def test_explain_in_json(scepflow, write):
    document = json.loads(scepflow("explain", "--json", write()).stdout)
    value = next(value for value in document["values"] if value["option"] == "subject")
    assert (value["table"], value["value"], value["line"]) == ("csr", "CN=gw1.example.com", 8)


def test_explain_of_a_file_with_errors_shows_them(scepflow, folder):
    (folder / "bad.toml").write_text(FIVE_MISTAKES)
    said = scepflow("explain", "bad.toml")
    assert (said.exit_code, said.stdout) == (78, "")
    assert "5 errors, 1 warning in 1 file" in said.stderr


def test_the_schema_is_draft_07_and_takes_a_good_file(scepflow, write, folder):
    import tomli

    said = scepflow("schema")
    schema = json.loads(said.stdout)
    assert said.exit_code == 0
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema)
    assert list(validator.iter_errors(tomli.loads((folder / write()).read_text()))) == []
    assert list(validator.iter_errors(tomli.loads(FIVE_MISTAKES)))


def test_validating_imports_nothing_that_opens_connections(write, imported_by):
    assert imported_by("validate", write()) & {"urllib3", "OpenSSL"} == set()


@pytest.mark.parametrize(("after", "code"), [("file", 0), ("fiel", 78), ("other", 78)])
def test_a_command_may_wait_only_for_a_sink_that_writes_files(scepflow, write, after, code):
    command = ['use = "command"', 'run = ["true"]']
    name = write("gw1.toml", "[sink.other]", *command, "[sink.reload]", *command, f'after = ["{after}"]')
    said = scepflow("validate", name)
    assert said.exit_code == code
    if code:
        assert f"waits for {after}, which is no sink that writes files" in said.output
        assert "known: file" in said.output
