from datetime import timedelta

import pytest
from credential_fixtures import (
    NOW,
    dns,
    ec_key,
    ip,
    make_certificate,
    make_credential,
    make_run,
    mode_of,
    name,
    tree,
)
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from scepflow.engine.identity import Credential
from scepflow.errors import OptionError, SinkError
from scepflow.options import PathTemplate, Template
from scepflow_bundled.sinks import IsakmpdSink

BASE = PathTemplate("etc/isakmpd")


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "etc").mkdir()
    return tmp_path


def write(directory, issued, **options):
    IsakmpdSink(base=BASE, **options).write(issued, make_run(directory))
    return directory / BASE


def files(base, folder):
    return sorted(path.name for path in (base / folder).iterdir())


def test_the_tree_has_key_certificate_and_issuing_ca(etc):
    issued = make_credential(san=[ip("192.0.2.7")])
    base = write(etc, issued)
    assert [name for name, content in tree(base).items() if content] == [
        "ca/Example-CA.crt",
        "certs/192.0.2.7.crt",
        "private/local.key",
    ]
    assert x509.load_pem_x509_certificate((base / "ca/Example-CA.crt").read_bytes()) == issued.chain[0]
    assert x509.load_pem_x509_certificate((base / "certs/192.0.2.7.crt").read_bytes()) == issued.certificate
    key = load_pem_private_key((base / "private/local.key").read_bytes(), None)
    assert key.private_numbers() == issued.key.private_numbers()


def test_only_root_can_reach_the_key(etc):
    base = write(etc, make_credential(san=[ip("192.0.2.7")]))
    modes = {name: mode_of(base / name) for name in (".", "private", "certs", "ca", "crls")}
    assert modes == {".": 0o755, "private": 0o700, "certs": 0o755, "ca": 0o755, "crls": 0o755}
    assert mode_of(base / "private/local.key") == 0o600
    assert mode_of(base / "certs/192.0.2.7.crt") == 0o644
    assert mode_of(base / "ca/Example-CA.crt") == 0o644


@pytest.mark.parametrize(
    ("subject", "san", "expected"),
    [
        ("gw1", [dns("gw1.example.com"), ip("192.0.2.7"), ip("192.0.2.8")], "192.0.2.7"),
        ("gw1", [ip("2001:db8::1")], "2001:db8::1"),
        ("gw1", [x509.RFC822Name("a@example.com"), dns("gw1.example.com")], "gw1.example.com"),
        ("gw1", [dns("*.example.com")], "example.com"),
        ("gw1", [], "gw1"),
        ("gw1", [x509.RFC822Name("a@example.com")], "gw1"),
        ("Gateway Ost 1", [], "Gateway-Ost-1"),
        ("../../etc/cron.d/x", [], "etc-cron.d-x"),
        ("gw1", [dns("../../etc/passwd")], "etc-passwd"),
        (".hidden\x1b]0;x\x07", [], "hidden-0-x-"),
        ("n" * 64, [dns("n" * 300)], "n" * 120),
    ],
)
def test_the_certificate_is_named_by_what_peers_know_and_cannot_leave_certs(etc, subject, san, expected):
    base = write(etc, make_credential(subject, san=san))
    assert files(base, "certs") == [f"{expected}.crt"]
    assert len(tree(etc)) == 1 + 1 + 4 + 3


@pytest.mark.parametrize("subject", [None, "...", "ä"])
def test_a_certificate_without_a_usable_name_is_named_by_its_fingerprint(etc, subject):
    issued = make_credential(subject)
    assert files(write(etc, issued), "certs") == [
        issued.certificate.fingerprint(SHA256()).hex()[:16] + ".crt"
    ]


def test_an_id_option_names_the_certificate(etc):
    assert files(write(etc, make_credential(), id=Template("fqdn.example.com")), "certs") == [
        "fqdn.example.com.crt"
    ]


@pytest.mark.parametrize("bad", ["a/b", "../x", ".x", "", "a b", "-x", "n" * 121])
def test_an_id_that_is_no_file_name_is_refused(bad):
    with pytest.raises(OptionError, match="id is no plain file name"):
        IsakmpdSink(id=Template(bad))


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(b"\x30\x05junk", id="malformed"),
        pytest.param(bytes.fromhex("3006a504a1020c00"), id="ediPartyName"),
        pytest.param(bytes.fromhex("3004a3023000"), id="x400Address"),
        pytest.param(bytes.fromhex("30038201ff"), id="no ASCII"),
        pytest.param(bytes.fromhex("3005870301020a"), id="address of three bytes"),
    ],
)
def test_a_subject_alternative_name_that_cannot_be_read_is_ignored(etc, der):
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), der)
    certificate = (
        x509.CertificateBuilder(
            issuer_name=name("Example CA"),
            subject_name=name("gw1"),
            public_key=ec_key().public_key(),
            serial_number=1,
            not_valid_before=NOW,
            not_valid_after=NOW,
        )
        .add_extension(broken, critical=False)
        .sign(ec_key(2), SHA256())
    )
    issued = Credential(key=ec_key(), certificate=certificate, chain=make_credential().chain)
    assert files(write(etc, issued), "certs") == ["gw1.crt"]


def test_the_key_is_in_the_traditional_encoding(etc):
    base = write(etc, make_credential(key=ec_key()))
    assert (base / "private/local.key").read_bytes().startswith(b"-----BEGIN EC PRIVATE KEY-----")


