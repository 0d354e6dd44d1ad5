"""``scepflow plugins``: what is installed, by kind, and what is broken."""

import json

CLASHING = """
from scepflow.hookspecs import hookimpl
from scepflow.stages import OutputSink

class MySink(OutputSink, tag="file"):
    "Another file sink."
    def write(self, issued, run): pass

@hookimpl
def scepflow_sinks():
    return [MySink]
"""


def test_stages_are_listed_by_kind_in_the_order_of_a_run(scepflow):
    said = scepflow("plugins")
    assert said.exit_code == 0
    tables = [line.split()[0] for line in said.stdout.splitlines() if line.startswith("[")]
    assert tables == ["[key]", "[csr]", "[signer]", "[transport]", "[poller]", "[sink.NAME]"]
    assert "  generate     A new private key, made for this enrollment\n" in said.stdout
    assert said.stdout.splitlines()[-1].startswith("all from scepflow ")


def test_a_clash_is_a_problem_and_breaks_nothing(scepflow, tmp_path):
    (tmp_path / "clash.py").write_text(CLASHING)
    said = scepflow("plugins", "-p", tmp_path / "clash.py")
    assert said.exit_code == 0
    assert "Another file sink  (" in said.stdout
    assert 'problem: sink "file" is offered by scepflow ' in said.stdout
    assert "  hint: remove one of them" in said.stdout


def test_a_broken_plugin_is_a_problem_and_breaks_nothing(scepflow, tmp_path):
    (tmp_path / "odd.py").write_text(
        "from scepflow.hookspecs import hookimpl\n@hookimpl\ndef scepflow_sinks(): 1/0\n"
    )
    said = scepflow("plugins", "-p", tmp_path / "odd.py")
    assert said.exit_code == 0
    assert "failed in scepflow_sinks: ZeroDivisionError" in said.stdout
    assert "pkcs12" in said.stdout


def test_plugins_in_json(scepflow, tmp_path):
    (tmp_path / "clash.py").write_text(CLASHING)
    document = json.loads(scepflow("plugins", "--json", "-p", tmp_path / "clash.py").stdout)
    stage = next(stage for stage in document["stages"] if stage["name"] == "generate")
    assert (stage["kind"], stage["plugin"], stage["distribution"]) == ("key", "bundled", "scepflow")
    assert document["problems"][0]["message"].startswith('sink "file" is offered by')


def test_no_plugins_at_all_are_an_empty_list(scepflow):
    assert scepflow("plugins", "-p", "no:bundled").output.strip() == ""
