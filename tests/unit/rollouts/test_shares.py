"""Two shares, looked at after every period."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.sequential import shares
from agents.sequential.capital import Side, claimed
from agents.sequential.shares import Shares
from tests.unit.rollouts.streams import drawn, one

ROLLOUTS = 1_000
rates = st.floats(0.0005, 0.9995)
sizes = st.integers(1, 5_000)


@given(theirs=rates, ours=rates, canary=sizes, control=sizes, null=st.floats(-0.9, 0.9), truth=st.floats(0, 1))
@settings(max_examples=400)
def test_a_bet_is_fair_whatever_the_true_share_is(
    theirs: float, ours: float, canary: int, control: int, null: float, truth: float
) -> None:
    """The law that all rests on: the expectation of a period's factor is at most one under every share the null allows."""
    low, high = max(0.0, null), min(1.0, 1 + null)
    x = float(shares._nearest(*(np.array(float(each)) for each in (theirs, ours, canary, control)), null))
    y = x - null
    assert low < x < high
    s = low + truth * (high - low)
    mine, other = (theirs - x) / (x * (1 - x)), (ours - y) / (y * (1 - y))
    with np.errstate(divide="ignore"):
        expected = canary * np.log1p(np.maximum((s - x) * mine, -1)) + control * np.log1p(np.maximum((s - x) * other, -1))
    assert expected <= 1e-6


@given(data=st.data(), null=st.sampled_from([0.0, 0.01, 0.1]), side=st.sampled_from(Side))
def test_more_bad_answers_of_the_canary_speak_for_it_being_worse(data: st.DataObject, null: float, side: Side) -> None:
    canary = data.draw(st.lists(st.integers(1, 300), min_size=2, max_size=6))
    bad = [data.draw(st.integers(0, count - 1)) for count in canary]
    control = [data.draw(st.integers(1, 2_000)) for _ in canary]
    control_bad = [data.draw(st.integers(0, count)) for count in control]
    place = data.draw(st.integers(0, len(canary) - 1))
    more = [count + (at == place) for at, count in enumerate(bad)]
    before, after = (
        shares.log_capital(Shares.of(canary, each, control, control_bad), null, side, 0.01)[-1] for each in (bad, more)
    )
    assert side.sign * (after - before) >= -1e-9


def test_without_a_difference_at_most_so_many_are_claimed_as_the_level_says() -> None:
    found = drawn(np.random.default_rng(1), ROLLOUTS, 240, 0.04, 0.04)
    assert claimed(shares.log_capital(found, 0.0, Side.ABOVE, 0.01), 0.05)[:, -1].mean() <= 0.05
    # At the margin exactly, which is the hardest of all that are worse by at least it.
    found = drawn(np.random.default_rng(2), ROLLOUTS, 240, 0.05, 0.04)
    assert claimed(shares.log_capital(found, 0.01, Side.BELOW, 0.01), 0.05)[:, -1].mean() <= 0.05


@pytest.mark.parametrize("rate", [0.001, 0.3, 0.97])
def test_rare_and_frequent_failures_keep_the_level_from_the_first_request_on(rate: float) -> None:
    found = drawn(np.random.default_rng(3), ROLLOUTS, 200, rate, rate, per_minute=20)
    assert claimed(shares.log_capital(found, 0.0, Side.ABOVE, 0.005), 0.05)[:, -1].mean() <= 0.05


