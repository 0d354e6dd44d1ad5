"""``scepflow run``: progress on stderr, results on stdout, one exit code."""

import json
import os
import re
import signal
import stat
import time
from datetime import UTC, datetime

import pytest
from cryptography import x509

from scepflow.state import StateDirectory
from scepflow.testca import Knobs, Responder, replying, serve

BREAKS = """
import os, signal
from scepflow.hookspecs import hookimpl
from scepflow.stages import KeySource, OutputSink

class Stopped(KeySource, tag="stopped"):
    "Somebody presses Ctrl-C."
    def obtain(self, run):
        raise KeyboardInterrupt

class Odd(KeySource, tag="odd"):
    "What it returns is no key."
    durable = True
    def obtain(self, run):
        return object()

class Importing(KeySource, tag="importing"):
    "Somebody presses Ctrl-C while a module is imported, which makes another error of it."
    number: int
    def obtain(self, run):
        try:
            os.kill(os.getpid(), self.number)
        except KeyboardInterrupt:
            raise RuntimeError("Error calling __set_name__")

class Stopping(OutputSink, tag="stopping"):
    "Somebody presses Ctrl-C."
    def write(self, credential, run):
        raise KeyboardInterrupt

@hookimpl
def scepflow_key_sources():
    return [Stopped, Odd, Importing]

@hookimpl
def scepflow_sinks():
    return [Stopping]
"""


@pytest.fixture
def breaks(folder):
    (folder / "breaks.py").write_text(BREAKS)
    return "./breaks.py"


def test_a_run_tells_its_steps_and_then_the_result(scepflow, write, folder):
    said = scepflow("run", write())
    assert said.exit_code == 0
    certificate = x509.load_pem_x509_certificate((folder / "gw1.pem").read_bytes())
    steps = [line.split()[0] for line in said.stderr.splitlines()]
    assert steps == ["gw1", "key", "CSR", "signer", "warning", "CA", "sent", "issued", "delivered"]
    first, second = said.stdout.splitlines()
    assert first.startswith(f"gw1       issued          serial {certificate.serial_number:x}"[:40])
    assert first.endswith("RSA-2048 key")
    assert second == "          delivered       file: gw1.pem"


def test_details_are_told_on_request(scepflow, write, folder):
    said = scepflow("run", "-v", write())
    assert "reply      SUCCESS after" in said.stderr
    assert "offers AES" in said.stderr
    assert ", transaction " in said.stderr


def test_a_quiet_run_that_goes_well_says_only_warnings(scepflow, write):
    said = scepflow("run", "--quiet", write())
    assert said.exit_code == 0
    assert said.stdout == ""
    assert said.stderr.startswith("gw1: warning    the embedded test CA is for tests")
    assert said.stderr.count("\n") == 1


def test_nothing_is_coloured_where_no_terminal_is(scepflow, write):
    said = scepflow("run", write())
    assert "\x1b" not in said.output


# -- JSON


def test_results_are_one_json_document(scepflow, write, folder):
    said = scepflow("run", "--json", write())
    assert said.exit_code == 0
    document = json.loads(said.stdout)
    (result,) = document["pipelines"]
    certificate = x509.load_pem_x509_certificate((folder / "gw1.pem").read_bytes())
    assert document["exit_code"] == result["exit_code"] == 0
    assert result["pipeline"] == "gw1"
    assert result["outcome"] == "issued"
    assert result["serial"] == f"{certificate.serial_number:x}"
    assert result["subject"] == "CN=gw1.example.com"
    assert result["issuer"] == "CN=scepflow test CA,O=Never for production"
    assert result["not_after"] == f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert result["fingerprint"].startswith("sha256:")
    assert result["deliveries"] == [{"sink": "file", "delivered": True, "detail": "gw1.pem", "error": None}]
    assert [warning["code"] for warning in result["warnings"]] == ["test-ca"]
    assert result["elapsed_s"] >= 0
    assert result["error"] is None


