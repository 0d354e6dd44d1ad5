"""Events as lines for people, as JSON lines, and as a countdown on a terminal."""

import io
import json
import sys

import click
import pytest
from rich.console import Console

from scepflow import events as told
from scepflow.cli.invocation import Invocation
from scepflow.cli.live import Countdown, LiveProgress
from scepflow.cli.progress import JsonProgress, TextProgress, describe, progress_for
from scepflow.testing import NOW

BASE = {"pipeline": "gw1", "at": NOW}
POLL = told.PollScheduled(**BASE, transaction_id="8f3a", poll=2, delay_s=252, waited_s=60)
SENT = told.RequestSent(
    **BASE,
    transaction_id="8f3a",
    message_type="PKCSReq",
    poll=0,
    method="POST",
    cipher="aes-128-cbc",
    digest="sha-256",
    size_bytes=2613,
)
POLLED = told.RequestSent(
    **BASE,
    transaction_id="8f3a",
    message_type="CertPoll",
    poll=2,
    method="GET",
    cipher="aes-128-cbc",
    digest="sha-256",
    size_bytes=1200,
)
CA = told.CaAuthenticated(
    **BASE,
    subject="CN=CA",
    recipient="CN=RA",
    by="fingerprint sha256:" + "9f" * 32,
    capabilities=("AES", "Renewal"),
)
ISSUED = told.CertificateIssued(
    **BASE,
    transaction_id="8f3a",
    subject="CN=gw1",
    issuer="CN=CA",
    serial="4f11",
    not_before=NOW,
    not_after=NOW.replace(year=2027),
    fingerprint="sha256:ab",
)
FAILED = told.SinkFailed(**BASE, sink="phone", error="no room")
WARNED = told.Warned(**BASE, code="weak-reply", text="the reply uses sha-1")


@pytest.mark.parametrize(
    ("event", "line", "details"),
    [
        (told.RunStarted(**BASE, file="/etc/gw1.toml", dry_run=False), "gw1", "gw1  /etc/gw1.toml"),
        (told.RunStarted(**BASE, file="/etc/gw1.toml", dry_run=True), "", ""),
        (
            told.KeyReady(**BASE, stage="generate", description="RSA-2048"),
            "  key        RSA-2048 (generate)",
            None,
        ),
        (told.CsrReady(**BASE, stage="subject", subject="CN=gw1"), "  CSR        CN=gw1 (subject)", None),
        (told.CsrReady(**BASE, stage="file", subject=""), "  CSR        an empty subject (file)", None),
        (
            told.SignerReady(**BASE, stage="auto", description="self-signed"),
            "  signer     self-signed (auto)",
            None,
        ),
        (
            CA,
            "  CA         CN=CA, authenticated by fingerprint sha256:9f9f9f9f9f9f…",
            (
                f"  CA         CN=CA, authenticated by fingerprint sha256:{'9f' * 32}\n"
                "             encrypts for CN=RA; offers AES Renewal"
            ),
        ),
        (
            SENT,
            "  sent       PKCSReq by POST, AES-128-CBC, SHA-256, 2 613 bytes",
            "  sent       PKCSReq by POST, AES-128-CBC, SHA-256, 2 613 bytes, transaction 8f3a",
        ),
        (
            POLLED,
            "",
            "  sent       poll 2: CertPoll by GET, AES-128-CBC, SHA-256, 1 200 bytes, transaction 8f3a",
        ),
        (
            told.ReplyReceived(
                **BASE, transaction_id="8f3a", pki_status="PENDING", http_status=200, elapsed_s=0.012
            ),
            "",
            "  reply      PENDING after 12 ms, HTTP 200",
        ),
        (POLL, "  pending    poll 2 in 4 m 12 s (waited 1 m)", None),
        (
            ISSUED,
            "  issued     CN=gw1 by CN=CA",
            (
                "  issued     CN=gw1 by CN=CA\n"
                "             serial 4f11, valid until 2027-11-20 (365 d), sha256:ab"
            ),
        ),
        (
            told.SinkDelivered(**BASE, sink="file", detail="gw1.pem", elapsed_s=0.001),
            "  delivered  file: gw1.pem",
            None,
        ),
        (
            told.SinkDelivered(**BASE, sink="reload", detail="rcctl reload", elapsed_s=0.3),
            "  delivered  reload: rcctl reload (300 ms)",
            None,
        ),
        (FAILED, "  FAILED     sink phone: no room", None),
        (WARNED, "  warning    the reply uses sha-1", "  warning    the reply uses sha-1 (weak-reply)"),
        (told.RunFinished(**BASE, outcome="issued", exit_code=0, elapsed_s=1), "", ""),
        (told.Event(**BASE), "", ""),
    ],
)
def test_each_event_is_a_line(event, line, details):
    assert click.unstyle(describe(event)) == line
    assert click.unstyle(describe(event, details=True)) == (line if details is None else details)


