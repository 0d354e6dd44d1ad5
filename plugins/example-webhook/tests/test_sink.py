"""The webhook sink, checked with scepflow's testing kit and against a web service on loopback."""

import json
import ssl
from datetime import UTC, datetime

import pytest
from conftest import listening
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import scepflow_webhook
from scepflow.errors import OptionError, SinkError
from scepflow.options import Duration, PathTemplate, Secret
from scepflow.testing import check_failing_sink, check_sink
from scepflow_webhook.sink import WebhookSink


def test_it_keeps_the_contract_of_a_sink(receiver, issued, renewed, stage_run):
    check_sink(WebhookSink(url=receiver.url, token=Secret("hush")), issued, stage_run, renewed=renewed)


def test_a_pipeline_delivers_the_certificate_as_json(receiver, run_pipeline):
    table = f'[sink.webhook]\nurl = "{receiver.url}?team=7"\ntoken = "hush"\n'
    run = run_pipeline(table, scepflow_webhook)
    assert run.exit_code == 0
    ((path, headers, body),) = receiver.requests
    assert path == "/hook?team=7"
    assert (headers["Authorization"], headers["Content-Type"]) == ("Bearer hush", "application/json")
    told = json.loads(body)
    certificate = run.outcome.credential.certificate
    assert x509.load_pem_x509_certificate(told["certificate"].encode()) == certificate
    assert [x509.load_pem_x509_certificate(pem.encode()) for pem in told["chain"]] == list(
        run.outcome.credential.chain
    )
    assert (told["pipeline"], told["subject"]) == ("gw1", "CN=device.example.com")
    assert int(told["serial"], 16) == certificate.serial_number
    assert told["not_after"] == f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


def test_pem_is_the_certificate_and_its_chain(receiver, issued, stage_run):
    WebhookSink(url=receiver.url, format="pem").write(issued, stage_run)
    ((_, headers, body),) = receiver.requests
    assert headers["Content-Type"] == "application/pem-certificate-chain"
    assert "Authorization" not in headers
    assert x509.load_pem_x509_certificates(body) == [issued.certificate, *issued.chain]


@pytest.mark.parametrize("form", ["json", "pem"])
def test_the_private_key_stays(receiver, issued, stage_run, form):
    WebhookSink(url=receiver.url, format=form).write(issued, stage_run)
    ((_, _, body),) = receiver.requests
    pem = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert b"PRIVATE" not in body
    assert pem.splitlines()[1].encode() not in body


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_success_counts_as_delivered(receiver, issued, stage_run, status):
    receiver.status = status
    WebhookSink(url=receiver.url).write(issued, stage_run)


def test_an_answer_that_is_no_success_is_shown_on_one_line(receiver, issued, stage_run):
    receiver.status, receiver.answer = 403, b"no\x1b[31m\nentry"
    error = check_failing_sink(WebhookSink(url=f"{receiver.url}?key=hush"), issued, stage_run)
    assert error.message == rf'{receiver.url} answered HTTP 403: "no\x1b[31m\nentry"'


def test_a_redirect_is_not_followed(receiver, issued, stage_run):
    receiver.status, receiver.headers = 307, {"Location": f"{receiver.url}2"}
    error = check_failing_sink(WebhookSink(url=receiver.url, token=Secret("hush")), issued, stage_run)
    assert "HTTP 307" in error.message
    assert len(receiver.requests) == 1


def test_a_service_that_is_not_there_is_reported(issued, stage_run):
    with listening() as gone:
        pass
    sink = WebhookSink(url=f"{gone.url}?key=hush", timeout=Duration("5s"))
    error = check_failing_sink(sink, issued, stage_run)
    assert error.message.startswith(f"{gone.url}: no answer: ")
    assert "hush" not in error.message


def test_a_token_that_travels_in_the_clear_earns_a_warning(receiver, issued, stage_run, recorded_events):
    WebhookSink(url=receiver.url).write(issued, stage_run)
    assert recorded_events == []
    WebhookSink(url=receiver.url, token=Secret("hush")).write(issued, stage_run)
    assert [event.code for event in recorded_events] == ["webhook-token-in-clear"]


def test_https_with_a_private_root(embedded_ca, issued, stage_run, recorded_events, tmp_path):
    server = embedded_ca.authority.tls_credential("127.0.0.1", now=datetime.now(UTC))
    (tmp_path / "server.pem").write_bytes(
        server.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + server.certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    with listening(context) as secure:
        sink = WebhookSink(url=secure.url, token=Secret("hush"), ca_file=PathTemplate("testca/ca.pem"))
        sink.check(stage_run)
        sink.write(issued, stage_run)
        assert (len(secure.requests), recorded_events) == (1, [])
        error = check_failing_sink(WebhookSink(url=secure.url), issued, stage_run)
        assert "certificate verify failed" in error.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": Secret({"env": "SCEPFLOW_NOT_SET"})}, "token: the environment variable"),
        ({"token": Secret("two\nlines")}, "token: it has characters"),
        ({"ca_file": PathTemplate("missing.pem")}, "ca_file: cannot read .*missing.pem"),
        ({"ca_file": PathTemplate("empty.pem")}, "ca_file: cannot read .*empty.pem"),
    ],
)
def test_check_finds_what_would_fail(stage_run, options, message):
    stage_run.path("empty.pem").touch()
    with pytest.raises(SinkError, match=message):
        WebhookSink(url="https://inventory.example.com/", **options).check(stage_run)


@pytest.mark.parametrize(
    "url", ["inventory.example.com", "ftp://host/", "https:///path", "https://u:p@host/"]
)
def test_an_address_that_cannot_work_is_refused_at_once(url):
    with pytest.raises(OptionError) as caught:
        WebhookSink(url=url)
    assert (caught.value.where, bool(caught.value.hint)) == ("url", True)
