"""Files that a power cut does not lose, and nobody else reads or puts in our place."""

import errno
import os
from pathlib import Path

import pytest

from scepflow.private_files import make_folders, sync_folder, write_private, write_shared


@pytest.mark.parametrize("write", [write_private, lambda *what: write_shared(*what, mode=0o600)])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_stands_where_a_file_is_written_is_not_written_to(tmp_path, monkeypatch, kind, write):
    """Put there in the moment after what a kill had left was removed."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")

    def plant(path, *arguments, real=os.open, **named):
        if str(path).endswith(".new"):
            Path(path).symlink_to(victim) if kind == "link" else Path(path).hardlink_to(victim)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", plant)
    with pytest.raises(FileExistsError):
        write(tmp_path / "a", b"secret")
    assert victim.read_bytes() == b"victim"


def test_what_a_kill_has_left_is_no_obstacle(tmp_path):
    (tmp_path / ".a.new").write_bytes(b"half")
    write_private(tmp_path / "a", b"whole")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"whole")]


@pytest.fixture
def synced(monkeypatch):
    """The numbers of what is synced."""
    numbers = []

    def fsync(descriptor, real=os.fsync):
        numbers.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return numbers


@pytest.mark.parametrize("made", ["a", "a/b"])
def test_a_folder_that_a_killed_run_has_made_is_synced_too(tmp_path, synced, made):
    (tmp_path / made).mkdir(parents=True)
    make_folders(tmp_path / "a" / "b")
    assert (tmp_path / made).parent.stat().st_ino in synced
    assert (tmp_path / "a").stat().st_ino in synced


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_only_a_filesystem_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch, number):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)


def test_a_folder_that_another_process_makes_just_then_is_no_error(tmp_path, monkeypatch):
    def mkdir(path, *arguments, real=Path.mkdir, **named):
        real(path)
        real(path, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    make_folders(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
