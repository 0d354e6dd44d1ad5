"""What all tests share."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no reason to fail; how long a test takes is measured in benchmarks/.
settings.register_profile("scepflow", deadline=None)
settings.load_profile("scepflow")

pytest_plugins = ["scepflow.testing"]


@pytest.fixture
def outside():
    """A directory that any user can reach, unlike pytest's own."""
    directory = Path(tempfile.mkdtemp(prefix="scepflow-test-")).resolve()
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
