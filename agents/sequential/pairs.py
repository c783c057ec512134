"""Two versions that answered the same requests, as a shadow does: only where one was right and the other wrong tells anything.

Each pair counts 1 where only the canary was bad, -1 where only the control was, else 0; a bet of fixed stake on their mean
(Waudby-Smith and Ramdas, 2024, Estimating means of bounded random variables by betting, JRSS B 86(1)), mixed over stakes. Exact
at any sample size, also when the mean changes: under the null each factor's expectation is at most one. The sequential form of
McNemar's test, with a margin.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from agents.sequential.capital import Numbers, Side, as_numbers, invert, log_mean

_STAKES = 0.9 * 2.0 ** (-as_numbers(range(20)) / 2)
"""Shares of the most that can be staked without risking ruin; from 90 % down to 0.1 % in steps of the square root of two."""


@dataclass(frozen=True)
class Pairs:
    """Counts of each period."""

    count: Numbers
    only_canary: Numbers
    """The canary was bad, the control was not."""
    only_control: Numbers

    @classmethod
    def of(cls, count: Any, only_canary: Any, only_control: Any) -> Self:
        pairs = cls(*map(as_numbers, (count, only_canary, only_control)))
        if np.any(pairs.only_canary + pairs.only_control > pairs.count):
            raise ValueError("pairs: there cannot be more that differ than there are")
        return pairs

    def since(self, period: int) -> "Pairs":
        return Pairs(*(each[..., period:] for each in vars(self).values()))

    @property
    def difference(self) -> Numbers:
        """Share of the canary less that of the control, after each period; NaN before the first pair."""
        with np.errstate(invalid="ignore"):
            apart = np.cumsum(self.only_canary - self.only_control, axis=-1)
            return np.asarray(apart / np.cumsum(self.count, axis=-1))


def log_capital(pairs: Pairs, null: float, side: Side) -> Numbers:
    """After each period, against "the mean difference is not on `side` of `null`"; -1 < null < 1."""
    return log_mean(*bets(pairs, null, side))


def bets(pairs: Pairs, null: float, side: Side) -> tuple[Numbers, Numbers]:
    """(logarithm of what each bet has made by the end of each period, weights of the bets)."""
    stake = side.sign * _STAKES / (1 + side.sign * null)
    up, down = (np.cumsum(each, axis=-1)[..., None] for each in (pairs.only_canary, pairs.only_control))
    same = np.cumsum(pairs.count, axis=-1)[..., None] - up - down
    grown = up * np.log1p(stake * (1 - null)) + down * np.log1p(stake * (-1 - null)) + same * np.log1p(-stake * null)
    return grown, np.full(len(_STAKES), 1 / len(_STAKES))


def interval(pairs: Pairs, level: float) -> tuple[float, float]:
    """Of one rollout: confidence sequence of the difference at `1 - level`, as it is after the last period."""
    estimate = pairs.difference[..., -1]
    if not np.isfinite(estimate):
        return -1.0, 1.0

    def against(side: Side, null: float) -> float:
        return float(log_capital(pairs, null, side)[..., -1])

    step = 1 / (4 * float(pairs.count.sum()) ** 0.5)
    low = invert(lambda null: against(Side.ABOVE, null), float(estimate), Side.BELOW, step, level / 2)
    high = invert(lambda null: against(Side.BELOW, null), float(estimate), Side.ABOVE, step, level / 2)
    return low, high
