"""A real token: softhsm2, in a folder of its own. Its library is loaded once per process and keeps its first configuration."""

import copy
import gc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from scepflow.engine.identity import Credential
from scepflow.errors import KeySourceError, OptionError
from scepflow.options import PathTemplate, Secret
from scepflow.pipeline import check_pipeline
from scepflow.registry import Registry
from scepflow.testing import check_key_source
from scepflow_bundled.file_sink import FileSink
from scepflow_bundled.pkcs11_keys import Pkcs11KeySource
from scepflow_bundled.pkcs12_sink import Pkcs12Sink

MODULES = [Path("/usr/lib/softhsm/libsofthsm2.so"), *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")]
MODULE = next((path for path in MODULES if path.exists()), None)
pytestmark = pytest.mark.skipif(
    MODULE is None or shutil.which("softhsm2-util") is None, reason="apt-get install softhsm2"
)
PIN = "271828"
CERT_SINK = '[sink.file]\ncert = "gw1.crt"\nchain = "chain.pem"\n'
PLAIN = (ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())


@pytest.fixture(scope="session")
def module(tmp_path_factory):
    """Two tokens, ``gateway`` with keys of all sorts and ``other`` without."""
    pkcs11 = pytest.importorskip("pkcs11", reason="pip install 'scepflow[pkcs11]'")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        for label in ("gateway", "other"):
            argv = ["softhsm2-util", "--init-token", "--free", "--label", label]
            subprocess.run([*argv, "--pin", PIN, "--so-pin", "314159"], check=True, capture_output=True)
        make_keys(pkcs11, pkcs11.lib(str(MODULE)).get_token(token_label="gateway"))
        yield str(MODULE)


def make_keys(pkcs11, token):
    flag, attribute = pkcs11.MechanismFlag, pkcs11.Attribute
    with token.open(rw=True, user_pin=PIN) as session:

        def rsa_pair(label, number, *, bits=2048, template=None, **more):
            session.generate_keypair(
                pkcs11.KeyType.RSA,
                bits,
                label=label,
                id=bytes([number]),
                store=True,
                private_template=template,
                **more,
            )

        rsa_pair("gw1", 1)
        rsa_pair("twin", 2)
        rsa_pair("twin", 3)
        rsa_pair("sealed", 4, capabilities=flag.DECRYPT | flag.ENCRYPT)
        rsa_pair("signing", 5, capabilities=flag.SIGN | flag.VERIFY)
        rsa_pair("short", 6, bits=1024)
        rsa_pair("careful", 7, template={attribute.ALWAYS_AUTHENTICATE: True})
        curve = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC, {attribute.EC_PARAMS: curve}, local=True
        )
        parameters.generate_keypair(label="curved", id=b"\x08", store=True)
        rsa_pair("evil\x1b[31m", 9)


@pytest.fixture
def source(module):
    def source(**options):
        given = {"module": module, "token": "gateway", "label": "gw1", "pin": Secret(PIN)} | options
        return Pkcs11KeySource(
            module=PathTemplate(given.pop("module")), **{k: v for k, v in given.items() if v is not None}
        )

    return source


@pytest.fixture
def key(source, stage_run):
    return source().obtain(stage_run)


@pytest.fixture
def logged_out():
    """Let go of keys that exceptions of earlier tests hold, and with them of their login."""
    gc.collect()


@pytest.fixture
def refused(source, stage_run, logged_out):
    """Return the error of a key source; it shows no secret."""

    def refused(**options):
        with pytest.raises(KeySourceError) as caught:
            source(**options).obtain(stage_run)
        shown = f"{caught.value.message} {caught.value.hint}"
        assert PIN not in shown
        assert shown.isprintable()
        return shown

    return refused


def pipeline(module, *, options="", sinks=CERT_SINK):
    head = f'[key]\nuse = "pkcs11"\nmodule = "{module}"\ntoken = "gateway"\nlabel = "gw1"\n'
    return f'{head}pin = {{ file = "pin" }}\n{options}{sinks}'


# the key


