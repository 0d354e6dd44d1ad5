"""The states of an enrollment and every way between them, as data.

Must never hold: code that decides; `enrollment` looks things up here.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["TRANSITIONS", "State", "Step"]


class State(StrEnum):
    """Where an enrollment stands."""

    READY = "ready"
    """Nothing was sent."""
    AWAITING = "awaiting"
    """A message left and no answer that counts has come; the CA may have acted on it."""
    PENDING = "pending"
    """The CA said PENDING."""
    ISSUED = "issued"
    REJECTED = "rejected"


class Step(StrEnum):
    """What can happen: a message leaves, or a reply passes every check."""

    SEND = "send"
    SUCCESS = "success"
    PENDING = "pending"
    FAILURE = "failure"


# From READY the request itself is sent, from anywhere else a CertPoll: a request
# whose answer was lost is never sent again, its challenge may be spent.
# A reply that fails a check is no step at all.
TRANSITIONS: dict[State, dict[Step, State]] = {
    State.READY: {Step.SEND: State.AWAITING},
    State.AWAITING: {
        Step.SEND: State.AWAITING,
        Step.SUCCESS: State.ISSUED,
        Step.PENDING: State.PENDING,
        Step.FAILURE: State.REJECTED,
    },
    State.PENDING: {Step.SEND: State.AWAITING},
    State.ISSUED: {},
    State.REJECTED: {},
}
