"""Any SCEP message, request or reply, offline: bytes in, JSON-able values out.

Must never hold: a decision of a run; what this reads leniently, `scepflow.engine` may well refuse.
"""

from scepflow.decoding.decoder import decode
from scepflow.decoding.reading import Decoded, Means

__all__ = ["Decoded", "Means", "decode"]
