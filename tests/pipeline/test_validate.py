import sys
from uuid import UUID

import msgspec
import pytest

from scepflow.errors import UnknownStageError
from scepflow.hookspecs import hookimpl
from scepflow.options import Secret
from scepflow.pipeline import InvalidPipelineError, check_pipeline, load_pipeline
from scepflow.pipeline.validate import DEFAULT_USE, this_host
from scepflow.stages import KINDS, KeySource, OutputSink


@pytest.fixture
def check(write, registry):
    """Check a file and return the report."""
    return lambda text, **more: check_pipeline(write(text), registry, **more)


def found(findings):
    return [(f.line, f.column, f.where, f.message) for f in findings]


def only(report):
    """Return the one error of a report."""
    assert len(report.errors) == 1, found(report.errors)
    (error,) = report.errors
    return error


def test_a_good_file_is_a_pipeline_with_defaults(write, registry, good, tmp_path):
    pipeline = load_pipeline(write(good), registry)
    assert (pipeline.name, pipeline.file) == ("gw", tmp_path / "gw.toml")
    assert pipeline.ca.url == "http://pki.example.com/scep"
    assert {kind: getattr(pipeline, kind).stage_name() for kind in DEFAULT_USE} == DEFAULT_USE
    assert pipeline.renew.before == "auto"
    assert list(pipeline.sinks) == ["file"]
    assert pipeline.sinks["file"].key == "key.pem"
    assert DEFAULT_USE.keys() == KINDS.keys() - {"sink"}


def test_a_sink_is_called_as_its_table_and_uses_what_it_says(check, good):
    report = check(good + '[sink.phone]\nuse = "pkcs12"\npath = "a.p12"\npassword = { env = "P" }\n')
    assert {name: sink.stage_name() for name, sink in report.pipeline.sinks.items()} == {
        "file": "file",
        "phone": "pkcs12",
    }


def test_five_mistakes_are_five_errors_with_their_places(check):
    report = check("""[ca]
url = "pki.example.com"
fingerprint = "sha256:12"
[csr]
subject = "CN=gw"
[poller]
intervl = "60s"
max_count = -3
[sink.phone]
use = "pkcs21"
password = { oops = 1 }
""")
    assert report.pipeline is None
    assert [(e.file, e.line, e.column, e.where) for e in report.errors] == [
        ("gw.toml", 2, 7, "ca.url"),
        ("gw.toml", 3, 15, "ca.fingerprint"),
        ("gw.toml", 7, 1, "poller.intervl"),
        ("gw.toml", 8, 13, "poller.max_count"),
        ("gw.toml", 10, 7, "sink.phone.use"),
    ]
    assert report.errors[2].message == 'unknown key "intervl" in [poller]'
    assert report.errors[2].hint == 'did you mean "interval"?  known: factor, interval, max_count'
    assert report.errors[3].message == "max_count must be an integer >= 0, got -3"
    error = report.errors[4]
    assert isinstance(error, UnknownStageError)
    assert (error.kind, error.close_match) == ("sink", "pkcs12")


def test_load_raises_all_errors_at_once(write, registry, good):
    with pytest.raises(InvalidPipelineError, match=r'unknown key "a" \(and 1 more error\)') as caught:
        load_pipeline(write("a = 1\nb = 2\n" + good), registry)
    assert [e.where for e in caught.value.errors] == ["a", "b"]
    assert (caught.value.line, caught.value.exit_code, caught.value.warnings) == (1, 78, ())


def test_a_file_that_cannot_be_read_is_a_report_too(check):
    assert only(check("a =")).message == "not TOML: Invalid value"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('[ca]\nurl = "http://a.example/"\n', "", "missing table [ca]"),
        ('[csr]\nsubject = "CN=x"\n', "", "missing table [csr]"),
        ("[sink.file]\n", "", "no output: at least one [sink.NAME] is needed"),
        ("[sink.file]\n", "[sink]\n", "no output: at least one [sink.NAME] is needed"),
    ],
)
def test_a_missing_table_is_an_error(check, before, after, expected):
    text = '[ca]\nurl = "http://a.example/"\n[csr]\nsubject = "CN=x"\n[sink.file]\n'
    error = only(check(text.replace(before, after)))
    assert error.message == expected
    assert (error.file, error.hint is None) == ("gw.toml", False)


