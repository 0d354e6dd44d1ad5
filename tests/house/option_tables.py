"""The options in pipelines/README.md, made from the stages' classes: ``python tests/house/option_tables.py`` renews them.

``<!-- options: sink file -->`` to ``<!-- /options -->`` holds what the class says of itself; nothing else is touched.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

from scepflow.pipeline.model import CaOptions, RenewOptions
from scepflow.pipeline.schema import option_table
from scepflow.registry import Registry

if TYPE_CHECKING:
    import msgspec

README = Path(__file__).parents[2] / "pipelines" / "README.md"

_REGION = re.compile(r"(<!-- options: (.*?) -->\n).*?(<!-- /options -->)", re.DOTALL)


def renewed(text: str) -> str:
    """Return the README's text with current options.

    Raises:
        KeyError: it has a mark for a table or stage that does not exist.
    """
    known = regions()
    return _REGION.sub(lambda match: f"{match[1]}{known[match[2]]}\n{match[3]}", text)


def marked(text: str) -> list[str]:
    """Return the marks of a text in their order, such as ``sink file``."""
    return [mark for _, mark, _ in _REGION.findall(text)]


def regions() -> dict[str, str]:
    """Return what belongs at each mark, as Markdown."""
    stages = [info for info in Registry.discover().stages() if info.plugin == "bundled"]
    return {
        "ca": _markdown(option_table(CaOptions)),
        **{f"{info.kind} {info.name}": _described(info.cls) for info in stages},
        "renew": _markdown(option_table(RenewOptions)),
    }


def example(cls: type) -> str:
    """Return the TOML that a stage's docstring shows, or ""."""
    return "\n".join(block for is_code, block in _blocks(cls) if is_code)


def _described(cls: type[msgspec.Struct]) -> str:
    parts = [f"```toml\n{block}\n```" if is_code else _markdown(block) for is_code, block in _blocks(cls)]
    return "\n\n".join([*parts, _markdown(option_table(cls))])


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _blocks(cls: type) -> list[tuple[bool, str]]:
    """The docstring above ``Attributes:``, as paragraphs and indented code."""
    prose = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:")[0].rstrip()
    blocks = re.split(r"\n\n(?=\S)|(?<!\n)\n\n(?=    \S)", prose)
    return [(block.startswith("    "), inspect.cleandoc(block)) for block in blocks]


if __name__ == "__main__":
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
