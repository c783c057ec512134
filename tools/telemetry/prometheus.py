"""Prometheus, or whatever speaks its HTTP API (v1)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tools.errors import PermanentError, TemporaryError
from tools.telemetry.port import Sample, Series
from tools.values import Window

_TIMEOUT_S = 10.0


@asynccontextmanager
async def open_prometheus(url: str, token: str | None) -> AsyncIterator["PrometheusTelemetry"]:
    """`token`: sent as a bearer; None where none is asked for."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S) as client:
        yield PrometheusTelemetry(client)


class PrometheusTelemetry:
    """`Telemetry`. The client carries the address and the credentials, and is closed by whoever made it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ping(self) -> None:
        await self._ask("query", {"query": "vector(1)"})

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:
        found = await self._ask("query", {"query": promql, "time": f"{at.timestamp():.3f}"})
        if found["resultType"] != "vector":
            raise PermanentError(f"{promql!r} gives a {found['resultType']}, not an instant vector")
        return tuple(
            Sample(labels=_labels(each), at=_moment(each["value"][0]), value=float(each["value"][1]))
            for each in found["result"]
        )

    async def query_range(self, promql: str, window: Window, step: timedelta) -> tuple[Series, ...]:
        found = await self._ask(
            "query_range",
            {
                "query": promql,
                "start": f"{window.start.timestamp():.3f}",
                "end": f"{window.end.timestamp():.3f}",
                "step": f"{step.total_seconds():.3f}",
            },
        )
        return tuple(
            Series(labels=_labels(each), points=tuple((_moment(at), float(value)) for at, value in each["values"]))
            for each in found["result"]
        )

    async def _ask(self, endpoint: str, form: dict[str, str]) -> Any:
        try:
            response = await self._client.post(f"/api/v1/{endpoint}", data=form)
        except httpx.HTTPError as error:
            raise TemporaryError(f"the metrics system does not answer: {type(error).__name__} {error}".strip()) from error
        try:
            body = response.json()
        except ValueError as error:
            kind = TemporaryError if response.status_code >= 500 else PermanentError
            raise kind(f"the metrics system answered {response.status_code}, and no JSON") from error
        if body.get("status") == "success":
            return body["data"]
        said = f"the metrics system refused: {body.get('error', response.status_code)}"
        # It calls overload and time-outs by these names; everything else is wrong with the query.
        if body.get("errorType") in ("timeout", "canceled", "unavailable", "internal"):
            raise TemporaryError(said)
        raise PermanentError(said)


def _labels(result: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in result["metric"].items()}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