def test_a_missing_key_is_reported_at_its_table(check, good):
    error = only(check(good + "\n [sink.pkcs12]\npath = 'x'\n"))
    assert (error.line, error.column, error.where) == (10, 2, "sink.pkcs12.password")
    assert error.message == 'missing key "password" in [sink.pkcs12]'


def test_a_misspelt_required_key_is_one_error(check, good):
    error = only(check(good.replace("subject =", "subjct =")))
    assert error.message == 'unknown key "subjct" in [csr]'


@pytest.mark.parametrize(
    "table", ["ca", "key", "csr", "signer", "transport", "poller", "renew", "sink", "vars"]
)
def test_a_table_must_be_one(write, registry, good, table):
    head, *rest = good.split(f"[{table}]\n", 1) if f"[{table}]" in good else (good, "")
    text = f"{table} = 7\n" + head.replace("[sink.file]\n", "" if table == "sink" else "[sink.file]\n")
    text += "".join(line for line in "".join(rest).splitlines(keepends=True)[2:])
    errors = check_pipeline(write(text), registry).errors
    assert f"{table} must be a table" in [error.message for error in errors]


def test_a_sink_must_be_a_table(check, good):
    error = only(check(good.replace("[sink.file]\nkey =", "[sink]\nfile =")))
    assert (error.message, error.where) == ("sink.file must be a table", "sink.file")


def test_an_unknown_table_is_named_with_the_nearest(check, good):
    error = only(check(good + "[pollr]\ninterval = '1s'\n"))
    assert (error.line, error.column) == (9, 2)
    assert error.hint.startswith('did you mean "poller"?  known: ca, key,')


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        ('mode = "rw"', 8, "mode: not a file mode: 'rw'", 'write octal text: "0600"'),
        ("mode = 600", 8, "mode: not a file mode: 600", 'write octal text: "0600"'),
        ("key = 7", 7, "key must be text, got 7", None),
        ("key = [1]", 7, "key must be text, got a list", None),
        ("owner = true", 9, "owner must be an integer or text, got true", None),
        ("owner = 1.5", 9, "owner must be an integer or text, got 1.5", None),
        ("on = 1", 6, "on must be true or false, got 1", None),
        ('words = "a"', 9, "words must be a list, got text", None),
        ("words = 1979-05-27", 9, "words must be a list, got a date", None),
        ('words = ["a", 1]', 15, "words[1] must be text, got 1", None),
        ('pair = ["a", 1]', 9, "pair[0] must be an integer, got text", None),
        ("pair = [1]", 8, "pair must be a list of length 2", None),
        ('key = "{oops"', 7, "key: lone '{' in a template", "write {{ or }} for a brace"),
        ('key = "{var.x}"', 7, "key: unknown template name {var.x}", "known: none"),
        ("passphrase = { fil = 'x' }", 14, "passphrase: not a secret", None),
    ],
)
def test_a_wrong_value_is_reported_in_toml_words(check, good, line, column, message, hint):
    text = good.replace('key = "key.pem"', line)
    errors = [(e.line, e.column, e.message) for e in check(text).errors]
    assert (8, column, message) in errors
    if hint:
        assert check(text).errors[0].hint == hint


def test_every_element_that_is_wrong_is_reported(check, good):
    report = check(good + 'words = [1, "a", 2]\npair = ["x", 7]\n')
    assert [error.where for error in report.errors] == [
        "sink.file.words[0]",
        "sink.file.words[2]",
        "sink.file.pair[0]",
        "sink.file.pair[1]",
    ]


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        (
            '"rsa-2049"',
            'algorithm must be rsa-2048, rsa-3072 or ec-p256, got "rsa-2049"',
            'did you mean "rsa-2048"?',
        ),
        ('"dsa"', 'algorithm must be rsa-2048, rsa-3072 or ec-p256, got "dsa"', None),
        ("5", 'algorithm must be rsa-2048, rsa-3072 or ec-p256, got "5"', None),
    ],
)
def test_a_choice_is_reported_with_all_and_the_nearest(check, good, value, message, hint):
    error = only(check(good + f"[key]\nalgorithm = {value}\n"))
    assert (error.message, error.hint) == (message, hint)


