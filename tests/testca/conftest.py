"""Keys are slow to make: one of each for all tests of the test CA."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from scepflow.testca.authority import Authority, RaPair

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def ca_credentials():
    """One CA with an RA; tests take what they need through `authority` and `ra_authority`."""
    return Authority.create(now=NOW, ra=True)


@pytest.fixture
def ra_authority(ca_credentials):
    """A CA with an RA and an empty memory."""
    return Authority(ca_credentials.ca, ra=RaPair(ca_credentials.signing, ca_credentials.encryption))


@pytest.fixture
def authority(ca_credentials):
    """A CA without an RA and with an empty memory."""
    return Authority(ca_credentials.ca)


@pytest.fixture(scope="session")
def client_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def other_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())
