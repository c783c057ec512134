"""What can be metered, in which unit, and in which multiples of it a price may be said."""

from decimal import Decimal
from enum import StrEnum

_HOUR_S = 3600
_GIB = 1024**3
_MONTH_HOURS = 730
"""A twelfth of a year of 365 days: what clouds reckon a month with."""


class Resource(StrEnum):
    """Each is metered in one unit; `METERED` names it."""

    CPU = "cpu"
    MEMORY = "memory"
    GPU = "gpu"
    STORAGE = "storage"
    LOAD_BALANCER = "load_balancer"
    MONITORING = "monitoring"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


METERED: dict[Resource, str] = {
    Resource.CPU: "core-second",
    Resource.MEMORY: "byte-second",
    Resource.GPU: "gpu-second",
    Resource.STORAGE: "byte-second",
    Resource.LOAD_BALANCER: "second",
    Resource.MONITORING: "second",
    Resource.INPUT_TOKENS: "token",
    Resource.OUTPUT_TOKENS: "token",
}

_MULTIPLES: dict[str, dict[str, int]] = {
    "core-second": {"core-second": 1, "core-hour": _HOUR_S},
    "gpu-second": {"gpu-second": 1, "gpu-hour": _HOUR_S},
    "byte-second": {"GiB-hour": _GIB * _HOUR_S, "GiB-month": _GIB * _HOUR_S * _MONTH_HOURS},
    "second": {"hour": _HOUR_S, "month": _HOUR_S * _MONTH_HOURS},
    "token": {"token": 1, "thousand-tokens": 1_000, "million-tokens": 1_000_000},
}


def multiples(resource: Resource) -> tuple[str, ...]:
    """In which its price may be said."""
    return tuple(_MULTIPLES[METERED[resource]])


def multiple(resource: Resource, unit: str) -> Decimal:
    """How many metered units are one `unit`. Raises ValueError for a unit that does not measure it."""
    if (size := _MULTIPLES[METERED[resource]].get(unit)) is None:
        raise ValueError(f"unit: {resource} is priced by {', '.join(multiples(resource))}")
    return Decimal(size)
