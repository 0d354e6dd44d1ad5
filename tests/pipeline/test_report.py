import json

import pytest

from scepflow.errors import PipelineError
from scepflow.pipeline import Report, check_pipeline, render


@pytest.fixture
def shown(write, registry):
    """Check a file and return the rendered report as one text."""
    return lambda text: "\n".join(render(check_pipeline(write(text), registry)))


def test_a_finding_has_its_place_its_line_and_a_caret(shown, good):
    assert (
        shown(good + '[poller]\nintervl = "60s"\n  max_count =\t-3 \n')
        == """\
gw.toml:10:1: error: unknown key "intervl" in [poller]
  10 | intervl = "60s"
     | ^^^^^^^ did you mean "interval"?  known: factor, interval, max_count
gw.toml:11:15: error: max_count must be an integer >= 0, got -3
  11 |   max_count = -3
     |               ^^
2 errors in 1 file"""
    )


def test_findings_are_shown_in_the_order_of_the_file(shown, good):
    text = shown(good.replace("[csr]", '[csr]\nchallenge = "hunter2"') + "[poller]\nx = 1\n")
    assert [line for line in text.splitlines() if line.startswith("gw")] == [
        "gw.toml:6:13: warning: literal secret in a pipeline file",
        'gw.toml:11:1: error: unknown key "x" in [poller]',
    ]
    assert text.endswith("1 error, 1 warning in 1 file")


def test_a_good_file_is_ok_and_a_warning_is_counted(shown, good):
    assert shown(good) == "gw.toml: ok"
    assert shown(good + 'passphrase = "hunter2"\n').endswith("1 warning in 1 file")


def test_several_reports_are_counted_together(write, registry, good):
    reports = [
        check_pipeline(write(text, name), registry) for text, name in ((good, "a.toml"), ("x", "b.toml"))
    ]
    lines = render(*reports)
    assert lines[0].startswith("b.toml:1:2: error: not TOML: Expected '='")
    assert lines[-1] == "1 error in 2 files"
    assert render(reports[0], reports[0]) == ["a.toml: ok", "a.toml: ok"]


def test_a_finding_without_a_place_has_its_hint_on_a_line_of_its_own(shown):
    assert (
        shown("[csr]\nsubject='CN=x'\n[sink.file]\n")
        == """\
gw.toml: error: missing table [ca]
     add [ca] with url = "http://…" and fingerprint = "sha256:…"
1 error in 1 file"""
    )


@pytest.mark.parametrize(
    "text",
    [
        'passphrase = "hunter2"',
        'passphrase = "hunter2" # hunter2',
        'passphrase = """\nhunter2\n"""',
        'passphrase = { file = "x", env = "hunter2" }',
        "passphrase = 'hunter2",
        'pasphrase = "hunter2"',
        'anything = "hunter2"',
        'anything = ["a", "hunter2"]',
        "anything.x = 'hunter2'",
        'mode = "no mode" # hunter2',
        '[sink.p]\nuse = "nope"\npassword = "hunter2"',
        '[x]\np = { use = "nope", password = "hunter2" }',
        '[other]\npassword = "hunter2"',
        '[sink.pkcs12]\npath = 7\npassword = ["hunter2"]\npasswords = { a = "hunter2", b = 7 }',
        'words = [1, "a", { password = "hunter2" }]',
        "old = 1 # passphrase was hunter2",
    ],
)
def test_no_secret_is_shown_whatever_is_wrong(shown, good, text):
    output = shown(good + text + "\n")
    assert "error" in output or "warning" in output
    assert "hunter2" not in output


def test_a_masked_value_keeps_the_caret_below_its_key(shown, good):
    assert shown(good + 'pair = [ 1, "a" ]\nanything = { a = "hunter2", b = 1 } # c\n').splitlines()[1:3] == [
        "  10 | anything = { a = …, b = … }",
        "     | ^^^^^^^^ known: key, mode, on, owner, pair, passphrase, words",
    ]
    assert shown(good + "words = ['hunter2', {}]\n").splitlines()[1:3] == [
        "   9 | words = ['hunter2', {}]",
        "     |                     ^^",
    ]


def test_a_secret_that_stands_elsewhere_is_shown_as_it_is_written(shown, good):
    text = good.replace("[csr]", '[csr]\nchallenge = { file = "challenge" }\nextensions = { a = 7 }')
    assert "7 | extensions = { a = 7 }" in shown(text)
    one = shown(good + '[transport]\nuse = "proxy"\nurl = "x"\npassword = { env = "PW" }\n')
    assert '12 | password = { env = "PW" }' in one


def test_a_login_in_a_url_is_masked(shown, good):
    output = shown(good.replace("http://pki", "gopher://user:hunter2@pki"))
    assert "hunter2" not in output
    assert "://************@pki" in output


def test_control_characters_are_not_sent_to_the_terminal(shown, good):
    output = shown(good.replace("gw", "g\u202ew").replace("CN=", "{x}CN=") + '"\\u001b[31m" = 1\n')
    assert "\u202e" not in output
    assert "\x1b" not in output


def test_a_report_is_json(write, registry, good):
    report = check_pipeline(write(good + "x = 1\n"), registry)
    assert json.loads(json.dumps(report.as_dict())) == {
        "file": "gw.toml",
        "valid": False,
        "errors": [
            {
                "message": 'unknown key "x" in [sink.file]',
                "file": "gw.toml",
                "line": 9,
                "column": 1,
                "where": "sink.file.x",
                "hint": "known: key, mode, on, owner, pair, passphrase, words",
            }
        ],
        "warnings": [],
    }


def test_a_finding_in_an_unknown_file_is_shown_without_its_line(write, registry, good):
    report = check_pipeline(write(good), registry)
    error = PipelineError("x", file="other.toml", line=3, column=1)
    assert (
        render(Report(file="gw.toml", errors=(error,), document=report.document))[0]
        == "other.toml:3:1: error: x"
    )


def test_a_long_line_is_cut_around_its_culprit(shown, good):
    lines = shown(good + "words = [" + '"a", ' * 5000 + "7]\n").splitlines()
    assert max(map(len, lines)) < 220
    assert lines[1].endswith('"a", 7]')
    assert lines[2].index("^") == lines[1].index("7]")


def test_a_login_is_masked_before_its_line_is_cut(shown, good):
    login = "hunter2" * 30
    text = f'extensions = {{ a = "http://u:{login}@x/", b = 7, c = "http://u:{login}@x/" }}'
    output = shown(good.replace("[csr]", "[csr]\n" + text))
    assert "b must be text or a table, got 7" in output
    assert "hunter" not in output


def test_a_value_that_is_very_long_is_not_shown(shown, good):
    output = shown(good.replace("[csr]", f'[csr]\nextensions = {{ a = 7, b = "{"x" * 5000}" }}'))
    assert "6 | extensions = { a = 7, b = …\n" in output


def test_of_very_many_errors_a_hundred_are_shown_and_the_rest_is_counted_last(shown, good):
    lines = shown(good + "".join(f"k{number} = 1\n" for number in range(102))).splitlines()
    assert sum("unknown key" in line for line in lines) == 100
    assert lines[-2] == "gw.toml: error: … and 2 more errors"


def test_text_that_is_no_toml_is_shown_up_to_its_error(shown):
    assert (
        shown('[ca]\nurl = "http://a"\nurl = "hunter2"\n')
        == """\
gw.toml:3:1: error: not TOML: the key "ca.url" is given twice
   3 | url = …
     | ^ it stands in line 2 already; keep one of them
1 error in 1 file"""
    )
