"""Which versions somebody is still at: of open runs, of what they have asked about, and of what is under way."""

from datetime import timedelta
from typing import Any

from agents.experiment_facts import Goal
from agents.experiment_plans import Plan, Treatment
from agents.promotion_rules import Experiments
from agents.requests import Request, to_alert
from api.store import experiments, rollouts
from api.store.actions import ActionLedger
from api.store.database import Database
from api.work.approvals import Approvals
from tests.twins.clock import START, SteppedClock
from tests.work.cases import POLICIES, asked, declined, intake

PLAN = Plan(
    treatments=(Treatment(version="9", weight=20),), goal=Goal(name="errors", kind="share", better="lower", margin=0.01)
)


async def named(database: Database, model: str = "flights") -> set[str]:
    return set(await ActionLedger(database, SteppedClock()).named(model))


async def test_what_people_are_asked_about_is_named_until_its_run_has_ended(database: Database) -> None:
    clock = SteppedClock()
    approvals = Approvals(database, lambda: POLICIES, clock)
    case = await asked(database, approvals, clock)
    assert await named(database) == {"1", "2"}
    assert await named(database, "others") == set()
    await declined(database, approvals, clock, case)
    assert await named(database) == set()


async def test_a_candidate_that_is_evaluated_first_is_named_by_its_request(database: Database) -> None:
    request = Request(kind="promote", model="flights", version="3", by="carol", reason="better on the new routes")
    await intake(database, SteppedClock()).accept([to_alert(request, "trg", START)], actor="carol")
    assert await named(database) == {"3"}
    assert await named(database, "others") == set()


async def test_a_rollout_and_an_experiment_name_their_versions_until_they_are_over(database: Database) -> None:
    both = {"proposal_id": "run_1/1", "run_id": "run_1", "incident_id": "inc_1", "model": "flights", "reason": "", "look": None}
    rollout: dict[str, Any] = both | {"version": "4", "from_version": "3", "stages": [], "stage": 0}
    rollout |= {"stage_since": START, "began_at": START, "status": "running"}
    experiment: dict[str, Any] = both | {"control": "3", "plan": PLAN.model_dump(mode="json"), "began_at": START, "ending": ""}
    experiment |= {"rules": Experiments().model_dump(mode="json"), "status": "running"}
    async with database.begin() as transaction:
        await rollouts.keep(transaction, rollout, at=START)
        await experiments.keep(transaction, experiment, at=START)
    assert await named(database) == {"3", "4", "9"}
    assert await named(database, "others") == set()
    later = START + timedelta(hours=1)
    async with database.begin() as transaction:
        await rollouts.keep(transaction, rollout | {"status": "promoted"}, at=later)
        await experiments.keep(transaction, experiment | {"status": "stopped"}, at=later)
    assert await named(database) == set()
