import copy
import os
import pickle
import sys
from types import SimpleNamespace

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from scepflow.errors import OptionError
from scepflow.options import Duration, FileMode, NameTemplate, PathTemplate, Secret, Template, UrlTemplate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("8h", 28800),
        ("30d", 2592000),
        ("1h30m", 5400),
        ("1 h 30 m", 5400),
        ("0.5s", 0.5),
    ],
)
def test_a_duration_is_its_seconds(text, seconds):
    assert Duration(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "90", "-5s", "5 weeks", "s", "\u0663s", 60, 1.5, None, True, "9" * 400 + "s"]
)
def test_what_is_no_duration_is_refused_with_an_example(value):
    with pytest.raises(OptionError, match="not a duration") as caught:
        Duration(value)
    assert '"8h"' in caught.value.hint


@pytest.mark.parametrize("text", ["0s", "1m", "1h30m", "8h", "30d", "1d1s", "0.25s"])
def test_a_duration_knows_its_own_text(text):
    assert Duration(text).text == text


@given(st.integers(0, 10**9))
def test_a_duration_survives_its_text_and_a_copy(seconds):
    duration = Duration(f"{seconds}s")
    assert (
        Duration(duration.text) == copy.deepcopy(duration) == pickle.loads(pickle.dumps(duration)) == seconds
    )


@pytest.mark.parametrize(("text", "mode"), [("0600", 0o600), ("644", 0o644), ("0000", 0)])
def test_a_file_mode_is_octal_text(text, mode):
    assert FileMode(text) == mode
    assert FileMode(text).text == f"{mode:04o}"
    assert copy.copy(FileMode(text)) == mode


@pytest.mark.parametrize("value", ["", "600 ", "0800", "1777", "rw", 384, "\u0660600"])
def test_what_is_no_file_mode_is_refused(value):
    with pytest.raises(OptionError, match="not a file mode"):
        FileMode(value)


def test_a_template_fills_in_names_and_keeps_doubled_braces():
    filled = Template.fill("{host.name}-{{x}}-{var.a}", {"host.name": "gw", "var.a": "{host.name}"})
    assert filled == "gw-{x}-{host.name}"
    assert isinstance(filled, Template)


def test_a_template_tells_the_names_it_uses():
    assert Template.names("{a.b}{{c}}{d.e}") == ("a.b", "d.e")


@pytest.mark.parametrize("text", ["{", "}", "a{b", "{{}"])
def test_a_lone_brace_in_a_template_is_refused(text):
    with pytest.raises(OptionError, match="lone"):
        Template.fill(text, {})


def test_an_unknown_template_name_is_refused_with_the_known_ones():
    with pytest.raises(OptionError, match=r"unknown template name \{var.x\}") as caught:
        Template.fill("{var.x}", {"host.name": "gw"})
    assert caught.value.hint == "known: host.name"


@given(
    # 64 bytes is what cryptography lets a common name have
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
        lambda text: len(text.encode()) <= 64
    )
)
def test_no_value_adds_to_a_distinguished_name_or_is_changed_by_it(value):
    name = x509.Name.from_rfc4514_string(NameTemplate.fill("CN={device.x},O=Example", {"device.x": value}))
    assert [(a.oid, a.value) for a in name] == [
        (x509.NameOID.ORGANIZATION_NAME, "Example"),
        (x509.NameOID.COMMON_NAME, value),
    ]


@pytest.mark.parametrize("value", ["", ".", "..", "a/../b", "/etc", "a/b", "a\0b"])
def test_a_device_value_cannot_climb_out_of_a_path(value):
    with pytest.raises(OptionError, match="path"):
        PathTemplate.fill("out/{device.x}.pem", {"device.x": value})


def test_a_variable_may_hold_directories_and_be_the_root_only_at_the_start():
    assert PathTemplate.fill("{var.dir}/key", {"var.dir": "/etc/ssl"}) == "/etc/ssl/key"
    assert PathTemplate.fill("out/{var.dir}", {"var.dir": "a/b"}) == "out/a/b"
    with pytest.raises(OptionError, match="cannot stand in a path"):
        PathTemplate.fill("out/{var.dir}", {"var.dir": "/etc"})


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_an_impossible_path_is_refused(text):
    with pytest.raises(OptionError, match="not a path"):
        PathTemplate.fill(text, {})


def test_a_url_encodes_device_values_and_keeps_variables():
    values = {"device.x": "a/../b?c@d", "var.base": "http://pki/scep"}
    assert UrlTemplate.fill("{var.base}/{device.x}", values) == "http://pki/scep/a%2F..%2Fb%3Fc%40d"


SOURCES = [
    ({"file": "challenge"}, "file challenge"),
    ({"env": "CHALLENGE"}, "env CHALLENGE"),
    ({"command": ["pass", "show", "x"]}, "command pass"),
    ({"credential": "gw"}, "credential gw"),
    ({"keyring": "scepflow/gw"}, "keyring scepflow/gw"),
]


@pytest.mark.parametrize(("source", "origin"), SOURCES)
def test_a_secret_shows_its_origin(source, origin):
    secret = Secret(source)
    assert secret.origin == origin
    assert repr(secret) == f"Secret({origin})"
    assert not secret.is_literal


