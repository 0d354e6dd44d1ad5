"""Pass phrases come from files or from the terminal, never from the command line."""

import getpass
import os
import pty
import subprocess
import sys

import click
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from scepflow.cli.passphrases import _ask, key_passphrase, secret_in

WORD = "sesame word"
WITH_TERMINAL = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from scepflow.cli import main
main()
"""


def key_bytes(key, *, encoding=Encoding.PEM, locked=True):
    how = BestAvailableEncryption(WORD.encode()) if locked else NoEncryption()
    return key.private_bytes(encoding, PrivateFormat.PKCS8, how)


@pytest.fixture
def key(_device_key):
    return _device_key


def never(text):
    raise AssertionError(text)


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_key_that_is_encrypted_is_asked_about(folder, key, encoding):
    (folder / "locked.key").write_bytes(key_bytes(key, encoding=encoding))
    asked = []
    assert key_passphrase("locked.key", None, ask=lambda text: asked.append(text) or WORD) == WORD
    assert asked == ["Pass phrase of locked.key: "]


def test_whoever_cannot_say_it_is_told_of_the_file(folder, key):
    (folder / "locked.key").write_bytes(key_bytes(key))
    for answer in (None, ""):
        with pytest.raises(click.UsageError, match="its pass phrase is needed: --passphrase-file"):
            key_passphrase("locked.key", None, ask=lambda _, answer=answer: answer)


def test_nobody_is_asked_where_no_pass_phrase_is_missing(folder, key):
    (folder / "odd.key").write_bytes(b"nonsense")
    for name in ("device.key", "odd.key", "missing.key"):
        assert key_passphrase(name, None, ask=never) is None
    (folder / "pass").write_text(f"{WORD}\n")
    (folder / "locked.key").write_bytes(key_bytes(key))
    assert key_passphrase("locked.key", "pass", ask=never) == WORD
    assert key_passphrase("locked.key", None, data=key_bytes(key, locked=False), ask=never) is None


def test_a_pipe_is_left_to_whoever_wants_the_key(folder):
    os.mkfifo(folder / "pipe")
    assert key_passphrase("pipe", None, ask=never) is None


def test_a_secret_that_is_no_text_is_refused_without_it(folder):
    (folder / "odd").write_bytes(b"\xffhush")
    with pytest.raises(click.UsageError, match=r"--x: .*not UTF-8") as caught:
        secret_in("odd", "--x")
    assert "hush" not in str(caught.value)


def test_without_a_terminal_nobody_is_asked(monkeypatch, folder):
    with (folder / "device.key").open() as no_terminal:
        monkeypatch.setattr(sys, "stdin", no_terminal)
        monkeypatch.setattr(sys, "stderr", no_terminal)
        assert _ask("never shown") is None


def ended(_text):
    raise EOFError


@pytest.mark.parametrize(("read", "answer"), [(lambda _text: WORD, WORD), (ended, None)])
def test_a_terminal_gives_what_is_typed_or_nothing(monkeypatch, read, answer):
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(getpass, "getpass", read)
        assert _ask("Pass phrase: ") == answer
    os.close(ours)


@pytest.fixture
def at_terminal(folder):
    """Run the command with a terminal of its own, on which something is typed; return code and screen."""

    def run(*arguments, typed):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                WITH_TERMINAL,
                *map(str, arguments),
            ],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        screen = b""
        try:
            while chunk := _read(ours):
                screen += chunk
                if screen.endswith(b": ") and typed is not None:
                    os.write(ours, typed)
                    typed = None
            return process.wait(60), screen.decode()
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    return run


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # so Linux says that the other end is closed
        return b""


@pytest.mark.parametrize("typed", [f"{WORD}\n", "\x04"], ids=["word", "end"])
def test_the_terminal_is_asked_and_shows_nothing_of_it(folder, write, scepflow, at_terminal, key, typed):
    pipeline = write()
    assert scepflow("run", "-q", pipeline).exit_code == 0
    (folder / "locked.key").write_bytes(key_bytes(key))
    options = (pipeline, "--certificate", "gw1.pem", "--key", "locked.key")
    code, screen = at_terminal("getcrl", *options, typed=typed.encode())
    assert "Pass phrase of locked.key: " in screen
    assert WORD not in screen
    if typed.startswith(WORD):
        assert code == 0
        assert "CN=scepflow test CA" in screen
    else:
        assert code == 64
        assert "its pass phrase is needed" in screen
