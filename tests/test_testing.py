"""The plugin for authors of stages: its fixtures work, and each check finds what it is there for."""

import secrets
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from scepflow.engine.exchange import HttpResponse
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.queries import ca_caps_request
from scepflow.errors import PendingError, SinkError
from scepflow.events import Warned
from scepflow.hookspecs import hookimpl
from scepflow.options import Secret
from scepflow.stages import CsrBuilder, KeySource, OutputSink, Poller, Prepared, Signer, Transport
from scepflow.testca import serve
from scepflow.testing import (
    NOW,
    check_csr_builder,
    check_failing_sink,
    check_key_source,
    check_poller,
    check_signer,
    check_sink,
    check_transport,
)
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.embedded import EmbeddedTransport
from scepflow_bundled.keys import GenerateKeySource
from scepflow_bundled.pollers import BackoffPoller, FixedPoller
from scepflow_bundled.signers import AutoSigner, SelfSignedSigner
from scepflow_bundled.sinks import CommandSink, FileSink, IsakmpdSink, Pkcs12Sink
from scepflow_bundled.transports import DirectTransport

OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


class GoodSink(OutputSink, frozen=True, kw_only=True, tag="good"):
    """A file, replaced whole.

    Attributes:
        token: a secret.
    """

    token: Secret | None = None

    def write(self, issued, run):
        new = run.path("good.new")
        new.write_bytes(issued.certificate.public_bytes(Encoding.DER))
        new.replace(run.path("good.der"))


def sink_that(**methods):
    """A sink like GoodSink, but for the methods given."""
    return type(OutputSink)("BadSink", (GoodSink,), {"__doc__": GoodSink.__doc__, **methods}, tag="bad")


def csr_for(key, signing_key=None):
    name = x509.Name.from_rfc4514_string("CN=device.example.com")
    return x509.CertificateSigningRequestBuilder(name).sign(signing_key or key, SHA256())


# -- fixtures


def test_a_pipeline_runs_against_the_embedded_ca(run_pipeline, embedded_ca, tmp_path):
    run = run_pipeline('[sink.file]\ncert = "gw1.crt"\nkey = "gw1.key"')
    assert (run.exit_code, run.error) == (0, None)
    certificate = x509.load_pem_x509_certificate((tmp_path / "gw1.crt").read_bytes())
    assert certificate == run.outcome.credential.certificate
    assert run.outcome.credential.chain == (embedded_ca.authority.certificate,)
    certificate.verify_directly_issued_by(embedded_ca.authority.certificate)


def test_a_pipeline_that_waits_takes_no_time(run_pipeline):
    run = run_pipeline(
        'transport = { use = "embedded", directory = "testca", pending = 99 }\n'
        'poller = { use = "fixed", interval = "1h", max_time = "3h" }\n'
        '[sink.file]\ncert = "gw1.crt"'
    )
    assert isinstance(run.error, PendingError)
    assert (run.exit_code, run.error.polls, run.error.waited_s) == (3, 3, 3 * 3600)


def test_a_pipeline_with_mistakes_gives_their_error(run_pipeline):
    run = run_pipeline('[sink.fil]\ncert = "gw1.crt"')
    assert run.exit_code == 78
    assert 'no sink named "fil"' in run.error.message


def test_a_pipeline_uses_and_tells_the_plugins_it_is_given(run_pipeline):
    class Plugin:
        def __init__(self):
            self.told = []

        @hookimpl
        def scepflow_sinks(self):
            return [GoodSink]

        @hookimpl
        def scepflow_event(self, event):
            self.told.append(event)

    plugin = Plugin()
    run = run_pipeline("[sink.good]", plugin)
    assert run.exit_code == 0
    assert tuple(plugin.told) == run.events != ()


def test_the_embedded_ca_can_listen(embedded_ca, stage_run):
    with serve(embedded_ca) as server:
        response = check_transport(DirectTransport(), ca_caps_request(server.url), stage_run)
    assert b"SCEPStandard" in response.body


def test_issued_and_renewed_have_the_same_name_and_different_keys(issued, renewed):
    assert issued.certificate.subject == renewed.certificate.subject
    for credential in (issued, renewed):
        assert credential.certificate.public_key() == credential.key.public_key()
        assert credential.certificate.not_valid_before_utc <= NOW
    assert isinstance(issued.key, rsa.RSAPrivateKey)
    assert isinstance(renewed.key, ec.EllipticCurvePrivateKey)


