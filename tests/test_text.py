import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepflow.options import PathTemplate
from scepflow.text import sanitise


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("", ""),
        ("challenge password has expired", "challenge password has expired"),
        ("Zürich 東京 🙂", "Zürich 東京 🙂"),
        ("\x1b]0;pwned\x07", "\\x1b]0;pwned\\x07"),
        ("\x1b[2K\x1b[1A", "\\x1b[2K\\x1b[1A"),
        ("one\r\ntwo\ttab", "one\\r\\ntwo\\ttab"),
        ("\x00\x7f\x9b31m", "\\x00\\x7f\\x9b31m"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("\x85next", "\\x85next"),
        ("exe.\u202egpj", "exe.\\u202egpj"),
        ("\u2066\u2069\u200e\u200f\u061c", "\\u2066\\u2069\\u200e\\u200f\\u061c"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\ud800\udfff", "\\ud800\\udfff"),
        ("a\u3164b\u115f\u1160\uffa0\u2800", "a\\u3164b\\u115f\\u1160\\uffa0\\u2800"),
        (
            "OK\u034f\ufe00\ufe0f\U000e0100\u180b",
            "OK\\u034f\\ufe00\\ufe0f\\U000e0100\\u180b",
        ),
        ("e\u0323\u0302 ก็ שָּׁ", "e\u0323\u0302 ก็ שָּׁ"),
        ("z" + "\u0310" * 5 + "\u20dd", "z" + "\u0310" * 3 + "\\u0310" * 2 + "\\u20dd"),
        ("\ue000\U000e0041", "\\ue000\\U000e0041"),
    ],
)
def test_what_could_fool_a_terminal_or_a_reader_is_escaped(text, safe):
    assert sanitise(text) == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("Zürich".encode(), "Zürich"),
        (b"Z\xfcrich", "Z\\xfcrich"),
        (b"\xff\xfe\x00", "\\xff\\xfe\\x00"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"\xc0\xaf", "\\xc0\\xaf"),
        (b"\xe2\x80\xaeabc", "\\u202eabc"),
        (b"cut \xe2\x80", "cut \\xe2\\x80"),
    ],
)
def test_bytes_are_read_as_utf8_and_what_is_not_is_shown_as_hexadecimal(text, safe):
    assert sanitise(text) == safe


@pytest.mark.parametrize("character", ["a", "é", "東", "🙂"])
@pytest.mark.parametrize("encoded", [False, True])
def test_text_longer_than_the_limit_ends_in_an_ellipsis(character, encoded):
    def sent(count):
        return (character * count).encode() if encoded else character * count

    assert sanitise(sent(10), limit=10) == character * 10
    assert sanitise(sent(11), limit=10) == character * 9 + "…"
    assert sanitise(sent(100_000)) == character * 199 + "…"


def test_text_that_grows_by_escaping_keeps_to_the_limit():
    assert sanitise("\x1b" * 50, limit=10) == "\\x1b\\x1b\\" + "…"


def test_a_limit_of_one_is_kept():
    assert sanitise("ab", limit=1) == "…"
    assert sanitise("a", limit=1) == "a"


@given(st.text() | st.text(st.characters(categories=["C", "Z"])) | st.binary(), st.integers(1, 50))
def test_the_result_is_one_line_of_visible_text_within_the_limit(text, limit):
    safe = sanitise(text, limit=limit)
    assert len(safe) <= limit
    assert len(safe.splitlines()) <= 1
    assert not [c for c in safe if unicodedata.category(c)[0] == "C"]
    assert json.loads(json.dumps(safe.encode().decode())) == safe


def test_what_comes_back_is_plain_text_even_for_a_subclass():
    assert type(sanitise(PathTemplate("gw1.key"))) is str
