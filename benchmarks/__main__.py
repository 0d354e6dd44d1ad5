"""Print every measurement, side by side in one run: ``python -m benchmarks``; one enrollment's parts: ``--profile``."""

import sys

from benchmarks import breakdown, enrollment, startup

if "--profile" in sys.argv[1:]:
    breakdown.measure()
else:
    enrollment.measure()
    startup.measure()
