"""``scepflow deliver`` and ``rollback``: hand out a certificate that is kept, without asking the CA.

Must never hold: what is kept, or how it is delivered.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scepflow.cli.invocation import Invocation, common_options, plugin_option
from scepflow.cli.places import open_state, state_option
from scepflow.cli.runs import run_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from scepflow.events import Event
    from scepflow.pipeline import Pipeline
    from scepflow.runner import Outcome

__all__ = ["deliver", "rollback"]


@click.command()
@click.argument("pipeline")
@click.argument("sinks", nargs=-1, metavar="[SINK]…")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@state_option
@common_options
@plugin_option
@click.pass_obj
def deliver(
    invocation: Invocation, *, pipeline: str, sinks: tuple[str, ...], as_json: bool, state_dir: Path | None
) -> int:
    """Deliver the current certificate once more, without asking the CA.

    PIPELINE is a TOML file; SINK is the name of a [sink.NAME] table, and without any all sinks get it, whether they
    have it already or not. With names, no other sink acts, except one that was waiting for those. Exits 6 when one
    fails; the next run tries that one again.
    """
    state = open_state(state_dir)

    def work(pipeline: Pipeline, emit: Callable[[Event], None]) -> Outcome:
        from scepflow.system import System
        from scepflow.upkeep import deliver_again

        return deliver_again(pipeline, sinks, emit=emit, state=state, system=System())

    return run_all(invocation, invocation.registry(), [pipeline], work=work, as_json=as_json)


@click.command()
@click.argument("pipeline")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
@state_option
@common_options
@plugin_option
@click.pass_obj
def rollback(invocation: Invocation, *, pipeline: str, as_json: bool, state_dir: Path | None) -> int:
    """Go back to the certificate before the current one, and deliver it.

    PIPELINE is a TOML file. [renew] keep says how many earlier certificates are kept, with their keys. Nothing is
    revoked. The earlier certificate is mostly due for renewal: then the next run renews it, and whoever wants to stay
    with it stops the timer meanwhile.
    """
    state = open_state(state_dir)

    def work(pipeline: Pipeline, emit: Callable[[Event], None]) -> Outcome:
        from scepflow.system import System
        from scepflow.upkeep import roll_back

        outcome = roll_back(pipeline, emit=emit, state=state, system=System())
        if outcome.renew_at <= datetime.now(UTC):
            invocation.note(
                "this certificate is due: the next run renews it. To stay with it, stop the timer, or set a"
                " shorter [renew] before."
            )
        return outcome

    return run_all(invocation, invocation.registry(), [pipeline], work=work, as_json=as_json)
