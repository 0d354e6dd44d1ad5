"""How pipelines stand, for node_exporter's textfile collector."""

import os
import re
import stat
import threading
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from journal_fixtures import ATTEMPT, FACTS, RECORD

from scepflow.metrics import Sample, metrics_text, write_metrics
from scepflow.testing import NOW

SAMPLE = Sample(name="gw1", file="/etc/gw1.toml", record=RECORD, exit_code=0, ended_at=NOW)
LINE = re.compile(r'(\w+)\{((?:\w+="(?:[^"\\\n]|\\[\\n"])*",?)+)\} (-?\d+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\[\\n"])*)"')


def read(text):
    """Read the text format: name and labels → value; every name has been introduced before."""
    values, introduced = {}, set()
    for line in text.splitlines():
        if line.startswith("#"):
            _, what, name, rest = line.split(" ", 3)
            assert rest == "gauge" if what == "TYPE" else what == "HELP"
            introduced.add((what, name))
            continue
        name, labels, value = LINE.fullmatch(line).groups()
        assert {("HELP", name), ("TYPE", name)} <= introduced
        key = name, tuple(sorted(LABEL.findall(labels)))
        assert key not in values, "a series must not be there twice"
        values[key] = int(value)
    return values


def of(values, name, file="/etc/gw1.toml"):
    return [
        value for (metric, labels), value in values.items() if metric == name and ("file", file) in labels
    ]


def states(values):
    return {
        dict(labels)["state"]: value
        for (metric, labels), value in values.items()
        if metric == "scepflow_state"
    }


def test_a_valid_certificate_has_its_times_and_one_state():
    values = read(metrics_text([SAMPLE], NOW))
    assert of(values, "scepflow_certificate_not_after_seconds") == [int(FACTS.not_after.timestamp())]
    assert of(values, "scepflow_renewal_due_seconds") == [int(RECORD.renew_at.timestamp())]
    assert of(values, "scepflow_last_run_exit_code") == [0]
    assert of(values, "scepflow_last_run_seconds") == [int(NOW.timestamp())]
    assert [state for state, value in states(values).items() if value] == ["valid"]
    assert len(states(values)) == 8


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, "new"),
        (msgspec.structs.replace(RECORD, current=None, renew_at=None, open=ATTEMPT), "pending"),
        (msgspec.structs.replace(RECORD, renew_at=NOW), "due"),
        (msgspec.structs.replace(RECORD, outcome="failed", exit_code=5), "blocked"),
    ],
)
def test_the_state_is_that_of_the_journal(record, expected):
    values = read(metrics_text([replace(SAMPLE, record=record)], NOW))
    assert [state for state, value in states(values).items() if value] == [expected]


def test_a_pipeline_without_a_certificate_has_no_times_of_one():
    record = msgspec.structs.replace(RECORD, current=None, renew_at=None)
    for missing in (None, record, msgspec.structs.replace(RECORD, current=None)):
        values = read(metrics_text([replace(SAMPLE, record=missing, exit_code=72)], NOW))
        assert not of(values, "scepflow_certificate_not_after_seconds")
        assert not of(values, "scepflow_renewal_due_seconds")
        assert of(values, "scepflow_last_run_exit_code") == [72]


def test_a_certificate_whose_renewal_is_not_known_has_its_end_alone():
    record = msgspec.structs.replace(RECORD, renew_at=None)
    values = read(metrics_text([replace(SAMPLE, record=record)], NOW))
    assert of(values, "scepflow_certificate_not_after_seconds")
    assert not of(values, "scepflow_renewal_due_seconds")


def test_pipelines_of_one_name_in_two_folders_are_two():
    values = read(metrics_text([SAMPLE, replace(SAMPLE, file="/srv/gw1.toml", exit_code=3)], NOW))
    assert of(values, "scepflow_last_run_exit_code") == [0]
    assert of(values, "scepflow_last_run_exit_code", "/srv/gw1.toml") == [3]


def test_labels_are_escaped():
    odd = replace(SAMPLE, name='g"w\\1\n', file="/\udcff")
    values = read(metrics_text([odd], NOW))
    assert ("pipeline", 'g\\"w\\\\1\\n') in next(iter(values))[1]
    assert ("file", "/?") in next(iter(values))[1]