def test_what_a_stage_emits_is_recorded(stage_run, recorded_events):
    stage_run.warn("code", "text")
    assert recorded_events == [Warned(pipeline="gw1", at=NOW, code="code", text="text")]


# -- the bundled stages keep their contracts


def test_bundled_stages_pass(stage_run):
    key = check_key_source(GenerateKeySource(), stage_run)
    csr = check_csr_builder(SubjectCsrBuilder(subject="CN=x"), key, stage_run)
    check_signer(AutoSigner(), key, csr, stage_run)
    check_signer(SelfSignedSigner(), key, csr, stage_run)
    assert check_poller(FixedPoller(max_count=2), stage_run) == (60, 60)
    assert check_poller(BackoffPoller(), stage_run, count=3)[0] == 60
    assert check_poller(FixedPoller(wait=False), stage_run) == ()
    check_transport(EmbeddedTransport(), ca_caps_request("http://embedded/scep"), stage_run)


@pytest.mark.parametrize(
    "sink",
    [
        FileSink(cert="c", key="k", key_passphrase=Secret("hush")),
        IsakmpdSink(base="etc"),
        Pkcs12Sink(path="p12", password=Secret("hush")),
        CommandSink(run=("true",)),
    ],
    ids=lambda sink: sink.stage_name(),
)
def test_a_bundled_sink_passes(sink, stage_run, issued, renewed):
    check_sink(sink, issued, stage_run, renewed=renewed)


@pytest.mark.parametrize(
    "sink",
    [
        FileSink(cert="missing/c", key="k"),
        IsakmpdSink(base="testca/ca.pem"),
        Pkcs12Sink(path="missing/p12", password=Secret("hush")),
        CommandSink(run=("false",)),
    ],
    ids=lambda sink: sink.stage_name(),
)
def test_a_bundled_sink_fails_as_it_should(sink, stage_run, issued):
    check_failing_sink(sink, issued, stage_run)


# -- each check finds what it is there for


def test_a_good_sink_passes(stage_run, issued, renewed):
    check_sink(GoodSink(token=Secret("hush")), issued, stage_run)
    check_sink(GoodSink(token=Secret({"env": "SCEPFLOW_NOT_SET"})), issued, stage_run, renewed=renewed)


def test_a_stage_that_the_registry_refuses_is_found(stage_run, issued):
    class NamelessSink(OutputSink, frozen=True, kw_only=True):
        """A sink."""

        def write(self, issued, run):
            pass

    with pytest.raises(AssertionError, match="NamelessSink without a name"):
        check_sink(NamelessSink(), issued, stage_run)


def test_a_stage_without_a_docstring_is_found(stage_run, issued):
    with pytest.raises(AssertionError, match="BadSink has no docstring"):
        check_sink(sink_that(__doc__=None)(), issued, stage_run)


def test_an_option_without_a_word_is_found(stage_run, issued):
    class SilentSink(GoodSink, frozen=True, kw_only=True, tag="silent"):
        """A file."""

        size: int = 1

    with pytest.raises(AssertionError, match="SilentSink has no line under Attributes for size"):
        check_sink(SilentSink(), issued, stage_run)


def test_a_check_that_changes_something_is_found(stage_run, issued):
    bad = sink_that(check=lambda _self, run: run.path("new").touch())
    with pytest.raises(AssertionError, match=r"check\(\) changed new"):
        check_sink(bad(), issued, stage_run)


@pytest.mark.parametrize(
    ("shown", "flaw"),
    [("", "says nothing"), ("two\nlines", "one line of visible text"), ("to hush", "shows a secret")],
)
def test_a_description_that_cannot_be_shown_is_found(stage_run, issued, shown, flaw):
    bad = sink_that(describe=lambda _self: shown)
    with pytest.raises(AssertionError, match=flaw):
        check_sink(bad(token=Secret("hush")), issued, stage_run)


def test_an_output_that_stays_when_it_is_discarded_is_found(stage_run, issued):
    def prepare(_self, _issued, run):
        run.path("left").touch()
        return Prepared(commit=lambda: None)

    with pytest.raises(AssertionError, match="an output that was discarded changed left"):
        check_sink(sink_that(prepare=prepare)(), issued, stage_run)


def test_a_file_that_is_overwritten_in_place_is_found(stage_run, issued, renewed):
    def write(_self, issued, run):
        run.path("c").write_text(f"{issued.certificate.serial_number}")

    with pytest.raises(AssertionError, match="c was overwritten, not replaced"):
        check_sink(sink_that(write=write)(), issued, stage_run, renewed=renewed)


