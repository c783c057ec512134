"""A candidate and the champion on the same rows: how large the difference is, and how sure."""

import math
from statistics import NormalDist, stdev
from typing import Literal

from agents.statistics import mcnemar
from tools.registry.evaluations import Compared

_RESOLVED = 10
"""So many resamples in the tail give its chance within a third."""


def gain(fact: Compared) -> float:
    """Relative to the champion, positive where the candidate is better. Infinite where the champion has 0."""
    apart = fact.candidate - fact.champion if fact.better == "higher" else fact.champion - fact.candidate
    if apart == 0:
        return 0.0
    return apart / abs(fact.champion) if fact.champion else math.copysign(math.inf, apart)


def p_value(fact: Compared, side: Literal["better", "worse"]) -> float | None:
    """One-sided: the chance of so much in favour of `side` without any difference. None where nothing was given to test by."""
    if fact.discordance is not None:
        right, wrong = fact.discordance.only_candidate_right, fact.discordance.only_champion_right
        return mcnemar(right, wrong) if side == "better" else mcnemar(wrong, right)
    if not fact.resamples:
        return None
    spread = stdev(fact.resamples)
    if not spread:
        return 1.0
    sign = (1 if fact.better == "higher" else -1) * (1 if side == "better" else -1)
    against = sum(1 for each in fact.resamples if sign * each <= 0)
    if against >= _RESOLVED:
        return against / len(fact.resamples)
    # Further out than the resamples reach: the tail of the normal distribution that they have the spread of.
    return 1 - NormalDist().cdf(sign * (fact.candidate - fact.champion) / spread)
