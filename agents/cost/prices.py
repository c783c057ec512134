"""What held resources cost a day, by the price book."""

from datetime import datetime
from decimal import Decimal, localcontext

from pydantic import Field

from tools.costs.apportioning import EXACT
from tools.costs.port import Pricing
from tools.costs.prices import PriceBook
from tools.costs.units import Resource, multiple
from tools.values import Frozen

DAY_S = 86_400


class Held(Frozen):
    """What is held, and billed whether it is used or not."""

    cores: float = Field(default=0, ge=0)
    memory_bytes: int = Field(default=0, ge=0)
    gpus: float = Field(default=0, ge=0)
    gpu: str = ""
    """Its kind, where it has a price of its own."""


def per_day(held: Held, book: PriceBook, at: datetime, pricing: Pricing = Pricing.STANDARD) -> Decimal:
    """Raises NoPrice for what is held and has none: a part of it is no cost."""
    parts = (
        (Resource.CPU, "", held.cores),
        (Resource.MEMORY, "", held.memory_bytes),
        (Resource.GPU, held.gpu, held.gpus),
    )
    with localcontext(EXACT):
        return sum(
            (
                _price(resource, sku, book, at, pricing) * Decimal(repr(amount)) * DAY_S
                for resource, sku, amount in parts
                if amount
            ),
            Decimal(0),
        )


def stored_per_day(size_bytes: int, book: PriceBook, at: datetime) -> Decimal:
    """Raises NoPrice."""
    with localcontext(EXACT):
        return _price(Resource.STORAGE, "", book, at, Pricing.STANDARD) * size_bytes * DAY_S


def core_second(book: PriceBook, at: datetime, pricing: Pricing = Pricing.STANDARD) -> Decimal:
    """Raises NoPrice."""
    return _price(Resource.CPU, "", book, at, pricing)


def _price(resource: Resource, sku: str, book: PriceBook, at: datetime, pricing: Pricing) -> Decimal:
    """Of one metered unit."""
    found = book.at(resource, sku, pricing, at)
    with localcontext(EXACT):
        return found.price / multiple(resource, found.unit)
