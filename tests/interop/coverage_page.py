"""COVERAGE.md, made from the table: ``python tests/interop/coverage_page.py`` renews it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from items import ITEMS
from rows import Elsewhere, Row
from table import TABLE

from scepflow.testca.behaviours import all_behaviours

if TYPE_CHECKING:
    from rows import NotOurs

PAGE = Path(__file__).with_name("COVERAGE.md")

_HEAD = """\
# What servers send and attackers try, and what comes of it

Generated from the tables in this folder by `python tests/interop/coverage_page.py`; a test fails when it is out of date.
C is a rule of RFC 8894 or of careful clients, Q is what some real server does, S is an attack.
A row with a behaviour is run against `scepflow testca --behave NAME`: whole pipeline, over HTTP on loopback.
"""

_PARTS = {
    "C": "Rules",
    "Q": "Servers",
    "S": "Attacks",
}


def page() -> str:
    """Return the text of COVERAGE.md."""
    summaries = {name: behaviour.summary for name, behaviour in all_behaviours().items()}
    parts = [_HEAD, _counts()]
    for letter, title in _PARTS.items():
        lines = [f"## {title}", "", "| item | what | shown by | outcome |", "|---|---|---|---|"]
        for item, what in ITEMS.items():
            if item.startswith(letter):
                lines += [
                    f"| {item} | {what} | {shown} | {outcome} |" for shown, outcome in _shown(item, summaries)
                ]
        parts.append("\n".join(lines))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _counts() -> str:
    shown = {item for part in TABLE if isinstance(part, Row) for item in part.items}
    elsewhere = {item for part in TABLE if isinstance(part, Elsewhere) for item in part.items} - shown
    return (
        f"{len(ITEMS)} items: {len(shown)} shown by rows of the table, {len(elsewhere)} by other tests, "
        f"{len(ITEMS) - len(shown) - len(elsewhere)} not a client's matter."
    )


def _shown(item: str, summaries: dict[str, str]) -> list[tuple[str, str]]:
    return [_cells(part, summaries) for part in TABLE if item in part.items]


def _cells(part: Row | Elsewhere | NotOurs, summaries: dict[str, str]) -> tuple[str, str]:
    if isinstance(part, Row):
        behave = "; ".join(f"`{name}`: {summaries[name]}" for name in part.behave)
        return ": ".join(filter(None, (behave, part.title))), part.expected.words
    if isinstance(part, Elsewhere):
        return f"`{part.test}`", "passes"
    return "not a client's matter", part.reason


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
