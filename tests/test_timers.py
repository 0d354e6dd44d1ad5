"""What runs pipelines every hour, as texts: what each format would make of them again."""

import plistlib
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepflow import timers
from scepflow.errors import OptionError
from scepflow.options import Secret
from scepflow.pipeline import CaOptions, Pipeline, RenewOptions
from scepflow.stages import OutputSink
from scepflow_bundled.command_sink import CommandSink
from scepflow_bundled.csr import SubjectCsrBuilder
from scepflow_bundled.file_sink import FileSink
from scepflow_bundled.isakmpd_sink import IsakmpdSink
from scepflow_bundled.keys import GenerateKeySource
from scepflow_bundled.pkcs12_sink import Pkcs12Sink
from scepflow_bundled.pollers import BackoffPoller
from scepflow_bundled.signers import AutoSigner
from scepflow_bundled.transports import DirectTransport, ProxyTransport

ODD = '/etc/it\'s 100% "odd" $HOME/gw é.toml'
PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="\\") | st.just(" "),
    min_size=1,
    max_size=30,
).map(lambda text: f"/{text}")


def job(*files, **changed):
    parts = {
        "name": "scepflow",
        "program": ("/usr/bin/scepflow",),
        "pipelines": tuple(map(Path, files or ("/etc/scepflow/gw1.toml",))),
    }
    return timers.Job(**(parts | changed))


def texts(kind, of):
    return {file.path.name: file.text for file in timers.timer_files(of, kind)}


def service(of):
    return texts("systemd", of)["scepflow.service"]


def values(text, key):
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


# -- the command


def test_the_command_waits_two_minutes_and_says_only_what_went_wrong():
    assert job().command(json_log=True) == [
        "/usr/bin/scepflow",
        "run",
        "--wait",
        "2m",
        "--quiet",
        "--log-format",
        "json",
        "/etc/scepflow/gw1.toml",
    ]


def test_the_command_names_what_does_not_lie_in_the_pipeline_files():
    words = job(
        state=Path("/srv/state"), metrics=Path("/srv/m/scep.prom"), plugins=("/opt/x.py", "no:y")
    ).command(json_log=False)
    assert words[5:-1] == [
        "--plugin",
        "/opt/x.py",
        "--plugin",
        "no:y",
        "--state-dir",
        "/srv/state",
        "--metrics",
        "/srv/m/scep.prom",
    ]


def test_a_users_command_always_names_its_state():
    words = job(user=Path("/home/ada"), state=Path("/home/ada/.local/state/scepflow")).command(json_log=False)
    assert words[5:7] == ["--state-dir", "/home/ada/.local/state/scepflow"]


@pytest.mark.parametrize("kind", timers.KINDS)
@pytest.mark.parametrize("odd", ["/etc/a\nExecStart=/bin/x", "/etc/a\x07", "/etc/\udcff"])
def test_a_path_that_could_be_more_than_a_path_is_refused(kind, odd):
    with pytest.raises(OptionError, match="cannot stand in the files of a timer"):
        timers.timer_files(job(odd), kind)


@pytest.mark.parametrize("name", ["", "a b", "../x", "a.b", "x" * 65, "é"])
def test_a_name_that_a_unit_or_a_cron_table_cannot_have_is_refused(name):
    assert timers.check_name("scepflow-2_b") == "scepflow-2_b"
    with pytest.raises(OptionError, match="not a name for a timer"):
        timers.check_name(name)


@pytest.mark.parametrize("kind", timers.KINDS)
def test_every_file_has_the_mark_of_its_pipelines(kind):
    one, other = job("/etc/a.toml", "/etc/b.toml"), job("/etc/a.toml")
    assert timers.marker(one) == timers.marker(job("/etc/b.toml", "/etc/a.toml"))
    assert timers.marker(one) != timers.marker(other)
    for text in texts(kind, one).values():
        assert timers.marker(one) in text
        assert text.endswith("\n")


# -- systemd


def test_the_service_of_the_machine():
    assert (
        service(
            job(
                "/etc/scepflow/gw1.toml",
                "/etc/scepflow/gw2.toml",
                writable=(Path("/etc/ssl"), Path("/etc/isakmpd")),
                credentials=("gw1-challenge",),
            )
        )
        == """\
# Written by `scepflow timer install`, for pipelines 998bd1c8a1db3720
[Unit]
Description=Keep certificates alive over SCEP: gw1, gw2
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/bin/scepflow run --wait 2m --quiet --log-format json /etc/scepflow/gw1.toml /etc/scepflow/gw2.toml
# 3: the CA has not decided yet, and the next run asks again.
SuccessExitStatus=3
TimeoutStartSec=20min
UMask=0077
LoadCredential=gw1-challenge
StateDirectory=scepflow
StateDirectoryMode=0700
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
SystemCallArchitectures=native
ReadWritePaths=-/etc/isakmpd
ReadWritePaths=-/etc/ssl
"""
    )


