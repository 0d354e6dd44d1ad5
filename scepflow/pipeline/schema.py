"""What a pipeline file may hold, for editors (JSON Schema) and for the manual (tables of options).

Must never hold: text about an option that is not in its Struct or its docstring.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec
from msgspec import inspect as shapes

from scepflow.options import Duration, FileMode, NameTemplate, PathTemplate, Secret, Template, UrlTemplate
from scepflow.pipeline.fields import as_toml, choices, fields_of, members
from scepflow.pipeline.model import CaOptions, RenewOptions
from scepflow.pipeline.validate import DEFAULT_USE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scepflow.registry import Registry, StageInfo

__all__ = ["attribute_docs", "option_table", "pipeline_schema"]

Schema = dict[str, Any]

_SECRET: Schema = {
    "oneOf": [
        {"type": "string", "description": "Literal text, which earns a warning."},
        *(
            {
                "type": "object",
                "properties": {source: words},
                "required": [source],
                "additionalProperties": False,
            }
            for source in Secret.SOURCES
            for words in (
                [{"type": "array", "items": {"type": "string"}, "minItems": 1}]
                if source == "command"
                else [{"type": "string", "minLength": 1}]
            )
        ),
    ]
}
_OPTION_TYPES: dict[type, tuple[str, Schema]] = {
    Duration: ("duration", {"type": "string", "pattern": "^ *([0-9]+(\\.[0-9]+)? *[smhd] *)+$"}),
    FileMode: ("file mode", {"type": "string", "pattern": "^0?[0-7]{3}$"}),
    Secret: ("secret", _SECRET),
    NameTemplate: ("name (template)", {"type": "string"}),
    PathTemplate: ("path (template)", {"type": "string", "minLength": 1}),
    UrlTemplate: ("URL (template)", {"type": "string"}),
    Template: ("text (template)", {"type": "string"}),
}
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
_WORDS = {Any: "anything", str: "text", int: "integer", float: "number", bool: "true or false"}


def attribute_docs(cls: type) -> dict[str, str]:
    """Return what the ``Attributes:`` sections of a class and its bases say, by attribute, one line each."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs |= _attributes(inspect.cleandoc(base.__doc__ or ""))
    return docs


