"""Rows on the certificates that are delivered, and renewals."""

from rows import Elsewhere, NotOurs, Row

TABLE: tuple[Row | Elsewhere | NotOurs, ...] = ()
