"""A price that changes is neither a saving nor a loss of what was changed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.cost.repricing import Kind, Metered, by_hour, rates
from agents.cost.savings import LOOKS, Claim, Hour, saved
from tools.costs.port import Pricing
from tools.costs.units import Resource

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OLD, NEW = (Kind(resource=Resource.CPU, pricing=Pricing.STANDARD, version=each) for each in ("1", "2"))
SPOT = Kind(resource=Resource.CPU, pricing=Pricing.SPOT)


def unlisted(_: Kind) -> Decimal | None:
    return None


def hours(first: int, count: int, kind: Kind, used: str, price: str) -> list[Metered]:
    """Used a little more or less from hour to hour."""
    found = []
    for place in range(first, first + count):
        quantity = Decimal(used) * (100 + place % 5) / 100
        found.append(Metered(start=NOON + place * HOUR, kind=kind, quantity=quantity, cost=quantity * Decimal(price)))
    return found


def claim(before: list[Metered], after: list[Metered], listed: Callable[[Kind], Decimal | None] = unlisted) -> Claim:
    at = rates([*before, *after], NOON, listed)
    sides = [
        [Hour(start=start, cost=cost, units=Decimal(1)) for start, cost in by_hour(side, at).items()]
        for side in (before, after)
    ]
    found = saved(*sides, currency="USD", unit="hour", least=6, level=0.05 / len(LOOKS))
    assert found is not None
    return found.claim


@pytest.mark.parametrize("price", ["0.8", "1", "1.3"])
def test_a_price_that_changes_with_the_same_usage_is_no_saving_and_no_loss(price: str) -> None:
    assert claim(hours(-96, 96, OLD, "1", "1"), hours(0, 24, OLD, "1", price)) is Claim.NOT_SHOWN


def test_less_usage_is_a_saving_although_its_price_has_risen() -> None:
    assert claim(hours(-96, 96, OLD, "1", "1"), hours(0, 24, OLD, "0.85", "1.3")) is Claim.HOLDS


def test_another_version_is_held_against_the_first_at_the_prices_of_now() -> None:
    """None of the first is used any more, so that what it would cost now is what the other is paid at."""
    assert claim(hours(-96, 96, OLD, "1", "1"), hours(0, 24, NEW, "1", "0.7")) is Claim.NOT_SHOWN
    assert claim(hours(-96, 96, OLD, "1", "1"), hours(0, 24, NEW, "0.6", "1.5")) is Claim.HOLDS


def test_what_was_bought_otherwise_costs_what_the_book_lists_now() -> None:
    standard = Kind(resource=Resource.CPU, pricing=Pricing.STANDARD)
    before, after = hours(-96, 96, standard, "1", "1"), hours(0, 24, SPOT, "1", "0.7")
    # Both are cheaper since then, by the same: as standard it would cost less than as spot.
    assert claim(before, after, {standard: Decimal("0.6")}.get) is Claim.WORSE
    assert claim(before, after, {standard: Decimal("1")}.get) is Claim.HOLDS


def test_without_a_price_since_then_it_costs_what_was_paid_last() -> None:
    before = [*hours(-48, 24, OLD, "1", "2"), *hours(-24, 24, OLD, "1", "1")]
    assert rates(before, NOON, unlisted) == {OLD: 1}


def test_as_it_was_paid_nothing_is_valued_anew() -> None:
    paid = hours(-3, 3, OLD, "1", "2")
    assert sum(by_hour(paid).values()) == sum(each.cost for each in paid)


@given(st.lists(st.tuples(st.integers(-48, 48), st.integers(1, 10**9)), min_size=1), st.integers(1, 10**6))
def test_at_a_price_that_never_changes_each_hour_costs_what_it_did(used: list[tuple[int, int]], price: int) -> None:
    paid = [
        Metered(start=NOON + place * HOUR, kind=OLD, quantity=Decimal(units), cost=Decimal(units) * price)
        for place, units in used
    ]
    assert by_hour(paid, rates(paid, NOON, unlisted)) == by_hour(paid)
