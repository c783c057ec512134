"""What turns bad late: the law of beginnings, and what is found of it."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agents.sequential import onsets, shares
from agents.sequential.answers import ALL_TRAFFIC, FIRST_STAGE, LATE, Answer, Terms, of_means, of_pairs, of_shares, worse_shares
from agents.sequential.capital import Numbers
from agents.sequential.means import Moments
from agents.sequential.pairs import Pairs
from agents.sequential.shares import Shares
from tests.unit.rollouts.streams import drawn, one

ROLLOUTS = 1_000
TERMS = Terms(margin=0.01, wrong_rollbacks=0.05, wrong_passes=0.05, least=100, stages=2, late=LATE, kept=ALL_TRAFFIC)


def joined(first: Shares, second: Shares) -> Shares:
    return Shares(*(np.concatenate(pair, axis=-1) for pair in zip(vars(first).values(), vars(second).values(), strict=True)))


def at_half(rng: np.random.Generator, rollouts: int, minutes: int, canary: float, control: float) -> Shares:
    half = np.full((rollouts, minutes), 500)
    return Shares.of(half, rng.binomial(half, canary), half, rng.binomial(half, control))


@given(periods=st.integers(0, 50_000), late=st.floats(0, 0.5), starts=st.sets(st.integers(0, 1_000), max_size=3))
def test_all_beginnings_together_stake_no_more_than_the_level(periods: int, late: float, starts: set[int]) -> None:
    weights = [0.5 / 3] * 3
    begin = onsets.beginnings(periods, sorted(starts), weights, late)
    assert (begin >= 0).all()
    assert begin.sum() <= sum(weights) + late + 1e-9


def test_more_than_there_is_cannot_be_staked() -> None:
    with pytest.raises(ValueError, match="at most one"):
        onsets.beginnings(10, (0,), (0.9,), 0.2)
    with pytest.raises(ValueError, match="each start"):
        onsets.beginnings(10, (0, 5), (0.9,), 0.0)


@given(
    made=st.integers(1, 12).flatmap(lambda periods: arrays(np.float64, (periods, 3), elements=st.floats(-30, 30))),
    late=st.floats(0.01, 0.4),
    second=st.integers(0, 11),
)
def test_bets_begun_with_every_period_are_those_that_one_would_add_up(made: Numbers, late: float, second: int) -> None:
    begin = onsets.beginnings(len(made), sorted({0, second}), (0.4, 0.1), late)
    prior, grown = np.array([0.5, 0.3, 0.2]), np.cumsum(made, axis=0)
    found, (since, best) = onsets.log_capital(grown, prior, begin), onsets.likeliest(grown, prior, begin)
    for period in range(len(made)):
        bets = [np.exp(made[start : period + 1].sum(axis=0)) for start in range(period + 1)]
        staked = sum(weight * (prior @ bet) for weight, bet in zip(begin, bets, strict=False))
        assert found[period] == pytest.approx(np.log(staked + 1 - begin[: period + 1].sum()), abs=1e-6)
        each = np.array([weight * bet for weight, bet in zip(begin, bets, strict=False)])
        assert (each[since[period]] * prior).max() == pytest.approx((each * prior).max(), rel=1e-6)
        assert best[period] == pytest.approx(np.log(prior @ each.max(axis=0)), abs=1e-6)


@pytest.mark.parametrize("rate", [0.005, 0.04])
def test_without_a_difference_all_beginnings_together_keep_the_level(rate: float) -> None:
    """Whichever claim it is: that of the whole, of the stage, or of any stretch."""
    rng = np.random.default_rng(11)
    both = joined(drawn(rng, ROLLOUTS, 60, rate, rate), at_half(rng, ROLLOUTS, 180, rate, rate))
    terms = replace(TERMS, margin=0.005)
    assert of_shares(both, terms, (0, 60)).worse.any(axis=1).mean() <= 0.05


def test_rates_that_change_for_both_turn_nothing_bad() -> None:
    rng = np.random.default_rng(12)
    rate = np.where(np.arange(240) % 60 < 10, 0.2, 0.01)
    half = np.full((ROLLOUTS, 240), 500)
    both = Shares.of(half, rng.binomial(half, rate), half, rng.binomial(half, rate))
    assert worse_shares(both, TERMS).any(axis=1).mean() <= 0.05


def test_pairs_keep_the_level_with_all_their_beginnings() -> None:
    rng = np.random.default_rng(13)
    parts = rng.multinomial(20, [0.03, 0.03, 0.94], (ROLLOUTS, 120))
    found = of_pairs(Pairs.of(np.full((ROLLOUTS, 120), 20), parts[..., 0], parts[..., 1]), replace(TERMS, stages=1))
    assert found.worse.any(axis=1).mean() <= 0.05


@pytest.mark.parametrize(("minutes", "rate"), [(20, 0.03), (5, 0.1), (2, 0.3)])
def test_what_fails_in_the_last_minutes_only_is_worse_though_its_mean_is_not(minutes: int, rate: float) -> None:
    rng = np.random.default_rng(14)
    good = joined(drawn(rng, 100, 60, 0.005, 0.005), at_half(rng, 100, 120 - minutes, 0.005, 0.005))
    found = joined(good, at_half(rng, 100, minutes, rate, 0.005))
    terms = replace(TERMS, margin=0.005, wrong_rollbacks=0.05 / 3)
    assert of_shares(found, terms, (0, 60)).worse[:, -1].mean() > 0.95
    assert of_shares(found, replace(terms, late=0.0), (0, 60)).worse[:, -1].mean() < 0.5, "a mean hides it"
    told = of_shares(one(found, 0), terms, (0, 60)).stretch
    assert told is not None
    assert abs(told[0] - (180 - minutes)) <= 5


def test_what_was_bad_for_a_while_and_is_over_still_counts() -> None:
    """As the labels of an earlier hour show it, when all of them are there."""
    rng = np.random.default_rng(15)
    found = joined(joined(at_half(rng, 1, 100, 0.04, 0.04), at_half(rng, 1, 10, 0.2, 0.04)), at_half(rng, 1, 200, 0.03, 0.04))
    answers = of_shares(one(found, 0), replace(TERMS, stages=1))
    assert answers.last is Answer.WORSE
    assert answers.stretch is not None
    assert 95 <= answers.stretch[0] <= 105
    assert answers.stretch[1] <= 112


def test_the_latest_stretch_keeps_it_from_passing_before_it_is_certain() -> None:
    minutes = [[500] * 61, [2] * 60 + [12], [500] * 61, [2] * 61]
    terms = replace(TERMS, margin=0.005, wrong_rollbacks=0.05 / 3)
    answers = of_shares(Shares.of(*minutes), terms)
    assert answers.not_worse[-2]
    assert answers.last is Answer.INCONCLUSIVE
    assert answers.stretch == (60, 61)
    again = [[*row, *more] for row, more in zip(minutes, ([500] * 9, [2] * 9, [500] * 9, [2] * 9), strict=True)]
    assert of_shares(Shares.of(*again), terms).last is Answer.NOT_WORSE


def test_pairs_and_means_that_turn_late_are_worse_too() -> None:
    count, only = np.full(200, 100), np.full(200, 2)
    late = np.where(np.arange(200) < 190, 2, 20)
    pairs = Pairs.of(count, late, only)
    terms = replace(TERMS, margin=0.02, stages=1)
    assert of_pairs(pairs, terms).last is Answer.WORSE
    assert of_pairs(pairs, replace(terms, late=0.0)).last is not Answer.WORSE
    values, all_of = np.where(np.arange(200) < 190, 10.0, 14.0), np.full(200, 200.0)
    canary = Moments.of(all_of, all_of * values, all_of * (values**2 + 100))
    control = Moments.of(all_of, all_of * 10, all_of * 200)
    terms = replace(terms, margin=0.05)
    assert of_means(canary, control, terms, better="lower").last is Answer.WORSE
    assert of_means(canary, control, replace(terms, late=0.0), better="lower").last is Answer.NOT_WORSE


def test_means_keep_the_level_with_all_their_beginnings() -> None:
    rng = np.random.default_rng(16)
    sides = [rng.exponential(10, (300, 100, each)) for each in (20, 60)]
    moments = [Moments.of(np.full((300, 100), float(v.shape[2])), v.sum(-1), (v**2).sum(-1)) for v in sides]
    terms = replace(TERMS, margin=0.1, stages=1)
    for better in ("lower", "higher"):
        ever = np.zeros(300, dtype=bool)
        for period in range(20, 101, 4):
            canary, control = (Moments(*(each[:, :period] for each in vars(side).values())) for side in moments)
            ever |= of_means(canary, control, terms, better=better).worse[:, -1]
        assert ever.mean() <= 0.05


def test_the_parts_of_the_level_add_up_to_it() -> None:
    for stages in (1, 2, 5):
        terms = replace(TERMS, stages=stages)
        assert sum(terms.weights) + terms.late + terms.kept == pytest.approx(1)
    assert TERMS.weights[0] == FIRST_STAGE


def test_an_interval_of_many_periods_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(17)
    found = drawn(rng, 100, 700, 0.03, 0.05, per_minute=50)
    ends = [shares.interval(one(found, place), 0.05, 0.01) for place in range(100)]
    assert np.mean([low <= -0.02 <= high for low, high in ends]) >= 0.95
    few = shares.interval(one(found, 0).folded(5), 0.05, 0.01)
    assert ends[0] == pytest.approx(few, abs=0.004)


def test_periods_are_folded_within_their_stage_only() -> None:
    counts = Shares.of([1] * 7, [0, 0, 0, 1, 0, 0, 1], [2] * 7, [0] * 7)
    assert counts.folded(2, (0, 3)).canary_bad.tolist() == [0, 1, 1]


def test_a_look_at_thirty_days_of_minutes_takes_no_longer_than_a_second() -> None:
    rng = np.random.default_rng(18)
    found = one(at_half(rng, 1, 30 * 1_440, 0.005, 0.005), 0)
    begun = time.process_time()
    assert of_shares(found, TERMS, (0, 60)).last is Answer.NOT_WORSE
    shares.interval(found, 0.05, 0.01)
    assert time.process_time() - begun < 1.5
