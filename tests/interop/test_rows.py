"""Every row of the interop table, run: what comes of it, and that a refused reply changes nothing."""

import pytest
from table import ROWS


def issued_by(bench):
    return [certificate for _, certificate in bench.responder.issued]


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
    assert row.expected.warns is None or row.expected.warns in ran.warned
    if row.expected.exit_code == 0:
        assert bench.certificate in issued_by(bench)
        assert bench.certificate.public_key() == bench.key.public_key()
        return
    assert getattr(ran.error, "check", None) == row.expected.check
    assert bench.files() == before
    if row.expected.recovers:
        assert_recovers(bench)


def assert_recovers(bench):
    """Where nothing was changed, the CA need only behave for the certificate to come, and no second one is issued for it."""
    bench.responder.behave(bench.honest)
    again = bench.run(renew=bench.row.renewal)
    assert again.code == 0, again.said
    assert bench.certificate in issued_by(bench)
