"""How pipelines stand, for node_exporter's textfile collector."""

import os
import re
import stat
from dataclasses import replace

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
