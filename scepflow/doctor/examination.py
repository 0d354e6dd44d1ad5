"""One examination: ask the CA what anyone may ask, and say what a run would make of the answers.

Must never hold: a judgement on a single certificate; that is `scepflow.doctor.appraisal`.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from scepflow.ca import authenticate_ca
from scepflow.descriptions import name_text
from scepflow.doctor import appraisal
from scepflow.dryrun import rehearse_stages
from scepflow.engine import algorithms, queries
from scepflow.engine.capabilities import NONE
from scepflow.engine.checks import Finding
from scepflow.errors import ProtocolError, ScepflowError, TransportError, TrustError
from scepflow.events import Warned
from scepflow.faults import connected
from scepflow.options import UrlTemplate
from scepflow.pipeline.model import CaOptions
from scepflow.stages import Run
from scepflow.system import make_run
from scepflow.text import sanitise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from cryptography import x509

    from scepflow.ca import AuthenticatedCa
    from scepflow.dryrun import Line
    from scepflow.engine.algorithms import Choice
    from scepflow.engine.capabilities import Capabilities
    from scepflow.engine.exchange import HttpRequest, HttpResponse
    from scepflow.engine.trust import Bundle
    from scepflow.events import Event
    from scepflow.pipeline.model import Pipeline
    from scepflow.stages import Connection, Transport
    from scepflow.system import System

__all__ = ["Diagnosis", "examine_pipeline", "examine_url"]

_SKEW_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        document: JSON-able values; every text in it is safe to show.
        warnings: what should be looked at.
        pin_toml: lines of TOML that pin what was seen; empty if nothing can be pinned.
        stages: how a pipeline's stages would do.
        error: what would stop a run at the CA, or None. Without a pipeline, a missing pin is none.
    """

    document: dict[str, Any]
    warnings: tuple[Finding, ...] = ()
    pin_toml: tuple[str, ...] = ()
    stages: tuple[Line, ...] = ()
    error: ScepflowError | None = None

    @property
    def exit_code(self) -> int:
        """That of what would stop a run first, or 0."""
        failures = (*(line.error for line in self.stages), self.error)
        return next((error.exit_code for error in failures if error), 0)


def examine_url(
    url: str, transport: Transport, *, identifier: str | None = None, system: System
) -> Diagnosis:
    """Examine the CA at an address; nothing is pinned.

    Args:
        url: the address of the SCEP service.
        transport: the way to it.
        identifier: CA identifier for a server with several CAs, or None.
        system: clock and randomness.

    Raises:
        OptionError: the address cannot be used.
    """
    options = CaOptions(url=UrlTemplate(url), identifier=identifier)  # type: ignore[arg-type]  # a template without names
    told: list[Event] = []
    run = Run(
        pipeline="doctor",
        directory=Path.cwd(),
        now=system.now,
        random_bytes=system.random_bytes,
        emit=told.append,
    )
    return _examine(options, transport, run, told)


def examine_pipeline(pipeline: Pipeline, *, system: System) -> Diagnosis:
    """Examine a pipeline's CA, whether it is the one that is pinned, and its stages.

    Args:
        pipeline: what would be run.
        system: clock and randomness.
    """
    told: list[Event] = []
    run = make_run(pipeline, told.append, system)
    stages = tuple(rehearse_stages(pipeline, run))
    return _examine(pipeline.ca, pipeline.transport, run, told, stages=stages, pipeline=pipeline)


@dataclass(slots=True)
class _Observed:
    """A connection that keeps what was answered, and when.

    Attributes:
        answers: the responses by their operations.
        skew_s: how far the server's clock is ahead, in seconds, or None if it did not say.
    """

    connection: Connection
    run: Run
    answers: dict[str, HttpResponse] = field(default_factory=dict)
    skew_s: float | None = None

    def send(self, request: HttpRequest) -> HttpResponse:
        sent_at = self.run.now()
        response = self.connection.send(request)
        self.answers[request.operation] = response
        self._compare_clocks(response, sent_at + (self.run.now() - sent_at) / 2)
        return response

    def _compare_clocks(self, response: HttpResponse, now: datetime) -> None:
        with suppress(KeyError, ValueError, TypeError, OverflowError):  # no Date, or one that is none
            self.skew_s = (parsedate_to_datetime(response.headers["date"]) - now).total_seconds()

    @property
    def server(self) -> str | None:
        """What the server says it is."""
        said = [answer.headers.get("server") for answer in self.answers.values()]
        return self.run.masks.hide(sanitise(said[-1], limit=80)) if said and said[-1] else None


