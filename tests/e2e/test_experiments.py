"""Experiments over HTTP and at a prompt: asked for, shown, stopped, and refused with the field that is to blame."""

from datetime import timedelta
from typing import Any

import pytest

from agents.actions import StartExperiment
from agents.experiment_facts import Goal
from agents.experiment_looks import Look
from agents.experiment_plans import Plan, Treatment
from agents.experiments import Arm, Call, Effect, Outcome
from agents.promotion_rules import Experiments
from agents.requests import request_of
from api.store import alerts, audit, events, experiments, incidents, rollouts, runs
from api.terminal import WrongUse
from api.work.orders import Orders
from api.work.progress import Progress
from tests.databases import BACKENDS
from tests.e2e.bodies import refused
from tests.e2e.running import Platform
from tests.e2e.terminal import Terminal
from tools.registry.port import Alias

MODEL = "flights"
WRONG = {"name": "wrong", "kind": "share", "better": "lower", "margin": 0.02}
ERRORS = {"name": "errors", "kind": "share", "better": "lower", "margin": 0.005}
ASKED: dict[str, Any] = {
    "model": MODEL,
    "reason": "fewer wrong answers at night",
    "arms": [{"version": "1", "weight": 60}, {"version": "2", "weight": 40}],
    "goal": WRONG,
    "guardrails": [ERRORS],
    "longest": "14d",
}
PLAN = Plan(
    treatments=(Treatment(version="2", weight=40),),
    goal=Goal.model_validate(WRONG),
    guardrails=(Goal.model_validate(ERRORS),),
    longest=timedelta(days=14),
)


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param.replace('postgresql', 'postgres')}_database_url")
    return url


@pytest.fixture(autouse=True)
async def versions(platform: Platform) -> None:
    for _ in range(3):
        platform.registry.publish(MODEL)
    await platform.registry.set_alias(MODEL, Alias.CHAMPION, "1", expected=None, key="k", actor="ci", reason="release")


async def test_what_is_asked_for_opens_an_incident_of_its_own_and_starts_at_once(platform: Platform) -> None:
    answer = await platform.operator.post("/v1/experiments", json=ASKED)
    assert answer.status_code == 202, answer.text
    assert len(platform.dispatches.runs) == 1
    async with platform.database.read() as session:
        incident = await incidents.get(session, answer.json()["incident_id"])
        assert incident is not None
        request = request_of(map(alerts.to_alert, await alerts.of_incident(session, incident.id)))
    assert request is not None
    assert (request.kind, request.by, request.plan) == ("experiment", "some-operator", PLAN)
    # What goes wrong with the model in the weeks that it takes is an incident of its own.
    assert incident.subject == "component:experiment:flights"
    assert (await platform.operator.post("/v1/triggers/check", json={"model": MODEL, "reason": "r"})).json()["joined"] is False


async def test_sent_again_it_is_answered_again(platform: Platform) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = await platform.operator.post("/v1/experiments", json=ASKED, headers=key)
    again = await platform.operator.post("/v1/experiments", json=ASKED, headers=key)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert len(platform.dispatches.runs) == 1


def changed(**changes: Any) -> dict[str, Any]:
    return {**ASKED, **changes}


def arms(*given: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"version": version, "weight": weight} for version, weight in given]


REFUSED: tuple[tuple[dict[str, Any], set[str]], ...] = (
    (changed(arms=arms(("1", 50), ("2", 40))), {"arms"}),
    (changed(arms=arms(("2", 50), ("3", 50))), {"arms"}),
    (changed(arms=arms(("1", 50), ("9", 50))), {"arms[1].version"}),
    (changed(arms=arms(("1", 50), ("2", 30), ("2", 20))), {"arms[2].version"}),
    (changed(arms=arms(("1", 99))), {"arms"}),
    (changed(arms=arms(("1", 100), ("2", 0))), {"arms[0].weight", "arms[1].weight"}),
    (changed(goal={**WRONG, "name": "smiles"}), {"outcomes_after"}),
    (changed(goal={**WRONG, "better": "higher"}), {"goal.better"}),
    (changed(goal={**WRONG, "kind": "mean"}), {"goal.kind"}),
    (changed(goal={**WRONG, "margin": 0}), {"goal.margin"}),
    (changed(guardrails=[WRONG]), {"guardrails[0].name"}),
    (changed(guardrails=[{**ERRORS, "name": "slow"}]), {"slow_ms"}),
    (changed(shortest="20d"), {"longest"}),
    (changed(longest=14), {"longest"}),
    (changed(reason=""), {"reason"}),
    (changed(colour="blue"), {"colour"}),
    (changed(arms=arms(("1", 50), ("2", 40)), goal={**WRONG, "name": "smiles"}), {"arms", "outcomes_after"}),
)


