"""A request that was sent and never heard of again."""

import pytest
from run_fixtures import GivenKey, new_rsa_key

from scepflow.engine.exchange import HttpResponse
from scepflow.errors import PendingError, ProtocolError, RejectedError, ScepflowError, TransportError
from scepflow.lost import is_refused
from scepflow.options import Secret
from scepflow.pipeline import RenewOptions
from scepflow.standing import standing_of
from scepflow.testca import Knobs
from scepflow_bundled.csr import SubjectCsrBuilder

GONE = TransportError("the server hung up")
DAY_S = 86400
HOUR_S = 3600


def again(world, pipeline=None, **orders):
    world.requests.clear()
    world.events.clear()
    return world.run(pipeline, **orders)


def sent(world):
    return [event.message_type for event in world.events if type(event).__name__ == "RequestSent"]


def challenged(world, **changed):
    csr = SubjectCsrBuilder(
        subject="CN=gw1.example.com", challenge=Secret("right"), challenge_in_renewal=True
    )
    return world.pipeline(csr=csr, **changed)


def serve(world, **answers):
    """Answer each kind of message as told, or as the CA does: with an exception, or with a response in its place."""

    def answer(request):
        planned = answers.get(sent(world)[-1])
        if planned == "lost":
            world.responder.handle(request)
            raise GONE
        if isinstance(planned, BaseException):
            raise planned
        return planned or world.responder.handle(request)

    world.answers["PKIOperation"] = answer


NO_POLLS = HttpResponse(status=500, body=b"not implemented")


def lose(world, pipeline=None):
    with pytest.raises(TransportError):
        again(world, pipeline)


def standing(world):
    (record,) = world.state.journal.pipelines()
    return standing_of(record, world.now())


# -- a CA that knows no polls


def test_since_the_ca_knows_no_polls_a_request_without_a_challenge_is_sent_again(world):
    serve(world, PKCSReq="lost", CertPoll=NO_POLLS)
    lose(world)
    serve(world, CertPoll=NO_POLLS)
    assert again(world).action == "issued"
    assert sent(world) == ["CertPoll", "PKCSReq"]
    assert len({request.transaction_id for request in world.responder.requests}) == 1


def test_where_the_ca_knows_no_polls_a_challenge_is_not_sent_again_and_a_person_is_told(world):
    world.responder.knobs = Knobs(challenge="right", one_time_challenge=True)
    serve(world, PKCSReq="lost", CertPoll=NO_POLLS)
    lose(world, challenged(world))
    with pytest.raises(ProtocolError, match="the CA knows no polls") as caught:
        again(world, challenged(world))
    assert sent(world) == ["CertPoll"]
    for said in ("may have been issued", "challenge be spent", "--again", "new challenge"):
        assert said in caught.value.hint
    assert standing(world).state == "blocked"
    assert "--again" in standing(world).then


def test_an_outage_is_no_reason_to_send_a_request_again(world):
    serve(world, PKCSReq="lost")
    lose(world)
    for answer in (GONE, HttpResponse(status=503, body=b"later"), HttpResponse(status=429, body=b"later")):
        serve(world, CertPoll=answer)
        lose(world)
        assert sent(world) == ["CertPoll"]


def test_a_request_that_the_ca_has_called_pending_is_never_sent_again(world):
    world.responder.knobs = Knobs(pending=9)
    with pytest.raises(PendingError):
        again(world, wait_s=0)
    world.slept_s.append(61)
    world.responder.authority.records.__init__()
    with pytest.raises(RejectedError, match="badCertId"):
        again(world)
    assert sent(world) == ["CertPoll"]


def test_a_request_that_becomes_pending_at_the_first_poll_is_never_sent_again(world):
    serve(world, PKCSReq="lost")
    world.responder.knobs = Knobs(pending=9)
    lose(world)

    def forget_after_the_first(request):
        reply = world.responder.handle(request)
        world.responder.authority.records.__init__()
        return reply

    world.answers["PKIOperation"] = forget_after_the_first
    with pytest.raises(RejectedError, match="badCertId"):
        again(world)
    assert sent(world) == ["CertPoll", "CertPoll"]


# -- a CA that does not know the transaction


def run_for_hours(world, pipeline, hours):
    """Run every half an hour and return what was sent, and how the last run ended."""
    kinds, error = [], None
    for _ in range(hours * 2):
        with pytest.raises(ScepflowError) as caught:
            again(world, pipeline)
        error = caught.value
        kinds.append(sent(world))
        world.slept_s.append(HOUR_S / 2)
    return kinds, error


