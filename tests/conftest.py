"""What all tests share."""

from hypothesis import settings

# A busy machine is no reason to fail; how long a test takes is measured in benchmarks/.
settings.register_profile("scepflow", deadline=None)
settings.load_profile("scepflow")

pytest_plugins = ["scepflow.testing"]
