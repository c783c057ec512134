"""OpenCost's allocation API over a real connection; the answers have the shape of its `AllocationJSON`."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest

from simulations.processes import free_port
from tests.listening import listening
from tools.costs.allocations import IDLE, AllocationReader
from tools.costs.opencost import OpenCost
from tools.errors import PermanentError, TemporaryError
from tools.values import Window

DAY = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = Window(start=DAY, end=DAY + timedelta(days=2))


def allocation(name: str, day: int = 0, **changed: object) -> dict[str, object]:
    start = f"{DAY + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}"
    end = f"{DAY + timedelta(days=day + 1):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "name": name,
        "properties": {
            "cluster": "cluster-one", "controller": name, "controllerKind": "deployment", "namespace": "models",
            "labels": {"app": name}, "providerID": "i-1", "services": ["web"], "namespaceLabels": {"a": "b"},
        },
        "window": {"start": start, "end": end}, "start": start, "end": end, "minutes": 1440.0,
        "cpuCores": 2.0, "cpuCoreRequestAverage": 2.0, "cpuCoreUsageAverage": 0.31, "cpuCoreHours": 48.0, "cpuCost": 1.51733,
        "cpuCostAdjustment": 0.0, "cpuEfficiency": 0.155, "gpuCount": 0.0, "gpuHours": 0.0, "gpuCost": 0.0,
        "gpuCostAdjustment": 0.0, "networkTransferBytes": 12.5, "networkReceiveBytes": 8.0, "networkCost": 0.0001,
        "loadBalancerCost": 0.6, "pvBytes": 0.0, "pvByteHours": 0.0, "pvCost": 0.0, "pvs": None, "ramBytes": 4294967296.0,
        "ramByteHours": 103079215104.0, "ramByteRequestAverage": 4294967296.0, "ramByteUsageAverage": 1e9, "ramCost": 0.40675,
        "ramEfficiency": None, "sharedCost": 0.0, "externalCost": 0.0, "totalCost": 2.52418, "totalEfficiency": 0.2,
        "lbAllocations": None, "gpuAllocation": None,
        **changed,
    }  # fmt: skip


IDLE_LINE = {**allocation(IDLE, totalCost=9.87654321, cpuCost=9.0), "properties": {"cluster": "cluster-one"}}
TWO_DAYS = {
    "code": 200,
    "status": "success",
    "data": [{"flights": allocation("flights"), IDLE: IDLE_LINE}, {"flights": allocation("flights", 1, totalCost=1e-05)}],
}

Asked = list[tuple[str, dict[str, str], dict[str, str]]]


@asynccontextmanager
async def answering(status: int, answer: object) -> AsyncIterator[tuple[str, Asked]]:
    """(its address, what it was asked: path, query, headers)"""
    asked: Asked = []

    async def app(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        asked.append((scope["path"], query, {name.decode(): value.decode() for name, value in scope["headers"]}))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": content})

    async with listening(app) as url:
        yield url, asked


@asynccontextmanager
async def reading(url: str, **how: Any) -> AsyncIterator[OpenCost]:
    reader = OpenCost(url, **how)
    try:
        yield reader
    finally:
        await reader.close()


async def test_allocations_are_read_as_they_are_written() -> None:
    async with answering(200, TWO_DAYS) as (url, asked), reading(f"{url}/model", bearer="secret") as reader:
        assert isinstance(reader, AllocationReader)
        first, idle, second = await reader.allocations(WINDOW)
    ((path, query, headers),) = asked
    assert path == "/model/allocation/compute"
    assert query == {
        "window": "2026-03-02T00:00:00Z,2026-03-04T00:00:00Z", "aggregate": "controller", "step": "24h", "accumulate": "false",
        "includeIdle": "true", "shareIdle": "false",
    }  # fmt: skip
    assert headers["authorization"] == "Bearer secret"
    assert (first.controller, first.controller_kind, first.namespace, first.labels) == (
        "flights", "deployment", "models", {"app": "flights"},
    )  # fmt: skip
    assert (first.total_cost, first.cpu_cost, first.cpu_core_hours) == (Decimal("2.52418"), Decimal("1.51733"), 48)
    assert (first.memory_byte_hours, first.load_balancer_cost) == (103079215104, Decimal("0.6"))
    assert (first.window.start, second.window.start) == (DAY, DAY + timedelta(days=1))
    assert (idle.name, idle.controller, idle.total_cost) == (IDLE, "", Decimal("9.87654321"))
    assert second.total_cost == Decimal("0.00001")


@pytest.mark.parametrize("data", [[], None, [None], [{}, None]])
async def test_a_cluster_that_ran_nothing_has_no_allocations(data: object) -> None:
    async with answering(200, {"code": 200, "status": "success", "data": data}) as (url, _), reading(url) as reader:
        assert await reader.allocations(WINDOW) == ()
        await reader.ping()


async def test_what_it_cannot_compute_is_nothing() -> None:
    odd = allocation("flights", cpuCost=None, gpuHours=None, properties=None)
    async with answering(200, {"code": 200, "data": [{"flights": odd}]}) as (url, _), reading(url) as reader:
        (found,) = await reader.allocations(WINDOW)
    assert (found.cpu_cost, found.gpu_hours, found.namespace) == (0, 0, "")


async def test_what_began_and_ended_in_one_moment_is_read_all_the_same() -> None:
    at = "2026-03-02T10:00:00Z"
    brief = allocation("flights", start=at, end=at)
    async with answering(200, {"code": 200, "data": [{"flights": brief}]}) as (url, _), reading(url) as reader:
        (found,) = await reader.allocations(WINDOW)
    assert found.window.start == datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "answer", "error", "says"),
    [
        (400, {"code": 400, "message": "Invalid 'window' parameter"}, PermanentError, "400: Invalid 'window'"),
        (404, b"404 page not found", PermanentError, "404: Not Found"),
        (401, b"", PermanentError, "401"),
        (429, b"slow down", TemporaryError, "429"),
        (500, {"code": 500, "message": "error querying Prometheus"}, TemporaryError, "error querying Prometheus"),
        (503, b"<html>", TemporaryError, "503"),
        (200, {"code": 500, "message": "no data for window"}, TemporaryError, "no data"),
        (200, {"code": 422, "message": "no"}, PermanentError, "422"),
        (200, b"<html>welcome</html>", PermanentError, "is not OpenCost"),
        (200, {"status": "success"}, PermanentError, "is not OpenCost"),
        (200, {"code": 200, "data": [{"a": {"name": "a"}}]}, PermanentError, "is not OpenCost"),
        (200, {"code": 200, "data": [{"a": allocation("a", totalCost="much")}]}, PermanentError, "is not OpenCost"),
        (200, {"code": 200, "data": [{"a": allocation("a", totalCost=1e300)}]}, PermanentError, "is not OpenCost"),
        (200, {"code": 200, "data": [{"a": allocation("a", start="yesterday")}]}, PermanentError, "is not OpenCost"),
        (200, json.dumps({"code": 200, "data": [{"a": allocation("a", totalCost=float("nan"))}]}).encode(), None, ""),
        (200, b"[" * 100_000, PermanentError, "is not OpenCost"),
    ],
)
async def test_refusals_and_other_servers_are_errors_in_our_words(
    status: int, answer: object, error: type[Exception] | None, says: str
) -> None:
    async with answering(status, answer) as (url, _), reading(url) as reader:
        if error is None:
            assert [each.total_cost for each in await reader.allocations(WINDOW)] == [0]
            return
        with pytest.raises(error, match=says):
            await reader.allocations(WINDOW)


async def test_a_server_that_is_not_there_is_a_temporary_error_and_passwords_stay_untold() -> None:
    async with reading(f"http://user:hidden@127.0.0.1:{free_port()}") as reader:
        with pytest.raises(TemporaryError, match="does not answer") as refused:
            await reader.ping()
    assert "hidden" not in str(refused.value)


async def test_a_server_that_takes_too_long_is_a_temporary_error() -> None:
    done = asyncio.Event()

    async def app(scope: object, receive: object, send: object) -> None:
        await done.wait()

    async with listening(app) as url, reading(url, timeout=timedelta(milliseconds=50)) as reader:
        with pytest.raises(TemporaryError, match="Timeout"):
            await reader.allocations(WINDOW)
        done.set()


@pytest.mark.parametrize("url", ["opencost:9003", "ftp://opencost", "http://", "http://host:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(PermanentError, match="address of OpenCost"):
        OpenCost(url)


async def test_only_whole_days_are_asked_for() -> None:
    async with reading("http://127.0.0.1:1") as reader:
        with pytest.raises(ValueError, match="whole days"):
            await reader.allocations(Window(start=DAY, end=DAY + timedelta(hours=30)))
        with pytest.raises(ValueError, match="whole days"):
            await reader.allocations(Window(start=DAY + timedelta(hours=1), end=DAY + timedelta(hours=25)))
