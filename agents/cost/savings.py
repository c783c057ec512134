"""What a change has saved, from the ledger's hours before and after it; pure.

Each hour after the change is held against the same hours of days before it: what its units (predictions, or the hour itself)
would have cost then, less what they did cost. Where no such hour is on record, all hours before stand in for it, and the
interval has their spread in it as well. Student's interval of the mean, widened for the number of looks that are taken at one
change (Bonferroni): looked at often, chance alone would show a saving some day.

What it cannot see: hours that follow one another are alike, so that intervals are somewhat too narrow, and whatever else has
changed at the same moment. A claim is what the ledger shows, not why.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from statistics import fmean, variance
from typing import Literal, NamedTuple

from agents.statistics import student_quantile
from agents.wording import between, counted, money
from tools.costs.port import Currency
from tools.values import Frozen, Instant

DAY_H = 24
LOOKS = (0.25, 0.5, 1.0)
"""Shares of the time that policy gives it, after which it is looked at: each look costs width."""
_PLACES = Decimal("0.000000001")
_THOUSAND = 1_000


class Claim(StrEnum):
    HOLDS = "holds"
    """All of the interval is above nothing."""
    NOT_SHOWN = "not_shown"
    WORSE = "worse"
    """All of it is below nothing: it costs more."""


class Hour(Frozen):
    """Of the ledger: what was paid, and for how many units."""

    start: Instant
    cost: Decimal
    units: Decimal
    """Predictions; core-hours of trainings; or 1, where it is by the hour."""


class Saved(Frozen):
    """Measured, at the prices and the units of the hours after the change."""

    claim: Claim
    per: Literal["day", "once"] = "day"
    """Of what `value`, `low` and `high` are: a day, or all that there is to it. Once: between what is known bounds it, which is
    no interval of chance, and `level` is 0."""
    value: Decimal
    low: Decimal
    high: Decimal
    currency: Currency
    before: Decimal
    """Per `unit`, as is `after`."""
    after: Decimal
    unit: Literal["1,000 predictions", "hour", "core-hour"]
    hours_before: int
    hours_after: int
    paired: int
    """Hours after, of which the same hour of an earlier day is on record."""
    level: float
    """One less the confidence of the interval."""

    def __str__(self) -> str:
        rates = [money(each, self.currency) for each in (self.before, self.after)]
        per = f"{rates[0]} before and {rates[1]} since, per {self.unit}"
        sure = f"{1 - self.level:.1%} interval {between(self.low, self.high, self.currency)}"
        if self.per == "once":
            return f"{money(self.value, self.currency)} in total ({between(self.low, self.high, self.currency)})"
        size = f"{counted(self.hours_after, 'hour')} since, {self.paired:,} of them beside the same hour of a day before"
        return f"{money(self.value, self.currency)} per day ({sure}; {per}; {size})"


class _Moments(NamedTuple):
    mean: float
    error: float
    """Standard error of the mean."""
    degrees: float


def saved(
    before: Sequence[Hour],
    after: Sequence[Hour],
    *,
    currency: str,
    unit: Literal["1,000 predictions", "hour", "core-hour"],
    least: int,
    level: float,
    hours_a_day: float = DAY_H,
) -> Saved | None:
    """None where there are fewer than `least` hours with units on either side. `level`: of this look alone. `hours_a_day`: of
    such hours as those after; all of them where something is used all day."""
    old, new = ([each for each in hours if each.units > 0] for hours in (before, after))
    if min(len(old), len(new)) < max(least, 2):
        return None
    by_hour: dict[int, list[Hour]] = defaultdict(list)
    for each in old:
        by_hour[each.start.hour].append(each)
    pairs = [each for each in new if each.start.hour in by_hour]
    found = _paired(pairs, by_hour) if len(pairs) >= least else _apart(old, new)
    half = student_quantile(level / 2, found.degrees) * found.error
    low, value, high = (_money(hours_a_day * each) for each in (found.mean - half, found.mean, found.mean + half))
    claim = Claim.HOLDS if low > 0 else Claim.WORSE if high < 0 else Claim.NOT_SHOWN
    scale = _THOUSAND if unit == "1,000 predictions" else 1
    was, now = (_rate(hours) * scale for hours in (old, new))
    return Saved(
        claim=claim,
        value=value,
        low=low,
        high=high,
        currency=currency,
        before=was.quantize(_PLACES),
        after=now.quantize(_PLACES),
        unit=unit,
        hours_before=len(old),
        hours_after=len(new),
        paired=len(pairs),
        level=level,
    )


def _paired(pairs: Sequence[Hour], by_hour: dict[int, list[Hour]]) -> _Moments:
    """Money saved in each hour: at its own units, by the rate of the same hours before."""
    gains = [float(_rate(by_hour[each.start.hour]) * each.units - each.cost) for each in pairs]
    return _Moments(fmean(gains), math.sqrt(variance(gains) / len(gains)), len(gains) - 1)


def _apart(old: Sequence[Hour], new: Sequence[Hour]) -> _Moments:
    """Welch: the difference of the mean rates, at the mean units of the hours after."""
    units = float(sum((each.units for each in new), Decimal(0))) / len(new)
    was, now = ([float(each.cost / each.units) for each in hours] for hours in (old, new))
    parts = [variance(each) / len(each) for each in (was, now)]
    spread = sum(parts)
    degrees = (
        spread**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (was, now), strict=True)) if spread else 1.0
    )
    return _Moments((fmean(was) - fmean(now)) * units, math.sqrt(spread) * units, max(degrees, 1.0))


def _rate(hours: Sequence[Hour]) -> Decimal:
    return sum((each.cost for each in hours), Decimal(0)) / sum((each.units for each in hours), Decimal(0))


def _money(value: float) -> Decimal:
    return Decimal(repr(value)).quantize(_PLACES)


class Return(Frozen):
    """Of an experiment: what it has cost against what it saves."""

    cost: Decimal
    currency: Currency
    payback_days: Decimal | None
    """Until it is earned back at the saving of now; None: at that it never is."""
    per_month: Decimal | None
    """Saved in thirty days less what it has cost, over what it has cost; None where it has cost nothing."""


def returned(cost: Decimal, per_day: Decimal, currency: str) -> Return:
    """`per_day`: saved."""
    days = (cost / per_day).quantize(Decimal("0.01")) if per_day > 0 else None
    ratio = ((per_day * 30 - cost) / cost).quantize(Decimal("0.01")) if cost > 0 else None
    return Return(cost=cost, currency=currency, payback_days=days, per_month=ratio)