def test_the_timer_runs_every_hour_at_a_moment_of_its_own():
    (_, timer) = timers.timer_files(job(), "systemd")
    assert timer.path == Path("/etc/systemd/system/scepflow.timer")
    assert timer.text.splitlines()[1:] == [
        "[Unit]",
        "Description=Run scepflow.service every hour",
        "",
        "[Timer]",
        "OnCalendar=hourly",
        "RandomizedDelaySec=30min",
        "FixedRandomDelay=true",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]


def test_a_users_units_ask_for_nothing_that_a_users_manager_may_not_do():
    user = job(user=Path("/home/ada"), writable=(Path("/home/ada/x"),))
    assert timers.timer_files(user, "systemd")[0].path == Path(
        "/home/ada/.config/systemd/user/scepflow.service"
    )
    text = service(user)
    assert values(text, "NoNewPrivileges") == ["yes"]
    for key in ("ProtectSystem", "ReadWritePaths", "StateDirectory", "After"):
        assert not values(text, key)


def test_the_state_and_the_metrics_may_be_written_wherever_they_are():
    text = service(job(state=Path("/srv/state"), metrics=Path("/srv/m/scep.prom")))
    assert values(text, "ReadWritePaths") == ["-/srv/m", "-/srv/state"]
    assert not values(text, "StateDirectory")


def test_a_folder_below_another_one_needs_no_line_of_its_own():
    text = service(job(writable=(Path("/etc/ssl/private"), Path("/etc/ssl"), Path("/etc/ssl"))))
    assert values(text, "ReadWritePaths") == ["-/etc/ssl"]


@pytest.mark.parametrize(
    "changed", [{"writable": (Path("/tmp/out"),)}, {"pipelines": (Path("/var/tmp/gw1.toml"),)}]
)
def test_what_lies_in_the_temporary_folder_is_not_hidden(changed):
    assert values(service(job(**changed)), "PrivateTmp") == ["no"]


def test_odd_characters_are_quoted_as_systemd_reads_them():
    program = "/opt/$x 50%/scepflow"
    text = service(job(ODD, program=(program,), writable=(Path("/etc/a b%$"),)))
    (command,) = values(text, "ExecStart")
    assert command == (
        '"/opt/$x 50%%/scepflow" run --wait 2m --quiet --log-format json '
        '"/etc/it\'s 100%% \\"odd\\" $$HOME/gw é.toml"'
    )
    assert systemd_words(command, dollars=True) == [
        program,
        *["run", "--wait", "2m", "--quiet", "--log-format", "json"],
        ODD,
    ]
    assert values(text, "ReadWritePaths") == ['"-/etc/a b%%$"']
    assert values(text, "Description") == ["Keep certificates alive over SCEP: gw é"]


