"""A lake by its URL."""

from pathlib import Path

from tools.clickhouse.connection import EMBEDDED, SERVERS, with_password
from tools.errors import PermanentError
from tools.lake.port import Lake


def open_lake(url: str, password: str | None = None) -> Lake:
    """`url`: a folder or `file://...` for Parquet; `chdb://FOLDER` for the embedded ClickHouse; `clickhouse://user@host:port/database`
    (also `clickhouses://`, `http://`, `https://`) for a server, with `password` unless the URL has one. Opens nothing yet.

    Raises PermanentError for what is no lake.
    """
    scheme, found, path = url.partition("://")
    if not found or scheme == "file":
        from tools.lake.parquet import ParquetLake

        return ParquetLake(_folder(path if found else url))
    from tools.lake.clickhouse import ClickHouseLake

    if url.startswith(EMBEDDED):
        return ClickHouseLake(f"{EMBEDDED}{_folder(path)}")
    if scheme not in SERVERS:
        raise PermanentError(
            f"{scheme}:// is no lake: name a folder, chdb://FOLDER, or clickhouse://user@host:port/database"
            " (also clickhouses, http, https)"
        )
    return ClickHouseLake(with_password(url, password))


def _folder(path: str) -> Path:
    if not path:
        raise PermanentError("a lake needs a folder")
    return Path(path).expanduser().absolute()
