"""Two tables profiled on common ground, in batches: constant memory, whatever their length.

A first look at some rows of both sides decides how each column is counted; then each side is read once. Numbers of many values
are counted on a grid over the middle of both sides, and their tails by count and sum.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tools.tables.port import ColumnKind, ColumnProfile, Grid, Value

BINS = 1024
_LOOK = 20_000
"""Rows of each side that decide how a column is counted."""
_FEW = 100
"""Numbers of at most so many different values in that look are counted value by value."""
_TAIL = 0.001
"""Share of the look beyond each end of a grid: what is outside is counted by number and sum only."""
_MOST_VALUES = 20_000
"""Values kept of a column; those that come later are `others`."""
_BLOCK = 32_768
"""Numbers at a time: as many as stay in the processor's cache while they are gone over several times."""


class Table(Protocol):
    """Something that can be read from its start as often as needed."""

    @property
    def schema(self) -> pa.Schema: ...

    def batches(self) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True)
class Profiled:
    pairs: dict[str, tuple[ColumnProfile, ColumnProfile]]
    """Reference and current by column, in the reference's order."""
    left_out: dict[str, str]
    """Columns that are not compared, with the reason."""


def profile_together(reference: Table, current: Table) -> Profiled:
    """Only numbers, text, truth and time are compared, and only with the same kind on the other side."""
    kinds, left_out = _comparable(reference.schema, current.schema)
    looks = [_look(table, list(kinds)) for table in (reference, current)]
    sides: list[dict[str, _Counter]] = [{}, {}]
    for name, kind in kinds.items():
        grid = _grid([look[name] for look in looks]) if kind in ("numeric", "datetime") else None
        for side in sides:
            side[name] = _OnGrid(kind, *grid) if grid is not None else _ByValue(kind)
    for side, table in zip(sides, (reference, current), strict=True):
        for batch in table.batches():
            for name, counter in side.items():
                counter.add(batch.column(name))
    pairs = {name: (sides[0][name].profile(name), sides[1][name].profile(name)) for name in kinds}
    return Profiled(pairs, left_out)


def _comparable(reference: pa.Schema, current: pa.Schema) -> tuple[dict[str, ColumnKind], dict[str, str]]:
    kinds: dict[str, ColumnKind] = {}
    left_out = {name: "only in the current table" for name in current.names if name not in reference.names}
    for name in reference.names:
        if name not in current.names:
            left_out[name] = "only in the reference"
            continue
        ours, theirs = reference.field(name).type, current.field(name).type
        kind = kind_of(ours)
        if kind is None or kind != kind_of(theirs):
            left_out[name] = f"{ours} in the reference, {theirs} in the current table"
        else:
            kinds[name] = kind
    return kinds, left_out


def kind_of(type_: pa.DataType) -> ColumnKind | None:
    if pa.types.is_dictionary(type_):
        return kind_of(type_.value_type)
    if pa.types.is_boolean(type_):
        return "boolean"
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "numeric"
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
        return "datetime"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "categorical"
    return None


def _look(table: Table, names: list[str]) -> dict[str, pa.ChunkedArray]:
    """The first rows."""
    taken, rows = [], 0
    for batch in table.batches():
        taken.append(batch.select(names).slice(0, _LOOK - rows))
        rows += taken[-1].num_rows
        if rows >= _LOOK:
            break
    seen = pa.Table.from_batches(taken, pa.schema([table.schema.field(name) for name in names]))
    return {name: seen.column(name) for name in names}


def _grid(looks: list[pa.ChunkedArray]) -> tuple[float, float] | None:
    """Where the grid of a column begins and ends; None when its values are few enough to be counted one by one."""
    numbers = [finite for look in looks if len(finite := _finite(_numbers(look)))]
    if not numbers or all(len(np.unique(each)) <= _FEW for each in numbers):
        return None
    low = min(float(np.quantile(each, _TAIL)) for each in numbers)
    high = max(float(np.quantile(each, 1 - _TAIL)) for each in numbers)
    return (low, high) if math.isfinite(BINS / (high - low) if high > low else math.inf) else None


