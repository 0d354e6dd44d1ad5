"""A bounded share of what ``python -m tests.fuzz`` does at length, and that it would see a bug.

SCEPFLOW_FUZZ_SEED chooses other cases than those of every run.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from cases import Case, Target
from harness import make_case, run, run_cases, run_one, time_limit
from reply_targets import CertRep
from targets import TARGETS

from scepflow.engine.checks import CHECKS
from scepflow.errors import ProtocolError

SEED = int(os.environ.get("SCEPFLOW_FUZZ_SEED", "1"))
COUNTS = {"certrep": 3000}  # of the others each 800: ten seconds in all

# Not drawn: the policy's own table of algorithms, and a renewal.
UNREACHED = {"algorithms", "new-certificate"}


def run_here(name, keep):
    return run(name, seed=SEED, numbers=range(COUNTS.get(name, 800)), keep=keep)


@pytest.fixture(scope="module")
def replies(tmp_path_factory):
    return run_here("certrep", tmp_path_factory.mktemp("kept"))


def assert_good(tally):
    again = "python -m tests.fuzz 1 {} --target {} --first {}"
    failures = [f"{f.what}: {again.format(SEED, f.target, f.number)}" for f in tally.failures]
    assert not failures, "\n".join(failures)


def test_whatever_reply_comes_is_refused_in_our_words_or_means_what_it_meant(replies):
    assert_good(replies)


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"certrep"}))
def test_whatever_else_comes_is_refused_in_our_words_or_read_rightly(name, tmp_path):
    assert_good(run_here(name, tmp_path))


def test_replies_reach_every_check_and_come_out_behind_the_last(replies):
    ends = {end for _, end in replies.ends}
    assert {f"check {check}" for check in CHECKS if check not in UNREACHED} <= ends
    assert {"issued", "pending", "rejected", "engine.envelopes.open_envelope"} <= ends


@pytest.mark.parametrize("name", TARGETS)
def test_a_seed_and_a_number_always_make_the_same_case(name):
    first, second = TARGETS[name](), TARGETS[name]()
    cases = [(make_case(first, 5, n), make_case(second, 5, n)) for n in range(30)]
    assert all((a.layer, a.data) == (b.layer, b.data) for a, b in cases)
    assert len({a.data for a, _ in cases}) > 10


@pytest.mark.parametrize("check", ["certificate-key", "chain", "message-digest", "signature"])
def test_a_check_that_is_not_made_is_noticed(check, tmp_path):
    target = CertRep()
    for enrollment in target.enrollments.values():
        enrollment.channel = replace(enrollment.channel, relaxed=frozenset({check}))
    tally = run_cases(target, seed=1, numbers=range(6000), keep=tmp_path, most_failures=1)
    (failure,) = tally.failures
    assert Path(failure.file).read_bytes() == make_case(target, 1, failure.number).data


class Odd(Target):
    """Ends as it is told."""

    name = "odd"

    def __init__(self, end):
        self.end = end

    def case(self, chance):
        return Case("bytes", chance.randbytes(4))

    def outcome(self, case):
        return self.end()


def fail(error):
    raise error


def hang():
    while True:
        pass


@pytest.mark.parametrize(
    ("end", "what"),
    [
        (lambda: fail(ProtocolError("no")), ""),
        (lambda: "fine", ""),
        (lambda: fail(ValueError("bad")), "FAILURE ValueError: bad"),
        (lambda: fail(MemoryError()), "FAILURE MemoryError"),
        (hang, "FAILURE HangError"),
    ],
    ids=["our error", "an answer", "another error", "no memory", "no end"],
)
def test_only_our_own_errors_and_answers_are_good_ends(end, what):
    target = Odd(end)
    with time_limit():
        _, seconds, found = run_one(target, make_case(target, 1, 1), 0.05)
    assert found.startswith(what)
    assert bool(found) == bool(what)
    assert seconds < 1


def test_no_more_than_ten_failures_are_kept(tmp_path):
    tally = run_cases(Odd(lambda: fail(KeyError("x"))), seed=1, numbers=range(100), keep=tmp_path)
    assert len(tally.failures) == len(list(tmp_path.iterdir())) == 10
