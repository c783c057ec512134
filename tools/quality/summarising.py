"""Columns summarised as their rows come, in one pass and constant memory, whatever their order.

Numbers are remembered by a uniform sample: the first rows of a sorted table say nothing about the others. Their ends, mean and
deviation are exact. How many different values there are is counted while these are few, and estimated from the least of their
hashes beyond that (Bar-Yossef et al., 2002, Counting Distinct Elements in a Data Stream).
"""

import hashlib
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tools.quality.statistics import POINTS, ColumnStatistics
from tools.tables.counting import ByValue, Numbers, near, numbers_of
from tools.tables.port import ColumnKind
from tools.tables.profiling import kind_of
from tools.tables.shapes import FAR, MOST_VALUES

SAMPLE = 8_192
"""Numbers remembered of a column: its quantiles are then within 1.1 points of the true ones, in 95 of 100 cases."""
_HASHES = 1_024
"""The estimate of how many different values there are is then within 6 %, in 95 of 100 cases."""
TOP = 50
ALL = 200
"""Text of so few different values is kept with all of them, so that a new one can be told."""
_SEED = 20_260
"""The same rows have the same sample."""

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


class Summary:
    """Of the rows of a batch, column by column; those that are neither numbers, text, truth nor time are left out."""

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = {field.name: _of_kind(kind) for field in schema if (kind := kind_of(field.type)) is not None}
        self._lottery = np.random.default_rng(_SEED)
        self.rows = 0

    def add(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        lots = self._lottery.random(rows.num_rows)
        self.rows += rows.num_rows
        for name, column in self._columns.items():
            column.add(rows[name].combine_chunks(), lots)

    def statistics(self) -> tuple[ColumnStatistics, ...]:
        return tuple(column.statistics(name) for name, column in self._columns.items())


class _Words:
    """Text and truth."""

    def __init__(self, kind: ColumnKind) -> None:
        self._kind = kind
        self._counter = ByValue(kind)
        self._distinct: _Distinct | None = None

    def add(self, values: pa.Array, _lots: Numbers) -> None:
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        self._counter.add(values)
        if self._distinct is not None:
            self._distinct.add(_hashed(pc.unique(values).drop_null().to_pylist()))
        elif self._kind == "categorical":
            known = self._counter.profile("").values
            if len(known) >= MOST_VALUES:
                self._distinct = _Distinct()
                self._distinct.add(_hashed([str(each) for each in known]))
                self._distinct.add(_hashed(pc.unique(values).drop_null().to_pylist()))

    def statistics(self, name: str) -> ColumnStatistics:
        found = self._counter.profile(name)
        values = sorted(found.values.items(), key=lambda each: (-each[1], str(each[0])))
        complete = not found.others and len(values) <= ALL
        kept = [(value if isinstance(value, bool) else str(value), count) for value, count in values]
        return ColumnStatistics(
            name=name,
            kind=self._kind,
            rows=found.rows,
            nulls=found.nulls,
            distinct=self._distinct.count if self._distinct is not None and found.others else len(values),
            exact=not found.others,
            top=tuple(kept if complete else kept[:TOP]),
            complete=complete,
        )


class _Figures:
    """Numbers and times."""

    def __init__(self, kind: ColumnKind) -> None:
        self._kind = kind
        self._rows = self._nulls = self._not_finite = self._count = 0
        self._least, self._greatest = math.inf, -math.inf
        self._mean = self._squares = 0.0
        self._sample = np.empty(0, dtype=np.float64)
        self._lots = np.empty(0, dtype=np.float64)
        self._distinct = _Distinct()

    def add(self, values: pa.Array, lots: Numbers) -> None:
        nulls = values.null_count
        self._rows, self._nulls = self._rows + len(values), self._nulls + nulls
        numbers = numbers_of(values)
        clean = near(numbers)
        if len(clean) < len(numbers):
            self._not_finite += len(numbers) - nulls - len(clean)
            lots = lots[np.abs(numbers) < FAR]
        if not len(clean):
            return
        self._moments(clean)
        self._distinct.add(_mixed(clean))
        if len(self._lots) == SAMPLE:
            drawn = lots < self._lots.max()
            clean, lots = clean[drawn], lots[drawn]
        self._sample, self._lots = np.concatenate([self._sample, clean]), np.concatenate([self._lots, lots])
        if len(self._lots) > SAMPLE:
            kept = np.argpartition(self._lots, SAMPLE)[:SAMPLE]
            self._sample, self._lots = self._sample[kept], self._lots[kept]

    def _moments(self, numbers: Numbers) -> None:
        """Chan, Golub and LeVeque (1979): two means and sums of squares become one, without loss of digits."""
        self._least, self._greatest = min(self._least, float(numbers.min())), max(self._greatest, float(numbers.max()))
        count, mean = len(numbers), float(numbers.mean())
        away = numbers - mean
        squares, moved, total = float(np.einsum("i,i->", away, away)), mean - self._mean, self._count + count
        self._squares += squares + moved * moved * self._count * count / total
        self._mean += moved * count / total
        self._count = total

    def statistics(self, name: str) -> ColumnStatistics:
        found = ColumnStatistics(
            name=name,
            kind=self._kind,
            rows=self._rows,
            nulls=self._nulls,
            not_finite=self._not_finite,
            distinct=self._distinct.count,
            exact=self._distinct.exact,
        )
        if not self._count:
            return found
        points = np.quantile(self._sample, np.linspace(0, 1, POINTS)).tolist()
        return found.model_copy(
            update={
                "minimum": self._least,
                "maximum": self._greatest,
                "mean": self._mean,
                "deviation": math.sqrt(max(0.0, self._squares / self._count)),
                "quantiles": (self._least, *points[1:-1], self._greatest),
            }
        )


class _Distinct:
    """The least hashes of all values: where the last of them lies says how many there are."""

    def __init__(self) -> None:
        self._least: Hashes = np.empty(0, dtype=np.uint64)

    def add(self, hashes: Hashes) -> None:
        if not self.exact:
            hashes = hashes[hashes < self._least[-1]]
        if len(hashes):
            self._least = np.unique(np.concatenate([self._least, hashes]))[:_HASHES]

    @property
    def exact(self) -> bool:
        return len(self._least) < _HASHES

    @property
    def count(self) -> int:
        if self.exact:
            return len(self._least)
        return round((_HASHES - 1) / ((float(self._least[-1]) + 1.0) / 2.0**64))


def _of_kind(kind: ColumnKind) -> _Words | _Figures:
    return _Figures(kind) if kind in ("numeric", "datetime") else _Words(kind)


def _mixed(numbers: Numbers) -> Hashes:
    """SplitMix64's finisher: one to one, so that different numbers stay different."""
    found = (numbers + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = found ^ (found >> np.uint64(31))
    return mixed


def _hashed(words: list[str]) -> Hashes:
    digests = b"".join(hashlib.blake2b(each.encode("utf-8", "surrogatepass"), digest_size=8).digest() for each in words)
    return np.frombuffer(digests, dtype=np.uint64)
