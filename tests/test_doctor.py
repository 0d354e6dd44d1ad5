"""`scepflow.doctor`: what a CA offers, who would encrypt and sign and why; and nothing is asked of it."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
import tomli
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from issuing import CA_USAGE, certify, ec_key, rsa_key
from run_fixtures import URL, Wire, World, new_authority

from scepflow.doctor import examine_pipeline, examine_url
from scepflow.engine import cms, oids
from scepflow.engine.asn1 import encode
from scepflow.engine.exchange import HttpResponse
from scepflow.engine.identity import SigningIdentity
from scepflow.engine.trust import fingerprint
from scepflow.errors import OptionError, SinkError, TransportError, TrustError
from scepflow.options import Secret
from scepflow.stages import OutputSink
from scepflow.testing import NOW
from scepflow_bundled.transports import ProxyTransport

DAY = timedelta(days=1)
VALID = {"begins": NOW - DAY, "ends": NOW + 1000 * DAY}


@pytest.fixture(scope="module")
def ra_authority():
    return new_authority(ra=True)


@pytest.fixture
def ra_world(tmp_path, ra_authority, _device_key):
    return World(directory=tmp_path, authority=ra_authority, key=_device_key)


@pytest.fixture(scope="module")
def keys():
    return rsa_key(), rsa_key()


def examined(world, **how):
    return examine_url(URL, Wire(handle=world.handle), system=world.system, **how)


def answering(world, *certificates, capabilities=None):
    """Have the CA send these certificates."""
    body = cms.build_certs_only(certificates)
    world.answers["GetCACert"] = HttpResponse(status=200, body=body)
    if capabilities is not None:
        world.answers["GetCACaps"] = HttpResponse(status=200, body=capabilities)
    return world


def codes(diagnosis):
    return [warning.code for warning in diagnosis.warnings]


def by_subject(diagnosis):
    return {c["subject"].partition(",")[0]: c for c in diagnosis.document["certificates"]}


# -- an address


def test_only_two_questions_are_asked(world):
    diagnosis = examined(world, identifier="CA 1")
    assert world.operations == ["GetCACaps", "GetCACert"]
    assert all("message=CA%201" in request.url for request in world.requests)
    assert diagnosis.exit_code == 0
    assert 'identifier = "CA 1"' in diagnosis.pin_toml


def test_what_is_offered_and_what_follows_is_said(world):
    document = examined(world).document
    assert document["capabilities"]["answered"] is True
    assert "SCEPStandard" in document["capabilities"]["known"]
    assert document["requests"] == {
        "method": "POST",
        "cipher": "aes-128-cbc",
        "digest": "sha-256",
        "renewal": "RenewalReq",
        "encrypted_for": "CN=scepflow test CA,O=Never for production",
    }
    assert document["pin"].startswith("none")
    assert document["connection"]["protocol"].startswith("http: ")


def test_a_single_ca_encrypts_and_signs_and_nothing_is_worrying(world):
    diagnosis = examined(world)
    (certificate,) = diagnosis.document["certificates"]
    assert certificate["role"] == "CA"
    assert certificate["encryption"] == (
        "requests would be encrypted for it: a CA's certificate whose key usage has keyEncipherment,"
        " the second choice of five"
    )
    assert certificate["signing"].startswith("may sign replies")
    assert certificate["key"] == "RSA-2048"
    assert diagnosis.warnings == ()


def test_of_an_ra_pair_one_encrypts_and_the_other_signs(ra_world):
    diagnosis = examined(ra_world)
    found = by_subject(diagnosis)
    encryption, signing = (found[f"CN=scepflow test CA RA {part}"] for part in ("encryption", "signing"))
    assert encryption["role"] == signing["role"] == "RA"
    assert encryption["encrypts"]
    assert "an RA's certificate whose key usage has keyEncipherment" in encryption["encryption"]
    assert "no digitalSignature" in encryption["signing"]
    assert not signing["encrypts"]
    assert signing["encryption"].startswith("not for it (its key usage does not allow it")
    assert signing["signs"]
    assert "key usage has digitalSignature" in signing["signing"]
    assert codes(diagnosis) == ["ra-not-pinned", "several-candidates"]


def test_the_lines_that_pin_it_are_toml_that_pins_it(ra_world):
    diagnosis = examined(ra_world)
    pinned = tomli.loads("\n".join(diagnosis.pin_toml))["ca"]
    authority = ra_world.authority
    assert pinned == {
        "url": URL,
        "fingerprint": f"sha256:{authority.fingerprint}",
        "signing_certificate": fingerprint(authority.ra.signing.certificate),
        "encryption_certificate": fingerprint(authority.ra.encryption.certificate),
    }
    confirmed = examine_pipeline(ra_world.pipeline(ca=pinned), system=ra_world.system)
    assert confirmed.error is None
    assert confirmed.document["pin"].startswith("matches: fingerprint")
    assert confirmed.warnings == ()
    assert "it alone may sign" in str(confirmed.document)
    assert "because encryption_certificate pins it" in str(confirmed.document)
    assert "signing_certificate pins another" in str(confirmed.document)
    ra_world.run(ra_world.pipeline(ca=pinned))
    assert ra_world.box


def test_a_ca_that_offers_nothing_is_answered_in_old_algorithms_with_warnings(world):
    world.answers["GetCACaps"] = HttpResponse(status=200, body=b"Example.com-Own\n")
    diagnosis = examined(world)
    assert diagnosis.document["capabilities"]["unknown"] == ["Example.com-Own"]
    assert diagnosis.document["requests"]["digest"] == "sha-1"
    assert diagnosis.document["requests"]["renewal"].startswith("PKCSReq")
    assert codes(diagnosis) == ["no-scep-standard", "weak-request", "get-request"]


def test_a_ca_that_hangs_up_on_the_capabilities_is_examined_all_the_same(world):
    world.answers["GetCACaps"] = TransportError("reset")
    diagnosis = examined(world)
    assert diagnosis.document["capabilities"]["answered"] is False
    assert "no-capabilities" in codes(diagnosis)
    assert diagnosis.exit_code == 0


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"begins": NOW - 9 * DAY, "ends": NOW + 5 * DAY}, "expires-soon"),
        ({"begins": NOW - 9 * DAY, "ends": NOW - DAY}, "expired"),
        ({"begins": NOW + DAY, "ends": NOW + 900 * DAY}, "not-yet-valid"),
    ],
)
def test_a_certificate_s_time_is_looked_at(world, keys, how, code):
    ca = certify("CA", keys[0], ca=True, usage=CA_USAGE, **how)
    diagnosis = examined(answering(world, ca))
    assert code in codes(diagnosis)
    valid = code == "expires-soon"
    assert isinstance(diagnosis.error, type(None) if valid else TrustError)
    assert bool(diagnosis.pin_toml) == valid
    (certificate,) = diagnosis.document["certificates"]
    assert certificate["validity"] == {"expires-soon": "5 d left", "expired": "EXPIRED"}.get(
        code, "NOT YET VALID"
    )
    assert certificate["signing"].startswith(
        "may sign" if valid else "its replies are refused: it is left out"
    )


def test_small_keys_and_old_signatures_are_warned_of(world, keys):
    small = rsa.generate_private_key(65537, 1024)
    ca = SigningIdentity(certify("CA", keys[0], ca=True, usage=CA_USAGE, **VALID), keys[0])
    der = certify("Old RA", small, issuer=ca, ca=False, **VALID).public_bytes(Encoding.DER)
    old = der.replace(encode(oids.SHA256_WITH_RSA), encode(oids.SHA1_WITH_RSA))  # its signature is wrong then
    diagnosis = examined(answering(world, ca.certificate, x509.load_der_x509_certificate(old)))
    assert {"weak-key", "weak-signature", "untrusted-certificate"} == set(codes(diagnosis))
    assert by_subject(diagnosis)["CN=Old RA"]["key_usage"] == "no such extension: anything"


def test_without_a_key_usage_a_certificate_may_do_both(world, keys):
    ca = SigningIdentity(certify("CA", keys[0], ca=True, usage=CA_USAGE, **VALID), keys[0])
    older = certify("RA", keys[1], issuer=ca, ca=False, begins=NOW - 2 * DAY, ends=NOW + 900 * DAY)
    newer = certify("RA new", keys[1], issuer=ca, ca=False, usage="key_encipherment", **VALID)
    newest = certify("RA newest", keys[1], issuer=ca, ca=False, usage="key_encipherment", **VALID)
    diagnosis = examined(answering(world, ca.certificate, older, newer, newest))
    found = by_subject(diagnosis)
    assert found["CN=RA"]["signing"].endswith("has no key usage that says otherwise")
    assert "third choice of five" in found["CN=RA"]["encryption"]
    chosen = [c for c in found.values() if c["encrypts"]]
    assert [c["encryption"].endswith("the newest of several") for c in chosen] == [True]


def test_an_ec_ca_without_an_rsa_recipient_is_warned_of(world):
    ca = certify("EC CA", ec_key(), ca=True, usage="digital_signature key_cert_sign", **VALID)
    diagnosis = examined(answering(world, ca))
    assert codes(diagnosis) == ["no-rsa-recipient"]
    assert "only a challenge could encrypt" in diagnosis.document["certificates"][0]["encryption"]


def test_what_does_not_chain_to_the_ca_is_left_out(world, keys):
    ca = certify("CA", keys[0], ca=True, usage=CA_USAGE, **VALID)
    stranger = certify("Stranger", keys[1], ca=False, usage="key_encipherment", **VALID)
    diagnosis = examined(answering(world, ca, stranger))
    assert "untrusted-certificate" in codes(diagnosis)
    assert by_subject(diagnosis)["CN=Stranger"]["encryption"].startswith("not for it: it is left out")


def test_two_cas_at_a_rollover_are_both_pinned(world, keys):
    both = [certify("CA", key, ca=True, usage=CA_USAGE, **VALID) for key in keys]
    pinned = tomli.loads("\n".join(examined(answering(world, *both)).pin_toml))["ca"]
    assert set(pinned["fingerprint"]) == {fingerprint(ca) for ca in both}


def test_an_intermediate_ca_without_its_root_is_pinned_itself(world, keys):
    root = SigningIdentity(certify("Root", keys[0], ca=True, usage=CA_USAGE, **VALID), keys[0])
    ca = certify("CA", keys[1], issuer=root, ca=True, usage=CA_USAGE, **VALID)
    assert fingerprint(ca) in examined(answering(world, ca)).pin_toml[2]
    assert fingerprint(root.certificate) in examined(answering(world, ca, root.certificate)).pin_toml[2]


def test_an_ra_alone_cannot_be_pinned(world, keys):
    ra = certify("RA", keys[0], ca=False, usage="key_encipherment", **VALID)
    diagnosis = examined(answering(world, ra))
    assert diagnosis.exit_code == 5
    assert "from its operator" in diagnosis.error.hint
    assert diagnosis.pin_toml == ()
    assert len(diagnosis.document["certificates"]) == 1


def test_a_server_that_is_not_there_is_an_error_and_the_way_is_shown(world):
    world.answers |= {"GetCACaps": TransportError("refused"), "GetCACert": TransportError("refused")}
    diagnosis = examined(world)
    assert diagnosis.exit_code == 4
    assert diagnosis.document["certificates"] == []
    assert "capabilities" not in diagnosis.document
    assert diagnosis.document["connection"]["transport"] == "wire"


def test_a_web_page_is_no_certificate(world):
    world.answers["GetCACert"] = HttpResponse(status=200, body=b"<html>hello")
    diagnosis = examined(world)
    assert diagnosis.exit_code == 5
    assert diagnosis.document["certificates"] == []


def test_an_address_that_cannot_be_used_is_refused(world):
    with pytest.raises(OptionError):
        examine_url("ftp://x", Wire(handle=world.handle), system=world.system)


# -- clocks and connections


@pytest.mark.parametrize(
    ("date", "seconds", "words"),
    [
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30, None),
        ("Fri, 20 Nov 2026 12:10:00 GMT", 600, "600 s ahead of"),
        ("Fri, 20 Nov 2026 11:00:00 GMT", -3600, "3600 s behind"),
        ("soon", None, None),
        ("Fri, 20 Nov 2026 12:00:30 -0000", None, None),
    ],
)
def test_the_server_s_clock_is_compared_with_ours(world, date, seconds, words):
    headers = {"date": date, "server": "Micro\x1bsoft"}
    body = cms.build_certs_only([world.authority.certificate])
    world.answers["GetCACert"] = HttpResponse(status=200, headers=headers, body=body)
    diagnosis = examined(world)
    connection = diagnosis.document["connection"]
    assert (connection["clock_ahead_s"], connection["server"]) == (seconds, "Micro\\x1bsoft")
    said = [warning.text for warning in diagnosis.warnings if warning.code == "clock-skew"]
    assert [words in text for text in said] == ([True] if words else [])


class Proxied(ProxyTransport, frozen=True, kw_only=True, tag="proxied"):
    @contextmanager
    def connect(self, run):
        raise TransportError("no proxy here")
        yield


def test_the_way_is_described_without_secrets(world):
    transport = Proxied(
        url="http://proxy.example.com:3128", user="svc", password=Secret("hush"), no_proxy=("a", "b")
    )
    diagnosis = examine_url("https://pki.example.com/scep", transport, system=world.system)
    connection = diagnosis.document["connection"]
    assert connection["transport"] == (
        "proxied (url = http://proxy.example.com:3128; user = svc; no_proxy = a, b)"
    )
    assert connection["protocol"].startswith("https: ")
    assert diagnosis.exit_code == 4


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jun 99999999999999 12:00:00 GMT",
        "Mon, 01 Jun 2026 12:00:00 +99999999999999",
        "Mon, 01 Jun 2026 99999999999999:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "9" * 5000,
        " ",
        "",
    ],
)
def test_a_date_beyond_all_reason_is_none(world, date):
    caps = HttpResponse(status=200, headers={"date": date}, body=b"AES\n")
    world.answers["GetCACaps"] = world.answers["GetCACert"] = caps
    assert examined(world).document["capabilities"]["known"] == ["AES"]


# -- a pipeline


class Full(OutputSink, frozen=True, kw_only=True, tag="full"):
    def check(self, run):
        raise SinkError("no room")


def test_a_pipeline_s_stages_are_looked_at_too(world):
    diagnosis = examine_pipeline(world.pipeline(sinks={"full": Full()}), system=world.system)
    assert world.operations == ["GetCACaps", "GetCACert"]
    assert [line.topic for line in diagnosis.stages] == [
        "key",
        "CSR",
        "signer",
        "transport",
        "poller",
        "sink full",
    ]
    assert diagnosis.error is None
    assert diagnosis.exit_code == 6
    assert world.box == []


def test_a_pin_that_does_not_match_is_said_and_what_came_is_shown(world):
    pipeline = world.pipeline(ca={"fingerprint": f"sha256:{'0' * 64}"})
    diagnosis = examine_pipeline(pipeline, system=world.system)
    assert diagnosis.exit_code == 5
    assert diagnosis.document["pin"].startswith("DOES NOT MATCH")
    assert diagnosis.document["certificates"][0]["fingerprint"].endswith(world.authority.fingerprint)


def test_a_pipeline_without_a_pin_would_stop(world):
    diagnosis = examine_pipeline(world.pipeline(ca={"fingerprint": None}), system=world.system)
    assert diagnosis.exit_code == 5
    assert diagnosis.document["pin"] == "none: a run stops before its first request"
    assert any(world.authority.fingerprint in line for line in diagnosis.pin_toml)


def test_a_pin_is_not_called_wrong_where_something_else_is(world):
    world.answers["GetCACaps"] = HttpResponse(status=200, body=b"DES3\n")
    diagnosis = examine_pipeline(world.pipeline(ca={"security": "strict"}), system=world.system)
    assert diagnosis.exit_code == 5
    assert diagnosis.document["pin"] == "not compared"


def test_a_pipeline_that_asks_for_no_certificates_is_shown_its_own(world):
    (world.directory / "ca.pem").write_bytes(world.authority.certificate.public_bytes(Encoding.PEM))
    files = {"fingerprint": None, "certificate": "ca.pem", "fetch_certificates": False}
    diagnosis = examine_pipeline(world.pipeline(ca=files), system=world.system)
    assert world.operations == ["GetCACaps"]
    assert diagnosis.exit_code == 0
    assert len(diagnosis.document["certificates"]) == 1
