from itertools import product

import pytest
from issuing import NOW, request
from replies import NONCE, TRANSACTION_ID, Reply, issued_reply, random_bytes

from scepflow.engine.algorithms import choose
from scepflow.engine.capabilities import Capabilities
from scepflow.engine.channel import Channel, Message
from scepflow.engine.enrollment import Enrollment
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.messages import MessageType
from scepflow.engine.state import TRANSITIONS, State, Step
from scepflow.errors import ProtocolError

EXPECTED = {
    (State.READY, Step.SEND): State.AWAITING,
    (State.AWAITING, Step.SEND): State.AWAITING,
    (State.AWAITING, Step.SUCCESS): State.ISSUED,
    (State.AWAITING, Step.PENDING): State.PENDING,
    (State.AWAITING, Step.FAILURE): State.REJECTED,
    (State.PENDING, Step.SEND): State.AWAITING,
}


@pytest.fixture
def enrollment(pki):
    channel = Channel(
        url="http://ca.example/scep",
        bundle=pki.bundle,
        identity=pki.client,
        choice=choose(Capabilities(frozenset({"SCEPStandard"}))),
        random_bytes=random_bytes(),
    )
    return Enrollment(channel, request("gw1", pki.client.key), transaction_id=TRANSACTION_ID)


def take(enrollment, step, pki):
    if step is Step.SEND:
        return enrollment.next_request(now=NOW, sender_nonce=NONCE)
    reply = {
        Step.SUCCESS: issued_reply(pki.ca, pki.client.certificate, pki.issue()),
        Step.PENDING: Reply(signer=pki.ca, content=None, status="3"),
        Step.FAILURE: Reply(signer=pki.ca, content=None, status="2", fail_info="2"),
    }[step]
    return enrollment.receive(HttpResponse(status=200, body=reply.der()), now=NOW)


def test_every_state_has_its_row():
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("state", "step"), list(product(State, Step)))
def test_a_step_is_in_the_table_or_refused(enrollment, pki, state, step):
    enrollment.state = state
    enrollment.sent = Message(type=MessageType.PKCS_REQ, transaction_id=TRANSACTION_ID, sender_nonce=NONCE)
    assert TRANSITIONS[state].get(step) == EXPECTED.get((state, step))
    if (state, step) in EXPECTED:
        take(enrollment, step, pki)
        assert enrollment.state is EXPECTED[state, step]
    else:
        with pytest.raises(ProtocolError, match=f"an enrollment that is {state} takes no"):
            take(enrollment, step, pki)
        assert enrollment.state is state


def test_no_reply_is_taken_before_anything_was_sent_in_this_process(enrollment, pki):
    """After a restart the nonce is gone, so an old reply cannot be recognised."""
    enrollment.state = State.AWAITING
    with pytest.raises(ProtocolError, match="takes no reply"):
        take(enrollment, Step.SUCCESS, pki)
