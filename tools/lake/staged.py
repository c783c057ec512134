"""A batch on its way into ClickHouse: its rows go in as they come, and its journal entry last."""

import contextlib

import pyarrow as pa

from tools.errors import PermanentError, PortError, TemporaryError
from tools.lake.columns import bare, column_types, written
from tools.lake.journal import Event, State
from tools.lake.port import QUARANTINE, Receipt
from tools.lake.rows import Rows, home, quarantine, rows_name
from tools.lake.writer import Writer

_PENDING_BYTES = 32 * 1024 * 1024
"""Of rows in memory before they are inserted. An insert is a file per column, and it is on disk before it is answered."""


class StagedRows:
    """`Staged`."""

    def __init__(self, writer: Writer, attempt: int) -> None:
        self._writer = writer
        self._attempt = attempt
        self._rows = _Part()
        self._quarantine = _Part()
        self._statistics: str | None = None
        self._certain = True
        """Whether it is known what became of it: not while its entry is under way."""
        self._strewn = False
        """Whether its rows are in two tables."""
        self._over = False

    def write(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        if self._rows.target is None:
            self._rows.target = self._place(bare(rows.schema))
        self._append(self._rows, rows)

    def quarantine(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        if self._quarantine.target is None:
            self._quarantine.target = quarantine(self._writer.database, self._writer.table)
        self._append(self._quarantine, rows.cast(QUARANTINE))

    def describe(self, statistics: str) -> None:
        self._statistics = statistics

    def commit(self, receipt: Receipt) -> bool:
        for part in (self._rows, self._quarantine):
            self._flush(part)
        while True:
            state = self._writer.state(receipt.key)
            if state.found:
                self.discard()
                return False
            shape = self._settle(state)
            event = Event(
                "committed",
                attempt=self._attempt,
                rows=self._rows.count,
                quarantined=self._quarantine.count,
                receipt=receipt,
                statistics=self._statistics,
                shape=shape,
            )
            self._certain = False
            added = self._writer.add(event, state)
            self._certain = True
            if added:
                self._over = True
                self._writer.loose.discard(self._attempt)
                return True

    def discard(self) -> None:
        """What cannot be taken away now the next writer does; and he alone when it is not known whether it was committed."""
        if self._over or self._strewn or not self._certain:
            return
        self._over = True
        if self._attempt in self._writer.loose:
            with contextlib.suppress(PortError):
                self._take_away()
                self._writer.loose.discard(self._attempt)

    def _place(self, schema: pa.Schema) -> Rows:
        """Where its rows go: to the others, or, while there are none, to a table of their own, which becomes that of all."""
        found = home(self._writer.database, self._writer.table, self._writer.state())
        if found is None:
            column_types(schema)  # refused before anything is done
            return Rows(self._writer.database, rows_name(self._writer.table, self._attempt), schema)
        return found

    def _append(self, part: "_Part", rows: pa.Table) -> None:
        assert part.target is not None
        if bare(rows.schema) != part.target.schema:
            raise PermanentError(f"{self._writer.table}: its columns are {_told(part.target.schema)}, not {_told(rows.schema)}")
        most = max(1, _PENDING_BYTES * rows.num_rows // max(1, rows.nbytes))
        for start in range(0, rows.num_rows, most):
            piece = rows.slice(start, most)
            part.pending.append(piece)
            part.size += piece.nbytes
            if part.size >= _PENDING_BYTES:
                self._flush(part)

    def _flush(self, part: "_Part") -> None:
        if not part.pending:
            return
        assert part.target is not None
        rows = pa.concat_tables(part.pending)
        self._writer.loose.add(self._attempt)
        if not part.count:
            part.target.create()
        part.target.insert(self._attempt, part.count, rows)
        part.count += rows.num_rows
        part.pending, part.size = [], 0

    def _settle(self, state: State) -> str:
        """See to it that all is there, where it belongs. Returns the table's schema if this batch brings it."""
        for part in (self._rows, self._quarantine):
            if part.count:
                assert part.target is not None
                self._complete(part, part.target)
        if not self._rows.count:
            return ""
        own, place = self._rows.target, home(self._writer.database, self._writer.table, state)
        assert own is not None
        if place is None:
            self._writer.view.show(own)
            return written(own.schema)
        if place.name != own.name:
            # Another batch was committed since, and its table is that of all.
            if place.schema != own.schema:
                raise PermanentError(f"{self._writer.table}: its columns are {_told(place.schema)}, not {_told(own.schema)}")
            self._strewn = True
            place.adopt(own, self._attempt)
            self._complete(self._rows, place)
            own.drop()
            self._rows.target, self._strewn = place, False
        return ""

    def _complete(self, part: "_Part", rows: Rows) -> None:
        found = rows.count(self._attempt)
        if found != part.count:
            raise TemporaryError(f"{rows.name}: {found} of {part.count} rows of the batch are there")

    def _take_away(self) -> None:
        for part in (self._rows, self._quarantine):
            if part.target is None:
                continue
            if part.target.name == rows_name(self._writer.table, self._attempt):
                self._writer.view.hide(part.target)
                part.target.drop()
            else:
                part.target.delete([self._attempt])


class _Part:
    """Rows of one table: those that wait in memory, and how many were inserted."""

    def __init__(self) -> None:
        self.target: Rows | None = None
        self.pending: list[pa.Table] = []
        self.size = 0
        self.count = 0


def _told(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)[:300]
