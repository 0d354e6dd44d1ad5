"""``scepflow daemon``: pipelines that a process keeps up to date until a signal ends it."""

import json
import os
import signal
import threading

import pytest

from scepflow.cli.daemon import Signals
from scepflow.cli.invocation import Invocation, Terminated
from scepflow.daemon import Order

ENDS = """
import os, signal
from scepflow.hookspecs import hookimpl
from scepflow.stages import OutputSink

class Ending(OutputSink, tag="ending"):
    "Signals arrive while a sink writes."
    signals: list[int]
    def waits_for(self):
        return ()
    def write(self, credential, run):
        for number in self.signals:
            os.kill(os.getpid(), number)

@hookimpl
def scepflow_sinks():
    return [Ending]
"""


@pytest.fixture
def ends(folder):
    """A plugin with a sink that sends signals to its own process."""
    (folder / "ends.py").write_text(ENDS)
    return "./ends.py"


def ending(write, name, *numbers):
    signals = f"signals = {[int(number) for number in numbers]}"
    return write(f"{name}.toml", "[sink.end]", 'use = "ending"', signals, cert=f'"{name}.pem"')


# -- the command


def test_it_runs_pipelines_and_ends_with_0_on_sigterm(scepflow, write, ends, folder):
    said = scepflow("daemon", "-p", ends, ending(write, "gw1", signal.SIGTERM))
    assert said.exit_code == 0
    assert said.stdout.startswith("gw1       issued          serial ")
    assert "  delivered  end: ending" in said.stderr, "the pipeline in work is carried through"
    assert (folder / "gw1.pem").exists()


def test_ctrl_c_ends_it_as_well_with_130_and_begins_no_other_pipeline(scepflow, write, ends, folder):
    said = scepflow(
        "daemon", "-p", ends, ending(write, "gw1", signal.SIGINT), write("b.toml", cert='"b.pem"')
    )
    assert said.exit_code == 130
    assert not (folder / "b.pem").exists()
    assert "interrupted" not in said.stderr


def test_the_second_signal_ends_it_at_once(start, write, ends):
    process = start("daemon", "-p", ends, ending(write, "gw1", signal.SIGINT, signal.SIGTERM))
    out, err = process.communicate()
    assert (process.returncode, out) == (-signal.SIGTERM, "")
    assert err.splitlines()[-1] == (
        "gw1 interrupted: the certificate was issued and is kept; the next run delivers it"
    )


def test_it_does_not_wait_for_a_decision_but_asks_when_the_poller_says(start, write, folder):
    write("pend.toml", "[poller]", 'interval = "1s"', 'max_time = "9d"', directory='"testca"\npending = 1')
    process = start("daemon", "pend.toml", "--metrics", "scep.prom")
    assert process.stdout.readline().startswith("pend      issued ")
    process.terminate()
    _, err = process.communicate()
    assert process.returncode == 0
    assert "error: the CA has not decided yet" in err
    assert 'scepflow_state{pipeline="pend",' in (folder / "scep.prom").read_text()


def test_one_pipeline_that_fails_stops_no_other(scepflow, write, ends):
    bad = write("bad.toml", directory='"testca"\nreject = "badRequest"')
    write("m.toml", "[renw]")
    said = scepflow("daemon", "-p", ends, bad, "m.toml", ending(write, "gw1", signal.SIGTERM))
    assert said.exit_code == 0
    outcomes = [line.split()[:2] for line in said.stdout.splitlines() if not line.startswith(" ")]
    assert outcomes == [["bad", "rejected"], ["m", "invalid"], ["gw1", "issued"], ["3", "pipelines:"]]


def test_without_a_pipeline_that_could_run_it_does_not_stay(scepflow, write):
    write("m.toml", "[renw]")
    said = scepflow("daemon", "m.toml", "missing.toml")
    assert (said.exit_code, said.stdout) == (78, "")


def test_a_state_that_cannot_be_used_is_told_and_tried_again_after_the_interval(start, write, folder):
    (folder / "state").write_text("a file")
    process = start("daemon", write())
    for line in process.stderr:
        if line.startswith("error: "):
            break
    assert "state" in line
    process.terminate()
    process.communicate()
    assert process.returncode == 0


def test_events_are_json_lines_and_nothing_else_where_logs_are(scepflow, write, ends):
    said = scepflow("daemon", "-p", ends, "--log-format", "json", ending(write, "gw1", signal.SIGTERM))
    events = [json.loads(line)["event"] for line in said.stderr.splitlines()]
    assert (events[0], events[-1]) == ("RunStarted", "RunFinished")
    assert said.stdout == ""


def test_a_quiet_daemon_says_what_to_do_where_a_sink_failed(scepflow, write, ends):
    more = ["[sink.end]", 'use = "ending"', "signals = [15]"]
    write("deg.toml", "[sink.far]", 'use = "file"', 'cert = "far/away.pem"', *more)
    said = scepflow("daemon", "-q", "--log-format", "json", "-p", ends, "deg.toml")
    assert (said.exit_code, said.stdout) == (0, "")
    assert "hint: make the directory" in json.loads(said.stderr.splitlines()[-1])["message"]


@pytest.mark.parametrize(
    ("interval", "why"), [("0s", "no rest"), ("x", "not a duration"), ("", "not a duration")]
)
def test_an_interval_that_is_none_is_a_usage_error(scepflow, write, interval, why):
    said = scepflow("daemon", write(), "--interval", interval)
    assert said.exit_code == 64
    assert why in said.stderr


