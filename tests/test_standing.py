"""How a pipeline stands, for every combination of what the journal may know."""

from datetime import timedelta
from itertools import product

import pytest

from scepflow.records import AttemptRecord, CertificateFacts, DeliveryRecord, PipelineRecord, RefusalRecord
from scepflow.renewal import RENEWAL_RETRY
from scepflow.standing import standing_of
from scepflow.testing import NOW

DAY = timedelta(days=1)
FAILED = {
    "outcome": "failed",
    "message": "the server hung up",
    "hint": "is it up?",
    "ended_at": NOW - DAY / 24,
}
BLOCKED = FAILED | {"exit_code": 5, "message": "the CA is another", "hint": "look at it"}


def _rejected(purpose, at=FAILED["ended_at"]):
    refusal = RefusalRecord(
        asked="ab" * 32,
        purpose=purpose,
        at=at,
        exit_code=72,
        fail_info=2,
        fail_info_text="",
        message="badRequest",
        hint="is it up?",
    )
    return FAILED | {"outcome": "rejected", "exit_code": 72, "message": "badRequest", "refused": refusal}


REJECTED = _rejected("enrollment")
NO_RENEWAL = _rejected("renewal")
UNREACHABLE = FAILED | {"exit_code": 4}


def _attempt(**changed):
    values = {
        "transaction_id": "8f3a",
        "purpose": "enrollment",
        "status": "sent",
        "begun_at": NOW - 2 * DAY,
        "asked_at": NOW - DAY,
        "polls": 3,
        "pending": True,
        "message_type": "PKCSReq",
        "certificate": None,
    }
    return AttemptRecord(**(values | changed))


def _certificate(days_left):
    facts = CertificateFacts(
        subject="CN=gw1",
        issuer="CN=CA",
        serial="1a",
        fingerprint="sha256:ab",
        not_before=NOW - 300 * DAY,
        not_after=NOW + days_left * DAY,
    )
    return _attempt(status="issued", certificate=facts)


def _delivery(sink, error=None):
    return DeliveryRecord(sink=sink, options="ab", at=NOW, error=error, tries=1)


DELIVERED = {"file": _delivery("file")}
HALF = DELIVERED | {"p12": _delivery("p12", "permission denied")}
VALID = {"current": _certificate(90), "renew_at": NOW + 30 * DAY, "deliveries": DELIVERED}
DUE = VALID | {"renew_at": NOW - DAY}
EXPIRED = DUE | {"current": _certificate(-1)}
OPEN = {"open": _attempt()}
LOST = {"open": _attempt(pending=False)}


def _stands(*parts):
    values = {}
    for part in parts:
        values |= part
    standing = standing_of(PipelineRecord(place="gw1-1", name="gw1", file="/etc/gw1.toml", **values), NOW)
    return standing.state, standing.then


@pytest.mark.parametrize(
    ("parts", "state"),
    [
        ([], "new"),
        ([UNREACHABLE], "new"),
        ([BLOCKED], "blocked"),
        ([BLOCKED | {"exit_code": 78}], "blocked"),
        ([BLOCKED | {"exit_code": 1}], "blocked"),
        ([REJECTED], "rejected"),
        ([OPEN], "pending"),
        ([OPEN, UNREACHABLE], "pending"),
        ([OPEN, BLOCKED], "blocked"),
        ([LOST, UNREACHABLE], "pending"),
        ([VALID], "valid"),
        ([VALID, {"deliveries": HALF}], "degraded"),
        ([VALID, {"deliveries": {}}], "degraded"),
        ([VALID, BLOCKED], "blocked"),
        ([VALID, BLOCKED, {"deliveries": HALF}], "blocked"),
        ([VALID, OPEN], "pending"),
        ([VALID, OPEN, {"deliveries": HALF}], "degraded"),
        ([VALID, NO_RENEWAL], "valid"),
        ([VALID, UNREACHABLE], "valid"),
        ([DUE], "due"),
        ([DUE, UNREACHABLE], "due"),
        ([DUE, BLOCKED], "blocked"),
        ([DUE, NO_RENEWAL], "rejected"),
        ([DUE, NO_RENEWAL, {"deliveries": HALF}], "degraded"),
        ([DUE, OPEN], "pending"),
        ([EXPIRED], "expired"),
        ([EXPIRED, UNREACHABLE], "expired"),
        ([EXPIRED, REJECTED], "rejected"),
        ([EXPIRED, NO_RENEWAL], "expired"),
        ([EXPIRED, BLOCKED], "blocked"),
        ([EXPIRED, OPEN], "expired"),
        ([BLOCKED | {"ended_at": None}], "blocked"),
        ([EXPIRED, {"deliveries": HALF}], "expired"),
    ],
)
def test_the_state_is_the_most_urgent_of_what_is_open(parts, state):
    assert _stands(*parts)[0] == state


