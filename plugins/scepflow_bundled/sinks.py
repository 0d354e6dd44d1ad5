"""The bundled sinks, under one name to import from. Must never hold: code."""

from scepflow_bundled.command_sink import CommandSink
from scepflow_bundled.file_sink import FileSink
from scepflow_bundled.isakmpd_sink import IsakmpdSink
from scepflow_bundled.pkcs12_sink import Pkcs12Sink

__all__ = ["CommandSink", "FileSink", "IsakmpdSink", "Pkcs12Sink"]
