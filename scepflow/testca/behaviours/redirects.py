"""Redirects, well meant, endless and hostile.

Must never hold: which of them a client follows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scepflow.engine.exchange import HttpResponse
from scepflow.testca.behaviour import Behaviour

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scepflow.testca.behaviour import Scene

__all__ = ["BEHAVIOURS"]

_ENROLLING = ("PKIOperation",)
_CERTIFICATES = ("GetCACert",)
_QUESTIONS = ("GetCACaps", "GetCACert", "GetNextCACert")


def _elsewhere(response: HttpResponse, scene: Scene, *, status: int, again: bool = False) -> HttpResponse:
    """Send the client to another path of this server, once or again and again."""
    target = urlsplit(scene.http.url)
    if target.path.endswith("/moved") and not again:
        return response
    location = f"{target.path}/moved?{target.query}"
    return HttpResponse(status=status, headers={"location": location})


def _to_name(_response: HttpResponse, scene: Scene) -> HttpResponse:
    """Send the client to this very server, under the name of another host."""
    target = urlsplit(scene.http.url)
    return HttpResponse(
        status=302, headers={"location": f"http://localhost:{target.port}{target.path}?{target.query}"}
    )


def _fixed(name: str, summary: str, fields: Mapping[str, str]) -> Behaviour:
    response = HttpResponse(status=302, headers=fields)
    return Behaviour(
        name=name, summary=summary, operations=_CERTIFICATES, answer=lambda _response, _scene: response
    )


BEHAVIOURS = (
    *(
        Behaviour(
            name=f"redirect-{status}",
            summary=f"redirects everything to another path with HTTP {status}",
            answer=partial(_elsewhere, status=status),
        )
        for status in (301, 302, 303, 307, 308)
    ),
    Behaviour(
        name="redirect-questions",
        summary="redirects all but PKIOperation to another path with HTTP 301",
        operations=_QUESTIONS,
        answer=partial(_elsewhere, status=301),
    ),
    Behaviour(
        name="redirect-loop",
        summary="redirects everything, again and again",
        answer=partial(_elsewhere, status=307, again=True),
    ),
    Behaviour(
        name="redirect-host",
        summary="redirects requests to another host",
        operations=_ENROLLING,
        answer=_to_name,
    ),
    Behaviour(
        name="redirect-ca-host",
        summary="redirects GetCACert to another host",
        operations=_CERTIFICATES,
        answer=_to_name,
    ),
    *(
        _fixed(f"redirect-{name}", f"redirects GetCACert to {what}", {"location": location})
        for name, what, location in (
            ("file", "a file", "file:///etc/passwd"),
            ("login", "an address with a user name", "http://user:secret@127.0.0.1/scep"),
            ("nowhere", "an address that is none", "http://["),
            ("escapes", "an address with control characters", "/scep\x1b[2J"),
        )
    ),
    _fixed("redirect-silent", "redirects GetCACert without Location", {}),
)
