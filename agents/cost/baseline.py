"""What a cost usually is: a level, the rhythm of the day, the weekdays and the turn of the month, all by medians.

On the logarithm, because costs move by shares: twice the traffic is twice the cost at noon and at night. Medians, because what
is to be found must not move what it is compared with. Days end at midnight UTC, so that daylight saving is no matter.
"""

import calendar
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEEK = 7
_ROUNDS = 3
"""Of the alternating medians (Tukey's median polish); a fourth moves nothing by as much as a per mille."""
_SMALL = 0.02
"""Of the mean: added before the logarithm, so that an hour without cost is not infinitely far below the others."""
_TURN = (-2, -1, 1, 2)
"""Days around the turn of a month: reports, invoices and licences come with it."""
_LEAST_TURN = 0.05
"""A turn that differs less from other days is none."""


class Baseline:
    """Of whole weeks of history, oldest first, without gaps."""

    def __init__(self, history: Floats, actual: Floats, per_day: int, first: date) -> None:
        """`history`: two weeks at least, of what may be learnt from. `actual`: the same with what is left out there: a turn of
        the month that was too much in one month is expected in the next. Its unknown steps are as in `history`."""
        days = len(history) // per_day
        table, weekdays = history.reshape(days, per_day), (first.weekday() + np.arange(days)) % WEEK
        mean = float(table.mean())
        self.small = _SMALL * mean if mean > 0 else 1.0
        self.usual_day = mean * per_day
        self._per_day, self._next = per_day, first + timedelta(days=days)
        logs = self.logs(table)
        self._profile, self._weekday = np.zeros(per_day), np.zeros(WEEK)
        for _ in range(_ROUNDS):
            smooth = _smoothed(median(logs - self._profile - self._weekday[weekdays][:, None], axis=1))
            flat = logs - smooth[:, None]
            if per_day > 1:
                self._profile = median(flat - self._weekday[weekdays][:, None], axis=0)
            self._weekday = _by_weekday(median(flat - self._profile, axis=1), first.weekday())
        usual = smooth[:, None] + self._profile + self._weekday[weekdays][:, None]
        turns = np.array([turn_of(first + timedelta(days=day)) for day in range(days)])
        rest = logs - usual
        at_turn = turns != 0
        if at_turn.any():
            as_it_was = self.logs(actual.reshape(days, per_day)[at_turn]) - usual[at_turn]
            self._turn = _by_turn(median(as_it_was, axis=1), turns[at_turn])
            for place, turn in zip(np.flatnonzero(at_turn), turns[at_turn], strict=True):
                if turn in self._turn:
                    rest[place] = self.logs(actual[place * per_day : (place + 1) * per_day]) - usual[place] - self._turn[turn]
        else:
            self._turn = {}
        self.days: Floats = smooth + median(rest, axis=1)
        """The level of each day."""
        self.level = float(median(self.days[-WEEK:]))
        self.residuals: Floats = rest.ravel()

    def expected(self, ahead: int = 0) -> Floats:
        """Logarithms, of the day that is `ahead` of the one after the history."""
        day = self._next + timedelta(days=ahead)
        usual: Floats = self._profile + (self.level + self._weekday[day.weekday()] + self._turn.get(turn_of(day), 0.0))
        return usual

    def money(self, logs: Floats) -> Floats:
        return np.maximum(np.exp(logs) - self.small, 0.0)

    def logs(self, money: Floats) -> Floats:
        return np.log(money + self.small)


def turn_of(day: date) -> int:
    """-1 is the last day of a month, 1 the first; 0: neither is near."""
    left = calendar.monthrange(day.year, day.month)[1] - day.day + 1
    return day.day if day.day <= _TURN[-1] else -left if left <= -_TURN[0] else 0


def spread(values: Floats) -> tuple[float, float]:
    """(centre, scale): the wider of two spreads of quantiles, each the standard deviation of a normal law: the outer one sees
    heavy tails, the inner one does not mind a tenth of the values being spoilt."""
    ordered = np.sort(values)
    places = _QUANTILES * (len(ordered) - 1)
    below = places.astype(np.int64)
    beside = np.minimum(below + 1, len(ordered) - 1)
    low, lower, middle, upper, high = ordered[below] + (places - below) * (ordered[beside] - ordered[below])
    return float(middle), float(max((high - low) / (2 * 1.6449), (upper - lower) / 2))


_QUANTILES = np.array((0.05, 0.1587, 0.5, 0.8413, 0.95))


def median(values: Floats, axis: int = 0) -> Floats:
    """Of small tables `np.median` spends most of its time on preparing: thousands of them are asked for."""
    ordered = np.moveaxis(np.sort(values, axis=axis), axis, 0)
    count = len(ordered)
    found: Floats = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return found


def _smoothed(days: Floats) -> Floats:
    """The median of the week around each day; at the ends of as much of it as there is."""
    half = WEEK // 2
    padded = np.concatenate([days[:half][::-1], days, days[-half:][::-1]])
    return median(np.lib.stride_tricks.sliding_window_view(padded, WEEK), axis=1)


def _by_weekday(days: Floats, first: int) -> Floats:
    """By weekday, Monday first; `first`: that of the first day."""
    found = np.roll(median(days.reshape(-1, WEEK), axis=0), first)
    return found - median(found)


def _by_turn(days: Floats, turns: NDArray[np.int64]) -> dict[int, float]:
    found = {int(turn): float(median(days[turns == turn])) for turn in set(turns.tolist())}
    return {turn: size for turn, size in found.items() if size > _LEAST_TURN}