async def test_what_cannot_be_carried_out_is_refused_with_the_field(platform: Platform) -> None:
    for body, fields in REFUSED:
        answer = await platform.operator.post("/v1/experiments", json=body)
        refused(answer, 422, "invalid")
        assert {each["field"] for each in answer.json()["errors"]} == fields, body
    assert platform.dispatches.runs == []


async def test_a_model_that_is_not_there_or_has_no_champion_is_said(platform: Platform) -> None:
    refused(await platform.operator.post("/v1/experiments", json=changed(model="nothing")), 404, "not-found")
    for _ in range(2):
        platform.registry.publish("new")
    answer = await platform.operator.post("/v1/experiments", json=changed(model="new"))
    refused(answer, 409, "conflict")
    assert "no champion" in answer.json()["detail"]


async def test_viewers_start_and_stop_nothing(platform: Platform) -> None:
    refused(await platform.viewer.post("/v1/experiments", json=ASKED), 403, "forbidden")
    found, _ = await going_on(platform)
    refused(await platform.viewer.post(f"/v1/experiments/{found}/stop", json={"reason": "r"}), 403, "forbidden")


def look(platform: Platform, call: Call = Call.RUNNING) -> Look:
    now = platform.clock.now()
    effect = Effect(
        goal="wrong", treatment=0.11, control=0.15, difference=-0.04, low=-0.06, high=-0.02, units=400, control_units=600
    )
    arm = Arm(name="2", call=call, reason="because", effect=effect, guardrails=(effect.model_copy(update={"goal": "errors"}),))
    outcome = Outcome(call=call, reason="2: because", mismatch=0.4, leading="2", arms=(arm,), at=now)
    return Look(at=now, outcome=outcome, units={"1": 600, "2": 400}, mixed=3, anonymous=7)


async def going_on(platform: Platform) -> tuple[str, str]:
    """An experiment in progress: its id, and its run's, which waits for the next look."""
    told = (await platform.operator.post("/v1/experiments", json=ASKED)).json()
    async with platform.database.begin() as transaction:
        (run,) = await runs.of_incident(transaction, told["incident_id"])
        now = platform.clock.now()
        await kept(platform, transaction, run.id, told["incident_id"])
        await runs.take(transaction, run.id, runs.START, at=now)
        await runs.wait_until(transaction, run.id, "i-1", now + timedelta(hours=1), at=now)
    return str((await platform.viewer.get("/v1/experiments")).json()["items"][0]["id"]), run.id


async def kept(platform: Platform, transaction: Any, run_id: str, incident_id: str, **changes: Any) -> None:
    action = StartExperiment(model=MODEL, from_version="1", plan=PLAN, rules=Experiments())
    seen = look(platform)
    row = {
        "proposal_id": f"{run_id}/1",
        "run_id": run_id,
        "incident_id": incident_id,
        "model": MODEL,
        "control": "1",
        "plan": action.plan.model_dump(mode="json"),
        "rules": action.rules.model_dump(mode="json"),
        "status": "running",
        "ending": "",
        "look": seen.model_dump(mode="json"),
        "reason": seen.outcome.reason,
        "began_at": platform.clock.now(),
        **changes,
    }
    await experiments.keep(transaction, row, at=platform.clock.now())
    for _ in range(2):
        await experiments.note(transaction, row["proposal_id"], row["look"], at=seen.at)


async def test_one_that_goes_on_is_listed_and_shown_with_its_effects(platform: Platform) -> None:
    found, run_id = await going_on(platform)
    shown = (await platform.viewer.get(f"/v1/experiments/{found}")).json()
    assert (shown["status"], shown["control"], shown["run_id"]) == ("running", "1", run_id)
    assert shown["look"]["outcome"]["arms"][0]["effect"]["low"] == -0.06
    assert shown["look"]["units"] == {"1": 600, "2": 400}
    for query, count in (("", 1), ("?open=true", 1), ("?model=flights", 1), ("?model=other", 0)):
        assert len((await platform.viewer.get(f"/v1/experiments{query}")).json()["items"]) == count
    refused(await platform.viewer.get("/v1/experiments/exp_nothing"), 404, "not-found")
    refused(await platform.viewer.get("/v1/experiments/exp_nothing/looks"), 404, "not-found")


