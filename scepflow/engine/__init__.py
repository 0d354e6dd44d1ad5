"""The sans-IO SCEP engine: bytes and values in, bytes and events out (RFC 8894).

Must never hold: a clock, a source of randomness, a file, a socket or a log.
Those come in as arguments, so every message can be made again in a test.
"""
