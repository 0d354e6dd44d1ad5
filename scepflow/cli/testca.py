"""``scepflow testca``: the test CA on a loopback port. Must never hold: how it answers."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from scepflow.cli.invocation import Invocation, common_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scepflow.testca import Authority, Behaviour, Knobs
    from scepflow.testca.authority import KeyType

__all__ = ["testca"]

REJECTIONS = ("badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId")
_EC_ALONE = (
    "a CA with an EC key needs --ra or --challenge: its key cannot decrypt, "
    "so requests are encrypted for an RA's RSA key or with the challenge."
)


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="TCP port on 127.0.0.1; otherwise a free one."
)
@click.option(
    "--challenge",
    metavar="TEXT",
    help="What a first request must bring; @FILE reads it. Otherwise anyone is served.",
)
@click.option("--one-time", is_flag=True, help="The challenge is good for one certificate.")
@click.option(
    "--pending", type=click.IntRange(min=0), default=0, help="How often it answers PENDING before it decides."
)
@click.option("--reject", type=click.Choice(REJECTIONS), help="Reject every request for this reason.")
@click.option("--reject-text", default="", help="The reason in words (failInfoText).")
@click.option(
    "--refuse-renewal-req",
    is_flag=True,
    help="Reject RenewalReq like a server that does not know it; a renewal by PKCSReq is served.",
)
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), default=365.0, help="Lifetime of certificates."
)
@click.option(
    "--key", type=click.Choice(["rsa-2048", "ec-p256"]), default="rsa-2048", help="The CA's own key."
)
@click.option(
    "--ra", is_flag=True, help="A registration authority answers, with one key to sign and one to decrypt."
)
@click.option("--next-ca", is_flag=True, help="Make the CA that follows now, and show its fingerprint.")
@click.option("--tls", is_flag=True, help="Serve HTTPS, with a certificate of this CA.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the CA here; otherwise it is gone at the end.",
)
@click.option(
    "--behave",
    metavar="NAME,…",
    default="",
    help="Misbehave in these ways, to try a client; --behave list shows them all.",
)
@common_options
@click.pass_obj
def testca(
    invocation: Invocation,
    *,
    port: int,
    challenge: str | None,
    one_time: bool,
    pending: int,
    reject: str | None,
    reject_text: str,
    refuse_renewal_req: bool,
    days: float,
    key: KeyType,
    ra: bool,
    next_ca: bool,
    tls: bool,
    directory: Path | None,
    behave: str,
) -> None:
    """Serve a test CA on loopback; never for production.

    It prints its address, its fingerprint and a pipeline to paste, and serves until Ctrl-C.
    """
    if behave == "list":
        _list_behaviours()
        return
    if key == "ec-p256" and not (ra or challenge):
        raise click.UsageError(_EC_ALONE)
    from scepflow.engine.messages import MessageType
    from scepflow.testca import FailInfo, Knobs

    knobs = Knobs(
        challenge=_text_of(challenge),
        one_time_challenge=one_time,
        pending=pending,
        reject=FailInfo(REJECTIONS.index(reject)) if reject else None,
        reject_text=reject_text,
        unknown=frozenset([MessageType.RENEWAL_REQ] if refuse_renewal_req else []),
        days=days,
        behave=_behaviours(behave),
    )
    authority = _open(directory, key=key, ra=ra)
    if not authority.can_decrypt and not knobs.challenge:
        raise click.UsageError(_EC_ALONE)
    if next_ca:
        following = authority.next_ca(datetime.now(UTC))
        click.echo(f"next CA's fingerprint, from GetNextCACert: sha256:{following.fingerprint}")
    with _trust_file(authority, directory) if tls else nullcontext() as ca_file:
        _serve(invocation, authority, knobs, port=port, ca_file=ca_file)


def _list_behaviours() -> None:
    from scepflow.testca.behaviours import all_behaviours

    known = all_behaviours()
    width = max(map(len, known))
    for behaviour in known.values():
        click.echo(f"{behaviour.name:{width}}  {behaviour.summary}")


def _behaviours(behave: str) -> tuple[Behaviour, ...]:
    from scepflow.testca.behaviours import behaviours

    names = [name.strip() for name in behave.split(",") if name.strip()]
    try:
        return behaviours(names)
    except ValueError as error:
        raise click.UsageError(f"--behave: {error}; --behave list shows them all") from None


def _text_of(challenge: str | None) -> str | None:
    """Return the challenge; a file's text without its last line end."""
    if challenge is None or not challenge.startswith("@"):
        return challenge
    try:
        return Path(challenge[1:]).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise click.UsageError(f"--challenge: cannot read {challenge[1:]}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"--challenge: {challenge[1:]} is not UTF-8 text") from None


def _open(directory: Path | None, *, key: KeyType, ra: bool) -> Authority:
    from scepflow.testca import Authority

    now = datetime.now(UTC)
    if directory is None:
        return Authority.create(now=now, key=key, ra=ra)
    try:
        return Authority.open(directory, now=now, key=key, ra=ra)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise click.UsageError(f"--directory: cannot open {directory}: {reason}") from None


@contextmanager
def _trust_file(authority: Authority, directory: Path | None) -> Iterator[Path]:
    """Give the file that clients trust HTTPS by: the directory's ca.pem, or one for as long as we serve."""
    if directory:
        yield directory / "ca.pem"
        return
    from cryptography.hazmat.primitives.serialization import Encoding

    with TemporaryDirectory(prefix="scepflow-testca-") as folder:
        file = Path(folder) / "ca.pem"
        file.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        yield file


def _serve(
    invocation: Invocation, authority: Authority, knobs: Knobs, *, port: int, ca_file: Path | None
) -> None:
    """Serve until Ctrl-C; over TLS if there is a file that clients trust it by."""
    from scepflow.testca import Responder, serve_forever

    try:
        responder = Responder(authority, knobs)
    except ValueError as error:
        raise click.UsageError(f"--behave: {error}") from None
    tls = authority.tls_credential("127.0.0.1", now=datetime.now(UTC)) if ca_file else None
    try:
        serve_forever(responder, port=port, tls=tls, ca_file=ca_file, announce=click.echo)
    except BrokenPipeError:  # nobody reads the announcement
        raise
    except OSError as error:
        raise click.UsageError(f"--port: cannot listen on 127.0.0.1:{port}: {error.strerror}") from None
    except KeyboardInterrupt:
        invocation.error_line("stopped", level="info")
