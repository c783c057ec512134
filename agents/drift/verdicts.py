"""Whether a table has drifted from another: feature by feature, by size and significance both, and why, as far as it shows."""

import math
from collections.abc import Iterable
from typing import Literal

from agents.drift.distances import false_discovery_rate, on_one_grid
from agents.drift.methods import Measured, choose, measure, threshold
from agents.drift.rules import DriftRules, Method, Share
from agents.statistics import two_proportions
from tools.tables.port import ColumnKind, ColumnProfile
from tools.values import Frozen

_HARDLY_ANY = 0.02
_SPIKE = 3.0
"""Times the share that a bin may have of numbers that are spread as they are: of an exponential distribution, which has a high
peak, a bin holds no more than its width over the deviation."""
_BESIDE = 0.25
"""Of a bin's count is at most in the one beside it, where one value is in it and not the top of a hill."""

Cause = Literal["none", "covariate_drift", "label_shift", "concept_drift", "data_quality", "seasonality", "undetermined"]
"""The inputs alone can show the first two, a fault of the data, or too little; `agents.drift.causes` knows more."""


class FeatureDrift(Frozen):
    name: str
    type: ColumnKind
    method: Method
    score: float | None
    """None where there is nothing to compare. Of `ks` and `chi_squared` a p-value, else a distance."""
    threshold: float
    p_value: float | None
    """Adjusted for the number of features."""
    drifted: bool
    n_reference: int
    n_current: int
    nulls_reference: Share
    nulls_current: Share
    faults: tuple[str, ...] = ()
    """What is wrong with its values, in words."""


class Comparison(Frozen):
    dataset_drift: bool
    drifted_share: Share
    cause: Cause
    reason: str
    features: tuple[FeatureDrift, ...]
    """Those that moved first, the most significant and largest before the others."""


def compare(pairs: Iterable[tuple[ColumnProfile, ColumnProfile]], rules: DriftRules) -> Comparison:
    """`pairs`: reference and current profile of each feature, counted alike."""
    pairs = list(pairs)
    # Faults are held to Bonferroni's bound: one that is claimed wrongly sends somebody to look for a broken pipeline.
    certain = rules.significance / max(1, len(pairs))
    looked = [_look(reference, current, rules, certain) for reference, current in pairs]
    adjusted = false_discovery_rate(
        [measured.p for found, measured in looked if measured is not None and _enough(found, rules)]
    )
    features: list[tuple[float, FeatureDrift]] = []
    for found, measured in looked:
        if measured is None or not _enough(found, rules):
            features.append((measured.excess if measured is not None else 0.0, found))
            continue
        sure = adjusted.pop(0)
        drifted = sure < rules.significance and measured.excess >= 1
        features.append((measured.excess, found.model_copy(update={"p_value": sure, "drifted": drifted})))
    features.sort(key=lambda each: (not each[1].drifted, -each[0], each[1].name))
    ordered = [each for _, each in features]
    share = sum(each.drifted for each in ordered) / len(ordered) if ordered else 0.0
    cause, reason = _explained(ordered)
    return Comparison(
        dataset_drift=bool(ordered) and share >= rules.dataset_share,
        drifted_share=share,
        cause=cause,
        reason=reason,
        features=tuple(ordered),
    )


def _look(
    reference: ColumnProfile, current: ColumnProfile, rules: DriftRules, certain: float
) -> tuple[FeatureDrift, Measured | None]:
    """The feature as measured, before its p-value is adjusted; None where there is nothing to compare."""
    reference, current = on_one_grid(reference, current)
    method = choose(reference, len(reference.values.keys() | current.values.keys()), rules)
    measured = measure(method, reference, current, rules) if reference.count and current.count else None
    found = FeatureDrift(
        name=reference.name,
        type=reference.kind,
        method=method,
        score=measured.score if measured is not None else None,
        threshold=threshold(method, rules),
        p_value=None,
        drifted=False,
        n_reference=reference.count,
        n_current=current.count,
        nulls_reference=reference.nulls / reference.rows if reference.rows else 0.0,
        nulls_current=current.nulls / current.rows if current.rows else 0.0,
        faults=tuple(_faults(reference, current, rules, certain)),
    )
    return found, measured


def _enough(found: FeatureDrift, rules: DriftRules) -> bool:
    return min(found.n_reference, found.n_current) >= rules.min_rows


