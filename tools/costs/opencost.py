"""OpenCost's allocation API (also Kubecost's): what workloads on Kubernetes have used and cost, as it reckons. It only asks.

Answers are outside data: an answer of another shape is an error, and what is no number is nothing. Numbers are read as decimals
just as they are written; OpenCost has rounded them to five decimals.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from tools.costs.allocations import Allocation
from tools.errors import PermanentError, TemporaryError
from tools.values import Instant, Window

_PATH = "/allocation/compute"
_DAY = timedelta(days=1)
_AGAIN = timedelta(seconds=30)
"""It computes allocations from Prometheus when it is asked; what was too much for it now may not be later."""
_MOST_BYTES = 256 * 1024**2
_MOST_DIGITS = 100

_Number = Annotated[
    Decimal, BeforeValidator(lambda value: Decimal(0) if value is None else value), Field(allow_inf_nan=False, max_digits=60)
]
"""OpenCost says null for what it cannot compute."""
_Text = Annotated[str, BeforeValidator(lambda value: value or "")]
_Zero = Decimal(0)


class _Properties(BaseModel):
    cluster: _Text = ""
    namespace: _Text = ""
    controllerKind: _Text = ""  # noqa: N815
    controller: _Text = ""
    pod: _Text = ""
    labels: Annotated[dict[str, str], BeforeValidator(lambda value: value or {})] = {}


class _Allocation(BaseModel):
    name: str
    properties: Annotated[_Properties, BeforeValidator(lambda value: value or {})] = _Properties()
    start: Instant
    end: Instant
    cpuCoreHours: _Number = _Zero  # noqa: N815
    gpuHours: _Number = _Zero  # noqa: N815
    ramByteHours: _Number = _Zero  # noqa: N815
    pvByteHours: _Number = _Zero  # noqa: N815
    cpuCost: _Number = _Zero  # noqa: N815
    gpuCost: _Number = _Zero  # noqa: N815
    ramCost: _Number = _Zero  # noqa: N815
    pvCost: _Number = _Zero  # noqa: N815
    networkCost: _Number = _Zero  # noqa: N815
    loadBalancerCost: _Number = _Zero  # noqa: N815
    sharedCost: _Number = _Zero  # noqa: N815
    externalCost: _Number = _Zero  # noqa: N815
    totalCost: _Number  # noqa: N815


class _Answer(BaseModel):
    code: int
    message: str = ""
    data: list[dict[str, _Allocation] | None] | None = None


_ANSWER = TypeAdapter(_Answer)


def address(url: str) -> httpx.URL:
    """Raises PermanentError on one that is none, which it does not repeat: it may hold a password."""
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise PermanentError("the address of OpenCost cannot be read") from error
    if found.scheme not in ("http", "https") or not found.host:
        raise PermanentError("the address of OpenCost is to be http:// or https://")
    return found


class OpenCost:
    """`AllocationReader`."""

    def __init__(self, url: str, bearer: str | None = None, *, timeout: timedelta = timedelta(seconds=60)) -> None:
        """`url`: without `/allocation`, and with `/model` where it is behind that; a user and password in it are sent. Raises
        PermanentError on a bad one."""
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
        self._client = httpx.AsyncClient(base_url=address(url), headers=headers, timeout=timeout.total_seconds())

    async def close(self) -> None:
        await self._client.aclose()

    async def ping(self) -> None:
        """Whether it answers at all: an hour without steps is what costs it least."""
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        await self._ask(Window(start=hour - timedelta(hours=1), end=hour), "cluster", timedelta(hours=1))

    async def allocations(self, window: Window, *, aggregate: str = "controller") -> tuple[Allocation, ...]:
        """ValueError for a window that is not of whole days of UTC: its steps would be no days."""
        start = window.start.astimezone(UTC)
        if start.time() != datetime.min.time() or window.length % _DAY:
            raise ValueError("window: whole days of UTC")
        return await self._ask(window, aggregate, _DAY)

    async def _ask(self, window: Window, aggregate: str, step: timedelta) -> tuple[Allocation, ...]:
        asked = {
            "window": ",".join(f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for moment in (window.start, window.end)),
            "aggregate": aggregate,
            "step": f"{step // timedelta(hours=1)}h",
            "accumulate": "false",
            "includeIdle": "true",
            "shareIdle": "false",
        }
        # A month of a large cluster is seconds of work, in which others are answered.
        return await asyncio.to_thread(_read, await self._get(asked))

    async def _get(self, asked: Mapping[str, str]) -> bytes:
        try:
            async with self._client.stream("GET", _PATH.lstrip("/"), params=asked) as response:
                content = bytearray()
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _MOST_BYTES:
                        raise PermanentError(f"OpenCost answers more than {_MOST_BYTES >> 20} MiB: ask for fewer days")
        except httpx.HTTPError as error:
            said = f"OpenCost does not answer: {type(error).__name__} {error}".strip()
            raise TemporaryError(said, retry_after=_AGAIN) from error
        if not response.is_success:
            raise _refused(response.status_code, _message(bytes(content)) or response.reason_phrase)
        return bytes(content)


def _read(content: bytes) -> tuple[Allocation, ...]:
    answer = _parsed(content)
    if answer.code != httpx.codes.OK:
        raise _refused(answer.code, answer.message)
    return tuple(_said(each) for step_s in answer.data or () for each in (step_s or {}).values())


def _said(found: _Allocation) -> Allocation:
    properties = found.properties
    return Allocation(
        name=found.name,
        window=Window(start=found.start, end=max(found.end, found.start + timedelta(microseconds=1))),
        cluster=properties.cluster,
        namespace=properties.namespace,
        controller_kind=properties.controllerKind,
        controller=properties.controller,
        pod=properties.pod,
        labels=properties.labels,
        cpu_core_hours=found.cpuCoreHours,
        gpu_hours=found.gpuHours,
        memory_byte_hours=found.ramByteHours,
        volume_byte_hours=found.pvByteHours,
        cpu_cost=found.cpuCost,
        gpu_cost=found.gpuCost,
        memory_cost=found.ramCost,
        volume_cost=found.pvCost,
        network_cost=found.networkCost,
        load_balancer_cost=found.loadBalancerCost,
        shared_cost=found.sharedCost,
        external_cost=found.externalCost,
        total_cost=found.totalCost,
    )


def _parsed(content: bytes) -> _Answer:
    try:
        return _ANSWER.validate_python(json.loads(content, parse_float=_number, parse_constant=_nothing))
    except (ValidationError, ValueError, RecursionError) as error:
        raise PermanentError("what answers at the address of OpenCost is not OpenCost: is `/model` missing in it?") from error


def _number(said: str) -> Decimal:
    if len(said) > _MOST_DIGITS:
        raise ValueError("no cost has so many digits")
    return Decimal(said)


def _nothing(_said: str) -> None:
    """NaN and the infinities, which are no JSON either."""


def _message(content: bytes) -> str:
    try:
        said: Any = json.loads(content)
    except ValueError:
        return ""
    return str(said.get("message", ""))[:500] if isinstance(said, dict) else ""


def _refused(code: int, said: str) -> PermanentError | TemporaryError:
    message = f"OpenCost answered {code}: {said[:500]}"
    if code == httpx.codes.TOO_MANY_REQUESTS or code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return TemporaryError(message, retry_after=_AGAIN)
    return PermanentError(message)
