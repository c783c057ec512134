"""Prometheus' HTTP API, which Thanos, Mimir and VictoriaMetrics speak as well. It only asks; nothing is ever written.

Answers are outside data: samples that are no finite number are left out, and an answer of another shape is an error.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import httpx
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tools.errors import PermanentError, TemporaryError
from tools.telemetry.port import Sample, Series
from tools.values import Window

_Point = tuple[float, str]
_MAX_RETRY_AFTER_S = 300.0


class _Instant(BaseModel):
    metric: dict[str, str]
    value: _Point


class _Range(BaseModel):
    metric: dict[str, str]
    values: list[_Point]


class _Vector(BaseModel):
    resultType: Literal["vector"]  # noqa: N815
    result: list[_Instant]


class _Matrix(BaseModel):
    resultType: Literal["matrix"]  # noqa: N815
    result: list[_Range]


class _Scalar(BaseModel):
    resultType: Literal["scalar"]  # noqa: N815
    result: _Point


_Data = _Vector | _Matrix | _Scalar


class _Answer(BaseModel):
    status: Literal["success"]
    data: Annotated[_Data, Field(discriminator="resultType")]


class _Refusal(BaseModel):
    """What comes with a status that is not 2xx, where it is Prometheus that answers and not something before it."""

    errorType: str  # noqa: N815
    error: str


_ANSWER = TypeAdapter(_Answer)


class PrometheusTelemetry:
    def __init__(
        self,
        url: str,
        bearer: str | None = None,
        *,
        basic: tuple[str, str] | None = None,
        timeout: timedelta = timedelta(seconds=10),
    ) -> None:
        """`url` without `/api/v1`; a user and password in it are used as `basic` is. Raises PermanentError on a bad `url`."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise PermanentError("the address of Prometheus cannot be read") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise PermanentError("the address of Prometheus is to be http:// or https://")
        self._client = httpx.AsyncClient(base_url=address, headers=headers, auth=basic, timeout=timeout.total_seconds())

    async def close(self) -> None:
        await self._client.aclose()

    async def ping(self) -> None:
        # `/-/ready` is Prometheus' own; what stands before it or in its place answers queries.
        await self._ask("query", {"query": "1"})

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:
        match await self._ask("query", {"query": promql, "time": f"{at.timestamp():.3f}"}):
            case _Vector(result=result):
                samples = [(each.metric, each.value) for each in result]
            case _Scalar(result=point):
                samples = [({}, point)]
            case _Matrix():
                raise PermanentError("the query gives ranges: ask for one value per series")
        return tuple(
            Sample(labels=labels, at=_moment(point), value=value)
            for labels, point in samples
            if (value := _finite(point)) is not None
        )

    async def query_range(self, promql: str, window: Window, step: timedelta) -> tuple[Series, ...]:
        """Steps with no finite value are left out; a series of such alone is not there."""
        bounds = {"start": f"{window.start.timestamp():.3f}", "end": f"{window.end.timestamp():.3f}"}
        data = await self._ask("query_range", {"query": promql, **bounds, "step": f"{step.total_seconds():.3f}"})
        if not isinstance(data, _Matrix):
            raise PermanentError(f"a range was asked for, a {data.resultType} came back")
        series = []
        for each in data.result:
            # Prometheus includes the end, a Window does not.
            points = [
                (at, value)
                for point in each.values
                if (at := _moment(point)) < window.end and (value := _finite(point)) is not None
            ]
            if points:
                series.append(Series(labels=each.metric, points=tuple(points)))
        return tuple(series)

    async def _ask(self, path: str, form: Mapping[str, str]) -> _Data:
        """By POST, because a query may be longer than an address may."""
        try:
            response = await self._client.post(f"/api/v1/{path}", data=dict(form))
        except httpx.HTTPError as error:
            raise TemporaryError(f"Prometheus does not answer: {type(error).__name__} {error}".strip()) from error
        if not response.is_success:
            raise _failure(response)
        try:
            return _ANSWER.validate_json(response.content).data
        except ValidationError as error:
            raise PermanentError("what answers at the address of Prometheus is not Prometheus") from error


def _failure(response: httpx.Response) -> PermanentError | TemporaryError:
    try:
        refusal = _Refusal.model_validate_json(response.content)
        said = f"{refusal.errorType}: {refusal.error}"[:500]
    except ValidationError:
        said = response.reason_phrase
    message = f"Prometheus answered {response.status_code}: {said}"
    # 503 is a query that timed out or was cancelled, 422 one that cannot be executed.
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
        return TemporaryError(message, retry_after=_retry_after(response))
    return PermanentError(message)


def _retry_after(response: httpx.Response) -> timedelta:
    given = response.headers.get("Retry-After", "")
    return timedelta(seconds=min(_MAX_RETRY_AFTER_S, float(given)) if given.isascii() and given.isdigit() else 1.0)


def _moment(point: _Point) -> datetime:
    try:
        return datetime.fromtimestamp(point[0], UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise PermanentError("Prometheus gave a time that is none") from error


def _finite(point: _Point) -> float | None:
    try:
        value = float(point[1])
    except ValueError:
        return None
    return value if math.isfinite(value) else None
