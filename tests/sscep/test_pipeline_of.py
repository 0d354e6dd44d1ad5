"""Settings → pipeline text: what each option becomes."""

import pytest
import tomli

from scepflow.sscep.options import parse_arguments
from scepflow.sscep.pipeline_of import pipeline_text

ENROLL = "enroll -u http://h/x -c ca.crt -k l.key -r l.csr -l l.crt"


def tables(line, **options):
    settings = parse_arguments(line.split(), program="sscep", environment={})
    return tomli.loads(pipeline_text(settings, **options))


def test_the_plain_enrollment():
    assert tables(ENROLL, mode=0o600) == {
        "ca": {
            "url": "http://h/x",
            "fetch_certificates": False,
            "certificate": "ca.crt",
            "signing_certificate": "ca.crt",
        },
        "key": {"use": "file", "path": "l.key"},
        "csr": {"use": "file", "path": "l.csr"},
        "signer": {"use": "self-signed"},
        "poller": {"use": "fixed", "interval": "300s", "max_time": "28800s", "max_count": 95},
        "sink": {"file": {"cert": "l.crt", "mode": "0600"}},
    }


@pytest.mark.parametrize(
    ("words", "table", "expected"),
    [
        ("-E des", "ca", {"cipher": "des-cbc", "security": "legacy"}),
        ("-S md5", "ca", {"digest": "md5", "security": "legacy"}),
        ("-E 3des -S sha1", "ca", {"cipher": "3des-cbc", "digest": "sha-1"}),
        ("-e enc.crt", "ca", {"encryption_certificate": "enc.crt"}),
        ("-c ab12", "ca", {"signing_certificate": "./ab12", "certificate": "ab12"}),
        ("-p proxy", "transport", {"use": "proxy", "url": "http://proxy:80"}),
        ("-p proxy:3128", "transport", {"use": "proxy", "url": "http://proxy:3128"}),
        ("-p https://proxy", "transport", {"use": "proxy", "url": "https://proxy:80"}),
        ("-P env:PASS", "key", {"passphrase": {"env": "PASS"}}),
        ("-K o.key -O o.crt", "signer", {"use": "existing", "certificate": "o.crt", "key": "o.key"}),
        ("-t -5", "poller", {"interval": "300s", "max_count": 256}),
        ("-t 0 -T 0", "poller", {"max_count": 0}),
        ("-l a{b}.crt", "sink", {"file": {"cert": "a{{b}}.crt", "mode": "0644"}}),
        ("-M a=b", "ca", {"url": "http://h/x?a=b"}),
    ],
)
def test_an_option_becomes_a_line(words, table, expected):
    found = tables(f"{ENROLL} {words}")[table]
    assert {key: found.get(key) for key in expected} == expected


def test_a_typed_pass_phrase_is_not_in_the_text():
    assert "hush" not in str(tables(f"{ENROLL} -P pass:hush"))


@pytest.mark.parametrize(("given", "expected"), [("", "CAIdentifier"), ("-i my", "my"), ("-i=", "=")])
def test_getca_names_the_ca(given, expected):
    assert tables(f"getca -u http://h/x -c ca.crt {given}")["ca"]["identifier"] == expected


def test_an_empty_identifier_is_none():
    settings = parse_arguments(
        ["getca", "-u", "http://h/x", "-c", "c", "-i", ""], program="sscep", environment={}
    )
    assert "identifier" not in pipeline_text(settings)
