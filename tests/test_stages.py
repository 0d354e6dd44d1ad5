"""What every stage shares: the run that it works in."""


def test_a_warning_is_one_line_whatever_it_quotes(stage_run, recorded_events):
    stage_run.warn("co\x1bde", "a\x1b[2J\nerror: \u202eforged")
    (event,) = recorded_events
    assert (event.code, event.text) == ("co\\x1bde", "a\\x1b[2J\\nerror: \\u202eforged")


def test_a_warning_is_not_endless(stage_run, recorded_events):
    stage_run.warn("code", "x" * 100_000)
    assert len(recorded_events[0].text) == 2000


def test_a_run_is_no_rehearsal_unless_said(stage_run):
    assert not stage_run.rehearsal
