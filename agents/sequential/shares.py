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

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from agents.sequential import onsets
from agents.sequential.capital import Numbers, Side, as_numbers, invert, log_mean

SIZES = (1 / 8, 1 / 4, 1 / 2, 2**-0.5, 1.0, 2**0.5, 2.0, 2**1.5, 4.0, 8.0, 16.0)
"""The differences that are bet on, in margins beyond the null; the further from the margin the less weight: what is closer to
the null is of little account, what is further away shows by itself."""
LARGE = SIZES[4:]
"""From the margin on."""
_SURE = 1e-9
_PERIODS = 256
"""More of them are folded together for an interval, which is computed for many nulls."""
_UNFOLDED = 0.9
"""Share of an interval's level that is spent on the first so many periods."""
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

        A change of the weights in the middle does not mix a bad hour of both into a difference between them (Mantel and
        Haenszel, 1959). NaN before there is one.
        """
        with np.errstate(invalid="ignore"):
            return np.asarray(np.cumsum(self.apart, axis=-1) / np.cumsum(self.telling, axis=-1))

    @property
    def telling(self) -> Numbers:
        """How much each period tells of the difference: nothing where either had no traffic."""
        both = self.canary + self.control
        return np.asarray(self.canary * self.control / np.where(both > 0, both, 1.0))

    @property
    def apart(self) -> Numbers:
        """Each period's difference, times how much it tells."""
        both = self.canary + self.control
        return np.asarray((self.canary_bad * self.control - self.control_bad * self.canary) / np.where(both > 0, both, 1.0))

    def folded(self, size: int, starts: Sequence[int] = (0,)) -> "Shares":
        """With so many periods as one, of the same stage (`starts`); those at a stage's end that do not fill one are left
        out."""
        ends = [*starts[1:], self.canary.shape[-1]]
        whole = [
            np.arange(start, start + (end - start) // size * size).reshape(-1, size)
            for start, end in zip(starts, ends, strict=True)
        ]
        places = np.concatenate(whole)
        return Shares(*(each[..., places].sum(axis=-1) for each in vars(self).values()))


def log_capital(
    shares: Shares,
    null: float,
    side: Side,
    margin: float,
    starts: Sequence[int] = (0,),
    parts: Sequence[float] = (1.0,),
    sizes: Sequence[float] = SIZES,
    late: float = 0.0,
) -> Numbers:
    """After each period, against "the difference is not on `side` of `null`".

    Differences are sought at `sizes`, in units of `margin`. `starts`: one process begins at each of these periods, with its
    part of `parts`; those of parts without a start yet are kept. A canary that becomes bad when it gets half of the traffic
    is found by the second process, however good the first has become. `late`: the part of those that begin with any period.
    """
    grown, prior = bets(shares, null, side, margin, sizes)
    if late == 0 and list(starts) == [0] and list(parts) == [1.0]:
        return log_mean(grown, prior)
    return onsets.log_capital(grown, prior, onsets.beginnings(grown.shape[-2], starts, parts, late))


def bets(shares: Shares, null: float, side: Side, margin: float, sizes: Sequence[float]) -> tuple[Numbers, Numbers]:
    """(logarithm of what each bet has made by the end of each period, weights of the bets)."""
    if not margin > 0:
        raise ValueError("a margin is larger than nothing")
    return np.cumsum(_bets(shares, null, side, margin * as_numbers(sizes)), axis=-2), weights(sizes)


def interval(shares: Shares, level: float, margin: float, starts: Sequence[int] = (0,)) -> tuple[float, float]:
    """Of one rollout: confidence sequence of the difference at `1 - level`, as it is after the last period.

    Whenever there are twice as many periods, twice as many are taken as one: a sequence of its own with half of the level that
    the one before had, so that all of them together keep it. `starts`: of stages, which are not folded into each other.
    """
    estimate = shares.difference[..., -1]
    if not np.isfinite(estimate):
        return -1.0, 1.0
    halved = max(0, math.ceil(math.log2(shares.canary.shape[-1] / _PERIODS)))
    level *= _UNFOLDED if halved == 0 else (1 - _UNFOLDED) / 2**halved
    shares = shares.folded(2**halved, starts) if halved else shares

    def against(side: Side, null: float) -> float:
        return float(log_capital(shares, null, side, margin)[..., -1])

    low = invert(lambda null: against(Side.ABOVE, null), float(estimate), Side.BELOW, margin / 4, level / 2)
    high = invert(lambda null: against(Side.BELOW, null), float(estimate), Side.ABOVE, margin / 4, level / 2)
    return low, high


def weights(sizes: Sequence[float]) -> Numbers:
    """Of bets on these differences, in margins."""
    some = np.minimum(sizes, 1 / as_numbers(sizes))
    return np.asarray(some / some.sum())


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
