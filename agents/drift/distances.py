"""How far two distributions are apart, and whether chance explains it; from counts alone, so at any number of rows.

Definitions are Evidently's 0.7 (`evidently.legacy.calculations.stattests`), whose numbers engineers know: Wasserstein distance
over the reference's standard deviation, Jensen-Shannon distance with natural logarithms. Two sides are compared on one grid, or
value by value.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

from agents.statistics import chi_square_tail
from tools.tables.port import ColumnProfile, Value

_LEAST_DEVIATION = 0.001
"""Evidently's: a reference that does not vary would make every shift infinite."""
_LITTLE = 0.0001
"""Evidently's share of what did not occur."""
_LEAST_EXPECTED = 5.0
"""Cochran's rule: below it the chi-square distribution does not hold, and categories are taken together."""


def on_one_grid(reference: ColumnProfile, current: ColumnProfile) -> tuple[ColumnProfile, ColumnProfile]:
    """Where one side was counted on a grid and the other value by value, both on that grid."""
    if reference.grid is not None and current.grid is None:
        current = current.on_grid(reference.grid.low, reference.grid.high, len(reference.grid.counts) - 2)
    elif current.grid is not None and reference.grid is None:
        reference = reference.on_grid(current.grid.low, current.grid.high, len(current.grid.counts) - 2)
    return reference, current


def wasserstein(reference: ColumnProfile, current: ColumnProfile) -> float:
    """First Wasserstein distance over the reference's standard deviation: the area between the two distribution functions.

    Exact on values. On a grid it is exact in the tails, unless the functions cross there, and linear within a bin.
    """
    if reference.deviation is None:
        raise ValueError(f"{reference.name} has no numbers")
    area = (
        _area_on_grid(reference, current)
        if reference.grid is not None and current.grid is not None
        else _area_on_values(_numbers(reference), _numbers(current))
    )
    return area / max(reference.deviation, _LEAST_DEVIATION)


def kolmogorov_smirnov(reference: ColumnProfile, current: ColumnProfile) -> tuple[float, float]:
    """(the largest distance between the two distribution functions, p-value).

    The asymptotic distribution with Stephens' correction for small samples (1970, J. R. Stat. Soc. B 32(1)); ties and bins make
    it conservative.
    """
    if reference.grid is not None and current.grid is not None:
        pairs: Sequence[tuple[float, float]] = list(zip(reference.grid.counts, current.grid.counts, strict=True))
    else:
        mine, theirs = _numbers(reference), _numbers(current)
        pairs = [(mine.get(each, 0), theirs.get(each, 0)) for each in sorted(mine.keys() | theirs.keys())]
    n, m = reference.count, current.count
    largest = f = g = 0.0
    for a, b in pairs:
        f, g = f + a / n, g + b / m
        largest = max(largest, abs(f - g))
    effective = math.sqrt(n * m / (n + m))
    return largest, _kolmogorov_tail((effective + 0.12 + 0.11 / effective) * largest)


def jensen_shannon(reference: Mapping[Value, int], current: Mapping[Value, int]) -> float:
    """Jensen-Shannon distance: the square root of the divergence in nats, between 0 and sqrt(ln 2)."""
    n, m = sum(reference.values()), sum(current.values())
    divergence = 0.0
    for value in reference.keys() | current.keys():
        p, q = reference.get(value, 0) / n, current.get(value, 0) / m
        middle = (p + q) / 2
        divergence += (p * math.log(p / middle) if p else 0.0) + (q * math.log(q / middle) if q else 0.0)
    return math.sqrt(max(0.0, divergence / 2))


def stability_index(reference: Mapping[Value, int], current: Mapping[Value, int]) -> float:
    """Population stability index. A share of none counts as 0.0001, or as a millionth of the least share where that is less."""
    n, m = sum(reference.values()), sum(current.values())
    keys = reference.keys() | current.keys()
    ours = _without_nothing([reference.get(key, 0) / n for key in keys])
    theirs = _without_nothing([current.get(key, 0) / m for key in keys])
    return math.fsum((p - q) * math.log(p / q) for p, q in zip(ours, theirs, strict=True))


def _without_nothing(shares: list[float]) -> list[float]:
    least = min(share for share in shares if share)
    nothing = least / 1e6 if least <= _LITTLE else _LITTLE
    return [share or nothing for share in shares]


