from __future__ import annotations

import stat

import pytest

from scepflow.testca.records import Records, Transaction, write_file


def transaction(**changes):
    known = {"transaction_id": "T1", "status": "pending", "csr_pem": "ab", "signer_sha256": "cd"}
    return Transaction(**{**known, **changes})


@pytest.fixture(params=["memory", "directory"])
def records(request, tmp_path):
    return Records(tmp_path if request.param == "directory" else None)


def test_a_transaction_is_found_again_as_it_was_last(records):
    assert records.transaction("T1") is None
    records.remember(transaction(polls_left=3))
    records.remember(transaction(status="issued", serial=7))
    assert records.transaction("T1") == transaction(status="issued", serial=7)


def test_a_challenge_can_be_spent_once(records):
    assert records.spend("secret")
    assert not records.spend("secret")
    assert records.spend("another")


def test_the_first_revocation_counts(records, now):
    records.revoke(255, now)
    records.revoke(255, now.replace(year=2027))
    assert records.revoked() == {255: now}


def test_an_unknown_serial_has_no_certificate(records):
    assert records.certificate(1) is None


def test_a_client_cannot_choose_a_file_by_its_transaction_id(tmp_path):
    records = Records(tmp_path / "ca")
    records.remember(transaction(transaction_id="../../outside"))
    assert [path.name for path in tmp_path.iterdir()] == ["ca"]
    assert records.transaction("../../outside") is not None


def test_a_spent_challenge_is_not_kept_in_clear(tmp_path):
    Records(tmp_path).spend("hunter2secret")
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert stored
    assert not any("hunter2secret" in path.name or b"hunter2secret" in path.read_bytes() for path in stored)


def test_records_are_for_their_owner_only(tmp_path):
    """A CSR carries its challenge."""
    Records(tmp_path).remember(transaction())
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in stored] == [0o600]


def test_what_one_process_records_another_sees(tmp_path):
    one, other = Records(tmp_path), Records(tmp_path)
    one.remember(transaction())
    assert other.transaction("T1") == transaction()


def test_memory_moves_to_a_directory(tmp_path):
    records = Records()
    records.remember(transaction())
    records.keep_in(tmp_path)
    assert Records(tmp_path).transaction("T1") == transaction()


def test_a_file_is_replaced_with_its_mode(tmp_path):
    target = tmp_path / "new" / "file"
    write_file(target, b"one", mode=0o600)
    write_file(target, b"two", mode=0o640)
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        write_file(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
