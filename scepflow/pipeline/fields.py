"""Values against the types of a Struct's fields: conversion, and every fault at once.

msgspec stops at the first error and names no place. So a value that does not
convert is taken apart, and its parts are converted one by one.
Must never hold: positions in a file, or knowledge of a single table.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from scepflow.errors import OptionError
from scepflow.options import Duration, FileMode, Secret, Template
from scepflow.pipeline.locate import KeyPath, dotted
from scepflow.text import sanitise

__all__ = [
    "Fault",
    "as_toml",
    "choices",
    "closest",
    "faults",
    "fields_of",
    "filler",
    "members",
    "near",
    "parts",
]

Hook = Callable[[Any, Any], Any]

MANY = 100
"""So many errors of one file are shown, and so often is guessed what was meant."""

_WORDS = {
    "str": "text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "",
    "list": "a list",
    "dict": "a table",
}
LOGIN = re.compile(r"(?<=://)[^/?#\s\"']*@")
"""The user name and password in a URL, with the @."""

_EXPECTED = re.compile(r"Expected `([^`]*)`(.*?)(?:, got `?[^`]*`?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: the key path of the value, or of the table that lacks something.
        message: what is wrong, without secrets.
        hint: what to do about it, or None.
        at: whether the key or the value is to blame.
    """

    path: KeyPath
    message: str
    hint: str | None = None
    at: Literal["key", "value"] = "value"


def filler(values: Mapping[str, str]) -> Hook:
    """Return the msgspec ``dec_hook`` that makes option types, with templates filled in.

    Args:
        values: the names that templates may use, and their values.
    """

    def hook(type_: Any, value: Any) -> Any:
        if not issubclass(type_, Template):
            return type_(value)
        if not isinstance(value, str):
            raise OptionError(f"must be text, got {_kind_of(value)}")
        return type_.fill(value, values)

    return hook