def test_nested_tables_are_checked_too(check, good):
    text = good.replace(
        'subject = "CN=gw"',
        """subject = "CN=gw"
extensions."1.2" = { der = 7, critical = "x" }
extensions."1.3" = { derr = "00" }
extensions."1.4" = { critical = true, x = 1 }
extensions."1.5" = "00"
extensions."1.6" = 7""",
    )
    assert found(check(text).errors) == [
        (7, 28, "csr.extensions.1.2.der", "der must be text, got 7"),
        (7, 42, "csr.extensions.1.2.critical", "critical must be true or false, got text"),
        (8, 22, "csr.extensions.1.3.derr", 'unknown key "derr" in [csr.extensions.1.3]'),
        (9, 20, "csr.extensions.1.4.der", 'missing key "der" in [csr.extensions.1.4]'),
        (9, 39, "csr.extensions.1.4.x", 'unknown key "x" in [csr.extensions.1.4]'),
        (11, 20, "csr.extensions.1.6", "1.6 must be text or a table, got 7"),
    ]


def test_use_must_be_text_and_a_wrong_one_hides_no_other_table(check, good):
    report = check(good + "[poller]\nuse = 3\nfoo = 1\n[signer]\ndays = 0\n")
    assert found(report.errors) == [
        (10, 7, "poller.use", "use must be text"),
        (13, 8, "signer.days", "days must be an integer >= 1, got 0"),
    ]


def test_a_sink_without_use_is_reported_at_its_name(check, good):
    error = only(check(good + "[sink.fil]\nkey = 1\n"))
    assert (error.line, error.column, error.where) == (9, 7, "sink.fil")


def test_a_rule_across_fields_is_reported_at_its_key(check, good):
    text = good + '[transport]\nuse = "proxy"\nurl = "x"\npassword = { env = "P" }\n'
    error = only(check(text))
    assert (error.line, error.column, error.hint) == (12, 12, "add user")
    assert error.message == "a password needs user"


@pytest.mark.parametrize("user", ["user = 7", "usr = 'x'"])
def test_a_rule_that_misses_what_is_wrong_already_is_no_second_error(check, good, user):
    text = good + f'[transport]\nuse = "proxy"\nurl = "x"\npassword = {{ env = "P" }}\n{user}\n'
    assert only(check(text)).where == f"transport.{user.split()[0]}"


def test_rules_go_on_when_one_has_been_broken(check, good):
    report = check(good.replace("[csr]", 'relax = ["x"]\n[csr]').replace("sha256:ab", "sha256:"))
    assert [error.where for error in report.errors] == ["ca.fingerprint", "ca.relax[0]"]


def test_a_default_that_no_plugin_offers_is_an_error_of_the_file(write, good):
    from scepflow.registry import Registry

    report = check_pipeline(write(good), Registry())
    assert {error.file for error in report.errors} == {"gw.toml"}
    assert [error.kind for error in report.errors if error.line is None] == [
        "key source",
        "signer",
        "transport",
        "poller",
    ]


class RuleSink(OutputSink, tag="rule", kw_only=True):
    text: str = ""
    id: UUID | None = None

    def __post_init__(self):
        if self.text == "value":
            raise ValueError("text is not good")
        if self.text == "bug":
            raise KeyError("boom")

    def write(self, issued, run): ...


class UntypedSink(OutputSink, tag="untyped"):
    both: Secret | int

    def write(self, issued, run): ...


class MoreSinks:
    @hookimpl
    def scepflow_sinks(self):
        return [RuleSink, UntypedSink]


def test_a_value_error_of_a_stage_is_reported_at_its_table(check, registry, good):
    registry.register(MoreSinks(), "more")
    error = only(check(good + '[sink.rule]\ntext = "value"\n'))
    assert (error.line, error.column, error.message) == (9, 1, "text is not good")


def test_a_type_with_words_of_its_own_keeps_them(check, registry, good):
    registry.register(MoreSinks(), "more")
    assert only(check(good + '[sink.rule]\nid = "x"\n')).message == "id: Invalid UUID"


