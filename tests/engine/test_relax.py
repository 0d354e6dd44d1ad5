"""``relax = [...]``: for each name a reply that fails this check and no other, turned on, turned off, and with all others off."""

import ast
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from issuing import DAY, NOW, Pki, certify, resigned
from replies import NONCE, TRANSACTION_ID, Reply, issued_reply
from snippets import ROOT

import scepflow.engine
from scepflow.engine import cms, messages, oids, queries
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.checks import CHECKS
from scepflow.engine.enrollment import Issued, Pending, Rejected
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.identity import SigningIdentity
from scepflow.errors import OptionError, ProtocolError, TrustError
from scepflow.pipeline.model import CaOptions

ENGINE = Path(scepflow.engine.__file__).parent
LATER = timedelta(hours=1)
NEVER_RELAXED = {"ca-authentication", "recipient"}
"""What stands before any reply: who the CA is, and whether a request can be encrypted at all."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A renewal under way, and who takes part in it."""

    pki: Pki
    previous: x509.Certificate
    client: x509.Certificate
    identifiers: dict[str, Any]

    def reply(self, *delivered, **knobs):
        """Return the CA's right answer, but for what is named."""
        delivered = delivered or (self.issue(),)
        knobs = {**self.identifiers, **knobs}
        return issued_reply(self.pki.ca, self.client, *delivered, **knobs)

    def issue(self, **how):
        begins = self.previous.not_valid_before_utc + LATER
        how = {"begins": begins, "ends": begins + 300 * DAY, "subject": "gw1.example.com", **how}
        return self.pki.issue(**how)


def by_a_stranger(case):
    return case.reply().but(signer=case.pki.stranger, certificates=(case.pki.stranger.certificate,))


def under_the_name_of_the_ca(case):
    return case.reply().but(signer=SigningIdentity(case.pki.ca.certificate, case.pki.stranger.key))


def from_another_ca(case):
    return case.reply(case.issue(issuer=case.pki.stranger))


def weakly_certified(case):
    return case.reply(resigned(case.issue(), case.pki.ca.key, Digest.MD5))


def for_another_key(case):
    return case.reply(case.issue(key=case.pki.stranger.key))


ROWS = [
    ("signer", by_a_stranger),
    ("algorithms", lambda case: case.reply(digest=Digest.MD5)),
    ("algorithms", lambda case: case.reply(cipher=Cipher.BLOWFISH)),
    ("algorithms", weakly_certified),
    ("content-type", lambda case: case.reply(signed_content_type=oids.ENVELOPED_DATA)),
    ("message-digest", lambda case: case.reply(hashed=b"other content")),
    ("signature", under_the_name_of_the_ca),
    ("message-type", lambda case: case.reply(message_type="19")),
    ("transaction-id", lambda case: case.reply(transaction_id=case.identifiers["transaction_id"][:-1])),
    ("recipient-nonce", lambda case: case.reply(recipient_nonce=bytes(16))),
    ("certificate-key", for_another_key),
    ("new-certificate", lambda case: case.reply(case.previous)),
    ("chain", from_another_ca),
]
"""The check that a reply fails, and the reply. A new name in CHECKS needs its row here, and one in the manual."""

BEFORE_THE_STATUS = CHECKS[: CHECKS.index("recipient-nonce") + 1]
rows = pytest.mark.parametrize(("check", "build"), ROWS, ids=[check for check, _ in ROWS])


@pytest.fixture
def case(pki):
    begins = NOW - 20 * DAY
    return Case(
        pki=pki,
        previous=pki.issue("gw1.example.com", begins=begins, ends=begins + 60 * DAY),
        client=pki.client.certificate,
        identifiers={"transaction_id": TRANSACTION_ID, "recipient_nonce": NONCE},
    )


@pytest.fixture
def answer(start, case):
    """Return a function that gives a reply to a client with checks turned off."""

    def answer(reply: Reply, *relaxed):
        enrollment = start(previous=case.previous, relaxed=frozenset(relaxed))
        return enrollment.receive(HttpResponse(status=200, body=reply.der()), now=NOW)

    return answer


def relaxations(outcome):
    return [finding.code for finding in outcome.findings if finding.code.startswith("relaxed-")]


def test_every_check_has_a_row_and_every_row_a_check():
    assert list(dict.fromkeys(check for check, _ in ROWS)) == list(CHECKS)


def test_the_right_answer_passes_every_check(answer, case):
    outcome = answer(case.reply())
    assert isinstance(outcome, Issued)
    assert relaxations(outcome) == []


@rows
def test_a_reply_that_fails_a_check_is_refused_under_its_name(answer, case, check, build):
    with pytest.raises(TrustError) as error:
        answer(build(case))
    assert (error.value.check, error.value.exit_code) == (check, 5)


@rows
def test_a_check_that_is_turned_off_lets_it_pass_and_is_loud(answer, case, check, build):
    outcome = answer(build(case), check)
    assert isinstance(outcome, Issued)
    assert relaxations(outcome) == [f"relaxed-{check}"]


@rows
def test_no_other_check_has_to_do_with_it(answer, case, check, build):
    """Turning one off turns off one: this one still stands with all others off."""
    with pytest.raises(TrustError) as error:
        answer(build(case), *(set(CHECKS) - {check}))
    assert error.value.check == check


@rows
@pytest.mark.parametrize(("status", "kind"), [("2", Rejected), ("3", Pending)])
def test_a_check_before_the_status_holds_for_every_answer(answer, case, check, build, status, kind):
    """S-005, S-006: a FAILURE or PENDING that fails a check decides nothing."""
    reply = replace(build(case), status=status, content=None)
    if check not in BEFORE_THE_STATUS or (check == "algorithms" and reply.digest is Digest.SHA256):
        assert isinstance(answer(reply), kind)  # there is no certificate to look at
        return
    with pytest.raises(TrustError) as error:
        answer(reply)
    assert error.value.check == check
    outcome = answer(reply, check)
    assert (type(outcome), relaxations(outcome)) == (kind, [f"relaxed-{check}"])


