"""Costs are looked at once a window; what is unusual enters as any alert does, once, and is over when it is over."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents.alerts import Alert
from agents.cost.review import review
from agents.cost.rules import Budget, CostSignals
from agents.evidence import Cause
from agents.policies import Policies
from api.store import incidents, monitors
from api.store.alerts import page as alerts_page
from api.store.database import Database
from api.work.costs import CostWatch
from api.work.intake import Intake
from graphs.costing import survey
from graphs.spending import surge
from tests.twins.clock import SteppedClock
from tests.twins.costs import TwinCosts
from tests.twins.jobs import Play, TwinJobs
from tests.twins.ledger import TwinLedger
from tests.twins.predictions import TwinPredictions
from tests.twins.quarantines import TwinQuarantines
from tests.twins.registry import TwinRegistry
from tests.twins.serving import TwinServing
from tests.twins.spending import HOUR, TRAINING, USUAL, book, booked, cores, spend
from tests.twins.telemetry import RememberedTelemetry
from tools.costs.absent import AbsentCosts
from tools.costs.port import Dimension
from tools.errors import TemporaryError
from tools.jobs.port import MIB, JobSpec, Phase, Resources
from tools.rollouts.gateway import GatewayTraffic
from tools.toolbox import Readers

DAYS = 36


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """Standings are tested on both databases with the other monitors."""
    return sqlite_database_url


class Watched:
    """Two models with five quiet weeks behind them."""

    def __init__(self, database: Database, policies: Policies | None = None, costs: Any = None) -> None:
        self.database, self.clock, self.costs = database, SteppedClock(), costs or TwinCosts()
        self.jobs, self.policies = TwinJobs(self.clock), policies or Policies()
        self.intake = Intake(database, lambda: self.policies, self.clock)
        self.watch = CostWatch(database, self.intake, self.costs, self.jobs, lambda: self.policies, self.clock)
        self.told = self.clock.now() - timedelta(days=DAYS)

    async def pass_(self, hours: int, factor: Any = lambda model, at: 1.0, **given: Any) -> None:
        """Hours pass, are booked, and are looked at."""
        self.clock.pass_(hours * HOUR)
        await spend(self.costs, self.told, self.clock.now(), factor=factor, **given)
        self.told = self.clock.now()
        await self.watch.once()

    async def alerts(self) -> list[tuple[str, str, str]]:
        async with self.database.read() as session:
            page = await alerts_page(session, limit=50)
        return sorted((each.name, each.labels["dimension"], each.status) for each in page.items)

    async def labels(self) -> dict[str, str]:
        async with self.database.read() as session:
            (alert,) = (await alerts_page(session, limit=50)).items
        return {**alert.labels, "summary": alert.annotations["summary"]}

    async def incidents(self) -> list[str]:
        async with self.database.read() as session:
            return [each.subject for each in (await incidents.page(session, limit=50)).items]


@pytest.fixture
async def watched(database: Database) -> Watched:
    found = Watched(database)
    await found.pass_(0)
    return found


def more(model: str, factor: float) -> Any:
    return lambda name, at: factor if name == model else 1.0


async def test_usual_hours_wake_nobody(watched: Watched) -> None:
    await watched.pass_(30)
    assert await watched.alerts() == []


async def test_a_spike_of_one_model_is_its_incident_and_raised_once(watched: Watched) -> None:
    for _ in range(3):
        await watched.pass_(3, more("churn", 3.0))
    assert await watched.alerts() == [("CostUnusual", "model", "firing")]
    assert await watched.incidents() == ["component:costs:model:churn"]
    told = await watched.labels()
    assert {key: told[key] for key in ("kind", "monitor", "model", "currency", "rule")} == {
        "kind": "cost",
        "monitor": "cost",
        "model": "churn",
        "currency": "USD",
        "rule": "seasonal",
    }
    assert float(told["excess"]) > 1
    assert "Model churn cost USD" in told["summary"]
    assert "It is usage" in told["summary"]


async def test_it_is_over_a_day_after_the_last_hour_that_was_too_much(watched: Watched) -> None:
    await watched.pass_(6, more("churn", 3.0))
    await watched.pass_(6)
    assert await watched.alerts() == [("CostUnusual", "model", "firing")]
    await watched.pass_(30)
    assert await watched.alerts() == [("CostUnusual", "model", "resolved")]


async def test_a_price_that_rises_is_told_from_usage(database: Database) -> None:
    watched = Watched(database)
    prices = book(("1", "2020-01-01T00:00:00Z"), ("1.6", "2026-03-02T09:00:00Z"))
    await watched.pass_(0, prices=prices)
    for _ in range(2):
        await watched.pass_(6, prices=prices)
    # Two models are few enough to be named, and nobody's volume is a small part.
    assert await watched.alerts() == [("CostUnusual", "model", "firing")] * 2
    async with database.read() as session:
        summaries = [each.annotations["summary"] for each in (await alerts_page(session, limit=50)).items]
    assert all("of the rise is a change of price: the same usage costs USD" in each for each in summaries)


async def test_trainings_in_parallel_are_named_as_the_cause(watched: Watched) -> None:
    spec = JobSpec(
        model="churn",
        team="growth",
        run_id="run_1",
        command=("train",),
        environment={"OPPEN_WINDOW_START": "2026-02-01T00:00:00Z", "OPPEN_WINDOW_END": "2026-03-01T00:00:00Z"},
        resources=Resources(cpu=4, memory_bytes=64 * MIB),
        deadline=timedelta(days=1),
    )
    for name in ("a", "b", "c"):
        job = await watched.jobs.submit(name, spec)
        watched.jobs.go_on(job.name, Play(Phase.RUNNING))
    watched.clock.pass_(8 * HOUR)
    now = watched.clock.now()
    usages = [
        cores(
            now - hour * HOUR,
            4,
            key=f"job:{name}:{hour}",
            owner=TRAINING.model_copy(update={"model": "churn", "workload": name}),
        )
        for name in ("a", "b", "c")
        for hour in range(1, 9)
    ]
    await booked(watched.costs, usages)
    await watched.pass_(0)
    told = await watched.labels()
    assert "3 training runs of churn in parallel on the same data" in told["summary"]
    assert "training CPU hours" in told["summary"]
    found = await surge(Dimension.MODEL, "churn", watched.costs, watched.jobs, watched.policies.cost, watched.clock.now())
    assert found is not None
    assert found[1].together[0].same_data
    assert (
        await surge(Dimension.MODEL, "loans", watched.costs, watched.jobs, watched.policies.cost, watched.clock.now()) is None
    )


async def test_a_late_correction_takes_the_alert_back(watched: Watched) -> None:
    now = watched.clock.now()
    owner = TRAINING.model_copy(update={"model": "churn"})
    await booked(watched.costs, [cores(now + hour * HOUR, 30, key=f"odd:{hour}", owner=owner) for hour in range(4)])
    await watched.pass_(8)
    assert await watched.alerts() == [("CostUnusual", "model", "firing")]
    await booked(watched.costs, [cores(now + hour * HOUR, 0, key=f"odd:{hour}", revision=1, owner=owner) for hour in range(4)])
    await watched.pass_(1)
    assert await watched.alerts() == [("CostUnusual", "model", "resolved")]


async def test_between_two_windows_the_ledger_is_left_alone(watched: Watched) -> None:
    watched.costs.go_down()
    assert await watched.watch.once() == 0
    watched.clock.pass_(HOUR)
    with pytest.raises(TemporaryError):
        await watched.watch.once()
    watched.costs.come_back()
    assert await watched.watch.once() > 0


async def test_a_ledger_that_nobody_tells_anything_says_nothing(watched: Watched) -> None:
    watched.clock.pass_(timedelta(days=3))
    assert await watched.watch.once() == 0


async def test_without_a_ledger_or_an_order_to_nothing_is_looked_at(database: Database) -> None:
    assert await Watched(database, costs=AbsentCosts()).watch.once() == 0
    assert await Watched(database).watch.once() == 0  # nothing is booked
    off = Watched(database, Policies(cost=CostSignals(enabled=False)))
    await off.pass_(0)
    async with database.read() as session:
        assert await monitors.listing(session) == []


async def test_a_budget_that_will_not_do_is_raised_before_it_is_spent(database: Database) -> None:
    def budget(amount: str, **given: Any) -> Budget:
        return Budget.model_validate({"amount": amount, "currency": "USD"} | given)

    # About 6.5 an hour is 4,800 in March, of which 200 are spent on its second day.
    budgets = (budget("3000"), budget("50", of="team", name="risk"), budget("9000", of="model", name="loans"))
    watched = Watched(database, Policies(cost=CostSignals(budgets=budgets)))
    await watched.pass_(0)
    await watched.pass_(1)
    assert await watched.alerts() == [("BudgetAtRisk", "team", "firing"), ("BudgetAtRisk", "whole", "firing")]
    assert sorted(await watched.incidents()) == ["component:costs", "component:costs:team:risk"]
    async with database.read() as session:
        alerts = {each.labels["dimension"]: each for each in (await alerts_page(session, limit=50)).items}
    assert (alerts["team"].severity, alerts["whole"].severity) == ("critical", "warning")
    assert all(each.labels["monitor"] == "cost" for each in alerts.values())
    assert "it is used up at 2026-03-2" in alerts["whole"].annotations["summary"]


async def test_a_long_name_still_stands_somewhere(database: Database) -> None:
    long = "x" * 200
    watched = Watched(
        database, Policies(cost=CostSignals(budgets=(Budget(of="model", name=long, amount=Decimal(1), currency="USD"),)))
    )
    now = watched.clock.now()
    await booked(watched.costs, [cores(now - 4 * HOUR, 3, key="one", owner=TRAINING.model_copy(update={"model": long}))], USUAL)
    await watched.pass_(0)
    await watched.pass_(1)
    async with database.read() as session:
        assert all(len(each.subject) <= 220 for each in await monitors.listing(session))


async def test_who_looks_into_it_says_where_it_comes_from(database: Database) -> None:
    watched = Watched(database)
    prices = book(("1", "2020-01-01T00:00:00Z"), ("1.6", "2026-03-02T09:00:00Z"))
    await watched.pass_(0, prices=prices)
    await watched.pass_(6, prices=prices)
    registry, serving = TwinRegistry(watched.clock), TwinServing()
    readers = Readers(
        registry=registry,
        serving=serving,
        predictions=TwinPredictions(),
        telemetry=RememberedTelemetry(),
        quarantines=TwinQuarantines(watched.clock),
        jobs=watched.jobs,
        traffic=GatewayTraffic(serving),
        costs=watched.costs,
    )
    now, labels = watched.clock.now(), {"monitor": "cost", "kind": "cost", "currency": "USD"}
    for dimension in ({"dimension": "whole"}, {"dimension": "model", "model": "churn"}):
        alert = Alert(
            source="monitor", fingerprint="f", status="firing", name="CostUnusual", labels=labels | dimension, starts_at=now
        )
        case = await survey([alert], None, readers, TwinLedger(watched.clock), watched.policies, None, now)
        assert case.rise is not None
        finding = review(case, watched.policies, now).recommendation.finding
        assert "rise" in {each.id for each in finding.evidence}
    whole = review(case.model_copy(update={"model": None, "change": None}), watched.policies, now).recommendation.finding
    assert whole.cause is Cause.PRICE_CHANGE
    assert "is a change of prices, not of usage" in whole.summary
