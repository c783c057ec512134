"""What will have been spent by the end of a day or a month, with an interval, from what is usual.

What was unusual is not carried on, unless it still goes on: then the upper end counts it to the end. The interval is that of
the sum to come: how its level may be off already, how it wanders from day to day and how it may go on growing. It is meant for
costs that go on as they did; a new customer is in no history.
"""

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

import numpy as np

from agents.cost.anomalies import Judgement, learn
from agents.cost.baseline import WEEK, Baseline, Floats, median, spread
from agents.cost.rules import CostSignals, Period
from agents.cost.series import Series, midnight
from agents.statistics import student_quantile
from tools.costs.port import Currency, Step
from tools.values import Frozen, Instant, Window

Method = Literal["seasonal", "mean"]

_DEGREES = 5.0
"""Six weeks say five differences of weeks."""
_LEAST_DEVIATION = 0.005
"""Nothing is known to half a per cent in advance, however even it was."""
_CENTS = Decimal("0.01")
_MEDIAN_VARIANCE = np.pi / 2
"""Of a median over that of a mean, for a normal law."""
_DAY = timedelta(days=1)
_STILL = timedelta(hours=3)
"""What was unusual so lately goes on, as far as anybody knows."""


class Stretch(Frozen):
    """A day to come, or what is left of it."""

    start: Instant
    end: Instant
    cost: Decimal


class Forecast(Frozen):
    window: Window
    """The day or month, in UTC."""
    until: Instant
    """What was spent before is known."""
    currency: Currency
    spent: Decimal
    method: Method | None
    """None: too little is known to say anything about what is to come."""
    reason: str
    to_come: tuple[Stretch, ...] = ()
    low: Decimal | None = None
    """Of the whole; None without a history that says how surely."""
    high: Decimal | None = None
    interval: float
    """How surely it holds what will have been spent."""
    going_on: Decimal = Decimal(0)
    """What an anomaly that goes on would cost until the end, should it stay: part of `high` only."""

    @property
    def expected(self) -> Decimal | None:
        """Exactly what was spent and what is to come."""
        return None if self.method is None else self.spent + sum((each.cost for each in self.to_come), Decimal(0))


def period(every: Period, moment: datetime) -> Window:
    start = midnight(moment)
    if every == "day":
        return Window(start=start, end=start + _DAY)
    start = start.replace(day=1)
    return Window(start=start, end=start + timedelta(days=calendar.monthrange(start.year, start.month)[1]))


def forecast(series: Series, spent: Decimal, window: Window, currency: Currency, rules: CostSignals) -> Forecast:
    """`series`: by the hour, as far as it is known; `spent`: in the window until its end, exactly."""
    if series.step is not Step.HOUR:
        raise ValueError("series: by the hour")
    until = min(max(series.end, window.start), window.end)
    known = Forecast(
        window=window, until=until, currency=currency, spent=spent, method=None, reason="", interval=rules.interval
    )
    if until >= window.end:
        return known.model_copy(update={"method": "seasonal", "reason": "all of it is over", "low": spent, "high": spent})
    usual = learn(series, rules.unusual)
    if usual is None:
        return _by_mean(known, series, rules)
    baseline, today, judged = usual
    logs, hours = [], []
    at = until
    while at < window.end:
        ahead = (midnight(at) - today).days
        logs.append(float(baseline.expected(ahead)[at.astimezone(UTC).hour]))
        hours.append(at)
        at += series.length
    growth = _growth(baseline)
    days_ahead = np.array([(hour - today) / _DAY for hour in hours])
    # The level is that of the middle of the last week.
    means = _smear(baseline) * baseline.money(np.array(logs) + growth * (days_ahead + WEEK / 2))
    to_come = _stretches(hours, means, window.end)
    rest = sum((each.cost for each in to_come), Decimal(0))
    deviation = _deviation(baseline, float(days_ahead[-1]), len(hours))
    away = np.exp(student_quantile((1 - rules.interval) / 2, _DEGREES) * deviation)
    going_on = _going_on(judged, means)
    return known.model_copy(
        update={
            "method": "seasonal",
            "reason": f"by the rhythm of hours, weekdays and months in {len(baseline.days)} days"
            + (f"; an anomaly goes on and is counted in the upper end to {window.end:%Y-%m-%d}" if going_on else ""),
            "to_come": to_come,
            "low": spent + _cents(float(rest) / away),
            "high": spent + _cents(float(rest) * away) + going_on,
            "going_on": going_on,
        }
    )


