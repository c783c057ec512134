"""A lake by its URL."""

from pathlib import Path
from urllib.parse import urlsplit

from tools.errors import PermanentError
from tools.lake.port import Lake
from tools.predictions.connection import EMBEDDED, SERVERS


def open_lake(url: str) -> Lake:
    """`url`: a folder (a path, or `file:///path`) for Parquet; `chdb:///absolute/folder` or `clickhouse://user:password@host/database`
    (also clickhouses, http, https) for ClickHouse. Raises PermanentError for any other, InUse when another process has it open."""
    scheme, found, _ = url.partition("://")
    if url.startswith(f"{EMBEDDED}/") or (found and scheme in SERVERS):
        from tools.lake.clickhouse import ClickHouseLake

        return ClickHouseLake(url)
    if found and scheme != "file":
        raise PermanentError(f"{scheme}:// is no lake: give a folder, chdb:///absolute/folder, or clickhouse://host/database")
    from tools.lake.parquet import ParquetLake

    return ParquetLake(Path(urlsplit(url).path if found else url).expanduser())
