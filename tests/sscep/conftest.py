"""A CA on loopback and a folder with a request, for the tests of the reference."""

import pytest
from reference_fixtures import LONG_AGO, Exchange, Script, new_ca, new_key, new_request

from scepflow.testca import Authority, serve


@pytest.fixture(scope="session")
def plain_authority():
    """A CA that answers itself."""
    return Authority.create(now=LONG_AGO)


@pytest.fixture(scope="session")
def ra_authority():
    """A CA with an RA pair."""
    return Authority.create(now=LONG_AGO, ra=True)


@pytest.fixture(scope="session")
def device_key():
    """The key of local.key: making one takes a tenth of a second."""
    return new_key()


@pytest.fixture(scope="session")
def served():
    """A listening server whose CA is put in by each test, and its address."""
    exchange = Exchange()
    with serve(exchange) as server:
        yield exchange, server.url


@pytest.fixture
def start(tmp_path, monkeypatch, served, device_key):
    """Return a function that makes a folder for a CA's clients; no certificate is in it."""

    def start(authority, **knobs):
        exchange, url = served
        exchange.ca = new_ca(authority, **knobs)
        monkeypatch.chdir(tmp_path)
        script = Script(tmp_path, exchange.ca, url)
        script.write("local.key", device_key)
        script.write("local.csr", new_request(device_key))
        return script

    return start


@pytest.fixture
def script(start, plain_authority):
    """A folder with key, request and the certificate of a CA without an RA."""
    script = start(plain_authority)
    script.write("ca.crt", plain_authority.ca.certificate)
    return script


@pytest.fixture
def ra_script(start, ra_authority):
    """A folder with key and request; the CA has an RA, and none of their certificates is there yet."""
    return start(ra_authority)