def _examine(
    options: CaOptions,
    transport: Transport,
    run: Run,
    told: list[Event],
    *,
    stages: tuple[Line, ...] = (),
    pipeline: Pipeline | None = None,
) -> Diagnosis:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the library finds fault with names that are none of the user's doing
        answer = _ask(options, transport, run)
        found = _conclude(answer, options, run.now(), excused=pipeline is None)
        concerns = [Finding(event.code, event.text) for event in told if isinstance(event, Warned)]
        concerns += _concerns(answer, found, options, run.now())
        document = {
            "target": str(pipeline.file) if pipeline else options.url,
            "url": options.url,
            "pin": found.pin,
            "connection": _connection(options, transport, answer),
            **_offers(answer, found),
            "certificates": [
                appraisal.describe(certificate, found.bundle, pinned=options, now=run.now())
                for certificate in found.certificates
            ],
        }
        lines = appraisal.pin_lines(options.url, options.identifier, found.bundle) if found.bundle else ()
    return Diagnosis(
        document=document,
        warnings=tuple(dict.fromkeys(concerns)),
        pin_toml=tuple(lines),
        stages=stages,
        error=found.error,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What came of asking: the CA if it passed, else why not; and what was observed on the way."""

    observed: _Observed | None
    ca: AuthenticatedCa | None
    error: ScepflowError | None

    @property
    def capabilities(self) -> Capabilities | None:
        """What GetCACaps gave, or None if it was not answered."""
        response = self.observed.answers.get("GetCACaps") if self.observed else None
        return queries.parse_ca_caps(response) if response else None

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """What GetCACert gave; where it was not asked, the files that stand for it."""
        response = self.observed.answers.get("GetCACert") if self.observed else None
        if response is None:
            return self.ca.bundle.certificates if self.ca else ()
        try:
            return queries.parse_ca_cert(response)
        except (TransportError, ProtocolError):
            return ()


def _ask(options: CaOptions, transport: Transport, run: Run) -> _Answer:
    """Ask as a run does before its first message."""
    observed: _Observed | None = None
    try:
        with connected(transport, run) as connection:
            observed = _Observed(connection, run)
            ca = authenticate_ca(options, observed, run)
    except ScepflowError as error:
        return _Answer(observed=observed, ca=None, error=error)
    return _Answer(observed=observed, ca=ca, error=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conclusion:
    """What a run would make of the answer: as it is pinned, or as if the topmost CA were."""

    certificates: tuple[x509.Certificate, ...]
    bundle: Bundle | None
    choice: Choice
    pin: str
    error: ScepflowError | None


def _conclude(answer: _Answer, options: CaOptions, now: datetime, *, excused: bool) -> _Conclusion:
    """Conclude from an answer; a missing pin is ``excused`` where there is no pipeline to have one."""
    certificates, error = answer.certificates, answer.error
    if answer.ca:
        bundle: Bundle | None = answer.ca.bundle
        pin = f"matches: {answer.ca.bundle.by}"
        choice = answer.ca.choice
    else:
        pinned = bool(options.fingerprints or options.certificate)
        pin = _pin_verdict(error, pinned=pinned)
        choice = algorithms.choose(answer.capabilities or NONE)
        bundle = None
        if certificates:
            try:
                bundle = appraisal.presumed(certificates, now)
            except TrustError as problem:
                error = problem
            else:
                error = None if excused and not pinned else error
    return _Conclusion(certificates=certificates, bundle=bundle, choice=choice, pin=pin, error=error)


def _pin_verdict(error: ScepflowError | None, *, pinned: bool) -> str:
    if not pinned:
        return "none: a run stops before its first request"
    if isinstance(error, TrustError) and error.check == "ca-authentication":
        return f"DOES NOT MATCH: {error.message}"
    return "not compared"


def _connection(options: CaOptions, transport: Transport, answer: _Answer) -> dict[str, Any]:
    """Return what the way to the CA is."""
    encrypted = options.url.startswith("https:")
    observed = answer.observed
    skew_s = observed.skew_s if observed else None
    return {
        "transport": _described(transport),
        "protocol": (
            "https: the server is authenticated too, which replaces no pin"
            if encrypted
            else "http: pki_messages protect themselves, but anyone on the way can change the answers to GetCACaps and "
            "GetCACert; the pin finds that out"
        ),
        "server": observed.server if observed else None,
        "clock_ahead_s": None if skew_s is None else round(skew_s),
    }


def _described(transport: Transport) -> str:
    """Return a transport's name and the options that were set, but for secrets."""
    defaults = {option.name: option.default for option in msgspec.structs.fields(transport)}
    options = ((name, getattr(transport, name)) for name in transport.__struct_fields__)
    shown = [
        f"{name} = {sanitise(', '.join(map(str, value)) if isinstance(value, tuple) else str(value))}"
        for name, value in options
        if value != defaults[name] and isinstance(value, str | int | float | tuple)
    ]
    return f"{transport.stage_name()} ({'; '.join(shown)})" if shown else transport.stage_name()


def _offers(answer: _Answer, found: _Conclusion) -> dict[str, Any]:
    capabilities = answer.capabilities
    if capabilities is None and not found.certificates:
        return {}  # nobody answered
    hide = answer.observed.run.masks.hide if answer.observed else str
    return {
        "capabilities": {
            "answered": capabilities is not None,
            "known": sorted(capabilities.names) if capabilities else [],
            "unknown": list(map(hide, capabilities.unknown)) if capabilities else [],
        },
        "requests": {
            "method": found.choice.method,
            "cipher": found.choice.cipher.value,
            "digest": found.choice.digest.value,
            "renewal": "RenewalReq"
            if capabilities and capabilities.renewal
            else "PKCSReq by the old certificate",
            "encrypted_for": name_text(found.bundle.recipient.subject) if found.bundle else None,
        },
    }


def _concerns(answer: _Answer, found: _Conclusion, options: CaOptions, now: datetime) -> Iterator[Finding]:
    """Yield what should be looked at, beyond what asking has told."""
    capabilities = answer.capabilities
    if capabilities and not capabilities.standard:
        yield Finding("no-scep-standard", "SCEPStandard is not offered: the CA may lack a part of RFC 8894")
    if answer.ca is None and found.certificates:
        yield from found.choice.findings
    if found.bundle:
        yield from found.bundle.findings
        yield from appraisal.risks(found.bundle, options)
    yield from appraisal.certificate_warnings(found.certificates, now)
    skew_s = answer.observed.skew_s if answer.observed else None
    if skew_s is not None and abs(skew_s) > _SKEW_S:
        ahead = "ahead of" if skew_s > 0 else "behind"
        yield Finding(
            "clock-skew",
            f"the server's clock is {abs(skew_s):.0f} s {ahead} this machine's; a CA that compares times answers badTime",
        )
