"""A metrics system in memory. It answers selectors and bare numbers, as Prometheus would; nothing else of the language."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from tools.errors import PermanentError
from tools.telemetry.port import Sample, Series
from tools.values import Window

LOOKBACK = timedelta(minutes=5)
"""How old the latest point of a series may be and still be its value."""

_SELECTOR = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:\w+="[^"]*",?)*)\})?')


class RememberedTelemetry:
    def __init__(self, series: Sequence[Series] = ()) -> None:
        """Labels hold the metric's name as `__name__`; points are in order of time."""
        self._series = tuple(series)

    async def ping(self) -> None:
        return None

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:
        if re.fullmatch(r"\d+(\.\d+)?", promql):
            return (Sample(labels={}, at=at, value=float(promql)),)
        found = ((each, _value(each, at)) for each in self._select(promql))
        return tuple(Sample(labels=each.labels, at=at, value=value) for each, value in found if value is not None)

    async def query_range(self, promql: str, window: Window, step: timedelta) -> tuple[Series, ...]:
        moments = []
        at = window.start
        while at < window.end:
            moments.append(at)
            at += step
        answers = []
        for each in self._select(promql):
            points = tuple((moment, value) for moment in moments if (value := _value(each, moment)) is not None)
            if points:
                answers.append(Series(labels=each.labels, points=points))
        return tuple(answers)

    def _select(self, promql: str) -> list[Series]:
        match = _SELECTOR.fullmatch(promql.strip())
        if match is None:
            raise PermanentError(f"bad_data: parse error in {promql!r}")
        wanted = {"__name__": match[1], **dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))}
        return [each for each in self._series if wanted.items() <= each.labels.items()]


def _value(series: Series, at: datetime) -> float | None:
    return next((value for moment, value in reversed(series.points) if at - LOOKBACK < moment <= at), None)
