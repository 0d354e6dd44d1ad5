"""Rows on CertReps: how they are encoded, who signs them, what they answer, what is inside."""

from rows import Elsewhere, NotOurs, Row, issued, refused

TABLE: tuple[Row | Elsewhere | NotOurs, ...] = (
    Row(items=("Q-001",), behave=("no-certificates",), expected=issued()),
    Row(items=("C-058",), behave=("wrong-nonce",), expected=refused("recipient-nonce")),
)
