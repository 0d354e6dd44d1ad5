"""The eight replies, on the real command: one gives a certificate, seven name their check, exit 5 and change nothing.

What a run notes of a bad reply is in the journal alone: how and when the run ended, in `pipeline` and one line of
`happening`. That a message left is noted before it leaves.
"""

import json
import logging
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from scepflow.cli import cli
from scepflow.testca import Authority, Behaviour, FailInfo, Knobs, Responder, serve
from scepflow.testca.behaviours import all_behaviours, behaviours

WRONG = {
    "forged": "signature",
    "nocerts": "signer",
    "stranger": "signer",
    "badnonce": "recipient-nonce",
    "badtx": "transaction-id",
    "prefixtx": "transaction-id",
    "wrongkey": "certificate-key",
}
_LIVE = ("journal.sqlite3", "holder")  # read as rows; and who runs just now
ESCAPES = [name for name in all_behaviours() if "escapes" in name]
REFUSED = [name for name in ESCAPES if "escapes-for" not in name]  # for what they say
UNSAID = ("escapes-in-head", "redirect-escapes")  # not even escaped
FORMATS = pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])

PIPELINE = """\
[ca]
url = "{url}"
fingerprint = "sha256:{fingerprint}"
[key]
use = "file"
path = "device.key"
[csr]
subject = "CN=gw1.example.com"
[sink.file]
cert = "gw1.pem"
chain = "chain.pem"
"""


@dataclass
class Seen:
    """The disk: files with their modes, and the rows of the journal."""

    files: dict[str, tuple[int, bytes]]
    journal: dict[str, list[dict[str, Any]]]


def look(folder: Path) -> Seen:
    files, journal = {}, {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(_LIVE):
            files[str(path.relative_to(folder))] = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    with closing(sqlite3.connect(folder / "state" / "journal.sqlite3")) as db:
        db.row_factory = sqlite3.Row
        for table in ("pipeline", "attempt", "delivery", "happening"):
            journal[table] = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]  # constants
    return Seen(files, journal)


def assert_nothing_but_the_end_of_the_run(before: Seen, after: Seen, *, polled: bool = False) -> None:
    """Compare the disk before and after a bad reply."""
    assert after.files == before.files
    noted = {"outcome", "exit_code", "message", "hint", "ended_at"}
    for table in ("pipeline", "attempt", "delivery"):
        ignored = noted if table == "pipeline" else {"polls", "asked_at"} if polled else set()
        old, new = (
            [{k: v for k, v in row.items() if k not in ignored} for row in seen.journal[table]]
            for seen in (before, after)
        )
        assert new == old, table
    known = len(before.journal["happening"])
    assert after.journal["happening"][:known] == before.journal["happening"]
    assert [row["kind"] for row in after.journal["happening"][known:]] == ["failed"]


def assert_no_control_characters(said: Any) -> None:
    assert all(c.isprintable() or c == "\n" for c in said.stdout + said.stderr), (said.stdout, said.stderr)


@pytest.fixture(scope="module")
def ca():
    return Authority.create(now=datetime.now(UTC) - timedelta(days=1)).ca


class Bench:
    """A folder with a key and a pipeline, a CA on a port, and the command."""

    def __init__(self, folder: Path, ca: Any) -> None:
        self.folder = folder
        self.responder = Responder(Authority(ca))
        self.at_reply: list[Seen] = []

    def watch(self, *names: str, **knobs: Any) -> None:
        """Let the CA behave so from now on, and look at the disk just before each reply leaves."""
        watching = Behaviour(
            name="watching", summary="looks", answer=self._look, operations=("PKIOperation",)
        )
        self.responder.behave(Knobs(behave=(*behaviours(names), watching), **knobs))

    def _look(self, response: Any, _scene: Any) -> Any:
        self.at_reply.append(look(self.folder))
        return response

    def run(self, *options: str) -> Any:
        return CliRunner(env={"TERM": "xterm", "COLUMNS": "300"}).invoke(cli, ["run", "gw1.toml", *options])

    def call(self, *args: str) -> Any:
        return CliRunner(env={"TERM": "xterm"}).invoke(cli, args)

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "gw1.pem").read_bytes())

    def assert_issued(self, said: Any) -> None:
        assert said.exit_code == 0, said.stderr
        assert self.certificate in [certificate for _, certificate in self.responder.issued]


@pytest.fixture(autouse=True)
def _logs_as_they_were():
    """A command sets up the log of its process; here that process goes on."""
    log = logging.getLogger("scepflow")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before


@pytest.fixture
def bench(tmp_path, monkeypatch, ca, _device_key):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCEPFLOW_STATE_DIR", str(tmp_path / "state"))
    key_pem = _device_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "device.key").write_bytes(key_pem)
    (tmp_path / "device.key").chmod(0o600)
    bench = Bench(tmp_path, ca)
    with serve(bench.responder) as server:
        text = PIPELINE.format(url=server.url, fingerprint=bench.responder.authority.fingerprint)
        (tmp_path / "gw1.toml").write_text(text)
        yield bench


