import pytest
from issuing import CA_USAGE, certify
from replies import Reply

from scepflow.engine import attributes, cms
from scepflow.engine.algorithms import Security
from scepflow.engine.checks import Checks
from scepflow.engine.identity import SigningIdentity
from scepflow.errors import ProtocolError, TrustError


def verified(reply, *trusted):
    signed = cms.parse_signed_data(reply.der())
    signer = attributes.only_signer(signed)
    return attributes.verify(signed, signer, trusted=trusted, security=Security.DEFAULT, checks=Checks())


@pytest.fixture
def twin(pki):
    """A certificate with the CA's issuer and serial number, and a key of another kind."""
    serial_number = pki.ca.certificate.serial_number
    return certify("Test CA", pki.ec_ca.key, ca=True, usage=CA_USAGE, serial_number=serial_number)


def test_a_namesake_with_a_key_of_another_kind_is_passed_over(pki, twin):
    """S-003."""
    reply = Reply(signer=pki.ca, content=b"content")
    assert verified(reply, twin, pki.ca.certificate)
    assert verified(reply, pki.ca.certificate, twin)
    forged = reply.but(signer=SigningIdentity(pki.ca.certificate, pki.stranger.key))
    with pytest.raises(TrustError, match="the signature is wrong"):
        verified(forged, twin, pki.ca.certificate)
    with pytest.raises(ProtocolError, match="does not fit the signer's EC key"):
        verified(reply, twin)
