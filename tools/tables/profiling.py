"""Tables profiled in batches, and two of them on common ground: constant memory, whatever their length.

A first look at some rows decides how each column is counted; then each table is read once. Numbers of many values
are counted on a grid over the middle of both sides, and their tails by count and sum. The first rows of a table that is in some
order say little about the others: where counting shows that a grid does not lie over the middle, its column is counted again.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from tools.errors import PermanentError
from tools.tables.counting import ByValue, ColumnCounter, Numbers, OnGrid, near, numbers_of
from tools.tables.port import ColumnKind, ColumnProfile
from tools.tables.shapes import ANY, BINS, FEW_VALUES, TAIL, grid_over

_LOOK = 20_000
"""Rows of each side that decide how a column is counted."""
_MOST_OUTSIDE = 0.01
"""Share of a side's numbers in the tails of a grid, five times what lies there by design: above it, it was laid elsewhere."""
_LEAST_USED = 0.25
"""Share of a grid between the tails of both sides. Below it, bins are too wide for what they hold."""

_THREADS = 2
"""That count."""


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
    ours, theirs = _profiled((reference, current), kinds)
    return Profiled({name: (ours[name], theirs[name]) for name in kinds}, left_out)


def profile(table: Table) -> dict[str, ColumnProfile]:
    """By column, in the table's order; without those that are neither numbers, text, truth nor time."""
    kinds = {field.name: kind for field in table.schema if (kind := kind_of(field.type)) is not None}
    (found,) = _profiled((table,), kinds)
    return found


def _profiled(tables: Sequence[Table], kinds: Mapping[str, ColumnKind]) -> list[dict[str, ColumnProfile]]:
    """Of each table, all on common ground."""
    looks = [_look(table, list(kinds)) for table in tables]
    grids: dict[str, tuple[float, float] | None] = {}
    for name, kind in kinds.items():
        if kind in ("numeric", "datetime"):
            with _named(name):
                grids[name] = _grid([look[name] for look in looks])
    sides = _counted(tables, kinds, grids)
    if better := _better(sides):
        again = _counted(tables, {name: kinds[name] for name in better}, better)
        sides = [{**side, **recounted} for side, recounted in zip(sides, again, strict=True)]
    return [{name: side[name].profile(name) for name in kinds} for side in sides]


def _counted(
    tables: Sequence[Table], kinds: Mapping[str, ColumnKind], grids: Mapping[str, tuple[float, float] | None]
) -> list[dict[str, ColumnCounter]]:
    found: list[dict[str, ColumnCounter]] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for table in tables:
            side: dict[str, ColumnCounter] = {}
            for name, kind in kinds.items():
                grid = grids.get(name)
                side[name] = OnGrid(kind, *grid) if grid is not None else ByValue(kind)
            _count(side, table, pool)
            found.append(side)
    return found


def _better(sides: Sequence[Mapping[str, ColumnCounter]]) -> dict[str, tuple[float, float]]:
    """Columns whose first rows were unlike the others, as in a table that is sorted; with grids for all of their numbers."""
    found = {}
    for name in sides[0]:
        counters = [side[name] for side in sides]
        if any(isinstance(each, ByValue) and each.too_many for each in counters):
            found[name] = _over_all(counters) or ANY
        elif _elsewhere(counters) and (grid := _over_all(counters)) is not None:
            found[name] = grid
    return found


def _elsewhere(counters: Sequence[ColumnCounter]) -> bool:
    grids = [each for each in counters if isinstance(each, OnGrid)]
    if any(each.outside > _MOST_OUTSIDE for each in grids):
        return True
    middles = [each.middle for each in grids if each.middle is not None]
    return bool(middles) and max(last for _, last in middles) - min(first for first, _ in middles) < _LEAST_USED * BINS


def _over_all(counters: Sequence[ColumnCounter]) -> tuple[float, float] | None:
    samples = [each.sample for each in counters if isinstance(each, ByValue | OnGrid)]
    filled = [np.sort(sample) for sample in samples if len(sample)]
    return _over(filled) if filled else None


def _count(side: Mapping[str, ColumnCounter], table: Table, pool: Executor) -> None:
    """A batch is counted while the next one is read."""
    counting: list[Future[None]] = []
    shares = [list(side.items())[place::_THREADS] for place in range(_THREADS)]
    for batch in table.batches():
        for each in counting:
            each.result()
        counting = [pool.submit(_add, share, batch) for share in shares]
    for each in counting:
        each.result()


def _add(counters: Sequence[tuple[str, ColumnCounter]], batch: pa.RecordBatch) -> None:
    for name, counter in counters:
        with _named(name):
            counter.add(batch.column(name))


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """What Arrow refuses to take for a number or a word is told by its column."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise PermanentError(f"{name}: its values cannot be counted: {str(error).strip().splitlines()[0][:300]}") from error


def _comparable(reference: pa.Schema, current: pa.Schema) -> tuple[dict[str, ColumnKind], dict[str, str]]:
    kinds: dict[str, ColumnKind] = {}
    left_out = {name: "only in the current table" for name in current.names if name not in reference.names}
    for name in reference.names:
        if name not in current.names:
            left_out[name] = "only in the reference"
            continue
        ours, theirs = reference.field(name).type, current.field(name).type
        kind = _shared(ours, theirs)
        if kind is None:
            left_out[name] = f"{_plain(ours)} in the reference, {_plain(theirs)} in the current table"
        else:
            kinds[name] = kind
    return kinds, left_out


def _shared(ours: pa.DataType, theirs: pa.DataType) -> ColumnKind | None:
    """A column of nothing but nulls is of any kind."""
    empty = [pa.types.is_null(each) for each in (ours, theirs)]
    if all(empty):
        return "categorical"
    mine, other = kind_of(ours), kind_of(theirs)
    return other if empty[0] else mine if empty[1] or mine == other else None


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


def _plain(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


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
    numbers = [np.sort(close) for look in looks if len(close := near(numbers_of(look)))]
    return _over(numbers) if any(np.count_nonzero(np.diff(each)) >= FEW_VALUES for each in numbers) else None


def _over(numbers: Sequence[Numbers]) -> tuple[float, float] | None:
    """`numbers`: ascending, of either side."""
    low = min(float(each[int(TAIL * len(each))]) for each in numbers)
    high = max(float(each[-1 - int(TAIL * len(each))]) for each in numbers)
    return grid_over(low, high)
