"""Whole rollouts through our API that Flagger drives: it asks over HTTP before each step, and is told who approved what."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from agents.policies import Policies, Slo
from agents.promotion_rules import Guardrails, Rollouts, Stage
from api.settings import Sender
from api.store import events, rollouts, runs
from api.store.actions import ActionLedger
from api.store.database import Database
from api.work.autonomy import Autonomy
from api.work.gates import Gates
from api.work.progress import Progress
from api.work.runner import Runner
from graphs.context import Context, Timeline
from tests.contract.rollouts import MODEL, NAMESPACE, OnFlagger, flagger_traffic, on_flagger
from tests.databases import BACKENDS
from tests.e2e.bodies import refused
from tests.e2e.running import SENDERS, Platform, running
from tests.graphs.platform import HOUR, UNEXAMINED, healthy
from tests.graphs.platform import Platform as World
from tests.twins.clock import SteppedClock
from tests.work.cases import proposal, running_case
from tools.errors import TemporaryError
from tools.registry.port import Alias
from tools.rollouts import canaries
from tools.rollouts.flagger import FlaggerTraffic

STEP = timedelta(minutes=10)
LIMIT_S = 30.0
KEY = "a key"
"""As `flagger_traffic` has it."""
POLICIES = Policies(
    slo=Slo(min_accuracy=0.8),
    rollouts=Rollouts(
        stages=(Stage(weight=0.1, hold=4 * HOUR), Stage(weight=0.5, hold=2 * HOUR), Stage(weight=1.0)),
        look_every=STEP,
        guardrails=Guardrails(errors=0.05, accuracy=0.05, latency=0.05),
        extend=6 * HOUR,
    ),
    models=UNEXAMINED,
)


@dataclass
class Installation:
    api: Platform
    world: World
    on: OnFlagger
    traffic: FlaggerTraffic
    runner: Runner

    async def ask_for_promotion(self) -> None:
        body = {"model": MODEL, "version": "2", "reason": "better on the new routes"}
        told = (await self.api.operator.post("/v1/triggers/promote", json=body)).json()
        async with self.api.database.read() as session:
            (run,) = await runs.of_incident(session, told["incident_id"])
        self.world.run_id, self.incident_id = run.id, told["incident_id"]
        await self.advance()

    async def approve(self) -> None:
        (asked,) = (await self.api.viewer.get("/v1/approvals", params={"status": "pending"})).json()["items"]
        body = {"decision": "approve", "fingerprint": asked["fingerprint"]}
        for person in (self.api.approver, self.api.admin):
            assert (await person.post(f"/v1/approvals/{asked['id']}/decision", json=body)).status_code == 200
        await self.advance()

    async def advance(self) -> None:
        """As the engine does: again, for as long as something fails for a moment."""
        async with self.api.database.read() as session:
            run = await runs.get(session, self.world.run_id)
        assert run is not None
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    return await self.runner.advance(run.id, run.event)
                except TemporaryError:
                    await asyncio.sleep(0.02)

    async def look(self, accuracy: dict[str, float]) -> dict[str, Any] | None:
        """Traffic until the next look, and that; the rollout as the API shows it, None before it is there."""
        await self.world.routed(STEP, accuracy=accuracy)
        async with self.api.database.begin() as transaction:
            await runs.wake_due(transaction, self.world.clock.now())
        await self.advance()
        found = (await self.api.viewer.get("/v1/rollouts")).json()["items"]
        return found[0] if found else None

    async def arrived(self) -> None:
        """Once Flagger has taken the step that was asked for."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.traffic.state(MODEL)).phase == "moving":
                await asyncio.sleep(0.01)

    async def roll(self, accuracy: dict[str, float], until: str) -> dict[str, Any]:
        for _ in range(100):
            await self.arrived()
            rollout = await self.look(accuracy)
            if rollout is not None and rollout["status"] == until:
                return rollout
        raise AssertionError(f"it never was {until}: {rollout}")

    async def told(self, name: str) -> list[dict[str, Any]]:
        async with self.api.database.read() as session:
            found = await events.after(session, self.incident_id, 0, limit=500)
        return [each.data for each in found if each.name == name]

    def served(self) -> tuple[str, str]:
        """The versions of the primary and of the target."""
        return tuple(  # type: ignore[return-value]
            self.on.cluster.of("ConfigMap", name, NAMESPACE)["data"]["model_version"]
            for name in (f"{MODEL}-serving-primary", f"{MODEL}-serving")
        )

    async def gate(self, gate: str, **values: Any) -> httpx.Response:
        """As Flagger asks."""
        user = values.pop("user", f"{NAMESPACE}.{MODEL}")
        password = canaries.password(KEY, NAMESPACE, MODEL)
        record = canaries.record_of(self.on.canary)
        metadata = {"model": MODEL, "rollout": record.rollout if record else ""}
        body = {"name": MODEL, "namespace": NAMESPACE, "phase": "Progressing", "checksum": "x", "metadata": metadata, **values}
        return await self.api.anybody.post(f"/v1/hooks/flagger/{gate}", json=body, auth=(user, password))


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    kind = str(getattr(request, "param", "sqlite")).replace("postgresql", "postgres")
    url: str = request.getfixturevalue(f"{kind}_database_url")
    return url


