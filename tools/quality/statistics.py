"""What was measured of a batch: kept beside it, as the history that later batches are judged by. Never its rows."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, ValidationError

from tools.errors import PermanentError
from tools.tables.port import ColumnKind
from tools.values import Frozen, Instant

POINTS = 51
"""Quantiles of a column of numbers: from its least to its greatest value, every 2 %."""
_NORMAL = 1.4826
"""The median of the deviations of normal values times this is their standard deviation."""


class ColumnStatistics(Frozen):
    """Of the accepted rows. A datetime's numbers are seconds since the epoch, UTC."""

    name: str
    kind: ColumnKind
    rows: int
    nulls: int = 0
    not_finite: int = 0
    distinct: int = 0
    exact: bool = True
    """Whether `distinct` was counted; otherwise it is estimated, within some 5 %."""
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    deviation: float | None = None
    """Standard deviation, of the population."""
    quantiles: tuple[float, ...] = ()
    """POINTS of them, or none; of a sample where there are many values, with exact ends."""
    top: tuple[tuple[str | bool, int], ...] = ()
    """Of text and truth: the most frequent values and their counts."""
    complete: bool = False
    """Whether `top` has all values."""

    @property
    def count(self) -> int:
        """Values that say something."""
        return self.rows - self.nulls - self.not_finite

    @property
    def null_share(self) -> float:
        return self.nulls / self.rows if self.rows else 0.0

    def quantile(self, share: float) -> float | None:
        return between(self.quantiles, share) if self.quantiles else None


class RuleCount(Frozen):
    """How many rows did not keep one rule."""

    column: str
    """Empty: the rule is not of one column."""
    rule: str
    rows: int
    example: str = ""
    """The reason as the first of them has it."""


class BatchStatistics(Frozen):
    format: Literal[1] = 1
    schema_version: str = ""
    read: int
    accepted: int
    quarantined: int
    broken: tuple[RuleCount, ...] = ()
    """Why rows were quarantined; a row may have several reasons."""
    odd: tuple[RuleCount, ...] = ()
    """Outliers that were noted and kept."""
    newest: Instant | None = None
    """Of the accepted rows, when the latest of what they tell of happened."""
    columns: tuple[ColumnStatistics, ...] = ()

    @property
    def bad_share(self) -> float:
        return self.quarantined / self.read if self.read else 0.0


class Spread(Frozen):
    """Where the numbers of a column lie, in terms that outliers do not move."""

    median: float
    deviation: float
    """The median of the distances from the median, as a standard deviation; 0: more than half are one value."""
    low: float = Field(description="Lower quartile.")
    high: float = Field(description="Upper quartile.")
    ends: tuple[float, float] = Field(description="3 % of the values are below the first, and as many above the second.")


def between(sorted_values: Sequence[float], share: float) -> float:
    """Linearly between two values, as numpy's default."""
    place = share * (len(sorted_values) - 1)
    below = int(place)
    above = min(below + 1, len(sorted_values) - 1)
    return sorted_values[below] + (sorted_values[above] - sorted_values[below]) * (place - below)


def spread(columns: Sequence[ColumnStatistics]) -> Spread | None:
    """Of one column in several batches, each weighing what it has rows. None where there are no numbers."""
    points = sorted(
        (value, each.count / len(each.quantiles))
        for each in columns
        if each.quantiles and each.count
        for value in each.quantiles
    )
    if not points:
        return None
    median = _weighted(points, 0.5)
    away = sorted((abs(value - median), weight) for value, weight in points)
    return Spread(
        median=median,
        deviation=_weighted(away, 0.5) * _NORMAL,
        low=_weighted(points, 0.25),
        high=_weighted(points, 0.75),
        ends=(_weighted(points, 0.03), _weighted(points, 0.97)),
    )


def _weighted(points: Sequence[tuple[float, float]], share: float) -> float:
    total, passed = sum(weight for _, weight in points), 0.0
    for value, weight in points:
        passed += weight
        if passed >= share * total:
            return value
    return points[-1][0]


def written(statistics: BatchStatistics) -> str:
    return statistics.model_dump_json()


def read(text: str) -> BatchStatistics:
    """Raises PermanentError where the text is not what `written` makes."""
    try:
        return BatchStatistics.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise PermanentError(f"statistics of a batch: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
