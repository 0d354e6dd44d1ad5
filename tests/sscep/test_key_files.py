"""What can be seen of a key file."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.sscep.key_files import KeyFile, look_at_key


def test_an_ec_key_has_no_length_that_counts(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert look_at_key(str(tmp_path / "key")) == KeyFile()


def test_an_encrypted_key_tells_that_and_no_more(tmp_path):
    (tmp_path / "key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert look_at_key(str(tmp_path / "key")) == KeyFile(encrypted=True)


@pytest.mark.parametrize("name", [None, "none", "fifo", "x" * 300, "\0", "."])
def test_what_is_no_file_is_left_alone(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    assert look_at_key(name) == KeyFile()
