"""A rollout that begins with a shadow: the supervisor, the platform's own gateway, its log, and the store, all of them real."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agents.actions import AbortRollout, StartRollout
from agents.policies import Policies, Slo
from agents.promotion_rules import Guardrails, Metric, Rollouts, Stage
from agents.requests import Request, to_alert
from agents.rollouts import Choice
from gateway.app import App
from gateway.assembly import assembled
from gateway.settings import Settings
from graphs.context import Context, Timeline
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import REGRESSION, SPEC, body, write_pt2
from tests.gateway.running import until
from tests.graphs.platform import HOUR, MODEL, UNEXAMINED, Platform
from tests.twins.clock import SteppedClock
from tools.predictions.clickhouse import ClickHouseStore, open_store
from tools.predictions.loader import Loader
from tools.registry.port import Alias
from tools.rollouts.gateway import GatewayTraffic
from tools.serving.gateway import GatewayServing

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEP = timedelta(minutes=10)
ROWS = 60
"""Of each request."""


def policies(**guards: Any) -> Policies:
    stages = (Stage(weight=0, hold=2 * STEP), Stage(weight=0.1, hold=2 * STEP), Stage(weight=1.0))
    # How quick it is depends on what else this machine is at.
    guardrails = Guardrails(errors=0.05, accuracy=0.05, latency=None, **guards)
    rollouts = Rollouts(stages=stages, look_every=STEP, guardrails=guardrails, extend=HOUR)
    return Policies(slo=Slo(min_accuracy=0.8), rollouts=rollouts, models=UNEXAMINED)


SHADOWED = policies()


class World(Platform):
    """Its requests are answered by real models behind the gateway, and everything that is known of them was in its log."""

    app: App
    client: httpx.AsyncClient
    real: GatewayServing
    store: ClickHouseStore
    loader: Loader
    numbers = False
    worth: Callable[[str], float] | None = None
    """What an answer of that version is worth."""
    rows = 0

    def context_with(self, timeline: Timeline) -> Context:
        context = super().context_with(timeline)
        tools = replace(context.tools, serving=self.real, traffic=GatewayTraffic(self.real), predictions=self.store)
        return replace(context, tools=tools)

    async def weights(self) -> dict[str, int]:
        return (await self.real.route(MODEL)).weights

    async def requests(self, number: int = 4) -> set[str]:
        """A step's, with their labels; by which versions they were answered."""
        before = await self._copied()
        shadow, seen = (await self.real.route(MODEL)).shadow, set[str]()
        for _ in range(number):
            places = range(self.rows, self.rows + ROWS)
            self.rows += ROWS
            distances = [(place * 37 % 101 - 50) / 25 + 0.01 for place in places]
            request = body(distances, parameters={"entity_id": [f"flight-{place}" for place in places]})
            answer = await self.client.post(f"/v2/models/{MODEL}/infer", json=request)
            assert answer.status_code == 200, answer.text
            told = answer.json()
            versions = told["parameters"].get("model_versions") or [told["model_version"]] * ROWS
            seen |= set(versions)
            labels = [
                {
                    "id": prediction,
                    "label": self._truth(place, distance),
                    **({"metrics": {"revenue": self.worth(version)}} if self.worth is not None else {}),
                }
                for place, distance, prediction, version in zip(
                    places, distances, told["parameters"]["prediction_ids"], versions, strict=True
                )
            ]
            assert (await self.client.post(f"/v2/models/{MODEL}/feedback", json={"labels": labels})).status_code == 200
        if shadow:
            await until(lambda: self._has_copied(before + number * ROWS))
        self.clock.pass_(STEP)
        return seen

    def _truth(self, place: int, distance: float) -> Any:
        """What the champion says, nine times of ten."""
        if self.numbers:
            return distance + (place % 7 - 3) / 10
        late = distance > 0
        return "late" if late != (place % 10 == 0) else "on_time"

    async def _copied(self) -> int:
        return await self._sum("mirrored_total")

    async def _sum(self, metric: str) -> int:
        text = (await self.client.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(f"oppen_gateway_{metric}{{")]
        return int(sum(float(line.rpartition(" ")[2]) for line in lines))

    async def _has_copied(self, rows: int) -> bool:
        return await self._copied() == rows

    async def loaded(self) -> None:
        """Everything that the gateway has written is in the store."""
        folder = self.loader._folder

        async def nothing_left() -> bool:
            written = await self._sum("log_pending") == 0
            await self.loader.sweep()
            return written and not [*folder.glob("*.open"), *folder.glob("*.ndjson")]

        await until(nothing_left)

    async def look(self) -> dict[str, Any]:
        await self.loaded()
        ended: dict[str, Any] = await self.wake()
        return ended


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClickHouseStore]:
    """One for all: the engine takes seconds to start. Each test has a year of its own."""
    store = open_store(f"chdb://{tmp_path_factory.mktemp('shadow')}")
    yield store
    await store.close()


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float, bool], Path]:
    """Folders of versions by slope, and whether they answer with numbers."""
    root = tmp_path_factory.mktemp("versions")

    @cache
    def version(slope: float, numbers: bool) -> Path:
        return write_pt2(root / f"{slope} {numbers}", slope, spec=REGRESSION if numbers else SPEC)

    return version


_years = itertools.count(2026)