def test_a_key_on_a_token_is_a_key_source_like_any_other(source, stage_run):
    key = check_key_source(source(), stage_run)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048


@pytest.mark.parametrize(
    "digest",
    [hashes.MD5(), hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()],
    ids=lambda digest: digest.name,
)
def test_a_signature_of_the_token_verifies(key, digest):
    signature = key.sign(b"message", padding.PKCS1v15(), digest)
    key.public_key().verify(signature, b"message", padding.PKCS1v15(), digest)


@pytest.mark.parametrize(
    ("scheme", "digest"),
    [
        (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        (padding.PKCS1v15(), hashes.SHA3_256()),
        (padding.PKCS1v15(), Prehashed(hashes.SHA256())),
    ],
)
def test_other_signatures_are_refused(key, scheme, digest):
    with pytest.raises(UnsupportedAlgorithm, match="MD5, SHA-1 or SHA-2"):
        key.sign(bytes(32), scheme, digest)


@pytest.mark.parametrize(
    "scheme",
    [padding.PKCS1v15(), padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)],
    ids=["pkcs1", "oaep"],
)
def test_the_token_decrypts(key, scheme):
    sealed = key.public_key().encrypt(b"content key", scheme)
    assert key.decrypt(sealed, scheme) == b"content key"


def test_every_failed_decryption_looks_the_same(key):
    """Bad padding, numbers out of range and a mechanism that the token lacks; it works on after each."""
    sealed = key.public_key().encrypt(b"content key", padding.PKCS1v15())
    oaep = padding.OAEP(padding.MGF1(hashes.SHA512()), hashes.SHA512(), None)
    for data, scheme in (
        (b"\x01" * 256, padding.PKCS1v15()),
        (b"\xff" * 256, padding.PKCS1v15()),
        (sealed, oaep),
    ):
        with pytest.raises(ValueError, match=r"^decryption failed$") as caught:
            key.decrypt(data, scheme)
        assert caught.value.__suppress_context__
        assert key.decrypt(sealed, padding.PKCS1v15()) == b"content key"
    with pytest.raises(ValueError, match="not as long as the key"):
        key.decrypt(sealed[1:], padding.PKCS1v15())


@pytest.mark.parametrize(
    "scheme",
    [
        padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), b"label"),
        padding.PSS(padding.MGF1(hashes.SHA256()), 32),
    ],
)
def test_other_encryptions_are_refused(key, scheme):
    with pytest.raises(UnsupportedAlgorithm, match="OAEP"):
        key.decrypt(bytes(256), scheme)


def test_the_key_cannot_be_written(key):
    with pytest.raises(KeySourceError, match='stays on the token "gateway"'):
        key.private_bytes(*PLAIN)
    with pytest.raises(KeySourceError, match="stays on"):
        key.private_numbers()
    assert copy.copy(key) is copy.deepcopy(key) is key


@pytest.mark.parametrize(
    "sink",
    [
        FileSink(key=PathTemplate("gw1.key")),
        Pkcs12Sink(path=PathTemplate("gw1.p12"), password=Secret("open sesame")),
    ],
    ids=["file", "pkcs12"],
)
def test_a_sink_that_nobody_validated_fails_and_writes_nothing(key, embedded_ca, stage_run, sink):
    subject = x509.Name.from_rfc4514_string("CN=gw1")
    csr = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    certificate = embedded_ca.authority.issue(csr, now=stage_run.now())
    credential = Credential(key=key, certificate=certificate, chain=(embedded_ca.authority.certificate,))
    with pytest.raises(KeySourceError, match="stays on"):
        sink.prepare(credential, stage_run)
    assert not list(stage_run.directory.glob("gw1.*"))


def test_the_login_ends_with_the_last_key_that_uses_it(source, stage_run, logged_out):
    """One key that goes does not log out another: PKCS#11 knows one login per process."""
    import pkcs11

    first, second = source().obtain(stage_run), source(label="twin", id="02").obtain(stage_run)
    token = pkcs11.lib(source().module).get_token(token_label="gateway")
    with pytest.raises(pkcs11.UserAlreadyLoggedIn):
        token.open(user_pin=PIN)
    del first
    assert second.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
    del second
    token.open(user_pin=PIN).close()