def test_with_every_check_off_there_are_still_rules(answer, case):
    """What no name turns off: one signature, a status that is one, an envelope for us, a client's certificate in it."""
    for reply, said in (
        (case.reply().but(signatures=2), "more than one signature"),
        (issued_reply(case.pki.ca, case.pki.stranger.certificate, case.issue()), "not for our certificate"),
        (case.reply(case.pki.ca.certificate), "no end-entity certificate"),
        (case.reply().but(content=None), "SUCCESS without an envelope"),
        (case.reply().but(status="1"), "pkiStatus is"),
    ):
        with pytest.raises(ProtocolError, match=said) as error:
            answer(reply, *CHECKS)
        assert error.value.exit_code == 5


# The names


def named_in_the_engine():
    """Return the check names that the engine's code makes and raises: ``require(…, "name")`` and ``check="name"``."""
    made, raised = set(), set()
    for file in ENGINE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            if getattr(node.func, "attr", "") == "require":
                made |= {node.args[1].value}
            raised |= {
                keyword.value.value
                for keyword in node.keywords
                if keyword.arg == "check" and isinstance(keyword.value, ast.Constant)
            }
    return made, raised


def test_the_names_are_those_that_the_engine_makes():
    """A name that no code checks would turn off nothing, and one that is not listed could not be turned off."""
    made, raised = named_in_the_engine()
    assert made == set(CHECKS)
    assert raised - made == NEVER_RELAXED


@pytest.mark.parametrize("name", sorted(NEVER_RELAXED | {"Signer", "signer ", ""}))
def test_what_is_no_check_on_replies_cannot_be_turned_off(name):
    with pytest.raises(OptionError, match="no check is named") as error:
        CaOptions(url="http://ca.example/scep", relax=("chain", name))
    assert error.value.where == "relax[1]"


def test_every_check_is_explained_in_the_manual():
    manual = (ROOT / "pipelines" / "README.md").read_text(encoding="utf-8")
    table = manual.partition("| check | what fails it | turned off |")[2].partition("\n\n")[0]
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(CHECKS)


# The next CA


@pytest.fixture
def next_ca(pki):
    return certify("Test CA", pki.stranger.key, ca=True)


NEXT_CA_ROWS = {
    "signer": lambda reply, pki: reply.but(signer=pki.stranger, certificates=(pki.stranger.certificate,)),
    "algorithms": lambda reply, pki: reply.but(digest=Digest.MD5),
    "content-type": lambda reply, pki: reply.but(signed_content_type=oids.ENVELOPED_DATA),
    "message-digest": lambda reply, pki: reply.but(hashed=b"what the CA did sign"),
    "signature": lambda reply, pki: reply.but(signer=SigningIdentity(pki.ca.certificate, pki.stranger.key)),
}


@pytest.mark.parametrize("check", list(NEXT_CA_ROWS))
def test_a_next_ca_that_fails_a_check_is_shown_when_it_is_off_and_has_no_signer(pki, next_ca, check):
    """S-084: whoever keeps it as a trust anchor asks for the signer, and none is known."""
    nothing = dict.fromkeys(("message_type", "status", "transaction_id", "recipient_nonce", "sender_nonce"))
    right = Reply(signer=pki.ca, content=cms.build_certs_only([next_ca]), **nothing)

    def parsed(reply, *relaxed):
        response = HttpResponse(status=200, body=reply.der())
        return queries.parse_next_ca(response, bundle=pki.bundle, relaxed=frozenset(relaxed))

    assert parsed(right, *CHECKS).value.signer == pki.ca.certificate
    wrong = NEXT_CA_ROWS[check](right, pki)
    for others in ((), set(CHECKS) - {check}):
        with pytest.raises(TrustError) as error:
            parsed(wrong, *others)
        assert error.value.check == check
    answer = parsed(wrong, check)
    assert (answer.value.certificates, answer.value.signer) == ((next_ca,), None)
    assert relaxations(answer) == [f"relaxed-{check}"]


# A whole run


def renewed_by(world, pki, build, *relaxed):
    """Run twice: for a first certificate, and for a renewal that gets the reply instead of the CA's."""
    assert world.run().exit_code == 0

    def handle(request):
        seen = messages.parse_request(request.body)
        case = Case(
            pki=replace(
                pki, ca=world.authority.ca, client=SigningIdentity(world.box[0].certificate, world.key)
            ),
            previous=world.box[0].certificate,
            client=seen.certificate,
            identifiers={"transaction_id": seen.transaction_id, "recipient_nonce": seen.sender_nonce},
        )
        return HttpResponse(status=200, body=build(case).der())

    world.answers["PKIOperation"] = handle
    world.events.clear()
    return world.run(world.pipeline(ca={"relax": relaxed}), renew=True)


@rows
def test_a_run_ends_with_5_and_delivers_nothing(world, pki, check, build):
    with pytest.raises(TrustError) as error:
        renewed_by(world, pki, build)
    assert (error.value.check, error.value.exit_code) == (check, 5)
    assert len(world.box) == 1


@rows
def test_a_run_with_the_check_off_says_so_before_and_after(world, pki, check, build):
    assert renewed_by(world, pki, build, check).exit_code == 0
    assert len(world.box) == 2
    assert {"relaxed", f"relaxed-{check}"} <= set(world.warnings)
