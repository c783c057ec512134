"""From what is booked of a key a meter goes on, on every backend of the ledger."""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.twins.costs import TwinCosts
from tools.costs.clickhouse import ClickHouseLedger
from tools.costs.meters.settling import settle
from tools.costs.packing import said_of
from tools.costs.port import Component, CostLedger, Dimension, Owner, Pricing, Question, Usage
from tools.costs.prices import Price, PriceBook
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.predictions.clickhouse import ClickHouseStore
from tools.values import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BOOK = PriceBook(
    currency="USD",
    prices=(Price.model_validate({"resource": "cpu", "unit": "core-hour", "price": "3600", "from": "2020-01-01T00:00:00Z"}),),
)


@pytest.fixture(params=["twin", "embedded", "server"])
def ledger(request: pytest.FixtureRequest) -> CostLedger:
    if request.param == "twin":
        return TwinCosts()
    store: ClickHouseStore = request.getfixturevalue(f"{request.param}_predictions")
    return ClickHouseLedger(store.engine)


def used(key: str, seconds: int, *, revision: int = 0, minutes: int = 10, model: str = "m") -> Usage:
    return Usage(
        key=key,
        revision=revision,
        resource=Resource.CPU,
        quantity=Decimal(seconds),
        window=Window(start=NOON, end=NOON + timedelta(minutes=minutes)),
        owner=Owner(component=Component.SERVING, model=model),
    )


async def booked(ledger: CostLedger, *usages: Usage) -> None:
    await ledger.book(usages, [line for usage in usages for line in priced(usage, BOOK)])


async def test_nothing_is_told_of_what_was_never_booked(ledger: CostLedger) -> None:
    assert await ledger.told([]) == {}
    assert await ledger.told([f"nobody-{os.urandom(4).hex()}"]) == {}


async def test_the_latest_revision_is_told_with_its_quantity_and_window(ledger: CostLedger) -> None:
    first, other = (f"{name}-{os.urandom(4).hex()}" for name in ("first", "other"))
    await booked(ledger, used(first, 3), used(other, 9, minutes=90))
    await booked(ledger, used(first, 5, revision=1, minutes=20))
    found = await ledger.told([first, other, "nobody"])
    assert set(found) == {first, other}
    assert (found[first].revision, found[first].quantity) == (1, Decimal(5))
    assert found[first].said == said_of(used(first, 5, minutes=20))
    assert found[first].window == Window(start=NOON, end=NOON + timedelta(minutes=20))
    # Over two hours it is two lines, and told as the one usage that it is.
    assert (found[other].quantity, found[other].window.length) == (Decimal(9), timedelta(minutes=90))


async def test_what_is_corrected_in_anything_that_counts_reaches_the_ledger(ledger: CostLedger) -> None:
    first = used(f"corrected-{os.urandom(4).hex()}", 60)
    assert (await settle(ledger, [first], BOOK)).booked == 1
    assert (await settle(ledger, [first], BOOK)).booked == 0
    owner = first.owner.model_copy(update={"team": "ads"})
    for changes in ({"owner": owner}, {"owner": owner, "pricing": Pricing.SPOT}, {"owner": owner, "sku": "arm"}):
        corrected = first.model_copy(update=changes)
        # Taken back, and said anew.
        assert (await settle(ledger, [corrected], BOOK)).booked == 2
        assert (await settle(ledger, [corrected], BOOK)).booked == 0
    asked = Question(window=Window(start=NOON, end=NOON + timedelta(hours=1)), by=(Dimension.TEAM, Dimension.WORKLOAD))
    told = await ledger.told([first.key])
    assert (told[first.key].revision, told[first.key].quantity) == (3, Decimal(60))
    assert {each.at[Dimension.TEAM] for each in await ledger.breakdown(asked) if each.cost} >= {"ads"}


async def test_a_price_that_is_corrected_for_the_past_changes_nothing_that_is_booked(ledger: CostLedger) -> None:
    first = used(f"kept-{os.urandom(4).hex()}", 60, model=os.urandom(4).hex())
    await settle(ledger, [first], BOOK)
    dearer = PriceBook(currency="USD", prices=tuple(each.model_copy(update={"price": each.price * 2}) for each in BOOK.prices))
    assert (await settle(ledger, [first], dearer)).booked == 0
    of_model = Question(window=Window(start=NOON, end=NOON + timedelta(hours=1)), where={Dimension.MODEL: (first.owner.model,)})
    assert [each.cost for each in await ledger.breakdown(of_model)] == [Decimal(60)]
