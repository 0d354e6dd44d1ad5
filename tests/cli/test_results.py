"""What came of the pipelines, as lines and as JSON."""

import click
import pytest

from scepflow import events as told
from scepflow.cli.results import Result, common_code, result_lines, summary
from scepflow.delivery import Delivery
from scepflow.errors import PendingError, SinkError
from scepflow.testing import NOW

BASE = {"pipeline": "gw1", "at": NOW}
EVENTS = (
    told.KeyReady(**BASE, stage="generate", description="RSA-2048"),
    told.CertificateIssued(
        **BASE,
        transaction_id="8f3a",
        subject="CN=gw1",
        issuer="CN=CA",
        serial="18e7b7bd09bd4f11aa",
        not_before=NOW,
        not_after=NOW.replace(year=2027),
        fingerprint="sha256:ab",
    ),
    told.RunFinished(**BASE, outcome="issued", exit_code=0, elapsed_s=0.41234),
)


def lines_of(result):
    return [click.unstyle(line) for line in result_lines(result, width=8)]


@pytest.mark.parametrize(("codes", "expected"), [([0], 0), ([5, 5], 5), ([0, 5], 7), ([3, 3, 0], 7)])
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
        kept="key and certificate",
        kept_at="/var/lib/scepflow/gw1-1/8f3a",
    )
    assert lines_of(result) == [
        "gw1       issued          serial 18e7b7bd09bd…, expires 2027-11-20 (365 d), RSA-2048 key",
        "          delivered       file: gw1.pem",
        "          NOT delivered   phone: no room",
        "                          hint: make room",
        "          NOT delivered   tv: no signal",
        "          kept            key and certificate, in /var/lib/scepflow/gw1-1/8f3a",
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
    results = [Result(pipeline="x", outcome=outcome, exit_code=0) for outcome in outcomes]
    assert summary(results) == "4 pipelines: 2 issued, 1 pending, 1 issued but not fully delivered"
