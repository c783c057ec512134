"""A table by what somebody types: a file, a folder of Parquet (a table of the lake), or `URL#TABLE` of a database.

a.parquet   b.csv   c.jsonl   lake/flights   sqlite:///PATH#flights   postgresql://user:password@host/database#schema.flights
clickhouse://user:password@host:port/database#flights   chdb:///absolute/folder#flights
"""

from pathlib import Path

from tools.errors import PermanentError
from tools.tables.files import FileTable, FolderTable
from tools.tables.profiling import Table


def open_table(name: str) -> Table:
    """Raises PermanentError for what is no table, TemporaryError where its database is away."""
    scheme, found, _ = name.partition("://")
    if not found:
        path = Path(name).expanduser()
        return FolderTable(path) if path.is_dir() else FileTable(path)
    url, _, table = name.partition("#")
    if not table:
        raise PermanentError(f"{scheme}: say which table is meant, as in {scheme}://...#TABLE")
    from tools.clickhouse.connection import EMBEDDED, SERVERS

    if scheme in SERVERS or url.startswith(EMBEDDED):
        from tools.tables.clickhouse import ClickHouseTable

        return ClickHouseTable(url, table)
    from tools.tables.sql import SqlTable

    return SqlTable(url, table)
