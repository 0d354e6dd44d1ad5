"""``scepflow testca``: what it prints can be pasted and run."""

import re
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from scepflow.cli.testca import REJECTIONS
from scepflow.testca import Authority, FailInfo
from scepflow.testca.behaviours import all_behaviours


@pytest.fixture
def serve(start, folder):
    """Start a test CA; return its process and what it announced."""

    def serve(*args):
        process = start("testca", *args)
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("cert = "):
                return process, "".join(said)
        raise AssertionError(f"no announcement: {said} {process.stderr.read()}")

    return serve


def paste(folder, said):
    pipeline = said[said.index("[ca]") :]
    (folder / "demo.toml").write_text(pipeline + '[poller]\nuse = "fixed"\ninterval = "1s"\n')


def test_the_pipeline_that_it_prints_can_be_run(serve, scepflow, folder):
    process, said = serve("--challenge", "open sesame")
    assert "NEVER FOR PRODUCTION" in said
    paste(folder, said)
    done = scepflow("run", "demo.toml")
    assert done.exit_code == 0
    assert (folder / "demo.key").exists()
    assert (folder / "demo.pem").exists()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "stopped\n")


def test_it_stops_as_cleanly_when_told_by_a_service_manager(serve):
    process, _ = serve()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def test_it_behaves_as_its_options_say(serve, scepflow, folder):
    (folder / "challenge").write_text("from a file\n")
    _, said = serve(
        "--challenge", "@challenge", "--ra", "--reject", "badTime", "--reject-text", "your clock", "--next-ca"
    )
    assert re.search(r"^next CA's fingerprint, from GetNextCACert: sha256:[0-9a-f]{64}$", said, re.MULTILINE)
    assert 'challenge = "from a file"' in said
    paste(folder, said)
    done = scepflow("run", "demo.toml")
    assert done.exit_code == 73
    assert "your clock" in done.stderr


def test_the_pipeline_for_a_ca_with_an_ec_key_can_be_run_as_it_is(serve, scepflow, folder):
    _, said = serve("--key", "ec-p256", "--challenge", "long, random and printed 5Tq8")
    paste(folder, said)
    done = scepflow("run", "demo.toml")
    assert done.exit_code == 0, done.stderr


def test_it_misbehaves_on_request(serve, scepflow, folder):
    _, said = serve("--behave", "badnonce, no-certificates")
    assert "It answers with a recipientNonce that nobody sent.\n" in said
    paste(folder, said)
    done = scepflow("run", "demo.toml")
    assert done.exit_code == 5
    assert "recipientNonce" in done.stderr
    assert not (folder / "demo.pem").exists()


def test_its_behaviours_can_be_listed(scepflow):
    done = scepflow("testca", "--behave", "list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(all_behaviours())


def test_a_behaviour_that_it_does_not_know_is_said_with_the_nearest(scepflow):
    done = scepflow("testca", "--behave", "badnonse")
    assert done.exit_code == 64
    assert 'there is no behaviour "badnonse"; is it "badnonce"?' in done.stderr


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--behave", "oaep,gcm"], '"oaep" and "gcm" do not go together: both encrypt the reply'),
        (
            ["--behave", "ra-alone"],
            '"ra-alone" needs a registration authority: --ra, or a behaviour that has one',
        ),
        (
            ["--behave", "3des-md5", "--key", "ec-p256", "--challenge", "long, random and printed 5Tq8"],
            '"3des-md5" needs an RSA key to sign with: --key rsa-2048, or --ra',
        ),
    ],
)
def test_behaviours_that_would_not_show_are_usage_errors(scepflow, args, text):
    done = scepflow("testca", *args)
    assert done.exit_code == 64
    assert f"--behave: {text}" in done.stderr


@pytest.mark.parametrize("place", [["--directory", "kept"], []])
def test_the_pipeline_for_https_can_be_run_as_it_is(serve, scepflow, folder, place):
    process, said = serve("--tls", *place)
    assert "https://127.0.0.1:" in said
    ca_file = Path(re.search('^ca_file = "(.*)"$', said, re.MULTILINE)[1])
    assert ca_file.is_file()
    paste(folder, said)
    assert scepflow("run", "demo.toml").exit_code == 0
    process.send_signal(signal.SIGTERM)
    process.wait()
    assert ca_file.exists() == bool(place)


def test_rejections_have_the_numbers_of_the_standard():
    assert [FailInfo(number).name.replace("_", "").lower() for number in range(5)] == [
        name.lower() for name in REJECTIONS
    ]


def test_options_that_cannot_work_are_usage_errors(scepflow, folder, current_authority):
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "odd").mkdir()
    (folder / "odd" / "ca.pem").write_text("no CA")
    (folder / "odd" / "ca.key").write_text("no key")
    Authority.create(now=datetime.now(UTC), key="ec-p256").save(folder / "ec")
    locked = Authority(current_authority.ca)
    locked.save(folder / "locked")
    (folder / "locked" / "ca.key").write_bytes(
        locked.ca.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hush"))
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for args, text in (
            (["--key", "ec-p256"], "a CA with an EC key needs --ra or --challenge"),
            (["--directory", "ec"], "a CA with an EC key needs --ra or --challenge"),
            (["--directory", "locked"], "cannot open locked: ca.key is encrypted"),
            (["--directory", "odd"], "cannot open odd: ca.pem is not a certificate in PEM"),
            (["--challenge", "@missing"], "cannot read missing: No such file"),
            (["--challenge", "@binary"], "not UTF-8 text"),
            (["--directory", "odd"], "cannot open odd: "),
            (["--directory", "binary/x"], "cannot open binary/x: Not a directory"),
            (["--port", port, "--directory", "testca"], f"cannot listen on 127.0.0.1:{port}"),
        ):
            said = scepflow("testca", *args)
            assert said.exit_code == 64, args
            assert text in said.stderr
