"""Log records of scepflow on stderr. Must never hold: a handler that is there before a command wants one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scepflow.cli.invocation import Invocation

__all__ = ["show_logs"]

_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


class _StderrHandler(logging.Handler):
    def __init__(self, invocation: Invocation) -> None:
        super().__init__(_LEVELS[max(-1, min(2, invocation.verbosity))])
        self._invocation = invocation

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        level, text = record.levelname.lower(), record.getMessage()
        if self._invocation.json_log:
            self._invocation.error_line(text, level=level)
        else:
            self._invocation.error_line(f"{level}: {text}")


def show_logs(invocation: Invocation) -> None:
    """Let the log records of this process appear as the command line asked."""
    log = logging.getLogger("scepflow")
    log.handlers = [_StderrHandler(invocation)]
    log.setLevel(logging.DEBUG)
    log.propagate = False
