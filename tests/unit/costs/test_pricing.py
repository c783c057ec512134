"""Usage becomes lines by the hour and by the price of the moment."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tools.costs.apportioning import EXACT, total
from tools.costs.packing import pack
from tools.costs.port import MOST_AT_ONCE, Component, Owner, Pricing, Usage
from tools.costs.prices import NoPrice, Price, PriceBook, read_prices
from tools.costs.pricing import LONGEST, priced, taken_back
from tools.costs.units import METERED, Resource, multiple, multiples
from tools.errors import PermanentError
from tools.values import Window

DAY = datetime(2026, 3, 2, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def price(
    amount: str, since: datetime = LONG_AGO, unit: str = "core-hour", resource: Resource = Resource.CPU, **kind: str
) -> Price:
    return Price.model_validate({"resource": resource, "unit": unit, "price": amount, "from": since, **kind})


def book(*prices: Price) -> PriceBook:
    return PriceBook(currency="USD", prices=prices)


def usage(
    start: timedelta = timedelta(0), length: timedelta = timedelta(hours=1), quantity: str = "3600", **changed: object
) -> Usage:
    return Usage.model_validate(
        {
            "key": "job/1",
            "resource": Resource.CPU,
            "quantity": Decimal(quantity),
            "window": Window(start=DAY + start, end=DAY + start + length),
            "owner": Owner(component=Component.TRAINING),
            **changed,
        }
    )


minutes = st.integers(0, 5000).map(lambda each: timedelta(minutes=each))
lengths = st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3))
quantities = st.decimals(min_value=0, max_value=10**20, places=9)
prices = st.decimals(min_value=0, max_value=10**6, places=12)


@given(minutes, lengths, quantities, st.lists(st.tuples(minutes, prices), max_size=4, unique_by=lambda each: each[0]), prices)
def test_lines_are_the_usage_cut_at_hours_and_price_changes(
    start: timedelta, length: timedelta, quantity: Decimal, changes: list[tuple[timedelta, Decimal]], first: Decimal
) -> None:
    said = book(price(str(first)), *(price(str(amount), DAY + moment) for moment, amount in changes))
    whole = usage(start, length, str(quantity))
    with localcontext(prec=3):
        lines = priced(whole, said)
    assert total(line.quantity for line in lines) == quantity
    assert (lines[0].window.start, lines[-1].window.end) == (whole.window.start, whole.window.end)
    assert all(one.window.end == other.window.start for one, other in pairwise(lines))
    assert [line.place for line in lines] == list(range(len(lines)))
    for line in lines:
        last = line.window.end - timedelta(microseconds=1)
        assert line.window.start.replace(minute=0, second=0, microsecond=0) == last.replace(minute=0, second=0, microsecond=0)
        assert line.unit_price == said.at(Resource.CPU, "", Pricing.STANDARD, last).price
        with localcontext(EXACT):
            assert abs(line.cost - line.quantity * line.unit_price / 3600) <= Decimal("5e-13")
        back = taken_back(line, 7)
        assert (total((back.cost, line.cost)), total((back.quantity, line.quantity))) == (0, 0)
        assert (back.taken_back, back.revision, back.place, back.window) == (True, 7, line.place, line.window)


def test_a_price_change_within_an_hour_cuts_it() -> None:
    said = book(price("1"), price("2", DAY + timedelta(minutes=15)))
    assert [(line.quantity, line.cost) for line in priced(usage(), said)] == [(900, Decimal("0.25")), (2700, Decimal("1.5"))]


def test_a_price_holds_from_its_very_moment() -> None:
    said = book(price("1"), price("2", DAY), price("3", DAY + timedelta(hours=1)))
    (line,) = priced(usage(), said)
    assert (line.cost, line.unit_price) == (2, 2)


def test_hours_are_those_of_utc_wherever_the_meter_is() -> None:
    there = timezone(timedelta(hours=5, minutes=30))
    window = Window(start=DAY.astimezone(there), end=(DAY + timedelta(hours=2)).astimezone(there))
    lines = priced(usage(quantity="7200", window=window), book(price("1")))
    assert [line.window.start for line in lines] == [DAY, DAY + timedelta(hours=1)]


SPOT, COMMITTED, STANDARD = Pricing.SPOT, Pricing.COMMITTED, Pricing.STANDARD
FULL = book(
    price("1"),
    price("0.4", pricing="spot"),
    price("3", sku="fast"),
    price("2", sku="fast", pricing="spot"),
    price("9", DAY, sku="late"),
)


@pytest.mark.parametrize(
    ("sku", "pricing", "cost", "as_bought"),
    [
        ("", STANDARD, "1", STANDARD),
        ("", SPOT, "0.4", SPOT),
        ("", COMMITTED, "1", STANDARD),
        ("fast", STANDARD, "3", STANDARD),
        ("fast", SPOT, "2", SPOT),
        ("fast", COMMITTED, "3", STANDARD),
        ("unknown", STANDARD, "1", STANDARD),
        ("unknown", SPOT, "0.4", SPOT),
        ("late", STANDARD, "9", STANDARD),
        ("late", SPOT, "0.4", SPOT),
    ],
)
def test_whose_price_counts(sku: str, pricing: Pricing, cost: str, as_bought: Pricing) -> None:
    (line,) = priced(usage(sku=sku, pricing=pricing), FULL)
    assert (line.cost, line.pricing, line.sku) == (Decimal(cost), as_bought, sku)


def test_a_price_of_its_own_that_is_still_to_come_does_not_count_yet() -> None:
    lines = priced(usage(timedelta(hours=-1), timedelta(hours=2), "7200", sku="late"), FULL)
    assert [line.cost for line in lines] == [1, 9]


def test_what_has_no_price_cannot_be_booked() -> None:
    with pytest.raises(NoPrice, match="add one with `resource: gpu`"):
        priced(usage(resource=Resource.GPU, sku="h100"), FULL)
    with pytest.raises(NoPrice):
        priced(usage(), book(price("1", DAY + timedelta(hours=1))))


def test_a_meter_that_says_nothing_for_longer_than_a_month_is_refused() -> None:
    assert len(priced(usage(length=LONGEST), book(price("1")))) == 31 * 24
    with pytest.raises(ValueError, match="31 days"):
        priced(usage(length=LONGEST + timedelta(seconds=1)), book(price("1")))


@pytest.mark.parametrize("resource", list(Resource))
def test_a_price_is_the_same_in_each_of_its_units(resource: Resource) -> None:
    for unit in multiples(resource):
        (line,) = priced(
            usage(resource=resource, quantity=str(multiple(resource, unit))), book(price("2", unit=unit, resource=resource))
        )
        assert (line.cost, line.unit) == (2, unit)
    assert multiple(resource, multiples(resource)[0]) >= 1
    assert METERED[resource]


def test_a_unit_that_does_not_measure_it_is_refused_and_the_right_ones_are_named() -> None:
    with pytest.raises(ValidationError, match=r"core-second, core-hour"):
        price("1", unit="gpu-hour")


def test_two_prices_that_begin_at_once_are_refused() -> None:
    with pytest.raises(ValidationError, match="same time"):
        book(price("1"), price("2"))


def test_a_book_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        'currency: EUR\nprices:\n  - {resource: cpu, unit: core-hour, price: "0.0316", from: 2026-01-01T00:00:00Z}\n'
        '  - {resource: cpu, pricing: spot, unit: core-hour, price: "0.0110", from: 2026-01-01T00:00:00Z}\n'
    )
    (line,) = priced(usage(pricing=SPOT), read_prices(path))
    assert (line.cost, line.currency) == (Decimal("0.0110"), "EUR")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prices: [", "no YAML"),
        ("currency: EUR\nprices: [{resource: cpu}]", r"prices\W0\W+unit"),
        ("currency: euro\nprices: []", "currency"),
        ("currency: EUR\nprices: [{resource: cpu, unit: core-hour, price: -1, from: 2026-01-01T00:00:00Z}]", "price"),
        ("currency: EUR\nprices: [{resource: cpu, unit: core-hour, price: 1, from: 2026-01-01}]", "zone|datetime|from"),
    ],
)
def test_a_book_that_cannot_be_used_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(PermanentError, match=says):
        read_prices(path)
    with pytest.raises(PermanentError, match="cannot be read"):
        read_prices(tmp_path / "none.yaml")


def test_too_many_usages_at_once_are_refused() -> None:
    with pytest.raises(PermanentError, match="several calls"):
        pack([usage()] * (MOST_AT_ONCE + 1), [])
