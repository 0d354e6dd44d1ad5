"""Cases and how they are made: a right reply in its parts, changed outside its signature or under it.

Must never hold: the engine, or a judgement on what it says to a case.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import forge
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from forge import Authority, attributes
from issuing import CA_USAGE, NOW
from mutation import Specimen, damaged, mutated
from replies import to_ber

from scepflow.engine.exchange import HttpResponse

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Case:
    """One input.

    Attributes:
        layer: what was changed, such as ``attributes``.
        data: the bytes that come from the server, or stand in the file.
        of: the valid message that it was made of.
        certificate: one that the CA signed for this case alone, as DER.
    """

    layer: str
    data: bytes
    of: Any = None
    certificate: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A right reply in its parts, and what the engine says to it."""

    authority: Authority
    attributes: bytes
    content: bytes | None
    inner: Specimen | None = None  # what is encrypted in the content
    recipients: tuple[bytes, ...] = ()
    certificate: bytes = b""  # the one in `inner`
    within: Callable[[Authority, bytes], bytes] = Authority.sealed

    @cached_property
    def data(self) -> bytes:
        return self.authority.signed(self.attributes, self.content, (self.authority.ca_der,))

    @cached_property
    def specimens(self) -> tuple[Specimen, ...]:
        """The whole message, in DER and in BER."""
        return Specimen.of(self.data), Specimen.of(to_ber(self.data))

    @cached_property
    def parts(self) -> dict[str, Specimen]:
        """What is changed under the signature."""
        found = {"attributes": Specimen.of(self.attributes)}
        if self.content is not None:
            found["envelope"] = Specimen.of(self.content)
        if self.inner is not None:
            found["content"] = self.inner
        if self.certificate:
            found["certificate"] = Specimen.of(
                Specimen.of(self.certificate).bytes_of(Specimen.of(self.certificate).elements[1])
            )
        return found

    def with_content(self, content: bytes) -> bytes:
        """Return the message around other content, signed."""
        digest = forge.digest_attribute(self.content)
        return self.authority.signed(
            self.attributes.replace(digest, forge.digest_attribute(content)), content
        )

    def with_inner(self, inner: bytes) -> bytes:
        """Return the message around other plaintext, sealed and signed."""
        return self.with_content(self.within(self.authority, inner))


def made(authority: Authority, texts: dict[Any, str], inner: bytes | None = None, **more: Any) -> Reply:
    """Return a right reply, sealed for the client unless it is told how."""
    recipients = more.get("recipients", ())
    within = more.pop("within", lambda authority, inner: authority.sealed(inner, *recipients))
    content = None if inner is None else within(authority, inner)
    return Reply(
        authority=authority,
        attributes=attributes(content, texts),
        content=content,
        inner=None if inner is None else Specimen.of(inner),
        within=within,
        **more,
    )


def change(chance: random.Random, reply: Reply, others: Sequence[Specimen]) -> Case:
    """Return a reply changed outside its signature, or under it and signed again."""
    layer = int(chance.random() * 20)
    if layer < 8:
        return Case("message", mutated(chance, chance.choice(reply.specimens), others), reply)
    if layer < 10:
        return Case(
            "bytes", damaged(chance, chance.choice(reply.specimens).data, chance.choice(others).data), reply
        )
    name = chance.choice(list(reply.parts))
    part = reply.parts[name]
    new = mutated(chance, part, others) if chance.random() < 0.9 else damaged(chance, part.data, part.data)
    match name:
        case "attributes":
            return Case(name, reply.authority.signed(new, reply.content), reply)
        case "envelope":
            return Case(name, reply.with_content(new), reply)
        case "content":
            return Case(name, reply.with_inner(new), reply)
        case _:
            signed = forge.signed_value(new, reply.authority.ca.key)
            assert reply.inner is not None
            inner = reply.inner.with_element(reply.inner.find(reply.certificate), signed)
            return Case(name, reply.with_inner(inner), reply, signed)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def is_showable(text: str) -> bool:
    """Tell whether text holds nothing that a terminal acts upon."""
    return text.isprintable() or not {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} & set(
        map(unicodedata.category, text)
    )


def response(data: bytes) -> HttpResponse:
    return HttpResponse(status=200, body=data)


@cache
def true_certificates(authority: Authority) -> tuple[x509.Certificate, ...]:
    """Return what the CA issued: two for our key, one for a stranger's, and a CA below."""
    stranger = ec.derive_private_key(7, ec.SECP256R1())
    below = {"ca": True, "usage": CA_USAGE, "key": ec.derive_private_key(8, ec.SECP256R1())}
    return (
        authority.issued("gw1", 1000),
        authority.issued("gw1", 1001, begins=NOW - timedelta(days=1)),
        authority.issued("other", 1002, key=stranger),
        authority.issued("Sub CA", 1003, **below),
    )


class Target:
    """Something that is fuzzed.

    Attributes:
        name: what ``--target`` calls it.
    """

    name: ClassVar[str]

    def case(self, chance: random.Random) -> Case:
        """Return a case."""
        raise NotImplementedError

    def outcome(self, case: Case) -> str:
        """Give a case to the engine and return what came out; raises AssertionError if that must not be."""
        raise NotImplementedError
