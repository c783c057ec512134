"""What a job costs: what was reserved for it, for as long as it ran, by a table of prices. Money is decimal, never float."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

from pydantic import Field

from tools.jobs.port import Resources
from tools.values import Frozen

_HOUR_S = 3600
_GIB = 1024**3
_PLACES = Decimal("0.000001")
"""A training of a few seconds costs some hundredths of a cent."""

Price = Annotated[Decimal, Field(ge=0, max_digits=15, decimal_places=9)]


class Prices(Frozen):
    """Of what is reserved, because nobody else can use it meanwhile."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """ISO 4217."""
    cpu_hour: Price
    """Of one core."""
    memory_gib_hour: Price = Decimal(0)
    gpu_hour: Price = Decimal(0)


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
