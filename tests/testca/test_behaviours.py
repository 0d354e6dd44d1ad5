"""The catalogue of behaviours: every one has a name to type, words to read, and a row that shows what comes of it."""

from __future__ import annotations

import os
import re
from itertools import product

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AttributeOID, NameOID
from table import ROWS

from scepflow.engine import password, trust
from scepflow.engine.algorithms import Choice, Cipher, Digest
from scepflow.engine.channel import Channel
from scepflow.engine.enrollment import Enrollment
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.messages import MessageType
from scepflow.testca.authority import Authority
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.behaviours import all_behaviours, behaviours, by_name
from scepflow.testca.certificates import LEAF, build_certificate, new_key
from scepflow.testca.knobs import Knobs
from scepflow.testca.records import Records
from scepflow.testca.responder import Responder

CHALLENGE = "long, random and printed 5Tq8"
KINDS = ("rsa-2048", "ec-p256")
PAIRS = list(product(KINDS, KINDS))


@pytest.mark.parametrize("behaviour", all_behaviours().values(), ids=lambda behaviour: behaviour.name)
def test_a_behaviour_can_be_typed_and_read(behaviour):
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", behaviour.name)
    assert re.fullmatch("[a-z]+ [^\n]*[^\n.]", behaviour.summary)


def test_every_behaviour_has_a_row_in_the_interop_table():
    shown = {name for row in ROWS for name in row.behave}
    assert set(all_behaviours()) == shown


def test_behaviours_are_found_in_the_order_of_their_names():
    assert [found.name for found in behaviours(["badnonce", "no-certificates"])] == [
        "badnonce",
        "no-certificates",
    ]


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(
        ValueError, match='there is no behaviour "no-certificate"; is it "no-certificates"\\?'
    ):
        behaviours(["no-certificate"])


def test_no_two_behaviours_have_the_same_name():
    same = Behaviour(name="same", summary="does one thing")
    assert by_name([same]) == {"same": same}
    with pytest.raises(ValueError, match='there are two behaviours "same"'):
        by_name([same, same])


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("oaep", "gcm"), "both encrypt the reply"),
        (("cut-body", "chunked"), "both write the bytes of a response"),
        (("ber", "no-certificates"), "nothing can change the reply behind the first; name it last"),
        (("bomb-depth", "bomb-length"), "nothing can change the reply behind the first; name it last"),
        (("chunked", "badnonce", "until-close"), "both write the bytes of a response"),
    ],
)
def test_two_behaviours_of_which_one_would_not_count_are_an_error(names, why):
    with pytest.raises(
        ValueError, match=re.escape(f'"{names[0]}" and "{names[-1]}" do not go together: {why}')
    ):
        behaviours(names)


@pytest.mark.parametrize(
    "names",
    [("no-certificates", "ber"), ("cut-body", "caps-hang-up"), ("oaep", "chunked", "ber")],
    ids="+".join,
)
def test_behaviours_that_all_count_go_together(names):
    assert len(behaviours(names)) == len(names)


def test_only_what_replaces_a_reply_gives_bytes(exchanges):
    """So it is known before the first request what no later behaviour can change."""
    exchange = exchanges["rsa-2048", "rsa-2048"]
    for behaviour in all_behaviours().values():
        if behaviour.message and not behaviour.replaces:
            exchange.behave(Behaviour(name="x", summary="x", message=_gives_no_bytes(behaviour)))


def _gives_no_bytes(behaviour):
    def message(shape, scene):
        made = behaviour.message(shape, scene)
        assert not isinstance(made, bytes), behaviour.name
        return made

    return message


class Exchange:
    """A client's request, made once, and a responder that answers it behaving in one way after another."""

    def __init__(self, authority, ra, key, now):
        self.ca, self.spare_ra = authority.ca, ra
        self.responder = Responder(Authority(authority.ca), Knobs(challenge=CHALLENGE), now=lambda: now)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
        certificate = build_certificate(
            subject=subject,
            public_key=key.public_key(),
            issuer=None,
            issuer_key=key,
            serial=1,
            valid=(now, now.replace(year=now.year + 1)),
            extensions=[LEAF],
        )
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject)
        csr = csr.add_attribute(AttributeOID.CHALLENGE_PASSWORD, CHALLENGE.encode())
        channel = Channel(
            url="http://ca.example/scep",
            bundle=trust.authenticate([self.ca.certificate], anchors=[self.ca.certificate], now=now),
            identity=SigningIdentity(certificate, key),
            choice=Choice(digest=Digest.SHA256, cipher=Cipher.AES128, method="POST"),
            random_bytes=os.urandom,
            challenge_password=CHALLENGE,
            password_envelope=True,
        )
        self.request = Enrollment(
            channel,
            csr.sign(key, hashes.SHA256()),
            transaction_id="T1",
            message_type=MessageType.PKCS_REQ,
        ).next_request(now=now, sender_nonce=b"N" * 16)

    def behave(self, *behave, ra=False):
        """Answer the request as a CA without a past, which behaves so."""
        authority = self.responder.authority
        authority.ca, authority.ra, authority.above = self.ca, self.spare_ra if ra else None, ()
        authority.records = Records()
        self.responder.behave(Knobs(challenge=CHALLENGE, behave=behave))
        return self.responder.handle(self.request)


@pytest.fixture(scope="module")
def exchanges(now):
    """One for every kind of key of the CA and of the client; the derivation is not what is tested, and slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(password, "ITERATIONS", 1)
        ra = Authority.create(now=now, ra=True).ra
        authorities = {kind: Authority.create(now=now, key=kind) for kind in KINDS}
        keys = {kind: new_key(kind) for kind in KINDS}
        yield {(ca, key): Exchange(authorities[ca], ra, keys[key], now) for ca, key in PAIRS}


@pytest.mark.parametrize(("ca", "key"), PAIRS)
def test_every_behaviour_answers_every_kind_of_key(exchanges, ca, key):
    """Whatever cannot show with the CA's key is refused before the first request."""
    exchange = exchanges[ca, key]
    assert exchange.behave().status == 200
    assert exchange.responder.issued
    known = all_behaviours()
    for behaviour in known.values():
        if behaviour.needs_rsa and ca == "ec-p256":
            with pytest.raises(ValueError, match=f'"{behaviour.name}" needs an RSA key to sign with'):
                exchange.behave(behaviour)
        else:
            beside = [known["intermediate"]] if behaviour.needs_root else []
            assert exchange.behave(*beside, behaviour, ra=behaviour.needs_ra).status


def test_what_an_ra_or_a_root_is_needed_for_is_refused_without(exchanges):
    exchange = exchanges["rsa-2048", "rsa-2048"]
    known = all_behaviours()
    needy = [known[name] for name in known if name.startswith("order-")] + [known["ra-alone"]]
    for behaviour in needy:
        with pytest.raises(ValueError, match=f'"{behaviour.name}" needs a registration authority'):
            exchange.behave(behaviour)
    exchange.behave(known["ra-alone"], known["ra-for-both"])  # which has one
    with pytest.raises(ValueError, match='"no-root" needs a root above the CA'):
        exchange.behave(known["no-root"])
