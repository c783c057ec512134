"""What was so at a moment: for each row on the left the last row of its key on the right that is not after it.

Sorting and searching, where Feast's own file store multiplies every row by every row of its key: see ADR 6, and the contract
test that runs both. Memory is a few integers for each row of either side.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tools.features.columns import TIME
from tools.features.port import CREATED, EVENT_TIME

Positions = NDArray[np.int64]


def as_of(left: pa.Table, right: pa.Table, keys: Sequence[str], time: str, ttl: timedelta) -> Positions:
    """Positions in `right`, -1 where there is none. `right` has the columns of a view, `left` its keys and `time`, as TIME.

    Inclusive at both ends, as Feast has it: a row is right from its event time on, and still when it is exactly `ttl` old.
    """
    if not right.num_rows:
        return np.full(left.num_rows, -1)
    codes, asked = _codes(right, left, keys)
    times, created = _microseconds(right[EVENT_TIME]), _microseconds(right[CREATED])
    # Last among those with one key and one event time is what was created last.
    order = np.lexsort((np.arange(len(codes)), created, times, codes))
    codes, times = codes[order], times[order]
    moments = np.unique(times)
    moment = _microseconds(left[time])
    # One number that sorts by key, then time; a moment between two event times stands for the earlier.
    span = len(moments) + 1
    places = codes * span + np.searchsorted(moments, times) + 1
    wanted = asked * span + np.searchsorted(moments, moment, side="right")
    found = np.searchsorted(places, wanted, side="right") - 1
    held = np.maximum(found, 0)
    fresh = moment - times[held] <= ttl // timedelta(microseconds=1)
    known = (found >= 0) & (asked >= 0) & (codes[held] == asked) & fresh & _valid(left, [*keys, time])
    return np.where(known, order[held], -1)


def latest(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """For each key its row with the latest event time, of several the one created last."""
    if not rows.num_rows:
        return rows
    codes, _ = _codes(rows, rows.slice(0, 0), keys)
    order = np.lexsort((np.arange(len(codes)), _microseconds(rows[CREATED]), _microseconds(rows[EVENT_TIME]), codes))
    last = np.flatnonzero(np.diff(codes[order], append=-1))
    return rows.take(pa.array(order[last]))


def taken(column: pa.ChunkedArray, positions: Positions) -> pa.ChunkedArray:
    """Null where a position is -1."""
    return column.take(pa.array(positions, mask=positions < 0))


def _codes(right: pa.Table, left: pa.Table, keys: Sequence[str]) -> tuple[Positions, Positions]:
    """A number for each key of `right`, from 0, and the same for those of `left`, -1 for what `right` has not."""
    codes, asked = np.zeros(right.num_rows, dtype=np.int64), np.zeros(left.num_rows, dtype=np.int64)
    for key in keys:
        column = right[key].combine_chunks()
        values = column.unique()
        mine = pc.index_in(column, values).to_numpy(zero_copy_only=False).astype(np.int64)
        theirs = pc.fill_null(pc.index_in(left[key].combine_chunks().cast(column.type), values), -1)
        theirs = theirs.to_numpy(zero_copy_only=False).astype(np.int64)
        asked = np.where((asked < 0) | (theirs < 0), -1, asked * len(values) + theirs)
        # Dense again, so that what is multiplied next does not overflow.
        distinct, codes = np.unique(codes * len(values) + mine, return_inverse=True)
        place = np.minimum(np.searchsorted(distinct, asked), len(distinct) - 1)
        asked = np.where(distinct[place] == asked, place, -1)
    return codes.astype(np.int64), asked


def _microseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = pc.fill_null(column.cast(TIME).cast(pa.int64()), 0).to_numpy()
    return numbers


def _valid(table: pa.Table, columns: Sequence[str]) -> NDArray[np.bool_]:
    valid = np.ones(table.num_rows, dtype=np.bool_)
    for name in columns:
        if table[name].null_count:
            valid &= table[name].is_valid().to_numpy()
    return valid
