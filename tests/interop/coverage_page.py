"""COVERAGE.md, made from the table: ``python tests/interop/coverage_page.py`` renews it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from departures import DEPARTURES
from items import GROUPS, ITEMS
from rows import Elsewhere, Row
from table import TABLE

from scepflow.testca.behaviours import all_behaviours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PAGE = Path(__file__).with_name("COVERAGE.md")

_HEAD = """\
# What servers send and attackers try, and what comes of it

Made from the tables in this folder by `python tests/interop/coverage_page.py`; a test fails when it is out of date.

C is a rule of RFC 8894 or of careful clients, Q is what some real server does, S is an attack. Below each stands what shows it:

- **A run.** `name` is a behaviour of the test CA, `scepflow testca --behave name`; without one the CA is an honest one. A whole
  pipeline is run against it, over HTTP on loopback. After → stands what must come of it: a certificate (the CA's, for our key,
  delivered alone) or a refusal with its exit code, the check that refuses, and a part of what is said. A refusal leaves every
  file as it was.
- **A test**, by its pytest name.
- **Why**, where that is not, or not quite, what one would expect of the item.

Every item is shown, a server's matter by the test CA.
"""

_PARTS = {"C": "Rules", "Q": "Servers", "S": "Attacks"}


def page() -> str:
    """Return the text of COVERAGE.md."""
    return "\n".join([_HEAD, *_counts(), *_body()]) + "\n"


def _counts() -> Iterator[str]:
    """Count each item once."""
    yield "| | items | shown by runs | by other tests |"
    yield "|---|---|---|---|"
    ways = {
        kind: {item for part in TABLE if isinstance(part, kind) for item in part.items} for kind in _KINDS
    }
    for letter, title in (*_PARTS.items(), ("", "together")):
        items = {item for item in ITEMS if item.startswith(letter)}
        run = items & ways[Row]
        tested = items & ways[Elsewhere] - run
        yield f"| {title} | {len(items)} | {len(run)} | {len(tested)} |"


_KINDS: tuple[type[Row | Elsewhere], ...] = (Row, Elsewhere)


def _body() -> Iterator[str]:
    summaries = {name: behaviour.summary for name, behaviour in all_behaviours().items()}
    letter = ""
    for item, what in ITEMS.items():
        if item[0] != letter:
            letter = item[0]
            yield f"\n## {_PARTS[letter]}"
        if item in GROUPS:
            yield f"\n### {GROUPS[item]}"
        yield f"\n**{item}** {what}\n"
        shown = [_line(part, summaries) for part in TABLE if item in part.items]
        yield from (f"- {line}" for line in dict.fromkeys(shown))
        if item in DEPARTURES:
            yield f"- *Why:* {DEPARTURES[item]}"


def _line(part: Row | Elsewhere, summaries: Mapping[str, str]) -> str:
    if isinstance(part, Elsewhere):
        return f"`{part.test}`"
    behave = "; ".join(f"`{name}` {summaries[name]}" for name in part.behave)
    title = f"*{part.title}*" if part.title else ""
    return f"{', '.join(filter(None, (behave, title)))} → {part.expected.words}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
