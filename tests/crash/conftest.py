"""What the crash tests share."""

import pytest
from nursery import nursery


@pytest.fixture(scope="session")
def children():
    """The nursery of this process's tests: it takes a second to start."""
    with nursery() as started:
        yield started
