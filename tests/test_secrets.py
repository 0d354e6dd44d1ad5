"""No secret is in anything that the commands say, keep, deliver, send or tell a child, whatever goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509.oid import AttributeOID

from scepflow.testca import Authority, FailInfo, Knobs, Responder, serve
from scepflow.testca.behaviour import Behaviour
from scepflow.testca.behaviours import behaviours

SECRETS = {
    "challenge": "Ch4llenge+of/this=CA~ü",
    "key": 'K3y_phr4se "qu0ted" & m0re',
    "proxy": "pr0xy:p@ss%word",
    "client": "Cl1ent\\phrase'here",
    "sink": "S1nk_phrase-of-a-key",
    "p12": "P12<word>é#1",
}
USER = "svc"
PART_BYTES = 8
PIPELINE = """\
[ca]
url = "http://ca.test/scep"
fingerprint = "sha256:{fingerprint}"
[key]
use = "file"
path = "device.key"
passphrase = {key}
[csr]
subject = "CN=gw1.example.com"
challenge = {challenge}
[transport]
use = "proxy"
url = "{proxy_url}"
user = "svc"
password = {proxy}
client_certificate = "client.pem"
client_key = "client.key"
client_key_passphrase = {client}
[poller]
use = "fixed"
interval = "1h"
[sink.file]
cert = "gw1.pem"
key = "out.key"
key_passphrase = {sink}
[sink.p12]
use = "pkcs12"
path = "gw1.p12"
password = {p12}
[sink.told]
use = "command"
run = ["{python}", "tell.py"]
"""
TELL = """\
import json, os, sys
from pathlib import Path
Path("told.json").write_text(json.dumps([sys.argv, dict(os.environ), sys.stdin.read()]))
"""
BREAKS = '''\
from scepflow.hookspecs import hookimpl
from scepflow.options import Secret
from scepflow.stages import OutputSink

class Breaking(OutputSink, frozen=True, kw_only=True, tag="breaking"):
    """A sink that has a secret in its hands when it breaks."""
    word: Secret

    def write(self, issued, run):
        revealed = run.reveal(self.word)
        return len(revealed) / 0

@hookimpl
def scepflow_sinks():
    return [Breaking]
'''
BUG = """\
import scepflow.obtaining

def authenticate_ca(options, connection, run, *, successors=()):
    login = connection._proxy.authorization
    return len(login) / 0

