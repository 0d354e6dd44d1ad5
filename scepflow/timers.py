"""What runs pipelines every hour, as texts: systemd units, a cron line, a launchd property list.

Must never hold: a file that is read or written, or a program that is run.
"""

from __future__ import annotations

import hashlib
import plistlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from scepflow.errors import OptionError
from scepflow.options import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scepflow.pipeline.model import Pipeline
    from scepflow.stages import OutputSink

__all__ = [
    "KINDS",
    "MARK",
    "Job",
    "Kind",
    "TimerFile",
    "check_name",
    "credentials_of",
    "marker",
    "remarks_of",
    "start_commands",
    "stop_commands",
    "timer_files",
    "writable_folders",
]

Kind = Literal["systemd", "cron", "launchd"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MARK = "Written by `scepflow timer install`"
"""How the files that we may replace and remove begin."""

WAIT = "2m"
"""How long a run waits for the CA's decision; the next run asks again."""

STATE_DIRECTORY = Path("/var/lib/scepflow")
"""What systemd makes of ``StateDirectory=scepflow`` for the whole machine."""

_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Cron and launchd give less, and a command sink needs what a shell has."""

_LONGEST_CRON_LINE = 998
"""Vixie cron and those that come from it take no more than that, without the line's end (MAX_COMMAND)."""

_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  # places to look for, not to write to


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is run, and where its files go.

    Attributes:
        name: of the units, letters, digits, ``-`` and ``_``.
        program: what starts scepflow: an absolute path, and arguments.
        pipelines: the pipeline files, absolute.
        plugins: what ``-p`` names, files absolute.
        user: the home of the user whose timer it is, or None for the machine's.
        state: the state directory, absolute.
        metrics: the file for ``--metrics``, absolute, or None.
        writable: folders that the sinks write to.
        credentials: names of systemd credentials that the pipelines read.
        minute: of the hour when cron and launchd run it, 0 to 59.
    """

    name: str
    program: tuple[str, ...]
    pipelines: tuple[Path, ...]
    state: Path = STATE_DIRECTORY
    plugins: tuple[str, ...] = ()
    user: Path | None = None
    metrics: Path | None = None
    writable: tuple[Path, ...] = ()
    credentials: tuple[str, ...] = ()
    minute: int = 0

    def command(self, *, json_log: bool) -> list[str]:
        """Return the whole command line.

        Raises:
            OptionError: a path in it cannot stand in the files of a timer.
        """
        words = [*self.program, "run", "--wait", WAIT, "--quiet"]
        words += ["--log-format", "json"] if json_log else []
        for plugin in self.plugins:
            words += ["--plugin", plugin]
        if self.user or self.state != STATE_DIRECTORY:
            words += ["--state-dir", str(self.state)]
        if self.metrics:
            words += ["--metrics", str(self.metrics)]
        return [_plain(word) for word in (*words, *map(str, self.pipelines))]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFile:
    """A file of a timer, mode 0644: where it belongs on the machine, and its text."""

    path: Path
    text: str


def check_name(name: str) -> str:
    """Return the name if units, and files that cron reads, may be called so.

    Raises:
        OptionError: they may not.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise OptionError(f"not a name for a timer: {name!r}", hint="letters, digits, - and _, at most 64")
    return name


def marker(job: Job) -> str:
    """Return the line by which our files are known, and whether they are of the same pipelines."""
    files = "\0".join(sorted(map(str, job.pipelines)))
    return f"{MARK}, for pipelines {hashlib.sha256(files.encode(errors='surrogateescape')).hexdigest()[:16]}"


def timer_files(job: Job, kind: Kind) -> tuple[TimerFile, ...]:
    """Return the files of a timer.

    Args:
        job: what is run.
        kind: for what.

    Raises:
        OptionError: a path or name cannot be written there.
    """
    if kind == "systemd":
        folder = job.user / ".config/systemd/user" if job.user else Path("/etc/systemd/system")
        return (
            TimerFile(path=folder / f"{job.name}.service", text=_service(job)),
            TimerFile(path=folder / f"{job.name}.timer", text=_timer(job)),
        )
    if kind == "cron":
        text = _cron_line(job) if job.user else _cron_table(job)
        return (TimerFile(path=Path("/etc/cron.d") / job.name, text=text),)
    folder = (job.user or Path("/")) / "Library" / ("LaunchAgents" if job.user else "LaunchDaemons")
    return (TimerFile(path=folder / f"{_label(job)}.plist", text=_property_list(job)),)


def start_commands(job: Job, kind: Kind, *, uid: int, root: Path | None = None) -> list[list[str]]:
    """Return the commands, one list of words each, that start what was installed.

    Args:
        job: what is run.
        kind: for what.
        uid: of the user whose timer it is.
        root: topmost folder of a machine that does not run, such as an image, or None.
    """
    if kind == "systemd":
        if root:
            return [[*_systemctl(job, root), "enable", f"{job.name}.timer"]]
        return [
            [*_systemctl(job), "daemon-reload"],
            [*_systemctl(job), "enable", "--now", f"{job.name}.timer"],
        ]
    if kind == "launchd" and not root:
        (file,) = timer_files(job, kind)
        return [["launchctl", "bootstrap", _domain(job, uid), str(file.path)]]
    return []  # cron looks into its folder every minute, launchd into its own at the start


def stop_commands(
    job: Job, kind: Kind, *, uid: int, root: Path | None = None
) -> tuple[list[list[str]], list[list[str]]]:
    """Return the commands before and after the files are removed; as `start_commands`."""
    if kind == "systemd":
        if root:
            return [[*_systemctl(job, root), "disable", f"{job.name}.timer"]], []
        return [[*_systemctl(job), "disable", "--now", f"{job.name}.timer"]], [
            [*_systemctl(job), "daemon-reload"]
        ]
    if kind == "launchd" and not root:
        return [["launchctl", "bootout", f"{_domain(job, uid)}/{_label(job)}"]], []
    return [], []


def _systemctl(job: Job, root: Path | None = None) -> list[str]:
    scope = ["--global" if root else "--user"] if job.user else []
    return ["systemctl", *scope, *([f"--root={root}"] if root else [])]


def _plain(text: str) -> str:
    """Return text that may be a word of a command in every kind of file."""
    if not text.isprintable():
        raise OptionError(f"cannot stand in the files of a timer: {text!r}", hint="rename the file")
    return text


# -- systemd

_HARDENING = """\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp={private_tmp}
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
SystemCallArchitectures=native
"""


def _service(job: Job) -> str:
    names = ", ".join(path.stem for path in job.pipelines)
    lines = [
        f"# {marker(job)}",
        "[Unit]",
        f"Description=Keep certificates alive over SCEP: {_systemd_text(names)}",
        *([] if job.user else ["Wants=network-online.target", "After=network-online.target"]),
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={_exec_line(job.command(json_log=True))}",
        "# 3: the CA has not decided yet, and the next run asks again.",
        "SuccessExitStatus=3",
        f"TimeoutStartSec={10 + 5 * len(job.pipelines)}min",
        "UMask=0077",
        *(f"LoadCredential={_credential(name)}" for name in job.credentials),
        # A user's manager may not make the mounts that the rest needs, and has no one place for state.
        *(["NoNewPrivileges=yes"] if job.user else _machine_lines(job)),
    ]
    return "\n".join([*lines, ""])


def _machine_lines(job: Job) -> Iterator[str]:
    folders = list(job.writable)
    if job.state == STATE_DIRECTORY:
        yield "StateDirectory=scepflow"
        yield "StateDirectoryMode=0700"
    else:
        folders.append(job.state)
    if job.metrics:
        folders.append(job.metrics.parent)
    shared = any(path.is_relative_to(tmp) for path in (*folders, *job.pipelines) for tmp in _TEMPORARY)
    yield from _HARDENING.format(private_tmp="no" if shared else "yes").splitlines()
    for folder in _outermost(folders):
        yield f"ReadWritePaths={_systemd_word(f'-{folder}')}"


def _timer(job: Job) -> str:
    return "\n".join(
        [
            f"# {marker(job)}",
            "[Unit]",
            f"Description=Run {job.name}.service every hour",
            "",
            "[Timer]",
            "OnCalendar=hourly",
            "RandomizedDelaySec=30min",
            "FixedRandomDelay=true",
            "Persistent=true",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _exec_line(command: Sequence[str]) -> str:
    """Return a command as systemd.service(5) COMMAND LINES has it; ``$`` is literal in the program's own path."""
    program, *words = command
    return " ".join([_systemd_word(program), *(_systemd_word(word.replace("$", "$$")) for word in words)])


def _systemd_word(word: str) -> str:
    """Quote a word by systemd.syntax(7) QUOTING and systemd.unit(5) SPECIFIERS."""
    word = _plain(word).replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_./:=@%+,$-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _systemd_text(text: str) -> str:
    """Return text that is a setting's whole value; a backslash at its end would join the next line to it (systemd.syntax(7))."""
    return _plain(text).replace("%", "%%").replace("\\", "\\\\")


def _credential(name: str) -> str:
    """Return a credential's name, under which systemd looks into /etc/credstore; one that is not there stops nothing."""
    if not re.fullmatch(r"[A-Za-z0-9_.@+-]{1,255}", name):
        raise OptionError(
            f"systemd takes no credential of the name {name!r}", hint="letters, digits, -, _ and ."
        )
    return name


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Return the folders, sorted, without those below another one."""
    return sorted({one for one in folders if not any(other in one.parents for other in folders)})


# -- cron


def _cron_table(job: Job) -> str:
    return f"# {marker(job)}\nPATH={_SEARCH_PATH}\n{_cron_line(job, user='root')}"


def _cron_line(job: Job, user: str = "") -> str:
    """Return a line by crontab(5), where ``%`` ends a command unless a backslash precedes it."""
    command = shlex.join(job.command(json_log=False))
    if "\\" in command:  # some crons take one of two away, others none
        raise OptionError("cron has no way to write a path with a backslash", hint="rename the file")
    command = command.replace("%", "\\%")
    if len(command) > _LONGEST_CRON_LINE:
        raise OptionError(
            f"cron takes no line of {len(command)} characters",
            hint="install several timers, each with a --name of its own and some of the pipelines",
        )
    return " ".join([f"{job.minute} * * * *", *([user] if user else []), command]) + "\n"


# -- launchd


def _label(job: Job) -> str:
    return f"local.{job.name}"


def _domain(job: Job, uid: int) -> str:
    return f"gui/{uid}" if job.user else "system"


def _property_list(job: Job) -> str:
    logs = job.user / "Library/Logs" if job.user else Path("/var/log")
    text = plistlib.dumps(
        {
            "Label": _label(job),
            "ProgramArguments": job.command(json_log=True),
            "EnvironmentVariables": {"PATH": _SEARCH_PATH},
            "StartCalendarInterval": {"Minute": job.minute},
            "RunAtLoad": True,
            "ProcessType": "Background",
            "StandardErrorPath": str(logs / f"{job.name}.log"),
            "Umask": 0o077,
        },
        sort_keys=False,
    ).decode()
    head, start, rest = text.partition("<plist ")
    return f"{head}<!-- {marker(job)} -->\n{start}{rest}"


# -- what a pipeline needs


def writable_folders(pipeline: Pipeline) -> tuple[Path, ...]:
    """Return the folders that the sinks of a pipeline write to, as far as the sinks say."""
    return tuple(
        _outermost([folder for sink in pipeline.sinks.values() for folder in _folders(sink, pipeline)])
    )


def _folders(sink: OutputSink, pipeline: Pipeline) -> Iterator[Path]:
    """Yield the folder of each output, or the one above it that the sink says its output goes to."""
    described = pipeline.directory / sink.describe()
    for name in sink.outputs_at():
        path = pipeline.directory / name
        yield described if described in path.parents else path.parent


def credentials_of(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the names of the systemd credentials that a pipeline reads."""
    return tuple(dict.fromkeys(name for kind, name in _secrets(pipeline) if kind == "credential"))


def _secrets(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """Yield where each secret comes from, such as ``("env", "SCEP_CHALLENGE")``."""
    stages = (pipeline.key, pipeline.csr, pipeline.signer, pipeline.transport, *pipeline.sinks.values())
    for secret in _secrets_in(stages):
        kind, _, name = secret.origin.partition(" ")
        yield kind, name


def _secrets_in(value: Any) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        yield from _secrets_in(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _secrets_in(one)


def remarks_of(pipeline: Pipeline, kind: Kind, *, user: bool) -> Iterator[str]:
    """Yield what a person should know before a timer runs a pipeline.

    Args:
        pipeline: what is run.
        kind: by what.
        user: whether it is a user's own timer.
    """
    for source, name in _secrets(pipeline):
        if source == "env":
            yield f"{pipeline.name}: a timer does not have the environment variable {name}; use {{ file = … }}"
        if source == "credential" and kind != "systemd":
            yield f"{pipeline.name}: only systemd gives the credential {name}; use {{ file = … }}"
    if kind != "systemd" or user:
        return
    for name, sink in pipeline.sinks.items():
        if not sink.outputs_at():
            yield (
                f"{pipeline.name}: what sink {name} writes is not known; if it writes files, "
                "`systemctl edit` the service and add ReadWritePaths="
            )
