"""A run that ends with the power loses nothing, and the next one finishes it.

One run is recorded; then the next one is tried on every tree that a power loss at any
of its steps may have left (`power_loss`), with a CA that knows what it had been sent by then.
"""

import os
import random
import secrets
import sys

import pytest
from flows import FLOWS, exchange
from power_loss import Disk, paths, settled
from power_loss_recorder import ROOT, File, Folder, Step

_TARGETS = ("etc/tls/", "etc/isakmpd/", "etc/gw1.p12")
_HALFWAY = ("write", "write the rest")
"""Steps before the whole file has been written: what the losses do to that includes it."""


@pytest.mark.parametrize("name", FLOWS)
def test_the_run_after_a_power_loss_finishes_what_was_begun(name, tmp_path, children, capfd):
    seed = int(os.environ.get("SCEPFLOW_CRASH_SEED") or secrets.randbits(32))
    with FLOWS[name](tmp_path, children) as flow:
        steps = flow.record_steps()
        trees = _lose_power_at_each(steps, flow, seed)
    with capfd.disabled():  # shown of tests that pass, too
        sys.stderr.write(
            f"\n{name}: {trees} trees that a power loss may leave at {len(steps)} steps (SCEPFLOW_CRASH_SEED={seed})\n"
        )


def _lose_power_at_each(steps, flow, seed):
    chance, tried = random.Random(seed), set()
    targets = _targets(_run_over(steps[:1]).seen), _targets(_run_over(steps).seen)
    for at, disk, outside in _moments(steps, flow):
        for survived, nodes in disk.losses(chance):
            step, identity = steps[at], _identity(nodes, outside, steps[at].sent)
            if identity in tried:
                continue
            tried.add(identity)
            loss = f"power lost at step {at}, {step.what}; there is {survived}; SCEPFLOW_CRASH_SEED={seed}"
            _check_targets(_targets(nodes), *targets, loss)
            flow.go_to(step, nodes, outside)
            flow.check_order()
            flow.finish(loss)
    return len(tried)


def _moments(steps, flow):
    """Give the disk, and what is outside, at each step; a flow that differs from another by its exchange goes through that."""
    own = range(len(steps))
    if flow.own_exchange or flow.may_pend:
        own = own[exchange([step.what for step in steps])]
    disk = Disk(steps[0])
    for at, (step, outside) in enumerate(settled(steps)):
        if at:
            disk.take(step)
        if at in own and step.what not in _HALFWAY:
            yield at, disk, outside


def _run_over(steps):
    disk = Disk(steps[0])
    for step in steps[1:]:
        disk.take(step)
    return disk


def _identity(nodes, outside, sent):
    """Return what tells a tree, and all that is outside of it, from another."""
    tree = [
        (path, number, nodes[number] if isinstance(nodes[number], File) else nodes[number].mode)
        for path, number in paths(nodes).items()
    ]
    return hash((tuple(tree), frozenset(outside.items()), sent))


def _targets(nodes):
    """Return what the sinks' files hold, by their paths."""
    return {
        path: nodes[number].content
        for path, number in paths(nodes).items()
        if path.startswith(_TARGETS) and "/." not in path and isinstance(nodes[number], File)
    }


def _check_targets(found, before, after, loss):
    """Assert that a file of a sink is the old one or the new one, whole, and that none is gone."""
    assert before.keys() <= found.keys(), loss
    for path, content in found.items():
        assert content in (before.get(path), after[path]), f"{path} is torn; {loss}"


def test_a_disk_keeps_the_content_of_a_synced_file_and_the_names_of_a_synced_folder():
    disk, file = Disk(_step({ROOT: Folder(0o700, {})})), 2
    disk.take(_step({ROOT: Folder(0o700, {"staged": file}), file: File(0o600, b"new")}))
    disk.take(_step({}, synced=ROOT))
    assert _left(disk) == [{"staged": b""}, {"staged": b"n\0\0"}]
    disk.take(_step({}, synced=file))
    disk.take(_step({ROOT: Folder(0o700, {"target": file})}))
    assert _left(disk) == [{"staged": b"new"}, {"target": b"new"}]
    disk.take(_step({}, synced=ROOT))
    assert _left(disk) == [{"target": b"new"}] * 2


def _step(changed, synced=None):
    return Step(what="", changed=changed, synced=synced, outside=None, sent=0)


def _left(disk):
    """Return what is left when nothing survives, and when all names do."""
    trees = [nodes for _, nodes in disk.losses(_Last())][:2]
    return [{path: nodes[number].content for path, number in paths(nodes).items()} for nodes in trees]


class _Last(random.Random):
    def choice(self, seq):
        return seq[-1]
