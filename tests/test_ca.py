"""What a CA offers and who it is, compared with what the pipeline pins."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from run_fixtures import World, new_authority

from scepflow.ca import authenticate_ca
from scepflow.engine.algorithms import Cipher, Digest
from scepflow.engine.exchange import HttpResponse
from scepflow.errors import OptionError, ProtocolError, TransportError, TrustError
from scepflow.pipeline import CaOptions
from scepflow.system import make_run
from scepflow.testca import Knobs

GONE = TransportError("the server hung up")


@pytest.fixture(scope="session")
def ra_authority():
    return new_authority(ra=True)


@pytest.fixture
def ra_world(tmp_path, ra_authority, _device_key):
    return World(directory=tmp_path, authority=ra_authority, key=_device_key)


class Line:
    def __init__(self, send):
        self.send = send


def authenticate(world, **options):
    pipeline = world.pipeline(ca=options)
    run = make_run(pipeline, world.events.append, world.system)
    return authenticate_ca(pipeline.ca, Line(world.handle), run)


def save(world, name, *certificates):
    (world.directory / name).write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in certificates))
    return name


def test_a_ca_with_the_pinned_fingerprint_passes(world):
    ca = authenticate(world)
    assert ca.bundle.ca_certificate == world.authority.certificate
    assert (ca.choice.cipher, ca.choice.digest, ca.choice.method) == (Cipher.AES128, Digest.SHA256, "POST")
    (told,) = world.events
    assert told.by == f"fingerprint sha256:{world.authority.fingerprint}"
    assert "SCEPStandard" in told.capabilities


def test_the_identifier_is_sent_with_both_questions(world):
    authenticate(world, identifier="east & west")
    assert all(request.url.endswith("&message=east%20%26%20west") for request in world.requests)


def test_one_of_several_fingerprints_is_enough(world):
    authenticate(world, fingerprint=["sha256:" + "0" * 64, f"sha256:{world.authority.fingerprint}"])


def test_a_ca_certificate_file_authenticates(world):
    ca = authenticate(world, fingerprint=None, certificate=save(world, "ca.pem", world.authority.certificate))
    assert ca.bundle.by == "CA certificate file"


def test_a_server_that_hangs_up_on_get_ca_caps_has_no_capabilities(world):
    world.answers["GetCACaps"] = GONE
    ca = authenticate(world)
    assert ca.capabilities.names == frozenset()
    assert "no-capabilities" in world.warnings
    assert ca.choice.method == "GET"


def test_a_server_that_is_not_there_is_said_once(world):
    world.answers |= {"GetCACaps": GONE, "GetCACert": GONE}
    with pytest.raises(TransportError):
        authenticate(world)
    assert world.warnings == []


def test_a_server_without_get_ca_cert_needs_a_certificate_file(world):
    world.answers["GetCACert"] = HttpResponse(status=404, body=b"no such thing")
    with pytest.raises(TransportError):
        authenticate(world)
    ca = authenticate(world, certificate=save(world, "ca.pem", world.authority.certificate))
    assert ca.bundle.recipient == world.authority.certificate
    assert "no-ca-certificate" in world.warnings


def test_a_web_page_instead_of_a_certificate_is_a_protocol_error(world):
    world.answers["GetCACert"] = HttpResponse(status=200, body=b"<html>welcome</html>")
    with pytest.raises(ProtocolError):
        authenticate(world)


def test_the_ra_receives_and_signs(ra_world):
    ca = authenticate(ra_world)
    ra = ra_world.authority.ra
    assert ca.bundle.recipient == ra.encryption.certificate
    assert ra.signing.certificate in ca.bundle.signers


def test_pins_name_who_signs_and_who_receives(ra_world):
    ra = ra_world.authority.ra
    ca = authenticate(
        ra_world,
        signing_certificate=save(ra_world, "signing.pem", ra.signing.certificate),
        encryption_certificate=f"sha256:{ra.encryption.certificate.fingerprint(hashes.SHA256()).hex()}",
    )
    assert ca.bundle.signers == (ra.signing.certificate,)
    assert ca.bundle.recipient == ra.encryption.certificate


def test_a_pinned_encryption_certificate_in_a_file_does_where_the_server_sends_none(ra_world):
    ra = ra_world.authority.ra
    body = ra_world.authority.certificate.public_bytes(Encoding.DER)
    ra_world.answers["GetCACert"] = HttpResponse(status=200, body=body)
    file = save(ra_world, "encryption.pem", ra.encryption.certificate)
    assert authenticate(ra_world, encryption_certificate=file).bundle.recipient == ra.encryption.certificate


def test_a_pinned_certificate_that_does_not_come_is_no_trust(ra_world):
    with pytest.raises(TrustError, match="encryption certificate"):
        authenticate(ra_world, encryption_certificate="sha256:" + "0" * 64)


def test_a_pinned_certificate_of_another_ca_is_no_trust(ra_world, world):
    stranger = save(ra_world, "stranger.pem", new_authority().certificate)
    with pytest.raises(TrustError):
        authenticate(ra_world, signing_certificate=stranger)


@pytest.mark.parametrize("option", ["certificate", "signing_certificate", "encryption_certificate"])
def test_a_certificate_file_that_cannot_be_used_names_its_option(world, option):
    with pytest.raises(OptionError, match="No such file") as caught:
        authenticate(world, **{option: "missing.pem"})
    assert caught.value.where == f"ca.{option}"
    (world.directory / "odd.pem").write_text("no certificate at all")
    with pytest.raises(OptionError, match=r"odd\.pem") as caught:
        authenticate(world, **{option: "odd.pem"})
    assert caught.value.where == f"ca.{option}"


def test_a_sha1_fingerprint_needs_legacy(world):
    sha1 = f"sha1:{world.authority.certificate.fingerprint(hashes.SHA1()).hex()}"
    with pytest.raises(OptionError, match="forged"):
        CaOptions(url="http://pki.example.com", fingerprint=sha1)
    ca = authenticate(world, fingerprint=sha1, security="legacy")
    assert ca.bundle.ca_certificate == world.authority.certificate


@pytest.mark.parametrize("option", ["signing_certificate", "encryption_certificate"])
@pytest.mark.parametrize("prefix", ["sha1:", ""])
def test_a_sha1_pin_needs_legacy(world, option, prefix):
    sha1 = f"{prefix}{world.authority.certificate.fingerprint(hashes.SHA1()).hex()}"
    with pytest.raises(OptionError, match="forged") as caught:
        CaOptions(url="http://pki.example.com", **{option: sha1})
    assert caught.value.where == option
    authenticate(world, security="legacy", **{option: sha1})


def test_an_ra_that_nothing_pins_is_told_of_with_the_line_that_pins_it(ra_world):
    authenticate(ra_world)
    assert "ra-not-pinned" in ra_world.warnings


def test_a_pinned_ra_needs_no_word(ra_world):
    ra = ra_world.authority.ra
    pin = f"sha256:{ra.encryption.certificate.fingerprint(hashes.SHA256()).hex()}"
    authenticate(ra_world, encryption_certificate=pin)
    assert ra_world.warnings == ["ra-not-pinned"]  # of who signs
    ra_world.events.clear()
    signs = f"sha256:{ra.signing.certificate.fingerprint(hashes.SHA256()).hex()}"
    authenticate(ra_world, encryption_certificate=pin, signing_certificate=signs)
    assert ra_world.warnings == []


def test_the_policy_holds_for_the_cas_certificates(world):
    key = rsa.generate_private_key(65537, 1024)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Small CA")])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    builder = builder.not_valid_before(world.authority.certificate.not_valid_before_utc)
    builder = builder.not_valid_after(world.authority.certificate.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    body = certificate.public_bytes(Encoding.DER)
    world.answers["GetCACert"] = HttpResponse(status=200, body=body)
    pin = f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"
    authenticate(world, fingerprint=pin)
    assert "weak-certificate" in world.warnings
    with pytest.raises(TrustError, match="1024 bits"):
        authenticate(world, fingerprint=pin, security="strict")


@pytest.mark.parametrize("allowed", [False, True])
def test_a_password_envelope_is_told_of_where_it_is_allowed(world, allowed):
    world = World(directory=world.directory, authority=new_authority(key="ec-p256"), key=world.key)
    authenticate(world, password_envelope=allowed)
    assert ("password-envelope" in world.warnings) == allowed


def test_options_win_over_capabilities(world):
    choice = authenticate(world, cipher="3des-cbc", digest="sha-512", method="GET").choice
    assert (choice.cipher, choice.digest, choice.method) == (Cipher.DES3, Digest.SHA512, "GET")
    assert "weak-request" in world.warnings


def test_strict_refuses_a_ca_that_offers_too_little(world):
    world.responder.knobs = Knobs(capabilities="DES3\nSHA-1\n")
    with pytest.raises(TrustError, match="strict"):
        authenticate(world, security="strict")


# Without GetCACert


def from_files(world, **options):
    return authenticate(world, fingerprint=None, fetch_certificates=False, **options)


def test_certificates_from_files_need_no_get_ca_cert(ra_world):
    ra = ra_world.authority.ra
    ca = from_files(
        ra_world,
        certificate=save(ra_world, "ca.pem", ra_world.authority.certificate),
        signing_certificate=save(ra_world, "signing.pem", ra.signing.certificate),
        encryption_certificate=save(ra_world, "encryption.pem", ra.encryption.certificate),
    )
    assert ra_world.operations == ["GetCACaps"]
    assert ca.bundle.signers == (ra.signing.certificate,)
    assert ca.bundle.recipient == ra.encryption.certificate
    assert ca.bundle.anchors == (ra_world.authority.certificate,)
    assert ra_world.warnings == []


def test_the_signer_s_file_alone_is_enough(world):
    ca = from_files(world, signing_certificate=save(world, "ca.pem", world.authority.certificate))
    assert ca.bundle.signers == ca.bundle.anchors == (world.authority.certificate,)
    assert ca.bundle.recipient == world.authority.certificate


def test_a_ca_file_alone_is_enough(world):
    ca = from_files(world, certificate=save(world, "ca.pem", world.authority.certificate))
    assert ca.bundle.ca_certificate == world.authority.certificate


def test_a_fingerprint_may_choose_among_the_files(ra_world):
    ra = ra_world.authority.ra
    file = save(ra_world, "all.pem", *ra_world.authority.bundle())
    named = f"sha256:{ra.signing.certificate.fingerprint(hashes.SHA256()).hex()}"
    assert from_files(ra_world, certificate=file, signing_certificate=named).bundle.signers == (
        ra.signing.certificate,
    )
    with pytest.raises(OptionError, match="no certificate in the files") as caught:
        from_files(ra_world, certificate=file, encryption_certificate="sha256:" + "0" * 64)
    assert caught.value.where == "ca.encryption_certificate"


def test_without_get_ca_cert_a_server_that_is_not_there_is_said(world):
    world.answers["GetCACaps"] = GONE
    with pytest.raises(TransportError):
        from_files(world, certificate=save(world, "ca.pem", world.authority.certificate))


def test_a_wrong_certificate_file_is_not_quoted(world):
    (world.directory / "challenge").write_text("hunter2")
    with pytest.raises(OptionError, match=r"no certificate can be read from .*challenge") as caught:
        authenticate(world, certificate="challenge")
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_a_certificate_file_without_an_end_is_refused(world):
    with pytest.raises(OptionError, match="larger than 1 MiB"):
        authenticate(world, certificate="/dev/zero")
