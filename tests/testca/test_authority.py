from __future__ import annotations

import stat
import threading
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.testca.authority import Authority


def make_csr(key, subject="CN=client"):
    name = x509.Name.from_rfc4514_string(subject)
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())


def usage_of(certificate):
    return certificate.extensions.get_extension_for_class(x509.KeyUsage).value


def key_id_of(certificate):
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def test_a_ca_without_ra_signs_and_decrypts_with_its_own_certificate(now):
    authority = Authority.create(now=now)
    usage = usage_of(authority.certificate)
    assert usage.digital_signature
    assert usage.key_encipherment
    assert usage.key_cert_sign
    assert usage.crl_sign
    assert authority.signing == authority.encryption == authority.ca
    assert authority.bundle() == (authority.certificate,)


def test_a_ca_with_ra_leaves_signing_and_decrypting_to_two_certificates(ca_credentials):
    signing, encryption = ca_credentials.signing.certificate, ca_credentials.encryption.certificate
    assert usage_of(signing).digital_signature
    assert not usage_of(signing).key_encipherment
    assert usage_of(encryption).key_encipherment
    assert not usage_of(encryption).digital_signature
    assert not usage_of(ca_credentials.certificate).key_encipherment
    signing.verify_directly_issued_by(ca_credentials.certificate)
    encryption.verify_directly_issued_by(ca_credentials.certificate)
    assert signing.subject != encryption.subject


def test_the_bundle_comes_in_either_order(ca_credentials):
    ca = ca_credentials.certificate
    ra = (ca_credentials.signing.certificate, ca_credentials.encryption.certificate)
    assert ca_credentials.bundle() == (ca, *ra)
    assert ca_credentials.bundle(order="ra-first") == (*ra, ca)


def test_an_ec_ca_does_not_claim_to_encipher_keys(now):
    authority = Authority.create(now=now, key="ec-p256")
    assert isinstance(authority.ca.key, ec.EllipticCurvePrivateKey)
    assert not usage_of(authority.certificate).key_encipherment


def test_the_fingerprint_is_sha_256_over_the_der(authority):
    der = authority.certificate.public_bytes(Encoding.DER)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    assert authority.fingerprint == digest.finalize().hex()


def test_an_issued_certificate_names_its_issuer_and_its_key(authority, client_key, now):
    issued = authority.issue(make_csr(client_key), now=now, days=10)
    issued.verify_directly_issued_by(authority.certificate)
    assert issued.public_key() == client_key.public_key()
    authority_id = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority_id.key_identifier == key_id_of(authority.certificate)
    assert issued.not_valid_after_utc == now + timedelta(days=10)
    assert issued.not_valid_before_utc < now


def test_no_certificate_outlives_its_ca(authority, client_key, now):
    issued = authority.issue(make_csr(client_key), now=now, days=100_000)
    assert issued.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_serial_numbers_come_from_the_injected_source(ca_credentials, client_key, now):
    authority = Authority(ca_credentials.ca, random_bytes=lambda n: b"\x01" * n)
    issued = authority.issue(make_csr(client_key), now=now)
    assert issued.serial_number == int("01" + "01" * 16, 16)


def test_only_what_was_issued_and_is_valid_may_renew(authority, client_key, now):
    issued = authority.issue(make_csr(client_key), now=now, days=10)
    assert authority.objection(issued, now=now) == ""
    assert "expired" in authority.objection(issued, now=now + timedelta(days=11))
    assert "not yet" in authority.objection(issued, now=now - timedelta(days=1))
    authority.revoke(issued.serial_number, now=now)
    assert authority.objection(issued, now=now) == "revoked"


def test_a_certificate_with_a_known_serial_from_elsewhere_may_not_renew(authority, client_key, now):
    serial = iter([b"\x07" * 16] * 3)
    foreign = Authority.create(now=now, key="ec-p256", random_bytes=lambda n: b"\x07" * n)
    authority = Authority(authority.ca, random_bytes=lambda n: next(serial))
    own = authority.issue(make_csr(client_key), now=now)
    stranger = foreign.issue(make_csr(client_key), now=now)
    assert own.serial_number == stranger.serial_number
    assert authority.objection(stranger, now=now) == "not issued by this CA"
    assert authority.objection(authority.certificate, now=now) == "not issued by this CA"


