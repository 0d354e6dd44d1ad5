"""What several processes of ``scepflow run`` are together: one request, one challenge, one run at a time."""

from contextlib import ExitStack

import pytest
from process_fixtures import CHALLENGE, LONGEST_S, Gateway, served

from scepflow.testca import serve

UNDECIDED = "1000"
"""So many polls until the CA decides by itself."""
ONCE = ("--challenge", CHALLENGE, "--one-time")


@pytest.fixture
def gateway(tmp_path):
    """Start a CA with some arguments; gives a machine that knows it."""
    with ExitStack() as stack:

        def start(*arguments):
            ca = stack.enter_context(served(tmp_path / "ca", *arguments))
            gateway = Gateway(tmp_path / "gateway", ca)
            gateway.know(stack.enter_context(serve(ca)).url)
            return gateway

        yield start


@pytest.mark.parametrize("polls_in_vain", [0, 2])
def test_a_request_that_is_approved_between_two_processes_gives_its_one_certificate(gateway, polls_in_vain):
    machine = gateway("--pending", UNDECIDED, *ONCE)
    ca = machine.ca
    for _ in range(1 + polls_in_vain):
        code, said = machine.run()
        assert code == 3, said
    ca.approve()
    code, said = machine.run()
    assert code == 0, said
    assert ca.told == [("PKCSReq", True), *[("CertPoll", False)] * (polls_in_vain + 1)]
    messages = [message for message, _ in ca.heard]
    (transaction,) = ca.transactions()
    assert transaction["status"] == "issued"
    assert {message.transaction_id for message in messages} == {transaction["transaction_id"]}
    assert len({message.certificate for message in messages}) == 1, (
        "one key, and its one certificate, signs all"
    )
    assert len({message.sender_nonce for message in messages}) == len(messages)
    assert ca.issued() == [machine.certificate()]
    assert machine.certificate().public_key() == messages[0].certificate.public_key()


@pytest.mark.parametrize(
    ("arrives", "after_the_kill"),
    [
        pytest.param(True, [("PKCSReq", True), ("CertPoll", False)], id="its answer is lost"),
        pytest.param(False, [("CertPoll", False), ("PKCSReq", True)], id="the request is lost"),
    ],
)
def test_a_challenge_that_the_ca_accepts_once_reaches_it_once_in_a_certificate_s_life(
    gateway, arrives, after_the_kill
):
    machine = gateway("--refuse-renewal-req", *ONCE)
    ca = machine.ca
    with machine.held(arrives=arrives) as process:
        process.kill()
        process.wait(LONGEST_S)
    assert not (machine.folder / "gw1.pem").exists()
    code, said = machine.run()
    assert code == 0, said
    assert ca.told == after_the_kill
    (transaction,) = ca.transactions()
    assert {message.transaction_id for message, _ in ca.heard} == {transaction["transaction_id"]}
    first = machine.certificate()
    assert ca.issued() == [first]
    code, said = machine.run("--renew")
    assert code == 0, said
    assert ca.told == [*after_the_kill, ("RenewalReq", False), ("PKCSReq", False)]
    assert {certificate.serial_number for certificate in ca.issued()} == {
        first.serial_number,
        machine.certificate().serial_number,
    }
    assert len(ca.issued()) == 2


def test_of_two_runs_at_once_one_works_and_the_other_exits_75_and_names_it(gateway):
    machine = gateway("--pending", "1")
    ca = machine.ca
    assert machine.run()[0] == 3
    with machine.held() as first:
        code, said = machine.run()
        assert code == 75
        assert f"another run works on this pipeline: pid {first.pid}, since " in said
        assert first.poll() is None, "it still works"
        assert not (machine.folder / "gw1.pem").exists()
    assert first.returncode == 0
    assert ca.told == [("PKCSReq", True), ("CertPoll", False)], "the other has sent nothing"
    assert ca.issued() == [machine.certificate()]
