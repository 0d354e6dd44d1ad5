"""What the rows of the interop table are made of: items of the lists, a behaviour of the test CA, what must come of it.

Items: C-… is a rule of RFC 8894, Q-… is what some real server sends, S-… is an attack; `items` has them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a run must come to.

    Attributes:
        exit_code: as of ``scepflow run``.
        check: the name of the check that must refuse, or None.
        says: a part of what is said, in an error or a warning, or "".
        warns: code of a warning that must be given, or None.
        recovers: whether the same pipeline gets its certificate as soon as the CA behaves.
    """

    exit_code: int
    check: str | None = None
    says: str = ""
    warns: str | None = None
    recovers: bool = True

    @property
    def words(self) -> str:
        """The outcome, as a page shows it."""
        what = "certificate" if self.exit_code == 0 else f"refused, exit {self.exit_code}"
        check = f", check `{self.check}`" if self.check else ""
        warns = f", warning `{self.warns}`" if self.warns else ""
        says = f", saying `{self.says}`" if self.says else ""
        return f"{what}{check}{warns}{says}"


def issued(*, warns: str | None = None, says: str = "") -> Expected:
    """A certificate for our key from the CA, delivered, with exit code 0."""
    return Expected(exit_code=0, warns=warns, says=says)


def refused(
    check: str | None = None, says: str = "", *, exit_code: int = 5, recovers: bool = True
) -> Expected:
    """No certificate: the run ends with the exit code, names the check or says why, and delivers nothing."""
    return Expected(exit_code=exit_code, check=check, says=says, recovers=recovers)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One or more items, shown by a run against the test CA.

    Attributes:
        items: ids such as ``Q-001``.
        behave: names of `scepflow.testca.behaviours`.
        expected: what must come of it.
        title: tells rows with the same behaviours apart, or "".
        knobs: `scepflow.testca.Knobs` beside.
        ca: options of the pipeline's ``[ca]``, beside url and fingerprint; one that depends on the CA is a function
            of the bench, and ``ca.crt`` is a file with the CA's certificate.
        csr: options of the pipeline's ``[csr]``, beside subject and challenge.
        pipeline: text of TOML tables of the pipeline, beside ``[ca]``, ``[csr]`` and the sink.
        authority: options of `scepflow.testca.Authority.create`, such as ``ra=True``.
        address: what follows the server's path in ``url``, such as ``?profile=a``.
        renewal: whether the behaviours begin only at the renewal of a certificate that was issued rightly.
        sent: what the last request must be, by the names of `conftest.Bench.sent`.
    """

    items: tuple[str, ...]
    behave: tuple[str, ...]
    expected: Expected
    title: str = ""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    ca: Mapping[str, Any] = field(default_factory=dict)
    csr: Mapping[str, Any] = field(default_factory=dict)
    pipeline: str = ""
    authority: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""
    renewal: bool = False
    sent: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The row's name in test reports."""
        return "+".join([*self.behave, *([self.title] if self.title else [])])


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Items that another test shows: ``test`` is its node id without parameters, such as ``tests/x.py::test_y``."""

    items: tuple[str, ...]
    test: str
