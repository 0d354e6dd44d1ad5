"""EC keys on either side, over loopback: ``scepflow testca`` of each kind, and a pipeline for each client."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CHALLENGE = "k4Qx-9tTz-Lm2w-77"
CLIENTS = {
    "rsa": ("", rsa.RSAPublicKey),
    "ec-by-rsa": (
        '[key]\nalgorithm = "ec-p256"\n[signer]\ntransport_key = "rsa"\n',
        ec.EllipticCurvePublicKey,
    ),
    "ec-by-itself": (
        '[key]\nalgorithm = "ec-p384"\n[signer]\ntransport_key = "csr"\n',
        ec.EllipticCurvePublicKey,
    ),
}


@pytest.mark.parametrize(
    "ca",
    [[], ["--ra"], ["--key", "ec-p256"], ["--key", "ec-p256", "--ra"]],
    ids=["RSA", "RSA RA", "EC", "EC RA"],
)
def test_a_test_ca_of_each_kind_serves_each_client(start, scepflow, folder, ca):
    process = start("testca", "--challenge", CHALLENGE, "--pending", "1", *ca)
    said = {}
    for line in process.stdout:
        if " = " in line:
            name, value = line.split(" = ", 1)
            said[name] = value.strip()
        if line.startswith("cert = "):
            break
    for name, (tables, kind) in CLIENTS.items():
        (folder / f"{name}.toml").write_text(
            f"[ca]\nurl = {said['url']}\nfingerprint = {said['fingerprint']}\npassword_envelope = true\n"
            f'[csr]\nsubject = "CN={name}"\nchallenge = "{CHALLENGE}"\n{tables}'
            f'[poller]\nuse = "fixed"\ninterval = "0s"\nmax_count = 3\n[sink.file]\ncert = "{name}.pem"\n'
        )
        done = scepflow("run", f"{name}.toml")
        assert done.exit_code == 0, (name, done.stderr)
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        assert isinstance(certificate.public_key(), kind)
