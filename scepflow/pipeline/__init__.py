"""TOML text to a pipeline: load, locate, validate, report; and explain and schema, which their commands import.

Must never hold: logic; only names that the rest of scepflow may use.
"""

from scepflow.pipeline.model import CaOptions, Pipeline, RenewOptions
from scepflow.pipeline.report import InvalidPipelineError, Report, render
from scepflow.pipeline.validate import check_pipeline, load_pipeline

__all__ = [
    "CaOptions",
    "InvalidPipelineError",
    "Pipeline",
    "RenewOptions",
    "Report",
    "check_pipeline",
    "load_pipeline",
    "render",
]