@pytest.fixture
async def installation(database: Database, tmp_path: Path) -> AsyncIterator[Installation]:
    world = await healthy(policies=POLICIES, ledger_on=lambda clock: ActionLedger(database, clock))
    senders = {**SENDERS, "flagger": Sender(canary=SecretStr(KEY))}
    async with contextlib.AsyncExitStack() as stack:
        on = stack.enter_context(on_flagger(tmp_path, "http://nowhere.invalid"))
        asking = await stack.enter_async_context(flagger_traffic(on))
        autonomy = Autonomy(database, lambda: POLICIES, world.clock)
        gates = Gates(database, asking, autonomy.mode, world.clock)
        parts = {"registry": world.registry, "serving": world.serving, "senders": senders, "gates": gates}
        parts |= {"policies": lambda: POLICIES}
        api = await stack.enter_async_context(running(database, world.clock, **parts))
        on.hooks = api.url
        on.prepare()
        await on.phase("Initialized")
        world.mover = traffic = await stack.enter_async_context(flagger_traffic(on))

        def context(timeline: Timeline) -> Context:
            services = api.services
            return replace(world.context_with(timeline), order=services.rollouts.standing, mode=services.autonomy.mode)

        runner = Runner(world.graph, Progress(database, api.services.approvals, world.clock), context, world.clock)
        yield Installation(api, world, on, traffic, runner)


async def test_what_is_approved_goes_step_by_step_to_its_promotion(installation: Installation) -> None:
    await installation.ask_for_promotion()
    await installation.approve()
    ended = await installation.roll({"1": 0.9, "2": 0.92}, "promoted")
    assert ended["from_version"] == "1"
    await installation.on.phase("Succeeded")
    await asyncio.to_thread(installation.on.flagger.go_away)  # it tells what it has done after it has done it
    assert installation.served() == ("2", "2")
    assert await installation.world.champion() == "2"
    assert (await installation.traffic.state(MODEL)).weights == {"2": 100}
    stages = await installation.told("rollout.stage")
    assert [each["weight"] for each in stages] == [0.1, 0.5, 1.0]
    opened = [gate for gate, status in installation.on.flagger.calls if status == 200]
    assert opened == ["confirm-rollout", *["confirm-traffic-increase"] * 4, "confirm-promotion"]
    assert {status for _, status in installation.on.flagger.calls} == {200, 403}
    messages = [each["message"] for each in await installation.told("rollout.controller")]
    for weight in (10, 50, 100):
        assert messages.count(f"Advance {MODEL} canary weight {weight}") == 1
    assert "Promotion completed! Scaling down" in messages


async def test_what_fails_is_taken_back_and_stays_so(installation: Installation) -> None:
    await installation.ask_for_promotion()
    await installation.approve()
    ended = await installation.roll({"1": 0.9, "2": 0.5}, "taken_back")
    assert ended["stage"] == 0
    await installation.on.phase("Failed")
    assert (await installation.traffic.state(MODEL)).weights == {"1": 100}
    assert installation.served() == ("1", "2")
    assert await installation.world.champion() == "1"
    assert (await installation.gate("confirm-rollout")).status_code == 403