def _by_mean(known: Forecast, series: Series, rules: CostSignals) -> Forecast:
    costs = [cost for cost in series.costs if cost is not None]
    days = len(costs) / series.per_day
    short = f"not enough history: {days:.1f} of {rules.unusual.min_history_days + 1} days"
    if days < 1:
        return known.model_copy(update={"reason": f"{short}, and a day at least for a mean"})
    mean = sum(costs) / len(costs)
    hours = [known.until + place * series.length for place in range((known.window.end - known.until) // series.length)]
    to_come = _stretches(hours, np.full(len(hours), mean), known.window.end)
    told = f"{short}; by the mean of what is known, without an interval"
    return known.model_copy(update={"method": "mean", "reason": told, "to_come": to_come})


def _stretches(hours: Sequence[datetime], costs: Floats, end: datetime) -> tuple[Stretch, ...]:
    """By day, in cents."""
    days: dict[datetime, float] = {}
    first: dict[datetime, datetime] = {}
    for hour, cost in zip(hours, costs, strict=True):
        day = midnight(hour)
        first.setdefault(day, hour)
        days[day] = days.get(day, 0.0) + float(cost)
    return tuple(Stretch(start=first[day], end=min(day + _DAY, end), cost=_cents(cost)) for day, cost in days.items())


def _smear(baseline: Baseline) -> float:
    """The mean over the median: costs are added up, and their noise is not symmetric (Duan, Smearing Estimate, Journal of the
    American Statistical Association 78, 1983)."""
    low, high = np.quantile(baseline.residuals, (0.005, 0.995))
    return float(np.exp(np.clip(baseline.residuals, low, high)).mean())


def _growth(baseline: Baseline) -> float:
    """Per day, on the logarithm: the middle of the slopes between weeks, made smaller by as much as noise may have made it."""
    weeks = median(baseline.days.reshape(-1, WEEK), axis=1)
    first, second = np.triu_indices(len(weeks), 1)
    slopes = (weeks[second] - weeks[first]) / (second - first)
    slope = float(median(slopes))
    rest = weeks - slope * np.arange(len(weeks))
    noise = float(np.std(rest)) / (len(weeks) ** 0.5 * float(np.std(np.arange(len(weeks)))))
    return slope / WEEK * slope**2 / (slope**2 + (2 * noise) ** 2) if slope else 0.0


def _deviation(baseline: Baseline, days_ahead: float, hours: int) -> float:
    """Standard deviation of the logarithm of the sum to come."""
    days = baseline.days
    weeks = median(np.lib.stride_tricks.sliding_window_view(days, WEEK), axis=1)
    _, of_day = spread(days[WEEK // 2 : -(WEEK // 2)] - weeks)
    _, of_week = spread(weeks[WEEK:] - weeks[:-WEEK])
    _, of_hour = spread(baseline.residuals)
    level = _MEDIAN_VARIANCE * of_day**2 / WEEK
    # From the middle of the last week to the middle of what is to come.
    wandering = of_week**2 / WEEK * (days_ahead / 3 + WEEK / 2)
    noise = of_hour**2 / hours + of_day**2 / max(hours / 24, 1.0)
    return max(float((level + wandering + noise) ** 0.5), _LEAST_DEVIATION)


def _going_on(judged: Judgement, means: Floats) -> Decimal:
    found = judged.open_at(judged.end)
    if found is None or found.share is None or judged.end - found.end > _STILL:
        return Decimal(0)
    return _cents(found.share * float(means.sum()))


def _cents(cost: float) -> Decimal:
    return Decimal(repr(float(cost))).quantize(_CENTS, ROUND_HALF_EVEN)
