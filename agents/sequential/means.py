"""Two versions' means of anything (a business metric, cost per prediction), compared while they come in.

The difference of the means in units of its information (one over its variance) becomes a Brownian motion with drift as values
come in, and the mixture over a half-normal drift has a closed form: the one-sided form of Robbins' normal mixture (1970,
Annals of Mathematical Statistics 41(5)), with estimated variances as in Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
(2024, Time-uniform central limit theory and asymptotic confidence sequences, Annals of Statistics 52(6)). Asymptotic, unlike
`shares`: it is the caller's part to ask for some hundred values on either side first, and more of a heavy tail. The split of
the traffic has to be the same in all periods that are handed in; a mean that runs through the day is then the same for both.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from agents.sequential.capital import Numbers, Side, as_numbers


@dataclass(frozen=True)
class Moments:
    """How many values, their sum and the sum of their squares, of each period."""

    count: Numbers
    total: Numbers
    squares: Numbers

    @classmethod
    def of(cls, count: Any, total: Any, squares: Any) -> Self:
        return cls(*map(as_numbers, (count, total, squares)))

    @property
    def mean(self) -> Numbers:
        """After each period."""
        with np.errstate(invalid="ignore"):
            return np.asarray(np.cumsum(self.total, axis=-1) / np.cumsum(self.count, axis=-1))

    @property
    def variance(self) -> Numbers:
        """Of the mean, after each period; infinite below two values."""
        return Moments(*(np.cumsum(each, axis=-1) for each in (self.count, self.total, self.squares))).own_variance

    @property
    def own_variance(self) -> Numbers:
        """Of the mean of each period by itself."""
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = (self.squares - self.total**2 / self.count) / (self.count - 1)
            return np.where(self.count > 1, np.maximum(spread, 0.0) / self.count, np.inf)

    @property
    def to_the_last(self) -> "Moments":
        """All that came from each period to the last, in one."""
        return Moments(*(np.cumsum(each[..., ::-1], axis=-1)[..., ::-1] for each in vars(self).values()))


def log_capital(canary: Moments, control: Moments, null: Any, side: Side, scale: Any) -> Numbers:
    """After each period, against "the difference (canary less control) is not on `side` of `null`".

    `scale`: the size of the difference that is sought beyond the null, in the values' unit. No capital is won before both sides
    have varied: without any variance nothing is asymptotic.
    """
    return _grown(canary.mean - control.mean - null, canary.variance + control.variance, side, scale)


def _grown(apart: Numbers, variance: Numbers, side: Side, scale: Any) -> Numbers:
    usable = np.isfinite(variance) & (variance > 0)
    information = np.where(usable, 1 / np.where(usable, variance, 1.0), 0.0)
    apart = np.where(usable, side.sign * apart, 0.0)
    precision = 1 / np.square(as_numbers(scale))
    standard = apart * information / np.sqrt(information + precision)
    grown = math.log(2) + 0.5 * np.log(precision / (information + precision)) + _log_half(standard)
    return np.where(usable, grown, 0.0)


def since_each(canary: Moments, control: Moments, scale: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """After the last period, of what came since each: (capital as above, against no difference above; difference; values of the
    side that has fewer). `scale` is of the last period."""
    ours, theirs = canary.to_the_last, control.to_the_last
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.nan_to_num(ours.total / ours.count - theirs.total / theirs.count, nan=-np.inf)
    fewer = np.minimum(ours.count, theirs.count)
    made = _grown(apart, ours.own_variance + theirs.own_variance, Side.ABOVE, as_numbers(scale)[..., None])
    return made, apart, fewer


def interval(canary: Moments, control: Moments, level: float, scale: float) -> tuple[float, float]:
    """Of one rollout: confidence sequence of the difference at `1 - level`, after the last period; narrowest at `scale`."""
    variance = float(canary.variance[..., -1] + control.variance[..., -1])
    if not math.isfinite(variance) or variance <= 0:
        return -math.inf, math.inf
    information, precision = 1 / variance, 1 / scale**2
    # Robbins' two-sided boundary, solved for the difference.
    reach = math.sqrt((information + precision) * (2 * math.log(1 / level) + math.log((information + precision) / precision)))
    estimate = float(canary.mean[..., -1] - control.mean[..., -1])
    return estimate - reach / information, estimate + reach / information


def _log_half(x: Numbers) -> Numbers:
    """log(exp(x²/2) P(Z <= x)): Mills' ratio far below zero, where both factors leave the range of a float."""

    def one(x: float) -> float:
        if x > -30:
            return x * x / 2 + math.log(0.5 * math.erfc(-x / math.sqrt(2)))
        return -math.log(-x * math.sqrt(2 * math.pi)) - 1 / (x * x)

    return np.asarray(np.vectorize(one, otypes=[np.float64])(x))
