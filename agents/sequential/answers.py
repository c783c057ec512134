"""The three answers: worse, not worse, inconclusive. Each is told after each period, of one rollout or of thousands at once.

Worse: beyond chance (against "no worse at all"), and by the estimate at least the margin: what is certain but small rolls
nothing back. The estimate is that of the stage, of the rollout, or of what came since the likeliest moment at which the canary
turned bad. Not worse: the difference is below the margin, beyond chance, and nothing lately speaks clearly against it. Both may
hold of one canary while it is looked at long enough; worse counts then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from agents.sequential import fixed, means, onsets, pairs, shares
from agents.sequential.capital import Numbers, Side, Truths, as_numbers, claimed, log_mean
from agents.sequential.means import Moments
from agents.sequential.onsets import Places
from agents.sequential.pairs import Pairs
from agents.sequential.shares import Shares

FIRST_STAGE = 0.8
"""Share of the level of wrong rollbacks that is staked on the whole rollout; the rest is for what begins later."""
LATE = 0.08
"""Of it for what begins with any period: what turns bad late does so by much, or it would not be seen in time anyway, and wins
in a minute or two what a small stake costs."""
ALL_TRAFFIC = 0.04
"""Of it for the time when the canary has all the traffic."""
_MANY = 10
"""Times the least samples that means are asked for where they begin late: what holds for many values only holds for the small
levels of so many beginnings with more of them."""


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

    turned: Truths | None = None
    """Like `worse`: whether some stretch of it, the latest then, was worse by the margin."""
    lately: Truths | None = None
    """Like `not_worse`: whether the latest stretch is so bad that nothing passes."""
    since: Places | None = None
    """Like `worse`: with which period the latest stretch begins."""
    lately_since: Places | None = None
    """The same in the present stage, where no beginning is likelier than another before it is seen."""

    @property
    def last(self) -> Answer:
        """Of one rollout, after the last period."""
        if self.worse.size and self.worse[-1]:
            return Answer.WORSE
        return Answer.NOT_WORSE if self.not_worse.size and self.not_worse[-1] else Answer.INCONCLUSIVE

    @property
    def stretch(self) -> tuple[int, int] | None:
        """Of one rollout: from which period of it until before which one the canary was bad, where its mean does not show it.
        As far as it was when it first could be seen."""
        if self.turned is not None and self.since is not None and self.turned.any():
            seen = int(np.argmax(self.turned))
            return int(self.since[seen]), seen + 1
        if self.last is Answer.WORSE:
            return None
        if self.lately is not None and self.lately_since is not None and self.lately.size and self.lately[-1]:
            end = len(self.worse)
            return end - len(self.lately) + int(self.lately_since[-1]), end
        return None


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

    late: float = 0.0
    """Share of `wrong_rollbacks` for what begins with any period of them."""
    kept: float = 0.0
    """And for what is tested by others."""

    @property
    def weights(self) -> tuple[float, ...]:
        if self.stages == 1:
            return (1.0 - self.late - self.kept,)
        return (FIRST_STAGE, *[(1 - FIRST_STAGE - self.late - self.kept) / (self.stages - 1)] * (self.stages - 1))


def of_shares(counts: Shares, terms: Terms, starts: Sequence[int] = (0,)) -> Answers:
    """Of all periods since the rollout began; `starts`: the first period of each stage so far, the present one's last.

    Harm is sought over the whole rollout; that a canary is not worse has to be shown anew in each stage, because more traffic
    may be what makes it worse.
    """
    now = counts.since(starts[-1])
    fine = shares.log_capital(now, terms.margin, Side.BELOW, terms.margin)
    return _answers(_harm_of_shares(counts, terms, starts), terms, claimed(fine, terms.wrong_passes), now.difference)


def worse_shares(counts: Shares, terms: Terms, starts: Sequence[int] = (0,)) -> Truths:
    """The first part of `of_shares`, for those who look for nothing else."""
    return _worse(_harm_of_shares(counts, terms, starts), terms)[0]


def of_pairs(counts: Pairs, terms: Terms) -> Answers:
    """Of the periods of the present stage; its part of the level is that of any stage."""
    own = replace(terms, wrong_rollbacks=terms.wrong_rollbacks / terms.stages, stages=1)
    fine = pairs.log_capital(counts, terms.margin, Side.BELOW)
    grown, prior = pairs.bets(counts, 0.0, Side.ABOVE)
    harm = _Harm(grown, prior, counts.only_canary - counts.only_control, counts.count, counts.count, (0,))
    return _answers(harm, own, claimed(fine, terms.wrong_passes), counts.difference)


def of_limit(count: Any, bad: Any, limit: float, terms: Terms) -> Answers:
    """Of one version's periods against a limit that contains the margin already. Not worse: by the estimate, and as far as
    nothing lately speaks against it; that is not shown beyond chance."""
    count, bad = as_numbers(count), as_numbers(bad)
    apart = bad - limit * count
    grown = fixed.bets(count, bad, limit, terms.margin * as_numbers(shares.LARGE))
    harm = _Harm(grown, shares.weights(shares.LARGE), apart, count, count, (0,))
    with np.errstate(invalid="ignore"):
        difference = np.asarray(_sum(apart) / _sum(count))
    return _answers(harm, replace(terms, margin=0.0, stages=1), _sum(apart) <= 0, difference)


@dataclass(frozen=True)
class _Harm:
    """What is bet on a difference above none, period by period since the rollout began."""

    grown: Numbers
    """As `onsets` has it."""
    prior: Numbers
    apart: Numbers
    """Difference of each period, times how much it tells, which is `telling`."""
    telling: Numbers
    samples: Numbers
    """Of the side that has fewer."""
    starts: tuple[int, ...]

    def since(self, period: int) -> "_Harm":
        before = self.grown[..., period - 1 : period, :] if period else 0.0
        apart, telling, samples = (each[..., period:] for each in (self.apart, self.telling, self.samples))
        return _Harm(self.grown[..., period:, :] - before, self.prior, apart, telling, samples, (0,))

    def reaches(self, margin: float, first: Places) -> Truths:
        """Whether the mean since `first` does."""
        return onsets.at_least(onsets.since(self.apart, first), onsets.since(self.telling, first), margin)

    def mean_reaches(self, margin: float) -> Truths:
        return onsets.at_least(_sum(self.apart), _sum(self.telling), margin)


def _harm_of_shares(counts: Shares, terms: Terms, starts: Sequence[int]) -> _Harm:
    grown, prior = shares.bets(counts, 0.0, Side.ABOVE, terms.margin, shares.LARGE)
    fewer = np.minimum(counts.canary, counts.control)
    return _Harm(grown, prior, counts.apart, counts.telling, fewer, tuple(starts))


def _worse(harm: _Harm, terms: Terms) -> tuple[Truths, Truths | None, Places | None]:
    """(worse; whether by some stretch of it alone, and since when it would be)."""
    enough = _sum(harm.samples) >= terms.least
    begin = onsets.beginnings(harm.grown.shape[-2], harm.starts, terms.weights, terms.late)
    if terms.late == 0 and terms.weights == (1.0,):
        capital = log_mean(harm.grown, harm.prior)
    else:
        capital = onsets.log_capital(harm.grown, harm.prior, begin)
    large = harm.mean_reaches(terms.margin)
    large[..., harm.starts[-1] :] |= harm.since(harm.starts[-1]).mean_reaches(terms.margin)
    in_the_mean = claimed(capital, terms.wrong_rollbacks) & large & enough
    now = capital >= -np.log(terms.wrong_rollbacks)
    if terms.late == 0 or not now.any():
        return in_the_mean, None, None
    since, _ = onsets.likeliest(harm.grown, harm.prior, begin)
    # What was so bad once has been seen to turn, whatever came after it: with labels that come late, it may be over.
    turned = now & harm.reaches(terms.margin, since) & (onsets.since(harm.samples, since) >= terms.least)
    return in_the_mean | np.logical_or.accumulate(turned, axis=-1), turned & ~in_the_mean, since


def _answers(harm: _Harm, terms: Terms, fine: Truths, difference: Numbers) -> Answers:
    """`fine`, `difference`: of the present stage."""
    worse, turned, since = _worse(harm, terms)
    here = harm.since(harm.starts[-1])
    enough = _sum(here.samples) >= terms.least
    if terms.late == 0:
        return Answers(worse=worse, not_worse=fine & enough, difference=difference)
    lately_since, made = onsets.likeliest(here.grown, here.prior, np.ones(here.grown.shape[-2]))
    lately = (made >= -np.log(terms.wrong_passes)) & here.reaches(terms.margin, lately_since)
    return Answers(
        worse=worse,
        not_worse=fine & enough & ~lately,
        difference=difference,
        turned=turned,
        lately=lately,
        since=since,
        lately_since=lately_since,
    )


def of_means(canary: Moments, control: Moments, terms: Terms, *, better: str) -> Answers:
    """Of the periods of the present stage. The margin is a share of the control's mean; `better`: "higher" or "lower".

    What begins late is looked for at the last period alone: whoever looks at each period misses none.
    """
    enough = np.minimum(_sum(canary.count), _sum(control.count)) >= terms.least
    if better == "higher":
        canary, control = (Moments(each.count, -each.total, each.squares) for each in (canary, control))
    margin = np.where(enough, terms.margin * np.abs(control.mean), np.nan)
    known = margin > 0
    scale = np.where(known, margin, 1.0)
    harm = means.log_capital(canary, control, 0.0, Side.ABOVE, scale)
    fine = means.log_capital(canary, control, scale, Side.BELOW, scale)
    difference = canary.mean - control.mean
    own = replace(terms, wrong_rollbacks=terms.wrong_rollbacks / terms.stages, stages=1)
    worse = _first_true(harm, known, own.wrong_rollbacks * own.weights[0]) & (difference >= scale) & known
    not_worse = _first_true(fine, known, terms.wrong_passes)
    if terms.late and known.size:
        made, apart, fewer = means.since_each(canary, control, scale[..., -1])
        bad = known[..., -1:] & (fewer >= _MANY * terms.least) & (apart >= scale[..., -1:])
        staked = made + np.log(onsets.beginnings(known.shape[-1], (), (), terms.late))
        worse[..., -1] |= np.any(bad & (staked >= -np.log(own.wrong_rollbacks)), axis=-1)
        not_worse[..., -1] &= ~np.any(bad & (made >= -np.log(terms.wrong_passes)), axis=-1)
    return Answers(worse=worse, not_worse=not_worse, difference=difference)


def _first_true(log_capital: Numbers, known: Truths, level: float) -> Truths:
    """Claimed from the first period on where both enough was known and the capital large enough: what is asymptotic does not
    hold before, so what was won before does not count."""
    return claimed(np.where(known, log_capital, -np.inf), level)


def _sum(counts: Numbers) -> Numbers:
    return np.asarray(np.cumsum(as_numbers(counts), axis=-1))
