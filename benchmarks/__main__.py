"""Print every measurement, side by side in one run: ``python -m benchmarks``."""

from benchmarks import enrollment, startup

enrollment.measure()
startup.measure()
