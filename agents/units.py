"""How quantities are written in policies."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: object) -> object:
    """`90s`, `15m`, `1h30m`, `7d`; what is written otherwise is left to pydantic (ISO 8601). A bare number has no unit."""
    if isinstance(value, int | float):
        raise ValueError("a duration needs its unit: write 90s, 15m, 24h or 7d")
    if isinstance(value, str) and re.fullmatch(r"(\d{1,6}[smhdw])+", value):
        return timedelta(**{_UNITS[unit]: int(size) for size, unit in re.findall(r"(\d+)([smhdw])", value)})
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0), le=timedelta(days=366))]
