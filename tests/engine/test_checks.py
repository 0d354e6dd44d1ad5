import pytest

from scepflow.engine.checks import CHECKS, Checks, Finding
from scepflow.errors import TrustError


@pytest.mark.parametrize("check", CHECKS)
def test_a_failed_check_raises_under_its_own_name(check):
    checks = Checks()
    with pytest.raises(TrustError, match="seen") as error:
        checks.require(False, check, "seen", hint="do this")
    assert (error.value.check, error.value.hint) == (check, "do this")
    assert checks.findings == []


@pytest.mark.parametrize("check", CHECKS)
def test_a_relaxed_check_is_loud_and_relaxes_no_other(check):
    checks = Checks(frozenset({check}))
    checks.require(False, check, "seen")
    [finding] = checks.findings
    assert finding.code == f"relaxed-{check}"
    assert "seen" in finding.text
    for other in set(CHECKS) - {check}:
        with pytest.raises(TrustError):
            checks.require(False, other, "seen")


def test_a_passed_check_says_nothing_even_if_it_is_relaxed():
    checks = Checks(frozenset(CHECKS))
    for check in CHECKS:
        checks.require(["anything true"], check, "seen")
    assert checks.findings == []


def test_what_counts_as_passed_is_truth():
    with pytest.raises(TrustError):
        Checks().require([], "signer", "an empty list of signers")


def test_findings_are_kept_in_order():
    checks = Checks()
    checks.note("one", "first")
    checks.note("two", "second")
    assert checks.findings == [Finding("one", "first"), Finding("two", "second")]


def test_findings_of_two_exchanges_are_not_mixed():
    Checks().note("one", "first")
    assert Checks().findings == []
