"""Which rows of a database are asked for, which of them are ripe, and how many are not."""

import contextlib
import math
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc

from tools.clock import Clock
from tools.errors import PermanentError
from tools.sources import columns, kinds, watermarks
from tools.sources.kinds import Kind
from tools.sources.reading import SqlReading
from tools.sources.watermarks import Mark

_AHEAD = timedelta(minutes=1)
"""Clocks differ by seconds; a watermark further ahead is told apart: somebody's clock is wrong."""


class Selection:
    """The rows that are asked for, and what the database says about them."""

    def __init__(self, connection: sa.Connection, reading: SqlReading) -> None:
        self._connection = connection
        self._name = reading.watermark
        self._types: dict[str, pa.DataType | None] = {}
        self._names: list[str] = []
        self.written = connection.dialect.name == "sqlite"
        if reading.table:
            schema, _, name = reading.table.rpartition(".")
            self._types = self._declared(name, schema or None)
            self._names = list(self._types)
            if self._name and self._name not in self._types:
                raise PermanentError(f"{reading.table} has no column {self._name!r} for a watermark; it has {self._names}")
            self._from: Any = sa.table(name, schema=schema or None)
            self._columns: list[Any] = [sa.column(each) for each in self._names]
        else:
            # A colon in it is its own; it may end in a comment.
            query = reading.query.strip().rstrip(";").replace(":", "\\:")
            self._from, self._columns = sa.text(f"({query}\n) AS rows_asked_for"), [sa.text("rows_asked_for.*")]
        self.expression: Any = sa.column(self._name)

    def declared_kind(self) -> Kind:
        """Of the watermark, where its values do not tell."""
        match self._types.get(self._name):
            case kind if kind is not None and pa.types.is_timestamp(kind) and not self.written:
                return "time" if kind.tz is not None else "wall time"
            case kind if kind is not None and pa.types.is_date(kind) and not self.written:
                return "date"
            case _:
                return "text"

    def rise_by(self, kind: Kind) -> None:
        """SQLite has times in several writings; the order is that of the moments."""
        if kind == "written time":
            self.expression = sa.func.strftime("%Y-%m-%d %H:%M:%f", sa.column(self._name))

    def bound(self, kind: Kind, value: Any) -> Any:
        return sa.bindparam(None, value, kinds.sql_type(kind))

    def one(self, *what: Any, where: Any = None) -> Any:
        statement = sa.select(*what).select_from(self._from)
        return self._connection.execute(statement if where is None else statement.where(where)).one()

    def count(self, where: Any) -> int:
        return int(self.one(sa.func.count(), where=where)[0])

    def nulls(self) -> dict[str, int]:
        nulls = self.count(sa.column(self._name).is_(None))
        return {f"with no value in {self._name!r}": nulls} if nulls else {}

    def stream(self, condition: Any, fetch_rows: int) -> Generator[list[tuple[Any, ...]]]:
        """With the watermark as the last field of each, in its order."""
        statement = sa.select(*self._columns)
        if condition is not None:
            statement = sa.select(*self._columns, self.expression.label("_rising")).where(condition).order_by(self.expression)
        result = self._connection.execution_options(yield_per=fetch_rows).execute(statement.select_from(self._from))
        self._names = list(result.keys())[: -1 if condition is not None else None]
        # A statement that is open would keep SQLite's lock when its connection is closed.
        with contextlib.closing(result):
            for part in result.partitions():
                yield [tuple(row) for row in part]

    def schema(self, ahead: list[tuple[Any, ...]], wanted: pa.Schema | None = None) -> pa.Schema:
        """What the database does not say is seen in the rows, unless it is `wanted`."""
        fields = []
        for place, name in enumerate(self._names):
            kind = self._types.get(name)
            if kind is None and wanted is not None and name in wanted.names:
                kind = wanted.field(name).type
            fields.append(pa.field(name, kind if kind is not None else columns.inferred([row[place] for row in ahead])))
        return pa.schema(fields)

    def _declared(self, name: str, schema: str | None) -> dict[str, pa.DataType | None]:
        with warnings.catch_warnings():
            # A type that SQLAlchemy does not know is seen in the rows.
            warnings.simplefilter("ignore", exc.SAWarning)
            try:
                found = sa.inspect(self._connection).get_columns(name, schema=schema)
            except exc.NoSuchTableError as error:
                raise PermanentError(f"there is no table {'.'.join(filter(None, (schema, name)))!r} in the database") from error
        return {each["name"]: columns.declared(each["type"]) for each in found}


