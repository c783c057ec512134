"""A table of rows in ClickHouse that belong to attempts. Which of them count is the journal's to say."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tools.clickhouse.connection import NoTable
from tools.clickhouse.database import Database
from tools.lake.columns import column, column_types, literal, read, restored, stored
from tools.lake.journal import INSERT, State
from tools.lake.port import QUARANTINE

_PAGE_ROWS = 65_536
_MOST_ATTEMPTS = 1_000
"""In one statement."""


class Rows:
    """`name` is ours, and so is what is in it: `_attempt`, `_row` (in it, from 0), and the columns of `schema` by number."""

    def __init__(self, database: Database, name: str, schema: pa.Schema) -> None:
        self._database = database
        self.name = name
        self.schema = schema

    def create(self) -> None:
        columns = [
            f"{column(place)} {kind} COMMENT {literal(field.name)}"
            for place, (field, kind) in enumerate(zip(self.schema, column_types(self.schema), strict=True))
        ]
        self._database.run(f"""
        CREATE TABLE IF NOT EXISTS {self.name} (
            _attempt UInt64 CODEC(Delta, ZSTD), _row UInt64 CODEC(Delta, ZSTD), {", ".join(columns)}
        ) ENGINE = MergeTree ORDER BY (_attempt, _row)
        SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
        """)

    def insert(self, attempt: int, start: int, rows: pa.Table) -> None:
        count = rows.num_rows
        numbers = pa.array(np.arange(start, start + count, dtype=np.uint64))
        columns = {"_attempt": pa.repeat(pa.scalar(attempt, pa.uint64()), count), "_row": numbers}
        columns |= {column(place): values for place, values in enumerate(stored(rows))}
        # The same rows twice in a batch are twice: nothing may take them for a repetition.
        self._database.insert(self.name, pa.table(columns), {**INSERT, "insert_deduplicate": "0"})

    def adopt(self, other: "Rows", attempt: int) -> None:
        """The attempt's rows out of a table of the same schema."""
        columns = ", ".join(["_attempt", "_row", *(column(place) for place in range(len(self.schema)))])
        self._database.run(f"INSERT INTO {self.name} ({columns}) SELECT {columns} FROM {other.name} WHERE _attempt = {attempt}")

    def count(self, attempt: int) -> int:
        return int(self._database.rows(f"SELECT count() FROM {self.name} WHERE _attempt = {attempt}")[0][0])

    def attempts(self, before: int) -> list[int]:
        """Less than `before`."""
        try:
            found = self._database.rows(f"SELECT DISTINCT _attempt FROM {self.name} WHERE _attempt < {before}")
        except NoTable:
            return []
        return [attempt for (attempt,) in found]

    def delete(self, attempts: Sequence[int]) -> None:
        with contextlib.suppress(NoTable):
            for start in range(0, len(attempts), _MOST_ATTEMPTS):
                self._database.run(f"DELETE FROM {self.name} WHERE {_among(attempts[start : start + _MOST_ATTEMPTS])}")

    def drop(self) -> None:
        self._database.run(f"DROP TABLE IF EXISTS {self.name} SYNC")

    def read(self, counts: Sequence[tuple[int, int]]) -> Iterator[tuple[pa.ChunkedArray, pa.Table]]:
        """The rows of these attempts (each with their number), in this order, in pages, each with the attempts of its rows."""
        for together in _grouped([(attempt, count) for attempt, count in counts if count]):
            attempts = [attempt for attempt, _ in together]
            size = sum(count for _, count in together)
            for start in range(0, size if len(attempts) == 1 else 1, _PAGE_ROWS):
                page = f" AND _row >= {start} AND _row < {start + _PAGE_ROWS}" if len(attempts) == 1 else ""
                columns = ", ".join(["_attempt", *(column(place) for place in range(len(self.schema)))])
                found = self._database.arrow(
                    f"SELECT {columns} FROM {self.name} WHERE {_among(attempts)}{page} ORDER BY _attempt, _row"
                )
                yield found.column(0), restored(found.columns[1:], self.schema)


def home(database: Database, table: str, state: State) -> Rows | None:
    """Where the rows of the table are; None until there are any."""
    return Rows(database, rows_name(table, state.home), read(state.shape)) if state.home else None


def quarantine(database: Database, table: str) -> Rows:
    return Rows(database, f"_oppen_quarantine_{table}", QUARANTINE)


def rows_name(table: str, attempt: int) -> str:
    return f"_oppen_rows_{attempt}_{table}"


def rows_tables(database: Database, table: str) -> Iterator[tuple[int, str]]:
    """Those that there are of this table, with the attempt that each is called after."""
    query = "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, '_oppen_rows_')"
    for (name,) in database.rows(query):
        if found := re.fullmatch(rf"_oppen_rows_(\d+)_{table}", name):
            yield int(found[1]), name


def _among(attempts: Sequence[int]) -> str:
    return f"_attempt IN ({', '.join(map(str, attempts))})"


def _grouped(counts: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Small attempts that follow each other also in the order of their numbers are read at once."""
    group: list[tuple[int, int]] = []
    size = 0
    for attempt, count in counts:
        full = size + count > _PAGE_ROWS or len(group) == _MOST_ATTEMPTS
        if group and (full or attempt < group[-1][0]):
            yield group
            group, size = [], 0
        group.append((attempt, count))
        size += count
    if group:
        yield group


def keys(attempts: pa.ChunkedArray, known: Mapping[int, str]) -> pa.ChunkedArray:
    """Of each row the key of its batch."""
    places = pc.index_in(attempts, pa.array(list(known), attempts.type))
    return pc.take(pa.array(list(known.values()), pa.string()), places)
