"""Every pipeline that we show is one: the files in pipelines/, the snippets of the READMEs, the examples in docstrings."""

import sys

import option_tables
import pytest
import tomli
from snippets import ROOT, snippets

from scepflow.pipeline import check_pipeline, render
from scepflow.registry import Registry

READMES = ["README.md", "pipelines/README.md", "plugins/README.md", "plugins/example-webhook/README.md"]
FILES = sorted((ROOT / "pipelines").glob("*.toml"))
STAGES = [info for info in Registry.discover().stages() if info.plugin == "bundled"]
REST = {
    "ca": f'ca = {{ url = "http://pki.example.com/scep", fingerprint = "sha256:{"00" * 32}" }}',
    "csr": 'csr = { subject = "CN=gw1.example.com" }',
    "sink": 'sink = { file = { cert = "gw1.crt" } }',
}


def host():
    return {"host.name": "gw1", "host.fqdn": "gw1.example.com"}


def toml_snippets():
    return [snippet for file in READMES for snippet in snippets(file, "toml") if not snippet.skipped]


def mistakes(text, tmp_path, registry):
    """Validate a pipeline, completed with the tables that it leaves out."""
    rest = [line for table, line in REST.items() if table not in tomli.loads(text)]
    (tmp_path / "p.toml").write_text("\n".join([*rest, text]))
    (tmp_path / "common.toml").touch()  # what the reference extends
    report = check_pipeline(tmp_path / "p.toml", registry, host=host)
    return "\n".join(render(report)) if report.errors else ""


@pytest.fixture
def documented(tmp_path, monkeypatch):
    """A registry with the plugins that a README shows, and the example distribution."""

    def discover(file):
        monkeypatch.syspath_prepend(ROOT / "plugins" / "example-webhook")
        extra = ["scepflow_webhook"]
        for snippet in snippets(file, "python"):
            if "@hookimpl" in snippet.text:
                path = tmp_path / f"plugin_{snippet.line}.py"
                path.write_text(snippet.text)
                extra.append(str(path))
        return Registry.discover(extra=extra)

    yield discover
    for name in [name for name in sys.modules if name.startswith("scepflow_webhook")]:
        del sys.modules[name]


def test_there_are_pipelines_and_snippets_to_look_at():
    assert len(FILES) >= 6
    assert len(toml_snippets()) >= 4
    assert len(STAGES) >= 16


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_pipeline_file_validates(file):
    report = check_pipeline(file, Registry.discover(), host=host)
    assert not report.errors, "\n".join(render(report))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_pipeline_file_is_named_in_the_readme(file):
    assert file.name in (ROOT / "pipelines" / "README.md").read_text()


@pytest.mark.parametrize("snippet", toml_snippets(), ids=str)
def test_a_toml_snippet_validates(snippet, tmp_path, documented):
    if snippet.mark == "pyproject":
        assert tomli.loads(snippet.text)["project"]["entry-points"]["scepflow"]
    else:
        assert not mistakes(snippet.text, tmp_path, documented(snippet.file))


@pytest.mark.parametrize("info", STAGES, ids=lambda info: f"{info.kind}-{info.name}")
def test_the_example_in_a_stage_docstring_validates(info, tmp_path):
    example = option_tables.example(info.cls)
    assert example, f"{info.cls.__name__} shows no TOML"
    assert not mistakes(example, tmp_path, Registry.discover())


def test_a_mistake_in_a_snippet_would_be_found(tmp_path):
    assert 'did you mean "interval"?' in mistakes(
        '[poller]\nintervl = "60s"\n', tmp_path, Registry.discover()
    )


def test_every_python_snippet_runs(tmp_path, monkeypatch):
    """Those of plugins/README.md run in test_plugin_docs.py."""
    monkeypatch.chdir(tmp_path)
    for snippet in [snippet for file in READMES for snippet in snippets(file, "python")]:
        if snippet.file != "plugins/README.md" and not snippet.skipped:
            exec(compile(snippet.text, str(snippet), "exec"), {})  # the tree's own documentation


def test_the_options_in_the_reference_are_current():
    text = option_tables.README.read_text()
    assert text == option_tables.renewed(text), "run python tests/house/option_tables.py"


def test_every_table_and_stage_is_in_the_reference_once():
    assert sorted(option_tables.marked(option_tables.README.read_text())) == sorted(option_tables.regions())


def test_options_that_are_out_of_date_would_be_found():
    old = "<!-- options: renew -->\nold\n<!-- /options -->"
    assert "| `before` |" in option_tables.renewed(old)
    with pytest.raises(KeyError):
        option_tables.renewed(old.replace("renew", "sink fax"))