ACTS = """
import os, pathlib, signal
from scepflow.events import RunFinished
from scepflow.hookspecs import hookimpl

finished = []

@hookimpl
def scepflow_event(event):
    if isinstance(event, RunFinished):
        finished.append(event)
        {acts}[len(finished) - 1]()
"""


@pytest.fixture
def acting(folder):
    """A plugin that does the next of these acts, which are Python, when a run ends."""

    def acting(*acts):
        (folder / "acts.py").write_text(ACTS.format(acts=f"[{', '.join(f'lambda: {act}' for act in acts)}]"))
        return "./acts.py"

    return acting


def sends(number):
    return f"os.kill(os.getpid(), {int(number)})"


def test_a_file_with_errors_does_not_take_the_place_of_one_without(scepflow, write, acting):
    breaks = f"pathlib.Path('gw1.toml').write_text('[renw]') and {sends(signal.SIGHUP)}"
    said = scepflow("daemon", "-p", acting(breaks, sends(signal.SIGTERM)), write())
    assert said.exit_code == 0
    assert [line.split()[1] for line in said.stdout.splitlines() if line.startswith("gw1")] == [
        "issued",
        "up",
    ]
    assert said.stderr.count("gw1.toml: has errors; the version read before stays in force\n") == 1


def test_a_state_that_cannot_be_read_after_a_run_is_no_end(scepflow, write, acting):
    breaks = (
        f"pathlib.Path('state/journal.sqlite3').write_bytes(b'no database ' * 99) and {sends(signal.SIGTERM)}"
    )
    said = scepflow("daemon", "-p", acting(breaks), write(), "--metrics", "scep.prom")
    assert said.exit_code == 0
    assert said.stderr.splitlines()[-2].startswith("error: cannot use ")


def test_metrics_that_cannot_be_written_are_told_and_change_nothing_else(scepflow, write, acting):
    ends = acting(sends(signal.SIGTERM))
    said = scepflow("daemon", "-p", ends, write(), "--metrics", "far/away.prom")
    assert said.exit_code == 0
    assert said.stderr.splitlines()[-1] == "cannot write far/away.prom: No such file or directory"


# -- signals in a process of its own


def _outcome(process):
    """Return the next line that tells what came of a pipeline."""
    line = process.stdout.readline()
    while line.startswith(" "):
        line = process.stdout.readline()
    return line.split()[:2]


def test_usr1_runs_all_at_once_and_hup_reads_the_files_before(start, write, folder):
    process = start("daemon", write())
    assert _outcome(process) == ["gw1", "issued"]
    process.send_signal(signal.SIGUSR1)
    assert _outcome(process) == ["gw1", "up"]
    (folder / "gw1.pem").unlink()
    write("gw1.toml", cert='"elsewhere.pem"')
    process.send_signal(signal.SIGUSR1)
    assert _outcome(process) == ["gw1", "delivered"]
    assert (folder / "gw1.pem").exists()
    assert not (folder / "elsewhere.pem").exists()
    process.send_signal(signal.SIGHUP)
    assert _outcome(process) == ["gw1", "delivered"]
    assert (folder / "elsewhere.pem").exists()
    (folder / "gw1.toml").write_text("[renw]\n")
    process.send_signal(signal.SIGHUP)
    assert _outcome(process) == ["gw1", "up"]
    process.terminate()
    _, err = process.communicate()
    assert process.returncode == 0
    assert "gw1.toml: has errors; the version read before stays in force" in err


# -- signals in this process


@pytest.fixture
def before():
    """What signals mean before, to be found again afterwards."""
    numbers = (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
    return {number: signal.getsignal(number) for number in numbers}


def send(number):
    """Have a signal come while the main thread waits."""
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.start()
    return timer


@pytest.mark.parametrize(
    ("number", "order"),
    [
        (signal.SIGHUP, Order.RELOAD),
        (signal.SIGUSR1, Order.RUN),
        (signal.SIGTERM, Order.STOP),
        (signal.SIGINT, Order.STOP),
    ],
)
def test_a_signal_ends_the_wait_and_is_told_once(before, number, order):
    with Signals(Invocation()) as signals:
        timer = send(number)
        assert signals.wait(30) == order
        timer.join()
        assert signals.stopping == (order is Order.STOP)
        assert signals.wait(0) == Order(0)
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_signal_before_the_wait_is_not_lost(before):
    with Signals(Invocation()) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.wait(30) == Order.RUN | Order.RELOAD


def test_the_exit_code_says_who_stopped_it(before):
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        with Signals(Invocation()) as signals:
            os.kill(os.getpid(), number)
            assert signals.stopping
            assert signals.exit_code == code


def test_the_second_order_to_stop_is_raised(before):
    with Signals(Invocation()) as signals, pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.stopping
        os.kill(os.getpid(), signal.SIGTERM)
        signals.wait(30)


def test_a_signal_of_others_is_no_order(before):
    """A handler of somebody else's writes its number to the same pipe."""
    mine = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        with Signals(Invocation()) as signals:
            os.kill(os.getpid(), signal.SIGUSR2)
            assert signals.wait(30) == Order(0)
    finally:
        signal.signal(signal.SIGUSR2, mine)


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored(before):
    """As SIGHUP is under nohup."""
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals(Invocation()) as signals:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.wait(0) == Order(0)
    finally:
        signal.signal(signal.SIGHUP, kept)