def _numbers(values: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """As 64-bit floats, null as not a number; times as seconds since the epoch."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        micros = values.cast(pa.timestamp("us")).cast(pa.int64())
        return _numbers(pc.divide(micros.cast(pa.float64()), 1e6))
    if values.type != pa.float64():
        values = values.cast(pa.float64(), safe=False)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _finite(numbers: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    if math.isfinite(float(numbers.sum())):
        return numbers
    finite: np.ndarray[Any, np.dtype[np.float64]] = numbers[np.isfinite(numbers)]
    return finite


class _Counter:
    """One column of one side on its way to its profile."""

    def __init__(self, kind: ColumnKind) -> None:
        self._kind = kind
        self._rows = self._nulls = 0

    def add(self, values: pa.Array) -> None:
        self._rows += len(values)
        self._nulls += values.null_count
        self._count(values)

    def _count(self, values: pa.Array) -> None: ...

    def profile(self, name: str) -> ColumnProfile:
        return ColumnProfile(name=name, kind=self._kind, rows=self._rows, nulls=self._nulls)


class _ByValue(_Counter):
    def __init__(self, kind: ColumnKind) -> None:
        super().__init__(kind)
        self._found: Counter[Value] = Counter()
        self._others = self._not_finite = 0

    def _count(self, values: pa.Array) -> None:
        if self._kind in ("numeric", "datetime"):
            numbers = _numbers(values.drop_null())
            finite = _finite(numbers)
            self._not_finite += len(numbers) - len(finite)
            values = pa.array(finite)
        elif pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        counted = pc.value_counts(values.drop_null())
        for value, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
            if value in self._found or len(self._found) < _MOST_VALUES:
                self._found[value] += count
            else:
                self._others += count

    def profile(self, name: str) -> ColumnProfile:
        plain = replace(super().profile(name), values=dict(self._found), others=self._others, not_finite=self._not_finite)
        if self._kind not in ("numeric", "datetime") or not self._found:
            return plain
        places = np.fromiter(self._found, dtype=np.float64, count=len(self._found))
        weights = np.fromiter(self._found.values(), dtype=np.float64, count=len(self._found))
        mean = float(np.average(places, weights=weights))
        deviation = math.sqrt(float(np.average((places - mean) ** 2, weights=weights)))
        return replace(plain, mean=mean, deviation=deviation, minimum=float(places.min()), maximum=float(places.max()))


class _OnGrid(_Counter):
    """Numbers are moved so that the grid begins at 0 and a bin is 1 wide: their sums of squares then lose no digits."""

    def __init__(self, kind: ColumnKind, low: float, high: float) -> None:
        super().__init__(kind)
        self._low, self._high = low, high
        self._width = (high - low) / BINS
        self._counts = np.zeros(BINS + 2, dtype=np.int64)
        self._seen = self._not_finite = 0
        self._sum = self._squares = self._below = self._above = 0.0
        self._least, self._greatest = math.inf, -math.inf

    def _count(self, values: pa.Array) -> None:
        numbers = _numbers(values)
        finite = _finite(numbers)
        self._not_finite += len(numbers) - len(finite) - values.null_count
        for start in range(0, len(finite), _BLOCK):
            self._block(finite[start : start + _BLOCK])

    def _block(self, numbers: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        moved = (numbers - self._low) / self._width
        self._seen += len(moved)
        self._sum += float(moved.sum())
        self._squares += float(moved @ moved)
        least, greatest = float(moved.min()), float(moved.max())
        self._least, self._greatest = min(self._least, least), max(self._greatest, greatest)
        if least < 0:
            self._below += float(moved[moved < 0].sum())
        if greatest >= BINS:
            self._above += float(moved[moved >= BINS].sum())
        np.clip(moved, -1.0, BINS, out=moved)
        moved += 1.0
        self._counts += np.bincount(moved.astype(np.intp), minlength=BINS + 2)

    def profile(self, name: str) -> ColumnProfile:
        plain = replace(super().profile(name), not_finite=self._not_finite)
        counts = tuple(map(int, self._counts))
        below = self._below * self._width + counts[0] * self._low
        above = self._above * self._width + counts[-1] * self._low
        plain = replace(plain, grid=Grid(self._low, self._high, counts, below, above))
        if not self._seen:
            return plain
        mean = self._sum / self._seen
        deviation = math.sqrt(max(0.0, self._squares / self._seen - mean * mean))
        return replace(
            plain,
            mean=self._low + mean * self._width,
            deviation=deviation * self._width,
            minimum=self._low + self._least * self._width,
            maximum=self._low + self._greatest * self._width,
        )
