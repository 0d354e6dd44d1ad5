"""Inputs that can be read only once."""

import os
import stat
import threading
from pathlib import Path

import pytest

from scepflow.sscep.passing import with_copies
from scepflow.sscep.settings import Operation, Settings


@pytest.fixture
def fifo(tmp_path):
    """A FIFO that somebody writes a key to, once."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"a key",))
    writer.start()
    yield str(path)
    writer.join()


def asked(operation=Operation.ENROLL, **options):
    return Settings(program="sscep", operation=operation, **options)


@pytest.mark.parametrize("anonymous", [True, False])
def test_a_copy_can_be_read_twice_by_its_owner_and_is_gone_at_the_end(anonymous, fifo, monkeypatch):
    if not anonymous:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with with_copies(asked(key=fifo, old_key=fifo)) as (settings, names):
        copy = Path(settings.key)
        assert [copy.read_bytes(), copy.read_bytes()] == [b"a key", b"a key"]
        assert settings.old_key == settings.key
        assert names == {settings.key: fifo}
        assert copy.is_file()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not copy.exists()


def test_a_file_stays_where_it_is_and_what_is_not_there_too(tmp_path):
    (tmp_path / "key").write_text("k")
    given = asked(key=str(tmp_path / "key"), request="none", ca_file=str(tmp_path), old_key="\0")
    with with_copies(given) as (settings, names):
        assert (settings, names) == (given, {})


def test_what_an_operation_writes_is_not_read(fifo):
    with with_copies(asked(Operation.GETCA, ca_file=fifo)) as (settings, _):
        assert settings.ca_file == fifo
    Path(fifo).read_bytes()


def test_an_endless_input_is_cut(tmp_path):
    with with_copies(asked(key="/dev/zero")) as (settings, _):
        assert Path(settings.key).stat().st_size == (1 << 20) + 1