def test_a_request_that_never_arrives_is_sent_three_times_more_an_hour_apart(world):
    serve(world, PKCSReq=GONE)
    lose(world)
    kinds, error = run_for_hours(world, world.pipeline(), 4)
    resent = ["CertPoll", "PKCSReq"]
    assert kinds[:5] == [resent, ["CertPoll"], resent, ["CertPoll"], resent]
    assert kinds[5:] == [["CertPoll"]] * 3
    assert "sent 4 times" in error.message
    assert "--again" in error.hint
    assert (error.exit_code, standing(world).state) == (5, "blocked")
    assert "resent" in [happening.kind for happening in world.state.journal.history()]


def test_until_it_is_sent_again_it_is_said_when(world):
    serve(world, PKCSReq=GONE)
    for _ in range(2):
        lose(world)
    with pytest.raises(TransportError, match="sent again") as caught:
        again(world)
    assert "it is sent once more after" in caught.value.hint


def test_a_challenge_is_sent_again_once_where_the_ca_does_not_know_the_transaction(world):
    serve(world, PKCSReq=GONE)
    lose(world, challenged(world))
    kinds, error = run_for_hours(world, challenged(world), 2)
    assert kinds == [["CertPoll", "PKCSReq"], ["CertPoll"], ["CertPoll"], ["CertPoll"]]
    assert "sent 2 times" in error.message


# -- a renewal


def due(world, pipeline=None):
    world.run(pipeline)
    world.slept_s.append(365 * DAY_S * 0.8)


def renewing(world, message="auto"):
    return world.pipeline(key=GivenKey(key=new_rsa_key()), renew=RenewOptions(message=message))


def test_a_server_that_hangs_up_on_renewal_req_gets_a_plain_request_after_it_was_sent_twice(world):
    due(world)
    serve(world, RenewalReq=GONE)
    pipeline = renewing(world)
    lose(world, pipeline)
    lose(world, pipeline)
    assert sent(world) == ["CertPoll", "RenewalReq"]
    assert again(world, pipeline).action == "renewed"
    assert sent(world) == ["CertPoll", "PKCSReq"]


def test_a_renewal_req_that_must_be_one_is_sent_three_times_more(world):
    due(world)
    serve(world, RenewalReq=GONE)
    pipeline = renewing(world, "renewal")
    lose(world, pipeline)
    kinds, error = run_for_hours(world, pipeline, 3)
    assert [kind for run in kinds for kind in run].count("RenewalReq") == 3
    assert "PKCSReq" not in [kind for run in kinds for kind in run]
    assert "sent 4 times" in error.message


@pytest.mark.parametrize("poll", [None, GONE, NO_POLLS], ids=["unknown", "no answer", "no polls"])
def test_a_renewal_without_an_answer_is_sent_as_a_person_has_decided_since(world, poll):
    due(world)
    serve(world, RenewalReq=GONE, CertPoll=poll)
    lose(world, renewing(world))
    assert again(world, renewing(world, "pkcsreq")).action == "renewed"
    assert sent(world) == ["CertPoll", "PKCSReq"]


def test_a_renewal_that_was_issued_after_all_is_not_asked_for_in_another_way(world):
    due(world)
    serve(world, RenewalReq="lost")
    lose(world, renewing(world))
    assert again(world, renewing(world, "pkcsreq")).action == "renewed"
    assert sent(world) == ["CertPoll"]


def test_a_renewal_that_brings_a_challenge_is_not_sent_in_two_ways(world):
    world.responder.knobs = Knobs(challenge="right")
    due(world, challenged(world))
    serve(world, RenewalReq=GONE)
    lose(world, challenged(world))
    kinds, _ = run_for_hours(world, challenged(world), 2)
    assert kinds == [["CertPoll", "RenewalReq"], ["CertPoll"], ["CertPoll"], ["CertPoll"]]


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (GONE, False),
        (TransportError("x", status=302), False),
        (TransportError("x", status=404), True),
        (TransportError("x", status=499), True),
        (TransportError("x", status=500), True),
        (TransportError("x", status=502), False),
        (ProtocolError("a page"), False),
    ],
)
def test_a_server_says_by_its_status_that_it_does_not_know_a_message(error, refused):
    assert is_refused(error) is refused
