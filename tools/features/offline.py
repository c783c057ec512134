"""The rows of views, as Parquet: a table of a lake for each version, which Feast reads as a folder.

What makes a batch of rows is in its mark: the raw batches it comes from, and the event times it has, so that who wants what is
new reads neither all rows nor all files.
"""

import contextlib
import fcntl
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tools.errors import PermanentError
from tools.features.columns import TIME, schema_of
from tools.features.port import CREATED, EVENT_TIME, EVENT_US, View
from tools.lake.parquet import ParquetLake
from tools.lake.port import InUse, Lake, Receipt

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Batch:
    """Of rows that are there."""

    key: str
    rows: int
    at: datetime
    start: datetime | None
    """Its earliest event time; None: it has no row."""
    end: datetime | None
    newest: datetime | None
    """When the latest of the facts became known that it was made from."""
    inputs: tuple[str, ...]
    """Keys of the batches that it was made from."""


def batches(lake: Lake, table: str) -> tuple[Batch, ...]:
    """Oldest first."""
    return tuple(_batch(receipt) for receipt in lake.read(table).receipts() if receipt.refused is None)


def append(
    lake: Lake,
    table: str,
    key: str,
    rows: pa.Table,
    *,
    times: str,
    newest: datetime | None,
    inputs: Sequence[str],
    source: str,
    now: datetime,
) -> bool:
    """As one batch, once: False when there is one with this key. `times`: the column that says when."""
    start, end = pc.min_max(rows[times]).as_py().values() if rows.num_rows else (None, None)
    moments = {"start": start, "end": end, "newest": newest}
    mark = json.dumps({"inputs": list(inputs), **{name: _number(moment) for name, moment in moments.items()}})
    with lake.open(table) as opened:
        staged = opened.stage()
        try:
            staged.write(rows)
            size = rows.nbytes
            return staged.commit(Receipt(key=key, source=source, name=table, rows=rows.num_rows, bytes=size, mark=mark, at=now))
        finally:
            staged.discard()


def prepared(view: View, rows: pa.Table, created: datetime) -> pa.Table:
    """Rows as the view has them. Raises PermanentError when a column is missing or of a kind that is not the view's."""
    columns = {}
    for field in schema_of(view):
        if field.name == CREATED:
            columns[CREATED] = pa.repeat(pa.scalar(created.astimezone(UTC), TIME), rows.num_rows)
        elif field.name == EVENT_US:
            columns[EVENT_US] = columns[EVENT_TIME].cast(pa.int64())
        else:
            columns[field.name] = _column(view, rows, field)
    missing = [name for name in (*view.entities, EVENT_TIME) if columns[name].null_count]
    if missing:
        raise PermanentError(f"{view.name}: a row without {', '.join(missing)}; have the transformation leave such rows out")
    return pa.table(columns, schema=schema_of(view))


def _column(view: View, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in rows.column_names:
        raise PermanentError(f"{view.name}: the transformation returns no column {field.name!r}")
    try:
        column = rows[field.name].cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PermanentError(f"{view.name}: column {field.name!r} is no {field.type}: {error}") from error
    # Not a number is no value: neither store nor model can do anything with it, and they differ in what they make of it.
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(field.type) else column


def created_after(moment: datetime, earlier: Collection[Batch]) -> datetime:
    """`moment`, or if a clock was put back just after the latest batch: of two rows the one created later is right."""
    return max([moment, *(batch.at + _TICK for batch in earlier)])


class OfflineTables:
    """The tables of views below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.lake = ParquetLake(folder)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """For one process at a time. Raises InUse."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # The kernel lets go of the lock however its holder ends.
        with (self._folder / "_writer").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InUse(f"{self._folder}: another process materializes features just now") from error
            yield

    def path(self, view: View) -> Path:
        return self._folder / view.id

    def ensure(self, view: View) -> None:
        """An empty table, so that readers of Parquet find its columns."""
        path = self.path(view) / "batch=0" / "part-00000.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name("_fresh")
            pq.write_table(schema_of(view).empty_table(), fresh)
            fresh.replace(path)

    def batches(self, view: View) -> tuple[Batch, ...]:
        return batches(self.lake, view.id)

    def rows(self, view: View, columns: Sequence[str] = (), keys: Collection[str] | None = None) -> pa.Table:
        """Of these batches, or of all; with its keys and times, and these columns or all."""
        wanted = [*view.entities, EVENT_TIME, CREATED, *(columns or (*view.features, EVENT_US))]
        # Once each, also where a caller names one of those that come anyway.
        wanted = list(dict.fromkeys(wanted))
        parts = [part.select(wanted) for part in self.parts(view, keys)]
        return pa.Table.from_batches(parts, pa.schema([schema_of(view).field(name) for name in wanted]))

    def parts(self, view: View, keys: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The same, piece by piece."""
        return self.lake.read(view.id).rows(keys)


def _batch(receipt: Receipt) -> Batch:
    try:
        mark = json.loads(receipt.mark or "")
        moments = {name: None if mark[name] is None else _EPOCH + mark[name] * _TICK for name in ("start", "end", "newest")}
        inputs = tuple(mark["inputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(f"batch {receipt.name}/{receipt.key} of the feature store has no mark that can be read") from error
    return Batch(key=receipt.key, rows=receipt.rows, at=receipt.at, inputs=inputs, **moments)


def _number(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _TICK