def test_a_ca_by_its_certificate_file_has_no_fingerprint_to_cut():
    event = told.CaAuthenticated(
        **BASE, subject="CN=CA", recipient="CN=CA", by="CA certificate file", capabilities=()
    )
    assert describe(event).endswith("authenticated by CA certificate file")
    assert describe(event, details=True).endswith("offers nothing")


def test_a_quiet_display_has_trouble_only_and_names_the_pipeline(capsys):
    display = TextProgress(Invocation(verbosity=-1))
    for event in (SENT, WARNED, FAILED, ISSUED):
        display.scepflow_event(event)
    assert capsys.readouterr().err == (
        "gw1: warning    the reply uses sha-1\ngw1: FAILED     sink phone: no room\n"
    )


def test_json_lines_carry_every_field(capsys):
    display = JsonProgress(Invocation(json_log=True))
    display.scepflow_event(SENT)
    display.stop()
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "RequestSent"
    assert line["at"] == "2026-11-20T12:00:00Z"
    assert line["size_bytes"] == 2613


def test_quiet_json_lines_are_trouble_and_failed_ends(capsys):
    display = JsonProgress(Invocation(json_log=True, verbosity=-1))
    display.scepflow_event(SENT)
    display.scepflow_event(told.RunFinished(**BASE, outcome="issued", exit_code=0, elapsed_s=1))
    display.scepflow_event(told.RunFinished(**BASE, outcome="failed", exit_code=4, elapsed_s=1))
    display.scepflow_event(FAILED)
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["RunFinished", "SinkFailed"]


# -- which display


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_the_live_display(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert type(progress_for(Invocation())) is LiveProgress
    assert type(progress_for(Invocation(verbosity=-1))) is TextProgress
    assert type(progress_for(Invocation(json_log=True))) is JsonProgress


def test_a_terminal_that_cannot_move_has_plain_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert type(progress_for(Invocation())) is TextProgress


def test_without_rich_a_terminal_has_plain_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setitem(sys.modules, "scepflow.cli.live", None)
    assert type(progress_for(Invocation())) is TextProgress


def test_a_pipe_has_plain_lines(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(progress_for(Invocation())) is TextProgress


# -- the countdown


@pytest.fixture
def console():
    return Console(file=io.StringIO(), force_terminal=True, width=80)


@pytest.mark.parametrize(
    ("passed_s", "text"),
    [(0, "poll 2 in 4 m 12 s"), (251.5, "poll 2 in 1 s"), (252, "poll 2 now"), (900, "poll 2 now")],
)
def test_the_countdown_says_what_is_left(console, passed_s, text):
    clock = iter([1000, 1000 + passed_s])
    countdown = Countdown(2, 252, monotonic_s=lambda: next(clock))
    console.print(countdown)
    assert text in console.file.getvalue()


def test_the_countdown_stands_while_a_poll_is_awaited_and_then_goes(console, capsys):
    display = LiveProgress(Invocation(), console)
    display.scepflow_event(POLL)
    assert console._live_stack
    display.scepflow_event(ISSUED)
    assert not console._live_stack
    assert "poll 2" in console.file.getvalue()
    assert "issued     CN=gw1 by CN=CA" in click.unstyle(capsys.readouterr().err)


def test_a_run_that_stops_takes_the_countdown_along(console):
    display = LiveProgress(Invocation(), console)
    display.stop()
    display.scepflow_event(POLL)
    display.stop()
    assert not console._live_stack
    TextProgress(Invocation()).stop()
