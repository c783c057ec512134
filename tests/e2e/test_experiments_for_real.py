"""Experiments from the request to the verified end, over HTTP: the real gateway with real models, its prediction log, the
embedded store, the engine and the graph. Only the registry is a twin, and time passes when the test says so.

One installation for all of it, in the order in which a team would live through it: a version that harms, a split that loses
requests on the way, and a version that wins.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agents.policies import Mode, Policies, Slo, Verification
from agents.promotion_rules import Experiments as Rules
from api.store.actions import ActionLedger
from api.store.database import Database
from api.store.quarantines import SqlQuarantines
from api.web.auth import Role
from api.work.dispatching import Dispatcher, Sweep
from api.work.engine import Engine
from api.work.experiments import Experiments
from api.work.following import Joined
from api.work.progress import Progress
from api.work.runner import Runner
from gateway.assembly import assembled
from gateway.routing import assign, slot
from gateway.settings import Settings
from graphs.context import Context, Timeline
from graphs.supervisor import build
from tests.e2e.running import give_key, listening, services_on
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import body, write_pt2
from tests.graphs.platform import FAST_RETRY
from tests.twins.notify import RememberingNotifier
from tests.twins.telemetry import RememberedTelemetry
from tools.clock import SharedClock
from tools.predictions.clickhouse import ClickHouseStore, open_store
from tools.predictions.loader import Loader
from tools.registry.port import Alias
from tools.rollouts.gateway import GatewayTraffic
from tools.serving.gateway import GatewayServing
from tools.toolbox import Toolbox
from tools.values import Window

# pytest listens to everything, and torch then renders every step of an export.
logging.getLogger("torch.__trace").setLevel(logging.WARNING)

MODEL = "flights"
STEP = timedelta(minutes=10)
START = datetime.fromisoformat("2026-03-02T09:00:00+00:00")
POLICIES = Policies(
    mode=Mode.PROPOSE,
    slo=Slo(min_accuracy=0.3, max_error_rate=0.5, max_latency_p99_ms=None),
    experiments=Rules(look_every=STEP, shortest=3 * STEP, longest=30 * STEP, min_units=60),
    verification=Verification(
        settle=timedelta(seconds=1), hold=timedelta(seconds=1), recheck=STEP, min_predictions=10, min_labels=10
    ),
)
GOAL = {"name": "wrong", "kind": "share", "better": "lower", "margin": 0.1}
GUARDRAILS = [{"name": "errors", "kind": "share", "better": "lower", "margin": 0.05}]
VISITORS = 200
_STILL = 1e-6
LIMIT_S = 60.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state; fails when it does not come."""
    async with asyncio.timeout(LIMIT_S):
        while not await holds():
            await asyncio.sleep(0.02)


class MovedClock(SharedClock):
    """Shared with the gateway, and all but still until the test moves it."""

    def pass_(self, time: timedelta) -> datetime:
        self.create(self._path, self.now() + time, _STILL)
        self._load()
        return self.now()