def test_a_rule_without_a_key_is_not_believed_after_another_fault(check, registry, good):
    registry.register(MoreSinks(), "more")
    assert only(check(good + '[sink.rule]\ntext = "value"\ntexxt = 1\n')).where == "sink.rule.texxt"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[sink.rule]\ntext = "bug"\n', "RuleSink is broken: KeyError: 'boom'"),
        (
            "[sink.untyped]\nboth = 1\n",
            "UntypedSink is broken: TypeError: Type unions containing a custom type",
        ),
    ],
)
def test_a_broken_stage_class_is_an_error_and_no_crash(check, registry, good, table, message):
    registry.register(MoreSinks(), "more")
    error = only(check(good + table))
    assert error.message.startswith(message)
    assert (error.line, error.column) == (9, 1)


def test_a_clash_of_plugins_is_an_error_where_the_stage_is_used(check, registry, good):
    class Clash:
        @hookimpl
        def scepflow_sinks(self):
            return [type("Other", (OutputSink,), {"write": lambda *_: None}, tag="file")]

    registry.register(Clash(), "clash")
    error = only(check(good))
    assert error.message == 'sink "file" is offered by fake and clash'
    assert (error.line, error.where) == (7, "sink.file")


def test_templates_are_filled_in_from_variables_host_and_device(check, good):
    text = (
        good.replace("CN=gw", "CN={host.name},O={var.org},OU={device.unit}")
        .replace('"key.pem"', '"{device.serial}.pem"')
        .replace("[csr]", '[csr]\nsan = ["dns:{host.fqdn}"]')
    )
    report = check(
        text + '[vars]\norg = "A, B"\n',
        device={"serial": "7", "unit": "x"},
        host=lambda: {"host.name": "gw", "host.fqdn": "gw.example.com"},
    )
    assert report.pipeline.csr.subject == r"CN=gw,O=A\, B,OU=x"
    assert report.pipeline.csr.san == ("dns:gw.example.com",)
    assert report.pipeline.sinks["file"].key == "7.pem"


def test_the_host_is_not_asked_when_nothing_names_it(check, good):
    def never():
        raise AssertionError

    assert check(good, host=never).pipeline


def test_only_templates_are_filled_in(check, good):
    assert check(good + 'words = ["{var.x}"]\n').pipeline.sinks["file"].words == ["{var.x}"]


def test_a_value_that_would_climb_out_of_a_path_is_an_error(check, good):
    error = only(check(good.replace("key.pem", "{device.x}"), device={"x": "../../etc/passwd"}))
    assert error.where == "sink.file.key"


def test_a_variable_must_be_text_and_is_one_error(check, good):
    error = only(check(good.replace("CN=gw", "CN={var.n}") + "[vars]\nn = 7\n"))
    assert (error.message, error.where, error.line) == ('variable "n" must be text', "vars.n", 10)


def test_an_unauthenticated_ca_is_a_warning(check, good):
    text = "\n".join(line for line in good.splitlines() if not line.startswith("fingerprint"))
    report = check(text)
    assert report.pipeline
    assert found(report.warnings) == [
        (2, 1, "ca", "nothing authenticates the CA: the run will stop and print what it saw")
    ]
    assert check(text.replace("[csr]", 'certificate = "ca.pem"\n[csr]')).warnings == ()


def test_literal_secrets_are_warnings_wherever_they_are(check, good):
    report = check(
        good.replace("[csr]", '[csr]\nchallenge = "hunter2"')
        + '[sink.pkcs12]\npath = "x"\npassword = { env = "P" }\npasswords = { a = "hunter2", b = { env = "B" } }\n'
    )
    assert report.pipeline
    assert [(w.line, w.where, w.message) for w in report.warnings] == [
        (6, "csr.challenge", "literal secret in a pipeline file"),
        (13, "sink.pkcs12.passwords.a", "literal secret in a pipeline file"),
    ]
    assert "hunter2" not in repr(report)


def test_positions_point_into_the_file_that_the_value_came_from(check, write, good):
    write("[poller]\nmax_count = -1\n[signer]\ndays = 0\n[sink.pkcs12]\npath = 'x'\n", "common.toml")
    report = check('extends = "common.toml"\n' + good + "[poller]\nfactor = 'x'\n[sink.pkcs12]\n")
    assert [(e.file, e.line, e.where) for e in report.errors] == [
        ("gw.toml", 11, "poller.factor"),
        ("gw.toml", 12, "sink.pkcs12.password"),
        ("common.toml", 2, "poller.max_count"),
        ("common.toml", 4, "signer.days"),
    ]


