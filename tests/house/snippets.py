"""Code blocks of the READMEs, so that tests can run what they show.

``<!-- test: skip (why) -->`` on the line before a block leaves it out, ``<!-- test: pyproject -->`` says that TOML is no
pipeline. A block that begins with ``# NAME.py`` or ``# NAME.toml`` is that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"^(?:<!-- test: (?P<mark>.*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_SKIP = re.compile(r"skip \(.+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """One code block; ``heading`` is the one above it, ``line`` where it stands."""

    file: str
    line: int
    heading: str
    language: str
    mark: str
    text: str

    @property
    def name(self) -> str:
        """The name of the file that the block is, or ""."""
        match = re.match(r"# ([\w.]+\.(?:py|toml))\n", self.text)
        return match[1] if match else ""

    @property
    def skipped(self) -> bool:
        return bool(_SKIP.fullmatch(self.mark))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def snippets(file: str, language: str) -> list[Snippet]:
    """Return the blocks of one language in a file, named relative to the root; none if there is no such file."""
    path = ROOT / file
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    headings = [(match.start(), match[1]) for match in _HEADING.finditer(re.sub(_BLOCK, _blank, text))]
    return [
        Snippet(
            file=file,
            line=text.count("\n", 0, match.start("text")) + 1,
            heading=next((title for at, title in reversed(headings) if at < match.start()), ""),
            language=match["language"],
            mark=match["mark"] or "",
            text=match["text"],
        )
        for match in _BLOCK.finditer(text)
        if match["language"] == language
    ]


def _blank(match: re.Match[str]) -> str:
    """A comment in a block is no heading; offsets stay."""
    return " " * len(match[0])