def test_a_bad_hour_of_both_is_no_difference() -> None:
    """Failures of both rise tenfold, just when the canary gets half of the traffic instead of a tenth."""
    rng = np.random.default_rng(4)
    quiet, loud = np.full((ROLLOUTS, 60), 1_000), np.full((ROLLOUTS, 60), 1_000)
    canary = np.concatenate([quiet // 10, loud // 2], axis=1)
    rate = np.concatenate([np.full(60, 0.02), np.full(60, 0.2)])
    found = Shares.of(canary, rng.binomial(canary, rate), 1_000 - canary, rng.binomial(1_000 - canary, rate))
    assert claimed(shares.log_capital(found, 0.0, Side.ABOVE, 0.01, (0, 60), (0.8, 0.2)), 0.05)[:, -1].mean() <= 0.05
    pooled = found.canary_bad.sum(1) / found.canary.sum(1) - found.control_bad.sum(1) / found.control.sum(1)
    assert pooled.min() > 0.04, "pooled, it would look worse"
    assert abs(found.difference[:, -1]).max() < 0.02


def test_what_becomes_bad_with_the_second_stage_is_found_by_what_begins_with_it() -> None:
    rng = np.random.default_rng(5)
    good = drawn(rng, 200, 600, 0.02, 0.04)
    half = np.full((200, 30), 500)
    bad = Shares.of(half, rng.binomial(half, 0.08), half, rng.binomial(half, 0.04))
    both = Shares(*(np.concatenate(pair, axis=1) for pair in zip(vars(good).values(), vars(bad).values(), strict=True)))
    one_process, two = (
        claimed(shares.log_capital(both, 0.0, Side.ABOVE, 0.01, *how), 0.05)[:, -1].mean()
        for how in (((0,), (1.0,)), ((0, 600), (0.8, 0.2)))
    )
    assert one_process < 0.05
    assert two > 0.95


def test_thousands_at_once_are_the_same_as_one() -> None:
    found = drawn(np.random.default_rng(6), 5, 40, 0.06, 0.04)
    together = shares.log_capital(found, 0.01, Side.BELOW, 0.01)
    for place in range(5):
        alone = shares.log_capital(one(found, place), 0.01, Side.BELOW, 0.01)
        assert together[place] == pytest.approx(alone, rel=1e-12)


def test_which_of_the_two_is_called_canary_mirrors_the_interval() -> None:
    found = one(drawn(np.random.default_rng(7), 1, 60, 0.06, 0.04), 0)
    low, high = shares.interval(found, 0.05, 0.01)
    assert low < found.difference[-1] < high
    assert 0 < low < 0.02 < high
    swapped = Shares(found.control, found.control_bad, found.canary, found.canary_bad)
    # Bets are placed by the control's rate, so the mirror is not exact.
    assert shares.interval(swapped, 0.05, 0.01) == pytest.approx((-high, -low), abs=0.002)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    found = drawn(np.random.default_rng(8), 150, 30, 0.03, 0.05)
    held = [low <= -0.02 <= high for low, high in (shares.interval(one(found, place), 0.05, 0.01) for place in range(150))]
    assert np.mean(held) >= 0.95


def test_a_thousand_answers_without_a_failure_are_not_worse_by_a_point() -> None:
    found = Shares.of([100] * 10, [0] * 10, [900] * 10, [0] * 10)
    assert claimed(shares.log_capital(found, 0.01, Side.BELOW, 0.01), 0.05)[-1]
    assert not claimed(shares.log_capital(found.since(8), 0.01, Side.BELOW, 0.01), 0.05)[-1]


@pytest.mark.parametrize("traffic", [([0] * 5, [0] * 5), ([0] * 5, [100] * 5), ([100] * 5, [0] * 5)])
def test_without_both_nothing_is_claimed(traffic: tuple[list[int], list[int]]) -> None:
    found = Shares.of(traffic[0], [0] * 5, traffic[1], [0] * 5)
    for null, side in ((0.0, Side.ABOVE), (0.01, Side.BELOW)):
        assert shares.log_capital(found, null, side, 0.01) == pytest.approx([0.0] * 5)
    assert np.isnan(found.difference).all()
    assert shares.interval(found, 0.05, 0.01) == (-1.0, 1.0)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="more than all"):
        Shares.of([1], [2], [3], [0])
    with pytest.raises(ValueError, match="fewer than none"):
        Shares.of([1], [-1], [3], [0])
    with pytest.raises(ValueError, match="margin"):
        shares.log_capital(Shares.of([1], [0], [3], [0]), 0.0, Side.ABOVE, 0.0)
