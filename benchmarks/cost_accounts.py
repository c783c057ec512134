"""Simulated accounts whose costs are known to be usual, and where not: the truth that detection is scored against.

Usual is: a rhythm of hours and weekdays, growth or decline, a level that wanders, noise with heavy tails that lasts for hours,
and for a third of the accounts a dearer last day of the month. In a few accounts some hours were never booked.
What is planted is written down before anything looks at it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from agents.cost.series import Series
from tools.costs.port import Step

Shape = Literal["hours", "day", "days", "creep", "shift", "price"]
HOURLY: tuple[Shape, ...] = ("hours", "day", "creep", "shift", "price")
DAILY: tuple[Shape, ...] = ("day", "days", "creep", "shift", "price")
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR_DAYS, HOUR_LOOKED = 91, 42
"""Simulated, and of these the last in which something may be planted."""
DAY_DAYS, DAY_LOOKED = 119, 70
NOTICED_WITHIN_DAYS = 5
"""What stays (a shift, a price) has to be noticed within so many days: later it is no news."""
GRACE_DAYS = 1
"""An alarm may come so long after the end of what was planted: a day is over before it can be judged."""
APART_DAYS = 14
_HOURS = 24


@dataclass(frozen=True)
class Planted:
    shape: Shape
    start: int
    """Step."""
    end: int
    """The step after the last in which an alarm is right, without grace."""
    factor: float


@dataclass(frozen=True)
class Account:
    series: Series
    planted: tuple[Planted, ...]
    looked: int
    """The step from which on alarms are scored: a baseline has had its first weeks, and one end of a month, before."""


def hourly(rng: np.random.Generator, *, planted: bool = True) -> Account:
    hours = _usual(rng, HOUR_DAYS)
    truth = _plant(rng, hours, HOUR_DAYS - HOUR_LOOKED, HOUR_DAYS, HOURLY) if planted else ()
    costs: list[float | None] = [float(cost) for cost in hours]
    if rng.random() < 0.1:
        for start in rng.integers(0, len(costs), 5):
            for place in range(int(start), min(len(costs), int(start) + 3)):
                costs[place] = None
    series = Series(step=Step.HOUR, start=START, costs=tuple(costs))
    return Account(series, truth, (HOUR_DAYS - HOUR_LOOKED) * _HOURS)


def daily(rng: np.random.Generator, *, planted: bool = True) -> Account:
    hours = _usual(rng, DAY_DAYS)
    truth = _plant(rng, hours, DAY_DAYS - DAY_LOOKED, DAY_DAYS, DAILY) if planted else ()
    days = hours.reshape(DAY_DAYS, 24).sum(axis=1)
    series = Series(step=Step.DAY, start=START, costs=tuple(float(cost) for cost in days))
    days_of = tuple(Planted(each.shape, each.start // _HOURS, -(-each.end // _HOURS), each.factor) for each in truth)
    return Account(series, days_of, DAY_DAYS - DAY_LOOKED)


def _usual(rng: np.random.Generator, days: int) -> np.ndarray[Any, Any]:
    count = days * 24
    hours = np.arange(count)
    level = np.exp(rng.normal(2, 1))
    rhythm = 1 + rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * (hours % 24) / 24 + rng.uniform(0, 2 * np.pi))
    weekend = np.where((hours // 24 + rng.integers(0, 7)) % 7 >= 5, rng.uniform(0.5, 1), 1.0)
    trend = np.exp(rng.normal(0, 0.002) * hours / 24)
    wandering = np.repeat(np.exp(np.cumsum(rng.normal(0, rng.uniform(0, 0.01), days))), 24)
    of_day = np.repeat(rng.normal(0, rng.uniform(0, 0.04), days), 24)
    size, lasting = rng.uniform(0.03, 0.12), rng.uniform(0, 0.6)
    jumps = rng.standard_t(5, count) * size / (5 / 3) ** 0.5 * (1 - lasting**2) ** 0.5
    noise = np.zeros(count)
    for place in range(1, count):
        noise[place] = lasting * noise[place - 1] + jumps[place]
    costs: np.ndarray[Any, Any] = level * rhythm * weekend * trend * wandering * np.exp(noise + of_day)
    if rng.random() < 1 / 3:
        ends = [(START + timedelta(days=day + 1)).day == 1 for day in range(days)]
        costs *= np.where(np.repeat(ends, 24), rng.uniform(1.2, 1.6), 1.0)
    return costs


def _plant(
    rng: np.random.Generator, costs: np.ndarray[Any, Any], first: int, last: int, shapes: tuple[Shape, ...]
) -> tuple[Planted, ...]:
    """Up to three, two weeks apart, each beginning on a day from `first` to `last`. What stays is the last of an account."""
    found: list[Planted] = []
    day = first + int(rng.integers(0, APART_DAYS))
    for _ in range(int(rng.integers(0, 4))):
        if day > last - APART_DAYS // 2 - 1:
            break
        shape = shapes[int(rng.integers(0, len(shapes)))]
        found.append(_planted(rng, costs, shape, day * _HOURS))
        if shape in ("shift", "price"):
            break
        day += APART_DAYS + int(rng.integers(0, 4))
    return tuple(found)


def _planted(rng: np.random.Generator, costs: np.ndarray[Any, Any], shape: Shape, start: int) -> Planted:
    match shape:
        case "hours":
            start += int(rng.integers(0, _HOURS))
            end, factor = start + int(rng.integers(3, 13)), rng.uniform(1.6, 3.0)
            costs[start:end] *= factor
        case "day":
            end, factor = start + _HOURS, rng.uniform(1.45, 3.0)
            costs[start:end] *= factor
        case "days":
            end, factor = start + int(rng.integers(2, 4)) * _HOURS, rng.uniform(1.4, 2.5)
            costs[start:end] *= factor
        case "creep":
            length = int(rng.integers(4, 8)) * _HOURS
            end, factor = start + length, rng.uniform(1.6, 2.5)
            costs[start:end] *= np.exp(np.linspace(0, np.log(factor), length))
        case "shift":
            start += int(rng.integers(0, _HOURS))
            end, factor = start + NOTICED_WITHIN_DAYS * _HOURS, rng.uniform(1.4, 2.0)
            costs[start:] *= factor
        case "price":
            # Of one resource, which is a part of the whole.
            part, dearer = rng.uniform(0.5, 0.9), rng.uniform(1.7, 2.5)
            end, factor = start + NOTICED_WITHIN_DAYS * _HOURS, 1 + part * (dearer - 1)
            costs[start:] *= factor
    return Planted(shape, start, end, float(factor))
