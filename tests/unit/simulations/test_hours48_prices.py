"""The prices of the 48 hours: whatever a machine takes for a customer, a day of them costs the same."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from simulations.hours48.prices import COMPUTED_PER_DAY, ROWS_PER_DAY, STANDING_PER_DAY, price_book
from tools.costs.port import Pricing
from tools.costs.prices import read_prices
from tools.costs.units import Resource

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("seconds_per_row", [2e-6, 8.3e-6, 5e-5])
def test_a_day_of_the_shop_costs_the_same_on_every_machine(seconds_per_row: float, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(price_book(seconds_per_row))
    book = read_prices(file)
    second, hour = (book.at(resource, "", Pricing.STANDARD, NOON).price for resource in (Resource.CPU, Resource.LOAD_BALANCER))
    computed = second * Decimal(seconds_per_row) * ROWS_PER_DAY
    assert float(computed) == pytest.approx(COMPUTED_PER_DAY, rel=1e-4)
    assert float(24 * hour) == pytest.approx(STANDING_PER_DAY, rel=1e-4)
    assert pytest.approx(50) == STANDING_PER_DAY + COMPUTED_PER_DAY
