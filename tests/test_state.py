"""What a run must not lose is on disk, whole, and for no one else to read."""

import os
import re
import stat
from pathlib import Path

import pytest

from scepflow.errors import ScepflowError, StateError
from scepflow.journal import Journal
from scepflow.state import PipelineState, StateDirectory, default_state_path
from scepflow.testing import NOW


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
    assert re.fullmatch("gw1-[0-9a-f]{8}", one)


@pytest.mark.parametrize("transaction_id", ["", ".", "..", "../gw2", "a/b", "SSCEP transactionId", "x" * 65])
def test_a_transaction_id_that_is_no_plain_name_is_no_folder(state, transaction_id):
    """The journal is a file that somebody may have changed."""
    with pytest.raises(StateError, match=r"journal\.sqlite3 is damaged: .* not a transaction id"):
        state.folder(transaction_id)


def test_the_salt_is_drawn_once_and_stays(state):
    state.path.mkdir(parents=True)
    drawn = bytes(range(32))
    assert state.salt(lambda count: drawn[:count]) == drawn
    assert state.salt(bytes) == drawn
    assert stat.S_IMODE((state.path / "salt").stat().st_mode) == 0o600


# -- folders and what the journal knows of them


@pytest.fixture
def begun(state):
    """A request that the journal knows of, and its folder."""
    state.journal.enter(state.place, name="gw1", file="/etc/gw1.toml")
    folder = state.folder("8f3a")
    folder.keep("key.pem", b"secret")
    folder.keep_unsent(b"{}")
    state.journal.begin(state.place, "8f3a", purpose="enrollment", message_type="PKCSReq", at=NOW)
    return folder


def _names(folder):
    return sorted(path.name for path in folder.path.iterdir())


def test_a_folder_whose_request_has_never_left_is_swept_without_a_word(state):
    folder = state.folder("8f3a")
    folder.keep("key.pem", b"secret")
    folder.keep_unsent(b"{}")
    assert (state.sweep(), list(state.path.iterdir())) == ((), [])


def test_a_process_that_ends_once_the_journal_knows_loses_nothing(state, begun):
    assert state.sweep() == ()
    assert _names(begun) == ["enrollment.json", "key.pem"]


@pytest.mark.parametrize("name", ["enrollment.json", "certificate.pem"])
def test_a_key_that_the_journal_has_forgotten_is_moved_and_never_deleted(state, begun, name):
    state.sweep()
    begun.keep(name, b"{}")
    state.journal.path.unlink()
    (target,) = state.sweep()
    assert target == state.path.parent / "unknown" / state.place / "8f3a"
    assert (target / "key.pem").read_bytes() == b"secret"
    for folder in (target, target.parent, target.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(state.path.iterdir()) == []
    assert (state.sweep(), state.set_aside) == ((), (target,))
    assert ("--adopt" in state.why_aside(target)) == (name == "certificate.pem")


def test_what_was_moved_before_stays_as_it_is(state, begun):
    state.sweep()
    state.journal.path.unlink()
    state.sweep()
    begun.keep("enrollment.json", b"two")
    (second,) = state.sweep()
    assert second.name == "8f3a-2"
    assert len(list(second.parent.iterdir())) == 2


def test_what_the_journal_knows_to_have_ended_is_removed(state, begun):
    state.sweep()
    state.journal.close(state.place, "8f3a", at=NOW)
    assert (state.sweep(), list(state.path.iterdir())) == ((), [])


@pytest.mark.parametrize("below", ["", "place"])
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_state_directory_that_others_may_write_to_is_refused(tmp_path, mode, below):
    state, file = StateDirectory(tmp_path / "state"), tmp_path / "gw1.toml"
    open_to_all = state.path / state.place(file) if below else state.path
    open_to_all.mkdir(parents=True, mode=0o700)
    open_to_all.chmod(mode)
    with (
        pytest.raises(StateError, match="others may write to") as caught,
        state.locked(file, name="gw1", now=NOW),
    ):
        pass
    assert f"chmod go-w {open_to_all}" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder away needs root")
def test_a_state_directory_of_another_user_is_refused(tmp_path):
    state = StateDirectory(tmp_path / "state")
    state.path.mkdir(mode=0o700)
    os.chown(state.path, 65534, 65534)
    with (
        pytest.raises(StateError, match="belongs to uid 65534, and uid 0 works here") as caught,
        state.locked(tmp_path / "gw1.toml", name="gw1", now=NOW),
    ):
        pass
    assert f"chown -R 0 {state.path}" in caught.value.hint
