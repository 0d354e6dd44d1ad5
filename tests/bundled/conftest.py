"""What the tests of the bundled stages share."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def outside():
    """A directory that any user can reach, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="scepflow-test-")).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
