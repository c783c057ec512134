"""From what is used to the bill: each reading of the meters books what is new, once, whatever comes in between."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from agents.experiment_facts import Goal
from agents.experiment_plans import Plan, Treatment
from agents.policies import ModelPolicy, Policies, Training
from agents.training import JOB_TAG
from api.store import experiments
from api.store.database import Database
from api.work.metering import Metering
from api.work.meters import Meters, Places, Sources
from api.work.trials import Trials
from tests.twins.clock import START, SteppedClock
from tests.twins.costs import TwinCosts
from tests.twins.jobs import Play, TwinJobs
from tests.twins.predictions import TwinPredictions
from tests.twins.registry import TwinRegistry
from tests.twins.serving import TwinServing
from tools.costs.list_prices import LIST_PRICES
from tools.costs.port import Dimension, Question
from tools.costs.prices import PriceBook
from tools.errors import TemporaryError
from tools.jobs.port import MIB, JobSpec, Phase, Resources
from tools.jobs.port import Usage as Used
from tools.predictions.port import Work
from tools.predictions.records import PredictionRecord
from tools.values import Window

MODEL = "flights"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GIB_HOUR = Decimal("0.004237")
CORE_HOUR = Decimal("0.031611")
POLICIES = Policies(models={MODEL: ModelPolicy(training=Training(team="search"))})


class World:
    """Twins, and the meters that read them; `restart` is another process on the same ledger."""

    def __init__(self, database: Database, *, book: PriceBook = LIST_PRICES, **sources: object) -> None:
        self.clock = SteppedClock()
        self.jobs, self.predictions, self.serving = TwinJobs(self.clock), TwinPredictions(), TwinServing()
        self.costs, self.registry = TwinCosts(), TwinRegistry(self.clock)
        self.database = database
        self._book = book
        self._sources = Sources(
            jobs=self.jobs,
            predictions=self.predictions,
            serving=self.serving,
            registry=self.registry,
            **sources,  # type: ignore[arg-type]
        )
        self.restart()

    def restart(self) -> None:
        meters = Meters(self.costs, self._book, self._sources, lambda: POLICIES, Trials(self.database).of)
        self.metering = Metering(self.database, self.costs, self._book, meters, self.jobs, self.clock)

    async def serve(self) -> None:
        await self.serving.set_weights(MODEL, {"1": 100}, expected_generation=0, key="k")

    def predict(self, seconds: float, *, version: str = "1", ago: timedelta = MINUTE) -> None:
        at = round((self.clock.now() - ago).timestamp() * 1_000_000)
        record = PredictionRecord(
            id=str(at), model=MODEL, version=version, at=at, entity="e", latency_us=1, features={"x": 1.0}, cpu_us=seconds * 1e6
        )
        self.predictions.add([record])

    async def cost(self, **where: str) -> dict[str, Decimal]:
        """By part."""
        question = Question(
            window=Window(start=START - timedelta(days=30), end=START + timedelta(days=30)),
            by=(Dimension.PART,),
            where={Dimension(name): (value,) for name, value in where.items()},
        )
        return {amount.at[Dimension.PART]: amount.cost for amount in await self.costs.breakdown(question)}


def spec(**changes: object) -> JobSpec:
    given: dict[str, object] = {
        "model": MODEL,
        "team": "search",
        "run_id": "run-1",
        "command": ("train",),
        "resources": Resources(cpu=2, memory_bytes=1024 * MIB),
        "deadline": HOUR,
    }
    return JobSpec.model_validate(given | changes)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


async def test_a_job_is_on_the_bill_while_it_runs_and_in_full_when_it_is_over(world: World) -> None:
    job = await world.jobs.submit("training", spec())
    world.clock.pass_(30 * MINUTE)
    await world.metering.once()
    assert await world.cost(workload=job.name) == {"CPU hours": CORE_HOUR, "memory": GIB_HOUR / 2}
    world.clock.pass_(30 * MINUTE)
    world.jobs.go_on(job.name, Play(Phase.SUCCEEDED))
    await world.metering.once()
    world.clock.pass_(3 * HOUR)
    assert await world.metering.once() == 0
    assert await world.cost(team="search") == {"CPU hours": 2 * CORE_HOUR, "memory": GIB_HOUR}


async def test_what_a_job_has_cost_is_not_waited_for(world: World) -> None:
    await world.metering.once()
    job = await world.jobs.submit("training", spec())
    world.clock.pass_(10 * timedelta(seconds=1))
    world.jobs.go_on(job.name, Play(Phase.FAILED))
    assert await world.metering.once() > 0
    assert await world.cost(workload=job.name) != {}
    assert await world.metering.once() == 0


async def test_another_process_books_nothing_twice(world: World) -> None:
    await world.serve()
    job = await world.jobs.submit("training", spec())
    await world.metering.once()
    world.clock.pass_(20 * MINUTE)
    world.predict(60)
    world.jobs.go_on(job.name, Play(Phase.SUCCEEDED))
    await world.metering.once()
    before = await world.cost()
    world.restart()
    assert await world.metering.once() == 0
    assert await world.cost() == before
    # It goes on where the other one stopped: nothing is lost in between either.
    world.clock.pass_(2 * HOUR)
    world.restart()
    await world.metering.once()
    assert (await world.cost())["CPU serving"] == CORE_HOUR * (140 * MINUTE // MINUTE) / 60


async def test_idle_and_used_time_are_what_is_held(world: World) -> None:
    await world.serve()
    await world.metering.once()
    world.clock.pass_(HOUR)
    world.predict(900)
    await world.metering.once()
    assert await world.cost(version="1") == {"CPU serving": CORE_HOUR / 4}
    assert await world.cost(version="") == {"CPU serving": CORE_HOUR * 3 / 4}
    assert await world.cost(team="search") == {"CPU serving": CORE_HOUR}


async def test_late_records_correct_their_hour(world: World) -> None:
    await world.serve()
    await world.metering.once()
    world.clock.pass_(3 * HOUR)
    await world.metering.once()
    world.predict(1800, ago=150 * MINUTE)
    world.clock.pass_(11 * MINUTE)
    await world.metering.once()
    assert await world.cost(version="1") == {"CPU serving": CORE_HOUR / 2}
    first_hour = Question(window=Window(start=START, end=START + HOUR))
    (whole,) = await world.costs.breakdown(first_hour)
    assert whole.cost == CORE_HOUR


async def test_records_that_come_days_late_are_found_within_a_day(world: World) -> None:
    await world.serve()
    await world.metering.once()
    for _ in range(36):
        world.clock.pass_(HOUR)
        await world.metering.once()
    before = (await world.cost())["CPU serving"]
    world.predict(1800, ago=30 * HOUR)
    for _ in range(24):
        world.clock.pass_(HOUR)
        await world.metering.once()
    assert await world.cost(version="1") == {"CPU serving": CORE_HOUR / 2}
    # It was held, and taken for idle.
    assert (await world.cost())["CPU serving"] == before + 24 * CORE_HOUR


async def test_a_gateway_that_is_away_holds_nothing(world: World) -> None:
    await world.serve()
    await world.metering.once()
    world.clock.pass_(30 * MINUTE)
    await world.metering.once()
    world.serving.go_down()
    world.clock.pass_(HOUR)
    await world.metering.once()
    world.clock.pass_(HOUR)
    world.serving.come_back()
    await world.metering.once()
    world.clock.pass_(30 * MINUTE)
    await world.metering.once()
    assert (await world.cost())["CPU serving"] == CORE_HOUR


async def test_a_source_that_is_away_keeps_no_other_from_the_bill(world: World) -> None:
    await world.jobs.submit("training", spec())
    world.clock.pass_(MINUTE)
    world.predictions.go_down()
    with pytest.raises(TemporaryError, match="serving: the prediction store is down"):
        await world.metering.once()
    assert "CPU hours" in await world.cost()
    assert world.metering.until is None
    world.predictions.come_back()
    await world.metering.once()
    assert world.metering.until == world.clock.now()


async def test_a_training_is_the_version_s_that_it_has_made_once_that_is_registered(world: World) -> None:
    job = await world.jobs.submit("training", spec())
    world.clock.pass_(90 * MINUTE)
    await world.metering.once()
    assert set(await world.cost(version="")) == {"CPU hours", "memory"}
    version = world.registry.publish(MODEL, tags={JOB_TAG: job.name})
    world.jobs.go_on(job.name, Play(Phase.SUCCEEDED))
    await world.metering.once()
    # Its first hour, which had been booked in full, as well as its last.
    assert await world.cost(version=version) == {"CPU hours": 3 * CORE_HOUR, "memory": GIB_HOUR * 3 / 2}
    assert not any((await world.cost(version="")).values())
    world.restart()
    assert await world.metering.once() == 0


async def test_a_registry_that_is_away_leaves_a_training_on_the_bill_as_it_was(world: World) -> None:
    job = await world.jobs.submit("training", spec())
    world.clock.pass_(HOUR)
    await world.metering.once()
    version = world.registry.publish(MODEL, tags={JOB_TAG: job.name})
    world.jobs.go_on(job.name, Play(Phase.SUCCEEDED))
    world.registry.go_down()
    await world.metering.once()
    assert (await world.cost(version=""))["CPU hours"] == 2 * CORE_HOUR
    assert world.metering.unread == (f"job {job.name}",)
    world.registry.come_back()
    await world.metering.once()
    assert (await world.cost(version=version))["CPU hours"] == 2 * CORE_HOUR


async def experiment(world: World, status: str = "running") -> str:
    """One of versions 1 and 2, begun (or ended) now."""
    goal = Goal(name="converted", kind="share", better="higher", margin=0.02)
    plan = Plan(treatments=(Treatment(version="2", weight=50),), goal=goal, outcomes_after=HOUR)
    row = {
        "proposal_id": "run/1",
        "run_id": "run",
        "incident_id": "i-1",
        "model": MODEL,
        "control": "1",
        "plan": plan.model_dump(mode="json"),
        "rules": {},
        "status": status,
        "ending": "",
        "look": None,
        "reason": "",
        "began_at": world.clock.now(),
    }
    async with world.database.begin() as transaction:
        await experiments.keep(transaction, row, at=world.clock.now())
    async with world.database.read() as session:
        return (await experiments.page(session)).items[0].id


async def test_what_the_arms_of_an_experiment_answer_while_it_runs_is_the_experiment_s(world: World) -> None:
    world.clock.pass_(HOUR)
    for n, version in enumerate(("1", "2", "3")):
        world.predict(900, version=version, ago=n * MINUTE + MINUTE)  # in the hour before
    id = await experiment(world)
    world.clock.pass_(30 * MINUTE)
    await world.metering.once()
    assert await world.cost(experiment=id) == {}
    for n, version in enumerate(("1", "2", "3")):
        world.predict(900, version=version, ago=n * MINUTE + MINUTE)
    world.clock.pass_(10 * MINUTE)
    await world.metering.once()
    assert await world.cost(experiment=id) == {"CPU serving": CORE_HOUR / 2}
    await experiment(world, status="stopped")
    world.clock.pass_(2 * HOUR)
    world.predict(900)
    await world.metering.once()
    assert await world.cost(experiment=id) == {"CPU serving": CORE_HOUR / 2}
    assert (await world.cost(experiment=""))["CPU serving"] == CORE_HOUR * 5 / 4


def lengths(world: World) -> list[timedelta]:
    """How far back the prediction log is read from now on, each time."""
    found: list[timedelta] = []
    works = world.predictions.works

    async def noted(model: str, window: Window, step: timedelta) -> tuple[Work, ...]:
        found.append(window.length)
        return await works(model, window, step)

    world.predictions.works = noted  # type: ignore[method-assign]
    return found


async def test_a_source_that_is_away_has_no_other_read_more_often_or_further_back(world: World) -> None:
    await world.serve()
    world.predict(1.0)
    read = lengths(world)
    world.jobs.go_down()
    with pytest.raises(TemporaryError, match="jobs: "):
        await world.metering.once()
    for _ in range(3):
        with pytest.raises(TemporaryError, match="jobs: "):
            await world.metering.once()
    assert len(read) == 1
    for _ in range(5):
        world.clock.pass_(MINUTE)
        with pytest.raises(TemporaryError, match="jobs: "):
            await world.metering.once()
    assert len(read) == 6
    # A week when the process starts, and hours from then on.
    assert [length > DAY for length in read] == [True, *[False] * 5]
    assert (world.metering.until, world.metering.unread) == (None, ("jobs",))
    assert "CPU serving" in await world.cost()
    world.jobs.come_back()
    await world.metering.once()
    assert (world.metering.until, world.metering.unread) == (world.clock.now(), ())


async def test_a_ledger_that_takes_nothing_has_the_week_read_every_ten_minutes_and_not_each_time(world: World) -> None:
    await world.serve()
    world.predict(1.0)
    read = lengths(world)
    world.costs.go_down()
    for _ in range(12):
        with pytest.raises(TemporaryError):
            await world.metering.once()
        world.clock.pass_(MINUTE)
    assert len([length for length in read if length > DAY]) == 2
    world.costs.come_back()
    world.clock.pass_(10 * MINUTE)
    await world.metering.once()
    assert read[-1] > DAY


async def test_metered_until_is_what_all_sources_are_booked_to(world: World) -> None:
    await world.serve()
    await world.metering.once()
    before = world.clock.now()
    world.clock.pass_(HOUR)
    world.predictions.go_down()
    with pytest.raises(TemporaryError, match="serving"):
        await world.metering.once()
    assert world.metering.until == before
    assert "serving" in world.metering.unread
    world.predictions.come_back()
    await world.metering.once()
    assert world.metering.until == world.clock.now()


async def test_one_job_that_cannot_be_asked_keeps_no_other_from_the_bill(world: World) -> None:
    silent, other = [await world.jobs.submit(f"training {n}", spec(run_id=f"run-{n}")) for n in range(2)]
    usage = world.jobs.usage

    async def refusing(name: str) -> Used:
        if name == silent.name:
            raise TemporaryError("its node does not answer")
        return await usage(name)

    world.jobs.usage = refusing  # type: ignore[method-assign]
    world.clock.pass_(HOUR)
    await world.metering.once()
    assert await world.cost(workload=other.name) != {}
    assert (world.metering.until, world.metering.unread) == (world.clock.now(), (f"job {silent.name}",))
    world.jobs.usage = usage  # type: ignore[method-assign]
    # It is asked again before all are.
    await world.metering.once()
    assert await world.cost(workload=silent.name) != {}
    assert world.metering.unread == ()


async def test_nothing_is_forgotten_that_a_ledger_out_of_reach_did_not_take(world: World) -> None:
    job = await world.jobs.submit("training", spec())
    world.clock.pass_(HOUR)
    world.jobs.go_on(job.name, Play(Phase.SUCCEEDED))
    world.costs.go_down()
    with pytest.raises(TemporaryError):
        await world.metering.once()
    world.costs.come_back()
    await world.metering.once()
    assert await world.cost() == {"CPU hours": 2 * CORE_HOUR, "memory": GIB_HOUR}


async def test_what_is_there_by_the_hour_costs_by_the_hour(database: Database) -> None:
    world = World(database, load_balancers=2, monitored=True)
    await world.metering.once()
    world.clock.pass_(90 * MINUTE)
    await world.metering.once()
    assert await world.cost() == {"load balancer": 3 * Decimal("0.025"), "Prometheus and Grafana": Decimal("0.0971") * 3 / 2}


async def test_what_is_stored_costs_by_the_month(database: Database, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / "batch.parquet").write_bytes(b"x" * 2**20)
    world = World(database, places=Places(lake=lake))
    world.predict(0)
    await world.metering.once()
    for _ in range(73):
        world.clock.pass_(HOUR)
        await world.metering.once()
    found = await world.cost()
    assert found["storage"].quantize(Decimal("1e-9")) == (Decimal("0.04") / 10 / 1024).quantize(Decimal("1e-9"))
    assert found["inference logging"] > 0
    assert await world.cost(model=MODEL) == {"inference logging": found["inference logging"]}


async def test_what_the_book_has_no_price_of_is_named_and_the_rest_is_booked(database: Database) -> None:
    book = LIST_PRICES.model_copy(update={"prices": tuple(each for each in LIST_PRICES.prices if each.resource != "memory")})
    world = World(database, book=PriceBook.model_validate(book.model_dump(by_alias=True)))
    await world.jobs.submit("training", spec())
    world.clock.pass_(HOUR)
    await world.metering.once()
    assert world.metering.unpriced == ("memory",)
    assert set(await world.cost()) == {"CPU hours"}