def test_a_failure_in_json_has_type_message_and_hint(scepflow, write):
    said = scepflow("run", "--json", _rejecting(write))
    (result,) = json.loads(said.stdout)["pipelines"]
    assert said.exit_code == result["exit_code"] == 72
    assert (result["outcome"], result["serial"], result["deliveries"]) == ("rejected", None, [])
    assert result["error"]["type"] == "RejectedError"
    assert "badRequest" in result["error"]["message"]
    assert result["error"]["hint"]
    assert (result["fail_info"], result["fail_info_text"], result["renew_at"]) == (2, "", None)
    assert len(result["transaction_id"]) == 32


def _rejecting(write, name="bad.toml"):
    return write(name, directory='"testca"\nreject = "badRequest"')


def test_events_are_json_lines_where_logs_are(scepflow, write):
    said = scepflow("--log-format", "json", "run", write())
    lines = [json.loads(line) for line in said.stderr.splitlines()]
    assert [line["event"] for line in lines][:2] == ["RunStarted", "KeyReady"]
    assert [line["event"] for line in lines][-2:] == ["SinkDelivered", "RunFinished"]
    assert {line["pipeline"] for line in lines} == {"gw1"}


def test_a_quiet_json_log_has_what_went_wrong(scepflow, write):
    said = scepflow("run", "-q", "--log-format", "json", _rejecting(write))
    lines = [json.loads(line) for line in said.stderr.splitlines()]
    assert [line.get("event") for line in lines] == ["Warned", "RunFinished", "Log"]
    assert (lines[1]["outcome"], lines[2]["exit_code"]) == ("rejected", 72)


# -- what goes wrong


def test_a_rejection_says_where_and_what_to_look_at(scepflow, write):
    said = scepflow("run", _rejecting(write))
    assert said.exit_code == 72
    assert said.stdout == ""
    error, where, hint = said.stderr.splitlines()[-3:]
    assert error == "error: the CA rejected the request: badRequest (failInfo 2)"
    assert where.startswith("  pipeline bad, transaction ")
    assert "http://embedded/scep, " in where
    assert hint.startswith("  hint: is the challenge right")


def test_without_a_pin_the_run_prints_the_line_to_paste(scepflow, write, folder, current_authority):
    said = scepflow("run", _without_pin(write, folder))
    assert said.exit_code == 5
    assert f'fingerprint = "sha256:{current_authority.fingerprint}"' in said.stderr


def _without_pin(write, folder):
    return _edited(folder / write("unpinned.toml"), 'certificate = "testca/ca.pem"', "")


def _edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_a_pipeline_with_errors_makes_nothing_and_shows_all_of_them(scepflow, write, folder):
    write("m.toml", "[renw]", "[poller]", 'intervl = "1s"', url='"ftp://x"')
    said = scepflow("run", "m.toml")
    assert said.exit_code == 78
    assert said.stdout == ""
    assert said.stderr.count(": error: ") == 3
    assert "3 errors in 1 file" in said.stderr
    assert not (folder / "state").exists()
    assert not (folder / "gw1.pem").exists()


def test_errors_of_a_pipeline_are_json_where_asked(scepflow, write):
    write("m.toml", "[renw]")
    said = scepflow("run", "--json", "--log-format", "json", "m.toml")
    (problem,) = json.loads(said.stdout)["pipelines"][0]["problems"]
    assert (problem["severity"], problem["line"]) == ("error", 15)
    assert json.loads(said.stderr)["file"] == "m.toml"


def test_warnings_of_a_pipeline_are_shown_and_do_not_stop_it(scepflow, write):
    write("lit.toml", subject='"CN=gw1.example.com"\nchallenge = "hush-hush"')
    said = scepflow("run", "lit.toml")
    assert said.exit_code == 0
    assert "warning: literal secret" in said.stderr
    assert "hush-hush" not in said.output
    assert "literal secret" not in scepflow("run", "-q", "lit.toml").stderr


