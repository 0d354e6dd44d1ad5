"""Settings → pipeline text: what each option becomes."""

import pytest
import tomli
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.sscep.comments import commented_pipeline
from scepflow.sscep.engine import Token
from scepflow.sscep.options import parse_arguments
from scepflow.sscep.pipeline_of import pipeline_text

ENROLL = "enroll -u http://h/x -c ca.crt -k l.key -r l.csr -l l.crt"


def tables(line, **options):
    settings = parse_arguments(line.split(), program="sscep", environment={})
    return tomli.loads(pipeline_text(settings, **options))


def test_the_plain_enrollment():
    assert tables(ENROLL) == {
        "ca": {
            "url": "http://h/x",
            "fetch_certificates": False,
            "certificate": "ca.crt",
            "signing_certificate": "ca.crt",
        },
        "transport": {"use": "direct", "timeout": "120s", "idle_timeout": "120s"},
        "key": {"use": "file", "path": "l.key"},
        "csr": {"use": "file", "path": "l.csr"},
        "signer": {"use": "self-signed"},
        "poller": {"use": "fixed", "interval": "300s", "max_time": "28800s", "max_count": 95},
        "sink": {"file": {"cert": "l.crt"}},
    }


@pytest.mark.parametrize(
    ("words", "table", "expected"),
    [
        ("-E des", "ca", {"cipher": "des-cbc", "security": "legacy"}),
        ("-S md5", "ca", {"digest": "md5", "security": "legacy"}),
        ("-E 3des -S sha1", "ca", {"cipher": "3des-cbc", "digest": "sha-1"}),
        ("-S sha384", "signer", {"use": "self-signed", "digest": "sha-384"}),
        ("-S sha1", "signer", {"use": "self-signed", "digest": None}),
        ("-e enc.crt", "ca", {"encryption_certificate": "enc.crt"}),
        ("-c ab12", "ca", {"signing_certificate": "./ab12", "certificate": "ab12"}),
        ("-p proxy", "transport", {"use": "proxy", "url": "http://proxy:80", "idle_timeout": "120s"}),
        ("-p proxy:3128", "transport", {"use": "proxy", "url": "http://proxy:3128"}),
        ("-p https://proxy", "transport", {"use": "proxy", "url": "https://proxy:80"}),
        ("-p a{b}", "transport", {"url": "http://a{{b}}:80"}),
        ("-p m{e}@proxy", "transport", {"url": "http://proxy:80", "user": "m{{e}}", "password": None}),
        ("-l a\x7fb.crt", "sink", {"file": {"cert": "a\x7fb.crt"}}),
        ("-P env:PASS", "key", {"passphrase": {"env": "PASS"}}),
        ("-K o.key -O o.crt", "signer", {"use": "existing", "certificate": "o.crt", "key": "o.key"}),
        ("-t -5", "poller", {"interval": "300s", "max_count": 256}),
        ("-t 0 -T 0", "poller", {"max_count": 0}),
        ("-l a{b}.crt", "sink", {"file": {"cert": "a{{b}}.crt"}}),
        ("-M a=b", "ca", {"url": "http://h/x?a=b"}),
    ],
)
def test_an_option_becomes_a_line(words, table, expected):
    found = tables(f"{ENROLL} {words}")[table]
    assert {key: found.get(key) for key in expected} == expected


def test_the_least_bits_of_a_key_are_those_of_the_key_source_unless_given():
    assert tables(ENROLL, min_bits=1024)["key"] == {"use": "file", "path": "l.key", "min_bits": 1024}


def test_a_typed_pass_phrase_is_not_in_the_text():
    assert "hush" not in str(tables(f"{ENROLL} -P pass:hush"))


def test_a_proxy_s_password_is_not_in_the_text():
    assert "hush" not in str(tables(f"{ENROLL} -p me:hush@proxy"))


def test_a_token_s_library_is_named_as_it_is():
    assert tables(ENROLL, token=Token(module="/opt/{x}/p11.so"))["key"]["module"] == "/opt/{{x}}/p11.so"


@pytest.mark.parametrize(("given", "expected"), [("", "CAIdentifier"), ("-i my", "my"), ("-i=", "=")])
def test_getca_names_the_ca(given, expected):
    assert tables(f"getca -u http://h/x -c ca.crt {given}")["ca"]["identifier"] == expected


def test_an_empty_identifier_is_none():
    settings = parse_arguments(
        ["getca", "-u", "http://h/x", "-c", "c", "-i", ""], program="sscep", environment={}
    )
    assert "identifier" not in pipeline_text(settings)


# -- with what import says above it


def commented(line, folder, monkeypatch):
    monkeypatch.chdir(folder)
    settings = parse_arguments(line.split(), program="sscep", environment={}, complete=False)
    return commented_pipeline(settings, origin="x")


@pytest.mark.parametrize(
    ("line", "remark"),
    [
        ("enroll -k l.key", "MISSING: the CA certificate (-c, CACertFile)"),
        ("getcert", "MISSING: the serial number (-s, GetCertSerial)."),
        ("getcert -s 31", "getcert issues nothing: scepflow getcert PIPELINE --serial 1f --output FILE"),
        ("enroll -c none", "none cannot be read now"),
        ("enroll -c ca.crt", "ca.crt-0, -1, …: these were chosen by their key usage"),
        ("enroll -c ca.crt", 'No CA certificate is known, hence relax = ["chain"]'),
    ],
)
def test_what_a_command_lacks_or_loses_is_said(line, remark, tmp_path, monkeypatch, ra_authority):
    ra = ra_authority.ra.signing.certificate.public_bytes(Encoding.PEM)
    (tmp_path / "ca.crt-0").write_bytes(ra)
    assert f"\n# {remark}" in commented(line, tmp_path, monkeypatch)
