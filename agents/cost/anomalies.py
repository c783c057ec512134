"""When a cost is unusual: by a seasonal baseline that knows how often it cries wolf, and by the plain rule of thumb.

The seasonal rule looks back over the last hours, half-days and days at once. Each of these horizons has a spread of its own,
taken from how that very mean has moved in the history, so that costs that go up and down together are no news. The threshold is
where Student's law with 6 degrees of freedom (costs have heavy tails) leaves as many false alarms as policy puts up with, over
all looks of a month. What is found is not learnt from; what stays is reported once and then learnt.

It says the same of costs in any unit, and nothing of what is not known. It needs no state: asked again after a late correction
it judges by what is booked now.
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.cost.baseline import WEEK, Baseline, Floats, median, spread
from agents.cost.rules import Unusual
from agents.cost.series import Series, by_day
from agents.statistics import student_quantile
from tools.values import Frozen, Instant

Rule = Literal["seasonal", "plain"]
Bools = NDArray[np.bool_]

_HORIZONS = {24: (3, 6, 24), 1: (1,)}
"""Steps, by steps in a day. One hour by itself is no horizon: the shortest job that is worth a question takes longer."""
_DEGREES = 6.0
_UNIT = (_DEGREES / (_DEGREES - 2)) ** 0.5
"""Standard deviation of Student's T with so many degrees."""
_MONTH_DAYS = 30
_LEAST_SCALE = 0.01
"""Of a horizon: costs move by a per cent where the clocks of meters do not quite agree."""
_CREEP_DAYS = 3
"""Also compared are the latest days with the week before them: what rises by a few per cent a day hides in a level that
follows it."""
_GAP_DAYS = 1
"""Unusual steps that are no further apart are one anomaly."""


class Anomaly(Frozen):
    start: Instant
    end: Instant
    """Of the last step that was too much; not later than what was looked at."""
    seen: Instant
    """The end of the step with which it could be told."""
    actual: float
    expected: float
    """Of the steps that were too much, from `start` to `end`, in the series' currency."""
    rule: Rule
    learnt: bool = False
    """It stayed, and is the new usual."""

    @property
    def excess(self) -> float:
        return self.actual - self.expected

    @property
    def share(self) -> float | None:
        """Of what was expected; None where that was nothing."""
        return self.excess / self.expected if self.expected > 0 else None


class Judgement(Frozen):
    rule: Rule | None
    """None: there is too little history for any."""
    reason: str
    looked_from: Instant | None
    """Steps before were learnt from only."""
    end: Instant
    """Of the last step of the series."""
    anomalies: tuple[Anomaly, ...] = ()

    def open_at(self, moment: datetime) -> Anomaly | None:
        """The latest anomaly, while it goes on or was over less than a day ago; None once it was learnt."""
        last = self.anomalies[-1] if self.anomalies else None
        return last if last and not last.learnt and moment - last.end <= timedelta(days=_GAP_DAYS) else None


def judge(series: Series, rules: Unusual) -> Judgement:
    """By the seasonal rule, or where the history is too short for it by the plain one: that of whole days, because by the
    hour it would take each afternoon for unusual."""
    first = _first_day(series)
    whole = len(series.costs) // series.per_day - first if first is not None else 0
    if first is not None and whole > rules.min_history_days:
        return _Search(series, rules, first).judgement()
    short = f"not enough history: {max(whole, 0)} whole days of {rules.min_history_days + 1} for the seasonal rule"
    if whole > rules.plain_days:
        found = plain(by_day(series), rules)
        return found.model_copy(update={"reason": f"{short}; {found.reason}", "end": series.end})
    return Judgement(
        rule=None, reason=f"{short}, nor of {rules.plain_days + 1} for the plain rule", looked_from=None, end=series.end
    )


class Usual(NamedTuple):
    baseline: Baseline
    end: datetime
    """Of the last whole day that it was learnt from."""
    judgement: Judgement


