"""A table of ClickHouse, embedded or a server, streamed as Arrow."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tools.clickhouse.connection import EMBEDDED, Connection, translated
from tools.errors import PermanentError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_LIMIT = timedelta(hours=1)
"""A whole table is read."""


class ClickHouseTable:
    """`url`: as for the prediction store."""

    def __init__(self, url: str, table: str) -> None:
        """Raises PermanentError when there is no such table, TemporaryError when the store is away or in use."""
        if not _NAME.fullmatch(table):
            raise PermanentError(f"{table[:100]!r} is no name of a table: write TABLE or DATABASE.TABLE")
        if url.startswith(EMBEDDED) and not Path(url.removeprefix(EMBEDDED)).is_dir():
            raise PermanentError(f"{url}: there is no such folder")
        self._query = f"SELECT * FROM {'.'.join(f'`{part}`' for part in table.split('.'))}"  # noqa: S608 - the name was checked
        self._client: Any = Connection(url, table, _LIMIT).client()
        self._table = table
        with translated(table):
            self.schema: pa.Schema = self._client.query_arrow(f"{self._query} LIMIT 0", use_strings=True).schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        with translated(self._table), self._client.query_arrow_stream(self._query, use_strings=True) as stream:
            yield from stream
