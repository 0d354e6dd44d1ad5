"""scepflow: pipelines that get certificates over SCEP (RFC 8894) and keep them fresh."""

__version__ = "0.1.0"
