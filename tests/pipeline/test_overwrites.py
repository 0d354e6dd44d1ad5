"""Sinks that would replace each other's files, or what the pipeline is made of, with the bundled stages."""

import pytest

from scepflow.pipeline import check_pipeline
from scepflow.registry import Registry

GOOD = """
[ca]
url = "http://pki.example.com/scep"
certificate = "ca.pem"
[csr]
subject = "CN=gw1"
challenge = {{ file = "challenge" }}
[sink.file]
key = "gw1.key"
cert = "gw1.crt"
{more}
"""


@pytest.fixture
def errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def check(more):
        (tmp_path / "gw1.toml").write_text(GOOD.format(more=more))
        return check_pipeline("gw1.toml", Registry.discover()).errors

    return check


def test_files_of_their_own_are_fine(errors):
    assert errors('[sink.p]\nuse = "pkcs12"\npath = "gw1.p12"\npassword = { env = "P" }') == ()


@pytest.mark.parametrize(
    ("more", "where", "said"),
    [
        (
            '[sink.f2]\nuse = "file"\ncert = "./gw1.key"',
            "sink.f2.cert",
            "written by sink.file.key (gw1.toml:9)",
        ),
        ('[sink.f2]\nuse = "file"\ncert = "x/../gw1.toml"', "sink.f2.cert", "a pipeline file"),
        ('[sink.f2]\nuse = "file"\ncert = "challenge"', "sink.f2.cert", "read by csr.challenge"),
        ('[sink.f2]\nuse = "file"\ncert = "ca.pem"', "sink.f2.cert", "read by ca.certificate"),
        (
            '[sink.p]\nuse = "pkcs12"\npath = "gw1.crt"\npassword = { env = "P" }',
            "sink.p.path",
            "written by sink.file.cert",
        ),
        (
            '[sink.i]\nuse = "isakmpd"\nbase = "i"\n[sink.f2]\nuse = "file"\nkey = "i/private/local.key"',
            "sink.f2.key",
            "written by sink.i",
        ),
    ],
)
def test_a_file_that_is_needed_is_not_replaced(errors, more, where, said):
    (error,) = errors(more)
    assert error.where == where
    assert said in error.message
    assert error.line
