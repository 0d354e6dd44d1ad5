import json

import pytest

from scepflow.pipeline import InvalidPipelineError
from scepflow.pipeline.explain import explain

COMMON = """[ca]
url = "http://{var.host}/scep"
[vars]
host = "pki.example.com"
[csr]
challenge = { file = "x" }
"""

MAIN = """extends = "common.toml"
[ca]
certificate = "ca.pem"
[csr]
subject = "CN={device.cn},O={var.host}"
challenge = { env = "CHALLENGE" }
san = ["dns:{device.cn}", "dns:x"]
extensions = { "1.2" = { der = "00" } }
[transport]
use = "proxy"
url = "http://user:hunter2@proxy.example.com"
[poller]
interval = "90s"
[sink.phone]
use = "pkcs12"
path = "a.p12"
password = "hunter2"
"""


@pytest.fixture
def explanation(write, registry):
    write(COMMON, "common.toml")
    return explain(write(MAIN), registry, device={"cn": "gw"})


@pytest.fixture
def value(explanation):
    """Return the explained value of a table's option."""
    values = {(v.table, v.option): v for v in explanation.values}
    return lambda table, option: values[table, option]


@pytest.mark.parametrize(
    ("table", "option", "shown", "source"),
    [
        ("ca", "url", "http://pki.example.com/scep", "common.toml:2 (extends) with var.host"),
        ("ca", "certificate", "ca.pem", "gw.toml:3"),
        ("ca", "security", "default", "default"),
        ("csr", "use", "subject", "default"),
        ("csr", "subject", "CN=gw,O=pki.example.com", "gw.toml:5 with device.cn, var.host"),
        ("csr", "challenge", {"secret": "env CHALLENGE"}, "gw.toml:6"),
        ("csr", "san", ["dns:gw", "dns:x"], "gw.toml:7 with device.cn"),
        ("csr", "extensions", {"1.2": {"der": "00", "critical": False}}, "gw.toml:8"),
        ("transport", "url", "http://proxy.example.com", "gw.toml:11"),
        ("poller", "interval", "1m30s", "gw.toml:13"),
        ("renew", "before", "auto", "default"),
        ("sink.phone", "use", "pkcs12", "gw.toml:15"),
        ("sink.phone", "password", {"secret": "literal"}, "gw.toml:17"),
    ],
)
def test_a_value_says_where_it_came_from(value, table, option, shown, source):
    assert (value(table, option).value, value(table, option).source) == (shown, source)


def test_tables_come_in_the_order_a_run_meets_them(explanation):
    assert list(dict.fromkeys(value.table for value in explanation.values)) == [
        "ca",
        "key",
        "csr",
        "signer",
        "transport",
        "poller",
        "renew",
        "sink.phone",
    ]


def test_no_secret_is_explained(explanation):
    assert "hunter2" not in "\n".join(explanation.lines()) + json.dumps(explanation.as_dict()) + repr(
        explanation
    )


def test_lines_are_aligned(explanation):
    lines = explanation.lines()
    assert lines[0] == "[ca]"
    assert lines.count("") == 7
    poller = lines.index("[poller]")
    assert lines[poller : poller + 3] == [
        "[poller]",
        '  use                     "backoff"                                  default',
        '  interval                "1m30s"                                    gw.toml:13',
    ]
    assert any("<secret: env CHALLENGE>" in line for line in lines)


def test_an_explanation_is_json(explanation):
    values = json.loads(json.dumps(explanation.as_dict()))["values"]
    assert values[0] == {
        "table": "ca",
        "option": "url",
        "value": "http://pki.example.com/scep",
        "origin": "extends",
        "file": "common.toml",
        "line": 2,
        "uses": ["var.host"],
    }


def test_only_a_valid_file_is_explained(write, registry):
    with pytest.raises(InvalidPipelineError):
        explain(write("x = 1"), registry)