async def test_each_look_is_kept_once_and_they_are_paged(platform: Platform) -> None:
    found, run_id = await going_on(platform)
    async with platform.database.begin() as transaction:
        for _ in range(3):
            platform.clock.pass_(timedelta(minutes=15))
            await kept(platform, transaction, run_id, "inc-1")
    first = (await platform.viewer.get(f"/v1/experiments/{found}/looks?limit=3")).json()
    rest = (await platform.viewer.get(f"/v1/experiments/{found}/looks?cursor={first['next_cursor']}")).json()
    times = [each["at"] for each in (*first["items"], *rest["items"])]
    assert (len(times), times) == (4, sorted(times, reverse=True))


async def test_an_order_to_stop_is_kept_told_and_looked_at_at_once(platform: Platform) -> None:
    found, run_id = await going_on(platform)
    platform.dispatches.runs.clear()
    path, body, key = f"/v1/experiments/{found}/stop", {"reason": "the campaign is over"}, {"Idempotency-Key": "k-1"}
    answer = await platform.operator.post(path, json=body, headers=key)
    assert (answer.status_code, answer.json()["ordered"], answer.json()["ordered_by"]) == (200, "stop", "some-operator")
    assert platform.dispatches.runs == [run_id]
    order = await platform.services.experiments.standing(run_id)
    assert order is not None
    assert (order.kind, order.by, order.reason) == ("abort", "some-operator", "the campaign is over")
    async with platform.database.read() as session:
        run = await runs.get(session, run_id)
        told = [event.name for event in await events.after(session, answer.json()["incident_id"], 0, limit=50)]
        audited = [line.action for line in (await audit.page(session, limit=50)).items]
    assert run is not None
    assert (run.status, run.event.startswith("order:")) == ("queued", True)
    assert "experiment.stopped" in told
    assert "experiment.stopped" in audited
    assert (await platform.operator.post(path, json=body, headers=key)).json() == answer.json()
    refused(await platform.operator.post(path, json=body), 409, "conflict")
    refused(await platform.operator.post("/v1/experiments/exp_nothing/stop", json=body), 404, "not-found")
    refused(await platform.operator.post(path, json={"reason": "\0"}), 422, "invalid")


async def test_what_is_over_stays_as_it_ended_and_takes_no_orders(platform: Platform) -> None:
    found, run_id = await going_on(platform)
    async with platform.database.begin() as transaction:
        await kept(platform, transaction, run_id, "inc-1", status="stopped", ending="harmful", reason="it harms")
        await kept(platform, transaction, run_id, "inc-1", status="left", ending="left", reason="later")
    shown = (await platform.viewer.get(f"/v1/experiments/{found}")).json()
    assert (shown["status"], shown["ending"], shown["reason"]) == ("stopped", "harmful", "it harms")
    refused(await platform.operator.post(f"/v1/experiments/{found}/stop", json={"reason": "r"}), 409, "conflict")
    assert (await platform.viewer.get("/v1/experiments?open=true")).json()["items"] == []


@pytest.mark.parametrize(("status", "stands"), [("promoted", True), ("rolled_out", True), ("stopped", False)])
async def test_an_order_that_comes_while_the_winner_is_promoted_stands_after_it(
    platform: Platform, status: str, stands: bool
) -> None:
    found, run_id = await going_on(platform)
    asked = await platform.operator.post(f"/v1/experiments/{found}/stop", json={"reason": "complaints"})
    async with platform.database.begin() as transaction:
        await kept(platform, transaction, run_id, asked.json()["incident_id"], status=status, ending="winner", reason="won")
    assert (await Orders(platform.database).standing(run_id) is not None) is stands


async def test_one_whose_run_broke_is_left(platform: Platform) -> None:
    found, run_id = await going_on(platform)
    async with platform.database.read() as session:
        run = await runs.get(session, run_id)
    assert run is not None
    await Progress(platform.database, platform.services.approvals, platform.clock).fail(run, "ValueError: no such column")
    shown = (await platform.viewer.get(f"/v1/experiments/{found}")).json()
    assert (shown["status"], shown["reason"]) == ("left", "its run broke: ValueError: no such column")


