"""Digests tell whether something has changed, and nothing else."""

import os
import sys

import pytest

from scepflow.digests import asked_digest, sink_digest
from scepflow.options import PathTemplate, Secret
from scepflow.pipeline import RenewOptions
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.file_sink import FileSink
from scepflow_bundled.keys import FileKeySource
from scepflow_bundled.pkcs12_sink import Pkcs12Sink

SALT = bytes(32)


def _asked(world, salt=SALT, **changed):
    parts = {"key": FileKeySource(path=PathTemplate("gw1.key"))}
    return asked_digest(world.pipeline(**(parts | changed)), salt=salt)


def _csr(challenge=None, subject="CN=gw1"):
    return SubjectCsrBuilder(subject=subject, challenge=challenge and Secret(challenge))


def test_a_sink_has_the_same_digest_until_an_option_changes():
    one = FileSink(cert=PathTemplate("gw1.crt"))
    assert sink_digest(one) == sink_digest(FileSink(cert=PathTemplate("gw1.crt")))
    assert len(sink_digest(one)) == 16
    assert sink_digest(one) != sink_digest(FileSink(cert=PathTemplate("gw2.crt")))
    assert sink_digest(one) != sink_digest(FileSink(cert=PathTemplate("gw1.crt"), make_directories=True))


def test_of_a_sinks_secret_only_the_origin_counts():
    def digest(secret):
        return sink_digest(Pkcs12Sink(path=PathTemplate("gw1.p12"), password=Secret(secret)))

    assert digest("one") == digest("two")
    assert digest({"file": "one"}) != digest({"file": "two"})


@pytest.mark.parametrize(
    "changed",
    [
        {"ca": {"identifier": "other"}},
        {"csr": _csr(subject="CN=gw2")},
        {"csr": _csr("hush")},
        {"renew": RenewOptions(key="reuse")},
        {"key": FileKeySource(path=PathTemplate("gw2.key"))},
    ],
)
def test_what_is_asked_is_another_when_an_option_changes(world, changed):
    assert _asked(world, csr=_csr()) == _asked(world, csr=_csr())
    assert _asked(world, csr=_csr()) != _asked(world, **({"csr": _csr()} | changed))


def test_sinks_and_the_poller_are_no_part_of_what_is_asked(world):
    assert _asked(world) == _asked(world, sinks={}, poller=world.pipeline().poller)


def test_what_is_asked_is_another_when_the_secret_in_a_file_changes(world):
    path = world.directory / "challenge"
    path.write_text("one")
    csr = _csr({"file": "challenge"})
    first = _asked(world, csr=csr)
    path.write_text("two")
    assert _asked(world, csr=csr) != first
    path.write_text("one")
    os.utime(path, (1, 1))
    assert _asked(world, csr=csr) == first


def test_what_is_asked_is_another_when_a_file_changes_that_an_option_names(world):
    path = world.directory / "gw1.key"
    missing = _asked(world)
    path.write_text("one")
    first = _asked(world)
    path.write_text("two")
    assert len({missing, first, _asked(world)}) == 3


def test_a_secret_that_cannot_be_read_is_a_state_of_its_own_and_no_error(world):
    csr = _csr({"file": "challenge"})
    missing = _asked(world, csr=csr)
    (world.directory / "challenge").write_text("hush")
    assert _asked(world, csr=csr) != missing


def test_a_command_that_gives_a_secret_is_not_run(world):
    """It may hand out a one-time challenge."""
    mark = world.directory / "was-run"
    _asked(world, csr=_csr({"command": [sys.executable, "-c", f"open({str(mark)!r}, 'w')"]}))
    assert not mark.exists()


def test_without_the_salt_a_challenge_cannot_be_tried_out(world):
    assert _asked(world, csr=_csr("hush")) != _asked(world, csr=_csr("hush"), salt=bytes(31) + b"\1")
