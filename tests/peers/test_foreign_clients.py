"""SCEP clients that no one here wrote enroll against the test CA."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.engine.messages import FailInfo, MessageType
from scepflow.testca import Authority, Knobs, Responder, serve
from scepflow.testca.knobs import CAPABILITIES

pytestmark = pytest.mark.peer

APT = "apt-get install strongswan-pki libstrongswan-extra-plugins scep certmonger"
CHALLENGE = "s3cret-challenge"
SCEP_SUBMIT = "/usr/lib/certmonger/scep-submit"


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} missing: {APT}")


def call(*argv, status=0, **options):
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False, **options)
    assert done.returncode == status, (done.stdout + done.stderr).decode("utf-8", "replace")
    return done


def new_key(path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return key


@dataclass
class Ca:
    """A test CA with the files that clients pin."""

    authority: Authority
    folder: Path

    @property
    def anchor(self):
        return str(self.folder / "ca.pem")

    @property
    def signing(self):
        return str(self.folder / "ra-signing.pem") if self.authority.ra else self.anchor

    @property
    def encryption(self):
        return str(self.folder / "ra-encryption.pem") if self.authority.ra else self.anchor

    def responder(self, **knobs):
        return Responder(self.authority, Knobs(challenge=CHALLENGE, **knobs))


@pytest.fixture(scope="module", params=["ca", "ra"])
def ca(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return Ca(Authority.open(folder, now=datetime.now(UTC), ra=request.param == "ra"), folder)


# strongSwan


def pki_scep(ca, url, key, *arguments, status=0, cipher=None):
    """Run ``pki --scep``; return the certificate that it prints, or None."""
    done = call(
        "pki",
        "--scep",
        *("--url", url, "--in", str(key), "--dn", "C=DE, O=strongSwan, CN=gw1"),
        *("--cacert-enc", ca.encryption, "--cacert-sig", ca.signing, "--cacert", ca.anchor),
        *(("--cipher", cipher) if cipher else ()),
        *("--interval", "1s", "--maxpolltime", "10s", "--outform", "pem"),
        *arguments,
        status=status,
    )
    return x509.load_pem_x509_certificate(done.stdout) if done.stdout else None


@needs("pki")
@pytest.mark.parametrize("cipher", [None, "aes", "des3"])
def test_strongswan_enrolls(ca, tmp_path, cipher):
    """Its CSR's attributes are not in the order of DER, its self-signature covers them as they are."""
    key = new_key(tmp_path / "key.pem")
    responder = ca.responder()
    with serve(responder) as server:
        certificate = pki_scep(
            ca,
            server.url,
            tmp_path / "key.pem",
            *("--san", "gw1.example.com", "--password", CHALLENGE),
            cipher=cipher,
        )
    assert certificate == responder.issued[0][1]
    assert certificate.public_key() == key.public_key()
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["gw1.example.com"]


@needs("pki")
def test_strongswan_renews_with_its_old_certificate_and_a_new_key(ca, tmp_path):
    new_key(tmp_path / "old.key")
    key = new_key(tmp_path / "new.key")
    responder = ca.responder()
    with serve(responder) as server:
        old = pki_scep(ca, server.url, tmp_path / "old.key", "--password", CHALLENGE)
        (tmp_path / "old.pem").write_bytes(old.public_bytes(Encoding.PEM))
        renewed = pki_scep(
            ca,
            server.url,
            tmp_path / "new.key",
            *("--cert", str(tmp_path / "old.pem"), "--key", str(tmp_path / "old.key")),
        )
    assert renewed.public_key() == key.public_key()
    assert responder.requests[-1].message_type == MessageType.RENEWAL_REQ


@needs("pki")
def test_strongswan_polls_for_a_pending_certificate(ca, tmp_path):
    new_key(tmp_path / "key.pem")
    responder = ca.responder(pending=1)
    with serve(responder) as server:
        certificate = pki_scep(ca, server.url, tmp_path / "key.pem", "--password", CHALLENGE)
    assert certificate == responder.issued[0][1]
    types = [request.message_type for request in responder.requests]
    assert types == [MessageType.PKCS_REQ, MessageType.CERT_POLL]


