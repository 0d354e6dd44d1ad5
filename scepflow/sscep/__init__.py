"""The drop-in front-end: what the command ``sscep`` takes and prints, on scepflow's own engine.

Must never hold: a second engine; options and configuration become a pipeline, and the runner runs it.
"""
