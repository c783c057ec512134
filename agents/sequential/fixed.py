"""One version's share of something bad against a limit that is fixed before: all that is left when nothing is beside it.

Bets of fixed stake on a share above the limit (or below it): a period's factor is the ratio of the likelihoods of two shares,
which is linear in each outcome, so its expectation is at most one wherever the share is on the null's side, and the whole is
fair also where only the mean of the shares is, however they change meanwhile (Waudby-Smith and Ramdas, 2024, Estimating means
of bounded random variables by betting, JRSS B 86(1)). Exact; may be looked at after every period.
"""

import math

import numpy as np

from agents.sequential.capital import Numbers, as_numbers

_LOWER = 1 - 0.9 * 2.0 ** (-as_numbers(range(20)) / 2)
"""Shares that are bet on in place of the one that is refuted, of it: from a tenth of it to all but a thousandth."""
_SURE = 1e-9


def bets(count: Numbers, bad: Numbers, limit: float, beyond: Numbers) -> Numbers:
    """Logarithm of what the bets on shares `beyond` the limit have made by the end of each period: (..., periods, bets).

    Nothing is won against a limit of one. A bet on more than is possible is on half of what is left.
    """
    if limit >= 1 - _SURE:
        return np.zeros((*count.shape, len(beyond)))
    limit = max(limit, _SURE)
    share = np.minimum(limit + beyond, (1 + limit) / 2)
    some, all_of = (np.cumsum(each, axis=-1)[..., None] for each in (bad, count))
    return np.asarray(some * np.log(share / limit) + (all_of - some) * np.log((1 - share) / (1 - limit)))


def highest(count: float, bad: float, level: float) -> float:
    """Confidence limit of a share: above it with a chance of at most `level`, however long was counted, and whenever it was
    stopped. 1 where nothing was."""
    low, high = (bad / count if count else 1.0), 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        share = middle * _LOWER
        grown = bad * np.log(_LOWER) + (count - bad) * np.log((1 - share) / (1 - middle))
        refuted = float(np.logaddexp.reduce(grown)) - math.log(len(_LOWER)) >= -math.log(level)
        low, high = (low, middle) if refuted else (middle, high)
    return high
