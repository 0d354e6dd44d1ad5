"""``python -m scepflow``. Must never hold: anything but the call."""

from scepflow.cli import main

main()