def assert_names_its_check(said: Any, check: str, *, as_json: bool) -> None:
    assert said.exit_code == 5, said.stderr
    assert_no_control_characters(said)
    if as_json:
        (document,) = json.loads(said.stdout)["pipelines"]
        assert (document["exit_code"], document["error"]["check"]) == (5, check)
    else:
        assert f"  pipeline gw1, check {check}, " in said.stderr


@FORMATS
def test_the_good_reply_gives_the_certificate(bench, as_json):
    bench.watch()
    said = bench.run(*["--json"] * as_json)
    bench.assert_issued(said)
    assert_no_control_characters(said)


@FORMATS
@pytest.mark.parametrize(("reply", "check"), WRONG.items())
def test_a_wrong_reply_names_its_check_and_leaves_everything_as_it_was(bench, reply, check, as_json):
    bench.watch(reply)
    said = bench.run(*["--json"] * as_json)
    assert_names_its_check(said, check, as_json=as_json)
    assert not (bench.folder / "gw1.pem").exists()
    (at_reply,) = bench.at_reply
    assert_nothing_but_the_end_of_the_run(at_reply, look(bench.folder))
    bench.watch()
    bench.assert_issued(bench.run())
    assert len(bench.responder.issued) == 1


@pytest.mark.parametrize(("reply", "check"), WRONG.items())
def test_a_wrong_reply_to_a_renewal_leaves_the_certificate_in_use(bench, reply, check):
    bench.watch()
    bench.assert_issued(bench.run())
    delivered = look(bench.folder)
    bench.watch(reply)
    assert_names_its_check(bench.run("--renew"), check, as_json=False)
    after = look(bench.folder)
    assert_nothing_but_the_end_of_the_run(bench.at_reply[-1], after)
    assert delivered.files.items() <= after.files.items()
    old, new = (seen.journal["pipeline"][0]["current"] for seen in (delivered, after))
    assert old == new
    bench.watch()
    bench.assert_issued(bench.run())
    assert look(bench.folder).files["gw1.pem"] != delivered.files["gw1.pem"]


@pytest.mark.parametrize(("reply", "check"), WRONG.items())
def test_a_wrong_reply_to_a_poll_leaves_everything_as_it_was_before_the_run(bench, reply, check):
    with (bench.folder / "gw1.toml").open("a") as file:
        file.write('[poller]\nuse = "fixed"\nmax_count = 0\n')
    bench.watch(pending=1)
    assert bench.run().exit_code == 3
    before = look(bench.folder)
    bench.watch(reply, pending=1)
    assert_names_its_check(bench.run(), check, as_json=False)
    assert_nothing_but_the_end_of_the_run(before, look(bench.folder), polled=True)
    bench.watch()
    bench.assert_issued(bench.run())


def test_stripped_certificates_alone_are_no_attack(bench):
    """Who knows the CA from GetCACert needs no certificates in a reply (Q-001); `nocerts` is for who looks only there."""
    bench.watch("no-certificates")
    bench.assert_issued(bench.run())
    bench.watch("forged", "no-certificates")
    assert_names_its_check(bench.run("--renew"), "signature", as_json=False)


@pytest.mark.parametrize(
    "options", [(), ("-vv",), ("--json",), ("-vv", "--log-format", "json")], ids=" ".join
)
@pytest.mark.parametrize("reply", ESCAPES)
def test_no_control_character_of_a_server_comes_through(bench, reply, options):
    bench.watch(reply, **({"reject": FailInfo.BAD_REQUEST} if reply == "escapes-in-reason" else {}))
    said = bench.run(*options)
    assert ("owned" in said.stdout + said.stderr) == (reply not in UNSAID)
    assert_no_control_characters(said)
    for told in (bench.call("status"), bench.call("history"), bench.call("status", "--json")):
        assert "owned" in told.stdout or reply in UNSAID or reply not in REFUSED
        assert_no_control_characters(told)
    kept = [value for rows in look(bench.folder).journal.values() for row in rows for value in row.values()]
    assert all(c.isprintable() or c == "\n" for value in kept for c in str(value))


def test_a_bare_crl_is_no_answer_to_get_crl(bench):
    """It is the CA's, but may be an old one: only a signed answer to our nonce is a fresh one (Q-085)."""
    bench.watch()
    bench.assert_issued(bench.run())
    question = ("getcrl", "gw1.toml", "--certificate", "gw1.pem")
    assert bench.call(*question).exit_code == 0
    bench.watch("raw-crl")
    said = bench.call(*question)
    assert said.exit_code == 5
    assert "not a CMS SignedData" in said.stderr


def test_two_enrollments_have_two_transactions(bench):
    """A server that knows a transaction answers it as before (Q-007, Q-066)."""
    bench.watch()
    bench.assert_issued(bench.run())
    bench.assert_issued(bench.run("--renew"))
    assert len({request.transaction_id for request in bench.responder.requests}) == 2
    assert len(bench.responder.issued) == 2
