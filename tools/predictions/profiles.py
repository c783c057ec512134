"""How features were distributed in a window: two queries for up to a hundred of them together.

The first sees how much there is, and where bins and categories should lie; the second counts. Counting is by grouping sets over
the features' bins, whose cost per row grows with the logarithm of the bins and which ClickHouse plans quickly.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.predictions.catalogue import Feature
from tools.predictions.port import FeatureProfile
from tools.predictions.shapes import CATEGORIES, edges, levels
from tools.predictions.statements import Query

_AT_ONCE = 100
_TICK = "toUInt64(toUnixTimestamp64Micro(at)) + latency_us"
"""Decides which values the quantiles are estimated from when there are more than 8192: the same ones every time."""


def profiles(query: Query, features: Sequence[Feature], like: Sequence[FeatureProfile]) -> Iterator[FeatureProfile]:
    given = {profile.name: profile for profile in like}
    for start in range(0, len(features), _AT_ONCE):
        some = features[start : start + _AT_ONCE]
        seen = _survey(query, some, {each.name for each in some if _fits(given.get(each.name), each)})
        shapes = [
            given[each.name] if _fits(given.get(each.name), each) else found for each, found in zip(some, seen, strict=True)
        ]
        counts = _counts(query, some, shapes)
        for feature, found, shape in zip(some, seen, shapes, strict=True):
            yield _profile(found, shape, counts[feature.name], fresh=not _fits(given.get(feature.name), feature))


def _fits(shape: FeatureProfile | None, feature: Feature) -> bool:
    return shape is not None and shape.kind == feature.kind


def _survey(query: Query, features: Sequence[Feature], shaped: set[str]) -> list[FeatureProfile]:
    """Totals, and for those that have no shape yet its beginnings."""
    parts = ["count()"]
    for feature in features:
        x = feature.column
        parts.append(f"count({x})")
        if feature.kind == "numeric":
            parts += [f"avg({x})", f"min({x})", f"max({x})"]
            if feature.name not in shaped:
                parts.append(f"quantilesDeterministic({', '.join(map(repr, levels()))})({x}, {_TICK})")
        elif feature.name not in shaped:
            parts.append(f"topK({CATEGORIES})({x})")
    ((total, *values),) = query.rows(f"SELECT {', '.join(parts)} FROM {query.predictions} WHERE {query.within}")
    row = iter(values)
    return [_surveyed(feature, int(total), row, feature.name in shaped) for feature in features]


def _surveyed(feature: Feature, total: int, row: Iterator[Any], shaped: bool) -> FeatureProfile:
    filled = int(next(row))
    seen = FeatureProfile(name=feature.name, kind=feature.kind, count=total, nulls=total - filled)
    if feature.kind == "categorical":
        return seen if shaped else seen.model_copy(update={"categories": tuple(next(row))})
    mean, minimum, maximum = next(row), next(row), next(row)
    bins = () if shaped else edges(next(row), maximum)
    if not filled:
        return seen
    return seen.model_copy(update={"mean": mean, "minimum": minimum, "maximum": maximum, "edges": bins})


def _counts(query: Query, features: Sequence[Feature], shapes: Sequence[FeatureProfile]) -> Mapping[str, Mapping[int, int]]:
    """By feature, how many values fell into each place: bins, or categories and after them all others; from 0."""
    found: dict[str, dict[int, int]] = {feature.name: {} for feature in features}
    keys, parameters = [], {}
    divided = [(feature, shape) for feature, shape in zip(features, shapes, strict=True) if shape.edges or shape.categories]
    for index, (feature, shape) in enumerate(divided):
        if feature.kind == "numeric":
            bounds = ", ".join(map(repr, (-sys.float_info.max, *shape.edges)))
            keys.append(f"roundDown({feature.column}, [{bounds}])")
        else:
            places = list(range(1, len(shape.categories) + 1))
            keys.append(f"transform({feature.column}, {{names{index}:Array(String)}}, {places}, {len(places) + 1})")
            parameters[f"names{index}"] = list(shape.categories)
    if not keys:
        return found
    named = ", ".join(f"{key} AS k{index}" for index, key in enumerate(keys))
    sets = ", ".join(f"(k{index})" for index in range(len(keys)))
    statement = f"SELECT {named}, count() FROM {query.predictions} WHERE {query.within} GROUP BY GROUPING SETS ({sets})"
    lookups = [_places(shape) for _, shape in divided]
    for *places, count in query.rows(statement, parameters):
        for (feature, _), lookup, key in zip(divided, lookups, places, strict=True):
            if key in lookup:  # in the rows of the other features' sets a key is null or 0, and so is the null's own
                found[feature.name][lookup[key]] = int(count)
    return found


def _places(shape: FeatureProfile) -> dict[Any, int]:
    if shape.kind == "numeric":
        return {edge: index for index, edge in enumerate((-sys.float_info.max, *shape.edges))}
    return {index + 1: index for index in range(len(shape.categories) + 1)}


def _profile(seen: FeatureProfile, shape: FeatureProfile, found: Mapping[int, int], *, fresh: bool) -> FeatureProfile:
    filled = seen.count - seen.nulls
    if seen.kind == "numeric":
        counts = tuple(found.get(place, 0) for place in range(len(shape.edges) + 1)) if shape.edges else (filled,)
        return seen.model_copy(update={"edges": shape.edges, "counts": counts})
    named = [(name, found.get(place, 0)) for place, name in enumerate(shape.categories)]
    if fresh:
        named.sort(key=lambda each: (-each[1], each[0]))
    # The last place also has the nulls.
    counts = (*(count for _, count in named), filled - sum(count for _, count in named))
    return seen.model_copy(update={"categories": tuple(name for name, _ in named), "counts": counts})
