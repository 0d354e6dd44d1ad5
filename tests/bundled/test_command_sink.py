import json
import os
import select
import signal
import sys
import threading
import time

import pytest
from credential_fixtures import make_credential, make_run, tree
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepflow.errors import OptionError, SinkError
from scepflow.options import Duration, PathTemplate, Template
from scepflow_bundled.command_sink import _feed
from scepflow_bundled.sinks import CommandSink

SAVE = "import json,os,sys; json.dump([dict(os.environ), json.load(sys.stdin), sys.argv, os.getcwd()], open(sys.argv[1], 'w'))"


def python(code: str, *arguments: str, **options) -> CommandSink:
    return CommandSink(run=[Template(word) for word in (sys.executable, "-c", code, *arguments)], **options)


def shell(script: str, **options) -> CommandSink:
    return CommandSink(run=[Template(word) for word in ("sh", "-c", script)], **options)


def saved(tmp_path, *arguments, issued=None, **options):
    python(SAVE, str(tmp_path / "out.json"), *arguments, **options).write(
        issued or make_credential(), make_run(tmp_path)
    )
    return json.loads((tmp_path / "out.json").read_text())


def failure(tmp_path, sink) -> SinkError:
    with pytest.raises(SinkError) as caught:
        sink.write(make_credential(), make_run(tmp_path))
    return caught.value


def test_the_environment_names_the_certificate(tmp_path):
    issued = make_credential()
    environment, *_ = saved(tmp_path, issued=issued)
    facts = {name: value for name, value in environment.items() if name.startswith("SCEPFLOW_")}
    assert facts == {
        "SCEPFLOW_PIPELINE": "gw1",
        "SCEPFLOW_SUBJECT": "CN=gw1.example.com,O=Example",
        "SCEPFLOW_ISSUER": "CN=Example CA,O=Example",
        "SCEPFLOW_SERIAL": "4f11",
        "SCEPFLOW_NOT_BEFORE": "2026-11-19T12:00:00Z",
        "SCEPFLOW_NOT_AFTER": "2027-11-20T12:00:00Z",
        "SCEPFLOW_CERTIFICATE_SHA256": issued.certificate.fingerprint(
            issued.certificate.signature_hash_algorithm
        ).hex(),
    }


def test_standard_input_is_one_json_object_without_the_key(tmp_path):
    issued = make_credential()
    _, document, *_ = saved(tmp_path, issued=issued)
    assert x509.load_pem_x509_certificate(document.pop("certificate_pem").encode()) == issued.certificate
    assert x509.load_pem_x509_certificates(document.pop("chain_pem").encode()) == list(issued.chain)
    fingerprint = document.pop("fingerprint")
    assert fingerprint.startswith("sha256:")
    assert document == {
        "pipeline": "gw1",
        "subject": "CN=gw1.example.com,O=Example",
        "issuer": "CN=Example CA,O=Example",
        "serial": "4f11",
        "not_before": "2026-11-19T12:00:00Z",
        "not_after": "2027-11-20T12:00:00Z",
    }


def test_the_key_is_given_only_when_asked_for(tmp_path):
    issued = make_credential()
    environment, document, argv, _ = saved(tmp_path, issued=issued, with_key=True)
    key = load_pem_private_key(document["key_pem"].encode(), None)
    assert key.private_numbers() == issued.key.private_numbers()
    assert "PRIVATE KEY" not in str(environment) + str(argv)


def test_arguments_reach_the_program_as_they_are(tmp_path):
    *_, argv, _ = saved(tmp_path, "a b", "$HOME", "; exit 1", "{x}")
    assert argv[2:] == ["a b", "$HOME", "; exit 1", "{x}"]


def test_of_the_environment_only_harmless_variables_are_inherited(tmp_path, monkeypatch):
    monkeypatch.setenv("PROXY_PASSWORD", "hush")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LD_PRELOAD", "")
    environment, *_ = saved(tmp_path)
    assert {"LC_ALL", "TZ", "PATH"} <= environment.keys()
    assert not {"PROXY_PASSWORD", "LD_PRELOAD"} & environment.keys()


