"""How errors, times and sizes are said to people.

Must never hold: I/O, or text from a server that did not go through sanitise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from scepflow.errors import StageError, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from scepflow.errors import ScepflowError

__all__ = ["counted", "digits", "duration", "error_lines", "plain_url", "shout", "until", "with_exit_code"]


def duration(seconds: float) -> str:
    """Return such as ``350 ms``, ``4 m 12 s`` or ``1 h 22 m``: the two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10 and seconds % 1:
        return f"{seconds:.1f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours and h, "h"), (m, "m"), (s, "s")) if n]
    return " ".join(parts[:2]) or "0 s"


def until(moment: datetime, now: datetime) -> str:
    """Return such as ``2027-11-23 (364 d)``; the time of day where it is near."""
    left_s = (moment - now).total_seconds()
    if left_s < 0:
        return f"{moment:%Y-%m-%d %H:%M} UTC (past)"
    days = int(left_s // 86400)
    return (
        f"{moment:%Y-%m-%d} ({days} d)" if days >= 2 else f"{moment:%Y-%m-%d %H:%M} UTC ({duration(left_s)})"
    )


def digits(number: int) -> str:
    """Return such as ``2 613``."""
    return f"{number:,}".replace(",", " ")


def counted(number: int, noun: str) -> str:
    """Return such as ``1 pipeline`` or ``3 pipelines``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shout(word: str, color: str) -> str:
    """Return a word in a bold colour."""
    return click.style(word, fg=color, bold=True)


def plain_url(url: str) -> str:
    """Return an address without user name, password, query and fragment, which may hold a secret."""
    return re.sub(r"//[^/?#]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])


def error_lines(error: ScepflowError, context: Sequence[str] = ()) -> Iterator[str]:
    """Yield an error as lines: what went wrong, where, and what to do."""
    yield f"{shout('error:', 'red')} {error.message}"
    part = ""
    if isinstance(error, StageError):
        part = f"{error.kind} {error.name}".strip()
    elif isinstance(error, TrustError):
        part = f"check {error.check}"  # as `relax` names it
    where = ", ".join(filter(None, [*context[:1], part, *context[1:]]))
    if where:
        yield f"  {where}"
    if error.hint:
        first, *more = error.hint.splitlines()
        yield f"  {click.style('hint:', bold=True)} {first}"
        yield from (f"  {line}" for line in more)


def with_exit_code(lines: Sequence[str], code: int, width: int) -> list[str]:
    """Return lines with the exit code at the right of the last one, or below it where there is no room.

    Args:
        lines: one or more, with or without colours.
        code: 0 to 255.
        width: columns of the terminal; 0 when nobody looks, and then nothing is added.
    """
    if not width:
        return list(lines)
    said = f"exit {code}"
    room = width - len(click.unstyle(lines[-1])) - len(said)
    dim = click.style(said, dim=True)
    if room < 2:
        return [*lines, " " * (width - len(said)) + dim]
    return [*lines[:-1], lines[-1] + " " * room + dim]
