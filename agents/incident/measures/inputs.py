"""What came in, now and in the same hours before: has the population moved, or is the data itself broken?

A feature counts once. One that is broken (nulls, values out of range, stuck, never seen) has of course also moved; it is a
fault of the data then, not drift.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from agents.evidence import Evidence
from agents.incident.measures.shifts import Shift, asked
from agents.incident.observations import Observations
from agents.policies import Investigation
from agents.statistics import population_stability, two_proportions
from agents.wording import number, share
from tools.predictions.port import FeatureProfile

_STUCK_SHARE = 0.9
"""A feature of which nearly all values were one already is not news when all are."""
_SHRUNK = 20
"""Values that fill less than this part of their former range have changed their unit."""
_SHOWN = 8
"""Of many drifted features the strongest are evidence; the summary says how many there are."""


@dataclass(frozen=True)
class Inputs:
    compared: int
    """Features with enough values on both sides."""
    drifted: tuple[Shift, ...]
    """Strongest first."""
    faults: tuple[Shift, ...]
    summary: Evidence | None

    @property
    def still(self) -> bool:
        """Compared, and nothing moved."""
        return self.compared > 0 and not self.drifted and not self.faults


def inputs(observations: Observations, rules: Investigation) -> Inputs:
    before = {each.name: each for each in observations.before.features}
    pairs = [
        (each, before[each.name])
        for each in observations.now.features
        if each.name in before and min(each.count, before[each.name].count) >= rules.min_predictions
    ]
    if not pairs:
        return Inputs(0, (), (), None)
    # One of many features moves by chance; the level holds for all of them together.
    level = rules.significance / len(pairs)
    query = asked("predictions.feature_profiles", observations.model, observations.now.window)
    usual = {each.name: each for each in observations.earlier.features} if observations.earlier else {}
    faults: list[Shift] = []
    drifted: list[Shift] = []
    for now, then in pairs:
        if found := _fault(now, then, level, rules, query):
            faults.append(found)
        elif (moved := _drift(now, then, usual.get(now.name), level, rules, query)).real:
            drifted.append(moved)
    faults.sort(key=lambda each: -each.size / each.limit)
    drifted.sort(key=lambda each: -each.size)
    names = ", ".join(each.evidence.id.removeprefix("drift.") for each in drifted[:_SHOWN])
    said = f"{len(drifted)} moved ({names})" if drifted else "none moved"
    summary = Evidence(
        id="inputs",
        statement=f"Of {len(pairs)} features compared with the same hours before, {said}, {len(faults)} are broken.",
        source="predictions",
        query=query,
        value=float(len(drifted)),
        unit="features",
        sample_size=min(each.count for pair in pairs for each in pair),
        window=observations.now.window,
    )
    return Inputs(len(pairs), tuple(drifted[:_SHOWN]), tuple(faults[:_SHOWN]), summary)


def distribution(
    now: dict[str, int], then: dict[str, int], what: str, observations: Observations, rules: Investigation
) -> Shift | None:
    """How far the shares of classes have moved; None where there is nothing on a side."""
    names = sorted(now.keys() | then.keys())
    a, b = [now.get(name, 0) for name in names], [then.get(name, 0) for name in names]
    if not sum(a) or not sum(b):
        return None
    index, chance, p_value = population_stability(a, b)
    shares = ", ".join(
        f"{name!r} {share(x / sum(a))} (was {share(y / sum(b))})" for name, x, y in zip(names, a, b, strict=True)
    )
    return Shift(
        evidence=Evidence(
            id=what,
            statement=f"The {what} are {shares}: PSI {index:.2f}, of which chance explains {chance:.2f}.",
            source="predictions",
            query=asked("predictions.versions", observations.model, observations.now.window),
            value=index,
            limit=rules.min_psi,
            sample_size=min(sum(a), sum(b)),
            window=observations.now.window,
        ),
        size=index - chance,
        limit=rules.min_psi,
        significant=p_value < rules.significance,
        enough=min(sum(a), sum(b)) >= rules.min_predictions,
    )


def _drift(
    now: FeatureProfile,
    then: FeatureProfile,
    usual: FeatureProfile | None,
    level: float,
    rules: Investigation,
    query: str,
) -> Shift:
    index, chance, p_value = population_stability(now.counts, then.counts) if _same_bins(now, then) else (0.0, 0.0, 1.0)
    moved = max(0.0, index - chance)
    needed, aside = rules.min_psi, ""
    if usual is not None and _same_bins(then, usual):
        ordinary, ordinary_chance, _ = population_stability(then.counts, usual.counts)
        needed = max(needed, rules.usual_factor * max(0.0, ordinary - ordinary_chance))
        aside = f"; from one season to the next it moved {ordinary:.2f} before"
    means = f", mean {number(now.mean)} (was {number(then.mean)})" if now.mean is not None and then.mean is not None else ""
    return Shift(
        evidence=Evidence(
            id=f"drift.{now.name}",
            statement=f"{now.name} has moved: PSI {index:.2f}, of which chance explains {chance:.2f}{means}{aside}.",
            source="predictions",
            query=query,
            value=index,
            limit=needed,
            sample_size=min(sum(now.counts), sum(then.counts)),
        ),
        size=moved,
        limit=needed,
        significant=p_value < level,
        enough=min(sum(now.counts), sum(then.counts)) >= rules.min_predictions,
    )


def _fault(now: FeatureProfile, then: FeatureProfile, level: float, rules: Investigation, query: str) -> Shift | None:
    found = [*_nulls(now, then, level, rules), *_stuck(now, then, rules), *_strange(now, then, level, rules)]
    if not found:
        return None
    kind, size, statement = max(found, key=lambda each: each[1])
    return Shift(
        evidence=Evidence(
            id=f"{kind}.{now.name}",
            statement=statement,
            source="predictions",
            query=query,
            value=size,
            limit=rules.min_null_rise,
            sample_size=now.count,
        ),
        size=size,
        limit=rules.min_null_rise,
        significant=True,
        enough=True,
    )


_Fault = tuple[str, float, str]
"""Kind, share of the values that it concerns, and the sentence."""


def _nulls(now: FeatureProfile, then: FeatureProfile, level: float, rules: Investigation) -> Iterable[_Fault]:
    rise = now.nulls / now.count - then.nulls / then.count
    if rise >= rules.min_null_rise and two_proportions(now.nulls, now.count, then.nulls, then.count) < level:
        was = share(then.nulls / then.count)
        yield "nulls", rise, f"{now.name} is null in {share(now.nulls / now.count)} of {now.count:,} requests, it was in {was}."


def _stuck(now: FeatureProfile, then: FeatureProfile, rules: Investigation) -> Iterable[_Fault]:
    filled, filled_then = sum(now.counts), sum(then.counts)
    if filled < rules.min_predictions or filled_then < rules.min_predictions:
        return
    varied = max(then.counts) / filled_then < _STUCK_SHARE
    if now.kind == "numeric":
        if now.minimum is not None and now.minimum == now.maximum and then.minimum != then.maximum and varied:
            yield "stuck", 1.0, f"{now.name} is {number(now.minimum)} in all of {filled:,} requests, it used to vary."
    elif max(now.counts) == filled and varied:
        place = now.counts.index(filled)
        value = repr(now.categories[place]) if place < len(now.categories) else "a value never seen before"
        yield "stuck", 1.0, f"{now.name} is {value} in all of {filled:,} requests, it used to vary."


def _strange(now: FeatureProfile, then: FeatureProfile, level: float, rules: Investigation) -> Iterable[_Fault]:
    if not _same_bins(now, then):
        return
    if now.kind == "categorical":
        yield from _rise(now, then, -1, "unseen", f"{now.name} has values never seen before", level, rules)
        return
    if None in (now.minimum, now.maximum, then.minimum, then.maximum):
        return
    low, high, old_low, old_high = now.minimum or 0.0, now.maximum or 0.0, then.minimum or 0.0, then.maximum or 0.0
    reach = old_high - old_low
    said = f"{now.name} lies between {number(low)} and {number(high)} (was {number(old_low)} to {number(old_high)})"
    # One wild value is an outlier; a whole share of them past the end of what there was is another unit or a sentinel.
    if reach > 0 and high - old_high > reach:
        yield from _rise(now, then, -1, "range", said, level, rules)
    if reach > 0 and old_low - low > reach:
        yield from _rise(now, then, 0, "range", said, level, rules)
    if 0 < high - low < reach / _SHRUNK and population_stability(now.counts, then.counts)[2] < level:
        yield "range", 1.0, f"{said}: hardly any of its former range is left."


def _rise(
    now: FeatureProfile, then: FeatureProfile, bin_: int, kind: str, said: str, level: float, rules: Investigation
) -> Iterable[_Fault]:
    total, total_then = sum(now.counts), sum(then.counts)
    if not total or not total_then:
        return
    rise = now.counts[bin_] / total - then.counts[bin_] / total_then
    if rise >= rules.min_null_rise and two_proportions(now.counts[bin_], total, then.counts[bin_], total_then) < level:
        yield kind, rise, f"{said}, in {share(now.counts[bin_] / total)} of {total:,} requests."


def _same_bins(now: FeatureProfile, then: FeatureProfile) -> bool:
    return now.edges == then.edges and now.categories == then.categories and len(now.counts) == len(then.counts) > 0
