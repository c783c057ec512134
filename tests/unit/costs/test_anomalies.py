"""What is unusual about a cost, and what is not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.cost.anomalies import judge, plain
from agents.cost.rules import Unusual
from agents.cost.series import Finely, Series, beside, filled, series_of
from benchmarks.cost_accounts import daily, hourly
from benchmarks.cost_anomalies import score
from tools.costs.port import Amount, Step

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
RULES = Unusual()


def rhythm(days: int, seed: int = 1, noise: float = 0.05) -> list[float]:
    """A usual account by the hour, from a Monday on: nights and weekends are cheaper."""
    rng, hours = np.random.default_rng(seed), np.arange(days * 24)
    day = 1 + 0.4 * np.sin(2 * np.pi * hours / 24)
    week = np.where(hours // 24 % 7 >= 5, 0.6, 1.0)
    return [float(cost) for cost in 3 * day * week * np.exp(rng.normal(0, noise, len(hours)))]


def by_hour(costs: list[float], start: datetime = MONDAY) -> Series:
    return Series(step=Step.HOUR, start=start, costs=tuple(costs))


def by_day(costs: list[float], start: datetime = MONDAY) -> Series:
    return Series(step=Step.DAY, start=start, costs=tuple(costs))


def raised(costs: list[float], start: int, end: int, factor: float) -> list[float]:
    return [cost * factor if start <= place < end else cost for place, cost in enumerate(costs)]


def test_nights_weekends_and_noise_are_usual() -> None:
    found = judge(by_hour(rhythm(70)), RULES)
    assert found.rule == "seasonal"
    assert found.anomalies == ()


def test_a_spike_of_hours_is_found_where_it_is_with_what_it_cost() -> None:
    costs = rhythm(60)
    start, end = 50 * 24 + 9, 50 * 24 + 13
    (found,) = judge(by_hour(raised(costs, start, end, 2.0)), RULES).anomalies
    assert (found.start, found.end) == (MONDAY + timedelta(hours=start), MONDAY + timedelta(hours=end))
    assert found.excess == pytest.approx(sum(costs[start:end]), rel=0.15)
    assert found.share == pytest.approx(1.0, abs=0.3)
    assert found.seen <= found.end


def test_a_cheaper_day_wakes_nobody() -> None:
    assert judge(by_hour(raised(rhythm(60), 50 * 24, 51 * 24, 0.3)), RULES).anomalies == ()


def test_a_shift_that_stays_is_reported_once_and_then_learnt() -> None:
    found = judge(by_hour(raised(rhythm(90), 50 * 24, 90 * 24, 1.6)), RULES).anomalies
    assert len(found) == 1
    assert found[0].learnt
    assert found[0].end - found[0].start <= timedelta(days=RULES.learn_after_days + 1)


def test_a_new_nightly_job_is_reported_and_then_expected() -> None:
    costs = [cost + (4.0 if place >= 50 * 24 and place % 24 in (1, 2, 3, 4) else 0) for place, cost in enumerate(rhythm(90))]
    found = judge(by_hour(costs), RULES).anomalies
    assert found[0].learnt
    # On weekends it is a larger part of the cost, which is learnt from two of them.
    assert all(each.end < MONDAY + timedelta(days=64) for each in found)


def test_a_new_weekly_job_is_reported_twice_and_then_expected() -> None:
    costs = rhythm(100)
    for day in range(49, 100, 7):
        costs[day * 24 : day * 24 + 5] = [cost * 2.2 for cost in costs[day * 24 : day * 24 + 5]]
    found = judge(by_hour(costs), RULES).anomalies
    assert [each.start.date() for each in found] == [(MONDAY + timedelta(days=day)).date() for day in (49, 56)]


def test_after_a_shift_was_learnt_the_next_spike_is_found() -> None:
    costs = raised(raised(rhythm(90), 50 * 24, 90 * 24, 1.6), 70 * 24, 71 * 24, 1.8)
    found = judge(by_hour(costs), RULES).anomalies
    assert [each.start.date() for each in found] == [(MONDAY + timedelta(days=day)).date() for day in (50, 70)]


def test_what_rises_by_a_few_per_cent_a_day_does_not_hide_in_its_own_level() -> None:
    costs = rhythm(70)
    for place in range(50 * 24, 70 * 24):
        costs[place] *= 1.045 ** min((place - 50 * 24) / 24, 12)
    assert judge(by_hour(costs), RULES).anomalies


def test_one_dear_hour_does_not_spoil_what_is_expected_next() -> None:
    costs = raised(rhythm(80), 50 * 24, 51 * 24, 5.0)
    found = judge(by_hour(raised(costs, 60 * 24, 61 * 24, 1.6)), RULES).anomalies
    assert [each.start.date() for each in found] == [(MONDAY + timedelta(days=day)).date() for day in (50, 60)]
    assert found[1].share == pytest.approx(0.6, abs=0.15)


def test_a_dear_end_of_month_is_expected_from_the_second_on() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ends = {30, 58, 89}  # 31 January, 28 February, 31 March
    rng = np.random.default_rng(3)
    costs = [50 * (1.5 if day in ends else 1.0) * float(np.exp(rng.normal(0, 0.02))) for day in range(100)]
    found = judge(by_day(costs, start), RULES).anomalies
    assert [each.start.date() for each in found] == [datetime(2026, 1, 31, tzinfo=UTC).date()]


def test_hours_that_nobody_booked_are_neither_judged_nor_learnt() -> None:
    costs: list[float | None] = list(rhythm(70))
    for place in (*range(30 * 24, 30 * 24 + 30), *range(55 * 24, 56 * 24)):
        costs[place] = None
    assert judge(Series(step=Step.HOUR, start=MONDAY, costs=tuple(costs)), RULES).anomalies == ()


def test_a_late_correction_takes_the_anomaly_away() -> None:
    costs = rhythm(60)
    assert judge(by_hour(raised(costs, 1200, 1210, 3.0)), RULES).anomalies
    assert judge(by_hour(costs), RULES).anomalies == ()


def test_without_cost_nothing_is_unusual_and_the_first_cost_after_weeks_of_none_is() -> None:
    nothing = [0.0] * (40 * 24)
    assert judge(by_hour(nothing), RULES).anomalies == ()
    assert judge(by_hour(raised([0.0] * 1000 + [2.0] * 12, 0, 0, 1)), RULES).anomalies


def test_a_day_that_is_not_over_is_judged_as_far_as_it_is_known() -> None:
    costs = raised(rhythm(60), 50 * 24 + 9, 60 * 24, 2.5)[: 50 * 24 + 14]
    (found,) = judge(by_hour(costs), RULES).anomalies
    assert found.end == MONDAY + timedelta(hours=50 * 24 + 14)


def test_a_new_account_is_judged_by_the_plain_rule_and_says_why() -> None:
    found = judge(by_day([10.0] * 12 + [13.0]), RULES)
    assert found.rule == "plain"
    assert "not enough history" in found.reason
    assert [each.actual for each in found.anomalies] == [13.0]


def test_by_the_hour_a_new_account_is_judged_by_whole_days_so_that_no_afternoon_is_unusual() -> None:
    quiet = judge(by_hour(rhythm(15)), RULES)
    assert (quiet.rule, quiet.anomalies) == ("plain", ())
    costs = raised(rhythm(17), 15 * 24, 16 * 24, 2.0)[: 16 * 24 + 5]
    found = judge(by_hour(costs), RULES)
    assert [each.start for each in found.anomalies] == [MONDAY + timedelta(days=15)]
    assert found.open_at(found.end) is not None


def test_an_account_of_a_few_days_is_not_judged_at_all() -> None:
    found = judge(by_day([10.0] * 5 + [90.0]), RULES)
    assert (found.rule, found.anomalies) == (None, ())
    assert "not enough history" in found.reason
    assert judge(by_hour([]), RULES).rule is None


def test_the_plain_rule_is_twenty_per_cent_over_the_mean_of_seven_days() -> None:
    week = [8.0, 12.0, 10.0, 10.0, 9.0, 11.0, 10.0]
    assert plain(by_day([*week, 12.0]), RULES).anomalies == ()
    (found,) = plain(by_day([*week, 12.01]), RULES).anomalies
    assert (found.expected, found.actual, found.rule) == (10.0, 12.01, "plain")


def test_an_anomaly_is_open_while_it_goes_on_and_for_a_day_after() -> None:
    costs = raised(rhythm(60), 50 * 24 + 9, 50 * 24 + 20, 2.0)
    end = MONDAY + timedelta(hours=50 * 24 + 20)
    found = judge(by_hour(costs), RULES)
    assert found.open_at(end + timedelta(hours=23)) is not None
    assert found.open_at(end + timedelta(hours=25)) is None


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(1e-6, 1e6))
def test_the_same_in_another_currency_gives_the_same_alarms(seed: int, factor: float) -> None:
    series = hourly(np.random.default_rng(seed)).series
    scaled = series.model_copy(update={"costs": tuple(cost if cost is None else cost * factor for cost in series.costs)})
    first, second = judge(series, RULES).anomalies, judge(scaled, RULES).anomalies
    assert [(each.start, each.end, each.seen) for each in first] == [(each.start, each.end, each.seen) for each in second]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), weeks=st.integers(-4, 4))
def test_whole_weeks_earlier_or_later_give_the_same_alarms(seed: int, weeks: int) -> None:
    # Within one month and away from its turn: that is the only thing that a week moves.
    costs, by = raised(rhythm(44, seed), 40 * 24 + 5, 40 * 24 + 15, 1.9), timedelta(weeks=weeks)
    found = judge(by_hour(costs), RULES).anomalies
    moved = judge(by_hour(costs, MONDAY + by), RULES).anomalies
    assert [(each.start + by, each.end + by) for each in found] == [(each.start, each.end) for each in moved]


@settings(max_examples=20, deadline=None)
@given(cost=st.floats(0, 1e9), days=st.integers(1, 60), step=st.sampled_from([Step.HOUR, Step.DAY]))
def test_what_never_changes_is_never_unusual(cost: float, days: int, step: Finely) -> None:
    count = days * 24 if step is Step.HOUR else days
    series = Series(step=step, start=MONDAY, costs=(cost,) * count)
    assert judge(series, RULES).anomalies == ()
    assert plain(series, RULES).anomalies == ()


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), later=st.integers(1, 24 * 7))
def test_what_was_told_is_not_taken_back_by_what_comes_later(seed: int, later: int) -> None:
    series = hourly(np.random.default_rng(seed)).series
    whole = judge(series, RULES).anomalies
    before = judge(series.until(series.end - timedelta(hours=later)), RULES).anomalies
    assert {each.seen for each in before} <= {each.seen for each in whole}


@pytest.mark.parametrize("kind", ["hourly", "daily"])
def test_planted_anomalies_are_found_with_few_false_alarms_where_the_plain_rule_drowns(kind: str) -> None:
    scores = score(kind, seed=11, accounts=20)
    assert scores["seasonal"].precision >= 0.9
    assert scores["seasonal"].recall >= 0.9
    assert scores["plain"].precision < scores["seasonal"].precision


def test_usual_accounts_raise_fewer_false_alarms_than_the_bound() -> None:
    looked = sum(len(judge(daily(np.random.default_rng(seed), planted=False).series, RULES).anomalies) for seed in range(20))
    months = 20 * (119 - RULES.min_history_days) / 30
    # The first dear end of a month is one of its own, and a third of the accounts have one.
    assert (looked - 20 / 3 * 1.5) / months <= RULES.false_alarms


def test_amounts_become_a_series_without_gaps() -> None:
    amounts = [
        Amount(start=MONDAY + timedelta(hours=hour), at={}, cost=cost, currency="USD")
        for hour, cost in ((2, 5), (2, 1), (4, 7))
    ]
    series = series_of(amounts, Step.HOUR, MONDAY + timedelta(hours=1, minutes=30), MONDAY + timedelta(hours=5, minutes=10))
    assert series.costs == (None, None, 6.0, None, 7.0)
    assert series.until(MONDAY + timedelta(hours=3)).costs == (None, None, 6.0)


def test_what_is_not_there_while_others_are_cost_nothing_and_what_nobody_told_is_unknown() -> None:
    whole = Series(step=Step.HOUR, start=MONDAY, costs=(None, 5.0, 5.0, None, 5.0, 5.0))
    part = whole.model_copy(update={"costs": (None, None, 2.0, None, None, 2.0)})
    assert beside(part, whole).costs == (None, None, 2.0, None, 0.0, 2.0)


def test_where_most_hours_are_empty_they_cost_nothing() -> None:
    seldom = Series(step=Step.HOUR, start=MONDAY, costs=(None, 5.0, None, None, 5.0))
    assert filled(seldom).costs == (None, 5.0, 0.0, 0.0, 5.0)
    told = Series(step=Step.HOUR, start=MONDAY, costs=(5.0,) * 20 + (None,) + (5.0,) * 20)
    assert filled(told) == told
