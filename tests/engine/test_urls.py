from base64 import b64decode
from urllib.parse import parse_qs, parse_qsl, unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepflow.engine.urls import check_url, operation_url
from scepflow.errors import OptionError


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h", "http://h/cgi-bin/pkiclient.exe?operation=GetCACaps"),
        ("http://h/", "http://h/cgi-bin/pkiclient.exe?operation=GetCACaps"),
        ("http://h?x=1", "http://h/cgi-bin/pkiclient.exe?x=1&operation=GetCACaps"),
        ("http://embedded/scep", "http://embedded/scep?operation=GetCACaps"),
        ("HTTPS://PKI.example.com:8443/Scep", "https://PKI.example.com:8443/Scep?operation=GetCACaps"),
        ("http://h/certsrv/mscep/", "http://h/certsrv/mscep/?operation=GetCACaps"),
        ("http://h/certsrv/mscep/mscep.dll", "http://h/certsrv/mscep/mscep.dll?operation=GetCACaps"),
        ("http://h//", "http://h//?operation=GetCACaps"),
        ("http://h/a%20b/../c;d=1", "http://h/a%20b/../c;d=1?operation=GetCACaps"),
        ("http://h/scep?profile=a&x=%2B", "http://h/scep?profile=a&x=%2B&operation=GetCACaps"),
        ("http://h/scep?", "http://h/scep?operation=GetCACaps"),
        ("http://h/scep?x=1&", "http://h/scep?x=1&operation=GetCACaps"),
        ("http://192.0.2.7:1/s", "http://192.0.2.7:1/s?operation=GetCACaps"),
        ("http://[2001:db8::7]:65535/s", "http://[2001:db8::7]:65535/s?operation=GetCACaps"),
        ("http://my_host.example", "http://my_host.example/cgi-bin/pkiclient.exe?operation=GetCACaps"),
    ],
)
def test_the_configured_address_is_kept_and_the_operation_added(base, url):
    check_url(base)
    assert operation_url(base, "GetCACaps") == url


def test_a_message_goes_as_base64_with_plus_slash_and_equals_encoded():
    url = operation_url("http://h/s", "PKIOperation", message=b"\xfb\xef\xff\xff")
    assert url == "http://h/s?operation=PKIOperation&message=%2B%2B%2F%2F%2Fw%3D%3D"


def test_an_identifier_goes_as_percent_encoded_utf8():
    url = operation_url("http://h/s?x=1", "GetCACert", message="Zürich CA+1&a=b\n~")
    assert url == "http://h/s?x=1&operation=GetCACert&message=Z%C3%BCrich%20CA%2B1%26a%3Db%0A~"


def test_an_empty_identifier_is_sent_and_none_is_left_out():
    assert operation_url("http://h/s", "GetCACert", message="").endswith("?operation=GetCACert&message=")
    assert operation_url("http://h/s", "GetCACert", message=None).endswith("?operation=GetCACert")


@given(st.binary(max_size=400))
def test_every_message_comes_out_whole_on_the_other_side(message):
    query = urlsplit(operation_url("http://h/s?a=b", "PKIOperation", message=message)).query
    assert query.isascii()
    (sent,) = parse_qs(query, keep_blank_values=True)["message"]
    assert b64decode(sent, validate=True) == message


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_identifier_comes_out_whole_on_the_other_side(identifier):
    url = operation_url("http://h/s?a=b", "GetCACert", message=identifier)
    assert url.isascii()
    assert url.isprintable()
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True)[1:] == [
        ("operation", "GetCACert"),
        ("message", identifier),
    ]
    assert unquote_to_bytes(url.rpartition("=")[2]) == identifier.encode()


@pytest.mark.parametrize(
    ("base", "what"),
    [
        ("", "not an http or https address"),
        ("pki.example.com/scep", "not an http or https address"),
        ("ftp://h/s", "not an http or https address"),
        ("http:/h/s", "not an http or https address"),
        ("file:///etc/passwd", "not an http or https address"),
        ("\nhttp://h/s", "not an http or https address"),
        ("http://", "no usable host"),
        ("http:///s", "no usable host"),
        ("http://:80/s", "no usable host"),
        ("http://h:/s", "no usable host"),
        ("http://h:80x/s", "no usable host"),
        ("http://h:123456/s", "no usable host"),
        ("http://h\r\nX-Evil: 1/s", "no usable host"),
        ("http://bücher.example/s", "no usable host"),
        ("http://a b/s", "no usable host"),
        ("http://h\\evil/s", "no usable host"),
        ("http://[::1/s", "no usable host"),
        ("http://::1/s", "no usable host"),
        ("http://[]/s", "no usable host"),
        ("http://[1.2.3.4]/s", "no usable host"),
        ("http://[fe80::1%eth0]/s", "no usable host"),
        ("http://h:0/s", "port 0"),
        ("http://h:65536/s", "port 65536"),
        ("http://user:secret@h/s", "user name"),
        ("http://h@evil/s", "user name"),
        ("http://h/s#part", "fragment"),
        ("http://h/s#", "fragment"),
        ("http://h/s?a=1#\n", "fragment"),
        ("http://h/a b", "no URL may have"),
        ("http://h/s\r\nX-Evil: 1", "no URL may have"),
        ("http://h/s\x7f", "no URL may have"),
        ("http://h/zürich", "no URL may have"),
        ("http://h/s?q=\u202e", "no URL may have"),
        ("http://h/100%", "no URL may have"),
        ("http://h/%zz", "no URL may have"),
        ("http://h/%4", "no URL may have"),
        ("http://h/s?x={device.serial}", "no URL may have"),
        ("http://h/s?operation=GetCACert", 'already has "operation="'),
        ("http://h/s?x=1&message=ca", 'already has "message="'),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(base, what):
    for use in (check_url, lambda url: operation_url(url, "GetCACaps")):
        with pytest.raises(OptionError, match=what) as caught:
            use(base)
        assert caught.value.hint
        assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_an_identifier_that_is_no_text_is_refused():
    with pytest.raises(OptionError, match="not valid Unicode"):
        operation_url("http://h/s", "GetCACert", message="\udcff")


@given(st.text() | st.builds("http://{}/{}?{}".format, st.text(), st.text(), st.text()))
def test_any_text_is_either_refused_or_makes_a_plain_address(base):
    try:
        url = operation_url(base, "GetCACaps")
    except OptionError:
        return
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url
    assert urlsplit(url).query.endswith("operation=GetCACaps")
