"""A gateway in the test's own loop, called as HTTP would call it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway.app import App
from gateway.assembly import assembled
from gateway.settings import Settings
from tests.gateway.model_files import body
from tools.predictions.records import LabelRecord, PredictionRecord, ShadowRecord
from tools.registry.port import RegistryReader

_LIMIT_S = 20.0


class Gateway:
    def __init__(self, app: App, client: httpx.AsyncClient, home: Path) -> None:
        self.app = app
        self.client = client
        self.home = home

    async def infer(
        self, distance: Sequence[Any] = (1.0,), *, model: str = "late", version: str | None = None, **request: Any
    ) -> httpx.Response:
        pin = f"/versions/{version}" if version else ""
        return await self.client.post(f"/v2/models/{model}{pin}/infer", json=body(list(distance), **request))

    async def ask(self, entity: str, **request: Any) -> str:
        """Which version answers this entity."""
        answer = await self.infer(parameters={"entity_id": entity}, **request)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    async def route(
        self,
        weights: dict[str, int],
        *,
        generation: int,
        key: str = "",
        model: str = "late",
        shadow: dict[str, int] | None = None,
    ) -> httpx.Response:
        change: dict[str, Any] = {
            "weights": weights,
            "expected_generation": generation,
            "key": key or f"to-{generation + 1}",
            **({"shadow": shadow} if shadow is not None else {}),
        }
        return await self.client.put(f"/admin/routes/{model}", json=change)

    async def metric(self, name: str, **labels: str) -> float:
        """The sample's value; 0 when there is none yet."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in (await self.client.get("/metrics")).text.splitlines():
            head, _, value = line.rpartition(" ")
            found, _, inner = head.partition("{")
            if found == f"oppen_gateway_{name}" and wanted <= set(inner.removesuffix("}").split(",")):
                return float(value)
        return 0.0

    async def eventually_ready(self) -> None:
        await until(self._ready)

    async def _ready(self) -> bool:
        return (await self.client.get("/v2/health/ready")).status_code == 200


async def until(holds: Any) -> None:
    """Wait for a state; fails when it does not come."""
    end = time.monotonic() + _LIMIT_S
    while not await holds():
        assert time.monotonic() < end, "the state was not reached"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def started(registry: RegistryReader, home: Path, **settings: Any) -> AsyncIterator[Gateway]:
    async with opened(registry, home, **settings) as gateway:
        await gateway.eventually_ready()
        yield gateway


@asynccontextmanager
async def opened(registry: RegistryReader, home: Path, **settings: Any) -> AsyncIterator[Gateway]:
    """Not necessarily ready."""
    async with (
        assembled(Settings(home=home, **settings), registry) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        yield Gateway(app, client, home)


def predictions(home: Path) -> list[PredictionRecord]:
    """What complete segments hold, in order."""
    return [
        msgspec.json.decode(line, type=PredictionRecord)
        for path in sorted((home / "segments").glob("predictions-*.ndjson"))
        for line in path.read_bytes().splitlines()
    ]


def labels(home: Path) -> list[LabelRecord]:
    return [
        msgspec.json.decode(line, type=LabelRecord)
        for path in sorted((home / "segments").glob("labels-*.ndjson"))
        for line in path.read_bytes().splitlines()
    ]


def shadows(home: Path) -> list[ShadowRecord]:
    return [
        msgspec.json.decode(line, type=ShadowRecord)
        for path in sorted((home / "segments").glob("shadows-*.ndjson"))
        for line in path.read_bytes().splitlines()
    ]
