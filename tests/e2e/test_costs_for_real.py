"""From a request and a job to the bill: a real service, a real gateway, a real job, and a process that is killed."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulations.processes import free_port
from tests.gateway.model_files import body, write_onnx
from tests.processes import child
from tools.clock import SharedClock
from tools.costs.list_prices import LIST_PRICES
from tools.costs.port import Pricing
from tools.costs.units import Resource, multiple
from tools.jobs.local import LocalJobs
from tools.jobs.port import MIB, JobSpec, Resources
from tools.jobs.port import Usage as Used

LIMIT_S = 240.0
"""A busy machine takes a minute for a start that is done in five seconds on an idle one."""
RATE = 60.0
"""Minutes of the platform in each second: the meters are read once a minute."""
MODEL = "late"
HELD = Resources(cpu=0.5, memory_bytes=256 * MIB)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_S / 2):
        while not await holds():
            await asyncio.sleep(0.3)


@asynccontextmanager
async def gateway(root: Path, home: Path, port: int, clock: str, log: Path) -> AsyncIterator[httpx.AsyncClient]:
    flags = ("--tracking-uri", str(root), "--home", str(home), "--model", MODEL, "--port", str(port), "--segment-age-s", "0.2")
    with log.open("wb") as stderr:
        async with (
            child("tests.gateway.process", *flags, limit_s=LIMIT_S, environment={"OPPEN_CLOCK": clock}, stderr=stderr),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
        ):

            async def ready() -> bool:
                try:
                    return (await client.get("/v2/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready)
            yield client


@asynccontextmanager
async def service(environment: dict[str, str], log: Path) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    with log.open("ab") as stderr:
        async with child("api.cli", "serve", "--json", limit_s=LIMIT_S, environment=environment, stderr=stderr) as process:
            assert process.stdout is not None
            url = json.loads(await process.stdout.readline())["listening"]
            key = (Path(environment["OPPEN_HOME"]) / "first-admin-key").read_text().strip()
            async with httpx.AsyncClient(base_url=url, timeout=30, headers={"Authorization": f"Bearer {key}"}) as client:
                yield process, client


async def asked(client: httpx.AsyncClient, clock: SharedClock, **query: Any) -> dict[str, Any]:
    window = {"start": (clock.now() - timedelta(days=5)).isoformat(), "end": (clock.now() + timedelta(days=5)).isoformat()}
    answer = await client.get("/v1/costs", params={**window, **query})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def parts(client: httpx.AsyncClient, clock: SharedClock, **query: Any) -> dict[str, Decimal]:
    """Of the outermost dimension, exactly."""
    bills = (await asked(client, clock, **query))["bills"]
    return {part["name"]: Decimal(part["exact"]) for bill in bills for part in bill["total"]["parts"]}


def price(resource: Resource, used: float) -> Decimal:
    found = LIST_PRICES.at(resource, "", Pricing.STANDARD, datetime.now(UTC))
    return Decimal(repr(used)) * found.price / multiple(resource, found.unit)


@pytest.mark.timeout(LIMIT_S)
async def test_what_a_job_and_a_gateway_use_is_on_the_bill_once(tmp_path: Path) -> None:
    root, home, port = tmp_path / "registry", tmp_path / "home", free_port()
    write_onnx(root / MODEL / "1")
    (root / MODEL / "champion").write_text("1")
    home.mkdir()
    clock = SharedClock.create(tmp_path / "clock.json", datetime(2026, 3, 2, 9, 0, tzinfo=UTC), RATE)
    shared = f"shared:{tmp_path / 'clock.json'}"
    environment = {
        "OPPEN_HOME": str(home),
        "OPPEN_PORT": str(free_port()),
        "OPPEN_GATEWAY_URL": f"http://127.0.0.1:{port}",
        "OPPEN_CLOCK": shared,
        "OPPEN_LOAD_BALANCERS": "1",
    }
    async with gateway(root, home / "gateway", port, shared, tmp_path / "gateway.log") as serving:
        async with service(environment, tmp_path / "service.log") as (process, client):
            spec = JobSpec(
                model=MODEL,
                team="search",
                run_id="run-1",
                command=("python", "-c", "sum(i * i for i in range(3_000_000))"),
                resources=HELD,
                deadline=timedelta(minutes=5),
            )
            job = (await LocalJobs(home / "jobs", clock=clock).submit("training", spec)).name
            for n in range(50):
                answer = await serving.post(f"/v2/models/{MODEL}/infer", json=body([float(n)]))
                assert answer.status_code == 200, answer.text

            async def billed() -> bool:
                of_job = await parts(client, clock, workload=job, by="part")
                return "CPU hours" in of_job and await parts(client, clock, version="1", by="part") != {}

            async def over() -> bool:
                return bool((await client.get(f"/v1/jobs/{job}")).json()["ended_at"])

            await until(over)
            await until(billed)
            used = Used.model_validate((await client.get(f"/v1/jobs/{job}")).json()["usage"])
            assert used.reserved == HELD
            of_job = await parts(client, clock, workload=job, by="part")
            # Usage times price, to the last decimal but one: seconds are known to the microsecond.
            assert abs(of_job["CPU hours"] - price(Resource.CPU, used.wall_seconds * HELD.cpu)) < Decimal("1e-10")
            assert abs(of_job["memory"] - price(Resource.MEMORY, used.wall_seconds * HELD.memory_bytes)) < Decimal("1e-10")
            assert await parts(client, clock, team="search", by="model") == {MODEL: of_job["CPU hours"] + of_job["memory"]}
            found = await asked(client, clock, per="thousand_predictions", by=["component", "part", "model"])
            assert found["predictions"] == 50
            components = {part["name"]: part for part in found["bills"][0]["total"]["parts"]}
            assert {"training", "serving"} <= set(components)
            serving_parts = {part["name"] for part in components["serving"]["parts"]}
            assert serving_parts == {"CPU serving", "load balancer"}
            of_version = await parts(client, clock, version="1", by="part")
            process.kill()
            await process.wait()
        async with service(environment, tmp_path / "service.log") as (_, client):

            async def read_again() -> bool:
                return (await asked(client, clock))["metered_until"] is not None

            await until(read_again)
            # Another process has read the same meters: nothing is there twice.
            assert await parts(client, clock, workload=job, by="part") == of_job
            assert await parts(client, clock, version="1", by="part") == of_version
            total = (await asked(client, clock, by=["component", "part"]))["bills"][0]["total"]
            assert sum(Decimal(part["cost"]) for part in total["parts"]) == Decimal(total["cost"])
