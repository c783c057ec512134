"""Two versions' shares of something bad (failures, wrong answers, slow answers), compared period by period.

For each period a bet is placed before its outcomes are seen: on an alternative (share of the control as estimated from
earlier periods, share of the canary so much away from it), against the nearest pair of shares that the null allows. The bet
is the growth-rate optimal e-variable of Turner, Ly and Gruenwald (2024, Generic E-variables for exact sequential k-sample
tests, JSPI 230), extended from equal shares to a difference: with `x` the nearest share of the canary, its expectation under
shares `s` and `s - null` is at most `(1 + (s - x) a)^canary (1 + (s - x) b)^control`, whose logarithm is concave in `s` and
flat at `x` by the choice of `x`; so it is at most one, whatever the true share is and however it changes from period to
period. Hence exact at any sample size and allocation, and blind to the hour of day. What has to hold: within a period it is
chance which version a request goes to, and outcomes are independent. Where one client sends many requests and is always sent
to the same version, count clients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from agents.sequential.capital import Numbers, Side, as_numbers, invert, log_mean

SIZES = (1 / 8, 1 / 4, 1 / 2, 2**-0.5, 1.0, 2**0.5, 2.0, 2**1.5, 4.0, 8.0, 16.0)
"""The differences that are bet on, in margins beyond the null; the further from the margin the less weight: what is closer to
the null is of little account, what is further away shows by itself."""
LARGE = SIZES[4:]
"""From the margin on."""
_SURE = 1e-9
_OF_THE_CONTROL = 0.02
"""A canary that is so many times better than the control cannot be told from a perfect one."""


@dataclass(frozen=True)
class Shares:
    """Counts of each period, canary and control beside each other."""

    canary: Numbers
    canary_bad: Numbers
    control: Numbers
    control_bad: Numbers

    @classmethod
    def of(cls, canary: Any, canary_bad: Any, control: Any, control_bad: Any) -> Self:
        """Raises ValueError where more are bad than there are."""
        counts = cls(*map(as_numbers, (canary, canary_bad, control, control_bad)))
        if np.any(counts.canary_bad > counts.canary) or np.any(counts.control_bad > counts.control):
            raise ValueError("bad: there cannot be more than all")
        if min((each.min(initial=0) for each in vars(counts).values()), default=0) < 0:
            raise ValueError("counts: there cannot be fewer than none")
        return counts

    def since(self, period: int) -> "Shares":
        return Shares(*(each[..., period:] for each in vars(self).values()))

    @property
    def difference(self) -> Numbers:
        """Share of the canary less that of the control, over the periods where both had traffic: after each period.

        Each period weighs as much as it tells, `canary * control / (canary + control)`: a change of the weights in the middle
        does not mix a bad hour of both into a difference between them (Mantel and Haenszel, 1959). NaN before there is one.
        """
        both = self.canary + self.control
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = np.where(both > 0, self.canary * self.control / both, 0.0)
            apart = np.where(weight > 0, self.canary_bad / self.canary - self.control_bad / self.control, 0.0)
            return np.asarray(np.cumsum(weight * apart, axis=-1) / np.cumsum(weight, axis=-1))


def log_capital(
    shares: Shares,
    null: float,
    side: Side,
    margin: float,
    starts: Sequence[int] = (0,),
    weights: Sequence[float] = (1.0,),
    sizes: Sequence[float] = SIZES,
) -> Numbers:
    """After each period, against "the difference is not on `side` of `null`".

    Differences are sought at `sizes`, in units of `margin`. `starts`: one process begins at each of these periods, with its
    part of `weights`; those of weights without a start yet are kept. A canary that becomes bad when it gets half of the traffic
    is found by the second process, however good the first has become.
    """
    if len(starts) > len(weights) or not margin > 0:
        raise ValueError("a start needs its weight, and a margin is larger than nothing")
    grown = np.cumsum(_bets(shares, null, side, margin * as_numbers(sizes)), axis=-2)
    prior = _prior(as_numbers(sizes))
    processes = []
    for start in starts:
        before = grown[..., start - 1 : start, :] if start else 0.0
        process = log_mean(grown - before, prior)
        process[..., :start] = 0.0
        processes.append(process)
    processes += [np.zeros_like(processes[0])] * (len(weights) - len(starts))
    return log_mean(np.stack(processes, axis=-1), as_numbers(weights))


def interval(shares: Shares, level: float, margin: float) -> tuple[float, float]:
    """Of one rollout: confidence sequence of the difference at `1 - level`, as it is after the last period."""
    estimate = shares.difference[..., -1]
    if not np.isfinite(estimate):
        return -1.0, 1.0

    def against(side: Side, null: float) -> float:
        return float(log_capital(shares, null, side, margin)[..., -1])

    low = invert(lambda null: against(Side.ABOVE, null), float(estimate), Side.BELOW, margin / 4, level / 2)
    high = invert(lambda null: against(Side.BELOW, null), float(estimate), Side.ABOVE, margin / 4, level / 2)
    return low, high


def _prior(sizes: Numbers) -> Numbers:
    weights = np.minimum(sizes, 1 / sizes)
    return np.asarray(weights / weights.sum())


def _bets(shares: Shares, null: float, side: Side, beyond: Numbers) -> Numbers:
    """Logarithm of each period's factor for each alternative; zero where there is nothing to bet on or to bet with."""
    canary, bad, control, control_bad = (each[..., None] for each in vars(shares).values())
    known, known_bad = (np.cumsum(each, axis=-2) - each for each in (control, control_bad))
    ours = (known_bad + 0.5) / (known + 1)
    wanted = ours + null + side.sign * beyond
    theirs = np.clip(wanted, ours * _OF_THE_CONTROL, 1 - _SURE)
    playable = (known > 0) & (canary > 0) & (control > 0) & (side.sign * (theirs - ours - null) > 0)
    nearest = _nearest(
        np.where(playable, theirs, 0.5 + null / 2), np.where(playable, ours, 0.5 - null / 2), canary, control, null
    )
    other = nearest - null
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = (
            bad * np.log(theirs / nearest)
            + (canary - bad) * np.log((1 - theirs) / (1 - nearest))
            + control_bad * np.log(ours / other)
            + (control - control_bad) * np.log((1 - ours) / (1 - other))
        )
    return np.where(playable, factor, 0.0)