def test_a_file_that_is_not_there_is_a_configuration_error(scepflow, folder):
    said = scepflow("run", "missing.toml")
    assert said.exit_code == 78
    assert "missing.toml: error: cannot read the pipeline file" in said.stderr


def test_a_sink_that_fails_is_named_with_what_to_do(scepflow, write, folder):
    write("deg.toml", "[sink.far]", 'use = "file"', 'cert = "far/away.pem"')
    said = scepflow("run", "deg.toml", "--state-dir", folder / "kept")
    assert said.exit_code == 6
    delivered, failed, hint = said.stdout.splitlines()[1:]
    assert "delivered       file: gw1.pem" in delivered
    assert "NOT delivered   far: " in failed
    assert "hint: make the directory" in hint
    (certificate,) = (folder / "kept").rglob("certificate.pem")
    assert stat.S_IMODE(certificate.stat().st_mode) == 0o600
    assert "  FAILED     sink far: " in said.stderr


def test_a_pending_request_exits_3_and_names_its_transaction(scepflow, write, folder):
    write("pend.toml", "[poller]", "wait = false", directory='"testca"\npending = 5')
    said = scepflow("run", "pend.toml")
    assert said.exit_code == 3
    (request,) = (folder / "state").rglob("enrollment.json")
    assert f"must approve transaction {request.parent.name}" in said.stderr


def test_a_sink_that_failed_and_a_renewal_that_is_pending_are_both_told(scepflow, write, folder):
    far = ("[sink.far]", 'use = "file"', 'cert = "far/away.pem"', "[poller]", "wait = false")
    first = scepflow("run", write("deg.toml", *far), "--json")
    serial = json.loads(first.stdout)["pipelines"][0]["serial"]
    write("deg.toml", *far, directory='"testca"\npending = 5')
    said = scepflow("run", "deg.toml", "--renew", "--json")
    assert said.exit_code == 6
    (result,) = json.loads(said.stdout)["pipelines"]
    assert (result["outcome"], result["exit_code"], result["serial"]) == ("degraded", 6, serial)
    assert [(delivery["sink"], delivery["delivered"]) for delivery in result["deliveries"]] == [
        ("far", False)
    ]
    assert result["error"]["type"] == "PendingError"
    assert "must approve transaction" in said.stderr


# -- several


def test_several_pipelines_with_one_outcome_have_its_exit_code(scepflow, write):
    said = scepflow("run", write("a.toml"), write("b.toml"))
    assert said.exit_code == 0
    assert said.stdout.splitlines()[-1] == "2 pipelines: 2 issued"


def test_several_pipelines_with_mixed_outcomes_exit_7_and_none_stops_another(scepflow, write, folder):
    write("m.toml", "[renw]")
    write("deg.toml", "[sink.far]", 'use = "file"', 'cert = "far/away.pem"')
    said = scepflow("run", _rejecting(write), "m.toml", "missing.toml", "deg.toml", write("good.toml"))
    assert said.exit_code == 7
    lines = said.stdout.splitlines()
    assert [line.split()[:2] for line in lines if not line.startswith(" ")][:-1] == [
        ["bad", "rejected"],
        ["m", "invalid"],
        ["missing", "invalid"],
        ["deg", "issued"],
        ["good", "issued"],
    ]
    assert lines[-1] == ("5 pipelines: 1 rejected, 2 invalid, 1 issued but not fully delivered, 1 issued")


def test_a_bug_in_one_pipeline_costs_no_other_its_certificate(scepflow, write, breaks, folder):
    bug = _edited(folder / write("bug.toml"), 'use = "file"\npath = "device.key"', 'use = "odd"')
    said = scepflow("run", "-p", breaks, bug, write("good.toml"))
    assert said.exit_code == 7
    assert "this is a bug in scepflow: AttributeError at" in said.stderr
    assert "failed          a bug; see above" in said.stdout
    assert "good      issued" in said.stdout


# -- interruptions


