from base64 import b64encode, encodebytes

import pytest

from scepflow.engine.exchange import HttpResponse, cms_body, http_error
from scepflow.errors import ProtocolError, TransportError

CMS = b"\x30\x82\x01\x05" + bytes(range(256)) + b"\x0a\x20\x0d\x09\x00"


@pytest.mark.parametrize("status", [200, 202, 400, 404, 500, 503])
def test_a_cms_body_counts_whatever_the_status(status):
    """OpenXPKI sends PENDING with 202 and FAILURE with 4xx (Q-051)."""
    assert cms_body(HttpResponse(status=status, body=CMS)) == CMS


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/octet-stream", ""])
def test_the_content_type_of_a_reply_does_not_matter(content_type):
    assert cms_body(HttpResponse(status=200, headers={"content-type": content_type}, body=CMS)) == CMS


def test_blanks_before_a_cms_body_are_skipped_and_none_after_it_taken_off():
    assert cms_body(HttpResponse(status=200, body=b"\r\n " + CMS)) == CMS


@pytest.mark.parametrize("encode", [b64encode, encodebytes])
def test_a_base64_body_is_decoded(encode):
    assert cms_body(HttpResponse(status=200, body=encode(CMS))) == CMS


def test_a_body_that_only_begins_like_base64_is_quoted():
    with pytest.raises(ProtocolError, match=r'"MII\? No"'):
        cms_body(HttpResponse(status=200, body=b"MII? No"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an empty body"),
        (b"try later", 'the text: "try later"'),
        (b" <html><body>Access\n denied</body></html>", 'a web page: "Access denied"'),
        (b'{"error": 1}', 'the text: "{"error": 1}"'),
        (b"\x89PNG\0\x01", "6 bytes of binary data"),
        (b"bad \xff\x1b[31m", r'the text: "bad \xff\x1b[31m"'),
    ],
)
def test_200_without_a_reply_is_a_protocol_error_that_quotes_what_came(body, said):
    with pytest.raises(ProtocolError) as error:
        cms_body(HttpResponse(status=200, body=body))
    assert error.value.message == f"the server answered with {said}, not with a reply"
    assert error.value.hint.startswith("is this the address of the SCEP service?")
    assert ("wants a login" in error.value.hint) == ("a web page" in said)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_page_of_ndes_for_challenges_is_told_by_its_words(encoding):
    body = "<html><p>The enrollment challenge password is: <b>8D0F6F2B54C8C0E1</b></html>".encode(encoding)
    with pytest.raises(ProtocolError) as error:
        cms_body(HttpResponse(status=200, body=body))
    assert "where NDES gives out challenges" in error.value.hint
    assert "8D0F6F2B54C8C0E1" not in f"{error.value.message}{error.value.hint}"


def test_what_is_quoted_is_short():
    error = http_error(HttpResponse(status=500, body=b"x" * 100_000), what="reply")
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("status", "retryable", "hint"),
    [
        (202, False, None),
        (301, False, None),
        (400, False, None),
        (401, False, "wants a login"),
        (403, False, "path"),
        (404, False, "path"),
        (405, False, "path"),
        (407, False, "proxy"),
        (413, False, "too large"),
        (414, False, 'method = "POST"'),
        (429, True, "try again"),
        (500, False, "may have been issued"),
        (501, False, "path"),
        (502, True, "may have been issued"),
        (503, True, "try again"),
        (504, True, "may have been issued"),
        (511, False, "wants a login"),
    ],
)
def test_a_status_without_a_reply_is_a_transport_error(status, retryable, hint):
    with pytest.raises(TransportError, match=f'HTTP {status} with the text: "no"') as error:
        cms_body(HttpResponse(status=status, body=b"no"))
    assert (error.value.status, error.value.retryable) == (status, retryable)
    assert hint in error.value.hint if hint else error.value.hint is None


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        ("application/x-pki-message", "application/x-pki-message"),
        ("Text/Plain; charset=UTF-8", "text/plain"),
        (None, ""),
    ],
)
def test_the_content_type_has_no_parameters(header, media_type):
    headers = {} if header is None else {"content-type": header}
    assert HttpResponse(status=200, headers=headers).content_type == media_type
