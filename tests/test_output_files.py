"""Files that a command writes."""

import os
import resource
import stat
import tty
from pathlib import Path

import pytest
from privileges import unprivileged

from scepflow.output_files import check_output, umask, write_output


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    target = tmp_path / "ca.crt"
    write_output(str(target), b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o4755])
def test_a_file_that_is_replaced_keeps_its_permissions_but_for_special_bits(mode, tmp_path):
    target = tmp_path / "ca.crt"
    target.write_text("old")
    target.chmod(mode)
    write_output(str(target), b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == mode & 0o777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path):
    target = tmp_path / "ca.crt"
    target.write_text("old")
    os.chown(target, 12, 34)
    write_output(str(target), b"new")
    assert (target.stat().st_uid, target.stat().st_gid) == (12, 34)


def test_a_file_of_another_user_is_replaced_where_it_cannot_stay_theirs(outside):
    target = outside / "ca.crt"
    target.write_text("old")
    target.chmod(0o640)
    outside.chmod(0o777)
    with unprivileged():
        write_output(str(target), b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write_output(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.fixture
def terminal():
    """A device of our own: its name, and a function that reads what was written to it."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    yield os.ttyname(theirs), lambda: os.read(ours, 100)
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def fifo(tmp_path):
    """A FIFO that somebody reads: its path, and a function that reads it."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, lambda: os.read(reader, 100)
    os.close(reader)


def test_a_device_is_written_to_and_not_replaced(terminal, tmp_path):
    name, read = terminal
    (tmp_path / "link").symlink_to(name)
    for way in (name, str(tmp_path / "link")):
        check_output(way)
        write_output(way, b"new")
        assert read() == b"new"
    assert Path(name).is_char_device()
    assert (tmp_path / "link").is_symlink()


def test_a_fifo_is_written_to_and_not_replaced(fifo, tmp_path):
    path, read = fifo
    check_output(str(path))
    write_output(str(path), b"new")
    assert read() == b"new"
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_to_by_the_number_that_it_is_open_as():
    """What /dev/stdout is where stdout goes into a pipe: its name leads to none that could be resolved."""
    reading, writing = os.pipe()
    try:
        check_output(f"/dev/fd/{writing}")
        write_output(f"/dev/fd/{writing}", b"new")
        assert os.read(reading, 100) == b"new"
    finally:
        os.close(reading)
        os.close(writing)


def test_what_is_open_already_is_added_to_and_not_replaced(tmp_path):
    """As /dev/stdout, where a shell sends stdout to a file: lines stand in it already."""
    with (tmp_path / "lines").open("wb") as file:
        file.write(b"a line\n")
        file.flush()
        check_output(f"/proc/self/fd/{file.fileno()}")
        write_output(f"/dev/fd/{file.fileno()}", b"new")
    assert (tmp_path / "lines").read_bytes() == b"a line\nnew"


@pytest.mark.parametrize("check", [check_output, lambda name: write_output(name, b"new")])
def test_what_is_open_for_reading_only_cannot_be_written(check, tmp_path):
    (tmp_path / "lines").write_text("a line")
    with (tmp_path / "lines").open("rb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        check(f"/dev/fd/{file.fileno()}")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_output(str(tmp_path / "none" / "x"), b"new")
    assert not list(tmp_path.iterdir())


def test_whether_a_file_could_be_written_is_found_out_without_a_trace(tmp_path):
    for name in ("new", "old"):
        (tmp_path / "old").write_text("old")
        check_output(str(tmp_path / name))
    (tmp_path / "link").symlink_to("old")
    check_output(str(tmp_path / "link"))
    assert {path.name for path in tmp_path.iterdir()} == {"old", "link"}
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize("check", [check_output, lambda name: write_output(name, b"new")])
@pytest.mark.parametrize(
    ("name", "error"), [("", FileNotFoundError), ("none/x", FileNotFoundError), (".", IsADirectoryError)]
)
def test_a_place_for_no_file_is_refused_alike(check, name, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        check(name)


@pytest.fixture
def closed(outside):
    """A folder in which nobody can make files; one file in it can be written to."""
    folder = outside / "closed"
    folder.mkdir()
    for name, mode in (("open", 0o666), ("shut", 0o444)):
        (folder / name).write_text("a longer text than the new one")
        (folder / name).chmod(mode)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_a_file_in_a_folder_of_another_user_is_written_in_place(closed):
    """As sscep did: the folder is root's, the file is the daemon's."""
    with unprivileged():
        check_output(str(closed / "open"))
        write_output(str(closed / "open"), b"new")
    assert (closed / "open").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["shut", "new"])
def test_what_may_not_be_written_there_is_refused(name, closed):
    with unprivileged():
        with pytest.raises(PermissionError):
            check_output(str(closed / name))
        with pytest.raises(PermissionError):
            write_output(str(closed / name), b"new")
    assert len(list(closed.iterdir())) == 2


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path):
    (tmp_path / "x").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_output(str(tmp_path / "x"), b"longer")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