async def test_what_nobody_approves_never_starts(installation: Installation) -> None:
    await installation.ask_for_promotion()
    assert installation.served() == ("1", "1")
    # Nor what somebody begins past us, where the installation's Canary asks us.
    hooks = canaries.webhooks(installation.on.settings, NAMESPACE, MODEL, KEY, {"model": MODEL, "rollout": ""})
    installation.on.edit("Canary", MODEL, lambda item: item["spec"]["analysis"].update(webhooks=hooks))
    installation.on.edit("ConfigMap", f"{MODEL}-serving", lambda item: item["data"].update(model_version="2"))
    await installation.on.phase("Waiting")
    assert installation.on.flagger.calls
    assert {status for _, status in installation.on.flagger.calls} == {403}
    assert installation.served() == ("1", "2")
    assert (await installation.traffic.state(MODEL)).weights == {"1": 100}


async def test_a_canary_that_somebody_edits_goes_no_further(installation: Installation) -> None:
    await installation.ask_for_promotion()
    await installation.approve()
    await installation.arrived()
    await installation.look({})
    installation.on.edit("Canary", MODEL, lambda item: item["spec"]["analysis"].update(threshold=9))
    problem = refused(await installation.gate("confirm-traffic-increase"), 403, "gate-closed")
    assert "somebody has changed the Canary" in problem["detail"]
    await installation.look({})
    (rollout,) = (await installation.api.viewer.get("/v1/rollouts")).json()["items"]
    assert rollout["status"] == "left"
    assert "theirs stands" in rollout["reason"]
    assert (await installation.traffic.state(MODEL)).weights == {"1": 90, "2": 10}


async def test_an_order_to_end_it_is_carried_out_before_the_next_look(installation: Installation) -> None:
    await installation.ask_for_promotion()
    await installation.approve()
    await installation.arrived()
    (rollout,) = (await installation.api.viewer.get("/v1/rollouts")).json()["items"]
    assert (await installation.gate("rollback")).status_code == 403
    body = {"reason": "complaints"}
    await installation.api.operator.post(f"/v1/rollouts/{rollout['id']}/abort", json=body)
    await installation.on.phase("Failed")
    ended = await installation.roll({}, "taken_back")
    assert "complaints" in ended["reason"]


async def test_what_flagger_takes_back_by_itself_ends_the_rollout(installation: Installation) -> None:
    await installation.ask_for_promotion()
    await installation.approve()
    await installation.arrived()
    await installation.look({})
    installation.on.flagger.check = lambda _: False
    await installation.on.phase("Failed")
    ended = await installation.roll({}, "taken_back")
    assert "Flagger is Failed" in ended["reason"]


async def test_the_kill_switch_closes_what_was_asked_for(installation: Installation) -> None:
    await asyncio.to_thread(installation.on.flagger.go_away)
    await installation.ask_for_promotion()
    await installation.approve()
    off = {"mode": "observe", "reason": "something is wrong"}
    await installation.api.operator.put("/v1/autonomy", json=off)
    problem = refused(await installation.gate("confirm-rollout"), 403, "gate-closed")
    assert "observe" in problem["detail"]


@pytest.mark.parametrize("database_url", BACKENDS, indirect=True)
async def test_a_revision_that_was_not_let_in_gets_no_traffic(installation: Installation) -> None:
    await asyncio.to_thread(installation.on.flagger.go_away)
    await installation.ask_for_promotion()
    await installation.approve()
    assert (await installation.gate("confirm-rollout", checksum="a")).json()["open"] is True
    assert (await installation.gate("confirm-rollout", checksum="a")).status_code == 200
    assert (await installation.gate("confirm-rollout", checksum="b")).status_code == 403
    assert (await installation.gate("confirm-traffic-increase", checksum="b")).status_code == 403
    assert (await installation.gate("confirm-traffic-increase", checksum="a")).status_code == 200
    assert (await installation.gate("confirm-promotion", checksum="a")).status_code == 403
    assert len(await installation.told("rollout.gate")) == 2


async def test_an_api_server_that_is_away_closes_every_gate(installation: Installation) -> None:
    await asyncio.to_thread(installation.on.flagger.go_away)
    await installation.ask_for_promotion()
    await installation.approve()
    record = canaries.record_of(installation.on.canary)
    assert record is not None
    installation.on.cluster.server.stop()
    metadata = {"model": MODEL, "rollout": record.rollout}
    refused(await installation.gate("confirm-rollout", metadata=metadata), 503, "unavailable")
    installation.on.cluster.server.start()
    assert (await installation.gate("confirm-rollout")).status_code == 200


