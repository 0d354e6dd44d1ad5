"""The CA that is kept with a request: on disk before the request leaves, and what a later run makes of it."""

import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from run_fixtures import Delays, GivenKey, World, new_authority, new_rsa_key

from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType
from scepflow.errors import PendingError, TransportError, TrustError
from scepflow.pipeline import RenewOptions
from scepflow.testca import Knobs
from scepflow_bundled.signers import SelfSignedSigner

GONE = TransportError("the server hung up")
DAY_S = 86400
POLL = MessageType.CERT_POLL


@pytest.fixture(scope="session")
def ra_authority():
    return new_authority(ra=True)


@pytest.fixture
def world(tmp_path, ra_authority, _device_key):
    """A world whose CA has an RA, with one certificate that signs and one that opens requests."""
    return World(directory=tmp_path, authority=ra_authority, key=_device_key)


def kept(world):
    """Return the certificates that are kept of the CA, attempt by attempt."""
    files = sorted(world.state.path.rglob("ca.pem"))
    return [set(x509.load_pem_x509_certificates(file.read_bytes())) for file in files]


def leave_pending(world, pipeline=None):
    """Have a request sent that the CA is going to grant at the next poll."""
    world.responder.knobs = Knobs(pending=1)
    with pytest.raises(PendingError):
        world.run(pipeline, wait_s=0)
    world.slept_s.append(61)
    world.requests.clear()
    world.events.clear()


def silence(world, answer=GONE):
    world.answers |= {"GetCACaps": GONE, "GetCACert": answer}


def answer(*certificates):
    body = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return HttpResponse(status=200, body=body)


# -- kept before anything is asked


def look_at_every_message(world):
    """Return what is kept of the CA at each message that reaches it, while there will be more."""
    seen = []

    def look(request):
        seen.append(kept(world))
        assert not list(world.state.path.rglob(".*")), "something is half written"
        assert {stat.S_IMODE(file.stat().st_mode) for file in world.state.path.rglob("ca.pem")} == {0o600}
        return world.responder.handle(request)

    world.answers["PKIOperation"] = look
    return seen


def test_ca_and_ra_are_on_disk_before_the_first_message_arrives_and_until_the_certificate_is_there(world):
    seen = look_at_every_message(world)
    world.responder.knobs = Knobs(pending=1)
    world.run()
    assert seen == [[set(world.authority.bundle())]] * 2
    assert kept(world) == []


def test_only_what_passed_is_kept(world):
    seen = look_at_every_message(world)
    world.answers["GetCACert"] = answer(new_authority().certificate, *world.authority.bundle())
    world.run()
    assert seen == [[set(world.authority.bundle())]]


def test_the_plain_request_after_a_renewal_that_was_refused_has_its_ca_too(world):
    world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    world.responder.knobs = Knobs(unknown=frozenset([MessageType.RENEWAL_REQ]))
    seen = look_at_every_message(world)
    assert world.run(world.pipeline(key=GivenKey(key=new_rsa_key()))).action == "renewed"
    assert seen == [[set(world.authority.bundle())]] * 2


def test_a_ca_that_files_name_is_not_copied(world):
    files = {"certificate": "ca.pem", "signing_certificate": "sign.pem", "encryption_certificate": "open.pem"}
    for name, certificate in zip(files.values(), world.authority.bundle(), strict=True):
        (world.directory / name).write_bytes(certificate.public_bytes(Encoding.PEM))
    pipeline = world.pipeline(ca=files | {"fingerprint": None, "fetch_certificates": False})
    leave_pending(world, pipeline)
    assert world.kept == ["enrollment.json", "key.pem"]
    assert world.run(pipeline).action == "issued"


# -- in place of an answer to GetCACert


@pytest.mark.parametrize("security", ["default", "strict"])
@pytest.mark.parametrize(
    "silent",
    [GONE, HttpResponse(status=503, body=b"later"), HttpResponse(status=200, body=b"<html>log in</html>")],
    ids=["no answer", "503", "web page"],
)
def test_a_poll_goes_on_to_the_same_recipient_where_get_ca_cert_fails(world, silent, security):
    pipeline = world.pipeline(ca={"security": security})
    leave_pending(world, pipeline)
    silence(world, silent)
    assert world.run(pipeline).action == "issued"
    assert [request.message_type for request in world.responder.requests] == [19, POLL]
    assert world.warnings == ["ca-kept", "ra-not-pinned"]
    assert world.told.index("CaAuthenticated") < world.told.index("RequestSent")


