"""What is known of a column after its table has been read once: enough to compare it with another, and never its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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