def test_a_run_without_a_path_still_finds_programs(tmp_path, monkeypatch):
    monkeypatch.delenv("PATH")
    shell("exit 0").check(make_run(tmp_path))
    shell("exit 0").write(make_credential(), make_run(tmp_path))


def test_more_variables_can_be_set(tmp_path):
    environment, *_ = saved(tmp_path, environment={"ZONE": Template("dmz"), "HOME": Template("/nowhere")})
    assert (environment["ZONE"], environment["HOME"]) == ("dmz", "/nowhere")


def test_the_working_directory_is_the_pipelines_unless_told_otherwise(tmp_path):
    (tmp_path / "sub").mkdir()
    assert saved(tmp_path)[3] == str(tmp_path)
    assert saved(tmp_path, directory=PathTemplate("sub"))[3] == str(tmp_path / "sub")


def test_a_subject_with_control_characters_is_escaped(tmp_path):
    environment, document, *_ = saved(tmp_path, issued=make_credential("gw\x1b]0;x\n\u202e"))
    assert environment["SCEPFLOW_SUBJECT"].isprintable()
    assert document["subject"].isprintable()


def test_a_program_that_fails_is_quoted(tmp_path):
    error = failure(tmp_path, shell("echo one; echo; echo two >&2; exit 3"))
    assert error.message == "sh exited 3: one | two"


def test_what_a_program_says_is_made_safe_and_short(tmp_path):
    error = failure(tmp_path, shell("yes filler | head -n 30000; printf '\\033]0;pwn\\007last\\n'; exit 1"))
    assert error.message.isprintable()
    assert error.message.endswith("last")
    assert len(error.message) < 1100


def test_a_program_that_fails_silently_says_so(tmp_path):
    assert failure(tmp_path, shell("exit 1")).message == "sh exited 1 and said nothing"


def test_a_program_killed_by_a_signal_is_named(tmp_path):
    assert "was killed by SIGTERM" in failure(tmp_path, shell("kill -TERM $$")).message


def test_a_signal_without_a_name_is_given_by_its_number(tmp_path):
    error = failure(tmp_path, python("import os; os.kill(os.getpid(), 40)"))
    assert "was killed by signal 40" in error.message


def test_output_of_a_program_that_was_given_the_key_is_not_shown(tmp_path):
    error = failure(tmp_path, shell("cat; exit 1", with_key=True))
    assert "is not shown" in error.message
    assert "PRIVATE" not in error.message


def test_a_program_that_never_reads_does_not_block(tmp_path):
    issued = make_credential()
    long = type(issued)(key=issued.key, certificate=issued.certificate, chain=issued.chain * 200)
    shell("exit 0").write(long, make_run(tmp_path))
    shell("exec <&-; exit 0").write(long, make_run(tmp_path))


def test_a_document_that_nobody_reads_is_given_up():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        assert _feed(pipe, b"document") == b""


def test_a_long_document_arrives_whole(tmp_path):
    issued = make_credential()
    long = type(issued)(key=issued.key, certificate=issued.certificate, chain=issued.chain * 200)
    _, document, *_ = saved(tmp_path, issued=long)
    assert document["chain_pem"].count("BEGIN") == 400


def test_a_program_that_closes_its_output_first_is_waited_for(tmp_path):
    shell("exec >&- 2>&-; cat > copy").write(make_credential(), make_run(tmp_path))
    assert json.loads((tmp_path / "copy").read_text())["pipeline"] == "gw1"


def test_a_daemon_that_keeps_the_pipes_open_does_not_block(tmp_path):
    # The daemon waits on a named pipe with our pipes as its own; the test lets it go at the end.
    os.mkfifo(tmp_path / "gate")
    started = time.monotonic()
    error = failure(tmp_path, shell("(read x < gate) & echo started; exit 4", timeout=Duration("30s")))
    assert time.monotonic() - started < 10
    assert error.message == "sh exited 4: started"
    (tmp_path / "gate").write_text("go\n")


