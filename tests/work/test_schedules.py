"""Trainings by the clock and by new data, on a stepped clock."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from agents.cost.optimization_rules import Optimizations
from agents.policies import Dataset, ModelPolicy, Policies, Training
from agents.requests import Request, request_of
from api.store import alerts, events, experiments, incidents
from api.store.database import Database
from api.work.intake import Intake
from api.work.schedules import Schedules
from tests.twins.clock import SteppedClock
from tests.twins.datasets import TwinHistories
from tests.twins.predictions import TwinPredictions
from tests.twins.registry import TwinRegistry
from tools.predictions.records import LabelRecord, PredictionRecord
from tools.quality.arrivals import Arrivals
from tools.quality.history import PastBatch
from tools.registry.port import Alias

MODEL = "flights"
HOUR = timedelta(hours=1)


class Timely:
    def __init__(self, database: Database, **rules: object) -> None:
        self.database, self.clock = database, SteppedClock()
        self.predictions, self.registry, self.lake = TwinPredictions(), TwinRegistry(self.clock), TwinHistories()
        training = Training.model_validate({"command": ["train"], **rules})
        datasets = {"raw": Dataset(model=MODEL), "weather": Dataset(model=MODEL), "orders": Dataset(model="another")}
        self.policies = Policies(models={MODEL: ModelPolicy(training=training)}, datasets=datasets)
        self.restart()

    def restart(self) -> None:
        intake = Intake(self.database, lambda: self.policies, self.clock)
        arrivals = Arrivals(self.lake, self.clock)
        self.schedules = Schedules(
            self.database, intake, self.predictions, self.registry, lambda: self.policies, self.clock, arrivals
        )

    def store(self, table: str, *, refused: str | None = None) -> None:
        """A batch, now."""
        batches = self.lake.of.setdefault(table, [])
        key = f"b{len(batches)}"
        batches.append(PastBatch(key=key, name=key, at=self.clock.now(), rows=9, quarantined=0, refused=refused))

    async def requests(self) -> list[Request]:
        async with self.database.read() as session:
            page = await incidents.page(session, limit=100)
            found = [await alerts.of_incident(session, each.id) for each in page.items]
        every = [request_of([alerts.to_alert(record)]) for records in found for record in records]
        return [each for each in every if each is not None]

    async def label(self, count: int) -> None:
        micros = int(self.clock.now().timestamp() * 1e6)
        for number in range(count):
            key = f"{micros}-{number}"
            record = PredictionRecord(
                id=key,
                model=MODEL,
                version="1",
                at=micros + number,
                entity="e",
                latency_us=1,
                features={},
                prediction="late",
                score=0.5,
            )
            self.predictions.add([record, LabelRecord(id=key, model=MODEL, at=micros, label="late")])


Make = Callable[..., Timely]


@pytest.fixture
def timely(database: Database) -> Make:
    return lambda **rules: Timely(database, **rules)


async def test_a_schedule_begins_with_its_next_moment_and_asks_once_for_each(timely: Make) -> None:
    world = timely(schedule="0 * * * *")
    assert await world.schedules.once() == 0
    world.clock.pass_(HOUR)
    assert [await world.schedules.once() for _ in range(3)] == [1, 0, 0]
    (request,) = await world.requests()
    assert (request.kind, request.by, request.reason) == ("retrain", "schedule:cron", "by its schedule, 0 * * * *")


async def test_a_night_without_the_service_is_asked_for_once(timely: Make) -> None:
    world = timely(schedule="0 * * * *")
    await world.schedules.once()
    world.clock.pass_(9 * HOUR)
    world.restart()
    assert [await world.schedules.once() for _ in range(2)] == [1, 0]
    assert len(await world.requests()) == 1


async def test_a_model_s_cost_is_looked_through_by_its_own_schedule_or_that_of_all(timely: Make) -> None:
    world = timely()
    world.registry.publish("other")
    world.policies = world.policies.model_copy(
        update={
            "models": {MODEL: ModelPolicy(optimizations=Optimizations(review="30 * * * *"))},
            "optimizations": Optimizations(review="0 * * * *"),
        }
    )
    assert await world.schedules.once() == 0
    world.clock.pass_(HOUR / 2)
    assert [await world.schedules.once() for _ in range(2)] == [1, 0]
    world.clock.pass_(HOUR / 2)
    assert await world.schedules.once() == 1
    told = {(each.kind, each.model, each.by) for each in await world.requests()}
    assert told == {("cost-review", MODEL, "schedule:cost-review"), ("cost-review", "other", "schedule:cost-review")}


async def test_while_an_experiment_is_under_way_nothing_is_asked_for_and_that_is_told_once(timely: Make) -> None:
    world = timely(schedule="0 * * * *")
    await world.schedules.once()
    row = {
        "proposal_id": "run-1/1",
        "run_id": "run-1",
        "incident_id": "inc-1",
        "model": MODEL,
        "control": "1",
        "plan": {},
        "rules": {},
        "status": "running",
        "ending": "",
        "look": None,
        "reason": "",
        "began_at": world.clock.now(),
    }
    async with world.database.begin() as transaction:
        await experiments.keep(transaction, row, at=world.clock.now())
    for _ in range(3):
        world.clock.pass_(HOUR)
        assert await world.schedules.once() == 0
    async with world.database.read() as session:
        told = await events.after(session, "inc-1", 0, limit=9)
    assert [(each.name, each.data["by"]) for each in told] == [("training.held_back", "schedule:cron")]
    async with world.database.begin() as transaction:
        await experiments.keep(transaction, {**row, "status": "stopped"}, at=world.clock.now())
    assert [await world.schedules.once() for _ in range(2)] == [1, 0]


async def test_enough_new_labels_ask_once_until_another_version_has_learnt_from_them(timely: Make) -> None:
    world = timely(new_predictions=50)
    until = world.clock.now()
    world.registry.publish(MODEL, tags={"data.to": until.isoformat()})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "1")
    world.clock.pass_(HOUR)
    await world.label(49)
    world.clock.pass_(HOUR)
    assert await world.schedules.once() == 0
    await world.label(1)
    world.clock.pass_(HOUR)
    assert [await world.schedules.once() for _ in range(2)] == [1, 0]
    (request,) = await world.requests()
    assert (request.by, request.reason.startswith("50 labelled predictions")) == ("schedule:new_data", True)
    world.registry.publish(MODEL, tags={"data.to": world.clock.now().isoformat()})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "2")
    world.clock.pass_(HOUR)
    await world.label(60)
    world.clock.pass_(HOUR)
    assert await world.schedules.once() == 1


async def test_enough_new_batches_of_what_feeds_the_model_ask_as_well(timely: Make) -> None:
    world = timely(new_batches=3, new_predictions=1_000)
    world.store("raw")
    world.clock.pass_(HOUR)
    world.registry.publish(MODEL, tags={"data.to": world.clock.now().isoformat()})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "1")
    world.clock.pass_(HOUR)
    for table in ("raw", "weather", "orders", "orders"):
        world.store(table)
    world.store("raw", refused="half of it is null")
    assert await world.schedules.once() == 0
    world.store("raw")
    world.clock.pass_(HOUR / 2)
    assert [await world.schedules.once() for _ in range(3)] == [0, 0, 0], "the lake is looked at once in an hour"
    assert world.lake.asked == {"raw": 1, "weather": 1}
    world.clock.pass_(HOUR / 2)
    assert [await world.schedules.once() for _ in range(2)] == [1, 0]
    (request,) = await world.requests()
    assert request.reason.startswith("3 batches of raw, weather have come since the data of version 1 ended")


async def test_a_lake_that_is_away_holds_up_no_other_reason(timely: Make) -> None:
    world = timely(new_batches=1, new_predictions=50, schedule="0 * * * *")
    world.lake.away = True
    world.registry.publish(MODEL, tags={"data.to": world.clock.now().isoformat()})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "1")
    await world.schedules.once()
    world.clock.pass_(HOUR)
    world.store("raw")
    assert await world.schedules.once() == 1
    world.lake.away = False
    world.clock.pass_(HOUR / 12)
    assert await world.schedules.once() == 1


async def closed(world: Timely) -> None:
    """The training of the open incident has failed."""
    async with world.database.begin() as transaction:
        (latest, *_) = (await incidents.page(transaction, limit=1)).items
        await incidents.close(transaction, latest.id, "escalated", at=world.clock.now(), summary="it ran out of memory")


async def test_a_training_that_failed_is_asked_for_again_after_the_cooldown(timely: Make) -> None:
    world = timely(new_predictions=50, cooldown="PT12H")
    world.registry.publish(MODEL, tags={"data.to": world.clock.now().isoformat()})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "1")
    world.clock.pass_(30 * HOUR)
    await world.label(60)
    world.clock.pass_(HOUR)
    assert [await world.schedules.once() for _ in range(2)] == [1, 0]
    for _ in range(3):
        await closed(world)
        world.clock.pass_(11 * HOUR)
        assert await world.schedules.once() == 0
        world.clock.pass_(HOUR)
        world.restart()
        assert [await world.schedules.once() for _ in range(2)] == [1, 0]
    async with world.database.read() as session:
        assert len((await incidents.page(session, limit=10)).items) == 4


async def test_without_a_cooldown_it_is_not_asked_for_at_every_look(timely: Make) -> None:
    world = timely(new_predictions=50, cooldown="PT0S")
    world.registry.publish(MODEL, tags={"data.to": world.clock.now().isoformat()})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "1")
    world.clock.pass_(HOUR)
    await world.label(60)
    asked = 0
    for _ in range(12):
        world.clock.pass_(HOUR / 4)
        asked += await world.schedules.once()
    assert asked == 3


async def test_two_replicas_ask_again_once(timely: Make) -> None:
    world, other = timely(new_predictions=50), timely(new_predictions=50)
    other.clock, other.predictions, other.registry = world.clock, world.predictions, world.registry
    other.restart()
    world.registry.publish(MODEL, tags={"data.to": world.clock.now().isoformat()})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "1")
    world.clock.pass_(HOUR)
    await world.label(60)
    world.clock.pass_(HOUR)
    assert await world.schedules.once() == 1
    await closed(world)
    world.clock.pass_(13 * HOUR)
    await asyncio.gather(world.schedules.once(), other.schedules.once())
    assert len(await world.requests()) == 2


async def test_without_a_command_nothing_is_asked_for(timely: Make) -> None:
    world = timely(command=None, schedule="* * * * *")
    world.clock.pass_(HOUR)
    assert await world.schedules.once() == 0


def test_the_latest_moment_of_a_schedule() -> None:
    from agents.schedules import latest

    monday = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
    assert latest("0 3 * * 1", monday) == monday
    assert latest("0 3 * * 1", monday + timedelta(days=2)) == monday
    assert latest("0 3 * * 1", monday - timedelta(seconds=1)) == monday - timedelta(days=7)


@pytest.mark.parametrize("text", ["", "every hour", "61 * * * *", "* * * *", "0 0 3 * * 1"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="five fields"):
        Training(schedule=text)


@pytest.mark.parametrize("until", ["2026-01-01", "2026-01-01T06:00:00"])
async def test_a_time_without_a_zone_is_taken_as_utc(timely: Make, until: str) -> None:
    world = timely(new_predictions=5)
    world.registry.publish(MODEL, tags={"data.to": until})
    world.registry.move_externally(MODEL, Alias.CHAMPION, "1")
    world.clock.pass_(HOUR)
    await world.label(5)
    world.clock.pass_(HOUR)
    assert await world.schedules.once() == 1
