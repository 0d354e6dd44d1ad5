"""``-g`` and engine sections: pkcs11 becomes the key source of that name, with what ``-k`` names; others are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import tomli

from scepflow.sscep.comments import commented_pipeline
from scepflow.sscep.engine import find_token, parse_key_id, refuse_engine, without_pin
from scepflow.sscep.options import parse_arguments
from scepflow.sscep.pipeline_of import pipeline_text
from scepflow.sscep.settings import SscepExit

PIN = "271828"
INI = f"""\
[sscep]
engine = token
[token]
engine_id = pkcs11
MODULE_PATH = /usr/lib/p11.so
[sscep_engine_pkcs11]
PIN = {PIN}
"""
ENROLL = "enroll -u http://h/x -c ca.crt -r l.csr -l l.crt"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Read a command line in a folder with the configuration above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sscep.conf").write_text(INI)

    def settings(words, environment=None, **options):
        return parse_arguments(words.split(), program="sscep", environment=environment or {}, **options)

    return settings


@pytest.fixture(params=[True, False], ids=["installed", "not-installed"])
def installed(request, monkeypatch):
    """Whether python-pkcs11 is there."""
    module = ModuleType("pkcs11")
    module.__spec__ = ModuleSpec("pkcs11", None)
    monkeypatch.setitem(sys.modules, "pkcs11", module if request.param else None)
    return request.param


def without_pins(token):
    return {name: getattr(token, name) for name in ("module", "token", "slot", "label", "id")}


# -- what -k names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slot_4", {"slot": 4}),
        ("slot_0-id_4A", {"slot": 0, "id": "4a"}),
        ("slot_1-label_my key", {"slot": 1, "label": "my key"}),
        ("id_0102", {"id": "0102"}),
        ("label_id_01", {"label": "id_01"}),
        ("2:AB", {"slot": 2, "id": "ab"}),
        ("45", {"id": "45"}),
        ("1", {"id": "01"}),
        ("pkcs11:", {}),
        ("pkcs11:token=My%20HSM;object=gw%3B1;id=%01%ff", {"token": "My HSM", "label": "gw;1", "id": "01ff"}),
        ("PKCS11:slot-id=3;type=private;model=x;id=", {"slot": 3}),
        ("pkcs11:object=a?module-path=/usr/lib/x.so", {"label": "a", "module": "/usr/lib/x.so"}),
        ("pkcs11:object=gw%C3%A9", {"label": "gwé"}),
    ],
)
def test_a_key_id_has_the_forms_of_engine_pkcs11(text, expected):
    nothing = dict.fromkeys(("module", "token", "slot", "label", "id"))
    assert without_pins(parse_key_id(text)) == nothing | expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "local.key",
        "slot_",
        "slot_x-id_01",
        "slot_0-id_",
        "label_",
        "123",  # an odd number of digits
        "x:01",
        f"pkcs11:pin-value={PIN}",
        f"pkcs11:object?pin-value={PIN}",
        f"pkcs11:object=a;object=b?pin-value={PIN}",
        f"pkcs11:slot-id=x?pin-value={PIN}",
        f"pkcs11:object=%ff?pin-value={PIN}",
        f"pkcs11:object=a?pin-value={PIN}&pin-value={PIN}",
    ],
)
def test_another_key_id_is_1_and_never_shown(text, settings):
    if text == f"pkcs11:pin-value={PIN}":
        text = f"pkcs11:pin-value={PIN};pin-value={PIN}"
    asked = settings(f"{ENROLL} -f sscep.conf -k x")
    asked = type(asked)(**{name: getattr(asked, name) for name in asked.__slots__} | {"key": text})
    with pytest.raises(SscepExit) as ended:
        find_token(asked)
    assert ended.value.code == 1
    assert PIN not in str(ended.value)
    assert "none of pkcs11:token=" in str(ended.value)


@pytest.mark.parametrize(
    ("query", "origin"),
    [
        ("", None),
        ("?pin-value=27%31828", "literal"),
        ("?pin-source=file:/etc/pin", "file /etc/pin"),
        ("?pin-source=file:///etc/pin", "file /etc/pin"),
        ("?pin-source=my.pin", "file my.pin"),
    ],
)
def test_a_uri_may_say_where_the_pin_is(query, origin, tmp_path):
    pin = parse_key_id(f"pkcs11:object=a{query}").pin
    assert (pin and pin.origin) == origin
    if origin == "literal":
        assert pin.reveal(tmp_path) == "271828"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("pkcs11:a=b?pin-value=1", "pkcs11:a=b"),
        ("pkcs11:a=b;pin-value=1;c=d", "pkcs11:a=b"),
        ("PKCS11:a=b&Pin-Source=1", "PKCS11:a=b"),
        ("pkcs11:pin-value=1", "pkcs11"),
        ("pkcs11:object=my-pin-key", "pkcs11:object=my-pin-key"),
        ("a?b", "a?b"),
        ("l.key", "l.key"),
    ],
)
def test_a_uri_is_shown_without_its_query_and_pin(key, shown):
    assert without_pin(key) == shown


# -- the key source


@pytest.mark.parametrize("installed", [True], indirect=True)
def test_a_section_and_a_key_id_become_a_key_source(installed, settings, tmp_path):
    asked = settings(f"{ENROLL} -f sscep.conf -k slot_2-label_gw")
    token = find_token(asked)
    assert tomli.loads(pipeline_text(asked, token=token))["key"] == {
        "use": "pkcs11",
        "module": "/usr/lib/p11.so",
        "slot": 2,
        "label": "gw",
    }
    assert token.pin.reveal(tmp_path) == PIN
    assert PIN not in repr(token)


@pytest.mark.parametrize("installed", [True], indirect=True)
@pytest.mark.parametrize(
    ("words", "origin"),
    [
        ("-k pkcs11:id=%01?pin-source=/etc/pin", "file /etc/pin"),  # what -k says first
        ("-k 01 -P env:PASS", "literal"),  # then the section
        ("-k 01 -P env:PASS -g pkcs11", "literal"),
    ],
)
def test_the_pin_comes_from_the_key_id_or_the_section(words, origin, installed, settings):
    assert find_token(settings(f"{ENROLL} -f sscep.conf {words}")).pin.origin == origin


@pytest.mark.parametrize("installed", [True], indirect=True)
def test_the_pin_is_the_pass_phrase_where_there_is_no_other(installed, settings):
    asked = settings(f"{ENROLL} -g pkcs11 -k 01 -P env:PASS", {"PKCS11_MODULE_PATH": "/usr/lib/p11.so"})
    assert find_token(asked).pin.origin == "env PASS"
    text = pipeline_text(asked, token=find_token(asked))
    assert tomli.loads(text)["key"]["pin"] == {"env": "PASS"}


@pytest.mark.parametrize("installed", [True], indirect=True)
def test_module_and_pin_may_be_control_commands(installed, settings, tmp_path):
    (tmp_path / "sscep.conf").write_text(
        "[sscep]\nengine = e\n[e]\nengine_id = pkcs11\ncmds = c\n[c]\nMODULE_PATH = /m.so\nPIN = 1\n"
    )
    token = find_token(settings(f"{ENROLL} -f sscep.conf -k 01", {"PKCS11_MODULE_PATH": "/other.so"}))
    assert (token.module, token.pin.reveal(tmp_path)) == ("/other.so", "1")
    assert find_token(settings(f"{ENROLL} -f sscep.conf -k 01")).module == "/m.so"


@pytest.mark.parametrize("installed", [True], indirect=True)
def test_a_renewal_with_the_same_key_is_signed_with_it(installed, settings):
    asked = settings(f"{ENROLL} -f sscep.conf -k 01 -K 01 -O old.crt")
    table = tomli.loads(pipeline_text(asked, token=find_token(asked)))
    assert table["signer"] == {"use": "existing", "certificate": "old.crt", "allow_expired": True}


@pytest.mark.parametrize("installed", [True], indirect=True)
def test_an_old_key_in_a_file_signs_for_a_new_one_on_a_token(installed, settings, tmp_path):
    (tmp_path / "old.key").touch()
    asked = settings(f"{ENROLL} -f sscep.conf -k 01 -K old.key -O old.crt")
    assert tomli.loads(pipeline_text(asked, token=find_token(asked)))["signer"]["key"] == "old.key"


def test_a_file_of_that_name_is_the_key(settings, tmp_path):
    (tmp_path / "45").touch()
    assert find_token(settings(f"{ENROLL} -f sscep.conf -k 45")) is None


@pytest.mark.parametrize("operation", ["getcaps", "getca", "getnextca"])
def test_a_question_without_a_key_needs_no_token(operation, settings):
    asked = settings(f"{operation} -f sscep.conf -u http://h/x -c a -C b -k 45")
    refuse_engine(asked)
    assert find_token(asked) is None


# -- what is refused


def refusal(settings):
    with pytest.raises(SscepExit) as ended:
        refuse_engine(settings)
        find_token(settings)
    assert (ended.value.code, ended.value.stdout_lines) == (1, ())
    assert all(line.startswith("sscep: ") for line in ended.value.stderr_lines)
    return str(ended.value)


@pytest.mark.parametrize("engine", ["capi", "jksengine", "dynamic", "pkcs11x"])
def test_another_engine_is_refused_with_the_way_out(engine, settings):
    said = refusal(settings(f"{ENROLL} -g {engine} -k x"))
    assert f"engine {engine} cannot be loaded" in said
    assert "scepflow plugins" in said


@pytest.mark.parametrize("installed", [False], indirect=True)
def test_without_the_library_the_way_to_it_is_named(installed, settings):
    assert "pip install 'scepflow[pkcs11]'" in refusal(settings(f"{ENROLL} -f sscep.conf -k 45"))


def test_without_a_module_the_section_is_pointed_at(settings):
    said = refusal(settings(f"{ENROLL} -g pkcs11 -k 45"))
    assert "engine section has no MODULE_PATH" in said


def test_another_old_key_on_the_token_is_refused(settings):
    said = refusal(settings(f"{ENROLL} -f sscep.conf -k 45 -K 46 -O old.crt"))
    assert "the old key (-K) is not a file" in said


# -- import


def test_the_imported_pipeline_has_the_token_and_not_its_pin(settings):
    text = commented_pipeline(settings(f"{ENROLL} -f sscep.conf -k slot_2-id_45"), origin="x")
    assert tomli.loads(text)["key"] == {
        "use": "pkcs11",
        "module": "/usr/lib/p11.so",
        "slot": 2,
        "id": "45",
        "pin": {"env": "SSCEP_PIN"},
    }
    assert PIN not in text
    assert "# The PIN is not copied: put it into the environment variable SSCEP_PIN, or into a file" in text
    assert "pip install 'scepflow[pkcs11]'" in text
    assert "engine (-g)" not in text


def test_what_the_imported_pipeline_lacks_is_said(settings):
    text = commented_pipeline(settings(f"{ENROLL} -g pkcs11 -k 45 -K 46 -O old.crt"), origin="x")
    assert "# MISSING: the token's library (MODULE_PATH); fill in [key] module.\n" in text
    assert "# -K: [signer] reads the old key from a file; it cannot be on the token.\n" in text
    assert tomli.loads(text)["key"]["module"].endswith(".so")


@pytest.mark.parametrize("engine", ["-f sscep.conf", ""])
def test_a_pin_in_a_key_that_is_no_key_id_is_not_imported(engine, settings):
    key = f"pkcs11:object=a;object=b?pin-value={PIN}"
    text = commented_pipeline(settings(f"{ENROLL} {engine} -k {key}"), origin="x")
    assert PIN not in text
    assert ("# MISSING: the key (-k): there is no such file now" in text) == bool(engine)


@pytest.mark.parametrize("engine", ["-f sscep.conf", "-g capi", ""])
@pytest.mark.parametrize("mark", ["?", ";"])
@pytest.mark.parametrize("key", ["-k {}", "-k l.key -K {} -O o.crt", "-k {} -K {} -O o.crt"])
def test_no_pin_of_either_key_is_imported(key, mark, engine, settings):
    uri = f"pkcs11:token=a{mark}pin-value={PIN}"
    text = commented_pipeline(settings(f"{ENROLL} {engine} {key.format(uri, uri)}"), origin="x")
    assert PIN not in text
    tomli.loads(text)


def test_a_key_id_may_be_longer_than_a_file_s_name(settings):
    key = f"pkcs11:object={'x' * 300}"
    text = commented_pipeline(settings(f"{ENROLL} -f sscep.conf -k {key} -K {key}y -O o.crt"), origin="x")
    assert tomli.loads(text)["key"]["label"] == "x" * 300


def test_another_old_key_that_no_file_can_be_is_refused(settings):
    assert "the old key (-K) is not a file" in refusal(
        settings(f"{ENROLL} -f sscep.conf -k 45 -K {'x' * 300} -O old.crt")
    )


def test_another_engine_is_said_to_be_lost(settings):
    text = commented_pipeline(settings(f"{ENROLL} -g capi -k l.key"), origin="x")
    assert "# engine (-g): OpenSSL has none any more" in text


# -- whole commands


@pytest.mark.parametrize("engine", [("-g", "pkcs11"), ()])
def test_a_pin_in_an_unusable_key_is_not_shown(engine, script):
    said = script.enroll(*engine, "-d", "-k", f"pkcs11:object=a?module-path=/none&pin-value={PIN}")
    assert said.code in (1, 93)
    assert PIN not in said.out + said.err


def test_a_key_file_is_used_with_sscep_s_line(script):
    said = script.enroll("-g", "pkcs11")
    assert said.code == 0
    line = "sscep: Found private key local.key as file. If the engine can handle it, loading the file\n"
    assert said.out.startswith(line)


@pytest.mark.skipif(find_spec("pkcs11") is None, reason="pip install 'scepflow[pkcs11]'")
def test_a_module_that_cannot_be_loaded_is_1(script):
    said = script.enroll("-g", "pkcs11", "-k", f"pkcs11:object=a?module-path=/none.so&pin-value={PIN}")
    assert said.code == 1
    assert said.err.startswith("sscep: Could not load private key!\n")
    assert PIN not in said.out + said.err
    assert script.ca.types == []
    more = script.enroll("-g", "pkcs11", "-k", "pkcs11:object=a?module-path=/none.so", "-P", f"pass:{PIN}")
    assert more == said


LIBRARY = next(
    (
        path
        for path in (
            Path("/usr/lib/softhsm/libsofthsm2.so"),
            *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so"),
        )
        if path.exists()
    ),
    None,
)


@pytest.mark.skipif(
    LIBRARY is None or shutil.which("softhsm2-util") is None or find_spec("pkcs11") is None,
    reason="apt-get install softhsm2; pip install 'scepflow[pkcs11]'",
)
def test_a_key_on_a_token_enrolls_asks_and_renews(script):
    """In processes of their own: the token's library keeps the first configuration that it has seen."""
    folder = script.folder
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    (folder / "sscep.conf").write_text(INI.replace("/usr/lib/p11.so", str(LIBRARY)))
    environment = {**os.environ, "SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
    environment["SCEPFLOW_STATE_DIR"] = str(folder / "state")
    pin = ["--pin", PIN, "--so-pin", "314159"]

    def run(*argv):
        return subprocess.run(
            argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    assert run("softhsm2-util", "--init-token", "--free", "--label", "gw", *pin).returncode == 0
    key = ["--import", "local.key", "--token", "gw", "--label", "key", "--id", "45", *pin[:2]]
    assert run("softhsm2-util", *key).returncode == 0
    (folder / "local.key").unlink()

    def sscep(operation, *more):
        words = script.words(operation, without=("-k",))
        return run(sys.executable, "-m", "scepflow", "sscep", operation, *words, "-f", "sscep.conf", *more)

    uri = "pkcs11:token=gw;object=key;id=%45"
    enrolled = sscep("enroll", "-k", uri, "-d")
    assert (enrolled.returncode, enrolled.stderr) == (0, "")
    assert PIN not in enrolled.stdout
    for operation in ("getcert", "getcrl"):
        assert sscep(operation, "-k", "label_key").returncode == 0
    shutil.copy(folder / "local.crt", folder / "old.crt")
    renewed = sscep("enroll", "-k", "id_45", "-K", "id_45", "-O", "old.crt")
    # The same key has the same transaction id, to which a CA that remembers it gives the old certificate again.
    assert (renewed.returncode, script.ca.responder.requests[-1].verified) == (97, True)
    assert script.ca.responder.requests[-1].certificates == (script.certificate("old.crt"),)
    assert "the certificate that is being renewed" in renewed.stderr
    wrong = sscep("enroll", "-k", "id_46")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("sscep: Could not load private key!\n")
