"""What is delivered again after something failed: files, and who must be told of them once more."""

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from privileges import BOUND_BY_PERMISSIONS
from run_fixtures import Delays, GivenKey, new_rsa_key

from scepflow.digests import sink_digest
from scepflow.engine.messages import MessageType
from scepflow.errors import RejectedError, SinkError, StateError, TransportError
from scepflow.pipeline import RenewOptions
from scepflow.stages import OutputSink, Prepared
from scepflow.testca import Authority, Knobs

DAY_S = 86400


class Shelf(OutputSink, frozen=True, kw_only=True, tag="shelf"):
    """Stages, and fails while ``broken`` holds anything."""

    broken: list
    got: list

    def prepare(self, issued, run):
        if self.broken:
            raise SinkError("no space left on device")
        return Prepared(commit=lambda: self.got.append(issued), discard=lambda: None)


class Bell(OutputSink, frozen=True, kw_only=True, tag="bell"):
    """Is told how much stood on the shelves."""

    shelves: list
    told: list

    def write(self, issued, run):
        self.told.append([len(shelf) for shelf in self.shelves])


@pytest.fixture
def shelves(world):
    """Two shelves of which the second is broken, and a bell."""
    first, second, told = [], [], []
    broken = [1]
    sinks = {
        "first": Shelf(broken=[], got=first),
        "second": Shelf(broken=broken, got=second),
        "bell": Bell(shelves=[first, second], told=told),
    }
    return world.pipeline(sinks=sinks), broken, told


def test_who_was_told_before_all_files_were_there_is_told_again_when_they_are(world, shelves):
    pipeline, broken, told = shelves
    assert world.run(pipeline).exit_code == 6
    assert world.run(pipeline).exit_code == 6
    assert told == [[1, 0]], "as long as nothing new is there, nobody is told again"
    broken.clear()
    outcome = world.run(pipeline)
    assert (outcome.exit_code, [delivery.sink for delivery in outcome.deliveries]) == (0, ["second", "bell"])
    assert told == [[1, 0], [1, 1]]
    assert world.run(pipeline).action == "unchanged"


def test_a_process_that_ends_before_it_could_tell_again_leaves_that_to_the_next_run(world, shelves):
    pipeline, broken, told = shelves
    world.run(pipeline)
    broken.clear()
    (place,) = [record.place for record in world.state.journal.pipelines()]
    transaction_id = world.state.journal.pipeline(place).current.transaction_id
    world.state.journal.deliver(
        place,
        transaction_id,
        "second",
        options=sink_digest(pipeline.sinks["second"]),
        at=world.now(),
        error=None,
        outdates=("bell",),
    )
    assert [delivery.sink for delivery in world.run(pipeline).deliveries] == ["bell"]
    assert len(told) == 2


def test_what_cannot_be_kept_is_delivered_and_asked_for_once_more(world, monkeypatch):
    real, full = os.fsync, []

    def fsync(descriptor):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    def answer(request):
        full.append(1)
        return world.responder.handle(request)

    monkeypatch.setattr(os, "fsync", fsync)
    world.answers["PKIOperation"] = answer
    assert world.run().exit_code == 0
    assert (len(world.box), world.warnings) == (1, ["not-kept"])
    world.answers.clear()
    full.clear()
    outcome = world.run()
    assert (outcome.action, outcome.certificate.serial) == (
        "issued",
        f"{world.box[0].certificate.serial_number:x}",
    )
    assert world.kept == ["certificate.pem", "key.pem"]
    assert len(world.responder.issued) == 1


def test_what_has_come_and_could_not_be_noted_is_not_asked_for_again(world):
    journal, aside = world.state.journal.path, world.directory / "aside"

    def answer(request):
        journal.rename(aside)
        journal.mkdir()
        return world.responder.handle(request)

    world.answers["PKIOperation"] = answer
    world.run()
    assert "not-kept" in world.warnings
    journal.rmdir()
    aside.rename(journal)
    world.requests.clear()
    assert world.run().action == "issued"
    assert world.requests == []
    assert world.box[0].certificate == world.box[1].certificate


