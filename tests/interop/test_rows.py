"""Every row of the interop table, run: what comes of it, and that a refused reply changes nothing."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from table import ROWS


def assert_delivered(bench):
    """What the CA issued, for our key, and nothing that came beside it but the way up to the CA (S-024, S-061, S-062)."""
    authority, certificate = bench.responder.authority, bench.certificate
    assert authority.records.certificate(certificate.serial_number) == certificate
    assert certificate.public_key() == bench.key.public_key()
    delivered = bench.delivered()
    assert delivered.keys() == {"gw1.pem", "chain.pem"}
    assert delivered["gw1.pem"] == certificate.public_bytes(Encoding.PEM)
    assert set(x509.load_pem_x509_certificates(delivered["chain.pem"])) <= set(authority.bundle())
    known = {"gw1.pem", "chain.pem", "gw1.toml", "device.key", "ca.crt", "state"}
    assert {path.name for path in bench.folder.iterdir()} == known


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row(row, bench_of):
    bench = bench_of(row)
    if row.renewal:
        assert bench.run().code == 0
        bench.responder.behave(bench.strange)
    before = bench.files()
    ran = bench.run(renew=row.renewal)
    assert ran.code == row.expected.exit_code, ran.said
    assert row.expected.says in ran.said
    assert all(c.isprintable() or c == "\n" for c in ran.said), ran.said  # S-060
    assert row.expected.warns is None or row.expected.warns in ran.warned
    if row.sent:
        assert row.sent.items() <= bench.sent.items()
    if row.expected.exit_code == 0:
        assert_delivered(bench)
        return
    assert getattr(ran.error, "check", None) == row.expected.check
    assert bench.files() == before
    if row.expected.check == "ca-authentication" and not row.renewal:
        assert not bench.responder.requests  # not a word to a CA that is not the one that is pinned (S-080)
    if row.expected.recovers:
        assert_recovers(bench)


def assert_recovers(bench):
    """Where nothing was changed, the CA need only behave for the certificate to come, and no second one is issued for it."""
    bench.responder.behave(bench.honest)
    again = bench.run(renew=bench.row.renewal)
    assert again.code == 0, again.said
    assert_delivered(bench)