def goodness_of_fit(reference: Mapping[Value, int], current: Mapping[Value, int]) -> float:
    """p-value of the current shares being the reference's: Pearson's chi-square as if these were known without error."""
    scale = sum(current.values()) / sum(reference.values())
    keys = reference.keys() | current.keys()
    if any(not reference.get(key, 0) for key in keys):
        return 0.0
    statistic = math.fsum((current.get(key, 0) - reference[key] * scale) ** 2 / (reference[key] * scale) for key in keys)
    return chi_square_tail(statistic, len(keys) - 1) if len(keys) > 1 else 1.0


def total_variation(reference: Mapping[Value, int], current: Mapping[Value, int]) -> float:
    """Share of rows that would have to have another value for both sides to be the same."""
    n, m = sum(reference.values()), sum(current.values())
    return sum(abs(reference.get(key, 0) / n - current.get(key, 0) / m) for key in reference.keys() | current.keys()) / 2


def homogeneity(reference: Mapping[Value, int], current: Mapping[Value, int]) -> float:
    """p-value of both sides having the same shares: Pearson's chi-square over the table of two rows, rare categories as one."""
    n, m = sum(reference.values()), sum(current.values())
    smaller = min(n, m) / (n + m)
    cells: list[tuple[int, int]] = []
    rare = (0, 0)
    for value in reference.keys() | current.keys():
        pair = (reference.get(value, 0), current.get(value, 0))
        if sum(pair) * smaller < _LEAST_EXPECTED:
            rare = (rare[0] + pair[0], rare[1] + pair[1])
        else:
            cells.append(pair)
    if sum(rare) * smaller >= _LEAST_EXPECTED:
        cells.append(rare)
    n, m = sum(a for a, _ in cells), sum(b for _, b in cells)
    if len(cells) < 2 or not n or not m:
        return 1.0
    statistic = 0.0
    for a, b in cells:
        for observed, expected in ((a, (a + b) * n / (n + m)), (b, (a + b) * m / (n + m))):
            statistic += (observed - expected) ** 2 / expected
    return chi_square_tail(statistic, len(cells) - 1)


def false_discovery_rate(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being many. Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57(1)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place], reverse=True)
    adjusted, least = [1.0] * len(p_values), 1.0
    for rank, place in zip(range(len(p_values), 0, -1), order, strict=True):
        least = min(least, p_values[place] * len(p_values) / rank)
        adjusted[place] = least
    return adjusted


def _numbers(column: ColumnProfile) -> dict[float, int]:
    return {float(value): count for value, count in column.values.items()}


def _area_on_values(reference: Mapping[float, int], current: Mapping[float, int]) -> float:
    n, m = sum(reference.values()), sum(current.values())
    area = f = g = 0.0
    places = sorted(reference.keys() | current.keys())
    for place, following in itertools.pairwise(places):
        f, g = f + reference.get(place, 0) / n, g + current.get(place, 0) / m
        area += abs(f - g) * (following - place)
    return area


def _area_on_grid(reference: ColumnProfile, current: ColumnProfile) -> float:
    ours, theirs = reference.grid, current.grid
    assert ours is not None and theirs is not None  # noqa: PT018
    if (ours.low, ours.high, len(ours.counts)) != (theirs.low, theirs.high, len(theirs.counts)):
        raise ValueError(f"{reference.name} was counted on two grids")
    n, m = reference.count, current.count
    width = (ours.high - ours.low) / (len(ours.counts) - 2)
    before = ours.counts[0] / n - theirs.counts[0] / m
    area = abs(ours.low * before - (ours.below / n - theirs.below / m))
    for a, b in zip(ours.counts[1:-1], theirs.counts[1:-1], strict=True):
        after = before + a / n - b / m
        area += width * _mean_size(before, after)
        before = after
    return area + abs((ours.above / n - theirs.above / m) - ours.high * -before)


def _mean_size(start: float, end: float) -> float:
    """Mean of the absolute value of a line from `start` to `end`."""
    if start * end >= 0:
        return (abs(start) + abs(end)) / 2
    return (start * start + end * end) / (2 * (abs(start) + abs(end)))


def _kolmogorov_tail(x: float) -> float:
    """P(K > x) for Kolmogorov's distribution, by its two series: the one that converges quickly there."""
    if x <= 0:
        return 1.0
    if x < 1.18:
        y = math.exp(-(math.pi**2) / (8 * x * x))
        return max(0.0, 1 - math.sqrt(2 * math.pi) / x * (y + y**9 + y**25 + y**49))
    return min(1.0, 2 * sum(math.exp(-2 * (k * x) ** 2) * (1 if k % 2 else -1) for k in range(1, 5)))
