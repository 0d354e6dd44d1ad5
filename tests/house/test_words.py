"""The tree uses our words, bears no traces of a machine, and gives a reason for every exception to a rule."""

import re

import pytest
from snippets import ROOT

SUFFIXES = {".py", ".md", ".toml", ".cfg", ".txt", ".yml", ""}
FOLDERS = ("scepflow", "plugins", "pipelines", "tests", "benchmarks", ".ci")
FILES = sorted(
    path
    for path in (*ROOT.glob("[!.]*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")))
    if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts
)
# Written in parts, so that this file does not hold what it looks for.
FORBIDDEN = {
    "one spelling: enrollment": re.compile(r"\benrol" + r"(?:s|ment|ments)?\b", re.IGNORECASE),
    "renewal is the word": re.compile(r"\bre-?" + r"enroll?", re.IGNORECASE),
    "a mark left behind": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    "a path of one machine": re.compile(r"/wo" + r"rk/|/tm" + r"p/w/|/ro" + r"ot/"),
    "a host of a package registry": re.compile(
        r"\bpypi\.(?:or" + r"g|io)|pythonho" + r"sted\.", re.IGNORECASE
    ),
}
REASONED = re.compile(r"# (?:noqa|type: ignore)\b(?!(?:: [A-Z0-9, ]+|\[[a-z-, ]+\])  # \S)")


def lines_with(pattern, files):
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_there_is_a_tree_to_look_at():
    assert len(FILES) > 50
    assert ROOT / "README.md" in FILES
    assert ROOT / ".ci" / "run" in FILES


@pytest.mark.parametrize("why", FORBIDDEN)
def test_a_word_that_we_do_not_use_is_nowhere(why):
    assert not lines_with(FORBIDDEN[why], FILES)


@pytest.mark.parametrize(
    ("why", "line"),
    [
        ("one spelling: enrollment", "an en" + "rolment"),
        ("renewal is the word", "re-" + "enroll now"),
        ("a mark left behind", "# TO" + "DO later"),
        ("a path of one machine", "see /tm" + "p/w/x"),
        ("a host of a package registry", "https://pypi.or" + "g/x"),
    ],
)
def test_a_word_that_we_do_not_use_would_be_found(why, line):
    assert FORBIDDEN[why].search(line)
    assert not FORBIDDEN[why].search("it enrolls a device, then enrollment and renewal; /tmp/whatever")


def test_an_exception_to_a_rule_has_its_reason_beside_it():
    sources = [path for path in FILES if path.suffix == ".py" and "house" not in path.parts]
    assert not lines_with(REASONED, sources)


def test_an_exception_without_a_reason_would_be_found():
    assert REASONED.search("x = 1  # no" + "qa: ARG001")
    assert REASONED.search("x = 1  # type: " + "ignore[misc]")
    assert not REASONED.search("x = 1  # no" + "qa: ARG001  # its base wants it")