scepflow.obtaining.authenticate_ca = authenticate_ca
"""


def forms(secret: str) -> dict[str, bytes]:
    """Return what a secret may look like, by the name of the form."""
    plain = secret.encode()
    texts = {
        "JSON": json.dumps(secret)[1:-1],
        "JSON with Unicode": json.dumps(secret, ensure_ascii=False)[1:-1],
        "repr": repr(secret)[1:-1],
        "repr of bytes": repr(plain)[2:-1],
        "escaped": secret.encode("unicode_escape").decode(),
        "percent-encoded": quote(secret, safe=""),
        "percent-encoded path": quote(secret),
        "form": quote_plus(secret),
        "hex": plain.hex(),
        "hex in capitals": plain.hex().upper(),
        "hex with colons": plain.hex(":"),
        "reversed": secret[::-1],
        "login": b64encode(f"{USER}:{secret}".encode()).decode(),
    }
    aligned = {
        f"{name} at {before}": encode(bytes(before) + plain)[(before * 4 + 2) // 3 :].rstrip(b"=")[:-1]
        for name, encode in (("base64", b64encode), ("base64url", urlsafe_b64encode))
        for before in range(3)
    }
    parts = {f"part at {at}": plain[at : at + PART_BYTES] for at in range(len(plain) - PART_BYTES)}
    return {
        **parts,  # what is said in two halves
        "plain": plain,
        "Latin-1": secret.encode("latin-1"),
        "UTF-16": secret.encode("utf-16-le"),
        "UTF-16 big-endian": secret.encode("utf-16-be"),
        **{name: text.encode() for name, text in texts.items()},
        **aligned,
    }


FORMS = {name: forms(secret) for name, secret in SECRETS.items()}


def found_in(data: bytes, known: dict[str, dict[str, bytes]]) -> list[str]:
    """Return which secrets data has, and in which form; letter case does not matter."""
    small = data.lower()
    return [
        f"{name}: {form}"
        for name, looks in known.items()
        for form, look in looks.items()
        if look.lower() in small
    ]


@pytest.mark.parametrize("secret", SECRETS.values())
def test_the_search_finds_every_form(secret):
    around = f'{{"level": "debug", "login": "{b64encode(f"xy{secret}z".encode()).decode()}"}}'
    for form, look in forms(secret).items():
        assert len(look) >= (PART_BYTES if form.startswith("part") else 12), form
        assert any(form in hit for hit in found_in(b"\x00log " + look + b" end", {"it": forms(secret)}))
    assert found_in(around.encode(), {"it": forms(secret)})
    assert found_in(secret.encode().upper(), {"it": forms(secret)})
    assert not found_in(b"nothing " * 100, {"it": forms(secret)})


@dataclass
class Desk:
    """A folder with a pipeline full of secrets, and all that the commands said."""

    folder: Path
    source: str
    known: dict[str, dict[str, bytes]] = field(default_factory=lambda: dict(FORMS))
    said: dict[str, bytes] = field(default_factory=dict)

    def secret(self, name: str) -> str:
        """Return the TOML value that leads to a secret."""
        if self.source == "literal":
            return json.dumps(SECRETS[name], ensure_ascii=False)
        if self.source == "env":
            return f'{{ env = "SECRET_{name.upper()}" }}'
        path = self.folder / "secrets" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{SECRETS[name]}\n")
        if self.source == "command":
            return f'{{ command = ["cat", "secrets/{name}"] }}'
        return f'{{ file = "secrets/{name}" }}'

    def write(
        self, name: str, authority: Authority, proxy_url: str, *, more: str = "", **replaced: str
    ) -> None:
        secrets = {name: self.secret(name) for name in SECRETS}
        text = PIPELINE.format(
            fingerprint=authority.fingerprint,
            proxy_url=proxy_url,
            python=sys.executable,
            **(secrets | replaced),
        )
        (self.folder / name).write_text(text + more)

    def call(self, *arguments: str, code: int) -> bytes:
        places = {"SCEPFLOW_STATE_DIR": "state", "HOME": "home", "TMPDIR": "tmp"}
        environment = dict(os.environ)
        for variable, name in places.items():  # all that is searched
            (self.folder / name).mkdir(exist_ok=True, mode=0o700)
            environment[variable] = str(self.folder / name)
        if self.source == "env" or arguments[0] == "sscep":
            environment |= {f"SECRET_{name.upper()}": secret for name, secret in SECRETS.items()}
        done = subprocess.run(
            [sys.executable, "-m", "scepflow", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()
        self.said[" ".join(arguments)] = done.stdout + b"\n" + done.stderr
        return done.stdout + done.stderr

    @property
    def undecided(self) -> list[Path]:
        """The files that hold a request until the CA's answer to it has come: it is sent again as it was, challenge and all."""
        return list((self.folder / "state").rglob("enrollment.json"))

    def leaks(self) -> list[str]:
        """Return what is found in what was said, and in every file that is not there to hold a secret."""
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in self.undecided)
        literal = self.source == "literal"
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
            and path.parent.name != "secrets"
            and path not in self.undecided
            and not (literal and path.suffix == ".toml")
        }
        names = {f"name of {path}": path.encode() for path in files}
        return [
            f"{place}: {hit}"
            for place, data in {**self.said, **files, **names}.items()
            for hit in found_in(data, self.known)
        ]


@pytest.fixture(scope="module")
def authority():
    return Authority.create(now=datetime.now(UTC) - timedelta(days=1))


from_everywhere = pytest.mark.parametrize("desk", ["file", "env", "literal", "command"], indirect=True)


