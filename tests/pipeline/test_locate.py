import json

import pytest
import tomli
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scepflow.pipeline.locate import Source, dotted, find_repetition, locate


def every_path(value, path=()):
    """Yield every key path in what tomli returned, with its value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key), inner
        if isinstance(inner, dict | list):
            yield from every_path(inner, (*path, key))


def assert_everything_is_located(text):
    places = locate(text)
    paths = dict(every_path(tomli.loads(text)))
    assert paths.keys() == places.keys()
    for path, value in paths.items():
        key, place = places[path]
        written = text[place.start : place.end]
        is_header = place.start < key.start
        is_named_by_dots = isinstance(value, dict) and not written.startswith("{")
        if not is_header and not is_named_by_dots:
            assert tomli.loads(f"v = {written}")["v"] == value
        if isinstance(path[-1], str):
            assert tomli.loads(f"{text[key.start : key.end]} = 1") == {path[-1]: 1}


# -- a generator of documents, each value written in one of the ways that TOML has

SPACE = st.sampled_from(["", " ", "\t", "  "])
LINES = st.sampled_from(["", " ", "\n", " # a ] } \" ' comment\n ", "\n\t\n"])
TEXT = st.text(st.sampled_from("ab\"'\\#=[]{},.\n\té "), max_size=8)


def basic(text):
    return json.dumps(text, ensure_ascii=False)


@st.composite
def keys(draw):
    name = draw(st.text(st.sampled_from("abc-_1"), min_size=1, max_size=3) | TEXT)
    styles = [basic(name)]
    if name and not set(name) - set("abc-_1"):
        styles.append(name)
    if not set(name) & {"'", "\n"}:
        styles.append(f"'{name}'")
    return draw(st.sampled_from(styles))


@st.composite
def strings(draw):
    text = draw(TEXT)
    styles = [basic(text), f'"""\n{text}"""', f"'''{text}'''", f'"""{text}""', f"'{text}'"]
    return draw(st.sampled_from(styles))


NUMBERS = ["1", "-3", "0x1F", "1_000", "1.5", "6e-3", "inf", "true", "false"]
TIMES = [
    "1979-05-27",
    "07:32:00",
    "1979-05-27T07:32:00Z",
    "1979-05-27 07:32:00.5",
    "1979-05-27 07:32:00-07:00",
]
QUOTES = ['""""a"""""', "''''a'''''"]
SCALARS = strings() | st.sampled_from([*NUMBERS, *TIMES, *QUOTES])


@st.composite
def dotted_keys(draw):
    parts = draw(st.lists(keys(), min_size=1, max_size=3))
    return "".join([parts[0], *(f"{draw(SPACE)}.{draw(SPACE)}{part}" for part in parts[1:])])


@st.composite
def collections(draw, inner):
    opening, closing = draw(st.sampled_from(["[]", "{}"]))
    items = []
    for value in draw(st.lists(inner, max_size=3)):
        pair = f"{draw(dotted_keys())}{draw(SPACE)}={draw(SPACE)}{value}" if opening == "{" else value
        items.append(f"{draw(LINES)}{pair}{draw(LINES)}")
    comma = draw(st.sampled_from(["", f",{draw(LINES)}"])) if items else draw(LINES)
    return f"{opening}{','.join(items)}{comma}{closing}"


VALUES = st.recursive(SCALARS, collections, max_leaves=5)


@st.composite
def statements(draw):
    key = draw(dotted_keys())
    end = draw(st.sampled_from(["\n", " # comment\n", "\n\n"]))
    kind = draw(st.sampled_from(["pair", "pair", "table", "array"]))
    if kind == "pair":
        return f"{draw(SPACE)}{key}{draw(SPACE)}={draw(SPACE)}{draw(VALUES)}{end}"
    opening, closing = ("[", "]") if kind == "table" else ("[[", "]]")
    return f"{draw(SPACE)}{opening}{draw(SPACE)}{key}{draw(SPACE)}{closing}{end}"