def test_a_login_is_not_shared_with_who_has_another_pin(key, refused):
    assert "user already logged in" in refused(pin=Secret("662607"))


def test_a_session_that_was_lost_is_named_and_the_next_run_opens_another(key, source, stage_run):
    sealed = key.public_key().encrypt(b"content key", padding.PKCS1v15())
    key._key.session.close()
    with pytest.raises(KeySourceError, match='the token "gateway" could not sign: session handle invalid'):
        key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(KeySourceError, match="could not decrypt"):
        key.decrypt(sealed, padding.PKCS1v15())
    assert source().obtain(stage_run).decrypt(sealed, padding.PKCS1v15()) == b"content key"


def test_a_key_that_wants_the_pin_each_time_gets_it(source, stage_run):
    key = source(label="careful").obtain(stage_run)
    assert key._pin == PIN
    sealed = key.public_key().encrypt(b"content key", padding.PKCS1v15())
    for _ in range(2):
        signature = key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
        key.public_key().verify(signature, b"x", padding.PKCS1v15(), hashes.SHA256())
        assert key.decrypt(sealed, padding.PKCS1v15()) == b"content key"


def test_other_keys_do_not_keep_the_pin(key):
    assert key._pin is None


# finding it


def test_a_key_is_found_by_its_id(source, stage_run):
    one = source(label="twin", id="02").obtain(stage_run).public_key()
    other = source(label=None, id="03").obtain(stage_run).public_key()
    assert one != other
    assert source(label=None, id="0:2").obtain(stage_run).public_key() == one


def test_a_key_is_found_by_its_slot(source, stage_run, module):
    import pkcs11

    slot = pkcs11.lib(module).get_token(token_label="gateway").slot.slot_id
    assert source(token=None, slot=slot).obtain(stage_run).key_size == 2048


def test_no_match_says_what_there_is(refused):
    shown = refused(label="gw2")
    assert '0 private keys match label "gw2" on the token "gateway"' in shown
    assert '"gw1" (id 01, RSA)' in shown


def test_two_matches_say_how_to_tell_them_apart(refused):
    shown = refused(label="twin")
    assert '2 private keys match label "twin"' in shown
    assert '"twin" (id 02, RSA)' in shown.partition("name one with label or id: ")[2]
    assert '"twin" (id 03, RSA)' in shown


def test_without_label_and_id_every_key_matches(refused):
    shown = refused(label=None)
    assert "9 private keys match on the token" in shown
    assert "\\x1b[31m" in shown


def test_a_token_without_keys_says_so(refused):
    assert "there is no private key on it" in refused(token="other")


def test_without_a_pin_the_hint_is_the_pin(refused):
    assert "only to who gives the pin" in refused(pin=None)


def test_a_wrong_pin_is_reported_without_it(refused):
    shown = refused(pin=Secret("662607"))
    assert 'the token "gateway" does not take the PIN' in shown
    assert "662607" not in shown


def test_no_such_token_lists_those_there_are(refused):
    shown = refused(token="gatway")
    assert '0 tokens match token "gatway"' in shown
    assert '"gateway" in slot' in shown


def test_several_tokens_are_not_guessed_among(refused):
    assert "2 tokens match in" in refused(token=None)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("curved", '"curved" (id 08, EC) on the token "gateway" cannot be used use an RSA key'),
        ("sealed", "may not sign"),
        ("signing", "may not decrypt"),
        ("short", "has 1024 bits"),
    ],
)
def test_a_key_that_cannot_do_it_is_refused(refused, label, said):
    assert said in refused(label=label)


def test_a_missing_module_is_named(refused):
    assert "there is no PKCS#11 module /nowhere/p11.so write the whole path" in refused(
        module="/nowhere/p11.so"
    )


def test_what_is_no_module_is_named_once(refused, tmp_path):
    (tmp_path / "p11.so").write_text("hello")
    shown = refused(module="p11.so")
    assert f"cannot load the PKCS#11 module {tmp_path}/p11.so: " in shown
    assert shown.count("p11.so") == 1


