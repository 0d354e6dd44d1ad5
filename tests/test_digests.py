"""Digests tell whether something has changed, and nothing else."""

import os
import subprocess
import sys
from typing import Any

import pytest

from scepflow.digests import _contents, asked_digest, sink_digest
from scepflow.options import PathTemplate, Secret
from scepflow.pipeline import RenewOptions
from scepflow.stages import CsrBuilder, OutputSink
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


SET = """
from scepflow.digests import sink_digest
from scepflow.stages import OutputSink
class Tagged(OutputSink, frozen=True, kw_only=True, tag="tagged"):
    names: frozenset[str]
print(sink_digest(Tagged(names=frozenset({"a", "b", "c", "d", "e"}))))
"""


def test_a_digest_is_the_same_in_every_process_though_the_order_of_a_set_is_not():
    digests = {
        subprocess.run(
            [sys.executable, "-c", SET],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_values_of_different_kinds_have_different_digests():
    class Odd(OutputSink, frozen=True, kw_only=True, tag="odd"):
        value: Any

    values = (
        None,
        "None",
        True,
        1,
        "1",
        "",
        [],
        {},
        ["a", "b"],
        frozenset(["a", "b"]),
        Secret({"env": "A"}),
        "env A",
    )
    assert len({sink_digest(Odd(value=value)) for value in values}) == len(values)


@pytest.mark.parametrize("option", ["signing_certificate", "encryption_certificate"])
def test_what_is_asked_is_another_when_a_certificate_changes_that_the_ca_is_pinned_by(world, option):
    path = world.directory / "sign.pem"
    path.write_text("one")
    first = _asked(world, ca={option: "sign.pem"})
    path.write_text("two")
    assert _asked(world, ca={option: "sign.pem"}) != first


def test_what_is_asked_is_another_when_a_secret_changes_that_stands_deep_in_an_option(world):
    class Deep(CsrBuilder, frozen=True, kw_only=True, tag="deep"):
        value: Any

    path = world.directory / "deep"
    for value in ({"a": [Secret({"file": "deep"})]}, (PathTemplate("deep"),)):
        path.write_text("one")
        first = _asked(world, csr=Deep(value=value))
        path.write_text("two")
        assert _asked(world, csr=Deep(value=value)) != first


def test_without_the_salt_a_challenge_cannot_be_tried_out(world):
    assert _asked(world, csr=_csr("hush")) != _asked(world, csr=_csr("hush"), salt=bytes(31) + b"\1")


def test_a_file_that_reading_would_empty_or_wait_for_is_left_alone(tmp_path):
    """Nobody writes to this FIFO, so that to read it would take for ever."""
    os.mkfifo(tmp_path / "fifo")
    for value in (Secret({"file": "fifo"}), PathTemplate("fifo")):
        assert list(_contents(value, tmp_path)) == [b"a stream"]
