from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scepflow.engine.capabilities import (
    KEYWORDS,
    MAX_BYTES,
    MAX_LINES,
    NONE,
    Capabilities,
    parse_capabilities,
)

PROPERTIES = {
    "AES": "aes",
    "GetNextCACert": "next_ca",
    "POSTPKIOperation": "post",
    "Renewal": "renewal",
    "SCEPStandard": "standard",
    "SHA-256": "sha256",
    "SHA-512": "sha512",
}


def true_properties(capabilities):
    return {name for name in PROPERTIES.values() if getattr(capabilities, name)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", " \t\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_every_keyword_is_read_whatever_ends_its_line(end, last):
    body = (end.join(KEYWORDS) + last).encode()
    assert parse_capabilities(body) == Capabilities(names=frozenset(KEYWORDS))


@pytest.mark.parametrize(("keyword", "name"), PROPERTIES.items())
def test_a_keyword_sets_its_property_and_no_other(keyword, name):
    implied = {"aes", "post", "sha256"} if keyword == "SCEPStandard" else set()
    assert true_properties(parse_capabilities(keyword.encode())) == {name} | implied


@pytest.mark.parametrize(
    "sent", ["sha-256", "SHA-256 ", "\tSha-256", "\ufeffSHA-256", "\ufeff\r\n sHa-256\t"]
)
def test_case_blanks_and_a_byte_order_mark_do_not_matter(sent):
    assert parse_capabilities(sent.encode()) == Capabilities(names=frozenset({"SHA-256"}))


@pytest.mark.parametrize(
    "line",
    [
        "AES256",
        "AES-128",
        "AE",
        "SHA-128",
        "SHA2",
        "SHA256",
        "AES,DES3",
        "AES DES3",
        "Update",
        "POSTP\u212aIOperation",
    ],
)
def test_what_only_resembles_a_keyword_is_unknown(line):
    assert parse_capabilities(f"{line}\nRenewal".encode()) == Capabilities(frozenset({"Renewal"}), (line,))


def test_unknown_lines_keep_their_order_and_are_made_safe_to_show():
    found = parse_capabilities(b"Example.com-Fast\nAES\n\x1b]0;pwned\x07\n\xff\xfe\n" + b"x" * 500)
    assert found.names == {"AES"}
    assert found.unknown[:3] == ("Example.com-Fast", "\\x1b]0;pwned\\x07", "\\xff\\xfe")
    assert found.unknown[3] == "x" * 79 + "…"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n" * 10,
        b" \r\n\t",
        b"<html>\nAES\n</html>",
        b"\xef\xbb\xbf \r\n<!DOCTYPE html>\nAES\n",
        b"AES\n\0",
        "AES\nDES3".encode("utf-16"),
        b"AES\n" + b"x" * MAX_BYTES,
        b"AES\n" * (MAX_LINES + 1),
        b"AES\n" + b"\n".join(b"%d" % n for n in range(MAX_LINES)),
    ],
)
def test_what_is_no_list_of_keywords_offers_nothing(body):
    assert parse_capabilities(body) == NONE


def test_a_thousand_lines_and_64_kib_are_still_read():
    lines = [b"AES", *(b"%061d" % n for n in range(MAX_LINES - 1))]
    found = parse_capabilities(b"\n".join(lines))
    assert found.aes
    assert len(found.unknown) == MAX_LINES - 1
    assert parse_capabilities(b"AES\n" + b"x" * (MAX_BYTES - 4)).aes


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
@example(b"\xef\xbb\xbf")
@example(b"\xed\xa0\x80")
def test_any_body_gives_known_names_and_printable_text(body):
    found = parse_capabilities(body)
    assert found.names <= set(KEYWORDS)
    assert not [c for line in found.unknown for c in line if category(c)[0] == "C" or c in "\u2028\u2029"]
