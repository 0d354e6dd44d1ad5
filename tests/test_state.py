"""What a run must not lose is on disk, whole, and for no one else to read."""

import os
import stat
from pathlib import Path

import pytest

from scepflow.errors import ScepflowError
from scepflow.journal import Journal
from scepflow.state import PipelineState, StateDirectory, default_state_path


@pytest.fixture
def state(tmp_path):
    path = tmp_path / "a" / "state"
    return PipelineState(Journal(path / "journal.sqlite3"), path / "gw1-1a2b3c4d")


@pytest.fixture
def attempt(state):
    return state.folder("8f3a")


@pytest.mark.parametrize(
    ("environment", "root", "expected"),
    [
        ({"SCEPFLOW_STATE_DIR": "/x", "STATE_DIRECTORY": "/y"}, True, "/x"),
        ({"STATE_DIRECTORY": "/y:/z"}, False, "/y"),
        ({"HOME": "/root"}, True, "/var/lib/scepflow"),
        ({"XDG_STATE_HOME": "/home/a/state"}, False, "/home/a/state/scepflow"),
        ({"HOME": "/home/a"}, False, "/home/a/.local/state/scepflow"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "state"}, False, "/home/a/.local/state/scepflow"),
        ({}, False, f"{Path.home()}/.local/state/scepflow"),
    ],
)
def test_state_lives_where_the_first_of_these_says(environment, root, expected):
    assert default_state_path(environment, root=root) == Path(expected)


def test_nothing_is_made_before_something_is_kept(state, attempt):
    assert not state.path.exists()
    attempt.discard()
    assert not state.path.exists()


def test_files_and_folders_are_private_whatever_the_umask(attempt):
    before = os.umask(0)
    try:
        attempt.keep("key.pem", b"secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((attempt.path / "key.pem").stat().st_mode) == 0o600
    for folder in (attempt.path, attempt.path.parent, attempt.path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_replaced_whole_and_nothing_lies_beside_it(attempt):
    attempt.keep("enrollment.json", b"one")
    attempt.keep("enrollment.json", b"two")
    assert {path.name: path.read_bytes() for path in attempt.path.iterdir()} == {"enrollment.json": b"two"}


def test_a_leftover_of_a_crash_does_not_stand_in_the_way(attempt):
    attempt.path.mkdir(parents=True)
    (attempt.path / ".key.pem.new").write_bytes(b"half")
    attempt.keep("key.pem", b"whole")
    assert (attempt.path / "key.pem").read_bytes() == b"whole"


def test_a_link_in_the_place_of_the_new_file_is_not_followed(attempt, tmp_path):
    attempt.path.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_bytes(b"as it was")
    (attempt.path / ".key.pem.new").symlink_to(victim)
    attempt.keep("key.pem", b"secret")
    assert victim.read_bytes() == b"as it was"


def test_a_place_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "state").write_text("a file")
    attempt = PipelineState(Journal(tmp_path / "state" / "j"), tmp_path / "state" / "gw1").folder("8f3a")
    with pytest.raises(ScepflowError, match="cannot keep") as caught:
        attempt.keep("key.pem", b"secret")
    assert caught.value.exit_code == 78
    assert "--state-dir" in caught.value.hint


def test_an_error_leaves_the_earlier_file_and_no_other(attempt):
    attempt.keep("key.pem", b"one")
    (attempt.path / "key.pem").unlink()
    (attempt.path / "key.pem").mkdir()
    (attempt.path / "key.pem" / "in-the-way").touch()
    with pytest.raises(ScepflowError):
        attempt.keep("key.pem", b"two")
    assert [path.name for path in attempt.path.iterdir()] == ["key.pem"]


def test_an_attempt_that_is_discarded_is_gone_with_its_folder(state, attempt):
    attempt.keep("key.pem", b"secret")
    attempt.discard()
    assert list(state.path.iterdir()) == []


def test_discarding_one_attempt_leaves_the_others(state, attempt):
    other = state.folder("9999")
    attempt.keep("key.pem", b"one")
    other.keep("key.pem", b"two")
    attempt.discard()
    assert (other.path / "key.pem").read_bytes() == b"two"


def test_pipelines_of_one_name_in_two_folders_have_two_places(tmp_path):
    state = StateDirectory(tmp_path)
    one, two = state.place(Path("/etc/a/gw1.toml")), state.place(Path("/etc/b/gw1.toml"))
    assert one != two
    assert one.startswith("gw1-")


@pytest.mark.parametrize("transaction_id", ["", ".", "..", "../gw2", "a/b", "SSCEP transactionId", "x" * 65])
def test_a_transaction_id_that_is_no_plain_name_is_no_folder(state, transaction_id):
    with pytest.raises(ValueError, match="not a transaction id"):
        state.folder(transaction_id)
