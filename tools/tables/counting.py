"""Columns being counted, batch by batch."""

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tools.tables.port import ColumnKind, ColumnProfile, Grid, Value
from tools.tables.shapes import BINS, BUCKETS, FAR, MOST_NUMBERS, MOST_VALUES, TAIL, bucket_of

Numbers = np.ndarray[Any, np.dtype[np.float64]]

_DAY_S = 86_400.0
_IN_A_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_BLOCK = 65_536
"""Numbers at a time: as many as stay in the processor's cache while they are gone over several times."""
_SAMPLED = 16_384
"""Numbers of a column that are remembered at most: of these some 16 lie in each tail of a grid over them."""
_THINNED = 3
"""Of so many remembered one is kept when there are too many. Odd: what repeats in rows seldom does so in powers of three."""


def numbers_of(values: pa.Array | pa.ChunkedArray) -> Numbers:
    """As 64-bit floats, null as not a number; times as seconds since the epoch."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        # Not through another unit: what it cannot hold Arrow refuses, digits below a microsecond as well as the year 9999.
        if values.type == pa.date32():
            return numbers_of(pc.multiply(values.cast(pa.int32()).cast(pa.float64()), _DAY_S))
        ticks = values.cast(pa.int64()).cast(pa.float64(), safe=False)
        return numbers_of(pc.divide(ticks, _IN_A_SECOND[getattr(values.type, "unit", "ms")]))
    if values.type != pa.float64():
        values = values.cast(pa.float64(), safe=False)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    # Not `to_numpy`: it imports pandas, 130 MB and a second and a half.
    filled: Any = pc.fill_null(values, math.nan) if values.null_count else values
    return np.asarray(np.from_dlpack(filled), dtype=np.float64)


def near(numbers: Numbers) -> Numbers:
    """Those that are numbers, and not a mark for 'unknown'."""
    if not len(numbers) or (numbers.min() > -FAR and numbers.max() < FAR):
        return numbers
    found: Numbers = numbers[np.abs(numbers) < FAR]
    return found


class Sampled:
    """Some numbers that lie evenly over all that were seen, in constant memory: every row in so many."""

    def __init__(self) -> None:
        self._pieces: list[Numbers] = []
        self._held, self._each, self._next = 0, 1, 0

    def add(self, numbers: Numbers) -> None:
        if self._next >= len(numbers):
            self._next -= len(numbers)
            return
        taken = np.array(numbers[self._next :: self._each], dtype=np.float64)
        self._next = (self._next - len(numbers)) % self._each
        self._pieces.append(taken)
        self._held += len(taken)
        while self._held > _SAMPLED:
            taken = np.concatenate(self._pieces)
            # The first one that is left out of the next step is as far from the last one kept as all are from each other.
            behind = (len(taken) - 1) % _THINNED
            self._next += (_THINNED - 1 - behind) * self._each
            taken = taken[::_THINNED].copy()
            self._each *= _THINNED
            self._pieces, self._held = [taken], len(taken)

    def numbers(self) -> Numbers:
        return np.concatenate([np.empty(0), *self._pieces])


class ColumnCounter:
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


class ByValue(ColumnCounter):
    def __init__(self, kind: ColumnKind) -> None:
        super().__init__(kind)
        self._found: Counter[Value] = Counter()
        self._others = self._not_finite = 0
        self._buckets: list[int] = []
        """Of the others."""
        self._sampled = Sampled()

    @property
    def too_many(self) -> bool:
        """Numbers, to be counted one by one."""
        return self._kind in ("numeric", "datetime") and len(self._found) > MOST_NUMBERS

    @property
    def sample(self) -> Numbers:
        """Numbers that stand for all of them."""
        return self._sampled.numbers()

    def _count(self, values: pa.Array) -> None:
        if pa.types.is_integer(values.type) and values.type != pa.uint64() and self._whole(values):
            return
        if self._kind in ("numeric", "datetime"):
            numbers = numbers_of(values.drop_null())
            finite = near(numbers)
            self._not_finite += len(numbers) - len(finite)
            self._sampled.add(finite)
            if self.too_many:
                return
            values = pa.Array.from_buffers(pa.float64(), len(finite), [None, pa.py_buffer(finite)])
        counted = pc.value_counts(values.drop_null())
        for value, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
            if value is None:  # a dictionary may have it among its values
                self._nulls += count
            elif value in self._found or len(self._found) < MOST_VALUES:
                self._found[value] += count
            else:
                self._others += count
                self._buckets = self._buckets or [0] * BUCKETS
                self._buckets[bucket_of(str(value))] += count

    def _whole(self, values: pa.Array) -> bool:
        """Whole numbers that lie close together are counted by their place, several times as fast as by their value."""
        whole = np.from_dlpack(values.drop_null().cast(pa.int64(), safe=False))
        if not len(whole):
            return True
        least = int(whole.min())
        if int(whole.max()) - least >= MOST_NUMBERS:
            return False
        self._sampled.add(whole.astype(np.float64))
        if self.too_many:
            return True
        counts = np.bincount(whole - least)
        for place in np.flatnonzero(counts).tolist():
            self._found[float(least + place)] += int(counts[place])
        return True

    def profile(self, name: str) -> ColumnProfile:
        plain = replace(super().profile(name), values=dict(self._found), not_finite=self._not_finite)
        if self._others:
            buckets = tuple(map(sum, zip(self._buckets, plain.by_bucket(), strict=True)))
            plain = replace(plain, others=self._others, buckets=buckets)
        return plain.with_moments() if self._kind in ("numeric", "datetime") else plain


class OnGrid(ColumnCounter):
    """Numbers are moved so that the grid begins at 0 and a bin is 1 wide: their sums of squares then lose no digits."""

    def __init__(self, kind: ColumnKind, low: float, high: float) -> None:
        super().__init__(kind)
        self._low, self._high = low, high
        self._width = (high - low) / BINS
        self._counts = np.zeros(BINS + 2, dtype=np.int64)
        self._seen = self._not_finite = 0
        self._sum = self._squares = self._below = self._beyond = 0.0
        self._least, self._greatest = math.inf, -math.inf
        self._sampled = Sampled()

    @property
    def sample(self) -> Numbers:
        """Numbers that stand for all of them."""
        return self._sampled.numbers()

    @property
    def middle(self) -> tuple[int, int] | None:
        """The first and the last of the bins, tails among them, that all numbers but the tails' share lie in; None without."""
        if not self._seen:
            return None
        up_to = np.cumsum(self._counts)
        first, last = np.searchsorted(up_to, (TAIL * self._seen, (1 - TAIL) * self._seen), side="left")
        return int(first), int(last)

    @property
    def outside(self) -> float:
        """Share of the numbers that is known by count and sum only."""
        return float(self._counts[0] + self._counts[-1]) / self._seen if self._seen else 0.0

    def _count(self, values: pa.Array) -> None:
        numbers = numbers_of(values)
        seen = self._seen
        for start in range(0, len(numbers), _BLOCK):
            self._block(numbers[start : start + _BLOCK])
        self._not_finite += len(numbers) - values.null_count - (self._seen - seen)

    def _block(self, numbers: Numbers) -> None:
        numbers = near(numbers)
        if not len(numbers):
            return
        self._sampled.add(numbers)
        moved = numbers - self._low
        moved *= 1 / self._width
        self._seen += len(moved)
        self._sum += float(moved.sum())
        # Not `@`: BLAS would start threads and 100 MB of buffers for it.
        self._squares += float(np.einsum("i,i->", moved, moved))
        least, greatest = float(moved.min()), float(moved.max())
        self._least, self._greatest = min(self._least, least), max(self._greatest, greatest)
        # Not by a mask: picking by one is several times slower than going over all of them.
        other = np.minimum(moved, 0.0)
        self._below += float(other.sum())
        np.maximum(moved, BINS, out=other)
        other -= BINS
        self._beyond += float(other.sum())
        moved += 1.0
        np.clip(moved, 0.0, BINS + 1, out=moved)
        self._counts += np.bincount(moved.astype(np.intp), minlength=BINS + 2)

    def profile(self, name: str) -> ColumnProfile:
        plain = replace(super().profile(name), not_finite=self._not_finite)
        counts = tuple(map(int, self._counts))
        below = self._below * self._width + counts[0] * self._low
        above = self._beyond * self._width + counts[-1] * self._high
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