def test_a_disk_that_is_full_from_the_beginning_is_explained(world, monkeypatch):
    def fsync(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    world.state.path.mkdir()
    with pytest.raises(StateError, match="No space left on device"):
        world.run()


def test_an_error_is_the_one_that_is_told_even_if_it_cannot_be_noted(world):
    def break_all(request):
        world.state.journal.path.unlink()
        world.state.journal.path.mkdir()
        raise TransportError("the server hung up")

    world.answers["PKIOperation"] = break_all
    with pytest.raises(TransportError, match="hung up"):
        world.run()


PIPELINE = """\
[ca]
url = "http://embedded/scep"
certificate = "testca/ca.pem"
[csr]
subject = "CN=gw1"
[transport]
use = "embedded"
directory = "testca"
[sink.files]
use = "file"
key = "gw1.key"
cert = "gw1.pem"
[sink.phone]
use = "pkcs12"
path = "phone/gw1.p12"
password = { env = "P12_PASSWORD" }
[sink.reload]
use = "command"
run = ["/bin/sh", "-c", "ls phone >> reloaded; echo told >> reloaded"]
"""


@pytest.fixture
def machine(tmp_path):
    """A pipeline whose runs are processes of their own, which permissions bind."""
    (tmp_path / "gw1.toml").write_text(PIPELINE)
    Authority.create(now=datetime.now(UTC)).save(tmp_path / "testca")
    (tmp_path / "phone").mkdir()

    def run():
        done = subprocess.run(
            [*BOUND_BY_PERMISSIONS, sys.executable, "-m", "scepflow", "run", "gw1.toml", "--json"],
            cwd=tmp_path,
            env=os.environ | {"P12_PASSWORD": "secret", "SCEPFLOW_STATE_DIR": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        (result,) = json.loads(done.stdout)["pipelines"]
        delivered = {delivery["sink"]: delivery["delivered"] for delivery in result["deliveries"]}
        return done.returncode, result["outcome"], delivered

    return run


def test_a_pkcs12_file_that_can_be_written_later_is_and_no_other_file_is_touched(machine, tmp_path):
    phone, told = tmp_path / "phone", tmp_path / "reloaded"

    def others():
        return [(path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(tmp_path.glob("gw1.[kp]*"))]

    phone.chmod(0o500)
    assert machine() == (6, "degraded", {"files": True, "phone": False, "reload": True})
    written = others()
    assert len(written) == 2
    assert machine() == (6, "degraded", {"phone": False})
    assert told.read_text() == "told\n", "nothing new is there to be told of"
    phone.chmod(0o700)
    assert machine() == (0, "delivered", {"phone": True, "reload": True})
    assert told.read_text() == "told\ngw1.p12\ntold\n", "told again, now that all is there"
    assert [path.name for path in phone.iterdir()] == ["gw1.p12"]
    assert others() == written
    assert machine() == (0, "unchanged", {})
    assert len(list((tmp_path / "testca" / "transactions").iterdir())) == 1


def refuse_renewals(world):
    world.responder.knobs = Knobs(unknown=frozenset([MessageType.RENEWAL_REQ]))


def test_a_renewal_that_was_cut_short_before_its_refusal_came_begins_anew(world):
    first = world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    refuse_renewals(world)
    world.answers["PKIOperation"] = TransportError("the server hung up")
    pipeline = world.pipeline(key=GivenKey(key=new_rsa_key()), poller=Delays(seconds=()))
    with pytest.raises(TransportError):
        world.run(pipeline)
    world.answers.clear()
    outcome = world.run(pipeline)
    assert outcome.action == "renewed"
    assert outcome.certificate.serial != first.certificate.serial
    assert [request.message_type for request in world.responder.requests] == [19, 20, 17, 17, 19]
    assert "request-lost" in world.warnings
    assert world.warnings.count("renewal-refused") == 2


def test_a_renewal_that_is_refused_where_nothing_else_may_be_sent_is_rejected(world):
    world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    refuse_renewals(world)
    world.answers["PKIOperation"] = TransportError("the server hung up")
    pipeline = world.pipeline(key=GivenKey(key=new_rsa_key()), renew=RenewOptions(message="renewal"))
    with pytest.raises(TransportError):
        world.run(pipeline)
    world.answers.clear()
    with pytest.raises(RejectedError, match="messageType 17"):
        world.run(pipeline)
