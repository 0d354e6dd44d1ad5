"""Standard streams that are closed, full or gone do not change what a command does."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from scepflow.cli.streams import _Told, _Whole

FULL = "/dev/full"


@pytest.fixture
def shell(folder, write):
    """Run the command on a pipeline with the shell's redirections; return exit code, stdout and stderr."""
    write()

    def shell(arguments):
        command = f"exec {sys.executable} -m scepflow {arguments}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return shell


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "--log-format json 2>/dev/full", "<&- 2>&-"])
def test_a_run_goes_on_where_stderr_cannot_be_written(shell, folder, where):
    code, out, _ = shell(f"run gw1.toml {where}")
    assert code == 0
    assert "gw1       issued" in out
    assert (folder / "gw1.pem").exists()


@pytest.mark.parametrize("where", [">&-", ">&- 2>&- <&-"])
def test_a_run_without_stdout_is_a_run(shell, folder, where):
    code, _, err = shell(f"run gw1.toml {where}")
    assert code == 0
    assert "Traceback" not in err
    assert (folder / "gw1.pem").exists()


def test_results_that_cannot_be_written_are_one_clear_error(shell, folder):
    code, _, err = shell("run gw1.toml >/dev/full")
    assert code == 1
    assert err.splitlines()[-2:] == [
        "  delivered  file: gw1.pem",
        "error: cannot write to standard output: No space left on device",
    ]
    assert (folder / "gw1.pem").exists()


@pytest.mark.parametrize("arguments", ["--help", "--version", "plugins", "schema"])
def test_every_output_that_cannot_be_written_is_an_error(shell, arguments):
    error = "error: cannot write to standard output: No space left on device\n"
    assert shell(f"{arguments} >{FULL}") == (1, "", error)


def test_a_usage_error_nobody_can_read_has_its_exit_code(shell):
    assert shell(f"run 2>{FULL}") == (64, "", "")


def test_a_long_text_is_written_whole(tmp_path):
    with _Whole(tmp_path / "out", "w") as file:
        assert file.write(b"x" * 100_000) == 100_000
    assert (tmp_path / "out").stat().st_size == 100_000


def test_a_reader_that_does_not_keep_up_is_an_error_for_results_alone():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        with _Told(writer, "w", closefd=False) as told, _Whole(writer, "w", closefd=False) as whole:
            assert told.write(b"x" * 1_000_000) == 1_000_000
            with pytest.raises(BlockingIOError) as caught:
                whole.write(b"x")
        assert caught.value.errno == errno.EAGAIN
    finally:
        os.close(reader)
        os.close(writer)


def test_an_ignored_interrupt_stays_ignored(start):
    """As behind a shell's ``&`` or ``nohup``."""
    process = start("schema", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 0