def learn(series: Series, rules: Unusual) -> Usual | None:
    """What is usual by the end of the series' last whole day; None where the history is too short."""
    first, days = _first_day(series), len(series.costs) // series.per_day
    if first is None or days - first <= rules.min_history_days:
        return None
    search = _Search(series, rules, first)
    found = search.judgement()
    return Usual(search.baseline(days), series.at(days * series.per_day), found)


def plain(series: Series, rules: Unusual) -> Judgement:
    """More than `min_excess` over the mean of the `plain_days` before. Steps that follow each other are one anomaly."""
    costs, per_day = _array(series), series.per_day
    window = rules.plain_days * per_day
    first = _first_day(series)
    begin = (first if first is not None else 0) * per_day + window
    told = f"plain rule: more than {rules.min_excess:.0%} over the mean of {rules.plain_days} days"
    if begin >= len(costs):
        return Judgement(rule=None, reason=f"not enough history for the {told}", looked_from=None, end=series.end)
    known = ~np.isnan(costs)
    sums, counts = np.concatenate([[0.0], np.nancumsum(costs)]), np.concatenate([[0], np.cumsum(known)])
    means = (sums[window:-1] - sums[: -window - 1]) / np.maximum(counts[window:-1] - counts[: -window - 1], 1)
    expected = np.concatenate([np.full(window, np.nan), means])
    with np.errstate(invalid="ignore"):
        # A sum that is taken from another leaves a trace of its rounding.
        over = known & (costs > (1 + rules.min_excess) * expected * (1 + 1e-9)) & (np.arange(len(costs)) >= begin)
    episodes: list[_Episode] = []
    for place in np.flatnonzero(over):
        _note(episodes, int(place), int(place), 1)
    found = tuple(_anomaly(series, each, costs, expected, over, "plain") for each in episodes)
    return Judgement(rule="plain", reason=told, looked_from=series.at(begin), end=series.end, anomalies=found)


class _Episode:
    def __init__(self, start: int, seen: int) -> None:
        self.start, self.last, self.seen = start, seen, seen
        self.learnt = False


class _Flag(NamedTuple):
    place: int
    since: int