def failing(message, hint=None):
    def write(_self, _issued, run):
        raise SinkError(message, hint=hint)

    return sink_that(write=write)(token=Secret("hush"))


def test_a_sink_that_fails_as_it_should_gives_its_error(stage_run, issued):
    assert check_failing_sink(failing("disk full"), issued, stage_run).message == "disk full"


@pytest.mark.parametrize(
    ("message", "hint", "flaw"),
    [
        ("two\nlines", None, "one line"),
        ("BEGIN PRIVATE KEY", None, "private key"),
        ("bad", "is it hush?", "secret"),
    ],
)
def test_an_error_that_cannot_be_shown_is_found(stage_run, issued, message, hint, flaw):
    with pytest.raises(AssertionError, match=flaw):
        check_failing_sink(failing(message, hint), issued, stage_run)


def test_a_sink_that_should_fail_and_does_not_is_found(stage_run, issued):
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        check_failing_sink(sink_that(write=lambda _self, _issued, _run: None)(), issued, stage_run)


def test_a_failure_that_leaves_something_behind_is_found(stage_run, issued):
    def write(_self, _issued, run):
        run.path("half").touch()
        raise SinkError("disk full")

    with pytest.raises(AssertionError, match="a sink that failed changed half"):
        check_failing_sink(sink_that(write=write)(), issued, stage_run)


def stage_that(base, method, answer):
    """A stage of that kind whose method has that answer."""
    namespace = {"__doc__": "A stage.", method: lambda *_: answer}
    return type(OutputSink)("BadStage", (base,), namespace, tag="bad", frozen=True, kw_only=True)()


def test_a_key_that_cannot_be_used_is_found(stage_run):
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    for key, flaw in ((weak, "below 2048 bits"), (ed25519.Ed25519PrivateKey.generate(), "is no key")):
        with pytest.raises(AssertionError, match=flaw):
            check_key_source(stage_that(KeySource, "obtain", key), stage_run)


def test_a_request_for_another_key_is_found(stage_run, issued):
    builder = stage_that(CsrBuilder, "build", csr_for(OTHER_KEY))
    with pytest.raises(AssertionError, match="for another key"):
        check_csr_builder(builder, issued.key, stage_run)


def test_a_request_with_a_wrong_signature_is_found(stage_run, issued):
    der = bytearray(csr_for(issued.key).public_bytes(Encoding.DER))
    der[-1] ^= 1
    builder = stage_that(CsrBuilder, "build", x509.load_der_x509_csr(bytes(der)))
    with pytest.raises(AssertionError, match="signature is wrong"):
        check_csr_builder(builder, issued.key, stage_run)


def test_a_signing_certificate_for_another_key_is_found(stage_run, issued):
    signer = stage_that(Signer, "identity", SigningIdentity(issued.certificate, OTHER_KEY))
    with pytest.raises(AssertionError, match="for another key"):
        check_signer(signer, issued.key, csr_for(issued.key), stage_run)


@pytest.mark.parametrize(
    ("response", "flaw"),
    [
        (HttpResponse(status=0), "no HTTP status"),
        (HttpResponse(status=200, headers={"Content-Type": "text/plain"}), "lower case"),
        (HttpResponse(status=200, body="text"), "bytes"),
        (HttpResponse(status=200, body=bytes(10**7)), "longer than the request allows"),
    ],
)
def test_a_response_that_is_none_is_found(stage_run, response, flaw):
    class Connection:
        def send(self, _request):
            return response

    @contextmanager
    def connect():
        yield Connection()

    transport = stage_that(Transport, "connect", connect())
    with pytest.raises(AssertionError, match=flaw):
        check_transport(transport, ca_caps_request("http://127.0.0.1/scep"), stage_run)


@pytest.mark.parametrize(
    ("delays_s", "flaw"),
    [
        ([-1], "0 or more"),
        ([float("inf")], "finite"),
        ([float("nan")], "0 or more"),
        (iter([1]), "a second run"),
    ],
)
def test_delays_that_nobody_can_wait_are_found(stage_run, delays_s, flaw):
    with pytest.raises(AssertionError, match=flaw):
        check_poller(stage_that(Poller, "delays_s", delays_s), stage_run)


def test_the_stages_of_a_run_have_real_randomness(stage_run):
    assert stage_run.random_bytes is secrets.token_bytes
