"""Values that the rules allow and that are far from all others.

Numbers by median and quartiles, which outliers do not move: robust z (Iglewicz and Hoaglin, 1993, How to Detect and Handle
Outliers) and Tukey's fences, and both have to say so. Words by how rare they are.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.validation.enforcing import Broken, shown
from tools.quality.schema import Action, Outliers, TableSchema
from tools.quality.statistics import BatchStatistics, ColumnStatistics, spread
from tools.tables.counting import numbers_of

MIN_VALUES = 100
"""Of a column; below it nothing is odd."""
MIN_HISTORY = 1_000
"""Rows of the batches before, from which on they are what a batch is compared with; otherwise it is with itself."""


@dataclass(frozen=True)
class _Usual:
    """Of one column of numbers."""

    low: float
    high: float
    median: float


@dataclass(frozen=True)
class Odd:
    broken: Broken
    action: Action


class Reference:
    """What is usual, column by column."""

    def __init__(self, schema: TableSchema, history: Mapping[str, Sequence[ColumnStatistics]], of: str) -> None:
        """`history`: by column. `of`: whose, in words."""
        self._of = of
        self._actions: dict[str, Action] = {}
        self._numbers: dict[str, _Usual] = {}
        self._words: dict[str, pa.Array] = {}
        for column in schema.columns:
            rules = schema.outliers_of(column)
            seen = history.get(column.name, ())
            if rules.action == "nothing" or column.unique or sum(each.count for each in seen) < MIN_VALUES:
                continue
            self._actions[column.name] = rules.action
            if column.type in ("integer", "number"):
                usual = _usual(seen, rules)
                if usual is not None:
                    self._numbers[column.name] = usual
            elif column.type in ("text", "boolean") and all(each.complete for each in seen):
                self._words[column.name] = _frequent(seen, rules.min_share)

    def odd(self, rows: pa.Table) -> Iterator[Odd]:
        for name, usual in self._numbers.items():
            numbers = numbers_of(rows[name])
            # Not a number is neither.
            places = np.flatnonzero((numbers < usual.low) | (numbers > usual.high)).astype(np.int64)
            if len(places):
                words = (
                    f"is an outlier: the median {self._of} is {usual.median:.6g}, and all but outliers lie "
                    f"from {usual.low:.6g} to {usual.high:.6g}"
                )
                yield self._odd(name, "outlier", places, words)
        for name, frequent in self._words.items():
            values = rows[name]
            strange = pc.invert(pc.is_in(values, frequent))
            places = np.flatnonzero(pc.and_(strange, pc.is_valid(values)).to_numpy()).astype(np.int64)
            if len(places):
                yield self._odd(name, "rare value", places, f"is rare {self._of}")

    def _odd(self, name: str, rule: str, places: "np.ndarray[tuple[int], np.dtype[np.int64]]", words: str) -> Odd:
        return Odd(Broken(name, rule, places, lambda row: f"{name}: {shown(row[name])} {words}"), self._actions[name])


def wanted(schema: TableSchema) -> bool:
    return any(schema.outliers_of(each).action != "nothing" for each in schema.columns)


def before(schema: TableSchema, history: Sequence[BatchStatistics]) -> Reference | None:
    """What is usual in the batches before; None where they have too few rows."""
    if sum(each.accepted for each in history) < MIN_HISTORY:
        return None
    columns: dict[str, list[ColumnStatistics]] = {}
    for batch in history:
        for column in batch.columns:
            columns.setdefault(column.name, []).append(column)
    count = f"{len(history):,} batches" if len(history) > 1 else "batch"
    return Reference(schema, columns, f"of the {count} before")


def itself(schema: TableSchema, columns: Sequence[ColumnStatistics]) -> Reference:
    return Reference(schema, {each.name: (each,) for each in columns}, "of its batch")


def _usual(seen: Sequence[ColumnStatistics], rules: Outliers) -> _Usual | None:
    """None where more than half of the values are one, and the quartiles too: nothing says then how far is far."""
    found = spread(seen)
    if found is None:
        return None
    width, away = rules.fence * (found.high - found.low), rules.robust_z * found.deviation
    if not width:
        return None
    low, high = found.low - width, found.high + width
    if away:
        low, high = min(low, found.median - away), max(high, found.median + away)
    # Where more than 3 % lie beyond a fence they are a tail and no outliers: of that side nothing is said.
    low = -math.inf if found.ends[0] < low else low
    high = math.inf if found.ends[1] > high else high
    return _Usual(low, high, found.median)


def _frequent(seen: Sequence[ColumnStatistics], min_share: float) -> pa.Array:
    counts: dict[str | bool, int] = {}
    for column in seen:
        for value, count in column.top:
            counts[value] = counts.get(value, 0) + count
    total = sum(counts.values())
    return pa.array([value for value, count in counts.items() if count >= min_share * total])