@pytest.fixture
def desk(request, tmp_path, authority):
    desk = Desk(tmp_path, getattr(request, "param", "file"))
    client = authority.tls_credential("127.0.0.1", now=datetime.now(UTC))
    (tmp_path / "client.pem").write_bytes(client.certificate.public_bytes(Encoding.PEM))
    for name, key, secret in (
        ("device.key", rsa.generate_private_key(65537, 2048), SECRETS["key"]),
        ("client.key", client.key, SECRETS["client"]),
    ):
        lock = BestAvailableEncryption(secret.encode())
        (tmp_path / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        (tmp_path / name).chmod(0o600)
    (tmp_path / "tell.py").write_text(TELL)
    (tmp_path / "breaks.py").write_text(BREAKS)
    (tmp_path / "bug.py").write_text(BUG)
    return desk


class Watching:
    """Remembers what arrived; the test CA serves whatever host is asked for, and so can be its own proxy."""

    def __init__(self, authority, **knobs):
        self.logins: set[str] = set()
        self.received: list[bytes] = []
        watch = Behaviour(name="watch", summary="remembers", answer=self._note)
        behave = (*knobs.pop("behave", ()), watch)
        self.responder = Responder(authority, Knobs(challenge=SECRETS["challenge"], behave=behave, **knobs))

    def _note(self, response, scene):
        fields = dict(scene.http.headers)
        self.logins.add(fields.pop("proxy-authorization", ""))
        self.received += [scene.http.url.encode(), repr(fields).encode(), scene.http.body]
        return response


@from_everywhere
def test_a_run_leaves_no_secret_behind(authority, desk):
    watching = Watching(authority)
    with serve(watching.responder, path="") as server:
        desk.write("gw1.toml", authority, server.url)
        if desk.source == "file":
            for command in ("validate", "explain", "doctor"):
                desk.call("-vv", command, "gw1.toml", code=0)
                desk.call(command, "--json", "gw1.toml", code=0)
            desk.call("-vv", "run", "--dry-run", "gw1.toml", code=0)
        desk.call("-vv", "run", "gw1.toml", code=0)
        desk.call("-vv", "--log-format", "json", "run", "--renew", "--json", "gw1.toml", code=0)
        desk.call("-vv", "deliver", "gw1.toml", code=0)
    if desk.source == "file":
        desk.call("-vv", "status", code=0)
        desk.call("status", "--json", code=0)
    desk.call("-vv", "history", code=0)
    login = b64encode(f"{USER}:{SECRETS['proxy']}".encode()).decode()
    assert watching.logins == {f"Basic {login}"}
    load_pem_private_key((desk.folder / "out.key").read_bytes(), SECRETS["sink"].encode())
    load_pkcs12((desk.folder / "gw1.p12").read_bytes(), SECRETS["p12"].encode())
    assert json.loads((desk.folder / "told.json").read_text())[0] == ["tell.py"]
    assert not [hit for data in watching.received for hit in found_in(data, FORMS)]
    assert desk.leaks() == []


def test_what_is_opened_shows_no_challenge(authority, desk):
    watching = Watching(authority)
    with serve(watching.responder, path="") as server:
        desk.write("gw1.toml", authority, server.url)
        desk.call("run", "gw1.toml", code=0)
    (desk.folder / "request.der").write_bytes(next(body for body in watching.received if body[:1] == b"\x30"))
    key_pem = authority.encryption.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (desk.folder / "ca.key").write_bytes(key_pem)
    said = desk.call("-vv", "decode", "request.der", "--key", "ca.key", code=0)
    desk.call("decode", "request.der", "--key", "ca.key", "--json", code=0)
    assert b"gw1.example.com" in said
    assert b"hallenge" in said
    assert desk.leaks() == []


@pytest.mark.parametrize(
    ("knobs", "behave", "code"),
    [
        ({"reject": FailInfo.BAD_REQUEST}, (), 72),
        ({"pending": 9}, (), 3),
        ({}, ("badnonce",), 5),
        ({}, ("http-407",), 4),
        ({}, ("hang-up",), 4),
        ({}, ("broken-padding",), 5),
    ],
    ids=["rejected", "pending", "refused", "a login is wanted", "lost", "not opened"],
)
def test_a_run_that_fails_leaves_no_secret_behind(authority, desk, knobs, behave, code):
    watching = Watching(authority, behave=behaviours(behave), **knobs)
    with serve(watching.responder, path="") as server:
        desk.write("gw1.toml", authority, server.url)
        desk.call("-vv", "run", "--wait", "0s", "--json", "gw1.toml", code=code)
        desk.call("history", "--json", code=0)
        assert desk.leaks() == []
        watching.responder.behave(Knobs(challenge=SECRETS["challenge"]))
        desk.call("run", "--again", "gw1.toml", code=0)
    assert not desk.undecided
    assert desk.leaks() == []


@from_everywhere
def test_stages_that_fail_leave_no_secret_behind(authority, desk):
    wrong = desk.secret("p12")
    with serve(Watching(authority).responder, path="") as server:
        desk.write("key.toml", authority, server.url, key=wrong)
        desk.write("client.toml", authority, server.url, client=wrong)
        more = f'[sink.broken]\nuse = "breaking"\nword = {wrong}\n'
        desk.write("broken.toml", authority, server.url, more=more)
        desk.call("-vv", "run", "key.toml", code=78)
        desk.call("-vv", "run", "--dry-run", "client.toml", code=78)
        desk.call("-vv", "-p", "breaks.py", "run", "--json", "broken.toml", code=6)
    assert desk.leaks() == []


def test_a_run_that_cannot_go_on_leaves_no_secret_behind(authority, desk):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with serve(Watching(authority).responder, path="") as server:
        desk.write("dead.toml", authority, f"http://127.0.0.1:{port}")
        desk.write("typo.toml", authority, server.url, more='[sink.typo]\nuse = "pkcs12"\npasswort = "x"\n')
        desk.call("-vv", "run", "dead.toml", code=4)
        desk.call("-vv", "run", "typo.toml", code=78)
        desk.write("gw1.toml", authority, server.url)
        said = desk.call("-vv", "-p", "bug.py", "run", "gw1.toml", code=1)
        desk.call("-vv", "-p", "bug.py", "--log-format", "json", "run", "--json", "gw1.toml", code=1)
    assert b"Traceback" in said
    assert b"in authenticate_ca" in said
    assert desk.leaks() == []


@pytest.mark.parametrize(
    ("behave", "code", "next_code"),
    [("echo-challenge", 72, 72), ("echo-page", 4, 5)],
    ids=["in failInfoText", "in a web page"],
)
def test_what_a_peer_quotes_is_not_told(authority, desk, behave, code, next_code):
    watching = Watching(authority, behave=behaviours([behave]))
    with serve(watching.responder, path="") as server:
        desk.write("gw1.toml", authority, server.url)
        said = desk.call("-vv", "run", "gw1.toml", code=code)
        desk.call("-vv", "--log-format", "json", "run", "--json", "gw1.toml", code=next_code)
    assert b"challenge" in said
    assert b"***" in said
    assert b"***" in desk.call("history", "--json", code=0)
    desk.call("status", "--json", code=0)
    assert desk.leaks() == []


@pytest.mark.parametrize(
    ("behave", "code"),
    [((), 0), (("echo-challenge",), 72), (("echo-page",), 95)],
    ids=["issued", "quoted in failInfoText", "quoted in a web page"],
)
def test_the_sscep_front_leaves_no_secret_behind(authority, desk, behave, code):
    key = load_pem_private_key((desk.folder / "device.key").read_bytes(), SECRETS["key"].encode())
    name = x509.Name.from_rfc4514_string("CN=gw1")
    csr = x509.CertificateSigningRequestBuilder().subject_name(name)
    csr = csr.add_attribute(AttributeOID.CHALLENGE_PASSWORD, SECRETS["challenge"].encode())
    (desk.folder / "secrets").mkdir()
    (desk.folder / "secrets" / "csr.pem").write_bytes(csr.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (desk.folder / "ca.pem").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    with serve(Watching(authority, behave=behaviours(behave)).responder, path="") as server:
        files = ("-c", "ca.pem", "-k", "device.key", "-r", "secrets/csr.pem", "-l", "out.pem")
        said = desk.call(
            "sscep", "enroll", "-u", server.url, *files, "-P", "env:SECRET_KEY", "-v", "-d", code=code
        )
    assert (b"***" in said) == bool(behave)
    assert (b"there is a secret in it" in said) == ("echo-challenge" in behave)
    assert desk.leaks() == []


MODULES = [Path("/usr/lib/softhsm/libsofthsm2.so"), *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")]
PIN = "27182818284590"


@pytest.fixture
def token(tmp_path, monkeypatch):
    """A token with a key, gw1; its files are elsewhere, for a token may hold its own PIN."""
    pytest.importorskip("pkcs11", reason="pip install 'scepflow[pkcs11]'")
    module = next((path for path in MODULES if path.exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("apt-get install softhsm2")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
    key = rsa.generate_private_key(65537, 2048)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "plain.key").write_bytes(plain)
    for argv in (
        ["--init-token", "--free", "--label", "gateway", "--so-pin", "314159"],
        ["--import", str(folder / "plain.key"), "--token", "gateway", "--label", "gw1", "--id", "01"],
    ):
        subprocess.run(["softhsm2-util", *argv, "--pin", PIN], check=True, capture_output=True)
    return module


@pytest.mark.parametrize(("pin", "code"), [(PIN, 0), (f"{PIN}9", 78)], ids=["right", "wrong"])
def test_a_pin_is_not_left_behind(authority, tmp_path, token, pin, code):
    desk = Desk(tmp_path, "file", {"PIN": forms(pin)})
    (tmp_path / "secrets" / "pin").write_text(pin)
    with serve(Responder(authority)) as server:
        (tmp_path / "gw1.toml").write_text(
            f'[ca]\nurl = "{server.url}"\nfingerprint = "sha256:{authority.fingerprint}"\n'
            f'[key]\nuse = "pkcs11"\nmodule = "{token}"\ntoken = "gateway"\nlabel = "gw1"\n'
            'pin = { file = "secrets/pin" }\n[csr]\nsubject = "CN=gw1"\n[sink.file]\ncert = "gw1.pem"\n'
        )
        desk.call("-vv", "explain", "gw1.toml", code=0)
        desk.call("-vv", "run", "gw1.toml", code=code)
        desk.call("-vv", "--log-format", "json", "run", "--json", "gw1.toml", code=code)
    desk.call("history", "--json", code=0)
    assert desk.leaks() == []
