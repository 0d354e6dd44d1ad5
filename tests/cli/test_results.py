"""What came of the pipelines, as lines and as JSON."""

import click
import pytest

from scepflow import events as told
from scepflow.cli.results import Result, common_code, result_lines, summary
from scepflow.delivery import Delivery
from scepflow.errors import PendingError, SinkError
from scepflow.records import CertificateFacts
from scepflow.testing import NOW

BASE = {"pipeline": "gw1", "at": NOW}
EVENTS = (
    told.KeyReady(**BASE, stage="generate", description="RSA-2048"),
    told.RunFinished(**BASE, outcome="issued", exit_code=0, elapsed_s=0.41234),
)

FACTS = CertificateFacts(
    subject="CN=gw1",
    issuer="CN=CA",
    serial="18e7b7bd09bd4f11aa",
    not_before=NOW,
    not_after=NOW.replace(year=2027),
    fingerprint="sha256:ab",
)


def lines_of(result):
    return [click.unstyle(line) for line in result_lines(result, width=8)]


@pytest.mark.parametrize(
    ("codes", "expected"), [([0], 0), ([5, 5], 5), ([0, 5], 7), ([3, 3, 0], 3), ([3, 4, 0], 7)]
)
def test_the_exit_code_is_what_all_have_in_common(codes, expected):
    assert common_code(codes) == expected


def test_a_certificate_is_told_with_serial_expiry_and_key():
    result = Result(
        pipeline="gw1",
        outcome="degraded",
        exit_code=6,
        events=EVENTS,
        deliveries=(
            Delivery("file", "gw1.pem"),
            Delivery("phone", "gw1.p12", SinkError("no room", hint="make room")),
            Delivery("tv", "gw1.tv", SinkError("no signal")),
        ),
        action="renewed",
        certificate=FACTS,
        renew_at=NOW.replace(month=12),
    )
    assert lines_of(result) == [
        "gw1       renewed         serial 18e7b7bd09bd…, expires 2027-11-20 (365 d), renews 2026-12-20, RSA-2048 key",
        "          delivered       file: gw1.pem",
        "          NOT delivered   phone: no room",
        "                          hint: make room",
        "          NOT delivered   tv: no signal",
    ]
    document = result.as_dict()
    assert document["elapsed_s"] == 0.412
    assert document["not_after"] == "2027-11-20T12:00:00Z"
    assert document["deliveries"][1] == {
        "sink": "phone",
        "delivered": False,
        "detail": "gw1.p12",
        "error": {"type": "SinkError", "message": "no room", "hint": "make room"},
    }


def test_a_failure_is_told_with_its_message():
    error = PendingError("not decided after 3 polls", transaction_id="8f3a", polls=3, waited_s=9)
    ended = told.RunFinished(**BASE, outcome="pending", exit_code=3, elapsed_s=252, error=error.message)
    result = Result(pipeline="gw1", outcome="pending", exit_code=3, events=(ended,), error=error)
    assert lines_of(result) == ["gw1       pending         not decided after 3 polls (after 4 m 12 s)"]
    early = Result(pipeline="gw1", outcome="failed", exit_code=3, error=error)
    assert lines_of(early) == ["gw1       failed          not decided after 3 polls"]


def test_a_file_with_errors_counts_them():
    problems = ({"severity": "error"}, {"severity": "error"}, {"severity": "warning"})
    result = Result(pipeline="gw1", outcome="invalid", exit_code=78, problems=problems)
    assert lines_of(result) == ["gw1       invalid         2 errors in the pipeline file"]
    assert result.as_dict()["elapsed_s"] is None


def test_the_summary_counts_outcomes_in_their_order():
    outcomes = ["issued", "pending", "issued", "degraded"]
    results = [Result(pipeline="x", outcome=word, action="renewed", exit_code=0) for word in outcomes]
    assert summary(results) == "4 pipelines: 2 issued, 1 pending, 1 renewed but not fully delivered"


def _degraded(action):
    failed = Delivery("far", "far/away.pem", SinkError("no such directory"))
    return Result(
        pipeline="gw1",
        outcome="degraded",
        action=action,
        exit_code=6,
        deliveries=[failed],
        events=EVENTS,
        certificate=FACTS,
        renew_at=NOW,
    )


def test_a_redelivery_that_failed_is_not_called_delivered():
    assert lines_of(_degraded("delivered"))[0].split()[:2] == ["gw1", "degraded"]
    assert lines_of(_degraded("renewed"))[0].split()[:2] == ["gw1", "renewed"]


def test_results_are_counted_in_the_words_that_their_lines_have():
    results = [
        Result(pipeline="a", outcome="unchanged", exit_code=0),
        Result(pipeline="b", outcome="rolled-back", exit_code=0),
        _degraded("delivered"),
        _degraded("renewed"),
    ]
    assert summary(results) == (
        "4 pipelines: 1 up to date, 1 rolled back, 1 not fully delivered, 1 renewed but not fully delivered"
    )
