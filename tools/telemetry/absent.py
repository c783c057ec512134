"""No metrics system. Investigations go on without one, and say so."""

from datetime import datetime, timedelta

from tools.errors import PermanentError
from tools.telemetry.port import Sample, Series
from tools.values import Window

_WHY = "no metrics system is configured (OPPEN_PROMETHEUS_URL)"


class AbsentTelemetry:
    async def ping(self) -> None:
        raise PermanentError(_WHY)

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:  # noqa: ARG002
        raise PermanentError(_WHY)

    async def query_range(self, promql: str, window: Window, step: timedelta) -> tuple[Series, ...]:  # noqa: ARG002
        raise PermanentError(_WHY)