def _attributes(docstring: str) -> dict[str, str]:
    section = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)*)", docstring, re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(section[1]).splitlines() if section else []:
        start = re.fullmatch(r"(\w+)(?: \([^)]*\))?: *(.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif found:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


# -- the manual


def option_table(stage_cls: type[msgspec.Struct]) -> str:
    """Return a stage's options as a Markdown table: option, type, default, meaning."""
    docs = attribute_docs(stage_cls)
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for key, field in fields_of(stage_cls).items():
        cells = (f"`{key}`", type_words(field.type), _default_words(field), docs.get(field.name, ""))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def type_words(type_: Any) -> str:
    """Return a field's type in the words of the manual."""
    allowed = choices(type_)
    if allowed:
        return ", ".join(f"`{_toml(choice)}`" for choice in allowed)
    return " or ".join(dict.fromkeys(_member_words(member) for member in members(type_)))


def _member_words(member: Any) -> str:
    origin, args = get_origin(member) or member, get_args(member)
    if origin is Literal:
        return ", ".join(f"`{_toml(choice)}`" for choice in args)
    if issubclass(origin, list | tuple | set | frozenset):
        return f"list of {type_words(args[0])}" if args else "list"
    if issubclass(origin, dict):
        return f"table of {type_words(args[1])}" if args else "table"
    if issubclass(origin, msgspec.Struct):
        return f"table ({', '.join(fields_of(origin))})"
    return _WORDS.get(origin) or next(
        (words for cls, (words, _) in _OPTION_TYPES.items() if issubclass(origin, cls)), "text"
    )


def _default_words(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "**required**"
    default = _default_of(field)
    return "" if default in (None, [], {}) else f"`{_toml(default)}`"


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    made = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return as_toml(made)


def _toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# -- editors


def pipeline_schema(registry: Registry) -> Schema:
    """Return a JSON Schema (draft-07) of pipeline files with every stage that is installed.

    What a file lacks is only an error for one that extends no other.

    Args:
        registry: its stages are described; a kind's alternatives are told apart by ``use``.
    """
    stages = list({(info.kind, info.name): info for info in registry.stages()}.values())
    tables = {kind: [info for info in stages if info.kind == kind] for kind in DEFAULT_USE}
    sinks = [info for info in stages if info.kind == "sink"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "scepflow pipeline",
        "type": "object",
        "properties": {
            "extends": {
                "description": "File, or files, whose tables lie under this file's.",
                "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            },
            "vars": {
                "description": "Values for {var.NAME}.",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "ca": _struct_schema(CaOptions),
            **{kind: _choice(infos, default=DEFAULT_USE[kind]) for kind, infos in tables.items()},
            "renew": _struct_schema(RenewOptions),
            "sink": {
                "description": "Output sinks by name; the name is what `use` is unless given.",
                "type": "object",
                "properties": {info.name: _choice(sinks, default=info.name) for info in sinks},
                "additionalProperties": _choice(sinks, default=None),
            },
        },
        "additionalProperties": False,
        "definitions": {f"{info.kind}.{info.name}": _stage_schema(info) for info in stages},
        "if": {"required": ["extends"]},
        "else": _completeness(tables, sinks),
    }


def _choice(infos: Iterable[StageInfo], *, default: str | None) -> Schema:
    """Return the alternatives of a table: exactly one fits, by what ``use`` is."""
    alternatives: list[Schema] = []
    for info in infos:
        reference = {"$ref": f"#/definitions/{info.kind}.{info.name}"}
        alternatives.append(
            reference if info.name == default else {"allOf": [reference, {"required": ["use"]}]}
        )
    return {"type": "object", "oneOf": alternatives} if alternatives else {"type": "object"}


def _stage_schema(info: StageInfo) -> Schema:
    schema = _struct_schema(info.cls)
    use = {"description": f"{info.summary} ({info.origin})", "const": info.name}
    return {**schema, "description": info.summary, "properties": {"use": use, **schema["properties"]}}


def _completeness(tables: dict[str, list[StageInfo]], sinks: list[StageInfo]) -> Schema:
    """Return what must be there in a file that extends no other."""
    return {
        "required": ["ca", "csr", "sink"],
        "properties": {
            "ca": {"required": ["url"]},
            **{kind: _needs(infos, default=DEFAULT_USE[kind]) for kind, infos in tables.items()},
            "sink": {
                "minProperties": 1,
                "properties": {info.name: _needs(sinks, default=info.name) for info in sinks},
                "additionalProperties": _needs(sinks, default=None),
            },
        },
    }


def _needs(infos: Iterable[StageInfo], *, default: str | None) -> Schema:
    rules: list[Schema] = []
    for info in infos:
        needed = [key for key, field in fields_of(info.cls).items() if field.required]
        if needed:
            is_it: Schema = {"properties": {"use": {"const": info.name}}}
            # Without `use` the condition holds for the default alone.
            is_it |= {} if info.name == default else {"required": ["use"]}
            rules.append({"if": is_it, "then": {"required": needed}})
    return {"allOf": rules} if rules else {}


def _struct_schema(cls: type[msgspec.Struct]) -> Schema:
    docs = attribute_docs(cls)
    shape = shapes.type_info(cls)
    assert isinstance(shape, shapes.StructType)
    properties = {}
    for field, info in zip(shape.fields, fields_of(cls).values(), strict=True):
        schema = {"description": docs[field.name]} if field.name in docs else {}
        schema |= _type_schema(field.type)
        default = None if info.required else _default_of(info)
        properties[field.encode_name] = schema if default is None else {**schema, "default": default}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _type_schema(shape: shapes.Type) -> Schema:  # noqa: PLR0911  # one line per type
    match shape:
        case shapes.UnionType(types=types):
            found = [_type_schema(inner) for inner in types if not isinstance(inner, shapes.NoneType)]
            return found[0] if len(found) == 1 else {"anyOf": found}
        case shapes.CustomType(cls=cls):
            known = (schema for base, (_, schema) in _OPTION_TYPES.items() if issubclass(cls, base))
            return next(known, {})
        case shapes.LiteralType(values=values):
            return {"enum": list(values)}
        case shapes.EnumType(cls=cls):
            return {"enum": [member.value for member in cls]}
        case shapes.StructType(cls=cls):
            required = [field.encode_name for field in shape.fields if field.required]
            return {**_struct_schema(cls), **({"required": required} if required else {})}
        case shapes.TupleType(item_types=types):
            return {
                "type": "array",
                "items": [_type_schema(t) for t in types],
                "minItems": len(types),
                "maxItems": len(types),
            }
        case shapes.CollectionType(item_type=item):
            sizes = {"minItems": shape.min_length, "maxItems": shape.max_length}
            return {
                "type": "array",
                "items": _type_schema(item),
                **{k: v for k, v in sizes.items() if v is not None},
            }
        case shapes.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _type_schema(value)}
        case shapes.Metadata(type=inner, extra_json_schema=extra):
            return {**_type_schema(inner), **(extra or {})}
        case _:
            return _scalar_schema(shape)


def _scalar_schema(shape: shapes.Type) -> Schema:
    names = {
        shapes.StrType: "string",
        shapes.IntType: "integer",
        shapes.FloatType: "number",
        shapes.BoolType: "boolean",
    }
    if type(shape) not in names:
        return {}  # dates and whatever else TOML may hold
    bounds = {word: getattr(shape, bound, None) for bound, word in _BOUNDS.items()}
    return {
        "type": names[type(shape)],
        **{word: bound for word, bound in bounds.items() if bound is not None},
    }
