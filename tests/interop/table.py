"""The whole interop table, from its parts."""

import ca_rows
import certificates_rows
import client_rows
import http_rows
import messages_rows
from rows import Row

TABLE = (*messages_rows.TABLE, *ca_rows.TABLE, *certificates_rows.TABLE, *http_rows.TABLE, *client_rows.TABLE)
ROWS = tuple(part for part in TABLE if isinstance(part, Row))
