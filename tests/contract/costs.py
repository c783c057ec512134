"""The backends of the cost ledger's port. The engine is the one that the predictions' tests have open, embedded and behind
HTTP; each test has weeks of its own in it."""

import itertools
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.twins.costs import TwinCosts
from tools.costs.clickhouse import ClickHouseLedger
from tools.costs.port import Amount, Booked, Component, CostLedger, Dimension, Line, Owner, Pricing, Question, Usage
from tools.costs.prices import Price, PriceBook
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.predictions.clickhouse import ClickHouseStore, Elsewhere
from tools.values import Window

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_FIRST = int.from_bytes(os.urandom(2)) % 1000
_weeks = itertools.count()


def price(resource: Resource, unit: str, price: str, *, since: datetime = LONG_AGO, **kind: object) -> Price:
    return Price.model_validate({"resource": resource, "unit": unit, "price": price, "from": since, **kind})


BOOK = PriceBook(
    currency="USD",
    prices=(
        price(Resource.CPU, "core-hour", "0.0316"),
        price(Resource.CPU, "core-hour", "0.011", pricing=Pricing.SPOT),
        price(Resource.GPU, "gpu-hour", "2.98", sku="h100"),
        price(Resource.MEMORY, "GiB-hour", "0.004237"),
        price(Resource.LOAD_BALANCER, "hour", "0.025"),
        price(Resource.INPUT_TOKENS, "million-tokens", "0.15"),
    ),
)
EUROS = BOOK.model_copy(update={"currency": "EUR"})


@pytest.fixture(params=["twin", "embedded", "server"])
def costs(request: pytest.FixtureRequest) -> CostLedger:
    if request.param == "twin":
        return TwinCosts()
    store: ClickHouseStore = request.getfixturevalue(f"{request.param}_predictions")
    return ClickHouseLedger(store.engine)


class Weeks:
    """Four of a ledger that nobody else has. A server that stays remembers keys, too: hence `name`."""

    def __init__(self, costs: CostLedger, start: datetime, name: str) -> None:
        self.costs = costs
        self.start = start
        self.window = Window(start=start, end=start + timedelta(weeks=4))
        self._name = name

    def key(self, name: str) -> str:
        return f"{self._name}/{name}"

    def usage(
        self,
        name: str,
        hours: float = 1,
        *,
        resource: Resource = Resource.CPU,
        quantity: str = "3600",
        length: float = 1,
        sku: str = "",
        pricing: Pricing = Pricing.STANDARD,
        revision: int = 0,
        component: Component = Component.TRAINING,
        **owner: str,
    ) -> Usage:
        """Begun so many hours after the first week's start, `length` hours long."""
        start = self.start + timedelta(hours=hours)
        return Usage(
            key=self.key(name),
            revision=revision,
            resource=resource,
            sku=sku,
            quantity=Decimal(quantity),
            window=Window(start=start, end=start + timedelta(hours=length)),
            pricing=pricing,
            owner=Owner(component=component, **owner),
        )

    async def book(self, *usages: Usage, book: PriceBook = BOOK) -> Booked:
        return await self.costs.book(usages, lines_of(usages, book))

    async def by(self, *by: Dimension, **more: object) -> tuple[Amount, ...]:
        return await self.costs.breakdown(Question.model_validate({"window": self.window, "by": by, **more}))

    async def cost(self) -> Decimal:
        return sum((each.cost for each in await self.by()), Decimal(0))


def lines_of(usages: Iterable[Usage], book: PriceBook = BOOK) -> list[Line]:
    return [line for usage in usages for line in priced(usage, book)]


@pytest.fixture
def weeks(costs: CostLedger) -> Weeks:
    return Weeks(costs, *fresh())


@pytest.fixture(params=["embedded", "server"])
def real_engine(request: pytest.FixtureRequest) -> Elsewhere:
    store: ClickHouseStore = request.getfixturevalue(f"{request.param}_predictions")
    return store.engine


@pytest.fixture
def real_weeks(real_engine: Elsewhere) -> Weeks:
    return Weeks(ClickHouseLedger(real_engine), *fresh())


def fresh() -> tuple[datetime, str]:
    """(when, a name). A server that stays may know the weeks, but hardly these."""
    return datetime(2001, 1, 1, tzinfo=UTC) + (_FIRST + next(_weeks)) * timedelta(weeks=4), os.urandom(6).hex()