def _faults(reference: ColumnProfile, current: ColumnProfile, rules: DriftRules, certain: float) -> Iterable[str]:
    if min(reference.rows, current.rows) < rules.min_rows:
        return
    for what, before, now in (
        ("null", reference.nulls, current.nulls),
        ("not finite", reference.not_finite, current.not_finite),
    ):
        if _risen(now, current.rows, before, reference.rows, rules, certain):
            yield f"{now / current.rows:.1%} are {what}, {before / reference.rows:.1%} were"
    if not reference.count or not current.count:
        return
    if current.kind == "categorical" and not reference.others:
        new = {value: count for value, count in current.values.items() if value not in reference.values}
        # What was seen once stands for what was not seen yet: Good (1953), Biometrika 40(3/4).
        unseen = 1 + sum(count == 1 for count in reference.values.values())
        if _risen(sum(new.values()), current.count, min(unseen, reference.count), reference.count, rules, certain):
            names = ", ".join(repr(value)[:40] for value in sorted(new, key=lambda value: -new[value])[:3])
            yield f"{sum(new.values()) / current.count:.1%} have a value that was never seen before, as {names}"
    if reference.deviation and current.deviation is not None and current.mean is not None and reference.mean is not None:
        if current.minimum == current.maximum and current.count >= rules.min_rows:
            # Values follow each other: a calm week has one visibility and no rain, and nothing hangs.
            if _share_of_the_one(reference, current) < rules.usual_value:
                yield f"stuck at {current.mean:.6g}"
        elif (factor := _unit(reference, current, rules)) is not None:
            yield f"another unit: middle and spread are both about {factor:.3g} times what they were"
        elif (stuck := _stuck(*on_one_grid(reference, current), rules, certain)) is not None:
            yield stuck


def _share_of_the_one(reference: ColumnProfile, current: ColumnProfile) -> Share:
    """How many of the reference's values are the one value that `current` has; where both are on a grid, lie in its bin."""
    if reference.grid is None or current.grid is None:
        return sum(n for value, n in reference.values.items() if value == current.minimum) / reference.count
    place = max(range(len(current.grid.counts)), key=current.grid.counts.__getitem__)
    return reference.grid.counts[place] / reference.count


def _stuck(reference: ColumnProfile, current: ColumnProfile, rules: DriftRules, certain: float) -> str | None:
    """One value, or one narrow bin, that many rows have now and hardly any had: a sensor that hangs, a mark for 'unknown'."""
    if reference.grid is None or current.grid is None:
        return None
    before, now, grid = reference.grid.counts, current.grid.counts, current.grid
    shares = [b / current.count - a / reference.count for a, b in zip(before, now, strict=True)]
    place = max(range(len(shares)), key=shares.__getitem__)
    if shares[place] < rules.min_stuck or before[place] / reference.count > _HARDLY_ANY:
        return None
    if two_proportions(now[place], current.count, before[place], reference.count) >= certain / len(shares):
        return None
    ends = {0: (current.minimum, grid.below), len(now) - 1: (current.maximum, grid.above)}
    if place in ends:
        value, total = ends[place]
        if value is None or not math.isclose(total, value * now[place], rel_tol=1e-6):
            return None
    else:
        width = (grid.high - grid.low) / (len(now) - 2)
        # Where all lie close together beside what they were, the bins are too wide to tell one value from many.
        if now[place] / current.count * (current.deviation or 0.0) < _SPIKE * width:
            return None
        if max(now[place - 1], now[place + 1]) > _BESIDE * now[place]:
            return None
        value = grid.low + (place - 0.5) * width
    return f"{now[place] / current.count:.1%} are stuck at about {value:.6g}, {before[place] / reference.count:.1%} were"


def _risen(now: int, rows: int, before: int, rows_before: int, rules: DriftRules, certain: float) -> bool:
    grown = now / rows - before / rows_before >= rules.min_null_rise
    return grown and two_proportions(now, rows, before, rows_before) < certain


def _unit(reference: ColumnProfile, current: ColumnProfile, rules: DriftRules) -> float | None:
    if not reference.mean or not current.mean or not reference.deviation or not current.deviation:
        return None
    middle, spread = current.mean / reference.mean, current.deviation / reference.deviation
    far = max(spread, 1 / spread) >= rules.unit_factor
    return spread if far and 0.5 <= middle / spread <= 2 else None


def _explained(features: list[FeatureDrift]) -> tuple[Cause, str]:
    faulty = [each for each in features if each.faults]
    if faulty:
        return "data_quality", "; ".join(f"{each.name}: {each.faults[0]}" for each in faulty[:5])
    moved = [each.name for each in features if each.drifted]
    if moved:
        return (
            "covariate_drift",
            f"{', '.join(moved[:5])}{' and others' if len(moved) > 5 else ''} moved, and no value is broken",
        )
    if all(each.p_value is None for each in features):
        return "undetermined", "too few rows to claim anything"
    return "none", "no feature moved beyond chance and policy"
