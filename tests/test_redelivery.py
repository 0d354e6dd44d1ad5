"""What is delivered again after something failed: files, and who must be told of them once more."""

import errno
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from privileges import BOUND_BY_PERMISSIONS
from run_fixtures import Delays, GivenKey, new_authority, new_rsa_key

from scepflow import upkeep
from scepflow.digests import sink_digest
from scepflow.engine.messages import MessageType
from scepflow.errors import PendingError, RejectedError, SinkError, StateError, TransportError
from scepflow.options import Secret
from scepflow.pipeline import RenewOptions
from scepflow.stages import OutputSink, Prepared
from scepflow.testca import Authority, Knobs, Responder
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.file_sink import FileSink
from scepflow_bundled.outputs import _StagedFiles

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


class Patient(Bell, frozen=True, kw_only=True, tag="patient"):
    after: tuple

    def waits_for(self):
        return self.after


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
    for _ in range(2):
        outcome = world.run(pipeline)
        waits = outcome.deliveries[-1]
        assert (outcome.exit_code, waits.sink, str(waits.error)) == (6, "bell", "waits for sink second")
    assert told == [], "its files are not there"
    broken.clear()
    outcome = world.run(pipeline)
    assert (outcome.exit_code, [delivery.sink for delivery in outcome.deliveries]) == (0, ["second", "bell"])
    assert told == [[1, 1]]
    assert world.run(pipeline).action == "unchanged"


def test_who_waits_for_one_sink_alone_is_not_stopped_by_another_nor_told_of_it(world, shelves):
    pipeline, broken, told = shelves
    patient = Patient(shelves=pipeline.sinks["bell"].shelves, told=told, after=("first",))
    pipeline = world.pipeline(sinks=dict(pipeline.sinks) | {"bell": patient})
    assert world.run(pipeline).exit_code == 6
    broken.clear()
    assert [delivery.sink for delivery in world.run(pipeline).deliveries] == ["second"]
    assert told == [[1, 0]]


def test_what_is_delivered_by_name_is_told_to_those_alone_who_waited_for_it(world, shelves):
    pipeline, broken, told = shelves
    world.run(pipeline)

    def delivered(*sinks):
        outcome = upkeep.deliver_again(
            pipeline, sinks, emit=world.events.append, state=world.state, system=world.system
        )
        return {delivery.sink: delivery.error and str(delivery.error) for delivery in outcome.deliveries}

    assert delivered("first") == {"first": None, "bell": "waits for sink second"}
    assert delivered("bell") == {"bell": "waits for sink second"}
    broken.clear()
    assert delivered("second") == {"second": None, "bell": None}
    assert len(told) == 1
    assert delivered("second") == {"second": None}, "it has been told of this certificate"
    assert delivered() == {"first": None, "second": None, "bell": None}
    assert len(told) == 2


def test_an_expired_certificate_is_not_handed_out(world, shelves):
    pipeline, _, _ = shelves
    world.run(pipeline)
    world.slept_s.append(366 * DAY_S)
    with pytest.raises(StateError, match="expired on ") as caught:
        upkeep.deliver_again(pipeline, (), emit=world.events.append, state=world.state, system=world.system)
    assert "scepflow run" in caught.value.hint


def test_an_interruption_between_two_sinks_leaves_the_second_one_to_the_next_run(world):
    """What the first has is noted; nothing that is staged stays."""
    stops = [1]

    class Stopped(FileSink, frozen=True, kw_only=True, tag="stopped"):
        def prepare(self, issued, run):
            prepared = super().prepare(issued, run)

            def commit():
                if stops:
                    raise KeyboardInterrupt
                prepared.commit()

            return Prepared(commit=commit, discard=prepared.discard)

    sinks = {"one": FileSink(key="1.key", cert="1.pem"), "two": Stopped(key="2.key", cert="2.pem")}
    with pytest.raises(KeyboardInterrupt):
        world.run(world.pipeline(sinks=sinks))
    assert sorted(path.name for path in world.directory.glob("*[0-9.]*.*")) == ["1.key", "1.pem"]
    stops.clear()
    assert [delivery.sink for delivery in world.run(world.pipeline(sinks=sinks)).deliveries] == ["two"]
    assert not list(world.state.path.rglob("staged.json"))


class Killed(KeyboardInterrupt):
    """Ends a process as SIGKILL does: nothing is cleaned up."""


