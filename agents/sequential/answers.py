"""The three answers: worse, not worse, inconclusive. Each is told after each period, of one rollout or of thousands at once.

Worse: beyond chance (against "no worse at all"), and by the estimate at least the margin: what is certain but small rolls
nothing back. Not worse: the difference is below the margin, beyond chance. Both may hold of one canary while it is looked at
long enough; worse counts then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from agents.sequential import means, pairs, shares
from agents.sequential.capital import Numbers, Side, Truths, as_numbers, claimed
from agents.sequential.means import Moments
from agents.sequential.pairs import Pairs
from agents.sequential.shares import Shares

FIRST_STAGE = 0.8
"""Share of the level of wrong rollbacks that is staked on the whole rollout; the rest is for what begins with a later stage."""


class Answer(StrEnum):
    WORSE = "worse"
    NOT_WORSE = "not_worse"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Answers:
    """Arrays as the periods were: rollouts first, periods last."""

    worse: Truths
    """After each period of the rollout."""
    not_worse: Truths
    """After each period of the present stage; so is `difference`."""
    difference: Numbers
    """Canary less control, in the direction in which more is worse; NaN before there is one."""

    @property
    def last(self) -> Answer:
        """Of one rollout, after the last period."""
        if self.worse.size and self.worse[-1]:
            return Answer.WORSE
        return Answer.NOT_WORSE if self.not_worse.size and self.not_worse[-1] else Answer.INCONCLUSIVE


@dataclass(frozen=True)
class Terms:
    """How sure one has to be."""

    margin: float
    wrong_rollbacks: float
    wrong_passes: float
    least: int
    """Samples on either side."""
    stages: int = 1
    """How many stages there are in which the versions are compared."""

    @property
    def weights(self) -> tuple[float, ...]:
        if self.stages == 1:
            return (1.0,)
        return (FIRST_STAGE, *[(1 - FIRST_STAGE) / (self.stages - 1)] * (self.stages - 1))


def of_shares(counts: Shares, terms: Terms, starts: Sequence[int] = (0,)) -> Answers:
    """Of all periods since the rollout began; `starts`: the first period of each stage so far, the present one's last.

    Harm is sought over the whole rollout; that a canary is not worse has to be shown anew in each stage, because more traffic
    may be what makes it worse.
    """
    now = counts.since(starts[-1])
    fine = shares.log_capital(now, terms.margin, Side.BELOW, terms.margin)
    return Answers(
        worse=worse_shares(counts, terms, starts),
        not_worse=claimed(fine, terms.wrong_passes) & _enough(now, terms),
        difference=now.difference,
    )


def worse_shares(counts: Shares, terms: Terms, starts: Sequence[int] = (0,)) -> Truths:
    """The first part of `of_shares`, for those who look for nothing else."""
    harm = shares.log_capital(counts, 0.0, Side.ABOVE, terms.margin, starts, terms.weights, shares.LARGE)
    large = _at_least(counts.difference, terms.margin)
    large[..., starts[-1] :] |= _at_least(counts.since(starts[-1]).difference, terms.margin)
    return claimed(harm, terms.wrong_rollbacks) & large & _enough(counts, terms)


def _enough(counts: Shares, terms: Terms) -> Truths:
    return np.asarray(np.minimum(_sum(counts.canary), _sum(counts.control)) >= terms.least)


def of_pairs(counts: Pairs, terms: Terms) -> Answers:
    """Of the periods of the present stage; its part of the level is that of any stage."""
    enough = _sum(counts.count) >= terms.least
    harm = pairs.log_capital(counts, 0.0, Side.ABOVE)
    fine = pairs.log_capital(counts, terms.margin, Side.BELOW)
    difference = counts.difference
    return Answers(
        worse=claimed(harm, terms.wrong_rollbacks / terms.stages) & _at_least(difference, terms.margin) & enough,
        not_worse=claimed(fine, terms.wrong_passes) & enough,
        difference=difference,
    )


def of_means(canary: Moments, control: Moments, terms: Terms, *, better: str) -> Answers:
    """Of the periods of the present stage. The margin is a share of the control's mean; `better`: "higher" or "lower"."""
    enough = np.minimum(_sum(canary.count), _sum(control.count)) >= terms.least
    if better == "higher":
        canary, control = (Moments(each.count, -each.total, each.squares) for each in (canary, control))
    margin = np.where(enough, terms.margin * np.abs(control.mean), np.nan)
    known = margin > 0
    scale = np.where(known, margin, 1.0)
    harm = means.log_capital(canary, control, 0.0, Side.ABOVE, scale)
    fine = means.log_capital(canary, control, scale, Side.BELOW, scale)
    difference = canary.mean - control.mean
    return Answers(
        worse=_first_true(harm, known, terms.wrong_rollbacks / terms.stages) & (difference >= scale) & known,
        not_worse=_first_true(fine, known, terms.wrong_passes),
        difference=difference,
    )


def _first_true(log_capital: Numbers, known: Truths, level: float) -> Truths:
    """Claimed from the first period on where both enough was known and the capital large enough: what is asymptotic does not
    hold before, so what was won before does not count."""
    return claimed(np.where(known, log_capital, -np.inf), level)


def _sum(counts: Numbers) -> Numbers:
    return np.asarray(np.cumsum(as_numbers(counts), axis=-1))


def _at_least(difference: Numbers, margin: float) -> Truths:
    return np.asarray(np.nan_to_num(difference, nan=-np.inf) >= margin)
