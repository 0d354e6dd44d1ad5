"""Finds plugins, indexes their stages by kind and name, and says what is missing, broken or clashing.

A plugin that cannot be used is remembered and breaks nothing, until a stage is
wanted that no other plugin offers. Hooks are asked one kind at a time and one
plugin at a time, so that a plugin's failure stays its own.
Must never hold: knowledge of any single stage, or an import of cryptography or
urllib3.
"""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from scepflow import hookspecs
from scepflow.errors import PluginError, UnknownStageError
from scepflow.stages import KINDS, Stage
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.metadata import EntryPoint

    from scepflow.events import Event

__all__ = ["HOOKS", "Registry", "StageInfo"]

HOOKS = {
    "key": ("scepflow_key_sources", "obtain"),
    "csr": ("scepflow_csr_builders", "build"),
    "signer": ("scepflow_signers", "identity"),
    "transport": ("scepflow_transports", "connect"),
    "poller": ("scepflow_pollers", "delays_s"),
    "sink": ("scepflow_sinks", "write"),
}
"""TOML table → the hook that offers its stages, and the method that each of them must define."""

_GROUP = "scepflow"
_STAGE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_log = logging.getLogger("scepflow")


@dataclass(frozen=True, slots=True)
class _Plugin:
    """A plugin object and where it came from."""

    instance: Any
    name: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        origin = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f'plugin "{self.name}"{origin}'

    def error(self, text: str) -> PluginError:
        """Return a PluginError that names this plugin."""
        return PluginError(
            f"{self} {text}",
            plugin=self.name,
            distribution=self.distribution,
            version=self.version,
            hint=f"upgrade or remove {self.distribution}" if self.distribution else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInfo:
    """A stage that a plugin offers.

    Attributes:
        kind: the TOML table it goes into, a key of `scepflow.stages.KINDS`.
        name: the name after ``use =``.
        cls: the stage's class.
        plugin: the plugin's entry point name, module or file.
        distribution: the installed distribution it came from, or None.
        version: that distribution's version, or None.
        summary: what its user gets, the first line of the class's docstring, or "".
    """

    kind: str
    name: str
    cls: type[Stage]
    plugin: str
    distribution: str | None
    version: str | None
    summary: str

    @property
    def origin(self) -> str:
        """Who offers it, fit to be shown."""
        return f"{self.distribution} {self.version}" if self.distribution else self.plugin


class Registry:
    """The plugins of one process. A new one is empty; `discover` finds what is installed."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("scepflow")
        self._manager.add_hookspecs(hookspecs)
        self._plugins: list[_Plugin] = []
        self._problems: list[tuple[str | None, PluginError]] = []  # the kind it concerns, None for all
        self._offers: dict[str, list[StageInfo]] = {}
        self._reported: set[str] = set()

    @classmethod
    def discover(
        cls, *, extra: Sequence[str] = (), entry_points: Iterable[EntryPoint] | None = None
    ) -> Registry:
        """Return a registry of the installed plugins, loaded one by one.

        Args:
            extra: what ``-p`` names: a ``.py`` file or a module to add, or ``no:NAME`` to leave an installed one out.
            entry_points: the entry points to load instead of the installed ones.

        Raises:
            PluginError: a plugin in ``extra`` cannot be used; an installed one is only remembered in `problems`.
        """
        if entry_points is None:
            from importlib.metadata import entry_points as installed

            entry_points = installed(group=_GROUP)
        left_out = {word.removeprefix("no:") for word in extra if word.startswith("no:")}
        registry = cls()
        for point in sorted(entry_points, key=lambda point: point.name):
            if point.name not in left_out:
                registry._load(point)
        for word in extra:
            if not word.startswith("no:"):
                registry._add(_one_off(word))
        return registry

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin of this process, such as a command's progress display.

        Args:
            plugin: a module, or an object, with hook implementations.
            name: what errors call it.

        Raises:
            PluginError: one of its hooks does not fit its specification.
        """
        self._add(_Plugin(plugin, name))

    def stage(self, kind: str, name: str) -> type[Stage]:
        """Return the stage class of that kind and ``use`` name.

        Args:
            kind: the TOML table, a key of `scepflow.stages.KINDS`.
            name: the name after ``use =``.

        Raises:
            UnknownStageError: no usable plugin offers it; its hint names the plugins that are broken.
            PluginError: two plugins offer it.
        """
        return self.find(kind, name).cls

    def find(self, kind: str, name: str) -> StageInfo:
        """Return what is known of that stage; arguments and errors are those of `stage`."""
        found = [offer for offer in self._offered(kind) if offer.name == name]
        if not found:
            raise self._unknown(kind, name)
        if len(found) > 1:
            raise _clash(found)
        return found[0]

    def stages(self) -> list[StageInfo]:
        """Return every stage on offer, kinds in the order a run meets them, clashing ones included."""
        return [offer for kind in KINDS for offer in self._offered(kind)]

    @property
    def problems(self) -> tuple[PluginError, ...]:
        """Everything that is wrong with the plugins; asks every hook."""
        names = {(offer.kind, offer.name): None for offer in self.stages()}
        same = ([o for o in self._offered(kind) if o.name == name] for kind, name in names)
        return (*(error for _, error in self._problems), *(_clash(found) for found in same if len(found) > 1))

    def emit(self, event: Event) -> None:
        """Tell every ``scepflow_event`` implementation; one that fails is logged once and stops no one."""
        listeners = {id(impl.plugin) for impl in self._manager.hook.scepflow_event.get_hookimpls()}
        for plugin in self._plugins:
            if id(plugin.instance) in listeners:
                try:
                    self._hook_of(plugin, "scepflow_event")(event=event)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # noqa: BLE001  # a stranger's listener must not end a run
                    self._report(plugin, error)

    def _report(self, plugin: _Plugin, error: BaseException) -> None:
        if plugin.name not in self._reported:
            self._reported.add(plugin.name)
            _log.warning("%s failed in scepflow_event: %s", plugin, _words(error))

    def _load(self, point: EntryPoint) -> None:
        origin = (point.dist.name, point.dist.version) if point.dist else (None, None)
        plugin = _Plugin(None, point.name, *origin)
        try:
            instance = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever a stranger's import does
            self._problems.append((None, plugin.error(f"cannot be imported: {_words(error)}")))
            return
        try:
            self._add(_Plugin(instance, point.name, *origin))
        except PluginError as error:
            self._problems.append((None, error))

    def _add(self, plugin: _Plugin) -> None:
        if self._manager.is_registered(plugin.instance):
            return
        self._problems += [(None, plugin.error(flaw)) for flaw in self._misnamed_hooks(plugin.instance)]
        # Two distributions may have chosen the same entry point name; pluggy wants it unique.
        unique = (
            f"{plugin.name}#{len(self._plugins)}" if self._manager.has_plugin(plugin.name) else plugin.name
        )
        try:
            self._manager.register(plugin.instance, unique)
        except pluggy.PluginValidationError as error:
            raise plugin.error(f"has a hook that does not fit: {' '.join(str(error).split())}") from None
        self._plugins.append(plugin)
        self._offers.clear()

    def _misnamed_hooks(self, instance: object) -> Iterator[str]:
        known = [name for name in hookspecs.__all__ if name.startswith("scepflow_")]
        for name in dir(instance):
            marked = self._manager.parse_hookimpl_opts(instance, name)
            if marked is None and name in known:
                yield f"has {name} without @hookimpl"
            if (
                marked is not None
                and (marked["specname"] or name) not in known
                and not marked["optionalhook"]
            ):
                near = _closest(name, known)
                guess = f"; did you mean {near}?" if near else ""
                yield f"has a hook that does not exist, {name}{guess}"

    def _offered(self, kind: str) -> list[StageInfo]:
        if kind not in self._offers:
            self._problems = [(k, error) for k, error in self._problems if k != kind]
            self._offers[kind] = [offer for plugin in self._plugins for offer in self._ask(plugin, kind)]
        return self._offers[kind]

    def _ask(self, plugin: _Plugin, kind: str) -> Iterator[StageInfo]:
        hook = HOOKS[kind][0]
        try:
            classes = dict.fromkeys(cls for answer in self._hook_of(plugin, hook)() for cls in answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # whatever a stranger's hook does
            self._problems.append((kind, plugin.error(f"failed in {hook}: {_words(error)}")))
            return
        for cls in classes:
            if flaw := _flaw(cls, kind):
                self._problems.append((kind, plugin.error(f"offers {flaw}")))
            else:
                yield _info(cls, kind, plugin)

    def _hook_of(self, plugin: _Plugin, hook: str) -> pluggy.HookCaller:
        others = [p.instance for p in self._plugins if p is not plugin]
        return self._manager.subset_hook_caller(hook, remove_plugins=others)

    def _unknown(self, kind: str, name: str) -> UnknownStageError:
        known = sorted({offer.name for offer in self._offered(kind)})
        error = UnknownStageError(
            kind=KINDS[kind].kind, name=sanitise(name), known=known, close_match=_closest(name, known)
        )
        broken = [problem.message for k, problem in self._problems if k in (None, kind)]
        error.hint = "; ".join([error.hint or "", *broken])
        return error


def _flaw(cls: Any, kind: str) -> str | None:
    """Return why a class cannot be used as a stage of that kind, or None."""
    base, method = KINDS[kind], HOOKS[kind][1]
    if not isinstance(cls, type):
        return f"an instance of {type(cls).__name__} as a {base.kind}; a class is wanted"
    if not issubclass(cls, base):
        return f"{cls.__name__} as a {base.kind}, which is no {base.__name__}"
    if getattr(cls, method) is getattr(base, method):
        return f"{cls.__name__}, which does not define {method}()"
    # A Struct without a tag of its own is tagged with its class name.
    if cls.__struct_config__.tag_field != "use" or not _STAGE_NAME.fullmatch(cls.stage_name()):
        return f'{cls.__name__} without a name; write class {cls.__name__}({base.__name__}, tag="name")'
    return None


def _info(cls: type[Stage], kind: str, plugin: _Plugin) -> StageInfo:
    return StageInfo(
        kind=kind,
        name=cls.stage_name(),
        cls=cls,
        plugin=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        summary=next(iter((cls.__doc__ or "").strip().splitlines()), ""),
    )


def _clash(found: Sequence[StageInfo]) -> PluginError:
    first, *_ = found
    who = " and ".join(offer.origin for offer in found)
    return PluginError(
        f'{KINDS[first.kind].kind} "{first.name}" is offered by {who}',
        plugin=first.plugin,
        distribution=first.distribution,
        version=first.version,
        hint="remove one of them, or leave its plugin out with `-p no:NAME`",
    )


def _one_off(word: str) -> _Plugin:
    """Load what ``-p`` names, a ``.py`` file or a module."""
    import importlib

    is_file = word.endswith(".py") or "/" in word
    try:
        return _Plugin(_load_file(Path(word)) if is_file else importlib.import_module(word), word)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _Plugin(None, word).error(f"cannot be imported: {_words(error)}") from error


def _load_file(path: Path) -> object:
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    name = f"scepflow_plugin:{path.resolve()}"  # the whole path: two files may share a stem
    spec = spec_from_loader(name, SourceFileLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # msgspec looks here to resolve the annotations of its Structs
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _closest(word: str, known: Sequence[str]) -> str | None:
    import difflib  # only an error pays for it

    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def _words(error: BaseException) -> str:
    return sanitise(f"{type(error).__name__}: {error}", limit=300)
