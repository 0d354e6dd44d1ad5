"""What a user without rights may do, whoever runs the tests."""

from __future__ import annotations

import os
from contextlib import contextmanager

NOBODY = 65534

BOUND_BY_PERMISSIONS = (
    ()
    if os.geteuid()
    else ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "--")
)
"""What a command starts with so that files' permissions bind it, whoever runs the tests; who owns what, stays."""


@contextmanager
def unprivileged():
    """Work as a user without rights, whoever runs the tests."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)
