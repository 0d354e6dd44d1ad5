import logging
import sys
from asyncio import CancelledError
from datetime import UTC, datetime
from importlib.metadata import distributions
from types import SimpleNamespace

import pytest

from scepflow.errors import PluginError, UnknownStageError
from scepflow.events import RunStarted
from scepflow.hookspecs import hookimpl
from scepflow.registry import HOOKS, Registry
from scepflow.stages import KINDS, OutputSink, Poller

EVENT = RunStarted(pipeline="p", at=datetime(2026, 1, 1, tzinfo=UTC), file="p.toml", dry_run=False)

PLUGIN = '''
from __future__ import annotations
from scepflow.hookspecs import hookimpl
from scepflow.options import Template
from scepflow.stages import OutputSink

class WebSink(OutputSink, tag="{name}"):
    """Post the certificate.

    More.
    """
    url: Template
    def write(self, issued, run): pass

@hookimpl
def scepflow_sinks():
    return [WebSink]
'''


class PrintSink(OutputSink, tag="print"):
    """Print it."""

    def write(self, issued, run): ...


class OtherPrintSink(OutputSink, tag="print"):
    def write(self, issued, run): ...


class SinksOf:
    """A plugin that offers what it is given."""

    def __init__(self, *classes):
        self.classes = list(classes)

    @hookimpl
    def scepflow_sinks(self):
        return self.classes


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a distribution in a folder and return the entry points of all that were made."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(distribution, module, source, *, version="1.0"):
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[scepflow]\n{module} = {module}\n")

    def points():
        return [point for found in distributions(path=[str(tmp_path)]) for point in found.entry_points]

    yield SimpleNamespace(make=make, points=points)
    for name in [n for n, m in sys.modules.items() if str(tmp_path) in str(getattr(m, "__file__", ""))]:
        del sys.modules[name]


def test_every_kind_has_its_hook_and_method():
    assert HOOKS.keys() == KINDS.keys()
    assert all(hasattr(KINDS[kind], method) for kind, (_, method) in HOOKS.items())


def test_the_bundled_stages_come_from_an_entry_point_of_scepflow_itself():
    info = Registry.discover().find("key", "generate")
    assert (info.plugin, info.distribution) == ("bundled", "scepflow")


def test_an_installed_plugin_is_found_with_its_distribution(install):
    install.make("scepflow_web", "webplug", PLUGIN.format(name="web"), version="2.1")
    registry = Registry.discover(entry_points=install.points())
    assert registry.stage("sink", "web").stage_name() == "web"
    (info,) = registry.stages()
    assert (info.kind, info.name, info.plugin) == ("sink", "web", "webplug")
    assert (info.origin, info.summary) == ("scepflow_web 2.1", "Post the certificate.")
    assert registry.problems == ()


@pytest.mark.parametrize(
    "source",
    [
        "import no_such_module",
        "raise SystemExit('no')",
        "import pytest; pytest.skip('not here', allow_module_level=True)",
        "def (",
    ],
)
def test_a_plugin_that_cannot_be_imported_matters_only_to_who_wants_its_stage(install, source):
    install.make("scepflow_bad", "badplug", source)
    install.make("scepflow_web", "webplug", PLUGIN.format(name="web"))
    registry = Registry.discover(entry_points=install.points())
    assert registry.stage("sink", "web")
    with pytest.raises(UnknownStageError) as caught:
        registry.stage("sink", "bad")
    assert 'plugin "badplug" (scepflow_bad 1.0) cannot be imported' in caught.value.hint
    (problem,) = registry.problems
    assert (problem.plugin, problem.distribution, problem.version) == ("badplug", "scepflow_bad", "1.0")
    assert problem.hint == "upgrade or remove scepflow_bad"


def test_an_unknown_stage_is_answered_with_the_nearest_and_all_known():
    registry = Registry()
    registry.register(SinksOf(PrintSink), "p")
    with pytest.raises(UnknownStageError) as caught:
        registry.stage("sink", "prnt")
    assert (caught.value.kind, caught.value.close_match, caught.value.known) == ("sink", "print", ("print",))
    assert caught.value.hint == "installed: print (`scepflow plugins`)"
    with pytest.raises(UnknownStageError, match=r'no key source named "x"$'):
        registry.stage("key", "x")


def test_a_clash_names_both_distributions_and_matters_only_when_wanted(install):
    install.make("scepflow_a", "aplug", PLUGIN.format(name="web"))
    install.make("scepflow_b", "bplug", PLUGIN.format(name="web"))
    registry = Registry.discover(entry_points=install.points())
    registry.register(SinksOf(PrintSink), "p")
    assert registry.stage("sink", "print") is PrintSink
    with pytest.raises(PluginError, match=r'sink "web" is offered by scepflow_a 1\.0 and scepflow_b 1\.0'):
        registry.stage("sink", "web")
    assert [problem.message for problem in registry.problems] == [
        'sink "web" is offered by scepflow_a 1.0 and scepflow_b 1.0'
    ]
    assert len(registry.stages()) == 3


