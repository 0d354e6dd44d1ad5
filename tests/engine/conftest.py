"""Keys and certificates that the tests of the engine share, and an enrollment that awaits its reply."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from issuing import CA_USAGE, NOW, Pki, certify, ec_key, request, rsa_key
from replies import NONCE, TRANSACTION_ID, random_bytes

from scepflow.engine.algorithms import choose
from scepflow.engine.capabilities import Capabilities
from scepflow.engine.channel import Channel
from scepflow.engine.enrollment import Enrollment
from scepflow.engine.identity import SigningIdentity


@pytest.fixture(scope="session")
def pki():
    ca_key, ec_ca_key = rsa_key(), ec_key()
    ca = SigningIdentity(certify("Test CA", ca_key, ca=True, usage=CA_USAGE), ca_key)
    ec_usage = "digital_signature key_cert_sign crl_sign"
    ec_ca = SigningIdentity(certify("EC CA", ec_ca_key, ca=True, usage=ec_usage), ec_ca_key)

    def identity(subject, key, **how):
        return SigningIdentity(certify(subject, key, **how), key)

    return Pki(
        ca=ca,
        ra_signer=identity("RA signing", rsa_key(), issuer=ca, ca=False, usage="digital_signature"),
        ra_encryption=identity("RA encryption", rsa_key(), issuer=ca, ca=False, usage="key_encipherment"),
        client=identity("gw1", rsa_key()),
        stranger=identity("Stranger", rsa_key()),
        ec_ca=ec_ca,
        ec_client=identity("gw1", ec_key()),
    )


@pytest.fixture
def connect(pki):
    """Return a function that makes the channel to the CA; what is named is different."""

    def connect(**how):
        return Channel(
            **{
                "url": "http://ca.example/scep",
                "bundle": pki.bundle,
                "identity": pki.client,
                "choice": choose(Capabilities(frozenset({"SCEPStandard"}))),
                "random_bytes": random_bytes(),
                **how,
            }
        )

    return connect


@pytest.fixture
def start(connect, pki):
    """Return a function that makes an enrollment whose request was sent with the nonce NONCE."""

    def start(*, csr=None, send=True, previous=None, message_type=None, **how):
        renewal = {} if message_type is None else {"message_type": message_type}
        enrollment = Enrollment(
            connect(**how),
            csr or request("gw1", pki.client.key),
            transaction_id=TRANSACTION_ID,
            previous=previous,
            **renewal,
        )
        if send:
            enrollment.next_request(now=NOW, sender_nonce=NONCE)
        return enrollment

    return start


@pytest.fixture(scope="session")
def files(pki, tmp_path_factory):
    """The CA's certificate and key, where openssl can read them."""
    folder = tmp_path_factory.mktemp("openssl")
    (folder / "ca.pem").write_bytes(pki.ca.certificate.public_bytes(Encoding.PEM))
    key = pki.ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "ca.key").write_bytes(key)
    return folder
