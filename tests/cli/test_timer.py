"""``scepflow timer``: what is printed, what is written below a root, and what is never touched."""

import json
import plistlib
import shlex
import stat
import sys
from pathlib import Path

import pytest

from scepflow.cli.timer import Machine, _program, install_timer, remove_timer
from scepflow.errors import OptionError
from scepflow.timers import Job

NEEDS = '"CN=gw1"\nchallenge = { credential = "gw1-challenge" }'


@pytest.fixture
def root(tmp_path):
    """The topmost folder of a machine that has systemd."""
    (tmp_path / "root/run/systemd/system").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def _usual_state(monkeypatch, folder):
    """Timers of the machine have their state where root has it."""
    monkeypatch.delenv("SCEPFLOW_STATE_DIR")
    monkeypatch.setenv("HOME", str(folder / "home"))


def units(root):
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())


def job(*files, **changed):
    parts = {
        "name": "scepflow",
        "program": ("/usr/bin/scepflow",),
        "pipelines": tuple(map(Path, files or ("/etc/gw1.toml",))),
    }
    return Job(**(parts | changed))


class Calls:
    """Programs that are called, and how they end."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.said = []

    def __call__(self, command):
        self.said.append(shlex.join(command))
        return self.statuses.pop(0) if self.statuses else 0


def machine(root, call, **changed):
    return Machine(
        **({"root": root, "call": call, "which": lambda name: f"/bin/{name}", "uid": 501} | changed)
    )


# -- print


def test_print_shows_both_units_and_writes_nothing(scepflow, write, folder):
    write()
    before = sorted(folder.rglob("*"))
    said = scepflow("timer", "print", "gw1.toml", "--kind", "systemd")
    assert said.exit_code == 0
    assert sorted(folder.rglob("*")) == before
    headings = [line for line in said.stdout.splitlines() if line.startswith("# /")]
    assert headings == ["# /etc/systemd/system/scepflow.service", "# /etc/systemd/system/scepflow.timer"]
    assert f"--log-format json {folder}/gw1.toml\n" in said.stdout
    assert f"ReadWritePaths=-{folder}\n" in said.stdout
    assert "--state-dir" not in said.stdout
    assert said.stderr == ""


def test_the_commands_name_is_how_this_scepflow_is_started_again(scepflow, write, folder, monkeypatch):
    """A folder beside the interpreter has the command, or the module is run, without the current folder on its path."""
    (folder / "bin").mkdir()
    monkeypatch.setattr(sys, "executable", str(folder / "bin/python3"))
    assert _program() == (str(folder / "bin/python3"), "-P", "-m", "scepflow")
    (folder / "bin/scepflow").touch(mode=0o755)
    said = scepflow("timer", "print", write(), "--kind", "cron")
    assert f" root {folder}/bin/scepflow run --wait 2m --quiet {folder}/gw1.toml\n" in said.stdout


def test_what_the_command_line_says_is_said_to_the_timer(scepflow, write, folder):
    (folder / "more.py").write_text("")
    options = [
        "--name",
        "scep-2",
        "--state-dir",
        "kept",
        "--metrics",
        "m.prom",
        "-p",
        "more.py",
        "-p",
        "no:x",
    ]
    said = scepflow("timer", "print", write(), "--kind", "systemd", *options)
    assert (
        f"--plugin {folder}/more.py --plugin no:x --state-dir {folder}/kept --metrics {folder}/m.prom"
        in said.stdout
    )
    assert "# /etc/systemd/system/scep-2.timer" in said.stdout
    assert "StateDirectory=" not in said.stdout


def test_the_state_of_the_environment_is_the_timers_too(scepflow, write, folder):
    said = scepflow("timer", "print", write(), "--kind", "cron", SCEPFLOW_STATE_DIR="/srv/state")
    assert "--state-dir /srv/state" in said.stdout


def test_a_users_cron_line_is_the_line_alone(scepflow, write, folder):
    said = scepflow("timer", "print", "--user", "--kind", "cron", write())
    (line,) = said.stdout.splitlines()
    minute, *stars = line.split()[:5]
    assert stars == ["*"] * 4
    assert 0 <= int(minute) <= 59
    assert said.stdout == scepflow("timer", "print", "--user", "--kind", "cron", "gw1.toml").stdout


def test_a_property_list_is_printed_as_it_is(scepflow, write):
    said = scepflow("timer", "print", write(), "--kind", "launchd")
    assert plistlib.loads(said.stdout.encode())["Label"] == "local.scepflow"


def test_print_works_for_what_this_machine_has(scepflow, write):
    said = scepflow("timer", "print", write())
    assert said.exit_code == 0
    assert "Written by `scepflow timer install`" in said.stdout


def test_a_pipeline_with_errors_gets_no_timer(scepflow, write, root):
    write("m.toml", "[renw]")
    for command in (("print",), ("install", "--root", root)):
        said = scepflow("timer", *command, write(), "m.toml")
        assert (said.exit_code, said.stdout) == (78, "")
        assert 'm.toml:15:2: error: unknown key "renw"' in said.stderr.replace(f"{Path.cwd()}/", "")
    assert units(root) == []


def test_a_timer_without_pipelines_is_a_usage_error(scepflow):
    assert scepflow("timer", "print").exit_code == 64
    assert scepflow("timer").exit_code == 64


def test_what_a_person_should_know_is_noted(scepflow, write, folder):
    write(
        "gw1.toml", "[sink.reload]", 'use = "command"', 'run = ["true"]', cert='"out/gw1.pem"', subject=NEEDS
    )
    said = scepflow("timer", "print", "gw1.toml", "--kind", "systemd", "--state-dir", "kept")
    assert "LoadCredential=gw1-challenge\n" in said.stdout
    lines = said.stderr.splitlines()
    assert lines[0].startswith("note: gw1: what sink reload writes is not known")
    assert lines[1:] == [
        f"note: make the folder {folder}/{name} before: the service may write there, and cannot make it"
        for name in ("out", "kept")
    ]
    assert scepflow("timer", "print", "-q", "gw1.toml", "--kind", "systemd").stderr == ""
    cron = scepflow("timer", "print", "gw1.toml", "--kind", "cron", "--log-format", "json")
    assert "only systemd gives" in json.loads(cron.stderr)["message"]


# -- install and remove, as commands


def test_install_writes_the_units_of_an_image_and_remove_takes_them_away(scepflow, write, root):
    said = scepflow("timer", "install", write(), "--root", root)
    assert said.exit_code == 0
    files = [root / "etc/systemd/system" / name for name in ("scepflow.service", "scepflow.timer")]
    assert said.stdout.splitlines() == [
        *(f"wrote    {file}" for file in files),
        f"to run   systemctl --root={root} enable scepflow.timer",
    ]
    assert units(root) == [file.relative_to(root) for file in files]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o644, 0o644]
    said = scepflow("timer", "remove", "gw1.toml", "--root", root)
    assert said.exit_code == 0
    assert said.stdout.splitlines() == [
        f"to run   systemctl --root={root} disable scepflow.timer",
        *(f"removed  {file}" for file in files),
    ]
    assert units(root) == []


def test_a_users_units_lie_at_home_below_the_root(scepflow, write, root, folder):
    scepflow("timer", "install", "--user", write(), "--root", root)
    home = root / folder.relative_to("/") / "home/.config/systemd/user"
    assert sorted(path.name for path in home.iterdir()) == ["scepflow.service", "scepflow.timer"]


def test_remove_needs_no_pipeline_that_is_valid_or_there(scepflow, write, root, folder):
    scepflow("timer", "install", write(), "--root", root)
    (folder / "gw1.toml").unlink()
    assert scepflow("timer", "remove", "gw1.toml", "--root", root).exit_code == 0
    assert units(root) == []


def test_a_machine_without_systemd_has_cron(scepflow, write, tmp_path):
    (tmp_path / "old").mkdir()
    said = scepflow("timer", "install", write(), "--root", tmp_path / "old")
    assert said.stdout == f"wrote    {tmp_path}/old/etc/cron.d/scepflow\n"
    said = scepflow("timer", "remove", "gw1.toml", "--root", tmp_path / "old")
    assert said.stdout == f"removed  {tmp_path}/old/etc/cron.d/scepflow\n"


@pytest.mark.parametrize("command", ["install", "remove"])
def test_a_users_crontab_is_not_touched(scepflow, write, root, command):
    said = scepflow("timer", command, "--user", "--kind", "cron", write(), "--root", root)
    assert said.exit_code == 64
    assert "crontab -e" in said.stderr


def test_the_timers_of_other_pipelines_are_not_replaced_or_removed(scepflow, write, root):
    scepflow("timer", "install", write("a.toml"), "--root", root)
    before = (root / "etc/systemd/system/scepflow.service").read_bytes()
    for command in ("install", "remove"):
        said = scepflow("timer", command, write("b.toml"), "--root", root)
        assert said.exit_code == 78
        assert "scepflow.service runs other pipelines" in said.stderr
        assert "--name" in said.stderr
    assert (root / "etc/systemd/system/scepflow.service").read_bytes() == before
    assert scepflow("timer", "install", "b.toml", "--root", root, "--name", "b").exit_code == 0
    assert scepflow("timer", "install", "a.toml", "--root", root).exit_code == 0
    assert scepflow("timer", "install", "a.toml", "b.toml", "--root", root, "--force").exit_code == 0
    assert len(units(root)) == 4


# -- install and remove, as functions


def test_on_a_live_machine_systemd_is_told(root):
    calls = Calls()
    lines = list(install_timer(machine(root, calls), job(), "systemd", force=False))
    assert calls.said == ["systemctl daemon-reload", "systemctl enable --now scepflow.timer"]
    assert lines[-1] == "ran      systemctl enable --now scepflow.timer"
    calls.said.clear()
    lines = list(remove_timer(machine(root, calls), job(), "systemd", force=False))
    assert calls.said == ["systemctl disable --now scepflow.timer", "systemctl daemon-reload"]
    assert [line.split()[0] for line in lines] == ["ran", "removed", "removed", "ran"]
    assert units(root) == []


def test_a_program_that_cannot_be_called_is_named(root, tmp_path):
    (tmp_path / "other").mkdir()
    calls = Calls()
    for place, which in ((root, lambda _: None), (tmp_path / "other", lambda name: name)):
        lines = list(install_timer(machine(place, calls, which=which), job(), "systemd", force=False))
        assert lines[2:] == [
            "to run   systemctl daemon-reload",
            "to run   systemctl enable --now scepflow.timer",
        ]
    assert calls.said == []


def test_a_mac_has_launchd(root):
    mac = machine(root, Calls(), platform="darwin")
    assert mac.kind == "launchd"
    lines = list(install_timer(mac, job(user=Path("/Users/ada")), mac.kind, force=False))
    plist = "/Users/ada/Library/LaunchAgents/local.scepflow.plist"
    assert lines == [f"wrote    {root}{plist}", f"ran      launchctl bootstrap gui/501 {plist}"]


def test_a_program_that_fails_ends_the_installation_with_what_it_was(root):
    with pytest.raises(OptionError, match="`systemctl daemon-reload` failed with status 5"):
        list(install_timer(machine(root, Calls(5)), job(), "systemd", force=False))
    assert len(units(root)) == 2


def test_a_timer_that_does_not_run_is_removed_all_the_same(root):
    list(install_timer(machine(root, Calls()), job(), "systemd", force=False))
    lines = list(remove_timer(machine(root, Calls(1)), job(), "systemd", force=False))
    assert lines[0] == "failed   systemctl disable --now scepflow.timer"
    assert units(root) == []


def test_what_is_not_there_is_not_removed_and_nothing_is_called(root):
    calls = Calls()
    (line,) = remove_timer(machine(root, calls), job(), "systemd", force=False)
    assert line.startswith("no timer scepflow is installed")
    assert calls.said == []


def test_half_a_timer_is_removed_as_well(root):
    list(install_timer(machine(root, Calls()), job(), "systemd", force=False))
    (root / "etc/systemd/system/scepflow.service").unlink()
    list(remove_timer(machine(root, Calls()), job(), "systemd", force=False))
    assert units(root) == []


@pytest.mark.parametrize("act", [install_timer, remove_timer])
def test_a_file_of_other_origin_is_left_alone_unless_forced(root, act):
    unit = root / "etc/systemd/system/scepflow.timer"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Timer]\n")
    calls = Calls()
    with pytest.raises(OptionError, match=r"is not from `scepflow timer install`"):
        list(act(machine(root, calls), job(), "systemd", force=False))
    assert (unit.read_text(), calls.said) == ("[Timer]\n", [])
    assert units(root) == [unit.relative_to(root)]
    list(act(machine(root, calls), job(), "systemd", force=True))
    assert not unit.exists() or "Written by" in unit.read_text()


def test_a_link_is_replaced_and_what_it_points_to_is_not(root, tmp_path):
    """A unit that is masked is a link to /dev/null."""
    unit = root / "etc/systemd/system/scepflow.timer"
    unit.parent.mkdir(parents=True)
    (tmp_path / "target").write_text("mine")
    unit.symlink_to(tmp_path / "target")
    with pytest.raises(OptionError, match="is not from"):
        list(install_timer(machine(root, Calls()), job(), "systemd", force=False))
    list(install_timer(machine(root, Calls()), job(), "systemd", force=True))
    assert not unit.is_symlink()
    assert (tmp_path / "target").read_text() == "mine"


def test_what_cannot_be_read_or_written_says_who_could(root):
    (root / "etc").mkdir()
    (root / "etc/systemd").touch()
    with pytest.raises(OptionError, match=r"cannot change .*scepflow.service: ") as caught:
        list(install_timer(machine(root, Calls()), job(), "systemd", force=False))
    assert caught.value.hint == "run as root, or with --user"
    (root / "etc/systemd").unlink()
    (root / "etc/systemd/system/scepflow.service").mkdir(parents=True)
    with pytest.raises(OptionError, match=r"cannot read .*scepflow.service: "):
        list(install_timer(machine(root, Calls()), job(), "systemd", force=False))


@pytest.mark.parametrize("inside", [False, True])
def test_a_link_that_leads_out_of_an_image_is_not_followed(tmp_path, inside):
    host, image = tmp_path / "host-etc", tmp_path / "image"
    host.mkdir()
    (image / "usr/etc").mkdir(parents=True)
    (image / "etc").symlink_to("usr/etc" if inside else host)
    machine = Machine(root=image, live=False)
    job = Job(name="scepflow", program=("/usr/bin/scepflow",), pipelines=(Path("/etc/a.toml"),))
    if inside:
        assert list(install_timer(machine, job, "systemd", force=False))
        assert (image / "usr/etc/systemd/system/scepflow.timer").exists()
        return
    for change in (install_timer, remove_timer):
        with pytest.raises(OptionError, match="leads out of"):
            list(change(machine, job, "systemd", force=True))
    assert not list(host.rglob("*"))
