"""Values that several ports share. Frozen, so that what was measured or agreed cannot change afterwards."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a zone: write it as RFC 3339, e.g. 2026-01-31T12:00:00Z")
    return value


Instant = Annotated[datetime, AfterValidator(_aware)]
"""A moment with its zone."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: object) -> object:
    """`90s`, `15m`, `1h30m`, `7d`; what is written otherwise is left to pydantic (ISO 8601). A bare number has no unit."""
    if isinstance(value, int | float):
        raise ValueError("a duration needs its unit: write 90s, 15m, 24h or 7d")
    if isinstance(value, str) and re.fullmatch(r"(\d{1,6}[smhdw])+", value):
        return timedelta(**{_UNITS[unit]: int(size) for size, unit in re.findall(r"(\d+)([smhdw])", value)})
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0), le=timedelta(days=366))]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """Base of every value: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Window(Frozen):
    """Half-open stretch of time: `start <= t < end`."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise ValueError("a window ends after it starts")
        return self

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def shifted(self, by: timedelta) -> "Window":
        return Window(start=self.start + by, end=self.end + by)

    def overlaps(self, other: "Window") -> bool:
        return self.start < other.end and other.start < self.end


class LeftOut(Frozen):
    """What a question about a model's data, or a training on it, passes over."""

    window: Window
    features: tuple[str, ...] = ()
    """Only these, and the answers that were made from them; empty: all of it."""