def test_only_the_issuer_is_trusted_unless_the_chain_is_asked_for(etc):
    assert files(write(etc, make_credential()), "ca") == ["Example-CA.crt"]
    assert files(write(etc, make_credential(), chain=True), "ca") == ["Example-CA.crt", "Example-Root.crt"]


def test_another_ca_of_the_same_name_is_not_overwritten(etc):
    base = write(etc, make_credential())
    other = (base / "ca" / "Example-CA.crt").read_bytes()
    new = make_certificate("Example CA", issuer="x", key=ec_key(9), signing_key=ec_key(9), ca=True)
    issued = make_credential()
    issued = Credential(key=issued.key, certificate=issued.certificate, chain=(new,))
    for _ in range(2):
        write(etc, issued)
    suffix = new.fingerprint(SHA256()).hex()[:8]
    assert files(base, "ca") == [f"Example-CA-{suffix}.crt", "Example-CA.crt"]
    assert (base / "ca" / "Example-CA.crt").read_bytes() == other


def test_a_ca_file_that_is_not_pem_is_left_alone(etc):
    (etc / BASE / "ca").mkdir(parents=True)
    (etc / BASE / "ca" / "Example-CA.crt").write_bytes(b"what is this")
    assert len(files(write(etc, make_credential()), "ca")) == 2


def test_a_ca_without_a_usable_name_is_named_by_its_fingerprint(etc):
    issued = make_credential(issuer="..")
    assert files(write(etc, issued), "ca") == [issued.chain[0].fingerprint(SHA256()).hex()[:16] + ".crt"]


def test_a_credential_without_a_ca_is_an_error(etc):
    with pytest.raises(SinkError, match="no CA certificate"):
        write(etc, Credential(key=ec_key(), certificate=make_credential().certificate))
    assert tree(etc) == {"etc": None}


def test_a_failure_removes_the_directories_again(etc):
    sink = IsakmpdSink(base=BASE)
    sink.prepare(make_credential(), make_run(etc)).discard()
    assert tree(etc) == {"etc": None}


def test_the_layout_chooses_the_top_directory():
    assert IsakmpdSink().describe() == "/etc/isakmpd"
    assert IsakmpdSink(layout="iked").describe() == "/etc/iked"
    assert IsakmpdSink(layout="iked", base=BASE).describe() == BASE


def test_check_looks_where_directories_are_or_will_be_made(etc):
    run = make_run(etc)
    IsakmpdSink(base=BASE).check(run)
    with pytest.raises(SinkError, match="missing: no such directory"):
        IsakmpdSink(base=PathTemplate("missing/isakmpd")).check(run)
    assert tree(etc) == {"etc": None}
    base = write(etc, make_credential())
    IsakmpdSink(base=BASE).check(run)
    (base / "private/local.key").unlink()
    (base / "private/local.key").symlink_to("elsewhere")
    with pytest.raises(SinkError, match="symbolic link"):
        IsakmpdSink(base=BASE).check(run)


# CRLs


def make_crl(issuer="Example CA", key=1, *, organisation=None):
    """A CRL of an EC key; its issuer's name is all that the sink looks at."""
    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    if issuer is not None:
        attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer))
    builder = x509.CertificateRevocationListBuilder().issuer_name(x509.Name(attributes))
    builder = builder.last_update(NOW).next_update(NOW + timedelta(days=7))
    return builder.sign(ec_key(key), SHA256())


def write_crl(directory, crl):
    return IsakmpdSink(base=BASE).write_crl(crl, make_run(directory))


def test_a_crl_is_named_by_its_issuer(etc):
    crl = make_crl()
    assert write_crl(etc, crl) == "etc/isakmpd/crls/Example-CA.crl"
    path = etc / BASE / "crls/Example-CA.crl"
    assert x509.load_pem_x509_crl(path.read_bytes()) == crl
    assert mode_of(path) == 0o644
    assert mode_of(etc / BASE / "private") == 0o700


def test_a_newer_crl_takes_the_place_of_the_old_one_and_that_of_another_ca_stands_beside_it(etc):
    write_crl(etc, make_crl(key=1))
    newer = make_crl(key=2)
    write_crl(etc, newer)
    crls = etc / BASE / "crls"
    assert x509.load_pem_x509_crl((crls / "Example-CA.crl").read_bytes()) == newer
    for _ in range(2):
        said = write_crl(etc, make_crl(organisation="Other"))
    assert x509.load_pem_x509_crl((crls / "Example-CA.crl").read_bytes()) == newer
    assert len(list(crls.iterdir())) == 2
    assert (etc / said).exists()


def test_what_is_no_crl_is_not_overwritten(etc):
    write_crl(etc, make_crl())
    odd = etc / BASE / "crls/Example-CA.crl"
    odd.write_text("notes")
    assert write_crl(etc, make_crl()) != "etc/isakmpd/crls/Example-CA.crl"
    assert odd.read_text() == "notes"


@pytest.mark.parametrize("issuer", ["../../etc/passwd", None, "..."])
def test_the_name_of_a_crl_cannot_leave_its_folder(etc, issuer):
    write_crl(etc, make_crl(issuer))
    [path] = (etc / BASE / "crls").iterdir()
    assert path.suffix == ".crl"


def test_a_crl_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(SinkError, match="no such file"):
        write_crl(tmp_path, make_crl())
