"""Pairs, means and the split of the traffic, looked at after every period."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sequential import allocation, means, pairs
from agents.sequential.answers import Terms, of_means
from agents.sequential.capital import Numbers, Side, claimed
from agents.sequential.means import Moments
from agents.sequential.pairs import Pairs

ROLLOUTS = 1_000
MINUTES = 120


def paired(rng: np.random.Generator, only_canary: float, only_control: float, each: int = 20) -> Pairs:
    drawn = rng.multinomial(each, [only_canary, only_control, 1 - only_canary - only_control], (ROLLOUTS, MINUTES))
    return Pairs.of(np.full((ROLLOUTS, MINUTES), each), drawn[..., 0], drawn[..., 1])


def test_pairs_keep_the_level() -> None:
    found = paired(np.random.default_rng(1), 0.03, 0.03)
    assert claimed(pairs.log_capital(found, 0.0, Side.ABOVE), 0.05)[:, -1].mean() <= 0.05
    found = paired(np.random.default_rng(2), 0.03, 0.02)
    assert claimed(pairs.log_capital(found, 0.01, Side.BELOW), 0.05)[:, -1].mean() <= 0.05


def test_pairs_find_what_is_there() -> None:
    assert claimed(pairs.log_capital(paired(np.random.default_rng(3), 0.04, 0.01), 0.0, Side.ABOVE), 0.05)[:, -1].mean() > 0.95


@given(
    count=st.integers(0, 500),
    more=st.integers(0, 300),
    less=st.integers(0, 300),
    null=st.sampled_from([0.0, 0.01, 0.2]),
)
def test_pairs_treat_both_versions_alike(count: int, more: int, less: int, null: float) -> None:
    ours, mirrored = Pairs.of([count + more + less], [more], [less]), Pairs.of([count + more + less], [less], [more])
    up, down = pairs.log_capital(ours, null, Side.ABOVE), pairs.log_capital(mirrored, -null, Side.BELOW)
    assert up == pytest.approx(down, rel=1e-9, abs=1e-9)


def test_an_interval_of_pairs_holds_the_truth_as_often_as_it_says() -> None:
    found = paired(np.random.default_rng(4), 0.05, 0.02)
    held = []
    for place in range(200):
        low, high = pairs.interval(Pairs(*(each[place] for each in vars(found).values())), 0.05)
        held.append(low <= 0.03 <= high)
    assert np.mean(held) >= 0.95
    assert pairs.interval(Pairs.of([0], [0], [0]), 0.05) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="more that differ"):
        Pairs.of([1], [1], [1])


def exponential(rng: np.random.Generator, mean: float, each: int) -> Moments:
    values = rng.exponential(mean, (ROLLOUTS, MINUTES, each))
    count: Numbers = np.full((ROLLOUTS, MINUTES), float(each))
    return Moments.of(count, values.sum(-1), (values**2).sum(-1))


def test_means_keep_the_level_also_of_skewed_values() -> None:
    rng = np.random.default_rng(5)
    terms = Terms(margin=0.1, wrong_rollbacks=0.05, wrong_passes=0.05, least=100)
    canary, control = exponential(rng, 10, 5), exponential(rng, 10, 45)
    assert of_means(canary, control, terms, better="lower").worse[:, -1].mean() <= 0.05
    canary = exponential(rng, 11, 5)
    assert of_means(canary, control, terms, better="lower").not_worse[:, -1].mean() <= 0.055


def test_means_find_what_is_there() -> None:
    rng = np.random.default_rng(6)
    terms = Terms(margin=0.1, wrong_rollbacks=0.05, wrong_passes=0.05, least=100)
    canary, control = exponential(rng, 15, 5), exponential(rng, 10, 45)
    assert of_means(canary, control, terms, better="lower").worse[:, -1].mean() > 0.95
    assert of_means(canary, control, terms, better="higher").not_worse[:, -1].mean() > 0.95


def test_an_interval_of_means_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    canary, control = exponential(rng, 12, 5), exponential(rng, 10, 45)
    held = []
    for place in range(ROLLOUTS):
        ours, theirs = (Moments(*(each[place] for each in vars(side).values())) for side in (canary, control))
        low, high = means.interval(ours, theirs, 0.05, 1.0)
        held.append(low <= 2.0 <= high)
    assert np.mean(held) >= 0.95


@given(mean=st.floats(-1e6, 1e6), spread=st.floats(1e-3, 1e6), null=st.floats(-1e3, 1e3))
def test_means_treat_both_versions_alike(mean: float, spread: float, null: float) -> None:
    ours = Moments.of([500.0], [500 * mean], [500 * (mean * mean + spread * spread)])
    theirs = Moments.of([700.0], [0.0], [700 * spread * spread])
    up = means.log_capital(ours, theirs, null, Side.ABOVE, 1.0)
    down = means.log_capital(theirs, ours, -null, Side.BELOW, 1.0)
    assert np.isfinite(up).all()
    assert up == pytest.approx(down, rel=1e-6, abs=1e-6)


def test_values_that_do_not_vary_claim_nothing() -> None:
    same, more = Moments.of([100.0], [100.0], [100.0]), Moments.of([100.0], [200.0], [400.0])
    assert means.log_capital(more, same, 0.0, Side.ABOVE, 0.1) == pytest.approx([0.0])
    assert means.interval(more, same, 0.05, 0.1) == (-math.inf, math.inf)


def test_the_split_keeps_its_level_and_is_found() -> None:
    rng = np.random.default_rng(8)
    weights = {"a": 0.1, "b": 0.9}

    def ever(share: float) -> bool:
        seen = np.cumsum(rng.binomial(1_000, share, 60))
        return any(
            allocation.p_value([({"a": int(a), "b": 1_000 * (minute + 1) - int(a)}, weights)]) <= 0.05
            for minute, a in enumerate(seen)
        )

    assert np.mean([ever(0.1) for _ in range(400)]) <= 0.05
    assert np.mean([ever(0.12) for _ in range(50)]) > 0.95


def test_stages_of_other_weights_are_held_against_their_own() -> None:
    good = [({"a": 1_000, "b": 9_000}, {"a": 10.0, "b": 90.0}), ({"a": 5_000, "b": 5_000}, {"a": 50.0, "b": 50.0})]
    assert allocation.p_value(good) == 1.0
    assert allocation.p_value([({"a": 6_000, "b": 14_000}, {"a": 10.0, "b": 90.0})]) < 1e-12
    assert allocation.p_value([({"a": 1}, {"a": 0.0, "b": 1.0})]) == 0.0
    assert allocation.p_value([]) == 1.0
    with pytest.raises(ValueError, match="no weight is known for c"):
        allocation.p_value([({"c": 1}, {"a": 1.0})])