@pytest.mark.parametrize("name", ["file", "other"])
def test_what_a_kill_has_left_is_removed_though_the_sink_writes_elsewhere_by_then_or_is_gone(
    world, monkeypatch, name
):
    with monkeypatch.context() as patch:
        patch.setattr(_StagedFiles, "commit", _kill)
        patch.setattr(_StagedFiles, "discard", lambda _: None)
        with pytest.raises(Killed):
            world.run(world.pipeline(sinks={"file": FileSink(key="a.key", cert="a.pem")}))
    assert len(list(world.directory.glob(".scepflow-*-new"))) == 2
    world.run(world.pipeline(sinks={name: FileSink(key="b.key", cert="b.pem")}))
    assert not list(world.directory.glob(".scepflow-*"))
    assert sorted(path.name for path in world.directory.glob("[ab].*")) == ["b.key", "b.pem"]
    assert not list(world.state.path.rglob("staged.json"))


def _kill(_files):
    raise Killed


def test_a_secret_that_can_be_read_once_is_read_for_the_request_alone(world):
    reader, writer = os.pipe()
    os.write(writer, b"only-once\n")
    os.close(writer)
    world.responder.knobs = Knobs(challenge="only-once")
    csr = SubjectCsrBuilder(subject="CN=gw1.example.com", challenge=Secret({"file": f"/dev/fd/{reader}"}))
    try:
        assert world.run(world.pipeline(csr=csr)).action == "issued"
    finally:
        os.close(reader)


def test_a_pipeline_that_was_renamed_does_not_enroll_anew_unless_told_so(world):
    old, new = world.directory / "gw1.toml", world.directory / "gw2.toml"
    old.touch()
    world.run(world.pipeline(file=old))
    renamed = world.pipeline(name="gw2", file=new)
    old.rename(new)
    world.requests.clear()
    with pytest.raises(StateError, match="which is gone, has a valid one for the same subject") as caught:
        world.run(renamed)
    assert world.requests == []
    certificate, key = re.search(r"--adopt (\S+) (\S+);", caught.value.hint).groups()
    assert os.path.exists(certificate) and os.path.exists(key)  # noqa: PTH110, PT018  # names from a hint
    other = world.pipeline(name="gw2", file=new, csr=SubjectCsrBuilder(subject="CN=gw2.example.com"))
    assert world.run(other).action == "issued"


def test_a_pipeline_that_was_renamed_while_its_request_is_pending_spends_no_second_challenge(world):
    old, new = world.directory / "gw1.toml", world.directory / "gw2.toml"
    old.touch()
    world.responder.knobs = Knobs(pending=9)
    with pytest.raises(PendingError):
        world.run(world.pipeline(file=old), wait_s=0)
    old.rename(new)
    world.requests.clear()
    with pytest.raises(
        StateError, match="has a request that the CA has not decided for the same subject"
    ) as caught:
        world.run(world.pipeline(name="gw2", file=new))
    assert world.requests == []
    assert "name it back" in caught.value.hint
    assert "--adopt" not in caught.value.hint


def test_a_pipeline_of_another_ca_is_no_renamed_one(world):
    old, new = world.directory / "gw1.toml", world.directory / "gw2.toml"
    old.touch()
    world.run(world.pipeline(file=old))
    old.rename(new)
    other = new_authority()
    world.responder = Responder(other, now=world.now)
    pinned = world.pipeline(name="gw2", file=new, ca={"fingerprint": f"sha256:{other.fingerprint}"})
    assert world.run(pinned).action == "issued"


def test_a_pipeline_that_was_renamed_enrolls_anew_when_told_so(world):
    old, new = world.directory / "gw1.toml", world.directory / "gw2.toml"
    old.touch()
    world.run(world.pipeline(file=old))
    old.rename(new)
    assert world.run(world.pipeline(name="gw2", file=new), again=True).action == "issued"


def test_a_pipeline_of_the_same_subject_whose_neighbour_is_there_enrolls(world):
    for name in ("gw1", "gw2"):
        file = world.directory / f"{name}.toml"
        file.touch()
        assert world.run(world.pipeline(name=name, file=file)).action == "issued"


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
    assert len(told) == 1


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
    assert machine() == (6, "degraded", {"files": True, "phone": False, "reload": False})
    written = others()
    assert len(written) == 2
    assert machine() == (6, "degraded", {"phone": False, "reload": False})
    assert not told.exists(), "not before its files are there"
    phone.chmod(0o700)
    assert machine() == (0, "delivered", {"phone": True, "reload": True})
    assert told.read_text() == "gw1.p12\ntold\n"
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
    assert [request.message_type for request in world.responder.requests] == [19, 20, 17, 19]
    assert "request-lost" in world.warnings
    assert world.warnings.count("renewal-refused") == 1


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