def _nearest(theirs: Numbers, ours: Numbers, canary: Numbers, control: Numbers, null: float) -> Numbers:
    """The share of the canary that, with the control's `null` below it, explains the alternative best.

    The root of a cubic: Farrington and Manning (1990), Statistics in Medicine 9(12), appendix; for no difference the pooled
    share.
    """
    canary, control = np.where(canary > 0, canary, 1.0), np.where(control > 0, control, 1.0)
    if null == 0:
        return np.asarray((canary * theirs + control * ours) / (canary + control))
    ratio = control / canary
    a = 1 + ratio
    b = -(1 + ratio + theirs + ratio * ours + null * (ratio + 2))
    c = null * null + null * (2 * theirs + ratio + 1) + theirs + ratio * ours
    d = -theirs * null * (1 + null)
    v = b * b * b / (27 * a * a * a) - b * c / (6 * a * a) + d / (2 * a)
    u = np.where(v > 0, 1.0, -1.0) * np.sqrt(np.maximum(b * b / (9 * a * a) - c / (3 * a), 1e-300))
    root = 2 * u * np.cos((np.pi + np.arccos(np.clip(v / (u * u * u), -1, 1))) / 3) - b / (3 * a)
    low, high = max(0.0, null), min(1.0, 1 + null)
    root = np.clip(root, low + 1e-12, high - 1e-12)
    # The arc cosine loses half of the digits near a double root; two steps of Newton bring them back.
    for _ in range(2):
        other = root - null
        slope = canary * (root - theirs) / (root * (1 - root)) + control * (other - ours) / (other * (1 - other))
        bend = canary * _bend(root, theirs) + control * _bend(other, ours)
        better = root - slope / bend
        root = np.where((better > low) & (better < high), better, root)
    return np.asarray(root)


def _bend(x: Numbers, share: Numbers) -> Numbers:
    return np.asarray(share / (x * x) + (1 - share) / ((1 - x) * (1 - x)))
