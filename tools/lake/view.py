"""What people see of a table in ClickHouse: its committed rows, under its name and those of its columns."""

from tools.clickhouse.database import Database
from tools.errors import PermanentError
from tools.lake.columns import column, quoted
from tools.lake.journal import Journal
from tools.lake.rows import Rows

_OURS = "oppen lake"
"""The view says so of itself, by which it is told from what others may have called by its name."""


class View:
    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table

    def check(self) -> None:
        """Raises PermanentError when something of that name is there and is not ours."""
        if (found := self._found()) is not None and found[0] != _OURS:
            raise PermanentError(f"there is a table {self._table} that is not the lake's: take another name")

    def show(self, rows: Rows) -> None:
        """Of these rows those that are committed. Repeating it is a no-op."""
        self.check()
        if self._shows(rows):
            return
        columns = ", ".join(f"{column(place)} AS {quoted(name)}" for place, name in enumerate(rows.schema.names))
        committed = f"SELECT attempt FROM {Journal(self._database, self._table).events()} WHERE kind = 'committed'"
        self._database.run(
            f"CREATE OR REPLACE VIEW {self._table} AS SELECT {columns} FROM {rows.name} WHERE _attempt IN ({committed})"
            f" COMMENT '{_OURS}'"
        )

    def hide(self, rows: Rows) -> None:
        """Unless others are shown."""
        if self._shows(rows):
            self._database.run(f"DROP VIEW IF EXISTS {self._table} SYNC")

    def _shows(self, rows: Rows) -> bool:
        found = self._found()
        return found is not None and found[0] == _OURS and rows.name in found[1]

    def _found(self) -> tuple[str, str] | None:
        query = "SELECT comment, as_select FROM system.tables WHERE database = currentDatabase() AND name = {name:String}"
        rows = self._database.rows(query, {"name": self._table})
        return (str(rows[0][0]), str(rows[0][1])) if rows else None
