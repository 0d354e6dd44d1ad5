"""EC keys on either side, whole runs: keys that sign and cannot decrypt (RFC 8894 §3.1)."""

import json
from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from run_fixtures import SUBJECT, Delays, GivenKey, World, new_authority
from snippets import ROOT

from scepflow.engine import cms, envelopes, messages
from scepflow.engine.messages import MessageType
from scepflow.errors import PendingError, RejectedError, SignerError, TrustError
from scepflow.options import Secret
from scepflow.testca import Knobs
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.signers import AutoSigner

CHALLENGE = "k4Qx-9tTz-Lm2w-77"
MANUAL = (ROOT / "pipelines" / "README.md").read_text(encoding="utf-8").partition("## EC keys")[2]
KEY_TRANSPORT, UNDER_THE_CHALLENGE = b"\x30", b"\xa3"


@pytest.fixture(scope="session")
def authorities(_ca_authority):
    """The CAs: RSA, EC, and each with an RA in front, whose keys are RSA."""
    behind_ra = new_authority(ra=True)
    ec_ca, ec_behind_ra = new_authority(key="ec-p256"), new_authority(key="ec-p256", ra=True)
    return {"RSA": _ca_authority, "RSA, RA": behind_ra, "EC": ec_ca, "EC, RA": ec_behind_ra}


@pytest.fixture(scope="session")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def enter(tmp_path, authorities, ec_key, _device_key):
    """Return a function that makes a world for a client and a CA, and the function that gives its pipeline."""

    def enter(client, ca, **knobs):
        key = _device_key if client == "RSA" else ec_key
        world = World(directory=tmp_path, authority=authorities[ca], key=key)
        world.responder.knobs = Knobs(challenge=CHALLENGE, **knobs)

        def pipeline(*, allowed=True, challenge=CHALLENGE, in_renewal=False, **changed):
            csr = SubjectCsrBuilder(
                subject=SUBJECT, challenge=challenge and Secret(challenge), challenge_in_renewal=in_renewal
            )
            transport_key = "csr" if client == "EC, by itself" else "rsa"
            stages = {"csr": csr, "signer": AutoSigner(transport_key=transport_key), **changed}
            return world.pipeline(ca={"password_envelope": allowed}, **stages)

        return world, pipeline

    return enter


CLIENTS = ("RSA", "EC, by RSA", "EC, by itself")
CAS = ("RSA", "RSA, RA", "EC", "EC, RA")
NEEDS_THE_CHALLENGE = {("RSA", "EC"), ("EC, by RSA", "EC"), *(("EC, by itself", ca) for ca in CAS)}
pairs = pytest.mark.parametrize(("client", "ca"), [(client, ca) for client in CLIENTS for ca in CAS])


def exchanges(world):
    """Return the kinds of recipient of each pki_message and of its answer, and the request's messageType and key."""
    for request in world.requests:
        if request.operation == "PKIOperation":
            seen = messages.parse_request(request.body)
            yield seen, seen.envelope.recipients[0].tag_bytes


@pairs
def test_each_client_gets_a_certificate_from_each_ca(enter, client, ca):
    world, pipeline = enter(client, ca)
    replies = []
    handle = world.responder.handle
    world.answers["PKIOperation"] = lambda request: replies.append(handle(request)) or replies[-1]
    outcome = world.run(pipeline())
    assert outcome.credential.certificate.public_key() == world.key.public_key()
    assert outcome.credential.chain == (world.authority.certificate,)
    [(seen, recipient)] = exchanges(world)
    assert recipient == (UNDER_THE_CHALLENGE if ca == "EC" else KEY_TRANSPORT)
    assert isinstance(seen.certificate.public_key(), rsa.RSAPublicKey) == (client != "EC, by itself")
    [reply] = replies
    [wrapped] = envelope_of(reply).recipients
    assert wrapped.tag_bytes == (UNDER_THE_CHALLENGE if client == "EC, by itself" else KEY_TRANSPORT)
    assert CHALLENGE.encode() not in b"".join([*(r.body for r in world.requests), reply.body])


def envelope_of(reply):
    return envelopes.parse_envelope(cms.parse_signed_data(reply.body).content)


@pairs
def test_without_leave_the_challenge_encrypts_nothing(enter, client, ca):
    world, pipeline = enter(client, ca)
    if (client, ca) not in NEEDS_THE_CHALLENGE:
        assert world.run(pipeline(allowed=False)).exit_code == 0
        return
    with pytest.raises(TrustError) as error:
        world.run(pipeline(allowed=False))
    assert (error.value.check, error.value.exit_code) == ("recipient", 5)
    assert "password_envelope = true in [ca]" in error.value.hint
    assert error.value.message in MANUAL
    assert "PKIOperation" not in world.operations


@pytest.mark.parametrize(("client", "ca"), sorted(NEEDS_THE_CHALLENGE))
def test_where_nothing_can_work_the_error_says_what_would(enter, client, ca):
    """No challenge, no RSA key: nothing is sent (C-046)."""
    world, pipeline = enter(client, ca)
    with pytest.raises((SignerError, TrustError)) as error:
        world.run(pipeline(challenge=None))
    assert "PKIOperation" not in world.operations
    assert "there is no challenge" in error.value.message
    assert "RSA" in error.value.hint
    with pytest.raises(TrustError, match="fewer than 14 characters") as error:
        world.run(pipeline(challenge="short enough"))
    assert error.value.message.partition(": ")[0] in MANUAL
    assert "PKIOperation" not in world.operations