def test_a_literal_secret_is_never_shown(tmp_path):
    secret = Secret("hunter2")
    assert secret.is_literal
    assert "hunter2" not in f"{secret!r} {secret} {secret.origin}"
    assert secret.reveal(tmp_path) == "hunter2"


@pytest.mark.parametrize(
    "source",
    [
        "",
        {},
        7,
        ["hunter2"],
        {"fil": "hunter2"},
        {"file": "hunter2", "env": "B"},
        {"file": ""},
        {"file": 7},
        {"file": ["hunter2"]},
        {"file": "hunter2\0"},
        {"command": "hunter2"},
        {"command": []},
        {"command": ["hunter2", 7]},
        {"command": [""]},
        {"keyring": "hunter2"},
        {"keyring": "hunter2/"},
        {"env": {"a": "hunter2"}},
    ],
)
def test_what_is_no_secret_is_refused_without_its_text(source):
    with pytest.raises(OptionError, match="secret") as caught:
        Secret(source)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"a b\n", "a b"), (b"ab\r\n", "ab"), (b"ab\n\n", "ab\n"), (b"\xef\xbb\xbfab", "ab")],
)
def test_a_secret_file_loses_one_line_end(tmp_path, content, text):
    (tmp_path / "s").write_bytes(content)
    assert Secret({"file": "s"}).reveal(tmp_path) == text


@pytest.mark.parametrize(("content", "reason"), [(b"\n", "empty"), (b"\xff\xfe", "not UTF-8")])
def test_an_unusable_secret_file_is_reported(tmp_path, content, reason):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(OptionError, match=f"file s.*{reason}"):
        Secret({"file": "s"}).reveal(tmp_path)


def test_a_missing_secret_file_is_reported(tmp_path):
    with pytest.raises(OptionError, match=r"file s\): No such file"):
        Secret({"file": "s"}).reveal(tmp_path)


def test_a_secret_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SCEPFLOW_TEST_SECRET", "x")
    assert Secret({"env": "SCEPFLOW_TEST_SECRET"}).reveal(tmp_path) == "x"
    monkeypatch.delenv("SCEPFLOW_TEST_SECRET")
    with pytest.raises(OptionError, match="SCEPFLOW_TEST_SECRET is not set"):
        Secret({"env": "SCEPFLOW_TEST_SECRET"}).reveal(tmp_path)


def test_a_secret_comes_from_a_command_run_in_the_pipeline_folder(tmp_path):
    (tmp_path / "s").write_text("from here\n")
    assert Secret({"command": ["cat", "s"]}).reveal(tmp_path) == "from here"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["false"], "exited 1"),
        (["./missing"], "No such file"),
        (["printf", r"\377"], "not UTF-8"),
        (["true"], "is empty"),
    ],
)
def test_a_failing_secret_command_is_reported(tmp_path, argv, reason):
    with pytest.raises(OptionError, match=reason):
        Secret({"command": argv}).reveal(tmp_path)


def test_a_secret_command_that_hangs_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(Secret, "COMMAND_S", 0.05)
    with pytest.raises(OptionError, match=r"longer than 0.05 s"):
        Secret({"command": ["sleep", "30"]}).reveal(tmp_path)


@pytest.mark.parametrize("source", [{"file": "/dev/zero"}, {"command": ["cat", "/dev/zero"]}])
def test_a_secret_without_an_end_is_refused(tmp_path, source):
    with pytest.raises(OptionError, match="larger than 64 KiB"):
        Secret(source).reveal(tmp_path)


def test_a_secret_comes_from_systemd_credentials(tmp_path, monkeypatch):
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "gw").write_text("x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", os.fspath(folder))
    assert Secret({"credential": "gw"}).reveal(tmp_path) == "x"
    with pytest.raises(OptionError, match="not the name of a credential"):
        Secret({"credential": "../gw"}).reveal(tmp_path)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(OptionError, match="no credentials directory") as caught:
        Secret({"credential": "gw"}).reveal(tmp_path)
    assert "LoadCredential=" in caught.value.hint


def fake_keyring(get_password):
    return SimpleNamespace(get_password=get_password, errors=SimpleNamespace(KeyringError=LookupError))


def test_a_secret_comes_from_a_keyring(tmp_path, monkeypatch):
    secret = Secret({"keyring": "a/b/user"})
    found = {("a/b", "user"): "x"}
    monkeypatch.setitem(sys.modules, "keyring", fake_keyring(lambda *key: found.get(key)))
    assert secret.reveal(tmp_path) == "x"
    found.clear()
    with pytest.raises(OptionError, match="no password for a/b/user"):
        secret.reveal(tmp_path)


def test_a_keyring_that_fails_or_is_not_installed_is_reported(tmp_path, monkeypatch):
    def fail(*_):
        raise LookupError("hunter2")

    monkeypatch.setitem(sys.modules, "keyring", fake_keyring(fail))
    with pytest.raises(OptionError, match="LookupError") as caught:
        Secret({"keyring": "a/b"}).reveal(tmp_path)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(OptionError, match="not installed"):
        Secret({"keyring": "a/b"}).reveal(tmp_path)


def test_every_unknown_name_of_a_template_is_named_at_once():
    with pytest.raises(OptionError, match=r"unknown template names \{a\.b\}, \{c\.d\}$"):
        Template.fill("{a.b} {host.name} {c.d} {a.b}", {"host.name": "gw"})