def test_relative_paths_of_an_extended_file_start_at_the_main_file(write, registry, good, tmp_path):
    write(good, "sub/common.toml")
    pipeline = load_pipeline(write('extends = "sub/common.toml"\n'), registry)
    assert pipeline.directory == tmp_path
    assert pipeline.sinks["file"].key == "key.pem"


def test_this_host_has_a_short_and_a_full_name():
    host = this_host()
    assert "." not in host["host.name"]
    assert host["host.fqdn"]


def test_loading_imports_neither_cryptography_nor_urllib3(write, good):
    import subprocess
    from pathlib import Path

    write(good)
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import FakeStages
from scepflow.pipeline import load_pipeline
from scepflow.registry import Registry
registry = Registry()
registry.register(FakeStages(), "fake")
load_pipeline("gw.toml", registry)
print([m for m in ("cryptography", "urllib3") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_pipeline_is_frozen(check, good):
    pipeline = check(good).pipeline
    with pytest.raises(AttributeError):
        pipeline.name = "other"
    assert isinstance(pipeline.ca, msgspec.Struct)


@pytest.mark.parametrize(
    ("name", "warns"),
    [
        ("gw.example.com", False),
        ("gw", True),
        ("localhost", True),
        ("localhost.localdomain", True),
        ("gw.localdomain", True),
        ("localhost6.localdomain6", True),
    ],
)
def test_a_host_without_a_full_name_is_a_warning_where_it_is_used(check, good, name, warns):
    text = good.replace("CN=gw", "CN={host.name}").replace(
        "[csr]", '[csr]\nsan = ["dns:x", "dns:{host.fqdn}"]'
    )
    report = check(text, host=lambda: {"host.name": "gw", "host.fqdn": name})
    assert report.pipeline
    told = [(w.where, w.message) for w in report.warnings]
    assert told == [("csr.san[1]", f'{{host.fqdn}} is "{name}" here, which is no full name')] * warns


def test_every_element_that_a_rule_refuses_is_pointed_at(check, good):
    prints = f'["sha256:1", "sha256:{"ab" * 32}", "sha256:2"]'
    text = good.replace("fingerprint = ", f"fingerprint = {prints} #").replace(
        "[csr]", 'relax = ["x", "y"]\n[csr]'
    )
    assert [(e.where, e.line) for e in check(text).errors] == [
        ("ca.fingerprint[0]", 4),
        ("ca.fingerprint[2]", 4),
        ("ca.relax[0]", 5),
        ("ca.relax[1]", 5),
    ]


class BrokenOutputs(OutputSink, tag="broken"):
    def write(self, issued, run): ...

    def outputs_at(self):
        raise RuntimeError("boom")


class BrokenKey(OutputSink, tag="broken-key"):
    def write(self, issued, run): ...

    def writes_key(self):
        raise RuntimeError("boom")


class KeyWriter(OutputSink, tag="key-writer"):
    def write(self, issued, run): ...

    def writes_key(self):
        return True


class SealedKey(KeySource, tag="sealed"):
    """A key that cannot be written."""

    exportable = False

    def obtain(self, run): ...


class BrokenSinks:
    @hookimpl
    def scepflow_sinks(self):
        return [BrokenOutputs, BrokenKey, KeyWriter]

    @hookimpl
    def scepflow_key_sources(self):
        return [SealedKey]


def test_a_sink_that_cannot_name_its_outputs_is_an_error_and_no_crash(check, registry, good):
    registry.register(BrokenSinks(), "broken")
    assert only(check(good + "[sink.broken]\n")).message == "outputs_at() is broken: RuntimeError: boom"


def test_a_sink_does_not_write_a_key_that_cannot_be_written(check, registry, good):
    registry.register(BrokenSinks(), "broken")
    text = good + "[sink.key-writer]\n"
    assert check(text).pipeline
    error = only(check(f'[key]\nuse = "sealed"\n{text}'))
    assert (error.where, error.line) == ("sink.key-writer", 11)
    assert (
        error.message
        == 'the sink key-writer writes the private key, which [key] use = "sealed" never gives away'
    )


def test_a_sink_that_cannot_say_whether_it_writes_the_key_is_an_error_and_no_crash(check, registry, good):
    registry.register(BrokenSinks(), "broken")
    report = check('[key]\nuse = "sealed"\n' + good + "[sink.broken-key]\n")
    assert only(report).message == "writes_key() is broken: RuntimeError: boom"
