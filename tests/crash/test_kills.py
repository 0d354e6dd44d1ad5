"""A run that is killed at any point loses nothing, and the next one finishes it.

`points` numbers them: all that makes, renames or removes a name in the pipeline's folder
or the state directory, both halves of each write, each commit of the journal, each step
of an exchange with the CA. Kills from outside, at random times, reach what it does not
see, such as the midst of SQLite's own commit.
"""

import os
import random
import secrets
import sys

import pytest
from flows import FLOWS, exchange

_RANDOM_KILLS = 12


@pytest.mark.parametrize("name", FLOWS)
def test_the_run_after_a_kill_finishes_what_was_begun(name, tmp_path, children, capfd):
    seed = int(os.environ.get("SCEPFLOW_CRASH_SEED") or secrets.randbits(32))
    with FLOWS[name](tmp_path, children) as flow:
        points = _kill_at_each_point(flow)
        by_chance = _kill_at_random_times(flow, random.Random(seed))
    with capfd.disabled():  # shown of tests that pass, too
        sys.stderr.write(
            f"\n{name}: killed at each of {points} points and {by_chance} times by chance (SCEPFLOW_CRASH_SEED={seed})\n"
        )


def _kill_at_each_point(flow):
    points = list(enumerate(flow.usual.points, start=1))
    if flow.own_exchange:
        points = points[exchange(flow.usual.points)]
    for at, point in points:
        flow.restore()
        assert flow.run(at=at).killed, f"point {at} was not reached: {point}"
        flow.check_order()
        flow.finish(f"killed at point {at}: {point}")
    return len(points)


def _kill_at_random_times(flow, chance):
    flow.restore()
    longest_s, killed = flow.run().took_s, 0
    for _ in range(_RANDOM_KILLS):
        flow.restore()
        after_s = chance.uniform(0.001, longest_s)
        killed += flow.run(kill_after_s=after_s).killed
        flow.check_order()
        flow.finish(f"killed after {after_s:.4f} s")
    assert killed
    return killed


def test_a_pair_that_a_kill_has_parted_is_put_together_even_on_a_full_disk(tmp_path, children):
    with FLOWS["redelivery"](tmp_path, children) as flow:
        for at, point in enumerate(flow.usual.points, start=1):
            if not point.startswith(("os.link", "os.rename .scepflow", "os.remove .scepflow")):
                continue
            flow.restore()
            assert flow.run(at=at).killed
            flow.run(what="full-on", at=1, among="open .scepflow")
            assert flow.pairs()
            flow.finish(f"killed at point {at}: {point}, then a run on a full disk")