def test_the_crl_lists_what_was_revoked(authority, client_key, now):
    issued = authority.issue(make_csr(client_key), now=now)
    kept = authority.issue(make_csr(client_key), now=now)
    authority.revoke(issued.serial_number, now=now)
    crl = authority.crl(now + timedelta(hours=1))
    assert crl.is_signature_valid(authority.certificate.public_key())
    assert crl.issuer == authority.certificate.subject
    revoked = crl.get_revoked_certificate_by_serial_number(issued.serial_number)
    assert revoked is not None
    assert revoked.revocation_date_utc == now
    assert crl.get_revoked_certificate_by_serial_number(kept.serial_number) is None


def test_the_next_ca_has_the_same_name_another_key_and_stays(authority, now):
    following = authority.next_ca(now)
    assert following.certificate.subject == authority.certificate.subject
    assert following.certificate.public_key() != authority.certificate.public_key()
    assert authority.next_ca(now) is following


@pytest.mark.parametrize(
    ("hostname", "kind"), [("127.0.0.1", x509.IPAddress), ("pki.example.com", x509.DNSName)]
)
def test_a_tls_credential_is_for_one_host(authority, now, hostname, kind):
    credential = authority.tls_credential(hostname, now=now)
    credential.certificate.verify_directly_issued_by(authority.certificate)
    san = credential.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(value) for value in san.get_values_for_type(kind)] == [hostname]
    assert credential.key.public_key() == credential.certificate.public_key()
    assert authority.objection(credential.certificate, now=now) == "not issued by this CA"


def test_a_saved_ca_comes_back_with_all_it_knows(ca_credentials, client_key, now, tmp_path):
    before = Authority(ca_credentials.ca, ra=ca_credentials.ra)
    early = before.issue(make_csr(client_key), now=now)
    following = before.next_ca(now)
    before.save(tmp_path / "ca")
    late = before.issue(make_csr(client_key), now=now)
    before.revoke(early.serial_number, now=now)
    after = Authority.load(tmp_path / "ca")
    assert after.bundle() == before.bundle()
    assert after.records.certificate(late.serial_number) == late
    assert after.records.revoked() == {early.serial_number: now}
    assert after.next_ca(now).certificate == following.certificate
    assert after.signing.key.public_key() == before.signing.key.public_key()


def test_private_keys_are_for_their_owner_only(ca_credentials, tmp_path):
    Authority(ca_credentials.ca, ra=ca_credentials.ra).save(tmp_path)
    keys = sorted(tmp_path.glob("*.key"))
    assert [key.name for key in keys] == ["ca.key", "ra-encryption.key", "ra-signing.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert stat.S_IMODE((tmp_path / "ca.pem").stat().st_mode) == 0o644


def test_opening_creates_once_and_loads_afterwards(now, tmp_path):
    first = Authority.open(tmp_path / "deep" / "ca", now=now, key="ec-p256")
    second = Authority.open(tmp_path / "deep" / "ca", now=now, key="ec-p256")
    assert first.certificate == second.certificate
    anchor = x509.load_pem_x509_certificate((tmp_path / "deep" / "ca" / "ca.pem").read_bytes())
    assert anchor == first.certificate


def test_opening_at_the_same_time_yields_one_ca(now, tmp_path):
    seen = []
    threads = [
        threading.Thread(
            target=lambda: seen.append(Authority.open(tmp_path, now=now, key="ec-p256").fingerprint)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_an_ra_can_join_and_rest(now, tmp_path):
    plain = Authority.open(tmp_path, now=now, key="ec-p256")
    joined = Authority.open(tmp_path, now=now, ra=True)
    assert joined.ra is not None
    assert joined.certificate == plain.certificate
    assert Authority.open(tmp_path, now=now).ra is None
    again = Authority.open(tmp_path, now=now, ra=True)
    assert again.signing.certificate == joined.signing.certificate


def test_the_next_ca_of_a_directory_lives_in_it(now, tmp_path):
    Authority.open(tmp_path, now=now, key="ec-p256").next_ca(now)
    again = Authority.open(tmp_path, now=now)
    assert (tmp_path / "next" / "ca.pem").exists()
    assert again.next_ca(now).certificate.subject == again.certificate.subject


def test_a_key_that_is_neither_rsa_nor_ec_is_refused(now, tmp_path):
    Authority.open(tmp_path, now=now, key="ec-p256")
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (tmp_path / "ca.key").write_bytes(pem)
    with pytest.raises(ValueError, match=r"ca\.key is neither RSA nor EC"):
        Authority.load(tmp_path)
