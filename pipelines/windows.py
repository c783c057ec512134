"""What windows before a moment hold, by way of tiles: for each key and hour what can be put together to any longer stretch.

A tile is `count, sum, minimum, maximum` of each column. It can be added to, so rows may come in any order and in any batches,
late ones too. What a window holds changes only when a tile comes into it or leaves it: there, and nowhere else, is a row.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.features import Aggregate, FeatureView
from tools.errors import PermanentError
from tools.features.columns import TIME
from tools.features.port import EVENT_TIME

TILE = "tile"
"""When a tile begins."""
_ROWS = "rows"
_PARTS = ("count", "sum", "min", "max")
_US = timedelta(microseconds=1)

Numbers = NDArray[np.int64]


def tiles(definition: FeatureView, facts: pa.Table) -> pa.Table:
    """Of some facts. Tiles of several of them are put together by `merged`."""
    every = definition.every // _US
    moments = facts[definition.event_time].cast(TIME, safe=False)
    missing = [
        name
        for name, column in [(definition.event_time, moments), *((each, facts[each]) for each in definition.entities)]
        if column.null_count
    ]
    if missing:
        raise PermanentError(f"{definition.name}: a fact without {', '.join(missing)}; have the transformation leave such out")
    numbers = moments.cast(pa.int64())
    start = pa.chunked_array([pa.array(np.floor_divide(numbers.to_numpy(), every) * every)])
    columns = {name: facts[name] for name in definition.entities}
    columns[TILE] = start.cast(TIME)
    columns[_ROWS] = pa.repeat(pa.scalar(1, pa.int64()), facts.num_rows)
    for name in _columns(definition):
        values = facts[name].cast(pa.float64())
        values = pc.if_else(pc.is_nan(values), None, values)
        columns[f"{name}.count"] = pc.is_valid(values).cast(pa.int64())
        for part in _PARTS[1:]:
            columns[f"{name}.{part}"] = values
    return merged(definition, pa.table(columns))


def merged(definition: FeatureView, several: pa.Table) -> pa.Table:
    """Those of one key and hour as one, in the order of keys and hours."""
    how = {"count": "sum", "sum": "sum", "min": "min", "max": "max"}
    keys = [*definition.entities, TILE]
    wanted = [(_ROWS, "sum"), *((f"{name}.{part}", how[part]) for name in _columns(definition) for part in _PARTS)]
    grouped = several.group_by(keys, use_threads=False).aggregate(wanted)
    names = {f"{column}_{function}": column for column, function in wanted}
    grouped = grouped.rename_columns([names.get(each, each) for each in grouped.column_names])
    return grouped.select([*keys, *names.values()]).sort_by([(each, "ascending") for each in keys])


@dataclass(frozen=True)
class Reach:
    """How far around some new tiles others matter: event times of the rows that change, and starts of the tiles in them."""

    first_row: int
    last_row: int
    first_tile: int
    """All in microseconds since 1970."""

    @classmethod
    def of(cls, definition: FeatureView, start: int, end: int) -> "Reach":
        """Of tiles that begin from `start` to `end`."""
        every, longest = definition.every // _US, definition.longest // _US
        return cls(start + every, end + longest + every, start + every - longest)


def rows(definition: FeatureView, all_tiles: pa.Table, new: pa.Table) -> pa.Table:
    """The view's rows that the new tiles change, from all tiles within their reach, the new ones among them.

    `all_tiles` and `new` as `merged` leaves them.
    """
    every = definition.every // _US
    overs = sorted({each.over // _US for each in definition.aggregates.values()})
    codes, fresh = _codes(definition, all_tiles, new)
    order = np.lexsort((_starts(all_tiles), codes))
    codes, starts = codes[order], _starts(all_tiles)[order]
    ordered = all_tiles.take(pa.array(order))
    # A tile comes into every window when it is over, and leaves each when that has passed as well.
    points = (
        np.unique(np.concatenate([np.stack([codes, starts + every + over], axis=1) for over in (0, *overs)]), axis=0)
        if len(codes)
        else np.empty((0, 2), dtype=np.int64)
    )
    points = points[_touched(points, fresh, _starts(new), every, overs[-1])]
    key, moment = points[:, 0], points[:, 1]
    span = _Span(codes, starts)
    columns = {}
    first = span.before(key, np.full(len(key), np.iinfo(np.int64).min))
    owner = ordered.take(pa.array(first))
    for name in definition.entities:
        columns[name] = owner[name]
    columns[EVENT_TIME] = pa.array(moment).cast(TIME)
    for name, aggregate in definition.aggregates.items():
        since = span.before(key, moment - aggregate.over // _US)
        until = span.before(key, moment - every + 1)
        columns[name] = _held(ordered, aggregate, since, until)
    return pa.table(columns)


def _touched(points: Numbers, fresh: Numbers, starts: Numbers, every: int, longest: int) -> NDArray[np.bool_]:
    """Which have a new tile in, or just out of, their longest window."""
    order = np.lexsort((starts, fresh))
    span = _Span(fresh[order], starts[order])
    before = span.before(points[:, 0], points[:, 1] - every + 1) - 1
    held = np.maximum(before, 0)
    known = (before >= 0) & (span.codes[held] == points[:, 0])
    touched: NDArray[np.bool_] = known & (points[:, 1] - span.starts[held] <= longest + every)
    return touched


class _Span:
    """Positions of tiles, which are in the order of keys and starts."""

    def __init__(self, codes: Numbers, starts: Numbers) -> None:
        self.codes, self.starts = codes, starts
        self._moments = np.unique(starts)
        self._width = len(self._moments) + 1
        self._places = codes * self._width + np.searchsorted(self._moments, starts)

    def before(self, key: Numbers, moment: Numbers) -> Numbers:
        """Position of the first tile of the key that begins at the moment or after it."""
        wanted = key * self._width + np.searchsorted(self._moments, moment)
        found: Numbers = np.searchsorted(self._places, wanted)
        return found


def _held(ordered: pa.Table, aggregate: Aggregate, since: Numbers, until: Numbers) -> pa.Array:
    """Over the tiles from `since` to before `until`, for each."""
    if aggregate.how == "count":
        column = f"{aggregate.of}.count" if aggregate.of else _ROWS
        return pa.array(_reduced(np.add, ordered[column].to_numpy(), since, until, 0))
    counts = _reduced(np.add, ordered[f"{aggregate.of}.count"].to_numpy(), since, until, 0)
    part, function, empty = {
        "sum": ("sum", np.add, 0.0),
        "mean": ("sum", np.add, 0.0),
        "minimum": ("min", np.minimum, np.inf),
        "maximum": ("max", np.maximum, -np.inf),
    }[aggregate.how]
    values = pc.fill_null(ordered[f"{aggregate.of}.{part}"], empty).to_numpy()
    found = _reduced(function, values, since, until, empty)
    if aggregate.how == "sum":
        return pa.array(found)
    if aggregate.how == "mean":
        found = found / np.maximum(counts, 1)
    return pa.array(found, mask=counts == 0)


def _reduced(
    function: np.ufunc, values: NDArray[np.generic], since: Numbers, until: Numbers, empty: float
) -> NDArray[np.generic]:
    """Of each stretch on its own: differences of running sums would carry the rounding of all that came before."""
    if not len(since):
        return values[:0]
    padded = np.append(values, np.asarray([empty], dtype=values.dtype))
    bounds = np.stack([since, until], axis=1).ravel()
    found: NDArray[np.generic] = function.reduceat(padded, bounds)[::2]
    return np.where(since < until, found, np.asarray(empty, dtype=values.dtype))


def _columns(definition: FeatureView) -> list[str]:
    return sorted({each.of for each in definition.aggregates.values() if each.of})


def _starts(table: pa.Table) -> Numbers:
    numbers: Numbers = table[TILE].cast(TIME).cast(pa.int64()).to_numpy()
    return numbers


def _codes(definition: FeatureView, all_tiles: pa.Table, new: pa.Table) -> tuple[Numbers, Numbers]:
    """A number for each key of either, from 0."""
    codes = np.zeros(all_tiles.num_rows + new.num_rows, dtype=np.int64)
    for name in definition.entities:
        column = pa.chunked_array([*all_tiles[name].chunks, *new[name].chunks]).combine_chunks().dictionary_encode()
        values = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        codes = np.unique(codes * (len(column.dictionary) + 1) + values, return_inverse=True)[1]
    return codes[: all_tiles.num_rows], codes[all_tiles.num_rows :]
