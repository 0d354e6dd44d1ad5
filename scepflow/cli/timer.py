"""``scepflow timer``: the files that make a machine run pipelines every hour, printed, installed or removed.

Must never hold: what is in the files, or a shell.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scepflow import timers
from scepflow.cli import problems
from scepflow.cli.invocation import Invocation, common_options, plugin_option
from scepflow.cli.places import metrics_option, state_option
from scepflow.errors import OptionError, PipelineError
from scepflow.pipeline import check_pipeline
from scepflow.private_files import write_shared
from scepflow.state import default_state_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scepflow.pipeline import Pipeline
    from scepflow.timers import Job, Kind, TimerFile

__all__ = ["Machine", "install_timer", "remove_timer", "timer"]

_Command = TypeVar("_Command", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where a timer is installed.

    Attributes:
        root: the machine's topmost folder.
        platform: as `sys.platform` has it.
        live: whether it is the machine that we run on, so that its programs may be called.
        uid: whose timer it is.
        call: runs a program, given as a list of words, and returns its exit status.
        which: returns a program's path, or None when it is not installed.
    """

    root: Path = Path("/")
    platform: str = sys.platform
    live: bool = True
    uid: int = 0
    call: Callable[[Sequence[str]], int] = subprocess.call
    which: Callable[[str], str | None] = shutil.which

    @property
    def kind(self) -> Kind:
        """What runs timers here."""
        if self.platform == "darwin":
            return "launchd"
        return "systemd" if (self.root / "run/systemd/system").is_dir() else "cron"

    @property
    def image(self) -> Path | None:
        """The topmost folder, unless it is that of the machine that we run on."""
        return None if self.live else self.root

    def place(self, file: TimerFile) -> Path:
        """Return where a file is written."""
        return self.root / file.path.relative_to("/")

    def can_call(self, kind: Kind, command: Sequence[str]) -> bool:
        """Whether a command would reach what runs timers of a kind."""
        return self.live and self.kind == kind and self.which(command[0]) is not None


@click.group()
@common_options
def timer() -> None:
    """Print, install or remove what runs pipelines every hour.

    Each command takes the pipeline files that one timer runs, all of them at once. What does not lie in the pipeline
    files is in the command line that the timer has: print shows it, and all else that install would write.
    """


def _options(command: _Command) -> _Command:
    """Add what the three commands have in common."""
    for option in (
        click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE…"),
        click.option(
            "--kind", type=click.Choice(timers.KINDS), help="For what; otherwise what this machine has."
        ),
        click.option(
            "--user", is_flag=True, help="The timer is yours; otherwise the machine's, run by root."
        ),
        click.option("--name", default="scepflow", show_default=True, help="What the timer is called."),
        common_options,
    ):
        command = option(command)
    return command


def _run_options(command: _Command) -> _Command:
    """Add what the timer's command line is made from."""
    for option in (state_option, metrics_option, plugin_option):
        command = option(command)
    return command


_root_option = click.option(
    "--root",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Work on the machine below this folder, such as an image, and call none of its programs.",
)
_force_option = click.option(
    "--force", is_flag=True, help="Also files of other origin, or of other pipelines."
)


@timer.command("print")
@_options
@_run_options
@click.pass_obj
def print_(invocation: Invocation, /, *, kind: Kind | None, **asked: Any) -> int:
    """Print what install would write."""
    kind = kind or Machine().kind
    job = _job(invocation, kind, **asked)
    if job is None:
        return PipelineError.exit_code
    for number, file in enumerate(timers.timer_files(job, kind)):
        # A property list begins with its own first line, and a user's crontab is nobody's file.
        heading = kind == "systemd" or (kind == "cron" and not job.user)
        click.echo(("\n" if number else "") + (f"# {file.path}\n" if heading else "") + file.text, nl=False)
    return 0


