"""What the platform asks of the metrics system (Prometheus' query language and data model)."""

from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from tools.values import Frozen, Instant, Window


class Sample(Frozen):
    labels: dict[str, str]
    at: Instant
    value: float


class Series(Frozen):
    labels: dict[str, str]
    points: tuple[tuple[Instant, float], ...]


@runtime_checkable
class Telemetry(Protocol):
    async def ping(self) -> None: ...

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:
        """An instant vector; empty when nothing matches. Raises PermanentError on a bad query or when no metrics system is
        configured."""
        ...

    async def query_range(self, promql: str, window: Window, step: timedelta) -> tuple[Series, ...]: ...
