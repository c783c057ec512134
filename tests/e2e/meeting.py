"""The service's API over HTTP, the platform's own gateway with real models, and a real MLflow: where people and runs meet."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from agents.policies import Policies, Slo, Verification
from agents.promotion_rules import Experiments, Guardrails, Rollouts, Stage
from api.store import runs
from api.store.actions import ActionLedger
from api.store.database import Database
from api.store.records import RunRecord
from api.web.auth import Role
from api.work.following import Joined
from api.work.orders import Orders
from api.work.progress import Progress
from api.work.runner import Runner
from gateway.assembly import assembled
from gateway.settings import Settings
from graphs.context import Context, Timeline
from tests.e2e.running import give_key, listening, services_on
from tests.gateway.model_files import write_pt2
from tests.graphs.platform import MODEL, UNEXAMINED, Platform
from tests.mlflow import Outside
from tools.errors import TemporaryError
from tools.registry.mlflow import open_registry
from tools.registry.port import Alias
from tools.serving.gateway import GatewayServing

STEP = timedelta(minutes=10)
LIMIT_S = 60.0
SOON = timedelta(0)
POLICIES = Policies(
    slo=Slo(min_accuracy=0.5),
    verification=Verification(settle=SOON, hold=SOON, recheck=STEP, min_labels=10, min_predictions=10),
    rollouts=Rollouts(
        stages=(Stage(weight=0.3, hold=STEP), Stage(weight=0.6, hold=STEP), Stage(weight=1.0, hold=SOON)),
        look_every=STEP,
        guardrails=Guardrails(errors=0.9, accuracy=0.9, latency=0.9),
        min_samples=5,
    ),
    experiments=Experiments(look_every=STEP, shortest=2 * STEP, min_units=50),
    models=UNEXAMINED,
)


@dataclass
class Meeting:
    database: Database
    world: Platform
    runner: Runner
    outside: Outside
    operator: httpx.AsyncClient
    approvers: tuple[httpx.AsyncClient, httpx.AsyncClient]

    async def ask(self, what: str, **body: Any) -> httpx.Response:
        path = f"/v1/models/{MODEL}/rollback" if what == "rollback" else f"/v1/triggers/{what}"
        named = {} if what == "rollback" else {"model": MODEL}
        return await self.operator.post(path, json={"reason": "now", **named, **body})

    async def move(self) -> None:
        """Every run that is due, all of them at once."""
        async with self.database.read() as session:
            due = await runs.due(session, self.world.clock.now())
        await asyncio.gather(*(self._advance(each.run_id, each.event) for each in due))

    async def _advance(self, run_id: str, event: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    return await self.runner.advance(run_id, event)
                except TemporaryError:
                    await asyncio.sleep(0.02)

    async def say_yes(self) -> None:
        """To all that is asked, by two people."""
        for asked in (await self.operator.get("/v1/approvals", params={"status": "pending"})).json()["items"]:
            body = {"decision": "approve", "fingerprint": asked["fingerprint"]}
            for person in self.approvers:
                await person.post(f"/v1/approvals/{asked['id']}/decision", json=body)

    async def pass_time(self, accuracy: dict[str, float] | None = None) -> None:
        await self.world.routed(STEP, accuracy=accuracy)
        async with self.database.begin() as transaction:
            await runs.wake_due(transaction, self.world.clock.now())

    async def until(self, status: str) -> None:
        """The newest rollout has come so far."""
        for _ in range(50):
            found = (await self.operator.get("/v1/rollouts?limit=1")).json()["items"]
            if found and found[0]["status"] == status:
                return
            await self.move()
            await self.say_yes()
            await self.move()
            await self.pass_time()
        raise AssertionError(f"no rollout has become {status}")

    async def won(self, wanted: str) -> str:
        """An experiment with `wanted` beside the champion has found it better, and people are asked; its id."""
        champion, goal = await self.champion(), {"name": "wrong", "kind": "share", "better": "lower", "margin": 0.02}
        arms = [{"version": champion, "weight": 50}, {"version": wanted, "weight": 50}]
        asked = await self.operator.post("/v1/experiments", json={"model": MODEL, "reason": "now", "arms": arms, "goal": goal})
        assert asked.status_code == 202, asked.text
        for _ in range(20):
            await self.move()
            pending = (await self.operator.get("/v1/approvals", params={"status": "pending"})).json()["items"]
            if [each["proposal"]["action"]["kind"] for each in pending] == ["promote"]:
                found: str = (await self.operator.get("/v1/experiments?open=true")).json()["items"][0]["id"]
                return found
            await self.say_yes()
            await self.move()
            await self.pass_time({champion: 0.4, wanted: 0.95})
        raise AssertionError("nobody has won")

    async def settle(self) -> None:
        """Until no run is under way any more."""
        for _ in range(80):
            await self.move()
            await self.say_yes()
            await self.move()
            if not await self.under_way():
                return
            await self.pass_time()
        raise AssertionError("it does not come to an end")

    async def under_way(self) -> list[str]:
        async with self.database.read() as session:
            unended = RunRecord.status.in_(("queued", "running", "waiting"))
            return list(await session.scalars(select(RunRecord.id).where(unended)))

    async def champion(self) -> str:
        found: str = (await self.operator.get(f"/v1/models/{MODEL}")).json()["aliases"]["champion"]
        return found

    async def agree(self) -> str:
        """Alias, route and ledger say the same champion; which one."""
        model = (await self.operator.get(f"/v1/models/{MODEL}")).json()
        champion: str = model["aliases"]["champion"]
        assert {version: weight for version, weight in model["route"]["weights"].items() if weight} == {champion: 100}
        history = (await self.operator.get(f"/v1/models/{MODEL}/history")).json()["items"]
        assert [each["after"] for each in history if each["alias"] == "champion"][-1] == champion
        open_rollouts = (await self.operator.get("/v1/rollouts?open=true")).json()["items"]
        assert open_rollouts == []
        assert (await self.operator.get("/v1/experiments?open=true")).json()["items"] == []
        return champion

    async def done(self) -> Counter[str]:
        """What the ledger has as carried out, by kind."""
        found: Counter[str] = Counter()
        for incident in (await self.operator.get("/v1/incidents?limit=100")).json()["items"]:
            shown = (await self.operator.get(f"/v1/incidents/{incident['id']}")).json()
            assert {each["state"] for each in shown["actions"]} <= {"done", "failed"}
            found.update(each["proposal"]["action"]["kind"] for each in shown["actions"] if each["state"] == "done")
        return found


@contextlib.asynccontextmanager
async def meeting(database: Database, database_url: str, outside: Outside, folder: Path) -> AsyncIterator[Meeting]:
    """Version 1 of three is champion, and has all the traffic."""
    world = Platform(policies=POLICIES, ledger_on=lambda clock: ActionLedger(database, clock))
    files = write_pt2(folder / "files", 1.0)
    for _ in range(3):
        await asyncio.to_thread(outside.publish, MODEL, files)
    async with contextlib.AsyncExitStack() as stack:
        registry = await stack.enter_async_context(open_registry(outside.uri, database_url, world.clock))
        app = await stack.enter_async_context(assembled(Settings(home=folder / "gateway"), registry))
        inner = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=LIMIT_S)
        serving = GatewayServing(await stack.enter_async_context(inner))
        world.registry, world.serving = registry, serving  # type: ignore[assignment]
        await registry.set_alias(MODEL, Alias.CHAMPION, "1", expected=None, key="first", actor="release", reason="first")
        await serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="first")
        services = replace(
            services_on(database, world.clock, POLICIES), registry=registry, serving=serving, predictions=world.predictions
        )
        url, _ = await stack.enter_async_context(listening(services))
        people = []
        for number, role in enumerate((Role.OPERATOR, Role.APPROVER, Role.APPROVER)):
            headers = {"Authorization": f"Bearer {await give_key(services, f'person-{number}', role)}"}
            client = httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT_S, verify=False)
            people.append(await stack.enter_async_context(client))
        joined = Joined(database)

        def context(timeline: Timeline) -> Context:
            return replace(world.context_with(timeline), order=Orders(database).standing, joined=joined.unread)

        runner = Runner(world.graph, Progress(database, services.approvals, world.clock), context, world.clock)
        yield Meeting(database, world, runner, outside, people[0], (people[1], people[2]))
