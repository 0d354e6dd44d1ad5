"""``scepflow run``: the only verb that a timer needs.

Must never hold: how a certificate is got, or how a result looks.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scepflow.cli.invocation import Invocation, common_options, plugin_option
from scepflow.cli.places import metrics_option, open_state, state_option
from scepflow.cli.progress import progress_for
from scepflow.cli.rehearsal import rehearse_file
from scepflow.cli.results import common_code
from scepflow.cli.runs import print_json, run_all, run_pipeline
from scepflow.errors import OptionError
from scepflow.options import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepflow.cli.runs import Work
    from scepflow.registry import Registry
    from scepflow.state import StateDirectory

__all__ = ["run"]


class WaitTime(click.ParamType[float | None]):
    """A duration, or ``all``, which is None."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return seconds, or None."""
        if value is None or value == "all":
            return None
        try:
            return float(Duration(value))
        except OptionError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


@click.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE…")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Tell what a run would do, and try all but the request; nothing is issued.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON document.")
@state_option
@click.option(
    "--wait",
    type=WaitTime(),
    default="all",
    metavar="TIME|all",
    help="How long to wait for the CA's decision, such as 2m; all (the default) is as long as [poller] says. "
    "A later run goes on with what is pending.",
)
@click.option("--again", is_flag=True, help="Give up a pending request, and ask again for what was rejected.")
@click.option("--renew", is_flag=True, help="Renew the certificate though it is not due.")
@click.option(
    "--enroll",
    is_flag=True,
    help="Enroll anew though the certificate is valid, as after a change of the CA, which does not renew what another "
    "issued. The certificate stays until there is a new one; a pending request is gone on with, unless --again gives it up.",
)
@metrics_option
@click.option(
    "--adopt",
    nargs=2,
    metavar="CERTIFICATE KEY",
    help="First take in a certificate that came from elsewhere, with its private key (files in PEM or DER), to be "
    "renewed from now on. The sinks count as having it, except where a file of theirs is missing. Another subject than "
    "[csr] asks for, or another issuer than [ca] names, is warned of.",
)
@click.option(
    "--passphrase-file",
    metavar="FILE",
    help="File with the pass phrase of the key to adopt; a terminal is asked for it otherwise.",
)
@common_options
@plugin_option
@click.pass_obj
def run(
    invocation: Invocation,
    *,
    pipelines: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    state_dir: Path | None,
    wait: float | None,
    again: bool,
    renew: bool,
    enroll: bool,
    metrics: Path | None,
    adopt: tuple[str, str] | None,
    passphrase_file: str | None,
) -> int:
    """Bring the certificate of each pipeline up to date and deliver it.

    Enrolls if there is none, goes on with a pending request, renews what is due, delivers again what a sink missed,
    and else does nothing. PIPELINE is a TOML file; of several, one that fails stops no other. Progress goes to
    stderr, results to stdout.
    """
    if renew and enroll:
        raise click.UsageError("--renew signs with the certificate, --enroll does without: take one.")
    _check_adoption(adopt, passphrase_file, pipelines, dry_run=dry_run)
    registry, state = invocation.registry(), open_state(state_dir)
    if dry_run:
        orders = {"again": again, "renew": renew, "enroll": enroll}
        return _rehearse_all(invocation, registry, pipelines, state=state, orders=orders, as_json=as_json)
    work: Work = partial(run_pipeline, state=state, wait_s=wait, again=again, renew=renew, enroll=enroll)
    if adopt:
        from scepflow.cli.adoption import adopting

        work = adopting(invocation, registry, adopt, passphrase_file=passphrase_file, state=state, work=work)
    return run_all(invocation, registry, pipelines, work=work, as_json=as_json, metrics=metrics, state=state)


def _check_adoption(
    adopt: tuple[str, str] | None, passphrase_file: str | None, pipelines: tuple[str, ...], *, dry_run: bool
) -> None:
    if adopt and len(pipelines) > 1:
        raise click.UsageError("--adopt goes with one PIPELINE.")
    if adopt and dry_run:
        raise click.UsageError("--adopt changes what is kept, and --dry-run changes nothing.")
    if passphrase_file and not adopt:
        raise click.UsageError("--passphrase-file goes with --adopt.")


def _rehearse_all(
    invocation: Invocation,
    registry: Registry,
    files: Sequence[str],
    *,
    state: StateDirectory,
    orders: dict[str, bool],
    as_json: bool,
) -> int:
    if invocation.json_log:
        registry.register(progress_for(invocation), "progress")
    rehearsals = [
        rehearse_file(
            file, registry=registry, invocation=invocation, state=state, orders=orders, as_json=as_json
        )
        for file in files
    ]
    code = common_code(rehearsal["exit_code"] for rehearsal in rehearsals)
    if as_json:
        print_json({"dry_run": True, "exit_code": code, "pipelines": rehearsals})
    return code
