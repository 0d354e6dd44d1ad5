from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import jsonschema
import msgspec
import pytest
import tomli

from scepflow.options import Duration, FileMode, Secret
from scepflow.pipeline.model import CaOptions
from scepflow.pipeline.schema import attribute_docs, option_table, pipeline_schema
from scepflow.registry import Registry
from scepflow.stages import OutputSink


@pytest.fixture
def faults(registry):
    """Return what the schema finds in a TOML text, as JSON paths."""
    schema = json.loads(json.dumps(pipeline_schema(registry)))
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    return lambda text: [error.json_path for error in validator.iter_errors(tomli.loads(text))]


@pytest.mark.parametrize(
    "more",
    [
        "",
        "[poller]\ninterval = '1h 30m'\nmax_count = 3",
        "[poller]\nuse = 'backoff'",
        "[transport]\nuse = 'proxy'\nurl = 'http://proxy'\npassword = { env = 'P' }",
        "[sink.phone]\nuse = 'pkcs12'\npath = 'x'\npassword = { command = ['pass', 'x'] }",
        "[sink.pkcs12]\npath = 'x'\npassword = 'literal'",
        "[vars]\nx = 'y'",
        "[renew]\nkey = 'reuse'",
    ],
)
def test_a_good_file_fits_the_schema(faults, good, more):
    assert faults(good + more) == []


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("[poller]\nintervl = '60s'", "$.poller"),
        ("[poller]\nmax_count = -1", "$.poller"),
        ("[poller]\ninterval = 60", "$.poller"),
        ("[poller]\nuse = 'nope'", "$.poller"),
        ("[signer]\ndays = 4000", "$.signer"),
        ("[key]\nalgorithm = 'dsa'", "$.key"),
        ("[transport]\nuse = 'proxy'", "$.transport"),
        ("[sink.phone]\npath = 'x'", "$.sink.phone"),
        ("[sink.phone]\nuse = 'pkcs12'\npath = 'x'", "$.sink.phone"),
        ("[sink.pkcs12]\npath = 'x'", "$.sink.pkcs12"),
        ("[sink.pkcs12]\npath = 'x'\npassword = { fil = 'x' }", "$.sink.pkcs12"),
        ("[sink.x]\nuse = 'file'\nmode = '9999'", "$.sink.x"),
        ("[sink.x]\nuse = 'file'\npair = [1]", "$.sink.x"),
        ("[vars]\nx = 1", "$.vars.x"),
        ("[renew]\nkey = 'old'", "$.renew.key"),
        ("[pollers]", "$"),
    ],
)
def test_a_fault_is_found_by_the_schema(faults, good, more, path):
    assert faults(good + more) == [path]


def test_what_is_missing_is_only_missed_in_a_file_that_extends_no_other(faults, good):
    assert {"$.ca", "$.csr", "$.sink.pkcs12"} <= set(faults("[ca]\n[csr]\n[sink.pkcs12]"))
    assert "$" in faults("")
    assert faults("extends = 'common.toml'\n[ca]\n[csr]\n[sink.pkcs12]") == []


def test_the_schema_describes_options_and_defaults(registry):
    definitions = pipeline_schema(registry)["definitions"]
    assert definitions["key.generate"]["properties"]["algorithm"] == {
        "description": "what kind of key, and how large.",
        "enum": ["ec-p256", "rsa-2048", "rsa-3072"],
        "default": "rsa-2048",
    }
    assert definitions["key.generate"]["properties"]["use"] == {
        "description": "Make a key. (fake)",
        "const": "generate",
    }
    assert definitions["poller.backoff"]["properties"]["interval"]["default"] == "1m"
    assert definitions["signer.auto"]["properties"]["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 3650,
        "default": 365,
    }
    assert "Secret" not in json.dumps(definitions)


def test_a_registry_without_stages_has_a_schema_too():
    jsonschema.Draft7Validator.check_schema(pipeline_schema(Registry()))


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Part(msgspec.Struct, frozen=True):
    """A part.

    Attributes:
        size: how large.
    """

    size: int
    wait: Duration = Duration("5s")