def test_an_installed_plugin_can_be_left_out(install):
    install.make("scepflow_a", "aplug", PLUGIN.format(name="web"))
    install.make("scepflow_b", "bplug", PLUGIN.format(name="web"))
    registry = Registry.discover(entry_points=install.points(), extra=["no:aplug"])
    assert registry.find("sink", "web").plugin == "bplug"


def test_two_plugins_of_one_name_are_both_used(install):
    install.make("scepflow_a", "aplug", PLUGIN.format(name="a"))
    registry = Registry.discover(entry_points=install.points())
    registry.register(SinksOf(PrintSink), "aplug")
    assert {info.name for info in registry.stages()} == {"a", "print"}


def test_a_plugin_can_be_a_file(tmp_path):
    for folder, name in (("x", "one"), ("y", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "my_sink.py").write_text(PLUGIN.format(name=name))
    files = [str(tmp_path / folder / "my_sink.py") for folder in "xy"]
    registry = Registry.discover(entry_points=(), extra=files)
    one, two = registry.find("sink", "one"), registry.find("sink", "two")
    assert (one.plugin, one.distribution, one.origin) == (files[0], None, files[0])
    assert one.cls.__module__ != two.cls.__module__
    from msgspec.structs import fields

    assert [field.name for field in fields(one.cls)] == ["url"]  # its annotations resolve


def test_a_plugin_can_be_a_module(install):
    install.make("scepflow_a", "aplug", PLUGIN.format(name="a"))
    registry = Registry.discover(entry_points=(), extra=["aplug"])
    assert registry.stage("sink", "a")


def test_a_plugin_named_twice_is_loaded_once(install):
    install.make("scepflow_a", "aplug", PLUGIN.format(name="a"))
    registry = Registry.discover(entry_points=install.points(), extra=["aplug"])
    assert len(registry.stages()) == 1


@pytest.mark.parametrize("word", ["./no_such_file.py", "no_such_module"])
def test_a_plugin_asked_for_by_name_must_load(word):
    with pytest.raises(PluginError, match=f'plugin "{word}" cannot be imported') as caught:
        Registry.discover(entry_points=(), extra=[word])
    assert caught.value.plugin == word
    assert caught.value.hint is None


def test_a_failing_plugin_file_leaves_no_module_behind(tmp_path):
    (tmp_path / "bad.py").write_text("raise SystemExit(3)")
    before = set(sys.modules)
    with pytest.raises(PluginError, match="SystemExit: 3"):
        Registry.discover(entry_points=(), extra=[str(tmp_path / "bad.py")])
    assert not [name for name in set(sys.modules) - before if "bad" in name]


def test_a_plugin_file_that_raises_whatever_it_likes_is_an_error(tmp_path):
    (tmp_path / "odd.py").write_text("raise type('Odd', (BaseException,), {})('x')")
    with pytest.raises(PluginError, match="cannot be imported: Odd: x"):
        Registry.discover(entry_points=(), extra=[str(tmp_path / "odd.py")])


def test_an_interrupt_while_plugins_load_is_no_problem_of_theirs(tmp_path, install):
    install.make("scepflow_slow", "slowplug", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry.discover(entry_points=install.points())
    (tmp_path / "slow.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry.discover(entry_points=(), extra=[str(tmp_path / "slow.py")])


def test_an_interrupt_in_a_hook_is_no_problem_of_its_plugin():
    class Interrupted:
        @hookimpl
        def scepflow_sinks(self):
            raise KeyboardInterrupt

        @hookimpl
        def scepflow_event(self, event):
            raise KeyboardInterrupt

    registry = Registry()
    registry.register(Interrupted(), "interrupted")
    with pytest.raises(KeyboardInterrupt):
        registry.find("sink", "print")
    with pytest.raises(KeyboardInterrupt):
        registry.emit(EVENT)


def test_only_the_hook_of_the_wanted_kind_is_called():
    called = []

    class Curious(SinksOf):
        @hookimpl
        def scepflow_pollers(self):
            called.append("pollers")
            return []

    registry = Registry()
    registry.register(Curious(PrintSink), "curious")
    registry.stage("sink", "print")
    assert called == []
    registry.stages()
    assert called == ["pollers"]


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, CancelledError])
def test_a_hook_that_raises_breaks_only_its_own_plugin(kind):
    class Broken:
        @hookimpl
        def scepflow_sinks(self):
            raise kind("boom\n\x1b[31m")

    registry = Registry()
    registry.register(Broken(), "broken")
    registry.register(SinksOf(PrintSink), "good")
    assert registry.stage("sink", "print") is PrintSink
    with pytest.raises(UnknownStageError) as caught:
        registry.stage("sink", "x")
    assert f'plugin "broken" failed in scepflow_sinks: {kind.__name__}: boom' in caught.value.hint
    assert "\x1b" not in caught.value.hint


class NamelessSink(OutputSink):
    def write(self, issued, run): ...


class IdleSink(OutputSink, tag="idle"):
    pass


class StrangeSink(OutputSink, tag="strange", tag_field="kind"):
    def write(self, issued, run): ...


class SomePoller(Poller, tag="some"):
    def delays_s(self):
        yield 1.0


@pytest.mark.parametrize(
    ("offer", "flaw"),
    [
        (PrintSink(), "an instance of PrintSink as a sink; a class is wanted"),
        (SomePoller, "SomePoller as a sink, which is no OutputSink"),
        (str, "str as a sink, which is no OutputSink"),
        (IdleSink, "IdleSink, which does not define write()"),
        (NamelessSink, 'NamelessSink without a name; write class NamelessSink(OutputSink, tag="name")'),
        (StrangeSink, "StrangeSink without a name"),
    ],
)
def test_an_unusable_offer_is_a_problem_and_the_rest_is_kept(offer, flaw):
    registry = Registry()
    registry.register(SinksOf(offer, PrintSink), "p")
    assert registry.stage("sink", "print") is PrintSink
    (problem,) = registry.problems
    assert problem.message.startswith(f'plugin "p" offers {flaw}')


def test_a_hook_that_returns_no_sequence_is_a_problem():
    class Single:
        @hookimpl
        def scepflow_sinks(self):
            return PrintSink

    registry = Registry()
    registry.register(Single(), "single")
    (problem,) = registry.problems
    assert 'plugin "single" failed in scepflow_sinks: TypeError' in problem.message


def test_problems_are_not_repeated_when_a_plugin_is_added():
    registry = Registry()
    registry.register(SinksOf(IdleSink), "p")
    assert len(registry.problems) == 1
    registry.register(SinksOf(PrintSink), "q")
    assert len(registry.problems) == 1


def test_a_hook_with_unknown_arguments_is_refused(install):
    class Greedy:
        @hookimpl
        def scepflow_sinks(self, config): ...

    with pytest.raises(PluginError, match=r'plugin "greedy" has a hook that does not fit: .*config'):
        Registry().register(Greedy(), "greedy")
    source = "from scepflow.hookspecs import hookimpl\n@hookimpl\ndef scepflow_sinks(config): pass\n"
    install.make("scepflow_greedy", "greedyplug", source)
    (problem,) = Registry.discover(entry_points=install.points()).problems
    assert problem.distribution == "scepflow_greedy"


def test_misnamed_and_unmarked_hooks_are_problems():
    class Careless:
        @hookimpl
        def scepflow_sink(self): ...

        @hookimpl
        def zzz(self): ...

        @hookimpl(optionalhook=True)
        def scepflow_future(self): ...

        @hookimpl(specname="scepflow_pollers")
        def offer(self):
            return []

        def scepflow_signers(self): ...

    registry = Registry()
    registry.register(Careless(), "careless")
    assert [problem.message for problem in registry.problems] == [
        'plugin "careless" has scepflow_signers without @hookimpl',
        'plugin "careless" has a hook that does not exist, scepflow_sink; did you mean scepflow_sinks?',
        'plugin "careless" has a hook that does not exist, zzz',
    ]


class Listener:
    def __init__(self, heard, error=None):
        self.heard = heard
        self.error = error or RuntimeError("deaf")

    @hookimpl
    def scepflow_event(self, event):
        self.heard.append(event)
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("deaf"), SystemExit("deaf")])
def test_a_failing_listener_is_logged_once_and_the_others_are_told(caplog, error):
    caplog.set_level(logging.WARNING, "scepflow")
    registry, first, second = Registry(), [], []
    registry.register(Listener(first, error), "first")
    registry.register(SinksOf(PrintSink), "no listener")
    registry.register(Listener(second, error), "second")
    registry.emit(EVENT)
    registry.emit(EVENT)
    assert first == second == [EVENT, EVENT]
    assert [record.getMessage() for record in caplog.records] == [
        f'plugin "{name}" failed in scepflow_event: {type(error).__name__}: deaf'
        for name in ("first", "second")
    ]


def test_importing_the_registry_imports_neither_cryptography_nor_urllib3():
    import subprocess

    code = "import sys, scepflow.registry, scepflow.pipeline; print([m for m in ('cryptography', 'urllib3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