@pytest.mark.parametrize("certificate", [{}, VALID, DUE, EXPIRED])
@pytest.mark.parametrize("request_", [{}, OPEN, LOST])
@pytest.mark.parametrize(
    "run", [{}, UNREACHABLE, BLOCKED, REJECTED, NO_RENEWAL, {"outcome": "issued"}, {"outcome": "pending"}]
)
def test_whatever_is_not_valid_says_what_happens_next_in_one_line(certificate, request_, run):
    for deliveries in ({}, DELIVERED, HALF):
        state, then = _stands(certificate, request_, run, {"deliveries": deliveries})
        assert bool(then) == (state != "valid")
        assert "\n" not in then


def test_every_state_can_be_reached():
    runs = ({}, UNREACHABLE, BLOCKED, REJECTED)
    deliveries = ({"deliveries": DELIVERED}, {"deliveries": HALF})
    reached = {
        _stands(*parts)[0] for parts in product(({}, VALID, DUE, EXPIRED), ({}, OPEN), runs, deliveries)
    }
    assert reached == {"new", "pending", "valid", "due", "degraded", "rejected", "blocked", "expired"}


def test_a_failure_before_the_request_that_is_open_says_nothing_of_it():
    """The run that sent it was killed, so that what the journal has is of the run before."""
    old = BLOCKED | {"ended_at": NOW - 5 * DAY}
    state, then = _stands(OPEN, old)
    assert state == "pending"
    assert "the CA is another" not in then
    assert _stands(OPEN, BLOCKED | {"ended_at": None})[0] == "pending"


def test_a_pending_request_names_its_transaction_and_who_must_act():
    assert _stands(OPEN)[1] == (
        "the CA's operator must approve transaction 8f3a (sent 2026-09-29 12:00 UTC); the next run asks"
    ).replace("2026-09-29 12:00", f"{NOW - 2 * DAY:%Y-%m-%d %H:%M}")
    assert _stands(OPEN, UNREACHABLE)[1].endswith("the next run asks: the server hung up; is it up?")


def test_a_lost_answer_is_no_matter_of_the_operator():
    said = _stands(LOST, UNREACHABLE)[1]
    assert said.startswith("the CA's answer to transaction 8f3a (sent ")
    assert said.endswith("did not arrive; the next run asks for it: the server hung up; is it up?")


def test_a_rejected_renewal_is_asked_again_after_a_while():
    until = NO_RENEWAL["refused"].at + RENEWAL_RETRY
    assert f"asked again on {until:%Y-%m-%d %H:%M} UTC, when the pipeline" in _stands(DUE, NO_RENEWAL)[1]
    for at in (NOW - RENEWAL_RETRY, NOW + DAY):  # a clock that was ahead holds nothing up
        assert _stands(DUE, _rejected("renewal", at)) == (
            "due",
            "the next run tries again: badRequest; is it up?",
        )


def test_what_later_runs_ended_with_does_not_prolong_a_rejection():
    late = _rejected("renewal", NOW - RENEWAL_RETRY) | {"ended_at": NOW}
    assert _stands(DUE, late)[0] == "due"


def test_a_rejected_renewal_does_not_hold_up_the_enrollment_after_its_end():
    state, then = _stands(EXPIRED, _rejected("renewal", NOW - 3 * DAY))
    assert state == "expired"
    assert then == "the next run asks for a new one; the latest request was rejected: badRequest; is it up?"


def test_a_renewal_that_was_rejected_after_the_end_is_asked_again_after_a_while():
    """It is renewed nevertheless, as [renew] expired says, or it would not have been asked."""
    state, then = _stands(EXPIRED, NO_RENEWAL)
    assert state == "expired"
    assert "asked again on " in then


def test_an_expired_certificate_is_so_though_its_renewal_is_pending():
    state, then = _stands(EXPIRED, OPEN | {"open": _attempt(purpose="renewal")})
    assert state == "expired"
    assert then.startswith("renewal pending: the CA's operator must approve transaction 8f3a")


def test_a_rejected_enrollment_is_not_asked_again_by_time():
    state, then = _stands(_rejected("enrollment", NOW - 90 * DAY))
    assert state == "rejected"
    assert then == (
        "badRequest; is it up? asked again when the pipeline or its challenge changes, or with `scepflow run --again`"
    )


def test_a_rejection_that_another_failure_followed_is_not_the_state():
    """Something was changed and asked again since, or it would have been held."""
    assert _stands(UNREACHABLE, {"refused": REJECTED["refused"]})[0] == "new"


def test_a_sink_that_failed_is_named_with_its_reason_and_what_else_is_open():
    assert _stands(VALID, {"deliveries": HALF})[1] == "the next run delivers again to p12 (permission denied)"
    assert _stands(DUE, {"deliveries": HALF})[1].endswith("(permission denied); the next run renews it")


def test_a_hint_of_several_lines_is_left_to_the_doctor():
    _, then = _stands(BLOCKED | {"hint": "compare:\n  fingerprint = ..."})
    assert then == "the CA is another; see `scepflow doctor /etc/gw1.toml`"


def test_a_certificate_is_expired_in_the_second_it_ends():
    assert _stands(VALID | {"current": _certificate(0)})[0] == "expired"
    assert _stands(VALID | {"renew_at": NOW})[0] == "due"
