"""What is known of a column after its table has been read once: enough to compare it with another, and never its rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tools.tables.shapes import BUCKETS, bucket_of
from tools.values import Window

ColumnKind = Literal["numeric", "categorical", "boolean", "datetime"]
Value = float | str | bool


@dataclass(frozen=True)
class Grid:
    """Where numbers lie: `counts[0]` below `low`, `counts[-1]` from `high` on, equal bins between.

    The sums of the two outer ends are kept, so that a far tail weighs what it really weighs.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    below: float = 0.0
    """Sum of the values below `low`."""
    above: float = 0.0


@dataclass(frozen=True)
class ColumnProfile:
    """One column of one table. Numbers that are not finite are counted apart, and are in nothing else.

    Either `values` holds every value with its count, or, for numbers with many, `grid` is set. A datetime is a number: seconds
    since the epoch, UTC.
    """

    name: str
    kind: ColumnKind
    rows: int
    nulls: int = 0
    not_finite: int = 0
    values: Mapping[Value, int] = field(default_factory=dict)
    others: int = 0
    """Categorical: how many had a value that is not among `values`, because there are too many to keep."""
    buckets: tuple[int, ...] = ()
    """Where there are `others`: how many values of all have their hash in each bucket. Empty where that was not counted."""
    grid: Grid | None = None
    mean: float | None = None
    deviation: float | None = None
    """Standard deviation, of the population (numbers)."""
    minimum: float | None = None
    maximum: float | None = None

    @property
    def count(self) -> int:
        """Values that can be compared."""
        return self.rows - self.nulls - self.not_finite

    def by_bucket(self) -> tuple[int, ...]:
        """How many values have their hash in each of the buckets, of text."""
        if self.buckets or self.others:
            return self.buckets
        counts = [0] * BUCKETS
        for value, count in self.values.items():
            counts[bucket_of(str(value))] += count
        return tuple(counts)

    def with_moments(self) -> "ColumnProfile":
        """Numbers counted value by value, with their mean, deviation and ends."""
        if not self.values:
            return self
        places = {float(value): count for value, count in self.values.items()}
        seen = sum(places.values())
        mean = math.fsum(place * count for place, count in places.items()) / seen
        deviation = math.sqrt(math.fsum((place - mean) ** 2 * count for place, count in places.items()) / seen)
        return replace(self, mean=mean, deviation=deviation, minimum=min(places), maximum=max(places))

    def on_grid(self, low: float, high: float, bins: int) -> "ColumnProfile":
        """Numbers counted value by value, as they would have been counted on this grid."""
        counts, below, above = [0] * (bins + 2), 0.0, 0.0
        for value, count in self.values.items():
            place = min(bins + 1.0, max(0.0, math.floor((float(value) - low) / ((high - low) / bins)) + 1))
            counts[int(place)] += count
            below += float(value) * count if place == 0 else 0.0
            above += float(value) * count if place == bins + 1 else 0.0
        return replace(self, values={}, grid=Grid(low, high, tuple(counts), below, above))


@dataclass(frozen=True)
class Distributions:
    """How all that a model was asked and answered is distributed in one window: of its traffic, or of its training."""

    window: Window
    rows: int
    """Predictions, errors among them."""
    version: str | None = None
    """None: of all versions."""
    features: tuple[ColumnProfile, ...] = ()
    prediction: ColumnProfile | None = None
    """Of the rows that have one; a class."""
    score: ColumnProfile | None = None
    label: ColumnProfile | None = None
    """Of the predictions whose label has come; of numbers unless the model answers with classes."""
    residual: ColumnProfile | None = None
    """Answer less label, of a model that answers with numbers."""