@dataclass
class World:
    clock: MovedClock
    gateway: httpx.AsyncClient
    serving: GatewayServing
    store: ClickHouseStore
    loader: Loader
    sweep: Sweep
    notify: RememberingNotifier
    registry: Any
    people: dict[str, httpx.AsyncClient]
    entities: int = 0
    sent: int = 0

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Sweep as the service does, until a state has come."""

        async def swept() -> bool:
            for part in self.sweep.parts.values():
                await part()
            return await holds()

        await until(swept)

    async def start(self, version: str) -> str:
        """Asked for by one, approved by two others, and in force; the experiment's id."""
        arms = [{"version": "1", "weight": 50}, {"version": version, "weight": 50}]
        asked = {"model": MODEL, "reason": "r", "arms": arms, "goal": GOAL, "guardrails": GUARDRAILS}
        answer = await self.people["operator"].post("/v1/experiments", json=asked)
        assert answer.status_code == 202, answer.text
        await self.approve("approver", "admin")

        async def in_force() -> bool:
            return bool(await self.open())

        await self.until(in_force)
        ((found),) = await self.open()
        return str(found["id"])

    async def approve(self, *people: str) -> None:
        async def asked() -> bool:
            return bool((await self.people["viewer"].get("/v1/approvals?status=pending")).json()["items"])

        await self.until(asked)
        (question,) = (await self.people["viewer"].get("/v1/approvals?status=pending")).json()["items"]
        assert question["quorum"] == len(people)
        for person in people:
            decision = {"decision": "approve", "fingerprint": question["fingerprint"]}
            answer = await self.people[person].post(f"/v1/approvals/{question['id']}/decision", json=decision)
            assert answer.is_success, answer.text

    async def open(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.people["viewer"].get("/v1/experiments?open=true")).json()["items"]
        return found

    async def shown(self, experiment: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.people["viewer"].get(f"/v1/experiments/{experiment}")).json()
        return found

    async def incident(self, experiment: str) -> str:
        found = await self.shown(experiment)
        return str((await self.people["viewer"].get(f"/v1/incidents/{found['incident_id']}")).json()["status"])

    async def weights(self) -> dict[str, int]:
        return (await self.serving.route(MODEL)).weights

    async def visit(self, *, lost: str | None = None) -> None:
        """New entities come while a step passes, and their labels. Of those of `lost` one in three gets to the gateway."""
        self.clock.pass_(STEP / 2)
        names = [f"customer-{self.entities + each}" for each in range(VISITORS)]
        self.entities += VISITORS
        if lost is not None:
            route = await self.serving.route(MODEL)
            slots = assign(assign((), {"1": 100}), route.weights)
            own = [name for name in names if slots[slot(MODEL, name, route.salt)] == lost]
            names = [name for name in names if name not in own or own.index(name) % 3 == 0]
        # The truth is whether the distance is above nought: version 1 knows in half of the cases, version 2 in all.
        distances = [1.0 if each % 2 else -1.0 for each in range(len(names))]
        # What one version fails at does not take the others' answers with it: each comes in a request of its own.
        await asyncio.gather(*(self._ask(*each) for each in zip(names, distances, strict=True)))
        self.sent += len(names)

        async def loaded() -> bool:
            await self.loader.sweep()
            window = Window(start=START - STEP, end=self.clock.now() + STEP)
            volume = await self.store.volume(MODEL, window, window.length)
            return sum(each.count for each in volume) == self.sent

        await until(loaded)
        self.clock.pass_(STEP / 2)

    async def _ask(self, name: str, distance: float) -> None:
        asked = body([distance], parameters={"entity_id": name})
        answer = await self.gateway.post(f"/v2/models/{MODEL}/infer", json=asked)
        if answer.status_code == 200:
            (made,) = answer.json()["parameters"]["prediction_ids"]
            label = {"id": made, "label": "late" if distance > 0 else "on_time"}
            assert (await self.gateway.post(f"/v2/models/{MODEL}/feedback", json={"labels": [label]})).status_code == 200

    async def looked(self, experiment: str, looks: int) -> None:
        """Until so many looks are on record, or it is not a look that it waits for any more."""

        async def further() -> bool:
            found = (await self.people["viewer"].get(f"/v1/experiments/{experiment}/looks")).json()["items"]
            return len(found) >= looks or (await self.shown(experiment))["ending"] != ""

        await self.until(further)

    async def go_on(self, experiment: str, **visits: Any) -> dict[str, Any]:
        for look in range(1, 20):
            await self.visit(**visits)
            await self.looked(experiment, look)
            if (found := await self.shown(experiment))["ending"]:
                return found
        raise AssertionError("nothing comes of it")

    async def verified(self, experiment: str) -> None:
        """Until the incident is closed, with visitors from look to look."""
        found = await self.shown(experiment)
        status = ""

        async def ended() -> bool:
            return not await self.open()

        async def closed_or_waiting() -> bool:
            nonlocal status
            status = await self.incident(experiment)
            run = (await self.people["viewer"].get(f"/v1/runs/{found['run_id']}")).json()
            waits = run["status"] == "waiting" and datetime.fromisoformat(run["due_at"]) > self.clock.now()
            return waits or status in ("resolved", "escalated")

        await self.until(ended)
        for _ in range(10):
            await self.visit()
            await self.until(closed_or_waiting)
            if status in ("resolved", "escalated"):
                break
        told = (await self.people["viewer"].get(f"/v1/incidents/{found['incident_id']}/events?limit=200")).json()["items"]
        assert status == "resolved", told[-3:]


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    return sqlite_database_url


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    for version, slope, bias in (("1", 0.0, -1.0), ("2", 1.0, 0.0), ("3", 1.0, float("nan"))):
        write_pt2(tmp_path / "registry" / MODEL / version, slope, bias)
    (tmp_path / "registry" / MODEL / "champion").write_text("1")
    MovedClock.create(tmp_path / "clock.json", START, _STILL)
    clock = MovedClock(tmp_path / "clock.json")
    settings = Settings(home=tmp_path / "gateway", models=(MODEL,), clock=f"shared:{tmp_path}/clock.json", segment_age_s=0.05)
    store = open_store(f"chdb://{tmp_path}/store")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        app = await stack.enter_async_context(assembled(settings, FolderRegistry(tmp_path / "registry")))
        transport = httpx.ASGITransport(app)
        gateway = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1"))
        serving, notify = GatewayServing(gateway), RememberingNotifier()
        services = replace(
            services_on(database, clock, POLICIES),  # type: ignore[arg-type]
            serving=serving,
            predictions=store,
        )
        registry: Any = services.registry
        for _ in range(3):
            registry.publish(MODEL)
        await registry.set_alias(MODEL, Alias.CHAMPION, "1", expected=None, key="k", actor="ci", reason="release")
        tools = Toolbox(
            registry,
            serving,
            store,
            RememberedTelemetry(),
            notify,
            SqlQuarantines(database, clock),
            services.jobs,
            GatewayTraffic(serving),
        )
        ledger, experiments, joined = ActionLedger(database, clock), Experiments(database, clock), Joined(database)

        def context(timeline: Timeline) -> Context:
            mode = services.autonomy.mode
            return Context(
                tools, ledger, POLICIES, mode, clock, timeline, experiments.standing, joined.unread, "https://oppen.example"
            )

        progress = Progress(database, services.approvals, clock)
        runner = Runner(build(InMemorySaver(), retry=FAST_RETRY), progress, context, clock)
        engine = Engine(f"sqlite:///{tmp_path}/engine.db", runner.advance)
        await engine.start()
        stack.push_async_callback(engine.stop)
        dispatcher = Dispatcher(database, engine)
        services = replace(services, dispatch=dispatcher.dispatch)
        url, _ = await stack.enter_async_context(listening(services))
        people = {}
        for role in Role:
            key = await give_key(services, f"some-{role.name.lower()}", role)
            client = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, verify=False, timeout=20)
            people[role.name.lower()] = await stack.enter_async_context(client)
        sweep = Sweep(database, engine, services.approvals, clock)
        made = World(
            clock, gateway, serving, store, Loader(store, tmp_path / "gateway" / "segments"), sweep, notify, registry, people
        )

        async def ready() -> bool:
            return (await gateway.get("/v2/health/ready")).status_code == 200

        await until(ready)
        yield made


