"""One version's share of failures against a fixed limit: all that can be told when nothing is left to compare with.

A mixture of likelihood ratios of shares above the limit against the limit itself. Each has an expectation of at most one under
any share at or below it, so the mixture may be looked at as often as one likes.
"""

import math

from agents.sequential.shares import SIZES


def exceeds(bad: int, count: int, limit: float, margin: float, level: float) -> bool:
    """Whether the share behind `bad` of `count` is above `limit`, wrongly at most in `level` of the lives of a version that is
    not; sought at some margins beyond."""
    beyond = [share for size in SIZES if limit < (share := limit + size * margin) < 1]
    if not 0 < limit < 1 or not beyond:
        return False
    grown = [bad * math.log(share / limit) + (count - bad) * math.log((1 - share) / (1 - limit)) for share in beyond]
    most = max(grown)
    capital = most + math.log(sum(math.exp(each - most) for each in grown) / len(grown))
    return capital >= math.log(1 / level)
