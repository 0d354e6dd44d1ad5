"""JSON-able values as an indented tree for people.

Must never hold: knowledge of what the values mean, or text that was not sanitised before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["tree_lines"]

_STEP = "  "


def tree_lines(values: Mapping[str, Any], *, indent: str = _STEP) -> Iterator[str]:
    """Yield a tree's lines: a name and its value on each, tables and lists below their names.

    What is None or empty is left out. A table of ``number`` and ``name`` takes one line, and so does one of
    ``name`` and ``value``.

    Args:
        values: texts, numbers, truths, lists and tables, by their names.
        indent: what every line begins with.
    """
    present = {name: value for name, value in values.items() if value not in (None, [], {}, "")}
    width = max((len(_label(name)) for name, value in present.items() if _text(value) is not None), default=0)
    for name, value in present.items():
        text = _text(value)
        if text is not None:
            yield f"{indent}{_label(name):{width}}  {text}"
        elif isinstance(value, dict):
            yield f"{indent}{_heading(name, value)}"
            yield from tree_lines(_below(value), indent=indent + _STEP)
        else:
            yield from _list_lines(name, value, indent)


def _list_lines(name: str, items: Sequence[Any], indent: str) -> Iterator[str]:
    if all(isinstance(item, dict) and "value" in item for item in items):
        yield f"{indent}{click.style(_label(name), bold=True)}"
        yield from tree_lines({item["name"]: _named_value(item) for item in items}, indent=indent + _STEP)
        return
    for number, item in enumerate(items, start=1):
        one = name.removesuffix("s")
        which = f"{one} {number}" if len(items) > 1 else one
        yield f"{indent}{_heading(which, item)}"
        yield from tree_lines(_below(item), indent=indent + _STEP)


def _named_value(item: Mapping[str, Any]) -> str:
    return f"{item['value']}{' (critical)' if item.get('critical') else ''}"


def _heading(name: str, table: Mapping[str, Any]) -> str:
    label = click.style(_label(name), bold=True)
    return f"{label}: {table['title']}" if "title" in table else label


def _below(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in table.items() if name not in ("kind", "title") or "title" not in table
    }


def _label(name: str) -> str:
    return re.sub(r"_s$", "_(s)", name).replace("_", " ")


def _text(value: Any) -> str | None:
    """Return a value that fits behind its name, or None for one that goes below it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return f"{value['name']} ({value['number']})" if value.keys() == {"name", "number"} else None
    if isinstance(value, list):
        return None if any(isinstance(item, dict) for item in value) else ", ".join(map(str, value))
    return str(value)
