import pytest
from credential_fixtures import make_credential, rsa_key

from scepflow.errors import SinkError
from scepflow_bundled.rendering import common_name, key_bytes, serial_hex, sha256_hex


def test_facts_of_a_certificate_are_lower_case_hex():
    certificate = make_credential().certificate
    assert serial_hex(certificate) == "4f11"
    assert len(sha256_hex(certificate)) == 64
    assert sha256_hex(certificate) == sha256_hex(certificate).lower()


def test_a_subject_without_a_common_name_has_an_empty_one():
    assert common_name(make_credential(None).certificate) == ""
    assert common_name(make_credential("gw1").certificate) == "gw1"


def test_a_passphrase_is_never_used_for_the_traditional_encoding_in_silence():
    pem = key_bytes(rsa_key(), key_format="traditional", passphrase="hush")
    assert b"ENCRYPTED" in pem


def test_a_key_that_cannot_be_written_is_a_sink_error():
    with pytest.raises(SinkError):
        key_bytes(rsa_key(), passphrase="x" * 2000)
