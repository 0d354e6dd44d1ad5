import contextlib
import os
import resource
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from credential_fixtures import make_credential, make_run, mode_of, tree
from privileges import NOBODY, unprivileged

from scepflow.errors import SinkError
from scepflow_bundled.outputs import (
    FileSetSink,
    Output,
    check_directory,
    check_owner,
    check_target,
    missing_directories,
    owner_ids,
    prepare_outputs,
)


def output(path: Path, content: bytes = b"new", mode: int = 0o600, **ids) -> Output:
    return Output(path=path, content=content, mode=mode, **ids)


@pytest.fixture
def umask_zero():
    before = os.umask(0)
    yield
    os.umask(before)


@contextmanager
def file_size_limit(limit: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_prepared_files_are_not_in_place_before_the_commit(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    prepared = prepare_outputs([output(tmp_path / "a"), output(tmp_path / "b")])
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not (tmp_path / "b").exists()
    prepared.commit()
    assert tree(tmp_path) == {"a": b"new", "b": b"new"}


def test_a_staged_file_stands_beside_its_target(tmp_path):
    (tmp_path / "deep").mkdir()
    prepared = prepare_outputs([output(tmp_path / "deep" / "a")])
    (staged,) = tree(tmp_path / "deep")
    assert staged.startswith(".scepflow-")
    prepared.discard()


def test_discarding_removes_files_and_the_directories_that_were_made(tmp_path):
    made = tmp_path / "x"
    prepared = prepare_outputs([output(made / "y" / "a")], directories={made: 0o755, made / "y": 0o700})
    prepared.discard()
    assert tree(tmp_path) == {}
    prepared.discard()


def test_discarding_after_the_commit_changes_nothing(tmp_path):
    prepared = prepare_outputs([output(tmp_path / "a")], directories={tmp_path / "empty": 0o755})
    prepared.commit()
    prepared.discard()
    assert tree(tmp_path) == {"a": b"new", "empty": None}


@pytest.mark.usefixtures("umask_zero")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_mode_is_exact_from_the_first_byte_under_any_umask(tmp_path, mode):
    prepared = prepare_outputs([output(tmp_path / "a", mode=mode)])
    (staged,) = tmp_path.iterdir()
    assert mode_of(staged) == mode
    prepared.commit()
    assert mode_of(tmp_path / "a") == mode


def test_the_mode_does_not_depend_on_a_tight_umask(tmp_path):
    before = os.umask(0o077)
    try:
        prepare_outputs(
            [output(tmp_path / "d" / "a", mode=0o644)], directories={tmp_path / "d": 0o755}
        ).commit()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "d" / "a") == 0o644
    assert mode_of(tmp_path / "d") == 0o755


def test_a_file_has_its_final_owner_and_mode_while_it_is_still_empty(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: seen.append(("mode", oct(mode), os.fstat(fd).st_size)))
    monkeypatch.setattr(os, "fchown", lambda fd, uid, gid: seen.append(("owner", uid, os.fstat(fd).st_size)))
    prepare_outputs([output(tmp_path / "a", uid=7)]).discard()
    assert seen == [("owner", 7, 0), ("mode", "0o600", 0)]


def test_files_and_their_directory_are_synced(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    prepare_outputs([output(tmp_path / "a")]).commit()
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


def test_a_directory_that_is_there_keeps_its_mode(tmp_path):
    (tmp_path / "d").mkdir(mode=0o750)
    prepare_outputs([output(tmp_path / "d" / "a")], directories={tmp_path / "d": 0o700}).commit()
    assert mode_of(tmp_path / "d") == 0o750


def test_a_file_where_a_directory_is_wanted_is_an_error(tmp_path):
    (tmp_path / "d").write_bytes(b"")
    with pytest.raises(SinkError, match="d: file exists"):
        prepare_outputs([output(tmp_path / "d" / "a")], directories={tmp_path / "d": 0o700})


def test_a_symbolic_link_is_never_written_through(tmp_path):
    (tmp_path / "victim").write_bytes(b"victim")
    (tmp_path / "link").symlink_to("victim")
    with pytest.raises(SinkError, match="link: is a symbolic link") as caught:
        prepare_outputs([output(tmp_path / "a"), output(tmp_path / "link")])
    assert "name the file it points to" in caught.value.hint
    assert tree(tmp_path) == {"link": b"victim", "victim": b"victim"}
    assert (tmp_path / "link").is_symlink()


def test_a_dangling_link_is_refused_too(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(SinkError, match="is a symbolic link"):
        prepare_outputs([output(tmp_path / "link")])
    assert not (tmp_path / "nowhere").exists()


def test_a_directory_in_the_way_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(SinkError, match="a: is a directory"):
        prepare_outputs([output(tmp_path / "a")])


def test_a_device_or_fifo_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(SinkError, match="a: is not a regular file"):
        prepare_outputs([output(tmp_path / "a")])


def test_a_missing_directory_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(SinkError, match="a: no such file or directory") as caught:
        prepare_outputs([output(tmp_path / "missing" / "a")])
    assert caught.value.hint == f"make the directory: mkdir -p {tmp_path}/missing"


def test_a_failure_in_the_second_file_leaves_nothing_behind(tmp_path):
    with pytest.raises(SinkError):
        prepare_outputs(
            [output(tmp_path / "made" / "a"), output(tmp_path / "missing" / "b")],
            directories={tmp_path / "made": 0o755},
        )
    assert tree(tmp_path) == {}


def test_two_names_of_one_file_are_refused(tmp_path):
    (tmp_path / "link").symlink_to(".")
    with pytest.raises(SinkError, match="two options name this file"):
        prepare_outputs([output(tmp_path / "a"), output(tmp_path / "link" / "a")])
    assert list(tree(tmp_path)) == ["link"]


def test_a_write_that_ends_half_way_leaves_the_old_file_alone(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with file_size_limit(16), pytest.raises(SinkError, match="a: file too large"):
        prepare_outputs([output(tmp_path / "a", b"x" * 100_000)])
    assert tree(tmp_path) == {"a": b"old"}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root")
def test_a_full_disk_leaves_the_old_file_alone_and_says_what_to_do(tmp_path):
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        (tmp_path / "a").write_bytes(b"old")
        with pytest.raises(SinkError, match="a: no space left on device") as caught:
            prepare_outputs([output(tmp_path / "b"), output(tmp_path / "a", b"x" * 100_000)])
        assert "make room" in caught.value.hint
        assert tree(tmp_path) == {"a": b"old"}
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_directory_without_permission_says_who_may_not_write(outside):
    (outside / "closed").mkdir(mode=0o555)
    with unprivileged(), pytest.raises(SinkError, match="closed/a: permission denied") as caught:
        prepare_outputs([output(outside / "closed" / "a")])
    assert str(outside / "closed") in caught.value.hint


def test_an_owner_that_may_not_be_given_leaves_nothing_behind(outside):
    (outside / "open").mkdir()
    (outside / "open").chmod(0o777)
    with (
        unprivileged(),
        pytest.raises(SinkError, match="owner cannot be set: operation not permitted") as caught,
    ):
        prepare_outputs([output(outside / "open" / "a", uid=0, gid=0)])
    assert "as root" in caught.value.hint
    assert tree(outside / "open") == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_root_gives_files_to_their_owner(tmp_path):
    prepare_outputs([output(tmp_path / "a", uid=NOBODY, gid=7)]).commit()
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid) == (NOBODY, 7)


def blocked_second(tmp_path: Path):
    """Three files prepared; then a directory appears where the second belongs."""
    (tmp_path / "a").write_bytes(b"old")
    prepared = prepare_outputs([output(tmp_path / name) for name in "abc"])
    (tmp_path / "b").mkdir()
    return prepared


def test_a_commit_that_fails_half_way_puts_the_first_files_back(tmp_path):
    inode = (tmp_path / "a").write_bytes(b"old") and (tmp_path / "a").stat().st_ino
    with pytest.raises(SinkError, match="b: is a directory"):
        blocked_second(tmp_path).commit()
    assert tree(tmp_path) == {"a": b"old", "b": None}
    assert (tmp_path / "a").stat().st_ino == inode


def test_a_commit_that_fails_removes_files_that_were_new(tmp_path):
    prepared = prepare_outputs(
        [output(tmp_path / "a"), output(tmp_path / "d" / "b")], directories={tmp_path / "d": 0o755}
    )
    (tmp_path / "d" / "b").symlink_to("a")
    with pytest.raises(SinkError):
        prepared.commit()
    assert not (tmp_path / "a").exists()


def test_a_failing_last_rename_puts_the_others_back(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    prepared = prepare_outputs([output(tmp_path / "a"), output(tmp_path / "b")])
    real = os.replace

    def replace(source, target):
        if Path(target).name == "b":
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(SinkError, match="b: input/output error"):
        prepared.commit()
    assert tree(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("blocked", [False, True])
def test_without_hard_links_the_set_still_switches_or_is_put_back(tmp_path, monkeypatch, blocked):
    (tmp_path / "a").write_bytes(b"old")
    prepared = prepare_outputs([output(tmp_path / "a"), output(tmp_path / "b")])

    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    if blocked:
        (tmp_path / "b").mkdir()
        monkeypatch.setattr(os, "replace", failing_for("b", os.replace))
        with pytest.raises(SinkError):
            prepared.commit()
        assert tree(tmp_path) == {"a": b"old", "b": None}
    else:
        prepared.commit()
        assert tree(tmp_path) == {"a": b"new", "b": b"new"}


def failing_for(name, real):
    def replace(source, target):
        if Path(target).name == name:
            raise OSError(5, "Input/output error")
        real(source, target)

    return replace


def test_what_cannot_be_put_back_is_kept_and_named(tmp_path, monkeypatch):
    prepared = blocked_second(tmp_path)
    real = os.replace

    def replace(source, target):
        if str(source).endswith("-old"):
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(SinkError) as caught:
        prepared.commit()
    (kept,) = tmp_path.glob(".scepflow-*-old")
    assert kept.read_bytes() == b"old"
    assert kept.name in str(caught.value)
    assert f"{tmp_path}/a could not be put back" in caught.value.message


def killed_after(renames, tmp_path, monkeypatch):
    """Leave what a process leaves that is killed in a commit of a, b and c, before the rename after these."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"old")
    prepared = prepare_outputs([output(tmp_path / name) for name in "abc"])
    done = []

    def replace(source, target, real=os.replace):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        patch.setattr(Path, "unlink", lambda *_arguments, **_named: None)
        with contextlib.suppress(KeyboardInterrupt):
            prepared.commit()
    assert [(tmp_path / name).read_bytes() for name in "abc"] == [b"new"] * renames + [b"old"] * (3 - renames)


@pytest.mark.parametrize(("renames", "left"), [(0, b"old"), (1, b"old"), (2, b"old"), (3, b"new")])
def test_a_set_that_a_kill_has_parted_is_whole_again_before_anything_is_staged(
    tmp_path, monkeypatch, renames, left
):
    """Even if nothing can be staged then."""
    killed_after(renames, tmp_path, monkeypatch)
    with file_size_limit(0), pytest.raises(SinkError):
        prepare_outputs([output(tmp_path / name, b"newer") for name in "abc"])
    assert tree(tmp_path) == dict.fromkeys("abc", left)


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_an_interruption_between_two_renames_puts_all_back_and_one_after_them_leaves_all_new(
    tmp_path, monkeypatch, renames
):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "c").write_bytes(b"old")  # b is new
    prepared = prepare_outputs([output(tmp_path / name) for name in "abc"])
    done = []

    def replace(source, target, real=os.replace):
        if str(source).endswith("-old"):
            return real(source, target)
        if len(done) < renames:
            done.append(real(source, target))
        if len(done) == renames:
            raise KeyboardInterrupt
        return None

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        prepared.commit()
    prepared.discard()
    monkeypatch.undo()
    if renames == 3:
        prepare_outputs([output(tmp_path / name) for name in "abc"]).discard()  # what was aside is of no use
        assert tree(tmp_path) == dict.fromkeys("abc", b"new")
    else:
        assert tree(tmp_path) == {"a": b"old", "c": b"old"}


def test_a_second_interruption_leaves_what_the_next_run_needs(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).write_bytes(b"old")
    prepared = prepare_outputs([output(tmp_path / name) for name in "abc"])
    done = []

    def replace(source, target, real=os.replace):
        if len(done) >= 2:
            raise KeyboardInterrupt
        done.append(real(source, target))

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        prepared.commit()
    prepared.discard()
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == b"new", "it was parted"
    with file_size_limit(0), pytest.raises(SinkError):
        prepare_outputs([output(tmp_path / name) for name in "abc"])
    assert tree(tmp_path) == dict.fromkeys("abc", b"old")


def test_a_sink_notes_what_a_kill_may_leave_before_it_makes_anything(tmp_path):
    seen = []

    def note(paths):
        seen.append([path.name for path in paths])
        assert tree(tmp_path) == {}

    prepare_outputs([output(tmp_path / "a")], note=note)
    (staged,) = tree(tmp_path)
    assert seen == [[staged, staged.replace("-new", "-old")]]


def test_a_directory_that_is_replaced_by_a_link_as_soon_as_it_is_made_is_refused(tmp_path, monkeypatch):
    victim, base = tmp_path / "victim", tmp_path / "shared" / "base"
    victim.mkdir(mode=0o700)
    base.parent.mkdir()

    def mkdir(name, mode, *, dir_fd, real=os.mkdir):
        real(name, mode, dir_fd=dir_fd)
        if name == "base":
            base.rename(base.with_name("moved"))
            base.symlink_to(victim)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(SinkError):
        prepare_outputs([output(base / "a")], directories={base: 0o755})
    assert (mode_of(victim), tree(victim)) == (0o700, {})


def test_a_directory_that_is_replaced_after_it_was_made_gets_nothing(tmp_path, monkeypatch):
    victim, base = tmp_path / "victim", tmp_path / "base"
    victim.mkdir(mode=0o700)

    def fchmod(descriptor, mode, real=os.fchmod):
        real(descriptor, mode)
        if base.is_dir() and not base.is_symlink():
            base.rename(base.with_name("moved"))
            base.symlink_to(victim)

    monkeypatch.setattr(os, "fchmod", fchmod)
    with pytest.raises(SinkError, match="was made and replaced at once"):
        prepare_outputs([output(base / "a")], directories={base: 0o755, base / "b": 0o755})
    assert tree(victim) == {}


def test_a_disk_that_fails_to_keep_the_renames_is_an_error(tmp_path, monkeypatch):
    prepared = prepare_outputs([output(tmp_path / "a")])

    def fsync(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SinkError, match="input/output error"):
        prepared.commit()


def _place_beside(path, what):
    prepared = prepare_outputs([output(path)])
    (staged,) = path.parent.glob(".scepflow-*-new")
    prepared.discard()
    return staged.with_name(staged.name.replace("-new", f"-{what}"))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_a_stranger_s_file_is_not_taken_for_what_a_crash_has_left(tmp_path):
    old = _place_beside(tmp_path / "a", "old")
    old.write_bytes(b"forged")
    os.chown(old, NOBODY, NOBODY)
    mark = _place_beside(tmp_path / "b", "new")
    mark.write_bytes(b"")
    prepare_outputs([output(tmp_path / name) for name in "ab"]).discard()
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_stands_where_a_file_is_staged_is_not_written_to(tmp_path, monkeypatch, kind):
    """Put there in the moment after our own leftovers were removed."""
    staged, victim = _place_beside(tmp_path / "a", "new"), tmp_path / "victim"
    victim.write_bytes(b"victim")

    def plant(path, *arguments, real=os.open, **named):
        if path == staged.name:
            staged.symlink_to(victim) if kind == "link" else os.link(victim, staged)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", plant)
    with pytest.raises(SinkError, match="file exists"):
        prepare_outputs([output(tmp_path / "a")])
    assert victim.read_bytes() == b"victim"


def test_a_single_file_is_replaced_without_a_second_name(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "link", None)
    prepare_outputs([output(tmp_path / "a")]).commit()
    assert tree(tmp_path) == {"a": b"new"}


def test_a_filesystem_that_cannot_sync_directories_is_no_error(tmp_path, monkeypatch):
    prepared = prepare_outputs([output(tmp_path / "a")])

    def fsync(descriptor):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    prepared.commit()
    assert tree(tmp_path) == {"a": b"new"}


def test_a_sink_of_files_must_name_its_files(tmp_path):
    with pytest.raises(NotImplementedError):
        FileSetSink().write(make_credential(), make_run(tmp_path))


def test_the_content_of_an_output_is_not_in_its_repr(tmp_path):
    assert "hush" not in repr(output(tmp_path / "a", b"hush"))


def test_missing_directories_are_named_outer_first(tmp_path):
    assert missing_directories(tmp_path / "x" / "y" / "a") == [tmp_path / "x", tmp_path / "x" / "y"]
    assert missing_directories(tmp_path / "a") == []


def test_owners_are_names_or_numbers():
    assert owner_ids(None, None) == (-1, -1)
    assert owner_ids("root", "0") == (0, 0)
    assert owner_ids(17, 18) == (17, 18)


@pytest.mark.parametrize(
    ("owner", "group", "kind"), [("no-such-user", None, "user"), (None, "no-such-group", "group")]
)
def test_an_unknown_owner_is_named(owner, group, kind):
    with pytest.raises(SinkError, match=f"there is no {kind} 'no-such-{kind}'"):
        owner_ids(owner, group)


def test_checking_an_owner_asks_who_may_give_files_away():
    check_owner(-1, -1)
    check_owner(os.geteuid(), os.getegid())
    with unprivileged(), pytest.raises(SinkError, match="may not give files"):
        check_owner(os.geteuid() + 1, -1)
    with unprivileged(), pytest.raises(SinkError, match="may not give files"):
        check_owner(-1, 4_000_000)


def test_checking_a_directory_changes_nothing(outside):
    check_directory(outside)
    with pytest.raises(SinkError, match="missing: no such directory") as caught:
        check_directory(outside / "missing")
    assert "mkdir -p" in caught.value.hint
    (outside / "file").write_bytes(b"")
    with pytest.raises(SinkError, match="file: is not a directory"):
        check_directory(outside / "file")
    with unprivileged(), pytest.raises(SinkError, match="not writable by uid"):
        check_directory(Path("/"))


def test_checking_a_target_looks_where_directories_would_be_made(tmp_path):
    check_target(tmp_path / "a")
    check_target(tmp_path / "x" / "y" / "a", make_directories=True)
    with pytest.raises(SinkError, match="y: no such directory"):
        check_target(tmp_path / "x" / "y" / "a")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(SinkError, match="symbolic link"):
        check_target(tmp_path / "link")
    assert list(tree(tmp_path)) == ["link"]
