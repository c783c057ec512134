"""Reads what costs are judged by: series of hours, where a rise comes from, and what will have been spent."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from agents.cost.alarms import Judged, Spending
from agents.cost.anomalies import Anomaly, judge
from agents.cost.causes import BY, Origin, Training, origin, weeks_before
from agents.cost.forecasts import Forecast, forecast
from agents.cost.rules import CostSignals
from agents.cost.series import beside, filled, midnight, series_of
from tools.costs.port import MOST_CELLS, Amount, CostReader, Dimension, Question, Step
from tools.errors import PermanentError
from tools.jobs.port import JobsReader, JobState
from tools.values import Window

LOOK_BACK_DAYS = 14
"""Of these the past is looked through anew each time, so that late corrections count; what is older is learnt from only."""
_HOUR = timedelta(hours=1)
_AT_ONCE = 50
"""Series in one question at most: each has more than a thousand cells, and half a year by the hour in two currencies nine
thousand, of which the ledger answers so many at a time."""
_LONGEST_CAUSE = timedelta(days=7)
"""An anomaly that has lasted longer is explained by its latest days."""


async def until(costs: CostReader, rules: CostSignals, now: datetime) -> datetime | None:
    """The end of the last hour that may be judged; None where nothing is booked."""
    last = await costs.last()
    if last is None:
        return None
    end = min(now - rules.settle, last).astimezone(UTC)
    return end.replace(minute=0, second=0, microsecond=0)


def read_window(end: datetime, rules: CostSignals) -> Window:
    return Window(start=midnight(end) - timedelta(days=rules.unusual.history_days + LOOK_BACK_DAYS), end=end)


async def wholes(costs: CostReader, window: Window, where: Mapping[Dimension, tuple[str, ...]] | None = None) -> list[Spending]:
    """By currency. Of everything, or of what is asked for by itself."""
    question = Question(window=window, step=Step.HOUR, where=dict(where or {}))
    cells: dict[str, list[Amount]] = defaultdict(list)
    for each in await costs.breakdown(question):
        cells[each.currency].append(each)
    return [
        Spending(dimension=None, name="", currency=currency, series=filled(series_of(own, Step.HOUR, window.start, window.end)))
        for currency, own in sorted(cells.items())
    ]


async def parts(
    costs: CostReader, window: Window, dimension: Dimension, whole: Sequence[Spending], most: int
) -> list[Spending]:
    """The dearest `most`, by name and currency; what is nobody's in particular is no part."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for each in await costs.breakdown(Question(window=window, by=(dimension,))):
        if each.at[dimension]:
            sums[each.at[dimension]] += each.cost
    names = sorted(sums, key=lambda name: (-sums[name], name))[:most]
    of = {each.currency: each.series for each in whole}
    hours = -(-window.length // _HOUR)
    at_once = max(1, min(_AT_ONCE, MOST_CELLS // (hours * max(1, len(of)))))
    found = []
    for start in range(0, len(names), at_once):
        asked = Question(
            window=window, step=Step.HOUR, by=(dimension,), where={dimension: tuple(names[start : start + at_once])}
        )
        cells: dict[tuple[str, str], list[Amount]] = defaultdict(list)
        for each in await costs.breakdown(asked):
            cells[each.at[dimension], each.currency].append(each)
        for (name, currency), own in sorted(cells.items()):
            series = beside(series_of(own, Step.HOUR, window.start, window.end), of[currency])
            found.append(Spending(dimension=dimension, name=name, currency=currency, series=series))
    return found


async def judged(costs: CostReader, rules: CostSignals, end: datetime) -> list[Judged]:
    """The wholes first, then the parts that policy names."""
    window = read_window(end, rules)
    whole = await wholes(costs, window)
    found = await _judged(whole, rules)
    if all(each.judgement.rule is None for each in found):
        return found  # A part has no longer history than the whole.
    for dimension in rules.by:
        found += await _judged(await parts(costs, window, dimension, whole, rules.most_series), rules)
    return found


async def _judged(spendings: Sequence[Spending], rules: CostSignals) -> list[Judged]:
    """It is all computing, and the event loop has others to serve."""
    return await asyncio.to_thread(
        lambda: [Judged(spending=each, judgement=judge(each.series, rules.unusual)) for each in spendings]
    )


async def origin_of(spending: Spending, found: Anomaly, costs: CostReader, jobs: JobsReader) -> Origin:
    """Compared with the same hours of the weeks before, as far as the ledger goes back."""
    window = Window(start=max(found.start, found.end - _LONGEST_CAUSE), end=found.end)
    where = {} if spending.dimension is None else {spending.dimension: (spending.name,)}
    after = await costs.breakdown(Question(window=window, by=BY, where=where))
    known = next(
        (spending.series.at(place) for place, cost in enumerate(spending.series.costs) if cost is not None), found.start
    )
    before = [
        (each, await costs.breakdown(Question(window=each, by=BY, where=where)))
        for each in weeks_before(window)
        if each.start >= known
    ]
    return origin(window, after, before, spending.currency, await _trainings(spending, jobs))


async def surge(
    dimension: Dimension | None, name: str, costs: CostReader, jobs: JobsReader, rules: CostSignals, now: datetime
) -> tuple[Judged, Origin] | None:
    """What is unusual now about one part, or with no dimension the whole, and where it comes from: for who looks into an alert.
    Of several currencies the one with the most excess; None where all is usual, or too little is known."""
    end = await until(costs, rules, now)
    if end is None:
        return None
    window = read_window(end, rules)
    spendings = await wholes(costs, window, None if dimension is None else {dimension: (name,)})
    if dimension is not None:
        of = {each.currency: each.series for each in await wholes(costs, window)}
        spendings = [
            Spending(dimension=dimension, name=name, currency=each.currency, series=beside(each.series, of[each.currency]))
            for each in spendings
        ]
    most = max((each for each in await _judged(spendings, rules) if each.open is not None), key=_excess, default=None)
    if most is None or most.open is None:
        return None
    return most, await origin_of(most.spending, most.open, costs, jobs)


def _excess(judged: Judged) -> float:
    return judged.open.excess if judged.open is not None else 0.0


async def _trainings(spending: Spending, jobs: JobsReader) -> list[Training]:
    """Those of the model, or of the team; without the list of jobs a rise is explained by the ledger alone."""
    try:
        known = await jobs.jobs(model=spending.name if spending.dimension is Dimension.MODEL else None)
    except PermanentError:
        return []
    team = spending.name if spending.dimension is Dimension.TEAM else None
    return list(_begun(each for each in known if team is None or each.team == team))


def _begun(jobs: Iterable[JobState]) -> Iterable[Training]:
    for each in jobs:
        if each.started_at is not None:
            yield Training(name=each.name, model=each.model, start=each.started_at, end=each.ended_at, data=each.data)


async def forecast_of(
    costs: CostReader,
    rules: CostSignals,
    window: Window,
    end: datetime,
    where: Mapping[Dimension, tuple[str, ...]] | None = None,
) -> list[Forecast]:
    """Of the day or month, by currency. `end`: up to which the ledger is known (`until`)."""
    spendings = await wholes(costs, read_window(end, rules), where)
    spent: dict[str, Decimal] = defaultdict(Decimal)
    if end > window.start:
        so_far = Window(start=window.start, end=min(end, window.end))
        for each in await costs.breakdown(Question(window=so_far, where=dict(where or {}))):
            spent[each.currency] += each.cost
    return await asyncio.to_thread(
        lambda: [forecast(each.series, spent[each.currency], window, each.currency, rules) for each in spendings]
    )