async def test_beside_an_experiment_no_other_change_of_the_traffic_is_taken_in(platform: Platform) -> None:
    found, _ = await going_on(platform)
    for path, body in (
        ("/v1/experiments", changed(reason="another")),
        ("/v1/triggers/promote", {"model": MODEL, "version": "3", "reason": "r"}),
    ):
        answer = await platform.operator.post(path, json=body)
        refused(answer, 409, "conflict")
        assert found in answer.json()["detail"]


async def test_beside_a_rollout_no_experiment_is_taken_in(platform: Platform) -> None:
    await rolling(platform, "inc-9")
    answer = await platform.operator.post("/v1/experiments", json=ASKED)
    refused(answer, 409, "conflict")
    assert "inc-9" in answer.json()["detail"]


async def test_beside_a_winner_that_is_rolled_out_no_other_version_is_promoted(platform: Platform) -> None:
    """The rollout is in the experiment's incident, and the request would be in the model's own."""
    await rolling(platform, "inc-9")
    answer = await platform.operator.post("/v1/triggers/promote", json={"model": MODEL, "version": "3", "reason": "r"})
    refused(answer, 409, "conflict")
    assert "inc-9" in answer.json()["detail"]


async def test_a_promotion_that_is_asked_for_again_joins_the_incident_of_its_rollout(platform: Platform) -> None:
    body = {"model": MODEL, "version": "2", "reason": "r"}
    first = (await platform.operator.post("/v1/triggers/promote", json=body)).json()
    await rolling(platform, first["incident_id"])
    again = await platform.operator.post("/v1/triggers/promote", json=body)
    assert (again.status_code, again.json()["joined"]) == (202, True)


async def rolling(platform: Platform, incident_id: str) -> None:
    now = platform.clock.now()
    row = {
        "proposal_id": "run-9/1",
        "run_id": "run-9",
        "incident_id": incident_id,
        "model": MODEL,
        "version": "2",
        "from_version": "1",
        "status": "running",
        "stages": [{"weight": 0.1, "hold": "PT1H"}, {"weight": 1.0, "hold": "PT0S"}],
        "stage": 0,
        "stage_since": now,
        "look": None,
        "reason": "",
        "began_at": now,
    }
    async with platform.database.begin() as transaction:
        await rollouts.keep(transaction, row, at=now)


async def test_the_same_request_again_joins_and_another_is_refused(platform: Platform) -> None:
    first = (await platform.operator.post("/v1/experiments", json=ASKED)).json()
    again = (await platform.operator.post("/v1/experiments", json=ASKED)).json()
    assert (again["incident_id"], again["joined"]) == (first["incident_id"], True)
    refused(await platform.operator.post("/v1/experiments", json=changed(slow_ms=100)), 409, "conflict")


async def test_at_a_prompt_one_is_asked_for_listed_shown_and_stopped(platform: Platform) -> None:
    terminal = Terminal(platform, "operator")
    words = ["--arm", "1=60", "--arm", "2=40", "--goal", "wrong:0.02", "--guardrail", "errors:0.005", "--longest", "14d"]
    told = await terminal.json("experiments", "start", MODEL, *words, "--reason", "r")
    async with platform.database.read() as session:
        request = request_of(map(alerts.to_alert, await alerts.of_incident(session, told["incident_id"])))
    assert request is not None
    assert request.plan == PLAN
    async with platform.database.begin() as transaction:
        (run,) = await runs.of_incident(transaction, told["incident_id"])
        await kept(platform, transaction, run.id, told["incident_id"])
    (found,) = (await terminal.json("experiments", "list", "--open"))["items"]
    shown = (await terminal.run("experiments", "show", found["id"])).stdout
    assert "flights 2 40% beside 1" in shown
    assert "wrong -0.04 (-0.06 to -0.02)" in shown
    assert "p = 0.4" in shown
    assert (await terminal.json("experiments", "stop", found["id"], "--reason", "r"))["ordered"] == "stop"


@pytest.mark.parametrize("words", [("--arm", "1:60", "--goal", "wrong:0.02"), ("--arm", "1=60", "--goal", "wrong")])
async def test_at_a_prompt_what_is_written_wrong_is_said(platform: Platform, words: tuple[str, ...]) -> None:
    done = await Terminal(platform, "operator").run("experiments", "start", MODEL, *words, "--reason", "r")
    assert isinstance(done.exception, WrongUse)
