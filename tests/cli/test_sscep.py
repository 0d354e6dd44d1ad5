"""``scepflow sscep`` and ``scepflow-sscep``: the way to the front-end."""

import shlex
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from scepflow.testca import Authority, Responder, serve

LINKED = ["-c", "import sys; sys.argv[0] = '/opt/bin/sscep'; from scepflow.cli.sscep import main; main()"]
COMMANDS = [shlex.join([sys.executable, *LINKED]), f"{shlex.quote(sys.executable)} -m scepflow sscep"]


@pytest.fixture
def run(folder):
    """Run the command in a session without a terminal; return exit code, stdout and stderr."""

    def run(command, *words, stdin=""):
        done = subprocess.run(
            [sys.executable, *command, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            start_new_session=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def script(folder):
    """Run a line of a shell script; return exit code, stdout and stderr."""

    def script(line):
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return script


@pytest.fixture
def ca_url(current_authority):
    with serve(Responder(Authority(current_authority.ca))) as server:
        yield server.url


@pytest.fixture(scope="module")
def sealed():
    """A key with the pass phrase ``sesame``, and its request."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = x509.CertificateSigningRequestBuilder(x509.Name.from_rfc4514_string("CN=gw"))
    request = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
    return pem, request


def test_the_usage_is_sscep_s(scepflow):
    said = scepflow("sscep")
    assert said.exit_code == 0
    assert "Usage: sscep OPERATION [OPTIONS]" in said.stdout


def test_h_is_no_help_and_options_reach_the_front_end(scepflow):
    said = scepflow("sscep", "enroll", "-h", "-v")
    assert said.exit_code == 1
    assert "sscep: missing CA certificate (-c)" in said.stderr


def test_mkrequest_makes_key_and_request(scepflow, folder):
    assert scepflow("sscep", "mkrequest", "-dns", "gw").exit_code == 0
    assert (folder / "local.csr").exists()
    assert scepflow("sscep", "mkrequest").exit_code == 1


def test_the_script_is_called_as_it_was_linked(run):
    assert run(LINKED, "enroll") == (1, "", "sscep: missing CA certificate (-c)\n")


# -- standard streams


@pytest.mark.parametrize(
    "where", [">&-", ">/dev/full", "| true", "| head -1 >/dev/null", ">&- 2>&- <&-", "2>/dev/full"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_certificate_comes_also_where_no_line_can_be_printed(command, where, script, folder, ca_url):
    """The exit code is that of a command whose lines somebody reads."""
    _, _, err = script(f"{{ {command} getca -v -u {ca_url} -c new.crt; echo $? > code; }} {where}")
    assert (folder / "code").read_text() == "0\n"
    assert b"BEGIN CERTIFICATE" in (folder / "new.crt").read_bytes()
    assert err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_key_and_request_come_also_where_no_line_can_be_printed(command, script, folder):
    script(f"{{ {command} mkrequest -dns gw; echo $? > code; }} | true")
    assert (folder / "code").read_text() == "0\n"
    assert (folder / "local.csr").exists()


# -- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [["-m", "scepflow", "sscep"], LINKED])
def test_an_interrupted_command_dies_of_the_signal(command, number):
    """A shell's loop goes on after an exit with 130."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        words = [sys.executable, *command, "getcaps", "-u", f"http://127.0.0.1:{port}/scep"]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            server.settimeout(60)
            with server.accept()[0]:
                process.send_signal(number)
                _, err = process.communicate()
    assert process.returncode == -number
    assert "Traceback" not in err


# -- a pass phrase without a terminal


@pytest.mark.parametrize(("typed", "code"), [("sesame\n", 97), ("wrong\n", 93), ("", 93)])
def test_a_pass_phrase_comes_from_stdin_where_there_is_no_terminal(typed, code, run, folder, ca_url, sealed):
    """The right one leads to what is wrong next: the CA is another one than ca.crt's."""
    (folder / "local.key").write_bytes(sealed[0])
    (folder / "local.key").chmod(0o600)
    (folder / "local.csr").write_bytes(sealed[1])
    other = Authority.create(now=datetime.now(UTC)).ca.certificate
    (folder / "ca.crt").write_bytes(other.public_bytes(Encoding.PEM))
    given = ("-c", "ca.crt", "-k", "local.key", "-r", "local.csr", "-l", "local.crt", "-u", ca_url)
    found, out, err = run(LINKED, "enroll", *given, stdin=typed)
    assert found == code
    assert "Warning" not in err
    assert "Traceback" not in err
    assert ("error while reading private key local.key" in err) == (code == 93)
    assert "wrong" not in out


# -- inputs and outputs that pass by


@pytest.fixture
def enrollable(folder, current_authority, _device_key):
    """A key, its request and the CA's certificate; everything an enrollment needs."""
    builder = x509.CertificateSigningRequestBuilder(x509.Name.from_rfc4514_string("CN=gw"))
    (folder / "device.csr").write_bytes(builder.sign(_device_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (folder / "ca.crt").write_bytes(current_authority.ca.certificate.public_bytes(Encoding.PEM))


@pytest.mark.parametrize("command", COMMANDS)
def test_inputs_may_be_pipes_and_the_output_as_well(command, script, enrollable, folder, ca_url):
    given = "-k /dev/stdin -r /dev/fd/3 -c fifo -l /dev/stdout"
    code, out, err = script(
        f"mkfifo fifo; cat ca.crt > fifo & cat device.csr | {{ cat device.key | {command} enroll -u {ca_url} {given}"
        " 3<&4 4<&-; } 4<&0"
    )
    assert (code, err) == (0, "")
    assert "BEGIN CERTIFICATE" in out
    assert "certificate written as /dev/stdout\n" in out
    assert not [path for path in (folder / "state").rglob("*") if path.is_file()]


def test_what_goes_to_the_file_of_stdout_stands_between_its_lines(script, folder, ca_url):
    code, _, err = script(f"{COMMANDS[0]} getca -u {ca_url} -c /dev/stdout > said")
    said = (folder / "said").read_text()
    assert (code, err) == (0, "")
    assert said.startswith("sscep: requesting CA certificate\n")
    assert "-----END CERTIFICATE-----\nsscep: CA certificate written as /dev/stdout\n" in said


def test_a_pipe_with_something_else_in_it_is_named_as_it_was_given(script, enrollable, ca_url):
    given = "-k /dev/stdin -r device.csr -c ca.crt -l local.crt"
    code, _, err = script(f"cat ca.crt | {COMMANDS[0]} enroll -u {ca_url} {given}")
    assert code == 93
    assert err.startswith(
        "sscep: error while reading private key /dev/stdin\nsscep: no private key can be read from /dev/stdin "
    )