async def test_what_harms_is_taken_back_what_gets_lost_is_found_and_what_is_better_wins(world: World) -> None:
    harmful = await world.start("3")
    assert await world.weights() == {"1": 50, "3": 50}
    found = await world.go_on(harmful)
    assert found["ending"] == "harmful"
    await world.verified(harmful)
    assert await world.weights() == {"1": 100}
    shown = await world.shown(harmful)
    assert (shown["status"], shown["look"]["mixed"]) == ("stopped", 0)

    losing = await world.start("2")
    found = await world.go_on(losing, lost="2")
    assert found["ending"] == "mismatch"
    assert found["look"]["outcome"]["mismatch"] <= 0.001
    await world.verified(losing)
    assert await world.weights() == {"1": 100}

    winning = await world.start("2")
    found = await world.go_on(winning)
    assert found["ending"] == "winner"
    (arm,) = found["look"]["outcome"]["arms"]
    assert arm["effect"]["high"] < 0
    assert await world.weights() == {"1": 50, "2": 50}
    await world.approve("approver", "admin")
    await world.verified(winning)
    assert (await world.weights(), await world.registry.alias(MODEL, Alias.CHAMPION)) == ({"2": 100}, "2")
    assert (await world.shown(winning))["status"] == "promoted"
    said = [message.title for _, message, _ in world.notify.sent]
    for word in ("harms", "not as assigned", "has won"):
        assert any(word in each for each in said), (word, said)
