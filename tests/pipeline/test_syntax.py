import pytest
import tomli

from scepflow.pipeline.syntax import TomlError


def error_of(text):
    with pytest.raises(tomli.TOMLDecodeError) as caught:
        tomli.loads(text)
    return TomlError.of("gw.toml", caught.value)


@pytest.mark.parametrize(
    ("text", "message", "line", "column", "excerpt", "hint"),
    [
        ("[a]\n[b]\n[a]\n", "the table [a] is declared twice", 3, 2, "[a]", "line 1 already"),
        ("[a]\nx = 1\n x=2\n", 'the key "a.x" is given twice', 3, 2, " x=…", "line 2 already"),
        ("x = { a = 1, a = 2 }", 'the key "x.a" is given twice', 1, 14, "x = …", "line 1 already"),
        ("a = 1\n[a]\n", '"a" is a key and a table', 2, 2, "[a]", "line 1 already"),
        ("a.b = 1\n[a]\n", "something of this name is there already", 2, 3, "[a]", "one [name] line"),
        ("[a\nx = 1\n", "Expected ']' at the end of a table declaration", 1, 3, "[a", "with ]"),
        ("x = hunter2\n", "Invalid value", 1, 5, "x = …", "needs quotes"),
        ('x = "hunter2\n', "Illegal character '\\n'", 1, 13, "x = …", "on the same line"),
        ("key value\n", "Expected '=' after a key in a key/value pair", 1, 5, "key …", 'key = "value"'),
        ("x = [\n 'hunter2' 1 ]", "Unclosed array", 2, 12, "", "close the list"),
    ],
)
def test_a_mistake_has_words_a_place_and_a_hint(text, message, line, column, excerpt, hint):
    error = error_of(text)
    assert (error.message, error.file) == (f"not TOML: {message}", "gw.toml")
    assert (error.line, error.column, error.excerpt) == (line, column, excerpt)
    assert hint in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "password = 'hunter2",
        "password = hunter2",
        "password = ['a',\n'hunter2' 7]",
        "p = { a = 'hunter2', a = 1 }",
        "# hunter2\n= 1",
        '[a]\npassword = """hunter2\nhunter2 = 1',
    ],
)
def test_no_value_is_in_an_error(text):
    error = error_of(text)
    assert "hunter2" not in f"{error.message} {error.hint} {error.excerpt}"