@timer.command()
@_options
@_run_options
@_root_option
@_force_option
@click.pass_obj
def install(
    invocation: Invocation, /, *, kind: Kind | None, root: Path | None, force: bool, **asked: Any
) -> int:
    """Write the files and start the timer."""
    machine = _machine(root)
    kind = kind or machine.kind
    _refuse_crontab(kind, user=asked["user"])
    job = _job(invocation, kind, **asked)
    if job is None:
        return PipelineError.exit_code
    for line in install_timer(machine, job, kind, force=force):
        click.echo(line)
    return 0


@timer.command()
@_options
@_root_option
@_force_option
@click.pass_obj
def remove(
    _invocation: Invocation,
    *,
    pipelines: tuple[str, ...],
    kind: Kind | None,
    user: bool,
    name: str,
    root: Path | None,
    force: bool,
) -> None:
    """Stop the timer and remove its files; keys and certificates stay."""
    machine = _machine(root)
    kind = kind or machine.kind
    _refuse_crontab(kind, user=user)
    job = _bare_job(pipelines, name=name, user=user)
    for line in remove_timer(machine, job, kind, force=force):
        click.echo(line)


def _machine(root: Path | None) -> Machine:
    return Machine(uid=os.getuid()) if root is None else Machine(root=root.absolute(), live=False)


def _refuse_crontab(kind: Kind, *, user: bool) -> None:
    """A crontab is its user's own file, which nothing but ``crontab`` should change."""
    if kind == "cron" and user:
        raise click.UsageError(
            "your crontab is yours: `crontab -e`, and put in, or take out, the line that "
            "`scepflow timer print --user --kind cron` prints."
        )


# -- what is run


def _bare_job(pipelines: Sequence[str], *, name: str, user: bool) -> Job:
    return timers.Job(
        name=timers.check_name(name),
        program=_program(),
        pipelines=tuple(dict.fromkeys(Path(file).absolute() for file in pipelines)),
        user=Path.home() if user else None,
    )


def _program() -> tuple[str, ...]:
    """Return what starts this scepflow again, whatever the folder and PATH it is started in."""
    script = Path(sys.executable).with_name("scepflow")
    if os.access(script, os.X_OK):
        return (str(script),)
    return (sys.executable, "-P", "-m", "scepflow")


def _job(
    invocation: Invocation,
    kind: Kind,
    *,
    pipelines: tuple[str, ...],
    user: bool,
    name: str,
    state_dir: Path | None,
    metrics: Path | None,
) -> Job | None:
    """Return what the timer runs; None when a pipeline file has errors, which are shown."""
    bare = _bare_job(pipelines, name=name, user=user)
    loaded = _load(invocation, bare.pipelines)
    if loaded is None:
        return None
    state = state_dir or default_state_path(os.environ, root=not user or os.geteuid() == 0)
    seed = "\0".join([socket.gethostname(), *map(str, bare.pipelines)])
    job = replace(
        bare,
        state=state.absolute(),
        plugins=tuple(map(_whole_name, invocation.plugins)),
        metrics=metrics.absolute() if metrics else None,
        writable=tuple(folder for pipeline in loaded for folder in timers.writable_folders(pipeline)),
        credentials=tuple(
            dict.fromkeys(name for pipeline in loaded for name in timers.credentials_of(pipeline))
        ),
        minute=hashlib.sha256(seed.encode(errors="surrogateescape")).digest()[0] % 60,
    )
    if invocation.verbosity >= 0:
        for remark in _remarks(job, loaded, kind):
            invocation.error_line(f"note: {remark}", level="warning")
    return job


def _load(invocation: Invocation, files: Sequence[Path]) -> list[Pipeline] | None:
    registry = invocation.registry()
    reports = [check_pipeline(file, registry) for file in files]
    for report in reports:
        if report.errors:
            problems.show(invocation, report)
    loaded = [report.pipeline for report in reports if report.pipeline]
    return loaded if len(loaded) == len(reports) else None


def _whole_name(plugin: str) -> str:
    """Return what ``-p`` named so that it means the same from every folder."""
    is_file = plugin.endswith(".py") or "/" in plugin
    return str(Path(plugin).absolute()) if is_file and not plugin.startswith("no:") else plugin


