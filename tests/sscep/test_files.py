"""Files that a command writes."""

import os
from pathlib import Path

import pytest

from scepflow.sscep.files import umask, write_output


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
