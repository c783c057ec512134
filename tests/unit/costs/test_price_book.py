"""Prices as a setting: the book that everybody begins with, and what is said of one that cannot be used."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from api import doctor, price_file
from api.settings import Settings
from tools.costs.list_prices import LIST_PRICES
from tools.costs.port import Pricing
from tools.costs.prices import read_prices
from tools.costs.units import Resource
from tools.errors import PermanentError

DOCUMENTED = Path(__file__).parents[3] / "infra/prices/default.yaml"
NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_documented_book_is_the_one_that_holds_without_a_setting() -> None:
    assert read_prices(DOCUMENTED) == LIST_PRICES == price_file.load(None)
    assert "list-like" in price_file.source(None)


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize("pricing", Pricing)
def test_everything_that_can_be_metered_has_a_price_from_the_first_day_on(resource: Resource, pricing: Pricing) -> None:
    assert LIST_PRICES.at(resource, "whatever", pricing, NOW).price > 0


def test_the_hour_of_monitoring_is_that_of_the_machine_it_is_said_to_be_of() -> None:
    def price(resource: Resource) -> Decimal:
        return LIST_PRICES.at(resource, "", Pricing.STANDARD, NOW).price

    machine = 2 * price(Resource.CPU) + 8 * price(Resource.MEMORY)
    assert price(Resource.MONITORING) == machine.quantize(Decimal("0.0001"))


@pytest.mark.parametrize(
    ("book", "named"),
    [
        ("currency: Dollars\nprices: []\n", "currency"),
        ("currency: USD\nprices:\n  - {resource: cpu, unit: mile, price: '1', from: 2026-01-01T00:00:00Z}\n", "unit: cpu"),
        (
            "currency: USD\nprices:\n  - {resource: cpu, unit: core-hour, price: '-1', from: 2026-01-01T00:00:00Z}\n",
            "prices[0].price",
        ),
        (
            "currency: USD\nprices:\n  - {resource: cpu, unit: core-hour, price: '1', from: 2026-01-01T00:00:00}\n",
            "prices[0].from",
        ),
        ("- 1\n", "has to be a mapping"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_book_that_cannot_be_used_is_told_with_its_field(book: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(book)
    with pytest.raises(PermanentError) as raised:
        price_file.load(path)
    assert str(path) in str(raised.value)
    assert named in str(raised.value)
    found = doctor._prices(Settings(home=tmp_path, prices=path))
    assert (found.ok, found.needed, named in found.detail) == (False, True, True)


def test_a_book_with_a_hole_is_usable_and_the_hole_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("currency: EUR\nprices:\n  - {resource: cpu, unit: core-hour, price: '1', from: 2026-01-01T00:00:00Z}\n")
    found = doctor._prices(Settings(home=tmp_path, prices=path))
    assert (found.ok, found.needed) == (False, False)
    assert "input_tokens" in found.detail
    assert "1 in EUR" in found.detail


def test_without_a_setting_the_defaults_are_said_to_be_such(tmp_path: Path) -> None:
    found = doctor._prices(Settings(home=tmp_path))
    assert found.ok
    assert "nobody's bill" in found.detail