@lru_cache(maxsize=256)  # a class never changes, and msgspec resolves its annotations anew each time
def fields_of(cls: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return a Struct's fields by their names in TOML."""
    return {field.encode_name: field for field in msgspec.structs.fields(cls)}


def members(type_: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type, without annotations and None."""
    renamed = getattr(
        type_, "__supertype__", getattr(type_, "__value__", None)
    )  # NewType, or a type statement
    if get_origin(type_) is Annotated or renamed:
        return members(renamed or get_args(type_)[0])
    if get_origin(type_) in (Union, types.UnionType):
        return tuple(member for arg in get_args(type_) for member in members(arg))
    return () if type_ is type(None) else (type_,)


def choices(type_: Any) -> tuple[Any, ...]:
    """Return the values that a Literal or Enum type allows, or nothing for another type."""
    found: list[Any] = []
    for member in members(type_):
        if get_origin(member) is Literal:
            found += get_args(member)
        elif isinstance(member, type) and issubclass(member, Enum):
            found += [choice.value for choice in member]
        else:
            return ()
    return tuple(found)


def parts(value: Any, type_: Any) -> list[tuple[str | int, Any, Any]]:
    """Return key, value and type of everything inside a value that its type knows."""
    for member in members(type_):
        origin = get_origin(member) or member
        if not isinstance(origin, type):
            continue
        args = get_args(member) or (Any, Any)
        if isinstance(value, dict) and issubclass(origin, msgspec.Struct) and _has_tag(value, origin):
            known = fields_of(origin)
            return [(key, inner, known[key].type) for key, inner in value.items() if key in known]
        if isinstance(value, dict) and issubclass(origin, Mapping):
            return [(key, inner, args[-1]) for key, inner in value.items()]
        if isinstance(value, list) and issubclass(origin, tuple) and args[-1] is not Ellipsis:
            return [(index, inner, arg) for index, (inner, arg) in enumerate(zip(value, args, strict=False))]
        if isinstance(value, list) and issubclass(origin, Sequence | set | frozenset) and origin is not str:
            return [(index, inner, args[0]) for index, inner in enumerate(value)]
    return []


def _has_tag(value: Mapping[str, Any], cls: type[msgspec.Struct]) -> bool:
    config = cls.__struct_config__
    return config.tag_field is None or value.get(config.tag_field, config.tag) == config.tag


def faults(value: Any, type_: Any, hook: Hook, *, path: KeyPath = ()) -> Iterator[Fault]:
    """Yield everything that keeps a value from being of a type.

    Args:
        value: a TOML value.
        type_: the type of a Struct's field, or a Struct.
        hook: what `filler` returned.
        path: the value's key path.

    Raises:
        Exception: anything but ValidationError and OptionError that the type itself raises.
    """
    try:
        msgspec.convert(value, type_, dec_hook=hook)
        if not isinstance(value, dict | list):
            return
        own = None
    except (msgspec.ValidationError, OptionError) as error:
        own = error
    inside = [
        fault
        for key, inner, inner_type in parts(value, type_)
        for fault in faults(inner, inner_type, hook, path=(*path, key))
    ]
    yield from inside
    for member in members(type_):
        if isinstance(value, dict) and _is_struct(member) and _has_tag(value, member):
            yield from _struct_faults(
                value, member, hook, path=path, wrong={f.path[len(path)] for f in inside}
            )
            return
    if own is not None and not inside:
        yield _describe(own, value, type_, path=path)


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _struct_faults(
    value: dict[str, Any], cls: type[msgspec.Struct], hook: Hook, *, path: KeyPath, wrong: set[str | int]
) -> Iterator[Fault]:
    """Yield unknown and missing keys, then what the Struct's own rules across fields find."""
    known = fields_of(cls)
    table = f"[{dotted(path)}]"
    listed = f"known: {', '.join(sorted(known))}"
    unknown = [key for key in value if key not in known and key != cls.__struct_config__.tag_field]
    missing = [key for key, field in known.items() if field.required and key not in value]
    for number, key in enumerate(unknown):
        guess = near(key, known) if number < MANY else ""
        yield Fault((*path, key), f'unknown key "{sanitise(key)}" in {table}', guess + listed, "key")
    misspelt = {word for word in (closest(key, known) for key in unknown[:MANY]) if word}
    for key in missing:
        if key not in misspelt:
            yield Fault((*path, key), f'missing key "{key}" in {table}')
    out = wrong.union(unknown)
    left = {key: inner for key, inner in value.items() if key not in out}
    if not missing:
        yield from _rule_faults(left, cls, hook, path=path, taken={*map(str, wrong), *misspelt})


def _rule_faults(
    value: dict[str, Any], cls: type[msgspec.Struct], hook: Hook, *, path: KeyPath, taken: set[str]
) -> Iterator[Fault]:
    """Convert, record, take the offending value, or element of a list, out, convert again.

    A rule that speaks of a key which was taken out before is not believed: it
    may only miss what was taken.
    """
    required = {key for key, field in fields_of(cls).items() if field.required}
    stood: dict[str, list[int]] = {}  # list → where its elements stood before some were taken out
    for _ in range(MANY):
        error = _broken_rule(value, cls, hook)
        if error is None or taken & required:
            return
        key, index = _element(error.where, value)
        foreign = taken if index is None else taken - {key}
        if (taken and key not in value) or foreign & set(re.findall(r"\w+", error.message)):
            return
        if index is None:
            name, at = key, path + (key,) * (key in value)
            value = {other: inner for other, inner in value.items() if other != key}
        else:
            place = stood.setdefault(key, list(range(len(value[key])))).pop(index)
            name, at = f"{key}[{place}]", (*path, key, place)
            value = {**value, key: value[key][:index] + value[key][index + 1 :]}
        named = f"{name}: {error.message}" if name and name not in error.message else error.message
        yield Fault(at, named, error.hint)
        if at == path:
            return
        taken = {*taken, key}


def _broken_rule(value: dict[str, Any], cls: type[msgspec.Struct], hook: Hook) -> OptionError | None:
    try:
        msgspec.convert(value, cls, dec_hook=hook)
    except OptionError as error:
        return error
    except msgspec.ValidationError as error:
        return OptionError(str(error))
    return None


def _element(where: str, value: Mapping[str, Any]) -> tuple[str, int | None]:
    """Return key and index of what a rule found: of ``san[2]``, or a key alone."""
    match = re.fullmatch(r"(.+)\[([0-9]{1,6})\]", where)
    if match and isinstance(value.get(match[1]), list) and int(match[2]) < len(value[match[1]]):
        return match[1], int(match[2])
    return where, None


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a word, or None when none is."""
    import difflib  # only a file with errors pays for it

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def near(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean "x"?`` followed by two spaces, or ""."""
    found = closest(word, known)
    return f'did you mean "{found}"?  ' if found else ""


def _describe(error: Exception, value: Any, type_: Any, *, path: KeyPath) -> Fault:
    """Put what msgspec or an option type says of one value into words."""
    name = next((str(key) for key in reversed(path) if isinstance(key, str)), "")
    name += "".join(f"[{key}]" for key in path[-1:] if isinstance(key, int))
    if isinstance(error, OptionError):
        joint = " " if error.message.startswith("must ") else ": "
        return Fault(path, f"{name}{joint}{error.message}", error.hint)
    allowed = choices(type_)
    if allowed:
        words = [str(choice) for choice in allowed]
        guess = near(str(value), words).strip()
        return Fault(path, f'{name} must be {_one_of(words)}, got "{sanitise(str(value))}"', guess or None)
    match = _EXPECTED.fullmatch(str(error))
    if match is None:
        return Fault(path, f"{name}: {sanitise(str(error))}")
    wanted = [_WORDS.get(word, word) for word in match[1].split(" | ")]
    got = _shown(value) if match[2] else _kind_of(value)
    return Fault(
        path, f"{name} must be {' or '.join(filter(None, wanted))}{match[2]}{f', got {got}' if got else ''}"
    )


def _one_of(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _shown(value: Any) -> str:
    """Return a number as it is; never text, which may be a secret."""
    return str(value) if isinstance(value, int | float) else ""


def _kind_of(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return _WORDS.get(type(value).__name__, f"a {type(value).__name__}")


def as_toml(value: Any) -> Any:  # noqa: PLR0911  # one line per type
    """Return an option's value as plain values; of a secret only its origin, of a URL no login."""
    if isinstance(value, Duration | FileMode):
        return value.text
    if isinstance(value, Secret):
        return {"secret": value.origin}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, msgspec.Struct):
        return {key: as_toml(getattr(value, field.name)) for key, field in fields_of(type(value)).items()}
    if isinstance(value, Mapping):
        return {str(key): as_toml(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_toml(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return LOGIN.sub("", str(value))
