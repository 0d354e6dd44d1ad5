"""A scepflow plugin that tells a web service of each new certificate.

Its modules are imported when scepflow asks for sinks, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scepflow.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scepflow.stages import OutputSink


@hookimpl
def scepflow_sinks() -> Sequence[type[OutputSink]]:
    """Offer ``webhook``."""
    from scepflow_webhook.sink import WebhookSink

    return [WebhookSink]
