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


@pytest.fixture
def world(tmp_path, _ca_authority, _device_key):
    """A test's CA, clock, disk and memory."""
    from run_fixtures import World  # few tests need it

    return World(directory=tmp_path, authority=_ca_authority, key=_device_key)