async def test_only_its_own_canary_is_let_in(installation: Installation) -> None:
    url = "/v1/hooks/flagger/confirm-rollout"
    refused(await installation.api.anybody.post(url, json={}), 401, "unauthenticated")
    refused(await installation.gate("confirm-rollout", user=f"{NAMESPACE}.fraud"), 401, "unauthenticated")
    refused(await installation.gate("confirm-rollout", name="fraud"), 403, "gate-closed")
    refused(await installation.gate("confirm-rollout", namespace="other"), 403, "gate-closed")
    refused(await installation.gate("confirm-everything"), 404, "not-found")
    refused(await installation.gate("confirm-rollout", metadata={"model": 3}), 422, "invalid")
    refused(await installation.gate("confirm-rollout", metadata={"model": MODEL, "rollout": "run_x/1\0"}), 403, "gate-closed")
    refused(await installation.gate("event", name="fraud"), 403, "gate-closed")


async def test_what_flagger_tells_is_on_the_timeline_once(installation: Installation) -> None:
    await asyncio.to_thread(installation.on.flagger.go_away)
    await installation.ask_for_promotion()
    await installation.approve()
    record = canaries.record_of(installation.on.canary)
    assert record is not None
    said = {"model": MODEL, "rollout": record.rollout, "eventMessage": "Halt advancement", "eventType": "Warning"}
    for _ in range(2):
        assert (await installation.gate("event", metadata=said)).json() == {"noted": True}
    (told,) = await installation.told("rollout.controller")
    assert (told["message"], told["kind"], told["canary"]) == ("Halt advancement", "Warning", MODEL)
    for value in (12.5, 13.1):
        failed = {**said, "eventMessage": f"Halt flights.ml advancement oppen-error-percent {value} > 10"}
        assert (await installation.gate("event", metadata=failed)).status_code == 200
    assert len(await installation.told("rollout.controller")) == 2
    for other in ({**said, "rollout": "run_0/1"}, {**said, "eventMessage": "Rollback hook x not signaling a rollback"}):
        assert (await installation.gate("event", metadata=other)).json() == {"noted": False}


async def test_a_rollback_of_the_champion_is_let_through_while_it_is_carried_out(installation: Installation) -> None:
    ledger = ActionLedger(installation.api.database, installation.api.clock)
    about = proposal(*await running_case(installation.api.database, installation.world.clock))
    installation.incident_id = about.incident_id
    token = (await installation.traffic.state(MODEL)).token

    async def given() -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    await installation.traffic.give(MODEL, "1", expected=token, key=f"{about.id}/route")
                except TemporaryError:
                    await asyncio.sleep(0.02)
                else:
                    return

    await asyncio.to_thread(installation.on.flagger.go_away)
    installation.on.edit("ConfigMap", f"{MODEL}-serving-primary", lambda item: item["data"].update(model_version="2"))
    assert (await installation.traffic.state(MODEL)).weights == {"2": 100}
    giving = asyncio.create_task(given())
    while canaries.record_of(installation.on.canary) is None:
        await asyncio.sleep(0.01)
    assert (await installation.gate("confirm-rollout")).status_code == 403, "nothing of it is on record"
    await ledger.intend(about, about.state)
    installation.on.flagger.come_back()
    await giving
    assert installation.served() == ("1", "1")
    assert [gate for gate, status in installation.on.flagger.calls if status == 200] == ["confirm-rollout"]
    await ledger.fail(about.id, "seen")
    assert (await installation.gate("confirm-rollout")).status_code == 403


async def test_without_flagger_nothing_is_let_in(database: Database, clock: SteppedClock) -> None:
    senders = {**SENDERS, "flagger": Sender(canary=SecretStr(KEY))}
    async with running(database, clock, senders=senders) as api:
        auth = (f"{NAMESPACE}.{MODEL}", canaries.password(KEY, NAMESPACE, MODEL))
        for gate in ("confirm-rollout", "rollback", "event"):
            body = {"name": MODEL, "namespace": NAMESPACE}
            refused(await api.anybody.post(f"/v1/hooks/flagger/{gate}", json=body, auth=auth), 403, "gate-closed")


async def test_the_alias_says_who_the_challenger_is(installation: Installation) -> None:
    await installation.ask_for_promotion()
    await installation.approve()
    assert await installation.world.registry.alias(MODEL, Alias.CHALLENGER) == "2"
    async with installation.api.database.read() as session:
        (row,) = (await rollouts.page(session)).items
    assert (row.status, row.stage) == ("running", 0)
