"""Weeks of usage in a ledger: two models that serve by day more than by night, and a volume that is nobody's."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from tools.costs.port import Component, CostLedger, Owner, Usage
from tools.costs.prices import Price, PriceBook
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.values import Window

HOUR = timedelta(hours=1)
MODELS = ("churn", "loans")
TRAINING = Owner(component=Component.TRAINING, part="CPU hours", team="growth")
SERVING = Owner(component=Component.SERVING, part="CPU serving", team="risk")


def book(*prices: tuple[str, str]) -> PriceBook:
    """(price of an hour of a core, from when)."""
    listed = [{"resource": "cpu", "unit": "core-hour", "price": price, "from": start} for price, start in prices]
    return PriceBook(currency="USD", prices=tuple(Price.model_validate(each) for each in listed))


USUAL = book(("1", "2020-01-01T00:00:00Z"))


def cores(start: datetime, hours: float, *, key: str, revision: int = 0, owner: Owner = SERVING) -> Usage:
    """So many hours of a core within one hour."""
    window = Window(start=start, end=start + HOUR)
    seconds = Decimal(round(hours * 3600))
    return Usage(key=key, revision=revision, resource=Resource.CPU, quantity=seconds, window=window, owner=owner)


async def booked(costs: CostLedger, usages: list[Usage], prices: PriceBook = USUAL) -> None:
    await costs.book(usages, [line for usage in usages for line in priced(usage, prices)])


async def spend(
    costs: CostLedger,
    start: datetime,
    end: datetime,
    *,
    prices: PriceBook = USUAL,
    factor: Callable[[str, datetime], float] = lambda model, at: 1.0,
) -> None:
    """From the hour of `start` to that of `end`. `factor`: what a model uses more in an hour."""
    usages, at = [], start.replace(minute=0, second=0, microsecond=0)
    while at < end:
        rng = np.random.default_rng(int(at.timestamp()) // 3600)
        rhythm = 3 + np.sin(2 * np.pi * at.hour / 24)
        for model in MODELS:
            hours = float(rhythm * np.exp(rng.normal(0, 0.03))) * factor(model, at)
            owner = SERVING.model_copy(update={"model": model, "version": "1"})
            usages.append(cores(at, hours, key=f"{model}:{at.isoformat()}", owner=owner))
        usages.append(cores(at, 0.5, key=f"volume:{at.isoformat()}", owner=Owner(component=Component.MONITORING)))
        at += HOUR
    await booked(costs, usages, prices)
