"""The option map in pipelines/README.md names all that sscep's command line and configuration know, and nothing that is not there."""

import dataclasses
import re

import pytest
from snippets import ROOT

from scepflow.cli import COMMANDS
from scepflow.pipeline.model import CaOptions
from scepflow.registry import Registry
from scepflow.sscep import conffile, options
from scepflow.sscep.settings import Engine

README = ROOT / "pipelines" / "README.md"
LETTERS = set(options._FLAGS | options._WITH_VALUE)
# Keys of an engine's sections, by what they become.
ENGINE_KEYS = {
    "id": "engine_id",
    "module_path": "MODULE_PATH",
    "pin": "PIN",
    "commands": "cmds",
}
# Keys that a file may have and nothing reads.
IDLE_KEYS = {"dynamic_path"}
KEYS = {key.name for key in conffile._KEYS} | set(ENGINE_KEYS.values()) | IDLE_KEYS
CODE = re.compile(r"`([^`]+)`")


def rows():
    """The map's rows: letters, keys, and what does it here."""
    text = README.read_text().partition("<!-- option map -->\n")[2].partition("<!-- /option map -->")[0]
    _, _, *lines = text.splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(column):
    return [name for row in rows() for name in CODE.findall(row[column])]


def places():
    """The ``[table] option`` of the map."""
    return [match.groups() for code in named(2) if (match := re.match(r"\[([\w.]+)\] (\w+)", code))]


def known_options(table):
    if table == "ca":
        return set(CaOptions.__struct_fields__)
    kind = table.partition(".")[0]
    classes = [info.cls for info in Registry.discover().stages() if info.kind == kind]
    return {"use"}.union(*(cls.__struct_fields__ for cls in classes))


def test_there_is_a_map_to_look_at():
    assert len(rows()) > 30
    assert len(places()) > 20
    assert {"u", "R", "h"} <= LETTERS
    assert {"URL", "GetCrlFile", "cmds"} <= KEYS


def test_every_option_letter_is_in_the_map_once():
    assert sorted(named(0)) == sorted(f"-{letter}" for letter in LETTERS)


def test_every_key_is_in_the_map_once():
    assert sorted(named(1)) == sorted(KEYS)


def test_every_field_of_an_engine_has_its_key():
    assert {field.name for field in dataclasses.fields(Engine)} == ENGINE_KEYS.keys()


def test_a_key_stands_beside_the_letter_that_reads_it():
    beside = {}
    letter = ""
    for letters, keys, _ in rows():
        letter = (CODE.findall(letters) or [letter])[0]
        beside |= dict.fromkeys(CODE.findall(keys), letter)
    assert {key.name: f"-{key.letter}" for key in conffile._KEYS}.items() <= beside.items()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0] + row[1])
def test_a_row_says_what_does_it_or_why_nothing_does(row):
    where = row[2]
    assert CODE.search(where) or " because " in where
    assert " because " in where or not re.search(r"(?:^|[.;:] )none\b", where)


@pytest.mark.parametrize(("table", "option"), places())
def test_the_place_in_a_pipeline_exists(table, option):
    assert option in known_options(table)


def test_the_commands_exist():
    commands = [code.split()[1] for code in named(2) if code.startswith("scepflow ")]
    assert set(commands) <= set(COMMANDS)
    assert {"run", "getcert", "import"} <= set(commands)
