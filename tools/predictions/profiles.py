"""How features were distributed in some windows: two queries for up to a hundred of them together.

The first sees how much there is, and where bins and categories should lie; the second counts. Counting is by grouping sets over
the features' bins, whose cost per row grows with the logarithm of the bins and which ClickHouse plans quickly.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.predictions.catalogue import Feature
from tools.predictions.port import FeatureProfile
from tools.predictions.shapes import CATEGORIES, edges, levels
from tools.predictions.statements import Query

_AT_ONCE = 100
_TICK = "toUInt64(toUnixTimestamp64Micro(at)) + latency_us"
"""Decides which values the quantiles are estimated from when there are more than 8192: the same ones every time."""

Surveyed = list[FeatureProfile]
"""Of one window, feature by feature; with bins and categories where it is the first and they were not given."""
Counts = Mapping[int, int]
"""How many values fell into each place: bins, or categories and after them all others; from 0."""


def profiles(query: Query, features: Sequence[Feature], like: Sequence[FeatureProfile]) -> list[tuple[FeatureProfile, ...]]:
    """One tuple per window, all on the bins of `like`, or, of what is not in it, of the first window."""
    given = {profile.name: profile for profile in like}
    found: list[list[FeatureProfile]] = [[] for _ in query.windows]
    for start in range(0, len(features), _AT_ONCE):
        some = features[start : start + _AT_ONCE]
        shaped = {each.name for each in some if _fits(given.get(each.name), each)}
        windows = _survey(query, some, shaped)
        shapes = [given[each.name] if each.name in shaped else seen for each, seen in zip(some, windows[0], strict=True)]
        counts = _counts(query, some, shapes)
        orders = [
            _order(shape, counts[0, feature.name], fresh=feature.name not in shaped)
            for feature, shape in zip(some, shapes, strict=True)
        ]
        for place, seen in enumerate(windows):
            for each, shape, order in zip(seen, shapes, orders, strict=True):
                found[place].append(_profile(each, shape, order, counts[place, each.name]))
    return [tuple(each) for each in found]


def _fits(shape: FeatureProfile | None, feature: Feature) -> bool:
    return shape is not None and shape.kind == feature.kind


def _survey(query: Query, features: Sequence[Feature], shaped: set[str]) -> list[Surveyed]:
    """Totals of every window, and of the first the beginnings of a shape for those that have none yet."""
    parts = ["w", "count()"]
    for feature in features:
        x = feature.column
        parts.append(f"count({x})")
        if feature.kind == "numeric":
            parts += [f"avg({x})", f"min({x})", f"max({x})"]
            if feature.name not in shaped:
                parts.append(f"quantilesDeterministicIf({', '.join(map(repr, levels()))})({x}, tick, w = 0)")
        elif feature.name not in shaped:
            parts.append(f"topKIf({CATEGORIES})({x}, w = 0)")
    source = query.predictions((f"{_TICK} AS tick", *(feature.column for feature in features)))
    rows = query.rows(f"SELECT {', '.join(parts)} FROM {source} GROUP BY w")
    found = {place: _surveyed(features, int(total), iter(values), shaped) for place, total, *values in rows}
    nothing = [FeatureProfile(name=feature.name, kind=feature.kind, count=0, nulls=0) for feature in features]
    return [found.get(place, nothing) for place in range(len(query.windows))]


def _surveyed(features: Sequence[Feature], total: int, row: Iterator[Any], shaped: set[str]) -> Surveyed:
    return [_seen(feature, total, row, feature.name in shaped) for feature in features]


def _seen(feature: Feature, total: int, row: Iterator[Any], shaped: bool) -> FeatureProfile:
    filled = int(next(row))
    seen = FeatureProfile(name=feature.name, kind=feature.kind, count=total, nulls=total - filled)
    if feature.kind == "categorical":
        return seen if shaped else seen.model_copy(update={"categories": tuple(next(row))})
    mean, minimum, maximum = next(row), next(row), next(row)
    bins = () if shaped else edges(next(row), maximum)
    if not filled:
        return seen
    return seen.model_copy(update={"mean": mean, "minimum": minimum, "maximum": maximum, "edges": bins})


def _counts(query: Query, features: Sequence[Feature], shapes: Sequence[FeatureProfile]) -> Mapping[tuple[int, str], Counts]:
    """By window and feature."""
    found: defaultdict[tuple[int, str], dict[int, int]] = defaultdict(dict)
    keys, parameters = [], {}
    divided = [(feature, shape) for feature, shape in zip(features, shapes, strict=True) if shape.edges or shape.categories]
    for index, (feature, shape) in enumerate(divided):
        if feature.kind == "numeric":
            bounds = ", ".join(map(repr, (-sys.float_info.max, *shape.edges)))
            keys.append(f"roundDown({feature.column}, [{bounds}])")
        else:
            places = list(range(1, len(shape.categories) + 1))
            place = f"transform({feature.column}, {{names{index}:Array(String)}}, {places}, {len(places) + 1})"
            keys.append(f"if({feature.column} IS NULL, 0, {place})")
            parameters[f"names{index}"] = list(shape.categories)
    if not keys:
        return found
    named = ", ".join(f"{key} AS k{index}" for index, key in enumerate(keys))
    sets = ", ".join(f"(w, k{index})" for index in range(len(keys)))
    source = query.predictions([feature.column for feature, _ in divided])
    statement = f"SELECT w, {named}, count() FROM {source} GROUP BY GROUPING SETS ({sets})"
    lookups = [_places(shape) for _, shape in divided]
    for window, *places, count in query.rows(statement, parameters):
        for (feature, _), lookup, key in zip(divided, lookups, places, strict=True):
            if key in lookup:  # in the rows of the other features' sets a key is null or 0, and so is the null's own
                found[window, feature.name][lookup[key]] = int(count)
    return found


def _places(shape: FeatureProfile) -> dict[Any, int]:
    if shape.kind == "numeric":
        return {edge: index for index, edge in enumerate((-sys.float_info.max, *shape.edges))}
    return {index + 1: index for index in range(len(shape.categories) + 1)}


def _order(shape: FeatureProfile, found: Counts, *, fresh: bool) -> list[int]:
    """Places of the categories in the order in which they are shown: as they were given, or the most frequent first."""
    places = list(range(len(shape.categories)))
    return sorted(places, key=lambda place: (-found.get(place, 0), shape.categories[place])) if fresh else places


def _profile(seen: FeatureProfile, shape: FeatureProfile, order: Sequence[int], found: Counts) -> FeatureProfile:
    filled = seen.count - seen.nulls
    if seen.kind == "numeric":
        counts = tuple(found.get(place, 0) for place in range(len(shape.edges) + 1)) if shape.edges else (filled,)
        return seen.model_copy(update={"edges": shape.edges, "counts": counts})
    categories = tuple(shape.categories[place] for place in order)
    # All from one statement: rows may have come since the survey, and no count is negative.
    others = found.get(len(categories), 0) if categories else filled
    return seen.model_copy(update={"categories": categories, "counts": (*(found.get(place, 0) for place in order), others)})