# Pending


def kept_modes(world):
    return {
        path.name: oct(path.stat().st_mode & 0o777)
        for path in world.state.path.glob("*/*/*")
        if path.is_file()
    }


@pairs
def test_the_challenge_is_kept_until_the_last_poll_and_no_longer(enter, client, ca):
    """It is in the request, which nobody else may read; a poll by another process opens its reply with it."""
    world, pipeline = enter(client, ca, pending=3)
    with pytest.raises(PendingError):
        world.run(pipeline(poller=Delays(seconds=(60,))))
    modes = kept_modes(world)
    assert modes["enrollment.json"] == "0o600"
    assert set(modes.values()) == {"0o600"}
    (file,) = world.state.path.rglob("enrollment.json")
    assert CHALLENGE.encode() in b64decode(json.loads(file.read_bytes())["csr"])
    outcome = world.run(pipeline(challenge="changed since, and long", poller=Delays(seconds=(60,) * 6)))
    assert outcome.credential.certificate.public_key() == world.key.public_key()
    kinds = [seen.message_type for seen, _ in exchanges(world)]
    assert (kinds[0], set(kinds[1:])) == (MessageType.PKCS_REQ, {MessageType.CERT_POLL})
    assert "enrollment.json" not in world.kept


# Renewal


def renewed(world, pipeline, **changed):
    """Renew a first certificate; return the message that did it and the warnings."""
    first = world.run(pipeline(**changed)).credential
    world.events.clear()
    second = world.run(pipeline(**changed), renew=True).credential
    assert second.certificate != first.certificate
    *_, (seen, _) = exchanges(world)
    return first, seen, world.warnings


@pytest.mark.parametrize("ca", CAS)
def test_an_ec_certificate_is_renewed_by_another_first_request(enter, ca):
    """Its key could not read the answer, so a temporary RSA key asks again, with the challenge."""
    world, pipeline = enter("EC, by RSA", ca)
    _, seen, warnings = renewed(world, pipeline)
    assert seen.message_type == MessageType.PKCS_REQ
    assert isinstance(seen.certificate.public_key(), rsa.RSAPublicKey)
    assert "ec-renewal" in warnings


@pytest.mark.parametrize("ca", CAS)
def test_an_ec_certificate_renews_itself_where_the_challenge_may_encrypt(enter, ca):
    world, pipeline = enter("EC, by itself", ca)
    first, seen, warnings = renewed(world, pipeline, in_renewal=True)
    assert (seen.message_type, seen.certificate) == (MessageType.RENEWAL_REQ, first.certificate)
    assert "ec-renewal" not in warnings


@pytest.mark.parametrize("ca", CAS)
def test_a_renewal_without_a_challenge_is_refused_before_anything_is_sent(enter, ca):
    """RFC 8894 §2.4 leaves the challenge out, and nothing else could encrypt."""
    world, pipeline = enter("EC, by itself", ca)
    world.run(pipeline())
    sent = len(world.requests)
    with pytest.raises(SignerError, match="there is no challenge") as error:
        world.run(pipeline(), renew=True)
    assert error.value.message in MANUAL
    assert "challenge_in_renewal = true in [csr]" in error.value.hint
    assert "PKIOperation" not in [request.operation for request in world.requests[sent:]]


def test_an_rsa_certificate_under_an_ec_ca_is_renewed_with_the_challenge_in_the_request(enter):
    world, pipeline = enter("RSA", "EC")
    first, seen, _ = renewed(world, pipeline, in_renewal=True)
    assert (seen.message_type, seen.certificate) == (MessageType.RENEWAL_REQ, first.certificate)
    with pytest.raises(TrustError, match="there is no challenge to encrypt with") as error:
        world.run(pipeline(), renew=True)
    assert "challenge_in_renewal = true in [csr]" in error.value.hint


@pytest.mark.parametrize(("before", "after"), [("RSA", "EC"), ("EC", "RSA")])
def test_a_key_of_the_other_kind_takes_over(enter, world, before, after, ec_key):
    """An RSA certificate renews for an EC key; an EC certificate gives way to an RSA key that asks for itself."""
    keys = {"RSA": GivenKey(key=world.key), "EC": GivenKey(key=ec_key)}
    world, pipeline = enter("EC, by RSA", "RSA")
    world.run(pipeline(key=keys[before]))
    second = world.run(pipeline(key=keys[after]), renew=True).credential
    assert second.certificate.public_key() == keys[after].key.public_key()
    *_, (seen, _) = exchanges(world)
    assert seen.message_type == (MessageType.RENEWAL_REQ if before == "RSA" else MessageType.PKCS_REQ)


# CAs that do not go along


def test_a_ca_that_wants_one_key_refuses_the_temporary_one(enter):
    world, pipeline = enter("EC, by RSA", "RSA", rsa_for_ec=False)
    with pytest.raises(RejectedError, match="another key"):
        world.run(pipeline())
    assert world.run(pipeline(signer=AutoSigner(transport_key="csr"))).exit_code == 0


def test_a_ca_that_knows_no_challenge_says_bad_alg_to_an_ec_key(enter):
    world, pipeline = enter("EC, by itself", "RSA")
    world.responder.knobs = Knobs(challenge=None)
    with pytest.raises(RejectedError, match="badAlg"):
        world.run(pipeline())