@needs("pki")
@pytest.mark.parametrize("challenge", ["wrong", CHALLENGE])
def test_strongswan_understands_a_rejection(ca, tmp_path, challenge):
    new_key(tmp_path / "key.pem")
    responder = ca.responder(reject=FailInfo.BAD_REQUEST if challenge == CHALLENGE else None)
    with serve(responder) as server:
        assert pki_scep(ca, server.url, tmp_path / "key.pem", "--password", challenge, status=1) is None
    assert not responder.issued


@needs("pki")
def test_strongswan_reads_the_bundle(ca, tmp_path):
    with serve(ca.responder()) as server:
        call(
            "pki",
            "--scepca",
            *("--url", server.url, "--outform", "pem"),
            *("--caout", str(tmp_path / "ca.pem"), "--raout", str(tmp_path / "ra.pem")),
        )
    found = {x509.load_pem_x509_certificate(path.read_bytes()) for path in tmp_path.iterdir()}
    assert found == set(ca.authority.bundle())


# micromdm


@needs("scepclient")
@pytest.mark.parametrize(("challenge", "status"), [(CHALLENGE, 0), ("wrong", 1)])
def test_micromdm_enrolls_with_the_challenge(ca, tmp_path, challenge, status):
    responder = ca.responder()
    with serve(responder) as server:
        call(
            "scepclient",
            *("-server-url", server.url, "-challenge", challenge, "-cn", "mm1"),
            *("-private-key", str(tmp_path / "key.pem"), "-certificate", str(tmp_path / "cert.pem")),
            cwd=tmp_path,
            status=status,
        )
    assert len(responder.issued) == (status == 0)
    if not status:
        written = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
        assert written == responder.issued[0][1]


# certmonger


@needs(SCEP_SUBMIT)
def test_scep_submit_reads_capabilities_and_bundle(ca):
    with serve(ca.responder()) as server:
        capabilities = call(SCEP_SUBMIT, "-u", server.url, "-c").stdout.decode()
        bundle = x509.load_pem_x509_certificates(call(SCEP_SUBMIT, "-u", server.url, "-C").stdout)
    assert capabilities.split() == CAPABILITIES.split()
    assert set(bundle) == set(ca.authority.bundle())


@needs("certmonger", "getcert", SCEP_SUBMIT)
def test_certmonger_enrolls_through_scep_submit(ca, tmp_path_factory):
    """The whole daemon, on a private socket and with its own folders; its requests come by GET."""
    folder = tmp_path_factory.mktemp("cm")  # a short path: it holds a Unix socket
    for name in ("requests", "cas", "tmp", "local", "config"):
        (folder / name).mkdir()
    responder = ca.responder()
    with serve(responder) as server:
        # Without a separate RA certificate scep-submit finds its anchor only in -N.
        script = folder / "script.sh"
        script.write_text(
            f"getcert add-scep-ca -c test -u {server.url} -N {shlex.quote(ca.anchor)}\n"
            f"getcert request -c test -k {folder}/key.pem -f {folder}/cert.pem -N CN=cm1 "
            f"-D cm1.example.com -L {CHALLENGE} -I job -w -v\n"
        )
        places = {
            "CERTMONGER_REQUESTS_DIR": folder / "requests",
            "CERTMONGER_CAS_DIR": folder / "cas",
            "CERTMONGER_TMPDIR": folder / "tmp",
            "CERTMONGER_LOCAL_CA_DIR": folder / "local",
            "CERTMONGER_CONFIG_DIR": folder / "config",
            "TMPDIR": folder / "tmp",
            "HOME": folder,
        }
        done = call(
            *("certmonger", "-n", "-L", "-P", str(folder / "socket"), "-c", f"sh {script}"),
            env={**os.environ, **{name: str(place) for name, place in places.items()}},
        )
    assert b"MONITORING" in done.stdout
    written = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    assert written == responder.issued[0][1]
    san = written.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["cm1.example.com"]
