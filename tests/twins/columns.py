"""One column counted in memory as the prediction store counts it."""

from collections import Counter
from collections.abc import Sequence
from math import floor, fsum, sqrt
from typing import Any

from tools.predictions.kinds import FeatureKind
from tools.tables.port import ColumnProfile, Grid
from tools.tables.shapes import BINS, FAR, FEW_VALUES, MOST_VALUES, TAIL, grid_over


def column(name: str, kind: FeatureKind, values: Sequence[Any], like: ColumnProfile | None) -> ColumnProfile:
    filled = [value for value in values if value is not None]
    size = {"name": name, "rows": len(values), "nulls": len(values) - len(filled)}
    counted = Counter(filled)
    if kind == "categorical":
        frequent = dict(sorted(counted.items(), key=lambda each: (-each[1], each[0].encode()))[:MOST_VALUES])
        others = len(filled) - sum(frequent.values())
        buckets = ColumnProfile(**size, kind=kind, values=counted).by_bucket() if others else ()
        return ColumnProfile(**size, kind=kind, values=frequent, others=others, buckets=buckets)
    near = [x for x in filled if abs(x) < FAR]
    if like is not None and like.kind != "categorical" and (like.grid is not None or like.values):
        ends = (like.grid.low, like.grid.high) if like.grid is not None else None
    else:
        ends = _ends(near) if len(counted) > FEW_VALUES and near else None
    size["not_finite"] = len(filled) - len(near)
    if ends is None:
        return ColumnProfile(**size, kind=kind, values=dict(Counter(near))).with_moments()
    width = (ends[1] - ends[0]) / BINS
    bins = [(x, min(BINS + 1, max(0, floor((x - ends[0]) / width) + 1))) for x in near]
    places = Counter(place for _, place in bins)
    grid = Grid(
        *ends,
        counts=tuple(places[place] for place in range(BINS + 2)),
        below=fsum(x for x, place in bins if place == 0),
        above=fsum(x for x, place in bins if place == BINS + 1),
    )
    plain = {**size, "kind": kind, "grid": grid}
    if not bins:
        return ColumnProfile(**plain)
    mean = fsum(x for x, _ in bins) / len(bins)
    deviation = sqrt(fsum((x - mean) ** 2 for x, _ in bins) / len(bins))
    return ColumnProfile(**plain, mean=mean, deviation=deviation, minimum=min(bins)[0], maximum=max(bins)[0])


def _ends(numbers: Sequence[float]) -> tuple[float, float] | None:
    ordered = sorted(numbers)
    low, high = (ordered[min(len(ordered) - 1, int(level * len(ordered)))] for level in (TAIL, 1 - TAIL))
    return grid_over(low, high)
