"""Rows on what the client sends, writes and shows, most of them shown by other tests."""

from rows import Elsewhere, NotOurs, Row

TABLE: tuple[Row | Elsewhere | NotOurs, ...] = ()