def test_an_interruption_before_the_request_says_that_nothing_was_sent(scepflow, write, breaks, folder):
    stop = _edited(folder / write("stop.toml"), 'use = "file"\npath = "device.key"', 'use = "stopped"')
    said = scepflow("run", "-p", breaks, write("good.toml"), stop, "later.toml")
    assert said.exit_code == 130
    assert said.stderr.splitlines()[-1] == ("stop interrupted: nothing was sent; not run: later.toml")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_polling_says_what_is_kept(start, write, folder, number):
    write("pend.toml", directory='"testca"\npending = 5')
    process = start("run", "pend.toml")
    for line in process.stderr:
        if line.startswith("  pending"):
            break
    process.send_signal(number)
    out, err = process.communicate()
    assert list((folder / "state").rglob("enrollment.json"))
    assert process.returncode == -number  # a shell shows 130 or 143, and ends its loop
    assert out == ""
    assert err == (
        "pend interrupted: the request was sent and is kept; the next run asks for its certificate\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_an_import_swallows_is_no_failure(start, write, breaks, folder, number):
    source = f'use = "importing"\nnumber = {number:d}'
    stop = _edited(folder / write("stop.toml"), 'use = "file"\npath = "device.key"', source)
    process = start("run", "-p", breaks, stop, "later.toml")
    out, err = process.communicate()
    assert (process.returncode, out) == (-number, "")
    assert err == "stop\nstop interrupted: nothing was sent; not run: later.toml\n"


def test_an_interruption_in_a_sink_says_that_the_certificate_was_issued(scepflow, write, breaks, folder):
    write("stop.toml", "[sink.stop]", 'use = "stopping"')
    said = scepflow("run", "-p", breaks, "stop.toml")
    assert list((folder / "state").rglob("certificate.pem"))
    assert said.exit_code == 130
    assert said.stderr.splitlines()[-1] == (
        "stop interrupted: the certificate was issued and is kept; the next run delivers it"
    )


# -- what is kept


def test_a_quiet_run_whose_sink_failed_says_what_to_do(scepflow, write, folder):
    write("deg.toml", "[sink.far]", 'use = "file"', 'cert = "far/away.pem"')
    said = scepflow("run", "-q", "deg.toml")
    assert (said.exit_code, said.stdout) == (6, "")
    failed, hint = said.stderr.splitlines()[-2:]
    assert failed.startswith("deg: FAILED     sink far: ")
    assert hint.startswith("deg: hint: make the directory")


@pytest.fixture
def losing_server(folder, current_authority):
    """A CA that hangs up instead of answering a request."""

    def hang_up(reply):
        raise ConnectionError("gone")

    responder = Responder(current_authority, Knobs(behave=(replying(hang_up),)))
    with serve(responder) as server:
        yield server


def test_a_request_without_an_answer_is_kept_for_the_next_run(scepflow, losing_server, folder):
    (folder / "lost.toml").write_text(
        f'[ca]\nurl = "{losing_server.url}"\ncertificate = "testca/ca.pem"\n'
        '[csr]\nsubject = "CN=gw1"\n[sink.file]\nkey = "k"\ncert = "c"\n'
    )
    said = scepflow("run", "--json", "lost.toml")
    assert list((folder / "state").rglob("key.pem"))
    assert said.exit_code == 4
    assert said.stderr.splitlines()[-1] == (
        "  kept: key and request; the CA may have granted it, and the next run asks"
    )
    (result,) = json.loads(said.stdout)["pipelines"]
    assert len(result["transaction_id"]) == 32
    assert (result["fail_info"], result["fail_info_text"]) == (None, None)


# -- locked


@pytest.fixture
def locked(write, folder):
    """A pipeline file that another run works on."""
    file = folder / write("held.toml")
    with StateDirectory(folder / "state").locked(file, name="held", now=datetime.now(UTC)):
        yield file


def test_a_pipeline_that_another_run_works_on_exits_75_with_its_holder(scepflow, locked):
    said = scepflow("run", locked)
    assert (said.exit_code, said.stdout) == (75, "")
    _, error, where, hint = said.stderr.splitlines()
    assert error.startswith(f"error: another run works on this pipeline: pid {os.getpid()}, since ")
    assert where.startswith("  pipeline held, http://embedded/scep, ")
    assert "`scepflow status` shows how it stands" in hint


def test_of_several_the_one_that_is_locked_is_called_so(scepflow, locked, write):
    said = scepflow("run", locked, write("good.toml"))
    assert said.exit_code == 7
    first, *_, last = said.stdout.splitlines()
    assert first.startswith("held      locked          another run works on this pipeline: pid ")
    assert last == "2 pipelines: 1 locked, 1 issued"
    assert scepflow("run", "--json", locked).stdout.count('"outcome": "locked"') == 1


# -- metrics


def test_metrics_tell_of_every_pipeline_of_the_command(scepflow, write, folder):
    write("m.toml", "[renw]")
    said = scepflow("run", "--metrics", "scep.prom", write(), "m.toml", "gw1.toml", _rejecting(write))
    assert said.exit_code == 7
    lines = (folder / "scep.prom").read_text().splitlines()
    codes = [line for line in lines if line.startswith("scepflow_last_run_exit_code")]
    assert codes == [
        f'scepflow_last_run_exit_code{{pipeline="gw1",file="{folder}/gw1.toml"}} 0',
        f'scepflow_last_run_exit_code{{pipeline="m",file="{folder}/m.toml"}} 78',
        f'scepflow_last_run_exit_code{{pipeline="bad",file="{folder}/bad.toml"}} 72',
    ]
    states = [
        line.split("state=")[1] for line in lines if line.startswith("scepflow_state") and line[-1] == "1"
    ]
    assert states == ['"valid"} 1', '"new"} 1', '"rejected"} 1']


def test_a_run_whose_metrics_cannot_be_written_ends_as_it_would(scepflow, write):
    said = scepflow("run", "-q", "--metrics", "far/away.prom", write())
    assert said.exit_code == 0
    assert said.stderr.splitlines()[-1] == "cannot write far/away.prom: No such file or directory"


# -- dry run


def test_a_dry_run_shows_every_part_and_makes_nothing(scepflow, write, folder):
    said = scepflow("run", "--dry-run", write())
    assert said.exit_code == 0
    heading, *lines = said.stdout.splitlines()
    assert heading == ("dry run of gw1: nothing is sent that could issue a certificate or use up a challenge")
    assert [line.split()[0] for line in lines] == [
        "config",
        "this",
        "key",
        "CSR",
        "signer",
        "transport",
        "CA",
        "message",
        "poller",
        "sink",
        "warning",
    ]
    assert said.stderr == ""
    assert not (folder / "gw1.pem").exists()
    assert not (folder / "state").exists()


def test_a_dry_run_that_would_fail_says_so_with_its_exit_code(scepflow, write):
    write("far.toml", cert='"far/away.pem"')
    said = scepflow("run", "--dry-run", "-q", "far.toml")
    assert said.exit_code == 6
    assert "  sink file  FAIL  " in said.stdout
    assert "make the directory" in said.stdout


def test_a_dry_run_in_json(scepflow, write):
    write("m.toml", "[renw]")
    said = scepflow("run", "--dry-run", "--json", "--log-format", "json", write(), "m.toml")
    document = json.loads(said.stdout)
    assert said.exit_code == document["exit_code"] == 7
    good, bad = document["pipelines"]
    assert good["lines"][0]["topic"] == "config"
    assert {line["status"] for line in good["lines"]} == {"ok"}
    assert good["warnings"][0]["code"] == "test-ca"
    assert bad["problems"][0]["message"] == 'unknown key "renw"'
    events = [json.loads(line).get("event") for line in said.stderr.splitlines()]
    assert events[0] == "RunStarted"


def test_a_quiet_dry_run_that_goes_well_says_nothing(scepflow, write):
    said = scepflow("-q", "run", "--dry-run", write())
    assert (said.exit_code, said.output) == (0, "")


def test_a_dry_run_says_what_a_run_would_do_by_what_is_kept(scepflow, write):
    scepflow("run", write())
    assert "this run   ok    asks nothing of the CA: " in scepflow("run", "--dry-run", "gw1.toml").stdout
    said = scepflow("run", "--dry-run", "--renew", "gw1.toml")
    assert "this run   ok    renews, as --renew says; " in said.stdout
    assert "this run   ok    enrolls, for the first time" in (
        scepflow("run", "--dry-run", "gw1.toml", "--state-dir", "elsewhere").stdout
    )


def test_a_pipeline_with_a_valid_certificate_enrolls_when_it_is_told_to(scepflow, write):
    serial = json.loads(scepflow("run", write(), "--json").stdout)["pipelines"][0]["serial"]
    said = scepflow("run", "--dry-run", "--enroll", "gw1.toml")
    assert "this run   ok    enrolls, as --enroll says; " in said.stdout
    (result,) = json.loads(scepflow("run", "--enroll", "gw1.toml", "--json").stdout)["pipelines"]
    assert result["outcome"] == "issued"
    assert result["serial"] != serial


def test_there_is_one_way_to_a_new_certificate_at_a_time(scepflow, write):
    said = scepflow("run", write(), "--renew", "--enroll")
    assert (said.exit_code, said.stdout) == (64, "")
    assert "take one" in said.stderr


def test_a_time_to_wait_that_is_none_is_a_usage_error(scepflow, write):
    said = scepflow("run", write(), "--wait", "soon")
    assert (said.exit_code, said.stdout) == (64, "")
    assert "'--wait'" in said.stderr
    assert "soon" in said.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_quiet_says_nothing_of_what_is_pending(scepflow, write, folder, log_format):
    """Cron mails whatever is said."""
    name = write("pend.toml")
    text = (folder / name).read_text().replace('directory = "testca"', 'directory = "testca"\npending = 9')
    (folder / name).write_text(text)
    said = scepflow("run", "-q", "--wait", "0s", "--log-format", log_format, name)
    assert said.exit_code == 3
    assert [
        line for line in said.output.splitlines() if "the embedded test CA is for tests" not in line
    ] == []
    loud = scepflow("run", "--wait", "0s", name)
    assert (loud.exit_code, "error:" in loud.stderr) == (3, True)


def test_metrics_keep_the_series_of_pipelines_that_other_timers_run(scepflow, write, folder):
    for name in ("gw1.toml", "gw2.toml", "gone.toml"):
        scepflow("run", write(name, subject=f'"CN={name}"', cert=f'"{name}.pem"'))
    (folder / "gone.toml").unlink()
    scepflow("run", "--metrics", "scep.prom", "gw2.toml")
    text = (folder / "scep.prom").read_text()
    assert sorted(re.findall(r'last_run_exit_code.pipeline="(\w+)"', text)) == ["gw1", "gw2"]


def test_the_latest_run_of_another_timers_pipeline_does_not_go_back(scepflow, write, folder):
    """Its run that had nothing to do is in the file of the metrics alone."""

    def ended_s():
        text = (folder / "scep.prom").read_text()
        return int(re.search(r'last_run_seconds.pipeline="gw1".* (\d+)', text)[1])

    scepflow("run", "--metrics", "scep.prom", write("gw1.toml", subject='"CN=gw1"', cert='"gw1.pem"'))
    write("gw2.toml", subject='"CN=gw2"', cert='"gw2.pem"')
    before_s = ended_s()
    while time.time() < before_s + 1.6:  # the time in the file is in whole seconds
        time.sleep(0.1)
    assert "up to date" in scepflow("run", "--metrics", "scep.prom", "gw1.toml").stdout
    idle_s = ended_s()
    assert idle_s > before_s
    scepflow("run", "--metrics", "scep.prom", "gw2.toml")
    assert ended_s() == idle_s