def test_the_file_is_replaced_whole_and_everyone_may_read_it(tmp_path):
    path = tmp_path / "scepflow.prom"
    path.write_text("old")
    path.chmod(0o600)
    write_metrics(path, [SAMPLE], NOW)
    assert path.read_text() == metrics_text([SAMPLE], NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_without_pipelines_there_is_a_file_all_the_same():
    assert read(metrics_text([], NOW)) == {}


def test_two_who_write_one_file_at_the_same_time_publish_no_half_of_it(tmp_path, monkeypatch):
    """The second begins while the first is at it, and is killed half way."""
    path, began = tmp_path / "scep.prom", []

    def fsync(descriptor, real=os.fsync):
        real(descriptor)
        if not began:
            began.append(descriptor)
            with pytest.raises(KeyboardInterrupt):
                write_metrics(path, [], NOW)
        elif len(began) == 1:
            began.append(descriptor)
            os.truncate(descriptor, 3)
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    write_metrics(path, [SAMPLE], NOW)
    assert path.read_text() == metrics_text([SAMPLE], NOW)
    (left,) = tmp_path.glob(".scep.prom.*")
    write_metrics(path, [SAMPLE], NOW)
    assert left.exists(), "somebody may be at it"
    os.utime(left, (0, 0))
    write_metrics(path, [SAMPLE], NOW)
    assert [file.name for file in tmp_path.iterdir()] == ["scep.prom"]


def latest_run(path):
    values = read(path.read_text())
    ended_s, exit_code = (of(values, f"scepflow_last_run_{name}") for name in ("seconds", "exit_code"))
    return ended_s[0] - int(NOW.timestamp()), exit_code[0]


@pytest.mark.parametrize(
    ("written_s", "known_s", "expected"),
    [
        (60, 0, (60, 3)),  # a run that changed nothing is not in the journal
        (-60, 0, (0, 0)),
        (0, 60, (60, 0)),
        (3601, 0, (0, 0)),  # written while the clock was wrong
    ],
)
def test_the_latest_run_does_not_go_back(tmp_path, written_s, known_s, expected):
    path = tmp_path / "scep.prom"
    path.write_text(
        metrics_text([replace(SAMPLE, ended_at=NOW + timedelta(seconds=written_s), exit_code=3)], NOW)
    )
    sample = replace(SAMPLE, ended_at=NOW + timedelta(seconds=known_s))
    write_metrics(path, [sample], NOW + timedelta(hours=1))
    assert latest_run(path) == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: re.sub(r"} (\d)", r"} x\1", text),
        lambda text: re.sub(r"(last_run_seconds.*} )\d+", r"\g<1>1e9", text),
        lambda text: re.sub(r"(last_run_seconds.*} )\d+", r"\g<1>" + "9" * 5000, text),
        lambda text: re.sub(r"(last_run_seconds.*} \d+)\n[\s\S]*", r"\1", text),  # cut off within the line
        lambda text: re.sub(r"scepflow_last_run_exit_code{.*", "", text),
        lambda text: text.replace("gw1", "gw2"),
        lambda text: "\0\udcff",
        lambda text: "",
    ],
)
def test_what_is_damaged_in_the_file_before_counts_for_nothing(tmp_path, damage):
    path = tmp_path / "scep.prom"
    text = damage(metrics_text([replace(SAMPLE, ended_at=NOW + timedelta(seconds=60), exit_code=3)], NOW))
    path.write_bytes(text.encode(errors="surrogateescape"))
    write_metrics(path, [SAMPLE], NOW + timedelta(hours=1))
    assert latest_run(path) == (0, 0)


def test_a_damaged_line_harms_no_other(tmp_path):
    path, later = tmp_path / "scep.prom", replace(SAMPLE, ended_at=NOW + timedelta(seconds=60))
    text = metrics_text([later], NOW).encode()
    path.write_bytes(
        b'scepflow_last_run_seconds{pipeline="g\xff} 7 7\n' + text + b"scepflow_last_run_seconds{"
    )
    write_metrics(path, [SAMPLE], NOW + timedelta(hours=1))
    assert latest_run(path) == (60, 0)


def test_a_pipe_in_place_of_the_file_is_not_read(tmp_path):
    path = tmp_path / "scep.prom"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    writer = threading.Timer(5, os.close, [descriptor])  # who reads to the end is let go
    writer.start()
    write_metrics(path, [SAMPLE], NOW)
    assert writer.is_alive(), "it was waited for"
    writer.cancel()
    os.close(descriptor)
    assert latest_run(path) == (0, 0)