def _remarks(job: Job, pipelines: Sequence[Pipeline], kind: Kind) -> Iterator[str]:
    for pipeline in pipelines:
        yield from timers.remarks_of(pipeline, kind, user=job.user is not None)
    if kind == "systemd" and not job.user:
        own = () if job.state == timers.STATE_DIRECTORY else (job.state,)
        for folder in dict.fromkeys((*job.writable, *own)):
            if not folder.is_dir():
                yield f"make the folder {folder} before: the service may write there, and cannot make it"


# -- the machine


def install_timer(machine: Machine, job: Job, kind: Kind, *, force: bool) -> Iterator[str]:
    """Write the files of a timer, start it, and yield what was done.

    Args:
        machine: where.
        job: what is run.
        kind: by what.
        force: also replace files of other origin, or of other pipelines.

    Raises:
        OptionError: a file may not be replaced, or cannot be written, or a program failed.
    """
    files = timers.timer_files(job, kind)
    for file in files:
        _check_inside(machine, machine.place(file))
        _check_ours(machine.place(file), job, force=force)
    for file in files:
        path = machine.place(file)
        with _changing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_shared(path, file.text.encode(), mode=0o644)
        yield f"wrote    {path}"
    yield from _call_all(machine, kind, timers.start_commands(job, kind, uid=machine.uid, root=machine.image))


def remove_timer(machine: Machine, job: Job, kind: Kind, *, force: bool) -> Iterator[str]:
    """Stop a timer, remove its files, and yield what was done; as `install_timer`."""
    paths = [machine.place(file) for file in timers.timer_files(job, kind)]
    for path in paths:
        _check_inside(machine, path)
    there = [path for path in paths if os.path.lexists(path)]
    if not there:
        yield f"no timer {job.name} is installed: there is no {paths[-1]}"
        return
    for path in there:
        _check_ours(path, job, force=force)
    before, after = timers.stop_commands(job, kind, uid=machine.uid, root=machine.image)
    yield from _call_all(
        machine, kind, before, heed=False
    )  # one that does not run can be removed all the same
    for path in there:
        with _changing(path):
            path.unlink()
        yield f"removed  {path}"
    yield from _call_all(machine, kind, after)


def _check_inside(machine: Machine, path: Path) -> None:
    """Raise if a link leads out of an image: what is absolute in it means its own folders, and would be ours."""
    folder = path.parent.resolve()
    if not folder.is_relative_to(machine.root.resolve()):
        raise OptionError(
            f"{path.parent} leads out of {machine.root}, to {folder}",
            hint="make the link in it relative, or name another --root",
        )


def _check_ours(path: Path, job: Job, *, force: bool) -> None:
    """Raise if a file is there that is not ours, or runs other pipelines."""
    if force or not os.path.lexists(path):
        return
    try:
        head = path.read_text(encoding="utf-8", errors="replace")[:2000]
    except OSError as error:
        raise OptionError(
            f"cannot read {path}: {error.strerror}", hint="run as root, or with --user"
        ) from None
    if timers.MARK not in head:
        raise OptionError(
            f"{path} is not from `scepflow timer install`", hint="--force takes it all the same"
        )
    if timers.marker(job) not in head:
        raise OptionError(
            f"{path} runs other pipelines",
            hint="name all its pipelines at once, or give this timer a --name of its own; --force takes it all the same",
        )


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Turn an OSError into an error that names the file."""
    try:
        yield
    except OSError as error:
        raise OptionError(
            f"cannot change {path}: {error.strerror}", hint="run as root, or with --user"
        ) from None


def _call_all(
    machine: Machine, kind: Kind, commands: Sequence[Sequence[str]], *, heed: bool = True
) -> Iterator[str]:
    """Run commands where that is possible, else name them."""
    for command in commands:
        said = shlex.join(command)
        if not machine.can_call(kind, command):
            yield f"to run   {said}"
            continue
        status = machine.call(command)
        if status and heed:
            raise OptionError(f"`{said}` failed with status {status}", hint="what was written stays")
        yield f"{'failed' if status else 'ran':8} {said}"
