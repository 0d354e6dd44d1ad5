"""``scepflow run --renew`` where a server refuses one of the two messages that a renewal may be."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepflow.engine.messages import MessageType
from scepflow.testca import Authority, Knobs, Responder, serve

PIPELINE = """\
[ca]
url = "{url}"
certificate = "testca/ca.pem"
[csr]
subject = "CN=gw1.example.com"
challenge = {{ env = "CHALLENGE" }}
[renew]
message = "{message}"
[sink.file]
key = "gw1.key"
cert = "gw1.pem"
"""
CHALLENGE = "open-sesame"
RENEWAL_REQ, PKCS_REQ = "RenewalReq", "PKCSReq"


@pytest.fixture
def gateway(scepflow, folder, current_authority):
    """A certificate of a CA whose challenge was good for it alone, and what is to be seen of its renewal."""
    responder = Responder(
        Authority(current_authority.ca), Knobs(challenge=CHALLENGE, one_time_challenge=True)
    )

    def certificate():
        key = load_pem_private_key((folder / "gw1.key").read_bytes(), None)
        found = x509.load_pem_x509_certificate((folder / "gw1.pem").read_bytes())
        assert key.public_key() == found.public_key()
        return found

    def renew(message, *, refused):
        (folder / "gw1.toml").write_text(PIPELINE.format(url=server.url, message=message))
        assert scepflow("run", "gw1.toml", CHALLENGE=CHALLENGE).exit_code == 0
        responder.requests.clear()
        unknown = frozenset(kind for kind in MessageType if kind.title == refused)
        responder.knobs = replace(responder.knobs, unknown=unknown)
        first = certificate()
        said = scepflow("run", "gw1.toml", "--renew", "--json", CHALLENGE=CHALLENGE)
        (result,) = json.loads(said.stdout)["pipelines"]
        return SimpleNamespace(first=first, exit_code=said.exit_code, stderr=said.stderr, result=result)

    with serve(responder) as server:
        yield SimpleNamespace(
            renew=renew,
            certificate=certificate,
            kinds=lambda: [MessageType(request.message_type).title for request in responder.requests],
            signers=lambda: [request.certificate for request in responder.requests],
        )


def standing(scepflow):
    """Return what status says: the state, what comes next, and the serial of the certificate in use."""
    (known,) = json.loads(scepflow("status", "--json").stdout)["pipelines"]
    return known["state"], known["next"], int(known["current"]["certificate"]["serial"], 16)


@pytest.mark.parametrize(
    ("message", "refused", "sent"),
    [
        ("auto", RENEWAL_REQ, [RENEWAL_REQ, PKCS_REQ]),
        ("pkcsreq", RENEWAL_REQ, [PKCS_REQ]),
        ("auto", PKCS_REQ, [RENEWAL_REQ]),
        ("renewal", PKCS_REQ, [RENEWAL_REQ]),
    ],
)
def test_a_renewal_goes_through_by_the_message_that_the_server_knows(
    gateway, scepflow, message, refused, sent
):
    said = gateway.renew(message, refused=refused)
    assert (said.exit_code, said.result["outcome"]) == (0, "renewed"), said.stderr
    assert gateway.kinds() == sent
    assert gateway.signers() == [said.first] * len(sent), "the existing certificate signs"
    second = gateway.certificate()
    assert second.public_key() != said.first.public_key()
    assert standing(scepflow) == ("valid", "", second.serial_number)
    fell_back = [warning for warning in said.result["warnings"] if warning["code"] == "renewal-refused"]
    assert len(fell_back) == len(sent) - 1


@pytest.mark.parametrize(("message", "refused"), [("renewal", RENEWAL_REQ), ("pkcsreq", PKCS_REQ)])
def test_a_renewal_that_may_be_one_message_only_is_not_sent_as_the_other(gateway, scepflow, message, refused):
    said = gateway.renew(message, refused=refused)
    assert (said.exit_code, said.result["outcome"]) == (72, "rejected")
    assert gateway.kinds() == [refused]
    assert "challenge_in_renewal" in said.stderr
    assert gateway.certificate() == said.first, "the pair in use is left alone"
    assert standing(scepflow) == ("valid", "", said.first.serial_number)
