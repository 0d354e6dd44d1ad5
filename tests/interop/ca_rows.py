"""Rows on capabilities, CA and RA certificates, the next CA."""

from rows import Elsewhere, NotOurs, Row

TABLE: tuple[Row | Elsewhere | NotOurs, ...] = ()
