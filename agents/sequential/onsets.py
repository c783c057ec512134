"""Since when: a canary may turn bad at any time, so bets are begun anew with every period, each with its part of the level.

A mean over all that was seen hides what began late: an hour of good answers outweighs two minutes in which a third fail. Bets
that begin late know nothing of that hour. Shin, Ramdas and Rinaldo (2022, E-detectors: a nonparametric framework for sequential
change detection, arXiv:2203.03532) add them up with the same weight each, which bounds how rarely one is alarmed wrongly; here
the weights of all beginnings add up to one, which bounds how many rollouts ever are: the sum is one e-process, and whatever is
not staked yet is kept. Exact wherever each single bet is.

`grown` is the logarithm of what each bet has made since the first period, after each of them: (..., periods, bets); `prior` are
the weights of the bets, `begin` those of the periods.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.sequential.capital import Numbers, Truths, as_numbers, log_mean

Places = NDArray[np.int64]

_SOON = 60
"""Periods. Within about so many of the first, beginnings have like weights; from then on they fall as 1 / (n log² n), about the
slowest that still adds up however long it goes on."""


def beginnings(periods: int, starts: Sequence[int], weights: Sequence[float], late: float) -> Numbers:
    """Weight of each period: those of `starts`, which begin stages, and `late` shared out among all of them.

    May be told period by period: what a stage's start gets is known when it begins. The weights of all, also of those that have
    not come, add up to one at most.
    """
    if len(starts) > len(weights) or sum(weights) + late > 1 + 1e-9:
        raise ValueError("weights: each start needs one, and all together are at most one")
    left = 1 / (1 + np.log1p(np.arange(periods + 1) / _SOON))
    begin = late * (left[:-1] - left[1:])
    for start, weight in zip(starts, weights, strict=False):
        if start < periods:
            begin[start] += weight
    return np.asarray(begin)


def log_capital(grown: Numbers, prior: Numbers, begin: Numbers) -> Numbers:
    """Of all bets, begun with all periods so far, and of what has not been staked yet: after each period."""
    staked = np.logaddexp.accumulate(_log(begin)[:, None] - _before(grown), axis=-2) + grown
    kept = np.broadcast_to(_log(np.maximum(1 - np.cumsum(begin), 0.0)), staked.shape[:-1])
    return np.asarray(np.logaddexp(log_mean(staked, prior), kept))


def likeliest(grown: Numbers, prior: Numbers, begin: Numbers) -> tuple[Places, Numbers]:
    """(the period with which the best bet would have begun, the logarithm of what the bets would have made since the best
    beginning of each): after each period."""
    key = _before(grown) - _log(begin)[:, None]
    lowest = np.minimum.accumulate(key, axis=-2)
    place = np.arange(len(begin))[:, None]
    since = np.maximum.accumulate(np.where(key <= lowest, place, 0), axis=-2)
    made = grown - lowest
    best = np.argmax(made + np.log(prior), axis=-1)[..., None]
    return np.take_along_axis(since, best, axis=-1)[..., 0], log_mean(made, prior)


def since(values: Numbers, first: Places) -> Numbers:
    """Sum of the values from each period's own `first` to itself."""
    summed = np.cumsum(as_numbers(values), axis=-1)
    before = np.concatenate([np.zeros_like(summed[..., :1]), summed[..., :-1]], axis=-1)
    return np.asarray(summed - np.take_along_axis(before, first, axis=-1))


def at_least(apart: Numbers, weight: Numbers, margin: float) -> Truths:
    """Whether a mean, told by its numerator and its denominator, reaches the margin; never where there is none. The billionth
    is for sums of what was divided."""
    return np.asarray((weight > 0) & (apart >= (margin - 1e-9) * weight))


def _before(grown: Numbers) -> Numbers:
    return np.concatenate([np.zeros_like(grown[..., :1, :]), grown[..., :-1, :]], axis=-2)


def _log(weights: Numbers) -> Numbers:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(weights))
