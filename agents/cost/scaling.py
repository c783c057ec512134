"""Whether what serves holds more than it uses, so that fewer workers would do.

Looked at are the busy workers of each hour over days, because a model that sleeps at night still has its noon: so many stay
that in nearly every hour (`share_of_hours`) `target` of them are busy at most, and in the busiest `most`. What comes of it is
the action `Scale`. What a worker holds is said by whoever asks, as the ledger meters it: a worker of the gateway's own one core
(`tools.costs.meters`), a replica what its pod requests. Where nobody bills what is held there is nothing to save.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agents.actions import Name, Risk
from agents.cost.inefficiency import Inefficiency, Saving, Shrinking
from agents.cost.prices import Held, per_day
from agents.evidence import Evidence
from agents.wording import share
from tools.costs.port import Pricing
from tools.costs.prices import NoPrice, PriceBook
from tools.predictions.port import Tally
from tools.telemetry.port import Series
from tools.values import Frozen, Share, Window

HOUR = timedelta(hours=1)


class ScaleDownRules(Frozen):
    below: Share = 0.3
    """Mean utilisation below which workers are idle: with two thirds of them unused even a doubled load fits."""
    target: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Utilisation in a busy hour, afterwards: an hour's mean hides minutes of twice as much."""
    most: Annotated[float, Field(gt=0, le=1)] = 0.8
    """In the busiest hour of all. Above 85 % waiting makes up most of the latency (`investigation.high_utilisation`)."""
    share_of_hours: Annotated[float, Field(ge=0.5, le=1)] = 0.95
    """Of the hours, that count as usual; the rest are rare peaks, which `most` covers."""
    least_hours: int = Field(default=72, ge=24)
    """Measured ones: three days, so that no day alone speaks for all."""
    least_coverage: Share = 0.9
    """Of the window's hours, that have to be measured: those that are not may have been the busy ones."""
    least_workers: int = Field(default=1, ge=1)
    """Two, where one that fails must not take the model away."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.below < self.target <= self.most:
            raise ValueError("target: between below and most")
        return self


class Serving(Frozen):
    """What serves one model, hour by hour."""

    model: Name
    workers: int = Field(ge=1, le=1024)
    """Throughout the window."""
    worker: Held
    """What is held, and billed, for each."""
    pricing: Pricing = Pricing.STANDARD
    window: Window
    busy: tuple[Annotated[float, Field(ge=0)] | None, ...]
    """Workers busy, on average, in each hour of the window; None where it was not measured."""
    source: Literal["predictions", "telemetry"]
    query: str
    """The question that these figures answer."""


def idle(serving: Serving, rules: ScaleDownRules, book: PriceBook, at: datetime) -> Inefficiency | None:
    """None as well where it cannot be told: too few hours were measured, or what is held has no price."""
    measured = sorted(hour for hour in serving.busy if hour is not None)
    if len(measured) < max(rules.least_hours, rules.least_coverage * len(serving.busy)):
        return None
    mean = sum(measured) / len(measured)
    if mean >= rules.below * serving.workers:
        return None
    usual, peak = _quantile(measured, rules.share_of_hours), measured[-1]
    needed = max(rules.least_workers, _enough(usual, rules.target), _enough(peak, rules.most))
    if needed >= serving.workers:
        return None
    # If the busiest hour came every hour, and had the usual head-room.
    careful = min(serving.workers, max(needed, _enough(peak, rules.target)))
    try:
        each = per_day(serving.worker, book, at, serving.pricing)
    except NoPrice:
        return None
    if not each:
        return None
    saving = Saving(
        low=_money(each, serving.workers - careful), high=_money(each, serving.workers - needed), currency=book.currency
    )
    return Inefficiency(
        kind="scale_down",
        subject=serving.model,
        evidence=_evidence(serving, rules, mean, usual, peak, len(measured)),
        expected=saving,
        risk=Risk.MEDIUM,
        what=f"{serving.model} has {serving.workers} workers, of which {mean:.2f} are busy on average and {peak:.2f} in the "
        f"busiest hour of {serving.window.length.days} days: {needed} would do",
        remedy=Shrinking(model=serving.model, from_workers=serving.workers, workers=needed),
    )


def busy_by_tallies(tallies: Sequence[Tally], window: Window) -> tuple[float | None, ...]:
    """Workers of the gateway's own, from tallies by the hour with costs in processor seconds (`PredictionReader.tallies`): a
    worker computes with one core. An hour without answers is an idle one; an hour whose cost nobody knows is none."""
    found: list[float | None] = [0.0] * _hours(window)
    for tally in tallies:
        place = (tally.start - window.start) // HOUR
        if not 0 <= place < len(found):
            continue
        known = found[place]
        if tally.cost is None or tally.cost.count < tally.count or known is None:
            found[place] = None
        else:
            found[place] = known + tally.cost.total / HOUR.total_seconds()
    return tuple(found)


def busy_by_series(series: Sequence[Series], window: Window, each: float) -> tuple[float | None, ...]:
    """From telemetry by the hour, `each` of its units being one worker (`tools.telemetry.utilisation`): a point tells of the
    hour before it."""
    found: list[float | None] = [None] * _hours(window)
    for one in series:
        for at, value in one.points:
            place = (at - window.start) // HOUR - 1
            if 0 <= place < len(found) and value >= 0:
                found[place] = (found[place] or 0.0) + value / each
    return tuple(found)


def _hours(window: Window) -> int:
    return window.length // HOUR


def _enough(busy: float, target: float) -> int:
    return max(1, math.ceil(busy / target - 1e-9))


def _quantile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that so large a part of them does not exceed."""
    return ordered[max(0, math.ceil(part * len(ordered) - 1e-9) - 1)]


def _money(each: Decimal, count: int) -> Decimal:
    return (each * count).quantize(Decimal("0.000001"))


def _evidence(
    serving: Serving, rules: ScaleDownRules, mean: float, usual: float, peak: float, hours: int
) -> tuple[Evidence, ...]:
    workers = serving.workers
    figures = (
        ("mean", "on average", mean, rules.below),
        ("usual", f"in {share(rules.share_of_hours)} of the hours at most", usual, None),
        ("peak", "in the busiest hour", peak, None),
    )
    return tuple(
        Evidence(
            id=f"utilisation.{name}",
            statement=f"{busy:.2f} of {workers} workers of {serving.model} are busy {when}: {share(busy / workers)}",
            source=serving.source,
            query=serving.query,
            value=busy / workers,
            limit=limit,
            sample_size=hours,
            window=serving.window,
        )
        for name, when, busy, limit in figures
    )
