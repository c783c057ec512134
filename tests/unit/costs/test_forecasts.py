"""What will have been spent, and whether the budget will do."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.cost.budgets import burn
from agents.cost.forecasts import Forecast, forecast, period
from agents.cost.rules import Budget, CostSignals
from agents.cost.series import Series
from benchmarks.cost_accounts import hourly
from tools.costs.port import Step
from tools.values import Window

RULES = CostSignals()
START = datetime(2026, 1, 1, tzinfo=UTC)


def flat(days: int, cost: float = 2.0, hours: int = 0) -> Series:
    return Series(step=Step.HOUR, start=START, costs=(cost,) * (days * 24 + hours))


def spent(series: Series, window: Window) -> Decimal:
    first, last = ((each - series.start) // series.length for each in (window.start, min(window.end, series.end)))
    return sum((Decimal(repr(cost or 0.0)) for cost in series.costs[max(0, first) : last]), Decimal(0))


def ahead(series: Series, rules: CostSignals = RULES) -> Forecast:
    window = period("month", series.end - timedelta(seconds=1))
    return forecast(series, spent(series, window), window, "USD", rules)


def test_what_never_changes_goes_on() -> None:
    found = ahead(flat(50, hours=7))
    assert found.method == "seasonal"
    assert found.expected == Decimal("1344.00")  # February, at 2 an hour
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < Decimal(20)


def test_the_interval_holds_what_came_as_often_as_it_says() -> None:
    held, rng = [], np.random.default_rng(12)
    for _ in range(60):
        series = hourly(rng, planted=False).series
        until = series.start + timedelta(days=int(rng.integers(60, 85)), hours=int(rng.integers(0, 24)))
        month = period("month", until)
        window = Window(start=month.start, end=min(month.end, series.end))
        found = forecast(series.until(until), spent(series.until(until), window), window, "USD", RULES)
        whole = spent(series, window)
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= whole <= found.high)
    # Three standard deviations of a share of 60.
    assert np.mean(held) >= RULES.interval - 0.12


def test_a_spike_that_is_over_is_not_carried_on() -> None:
    costs = list(flat(50).costs)
    costs[45 * 24 : 46 * 24] = [10.0] * 24
    found = ahead(Series(step=Step.HOUR, start=START, costs=tuple(costs)))
    assert sum(each.cost for each in found.to_come) == pytest.approx(Decimal(9 * 48), rel=Decimal("0.02"))
    assert found.going_on == 0


def test_what_goes_on_is_counted_in_the_upper_end() -> None:
    costs = list(flat(50).costs)
    costs[-30:] = [6.0] * 30
    found = ahead(Series(step=Step.HOUR, start=START, costs=tuple(costs)))
    assert found.going_on == pytest.approx(Decimal(2 * 9 * 48), rel=Decimal("0.05"))
    assert found.high is not None
    assert found.expected is not None
    assert found.high > found.expected + found.going_on * Decimal("0.9")


def test_a_new_account_is_forecast_by_its_mean_without_an_interval_and_says_so() -> None:
    found = ahead(flat(5))
    assert (found.method, found.low, found.high) == ("mean", None, None)
    assert "not enough history" in found.reason
    assert found.expected == Decimal("1488.00")


def test_of_an_account_of_hours_nothing_is_forecast() -> None:
    found = ahead(flat(0, hours=5))
    assert (found.method, found.expected, found.to_come) == (None, None, ())


def test_a_month_that_is_over_is_known() -> None:
    window = period("month", START)
    found = forecast(flat(40), Decimal("1488"), window, "USD", RULES)
    assert found.expected == found.low == found.high == Decimal("1488")


def test_months_and_days_are_those_of_the_calendar_in_utc() -> None:
    late = datetime(2028, 2, 29, 23, 59, tzinfo=UTC)
    assert period("month", late) == Window(start=datetime(2028, 2, 1, tzinfo=UTC), end=datetime(2028, 3, 1, tzinfo=UTC))
    assert period("day", late) == Window(start=datetime(2028, 2, 29, tzinfo=UTC), end=datetime(2028, 3, 1, tzinfo=UTC))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), hours=st.integers(24, 90 * 24))
def test_what_was_spent_and_what_is_to_come_are_the_whole(seed: int, hours: int) -> None:
    series = hourly(np.random.default_rng(seed)).series
    found = ahead(series.until(series.start + timedelta(hours=hours)))
    assert found.expected is not None
    assert found.expected == found.spent + sum((each.cost for each in found.to_come), Decimal(0))
    if found.low is not None and found.high is not None:
        assert found.spent <= found.low <= found.expected <= found.high
    edges = [found.until, *(each.end for each in found.to_come)]
    assert edges[-1] == found.window.end
    assert [each.start for each in found.to_come] == edges[:-1]


def monthly(amount: int) -> Budget:
    return Budget(amount=Decimal(amount), currency="USD")


def test_a_budget_that_will_not_do_says_when_it_is_used_up() -> None:
    found = burn(monthly(1200), ahead(flat(45)))  # 672 of 1344 are spent by the middle of February
    assert found.standing == "will not do"
    assert found.exhausted_at is not None
    assert abs(found.exhausted_at - datetime(2026, 2, 26, tzinfo=UTC)) < timedelta(hours=6)
    assert found.rate == pytest.approx(14 * 48 / 1200 * 2)
    assert "it is used up at 2026-02-2" in found.summary


@pytest.mark.parametrize(("amount", "standing"), [(600, "spent"), (1347, "may not do"), (2000, "will do")])
def test_a_budget_stands_by_what_is_spent_and_forecast(amount: int, standing: str) -> None:
    found = burn(monthly(amount), ahead(flat(45)))
    assert found.standing == standing
    assert found.exhausted_at is None
    assert found.left == amount - 672


def test_without_a_forecast_only_what_is_spent_is_known() -> None:
    found = burn(monthly(600), ahead(flat(0, hours=5)))
    assert found.standing == "unknown"
    assert "not enough history" in found.summary


def test_budgets_in_two_currencies_are_two() -> None:
    euro = Budget(amount=Decimal(1), currency="EUR")
    with pytest.raises(ValueError, match="EUR"):
        burn(euro, ahead(flat(45)))


def test_a_budget_names_whose_it_is_once() -> None:
    for bad in ({"of": "team"}, {"of": "whole", "name": "ml"}):
        with pytest.raises(ValidationError, match="name"):
            Budget.model_validate({"amount": 5, "currency": "USD"} | bad)
    with pytest.raises(ValidationError, match="budgets"):
        CostSignals(budgets=(monthly(5), monthly(6)))
