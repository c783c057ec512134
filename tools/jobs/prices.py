"""What a job costs: what was reserved for it, for as long as it ran, by a table of prices. Money is decimal, never float."""

import contextlib
from datetime import datetime
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from typing import Annotated

from pydantic import Field

from tools.costs.port import Pricing
from tools.costs.prices import NoPrice, PriceBook
from tools.costs.units import Resource, multiple
from tools.jobs.port import Resources
from tools.values import Frozen

_HOUR_S = 3600
_GIB = 1024**3
_PLACES = Decimal("0.000001")
"""A training of a few seconds costs some hundredths of a cent."""

_PRICE_PLACES = 9
Price = Annotated[Decimal, Field(ge=0, max_digits=24, decimal_places=_PRICE_PLACES)]


class Prices(Frozen):
    """Of what is reserved, because nobody else can use it meanwhile."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """ISO 4217."""
    cpu_hour: Price
    """Of one core."""
    memory_gib_hour: Price = Decimal(0)
    gpu_hour: Price = Decimal(0)


def prices_at(book: PriceBook, moment: datetime, pricing: Pricing = Pricing.STANDARD) -> Prices | None:
    """What the book says then of what jobs reserve, by the hour; None where it has no price of cores or of memory. GPUs that it
    has no price of cost nothing here: it says so elsewhere (`oppen doctor`)."""

    def hourly(resource: Resource, unit: str) -> Decimal:
        found = book.at(resource, "", pricing, moment)
        exact = found.price / multiple(resource, found.unit) * multiple(resource, unit)
        return exact.quantize(Decimal(1).scaleb(-_PRICE_PLACES), ROUND_HALF_EVEN)

    try:
        cpu, memory = hourly(Resource.CPU, "core-hour"), hourly(Resource.MEMORY, "GiB-hour")
    except NoPrice:
        return None
    gpu = Decimal(0)
    with contextlib.suppress(NoPrice):
        gpu = hourly(Resource.GPU, "gpu-hour")
    return Prices(currency=book.currency, cpu_hour=cpu, memory_gib_hour=memory, gpu_hour=gpu)


class Cost(Frozen):
    amount: Decimal
    currency: str


def cost_of(resources: Resources, wall_seconds: float, prices: Prices) -> Cost:
    """`wall_seconds`: while it ran, over all attempts, as `Usage` has it."""
    hourly = (
        Decimal(repr(resources.cpu)) * prices.cpu_hour
        + Decimal(resources.memory_bytes) / _GIB * prices.memory_gib_hour
        + resources.gpus * prices.gpu_hour
    )
    amount = hourly * Decimal(repr(float(wall_seconds))) / _HOUR_S
    return Cost(amount=amount.quantize(_PLACES, ROUND_HALF_UP), currency=prices.currency)