Port = NewType("Port", int)


class RichSink(OutputSink, tag="rich", kw_only=True):
    """Every type there is.

    Attributes:
        name (str): a name,
            on two lines | with a bar.
        secret: what nobody knows.

    And more text.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, pattern="^a", extra_json_schema={"examples": ["abc"]})]
    level: Level = Level.LOW
    parts: Annotated[tuple[Part, ...], msgspec.Meta(max_length=3)] = (Part(1),)
    path: Path = Path("x")
    table: dict[str, Part] = msgspec.field(default_factory=dict)
    secret: Secret | None = None
    mode: FileMode = FileMode("0600")
    anything: Any = None
    bare: list = msgspec.field(default_factory=list)
    loose: dict = msgspec.field(default_factory=dict)
    mixed: str | int | None = None
    port: Port | Literal["any", "none"] = "any"

    def write(self, issued, run): ...


def test_every_type_has_its_schema():
    from scepflow.hookspecs import hookimpl

    class Plugin:
        @hookimpl
        def scepflow_sinks(self):
            return [RichSink]

    registry = Registry()
    registry.register(Plugin(), "rich")
    schema = pipeline_schema(registry)
    jsonschema.Draft7Validator.check_schema(schema)
    found = schema["definitions"]["sink.rich"]["properties"]
    part = {
        "type": "object",
        "properties": {
            "size": {"description": "how large.", "type": "integer"},
            "wait": {
                "type": "string",
                "pattern": found["parts"]["items"]["properties"]["wait"]["pattern"],
                "default": "5s",
            },
        },
        "additionalProperties": False,
        "required": ["size"],
    }
    assert found["name"] == {
        "description": "a name, on two lines | with a bar.",
        "type": "string",
        "minLength": 1,
        "pattern": "^a",
        "examples": ["abc"],
    }
    assert found["level"] == {"enum": ["high", "low"], "default": "low"} or found["level"]["enum"] == [
        "low",
        "high",
    ]
    assert found["parts"] == {
        "type": "array",
        "items": part,
        "maxItems": 3,
        "default": [{"size": 1, "wait": "5s"}],
    }
    assert found["path"] == {"default": "x"}
    assert found["table"] == {"type": "object", "additionalProperties": part, "default": {}}
    assert found["mode"]["default"] == "0600"
    assert found["anything"] == {}
    assert found["mixed"] == {"anyOf": [{"type": "string"}, {"type": "integer"}]}


def test_an_option_table_has_type_default_and_meaning():
    assert option_table(RichSink).splitlines() == [
        "| option | type | default | meaning |",
        "|---|---|---|---|",
        r"| `name` | text | **required** | a name, on two lines \| with a bar. |",
        '| `level` | `"low"`, `"high"` | `"low"` |  |',
        '| `parts` | list of table (size, wait) | `[{"size":1,"wait":"5s"}]` |  |',
        '| `path` | text | `"x"` |  |',
        "| `table` | table of table (size, wait) |  |  |",
        "| `secret` | secret |  | what nobody knows. |",
        '| `mode` | file mode | `"0600"` |  |',
        "| `anything` | anything |  |  |",
        "| `bare` | list |  |  |",
        "| `loose` | table |  |  |",
        "| `mixed` | text or integer |  |  |",
        '| `port` | integer or `"any"`, `"none"` | `"any"` |  |',
    ]


def test_the_options_of_the_ca_are_all_documented():
    docs = attribute_docs(CaOptions)
    assert docs.keys() == {field.name for field in msgspec.structs.fields(CaOptions)}
    assert "| `url` | URL (template) | **required** |" in option_table(CaOptions)


def test_a_docstring_without_attributes_documents_none():
    class Plain:
        """Plain.

        Attributes:
            (none yet)
        """

    assert attribute_docs(Plain) == attribute_docs(object) == {}


def test_attributes_of_a_base_are_documented_too():
    class More(RichSink, tag="more", kw_only=True):
        """More.

        Attributes:
            extra: one more.
        """

        extra: int = 1

    assert attribute_docs(More).keys() == {"name", "secret", "extra"}