# options


def test_an_id_is_hex(module):
    with pytest.raises(OptionError, match="not hex: 'key 1'") as caught:
        Pkcs11KeySource(module=PathTemplate(module), id="key 1")
    assert caught.value.where == "id"


def test_without_python_pkcs11_validation_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    ca = '[ca]\nurl = "http://pki.example.com/scep"\ncertificate = "ca.pem"\n[csr]\nsubject = "CN=gw1"\n'
    report = check_pipeline(tmp_path / "gw1.toml", Registry.discover(), text=ca + pipeline("p11.so"))
    assert [error.hint for error in report.errors] == ["pip install 'scepflow[pkcs11]'"]
    assert report.errors[0].line == 7


def test_nothing_is_loaded_until_the_key_is_used():
    code = (
        "import sys; from scepflow_bundled.pkcs11_keys import Pkcs11KeySource as K;"
        "K(module='p11.so'); print(*{'pkcs11', 'cryptography'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# a run


def test_an_enrollment_with_a_key_on_a_token(run_pipeline, module, tmp_path, key):
    (tmp_path / "pin").write_text(PIN)
    run = run_pipeline(pipeline(module))
    assert run.error is None
    assert run.exit_code == 0
    assert run.outcome.credential.certificate.public_key() == key.public_key()
    assert (tmp_path / "gw1.crt").exists()
    made = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "testca"]
    assert not [path for path in made if b"PRIVATE KEY" in path.read_bytes()]


def test_a_renewal_is_signed_on_the_token(run_pipeline, module, tmp_path):
    (tmp_path / "pin").write_text(PIN)
    first = run_pipeline(pipeline(module))
    signer = '[signer]\nuse = "existing"\ncertificate = "gw1.crt"\n'
    renewed = run_pipeline(pipeline(module, options=signer), renew=True)
    assert (first.exit_code, renewed.exit_code) == (0, 0)
    assert [event.message_type for event in renewed.events if hasattr(event, "message_type")] == [
        "RenewalReq"
    ]


def test_a_wrong_pin_stops_a_run_before_anything_is_sent(run_pipeline, module, tmp_path, logged_out):
    (tmp_path / "pin").write_text("662607")
    run = run_pipeline(pipeline(module))
    assert run.exit_code == 78
    assert [type(event).__name__ for event in run.events] == ["RunStarted", "RunFinished"]
    assert not list((tmp_path / "state").glob("*/*/*"))


@pytest.mark.parametrize(
    ("sinks", "where"),
    [
        ('[sink.file]\nkey = "gw1.key"\ncert = "gw1.crt"\n', "sink.file"),
        ('[sink.f]\nuse = "file"\ncombined = "gw1.pem"\n', "sink.f"),
        ('[sink.pkcs12]\npath = "gw1.p12"\npassword = "x"\n', "sink.pkcs12"),
        ('[sink.isakmpd]\nbase = "i"\n', "sink.isakmpd"),
        ('[sink.command]\nrun = ["true"]\nwith_key = true\n', "sink.command"),
    ],
)
def test_a_sink_that_writes_the_key_is_refused_before_the_run(run_pipeline, module, sinks, where):
    run = run_pipeline(pipeline(module, sinks=sinks))
    assert run.exit_code == 78
    assert run.events == ()
    (error,) = run.error.errors
    assert (error.where, error.line is not None) == (where, True)
    assert "writes the private key" in error.message


@pytest.mark.parametrize(
    "sinks",
    [
        '[sink.pkcs12]\npath = "ca.p12"\npassword = "x"\ncontents = "truststore"\n',
        '[sink.command]\nrun = ["true"]\n',
    ],
)
def test_other_sinks_go_with_a_key_on_a_token(run_pipeline, module, tmp_path, sinks):
    (tmp_path / "pin").write_text(PIN)
    run = run_pipeline(pipeline(module, sinks=sinks))
    assert run.exit_code == 0, run
