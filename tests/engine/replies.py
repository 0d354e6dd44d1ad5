"""The test CA's hand-built CertRep for one transaction, and messages that were damaged."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from hypothesis import strategies as st

from scepflow.engine import cms, envelopes
from scepflow.engine.algorithms import Cipher
from scepflow.engine.asn1 import wrap
from scepflow.testca.shapes import (
    Shape,
    algorithm,
    attribute,
    content_info,
    elements,
    envelope,
    issuer_and_serial,
    key_transport_info,
    seq,
    signed_data,
    to_ber,
)

__all__ = [
    "NONCE",
    "TRANSACTION_ID",
    "Reply",
    "algorithm",
    "altered",
    "attribute",
    "broken",
    "content_info",
    "damaged",
    "envelope",
    "issued_reply",
    "issuer_and_serial",
    "key_transport_info",
    "random_bytes",
    "seq",
    "signed_data",
    "to_ber",
]

TRANSACTION_ID = "0123456789ABCDEF0123456789ABCDEF"
NONCE = bytes(range(16))


def random_bytes():
    """Return a source of bytes that always gives the same ones."""
    numbers = count(1)
    return lambda size: bytes((next(numbers) * 37 + i) % 256 for i in range(size))


@dataclass(frozen=True, kw_only=True)
class Reply(Shape):
    """A CertRep in the making that answers the request with `TRANSACTION_ID` and `NONCE`."""

    transaction_id: str | None = TRANSACTION_ID
    recipient_nonce: bytes | None = NONCE


def issued_reply(signer, client, *delivered, **knobs):
    """Return a SUCCESS in which certificates come to a client."""
    sealed = envelopes.build_envelope(
        cms.build_certs_only(delivered),
        recipient=client,
        cipher=knobs.pop("cipher", Cipher.AES128),
        random_bytes=random_bytes(),
        challenge_password=knobs.pop("challenge_password", None),
    )
    return Reply(signer=signer, content=sealed, **{"certificates": (signer.certificate,), **knobs})


def _tree(der):
    return [[tag, _tree(content) if tag & 0x20 else content] for tag, content in elements(der)]


def _places(tree):
    for at, (_, content) in enumerate(tree):
        yield tree, at
        if isinstance(content, list):
            yield from _places(content)


def _encode(tree):
    return b"".join(wrap(tag, _encode(c) if isinstance(c, list) else c) for tag, c in tree)


@st.composite
def altered(draw, valid):
    """Draw a message with right lengths, but some of its elements gone, doubled, emptied, retagged or changed."""
    tree = _tree(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree))
        if not places:
            break
        siblings, at = places[draw(st.integers(0, len(places) - 1))]
        tag, content = siblings[at]
        match draw(st.sampled_from(("drop", "double", "empty", "retag", "change", "swap"))):
            case "drop":
                del siblings[at]
            case "double":
                siblings.insert(at, siblings[at])
            case "empty":
                siblings[at] = [tag, b""]
            case "retag":
                siblings[at] = [draw(st.integers(0, 255)), content]
            case "change":
                siblings[at] = [tag, draw(st.binary(max_size=20))]
            case "swap":
                siblings[at], siblings[0] = siblings[0], siblings[at]
    return _encode(tree)


@st.composite
def damaged(draw, valid):
    """Draw a message of which some bytes were changed, taken out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(1, 12))
        match draw(st.sampled_from(("flip", "delete", "double", "insert", "cut"))):
            case "flip":
                data[at : at + 1] = bytes(b ^ 1 << draw(st.integers(0, 7)) for b in data[at : at + 1])
            case "delete":
                del data[at : at + size]
            case "double":
                data[at:at] = data[at : at + size]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "cut":
                del data[at:]
    return bytes(data)


def broken(valid):
    """Draw any bytes, most of them once a valid message."""
    return st.one_of(st.binary(max_size=64), damaged(valid), altered(valid))