Begin = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def begin(tmp_path: Path, store: ClickHouseStore, versions: Callable[[float, bool], Path]) -> Begin:
    """The champion, of slope one, has answered for an hour; a challenger is its shadow now."""

    @asynccontextmanager
    async def begin(slope: float, *, numbers: bool = False, policies: Policies = SHADOWED) -> AsyncIterator[World]:
        spec = REGRESSION if numbers else SPEC
        folder = tmp_path / "registry" / MODEL
        folder.mkdir(parents=True)
        for version, own in (("1", 1.0), ("2", slope)):
            (folder / version).symlink_to(versions(own, numbers))
        settings = Settings(home=tmp_path / "home", segment_age_s=0.05)
        async with (
            assembled(settings, FolderRegistry(tmp_path / "registry")) as app,
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
        ):
            world = World(policies=policies, clock=SteppedClock(datetime(next(_years), 3, 2, 9, tzinfo=UTC)))
            # One clock for both: the gateway's stands still as well.
            app._inference._clock = world.clock
            world.app, world.client, world.real, world.numbers = app, client, GatewayServing(client), numbers
            world.store, world.loader = store, Loader(store, tmp_path / "home" / "segments")
            files = {"serving.json": spec.model_dump_json().encode()}
            for _ in range(2):
                world.registry.publish(MODEL, files={"model.pt2": b""}, beside=files)
            await world.real.set_weights(MODEL, {"1": 100}, expected_generation=0, key="release")
            await world.registry.set_alias(
                MODEL, Alias.CHAMPION, "1", expected=None, key="release", actor="deploy", reason="release"
            )
            for _ in range(6):
                await world.requests(1)
            await world.loaded()
            request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="better on the new routes")
            await world.start(to_alert(request, "trg", world.clock.now()))
            await world.decide(by=("alice", "bob"))
            yield world

    return begin


async def test_a_worse_challenger_is_found_before_anybody_is_given_its_answers(begin: Begin) -> None:
    async with begin(-1.0) as world:
        route = await world.real.route(MODEL)
        assert (route.weights, route.shadow) == ({"1": 100}, {"2": 100})
        answered, ended = set[str](), dict[str, Any]()
        for _ in range(6):
            answered |= await world.requests()
            ended = await world.look()
            if ended["rollout"].over:
                break
        assert ended["rollout"].over
        assert isinstance(ended["proposal"].action, AbortRollout)
        assert ended["rollout"].stage == 0
        assert "worse, beyond chance" in ended["recommendation"].reason
        assert answered == {"1"}
        route = await world.real.route(MODEL)
        assert (route.weights, route.shadow) == ({"1": 100}, {})
        assert await world.champion() == "1"
        assert await world.requests() == {"1"}


async def test_a_good_one_goes_on_to_a_tenth_of_the_traffic(begin: Begin) -> None:
    async with begin(2.0) as world:
        answered, ended = set[str](), dict[str, Any]()
        while (await world.real.route(MODEL)).shadow:
            answered |= await world.requests()
            ended = await world.look()
            assert len(ended["rollout"].started) <= 2
            assert not ended["rollout"].over
        assert answered == {"1"}, "as a shadow it answers nobody"
        rollout = ended["rollout"]
        assert (rollout.stage, await world.weights()) == (1, {"1": 90, "2": 10})
        judged = {each.guard: each for each in rollout.decision.judged}
        assert rollout.decision.choice is Choice.ADVANCE
        assert "answered by both" in judged["accuracy"].note
        assert judged["errors"].canary_samples == judged["errors"].control_samples > 100
        assert await world.requests() == {"1", "2"}
        ended = await world.look()
        judged = {each.guard: each for each in ended["rollout"].decision.judged}
        assert 0 < judged["accuracy"].canary_samples < judged["accuracy"].control_samples


async def test_a_model_that_answers_with_numbers_is_judged_by_how_far_off_it_is(begin: Begin) -> None:
    async with begin(1.6, numbers=True) as world:
        ended = dict[str, Any]()
        for _ in range(6):
            await world.requests()
            ended = await world.look()
            if ended["rollout"].over:
                break
        action = ended["rollout"].action
        assert isinstance(action, StartRollout)
        assert action.judging is not None
        assert set(action.judging.guardrails.judged) == {"errors", "loss"}
        assert ended["rollout"].over
        assert "loss" in ended["recommendation"].reason
        assert await world.champion() == "1"


async def test_what_answers_are_worth_and_cost_is_seen_at_the_looks(begin: Begin) -> None:
    rules = policies(metric=Metric(name="revenue", margin=0.05), cost=0.5)
    alone = rules.rollouts.model_copy(update={"stages": rules.rollouts.stages[1:]})
    async with begin(2.0, policies=rules.model_copy(update={"rollouts": alone})) as world:
        world.worth = lambda version: (1.0 if version == "1" else 0.5) + world.rows % 7 / 100
        ended = dict[str, Any]()
        for _ in range(8):
            await world.requests(8)
            ended = await world.look()
            if ended["rollout"].over:
                break
        judged = {each.guard: each for each in ended["rollout"].decision.judged}
        assert ended["rollout"].over
        assert "metric" in ended["recommendation"].reason
        assert judged["metric"].canary + 0.3 < judged["metric"].control
        assert judged["cost"].canary > 0
        assert judged["cost"].canary_samples == judged["metric"].canary_samples
