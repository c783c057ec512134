"""A lake in ClickHouse: the embedded engine, or a server, for which both are the same statements.

    TABLE                          a view of the committed rows, with the columns by their names: for whoever speaks SQL
    _oppen_journal_TABLE           what was committed and refused, with receipts, marks and statistics; who writes
    _oppen_rows_ATTEMPT_TABLE      rows, also of batches on their way
    _oppen_quarantine_TABLE        what did not fit
    _oppen_alive_TABLE             when a writer was last heard of

Rows go in as they come, and nobody counts them before the journal has their batch, which is one insert of one row. So a batch
is there as a whole or not at all. A writer that was killed leaves rows which nobody sees and the next one takes away.
"""

import contextlib
from collections.abc import Collection, Iterator
from datetime import timedelta

import pyarrow as pa

from tools.clickhouse.connection import Occupied
from tools.clickhouse.database import Database
from tools.lake.journal import Event, Journal, age
from tools.lake.port import InUse, LakeReader, LakeTable, Receipt, checked_name
from tools.lake.rows import Rows, home, quarantine
from tools.lake.rows import keys as keys_of
from tools.lake.staged import StagedRows
from tools.lake.writer import Writer, writing

LEASE = timedelta(seconds=30)
"""A writer to a server that was not heard of for so long is taken for dead. One that lives is heard of three times as often. It
does no harm to be wrong: who was taken for dead by mistake cannot commit any more, and is told."""


class ClickHouseLake:
    """`Lake`. In the embedded engine one process at a time may read or write."""

    def __init__(self, database: Database, *, lease: timedelta = LEASE) -> None:
        self._database = database
        self._lease = lease
        self._open: set[str] = set()

    @contextlib.contextmanager
    def open(self, table: str) -> Iterator[LakeTable]:
        name = checked_name(table)
        if name in self._open:
            raise InUse(f"{name} is being written to by this process")
        self._open.add(name)
        try:
            with writing(self._database, name, self._lease) as writer:
                yield ClickHouseTable(writer)
        except Occupied as error:
            raise InUse(f"another process may have it open; wait until that has ended, then run this again: {error}") from error
        finally:
            self._open.discard(name)

    def read(self, table: str) -> LakeReader:
        return ClickHouseReader(self._database, checked_name(table))

    def tables(self) -> tuple[str, ...]:
        query = "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {prefix:String})"
        prefix = Journal(self._database, "").name
        names = sorted(name.removeprefix(prefix) for (name,) in self._database.rows(query, {"prefix": prefix}))
        return tuple(name for name in names if Journal(self._database, name).told())

    def close(self) -> None:
        self._database.close()


class ClickHouseReader:
    """`LakeReader`. It asks for what is committed first, and for rows then: these were there before."""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table
        self._journal = Journal(database, table)
        self._known: Rows | None = None

    def schema(self) -> pa.Schema | None:
        found = self._home()
        return found.schema if found is not None else None

    def receipts(self) -> tuple[Receipt, ...]:
        committed = [each.receipt for each in self._journal.committed()]
        there = {each.key for each in committed}
        refused = [each for each in self._journal.refused() if each.key not in there]
        return tuple(sorted([*committed, *refused], key=age))

    def rows(self, keys: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        wanted = None if keys is None else frozenset(keys)
        committed = self._journal.committed()
        found = self._home()
        counts = [(each.attempt, each.rows) for each in committed if wanted is None or each.receipt.key in wanted]
        for _, page in found.read(counts) if found is not None else ():
            yield from page.to_batches()

    def quarantined(self) -> Iterator[pa.RecordBatch]:
        committed = [each for each in self._journal.committed() if each.quarantined]
        known = {each.attempt: each.receipt.key for each in committed}
        for attempts, page in quarantine(self._database, self._table).read(
            [(each.attempt, each.quarantined) for each in committed]
        ):
            yield from page.append_column("_batch", keys_of(attempts, known)).to_batches()

    def statistics(self) -> Iterator[tuple[Receipt, str]]:
        yield from self._journal.statistics()

    def find(self, key: str) -> Receipt | None:
        return self._journal.find(key)

    def _home(self) -> Rows | None:
        """Where the rows are; for ever, once there are any."""
        if self._known is None and (state := self._journal.state()) is not None and state.home:
            self._known = home(self._database, self._table, state)
        return self._known


class ClickHouseTable(ClickHouseReader):
    """`LakeTable`, while it is the writer's turn."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer.database, writer.table)
        self._writer = writer

    def last(self, source: str) -> Receipt | None:
        return self._journal.last(source)

    def stage(self) -> StagedRows:
        return StagedRows(self._writer, self._writer.attempt())

    def refuse(self, receipt: Receipt) -> None:
        self._writer.note(Event("refused", receipt=receipt))