@settings(max_examples=120, deadline=None)
@given(st.lists(statements(), max_size=8))
def test_every_value_that_tomli_finds_is_located(document):
    text = ""
    for statement in document:
        try:
            tomli.loads(text + statement)
        except tomli.TOMLDecodeError:
            continue  # the statement does not fit what is there
        text += statement
    assume(text)
    assert_everything_is_located(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "a = 1",
        "[a]",
        "a.b.c = 1\na.d = 2",
        "[a.b]\nc = 1\n[a]\nd = 2",
        "[[x]]\ny = 1\n[x.z]\nw = 2\n[[x]]\n[[x.v]]\nu = 1\n[[x.v]]",
        "[x]\n[[x.y.z]]\na = [[1, 2], [{b.c = 3}]]",
        "a = {\n  b = 1, # one\n  c = [\n 2,\n ],\n}",
        'a = """\\\n   x\\""" """\nb = 2',
    ],
)
def test_the_ways_to_write_a_table_are_located(text):
    assert_everything_is_located(text)


def test_a_place_is_line_and_column_of_key_and_value():
    source = Source.of("x.toml", "[a]\r\n  key = 'é'  # c\r\n[b . c]\r\nd.e = [\r\n1,\r\n  2]\r\n")

    def at(*path):
        key, value = source.places[path]
        return source.position(key.start), source.position(value.start)

    assert at("a") == ((1, 2), (1, 1))
    assert at("a", "key") == ((2, 3), (2, 9))
    assert at("b") == ((3, 2), (3, 1))
    assert at("b", "c") == ((3, 6), (3, 1))
    assert at("b", "c", "d") == ((4, 1), (4, 1))
    assert at("b", "c", "d", "e") == ((4, 3), (4, 7))
    assert at("b", "c", "d", "e", 1) == ((6, 3), (6, 3))


def test_an_implicit_table_is_where_it_is_named_first_until_its_own_header():
    places = Source.of("x", "[a.b]\n[a.c]\n[d.e]\n[d]\n").places
    assert places["a",].value == places["a", "b"].value
    assert places["d",].value != places["d", "e"].value


def test_a_line_has_its_text_without_its_end():
    source = Source.of("x", "a = 1\nb = 2")
    assert [source.text[slice(*source.line(number))] for number in (1, 2)] == ["a = 1", "b = 2"]


def test_a_source_does_not_show_its_text():
    assert "hunter2" not in repr(Source.of("x", "a = 'hunter2'"))


def test_a_key_path_is_written_as_users_write_it():
    assert dotted(("csr", "san", 0)) == "csr.san[0]"
    assert dotted(()) == ""


@pytest.mark.parametrize("text", [f"a = {value}\nb = [{value}]" for value in [*QUOTES, *TIMES, *NUMBERS]])
def test_the_ways_to_write_a_value_are_located(text):
    assert_everything_is_located(text)


@pytest.mark.parametrize(
    ("text", "path", "are_tables"),
    [
        ("[a]\n[b]\n[a]", ("a",), (True, True)),
        ("a = 1\nb = 2\na = 3", ("a",), (False, False)),
        ("x = [{ a = 1 }, { a = 1, a = 2 }]", ("x", 1, "a"), (False, False)),
        ("[a]\nb = 1\n[a.b]", ("a", "b"), (False, True)),
    ],
)
def test_what_stands_twice_is_found(text, path, are_tables):
    found = find_repetition(text)
    assert (found.path, found.are_tables) == (path, are_tables)
    assert found.first.start < found.second.start


@pytest.mark.parametrize("text", ["[[x]]\na = 1\n[[x]]\na = 1", "a.b = 1\na.c = 2", "a = ", "a = [1"])
def test_what_stands_once_is_no_repetition(text):
    assert find_repetition(text) is None
