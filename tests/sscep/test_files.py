"""Files that a command writes."""

import os
import resource
from pathlib import Path

import pytest
from privileges import unprivileged

from scepflow.sscep.files import check_output, umask, write_output


def test_a_file_is_replaced_with_the_permissions_that_the_umask_leaves(tmp_path):
    target = tmp_path / "ca.crt"
    target.write_text("old")
    write_output(str(target), b"new")
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask()
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write_output(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_device_is_written_to_and_not_replaced():
    write_output(os.devnull, b"new")
    assert Path(os.devnull).is_char_device()


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
    check_output(os.devnull)
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