def test_the_ra_that_was_kept_comes_before_the_ca_of_a_file(world):
    (world.directory / "ca.pem").write_bytes(world.authority.certificate.public_bytes(Encoding.PEM))
    pipeline = world.pipeline(ca={"fingerprint": None, "certificate": "ca.pem"})
    leave_pending(world, pipeline)
    silence(world, HttpResponse(status=404, body=b"no such thing"))
    assert world.run(pipeline).action == "issued"
    assert "ca-kept" in world.warnings


def test_a_root_in_a_file_does_not_become_the_recipient_because_an_answer_is_missing(world):
    """What a file names has been trusted, and not been sent: it is not kept as if it had."""
    (world.directory / "ca.pem").write_bytes(world.authority.certificate.public_bytes(Encoding.PEM))
    pipeline = world.pipeline(ca={"fingerprint": None, "certificate": "ca.pem"})
    ra = world.authority.bundle()[1:]
    world.answers["GetCACert"] = answer(*ra)
    leave_pending(world, pipeline)
    assert kept(world) == [set(ra)]


def test_a_request_that_is_not_sent_yet_needs_an_answer(world):
    leave_pending(world)
    silence(world)
    with pytest.raises(TransportError):
        world.run(again=True)
    assert "PKIOperation" not in world.operations


def test_what_is_kept_and_damaged_stands_in_for_nothing_and_in_the_way_of_nothing(world):
    leave_pending(world)
    (file,) = world.state.path.rglob("ca.pem")
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\nnot any more\n-----END CERTIFICATE-----\n")
    silence(world)
    with pytest.raises(TransportError):
        world.run()
    world.answers.clear()
    assert world.run().action == "issued"


# -- an answer counts for more


def test_an_ra_that_changed_since_the_request_gets_the_poll_and_is_kept_in_its_turn(world):
    world.responder.authority.ra = None
    world.responder.authority.add_ra(world.now())
    leave_pending(world)
    world.responder.authority.add_ra(world.now())
    world.answers["PKIOperation"] = GONE
    with pytest.raises(TransportError):
        world.run(world.pipeline(poller=Delays(seconds=(60,))))
    assert kept(world) == [set(world.responder.authority.bundle())]
    world.answers.clear()
    silence(world)
    assert world.run().action == "issued"


def test_a_stranger_s_answer_stops_the_run_though_what_is_kept_would_pass(world):
    leave_pending(world)
    world.answers["GetCACert"] = answer(new_authority().certificate)
    with pytest.raises(TrustError):
        world.run()
    assert "PKIOperation" not in world.operations
    assert kept(world) == [set(world.authority.bundle())]


# -- and so do the pins


@pytest.mark.parametrize("pin", ["fingerprint", "encryption_certificate", "signing_certificate"])
def test_what_is_kept_is_not_used_where_the_pins_of_today_do_not_fit(world, pin):
    leave_pending(world)
    silence(world)
    other = world.pipeline(ca={pin: "sha256:" + "0" * 64})
    with pytest.raises(TransportError, match="hung up") as caught:
        world.run(other)
    assert caught.value.exit_code == 4
    assert "PKIOperation" not in world.operations
    assert "ca-kept" not in world.warnings
    assert world.run().action == "issued", "it is kept for the pins that fit"


def test_what_is_kept_is_not_used_after_its_time(world):
    leave_pending(world)
    silence(world)
    world.slept_s.append(30 * 365 * DAY_S)
    with pytest.raises(TransportError):
        world.run()
    assert "PKIOperation" not in world.operations


def test_a_ca_that_was_followed_at_the_request_is_so_at_the_poll(world):
    world.run()
    world.slept_s.append(365 * DAY_S * 0.8)
    assert world.run().action == "renewed"
    world.responder.authority = world.responder.authority.next_ca(world.now())
    world.slept_s.append(365 * DAY_S * 0.8)
    pipeline = world.pipeline(renew=RenewOptions(message="pkcsreq"), signer=SelfSignedSigner())
    leave_pending(world, pipeline)
    silence(world)
    assert world.run(pipeline).action == "renewed"
    assert world.warnings[:2] == ["ca-followed", "ca-kept"]
