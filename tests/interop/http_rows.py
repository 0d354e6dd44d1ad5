"""Rows on HTTP: statuses, bodies, redirects, framing, sizes, times."""

from rows import Elsewhere, NotOurs, Row

TABLE: tuple[Row | Elsewhere | NotOurs, ...] = ()
