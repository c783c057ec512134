"""The serving port over HTTP, on the admin calls of the platform's own gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from tools.errors import Conflict, PermanentError, TemporaryError
from tools.serving.port import Batches, Batching, Capacity, Route, ServedVersion
from tools.values import Frozen

_TIMEOUT = httpx.Timeout(5.0)
_LOADING = httpx.Timeout(5.0, read=120.0)
"""A new route is answered once its versions are fetched, loaded and warmed."""


class _Served(Frozen):
    name: str
    ready: bool
    route: Route
    versions: tuple[ServedVersion, ...]
    capacity: Capacity


class _AllServed(Frozen):
    models: tuple[_Served, ...]


class _Measured(Frozen):
    versions: tuple[Batches, ...]


T = TypeVar("T")

_SERVED = TypeAdapter(_AllServed)
_ROUTE = TypeAdapter(Route)
_CAPACITY = TypeAdapter(Capacity)
_BATCHING = TypeAdapter(Batching)
_MEASURED = TypeAdapter(_Measured)


@asynccontextmanager
async def open_serving(url: str, token: str | None) -> AsyncIterator["GatewayServing"]:
    """`url`: where the gateway listens; `token`: its admin token, None on a loopback that asks for none."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=False) as client:
        yield GatewayServing(client)


class GatewayServing:
    """`Serving`. The client carries the gateway's address and the token, and is closed by whoever made it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ping(self) -> None:
        """Whether it lives; a model that is still loading does not make the gateway unreachable."""
        await self._call("GET", "/v2/health/live")

    async def models(self) -> tuple[str, ...]:
        return tuple(sorted(served.name for served in (await self._served()).models))

    async def route(self, model: str) -> Route:
        return _read(_ROUTE, await self._call("GET", _path("routes", model)))

    async def served(self, model: str) -> tuple[ServedVersion, ...]:
        """Raises PermanentError when the model is not served."""
        for served in (await self._served()).models:
            if served.name == model:
                return served.versions
        raise PermanentError(f"no model {model!r} is served here")

    async def capacity(self, model: str) -> Capacity:
        """Raises PermanentError when the model is not served."""
        return _read(_CAPACITY, await self._call("GET", _path("scale", model)))

    async def set_weights(
        self,
        model: str,
        weights: dict[str, int],
        *,
        expected_generation: int,
        key: str,
        shadow: dict[str, int] | None = None,
        salt: str | None = None,
    ) -> Route:
        """Raises PermanentError when a version cannot be served; the route then stays as it was."""
        change: dict[str, Any] = {"weights": weights, "expected_generation": expected_generation, "key": key}
        if shadow:  # a gateway that knows of none takes the others as before
            change["shadow"] = shadow
        if salt is not None:
            change["salt"] = salt
        return _read(_ROUTE, await self._call("PUT", _path("routes", model), change, _LOADING))

    async def scale(self, model: str, workers: int, *, expected_workers: int, key: str) -> Capacity:
        """Raises PermanentError for more workers than the gateway's limit."""
        change = {"workers": workers, "expected_workers": expected_workers, "key": key}
        return _read(_CAPACITY, await self._call("PUT", _path("scale", model), change))

    async def batching(self, model: str) -> Batching:
        return _read(_BATCHING, await self._call("GET", _path("batching", model)))

    async def batches(self, model: str) -> tuple[Batches, ...]:
        """Raises PermanentError when the model is not served."""
        return _read(_MEASURED, await self._call("GET", _path("batches", model))).versions

    async def set_batching(self, model: str, *, rows: int, wait_ms: float, expected_generation: int, key: str) -> Batching:
        change = {"rows": rows, "wait_ms": wait_ms, "expected_generation": expected_generation, "key": key}
        return _read(_BATCHING, await self._call("PUT", _path("batching", model), change))

    async def _served(self) -> _AllServed:
        return _read(_SERVED, await self._call("GET", "/admin/models"))

    async def _call(
        self,
        method: Literal["GET", "PUT"],
        path: str,
        body: dict[str, Any] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> httpx.Response:
        try:
            response = await self._client.request(method, path, json=body, timeout=timeout)
        except httpx.TransportError as error:
            raise TemporaryError(f"the gateway does not answer: {type(error).__name__} {error}") from error
        if response.is_success:
            return response
        reason = _reason(response)
        if response.status_code == httpx.codes.CONFLICT:
            raise Conflict(reason)
        if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise TemporaryError(reason, retry_after=_retry_after(response))
        raise PermanentError(reason)


def _path(what: str, model: str) -> str:
    return f"/admin/{what}/{quote(model, safe='')}"


def _read(form: TypeAdapter[T], response: httpx.Response) -> T:
    try:
        return form.validate_json(response.content)
    except ValidationError as error:
        raise PermanentError(f"the gateway's answer is not understood: {error}") from error


def _reason(response: httpx.Response) -> str:
    """The protocol's `error`, or what else came, of a proxy perhaps."""
    try:
        said = response.json()
    except ValueError:
        said = None
    if isinstance(said, dict) and isinstance(said.get("error"), str):
        return str(said["error"])
    return f"the gateway answered {response.status_code}: {response.text[:200]}"


def _retry_after(response: httpx.Response) -> timedelta:
    value = response.headers.get("retry-after", "")
    return timedelta(seconds=int(value)) if value.isdigit() else timedelta(seconds=1)