@dataclass(frozen=True)
class Plan:
    kind: Kind
    condition: Any
    held_back: dict[str, int] = field(default_factory=dict)


def survey(rows: Selection, reading: SqlReading, before: Mark | None, clock: Clock) -> Plan | None:
    """Which rows to read, and which to leave. None: none has a watermark."""
    kind = _kind(rows, before)
    if kind is None:
        return None
    name = repr(reading.watermark)
    rows.rise_by(kind)
    held_back = rows.nulls()
    rising = rows.expression
    conditions = [rising.is_not(None)]
    unread = rising.is_(None) & sa.column(reading.watermark).is_not(None) if kind == "written time" else None
    if before is not None:
        first, above = watermarks.start(before, reading.lookback)
        start = rows.bound(kind, first)
        conditions.append(rising > start if above else rising >= start)
    elif (lowest := kinds.lowest(kind)) is not None:
        unread = rising < rows.bound(kind, lowest)
        conditions.append(rising >= rows.bound(kind, lowest))
    now = clock.now()
    if (settled := kinds.moment(kind, now - reading.lag)) is not None:
        past = rising <= rows.bound(kind, settled)
        ahead = rising > rows.bound(kind, kinds.moment(kind, now + _AHEAD))
        conditions.append(past)
        future = rows.count(ahead)
        held_back[f"whose {name} is in the future: is a clock wrong?"] = future
        held_back[f"whose {name} is not yet past by the lag of {reading.lag}"] = rows.count(sa.not_(past)) - future
    elif reading.lag:
        raise PermanentError(f"a lag is for watermarks that are times, and {name} is of kind {kind!r}")
    held_back[f"whose {name} cannot be read"] = rows.count(unread) if unread is not None else 0
    conditions += _not_among_too_many(rows, reading, kind, sa.and_(*conditions), held_back)
    return Plan(kind, sa.and_(*conditions), {reason: count for reason, count in held_back.items() if count})


def _kind(rows: Selection, before: Mark | None) -> Kind | None:
    ends = rows.one(sa.func.min(rows.expression), sa.func.max(rows.expression))
    found = [kinds.kind_of(each, written=rows.written) for each in ends if each is not None]
    # Of a column of times, an end that is infinite is a text, and both may be.
    kind = next((each for each in found if each != "text"), rows.declared_kind() if found else None)
    if kind in ("float", "decimal") and any(isinstance(each, (float, Decimal)) and not math.isfinite(each) for each in ends):
        raise PermanentError("the watermark has values that are not finite: nothing can come after them")
    if before is not None and kind is not None and kind != before.kind:
        raise PermanentError(f"the watermark was of kind {before.kind!r} when it was last read, and is {kind!r} now")
    return kind


def _not_among_too_many(
    rows: Selection, reading: SqlReading, kind: Kind, condition: Any, held_back: dict[str, int]
) -> list[Any]:
    """A mark remembers so many rows; when more share the highest value, they wait until there is a higher one."""
    (top,) = rows.one(sa.func.max(rows.expression), where=condition)
    if top is None:
        return []
    near = rows.count(condition & (rows.expression >= rows.bound(kind, kinds.below(kind, top, reading.lookback))))
    if near <= watermarks.MOST_SEEN:
        return []
    if reading.lookback:
        raise PermanentError(watermarks.too_many(reading.lookback))
    held_back[f"that share the highest {reading.watermark!r} with too many others: they come once there is a higher one"] = near
    return [rows.expression < rows.bound(kind, top)]
