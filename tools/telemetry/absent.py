"""No metrics system is configured, and whoever asks is told so."""

from datetime import datetime, timedelta

from tools.errors import PermanentError
from tools.telemetry.port import Sample, Series
from tools.values import Window

_SAID = "no metrics system is configured (OPPEN_PROMETHEUS_URL)"


class AbsentTelemetry:
    async def ping(self) -> None:
        raise PermanentError(_SAID)

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:  # noqa: ARG002
        raise PermanentError(_SAID)

    async def query_range(self, promql: str, window: Window, step: timedelta) -> tuple[Series, ...]:  # noqa: ARG002
        raise PermanentError(_SAID)