@pytest.fixture
def gate(tmp_path):
    """The reading end of a named pipe that programs under test hold open as long as they live."""
    os.mkfifo(tmp_path / "gate")
    descriptor = os.open(tmp_path / "gate", os.O_RDONLY | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def wait_for(gate) -> bytes:
    """Wait until somebody writes, or until all who could are dead."""
    ready, _, _ = select.select([gate], [], [], 5)
    assert ready, "something is still running"
    return os.read(gate, 100)


def test_after_the_timeout_the_program_and_its_children_are_killed(tmp_path, gate):
    sink = shell("exec 3>gate; echo up >&3; sleep 30 & sleep 30", timeout=Duration("0.3s"))
    error = failure(tmp_path, sink)
    assert error.message == "sh took longer than 0.3 s and was killed"
    assert error.hint
    assert wait_for(gate) == b"up\n"
    assert wait_for(gate) == b""


def test_a_timeout_also_ends_a_program_without_pipes(tmp_path):
    sink = shell("exec <&- >&- 2>&-; mkfifo gate; read x < gate", timeout=Duration("0.3s"))
    assert "took longer than" in failure(tmp_path, sink).message


def test_ctrl_c_ends_the_program_too(tmp_path, gate):
    def interrupt():
        wait_for(gate)  # the document was read, so the sink is waiting for the program
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        shell("cat > copy; exec 3>gate; echo up >&3; sleep 30 & sleep 30").write(
            make_credential(), make_run(tmp_path)
        )
    thread.join(10)
    assert wait_for(gate) == b""


def test_a_program_that_is_missing_is_an_error_with_a_hint(tmp_path):
    sink = CommandSink(run=[Template("no-such-program")])
    for act in (sink.check, lambda run: sink.write(make_credential(), run)):
        with pytest.raises(SinkError, match="cannot run no-such-program") as caught:
            act(make_run(tmp_path))
        assert "PATH" in caught.value.hint


def test_a_path_starts_in_the_working_directory(tmp_path):
    script = tmp_path / "hook"
    script.write_text("#!/bin/sh\ntouch done\n")
    sink = CommandSink(run=[Template("./hook")])
    with pytest.raises(SinkError, match="not executable") as caught:
        sink.check(make_run(tmp_path))
    assert "#!" in caught.value.hint
    script.chmod(0o755)
    sink.check(make_run(tmp_path))
    sink.write(make_credential(), make_run(tmp_path))
    assert (tmp_path / "done").exists()


def test_a_script_without_an_interpreter_line_is_explained(tmp_path):
    (tmp_path / "hook").write_text("touch done\n")
    (tmp_path / "hook").chmod(0o755)
    error = failure(tmp_path, CommandSink(run=[Template("./hook")]))
    assert "exec format error" in error.message
    assert "#!" in error.hint


def test_a_missing_working_directory_is_named(tmp_path):
    sink = shell("exit 0", directory=PathTemplate("missing"))
    with pytest.raises(SinkError, match="missing: no such directory"):
        sink.check(make_run(tmp_path))
    assert "missing" in failure(tmp_path, sink).message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run": []}, "names no program"),
        ({"run": [Template("")]}, "names no program"),
        ({"run": [Template("a\0b")]}, "NUL"),
        ({"run": [Template("a")], "environment": {"A": Template("\0")}}, "NUL"),
        ({"run": [Template("a")], "environment": {"A=B": Template("x")}}, "not a name"),
        ({"run": [Template("a")], "environment": {"SCEPFLOW_SERIAL": Template("x")}}, "not a name"),
        ({"run": [Template("a")], "timeout": Duration("0s")}, "longer than 0 s"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options, message):
    with pytest.raises(OptionError, match=message):
        CommandSink(**options)


def test_preparing_runs_nothing(tmp_path):
    prepared = shell("touch done").prepare(make_credential(), make_run(tmp_path))
    assert tree(tmp_path) == {}
    prepared.commit()
    assert list(tree(tmp_path)) == ["done"]


def test_checking_runs_nothing(tmp_path):
    shell("touch done").check(make_run(tmp_path))
    assert tree(tmp_path) == {}


def test_describe_shows_the_program_and_not_its_arguments():
    assert shell("secret stuff").describe() == "sh"


def test_it_waits_for_all_that_write_files_unless_told_for_whom():
    assert CommandSink(run=["true"]).waits_for() is None
    assert CommandSink(run=["true"], after=["file"]).waits_for() == ("file",)
    assert CommandSink(run=["true"], after=[]).waits_for() == ()
