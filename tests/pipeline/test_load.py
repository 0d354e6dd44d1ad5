import time

import pytest

from scepflow.errors import PipelineError
from scepflow.pipeline.load import load_document


def test_a_file_is_read_with_its_places(write):
    document = load_document(write("[ca]\r\nurl = 'x'\r\n"))
    assert document.tables == {"ca": {"url": "x"}}
    source, place = document.place(("ca", "url"))
    assert source.position(place.value.start) == (2, 7)
    assert document.value(("ca", "url")) == "x"
    assert document.place(("ca", "nothing")) is None


def test_a_byte_order_mark_is_no_part_of_the_file(write):
    assert load_document(write(b"\xef\xbb\xbfa = 1")).tables == {"a": 1}


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a = 1\nb = \n", 2, 5, "not TOML: Invalid value"),
        ("a = 'hunter2\n", 2, 1, "not TOML"),
        (b"a = 1\r\nb = '\xc3\xa9\xff'", 2, 7, r"not UTF-8 text \(byte 0xff\)"),
        ("a = " + "[" * 2000, None, None, "nested too deeply"),
        ("a = " + "9" * 5000, None, None, "not TOML: a number has too many digits"),
    ],
)
def test_what_is_no_toml_is_reported_with_its_place(write, text, line, column, message):
    with pytest.raises(PipelineError, match=message) as caught:
        load_document(write(text))
    assert (caught.value.file, caught.value.line, caught.value.column) == ("gw.toml", line, column)
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(("name", "reason"), [("missing.toml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_reported(write, name, reason):
    write("")
    with pytest.raises(PipelineError, match=f"cannot read the pipeline file: {reason}") as caught:
        load_document(name)
    assert caught.value.file == name


def test_tables_merge_and_everything_else_replaces(write):
    write('[ca]\nurl = "base"\nidentifier = "kept"\nrelax = ["a", "b"]\n[vars]\nx = "1"\n', "common.toml")
    document = load_document(
        write('extends = "common.toml"\n[ca]\nurl = "own"\nrelax = ["c"]\n[vars]\ny = "2"\n')
    )
    assert document.tables == {
        "ca": {"url": "own", "identifier": "kept", "relax": ["c"]},
        "vars": {"x": "1", "y": "2"},
    }
    names = {path: source.name for path, source in document.origins.items()}
    assert names == {
        ("ca",): "gw.toml",
        ("ca", "url"): "gw.toml",
        ("ca", "identifier"): "common.toml",
        ("ca", "relax"): "gw.toml",
        ("ca", "relax", 0): "gw.toml",
        ("vars",): "gw.toml",
        ("vars", "x"): "common.toml",
        ("vars", "y"): "gw.toml",
    }


def test_a_table_in_one_piece_replaces(write):
    write('[csr]\nchallenge = { file = "x" }\n', "common.toml")
    document = load_document(write('extends = "common.toml"\n[csr]\nchallenge = { env = "X" }\n'))
    assert document.tables["csr"] == {"challenge": {"env": "X"}}
    assert ("csr", "challenge", "file") not in document.origins


@pytest.mark.parametrize(
    ("base", "own", "merged"),
    [
        ('use = "proxy"\nurl = "x"', 'use = "direct"', {"use": "direct"}),
        ('use = "proxy"\nurl = "x"', 'use = "proxy"', {"use": "proxy", "url": "x"}),
        ('use = "proxy"\nurl = "x"', 'url = "y"', {"use": "proxy", "url": "y"}),
        ('timeout = "5s"', 'use = "proxy"', {"timeout": "5s", "use": "proxy"}),
    ],
)
def test_a_table_that_names_another_use_starts_anew(write, base, own, merged):
    write(f"[transport]\n{base}\n", "common.toml")
    document = load_document(write(f'extends = "common.toml"\n[transport]\n{own}\n'))
    assert document.tables["transport"] == merged


def test_a_variable_may_be_called_use(write):
    write('[vars]\nuse = "a"\nx = "b"\n', "common.toml")
    document = load_document(write('extends = "common.toml"\n[vars]\nuse = "c"\n'))
    assert document.tables["vars"] == {"use": "c", "x": "b"}


def test_several_files_are_extended_and_the_last_wins(write):
    write('a = 1\nb = 1\nc = 1\nextends = "../deep.toml"', "sub/one.toml")
    write("b = 2", "two.toml")
    write("d = 4", "deep.toml")
    document = load_document(write('extends = ["sub/one.toml", "two.toml"]\nc = 3'))
    assert document.tables == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert document.origins["a",].name == "sub/one.toml"
    assert document.origins["d",].name == "deep.toml"


def test_a_file_may_be_extended_by_two_ways_but_not_by_itself(write):
    write("a = 1", "base.toml")
    write('extends = "base.toml"', "one.toml")
    write('extends = "base.toml"', "two.toml")
    assert load_document(write('extends = ["one.toml", "two.toml"]')).tables == {"a": 1}
    write('\nextends = ["base.toml", "gw.toml"]', "one.toml")
    with pytest.raises(PipelineError, match=r"circle: gw\.toml is being read") as caught:
        load_document("gw.toml")
    error = caught.value
    assert (error.file, error.line, error.column, error.where) == ("one.toml", 2, 25, "extends[1]")


@pytest.mark.parametrize(
    ("extends", "where", "column"),
    [("7", "extends", 11), ('["a.toml", 7]', "extends[0]", 12), ("[7]", "extends[0]", 12)],
)
def test_extends_must_name_files_that_are_there(write, extends, where, column):
    with pytest.raises(PipelineError, match=r"extends must be|no such file: a\.toml") as caught:
        load_document(write(f"extends = {extends}"))
    assert (caught.value.line, caught.value.column, caught.value.where) == (1, column, where)


def test_a_broken_extended_file_is_the_one_that_is_reported(write):
    write("\n[", "common.toml")
    with pytest.raises(PipelineError, match="not TOML") as caught:
        load_document(write('extends = "common.toml"'))
    assert (caught.value.file, caught.value.line) == ("common.toml", 2)


@pytest.mark.parametrize("name", ["/dev/zero", "big.toml"])
def test_a_file_that_is_too_large_is_read_no_further(write, name):
    write("#" * (1 << 20) + "\n", "big.toml")
    with pytest.raises(PipelineError, match="larger than 1 MiB") as caught:
        load_document(name)
    assert caught.value.file == name


def test_many_keys_are_merged_in_little_time(write):
    write("".join(f"k{number} = 1\n" for number in range(20_000)), "common.toml")
    text = 'extends = "common.toml"\n' + "".join(f"k{number} = 2\n" for number in range(20_000))
    started_s = time.process_time()
    assert set(load_document(write(text)).tables.values()) == {2}
    assert time.process_time() - started_s < 20  # it was minutes when every key looked at every other
