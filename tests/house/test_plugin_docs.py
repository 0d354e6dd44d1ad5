"""plugins/README.md is right: each hook has its exact signature there, and each example does what it says."""

import inspect
import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from snippets import ROOT, snippets

from scepflow import hookspecs
from scepflow.events import PollScheduled
from scepflow.registry import HOOKS
from scepflow.stages import KINDS
from scepflow.testca import serve

README = "plugins/README.md"
HOOK_NAMES = [name for name in hookspecs.__all__ if name.startswith("scepflow_")]
SINK = '[sink.file]\ncert = "gw1.crt"\n'


def signature(hook):
    """The hook's signature as it is written in hookspecs.py."""
    written = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    return f"def {hook}{written}"


@pytest.fixture
def example(tmp_path):
    """Write the example of a hook to a file, and return what ``-p`` names."""

    def write(hook):
        (snippet,) = [s for s in snippets(README, "python") if s.heading == hook]
        path = tmp_path / f"{hook}.py"
        path.write_text(snippet.text)
        return str(path)

    return write


@pytest.fixture
def served(embedded_ca):
    """The ``[ca]`` table of `embedded_ca` on a loopback port."""
    with serve(embedded_ca) as server:
        yield f'[ca]\nurl = "{server.url}"\nfingerprint = "sha256:{embedded_ca.authority.fingerprint}"\n'


def test_there_are_seven_hooks_and_each_kind_has_its_own():
    assert len(HOOK_NAMES) == 7
    assert sorted([*(hook for hook, _ in HOOKS.values()), "scepflow_event"]) == sorted(HOOK_NAMES)
    assert HOOKS.keys() == KINDS.keys()


@pytest.mark.parametrize("hook", HOOK_NAMES)
def test_a_hook_is_documented_with_its_exact_signature(hook):
    text = (ROOT / README).read_text()
    section = text.partition(f"\n### {hook}\n")[2].partition("\n#")[0]
    assert f"\n`{signature(hook)}`" in f"\n{section.strip()}"
    source = (ROOT / "scepflow/hookspecs.py").read_text()
    assert f"\n{signature(hook)}:\n" in source


@pytest.mark.parametrize("table", HOOKS)
def test_a_hook_is_documented_with_its_table_and_method(table):
    hook, method = HOOKS[table]
    parameters = list(inspect.signature(getattr(KINDS[table], method)).parameters)[1:]
    text = (ROOT / README).read_text()
    section = text.partition(f"\n### {hook}\n")[2].partition("\n#")[0]
    assert f"`[{'sink.NAME' if table == 'sink' else table}]`" in section
    assert f"`{method}({', '.join(parameters)})`" in section


def test_the_hooks_are_documented_in_the_order_a_run_meets_them():
    text = (ROOT / README).read_text()
    at = [text.index(f"\n### {hook}\n") for hook, _ in HOOKS.values()]
    assert at == sorted(at)


def test_key_source_is_used(run_pipeline, example, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    table = '[key]\nuse = "secret"\npem = { file = "key.pem" }\n'
    run = run_pipeline(f"{table}{SINK}", example("scepflow_key_sources"))
    assert run.error is None
    assert run.outcome.credential.key.private_numbers() == key.private_numbers()


def test_key_source_reports_what_is_no_key_without_its_text(run_pipeline, example):
    run = run_pipeline(f'[key]\nuse = "secret"\npem = "hush"\n{SINK}', example("scepflow_key_sources"))
    assert (run.exit_code, run.error.message) == (78, "no private key in PEM (literal)")


def test_csr_builder_is_used(run_pipeline, example):
    table = '[csr]\nuse = "short"\ncommon_name = "gw7"\n'
    run = run_pipeline(f"{table}{SINK}", example("scepflow_csr_builders"))
    assert run.outcome.credential.certificate.subject.rfc4514_string() == "CN=gw7"


def test_signer_is_used(run_pipeline, example, served, embedded_ca):
    tables = '[signer]\nuse = "named"\ncommon_name = "ward 3"\n[transport]\nuse = "direct"\n'
    run = run_pipeline(f"{served}{tables}{SINK}", example("scepflow_signers"))
    assert run.error is None
    assert embedded_ca.requests[-1].certificate.subject.rfc4514_string() == "CN=ward 3"


def test_transport_is_used(run_pipeline, example, served, embedded_ca):
    run = run_pipeline(f'{served}[transport]\nuse = "plain"\n{SINK}', example("scepflow_transports"))
    assert run.error is None
    assert [certificate for _, certificate in embedded_ca.issued] == [run.outcome.credential.certificate]


def test_transport_reports_a_server_that_is_not_there(run_pipeline, example, embedded_ca):
    with serve(embedded_ca) as server:
        text = f'ca = {{ url = "{server.url}", certificate = "testca/ca.pem" }}\ntransport = {{ use = "plain" }}\n'
    run = run_pipeline(f"{text}{SINK}", example("scepflow_transports"))
    assert run.exit_code == 4
    assert "no answer" in run.error.message


def test_poller_is_used(run_pipeline, example):
    text = (
        'transport = { use = "embedded", directory = "testca", pending = 2 }\n'
        'poller = { use = "listed", waits = ["10s", "1m", "1h"] }\n'
    )
    run = run_pipeline(f"{text}{SINK}", example("scepflow_pollers"))
    assert run.error is None
    assert [event.delay_s for event in run.events if isinstance(event, PollScheduled)] == [10, 60]


def test_sink_is_used(run_pipeline, example, tmp_path):
    run = run_pipeline('[sink.fingerprint]\npath = "f"', example("scepflow_sinks"))
    assert run.error is None
    fingerprint = run.outcome.credential.certificate.fingerprint(SHA256()).hex()
    assert (tmp_path / "f").read_text() == f"{fingerprint}\n"


def test_sink_reports_what_it_cannot_write(run_pipeline, example):
    run = run_pipeline('[sink.fingerprint]\npath = "no/f"', example("scepflow_sinks"))
    (delivery,) = run.outcome.deliveries
    assert (run.exit_code, delivery.error.message) == (6, "no/f: No such file or directory")


def test_event_listener_is_told(run_pipeline, example, capsys):
    run = run_pipeline(SINK, example("scepflow_event"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(run.events) > 0
    assert lines[0].startswith('{"event":"RunStarted","pipeline":"gw1"')


@pytest.fixture
def shortest(tmp_path):
    """The folder of the shortest plugin: the README's named blocks as files."""
    for snippet in [*snippets(README, "python"), *snippets(README, "toml")]:
        if snippet.name:
            (tmp_path / snippet.name).write_text(snippet.text)
    return tmp_path


def run_in(folder, *argv):
    return subprocess.run(
        [sys.executable, "-m", *argv],
        cwd=folder,
        env={"PATH": os.defpath, "SCEPFLOW_STATE_DIR": str(folder / "state")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_shortest_plugin_does_what_is_shown(shortest):
    (session,) = [s.text for s in snippets(README, "console") if "hello.py" in s.text]
    command, _, shown = session.removeprefix("$ ").partition("\n")
    done = run_in(shortest, *command.split())
    assert (done.returncode, done.stdout) == (0, shown), done.stderr


def test_the_tests_of_the_shortest_plugin_pass(shortest):
    done = run_in(shortest, "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", shortest, shortest)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_every_public_module_that_authors_may_rely_on_exists():
    from importlib import import_module

    section = (ROOT / README).read_text().partition("## What you may rely on")[2].partition("\nIf ")[0]
    names = [word for word in section.split("`") if word.startswith("scepflow.")]
    assert len(names) >= 10
    for name in names:
        assert import_module(name).__all__, name