def systemd_words(line, *, dollars=False):
    """Read words as systemd.syntax(7), systemd.unit(5) and systemd.service(5) say; nothing is expanded in a program."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"(?: |$)|(\S+)(?: |$)', line)
    plain = [re.sub(r"\\(.)", r"\1", quoted) if quoted else bare for quoted, bare in words]
    assert not [word for word in plain if re.search(r"(?<!%)(?:%%)*%(?!%)", word)], "a specifier"
    plain = [word.replace("%%", "%") for word in plain]
    program, *rest = plain
    return [program, *(word.replace("$$", "$") if dollars else word for word in rest)]


@given(path=PATHS, extra=st.sampled_from(["", "\\", "\\n", '\\"']))
def test_any_path_comes_out_of_a_systemd_unit_as_it_went_in(path, extra):
    path = str(Path(path + extra + "x"))
    text = service(job(path, writable=(Path(path),)))
    (command,), (folder,) = values(text, "ExecStart"), values(text, "ReadWritePaths")
    assert systemd_words(command, dollars=True)[-1] == path
    assert systemd_words(folder) == [f"-{path}"]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", "x\nExecStart=/bin/x", "%i"])
def test_a_credential_that_systemd_would_not_take_is_refused(name):
    with pytest.raises(OptionError, match="systemd takes no credential"):
        service(job(credentials=(name,)))


# -- cron


def cron_words(line, *, fields=5):
    """Read a line as crontab(5) says and give its command to a shell."""
    command = line.rstrip("\n").split(" ", fields)[fields]
    assert not re.search(r"(?<!\\)%", command), "it would end here"
    return shlex.split(command.replace("\\%", "%"))


def test_the_cron_table_is_of_root_and_finds_the_programs_of_command_sinks():
    ((name, text),) = texts("cron", job(minute=17)).items()
    assert name == "scepflow"
    assert text.splitlines()[1:] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "17 * * * * root /usr/bin/scepflow run --wait 2m --quiet /etc/scepflow/gw1.toml",
    ]


def test_a_users_crontab_gets_one_line():
    text = texts("cron", job(user=Path("/home/ada"), minute=5, state=Path("/s")))["scepflow"]
    assert text == "5 * * * * /usr/bin/scepflow run --wait 2m --quiet --state-dir /s /etc/scepflow/gw1.toml\n"


def test_odd_characters_are_quoted_as_cron_and_its_shell_read_them():
    line = texts("cron", job(ODD)).popitem()[1].splitlines()[-1]
    assert cron_words(line, fields=6)[-1] == ODD


@given(path=PATHS)
def test_any_path_comes_out_of_a_crontab_as_it_went_in(path):
    path = str(Path(path))
    line = texts("cron", job(path, user=Path("/h")))["scepflow"]
    assert cron_words(line)[-1] == path


def test_a_backslash_is_refused_because_crons_differ():
    with pytest.raises(OptionError, match="backslash"):
        texts("cron", job("/etc/a\\b.toml"))


def test_a_line_that_cron_would_cut_is_refused():
    names = [f"/etc/scepflow/gateway-{number}.toml" for number in range(40)]
    with pytest.raises(OptionError, match="cron takes no line") as caught:
        texts("cron", job(*names))
    assert "--name" in caught.value.hint
    assert len(texts("cron", job(*names[:20]))["scepflow"].splitlines()) == 3


# -- launchd


def test_a_property_list_is_read_back_as_it_was_meant():
    (file,) = timers.timer_files(job(ODD, "/etc/<a>&b--.toml", minute=7), "launchd")
    assert file.path == Path("/Library/LaunchDaemons/local.scepflow.plist")
    listed = plistlib.loads(file.text.encode())
    assert listed["Label"] == "local.scepflow"
    assert listed["ProgramArguments"][-2:] == [ODD, "/etc/<a>&b--.toml"]
    assert listed["StartCalendarInterval"] == {"Minute": 7}
    assert listed["Umask"] == 0o077
    assert listed["RunAtLoad"] is True
    assert listed["StandardErrorPath"] == "/var/log/scepflow.log"


def test_a_users_property_list_lies_at_home():
    (file,) = timers.timer_files(job(user=Path("/Users/ada")), "launchd")
    assert file.path == Path("/Users/ada/Library/LaunchAgents/local.scepflow.plist")
    assert plistlib.loads(file.text.encode())["StandardErrorPath"] == "/Users/ada/Library/Logs/scepflow.log"


# -- commands


@pytest.mark.parametrize(
    ("user", "root", "start", "before", "after"),
    [
        (
            False,
            None,
            ["systemctl daemon-reload", "systemctl enable --now scepflow.timer"],
            ["systemctl disable --now scepflow.timer"],
            ["systemctl daemon-reload"],
        ),
        (
            True,
            None,
            ["systemctl --user daemon-reload", "systemctl --user enable --now scepflow.timer"],
            ["systemctl --user disable --now scepflow.timer"],
            ["systemctl --user daemon-reload"],
        ),
        (
            False,
            Path("/img"),
            ["systemctl --root=/img enable scepflow.timer"],
            ["systemctl --root=/img disable scepflow.timer"],
            [],
        ),
        (
            True,
            Path("/img"),
            ["systemctl --global --root=/img enable scepflow.timer"],
            ["systemctl --global --root=/img disable scepflow.timer"],
            [],
        ),
    ],
)
def test_systemd_is_told_to_start_and_to_stop(user, root, start, before, after):
    of = job(user=Path("/home/ada") if user else None)
    said = timers.start_commands(of, "systemd", uid=7, root=root)
    stop = timers.stop_commands(of, "systemd", uid=7, root=root)
    assert [shlex.join(words) for words in said] == start
    assert [[shlex.join(words) for words in part] for part in stop] == [before, after]


def test_launchd_is_told_by_domain_and_cron_needs_no_telling():
    mine = job(user=Path("/Users/ada"))
    plist = "/Library/LaunchDaemons/local.scepflow.plist"
    assert timers.start_commands(job(), "launchd", uid=0) == [["launchctl", "bootstrap", "system", plist]]
    assert timers.stop_commands(mine, "launchd", uid=501) == (
        [["launchctl", "bootout", "gui/501/local.scepflow"]],
        [],
    )
    assert timers.start_commands(job(), "launchd", uid=0, root=Path("/img")) == []
    assert timers.stop_commands(job(), "launchd", uid=0, root=Path("/img")) == ([], [])
    assert timers.start_commands(job(), "cron", uid=0) == []
    assert timers.stop_commands(job(), "cron", uid=0) == ([], [])


# -- what a pipeline needs


def pipeline(*sinks, **changed):
    parts = {
        "name": "gw1",
        "file": Path("/etc/scepflow/gw1.toml"),
        "ca": CaOptions(url="http://pki.example.com/scep"),
        "key": GenerateKeySource(),
        "csr": SubjectCsrBuilder(subject="CN=gw1"),
        "signer": AutoSigner(),
        "transport": DirectTransport(),
        "poller": BackoffPoller(),
        "renew": RenewOptions(),
        "sinks": {f"s{number}": sink for number, sink in enumerate(sinks)},
    }
    return Pipeline(**(parts | changed))


RELOAD = CommandSink(run=["systemctl", "reload", "nginx"])


def test_the_folders_of_all_outputs_may_be_written():
    of = pipeline(
        FileSink(key="/etc/ssl/private/gw.key", cert="/etc/ssl/certs/gw.crt"),
        Pkcs12Sink(path="out/gw1.p12", password=Secret({"file": "pass"})),
        RELOAD,
    )
    assert timers.writable_folders(of) == (
        Path("/etc/scepflow/out"),
        Path("/etc/ssl/certs"),
        Path("/etc/ssl/private"),
    )


def test_a_tree_may_be_written_from_its_top():
    assert timers.writable_folders(pipeline(IsakmpdSink(base="/etc/isakmpd"))) == (Path("/etc/isakmpd"),)


def test_credentials_are_found_wherever_a_secret_may_stand():
    class Notes(OutputSink, frozen=True, kw_only=True, tag="notes"):
        """Secrets in a table and in a list."""

        headers: dict[str, Secret]
        tokens: list[Secret]

    def named(name):
        return Secret({"credential": name})

    of = pipeline(
        Notes(headers={"x": named("c")}, tokens=[named("d"), named("a")]),
        csr=SubjectCsrBuilder(subject="CN=gw1", challenge=named("a")),
        transport=ProxyTransport(url="http://p", user="u", password=named("b")),
        key=GenerateKeySource(),
    )
    assert timers.credentials_of(of) == ("a", "b", "c", "d")


def remarks(of, kind="systemd", *, user=False):
    return list(timers.remarks_of(of, kind, user=user))


def test_a_secret_that_a_timer_does_not_have_is_remarked():
    env = pipeline(csr=SubjectCsrBuilder(subject="CN=a", challenge=Secret({"env": "SCEP_CHALLENGE"})))
    given_by_systemd = pipeline(csr=SubjectCsrBuilder(subject="CN=a", challenge=Secret({"credential": "c"})))
    assert "environment variable SCEP_CHALLENGE" in remarks(env)[0]
    assert remarks(given_by_systemd) == []
    assert "only systemd gives the credential c" in remarks(given_by_systemd, "cron")[0]
    assert remarks(replace(env, csr=SubjectCsrBuilder(subject="CN=a", challenge=Secret("literal")))) == []


def test_a_sink_of_unknown_outputs_is_remarked_where_writing_is_confined():
    of = pipeline(FileSink(cert="gw.crt"), RELOAD)
    (said,) = remarks(of)
    assert said.startswith("gw1: what sink s1 writes is not known")
    assert remarks(of, user=True) == remarks(of, "cron") == []


def test_a_backslash_at_the_end_of_a_name_does_not_swallow_the_next_line():
    job = timers.Job(name="scepflow", program=("/usr/bin/scepflow",), pipelines=(Path("/etc/a\\.toml"),))
    lines = timers.timer_files(job, "systemd")[0].text.splitlines()
    assert "Description=Keep certificates alive over SCEP: a\\\\" in lines
