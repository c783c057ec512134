"""The ways in which a feature may be compared, each by Evidently's definition (`evidently.legacy.calculations.stattests`, 0.7).

Distances say how far a feature has moved. The two tests say how surely, and with enough rows anything is sure: beside them
stands the share of rows that would have to be other ones, so that size and certainty are both asked for whatever the method.
"""

import itertools
import math
from dataclasses import dataclass
from typing import assert_never

from agents.drift.categories import Categories, categories
from agents.drift.distances import goodness_of_fit, homogeneity, kolmogorov_smirnov, wasserstein
from agents.drift.rules import DriftRules, Method
from tools.tables.port import ColumnProfile, Grid, Value

_BY_VALUE = 20
"""Numbers of at most so many different values in the reference are binned value by value; Evidently's."""

TESTS = ("ks", "chi_squared")
"""Their score is a p-value: the smaller, the surer."""


@dataclass(frozen=True)
class Measured:
    method: Method
    score: float
    threshold: float
    p: float
    """That chance explains it, before it is adjusted for being many."""
    excess: float
    """How often the size that policy asks for is in it: from 1 on it is far enough."""


def choose(column: ColumnProfile, distinct: int, rules: DriftRules) -> Method:
    """`distinct`: different values on both sides, where they were counted one by one."""
    if column.kind in ("categorical", "boolean"):
        return rules.categorical_method
    if rules.numeric_method is not None:
        return rules.numeric_method
    return "wasserstein" if column.grid is not None or distinct > rules.few_values else rules.categorical_method


def threshold(method: Method, rules: DriftRules) -> float:
    match method:
        case "wasserstein":
            return rules.wasserstein
        case "jensen_shannon":
            return rules.jensen_shannon
        case "psi":
            return rules.psi
        case "ks" | "chi_squared":
            return rules.test_level
        case unknown:
            assert_never(unknown)


def measure(method: Method, reference: ColumnProfile, current: ColumnProfile, rules: DriftRules) -> Measured:
    """Both must have values, and where they have grids, the same."""
    limit = threshold(method, rules)
    words = reference.kind in ("categorical", "boolean")
    found = categories(reference, current)
    match method:
        case "wasserstein":
            score = wasserstein(reference, current)
            return Measured(method, score, limit, kolmogorov_smirnov(reference, current)[1], score / limit)
        case "jensen_shannon" | "psi":
            one_by_one = reference.grid is None and (words or len(reference.values) <= _BY_VALUE)
            binned = found if one_by_one else Categories(*bins(reference, current), folded=False)
            score = binned.jensen_shannon() if method == "jensen_shannon" else binned.stability_index()
            by_value = words or reference.grid is None
            p = homogeneity(found.reference, found.current) if by_value else kolmogorov_smirnov(reference, current)[1]
            return Measured(method, score, limit, p, score / limit)
        case "ks":
            distance, p = kolmogorov_smirnov(reference, current)
            return Measured(method, p, limit, p, distance / rules.min_moved if p <= limit else 0.0)
        case "chi_squared":
            score = goodness_of_fit(found.reference, found.current)
            moved = found.total_variation() / rules.min_moved
            p = homogeneity(found.reference, found.current)
            return Measured(method, score, limit, p, moved if score < limit else 0.0)
        case unknown:
            assert_never(unknown)


def bins(reference: ColumnProfile, current: ColumnProfile) -> tuple[dict[Value, int], dict[Value, int]]:
    """Counts in equal bins over both sides, as many as Sturges' rule says (1926, J. Am. Stat. Assoc. 21(153)).

    Of what was counted on a grid, bins are filled as if values lay evenly within each of the grid's 1,024, and in its tails so
    that they keep their sum: exact but for the few rows around the edges.
    """
    ends = [end for side in (reference, current) for end in (side.minimum, side.maximum) if end is not None]
    low, high = min(ends), max(ends)
    if low == high:
        return {0.0: reference.count}, {0.0: current.count}
    number = math.ceil(math.log2(reference.count + current.count) + 1)
    edges = [low + (high - low) * place / number for place in range(number + 1)]
    return _filled(reference, edges), _filled(current, edges)


def _filled(column: ColumnProfile, edges: list[float]) -> dict[Value, int]:
    if column.grid is None:
        counts = [0] * (len(edges) - 1)
        width = edges[1] - edges[0]
        for value, count in column.values.items():
            counts[min(len(counts) - 1, max(0, int((float(value) - edges[0]) / width)))] += count
    else:
        below = [0.0, *(_below(column, column.grid, edge) for edge in edges[1:-1]), float(column.count)]
        # Rounded where they add up, so that no row is counted twice.
        counts = [round(b) - round(a) for a, b in itertools.pairwise(below)]
    return {float(place): count for place, count in enumerate(counts)}


def _below(column: ColumnProfile, grid: Grid, x: float) -> float:
    """How many values are less than `x`, about."""
    assert column.minimum is not None and column.maximum is not None  # noqa: PT018
    if x < grid.low:
        return grid.counts[0] * (
            1 - _inside(grid.low - x, grid.low - column.minimum, grid.low * grid.counts[0] - grid.below, grid.counts[0])
        )
    if x >= grid.high:
        reach, weight = column.maximum - grid.high, grid.above - grid.high * grid.counts[-1]
        return column.count - grid.counts[-1] * (1 - _inside(x - grid.high, reach, weight, grid.counts[-1]))
    place = (x - grid.low) / ((grid.high - grid.low) / (len(grid.counts) - 2))
    whole = min(int(place), len(grid.counts) - 3)
    return sum(grid.counts[: whole + 1]) + grid.counts[whole + 1] * (place - whole)


def _inside(distance: float, reach: float, weight: float, count: int) -> float:
    """Share of a tail's values within `distance` of its grid: by the law on 0 to `reach` with the survival (1 - u)^k whose
    mean is the tail's."""
    if not count or distance >= reach:
        return 1.0
    mean = min(reach, max(reach * 1e-6, weight / count))
    return float(1 - (1 - distance / reach) ** (reach / mean - 1))