class _Search:
    """Day by day, each by the days before it."""

    def __init__(self, series: Series, rules: Unusual, first: int) -> None:
        self._series, self._rules = series, rules
        self._per_day, self._first = series.per_day, first
        self._days = -(-len(series.costs) // self._per_day)
        self._costs = np.full(self._days * self._per_day, np.nan)
        self._costs[: len(series.costs)] = _array(series)
        self._learnt = self._costs.copy()
        """What baselines are made of: what was unusual or unknown is replaced by what was expected."""
        self._actual = self._costs.copy()
        """What was, in what is usual by now: what came before a shift that was learnt is lifted here as well."""
        self._expected = np.full_like(self._costs, np.nan)
        self._over = np.zeros(len(self._costs), dtype=bool)
        self._episodes: list[_Episode] = []
        self._horizons = _HORIZONS[self._per_day]
        looks = _MONTH_DAYS * (self._per_day * len(self._horizons) + 1)
        self._threshold = student_quantile(min(rules.false_alarms / looks, 0.49), _DEGREES) / _UNIT
        self._half = (1 + rules.min_excess) ** 0.5
        """So many times the expected, a step within what is unusual is itself too much."""

    def judgement(self) -> Judgement:
        begin = self._first + self._rules.min_history_days
        self._fill(self._first * self._per_day, begin * self._per_day)
        for day in range(begin, self._days):
            self._learn(day)
            self._look(day)
        # A shift that has lasted long enough is the new usual also when the series ends there.
        self._learn(self._days)
        found = tuple(
            _anomaly(self._series, each, self._costs, self._expected, self._over, "seasonal") for each in self._episodes
        )
        told = f"seasonal rule: over the usual by more than chance makes it, and by {self._rules.min_excess:.0%}"
        start = self._series.at(begin * self._per_day)
        return Judgement(rule="seasonal", reason=told, looked_from=start, end=self._series.end, anomalies=found)

    def _fill(self, start: int, end: int) -> None:
        """What is unknown in the first history: by the same hour of the other days."""
        table = self._learnt[start:end].reshape(-1, self._per_day)
        for hour in range(self._per_day):
            column = table[:, hour]
            unknown = np.isnan(column)
            if unknown.any():
                column[unknown] = 0.0 if unknown.all() else float(median(column[~unknown]))

    def _look(self, day: int) -> None:
        start, end = day * self._per_day, (day + 1) * self._per_day
        baseline = self.baseline(day)
        expected = baseline.expected()
        self._expected[start:end] = baseline.money(expected)
        known = ~np.isnan(self._costs[start:end])
        self._learnt[start:end] = costs = np.where(known, self._costs[start:end], self._expected[start:end])
        rest = np.where(known, baseline.logs(costs) - expected, 0.0)
        flags = self._sudden(baseline, rest, known, start)
        if not flags and known.all() and (creep := self._creep(baseline, rest, start)) is not None:
            flags.append(creep)
        for place, since in flags:
            steps = np.arange(since, place + 1)
            with np.errstate(invalid="ignore"):
                over = steps[self._costs[steps] > self._expected[steps] * self._half]
            if len(over):
                self._learnt[over] = np.where(self._over[over], self._learnt[over], self._expected[over])
                self._over[over] = True
                _note(self._episodes, int(over[0]), int(over[-1]), _GAP_DAYS * self._per_day, seen=place)

    def baseline(self, day: int) -> Baseline:
        weeks = min(day - self._first, self._rules.history_days) // WEEK
        oldest, start = day - weeks * WEEK, day * self._per_day
        learnt = self._learnt[oldest * self._per_day : start]
        actual = self._actual[oldest * self._per_day : start]
        first = (self._series.start + timedelta(days=oldest)).date()
        return Baseline(learnt, np.where(np.isnan(actual), learnt, actual), self._per_day, first)

    def _sudden(self, baseline: Baseline, rest: Floats, known: Bools, start: int) -> list[_Flag]:
        past, end = max(self._horizons) - 1, start + self._per_day
        tail = baseline.residuals[len(baseline.residuals) - past :]
        spent = self._learnt[start - past : end]
        usual = np.concatenate([baseline.money(baseline.logs(spent[:past]) - tail), self._expected[start:end]])
        rests = np.concatenate([tail, rest])
        weekly = self._weekly(start - past, end)
        flags: dict[int, _Flag] = {}
        for horizon in self._horizons:
            centre, scale = spread(_means(baseline.residuals, horizon))
            means, actual, wanted, before = (_means(each, horizon)[-self._per_day :] for each in (rests, spent, usual, weekly))
            excess = actual - wanted
            high = means - max(centre, 0.0) > self._threshold * max(scale, _LEAST_SCALE)
            much = horizon * excess > self._rules.min_day_share * baseline.usual_day
            much &= actual > (1 + self._rules.min_excess) * np.maximum(wanted, before)
            for place in np.flatnonzero(high & much & known):
                since = start + int(place) - horizon + 1
                window = rests[past + place - horizon + 1 : past + place + 1]
                flags.setdefault(int(place), _Flag(start + int(place), since + _onset(window - np.log(self._half))))
        return [flags[place] for place in sorted(flags)]

    def _weekly(self, start: int, end: int) -> Floats:
        """What was spent in the same hours of both of the last two weeks: a job that comes each Monday is news twice."""
        week = WEEK * self._per_day
        if start - 2 * week < self._first * self._per_day:
            return np.zeros(end - start)
        both = np.minimum(self._actual[start - week : end - week], self._actual[start - 2 * week : end - 2 * week])
        spent: Floats = np.nan_to_num(both)
        return spent

    def _creep(self, baseline: Baseline, rest: Floats, start: int) -> _Flag | None:
        days = np.concatenate([baseline.days, [baseline.level + float(median(rest))]])
        moved = _moves(days)
        centre, scale = spread(moved[:-1])
        _, daily = spread(_means(baseline.residuals, self._per_day))
        scale = max(scale, daily / _CREEP_DAYS**0.5, _LEAST_SCALE)
        since, end = start - (_CREEP_DAYS - 1) * self._per_day, start + self._per_day
        if self._over[since:start].any():
            # Found already, and by the hour.
            return None
        # As if the latest days had not been learnt from.
        lag = float(median(days[-_CREEP_DAYS - WEEK : -_CREEP_DAYS])) - baseline.level
        spent, wanted = self._learnt[since:end], self._expected[since:end] * np.exp(lag)
        if moved[-1] - max(centre, 0.0) <= self._threshold * scale or np.isnan(wanted).any():
            return None
        if spent.sum() <= (1 + self._rules.min_excess) * wanted.sum():
            return None
        self._expected[since:end] = wanted
        return _Flag(end - 1, since)

    def _learn(self, day: int) -> None:
        """What has stayed high until this day is the usual from now on: what came before is lifted to it."""
        last = self._episodes[-1] if self._episodes else None
        now, lasting = day * self._per_day, self._rules.learn_after_days * self._per_day
        if last is None or last.learnt or now - last.start < lasting or last.last < now - self._per_day:
            return
        steps = np.arange(last.start, now)
        known = steps[~np.isnan(self._costs[steps]) & (self._expected[steps] > 0)]
        if not len(known):
            return
        ratios = self._costs[known] / self._expected[known]
        lift = np.ones(self._per_day)
        if self._over[known].mean() >= 0.5:
            lift[:] = median(ratios)
        else:
            # Some hours of each day, such as those of a new nightly job.
            for hour in range(self._per_day):
                if (of_hour := known % self._per_day == hour).any():
                    lift[hour] = median(ratios[of_hour])
            lift[lift < 1 + self._rules.min_excess / 2] = 1.0
        before = np.arange(last.start)
        self._learnt[before] *= lift[before % self._per_day]
        self._actual[before] *= lift[before % self._per_day]
        self._learnt[known] = self._costs[known]
        last.learnt = True


def _note(episodes: list[_Episode], start: int, last: int, gap: int, *, seen: int | None = None) -> None:
    if episodes and not episodes[-1].learnt and start - episodes[-1].last <= gap:
        episodes[-1].last = max(last, episodes[-1].last)
        episodes[-1].start = min(start, episodes[-1].start)
    else:
        episodes.append(_Episode(start, last))
        episodes[-1].seen = last if seen is None else seen


def _anomaly(series: Series, episode: _Episode, costs: Floats, expected: Floats, over: Bools, rule: Rule) -> Anomaly:
    steps = np.arange(episode.start, episode.last + 1)
    steps = steps[over[steps]]
    return Anomaly(
        start=series.at(episode.start),
        end=series.at(episode.last + 1),
        seen=series.at(episode.seen + 1),
        actual=float(costs[steps].sum()),
        expected=float(np.nansum(expected[steps])),
        rule=rule,
        learnt=episode.learnt,
    )


def _onset(window: Floats) -> int:
    """From where on to the end the sum is greatest."""
    sums = np.cumsum(window[::-1])
    return len(window) - 1 - int(np.argmax(sums))


def _means(values: Floats, width: int) -> Floats:
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: Floats = (sums[width:] - sums[:-width]) / width
    return means


def _moves(days: Floats) -> Floats:
    """The latest days over the week before them, for each day that has as many before."""
    latest = _means(days, _CREEP_DAYS)[WEEK:]
    before = median(np.lib.stride_tricks.sliding_window_view(days, WEEK), axis=1)[: len(latest)]
    return latest - before


def _array(series: Series) -> Floats:
    """Less than nothing, as a correction may leave it, is nothing."""
    costs = np.array([np.nan if cost is None else cost for cost in series.costs], dtype=np.float64)
    return np.maximum(costs, 0.0)


def _first_day(series: Series) -> int | None:
    """The first whole day from the first known step on; None: nothing is known."""
    place = next((place for place, cost in enumerate(series.costs) if cost is not None), None)
    return None if place is None else -(-place // series.per_day)
