"""Money as a signal over HTTP: a booked ledger, what is unusual in it, its incident, the forecast and the budgets."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents.cost.rules import Budget, CostSignals
from agents.policies import Policies
from api.store.database import Database
from api.work.costs import CostWatch
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform, running
from tests.e2e.terminal import Terminal
from tests.twins.clock import SteppedClock
from tests.twins.costs import TwinCosts
from tests.twins.spending import HOUR, spend
from tools.costs.clickhouse import ClickHouseLedger
from tools.costs.port import Amount, CostLedger, Question
from tools.errors import PermanentError
from tools.predictions.clickhouse import open_store

BUDGETS = (
    Budget(amount=Decimal(3000), currency="USD"),
    Budget(of="model", name="loans", amount=Decimal(9000), currency="USD"),
)
POLICIES = Policies(cost=CostSignals(budgets=BUDGETS))


async def get(platform: Platform, path: str, **query: Any) -> dict[str, Any]:
    answer = await platform.viewer.get(f"/v1/costs/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def spike(platform: Platform, costs: CostLedger) -> CostWatch:
    """Forty quiet days, and then four hours in which one model costs three times as much."""
    services = platform.services
    watch = CostWatch(services.database, services.intake, costs, services.jobs, services.policies, platform.clock)
    now = platform.clock.now()
    await spend(costs, now - timedelta(days=40), now)
    await watch.once()
    platform.clock.pass_(6 * HOUR)
    await spend(costs, now, platform.clock.now(), factor=lambda model, _: 3.0 if model == "churn" else 1.0)
    await watch.once()
    return watch


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[CostLedger]:
    """The real one."""
    store = open_store(f"chdb://{tmp_path}")
    yield ClickHouseLedger(store.engine)
    await store.close()


async def test_a_spike_is_an_alert_an_incident_and_an_anomaly_with_its_cause(database: Database, ledger: CostLedger) -> None:
    async with running(database, SteppedClock(), costs=ledger, policies=lambda: POLICIES) as platform:
        await spike(platform, ledger)
        alerts = (await platform.viewer.get("/v1/alerts")).json()["items"]
        (alert,) = (each for each in alerts if each["name"] == "CostUnusual")
        incidents = (await platform.viewer.get("/v1/incidents")).json()["items"]
        (incident,) = (each for each in incidents if each["subject"] == "component:costs:model:churn")
        found = await get(platform, "anomalies")

    assert alert["incident_id"] == incident["id"]
    assert alert["labels"]["monitor"] == "cost"
    anomaly = next(each for each in found["items"] if each["name"] == "churn")
    assert (anomaly["dimension"], anomaly["rule"], anomaly["open"]) == ("model", "seasonal", True)
    assert Decimal(anomaly["excess"]) == Decimal(anomaly["actual"]) - Decimal(anomaly["expected"])
    assert anomaly["share"] == pytest.approx(2.0, abs=0.2)
    origin = anomaly["origin"]
    assert Decimal(origin["by_price"]) + Decimal(origin["by_usage"]) == Decimal(origin["after"]) - Decimal(origin["before"])
    assert len(origin["compared_with"]) == 3
    assert any("serving CPU serving" in sentence for sentence in origin["sentences"])
    assert found["series"] == 3


async def test_the_forecast_is_what_is_spent_and_what_is_to_come(database: Database) -> None:
    ledger = TwinCosts()
    async with running(database, SteppedClock(), costs=ledger, policies=lambda: POLICIES) as platform:
        await spike(platform, ledger)
        month, day = await get(platform, "forecast"), await get(platform, "forecast", every="day")
        own = await get(platform, "forecast", model="loans")
    for found in (month, day, own):
        (usd,) = found["items"]
        assert Decimal(usd["expected"]) == Decimal(usd["spent"]) + sum(Decimal(each["cost"]) for each in usd["to_come"])
        assert Decimal(usd["low"]) <= Decimal(usd["expected"]) <= Decimal(usd["high"])
        assert usd["to_come"][-1]["end"] == found["end"]
    assert (month["start"], day["start"]) == ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    assert Decimal(own["items"][0]["expected"]) < Decimal(month["items"][0]["expected"]) / 2
    assert Decimal(month["items"][0]["going_on"]) > 0
    assert [(each["of"], each["standing"]) for each in month["budgets"]] == [("whole", "will not do"), ("model", "will do")]
    assert [each["name"] for each in own["budgets"]] == ["loans"]
    assert month["budgets"][0]["exhausted_at"] > month["until"]


async def test_the_commands_tell_the_same(database: Database) -> None:
    ledger = TwinCosts()
    async with running(database, SteppedClock(), costs=ledger, policies=lambda: POLICIES) as platform:
        terminal = Terminal(platform, "viewer")
        assert (await terminal.run("costs", "anomalies")).stdout == "Nothing is booked yet.\n"
        await spike(platform, ledger)
        shown = (await terminal.run("costs", "anomalies")).stdout
        assert "goes on           Model churn cost USD" in shown
        assert "    It is usage" in shown
        assert (await terminal.json("costs", "anomalies"))["series"] == 3
        ahead = (await terminal.run("costs", "forecast", "--model", "loans")).stdout
        assert "to be expected by 2026-04-01 00:00 UTC" in ahead
        assert "░  will do: Of USD 9,000.00 a month for model loans" in ahead
        assert (await terminal.json("costs", "forecast", "--every", "day"))["end"] == "2026-03-03T00:00:00Z"


async def test_without_anything_booked_that_is_said(platform: Platform) -> None:
    assert await get(platform, "anomalies") == {
        "until": None,
        "looked_from": None,
        "series": 0,
        "items": [],
        "plainly": [],
    }
    assert (await get(platform, "forecast"))["until"] is None


async def test_too_little_history_is_said_with_the_rule_that_judges(platform: Platform) -> None:
    costs = platform.services.costs
    assert isinstance(costs, TwinCosts)
    await spend(costs, platform.clock.now() - timedelta(days=10), platform.clock.now())
    found = await get(platform, "anomalies")
    assert {each["name"] for each in found["plainly"]} == {"", "churn", "loans"}
    assert all("not enough history" in each["reason"] for each in found["plainly"])
    (usd,) = (await get(platform, "forecast"))["items"]
    assert (usd["method"], usd["low"]) == ("mean", None)


async def test_what_cannot_be_asked_is_refused(platform: Platform) -> None:
    assert fields(refused(await platform.viewer.get("/v1/costs/forecast?every=week"), 422, "invalid")) == ["every"]
    assert fields(refused(await platform.viewer.get("/v1/costs/forecast?team=%00"), 422, "invalid")) == ["team"]
    refused(await platform.anybody.get("/v1/costs/anomalies"), 401, "unauthenticated")
    costs = platform.services.costs
    assert isinstance(costs, TwinCosts)
    costs.go_down()
    refused(await platform.viewer.get("/v1/costs/anomalies"), 503, "unavailable")


class Refusing(TwinCosts):
    """A ledger that never answers in so many cells."""

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:
        raise PermanentError("by: more than 100,000 cells; ask for fewer dimensions, longer steps or a shorter window")


@pytest.mark.parametrize("path", ["anomalies", "forecast"])
async def test_what_the_ledger_will_not_answer_is_a_problem_that_says_so(database: Database, path: str) -> None:
    clock = SteppedClock()
    costs = Refusing()
    await spend(costs, clock.now() - timedelta(hours=6), clock.now())
    async with running(database, clock, costs=costs) as platform:
        problem = refused(await platform.viewer.get(f"/v1/costs/{path}"), 422, "invalid")
    assert fields(problem) == ["policy.cost"]
    assert "more than 100,000 cells" in problem["errors"][0]["detail"]
