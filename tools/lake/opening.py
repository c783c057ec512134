"""A lake by its URL."""

from datetime import timedelta
from pathlib import Path

from tools.clickhouse.connection import EMBEDDED, SERVERS, with_password
from tools.errors import PermanentError
from tools.lake.port import Lake

_LIMIT = timedelta(minutes=10)
"""For one statement in ClickHouse; what they do grows with 32 MiB of rows, or with a page of them, and not with the table."""


def open_lake(url: str, password: str | None = None) -> Lake:
    """`url`: a folder or `file://...` for Parquet; `chdb://FOLDER` for the embedded ClickHouse; `clickhouse://user@host:port/database`
    (also `clickhouses://`, `http://`, `https://`) for a server, with `password` unless the URL has one. Opens nothing yet.

    Raises PermanentError for what is no lake.
    """
    folder = local_folder(url)
    if folder is not None:
        from tools.lake.parquet import ParquetLake

        return ParquetLake(folder)
    scheme, _, path = url.partition("://")
    if scheme not in SERVERS and not url.startswith(EMBEDDED):
        raise PermanentError(
            f"{scheme}:// is no lake: name a folder, chdb://FOLDER, or clickhouse://user@host:port/database"
            " (also clickhouses, http, https)"
        )
    from tools.clickhouse.database import open_database
    from tools.lake.clickhouse import ClickHouseLake

    place = f"{EMBEDDED}{_folder(path)}" if url.startswith(EMBEDDED) else with_password(url, password)
    return ClickHouseLake(open_database(place, "the lake", _LIMIT))


def must_be_there(url: str) -> None:
    """For readers, who would take a lake that is not there for an empty one. Raises PermanentError; asks no server."""
    folder = _folder(url.removeprefix(EMBEDDED)) if url.startswith(EMBEDDED) else local_folder(url)
    if folder is not None and not folder.is_dir():
        raise PermanentError(f"there is no lake at {folder}: `oppen data ingest ... --to {url}` makes one; or name another")


def local_folder(url: str) -> Path | None:
    """Of a lake of Parquet; None for one in ClickHouse."""
    scheme, found, path = url.partition("://")
    return _folder(path if found else url) if not found or scheme == "file" else None


def _folder(path: str) -> Path:
    if not path:
        raise PermanentError("a lake needs a folder")
    return Path(path).expanduser().absolute()
