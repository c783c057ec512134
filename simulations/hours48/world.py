"""The world of the 48 hours: customers who ask, what becomes of them, and a feature that rises by 30 % at hour six.

A customer has six numbers, of which `x` is the one that moves. What comes true follows from them by one law that never changes;
what changes is which customers come. Up to a knee the odds rise with `x`, beyond it they fall. Before the shift hardly anybody
is beyond the knee, so a model that was trained then goes on rising there, and is wrong. Some outcomes are chance: no model is
ever better than the share of those that are not. Everything is drawn from `seed`, all of it before anybody asks.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FEATURES = ("x", "age", "income", "tenure", "visits")
SHIFTED = "x"
CLASSES = ("no", "yes")
HOURS = 48
SHIFT_HOUR = 6
RISE = 1.3
"""What `x` of every customer is multiplied with from then on: the seed's 30 %."""
PAST = timedelta(hours=24)
"""What has happened before the clock starts: the champion was trained on it."""

_MIDDLE = np.array([100.0, 44.0, 52.0, 30.0, 12.0])
_SPREAD = np.array([10.0, 12.0, 18.0, 12.0, 4.0])
_KNEE = 2.5
"""In spreads of `x` above its middle: one in fifteen is beyond it before the shift, seven in ten after it."""
_FALL = 1.2
"""How much steeper the odds fall beyond the knee than they rise before it."""
_CHANCE, _CHANCE_BEYOND = 0.030, 0.002
"""Share of the outcomes that are chance: customers beyond the knee are clearer cases."""
_MEAN_PER_HOUR = 2_400
_DAY = 0.45
"""Of the mean, by which the busiest minute of a day is above it and the quietest below."""
_OPENS_AT = 9.0
"""The hour of the day at which the clock starts."""
LABEL_DELAY = timedelta(minutes=5), timedelta(minutes=15)
"""Between them what came true is known, evenly spread. The clients hand it in at their next turn, within five
minutes more."""


class Rows(NamedTuple):
    """Customers in the order in which they come."""

    at: NDArray[np.int64]
    """Microseconds since the start of the clock; before it negative."""
    known: NDArray[np.int64]
    """The same of when the outcome is known."""
    features: NDArray[np.float64]
    positive: NDArray[np.bool_]
    customer: NDArray[np.int64]

    def part(self, chosen: Any) -> "Rows":
        return Rows(*(each[chosen] for each in self))

    def between(self, start: timedelta, end: timedelta) -> "Rows":
        first, last = np.searchsorted(self.at, [_micros(start), _micros(end)])
        return self.part(slice(int(first), int(last)))


@dataclass(frozen=True)
class World:
    seed: int
    drift: bool = True
    """Without, the fault is left out: nothing moves in 48 hours."""

    def draw(self) -> Rows:
        """The past and all 48 hours. The same seed gives the same customers; without drift they are the same ones, unmoved."""
        rng = np.random.default_rng([48, self.seed])
        at = self._moments(rng)
        count = len(at)
        z = rng.normal(size=(count, len(FEATURES)))
        features = _MIDDLE + _SPREAD * z
        uniform, delay = rng.random(count), rng.uniform(_micros(LABEL_DELAY[0]), _micros(LABEL_DELAY[1]), count)
        customer = rng.integers(0, 40_000, count)
        if self.drift:
            features[at >= _micros(timedelta(hours=SHIFT_HOUR)), 0] *= RISE
        positive = self._truth(rng, features, uniform)
        # As the clients measure it, and as it is logged.
        return Rows(at, at + delay.astype(np.int64), np.round(features, 3), positive, customer)

    def _moments(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Of a Poisson process with a daily rhythm, by minutes."""
        minutes = np.arange(-int(PAST.total_seconds()) // 60, HOURS * 60)
        hour = _OPENS_AT + minutes / 60
        scale = float(rng.uniform(0.95, 1.05))
        rate = scale * _MEAN_PER_HOUR / 60 * (1 + _DAY * np.cos((hour - 15.0) / 24 * 2 * math.pi))
        counts = rng.poisson(rate)
        within = np.sort(np.repeat(minutes, counts) * 60_000_000 + rng.integers(0, 60_000_000, int(counts.sum())))
        return within.astype(np.int64)

    def _truth(
        self, rng: np.random.Generator, features: NDArray[np.float64], uniform: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        z = (features - _MIDDLE) / _SPREAD
        weights = rng.uniform(0.5, 1.0, len(FEATURES) - 1) * rng.choice([-1.0, 1.0], len(FEATURES) - 1)
        x = z[:, 0]
        beyond = x > _KNEE
        rises = np.where(beyond, _KNEE - _FALL * (x - _KNEE), x)
        certain = rises + z[:, 1:] @ weights - float(rng.uniform(0.0, 0.15)) > 0
        by_chance = uniform < np.where(beyond, _CHANCE_BEYOND, _CHANCE)
        truth: NDArray[np.bool_] = certain ^ by_chance
        return truth


def share_by_chance(rows: Rows) -> float:
    """Of these customers' outcomes: what no model can know."""
    beyond = (rows.features[:, 0] - _MIDDLE[0]) / _SPREAD[0] > _KNEE
    return float(np.where(beyond, _CHANCE_BEYOND, _CHANCE).mean())


def moment(start: datetime, micros: int) -> datetime:
    return start + timedelta(microseconds=int(micros))


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
