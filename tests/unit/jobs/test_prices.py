"""What a job costs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tools.costs.list_prices import LIST_PRICES
from tools.costs.prices import Price, PriceBook
from tools.jobs.port import Resources
from tools.jobs.prices import Prices, cost_of, prices_at

PRICES = Prices(currency="EUR", cpu_hour="0.04", memory_gib_hour="0.005", gpu_hour="2.50")
GIB = 1024**3


def test_what_is_reserved_is_paid_for_by_the_second() -> None:
    resources = Resources(cpu=2, memory_bytes=4 * GIB, gpus=1)
    cost = cost_of(resources, 1_800, PRICES)
    assert (cost.amount, cost.currency) == (Decimal("1.300000"), "EUR")
    assert cost_of(resources, 0, PRICES).amount == 0


def test_money_is_text_in_json() -> None:
    assert '"amount":"1.300000"' in cost_of(Resources(cpu=2, memory_bytes=4 * GIB, gpus=1), 1_800, PRICES).model_dump_json()
    assert '"cpu_hour":"0.04"' in PRICES.model_dump_json()


@given(cpu=st.floats(0.1, 64), seconds=st.floats(0, 1e6), more=st.floats(0, 1e6))
def test_longer_never_costs_less(cpu: float, seconds: float, more: float) -> None:
    resources = Resources(cpu=cpu, memory_bytes=GIB)
    assert cost_of(resources, seconds, PRICES).amount <= cost_of(resources, seconds + more, PRICES).amount


@pytest.mark.parametrize("wrong", [{"currency": "euro"}, {"cpu_hour": "-1"}, {"cpu_hour": "cheap"}, {"tpu_hour": "1"}])
def test_a_table_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Prices(**{"currency": "EUR", "cpu_hour": "0.04", **wrong})


NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def priced(resource: str, unit: str, price: str, since: datetime = NOW) -> Price:
    return Price.model_validate({"resource": resource, "unit": unit, "price": price, "from": since})


def test_the_installations_book_says_what_is_reserved_costs_by_the_hour() -> None:
    assert prices_at(LIST_PRICES, NOW) == Prices(
        currency="USD", cpu_hour="0.031611", memory_gib_hour="0.004237", gpu_hour="0.95"
    )
    later = (priced("cpu", "core-second", "0.00001"), priced("memory", "GiB-month", "7.30"))
    before = (
        priced("cpu", "core-hour", "1", NOW - timedelta(days=1)),
        priced("memory", "GiB-hour", "1", NOW - timedelta(days=1)),
    )
    book = PriceBook(currency="EUR", prices=(*later, *before))
    assert prices_at(book, NOW) == Prices(currency="EUR", cpu_hour="0.036", memory_gib_hour="0.01", gpu_hour="0")
    assert prices_at(book, NOW - timedelta(hours=1)) == Prices(currency="EUR", cpu_hour="1", memory_gib_hour="1", gpu_hour="0")


def test_a_book_without_cores_or_memory_says_nothing() -> None:
    assert prices_at(PriceBook(currency="EUR", prices=(priced("cpu", "core-hour", "1"),)), NOW) is None
    assert prices_at(LIST_PRICES, datetime(1999, 1, 1, tzinfo=UTC)) is None
