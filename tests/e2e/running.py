"""The real application behind a real socket, on a real database; the registry and the gateway are twins."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from agents.policies import Policies
from api.settings import Sender
from api.store import keys
from api.store.database import Database
from api.store.quarantines import SqlQuarantines
from api.web.app import create_app
from api.web.auth import Role, new_key
from api.web.services import Services
from api.work.approvals import Approvals
from api.work.autonomy import Autonomy
from api.work.experiments import Experiments
from api.work.intake import Intake
from api.work.metering import Billing
from api.work.reports import Reports
from api.work.rollouts import Rollouts
from tests.twins.clock import SteppedClock
from tests.twins.costs import TwinCosts
from tests.twins.datasets import TwinHistories
from tests.twins.features import TwinFeatures
from tests.twins.jobs import TwinJobs
from tests.twins.predictions import TwinPredictions
from tests.twins.registry import TwinRegistry
from tests.twins.serving import TwinServing
from tools.costs.list_prices import LIST_PRICES
from tools.predictions.port import Lag
from tools.reports.port import Made, Side

TOKEN = "a-token-of-alertmanager"
SENDERS = {
    "alertmanager": Sender(bearer=SecretStr(TOKEN)),
    "grafana": Sender(basic=SecretStr("grafana:secret")),
    "cloudevents": Sender(hmac=SecretStr("a shared key")),
    "generic": Sender(github=SecretStr("another shared key")),
}
LIMIT_S = 20.0
LIMITS = 64 * 1024, 2
"""The largest body in bytes, and how many deliveries are taken at once."""


@dataclass
class Dispatches:
    """What was handed to the engine; a test holds it back, or takes it away."""

    runs: list[str] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    def __post_init__(self) -> None:
        self.free.set()

    async def __call__(self, run_id: str) -> None:
        await self.free.wait()
        if self.failure is not None:
            raise self.failure
        self.runs.append(run_id)


@dataclass(frozen=True)
class Platform:
    url: str
    app: FastAPI
    services: Services
    registry: TwinRegistry
    serving: TwinServing
    dispatches: Dispatches
    clock: SteppedClock
    people: dict[str, httpx.AsyncClient]

    @property
    def predictions(self) -> TwinPredictions:
        assert isinstance(self.services.predictions, TwinPredictions)
        return self.services.predictions

    @property
    def datasets(self) -> TwinHistories:
        assert isinstance(self.services.datasets, TwinHistories)
        return self.services.datasets

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def viewer(self) -> httpx.AsyncClient:
        return self.people["viewer"]

    @property
    def operator(self) -> httpx.AsyncClient:
        return self.people["operator"]

    @property
    def approver(self) -> httpx.AsyncClient:
        return self.people["approver"]

    @property
    def admin(self) -> httpx.AsyncClient:
        return self.people["admin"]

    @property
    def anybody(self) -> httpx.AsyncClient:
        return self.people["anybody"]

    async def deliver(self, body: Any, **request: Any) -> httpx.Response:
        """As Alertmanager posts it."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **request.pop("headers", {})}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.anybody.post("/v1/alerts/alertmanager", content=content, headers=headers, **request)

    async def count(self, what: str) -> int:
        """How many alerts, incidents or audit lines there are."""
        return len((await self.viewer.get(f"/v1/{what}", params={"limit": 500})).json()["items"])


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state; fails when it does not come."""
    async with asyncio.timeout(LIMIT_S):
        while not await holds():
            await asyncio.sleep(0.01)


async def sketch(reference: tuple[Path, Side], current: tuple[Path, Side], out: Path) -> Made:
    """What is told of the samples, without the picture: drawing takes many seconds, and has tests of its own."""
    out.write_text(f"<html><body>{reference[1]}. {current[1]}.</body></html>")
    assert all(path.exists() for path, _ in (reference, current))
    return Made(bytes=out.stat().st_size, columns=1, left_out=())


@dataclass
class Read:
    """Meters as somebody has read them."""

    until: datetime | None
    unread: tuple[str, ...] = ()
    unpriced: tuple[str, ...] = ()


async def no_lag() -> Lag:
    return Lag(segments=2, bytes=300, oldest=None)


def services_on(database: Database, clock: SteppedClock, policies: Policies | None = None) -> Services:
    registry, serving, tree = TwinRegistry(clock), TwinServing(), policies or Policies()
    predictions = TwinPredictions()
    return Services(
        database=database,
        intake=Intake(database, lambda: tree, clock),
        approvals=Approvals(database, lambda: tree, clock),
        autonomy=Autonomy(database, lambda: tree, clock),
        rollouts=Rollouts(database, clock),
        experiments=Experiments(database, clock),
        policies=lambda: tree,
        clock=clock,
        dispatch=Dispatches(),
        registry=registry,
        serving=serving,
        predictions=predictions,
        jobs=TwinJobs(clock),
        costs=TwinCosts(),
        billing=Billing(LIST_PRICES, "list-like defaults", Read(clock.now())),
        quarantines=SqlQuarantines(database, clock),
        reports=Reports(predictions, Path(tempfile.gettempdir()) / f"oppen-reports-{os.urandom(6).hex()}", sketch),
        datasets=TwinHistories(),
        features=TwinFeatures(),
        checks={"database": database.ping, "registry": registry.ping, "serving": serving.ping},
        required=frozenset({"database"}),
        lag=no_lag,
        chores=(),
        dropped={"moves": 3},
        retried={"run.delayed": 4, "run.stuck": 2},
        senders=SENDERS,
    )


async def give_key(services: Services, name: str, role: Role, lasts: timedelta | None = None) -> str:
    now = services.clock.now()
    record, key = new_key(name, role, now, None if lasts is None else now + lasts)
    async with services.database.begin() as transaction:
        await keys.add(transaction, record)
    return key


@asynccontextmanager
async def listening(services: Services) -> AsyncIterator[tuple[str, FastAPI]]:
    """The application on a free port of loopback."""

    def opened() -> AbstractAsyncContextManager[Services]:
        return contextlib.nullcontext(services)

    app = create_app(opened, LIMITS)
    config = uvicorn.Config(
        app, port=0, log_config=None, access_log=False, ws="none", lifespan="on", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        assert not serving.done(), "the server ended"
        return server.started

    try:
        await until(started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", app
    finally:
        app.state.local.stopping.set()
        server.should_exit = True
        await serving


def _client(url: str, headers: dict[str, str]) -> httpx.AsyncClient:
    # Nothing here speaks TLS, and reading the authorities' certificates would take longer than the test.
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT_S, verify=False)


@asynccontextmanager
async def running(database: Database, clock: SteppedClock, **changes: Any) -> AsyncIterator[Platform]:
    services = replace(services_on(database, clock), **changes)
    assert isinstance(services.registry, TwinRegistry)
    assert isinstance(services.serving, TwinServing)
    assert isinstance(services.dispatch, Dispatches)
    async with contextlib.AsyncExitStack() as stack:
        url, app = await stack.enter_async_context(listening(services))
        people: dict[str, httpx.AsyncClient] = {}
        for role in Role:
            key = await give_key(services, f"some-{role.name.lower()}", role)
            people[role.name.lower()] = _client(url, {"Authorization": f"Bearer {key}"})
        people["anybody"] = _client(url, {})
        for person in people.values():
            await stack.enter_async_context(person)
        yield Platform(url, app, services, services.registry, services.serving, services.dispatch, clock, people)
